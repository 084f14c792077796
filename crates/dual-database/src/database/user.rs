//! The built-in table's rows as a type.

use std::collections::BTreeMap;

use jiff::civil::DateTime;

use crate::value::Value;
use crate::Result;

/// A user as both stores keep it: the 16 columns of the documented system.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the columns of `users`, as declared in `schema::users`")]
pub struct User {
    /// PostgreSQL's number; negative while provisional.
    pub id: Option<i64>,
    pub user_id: i64,
    pub username: Option<String>,
    pub first_name: Option<String>,
    pub status: Option<String>,
    pub phone_number: Option<String>,
    pub real_name: Option<String>,
    pub birth_date: Option<String>,
    pub register_date: Option<DateTime>,
    pub last_activity: Option<DateTime>,
    pub redeem_date: Option<DateTime>,
    pub source: Option<String>,
    pub referrer_id: Option<i64>,
    pub brought_by_staff_id: Option<i64>,
    pub profile_completed: Option<bool>,
    pub ai_concept: Option<String>,
}

impl User {
    /// As a JSON object in the order of the columns; timestamps `YYYY-MM-DD HH:MM:SS[.ffffff]`,
    /// UTC.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        todo!()
    }
}

/// Columns to be set. A column that is not named stays as it is, or gets its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPatch {
    pub(crate) columns: BTreeMap<usize, Value>,
}

impl UserPatch {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> UserPatch {
        UserPatch::default()
    }

    /// Sets a column by its name.
    ///
    /// # Errors
    /// Invalid data for a name that is no column (with the nearest one as a hint), a column that
    /// PostgreSQL numbers (`id`), a value of another type, text with NUL, a number out of range.
    pub fn set(self, column: &str, value: impl Into<Value>) -> Result<UserPatch> {
        let _ = (column, value.into());
        todo!()
    }

    /// From a JSON object, as the command line takes it: numbers, booleans, text, null;
    /// timestamps as text (`YYYY-MM-DD HH:MM:SS[.ffffff]`, `T` and a zone are understood).
    ///
    /// # Errors
    /// As for [`UserPatch::set`]; invalid data for what is no object.
    pub fn from_json(text: &str) -> Result<UserPatch> {
        let _ = text;
        todo!()
    }
}

/// Which users a list has.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    pub(crate) inner: crate::store::postgres::primary::Filter,
}

impl UserFilter {
    /// All.
    #[must_use]
    pub fn new() -> UserFilter {
        UserFilter::default()
    }

    /// Only those with this value in that column; null: with none.
    ///
    /// # Errors
    /// As for [`UserPatch::set`].
    pub fn equals(self, column: &str, value: impl Into<Value>) -> Result<UserFilter> {
        let _ = (column, value.into());
        todo!()
    }

    /// Only those whose text in that column contains this one, code point by code point.
    ///
    /// # Errors
    /// As for [`UserPatch::set`]; invalid data for a column that is no text.
    pub fn contains(self, column: &str, text: &str) -> Result<UserFilter> {
        let _ = (column, text);
        todo!()
    }
}

