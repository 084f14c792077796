//! One file a command.

mod confirm;
pub mod conflicts;
#[cfg(feature = "import")]
pub mod demo;
pub mod init;
#[cfg(feature = "import")]
pub mod migrate;
pub mod quarantine;
pub mod repair;
pub mod row;
pub mod schema;
mod session;
pub mod sql;
pub mod status;
pub mod sync;
pub mod uninstall;
pub mod user;
pub mod verify;

use confirm::confirm;
use session::{Look, Write, stop_signal};
