//! Decimal numbers in a file's column that SQLite keeps binary numbers in (`DECIMAL(10,2)`): as long as there are
//! no more than 15 digits, a binary number keeps them, and the declared scale says where they end.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::numeric::canonical_numeric;
use super::{Description, EQUALS, LogicalType, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::{Value, plain_text};

/// As many digits a binary number of 64 bits keeps.
const MOST: usize = 15;

/// PostgreSQL `numeric(p, s)`, of at most 15 digits.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(u32, u32)", into = "(u32, u32)")]
pub struct Decimal {
    precision: u32,
    scale: usize,
    /// The far end of the column.
    least: Box<str>,
    postgres: Box<str>,
    sqlite: Box<str>,
}

/// How it is kept in a declaration: precision and scale.
impl From<Decimal> for (u32, u32) {
    fn from(decimal: Decimal) -> (u32, u32) {
        (decimal.precision, u32::try_from(decimal.scale).unwrap_or_default())
    }
}

impl TryFrom<(u32, u32)> for Decimal {
    type Error = &'static str;

    fn try_from((precision, scale): (u32, u32)) -> Result<Decimal, &'static str> {
        Decimal::new(precision, scale).ok_or("a decimal number has at most 15 digits")
    }
}

impl Decimal {
    /// So many digits in all, and so many of them behind the point; `None` if those are more than a
    /// binary number keeps.
    ///
    /// ```
    /// use dual_database::schema::{Decimal, Dialect, LogicalType};
    /// let price = LogicalType::from(Decimal::new(10, 2).unwrap());
    /// assert_eq!(price.sql(Dialect::Postgres), "numeric(10,2)");
    /// assert_eq!(price.accept(12.5.into()), Ok("12.50".into()));
    /// assert_eq!(Decimal::new(16, 2), None);
    /// ```
    #[must_use]
    pub fn new(precision: u32, scale: u32) -> Option<Decimal> {
        let fits = precision as usize <= MOST && scale <= precision && precision > 0;
        fits.then(|| Decimal {
            precision,
            scale: scale as usize,
            least: format!("-{}e-{scale}", "9".repeat(precision as usize)).into(),
            postgres: format!("numeric({precision},{scale})").into(),
            sqlite: format!("DECIMAL({precision},{scale})").into(),
        })
    }

    /// The number as PostgreSQL rounds it for the column, a half away from zero.
    fn rounded(&self, text: &str) -> Option<Value> {
        let number = canonical_numeric(text)?;
        let (sign, unsigned) = match number.strip_prefix('-') {
            Some(unsigned) => ("-", unsigned),
            None => ("", number.as_str()),
        };
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let is_number = whole.bytes().all(|byte| byte.is_ascii_digit());
        let (kept, beyond) = fraction.split_at(fraction.len().min(self.scale));
        let digits = format!("{whole}{kept:0<scale$}", scale = self.scale);
        let digits = digits.trim_start_matches('0');
        if !is_number || digits.len() > MOST {
            return None;
        }
        let count: u64 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let count = count + u64::from(beyond.as_bytes().first().is_some_and(|next| *next >= b'5'));
        let digits = format!("{count:0>width$}", width = self.scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale);
        let sign = if count == 0 { "" } else { sign };
        let point = if fraction.is_empty() { "" } else { "." };
        (digits.len() <= MOST || whole == "0")
            .then(|| Value::Text(format!("{sign}{whole}{point}{fraction}")))
    }
}

impl From<Decimal> for LogicalType {
    fn from(decimal: Decimal) -> LogicalType {
        LogicalType::Decimal(decimal.into())
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.postgres)
    }
}

impl Description for Decimal {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => &self.postgres,
            Dialect::Sqlite => &self.sqlite,
        }
    }

    fn carried(&self) -> &str {
        "numeric"
    }

    fn by_text(&self) -> bool {
        true
    }

    fn wanted(&self) -> &'static str {
        "a number, or its digits as text"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        let found = match &value {
            Value::Int(_) | Value::Real(_) | Value::Float(_) => {
                plain_text(&value).and_then(|text| self.rounded(&text))
            }
            Value::Text(text) => self.rounded(text),
            other => return Err(self.other(other)),
        };
        found.ok_or(Unfit::Value("a decimal number of at most 15 digits is wanted, such as 12.50"))
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Text(text) if self.rounded(text).as_ref() == Some(value))
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        self.rounded(&text)
    }

    fn decode_integer(&self, number: i64) -> Option<Value> {
        self.rounded(&number.to_string())
    }

    fn decode_real(&self, number: f64) -> Option<Value> {
        self.rounded(&plain_text(&Value::Float(number))?)
    }

    fn decode_text(&self, text: &str) -> Option<Value> {
        self.rounded(text)
    }

    /// In a trigger SQLite does not know of `new.price` that it is a number, and takes a text for a text.
    fn equals(&self, dialect: Dialect, left: &str, right: &str) -> String {
        match dialect {
            Dialect::Postgres => {
                let (left, right) = (self.compared(left), self.compared(right));
                format!("{left} {EQUALS} {right}{}", self.collation())
            }
            Dialect::Sqlite => {
                format!("({left} = {right} COLLATE BINARY OR {left} = CAST({right} AS NUMERIC))")
            }
        }
    }

    /// A column of text in a file has its digits.
    fn ordered(&self, dialect: Dialect, value: &str) -> Option<String> {
        Some(match dialect {
            Dialect::Postgres => value.to_owned(),
            Dialect::Sqlite => format!("CAST({value} AS NUMERIC)"),
        })
    }

    fn aside(&self, number: &str) -> Option<String> {
        let (least, scale) = (&self.least, self.scale);
        Some(format!(
            "({least})::pg_catalog.numeric OPERATOR(pg_catalog.+) \
             ({number} OPERATOR(pg_catalog.*) 1e-{scale}::pg_catalog.numeric)"
        ))
    }

    /// One of another scale would add zeros that the file cannot keep, or take digits away.
    fn fits_postgres(&self, base: &str, precision: Option<u32>) -> bool {
        base == "numeric" && precision.map(|scale| scale as usize) == Some(self.scale)
    }

    fn fits_sqlite(&self, _: Affinity) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_rounded_as_postgresql_rounds_it() {
        let price = Decimal::new(10, 2).unwrap();
        for (given, kept) in [
            ("1.1", "1.10"),
            ("7", "7.00"),
            ("1.105", "1.11"),
            ("-1.105", "-1.11"),
            ("-0.004", "0.00"),
            ("0.995", "1.00"),
            ("-.5", "-0.50"),
            ("1e2", "100.00"),
            ("0.30000000000000004", "0.30"),
            ("9999999999999.99", "9999999999999.99"),
        ] {
            assert_eq!(price.decode_text(given), Some(kept.into()), "{given}");
        }
        for none in ["99999999999999.99", "9999999999999.995", "NaN", "Infinity", "", "x"] {
            assert_eq!(price.decode_text(none), None, "{none}");
        }
        assert_eq!(price.decode_real(0.1 + 0.2), Some("0.30".into()));
        assert_eq!(price.decode_integer(-7), Some("-7.00".into()));
        assert_eq!(price.decode_integer(i64::MAX), None);
        let count = Decimal::new(15, 0).unwrap();
        assert_eq!(count.decode_real(2.5), Some("3".into()));
        assert_eq!(count.decode_text("-0.4"), Some("0".into()));
        let part = Decimal::new(3, 3).unwrap();
        assert_eq!(part.decode_text("0.0005"), Some("0.001".into()));
    }

    #[test]
    fn every_number_of_fifteen_digits_survives_as_a_binary_one() {
        let mut runner = proptest::test_runner::TestRunner::default();
        let all = (0_u64..1_000_000_000_000_000, 0_u32..16);
        runner
            .run(&all, |(digits, scale)| {
                let decimal = Decimal::new(15, scale.min(15)).unwrap();
                let text = format!("{digits}e-{scale}");
                let exact = decimal.decode_text(&text);
                proptest::prop_assert!(exact.is_some());
                proptest::prop_assert_eq!(decimal.decode_real(text.parse().unwrap()), exact);
                Ok(())
            })
            .unwrap();
    }
}
