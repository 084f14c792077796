//! The built-in table's rows as types.

use std::sync::LazyLock;

use jiff::civil::DateTime;
use serde::ser::{Serialize, Serializer};

use crate::Result;
use crate::database::{Patch, Record};
use crate::protocol::Filter;
use crate::schema::{Table, users};
use crate::value::Value;

/// The declaration that the types below follow.
static USERS: LazyLock<Table> = LazyLock::new(users);

/// A user as both stores keep it: the 16 columns of the documented system. Serialised it is an
/// object in the order of the columns; timestamps are `YYYY-MM-DD HH:MM:SS[.ffffff]`, UTC.
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
    /// As a JSON object; timestamps `YYYY-MM-DD HH:MM:SS[.ffffff]`, UTC. (The order of the
    /// members is that of [`serde_json::Map`]; serialise the user itself to have the columns'.)
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        // A record has text keys and no floating point: nothing in it can be refused.
        serde_json::to_value(self).unwrap_or_default()
    }

    /// From a row of `users`.
    pub(super) fn from_record(record: Record) -> User {
        let mut values = record.values.into_iter();
        let mut next = || values.next().unwrap_or(Value::Null);
        User {
            id: record.surrogate,
            user_id: record.key.number().unwrap_or_default(),
            username: text(next()),
            first_name: text(next()),
            status: text(next()),
            phone_number: text(next()),
            real_name: text(next()),
            birth_date: text(next()),
            register_date: timestamp(next()),
            last_activity: timestamp(next()),
            redeem_date: timestamp(next()),
            source: text(next()),
            referrer_id: number(next()),
            brought_by_staff_id: number(next()),
            profile_completed: flag(next()),
            ai_concept: text(next()),
        }
    }

    fn to_record(&self) -> Record {
        let text = |text: &Option<String>| Value::from(text.as_deref());
        let values = vec![
            text(&self.username),
            text(&self.first_name),
            text(&self.status),
            text(&self.phone_number),
            text(&self.real_name),
            text(&self.birth_date),
            self.register_date.into(),
            self.last_activity.into(),
            self.redeem_date.into(),
            text(&self.source),
            self.referrer_id.into(),
            self.brought_by_staff_id.into(),
            self.profile_completed.into(),
            text(&self.ai_concept),
        ];
        Record { key: self.user_id.into(), surrogate: self.id, values }
    }
}

impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_record().shown(&USERS).serialize(serializer)
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn number(value: Value) -> Option<i64> {
    match value {
        Value::Int(number) => Some(number),
        _ => None,
    }
}

fn flag(value: Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(flag),
        _ => None,
    }
}

fn timestamp(value: Value) -> Option<DateTime> {
    match value {
        Value::Timestamp(instant) => Some(instant),
        _ => None,
    }
}

/// Columns to be set. A column that is not named stays as it is, or gets its default.
///
/// ```
/// use dual_database::users::UserPatch;
///
/// let by_type = UserPatch::new().user_id(5_123_456_789).first_name("Anna").phone_number(None);
/// let by_name = UserPatch::new()
///     .set("user_id", 5_123_456_789_i64)?
///     .set("first_name", "Anna")?
///     .set("phone_number", None::<&str>)?;
/// assert_eq!(by_type, by_name);
///
/// let error = UserPatch::new().set("frist_name", "Anna").unwrap_err();
/// assert_eq!(error.hint(), Some("did you mean `first_name`?"));
/// # Ok::<(), dual_database::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserPatch {
    pub(super) patch: Patch,
}

/// One setter for each column of that type.
macro_rules! setters {
    ($($(#[$about:meta])* $name:ident: $given:ty,)*) => {
        $(
            $(#[$about])*
            #[doc = concat!("Sets `", stringify!($name), "`.")]
            #[must_use]
            pub fn $name(self, value: impl Into<$given>) -> UserPatch {
                let value: $given = value.into();
                self.with(stringify!($name), value.into())
            }
        )*
    };
}

/// One setter for each text column.
macro_rules! text_setters {
    ($($name:ident,)*) => {
        $(
            #[doc = concat!("Sets `", stringify!($name), "`; `None` for no value.")]
            #[must_use]
            pub fn $name<'t>(self, value: impl Into<Option<&'t str>>) -> UserPatch {
                self.with(stringify!($name), value.into().into())
            }
        )*
    };
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
    pub fn set(mut self, column: &str, value: impl Into<Value>) -> Result<UserPatch> {
        self.patch.set(&USERS, column, value.into())?;
        Ok(self)
    }

    /// From a JSON object, as the command line takes it: numbers, booleans, text, null;
    /// timestamps as text (`YYYY-MM-DD HH:MM:SS[.ffffff]`, `T` and a zone are understood).
    ///
    /// # Errors
    /// As for [`UserPatch::set`]; invalid data for what is no object, or names a column twice.
    pub fn from_json(text: &str) -> Result<UserPatch> {
        Ok(UserPatch { patch: Patch::from_json(&USERS, text)? })
    }

    /// Sets the key: of a new row it has to be given.
    #[must_use]
    pub fn user_id(self, user_id: i64) -> UserPatch {
        self.with("user_id", user_id.into())
    }

    setters! {
        /// `None` for no value; taken as UTC.
        register_date: Option<DateTime>,
        /// `None` for no value; taken as UTC.
        last_activity: Option<DateTime>,
        /// `None` for no value; taken as UTC.
        redeem_date: Option<DateTime>,
        /// `None` for no value.
        referrer_id: Option<i64>,
        /// `None` for no value.
        brought_by_staff_id: Option<i64>,
        /// `None` for no value.
        profile_completed: Option<bool>,
    }

    text_setters! {
        username,
        first_name,
        status,
        phone_number,
        real_name,
        birth_date,
        source,
        ai_concept,
    }

    /// Every write looks at the value again, so that these need no answer.
    fn with(mut self, column: &str, value: Value) -> UserPatch {
        if let Some(column) = USERS.column(column) {
            self.patch.put(column, value);
        }
        self
    }
}

/// Which users a list has. All conditions hold together.
#[derive(Clone, Debug, Default)]
pub struct UserFilter {
    pub(super) inner: Filter,
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
        Ok(UserFilter { inner: self.inner.equals(&USERS, column, value)? })
    }

    /// Only those whose text in that column contains this one, code point by code point.
    ///
    /// # Errors
    /// As for [`UserPatch::set`]; invalid data for a column that is no text.
    pub fn contains(self, column: &str, text: &str) -> Result<UserFilter> {
        Ok(UserFilter { inner: self.inner.contains(&USERS, column, text)? })
    }

    /// Only those whose timestamp in that column is this one or later.
    ///
    /// # Errors
    /// As for [`UserPatch::set`]; invalid data for a column that is no timestamp, and for null.
    pub fn since(self, column: &str, instant: impl Into<Value>) -> Result<UserFilter> {
        Ok(UserFilter { inner: self.inner.since(&USERS, column, instant)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::LogicalType;

    #[test]
    fn a_user_goes_through_a_record_unchanged() {
        let values: Vec<Value> = USERS
            .data_columns()
            .enumerate()
            .map(|(at, column)| match column.kind {
                LogicalType::Bool => Value::Bool(true),
                LogicalType::Int | LogicalType::BigInt => Value::Int(at as i64),
                LogicalType::Text => Value::Text(column.name.as_ref().into()),
                LogicalType::Timestamp => {
                    Value::Timestamp(jiff::civil::date(2025, 8, 7).at(9, 0, at as i8, 0))
                }
                ref other => panic!("users has no column of the type {other:?}"),
            })
            .collect();
        let record = Record { key: 7.into(), surrogate: Some(-1), values };
        let user = User::from_record(record.clone());
        assert_eq!(user.to_record(), record);
        for column in USERS.columns().iter().filter(|c| c.kind == LogicalType::Text) {
            assert_eq!(user.to_json()[&*column.name], *column.name);
        }
        assert_eq!(user.to_json()["user_id"], 7);
    }

    #[test]
    fn every_column_but_the_number_has_its_setter() {
        let patch = UserPatch::new()
            .user_id(1)
            .username("a")
            .first_name("a")
            .status("issued")
            .phone_number("a")
            .real_name("a")
            .birth_date("a")
            .register_date(None)
            .last_activity(None)
            .redeem_date(jiff::civil::date(2025, 8, 7).at(9, 0, 0, 0))
            .source("a")
            .referrer_id(1)
            .brought_by_staff_id(1)
            .profile_completed(true)
            .ai_concept(None);
        let checked = patch.patch.checked(&USERS).unwrap();
        assert_eq!((checked.key, checked.columns.len()), (Some(1.into()), 14));
        // What the type lets pass is refused before anything else happens.
        assert!(UserPatch::new().username("a\0").patch.checked(&USERS).is_err());
        assert!(UserPatch::new().brought_by_staff_id(1 << 40).patch.checked(&USERS).is_err());
    }

    #[test]
    fn filters_are_checked_like_values() {
        assert!(UserFilter::new().equals("status", "x").is_ok());
        assert!(UserFilter::new().equals("id", 7).is_ok());
        assert!(UserFilter::new().equals("status", 7).unwrap_err().is_invalid_data());
        assert!(UserFilter::new().contains("user_id", "7").unwrap_err().is_invalid_data());
        assert!(UserFilter::new().since("status", "2025-08-07").unwrap_err().is_invalid_data());
        assert!(UserFilter::new().since("register_date", "2025-08-07").is_ok());
    }
}
