//! What is written to a file past its triggers, and found: the tables have to be compared, as
//! `store/sqlite/replica/following.rs` notes it.

use dual_database::protocol::Break;
use dual_database::value::Value;

use super::rows::{APART, CHILDREN, Id, KEYS, OTHERS, PARENTS, TABLES, value};
use super::{FILES, Trap, World};

/// How rare it is.
const GAP: u64 = 12;

impl World {
    /// Now and then, in a history in which that happens.
    pub fn gap(&mut self) {
        let Some(rng) = &mut self.gaps else { return };
        if !rng.once_in(GAP) {
            return;
        }
        let at = rng.index(FILES);
        // Rather in a table that is compared at the moment.
        let apart = self.files[at].apart(&[PARENTS, CHILDREN, OTHERS]);
        let table = apart.first().copied().unwrap_or_else(|| rng.index(TABLES));
        let id = Id { table, key: rng.range(0, KEYS) };
        let following = self.files[at].tables[table];
        if !following.captured || following.paused.is_some() {
            return;
        }
        let Some(local) = self.files[at].rows.get_mut(&id) else { return };
        // What is pending in the column is pushed as it is.
        if value(&local.row.version, 0).is_none() || local.row.bases.column(0).is_some() {
            return;
        }
        self.truth.values += 1;
        local.row.version.columns[0].value = Value::Int(self.truth.values * APART);
        // Which of two values that have one stamp counts nothing tells.
        self.truth.excused.insert(id);
        self.truth.set(self.truth.values * APART, id, 0);
        let follows = self.files[at].followed().is_some();
        if follows || !self.files[at].has(Trap::GapInPassing) {
            self.files[at].compare_alone(table, Break::LocalGap);
        }
        if !follows {
            self.asked(at, Break::LocalGap);
        }
        self.paused(at);
    }
}
