//! Parameters of a connection by name, and where each of them came from.

use std::fmt;
use std::iter::Peekable;
use std::str::Chars;

use super::url::refused;
use crate::{Error, Result};

/// Where a parameter came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The URL, or `key=value` text: it beats all others.
    Text,
    Service(String),
    Variable(&'static str),
    /// A file that lies in the user's folder.
    Home,
}

impl Origin {
    /// Says in an error where the value stands, unless it is the URL.
    pub(super) fn locate(&self, error: Error) -> Error {
        if *self == Origin::Text { error } else { error.about(self) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Text => f.write_str("the URL"),
            Origin::Service(name) => write!(f, "the service {}", name.escape_debug()),
            Origin::Variable(name) => f.write_str(name),
            Origin::Home => f.write_str("the user's folder"),
        }
    }
}

/// A parameter.
pub(super) struct Part {
    pub name: String,
    pub value: String,
    pub origin: Origin,
}

/// All of them, each name once.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) named: Vec<Part>,
    /// Said instead of an unknown name that may be a part of a password.
    pub(super) instead: Option<Error>,
}

impl Parts {
    /// From the text; the last of a name counts.
    pub(super) fn push(&mut self, name: &str, value: String) {
        let (name, value) = renamed(name, value);
        self.named.retain(|part| part.name != name);
        self.named.push(Part { name: name.to_owned(), value, origin: Origin::Text });
    }

    /// From elsewhere: only what is not there yet.
    pub(super) fn add(&mut self, name: &str, value: String, origin: &Origin) {
        let (name, value) = renamed(name, value);
        if !self.named.iter().any(|part| part.name == name) {
            self.named.push(Part { name: name.to_owned(), value, origin: origin.clone() });
        }
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let position = self.named.iter().position(|part| part.name == name)?;
        Some(self.named.swap_remove(position).value)
    }

    /// An unknown name is not shown, and this error told in its place.
    pub(super) fn hide_unknown_names(&mut self, instead: Error) {
        self.instead = Some(instead);
    }
}

/// A parameter under the name that it has now: in that place it beats others, and is beaten.
fn renamed(name: &str, value: String) -> (&str, String) {
    match name {
        "requiressl" if value.starts_with('1') => ("sslmode", "require".to_owned()),
        "requiressl" => ("sslmode", "prefer".to_owned()),
        name => (name, value),
    }
}

/// `key = value`, values in single quotes where they hold blanks, with backslash escapes.
pub(super) fn parse_pairs(text: &str) -> Result<Parts> {
    let mut parts = Parts::default();
    let mut chars = text.chars().peekable();
    loop {
        skip_blanks(&mut chars);
        if chars.peek().is_none() {
            return Ok(parts);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        skip_blanks(&mut chars);
        if chars.next_if_eq(&'=').is_none() {
            return Err(refused("a parameter has no `=`")
                .with_hint("put a value with blanks into single quotes"));
        }
        skip_blanks(&mut chars);
        let value =
            pair_value(&mut chars).ok_or_else(|| refused("a value in single quotes has no end"))?;
        parts.push(&name, value);
    }
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

fn pair_value(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut value = String::new();
    let quoted = chars.next_if_eq(&'\'').is_some();
    while let Some(c) = chars.next_if(|c| quoted || !c.is_whitespace()) {
        match c {
            '\\' => value.extend(chars.next()),
            // Doubled, it is no end either; libpq does not know that, but people write it.
            '\'' if quoted => {
                if chars.next_if_eq(&'\'').is_none() {
                    return Some(value);
                }
                value.push('\'');
            }
            c => value.push(c),
        }
    }
    (!quoted).then_some(value)
}

/// Masks what follows `password=` and other secrets, in a query or in pairs.
pub(super) fn mask_pairs(text: &str) -> String {
    const NAMES: [&str; 4] =
        ["password", "scram_client_key", "scram_server_key", "oauth_client_secret"];
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    loop {
        let lower = rest.to_ascii_lowercase();
        let ends = NAMES.iter().filter_map(|name| Some(lower.find(name)? + name.len()));
        let Some(end) = ends.min() else { break };
        let (before, after) = rest.split_at(end);
        masked.push_str(before);
        rest = after;
        let Some(value) = after.trim_start().strip_prefix('=') else { continue };
        let value = value.trim_start();
        let mut chars = value.chars().peekable();
        let end = if value.starts_with('\'') {
            // Without its end the rest of the text may all be the password.
            pair_value(&mut chars);
            value.len() - chars.collect::<String>().len()
        } else {
            let mut escaped = false;
            value
                .find(|c: char| {
                    let ends = !escaped && (c == '&' || c.is_whitespace());
                    escaped = c == '\\' && !escaped;
                    ends
                })
                .unwrap_or(value.len())
        };
        masked.push_str("=***");
        rest = value.split_at_checked(end).map_or("", |(_, behind)| behind);
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use crate::store::postgres::Settings;

    #[test]
    fn pairs_as_libpq_reads_them() {
        let settings =
            Settings::parse("host=a,b port=1,2 user = bot password='it\\'s a \\\\ b' dbname=x")
                .unwrap();
        assert_eq!(settings.hosts, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(settings.user(), Some("bot"));
        assert_eq!(settings.password.as_deref(), Some("it's a \\ b"));
        assert_eq!(settings.database(), Some("x"));
    }
}
