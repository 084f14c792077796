//! How each table of a file follows by itself.

use dual_database::Store;
use dual_database::protocol::{Break, Epoch, Follow};

use super::file::{File, Following};
use super::trap::Trap;

impl File {
    /// Leaves these tables alone from now on; those of `tables` that were left alone and are none of them
    /// have to be compared.
    pub fn leave_alone(&mut self, aside: &[(usize, Store)], tables: &[usize]) {
        for (table, why) in aside {
            if self.tables[*table].paused != Some(*why) {
                if !self.has(Trap::PauseBreaksAll) {
                    self.uncount(*table);
                }
                self.tables[*table].paused = Some(*why);
            }
        }
        for table in tables {
            if self.tables[*table].paused.is_some() {
                self.tables[*table].paused = None;
                if !self.has(Trap::UncomparedReturn) {
                    self.compare_alone(*table, Break::CaptureGap);
                }
            }
        }
    }

    /// The epoch that is followed does not speak of the table any more.
    fn uncount(&mut self, table: usize) {
        let Some(relation) = self.tables[table].relation.take() else { return };
        if let Some(epoch) = self.follow.followed_mut() {
            epoch.relations = epoch.relations.wrapping_sub(relation);
        }
    }

    pub fn compare_alone(&mut self, table: usize, cause: Break) {
        let following = &mut self.tables[table];
        let before = following.compare;
        following.compare = Some(before.map_or(cause, |before| before.graver(cause)));
        following.marked += 1;
    }

    /// Lets the epoch that is followed speak of the tables that have come since.
    pub fn count_relations(&mut self, adds: &[(usize, u64)]) {
        for (table, add) in adds {
            let following = &mut self.tables[*table];
            if following.relation.is_none()
                && following.paused.is_none()
                && let Some(epoch) = self.follow.followed_mut()
            {
                following.relation = Some(*add);
                epoch.relations = epoch.relations.wrapping_add(*add);
            }
        }
    }

    /// The epoch that is followed from now on speaks of these tables.
    pub fn relations_are(&mut self, adds: &[(usize, u64)]) {
        self.tables.iter_mut().for_each(|following| following.relation = None);
        adds.iter().for_each(|(table, add)| self.tables[*table].relation = Some(*add));
    }

    /// The tables that are apart from the others, which follow, until they have been compared.
    pub fn apart(&self, tables: &[usize]) -> Vec<usize> {
        let is_one = |table: &&usize| self.tables[**table].compare.is_some();
        match self.followed() {
            Some(_) => tables.iter().filter(is_one).copied().collect(),
            None => Vec::new(),
        }
    }

    /// Those of them that are compared next, for the reason that they share.
    pub fn to_compare(&self, tables: &[usize]) -> Vec<usize> {
        let apart = self.apart(tables);
        let cause = apart.first().and_then(|first| self.tables[*first].compare);
        apart.into_iter().filter(|table| self.tables[*table].compare == cause).collect()
    }

    /// The how many-th comparison of each of these tables it is that waits; `None` of one that waits for none.
    pub fn marks(&self, tables: &[usize]) -> Vec<Option<u64>> {
        let mark = |table: &usize| {
            let Following { compare, marked, .. } = self.tables[*table];
            let marked = if self.has(Trap::EndsTheNext) { 0 } else { marked };
            compare.map(|_| marked)
        };
        tables.iter().map(mark).collect()
    }

    /// Where these tables stand.
    pub fn follow_of(&self, tables: &[usize]) -> Follow {
        let causes = tables.iter().filter_map(|table| self.tables[*table].compare);
        causes.fold(self.follow.clone(), Follow::with)
    }

    pub fn compared(&mut self, tables: &[usize]) {
        let all: Vec<usize> = (0..self.tables.len()).collect();
        let tables = if self.has(Trap::ComparedTellsForAll) { &all } else { tables };
        tables.iter().for_each(|table| self.tables[*table].compare = None);
    }

    /// A table that a process with these has to do with otherwise than the file says.
    pub fn keeps_besides(&self, tables: &[usize]) -> bool {
        self.tables.iter().enumerate().any(|(table, following)| {
            following.declared && tables.contains(&table) == following.paused.is_some()
        })
    }

    /// The history that is followed, if the cursor holds.
    pub fn followed(&self) -> Option<Epoch> {
        match &self.follow {
            Follow::Following { epoch, .. } => Some(*epoch),
            Follow::Reconciling { .. } | Follow::Held { .. } => None,
        }
    }
}
