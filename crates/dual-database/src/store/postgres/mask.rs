//! The masking of passwords in whatever is shown.

use std::fmt;

use super::keyword;

/// Replaces every password in a text by `***`: in anything that looks like a URL, whether or
/// not it can be read, and after `password=`. Where it is unclear what belongs to a password,
/// more is masked rather than less.
///
/// ```
/// use dual_database::store::postgres::mask;
///
/// assert_eq!(mask("no answer from mysql://root:p@ss/w@db:1/x"), "no answer from mysql://root:***@db:1/x");
/// assert_eq!(mask("host=db password='it''s' user=bot"), "host=db password=*** user=bot");
/// ```
#[must_use]
pub fn mask(text: &str) -> String {
    keyword::mask_pairs(&mask_urls(text))
}

/// A URL as it was given, which may hold a password: shown, it is [`mask`]ed.
///
/// ```
/// use dual_database::store::postgres::Masked;
/// let url = Masked::from("postgresql://bot:hunter2@db/bar".to_owned());
/// assert_eq!(format!("{url:?}"), "\"postgresql://bot:***@db/bar\"");
/// assert_eq!(url.reveal(), "postgresql://bot:hunter2@db/bar");
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Masked(String);

impl Masked {
    /// The text with everything in it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl From<String> for Masked {
    fn from(text: String) -> Masked {
        Masked(text)
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&mask(&self.0), f)
    }
}

fn mask_urls(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        masked.push_str(before);
        masked.push_str("://");
        // A text that is one URL is so to its end: a password may hold a blank.
        let whole = masked.len() == before.len() + 3 && is_scheme(before.trim_start());
        let end = if whole {
            after.len()
        } else {
            after.find(char::is_whitespace).unwrap_or(after.len())
        };
        let (url, behind) = after.split_at(end);
        match url.rsplit_once('@') {
            Some((account, address)) => {
                let (user, secret) = account.split_once(':').unwrap_or((account, ""));
                masked.push_str(user);
                if !secret.is_empty() {
                    masked.push_str(":***");
                }
                masked.push('@');
                masked.push_str(address);
            }
            None => masked.push_str(url),
        }
        rest = behind;
    }
    masked.push_str(rest);
    masked
}

/// Whether the text could stand before `://`.
pub(super) fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_hides_more_rather_than_less() {
        for text in [
            "postgres://u:hunter2@h/d",
            "postgres://u:hunter2/x@h/d",
            "postgres://u:hun@ter?hunter2@h/d?sslmode=require",
            "postgres://u:my hunter2@h",
            "cannot open \"postgres://u:hunter2@h/d\" or postgres://v:hunter2@h",
            "postgres://h/d?user=u&password=hunter2&sslmode=require",
            "postgres://h/d?PASSWORD=hunter2",
            "host=h password=hunter2",
            "host=h password = 'a hunter2'",
            "host=h password=a\\ hunter2 user=u",
            "host=h password='a\\' hunter2' user=u",
            "://:hunter2@",
        ] {
            let masked = mask(text);
            assert!(!masked.contains("hunter2"), "{masked}");
            assert!(masked.contains("***"), "{masked}");
        }
        for text in ["postgres://h:5432/d", "postgres://u@h/d", "nothing here", "a://b", ""] {
            assert_eq!(mask(text), text);
        }
    }
}
