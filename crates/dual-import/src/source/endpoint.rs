//! Addresses that a token or an assertion may be sent to.

use std::fmt;

use dual_database::error::{Error, Kind, Result};
use reqwest::Url;

/// A base address: https anywhere, plain http on this machine only.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// The Sheets API of Google.
    pub const GOOGLE: &'static str = "https://sheets.googleapis.com";

    /// From text; `what` names the setting in the error.
    ///
    /// # Errors
    /// [`Kind::Configuration`]: not an address, neither https nor loopback http, or with a
    /// user name, a query or a fragment.
    pub fn parse(text: &str, what: &str) -> Result<Endpoint> {
        let refuse =
            |message: String| Error::new(Kind::Configuration, format!("check {what}"), message);
        let url = Url::parse(text.trim())
            .map_err(|error| refuse(format!("this is not an address: {error}")))?;
        let Some(host) = url.host_str() else {
            return Err(refuse("the address names no host".to_string()));
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("a user name or password does not belong in it".to_string()));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("a query or fragment does not belong in it".to_string()));
        }
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&url) => {}
            "http" => {
                return Err(refuse(format!(
                    "plain http to {host} would send the token readable to everyone on the way"
                ))
                .with_hint("use https; plain http is for this machine only, such as 127.0.0.1"));
            }
            other => return Err(refuse(format!("the scheme `{other}` is not https"))),
        }
        Ok(Endpoint(url))
    }

    /// The host, with the port where one is given.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        self.0.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.0)
    }

    pub(crate) fn url(&self) -> &Url {
        &self.0
    }

    /// The address with `path`, already encoded and beginning with a slash, behind it.
    pub(crate) fn join(&self, path: &str) -> Option<Url> {
        Url::parse(&format!("{}{path}", self.0.as_str().trim_end_matches('/'))).ok()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Endpoint({})", self.0)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in [
            Endpoint::GOOGLE,
            "https://example.com/proxy/",
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://127.1:1",
            "http://[::1]:80",
            "http://localhost:1234/",
            "http://LOCALHOST",
        ] {
            assert!(Endpoint::parse(good, "--sheets-endpoint").is_ok(), "{good}");
        }
        for bad in [
            "http://sheets.googleapis.com",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://0.0.0.0",
            "http://10.0.0.1",
            "http://[::ffff:127.0.0.1]",
            "http://127.0.0.1@example.com",
            "https://user:pw@example.com",
            "https://example.com/?a=b",
            "https://example.com/#a",
            "ftp://127.0.0.1",
            "file:///etc/passwd",
            "localhost:80",
            "sheets",
            "",
        ] {
            let error = Endpoint::parse(bad, "--sheets-endpoint").unwrap_err();
            assert!(error.is_configuration(), "{bad}");
            assert!(!error.to_string().contains("pw"));
            assert_eq!(error.operation(), "check --sheets-endpoint");
        }
    }

    #[test]
    fn paths_go_behind_the_base() {
        let plain = Endpoint::parse("http://127.0.0.1:5", "x").unwrap();
        assert_eq!(plain.join("/v4/a").unwrap().as_str(), "http://127.0.0.1:5/v4/a");
        let based = Endpoint::parse("https://example.com/base/", "x").unwrap();
        assert_eq!(based.join("/v4/%27a").unwrap().as_str(), "https://example.com/base/v4/%27a");
    }
}
