//! The token endpoint: a service account of its own, its credentials, and the check of what
//! a client signed.

use std::collections::HashMap;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::engine::{DecodePaddingMode, general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;

use crate::answer::Answer;
use crate::error::Error;
use crate::faults::FaultKind;
use crate::json::Node;
use crate::query::Query;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// What `aud` must be; google-auth sends it whatever `token_uri` says.
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
const AUTH: &str = "https://www.googleapis.com/auth/";
/// The longest life of an assertion, in seconds.
const LONGEST: f64 = 3_600.0;
/// [K] How far a client's clock may be ahead, in seconds.
const TOLERANCE: f64 = 300.0;
const EXPIRES_IN: u64 = 3_599;

/// Most clients send base64url without padding, some with it; Google takes both.
const EITHER_PADDING: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The service account that the double stands for.
pub(crate) struct Account {
    private_key: String,
    public_key: Vec<u8>,
    key_id: String,
    pub(crate) client_email: String,
    project_id: String,
    token_uri: String,
}

/// What a valid token allows.
#[derive(Clone)]
struct Grant {
    scopes: Vec<String>,
    /// Milliseconds since 1970.
    dies_at: i64,
}

/// Tokens that were issued. Kept apart from anything that prints itself.
#[derive(Default)]
pub(crate) struct Tokens(HashMap<String, Grant>);

/// What a bearer token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub sheets: bool,
    pub drive: bool,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    scope: Option<String>,
    aud: Option<String>,
    iat: Option<f64>,
    exp: Option<f64>,
}

impl Account {
    /// Makes a 2048-bit key for `client_email`.
    pub(crate) fn generate(client_email: &str, token_uri: String) -> Result<Self, Error> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| Error::Key)?;
        let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| Error::Key)?;
        let project_id = client_email
            .split_once('@')
            .and_then(|(_, host)| host.split_once('.'))
            .map_or("sheets-double", |(project, _)| project);
        Ok(Self {
            private_key: pem(der.as_ref()),
            public_key: pair.public_key().as_ref().to_vec(),
            key_id: hex(&random::<20>()?),
            client_email: client_email.to_owned(),
            project_id: project_id.to_owned(),
            token_uri,
        })
    }

    /// The JSON key file that Google's console hands out, with `token_uri` pointing here.
    pub(crate) fn credentials_json(&self) -> String {
        let member = |key: &'static str, value: &str| (key, Node::text(value.to_owned()));
        let email = self.client_email.replace('@', "%40");
        let certificate = format!("https://www.googleapis.com/robot/v1/metadata/x509/{email}");
        let node = Node::object([
            member("type", "service_account"),
            member("project_id", &self.project_id),
            member("private_key_id", &self.key_id),
            member("private_key", &self.private_key),
            member("client_email", &self.client_email),
            member("client_id", "104857600000000000001"),
            member("auth_uri", "https://accounts.google.com/o/oauth2/auth"),
            member("token_uri", &self.token_uri),
            member("auth_provider_x509_cert_url", "https://www.googleapis.com/oauth2/v1/certs"),
            member("client_x509_cert_url", &certificate),
            member("universe_domain", "googleapis.com"),
        ]);
        String::from_utf8(node.to_body()).unwrap_or_default()
    }

    /// Answers a token request. `now` is milliseconds since 1970 by the service's clock,
    /// which may be a wrong one; `born` is by this machine's.
    pub(crate) fn exchange(
        &self,
        form: &[u8],
        now: i64,
        born: i64,
        fault: Option<FaultKind>,
        tokens: &mut Tokens,
    ) -> Answer {
        match self.check(form, now, fault) {
            Ok(scopes) => tokens.issue(scopes, born, fault),
            Err(refusal) => {
                let (error, description) = *refusal;
                Answer::compact(
                    if error == "invalid_client" { 401 } else { 400 },
                    &Node::object([
                        ("error", Node::text(error)),
                        ("error_description", Node::text(description)),
                    ]),
                )
            }
        }
    }

    /// The scopes of a valid assertion, or `error` and `error_description`.
    fn check(
        &self,
        form: &[u8],
        now: i64,
        fault: Option<FaultKind>,
    ) -> Result<Vec<String>, Box<(&'static str, String)>> {
        let refuse = |error: &'static str, text: &str| Err(Box::new((error, text.to_owned())));
        let form = std::str::from_utf8(form).ok().and_then(Query::parse);
        let Some(form) = form else {
            return refuse("invalid_request", "Malformed request body");
        };
        match form.get("grant_type") {
            Some(GRANT_TYPE) => {}
            None => return refuse("invalid_request", "Required parameter is missing: grant_type"),
            Some(other) => {
                return refuse("unsupported_grant_type", &format!("Invalid grant_type: {other}"));
            }
        }
        let Some(assertion) = form.get("assertion").filter(|text| !text.is_empty()) else {
            return refuse("invalid_request", "Required parameter is missing: assertion");
        };
        let Some((header, claims)) = read(assertion) else {
            return refuse("invalid_grant", "Invalid JWT: The token could not be parsed.");
        };
        if fault == Some(FaultKind::AccountDeleted)
            || claims.iss.as_deref() != Some(self.client_email.as_str())
        {
            return refuse("invalid_grant", "Invalid grant: account not found");
        }
        let known_key = header.kid.as_deref().is_none_or(|kid| kid == self.key_id);
        if fault == Some(FaultKind::KeyDeleted)
            || !known_key
            || header.alg != "RS256"
            || !self.signed(assertion)
        {
            return refuse("invalid_grant", "Invalid JWT Signature.");
        }
        let audience = claims.aud.as_deref().unwrap_or("");
        if audience != AUDIENCE && audience != self.token_uri {
            let text =
                format!("Invalid JWT: Failed audience check. The right audience is {AUDIENCE}");
            return refuse("invalid_grant", &text);
        }
        let clock = now as f64 / 1_000.0;
        let timely = match (claims.iat, claims.exp) {
            (Some(iat), Some(exp)) => {
                exp > iat && exp - iat <= LONGEST && iat <= clock + TOLERANCE && exp > clock
            }
            _ => false,
        };
        if !timely {
            return refuse(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable \
                 timeframe. Check your iat and exp values in the JWT claim.",
            );
        }
        let scopes: Vec<String> =
            claims.scope.as_deref().unwrap_or("").split(' ').map(str::to_owned).collect();
        if !scopes.iter().all(|scope| known_scope(scope)) {
            return refuse("invalid_scope", "Invalid OAuth scope or ID token audience provided.");
        }
        Ok(scopes)
    }

    fn signed(&self, assertion: &str) -> bool {
        let Some((message, signature)) = assertion.rsplit_once('.') else { return false };
        let Ok(signature) = EITHER_PADDING.decode(signature) else { return false };
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key)
            .verify(message.as_bytes(), &signature)
            .is_ok()
    }
}

impl Tokens {
    fn issue(&mut self, scopes: Vec<String>, born: i64, fault: Option<FaultKind>) -> Answer {
        let (said, life) = match fault {
            Some(FaultKind::ExpiringToken { seconds }) => (seconds, seconds),
            Some(FaultKind::RevokedToken { seconds }) => (EXPIRES_IN, seconds),
            _ => (EXPIRES_IN, EXPIRES_IN),
        };
        let Ok(secret) = random::<96>() else { return Answer::internal() };
        let token = format!("ya29.c.{}", URL_SAFE_NO_PAD.encode(secret));
        let millis = i64::try_from(life.saturating_mul(1_000)).unwrap_or(i64::MAX);
        self.0.retain(|_, grant| grant.dies_at > born);
        self.0.insert(token.clone(), Grant { scopes, dies_at: born.saturating_add(millis) });
        let said = i64::try_from(said).unwrap_or(i64::MAX);
        Answer::compact(
            200,
            &Node::object([
                ("access_token", Node::text(token)),
                ("expires_in", Node::Int(said)),
                ("token_type", Node::text("Bearer")),
            ]),
        )
    }

    /// What `token` allows at `now`; `None` when it was never issued or has died.
    pub(crate) fn allowed(&self, token: &str, now: i64) -> Option<Allowed> {
        let grant = self.0.get(token).filter(|grant| now < grant.dies_at)?;
        let any = |names: &[&str]| {
            grant.scopes.iter().any(|scope| {
                let name = scope.strip_prefix(AUTH).unwrap_or(scope);
                names.contains(&name.trim_end_matches('/'))
            })
        };
        Some(Allowed {
            sheets: any(&[
                "spreadsheets.readonly",
                "spreadsheets",
                "drive",
                "drive.readonly",
                "drive.file",
                "https://spreadsheets.google.com/feeds",
            ]),
            drive: any(&[
                "drive",
                "drive.readonly",
                "drive.file",
                "drive.metadata",
                "drive.metadata.readonly",
            ]),
        })
    }
}

/// Header and claims of a token of three parts, unverified.
fn read(assertion: &str) -> Option<(Header, Claims)> {
    let mut parts = assertion.split('.');
    let (header, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    let header = serde_json::from_slice(&EITHER_PADDING.decode(header).ok()?).ok()?;
    let claims = serde_json::from_slice(&EITHER_PADDING.decode(claims).ok()?).ok()?;
    Some((header, claims))
}

/// [K] Whether Google has such a scope; the families that a client of this API may ask for.
fn known_scope(scope: &str) -> bool {
    const NAMES: [&str; 14] = [
        "spreadsheets",
        "spreadsheets.readonly",
        "drive",
        "drive.readonly",
        "drive.file",
        "drive.appdata",
        "drive.metadata",
        "drive.metadata.readonly",
        "documents",
        "documents.readonly",
        "cloud-platform",
        "cloud-platform.read-only",
        "userinfo.email",
        "userinfo.profile",
    ];
    match scope.strip_prefix(AUTH) {
        Some(name) => NAMES.contains(&name),
        None => matches!(
            scope.trim_end_matches('/'),
            "openid" | "email" | "profile" | "https://spreadsheets.google.com/feeds"
        ),
    }
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0_u8; N];
    rand::fill(&mut bytes).map_err(|_| Error::Key)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `-----BEGIN PRIVATE KEY-----` with lines of 64 characters.
fn pem(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut text = String::from("-----BEGIN PRIVATE KEY-----\n");
    for (position, character) in base64.chars().enumerate() {
        if position > 0 && position % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str("\n-----END PRIVATE KEY-----\n");
    text
}
