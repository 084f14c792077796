use dual_database::database::Found;
use dual_database::users::User;
use dual_database::{Error, Result};

use super::data;
use super::json::{ErrorOwned, line, store_word};
use super::table::{Columns, table};
use super::users::{UserBody, age_ms, cell, tell_source};
use crate::exit::Exit;

/// The columns that fit on a screen, in their declared order.
const SHOWN: [&str; 7] =
    ["id", "user_id", "username", "first_name", "status", "phone_number", "register_date"];
/// So many rows are looked at before the widths of the columns are settled.
const MEASURED: usize = 200;

/// Prints users as they come: a list may be longer than memory.
pub struct UserList {
    json: bool,
    listed: u64,
    measured: Vec<Vec<String>>,
    columns: Option<Columns>,
}

impl UserList {
    /// An empty list.
    #[must_use]
    pub fn new(json: bool) -> UserList {
        UserList { json, listed: 0, measured: Vec::new(), columns: None }
    }

    /// One more.
    pub fn add(&mut self, user: &User) {
        let body = UserBody::new(user);
        self.listed += 1;
        if self.json {
            let before = if self.listed == 1 { OPENING } else { "," };
            data(&format!("{before}{}", line(&body).trim_end()));
            return;
        }
        let shown = body.columns().filter(|(name, _)| SHOWN.contains(&&**name));
        let row: Vec<String> = shown.map(|(_, value)| cell(value)).collect();
        match &self.columns {
            Some(columns) => data(&columns.line(&row)),
            None => self.measured.push(row),
        }
        if self.measured.len() >= MEASURED {
            self.settle();
        }
    }

    /// Takes the widths from what there is so far, and prints it.
    fn settle(&mut self) {
        data(&table(&SHOWN, &self.measured));
        self.columns = Some(Columns::new(&SHOWN, &self.measured));
        self.measured.clear();
    }

    /// That was all; the store that answered first stands for all.
    pub fn end<T>(self, first: &Found<T>) {
        if !self.json {
            tell_source(first);
        }
        let age = age_ms(first).map_or_else(|| "null".into(), |age| age.to_string());
        let source = store_word(first.source);
        self.close(&format!("\"source\":\"{source}\",\"age_ms\":{age}"));
    }

    /// It broke off. In a document that has begun there is no place for another one, so that
    /// the error is given back only if nothing was printed yet.
    ///
    /// # Errors
    /// The error itself.
    pub fn fail(self, error: Error) -> Result<Exit> {
        if !self.json || self.listed == 0 {
            if self.columns.is_none() && self.listed > 0 {
                self.close("");
            }
            return Err(error);
        }
        let body = line(&ErrorOwned::new(&error));
        self.close(&format!("\"error\":{}", body.trim_end()));
        Ok(Exit::BrokenOff)
    }

    fn close(mut self, members: &str) {
        if self.json {
            let opening = if self.listed == 0 { OPENING } else { "" };
            data(&format!("{opening}],{members}}}\n"));
        } else if self.columns.is_none() {
            self.settle();
        }
    }
}

const OPENING: &str = "{\"version\":1,\"users\":[";
