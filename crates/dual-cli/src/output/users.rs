//! One user, and where a write of it is.

use std::sync::Arc;

use dual_database::database::{Found, QuarantinedRow, Written};
use dual_database::schema::{self, Column};
use dual_database::users::User;
use dual_database::{DualDatabase, Store};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::json::{line, store_word};
use super::message;
use super::state::{Away, age};
use super::table::printable;

#[derive(Serialize)]
struct Stored {
    postgres: bool,
    sqlite: bool,
}

/// A user with the columns in their declared order.
pub(super) struct UserBody(Value);

impl UserBody {
    pub(super) fn new(user: &User) -> UserBody {
        UserBody(user.to_json())
    }

    /// The columns with their values.
    pub(super) fn columns(&self) -> impl Iterator<Item = (Arc<str>, &Value)> {
        let column = |column: &Column| Arc::clone(&column.name);
        let names: Vec<Arc<str>> = schema::users().columns().iter().map(column).collect();
        names.into_iter().filter_map(|name| self.0.get(&*name).map(|value| (name, value)))
    }
}

impl Serialize for UserBody {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.columns())
    }
}

#[derive(Serialize)]
struct WrittenBody {
    version: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<UserBody>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<i64>,
    stored: Stored,
    #[serde(skip_serializing_if = "Option::is_none")]
    away: Option<Away>,
}

#[derive(Serialize)]
struct FoundBody {
    version: u8,
    user: UserBody,
    source: &'static str,
    age_ms: Option<u64>,
}

fn stored<T>(written: &Written<T>) -> Stored {
    Stored { postgres: written.is_in(Store::Postgres), sqlite: written.is_in(Store::Sqlite) }
}

/// What adding and changing print: the user and where the write is.
#[must_use]
pub fn user_written(written: &Written<User>, away: Option<Away>, done: &str, json: bool) -> String {
    let user = written.value();
    if json {
        let (user, stored) = (Some(UserBody::new(user)), stored(written));
        return line(&WrittenBody { version: 1, user, user_id: None, stored, away });
    }
    let whereabouts = whereabouts(written, away.as_ref(), user.user_id, done);
    format!("{whereabouts}\n{}", columns_of(user))
}

/// What deleting prints.
#[must_use]
pub fn user_deleted(written: &Written<()>, away: Option<Away>, user_id: i64, json: bool) -> String {
    if json {
        let (stored, user_id) = (stored(written), Some(user_id));
        return line(&WrittenBody { version: 1, user: None, user_id, stored, away });
    }
    whereabouts(written, away.as_ref(), user_id, "deleted")
}

/// The store that has not got it.
fn missing<T>(written: &Written<T>) -> Option<Store> {
    match written {
        Written::InBoth(_) => None,
        Written::InOne { stored_in: Store::Postgres, .. } => Some(Store::Sqlite),
        Written::InOne { stored_in: Store::Sqlite, .. } => Some(Store::Postgres),
    }
}

/// Why the store that has not got a write has not; `None` if it gets it in a moment.
pub async fn away<T>(database: &DualDatabase, written: &Written<T>, user_id: i64) -> Option<Away> {
    let store = missing(written)?;
    if let Some(away) = Away::new(store, &database.state(store)) {
        return Some(away);
    }
    let aside = database.quarantine().await.unwrap_or_default();
    let refused = |row: &QuarantinedRow| {
        row.key.as_ref().is_some_and(|key| *key == user_id) && row.refused_by == store
    };
    aside.into_iter().find(refused).map(Away::refused)
}

/// Where the write is; why it is not in both goes to stderr.
fn whereabouts<T>(written: &Written<T>, away: Option<&Away>, user_id: i64, done: &str) -> String {
    let Written::InOne { stored_in, .. } = written else {
        return format!("user {user_id} {done} in both\n");
    };
    let other = missing(written).unwrap_or(*stored_in);
    if let Some(away) = away {
        message(&format!("{other}: {}", away.message));
        if let Some(hint) = &away.hint {
            message(&format!("hint: {hint}"));
        }
    }
    let then = match away.is_some_and(|away| away.refuses) {
        true => "does not take the row",
        false => "gets it when it is back",
    };
    format!("user {user_id} {done} in {stored_in}; {other} {then}\n")
}

/// What getting a user prints.
#[must_use]
pub fn user_found<T>(user: &User, found: &Found<T>, json: bool) -> String {
    if !json {
        tell_source(found);
        return columns_of(user);
    }
    line(&FoundBody {
        version: 1,
        user: UserBody::new(user),
        source: store_word(found.source),
        age_ms: age_ms(found),
    })
}

/// Says on stderr that the file has answered, and as of when.
pub(super) fn tell_source<T>(found: &Found<T>) {
    if found.source == Store::Sqlite {
        let heard = match age_ms(found) {
            Some(age_ms) => format!(
                "last heard everything from PostgreSQL {}",
                age(i64::try_from(age_ms).unwrap_or(i64::MAX))
            ),
            None => "has never met PostgreSQL".to_owned(),
        };
        message(&format!("from SQLite, which {heard}"));
    }
}

pub(super) fn age_ms<T>(found: &Found<T>) -> Option<u64> {
    found.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

/// Every column on a line of its own.
fn columns_of(user: &User) -> String {
    let line = |(name, value): (Arc<str>, &Value)| {
        format!("{}\n", format!("{name:<20}  {}", cell(value)).trim_end())
    };
    UserBody::new(user).columns().map(line).collect()
}

/// A value on a terminal; nothing for NULL.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}
