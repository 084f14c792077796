//! PostgreSQL and SQLite kept as one logical database.
//!
//! The rooms, in the order in which data passes; a lower room never imports an upper one:
//!
//! - [`database`]: [`DualDatabase`], the calls;
//! - [`init`]: what it takes to make one database of what is there;
//! - [`verify`]: whether both stores have the same;
//! - [`sync`]: the synchroniser; cursor, epoch, reconcile: the decisions of the synchroniser;
//! - [`merge`] and [`stamp`]: which of two writes stands; pure;
//! - [`import`]: a Google Sheet or a CSV file into both stores, in two phases;
//! - [`store`]: the two stores, one room each: connection, catalog, codec, statements;
//! - [`schema`] and [`value`]: what both sides agree on;
//! - [`error`]: one error type for everything public.

pub mod clock;
pub mod database;
pub mod error;
pub mod health;
pub mod import;
pub mod init;
pub mod merge;
pub mod schema;
pub mod stamp;
pub mod store;
pub mod sync;
pub mod uninstall;
pub mod value;
pub mod verify;

pub use database::{DualDatabase, blocking};
pub use error::{Error, Kind, Result, Store};
