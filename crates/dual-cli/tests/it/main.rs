//! The programs as a user runs them: real binaries, real PostgreSQL, real SQLite files, and
//! the stand-in for the Sheets API.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod bad_input;
mod big;
mod core_apart;
mod core_away;
mod core_bad_input;
mod core_declared;
mod core_growth;
mod core_hard_servers;
mod core_init;
mod core_joining;
mod core_keys_only;
mod core_look;
mod core_names;
mod core_names_later;
mod core_natural;
mod core_natural_later;
mod core_neighbours;
mod core_numbers;
mod core_paused;
mod core_private;
mod core_restores;
mod core_roles;
mod core_scene;
mod core_schema;
mod core_settings;
mod core_sync;
mod core_tables;
mod core_tables_as_they_are;
mod core_uninstall;
mod core_upgrade;
mod core_user;
mod core_verbose;
mod core_widen;
mod csv;
mod demo;
mod docs;
mod failures;
mod kept;
mod layouts;
mod marks;
mod proxy;
mod rerun;
mod scene;
mod serials;
mod types;
mod versions;
