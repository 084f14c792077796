use std::sync::Arc;

use dual_database::database::{Found, Record};
use dual_database::{Error, Result};

use super::data;
use super::json::{ErrorOwned, line, store_word};
use super::rows::{Shown, Words, age_ms, cell, tell_source};
use super::table::{Columns, table};
use crate::exit::Exit;

/// The columns of users that fit on a screen, in their declared order.
const USERS: [&str; 7] =
    ["id", "user_id", "username", "first_name", "status", "phone_number", "register_date"];
/// Of any other table so many fit.
const MOST: usize = 8;
/// So many rows are looked at before the widths of the columns are settled.
const MEASURED: usize = 200;

/// Prints rows as they come: a list may be longer than memory.
pub struct RowListing<'t> {
    shown: Shown<'t>,
    headings: Vec<Arc<str>>,
    listed: u64,
    measured: Vec<Vec<String>>,
    columns: Option<Columns>,
}

impl<'t> RowListing<'t> {
    /// An empty list.
    #[must_use]
    pub fn new(shown: Shown<'t>) -> RowListing<'t> {
        let names = shown.table.columns().iter().map(|column| Arc::clone(&column.name));
        let headings = match shown.words {
            Words::Users => names.filter(|name| USERS.contains(&&**name)).collect(),
            Words::Rows => names.take(MOST).collect(),
        };
        RowListing { shown, headings, listed: 0, measured: Vec::new(), columns: None }
    }

    /// One more.
    pub fn add(&mut self, row: &Record) {
        self.listed += 1;
        if self.shown.json {
            let before = if self.listed == 1 { self.opening() } else { ",".to_owned() };
            data(&format!("{before}{}", line(&row.shown(self.shown.table)).trim_end()));
            return;
        }
        let values = self.shown.values(row).into_iter();
        let values = values.filter(|(name, _)| self.headings.contains(name));
        let row: Vec<String> = values.map(|(_, value)| cell(&value)).collect();
        match &self.columns {
            Some(columns) => data(&columns.line(&row)),
            None => self.measured.push(row),
        }
        if self.measured.len() >= MEASURED {
            self.settle();
        }
    }

    fn opening(&self) -> String {
        let Shown { table, words, .. } = self.shown;
        let table = match words {
            Words::Users => String::new(),
            Words::Rows => format!("\"table\":{},", serde_json::Value::from(table.name())),
        };
        format!("{{\"version\":1,{table}\"{}\":[", words.many())
    }

    /// Takes the widths from what there is so far, and prints it.
    fn settle(&mut self) {
        let headings: Vec<&str> = self.headings.iter().map(|name| &**name).collect();
        data(&table(&headings, &self.measured));
        self.columns = Some(Columns::new(&headings, &self.measured));
        self.measured.clear();
    }

    /// That was all; the store that answered first stands for all.
    pub fn end<T>(self, first: &Found<T>) {
        if !self.shown.json {
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
        if !self.shown.json || self.listed == 0 {
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
        if self.shown.json {
            let opening = if self.listed == 0 { self.opening() } else { String::new() };
            data(&format!("{opening}],{members}}}\n"));
        } else if self.columns.is_none() {
            self.settle();
        }
    }
}
