//! Capture on PostgreSQL: a sidecar beside each tracked table, kept by triggers, so that
//! whoever writes is seen. Why each part is as it is stands in `DESIGN.md` beside this file.
//!
//! ```
//! use dual_database::schema::users;
//! use dual_database::store::postgres::capture::Layout;
//! let layout = Layout::new(&users(), "\"public\".\"users\"");
//! assert_eq!(layout.sidecar(), "dual.\"side_users\"");
//! ```

mod ddl;
mod install;
mod layout;
mod settle;
mod single;
mod triggers;
mod write;

pub use ddl::{FORMAT, KEEP_BEFORE, POLL_SETTINGS};
pub use install::{
    Drift, Entry, Settled, changed_since, drift, install, keep_before, loose, mend, mend_all,
    settle, uninstall,
};
pub(super) use install::{SCHEMA_LOCK, allowed, entry_of, permitted, place};
pub(super) use layout::EQUALS;
pub use layout::Layout;
pub use layout::is_utf8;
pub use settle::{Mark, refusal};
