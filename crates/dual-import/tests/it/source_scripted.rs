//! The Sheets source against a server whose every byte a test decides: what the API never
//! should answer, and tabs that change while they are read.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dual_database::{Error, Kind, Result};
use dual_import::source::{
    Endpoint, Page, RetryPolicy, ServiceAccount, SheetSource, SheetsClient, SheetsOptions,
    SourceRow,
};
use dual_import::{Event, Observer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TOKEN: &str = "ya29.c.0123456789-secret";

/// Remembers what it was told.
#[derive(Default)]
pub struct Witness(pub Mutex<Vec<String>>);

impl Observer for Witness {
    fn event(&self, event: Event<'_>) {
        let text = match event {
            Event::Waiting { reason, .. } => format!("waiting: {reason}"),
            Event::Warning(text) => format!("warning: {text}"),
            _ => return,
        };
        self.0.lock().unwrap().push(text);
    }
}

impl Witness {
    pub fn told(&self, part: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|text| text.contains(part)).count()
    }
}

pub async fn read_all(source: &mut SheetSource, witness: &Witness) -> Result<Vec<SourceRow>> {
    let mut all = Vec::new();
    loop {
        match source.next_page(witness).await? {
            Page::Rows(rows) => all.extend(rows),
            Page::Restart => all.clear(),
            Page::End => return Ok(all),
        }
    }
}

pub fn quick() -> RetryPolicy {
    RetryPolicy {
        base: Duration::from_millis(1),
        cap: Duration::from_millis(8),
        budget: Duration::from_millis(60),
    }
}

/// Answers to a request: its first line, the number of API requests before it, its head and
/// body. Raw bytes, the connection is closed after them.
type Script = dyn Fn(&str, usize, &str) -> Vec<u8> + Send + Sync;

pub fn http(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn ok(body: &Value) -> Vec<u8> {
    http(200, "Content-Type: application/json\r\n", &body.to_string())
}

struct Server {
    options: SheetsOptions,
    account: String,
    key: String,
}

impl Server {
    async fn start(script: Arc<Script>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let count = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (script, count) = (Arc::clone(&script), Arc::clone(&count));
                tokio::spawn(async move {
                    let mut request = Vec::new();
                    let mut buffer = [0; 4096];
                    loop {
                        let read = stream.read(&mut buffer).await.unwrap_or(0);
                        request.extend_from_slice(&buffer[..read]);
                        let text = String::from_utf8_lossy(&request);
                        let whole = text.split_once("\r\n\r\n").is_some_and(|(head, body)| {
                            let length = head.to_lowercase().lines().find_map(|line| {
                                line.strip_prefix("content-length: ")?.parse::<usize>().ok()
                            });
                            body.len() >= length.unwrap_or(0)
                        });
                        // A TLS greeting is answered as if it were a request.
                        let binary = request.first().is_some_and(u8::is_ascii_control);
                        if whole || binary || read == 0 {
                            break;
                        }
                    }
                    let text = String::from_utf8_lossy(&request).into_owned();
                    let line = text.lines().next().unwrap_or_default();
                    let number = match line.starts_with("GET") {
                        true => count.fetch_add(1, Ordering::SeqCst),
                        false => 0,
                    };
                    let _ = stream.write_all(&script(line, number, &text)).await;
                    let _ = stream.shutdown().await;
                });
            }
        });
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let key = STANDARD.encode(AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap().as_ref());
        let account = json!({
            "type": "service_account",
            "client_email": "reader@guests.iam.gserviceaccount.com",
            "private_key_id": "abc",
            "private_key": format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n"),
            "token_uri": format!("{base}/token"),
        });
        let mut options = SheetsOptions::new(Endpoint::parse(&base, "the endpoint").unwrap());
        options.retry = quick();
        Server { options, account: account.to_string(), key }
    }

    /// A server that gives tokens and answers every GET by `script`.
    async fn api(script: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Server {
        Server::start(Arc::new(move |line, number, _| match line.starts_with("POST") {
            true => ok(&json!({"access_token": TOKEN, "expires_in": 3599})),
            false => script(line, number),
        }))
        .await
    }

    fn client(&self) -> SheetsClient {
        let account = ServiceAccount::from_text(&self.account, "test").unwrap();
        SheetsClient::new(account, self.options.clone())
    }

    async fn read(&self, witness: &Witness) -> Result<Vec<SourceRow>> {
        let mut source = SheetSource::open(self.client(), "KEY", "Гости", witness).await?;
        read_all(&mut source, witness).await
    }
}

fn metadata(rows: u64) -> Vec<u8> {
    ok(&json!({"properties": {"title": "T"}, "sheets": [{"properties": {"sheetId": 1,
        "title": "Гости", "gridProperties": {"rowCount": rows, "columnCount": 2}}}]}))
}

/// The first and last row that a values request asks for.
fn asked(line: &str) -> (u64, u64) {
    let cells = line.split("%21A").nth(1).unwrap();
    let (first, rest) = cells.split_once("%3AB").unwrap();
    (first.parse().unwrap(), rest.split('?').next().unwrap().parse().unwrap())
}

/// Rows of a tab, of which row n holds n + `shift`.
fn rows(line: &str, shift: u64) -> Vec<u8> {
    let (first, last) = asked(line);
    let values: Vec<Value> = (first..=last).map(|row| json!([row + shift, "x"])).collect();
    ok(&json!({"range": format!("'Гости'!A{first}:B{last}"), "values": values}))
}

fn is_metadata(line: &str) -> bool {
    line.contains("?fields=")
}

#[tokio::test]
async fn a_row_inserted_between_two_pages_is_noticed_and_all_is_read_again() {
    let mut server = Server::api(|line, number| match is_metadata(line) {
        true => metadata(if number < 3 { 30 } else { 31 }),
        // From the third request on a row stands above: row n holds n − 1 + 100.
        false => rows(line, if number < 3 { 100 } else { 99 }),
    })
    .await;
    server.options.page_rows = 10;
    let witness = Witness::default();
    let read = server.read(&witness).await.unwrap();
    assert_eq!(witness.told("changed while it was read: reading it again"), 1);
    assert_eq!(read.len(), 31);
    for row in &read {
        assert_eq!(row.cells[0].raw(), (row.number + 99).to_string());
    }
}

#[tokio::test]
async fn rows_appended_meanwhile_are_read_on() {
    let mut server = Server::api(|line, number| match is_metadata(line) {
        true => metadata(if number == 0 { 20 } else { 23 }),
        false => rows(line, 0),
    })
    .await;
    server.options.page_rows = 10;
    let witness = Witness::default();
    let read = server.read(&witness).await.unwrap();
    assert_eq!(read.iter().map(|row| row.number).collect::<Vec<_>>(), (1..=23).collect::<Vec<_>>());
    assert_eq!(witness.told(""), 0);
}

#[tokio::test]
async fn a_tab_that_never_stands_still_is_given_up() {
    let mut server = Server::api(|line, number| match is_metadata(line) {
        true => metadata(300),
        false => rows(line, u64::try_from(number).unwrap()),
    })
    .await;
    server.options.page_rows = 10;
    let error = server.read(&Witness::default()).await.unwrap_err();
    assert_eq!(error.kind(), Kind::SourceUnavailable);
    assert!(error.message().contains("changed while it was read, 4 times"), "{error}");
}

#[tokio::test]
async fn a_page_too_large_for_one_answer_is_asked_for_in_parts() {
    let cell = "я".repeat(25_000);
    let mut server = Server::api(move |line, _| {
        if is_metadata(line) {
            return metadata(1_000);
        }
        let (first, last) = asked(line);
        let values: Vec<Value> = (first..=last).map(|row| json!([row, cell])).collect();
        ok(&json!({"range": format!("'Гости'!A{first}:B{last}"), "values": values}))
    })
    .await;
    server.options.page_rows = 1_000;
    let witness = Witness::default();
    let mut source = SheetSource::open(server.client(), "KEY", "Гости", &witness).await.unwrap();
    let (mut next, mut largest) = (1, 0);
    // 50 MB altogether.
    while next <= 1_000 {
        let Page::Rows(rows) = source.next_page(&witness).await.unwrap() else { panic!() };
        largest = largest.max(rows.len());
        for row in rows {
            assert_eq!(row.number, next);
            next += 1;
        }
    }
    assert!(largest <= 700, "{largest}");
}

#[tokio::test]
async fn answers_that_the_api_never_gives() {
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (http(200, "", "hello"), "is not JSON (line 1, column 1)"),
        (http(200, "", r#"{"range": 5, "values": [["SECRET-CELL"]]}"#), "not of the Sheets API's"),
        (
            http(200, "", r#"{"range":"'Гости'!A1:B3","values":[[{"SECRET-CELL":1}]]}"#),
            "not of the",
        ),
        (http(200, "", r#"{"range":"'Гости'!A2:B3","values":[["SECRET-CELL"]]}"#), "other rows"),
        (http(200, "", r#"{"range":"'Гости'!B1:B3"}"#), "other rows"),
        (http(200, "", r#"{"range":"A1:B3","values":[[],[],[],[]]}"#), "other rows"),
        (http(200, "", r#"{"range":"A1:B3","values":[["SECRET-"#), "ended too early; given up"),
        (http(200, "", "\n<html>sign in</html>"), "a web page instead of data (200); given up"),
        (
            http(302, "Location: https://evil.example/x?y\r\n", ""),
            "redirects to evil.example (302)",
        ),
        (http(404, "", "<html>"), "a web page that is not the Sheets API's (404)"),
        (http(200, "Content-Encoding: gzip\r\n", "not gzip"), "was cut in the middle"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{".to_vec(), "was cut in the middle"),
        (b"nonsense\r\n\r\n".to_vec(), "cut in the middle"),
        (Vec::new(), "was cut in the middle"),
    ];
    for (bytes, sentence) in cases {
        let server = Server::api(move |line, _| match is_metadata(line) {
            true => metadata(3),
            false => bytes.clone(),
        })
        .await;
        let error = server.read(&Witness::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::SourceUnavailable, "{error}");
        assert!(error.message().contains(sentence), "{sentence}: {error}");
        assert!(!everything(&error).contains("SECRET"), "{error:?}");
    }
}

fn everything(error: &Error) -> String {
    format!("{error} {error:?} {} {:?}", error.chain(), error.hint())
}

#[tokio::test]
async fn nothing_secret_is_in_any_error_or_event() {
    let api_status = Arc::new(AtomicUsize::new(403));
    let token_status = Arc::new(AtomicUsize::new(200));
    let (api, token) = (Arc::clone(&api_status), Arc::clone(&token_status));
    // Echoes whatever it is sent into its messages.
    let server = Server::start(Arc::new(move |line, _, request| {
        let status = if line.starts_with("POST") { &token } else { &api };
        let status = u16::try_from(status.load(Ordering::SeqCst)).unwrap();
        let echo = request.replace(['\r', '\n'], " ");
        match (line.starts_with("POST"), status) {
            (true, 200) => ok(&json!({"access_token": TOKEN, "expires_in": 3599})),
            (true, _) => http(
                status,
                "",
                &json!({"error": "invalid_grant", "error_description": echo}).to_string(),
            ),
            (false, _) => {
                let body = json!({"error": {"message": echo, "status": "X"}}).to_string();
                http(status, &format!("Location: https://a.example/?{TOKEN}\r\n"), &body)
            }
        }
    }))
    .await;
    let assertion_start = "eyJ";
    for (token, api) in [
        (200, 400),
        (200, 401),
        (200, 403),
        (200, 404),
        (200, 418),
        (200, 302),
        (200, 429),
        (200, 503),
        (400, 200),
        (401, 200),
        (403, 200),
        (503, 200),
    ] {
        token_status.store(token, Ordering::SeqCst);
        api_status.store(api, Ordering::SeqCst);
        let witness = Witness::default();
        let error = server.read(&witness).await.unwrap_err();
        let all =
            format!("{} {:?} {:?}", everything(&error), server.client(), witness.0.lock().unwrap());
        for secret in [TOKEN, &server.key[..32], &server.key[200..240], assertion_start] {
            assert!(!all.contains(secret), "{token} {api}: {all}");
        }
        assert_eq!(
            witness.0.lock().unwrap().is_empty(),
            !matches!((token, api), (503, _) | (200, 429 | 503))
        );
    }
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_a_few_time_outs() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server::api(|_, _| metadata(3)).await;
    let silent = format!("http://{}", listener.local_addr().unwrap());
    server.options.endpoint = Endpoint::parse(&silent, "the endpoint").unwrap();
    server.options.read_timeout = Duration::from_millis(500);
    server.options.retry.budget = Duration::from_secs(600);
    let witness = Witness::default();
    let error = server.read(&witness).await.unwrap_err();
    assert!(error.message().contains("did not answer in time; given up after 4 tries"), "{error}");
    assert!(witness.told("did not answer in time") >= 3);
    drop(listener);
    server.options.retry = quick();
    let error = server.read(&witness).await.unwrap_err();
    assert!(error.message().contains("no connection to 127.0.0.1:"), "{error}");
}

#[tokio::test]
async fn waits_that_the_server_asks_for() {
    let server = Server::api(|line, number| match number {
        0 => http(429, "Retry-After: 0\r\n", "{}"),
        1 => http(503, "Retry-After: 86400\r\n", "{}"),
        _ => panic!("{line}"),
    })
    .await;
    let witness = Witness::default();
    let error = server.read(&witness).await.unwrap_err();
    assert!(
        error.message().contains("not available for the moment (503); the server asks to wait 1 d"),
        "{error}"
    );
    assert_eq!(witness.told("the read quota of this minute is used up (429)"), 1);
}

#[tokio::test]
async fn a_failure_of_tls_is_not_repeated() {
    let mut server = Server::api(|_, _| metadata(3)).await;
    let plain = server.options.endpoint.to_string().replace("http://", "https://");
    server.options.endpoint = Endpoint::parse(&plain, "the endpoint").unwrap();
    let witness = Witness::default();
    let error = server.read(&witness).await.unwrap_err();
    // A machine without root certificates does not get as far as the handshake.
    let no_roots = error.message().contains("TLS cannot be set up");
    assert!(no_roots || error.message().contains("no secure connection to 127.0.0.1"), "{error}");
    assert_eq!(witness.told(""), 0);
}
