//! SQLite: the thread that owns a connection, opening and attaching, catalog, errors.
//!
//! Nothing here opens the database file except SQLite itself: any other `open` and `close`
//! in the process would drop SQLite's POSIX locks. Looking at it with `stat` is allowed.

#[forbid(unsafe_code)]
mod adopt;
#[forbid(unsafe_code)]
pub mod capture;
#[forbid(unsafe_code)]
mod catalog;
#[forbid(unsafe_code)]
mod codec;
mod extension;
#[forbid(unsafe_code)]
mod failure;
#[forbid(unsafe_code)]
mod file;
#[forbid(unsafe_code)]
mod functions;
#[forbid(unsafe_code)]
mod key;
#[forbid(unsafe_code)]
mod query;
#[forbid(unsafe_code)]
mod relations;
#[forbid(unsafe_code)]
pub mod replica;
#[forbid(unsafe_code)]
mod thread;

pub use adopt::{Adoption, rewrite_timestamps};
pub use catalog::{FoundColumn, FoundRelation};
pub(crate) use codec::readable;
pub use codec::{Undecodable, from_sqlite, to_sqlite};
pub use failure::failed;
pub(crate) use failure::kind_of;
pub use file::{File, SCHEMA, attach, make, remove_if_empty};
pub(crate) use functions::define_functions;
pub(crate) use key::stored;
pub use query::Rows;
pub(crate) use query::query;
pub(crate) use relations::relations;
pub use thread::Owner;
