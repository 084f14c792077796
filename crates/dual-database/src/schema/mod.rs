//! What a table is, declared once: it generates the DDL and the codecs of both sides.
//!
//! ```
//! let users = dual_database::schema::users();
//! assert_eq!(users.columns().len(), 16);
//! assert_eq!(&*users.key().name, "user_id");
//! assert!(users.column("phone_number").is_some());
//! ```

mod affinity;
mod ddl;
mod declaration;
mod key;
mod key_columns;
mod name;
mod names;
mod relation;
mod revision;
mod types;
mod users;
mod widening;

use std::sync::Arc;

pub use affinity::Affinity;
pub(crate) use ddl::shell_word;
pub use ddl::{Dialect, any_of, behind, literal, quoted, quoted_body, quoted_text};
pub(crate) use declaration::{Kept, declared};
pub use key::{Key, RowId};
pub use key_columns::KeyColumns;
pub use name::QualifiedName;
pub use relation::{Relation, RelationColumn, RelationKey, RelationSort, constant};
pub use types::{
    Decimal, Evidence, FoundType, Inferred, LogicalType, OtherType, Unfit, inferred, is_utf8,
};
pub(crate) use types::{EQUALS, numeric_order};
pub(crate) use users::built_in;
pub use users::users;

/// What may be made in a store where something is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Making {
    /// Nothing: it is only looked at.
    Nothing,
    /// What has never been there, if that takes additions only. Tables and columns that were tracked
    /// and that somebody has taken away are not made again: nobody can know why.
    #[default]
    Additions,
    /// Those as well: a person has asked for it.
    Everything,
    /// And columns of the file are made anew that are declared there in a way that changes the values of their
    /// type: a person has said so.
    Retyped,
}

impl Making {
    /// Whether a person has asked for what somebody has taken away.
    #[must_use]
    pub fn is_asked(self) -> bool {
        matches!(self, Making::Everything | Making::Retyped)
    }
}

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::value::Value;

/// The part that a column plays in its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Handed out by PostgreSQL's sequence; never written by a caller.
    Surrogate,
    /// The key by which rows are told apart on both sides; unique, never NULL.
    Key,
    /// Anything else.
    #[default]
    Data,
}

/// A column of a [`Table`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// The name: PostgreSQL's, and that of calls and messages.
    pub name: Arc<str>,
    /// What the file calls it, if it has a name of its own there ([`Column::name_in`]): the last of them, behind those
    /// that it had there.
    pub local: Vec<Arc<str>>,
    /// How what is ours calls the column, for good: the name, or a number where that may be long or change.
    pub label: Arc<str>,
    /// The logical type.
    pub kind: LogicalType,
    /// The part that it plays.
    pub role: Role,
    /// The constant that a new row gets where nothing is known; also its DDL default.
    pub default: Option<Value>,
    /// Of a key that is one whole number: a side hands its numbers out, like those of a surrogate.
    pub automatic: bool,
    /// What a file of before calls a column from which this one is filled where it is missing. The old
    /// one stays, and new rows of an import get it, too: the old program goes on reading it.
    pub formerly: Option<Arc<str>>,
    /// The names that it had before a person confirmed that it was renamed ([`Table::renaming`]): where one of
    /// them is there and its own is not, the column is renamed.
    pub was: Vec<Arc<str>>,
}

impl Column {
    /// A column without a default.
    pub fn new(name: impl Into<Arc<str>>, kind: LogicalType, role: Role) -> Column {
        let name = name.into();
        let label = Arc::clone(&name);
        let was = Vec::new();
        Column {
            name,
            local: Vec::new(),
            label,
            kind,
            role,
            default: None,
            automatic: false,
            formerly: None,
            was,
        }
    }

    /// The same under another label.
    #[must_use]
    pub fn labelled(self, label: impl Into<Arc<str>>) -> Column {
        Column { label: label.into(), ..self }
    }

    /// The same with a default.
    #[must_use]
    pub fn with_default(self, value: impl Into<Value>) -> Column {
        Column { default: Some(value.into()), ..self }
    }
}

/// A table that is kept on both sides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    name: Arc<str>,
    label: Arc<str>,
    schema: Option<Arc<str>>,
    columns: Vec<Column>,
    /// Where the first column of the key is among them: there is always one.
    key: usize,
    moments: Vec<Arc<str>>,
    words: Vec<(Arc<str>, Vec<Arc<str>>)>,
    newest_by: Option<Arc<str>>,
    /// How often a person has declared other than additions.
    revision: u32,
    /// Names and labels of columns that are carried no more although a side may have them.
    dropped: Vec<(Arc<str>, Arc<str>)>,
    /// Columns that a person has left out when the table was joined.
    left_out: Vec<Arc<str>>,
    /// Columns that a person lets PostgreSQL make `bigint`: said just now, and kept nowhere.
    widening: Vec<Arc<str>>,
}

impl Table {
    /// A table of these columns, in this order. Those of the key are it together, in this order.
    ///
    /// # Errors
    /// [`Kind::Configuration`] if it has no key, or one of a type that makes none; if it has more than one
    /// surrogate, or one that is no whole number; if it has two columns of one name.
    pub fn declare(name: impl Into<Arc<str>>, columns: Vec<Column>) -> Result<Table> {
        let name = name.into();
        let wrong = |message: String| {
            let message = format!("table {name}: {message}");
            Error::new(Kind::Configuration, "declare a table", message)
        };
        let of = |role: Role| -> Vec<&Column> {
            columns.iter().filter(|column| column.role == role).collect()
        };
        let is_whole = |column: &&Column| column.kind.is_whole_number();
        let (keys, surrogate) = (of(Role::Key), of(Role::Surrogate));
        let Some(key) = columns.iter().position(|column| column.role == Role::Key) else {
            return Err(wrong("it needs a key".into()));
        };
        let none =
            |column: &&Column| column.role == Role::Key && !column.kind.description().makes_keys();
        if let Some(column) = columns.iter().find(none) {
            return Err(wrong(format!("column {} is of a type that makes no key", column.name)));
        }
        match surrogate.as_slice() {
            [] => {}
            [one] if is_whole(one) => {}
            _ => return Err(wrong("it takes one surrogate, a whole number".into())),
        }
        if columns.iter().any(|column| column.automatic)
            && !(surrogate.is_empty() && keys.len() == 1 && keys.iter().all(is_whole))
        {
            return Err(wrong("only a key of one whole number is numbered".into()));
        }
        for (position, column) in columns.iter().enumerate() {
            if columns.iter().take(position).any(|before| before.name == column.name) {
                return Err(wrong(format!("column {} is declared twice", column.name)));
            }
        }
        if let Some((one, other)) = Table::alike_in_file(&columns) {
            let (one, other, local) = (&one.name, &other.name, other.name_in(Dialect::Sqlite));
            return Err(wrong(format!("{one} and {other} would both be {local} in the file")));
        }
        let (moments, words, newest_by) = (Vec::new(), Vec::new(), None);
        let (label, schema, revision) = (Arc::clone(&name), None, 0);
        let (dropped, left_out) = (Vec::new(), Vec::new());
        Ok(Table {
            name,
            label,
            schema,
            columns,
            key,
            moments,
            words,
            newest_by,
            revision,
            dropped,
            left_out,
            widening: Vec::new(),
        })
    }

    /// The same under another label.
    #[must_use]
    pub fn labelled(self, label: impl Into<Arc<str>>) -> Table {
        Table { label: label.into(), ..self }
    }

    /// The same without those columns of either side that a person leaves out, for good.
    #[must_use]
    pub(crate) fn leaving_out(self, left_out: Vec<Arc<str>>) -> Table {
        Table { left_out, ..self }
    }

    /// Whether a person has left the column out.
    #[must_use]
    pub(crate) fn leaves_out(&self, name: &str) -> bool {
        self.left_out.iter().any(|left| left.eq_ignore_ascii_case(name))
    }

    /// The same in that schema of PostgreSQL's; without one it stands where the search path leads.
    #[must_use]
    pub fn within(self, schema: Option<Arc<str>>) -> Table {
        Table { schema, ..self }
    }

    /// The same with other columns besides, which are neither key nor surrogate.
    ///
    /// # Errors
    /// Configuration if one of them is, or has the name of another.
    pub fn with_columns(self, besides: Vec<Column>) -> Result<Table> {
        let columns = self.columns.iter().cloned().chain(besides).collect();
        self.with(columns)
    }

    /// The same with these columns instead of its own.
    fn with(self, columns: Vec<Column>) -> Result<Table> {
        let Table { name, columns, key, .. } = Table::declare(Arc::clone(&self.name), columns)?;
        Ok(Table { name, columns, key, ..self })
    }

    /// How what is ours calls the table, for good: the name, or a number where that may be long or change.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The name as PostgreSQL is asked for it: in the schema that is declared, or wherever the search path leads.
    #[must_use]
    pub fn remote_name(&self) -> QualifiedName {
        QualifiedName { schema: self.schema.clone(), name: Arc::clone(&self.name) }
    }

    /// The name, the same on both sides.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to be kept.
    #[must_use]
    pub fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// All columns in their declared order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column of that name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| *column.name == *name)
    }

    /// The same for whoever has named it before it was renamed: the column that has the name, else one that had it.
    pub(crate) fn column_once(&self, name: &str) -> Option<&Column> {
        let had = |column: &&Column| column.was.iter().any(|was| **was == *name);
        self.column(name).or_else(|| self.columns.iter().find(had))
    }

    /// The column by which a list has the newest rows first, those without a value last, before it goes by
    /// the key; `None`: by the key alone.
    #[must_use]
    pub fn newest_by(&self) -> Option<&Column> {
        self.column(self.newest_by.as_deref()?)
    }

    /// The column by which rows are told apart; the first one, if there are several
    /// ([`Table::key_columns`]).
    #[must_use]
    pub fn key(&self) -> &Column {
        &self.columns[self.key]
    }

    /// The columns by which rows are told apart together, in the order in which a [`Key`] has their values.
    pub fn key_columns(&self) -> impl Iterator<Item = &Column> {
        self.of(Role::Key)
    }

    /// Whether rows are told apart by one whole number.
    #[must_use]
    pub fn has_whole_key(&self) -> bool {
        self.key_columns().count() == 1 && self.key().kind.is_whole_number()
    }

    /// The names of the key's columns, for people.
    #[must_use]
    pub fn key_name(&self) -> String {
        self.key_columns().map(|column| &*column.name).collect::<Vec<_>>().join(", ")
    }

    /// The column for which numbers are handed out: a surrogate, or a key that is numbered itself.
    #[must_use]
    pub fn numbered(&self) -> Option<&Column> {
        self.surrogate().or_else(|| Some(self.key()).filter(|key| key.automatic))
    }

    /// Whether a side hands out the numbers that are the key: then two births under one are two rows.
    #[must_use]
    pub fn has_automatic_key(&self) -> bool {
        self.surrogate().is_none() && self.key().automatic
    }

    /// The column that PostgreSQL numbers, if the table has one.
    #[must_use]
    pub fn surrogate(&self) -> Option<&Column> {
        self.of(Role::Surrogate).next()
    }

    /// Whether a row of a file gets its surrogate from PostgreSQL before anything refers to it there. The documented
    /// system's users get it when they arrive.
    #[must_use]
    pub(crate) fn asks_for_surrogates(&self) -> bool {
        self.surrogate().is_some() && *self.label != *built_in().label
    }

    /// The same before it is joined, told apart by these columns. The numbers that were its key are a surrogate then.
    ///
    /// # Errors
    /// As for [`Table::declare`].
    pub(crate) fn keyed_by(&self, names: &[Arc<str>]) -> Result<Table> {
        let part = |column: &Column| {
            let role = match column.role {
                _ if names.iter().any(|name| name.eq_ignore_ascii_case(&column.name)) => Role::Key,
                Role::Key => Role::Surrogate,
                role => role,
            };
            let default = column.default.clone().filter(|_| role == Role::Data);
            Column { role, default, automatic: false, ..column.clone() }
        };
        self.clone().with(self.columns.iter().map(part).collect())
    }

    /// The columns that a caller may set besides the key. Where a column goes by a position, here and in both
    /// stores, it is its position among these: a row's values and stamps stand in this order.
    pub fn data_columns(&self) -> impl Iterator<Item = &Column> {
        self.of(Role::Data)
    }

    /// The data column at that position.
    #[must_use]
    pub fn data_column(&self, position: usize) -> Option<&Column> {
        self.data_columns().nth(position)
    }

    fn of(&self, role: Role) -> impl Iterator<Item = &Column> {
        self.columns.iter().filter(move |column| column.role == role)
    }

    /// The positions of the data columns in which a new row gets the time of its insert if nothing is said about
    /// them.
    pub fn moments(&self) -> impl Iterator<Item = usize> {
        let columns = self.data_columns().enumerate();
        columns.filter(|(_, column)| self.moments.contains(&column.name)).map(|(at, _)| at)
    }

    /// The texts that a caller, or a sheet, may set the column to, the least advanced first; `None`
    /// if any will do. What other programs have written is carried as it is.
    #[must_use]
    pub fn words(&self, column: &str) -> Option<&[Arc<str>]> {
        self.words.iter().find(|(name, _)| **name == *column).map(|(_, words)| words.as_slice())
    }

    /// The defaults of the data columns, in their order; NULL where none is declared.
    #[must_use]
    pub fn defaults(&self) -> Vec<Value> {
        let default = |column: &Column| column.default.clone().unwrap_or(Value::Null);
        self.data_columns().map(default).collect()
    }
}
