//! One user, and where a write of it is.

use dual_database::Store;
use dual_database::database::{Found, User, Written};
use dual_database::schema::{self, Column};
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::json::{line, store_word};
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
    pub(super) fn columns(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        let column = |column: &Column| column.name;
        let names: Vec<&str> = schema::users().columns().iter().map(column).collect();
        names.into_iter().filter_map(|name| Some((name, self.0.get(name)?)))
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
pub fn user_written(written: &Written<User>, done: &str, json: bool) -> String {
    let user = written.value();
    if json {
        let (user, stored) = (Some(UserBody::new(user)), stored(written));
        return line(&WrittenBody { version: 1, user, user_id: None, stored });
    }
    format!("{}\n{}", whereabouts(written, user.user_id, done), columns_of(user))
}

/// What deleting prints.
#[must_use]
pub fn user_deleted(written: &Written<()>, user_id: i64, json: bool) -> String {
    if json {
        let stored = stored(written);
        return line(&WrittenBody { version: 1, user: None, user_id: Some(user_id), stored });
    }
    whereabouts(written, user_id, "deleted")
}

fn whereabouts<T>(written: &Written<T>, user_id: i64, done: &str) -> String {
    match written {
        Written::InBoth(_) => format!("user {user_id} {done} in both\n"),
        Written::InOne { stored_in, .. } => {
            let other = match stored_in {
                Store::Postgres => Store::Sqlite,
                Store::Sqlite => Store::Postgres,
            };
            format!("user {user_id} {done} in {stored_in}; {other} gets it when it is back\n")
        }
    }
}

/// What getting a user prints.
#[must_use]
pub fn user_found<T>(user: &User, found: &Found<T>, json: bool) -> String {
    if !json {
        return columns_of(user);
    }
    line(&FoundBody {
        version: 1,
        user: UserBody::new(user),
        source: store_word(found.source),
        age_ms: age_ms(found),
    })
}

pub(super) fn age_ms<T>(found: &Found<T>) -> Option<u64> {
    found.age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}

/// Every column on a line of its own.
fn columns_of(user: &User) -> String {
    let line = |(name, value): (&str, &Value)| {
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
