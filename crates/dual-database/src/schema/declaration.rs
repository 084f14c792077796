//! A declaration as both stores keep it, so that every node has the same: JSON, which later versions
//! read on.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Column, LogicalType, Role, Table, built_in};
use crate::error::{Error, Kind, Result};
use crate::value::plain_text;

/// The version of the form. A later one is not guessed at.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct TableForm {
    version: u32,
    name: Arc<str>,
    label: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<Arc<str>>,
    columns: Vec<ColumnForm>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    newest_by: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    moments: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    words: Vec<(Arc<str>, Vec<Arc<str>>)>,
    #[serde(default, skip_serializing_if = "is_zero")]
    revision: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<(Arc<str>, Arc<str>)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    left_out: Vec<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
struct ColumnForm {
    name: Arc<str>,
    label: Arc<str>,
    #[serde(rename = "type")]
    kind: LogicalType,
    #[serde(default, skip_serializing_if = "is_data")]
    role: Role,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    automatic: bool,
    /// The constant's text, as PostgreSQL reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    formerly: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    was: Vec<Arc<str>>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives it so")]
fn is_zero(revision: &u32) -> bool {
    *revision == 0
}

fn is_data(role: &Role) -> bool {
    *role == Role::Data
}

impl Table {
    /// The declaration as a text that [`Table::from_declaration`] reads.
    ///
    /// ```
    /// use dual_database::schema::{Table, users};
    /// let text = users().declaration();
    /// assert_eq!(Table::from_declaration(&text)?, users());
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    #[must_use]
    pub fn declaration(&self) -> String {
        let text = |column: &Column| {
            let default = column.default.as_ref().and_then(plain_text);
            ColumnForm {
                name: Arc::clone(&column.name),
                label: Arc::clone(&column.label),
                kind: column.kind.clone(),
                role: column.role,
                automatic: column.automatic,
                default: default.map(Cow::into_owned),
                formerly: column.formerly.clone(),
                was: column.was.clone(),
            }
        };
        let form = TableForm {
            version: VERSION,
            name: Arc::clone(&self.name),
            label: Arc::clone(&self.label),
            schema: self.schema.clone(),
            columns: self.columns.iter().map(text).collect(),
            newest_by: self.newest_by.clone(),
            moments: self.moments.clone(),
            words: self.words.clone(),
            revision: self.revision,
            dropped: self.dropped.clone(),
            left_out: self.left_out.clone(),
        };
        serde_json::to_string(&form).unwrap_or_default()
    }

    /// Whether it has all columns that `other`, another declaration of the same table, has, or is a later
    /// revision of it.
    #[must_use]
    pub fn covers(&self, other: &Table) -> bool {
        let has = |column: &Column| {
            let same = |own: &Column| own.label == column.label && own.name == column.name;
            self.columns.iter().any(same)
        };
        self.name == other.name
            && match self.revision.cmp(&other.revision) {
                Ordering::Less => false,
                Ordering::Equal => other.columns.iter().all(has),
                Ordering::Greater => true,
            }
    }

    /// The table that the text declares.
    ///
    /// # Errors
    /// Configuration if it is of a later version, or declares none.
    pub fn from_declaration(text: &str) -> Result<Table> {
        let form: TableForm = serde_json::from_str(text).map_err(|cause| {
            unreadable("it is none that this program knows".into()).with_source(cause)
        })?;
        if form.version > VERSION {
            let (found, name) = (form.version, &form.name);
            return Err(unreadable(format!(
                "that of {name} has version {found}, this program knows {VERSION}"
            )));
        }
        // Nobody declares so often: there would be no later one.
        if form.revision > u32::MAX / 2 {
            return Err(unreadable(format!("that of {} has no revision that is one", form.name)));
        }
        let column = |form: ColumnForm| {
            let boolean = |text: String| match (&form.kind, text.as_str()) {
                (LogicalType::Bool, "0") => "false".to_owned(),
                (LogicalType::Bool, "1") => "true".to_owned(),
                _ => text,
            };
            Column {
                default: form.default.map(boolean).and_then(|text| form.kind.parse(text)),
                name: form.name,
                label: form.label,
                kind: form.kind,
                role: form.role,
                automatic: form.automatic,
                formerly: form.formerly,
                was: form.was,
            }
        };
        let columns = form.columns.into_iter().map(column).collect();
        let table = Table::declare(form.name, columns)?;
        let (newest_by, moments, words) = (form.newest_by, form.moments, form.words);
        let (label, schema, revision, dropped) =
            (form.label, form.schema, form.revision, form.dropped);
        let table = Table { label, schema, newest_by, moments, words, ..table };
        Ok(Table { revision, dropped, left_out: form.left_out, ..table })
    }
}

fn unreadable(what: String) -> Error {
    Error::new(Kind::Configuration, "read the declaration of a table", what)
        .with_hint("a newer version of this program may have made it: use that one")
}

/// What a store keeps of the declaration of a table: its name and the text; none of a table that was joined
/// before there were declarations.
pub(crate) type Kept = (String, Option<String>);

/// The tables that a store keeps together, in the order in which they were joined: the same in every node, and
/// a new one is the last. Before there were declarations it could be the built-in table alone.
///
/// # Errors
/// As for [`Table::from_declaration`].
pub(crate) fn declared(kept: Vec<Kept>) -> Result<Vec<Table>> {
    let table = |(name, text): Kept| match text {
        Some(text) => Some(Table::from_declaration(&text).and_then(|table| match table.name() {
            declared if declared == name => Ok(table),
            other => Err(unreadable(format!("that of {name} is one of {other}"))),
        })),
        None => Some(built_in()).filter(|table| name == table.name()).map(Ok),
    };
    let mut tables = kept.into_iter().filter_map(table).collect::<Result<Vec<Table>>>()?;
    for (at, table) in tables.iter().enumerate() {
        if let Some(twin) = tables.iter().take(at).find(|twin| twin.label == table.label) {
            let (one, other) = (&twin.name, &table.name);
            return Err(unreadable(format!("{one} and {other} have one number")));
        }
    }
    tables.sort_by(|one, other| {
        let place = |table: &Table| (table.label.parse::<u32>().ok(), Arc::clone(&table.label));
        place(one).cmp(&place(other))
    });
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::users;

    #[test]
    fn a_declaration_is_read_as_it_was_written() {
        let note = Column::new("при мечание", LogicalType::Text, Role::Data)
            .with_default("it's")
            .labelled("17");
        let table = users().with_columns(vec![note]).unwrap().within(Some("App".into()));
        assert_eq!(Table::from_declaration(&table.declaration()).unwrap(), table);
    }

    #[test]
    fn what_is_none_is_refused() {
        let newer = users().declaration().replacen(":1,", ":2,", 1);
        for text in ["", "{}", "[1]", "{\"version\":1,\"name\":\"x\",\"columns\":[]}", &newer] {
            assert!(Table::from_declaration(text).unwrap_err().is_configuration(), "{text}");
        }
    }
}
