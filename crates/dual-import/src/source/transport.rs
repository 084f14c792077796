//! One exchange over HTTP: what may be sent where, and which failures a repetition can mend.

use std::sync::OnceLock;
use std::time::Duration;

use dual_database::clock;
use dual_database::error::{Error, Kind, Result};
use jiff::Timestamp;
use reqwest::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};

use super::client::SheetsOptions;
use super::endpoint::Endpoint;
use super::retry::Again;

/// The largest answer taken, unpacked; a page that is larger is asked for in parts.
pub(crate) const LARGEST_ANSWER: usize = 32 * 1024 * 1024;
/// Of an error's body no more than this is looked at.
const LARGEST_ERROR: usize = 64 * 1024;

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    /// Who answered.
    pub host: String,
    pub body: Vec<u8>,
    /// The server's clock.
    pub date: Option<Timestamp>,
    /// How long the server wants us to wait.
    pub retry_after: Option<Duration>,
    /// Where a redirect points to.
    pub location: Option<String>,
}

impl Answer {
    /// Whether the body is a web page: front ends and proxies answer so.
    pub fn is_html(&self) -> bool {
        let start = self.body.iter().position(|byte| !byte.is_ascii_whitespace());
        start.and_then(|start| self.body.get(start)) == Some(&b'<')
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// A repetition can help.
    Again(Again),
    /// The answer is larger than [`LARGEST_ANSWER`].
    TooLarge,
    /// A repetition cannot help.
    Stop(Error),
}

/// The HTTP clients: one for the world, one for this machine, each made at its first use.
#[derive(Debug)]
pub(crate) struct Transport {
    world: OnceLock<reqwest::Client>,
    loopback: OnceLock<reqwest::Client>,
    connect_timeout: Duration,
    read_timeout: Duration,
    request_timeout: Duration,
}

impl Transport {
    pub fn new(options: &SheetsOptions) -> Transport {
        Transport {
            world: OnceLock::new(),
            loopback: OnceLock::new(),
            connect_timeout: options.connect_timeout,
            read_timeout: options.read_timeout,
            request_timeout: options.request_timeout,
        }
    }

    /// The client for `endpoint`. A proxy of the environment is not asked for addresses of
    /// this machine, and without TLS no system certificates are needed.
    pub fn client(&self, endpoint: &Endpoint) -> Result<&reqwest::Client> {
        let cell = if endpoint.is_loopback() { &self.loopback } else { &self.world };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let mut builder = reqwest::Client::builder()
            // Google compresses only for agents that say so in their name, too.
            .user_agent(concat!("dual-database/", env!("CARGO_PKG_VERSION"), " (gzip)"))
            .connect_timeout(self.connect_timeout)
            .read_timeout(self.read_timeout)
            .timeout(self.request_timeout)
            // A redirect could carry the token to another host.
            .redirect(reqwest::redirect::Policy::none());
        if endpoint.url().scheme() == "http" {
            builder = builder.no_proxy().tls_certs_only([]);
        } else if endpoint.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            Error::new(Kind::Configuration, "prepare the HTTP client", "TLS cannot be set up")
                .with_hint(
                    "the system's root certificates are needed (package ca-certificates, or \
                     SSL_CERT_FILE)",
                )
                .with_source(error.without_url())
        })?;
        Ok(cell.get_or_init(|| client))
    }

    /// Sends a request and reads its answer to the end.
    pub async fn exchange(
        request: reqwest::RequestBuilder,
        host: &str,
        operation: &'static str,
    ) -> Result<Answer, Trouble> {
        let failed = |error: reqwest::Error| trouble(error, host, operation);
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let limit = if status.is_success() { LARGEST_ANSWER } else { LARGEST_ERROR };
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if body.len().saturating_add(chunk.len()) > limit {
                if status.is_success() {
                    return Err(Trouble::TooLarge);
                }
                body.extend_from_slice(chunk.get(..limit - body.len()).unwrap_or_default());
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let headers = response.headers();
        let date = header(headers, &DATE).and_then(http_date);
        Ok(Answer {
            status: status.as_u16(),
            host: host.to_owned(),
            body,
            date,
            retry_after: header(headers, &RETRY_AFTER)
                .and_then(|text| retry_after(text, date.unwrap_or_else(clock::now))),
            location: header(headers, &LOCATION).map(str::to_owned),
        })
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &reqwest::header::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn http_date(text: &str) -> Option<Timestamp> {
    Some(jiff::fmt::rfc2822::parse(text).ok()?.timestamp())
}

/// Seconds, or a date; a date is compared with the server's own clock.
fn retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = http_date(text)?.duration_since(now);
    Some(Duration::try_from(until).unwrap_or(Duration::ZERO))
}

fn trouble(error: reqwest::Error, host: &str, operation: &'static str) -> Trouble {
    let error = error.without_url();
    if error.is_builder() {
        return Trouble::Stop(
            Error::new(Kind::Internal, operation, "the request could not be built")
                .with_source(error),
        );
    }
    if let Some(tls) = tls_error(&error) {
        return Trouble::Stop(
            Error::new(
                Kind::SourceUnavailable,
                operation,
                format!("no secure connection to {host}: {tls}"),
            )
            .with_hint(
                "check this machine's clock, its root certificates (ca-certificates) and \
                 whether a proxy answers in Google's place",
            ),
        );
    }
    let timed_out = error.is_timeout();
    let reason = if error.is_connect() && timed_out {
        format!("{host} did not accept a connection in time")
    } else if error.is_connect() {
        format!("no connection to {host}")
    } else if timed_out {
        format!("{host} did not answer in time")
    } else {
        format!("the connection to {host} was cut in the middle of an answer")
    };
    Trouble::Again(Again {
        timed_out,
        hint: Some("check the network, then run it again; nothing was changed"),
        source: Some(error.into()),
        ..Again::new(reason)
    })
}

/// A failure of TLS itself (a certificate, a protocol), which no repetition mends. A
/// connection that ended is an I/O error and is not meant.
fn tls_error(error: &reqwest::Error) -> Option<rustls::Error> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Some(tls.clone());
        }
        // An I/O error's `source` skips the error that it wraps.
        cause = match error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_as_seconds_or_date() {
        let now: Timestamp = "1994-11-06T08:49:00Z".parse().unwrap();
        for (text, expected) in [
            ("5", Some(5)),
            (" 120 ", Some(120)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(retry_after(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
