//! The order of a type's values, the same in Rust as on both sides.

use std::cmp::Ordering;

use super::{LogicalType, numeric};
use crate::schema::Dialect;
use crate::value::Value;

impl LogicalType {
    /// Whether its values have an order that both sides share. What is known by its text alone has none, and
    /// neither have JSON documents.
    ///
    /// ```
    /// use dual_database::schema::LogicalType;
    /// assert!(LogicalType::Numeric.is_ordered() && !LogicalType::Jsonb.is_ordered());
    /// ```
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        self.description().ordered(Dialect::Postgres, "").is_some()
    }

    /// Which of two values, neither being NULL, comes first in that order.
    pub(crate) fn compare(&self, one: &Value, other: &Value) -> Ordering {
        match (one, other) {
            (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
            (Value::Int(one), Value::Int(other)) => one.cmp(other),
            // There is no NaN.
            (Value::Real(one), Value::Real(other)) => {
                one.partial_cmp(other).unwrap_or(Ordering::Equal)
            }
            (Value::Float(one), Value::Float(other)) => {
                one.partial_cmp(other).unwrap_or(Ordering::Equal)
            }
            (Value::Text(one), Value::Text(other)) => match self {
                LogicalType::Numeric | LogicalType::Decimal(_) => {
                    numeric::ordered(one).cmp(&numeric::ordered(other))
                }
                _ => one.cmp(other),
            },
            (Value::Timestamp(one), Value::Timestamp(other)) => one.cmp(other),
            (Value::Bytes(one), Value::Bytes(other)) => one.cmp(other),
            _ => Ordering::Equal,
        }
    }
}

/// A decimal number as a text that is ordered as the number is, whatever its scale: what the file has in that
/// column, if it is one.
#[must_use]
pub(crate) fn numeric_order(value: &Value) -> Option<String> {
    match LogicalType::Numeric.accept(value.clone()) {
        Ok(Value::Text(text)) => numeric::ordered(&text),
        _ => None,
    }
}
