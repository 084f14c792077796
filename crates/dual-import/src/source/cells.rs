//! Cells from the JSON of `values.get`, straight into [`Cell`]: no step in between that could
//! bend a number.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::Cell;

/// An answer of `values.get`, or one range of `values:batchGet`.
#[derive(Debug, Deserialize)]
pub(crate) struct ValueRange {
    /// The range as the server understood it, clipped to the grid.
    pub range: String,
    /// The rows from its first one on; the key is missing where all are empty.
    #[serde(default)]
    pub values: Option<Vec<Vec<Cell>>>,
}

/// An answer of `values:batchGet`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BatchRanges {
    #[serde(default)]
    pub value_ranges: Vec<ValueRange>,
}

impl<'de> Deserialize<'de> for Cell {
    /// From a JSON text, number, boolean or null; anything else is an error. An empty text
    /// and null are [`Cell::Empty`].
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cell, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl Visitor<'_> for CellVisitor {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, a boolean or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Cell, E> {
        Ok(Cell::Empty)
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Cell, E> {
        Ok(Cell::Bool(flag))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Cell, E> {
        Ok(Cell::Int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Cell, E> {
        // A sheet's numbers are doubles: beyond i64 the digits are those of the double.
        Ok(i64::try_from(number).map_or(Cell::Float(number as f64), Cell::Int))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Cell, E> {
        Ok(Cell::Float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cell, E> {
        Ok(if text.is_empty() { Cell::Empty } else { Cell::Text(text.to_owned()) })
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Cell, E> {
        Ok(if text.is_empty() { Cell::Empty } else { Cell::Text(text) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(json: &str) -> Vec<Cell> {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn every_kind_of_cell() {
        let text = |text: &str| Cell::Text(text.to_string());
        assert_eq!(
            cells(r##"["", null, "a\nb", "#REF!", "0042", true, false, 53, -1, 2.5, 1E+2]"##),
            [
                Cell::Empty,
                Cell::Empty,
                text("a\nb"),
                text("#REF!"),
                text("0042"),
                Cell::Bool(true),
                Cell::Bool(false),
                Cell::Int(53),
                Cell::Int(-1),
                Cell::Float(2.5),
                Cell::Float(100.0),
            ]
        );
    }

    #[test]
    fn numbers_keep_every_digit() {
        assert_eq!(
            cells("[9007199254740993, -9223372036854775808, 9223372036854775807]"),
            [Cell::Int(9_007_199_254_740_993), Cell::Int(i64::MIN), Cell::Int(i64::MAX)]
        );
        for (json, exact) in
            [("[45876.52425925926]", 45876.52425925926), ("[0.30000000000000004]", 0.1 + 0.2)]
        {
            assert_eq!(cells(json), [Cell::Float(exact)]);
        }
        assert_eq!(cells("[5708990770823839.5e0]"), [Cell::Float(5_708_990_770_823_839.5)]);
        assert_eq!(cells("[18446744073709551615]"), [Cell::Float(18_446_744_073_709_551_615.0)]);
    }

    #[test]
    fn the_values_key_may_be_missing() {
        let empty: ValueRange =
            serde_json::from_str(r#"{"range":"Sheet1!A1:Z9","majorDimension":"ROWS"}"#).unwrap();
        assert_eq!(empty.values, None);
        for wrong in [r#"{"values":[]}"#, r#"{"range":"A1","values":[[[1]]]}"#, "[]", "{"] {
            assert!(serde_json::from_str::<ValueRange>(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        ) {
            let _ = serde_json::from_slice::<ValueRange>(&bytes);
            let mut inside = br#"{"range":"A1","values":[["#.to_vec();
            inside.extend_from_slice(&bytes);
            inside.extend_from_slice(b"]]}");
            let _ = serde_json::from_slice::<ValueRange>(&inside);
        }

        #[test]
        fn doubles_survive_exactly(number in proptest::num::f64::NORMAL) {
            let json = format!("[{}]", serde_json::to_string(&number).unwrap());
            let read = cells(&json);
            proptest::prop_assert_eq!(read, vec![Cell::Float(number)]);
        }
    }
}
