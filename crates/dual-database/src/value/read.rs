//! A row's values into a type of the caller's, by serde. No error repeats a value.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::{Value, plain_text, widened};

/// A value of a column.
pub(crate) struct Cell<'r> {
    pub column: &'r str,
    pub value: Value,
    /// It is a JSON document, which is what it says.
    pub is_json: bool,
}

/// Why a row is none of the type.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// The column, as far as it is known.
    pub column: Option<String>,
    pub why: String,
    /// It is not there.
    pub is_missing: bool,
}

/// The row as that type: a struct with a field for each column that it wants, or a map.
///
/// # Errors
/// What does not fit.
pub(crate) fn read_row<'r, T: DeserializeOwned>(
    cells: impl Iterator<Item = Cell<'r>>,
) -> Result<T, Misfit> {
    T::deserialize(MapDeserializer::new(cells.map(|cell| (Name(cell.column), cell))))
}

/// The name of a column. One that the type does not take is told by serde.
struct Name<'r>(&'r str);

impl<'r> IntoDeserializer<'_, Misfit> for Name<'r> {
    type Deserializer = StrDeserializer<'r, Misfit>;

    fn into_deserializer(self) -> Self::Deserializer {
        self.0.into_deserializer()
    }
}

impl<'r> IntoDeserializer<'_, Misfit> for Cell<'r> {
    type Deserializer = Cell<'r>;

    fn into_deserializer(self) -> Cell<'r> {
        self
    }
}

impl Misfit {
    fn new(why: impl Into<String>) -> Misfit {
        Misfit { column: None, why: why.into(), is_missing: false }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Misfit {}

/// serde's own words, and those of other types, would quote the value.
impl de::Error for Misfit {
    fn custom<T: fmt::Display>(_: T) -> Misfit {
        Misfit::new("the field's type does not take it")
    }

    fn invalid_type(given: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Misfit {
        let given = match given {
            de::Unexpected::Unit | de::Unexpected::Option => "null",
            de::Unexpected::Bool(_) => "a boolean",
            de::Unexpected::Signed(_) | de::Unexpected::Unsigned(_) => "a whole number",
            de::Unexpected::Float(_) => "a floating-point number",
            de::Unexpected::Str(_) => "text",
            de::Unexpected::Bytes(_) => "bytes",
            _ => "something else",
        };
        Misfit::new(format!("the field wants {wanted}, the column has {given}"))
    }

    fn invalid_value(_: de::Unexpected<'_>, wanted: &dyn de::Expected) -> Misfit {
        Misfit::new(format!("the field wants {wanted}, the value is none"))
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Misfit {
        Misfit::new(format!("the value is none of {}", known.join(", ")))
    }

    fn unknown_field(column: &str, _: &'static [&'static str]) -> Misfit {
        Misfit { column: Some(column.to_owned()), ..Misfit::new("the type has no field for it") }
    }

    fn missing_field(field: &'static str) -> Misfit {
        let why = "there is no such column";
        Misfit { column: Some(field.to_owned()), why: why.into(), is_missing: true }
    }
}

/// A number that a text is, if none of its digits is lost: those behind the point may be zeros.
fn number(text: &str) -> Option<Value> {
    let (before, behind) = text.split_once('.').unwrap_or((text, ""));
    let behind = behind.trim_end_matches('0');
    if let Ok(number) = before.parse::<i64>()
        && behind.is_empty()
        && number.to_string() == before
    {
        return Some(Value::Int(number));
    }
    let float: f64 = text.parse().ok()?;
    (float.is_finite() && float.to_string() == format!("{before}.{behind}"))
        .then_some(Value::Float(float))
}

impl Cell<'_> {
    fn of_column<T>(column: &str, read: Result<T, Misfit>) -> Result<T, Misfit> {
        read.map_err(|misfit| match misfit.is_missing {
            true => Misfit::new("the value has not all that the field wants"),
            false => misfit,
        })
        .map_err(|misfit| Misfit { column: Some(column.to_owned()), ..misfit })
    }

    fn scalar<'de, V: Visitor<'de>>(value: Value, visitor: V) -> Result<V::Value, Misfit> {
        match value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::Int(number) => visitor.visit_i64(number),
            Value::Real(number) => visitor.visit_f64(widened(number)),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Text(text) => visitor.visit_string(text),
            Value::Bytes(bytes) => visitor.visit_byte_buf(bytes),
            other @ Value::Timestamp(_) => {
                visitor.visit_string(plain_text(&other).unwrap_or_default().into_owned())
            }
        }
    }

    /// A document as the type that it is.
    fn document<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Misfit> {
        let document: serde_json::Value = serde_json::from_str(text)
            .map_err(|_| Misfit::new("the text is no JSON document that this program can read"))?;
        // serde_json's words would quote the value.
        document
            .deserialize_any(visitor)
            .map_err(|_| Misfit::new("the document is not of the form that the field wants"))
    }

    fn read<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        wanted: impl FnOnce(Value, V) -> Result<V::Value, Misfit>,
    ) -> Result<V::Value, Misfit> {
        let read = match (self.is_json, self.value) {
            (true, Value::Text(text)) => Cell::document(&text, visitor),
            (_, value) => wanted(value, visitor),
        };
        Cell::of_column(self.column, read)
    }
}

/// A text where a number is wanted.
macro_rules! numbers {
    ($($name:ident)*) => {
        $(fn $name<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
            self.read(visitor, |value, visitor| match &value {
                Value::Text(text) => Cell::scalar(number(text).unwrap_or(value), visitor),
                _ => Cell::scalar(value, visitor),
            })
        })*
    };
}

/// A document in a text, of which the type is not known: what a statement of SQL has read.
macro_rules! documents {
    ($($name:ident($($argument:ident: $kind:ty),*);)*) => {
        $(fn $name<V: Visitor<'de>>(
            self,
            $($argument: $kind,)*
            visitor: V,
        ) -> Result<V::Value, Misfit> {
            $(let _ = $argument;)*
            self.read(visitor, |value, visitor| match value {
                Value::Text(text) => Cell::document(&text, visitor),
                // Bytes as a list of numbers.
                Value::Bytes(bytes) => {
                    visitor.visit_seq(SeqDeserializer::new(bytes.into_iter()))
                }
                value => Cell::scalar(value, visitor),
            })
        })*
    };
}

impl<'de> Deserializer<'de> for Cell<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.read(visitor, Cell::scalar)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    /// A file has 0 and 1.
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        self.read(visitor, |value, visitor| match value {
            Value::Int(number @ (0 | 1)) => visitor.visit_bool(number == 1),
            value => Cell::scalar(value, visitor),
        })
    }

    /// One without a value is its name.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        let read = match (self.is_json, &self.value) {
            (false, Value::Text(text)) => visitor.visit_enum(StrDeserializer::<Misfit>::new(text)),
            (true, Value::Text(text)) => {
                let document = serde_json::from_str::<serde_json::Value>(text)
                    .map_err(|_| Misfit::new("the text is no JSON document"))?;
                document.deserialize_enum("", &[], visitor).map_err(|_| {
                    Misfit::new("the document is not of the form that the field wants")
                })
            }
            _ => Err(Misfit::new("the field wants the name of a variant, as text")),
        };
        Cell::of_column(self.column, read)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_unit()
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    documents! {
        deserialize_seq();
        deserialize_map();
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct identifier
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    use serde::Deserialize;

    fn read<T: DeserializeOwned>(value: impl Into<Value>, is_json: bool) -> Result<T, Misfit> {
        let cell = Cell { column: "c", value: value.into(), is_json };
        let mut row: BTreeMap<String, T> = read_row([cell].into_iter())?;
        Ok(row.remove("c").unwrap())
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Mood {
        Glad,
        Sad,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Size {
        width: u8,
        label: Option<String>,
    }

    #[test]
    fn a_value_is_whatever_holds_it_without_loss() {
        assert_eq!(read::<i8>(-7, false).unwrap(), -7);
        assert_eq!(read::<f64>(7, false).unwrap(), 7.0);
        assert_eq!(read::<f32>(0.1_f32, false).unwrap(), 0.1);
        assert_eq!(read::<f64>(0.1_f32, false).unwrap(), 0.1);
        assert_eq!(read::<f64>("12.50", false).unwrap(), 12.5);
        assert_eq!(read::<i64>("12.00", false).unwrap(), 12);
        assert_eq!(read::<String>("12.50", false).unwrap(), "12.50");
        assert!(read::<f64>("0.30000000000000000004", false).is_err());
        assert!(read::<i64>("007", false).is_err());
        assert!(read::<bool>(1, false).unwrap() && read::<bool>(true, false).unwrap());
        assert!(read::<bool>(2, false).is_err());
        assert_eq!(read::<Option<i64>>(Value::Null, false).unwrap(), None);
        assert_eq!(read::<Mood>("sad", false).unwrap(), Mood::Sad);
        assert_eq!(read::<Vec<u8>>(vec![0, 255], false).unwrap(), [0, 255]);
        let at = jiff::civil::date(2025, 8, 7).at(9, 0, 0, 500_000_000);
        assert_eq!(read::<jiff::civil::DateTime>(at, false).unwrap(), at);
        assert_eq!(read::<String>(at, false).unwrap(), "2025-08-07 09:00:00.500000");
        let moment = read::<jiff::Timestamp>("2025-08-07 09:00:00+00:00", false).unwrap();
        assert_eq!(moment.to_string(), "2025-08-07T09:00:00Z");
    }

    #[test]
    fn a_document_is_what_it_says() {
        let size = r#"{"width": 7, "label": null}"#;
        for is_json in [false, true] {
            let read: Size = read(size, is_json).unwrap();
            assert_eq!(read, Size { width: 7, label: None });
        }
        assert_eq!(read::<String>(r#""a""#, true).unwrap(), "a");
        assert_eq!(read::<Mood>(r#""glad""#, true).unwrap(), Mood::Glad);
        assert_eq!(read::<Vec<i64>>("[1, 2]", true).unwrap(), [1, 2]);
        assert_eq!(read::<serde_json::Value>("5", true).unwrap(), 5);
        assert_eq!(read::<Option<serde_json::Value>>(Value::Null, true).unwrap(), None);
    }

    #[test]
    fn no_error_repeats_a_value() {
        let secret = "the-secret";
        let misfits = [
            read::<i64>(secret, false).map(|_| ()).unwrap_err(),
            read::<jiff::civil::Date>(secret, false).map(|_| ()).unwrap_err(),
            read::<Mood>(secret, false).map(|_| ()).unwrap_err(),
            read::<Size>(secret, false).map(|_| ()).unwrap_err(),
            read::<Size>(r#"{"width": "the-secret"}"#, true).map(|_| ()).unwrap_err(),
            read::<Mood>(r#""the-secret""#, true).map(|_| ()).unwrap_err(),
            read::<u8>(77_777, false).map(|_| ()).unwrap_err(),
            read::<String>(Value::Null, false).map(|_| ()).unwrap_err(),
        ];
        for misfit in misfits {
            assert_eq!(misfit.column.as_deref(), Some("c"), "{misfit}");
            assert!(!misfit.is_missing && !misfit.why.is_empty());
            let text = format!("{misfit} {misfit:?}");
            assert!(!text.contains("secret") && !text.contains("77"), "{text}");
        }
    }
}
