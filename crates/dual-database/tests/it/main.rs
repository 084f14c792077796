//! The library against real files, servers and databases.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod source_csv;
mod source_google;
mod source_scripted;
