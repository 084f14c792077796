//! A local stand-in for the Google Sheets API, for tests and demonstrations.
//!
//! The double serves a workbook from memory on `127.0.0.1`: the token endpoint of a service
//! account, `spreadsheets.get`, `values.get`, `values:batchGet`, and as much of Drive as
//! opening by title needs. Where Google's answers were recorded it gives the same bytes;
//! what no recording shows is marked `[K]` (general knowledge) beside the code. It reads
//! only: writes are refused.
//!
//! ```
//! use sheets_double::{Books, Double, Fault, Options};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let runtime = tokio::runtime::Runtime::new()?;
//! # runtime.block_on(async {
//! let books = Books::from_json(
//!     r#"{"BOOK-ID": {"title": "Guests", "sheets": [
//!           {"title": "Sheet1", "rowCount": 10, "columnCount": 3, "cells": [
//!             ["id", "name", "seen"],
//!             [7000000005, "Анна", {"v": 45876.5, "f": "2025-08-07 12:00:00", "date": true}]
//!           ]}]}}"#,
//! )?;
//! let double = Double::start(books, Options::default()).await?;
//! // A client needs nothing else: the key file's `token_uri` points at the double.
//! assert!(double.credentials_json().contains(&format!("{}/token", double.base_url())));
//! // The next two reads of values meet an exhausted quota.
//! double.set_faults(vec!["429,on=values,times=2".parse::<Fault>()?]);
//! assert!(double.requests().is_empty());
//! # Ok(())
//! # })
//! # }
//! ```
//!
//! The program does the same from a shell. It prints the base address and serves until it
//! is ended:
//!
//! ```text
//! $ sheets-double --book book.json --creds-out creds.json --fault 503,times=1
//! http://127.0.0.1:41873
//! ```
//!
//! While it runs, `POST /double/faults` takes a JSON list of faults in the form of
//! [`Fault`] and puts it in place of the earlier ones (`[]` ends them all), and
//! `GET /double/requests` lists what was asked.
//!
//! # The book file
//!
//! One book, or an object from spreadsheet id to book. A single book that has no
//! `spreadsheetId` is served under every id. See [`Book`], [`Sheet`] and [`Cell`] for the
//! members.

#![forbid(unsafe_code)]

mod a1;
mod answer;
mod book;
mod book_json;
mod cell;
mod clock;
mod drive;
mod error;
mod faults;
mod json;
mod mask;
mod metadata;
mod query;
mod route;
mod server;
mod token;
mod values;
mod wire;

pub use book::{Book, Books, NamedRange, Sheet, Span};
pub use cell::{Cell, Styled};
pub use error::Error;
pub use faults::{Endpoint, Fault, FaultKind};
pub use json::Node;
pub use route::SeenRequest;
pub use server::{Double, Options};
