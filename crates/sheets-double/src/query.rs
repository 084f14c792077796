//! The request's target taken apart: percent-encoding, options and their values.

use crate::answer::Answer;
use crate::cell::Render;

/// Options that every method of Google's APIs has.
const STANDARD: [&str; 11] = [
    "$.xgafv",
    "access_token",
    "alt",
    "callback",
    "fields",
    "key",
    "oauth_token",
    "prettyPrint",
    "quotaUser",
    "uploadType",
    "upload_protocol",
];

/// The pairs of a query or of a form, decoded, in their order.
#[derive(Debug, Default)]
pub(crate) struct Query(pub Vec<(String, String)>);

impl Query {
    /// Reads `a=b&c=d`; `None` when an escape is broken or does not give UTF-8.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            pairs.push((decode(&key.replace('+', " "))?, decode(&value.replace('+', " "))?));
        }
        Some(Self(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'q>(&'q self, name: &'q str) -> impl Iterator<Item = &'q str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Refuses an option that is neither standard nor among `own`.
    pub(crate) fn check_names(&self, own: &[&str]) -> Result<(), Answer> {
        match self
            .0
            .iter()
            .find(|(key, _)| !STANDARD.contains(&key.as_str()) && !own.contains(&key.as_str()))
        {
            Some((key, _)) => Err(Answer::unknown_option(key)),
            None => Ok(()),
        }
    }

    /// A boolean option; absent is false.
    pub(crate) fn boolean(&self, name: &str, field: &str) -> Result<bool, Answer> {
        match self.get(name) {
            None => Ok(false),
            // Python's "False" is taken too, as recorded cassettes of gspread show.
            Some(text) if text == "0" || text.eq_ignore_ascii_case("false") => Ok(false),
            Some(text) if text == "1" || text.eq_ignore_ascii_case("true") => Ok(true),
            Some(other) => Err(Answer::bad_option(field, "TYPE_BOOL", other)),
        }
    }

    fn choice(&self, name: &str, field: &str, kind: &str, known: &[&str]) -> Result<usize, Answer> {
        let Some(value) = self.get(name) else { return Ok(0) };
        known.iter().position(|known| *known == value).ok_or_else(|| {
            let kind = format!("type.googleapis.com/google.apps.sheets.v4.{kind}");
            Answer::bad_option(field, &kind, value)
        })
    }

    /// `valueRenderOption` with `dateTimeRenderOption`.
    pub(crate) fn render(&self) -> Result<Render, Answer> {
        let values = self.choice(
            "valueRenderOption",
            "value_render_option",
            "ValueRenderOption",
            &["FORMATTED_VALUE", "UNFORMATTED_VALUE", "FORMULA"],
        )?;
        let dates = self.choice(
            "dateTimeRenderOption",
            "date_time_render_option",
            "DateTimeRenderOption",
            &["SERIAL_NUMBER", "FORMATTED_STRING"],
        )?;
        Ok(match (values, dates) {
            (0, _) => Render::Formatted,
            (1, 0) => Render::Unformatted,
            (1, _) => Render::UnformattedDatesShown,
            _ => Render::Formula,
        })
    }

    /// Whether `majorDimension` is COLUMNS.
    pub(crate) fn by_columns(&self) -> Result<bool, Answer> {
        let known = ["ROWS", "COLUMNS", "DIMENSION_UNSPECIFIED"];
        Ok(self.choice("majorDimension", "major_dimension", "Dimension", &known)? == 1)
    }
}

/// Undoes percent-encoding; `None` when an escape is broken or does not give UTF-8.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let high = char::from(rest.next()?).to_digit(16)?;
            let low = char::from(rest.next()?).to_digit(16)?;
            bytes.push(u8::try_from(high * 16 + low).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(decode("%27D3%27%21A1%3aD4").as_deref(), Some("'D3'!A1:D4"));
        assert_eq!(decode("a+b").as_deref(), Some("a+b"));
        assert_eq!(decode("%2"), None);
        assert_eq!(decode("%zz"), None);
        assert_eq!(decode("%ff"), None);
        let query = Query::parse("ranges=%F0%9F%8C%B5+x%2B1&ranges=b&&c").unwrap();
        assert_eq!(query.all("ranges").collect::<Vec<_>>(), ["🌵 x+1", "b"]);
        assert_eq!(query.get("c"), Some(""));
    }
}
