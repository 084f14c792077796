//! The library against real files, servers and databases.

// The lint's own exception covers test functions, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod acknowledged;
mod adoption;
mod api_calls;
mod api_failures;
mod api_locks;
mod api_open;
mod api_quarantine;
mod api_scene;
mod api_transactions;
mod capture_oracle;
mod capture_postgres;
mod capture_sqlite;
mod engine_backlog;
mod engine_breaks;
mod engine_bytes;
mod engine_exchange;
mod engine_failures;
mod engine_large;
mod engine_locks;
mod engine_quarantine;
mod engine_scene;
mod engine_steps;
mod engine_two_processes;
mod foreign_bytes;
mod hostile;
mod import_wide;
mod init;
mod postgres_catalog;
mod postgres_jit;
mod postgres_libpq;
mod postgres_session;
mod postgres_tls;
mod primary_feed;
mod primary_push;
mod primary_put;
mod primary_read;
mod primary_scene;
mod primary_server;
mod primary_write;
mod private_files;
#[path = "../../../sheets-double/tests/it/python.rs"]
mod python;
mod rejoin;
mod replica;
mod replica_file;
mod scenario;
mod source_csv;
mod source_google;
mod source_gspread;
mod source_scripted;
mod steps;
mod uninstall;
mod verify;
