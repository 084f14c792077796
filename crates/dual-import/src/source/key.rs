//! The spreadsheet's key: what stands between `/d/` and the next slash of its address.

use std::fmt;

use dual_database::error::{Error, Kind, Result};

/// The key of a spreadsheet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpreadsheetKey(String);

/// What a key is; the hint of every error about one.
pub(crate) const WHAT_A_KEY_IS: &str = "the key is the long part of the spreadsheet's address \
     between /d/ and the next slash: https://docs.google.com/spreadsheets/d/KEY/edit; the whole \
     address is taken too";

impl SpreadsheetKey {
    /// From the key itself or from the whole address of the spreadsheet as a browser shows it.
    ///
    /// # Errors
    /// [`Kind::Configuration`] if there is no key in it, or if it is the address of a
    /// published page, which has another sort of key.
    pub fn parse(text: &str) -> Result<SpreadsheetKey> {
        let text = text.trim();
        let refuse = |message: &str| {
            Error::new(Kind::Configuration, "read the spreadsheet's key", message)
                .with_hint(WHAT_A_KEY_IS)
        };
        if text.is_empty() {
            return Err(refuse("the key is empty"));
        }
        let is_address = text.contains("://") || text.contains('/');
        let key = if is_address {
            if text.contains("/d/e/") {
                return Err(refuse(
                    "this is the address of a page published to the web, which has no key",
                ));
            }
            key_of_address(text).ok_or_else(|| refuse("this address is not a spreadsheet's"))?
        } else {
            text
        };
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(refuse("a key has only latin letters, digits, hyphens and underscores"));
        }
        Ok(SpreadsheetKey(key.to_owned()))
    }

    /// The key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SpreadsheetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn key_of_address(address: &str) -> Option<&str> {
    let end = |rest: &'_ str| rest.find(['/', '?', '#', '&']).unwrap_or(rest.len());
    let rest = match address.split_once("/d/") {
        Some((_, rest)) => rest,
        // The form of Drive: …/open?id=KEY
        None => {
            let at = address.find("?id=").or_else(|| address.find("&id="))?;
            address.get(at + 4..)?
        }
    };
    let key = rest.get(..end(rest))?;
    (!key.is_empty()).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_addresses() {
        let key = "1VZAm6CIalFAZmxXRinvaLJK-2-3rUiSFlR4ac351v0o";
        for text in [
            key.to_string(),
            format!("  {key}\n"),
            format!("https://docs.google.com/spreadsheets/d/{key}"),
            format!("https://docs.google.com/spreadsheets/d/{key}/edit?gid=0#gid=0"),
            format!("https://docs.google.com/spreadsheets/u/1/d/{key}/edit"),
            format!("docs.google.com/spreadsheets/d/{key}?usp=sharing"),
            format!("https://drive.google.com/open?id={key}&authuser=0"),
        ] {
            assert_eq!(SpreadsheetKey::parse(&text).unwrap().as_str(), key, "{text}");
        }
    }

    #[test]
    fn what_is_no_key() {
        for (text, sentence) in [
            ("", "empty"),
            ("  ", "empty"),
            ("https://docs.google.com/spreadsheets/d/", "not a spreadsheet's"),
            ("https://example.com/", "not a spreadsheet's"),
            ("https://docs.google.com/spreadsheets/d/e/2PACX-1v/pubhtml", "published"),
            ("my sheet", "only latin letters"),
            ("..", "only latin letters"),
            ("Таблица", "only latin letters"),
        ] {
            let error = SpreadsheetKey::parse(text).unwrap_err();
            assert!(error.is_configuration() && error.message().contains(sentence), "{text}");
            assert!(error.hint().unwrap().contains("between /d/"));
        }
    }
}
