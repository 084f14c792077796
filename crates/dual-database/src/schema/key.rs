use std::fmt;
use std::sync::Arc;

use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use super::{LogicalType, Table};
use crate::value::{Value, plain_text};
use crate::{Error, Kind, Result};

/// By what a row is told apart from the others of its table, on both sides. Its order is that in
/// which both sides read rows: column by column, numbers as numbers, everything else by the bytes of
/// its canonical text.
///
/// ```
/// use dual_database::schema::Key;
/// let key = Key::from(7);
/// assert!(key < Key::from(10));
/// assert_eq!(key.to_string(), "7");
/// let (one, other) = (Key::from("B"), Key::from("a"));
/// assert!(one < other);
/// let several = Key::of(&["Пример".into(), 7.into()]).unwrap();
/// assert_eq!(several.to_string(), r#"["Пример",7]"#);
/// assert_eq!(Key::from_json(&several.json()), Some(several));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Form);

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Form {
    /// One whole number, which is what most keys are.
    Number(i64),
    /// Anything else, part by part.
    Parts(Arc<[Part]>),
}

/// What a key has of one column.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Part {
    Number(i64),
    Text(Box<str>),
}

impl Part {
    /// `None` for what cannot be in a key.
    fn of(value: &Value) -> Option<Part> {
        match value {
            Value::Null | Value::Bool(_) => None,
            Value::Int(number) => Some(Part::Number(*number)),
            other => Some(Part::Text(plain_text(other)?.into())),
        }
    }

    fn from_json(json: &serde_json::Value) -> Option<Part> {
        match json {
            serde_json::Value::Number(number) => number.as_i64().map(Part::Number),
            serde_json::Value::String(text) => Some(Part::Text(text.as_str().into())),
            _ => None,
        }
    }

    fn value(&self) -> Value {
        match self {
            Part::Number(number) => Value::Int(*number),
            Part::Text(text) => Value::Text(text.to_string()),
        }
    }
}

impl Serialize for Part {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Part::Number(number) => serializer.serialize_i64(*number),
            Part::Text(text) => serializer.serialize_str(text),
        }
    }
}

impl Key {
    /// What the key has of its columns, in their order: numbers, and of everything else the text that
    /// PostgreSQL takes ([`Table::key_values`] has the values).
    pub fn values(&self) -> impl Iterator<Item = Value> {
        let (number, parts): (Option<i64>, &[Part]) = match &self.0 {
            Form::Number(number) => (Some(*number), &[]),
            Form::Parts(parts) => (None, parts),
        };
        number.into_iter().map(Value::Int).chain(parts.iter().map(Part::value))
    }

    /// The whole number that it is, if it is one alone.
    #[must_use]
    pub fn number(&self) -> Option<i64> {
        match self.0 {
            Form::Number(number) => Some(number),
            Form::Parts(_) => None,
        }
    }

    /// The key of these values of the key's columns; `None` if they make none.
    #[must_use]
    pub fn of(values: &[Value]) -> Option<Key> {
        Key::made(values.iter().map(Part::of).collect::<Option<Vec<_>>>()?)
    }

    /// The key that a person has typed: of one column as it is, of several as a JSON array in their order, or a
    /// JSON object.
    ///
    /// ```
    /// use dual_database::schema::{Key, users};
    /// assert_eq!(Key::of_text(&users(), "7")?, Key::from(7));
    /// assert!(Key::of_text(&users(), "Anna").is_err());
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    ///
    /// # Errors
    /// Invalid data if it is no key of the table.
    pub fn of_text(table: &Table, text: &str) -> Result<Key> {
        let wrong = |hint: String| {
            let message = format!("table {}: it is no key, {}", table.name(), table.key_name());
            Error::new(Kind::InvalidData, "read the key", message).with_hint(hint)
        };
        let mut columns = table.key_columns();
        if let (Some(only), None) = (columns.next(), columns.next()) {
            let value = only.kind.parse(text).filter(|value| only.kind.description().holds(value));
            let key = value.and_then(|value| Key::of(&[value]));
            return key.ok_or_else(|| wrong(format!("give {}", only.kind.description().wanted())));
        }
        let key = match serde_json::from_str(text) {
            Ok(serde_json::Value::Object(mut object)) => {
                let parts = table.key_columns().map(|column| object.remove(&*column.name));
                let parts: Option<Vec<_>> = parts.collect();
                parts.filter(|_| object.is_empty()).map(serde_json::Value::Array)
            }
            Ok(array @ serde_json::Value::Array(_)) => Some(array),
            _ => None,
        };
        let key = key.and_then(|parts| Key::read(&parts)).filter(|key| table.takes_key(key));
        key.ok_or_else(|| wrong(format!("give a JSON array of {}", table.key_name())))
    }

    /// As JSON: one column as its value, several as an array.
    #[must_use]
    pub fn json(&self) -> String {
        // Numbers and texts always can be.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The key that is that JSON.
    #[must_use]
    pub fn from_json(text: &str) -> Option<Key> {
        Key::read(&serde_json::from_str(text).ok()?)
    }

    pub(crate) fn read(json: &serde_json::Value) -> Option<Key> {
        Key::made(match json {
            serde_json::Value::Array(parts) => {
                parts.iter().map(Part::from_json).collect::<Option<_>>()?
            }
            one => vec![Part::from_json(one)?],
        })
    }

    fn made(parts: Vec<Part>) -> Option<Key> {
        match parts.as_slice() {
            [] => None,
            [Part::Number(number)] => Some(Key(Form::Number(*number))),
            _ => Some(Key(Form::Parts(parts.into()))),
        }
    }

    /// How many columns it has.
    fn width(&self) -> usize {
        match &self.0 {
            Form::Number(_) => 1,
            Form::Parts(parts) => parts.len(),
        }
    }
}

impl Table {
    /// Whether a row of the table could have that key.
    #[must_use]
    pub fn takes_key(&self, key: &Key) -> bool {
        match key.number() {
            Some(_) => self.has_whole_key(),
            None => self.key_values(key).is_some(),
        }
    }

    /// The values of the key's columns; `None` if it is no key of the table.
    #[must_use]
    pub fn key_values(&self, key: &Key) -> Option<Vec<Value>> {
        let kinds = || self.key_columns().map(|column| &column.kind);
        if key.width() != kinds().count() {
            return None;
        }
        let typed = |(value, kind): (Value, &LogicalType)| match value {
            Value::Text(text) => kind.parse(text),
            other => Some(other),
        };
        let values: Vec<Value> = key.values().zip(kinds()).map(typed).collect::<Option<_>>()?;
        let fits = values.iter().zip(kinds()).all(|(value, kind)| kind.description().holds(value));
        (fits && Key::of(&values).as_ref() == Some(key)).then_some(values)
    }
}

impl From<i64> for Key {
    fn from(number: i64) -> Key {
        Key(Form::Number(number))
    }
}

/// The key of one column of text, or of anything else by its canonical text.
impl From<&str> for Key {
    fn from(text: &str) -> Key {
        Key(Form::Parts([Part::Text(text.into())].into()))
    }
}

/// Whether it is the key of this one whole number.
impl PartialEq<i64> for Key {
    fn eq(&self, number: &i64) -> bool {
        self.number() == Some(*number)
    }
}

impl From<&Key> for Key {
    fn from(key: &Key) -> Key {
        key.clone()
    }
}

/// One column as its text, several as JSON.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Number(number) => number.fmt(f),
            Form::Parts(parts) => match &**parts {
                [Part::Text(text)] => text.fmt(f),
                _ => f.write_str(&self.json()),
            },
        }
    }
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0 {
            Form::Number(number) => number.serialize(serializer),
            Form::Parts(parts) => match &**parts {
                [one] => one.serialize(serializer),
                several => {
                    let mut array = serializer.serialize_seq(Some(several.len()))?;
                    several.iter().try_for_each(|part| array.serialize_element(part))?;
                    array.end()
                }
            },
        }
    }
}

/// A row of one of the tables that are kept together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId {
    /// The table's position among those that are kept together.
    pub table: usize,
    /// The row's key.
    pub key: Key,
}

impl RowId {
    /// The row with that key in the table at that position.
    pub fn new(table: usize, key: impl Into<Key>) -> RowId {
        RowId { table, key: key.into() }
    }
}
