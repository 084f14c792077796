//! Capture in the SQLite file: a sidecar beside each tracked table, kept by triggers that any
//! client's SQLite can run. Why each part is as it is stands in `DESIGN.md` beside this file.
//!
//! ```
//! use dual_database::schema::users;
//! use dual_database::store::sqlite::capture::Layout;
//! assert_eq!(Layout::new(&users()).sidecar(), "\"dual_side_users\"");
//! ```

mod ddl;
mod declared;
mod install;
mod layout;
mod let_go;
mod sidecar;
mod triggers;
mod unmeet;

pub use crate::protocol::Drift;
pub(crate) use declared::{declared, has_notes, is_current, is_only_noted, learn, to_be, upgrade};
pub use install::{drift, install, lacks, loose, mend, uninstall};
pub(crate) use install::{has_sidecar, tracked_columns};
pub(super) use layout::RegisterColumns;
pub use layout::{Layout, Unique};
pub(crate) use let_go::let_go;
pub use sidecar::{
    LocalEntry, State, agree_on_adopted, changed_above, entry, prefer, put, renumber, state,
    write_sidecar,
};
pub(super) use sidecar::{damaged, stamp};
pub(crate) use unmeet::unmeet;
