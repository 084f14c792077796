//! A thin client of the Sheets API: signed GETs with back-off, answers read into types.

use std::sync::Arc;
use std::time::Duration;

use dual_database::error::{Error, Kind, Result};
use serde::de::DeserializeOwned;

use super::credentials::ServiceAccount;
use super::endpoint::Endpoint;
use super::errors::{ApiError, Subject, explain};
use super::retry::{Again, Backoff, RetryPolicy};
use super::token::{Token, TokenSource};
use super::transport::{Answer, Transport, Trouble};
use crate::Observer;

/// How the Sheets API is reached.
#[derive(Clone, Debug)]
pub struct SheetsOptions {
    /// Where it is; [`Endpoint::GOOGLE`] unless a test says otherwise. The token service is
    /// always the `token_uri` of the credentials.
    pub endpoint: Endpoint,
    /// The longest wait for a connection.
    pub connect_timeout: Duration,
    /// The longest silence within an answer.
    pub read_timeout: Duration,
    /// The longest exchange; Google itself ends one after 180 s.
    pub request_timeout: Duration,
    /// When and how long to wait before a repetition.
    pub retry: RetryPolicy,
    /// Rows of the first page; later ones are fitted to about 2 MB. At least 1.
    pub page_rows: u64,
}

impl SheetsOptions {
    /// The usual ones for `endpoint`.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> SheetsOptions {
        SheetsOptions {
            endpoint,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(90),
            request_timeout: Duration::from_secs(200),
            retry: RetryPolicy::default(),
            page_rows: 5_000,
        }
    }
}

/// A signed-in client; clones share the token.
#[derive(Clone, Debug)]
pub struct SheetsClient(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    options: SheetsOptions,
    transport: Transport,
    tokens: TokenSource,
}

/// Why a read of the API gave nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Already a sentence.
    Error(Error),
    /// Refused by the API; [`SheetsClient::explain`] makes the sentence.
    Refused(Answer),
    /// Larger than one answer may be.
    TooLarge,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Failure {
        match trouble {
            Trouble::Stop(error) => Failure::Error(error),
            Trouble::TooLarge => Failure::TooLarge,
            Trouble::Again(again) => Failure::Error(Error::new(
                Kind::SourceUnavailable,
                "read the spreadsheet",
                again.reason,
            )),
        }
    }
}

/// What came of one attempt.
enum Outcome<T> {
    Read { value: T, bytes: usize },
    Unauthorized(Answer),
    Again(Again),
    Failed(Failure),
}

impl SheetsClient {
    /// A client for `account`. Nothing is sent yet.
    #[must_use]
    pub fn new(account: ServiceAccount, options: SheetsOptions) -> SheetsClient {
        let transport = Transport::new(&options);
        SheetsClient(Arc::new(Inner { options, transport, tokens: TokenSource::new(account) }))
    }

    /// The address to share a spreadsheet with.
    #[must_use]
    pub fn client_email(&self) -> &str {
        self.0.tokens.account().client_email()
    }

    pub(crate) fn options(&self) -> &SheetsOptions {
        &self.0.options
    }

    /// GETs `path` (encoded, from the first slash on) and reads the answer; gives the number
    /// of its bytes, too.
    ///
    /// Repeats what a repetition can mend, and a 401 once with a new token.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        operation: &'static str,
        observer: &dyn Observer,
    ) -> Result<(T, usize), Failure> {
        let inner = &*self.0;
        let policy = &inner.options.retry;
        let mut backoff = Backoff::new(policy, operation);
        let mut refused: Option<Token> = None;
        loop {
            let token = inner
                .tokens
                .token(refused.as_ref(), &inner.transport, policy, observer)
                .await
                .map_err(Failure::Error)?;
            match self.attempt(path, &token, operation).await {
                Outcome::Read { value, bytes } => return Ok((value, bytes)),
                Outcome::Again(again) => {
                    backoff.pause(again, observer).await.map_err(Failure::Error)?;
                }
                Outcome::Unauthorized(answer) if refused.is_some() => {
                    return Err(Failure::Refused(answer));
                }
                Outcome::Unauthorized(_) => refused = Some(token),
                Outcome::Failed(failure) => return Err(failure),
            }
        }
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        path: &str,
        token: &Token,
        operation: &'static str,
    ) -> Outcome<T> {
        let endpoint = &self.0.options.endpoint;
        let Some(url) = endpoint.join(path) else {
            let error = Error::new(Kind::Internal, operation, "the request's address is invalid");
            return Outcome::Failed(Failure::Error(error));
        };
        let client = match self.0.transport.client(endpoint) {
            Ok(client) => client,
            Err(error) => return Outcome::Failed(Failure::Error(error)),
        };
        let request =
            client.get(url).header(reqwest::header::AUTHORIZATION, token.header().clone());
        let mut answer = match Transport::exchange(request, &endpoint.host(), operation).await {
            Ok(answer) => answer,
            Err(Trouble::Again(again)) => return Outcome::Again(again),
            Err(trouble) => return Outcome::Failed(trouble.into()),
        };
        if answer.status == 200 && !answer.is_html() {
            return read(&answer, operation);
        }
        // A server, or a proxy before it, could echo the request into its message.
        let body = String::from_utf8_lossy(&answer.body).replace(token.secret(), "…");
        answer.body = body.into_bytes();
        classify(answer)
    }

    /// The sentence for a failure.
    pub(crate) fn explain(
        &self,
        failure: Failure,
        operation: &'static str,
        key: &str,
        tab: Option<&str>,
    ) -> Error {
        match failure {
            Failure::Error(error) => error,
            Failure::Refused(answer) => {
                let client_email = self.client_email();
                explain(&answer, &Subject { operation, client_email, key, tab })
            }
            Failure::TooLarge => Error::new(
                Kind::SourceUnavailable,
                operation,
                "the answer is larger than 32 MiB, even for a single row",
            ),
        }
    }
}

fn read<T: DeserializeOwned>(answer: &Answer, operation: &'static str) -> Outcome<T> {
    // The parser's own message could quote a cell: only the place is told.
    match serde_json::from_slice(&answer.body) {
        Ok(value) => Outcome::Read { value, bytes: answer.body.len() },
        Err(error) if error.is_eof() => {
            Outcome::Again(Again::new(format!("an answer of {} ended too early", answer.host)))
        }
        Err(error) => {
            let what = if error.is_data() { "not of the Sheets API's form" } else { "not JSON" };
            let place = format!("line {}, column {}", error.line(), error.column());
            Outcome::Failed(Failure::Error(
                Error::new(
                    Kind::SourceUnavailable,
                    operation,
                    format!("the answer of {} is {what} ({place})", answer.host),
                )
                .with_hint("check --sheets-endpoint and whether a proxy answers in Google's place"),
            ))
        }
    }
}

fn classify<T>(answer: Answer) -> Outcome<T> {
    let status = answer.status;
    let quota = status == 429
        || (status == 403
            && ApiError::parse(&answer.body).is_some_and(|api| {
                ["RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded"]
                    .iter()
                    .any(|reason| api.has_reason(reason))
            }));
    if quota {
        return Outcome::Again(Again {
            retry_after: answer.retry_after,
            hint: Some(
                "Google allows 60 reads a minute for a service account; wait a minute, or see \
                 what else reads with this account",
            ),
            ..Again::new(format!("the read quota of this minute is used up ({status})"))
        });
    }
    let reason = match status {
        401 => return Outcome::Unauthorized(answer),
        _ if answer.is_html() && !(matches!(status, 403 | 404) || (300..400).contains(&status)) => {
            format!("{} answered a web page instead of data ({status})", answer.host)
        }
        503 => "the Sheets API is not available for the moment (503)".to_string(),
        408 | 500 | 502 | 504 => {
            format!("the Sheets API failed for the moment ({status})")
        }
        _ => return Outcome::Failed(Failure::Refused(answer)),
    };
    Outcome::Again(Again { retry_after: answer.retry_after, ..Again::new(reason) })
}

#[cfg(test)]
mod tests {
    use super::super::cells::ValueRange;
    use super::super::tabs::Spreadsheet;
    use super::*;

    fn answer(body: Vec<u8>) -> Answer {
        let (host, status) = (String::new(), 200);
        Answer { status, host, body, date: None, retry_after: None, location: None }
    }

    proptest::proptest! {
        #[test]
        fn any_body_gives_a_value_or_a_typed_error(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..120),
        ) {
            let whole = br#"{"range":"A1:B2","values":[["a",1,true,null]]}"#;
            for cut in [0, 9, 30, whole.len() - 1] {
                let mut body = whole.get(..cut).unwrap_or_default().to_vec();
                body.extend_from_slice(&bytes);
                match read::<ValueRange>(&answer(body.clone()), "test") {
                    Outcome::Read { .. } | Outcome::Again(_) => {}
                    Outcome::Failed(Failure::Error(error)) => {
                        proptest::prop_assert_eq!(error.kind(), Kind::SourceUnavailable);
                    }
                    Outcome::Failed(_) | Outcome::Unauthorized(_) => {
                        proptest::prop_assert!(false, "not for a body");
                    }
                }
                let _ = read::<Spreadsheet>(&answer(body.clone()), "test");
                let _ = classify::<()>(Answer { status: 403, ..answer(body) });
            }
        }
    }
}
