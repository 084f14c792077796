//! What the Sheets API refuses, in one sentence each with what to do: told apart by the
//! status, then by `details[].reason`, then by the message.

use dual_database::error::{Error, Kind};
use serde_json::Value;

use super::key::WHAT_A_KEY_IS;
use super::transport::Answer;

/// What a request was about, for the sentences.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub operation: &'static str,
    pub client_email: &'a str,
    pub key: &'a str,
    /// The tab's title, where the request names one.
    pub tab: Option<&'a str>,
}

/// The body of an error as Google's APIs write it: `{"error":{"code","message","status",
/// "details"}}`, with `errors` in older ones.
#[derive(Debug, Default)]
pub(crate) struct ApiError {
    pub message: String,
    pub status: String,
    reasons: Vec<String>,
    links: Vec<String>,
}

impl ApiError {
    pub fn parse(body: &[u8]) -> Option<ApiError> {
        let document: Value = serde_json::from_slice(body).ok()?;
        let document = document.get(0).unwrap_or(&document);
        let error = document.get("error")?;
        let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        let list = |name: &str| error.get(name).and_then(Value::as_array).into_iter().flatten();
        let strings = |name: &'static str| {
            list("details")
                .chain(list("errors"))
                .filter_map(move |detail| Some(detail.get(name)?.as_str()?.to_owned()))
        };
        Some(ApiError {
            message: one_line(text("message")),
            status: one_line(text("status")),
            reasons: strings("reason").collect(),
            links: list("details")
                .filter_map(|detail| detail.get("links")?.as_array())
                .flatten()
                .filter_map(|link| Some(link.get("url")?.as_str()?.to_owned()))
                .collect(),
        })
    }

    pub fn has_reason(&self, reason: &str) -> bool {
        self.reasons.iter().any(|found| found.eq_ignore_ascii_case(reason))
    }

    fn says(&self, part: &str) -> bool {
        self.message.to_lowercase().contains(part)
    }

    pub fn is_no_such_range(&self) -> bool {
        self.says("unable to parse range")
    }

    pub fn is_outside_the_grid(&self) -> bool {
        self.says("exceeds grid limits")
    }

    /// The console's page that enables the API: from the details, else out of the message.
    fn enable_link(&self) -> String {
        let in_message = self.message.split_whitespace().map(|word| word.trim_end_matches('.'));
        self.links
            .iter()
            .map(String::as_str)
            .chain(in_message)
            .find(|link| {
                link.starts_with("https://console.developers.google.com/")
                    || link.starts_with("https://console.cloud.google.com/")
            })
            .unwrap_or("https://console.cloud.google.com/apis/library/sheets.googleapis.com")
            .to_owned()
    }
}

/// A server's text as part of a sentence: one line, without control characters, not endless.
pub(crate) fn one_line(text: &str) -> String {
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
    if text.chars().nth(400).is_some() {
        line.push('…');
    }
    line.trim().to_owned()
}

/// The error for an answer that is neither a success nor worth a repetition.
pub(crate) fn explain(answer: &Answer, subject: &Subject<'_>) -> Error {
    let Subject { operation, client_email, key, tab } = *subject;
    let denied = |message: String| Error::new(Kind::AccessDenied, operation, message);
    let away = |message: String| Error::new(Kind::SourceUnavailable, operation, message);
    let status = answer.status;
    if (300..400).contains(&status) {
        return redirected(answer, operation);
    }
    let Some(api) = ApiError::parse(&answer.body) else {
        let what = if answer.is_html() { "a web page" } else { "something" };
        return away(format!(
            "{} answered {what} that is not the Sheets API's ({status})",
            answer.host
        ))
        .with_hint("check --sheets-endpoint and whether a proxy answers in Google's place");
    };
    match status {
        401 => denied(
            "the Sheets API does not accept a token that was made a moment ago (401)".to_string(),
        )
        .with_hint("try again in a minute; if it stays, make a new key for the service account"),
        403 if api.has_reason("ACCESS_TOKEN_SCOPE_INSUFFICIENT")
            || api.says("insufficient authentication scopes") =>
        {
            denied("the token lacks the scope spreadsheets.readonly".to_string()).with_hint(
                "the token service gave less than was asked for: use a plain service account's \
                 key, without a token_uri of your own",
            )
        }
        403 if api.has_reason("SERVICE_DISABLED")
            || api.says("has not been used in project")
            || api.says("it is disabled") =>
        {
            denied(
                "the Google Sheets API is not enabled in the service account's project".to_string(),
            )
            .with_hint(format!("enable it at {} and wait a few minutes", api.enable_link()))
        }
        403 if api.has_reason("CONSUMER_INVALID")
            || api.says("is not found and cannot be used for api calls") =>
        {
            denied("the service account's project does not exist any more".to_string())
                .with_hint("make a service account in a project that exists, and use its key")
        }
        403 if api.says("the caller does not have permission") => {
            denied(format!("the spreadsheet {key} is not shared with the service account"))
                .with_hint(format!("share it (Share button, Viewer is enough) with {client_email}"))
        }
        403 => denied(format!("the Sheets API refused (403): {}", api.message)).with_hint(format!(
            "the service account is {client_email}; the spreadsheet has to be shared with it"
        )),
        404 => away(format!("there is no spreadsheet with the key {key}")).with_hint(WHAT_A_KEY_IS),
        400 if api.is_no_such_range() => {
            away(format!("there is no tab «{}» any more", tab.unwrap_or_default()))
                .with_hint("it was renamed or deleted a moment ago; look into the spreadsheet")
        }
        400 if api.is_outside_the_grid() => {
            away(format!("the tab «{}» became smaller while it was read", tab.unwrap_or_default()))
                .with_hint("run it again when nobody edits the tab")
        }
        400 if api.says("not supported for this document") => away(format!(
            "{key} is an Office file (.xlsx) on Google Drive, not a Google spreadsheet"
        ))
        .with_hint(
            "open it, choose File → Save as Google Sheets, share the new spreadsheet with \
                     the service account and use its key; or save the tab as CSV and use --csv",
        ),
        _ => away(format!(
            "the Sheets API refused ({status}{}): {}",
            if api.status.is_empty() { String::new() } else { format!(" {}", api.status) },
            if api.message.is_empty() { "no reason given" } else { &api.message },
        )),
    }
}

/// Nothing is sent after a redirect: it could carry the token or the assertion elsewhere.
pub(crate) fn redirected(answer: &Answer, operation: &'static str) -> Error {
    let to = answer
        .location
        .as_deref()
        .and_then(|location| reqwest::Url::parse(location).ok())
        .and_then(|url| url.host_str().map(|host| format!(" to {}", one_line(host))))
        .unwrap_or_default();
    let message = format!("{} redirects{to} ({})", answer.host, answer.status);
    Error::new(Kind::SourceUnavailable, operation, message)
        .with_hint("the Sheets API never does so: check the address, or a proxy's sign-in page")
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
