//! The import against real files, servers, databases and clients.

// The lint's own exception covers test functions, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod import_wide;
#[path = "../../../sheets-double/tests/it/python.rs"]
mod python;
mod rejects_file;
mod source_csv;
mod source_google;
mod source_gspread;
mod source_scripted;
