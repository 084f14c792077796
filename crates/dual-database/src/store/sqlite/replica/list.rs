//! Lists of living rows, in the order and with the filters that PostgreSQL's have.

use rusqlite::types::{Value as Stored, ValueRef};
use rusqlite::{Connection, params_from_iter};

use super::super::{failed, from_sqlite, to_sqlite};
use super::Content;
use crate::Result;
use crate::protocol::{After, Filter, Record};
use crate::schema::{Column, Dialect, Key, KeyColumns, Role, Table, quoted};
use crate::store::sqlite::stored;
use crate::value::Value;

impl Content<'_> {
    /// Living rows; a value that its column's type cannot hold reads as NULL. The newest first (`register_date DESC NULLS LAST, key DESC`; without such a
    /// column by key descending).
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn list(
        &self,
        table: usize,
        filter: &Filter,
        after: Option<&After>,
        limit: u64,
    ) -> Result<Vec<Record>> {
        let operation = "list rows of the SQLite file";
        let table = &self.tables()[table].table;
        rows(self.connection(), table, filter, after, limit)
            .map_err(|cause| failed(operation, cause))
    }

    /// How many living rows fit.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn count(&self, table: usize, filter: &Filter) -> Result<u64> {
        let operation = "count rows of the SQLite file";
        let table = &self.tables()[table].table;
        let mut statement = Statement::new(table);
        statement.filter(filter).map_err(|cause| failed(operation, cause))?;
        let sql =
            format!("SELECT count(*) FROM {} AS u{}", quoted(table.name()), statement.condition());
        let count = self.connection().prepare_cached(&sql).and_then(|mut prepared| {
            prepared.query_row(params_from_iter(&statement.values), |row| row.get::<_, i64>(0))
        });
        let count = count.map_err(|cause| failed(operation, cause))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }
}

fn rows(
    connection: &Connection,
    table: &Table,
    filter: &Filter,
    after: Option<&After>,
    limit: u64,
) -> rusqlite::Result<Vec<Record>> {
    let mut statement = Statement::new(table);
    statement.filter(filter)?;
    if let Some(after) = after {
        let order = match after.order.is_null() {
            true => unreadable_order(connection, &statement, &after.key)?,
            false => Some(to_sqlite(&after.order)),
        };
        statement.go_on(&after.key, order);
    }
    let column =
        |column: &Column| column.kind.description().stored(&format!("u.{}", quoted(&column.name)));
    let columns: Vec<String> = table.columns().iter().map(column).collect();
    let given = statement.key.given("u");
    let order = match &statement.order {
        Some(order) => format!("{order} DESC NULLS LAST, "),
        None => String::new(),
    };
    let limit = statement.bind(Stored::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT {}, {given} FROM {} AS u{} ORDER BY {order}{} LIMIT {limit}",
        columns.join(", "),
        quoted(table.name()),
        statement.condition(),
        statement.key.order("u", " DESC"),
    );
    let mut prepared = connection.prepare_cached(&sql)?;
    let mut found = prepared.query(params_from_iter(&statement.values))?;
    let mut listed = Vec::new();
    while let Some(row) = found.next()? {
        let key = row.get(table.columns().len())?;
        let mut record = Record { key, surrogate: None, values: Vec::new() };
        for (at, column) in table.columns().iter().enumerate() {
            let value = from_sqlite(&column.kind, row.get_ref(at)?).unwrap_or(Value::Null);
            match (column.role, value) {
                (Role::Surrogate, Value::Int(number)) => record.surrogate = Some(number),
                (Role::Data, value) => record.values.push(value),
                (Role::Key | Role::Surrogate, _) => {}
            }
        }
        listed.push(record);
    }
    Ok(listed)
}

/// What the row of that key is really ordered by, though it reads as NULL because its column's
/// type cannot hold it.
fn unreadable_order(
    connection: &Connection,
    statement: &Statement<'_>,
    key: &Key,
) -> rusqlite::Result<Option<Stored>> {
    let Some((order, column)) = statement.order.as_ref().zip(statement.table.newest_by()) else {
        return Ok(None);
    };
    let table = quoted(statement.table.name());
    let sql = format!("SELECT {order} FROM {table} AS u WHERE {}", statement.key.is("u", "=", 1));
    let mut prepared = connection.prepare_cached(&sql)?;
    let mut found = prepared.query([key])?;
    let Some(row) = found.next()? else { return Ok(None) };
    let stored = row.get_ref(0)?;
    Ok(from_sqlite(&column.kind, stored).is_err().then(|| match stored {
        ValueRef::Null => Stored::Null,
        ValueRef::Integer(number) => Stored::Integer(number),
        ValueRef::Real(number) => Stored::Real(number),
        ValueRef::Text(text) => Stored::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Stored::Blob(bytes.to_vec()),
    }))
}

/// Conditions with their values; names come from the declaration only.
struct Statement<'t> {
    table: &'t Table,
    key: KeyColumns,
    /// The expression by which rows are ordered before their keys.
    order: Option<String>,
    conditions: Vec<String>,
    values: Vec<Stored>,
}

impl<'t> Statement<'t> {
    fn new(table: &'t Table) -> Statement<'t> {
        let key = KeyColumns::of(table, Dialect::Sqlite);
        // A row whose key is none is not a row of the logical table.
        let conditions = vec![key.is_carried("u")];
        let order = table.newest_by().map(|column| format!("u.{}", quoted(&column.name)));
        Statement { table, key, order, conditions, values: Vec::new() }
    }

    fn bind(&mut self, value: Stored) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn column(&self, name: &str) -> rusqlite::Result<String> {
        let declared = self.table.column_once(name);
        let column = declared.ok_or_else(|| rusqlite::Error::InvalidColumnName(name.to_owned()))?;
        Ok(format!("u.{}", quoted(&column.name)))
    }

    fn filter(&mut self, filter: &Filter) -> rusqlite::Result<()> {
        for (name, value) in &filter.equals {
            let column = self.column(name)?;
            let condition = if value.is_null() {
                format!("{column} IS NULL")
            } else {
                // A column of the user's may be NOCASE.
                format!("{column} = {} COLLATE BINARY", self.bind(to_sqlite(value)))
            };
            self.conditions.push(condition);
        }
        for (name, text) in &filter.contains {
            // LIKE and lower() know the case of ASCII only; instr() compares code points.
            let text = self.bind(Stored::Text(text.clone()));
            self.conditions.push(format!("instr({}, {text}) > 0", self.column(name)?));
        }
        for (name, from) in &filter.since {
            let from = self.bind(to_sqlite(from));
            self.conditions.push(format!("{} >= {from}", self.column(name)?));
        }
        Ok(())
    }

    /// Only what comes after the row of that key, which is ordered by `value`.
    fn go_on(&mut self, key: &Key, value: Option<Stored>) {
        self.values.push(stored(key));
        let below = self.key.below("u", self.values.len());
        let condition = match (self.order.clone(), value) {
            (None, _) => below,
            (Some(order), None) => format!("({order} IS NULL AND {below})"),
            (Some(order), Some(value)) => {
                let value = self.bind(value);
                format!("({order} IS NULL OR {order} < {value} OR ({order} = {value} AND {below}))")
            }
        };
        self.conditions.push(condition);
    }

    fn condition(&self) -> String {
        format!(" WHERE {}", self.conditions.join(" AND "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Dialect, users};
    use crate::value::parse_timestamp_text;

    fn file() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let table = users();
        connection.execute_batch(&table.create_statement(Dialect::Sqlite, "users")).unwrap();
        connection
            .execute_batch(
                "INSERT INTO users (user_id, first_name, status, register_date) VALUES
                   (1, 'Анна', 'new', '2025-08-01 10:00:00'),
                   (2, 'анна', 'NEW', NULL),
                   (3, 'Яна', 'new', '2025-08-02 10:00:00'),
                   (4, NULL, NULL, '2025-08-02 10:00:00'),
                   (5, 'Яна', 'new', NULL)",
            )
            .unwrap();
        connection
    }

    fn keys(filter: &Filter, after: Option<&After>, limit: u64) -> Vec<Key> {
        let rows = rows(&file(), &users(), filter, after, limit).unwrap();
        rows.into_iter().map(|row| row.key).collect()
    }

    #[test]
    fn the_newest_first_in_pages_of_any_size() {
        assert_eq!(keys(&Filter::default(), None, 10), [4, 3, 1, 5, 2]);
        for size in 1..=5 {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let page =
                    rows(&file(), &users(), &Filter::default(), after.as_ref(), size).unwrap();
                let Some(last) = page.last() else { break };
                after = Some(After { order: last.values[6].clone(), key: last.key.clone() });
                seen.extend(page.iter().map(|row| row.key.clone()));
            }
            assert_eq!(seen, [4, 3, 1, 5, 2], "pages of {size}");
        }
    }

    #[test]
    fn a_page_goes_on_after_a_date_that_is_none() {
        let file = file();
        let sql = "INSERT INTO users (user_id, register_date) VALUES (6, 'soon'), (7, 'soon')";
        file.execute_batch(sql).unwrap();
        let (mut seen, mut after) = (Vec::new(), None);
        while let Some(row) =
            rows(&file, &users(), &Filter::default(), after.as_ref(), 1).unwrap().pop()
        {
            after = Some(After { order: row.values[6].clone(), key: row.key.clone() });
            seen.push(row.key);
        }
        assert_eq!(seen, [7, 6, 4, 3, 1, 5, 2]);
    }

    #[test]
    fn filters_compare_code_points() {
        let equals = |name: &str, value: Value| Filter {
            equals: vec![(name.into(), value)],
            ..Filter::default()
        };
        assert_eq!(keys(&equals("status", "new".into()), None, 10), [3, 1, 5]);
        assert_eq!(keys(&equals("status", Value::Null), None, 10), [4]);
        assert_eq!(keys(&equals("user_id", 2.into()), None, 10), [2]);
        let contains = |text: &str| Filter {
            contains: vec![("first_name".into(), text.into())],
            ..Filter::default()
        };
        assert_eq!(keys(&contains("нна"), None, 10), [1, 2]);
        assert_eq!(keys(&contains("Анн"), None, 10), [1]);
        assert_eq!(keys(&contains("%"), None, 10), [0; 0]);
        let from = parse_timestamp_text("2025-08-02").unwrap();
        let since = Filter {
            since: vec![("register_date".into(), Value::Timestamp(from))],
            ..Filter::default()
        };
        assert_eq!(keys(&since, None, 10), [4, 3]);
    }
}
