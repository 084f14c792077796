//! A value as people, PostgreSQL's input and JSON read it.

use std::borrow::Cow;

use serde::{Serialize, Serializer};

use super::{Value, canonical_bytes};

/// In JSON: numbers, booleans, `null`, and everything else as its [`plain_text`].
impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_none(),
            Value::Bool(flag) => serializer.serialize_bool(*flag),
            Value::Int(number) => serializer.serialize_i64(*number),
            Value::Float(number) if number.is_finite() => serializer.serialize_f64(*number),
            Value::Real(number) if number.is_finite() => serializer.serialize_f64(widened(*number)),
            // JSON has no number for an infinity.
            other => plain_text(other).serialize(serializer),
        }
    }
}

impl Value {
    /// What a person has typed: a number, a boolean, `null` or a text of JSON's, else the text as it is.
    ///
    /// ```
    /// use dual_database::value::Value;
    /// assert_eq!(Value::typed("7"), Value::Int(7));
    /// assert_eq!(Value::typed("\"7\""), Value::Text("7".into()));
    /// assert_eq!(Value::typed("Anna"), Value::Text("Anna".into()));
    /// ```
    #[must_use]
    pub fn typed(text: &str) -> Value {
        match serde_json::from_str(text) {
            Ok(serde_json::Value::Null) => Value::Null,
            Ok(serde_json::Value::Bool(flag)) => Value::Bool(flag),
            Ok(serde_json::Value::Number(number)) => match number.as_i64() {
                Some(number) => Value::Int(number),
                None => number.as_f64().map_or(Value::Null, Value::Float),
            },
            Ok(serde_json::Value::String(text)) => Value::Text(text),
            _ => Value::Text(text.to_owned()),
        }
    }
}

/// The text that PostgreSQL reads as the value in a column of its type, and that logs show; `None` for
/// NULL. It is the canonical text, but for floating-point numbers (the shortest decimal that is read as
/// the same number) and bytes (`\x` and their digits).
///
/// ```
/// use dual_database::value::{Value, plain_text};
/// assert_eq!(plain_text(&Value::Float(0.1)).as_deref(), Some("0.1"));
/// assert_eq!(plain_text(&Value::Bytes(vec![0, 255])).as_deref(), Some("\\x00ff"));
/// ```
#[must_use]
pub fn plain_text(value: &Value) -> Option<Cow<'_, str>> {
    Some(match value {
        Value::Real(number) => decimal(format!("{number:?}")).into(),
        Value::Float(number) => decimal(format!("{number:?}")).into(),
        Value::Bytes(bytes) => format!("\\x{}", hex(bytes)).into(),
        Value::Text(text) => Cow::Borrowed(text),
        other => String::from_utf8_lossy(&canonical_bytes(other)?).into_owned().into(),
    })
}

/// What Rust prints of a number, as PostgreSQL has it: without a fraction of nothing.
fn decimal(printed: String) -> String {
    match printed.as_str() {
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        "-0.0" => "0".into(),
        number => number.strip_suffix(".0").unwrap_or(number).into(),
    }
}

/// A number of 32 bits as the file keeps it: the double of its shortest decimal, so that 0.1 is 0.1 on
/// both sides.
#[must_use]
pub fn widened(number: f32) -> f64 {
    format!("{number:?}").parse().unwrap_or_else(|_| number.into())
}

/// The digits of bytes, two for each.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// The bytes of digits in either case, or with `\x` before them; `None` if it is anything else.
#[must_use]
pub fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x").unwrap_or(text).as_bytes();
    let (pairs, odd) = digits.as_chunks::<2>();
    let half = |digit: u8| char::from(digit).to_digit(16).and_then(|half| u8::try_from(half).ok());
    let byte = |[high, low]: &[u8; 2]| Some(half(*high)? << 4 | half(*low)?);
    if odd.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_short_as_they_can_be() {
        let text = |value: Value| plain_text(&value).unwrap().into_owned();
        for (number, shown) in [
            (0.0, "0"),
            (-0.0, "0"),
            (-1.5, "-1.5"),
            (1e300, "1e300"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(text(Value::Float(number)), shown);
        }
        assert_eq!(text(Value::Real(0.1)), "0.1");
        assert_eq!(widened(0.1), 0.1);
        assert_eq!(widened(f32::INFINITY), f64::INFINITY);
        assert_eq!(widened(f32::MAX), 3.4028235e38);
    }

    #[test]
    fn digits_and_bytes_are_the_same() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes_of_hex(&hex(&bytes)), Some(bytes.clone()));
        assert_eq!(bytes_of_hex("\\xAbcD"), Some(vec![0xab, 0xcd]));
        assert_eq!(bytes_of_hex(""), Some(vec![]));
        for none in ["\\x0", "0", "0g", "я", "\\X00"] {
            assert_eq!(bytes_of_hex(none), None, "{none}");
        }
    }
}
