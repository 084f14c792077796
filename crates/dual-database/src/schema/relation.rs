//! A table as one side has it, before anything is declared of it.

use std::sync::Arc;

use super::LogicalType;
use crate::value::Value;

/// What sort of thing stands under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationSort {
    /// A table with rows of its own, or a partitioned one.
    Table,
    /// A view, plain or materialised.
    View,
    /// A foreign table of PostgreSQL's, or a virtual one of SQLite's.
    Foreign,
    /// A part of another table: writes to that one pass it by.
    Part,
}

/// A column as one side has it.
#[derive(Clone, Debug, PartialEq)]
pub struct RelationColumn {
    /// Its name.
    pub name: Arc<str>,
    /// Its type as it is declared there.
    pub declared: String,
    /// What it is for both sides; `None`: nothing that can be carried.
    pub kind: Option<LogicalType>,
    /// What it is beside a column of the other side's that keeps binary numbers, if it can be another type.
    pub in_binary: Option<LogicalType>,
    /// By what that was judged, where the declaration alone does not tell.
    pub evidence: Option<String>,
    /// Whether it refuses NULL.
    pub not_null: bool,
    /// Its default, if that is a constant.
    pub default: Option<Value>,
    /// Computed from the others: never written.
    pub generated: bool,
    /// This side hands its numbers out.
    pub numbered: bool,
}

/// Columns by which rows can be told apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationKey {
    /// The columns, in their order.
    pub columns: Vec<Arc<str>>,
    /// Whether it is the primary key.
    pub primary: bool,
}

/// A table as one side has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Relation {
    /// Its name.
    pub name: Arc<str>,
    /// What it is.
    pub sort: RelationSort,
    /// Its columns in their order.
    pub columns: Vec<RelationColumn>,
    /// Its primary key first, then what else is unique and never NULL.
    pub keys: Vec<RelationKey>,
    /// The other tables that its foreign keys refer to.
    pub references: Vec<Arc<str>>,
}

impl Relation {
    /// The column of that name; upper and lower case of ASCII are the same, as in SQLite.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&RelationColumn> {
        let same = |column: &&RelationColumn| column.name.eq_ignore_ascii_case(name);
        self.columns
            .iter()
            .find(|column| *column.name == *name)
            .or_else(|| self.columns.iter().find(same))
    }
}

/// A constant of SQL's as a value of that type; `None` for an expression.
///
/// ```
/// use dual_database::schema::{LogicalType, constant};
/// let text = constant("'it''s'::character varying", &LogicalType::Text);
/// assert_eq!(text, Some("it's".into()));
/// assert_eq!(constant("0", &LogicalType::Bool), Some(false.into()));
/// assert_eq!(constant("now()", &LogicalType::Timestamp), None);
/// ```
#[must_use]
pub fn constant(expression: &str, kind: &LogicalType) -> Option<Value> {
    // Of these there are several texts for one value, and it is the column that says which.
    if matches!(kind, LogicalType::Numeric | LogicalType::Json | LogicalType::Jsonb) {
        return None;
    }
    let text = expression.trim().trim_start_matches('(').trim_end_matches(')').trim();
    let (text, cast) = match text.strip_prefix('\'') {
        Some(_) => split_quoted(text)?,
        None => {
            let (word, cast) = text.split_at(text.find("::").unwrap_or(text.len()));
            let is_word = ["true", "false"].iter().any(|one| word.eq_ignore_ascii_case(one));
            if !(is_word || word.parse::<f64>().is_ok()) {
                return None;
            }
            (word.to_ascii_lowercase(), cast)
        }
    };
    // `::character varying(20)`, and nothing else.
    let is_named = |c: char| c.is_alphanumeric() || " ._\"[](),".contains(c);
    if !(cast.is_empty() || cast.strip_prefix("::").is_some_and(|name| name.chars().all(is_named)))
    {
        return None;
    }
    let text = match (kind, text.as_str()) {
        (LogicalType::Bool, "0") => "false".to_owned(),
        (LogicalType::Bool, "1") => "true".to_owned(),
        _ => text,
    };
    kind.parse(text)
}

/// What stands in the quotes, and what behind them.
fn split_quoted(text: &str) -> Option<(String, &str)> {
    let mut inner = String::new();
    let mut rest = text.strip_prefix('\'')?;
    loop {
        let (before, after) = rest.split_once('\'')?;
        inner.push_str(before);
        match after.strip_prefix('\'') {
            Some(more) => {
                inner.push('\'');
                rest = more;
            }
            None => return Some((inner, after.trim())),
        }
    }
}
