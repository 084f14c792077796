//! Capture on PostgreSQL: a sidecar beside each tracked table, kept by triggers, so that
//! whoever writes is seen. Why each part is as it is stands in `DESIGN.md` beside this file.
//!
//! ```
//! use dual_database::schema::users;
//! use dual_database::store::postgres::capture::Layout;
//! let layout = Layout::new(&users(), "\"public\".\"users\"");
//! assert_eq!(layout.sidecar(), "dual.\"side_users\"");
//! ```

mod common;
mod ddl;
mod declared;
mod entry;
mod grants;
mod imports;
mod install;
mod layout;
mod ours;
mod row_stamps;
mod single;
mod standing;
mod statements;
mod triggers;
mod write;

pub use crate::protocol::Drift;
pub(super) use common::ROW_KEY;
pub(super) use common::guarded;
pub(crate) use declared::declared;
pub use entry::{RemoteEntry, Settled};
pub(super) use grants::{
    On, Right, USERS_SEQUENCE, USERS_TABLE, given_back, is_named_as_ours, noted_runtime, of_ours,
    of_users,
};
pub(crate) use imports::may_record_imports;
pub use imports::{has_record_of_imports, make_record_of_imports};
pub use install::{
    Uninstalled, changed_since, drift, install, keep_before, loose, mend, settle, uninstall,
};
pub(super) use install::{entry_of, is_renewable, permitted, place, renew};
pub(crate) use install::{has, kept_tables, mend_all};
pub use layout::Layout;
pub(super) use layout::array_of_stamps;
pub(crate) use ours::{Ours, ours_alone};
pub(super) use row_stamps::record;
pub use row_stamps::{RowStamps, refusal};
pub(crate) use standing::{SchemaStanding, not_kept_elsewhere, permit};
pub(super) use statements::schema_locked;
