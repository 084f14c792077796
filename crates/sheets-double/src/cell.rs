//! One cell: what is stored in it, and how each render option shows it.

use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use crate::clock::Moment;
use crate::json::{Node, write_number, write_text};

/// What a cell holds.
///
/// In JSON a cell is a scalar (`""` and `null` are empty cells), or an object with `v`
/// (stored value), `f` (displayed text), `date` (true: `v` is a serial number, or text
/// `YYYY-MM-DD[ h:mm:ss]` for one), `formula`, and optionally `pattern` (number format) and
/// `error` (the message of an error cell) and `note`. Other members are ignored.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Cell {
    /// Nothing.
    #[default]
    Empty,
    /// Text.
    Text(Box<str>),
    /// A number; every number of a sheet is a double.
    Number(f64),
    /// A boolean.
    Bool(bool),
    /// A value with a display, a format or a formula of its own.
    Styled(Box<Styled>),
}

/// A value with what was said about it. `value` is never styled itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Styled {
    /// The stored value.
    pub value: Cell,
    /// The displayed text, where it is not the default one.
    pub shown: Option<Box<str>>,
    /// Whether the number is a date.
    pub date: bool,
    /// The formula that gave the value.
    pub formula: Option<Box<str>>,
    /// The number format's pattern.
    pub pattern: Option<Box<str>>,
    /// The message of an error cell.
    pub error: Option<Box<str>>,
    /// The note attached to the cell.
    pub note: Option<Box<str>>,
}

/// `valueRenderOption` and `dateTimeRenderOption` taken together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Render {
    Formatted,
    /// Stored values; dates as serial numbers.
    Unformatted,
    /// Stored values; dates as displayed.
    UnformattedDatesShown,
    Formula,
}

/// How a locale displays numbers and booleans where the cell itself does not say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Locale {
    decimal: char,
    yes: &'static str,
    no: &'static str,
}

impl Locale {
    /// [K] No recording has a boolean or a fraction outside en_US.
    pub(crate) fn of(name: &str) -> Self {
        let language = name.split(['_', '-']).next().unwrap_or("en");
        let decimal = match language {
            "bg" | "cs" | "da" | "de" | "el" | "es" | "fi" | "fr" | "hr" | "hu" | "it" | "lt"
            | "lv" | "nb" | "nl" | "no" | "pl" | "pt" | "ro" | "ru" | "sk" | "sl" | "sr" | "sv"
            | "tr" | "uk" | "be" | "kk" | "vi" => ',',
            _ => '.',
        };
        let (yes, no) = match language {
            "ru" => ("ИСТИНА", "ЛОЖЬ"),
            "fr" => ("VRAI", "FAUX"),
            "de" => ("WAHR", "FALSCH"),
            "es" => ("VERDADERO", "FALSO"),
            _ => ("TRUE", "FALSE"),
        };
        Self { decimal, yes, no }
    }
}

/// Texts that a formula shows when it fails, with the API's name for each.
const ERRORS: [(&str, &str); 9] = [
    ("#ERROR!", "ERROR"),
    ("#NULL!", "NULL_VALUE"),
    ("#DIV/0!", "DIVIDE_BY_ZERO"),
    ("#VALUE!", "VALUE"),
    ("#REF!", "REF"),
    ("#NAME?", "NAME"),
    ("#NUM!", "NUM"),
    ("#N/A", "N_A"),
    ("Loading...", "LOADING"),
];

impl Cell {
    /// Text; empty text is an empty cell.
    pub fn text(text: &str) -> Self {
        if text.is_empty() { Self::Empty } else { Self::Text(text.into()) }
    }

    /// A date or a time: `serial` days since 1899-12-30, displayed as `shown`.
    pub fn date(serial: f64, shown: &str) -> Self {
        Self::Styled(Box::new(Styled {
            value: Self::Number(serial),
            shown: Some(shown.into()),
            date: true,
            ..Styled::default()
        }))
    }

    /// Whether the cell is left out at the end of a row. A formula that gives `""` is not
    /// empty (general knowledge; no recording has one).
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Styled(styled) => {
                styled.formula.is_none()
                    && styled.value.is_empty()
                    && styled.shown.as_deref().unwrap_or("").is_empty()
            }
            _ => false,
        }
    }

    /// Whether grid data leaves the cell out at the end of a row: a note alone keeps it.
    pub(crate) fn is_blank(&self) -> bool {
        self.is_empty() && self.note().is_none()
    }

    /// The note attached to the cell.
    pub(crate) fn note(&self) -> Option<&str> {
        self.styled().and_then(|styled| styled.note.as_deref())
    }

    fn stored(&self) -> &Self {
        match self {
            Self::Styled(styled) => &styled.value,
            plain => plain,
        }
    }

    fn styled(&self) -> Option<&Styled> {
        match self {
            Self::Styled(styled) => Some(styled),
            _ => None,
        }
    }

    /// The text that a person sees.
    pub(crate) fn shown(&self, locale: Locale) -> String {
        let styled = self.styled();
        if let Some(shown) = styled.and_then(|styled| styled.shown.as_deref()) {
            return shown.to_owned();
        }
        match self.stored() {
            Self::Text(text) => text.to_string(),
            Self::Bool(value) => (if *value { locale.yes } else { locale.no }).to_owned(),
            Self::Number(value) if styled.is_some_and(|styled| styled.date) => {
                shown_date(*value).unwrap_or_else(|| general(*value, locale))
            }
            Self::Number(value) => general(*value, locale),
            Self::Empty | Self::Styled(_) => String::new(),
        }
    }

    /// Appends the cell as `render` shows it.
    pub(crate) fn write(&self, out: &mut String, render: Render, locale: Locale) {
        let styled = self.styled();
        if render == Render::Formula
            && let Some(formula) = styled.and_then(|styled| styled.formula.as_deref())
        {
            return write_text(out, formula);
        }
        let date = styled.is_some_and(|styled| styled.date);
        match (render, self.stored()) {
            (Render::Formatted, Self::Text(text)) if styled.is_none() => write_text(out, text),
            (Render::Formatted, _) => write_text(out, &self.shown(locale)),
            (Render::UnformattedDatesShown, Self::Number(_)) if date => {
                write_text(out, &self.shown(locale));
            }
            (_, Self::Text(text)) => write_text(out, text),
            (_, Self::Number(value)) => write_number(out, *value),
            (_, Self::Bool(value)) => out.push_str(if *value { "true" } else { "false" }),
            (_, Self::Empty | Self::Styled(_)) => out.push_str("\"\""),
        }
    }

    /// Google's `ExtendedValue` of what was typed in; `None` for an empty cell.
    pub(crate) fn entered_value(&self) -> Option<Node> {
        if let Some(formula) = self.styled().and_then(|styled| styled.formula.as_deref()) {
            return Some(Node::object([("formulaValue", Node::text(formula.to_owned()))]));
        }
        self.plain_value()
    }

    /// Google's `ExtendedValue` of the result; only here an error differs from the same text.
    pub(crate) fn effective_value(&self) -> Option<Node> {
        if let (Self::Text(text), Some(styled)) = (self.stored(), self.styled())
            && (styled.formula.is_some() || styled.error.is_some())
            && let Some((_, kind)) = ERRORS.iter().find(|(shown, _)| *shown == text.as_ref())
        {
            let mut members = vec![("type", Node::text(*kind))];
            if let Some(message) = styled.error.as_deref() {
                members.push(("message", Node::text(message.to_owned())));
            }
            return Some(Node::object([("errorValue", Node::object(members))]));
        }
        self.plain_value()
    }

    fn plain_value(&self) -> Option<Node> {
        let (key, value) = match self.stored() {
            Self::Text(text) => ("stringValue", Node::text(text.to_string())),
            Self::Number(value) => ("numberValue", Node::Float(*value)),
            Self::Bool(value) => ("boolValue", Node::Bool(*value)),
            // A formula that gives "" has a value, an untouched cell has none.
            Self::Empty | Self::Styled(_) if !self.is_empty() => ("stringValue", Node::text("")),
            Self::Empty | Self::Styled(_) => return None,
        };
        Some(Node::object([(key, value)]))
    }

    /// Google's `NumberFormat`; `None` for the automatic one.
    pub(crate) fn number_format(&self) -> Option<Node> {
        let styled = self.styled()?;
        let (kind, pattern) = match (styled.date, self.stored()) {
            // [K] The patterns that typing an ISO date or time sets.
            (true, Self::Number(serial)) if serial.fract() == 0.0 => ("DATE", "yyyy-mm-dd"),
            (true, Self::Number(serial)) if serial.abs() < 1.0 => ("TIME", "h:mm:ss"),
            (true, Self::Number(_)) => ("DATE_TIME", "yyyy-mm-dd h:mm:ss"),
            (false, _) if styled.pattern.is_some() => ("NUMBER", ""),
            _ => return None,
        };
        let pattern = styled.pattern.as_deref().unwrap_or(pattern).to_owned();
        Some(Node::object([("type", Node::text(kind)), ("pattern", Node::text(pattern))]))
    }
}

/// [K] Typing an ISO date keeps its form; a time loses the hour's leading zero.
fn shown_date(serial: f64) -> Option<String> {
    let at = Moment::from_serial(serial)?;
    let date = format!("{:04}-{:02}-{:02}", at.year, at.month, at.day);
    let time = format!("{}:{:02}:{:02}", at.hour, at.minute, at.second);
    Some(if serial.fract() == 0.0 {
        date
    } else if serial.abs() < 1.0 {
        time
    } else {
        format!("{date} {time}")
    })
}

/// The automatic number format: [R] short numbers in full, [K] ten significant digits for
/// a fraction, an exponent for whole numbers of more than 15 digits.
fn general(value: f64, locale: Locale) -> String {
    let size = value.abs();
    let text = if size >= 1e15 || (size != 0.0 && size < 1e-9) {
        exponent(value)
    } else if value.fract() == 0.0 {
        // `+ 0.0` takes the sign from a negative zero.
        format!("{:.0}", value + 0.0)
    } else {
        // In range: 1e-9 <= size < 1e15.
        #[allow(clippy::cast_possible_truncation)]
        let digits_before = size.log10().floor() as i32 + 1;
        let decimals = usize::try_from((10 - digits_before).max(0)).unwrap_or(0);
        let fixed = format!("{value:.decimals$}");
        if fixed.contains('.') {
            fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            fixed
        }
    };
    if locale.decimal == '.' { text } else { text.replacen('.', &locale.decimal.to_string(), 1) }
}

/// `1.23457E+15`.
fn exponent(value: f64) -> String {
    let text = format!("{value:.5e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let mantissa = mantissa.trim_end_matches('0').trim_end_matches('.');
    match power.strip_prefix('-') {
        Some(power) => format!("{mantissa}E-{power:0>2}"),
        None => format!("{mantissa}E+{power:0>2}"),
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

#[derive(Deserialize)]
struct StyledForm {
    #[serde(default)]
    v: Cell,
    f: Option<Box<str>>,
    #[serde(default)]
    date: bool,
    formula: Option<Box<str>>,
    pattern: Option<Box<str>>,
    error: Option<Box<str>>,
    note: Option<Box<str>>,
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a cell: text, a number, true, false, null or {v, f, date, formula}")
    }

    fn visit_unit<E>(self) -> Result<Cell, E> {
        Ok(Cell::Empty)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Cell, E> {
        Ok(Cell::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Cell, E> {
        Ok(Cell::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Cell, E> {
        Ok(Cell::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Cell, E> {
        Ok(Cell::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Cell, E> {
        Ok(Cell::text(value))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell, A::Error> {
        let form = StyledForm::deserialize(MapAccessDeserializer::new(map))?;
        if matches!(form.v, Cell::Styled(_)) {
            return Err(A::Error::custom("`v` must be a scalar"));
        }
        let mut styled = Styled {
            value: form.v,
            shown: form.f,
            date: form.date,
            formula: form.formula,
            pattern: form.pattern,
            error: form.error,
            note: form.note,
        };
        if styled.date
            && let Cell::Text(text) = &styled.value
            && let Some(serial) = Moment::serial_of_text(text)
        {
            let shown = text.clone();
            styled.shown.get_or_insert(shown);
            styled.value = Cell::Number(serial);
        }
        Ok(Cell::Styled(Box::new(styled)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: &str, locale: &str) -> String {
        serde_json::from_str::<Cell>(json).unwrap().shown(Locale::of(locale))
    }

    #[test]
    fn numbers_are_displayed_by_the_locale() {
        for (json, english, russian) in [
            ("42.01", "42.01", "42,01"),
            ("0.0009765625", "0.0009765625", "0,0009765625"),
            ("7000000005", "7000000005", "7000000005"),
            ("1234567890123456", "1.23457E+15", "1,23457E+15"),
            ("-0.0", "0", "0"),
            ("0.3333333333333333", "0.3333333333", "0,3333333333"),
            ("99999999999.7", "100000000000", "100000000000"),
            ("true", "TRUE", "ИСТИНА"),
            (
                r#"{"v":45876.52425925926,"date":true}"#,
                "2025-08-07 12:34:56",
                "2025-08-07 12:34:56",
            ),
            (
                r#"{"v":"2025-08-08 9:00:01","date":true}"#,
                "2025-08-08 9:00:01",
                "2025-08-08 9:00:01",
            ),
        ] {
            assert_eq!(shown(json, "en_US"), english);
            assert_eq!(shown(json, "ru_RU"), russian);
        }
    }

    #[test]
    fn an_error_is_told_from_its_text_by_the_formula() {
        let failed: Cell = serde_json::from_str(r##"{"v":"#REF!","formula":"=A0"}"##).unwrap();
        assert_eq!(
            failed.effective_value().unwrap().to_compact(),
            r#"{"errorValue":{"type":"REF"}}"#
        );
        let typed: Cell = serde_json::from_str(r##""#REF!""##).unwrap();
        assert_eq!(typed.effective_value().unwrap().to_compact(), r##"{"stringValue":"#REF!"}"##);
    }

    #[test]
    fn emptiness() {
        for (json, empty) in [
            ("null", true),
            (r#""""#, true),
            (r#"{"v":""}"#, true),
            (r#"{"v":"","formula":"=\"\""}"#, false),
            ("0", false),
            ("false", false),
            (r#"" ""#, false),
        ] {
            assert_eq!(serde_json::from_str::<Cell>(json).unwrap().is_empty(), empty, "{json}");
        }
    }
}
