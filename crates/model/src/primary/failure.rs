//! What can happen to the server as a whole.

use super::Primary;
use crate::trap::Trap;

impl Primary {
    fn restart(&mut self) {
        self.open.clear();
        self.slots.clear();
        self.late.clear();
        self.incarnation += 1;
        self.up = true;
    }

    /// Crash recovery. `draw` decides how many ids of transactions that left nothing behind
    /// are handed out again.
    pub fn crash(&mut self, draw: u64) {
        self.restart();
        self.tokens.clear();
        let least = self.data.last_committed + 1;
        let span = self.next_txid.saturating_sub(least) + 1;
        self.next_txid = least + draw % span;
    }

    pub fn replicate(&mut self) {
        self.replica = (self.data.clone(), self.next_txid);
    }

    /// The replica takes over, without what it has not received.
    pub fn fail_over(&mut self) {
        (self.data, self.next_txid) = self.replica.clone();
        self.restart();
        self.tokens.clear();
        self.timeline += 1;
    }

    pub fn back_up(&mut self) {
        self.backup = Some((self.data.clone(), self.next_txid, self.tokens.clone()));
        self.went_on.clear();
    }

    /// A file works with the token that it had at the backup. With a server that was stopped for it
    /// that cannot be: whoever goes on has connected again, and has another one.
    pub fn goes_on(&mut self, file: u32) {
        if let Some((.., tokens)) = &self.backup
            && tokens.get(&file) == self.tokens.get(&file)
        {
            self.went_on.insert(file);
        }
    }

    /// Restores the last backup: to a point in time, into a new cluster by `pg_dump`, by
    /// `pg_restore --clean` into the same database, from a snapshot of the volume, or from a copy
    /// that was made while the server was stopped.
    pub fn restore(&mut self, kind: u64) {
        let Some((data, next_txid, tokens)) = self.backup.clone() else { return };
        self.data = data;
        self.replicate();
        self.restart();
        match kind % 4 {
            0 => {
                self.timeline += 1;
                self.next_txid = next_txid;
                self.tokens.clear();
            }
            1 => {
                self.system += 1;
                self.next_txid = 3;
                self.tokens = tokens;
            }
            2 => {
                if !self.traps.has(Trap::NoRelations) {
                    self.relations += 1;
                }
                self.tokens = tokens;
            }
            _ => {
                self.next_txid = next_txid;
                let copied = tokens.into_iter().filter(|_| kind / 4 % 2 == 1);
                self.tokens = copied.filter(|(file, _)| !self.went_on.contains(file)).collect();
            }
        }
        self.data.last_committed = self.data.last_committed.min(self.next_txid - 1);
        self.replicate();
    }
}
