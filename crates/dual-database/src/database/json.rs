//! A JSON object as names and values, without ever repeating a value in an error.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::schema::Table;
use crate::value::Value;
use crate::{Error, Kind, Result};

/// The members of an object of the table's columns in their order, those of one name included.
///
/// # Errors
/// Invalid data if the text is no JSON object, or a member is no number, text, boolean or null.
pub(super) fn object(
    operation: &'static str,
    table: &Table,
    text: &str,
) -> Result<Vec<(String, Value)>> {
    let refused = |message: String| Error::new(Kind::InvalidData, operation, message);
    let Members(members) = serde_json::from_str(text).map_err(|cause| {
        let place = format!("line {}, column {}", cause.line(), cause.column());
        match cause.classify() {
            // serde's own words would quote the value.
            serde_json::error::Category::Data => refused("a JSON object is wanted".into()),
            _ => refused(format!("this is not valid JSON ({place})")),
        }
        .with_hint(format!("give an object, such as {}", example(table)))
    })?;
    members
        .into_iter()
        .map(|(name, value)| match scalar(value) {
            Ok(value) => Ok((name, value)),
            Err(what) => Err(refused(format!("{name}: {what}"))),
        })
        .collect()
}

/// The first columns that a row is told by.
fn example(table: &Table) -> String {
    let columns = table.key_columns().chain(table.data_columns().take(1));
    let member = |name: &str| format!("{}: …", serde_json::Value::from(name));
    let members: Vec<String> = columns.map(|column| member(&column.name)).collect();
    format!("{{{}}}", members.join(", "))
}

fn scalar(value: serde_json::Value) -> Result<Value, &'static str> {
    match value {
        serde_json::Value::Null => Ok(Value::Null),
        serde_json::Value::Bool(flag) => Ok(Value::Bool(flag)),
        serde_json::Value::Number(number) => number
            .as_i64()
            .map(Value::Int)
            .or_else(|| number.as_f64().map(Value::Float))
            .ok_or("only a number of 64 bits can be kept, not this number"),
        serde_json::Value::String(text) => Ok(Value::Text(text)),
        serde_json::Value::Array(_) => Err("a list cannot be kept in a column"),
        serde_json::Value::Object(_) => Err("an object cannot be kept in a column"),
    }
}

/// Every member: a map would silently keep the last of two.
struct Members(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Members, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}
