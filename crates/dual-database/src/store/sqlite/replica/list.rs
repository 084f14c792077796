//! Lists of living rows, in the order and with the filters that PostgreSQL's have.

use rusqlite::types::Value as Stored;
use rusqlite::{Connection, params_from_iter};

use super::super::{failed, from_sqlite, to_sqlite};
use super::Content;
use crate::Result;
use crate::protocol::{After, Direction, Filter, Order, Record};
use crate::schema::{Column, Dialect, KeyColumns, Role, Table, quoted};
use crate::store::sqlite::stored;
use crate::value::Value;

impl Content<'_> {
    /// Living rows, in the order that the filter names; a value that its column's type cannot hold reads as NULL.
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
        let statement = Statement::new(table, filter).map_err(|cause| failed(operation, cause))?;
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
    let mut statement = Statement::new(table, filter)?;
    if let Some(after) = after {
        let place = statement.place(connection, after)?;
        statement.go_on(after, &place);
    }
    let column = |column: &Column| column.kind.description().stored(&of_row(column));
    let columns: Vec<String> = table.columns().iter().map(column).collect();
    let given = statement.key.given("u");
    let limit = statement.bind(Stored::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
    let sql = format!(
        "SELECT {}, {given} FROM {} AS u{} ORDER BY {}{} LIMIT {limit}",
        columns.join(", "),
        quoted(table.name()),
        statement.condition(),
        statement.order.sql(Dialect::Sqlite),
        statement.key.order("u", statement.order.direction_of_keys()),
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

/// The column of the row `u`.
fn of_row(column: &Column) -> String {
    format!("u.{}", column.quoted(Dialect::Sqlite))
}

/// How the place of a row in the order of a list is told.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// By the values that were read.
    AsRead,
    /// By what the row has now, which reads so: other programs' forms of a value count, and what its column's
    /// type cannot hold. The columns that have nothing are NULL.
    AsItStands,
}

/// Conditions with their values; names come from the declaration only.
struct Statement<'t> {
    table: &'t Table,
    key: KeyColumns,
    order: Order<'t>,
    conditions: Vec<String>,
    values: Vec<Stored>,
}

impl<'t> Statement<'t> {
    fn new(table: &'t Table, filter: &Filter) -> rusqlite::Result<Statement<'t>> {
        let key = KeyColumns::of(table, Dialect::Sqlite);
        // A row whose key is none is not a row of the logical table.
        let conditions = vec![key.is_carried("u")];
        let unknown = |name: &str| rusqlite::Error::InvalidColumnName(name.to_owned());
        let order = filter.ordered(table).map_err(unknown)?;
        let mut statement = Statement { table, key, order, conditions, values: Vec::new() };
        statement.filter(filter)?;
        Ok(statement)
    }

    fn bind(&mut self, value: Stored) -> String {
        self.values.push(value);
        format!("?{}", self.values.len())
    }

    fn column(&self, name: &str) -> rusqlite::Result<String> {
        let declared = self.table.column_once(name);
        let column = declared.ok_or_else(|| rusqlite::Error::InvalidColumnName(name.to_owned()))?;
        Ok(of_row(column))
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

    /// Where the row after which the list goes on is found in the order, for each of its columns; `None` where it
    /// has nothing.
    fn place(
        &self,
        connection: &Connection,
        after: &After,
    ) -> rusqlite::Result<Vec<Option<Place>>> {
        let as_read: Vec<Option<Place>> =
            after.order.iter().map(|value| (!value.is_null()).then_some(Place::AsRead)).collect();
        if as_read.is_empty() {
            return Ok(as_read);
        }
        let columns = self.order.columns.iter().zip(self.order.expressions(Dialect::Sqlite));
        let columns = columns.map(|((column, _), ordered)| {
            let stored = column.kind.description().stored(&of_row(column));
            format!("{stored}, {ordered} IS NULL")
        });
        let sql = format!(
            "SELECT {} FROM {} AS u WHERE {}",
            columns.collect::<Vec<_>>().join(", "),
            quoted(self.table.name()),
            self.key.is("u", "=", 1),
        );
        let mut prepared = connection.prepare_cached(&sql)?;
        let mut found = prepared.query([&after.key])?;
        let Some(row) = found.next()? else { return Ok(as_read) };
        let mut as_it_stands = Vec::with_capacity(as_read.len());
        for (at, ((column, _), value)) in self.order.columns.iter().zip(&after.order).enumerate() {
            let reads = from_sqlite(&column.kind, row.get_ref(2 * at)?).unwrap_or(Value::Null);
            if reads != *value {
                return Ok(as_read);
            }
            let is_null: bool = row.get(2 * at + 1)?;
            as_it_stands.push((!is_null).then_some(Place::AsItStands));
        }
        Ok(as_it_stands)
    }

    /// Only what comes after that row.
    fn go_on(&mut self, after: &After, place: &[Option<Place>]) {
        self.values.push(stored(&after.key));
        let number = self.values.len();
        let mut values = Vec::with_capacity(place.len());
        for (at, (place, value)) in place.iter().zip(&after.order).enumerate() {
            let Some((column, _)) = self.order.columns.get(at) else { continue };
            let column = *column;
            let value = match place {
                None => None,
                Some(Place::AsRead) => Some(self.bind(to_sqlite(value))),
                Some(Place::AsItStands) => Some(format!("k.{}", column.quoted(Dialect::Sqlite))),
            };
            let value = value.map(|v| self.order.expression(Dialect::Sqlite, column, &v));
            values.push(match place {
                Some(Place::AsItStands) => value.map(|value| {
                    let (table, is) = (quoted(self.table.name()), self.key.is("k", "=", number));
                    format!("(SELECT {value} FROM {table} AS k WHERE {is})")
                }),
                _ => value,
            });
        }
        let keys = match self.order.keys {
            Direction::Ascending => self.key.above("u", number),
            Direction::Descending => self.key.below("u", number),
        };
        self.conditions.push(self.order.beyond(Dialect::Sqlite, &values, keys));
    }

    fn condition(&self) -> String {
        format!(" WHERE {}", self.conditions.join(" AND "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{Dialect, Key, users};
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
                after = Some(After { order: vec![last.values[6].clone()], key: last.key.clone() });
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
            after = Some(After { order: vec![row.values[6].clone()], key: row.key.clone() });
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
