//! Signing in: a signed assertion for an access token, and the token kept until shortly
//! before its end.

use std::time::{Duration, Instant};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dual_database::clock;
use dual_database::error::{Error, Kind, Result};
use jiff::Timestamp;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::credentials::ServiceAccount;
use super::errors::{one_line, redirected};
use super::retry::{Again, Backoff, RetryPolicy, in_words};
use super::transport::{Answer, Transport, Trouble};
use crate::Observer;

const OPERATION: &str = "sign in to Google";
/// Enough for every request of the import.
const SCOPE: &str = "https://www.googleapis.com/auth/spreadsheets.readonly";
/// Google documents `aud` as this constant, and its own libraries send it whatever the
/// `token_uri` of the key file says (older files name another address).
const AUDIENCE: &str = "https://oauth2.googleapis.com/token";
/// `iat` lies this far back, for clocks that run a little ahead.
const BACKDATED: i64 = 10;
/// The longest that Google allows between `iat` and `exp`.
const LIFETIME: i64 = 3_600;
/// A token is renewed this long before its end, or half-way if it lives shorter.
const MARGIN: Duration = Duration::from_secs(225);

/// An access token; a [`HeaderValue`] marked sensitive, which `Debug` does not show.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    header: HeaderValue,
    renew_at: Instant,
}

impl Token {
    /// `Bearer …`.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// The bare token, to keep it out of messages.
    pub fn secret(&self) -> &str {
        self.header.to_str().ok().and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default()
    }
}

/// Hands out tokens for one service account.
#[derive(Debug)]
pub(crate) struct TokenSource {
    account: ServiceAccount,
    current: Mutex<Option<Token>>,
}

impl TokenSource {
    pub fn new(account: ServiceAccount) -> TokenSource {
        TokenSource { account, current: Mutex::new(None) }
    }

    pub fn account(&self) -> &ServiceAccount {
        &self.account
    }

    /// A token that is good for a while; `refused` is one that the API did not take (401)
    /// and that is therefore replaced.
    pub async fn token(
        &self,
        refused: Option<&Token>,
        transport: &Transport,
        policy: &RetryPolicy,
        observer: &dyn Observer,
    ) -> Result<Token> {
        let mut current = self.current.lock().await;
        if let Some(token) = current.as_ref()
            && token.renew_at > Instant::now()
            && refused.is_none_or(|refused| refused.header != token.header)
        {
            return Ok(token.clone());
        }
        let mut backoff = Backoff::new(policy, OPERATION);
        loop {
            match self.mint(transport).await {
                Ok(token) => {
                    *current = Some(token.clone());
                    return Ok(token);
                }
                Err(Trouble::Again(again)) => backoff.pause(again, observer).await?,
                Err(Trouble::Stop(error)) => return Err(error),
                Err(Trouble::TooLarge) => {
                    return Err(Error::new(
                        Kind::SourceUnavailable,
                        OPERATION,
                        "the token service sent an answer without end",
                    ));
                }
            }
        }
    }

    async fn mint(&self, transport: &Transport) -> Result<Token, Trouble> {
        let now = clock::now();
        let assertion = assertion(&self.account, now).map_err(Trouble::Stop)?;
        let endpoint = self.account.token_uri();
        let host = endpoint.host();
        let client = transport.client(endpoint).map_err(Trouble::Stop)?;
        let request = client.post(endpoint.url().clone()).form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            ("assertion", &assertion),
        ]);
        let started = Instant::now();
        let answer = Transport::exchange(request, &host, OPERATION).await?;
        if answer.status == 200 && !answer.is_html() {
            return token(&answer.body, started).ok_or_else(|| {
                Trouble::Stop(
                    Error::new(
                        Kind::SourceUnavailable,
                        OPERATION,
                        format!("{host} answered without an access token"),
                    )
                    .with_hint("check the token_uri of the credentials"),
                )
            });
        }
        Err(refusal(&answer, &assertion, &self.account, now))
    }
}

/// The assertion of RFC 7523: a JWT signed with RS256, in base64url without padding.
fn assertion(account: &ServiceAccount, now: Timestamp) -> Result<String> {
    let mut header = json!({"alg": "RS256", "typ": "JWT"});
    if let (Some(id), Some(fields)) = (account.private_key_id(), header.as_object_mut()) {
        fields.insert("kid".to_string(), Value::from(id));
    }
    let issued = now.as_second().saturating_sub(BACKDATED);
    let claims = json!({
        "iss": account.client_email(),
        "scope": SCOPE,
        "aud": AUDIENCE,
        "iat": issued,
        "exp": issued.saturating_add(LIFETIME),
    });
    let mut text = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header.to_string()),
        URL_SAFE_NO_PAD.encode(claims.to_string())
    );
    let mut signature = vec![0; account.key().public_modulus_len()];
    account
        .key()
        .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
        .map_err(|_| Error::new(Kind::Internal, OPERATION, "the assertion could not be signed"))?;
    text.push('.');
    text.push_str(&URL_SAFE_NO_PAD.encode(signature));
    Ok(text)
}

fn token(body: &[u8], started: Instant) -> Option<Token> {
    let document: Value = serde_json::from_slice(body).ok()?;
    let text = document.get("access_token")?.as_str().filter(|text| !text.is_empty())?;
    let mut header = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
    header.set_sensitive(true);
    let seconds = match document.get("expires_in") {
        Some(Value::String(text)) => text.parse().ok(),
        Some(number) => number.as_u64(),
        None => None,
    };
    let lifetime = Duration::from_secs(seconds.unwrap_or(3_600).min(86_400));
    let renew_at = started + lifetime.saturating_sub(MARGIN.min(lifetime / 2));
    Some(Token { header, renew_at })
}

/// What the token service's refusal means.
fn refusal(answer: &Answer, assertion: &str, account: &ServiceAccount, now: Timestamp) -> Trouble {
    let Answer { status, host, .. } = answer;
    let stop = |kind, message: String, hint: String| {
        Trouble::Stop(Error::new(kind, OPERATION, message).with_hint(hint))
    };
    if (300..400).contains(status) {
        return Trouble::Stop(redirected(answer, OPERATION));
    }
    let document: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let text = |name: &str| {
        let found = document.as_ref().and_then(|document| document.get(name)?.as_str());
        one_line(&found.unwrap_or_default().replace(assertion, "…"))
    };
    let (error, description) = (text("error"), text("error_description"));
    let temporary = matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
        || matches!(
            error.as_str(),
            "internal_failure" | "server_error" | "temporarily_unavailable"
        )
        || (answer.is_html() && !matches!(status, 401 | 403 | 404));
    if temporary {
        let what = if answer.is_html() { "a web page instead of a token" } else { "an error" };
        return Trouble::Again(Again {
            retry_after: answer.retry_after,
            ..Again::new(format!("{host} answered {what} ({status})"))
        });
    }
    let email = account.client_email();
    let key_id = account.private_key_id().unwrap_or("without an id");
    let said = description.to_lowercase();
    if said.contains("invalid jwt signature") {
        return stop(
            Kind::AccessDenied,
            format!("Google does not know the key of {email} (invalid JWT signature)"),
            format!(
                "the key {} was deleted or belongs to another account: make a new one in the \
                 Google Cloud console (Service accounts → Keys)",
                one_line(key_id)
            ),
        );
    }
    if said.contains("reasonable timeframe") || said.contains("short-lived token") {
        return stop(
            Kind::AccessDenied,
            clock_is_off(answer.date, now),
            "set this machine's clock \
             (timedatectl, or the time service of the host) and run it again"
                .to_string(),
        );
    }
    if said.contains("audience") {
        return stop(
            Kind::AccessDenied,
            format!("{host} expects an assertion for another audience"),
            "use the token_uri of the key file as Google wrote it".to_string(),
        );
    }
    if said.contains("account not found") || error == "deleted_client" {
        return stop(
            Kind::AccessDenied,
            format!("the service account {email} does not exist any more"),
            "make a service account and a key for it, and share the spreadsheet with its address"
                .to_string(),
        );
    }
    if said.contains("disabled") || error == "disabled_client" {
        return stop(
            Kind::AccessDenied,
            format!("the service account {email} is disabled"),
            "enable it in the Google Cloud console (Service accounts)".to_string(),
        );
    }
    if error == "invalid_scope" {
        return stop(
            Kind::AccessDenied,
            format!("{host} does not give the scope spreadsheets.readonly"),
            "use the token_uri of the key file as Google wrote it".to_string(),
        );
    }
    if *status == 404 {
        return stop(
            Kind::Configuration,
            format!("there is no token service at {}", account.token_uri()),
            "use the token_uri of the key file as Google wrote it".to_string(),
        );
    }
    let details = [error, description]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(", ");
    let details = if details.is_empty() { "no reason given".to_string() } else { details };
    stop(
        Kind::AccessDenied,
        format!("{host} refused the service account {email} ({status}): {details}"),
        "make a new key for the service account in the Google Cloud console".to_string(),
    )
}

/// The sentence about a wrong clock: how far off, by the server's `Date`.
fn clock_is_off(server: Option<Timestamp>, now: Timestamp) -> String {
    let Some(server) = server else {
        return "this machine's clock is wrong, says Google".to_string();
    };
    let seconds = now.as_second().saturating_sub(server.as_second());
    let apart = in_words(Duration::from_secs(seconds.unsigned_abs()));
    match seconds {
        1.. => format!("this machine's clock is {apart} ahead of Google's"),
        0 => "Google calls this machine's clock wrong, though both agree to the second".to_string(),
        _ => format!("this machine's clock is {apart} behind Google's"),
    }
}

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
