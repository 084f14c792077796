//! What both stores and the synchroniser share, as pure code: what is new since the cursor
//! ([`Snapshot`]), whether PostgreSQL is still the one that was followed ([`Epoch`]), the life
//! of a file's cursor ([`Follow`]), what a full comparison does with a row that PostgreSQL
//! does not know ([`reconcile`]), when to wake up again ([`Pace`]), which of several
//! processes does the work ([`Lease`]), what becomes of stamps that lie in the future ([`SetBack`]), to
//! whom a number belongs ([`NumberView`]);
//! what a store
//! lacks ([`Addition`]) and what has become of capture there ([`Drift`]); entries of the lists that both keep, what a list asks,
//! and a row as it is answered ([`Record`]). The states and their failures are in `sync/DESIGN.md`.

mod addition;
mod cursor;
mod drift;
mod entry;
mod epoch;
mod list;
mod number;
mod pace;
pub mod reconcile;
mod record;
mod set_back;
mod snapshot;

pub use addition::Addition;
pub use cursor::{Event, Follow, ImpossibleHistory, PollVerdict, judge_poll};
pub use drift::Drift;
pub use entry::{ConflictEntry, Quarantined};
pub(crate) use entry::{is_register, register_name};
pub use epoch::{Break, Epoch, Token, Tokens};
pub(crate) use list::Order;
pub use list::{After, Direction, Filter};
pub use number::{NumberVerdict, NumberView, Reservation, Surrogate, Wanted};
pub use pace::{Lease, Outcome, Pace};
pub use record::{Record, ShownRecord};
pub use set_back::{Ahead, SetBack};
pub use snapshot::{Snapshot, SnapshotSyntax};
