//! Floating-point numbers. No two programs print all of them alike (PostgreSQL and Rust differ where a
//! decimal lies right between two numbers, and SQLite before 3.43 prints 15 digits), so they are compared
//! by their bits; -0 is 0.

use std::borrow::Cow;

use super::{Description, Unfit};
use crate::schema::{Affinity, Dialect};
use crate::value::Value;

/// Of 64 bits.
pub(super) struct Double;

/// Of 32 bits. The file keeps the double of its shortest decimal, and one that has more digits there reads
/// as what PostgreSQL would make of it.
pub(super) struct Real;

/// What SQLite would keep NULL for.
const NAN: Unfit = Unfit::Value("NaN is no value that both sides can keep");

/// The number, if it is kept exactly: SQLite makes an integer of any such double in a column of another
/// affinity than `REAL`.
fn exact(number: i64) -> Option<f64> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    let double = number as f64;
    (double < BEYOND && double as i64 == number).then_some(double)
}

impl Description for Double {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "double precision",
            Dialect::Sqlite => "REAL",
        }
    }

    fn wanted(&self) -> &'static str {
        "a number"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        match value {
            Value::Float(number) if number.is_nan() => Err(NAN),
            Value::Float(number) => Ok(Value::Float(number + 0.0)),
            Value::Real(number) => self.accept(Value::Float(crate::value::widened(number))),
            Value::Int(number) => exact(number).map(Value::Float).ok_or(Unfit::Value(
                "a floating-point number does not keep all digits of this whole number",
            )),
            other => Err(self.other(&other)),
        }
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Float(number) if !number.is_nan())
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        self.decode_real(text.parse().ok()?)
    }

    /// A column of another affinity than `REAL` keeps a number without a fraction as an integer.
    fn decode_integer(&self, number: i64) -> Option<Value> {
        exact(number).map(Value::Float)
    }

    fn decode_real(&self, number: f64) -> Option<Value> {
        (!number.is_nan()).then_some(Value::Float(number + 0.0))
    }

    fn has_settings(&self) -> bool {
        true
    }

    fn canonical(&self, column: &str, _: bool) -> String {
        format!(
            "CASE WHEN {column} = 'NaN' THEN '?NaN' \
             ELSE encode(float8send({column} + 0::float8), 'hex') END"
        )
    }

    fn aside(&self, number: &str) -> Option<String> {
        Some(format!(
            "(-1.7e308)::pg_catalog.float8 OPERATOR(pg_catalog.+) \
             ({number} OPERATOR(pg_catalog.*) 1e300::pg_catalog.float8)"
        ))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "double precision"
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        affinity != Affinity::Text
    }
}

/// As a column of the type has it, if it has one.
fn narrowed(number: f64) -> Option<f32> {
    let narrow = number as f32;
    let is_lost = narrow.is_nan()
        || narrow.is_infinite() && number.is_finite()
        || narrow == 0.0 && number != 0.0;
    (!is_lost).then_some(narrow + 0.0)
}

impl Description for Real {
    fn sql(&self, dialect: Dialect) -> &str {
        match dialect {
            Dialect::Postgres => "real",
            Dialect::Sqlite => "REAL",
        }
    }

    fn wanted(&self) -> &'static str {
        "a number"
    }

    fn accept(&self, value: Value) -> Result<Value, Unfit> {
        let wide = match value {
            Value::Real(number) => number.into(),
            Value::Float(number) => number,
            Value::Int(number) => number as f64,
            other => return Err(self.other(&other)),
        };
        if wide.is_nan() {
            return Err(NAN);
        }
        let why = "a floating-point number of 32 bits is wanted, this one is out of range";
        narrowed(wide).map(Value::Real).ok_or(Unfit::Value(why))
    }

    fn holds(&self, value: &Value) -> bool {
        matches!(value, Value::Real(number) if !number.is_nan())
    }

    fn parse(&self, text: Cow<'_, str>) -> Option<Value> {
        text.parse().ok().filter(|number: &f32| !number.is_nan()).map(|n| Value::Real(n + 0.0))
    }

    fn decode_integer(&self, number: i64) -> Option<Value> {
        self.decode_real(number as f64)
    }

    fn decode_real(&self, number: f64) -> Option<Value> {
        narrowed(number).map(Value::Real)
    }

    fn has_settings(&self) -> bool {
        true
    }

    fn canonical(&self, column: &str, _: bool) -> String {
        format!(
            "CASE WHEN {column} = 'NaN' THEN '?NaN' \
             ELSE encode(float4send({column} + 0::float4), 'hex') END"
        )
    }

    fn aside(&self, number: &str) -> Option<String> {
        Some(format!(
            "(-3.4e38)::pg_catalog.float8 OPERATOR(pg_catalog.+) \
             ({number} OPERATOR(pg_catalog.*) 1e33::pg_catalog.float8)"
        ))
    }

    fn fits_postgres(&self, base: &str, _: Option<u32>) -> bool {
        base == "real"
    }

    fn fits_sqlite(&self, affinity: Affinity) -> bool {
        Double.fits_sqlite(affinity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_is_taken_where_none_of_its_digits_is_lost() {
        for number in [0, -7, (1 << 53) + 2, 1 << 60, i64::MIN] {
            assert_eq!(Double.decode_integer(number), Some(Value::Float(number as f64)));
        }
        for number in [(1 << 53) + 1, i64::MAX, i64::MIN + 1] {
            assert_eq!(Double.decode_integer(number), None, "{number}");
            assert!(matches!(Double.accept(number.into()), Err(Unfit::Value(_))));
        }
        assert_eq!(Double.accept(Value::Real(0.1)), Ok(Value::Float(0.1)));
        assert!(Double.accept(f64::NAN.into()).is_err() && Double.accept("1".into()).is_err());
    }

    #[test]
    fn thirty_two_bits_are_what_postgresql_makes_of_more() {
        assert_eq!(Real.decode_real(0.1), Some(Value::Real(0.1)));
        assert_eq!(Real.decode_real(f64::INFINITY), Some(Value::Real(f32::INFINITY)));
        for lost in [1e39, -1e39, 1e-46, f64::NAN] {
            assert_eq!(Real.decode_real(lost), None, "{lost}");
        }
        assert_eq!(Real.accept(0.1.into()), Ok(Value::Real(0.1)));
        assert!(Real.accept(1e39.into()).is_err() && Real.accept(f32::NAN.into()).is_err());
    }
}
