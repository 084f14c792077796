//! A plain HTTP client that shows exactly what came over the wire, and a service account's
//! sign-in.

use std::io::Read;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sheets_double::Double;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const READONLY: &str = "https://www.googleapis.com/auth/spreadsheets.readonly";
pub const DRIVE: &str = "https://www.googleapis.com/auth/drive";

#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Whether the chunked body had its end.
    pub whole: bool,
}

impl Got {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub fn gunzipped(&self) -> String {
        let mut text = String::new();
        flate2::read::GzDecoder::new(&self.body[..]).read_to_string(&mut text).unwrap();
        text
    }
}

/// Sends one request; `None` when the connection closed without an answer.
pub async fn send(
    base_url: &str,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Option<Got> {
    let address = base_url.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut head =
        format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    // A cut connection may end in a reset.
    let _ = stream.read_to_end(&mut bytes).await;
    if bytes.is_empty() {
        return None;
    }
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = std::str::from_utf8(&bytes[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut got = Got { status, headers, body: Vec::new(), whole: true };
    let rest = &bytes[end + 4..];
    if got.header("transfer-encoding") == Some("chunked") {
        (got.body, got.whole) = dechunk(rest);
    } else {
        got.body = rest.to_vec();
    }
    Some(got)
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (body, true);
        }
        let data = &rest[end + 2..];
        if data.len() < size + 2 {
            body.extend_from_slice(&data[..size.min(data.len())]);
            break;
        }
        body.extend_from_slice(&data[..size]);
        rest = &data[size + 2..];
    }
    (body, false)
}

pub async fn get(base_url: &str, target: &str, token: &str) -> Got {
    let bearer = format!("Bearer {token}");
    send(base_url, "GET", target, &[("Authorization", &bearer)], "").await.unwrap()
}

/// Claims that the token endpoint accepts.
pub fn claims(credentials: &Value, scope: &str) -> Value {
    let now = std::process::Command::new("date").arg("+%s").output().unwrap().stdout;
    let now: i64 = String::from_utf8(now).unwrap().trim().parse().unwrap();
    json!({
        "iss": credentials["client_email"], "scope": scope,
        "aud": "https://oauth2.googleapis.com/token", "iat": now, "exp": now + 3600,
    })
}

/// Signs `claims` with the key of `credentials`.
pub fn assertion(credentials: &Value, claims: &Value) -> String {
    let header = json!({"alg": "RS256", "typ": "JWT", "kid": credentials["private_key_id"]});
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let pem = credentials["private_key"].as_str().unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let key = RsaKeyPair::from_pkcs8(&STANDARD.decode(body).unwrap()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub async fn exchange(base_url: &str, assertion: &str) -> Got {
    let form = format!(
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}"
    );
    let kind = ("Content-Type", "application/x-www-form-urlencoded");
    send(base_url, "POST", "/token", &[kind], &form).await.unwrap()
}

pub fn credentials(double: &Double) -> Value {
    serde_json::from_str(&double.credentials_json()).unwrap()
}

/// Signs in and gives the access token.
pub async fn sign_in(double: &Double, scope: &str) -> String {
    let credentials = credentials(double);
    let assertion = assertion(&credentials, &claims(&credentials, scope));
    let got = exchange(double.base_url(), &assertion).await;
    assert_eq!(got.status, 200, "{}", got.text());
    got.json()["access_token"].as_str().unwrap().to_owned()
}
