//! Decimal numbers of any size. Their scale belongs to the value: 1.10 is not 1.1. In the file they are
//! text, which SQLite's arithmetic does not bend.

use std::borrow::Cow;

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::{Value, plain_text};

/// The most digits that PostgreSQL keeps before the point, and behind it.
const MOST_BEFORE: i64 = 131_072;
const MOST_BEHIND: i64 = 16_383;

pub(super) struct Numeric;

impl Description for Numeric {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "numeric",
            Dialect::Sqlite => "TEXT",
        }
    }

    /// `=` calls 1.0 and 1.00 equal.
    fn by_text(&self) -> bool {
        true
    }

    fn wanted(&self) -> &'static str {
        "a number, or its digits as text"
    }

    /// What a binary number is in decimal is its shortest text, as long as that is short: then it is
    /// what somebody has written.
    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        let text = match &value {
            Value::Int(number) => Some(number.to_string()),
            Value::Real(_) | Value::Float(_) => {
                let text = plain_text(&value).and_then(|text| canonical_numeric(&text));
                let digits = |text: &String| {
                    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).collect();
                    let leading = digits.iter().take_while(|digit| **digit == b'0').count();
                    digits.len() - leading
                };
                let text = text.filter(|text| digits(text) <= 15);
                let why = "a floating-point number has 15 digits that are sure: give it as text";
                return text.map(Value::Text).ok_or(Unfit::Value(why));
            }
            Value::Text(text) => canonical_numeric(text),
            other => return Err(self.other(other)),
        };
        text.map(Value::Text).ok_or(Unfit::Value("a decimal number is wanted, such as 12.50"))
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if canonical_numeric(text).as_ref() == Some(text))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        Some(Value::Text(text.into_owned()))
    }

    fn decode_integer(&self, number: i64) -> Option<Value> {
        Some(Value::Text(number.to_string()))
    }

    /// Somebody has inserted a binary number into a column that keeps it: that is its shortest decimal.
    fn decode_real(&self, number: f64) -> Option<Value> {
        self.decode_text(&plain_text(&Value::Float(number))?)
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        canonical_numeric(text).map(Value::Text)
    }

    /// In the file it is text.
    fn ordered(&self, dialect: Dialect, value: &str) -> Option<String> {
        Some(match dialect {
            Dialect::Postgres => value.to_owned(),
            Dialect::Sqlite => format!("dual_numeric({value})"),
        })
    }

    /// In a column of fewer digits there is no room.
    fn aside(&self, number: &str) -> Option<String> {
        Some(format!("(-1e100)::pg_catalog.numeric OPERATOR(pg_catalog.+) {number}"))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "numeric"
    }

    /// Any other makes binary numbers, or text without zeros, of it.
    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        matches!(affinity, Affinity::Text | Affinity::Blob)
    }
}

/// A decimal number as PostgreSQL prints it after reading that text; `None` if it would not read it.
pub(super) fn canonical_numeric(text: &str) -> Option<String> {
    let text = text.trim_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    if text.eq_ignore_ascii_case("nan") {
        return Some("NaN".to_owned());
    }
    let (is_negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let sign = if is_negative { "-" } else { "" };
    if unsigned.eq_ignore_ascii_case("infinity") || unsigned.eq_ignore_ascii_case("inf") {
        return Some(format!("{sign}Infinity"));
    }
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        None => (unsigned, 0),
    };
    let (before, behind) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let is_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(before) || !is_digits(behind) || before.is_empty() && behind.is_empty() {
        return None;
    }
    let scale = (i64::try_from(behind.len()).ok()? - exponent).max(0);
    let point = i64::try_from(before.len()).ok()? + exponent;
    if scale > MOST_BEHIND {
        return None;
    }
    let digits = [before, behind].concat();
    let is_zero = digits.bytes().all(|digit| digit == b'0');
    let leading = digits.bytes().take_while(|digit| *digit == b'0').count();
    if !is_zero && point - i64::try_from(leading).ok()? > MOST_BEFORE {
        return None;
    }
    // A digit of the result, counted from the point: -1 is the one before it.
    let digit = |at: i64| {
        let found = usize::try_from(point + at).ok().and_then(|at| digits.as_bytes().get(at));
        char::from(found.copied().unwrap_or(b'0'))
    };
    let first = if is_zero { -1 } else { (i64::try_from(leading).ok()? - point).min(-1) };
    let sign = if is_zero { "" } else { sign };
    let mut made = String::from(sign);
    made.extend((first..0).map(digit));
    if scale > 0 {
        made.push('.');
        made.extend((0..scale).map(digit));
    }
    Some(made)
}

/// A canonical number as a text that is ordered as PostgreSQL orders the number, NaN above all; 1.10 and 1.1
/// have the same. Its magnitude comes first, then its digits; those of a negative one are turned round.
pub(super) fn ordered(number: &str) -> Option<String> {
    const BIAS: usize = 1_000_000;
    match number {
        "NaN" => return Some("4".into()),
        "Infinity" => return Some("3".into()),
        "-Infinity" => return Some(String::new()),
        _ => {}
    }
    let (is_negative, unsigned) = match number.strip_prefix('-') {
        Some(unsigned) => (true, unsigned),
        None => (false, number),
    };
    let (before, behind) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let digits = [before, behind].concat();
    let significant = digits.trim_start_matches('0');
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    // How many digits stand before the point, without zeros that say nothing; below one, how many are lacking.
    let magnitude = (BIAS + before.len() + significant.len()).checked_sub(digits.len())?;
    let significant = significant.trim_end_matches('0');
    let text = match (significant.is_empty(), is_negative) {
        (true, _) => return Some("1".into()),
        (false, false) => return Some(format!("2{magnitude:07}{significant}")),
        (false, true) => format!("{magnitude:07}{significant}"),
    };
    let turned = text.bytes().map(|digit| char::from(b'0' + b'9' - digit));
    // The shorter one is the higher one here.
    Some(std::iter::once('0').chain(turned).chain(['~']).collect())
}

/// One that is not so far out that no number can be.
fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let exponent: i64 = is_number.then(|| text.parse().ok())??;
    (exponent.abs() <= 2 * MOST_BEFORE).then_some(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_what_postgresql_makes_of_it() {
        for (text, canonical) in [
            ("1.10", "1.10"),
            (" +007.50\n", "7.50"),
            ("-0.00", "0.00"),
            (".5", "0.5"),
            ("5.", "5"),
            ("1e3", "1000"),
            ("1.5e3", "1500"),
            ("1.50e1", "15.0"),
            ("12e-3", "0.012"),
            ("0e5", "0"),
            ("0.000e2", "0.0"),
            ("100e-2", "1.00"),
            ("nAN", "NaN"),
            ("-inf", "-Infinity"),
        ] {
            assert_eq!(canonical_numeric(text).as_deref(), Some(canonical), "{text}");
        }
        for none in [
            "",
            " ",
            "-",
            ".",
            "1e",
            "1e+",
            "1_000",
            "0x10",
            "1 2",
            "e5",
            "+nan",
            "1e9999999",
            "１",
        ] {
            assert_eq!(canonical_numeric(none), None, "{none}");
        }
        assert!(canonical_numeric("1e131071").is_some_and(|digits| digits.len() == 131_072));
        assert_eq!(canonical_numeric("1e131072"), None);
        assert!(canonical_numeric("1e-16383").is_some());
        assert_eq!(canonical_numeric("1e-16384"), None);
    }

    #[test]
    fn numbers_are_ordered_whatever_their_scale() {
        let rising = [
            "-Infinity",
            "-1e131071",
            "-100.5",
            "-100",
            "-99.9999",
            "-12.345",
            "-12.34",
            "-1",
            "-0.5",
            "-0.05",
            "-1e-16383",
            "0",
            "1e-16383",
            "0.000123",
            "0.05",
            "0.5",
            "0.51",
            "1",
            "1.01",
            "9.99",
            "10",
            "12.34",
            "12.345",
            "99",
            "100",
            "1e131071",
            "Infinity",
            "NaN",
        ];
        let keys = rising.map(|text| ordered(&canonical_numeric(text).unwrap()).unwrap());
        assert!(keys.is_sorted_by(|one, next| one < next));
        for (one, other) in [("1.10", "1.1"), ("0", "0.000"), ("-7.50", "-7.5"), ("100", "100.0")] {
            assert_eq!(ordered(one), ordered(other), "{one}");
        }
        assert_eq!(ordered("1,5"), None);
    }

    #[test]
    fn a_binary_number_is_taken_where_its_decimal_is_sure() {
        let accept = |value: Value| Numeric.accept(value);
        assert_eq!(accept(0.1.into()), Ok("0.1".into()));
        assert_eq!(accept((-12.5e-7).into()), Ok("-0.00000125".into()));
        assert_eq!(accept(i64::MIN.into()), Ok("-9223372036854775808".into()));
        assert_eq!(accept("1.10".into()), Ok("1.10".into()));
        for unsure in [0.1 + 0.2, 1e20, 99_999_999_999_999_999_999.0] {
            assert!(
                matches!(accept(unsure.into()), Err(Unfit::Value(why)) if why.contains("as text"))
            );
        }
        assert!(accept(true.into()).is_err() && accept("12,5".into()).is_err());
    }
}
