//! A row as it is answered: values, without stamps.

use serde::de::DeserializeOwned;
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::merge::Version;
use crate::schema::{Column, Key, LogicalType, Role, Table};
use crate::value::{Cell, Misfit, Value, read_row};
use crate::{Error, Kind, Result};

/// A living row of a declared table, as a list of either store and every answer have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: Key,
    /// PostgreSQL's number of it; negative while provisional.
    pub surrogate: Option<i64>,
    /// The data columns in their order.
    pub values: Vec<Value>,
}

impl Record {
    /// The row of that version, if it lives.
    pub(crate) fn of(key: Key, surrogate: Option<i64>, version: Version) -> Option<Record> {
        let lives = version.lives();
        let values = version.columns.into_iter().map(|column| column.value).collect();
        lives.then_some(Record { key, surrogate, values })
    }

    /// The value of the column of that name; `None` if there is no such column.
    #[must_use]
    pub fn value(&self, table: &Table, name: &str) -> Option<Value> {
        let is_it = |column: &Column| *column.name == *name;
        match table.column(name)?.role {
            Role::Key => {
                let at = table.key_columns().position(is_it)?;
                table.key_values(&self.key)?.into_iter().nth(at)
            }
            Role::Surrogate => Some(self.surrogate.into()),
            Role::Data => self.values.get(table.data_columns().position(is_it)?).cloned(),
        }
    }

    /// The row as a type of the caller's, by serde: a struct with a field for each column that it wants, under the
    /// column's name (`#[serde(rename = "…")]` for another one), or a map.
    ///
    /// Days, times and moments are texts in their canonical form, which `jiff` and `chrono` read; `numeric` is a
    /// text, or a number where that loses no digit; bytes are bytes, or a list of numbers; a JSON document is what
    /// it says; NULL is `None`. Columns without a field are left out.
    ///
    /// ```
    /// use dual_database::protocol::Record;
    /// use dual_database::schema::{Column, LogicalType, Role, Table};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Booking {
    ///     code: i64,
    ///     at: jiff::civil::DateTime,
    ///     price: String,
    ///     note: Option<String>,
    /// }
    ///
    /// let column = |name: &str, kind| Column::new(name, kind, Role::Data);
    /// let bookings = Table::declare(
    ///     "bookings",
    ///     vec![
    ///         Column::new("code", LogicalType::BigInt, Role::Key),
    ///         column("at", LogicalType::Timestamp),
    ///         column("price", LogicalType::Numeric),
    ///         column("note", LogicalType::Text),
    ///     ],
    /// )?;
    /// let at = jiff::civil::date(2025, 8, 7).at(12, 0, 0, 0);
    /// let values = vec![at.into(), "12.50".into(), None::<&str>.into()];
    /// let booking: Booking =
    ///     Record { key: 7.into(), surrogate: None, values }.to_struct(&bookings)?;
    /// assert_eq!((booking.code, booking.at, &*booking.price), (7, at, "12.50"));
    /// assert_eq!(booking.note, None);
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    ///
    /// # Errors
    /// Invalid data, with table and column, for a field that is no column (with the nearest name as a hint), and
    /// for a value that the field's type does not take. The value itself is not repeated.
    pub fn to_struct<T: DeserializeOwned>(&self, table: &Table) -> Result<T> {
        let cells = table.columns().iter().map(|column| Cell {
            column: &column.name,
            value: self.value(table, &column.name).unwrap_or(Value::Null),
            is_json: matches!(column.kind, LogicalType::Json | LogicalType::Jsonb),
        });
        read_row(cells).map_err(|misfit| {
            let Misfit { column, why, is_missing } = misfit;
            let place = column.as_ref().map_or(String::new(), |column| format!(".{column}"));
            let message = format!("{}{place}: {why}", table.name());
            let error = Error::new(Kind::InvalidData, "read a row as a struct", message);
            let known = table.columns().iter().map(|column| &*column.name);
            match column.filter(|_| is_missing) {
                Some(name) => error.suggesting(&name.to_lowercase(), known),
                None => error,
            }
        })
    }

    /// The record as something that serialises to an object in the order of the columns.
    #[must_use]
    pub fn shown<'r>(&'r self, table: &'r Table) -> ShownRecord<'r> {
        ShownRecord { record: self, table }
    }
}

/// A [`Record`] with its declaration, for printing.
#[derive(Clone, Copy, Debug)]
pub struct ShownRecord<'r> {
    record: &'r Record,
    table: &'r Table,
}

impl Serialize for ShownRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let columns = self.table.columns();
        let mut object = serializer.serialize_map(Some(columns.len()))?;
        let mut data = self.record.values.iter();
        let mut key = self.record.key.values();
        for column in columns {
            let value = match column.role {
                Role::Key => key.next().unwrap_or(Value::Null),
                Role::Surrogate => self.record.surrogate.into(),
                Role::Data => data.next().cloned().unwrap_or(Value::Null),
            };
            object.serialize_entry(&column.name, &value)?;
        }
        object.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::users;

    #[test]
    fn a_record_is_shown_in_the_order_of_its_columns() {
        let table = users();
        let mut values = table.defaults();
        values[6] = Value::Timestamp(jiff::civil::date(2025, 8, 7).at(9, 0, 1, 500_000_000));
        let record = Record { key: 7.into(), surrogate: None, values };
        assert_eq!(
            serde_json::to_string(&record.shown(&table)).unwrap(),
            concat!(
                r#"{"id":null,"user_id":7,"username":null,"first_name":null,"#,
                r#""status":"registered","phone_number":null,"real_name":null,"birth_date":null,"#,
                r#""register_date":"2025-08-07 09:00:01.500000","last_activity":null,"#,
                r#""redeem_date":null,"source":null,"referrer_id":null,"#,
                r#""brought_by_staff_id":null,"profile_completed":false,"ai_concept":"evgenich"}"#
            )
        );
        assert_eq!(record.value(&table, "user_id"), Some(Value::Int(7)));
        assert_eq!(record.value(&table, "status"), Some(Value::Text("registered".into())));
        assert_eq!(record.value(&table, "fax"), None);
    }
}
