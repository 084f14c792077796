//! Columns to be set in a row of any declared table: callers name them, and they are checked against the
//! declaration before anything else happens; what goes further counts the data columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::json;
use crate::schema::{Column, Key, LogicalType, Role, Table, Unfit};
use crate::value::{LONGEST, Tree, Value};
use crate::{Error, Kind, Result};

/// What is being done while a caller's columns are checked.
const OPERATION: &str = "check the columns";

/// Columns to be set, by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patch {
    columns: BTreeMap<Arc<str>, Value>,
}

impl Patch {
    /// Sets a column by its name.
    ///
    /// # Errors
    /// Invalid data for a name that is no column (with the nearest one as a hint), a column that
    /// PostgreSQL numbers, a key that is null, a value of another type, text with NUL or that is
    /// none of the column's [words](Table::words), a number or a date out of range.
    pub fn set(&mut self, table: &Table, column: &str, value: Value) -> Result<()> {
        let column = column_of(table, column)?;
        self.put(column, checked(table, column, value)?);
        Ok(())
    }

    /// Sets a column; [`Patch::checked`] has the last word on it.
    pub(crate) fn put(&mut self, column: &Column, value: Value) {
        self.columns.insert(Arc::clone(&column.name), value);
    }

    /// From a JSON object: numbers, booleans, text, null; timestamps as text.
    ///
    /// # Errors
    /// As for [`Patch::set`]; invalid data for what is no JSON object, or names a column twice.
    pub fn from_json(table: &Table, text: &str) -> Result<Patch> {
        let mut patch = Patch::default();
        for (name, value) in json::object(OPERATION, table, text)? {
            if patch.columns.contains_key(&*name) {
                return Err(refused(table, &name, "it is named twice"));
            }
            patch.set(table, &name, value)?;
        }
        Ok(patch)
    }

    /// From a struct, or a map, by serde: a column for each of its fields. `None` sets the column to NULL; what is
    /// not to be set is skipped (`#[serde(skip_serializing_if = "Option::is_none")]`). A key that is `None` is left
    /// out: where it is numbered by itself, a new row gets a number. What is no text, number, boolean or bytes goes
    /// into a column of JSON, and into no other.
    ///
    /// ```
    /// use dual_database::database::Patch;
    /// use dual_database::schema::users;
    ///
    /// #[derive(serde::Serialize)]
    /// struct Guest<'g> {
    ///     user_id: i64,
    ///     first_name: &'g str,
    ///     register_date: jiff::civil::DateTime,
    /// }
    ///
    /// let register_date = jiff::civil::date(2025, 8, 7).at(12, 0, 0, 0);
    /// let guest = Guest { user_id: 7, first_name: "Анна", register_date };
    /// let text = r#"{"user_id": 7, "first_name": "Анна", "register_date": "2025-08-07 12:00:00"}"#;
    /// assert_eq!(Patch::from_struct(&users(), &guest)?, Patch::from_json(&users(), text)?);
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Patch::set`]; invalid data for what has no fields, or one twice.
    pub fn from_struct<T: Serialize + ?Sized>(table: &Table, row: &T) -> Result<Patch> {
        let wrong = |message: String| Error::new(Kind::InvalidData, OPERATION, message);
        let tree = Tree::of(row).map_err(|cause| wrong(format!("{}: {cause}", table.name())))?;
        let Tree::Object(members) = tree else {
            return Err(wrong(format!("{}: a struct with fields is wanted", table.name())));
        };
        let mut patch = Patch::default();
        for (name, tree) in members {
            let column = column_of(table, &name)?;
            if patch.columns.contains_key(&*name) {
                return Err(refused(table, &name, "it is named twice"));
            }
            let value = column_value(table, column, tree)?;
            if column.role != Role::Key || !value.is_null() {
                patch.set(table, &name, value)?;
            }
        }
        Ok(patch)
    }

    /// The same after another look at every value: the typed setters do not fail.
    ///
    /// # Errors
    /// As for [`Patch::set`].
    pub(crate) fn checked(&self, table: &Table) -> Result<Checked> {
        // A column may have been renamed since it was named, or dropped.
        let mut said = BTreeMap::new();
        for (name, value) in &self.columns {
            let column = table.column_once(name).ok_or_else(|| unknown(table, name))?;
            said.insert(&*column.name, value);
        }
        let (mut key, mut columns, mut data) = (Vec::new(), Vec::new(), 0..);
        for column in table.columns() {
            let value =
                said.get(&*column.name).map(|value| checked(table, column, (*value).clone()));
            let value = value.transpose()?;
            match column.role {
                Role::Key => key.push(value.unwrap_or(Value::Null)),
                Role::Data => columns.extend(data.next().zip(value)),
                Role::Surrogate => {}
            }
        }
        let is_named = key.iter().any(|part| !part.is_null());
        let lacking = key.iter().zip(table.key_columns()).find(|(part, _)| part.is_null());
        match lacking {
            Some((_, column)) if is_named => {
                Err(refused(table, &column.name, "it has to be given: it is part of the key"))
            }
            _ => Ok(Checked { key: Key::of(&key), columns }),
        }
    }
}

/// What a caller wants to set, checked.
#[derive(Clone, Debug)]
pub(crate) struct Checked {
    /// The key, if it was named: all of its columns.
    pub key: Option<Key>,
    /// Data columns by their position, in order.
    pub columns: Vec<(usize, Value)>,
}

/// What a field of a caller's type is in that column.
fn column_value(table: &Table, column: &Column, tree: Tree) -> Result<Value> {
    let is_json = matches!(column.kind, LogicalType::Json | LogicalType::Jsonb);
    match tree {
        Tree::Value(Value::Null) => Ok(Value::Null),
        tree if is_json => serde_json::to_string(&tree)
            .map(Value::Text)
            .map_err(|_| refused(table, &column.name, "it cannot be written as a JSON document")),
        Tree::Value(value) => Ok(value),
        Tree::List(list) if column.kind == LogicalType::Bytes => {
            let byte = |part: &Tree| match part {
                Tree::Value(Value::Int(number)) => u8::try_from(*number).ok(),
                _ => None,
            };
            let bytes: Option<Vec<u8>> = list.iter().map(byte).collect();
            bytes.map(Value::Bytes).ok_or_else(|| refused(table, &column.name, "bytes are wanted"))
        }
        Tree::List(_) => Err(refused(table, &column.name, "a list cannot be kept in it")),
        Tree::Object(_) => Err(refused(table, &column.name, "an object cannot be kept in it")),
    }
}

/// The column of that name.
///
/// # Errors
/// Invalid data with the nearest name as a hint.
pub(crate) fn column_of<'t>(table: &'t Table, name: &str) -> Result<&'t Column> {
    table.column(name).ok_or_else(|| unknown(table, name))
}

fn unknown(table: &Table, name: &str) -> Error {
    // A caller's name may be anything, a secret pasted by mistake included.
    let shown: String = name.chars().take(40).filter(|c| !c.is_control()).collect();
    let known = table.columns().iter().map(|column| &*column.name);
    refused(table, &shown, "there is no such column").suggesting(&name.to_lowercase(), known)
}

/// The value as that column keeps it.
///
/// # Errors
/// As for [`Patch::set`].
fn checked(table: &Table, column: &Column, value: Value) -> Result<Value> {
    match (column.role, &value) {
        (Role::Surrogate, _) => {
            let error = refused(table, &column.name, "PostgreSQL numbers it");
            return Err(error.with_hint("leave it out"));
        }
        (Role::Key, Value::Null) => return Err(refused(table, &column.name, "it cannot be null")),
        _ => {}
    }
    let value = comparable(table, column, value)?;
    if value.bytes() > LONGEST {
        // Bytes count twice.
        let most = if matches!(value, Value::Bytes(_)) { LONGEST / 2 } else { LONGEST };
        let why = format!("it is longer than {} MB", most >> 20);
        return Err(refused(table, &column.name, &why).with_hint("shorten it"));
    }
    match (&value, table.words(&column.name)) {
        (Value::Text(text), Some(words)) if !words.iter().any(|word| **word == **text) => {
            let why = format!("it is none of {}", words.join(", "));
            let nearest = text.to_lowercase();
            Err(refused(table, &column.name, &why)
                .suggesting(&nearest, words.iter().map(|word| &**word)))
        }
        _ => Ok(value),
    }
}

/// The value as something to compare that column with: numbers of rows can be asked for, too.
///
/// # Errors
/// Invalid data for a value of another type.
pub(crate) fn comparable(table: &Table, column: &Column, value: Value) -> Result<Value> {
    let unfit = |why: Unfit| refused(table, &column.name, &why.to_string());
    column.kind.accept(value).map_err(unfit)
}

/// Invalid data in that column.
pub(crate) fn refused(table: &Table, column: &str, why: &str) -> Error {
    Error::new(Kind::InvalidData, OPERATION, format!("{}.{column}: {why}", table.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Record;
    use crate::schema::{LogicalType, users};

    fn set(column: &str, value: impl Into<Value>) -> Result<()> {
        Patch::default().set(&users(), column, value.into())
    }

    #[test]
    fn names_and_types_are_refused_by_name() {
        for (column, value, words) in [
            ("frist_name", Value::Null, "users.frist_name: there is no such column"),
            ("id", Value::Int(1), "users.id: PostgreSQL numbers it"),
            ("user_id", Value::Null, "users.user_id: it cannot be null"),
            ("username", Value::Int(1), "users.username: text is wanted, not a number"),
            ("username", "a\0b".into(), "NUL"),
            ("brought_by_staff_id", Value::Int(1 << 40), "out of range"),
            ("profile_completed", Value::Int(1), "true or false is wanted, not a number"),
            ("register_date", "yesterday".into(), "a timestamp is wanted"),
        ] {
            let error = set(column, value).unwrap_err();
            assert!(error.is_invalid_data() && error.message().contains(words), "{error}");
        }
        for (given, hint) in [
            ("redemed", Some("did you mean `redeemed`?")),
            ("Issued", Some("did you mean `issued`?")),
            ("", None),
        ] {
            let error = set("status", given).unwrap_err();
            let words =
                "users.status: it is none of registered, issued, redeemed, redeemed_and_left";
            assert_eq!((error.message(), error.hint()), (words, hint));
        }
        assert!(set("status", Value::Null).is_ok() && set("status", "redeemed_and_left").is_ok());
        assert_eq!(set("frist_name", 1).unwrap_err().hint(), Some("did you mean `first_name`?"));
        assert_eq!(set("\"; DROP TABLE users; --", 1).unwrap_err().hint(), None);
    }

    #[test]
    fn what_is_documented_is_taken() {
        let mut patch = Patch::default();
        let table = users();
        patch.set(&table, "register_date", "2025-08-07T12:00:00.5+03:00".into()).unwrap();
        patch.set(&table, "referrer_id", i64::MIN.into()).unwrap();
        let checked = patch.checked(&table).unwrap();
        assert_eq!(checked.key, None);
        let shown: Vec<String> = checked.columns.iter().map(|(_, v)| format!("{v:?}")).collect();
        assert_eq!(shown, ["Timestamp(2025-08-07T09:00:00.5)", "Int(-9223372036854775808)"]);
    }

    #[test]
    fn a_text_is_as_long_as_is_carried() {
        let mut patch = Patch::default();
        let table = users();
        patch.set(&table, "first_name", "x".repeat(LONGEST).into()).unwrap();
        let error = patch.set(&table, "first_name", "x".repeat(LONGEST + 1).into()).unwrap_err();
        assert!(error.is_invalid_data());
        assert!(error.message().contains("longer than 16 MB"), "{}", error.message());
        assert!(error.hint().is_some_and(|hint| hint.contains("shorten")));
    }

    #[test]
    fn json_is_read_in_the_documented_forms_only() {
        let read = |text: &str| Patch::from_json(&users(), text);
        let patch =
            read(r#"{"user_id": 5123456789, "first_name": "Пример", "phone_number": null}"#);
        assert_eq!(patch.unwrap().columns.len(), 3);
        for (text, words) in [
            ("", "JSON"),
            ("[1]", "object"),
            (r#"{"user_id": 1.5}"#, "whole number"),
            (r#"{"user_id": 99999999999999999999}"#, "whole number"),
            (r#"{"user_id": 1, "user_id": 2}"#, "named twice"),
            (r#"{"username": ["a"]}"#, "username: a list"),
            (r#"{"user_id": 1} x"#, "JSON"),
            (r#"{"username": "secret"#, "JSON"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.chain().contains(words), "{}", error.chain());
            assert!(!error.chain().contains("secret"));
        }
    }

    #[test]
    fn numbers_and_bytes_are_shown_as_json_has_them_and_read_so() {
        let column = |name: &str, kind| Column::new(name, kind, Role::Data);
        let table = Table::declare(
            "things",
            vec![
                Column::new("code", LogicalType::BigInt, Role::Key),
                column("d", LogicalType::Double),
                column("r", LogicalType::Real),
                column("n", LogicalType::Numeric),
                column("b", LogicalType::Bytes),
            ],
        )
        .unwrap();
        let read = |text: &str| -> Result<Vec<Value>> {
            let checked = Patch::from_json(&table, text)?.checked(&table)?;
            Ok(checked.columns.into_iter().map(|(_, value)| value).collect())
        };
        let values = read(r#"{"d": 1, "r": 0.1, "n": 12.5, "b": "\\x00ff"}"#).unwrap();
        let bytes = Value::Bytes(vec![0, 255]);
        assert_eq!(values, [Value::Float(1.0), Value::Real(0.1), "12.5".into(), bytes]);
        let shown = |values| {
            let record = Record { key: 7.into(), surrogate: None, values };
            serde_json::to_string(&record.shown(&table)).unwrap()
        };
        assert_eq!(shown(values), r#"{"code":7,"d":1.0,"r":0.1,"n":"12.5","b":"\\x00ff"}"#);
        let infinite = vec![Value::Float(f64::INFINITY), Value::Null, Value::Null, Value::Null];
        assert_eq!(shown(infinite), r#"{"code":7,"d":"Infinity","r":null,"n":null,"b":null}"#);
        for (text, words) in [
            (r#"{"n": 0.30000000000000004}"#, "give it as text"),
            (r#"{"n": 99999999999999999999}"#, "give it as text"),
            (r#"{"b": "00ff"}"#, "two hexadecimal digits"),
            (r#"{"d": "1"}"#, "a number is wanted, not text"),
            (r#"{"code": 1.5}"#, "a whole number is wanted, not a floating-point number"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.is_invalid_data() && error.message().contains(words), "{error}");
        }
        let long = Patch::default().set(&table, "b", vec![0; LONGEST / 2 + 1].into()).unwrap_err();
        assert!(long.message().contains("longer than 8 MB"), "{long}");
    }

    #[test]
    fn a_key_of_several_columns_is_named_whole() {
        let columns = [
            ("note", LogicalType::Text, Role::Data),
            ("day", LogicalType::Timestamp, Role::Key),
            ("who", LogicalType::Text, Role::Key),
        ];
        let columns = columns.map(|(name, kind, role)| Column::new(name, kind, role));
        let table = Table::declare("days", columns.into()).unwrap();
        let checked = |text: &str| Patch::from_json(&table, text).and_then(|it| it.checked(&table));
        let named = checked(r#"{"who": "Анна", "note": "n", "day": "2025-08-07T12:00:00+03:00"}"#);
        let named = named.unwrap();
        let key = named.key.unwrap();
        assert_eq!(key.json(), r#"["2025-08-07 09:00:00","Анна"]"#);
        assert_eq!(named.columns, [(0, "n".into())]);
        assert_eq!(checked(r#"{"note": "n"}"#).unwrap().key, None);
        let error = checked(r#"{"who": "Анна"}"#).unwrap_err();
        assert!(error.message().contains("days.day: it has to be given"), "{error}");
        let record = Record { key, surrogate: None, values: vec![Value::Null] };
        let day = jiff::civil::date(2025, 8, 7).at(9, 0, 0, 0);
        let value = |name| record.value(&table, name);
        assert_eq!(["day", "who"].map(value), [Some(day.into()), Some("Анна".into())]);
        let shown = serde_json::to_string(&record.shown(&table)).unwrap();
        assert_eq!(shown, r#"{"note":null,"day":"2025-08-07 09:00:00","who":"Анна"}"#);
    }

    #[test]
    fn columns_are_found_by_the_names_that_they_had_when_they_were_named() {
        let data = |name| Column::new(name, LogicalType::Text, Role::Data);
        let key = Column::new("n", LogicalType::BigInt, Role::Key);
        let before = Table::declare("things", vec![data("a"), key, data("b"), data("c")]).unwrap();
        let mut patch = Patch::default();
        patch.set(&before, "c", "kept".into()).unwrap();
        let after = before.renaming("c", "d").unwrap().leaving("a").unwrap();
        assert_eq!(patch.checked(&before).unwrap().columns, [(2, "kept".into())]);
        assert_eq!(patch.checked(&after).unwrap().columns, [(1, "kept".into())]);
        let error = patch.checked(&after.leaving("d").unwrap()).unwrap_err();
        assert!(error.message().contains("things.c: there is no such column"), "{error}");
    }
}
