//! The library against real files, servers and databases.

// The lint's own exception covers test functions, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod capture_oracle;
mod capture_postgres;
mod capture_sqlite;
mod postgres_catalog;
mod postgres_session;
mod postgres_tls;
#[path = "../../../sheets-double/tests/it/python.rs"]
mod python;
mod scenario;
mod source_csv;
mod source_google;
mod source_gspread;
mod source_scripted;
