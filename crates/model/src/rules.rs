//! The product's rules, with the traps between them and the model.

use std::collections::BTreeMap;

use dual_database::merge::{
    Absorbed, Bases, Change, Defaults, Merged, Register, Tracked, Version, merge,
};
use dual_database::protocol::{Epoch, SetBack, Token, Tokens};
use dual_database::stamp::{Stamp, Writer, captured};
use dual_database::value::Value;

use crate::trap::{Trap, Traps};
use crate::truth::{Truth, WriteId};

pub type Key = u8;

/// What the table has where it is not what the sidecar says, because it came past the triggers:
/// nothing, or a row that the sidecar has as dead or does not know.
pub type Loose = BTreeMap<Key, Option<Loaded>>;

/// A row that was loaded past the triggers.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub write: WriteId,
    pub values: Vec<Value>,
}

/// Somebody takes a row away, or loads one, past the triggers. A row that is put back under the
/// sidecar row of the one that was taken away has its values under those stamps.
pub fn loosen(
    loose: &mut Loose,
    known: Option<&mut Version>,
    key: Key,
    row: Option<&Loaded>,
    truth: &mut Truth,
) {
    match (known.filter(|known| known.lives()), row) {
        (Some(known), Some(row)) => {
            loose.remove(&key);
            for (column, value) in row.values.iter().enumerate() {
                if known.columns.get(column).is_some_and(|own| own.value != *value) {
                    truth.drifted(key, column, known, value);
                }
            }
        }
        (None, None) => drop(loose.remove(&key)),
        _ => drop(loose.insert(key, row.cloned())),
    }
}

/// A row that was loaded past the triggers, as capture takes it in: over a tombstone or an absent
/// row as a birth, else as a row that was there before, of which what it says nothing about is
/// nobody's. At PostgreSQL it lies above the purge horizon, like any birth: files may still have
/// the life that was purged.
pub fn loaded(
    known: Option<&Tracked>,
    row: &Loaded,
    writer: Writer,
    now: i64,
    horizon: Stamp,
) -> Tracked {
    if let Some(known) = known {
        let change = Change::Insert(row.values.clone());
        let stamp = captured(now, known.replaces(&change), writer);
        return Tracked::changed(Some(known), &change, stamp, Stamp::ZERO, &defaults());
    }
    let (adopted, unseen) = match writer {
        Writer::POSTGRES if horizon > Stamp::ZERO => (horizon.next(writer), horizon),
        Writer::POSTGRES => (Stamp::ADOPTED_POSTGRES, Stamp::ZERO),
        _ => (Stamp::ADOPTED_SQLITE, Stamp::ZERO),
    };
    let defaults = defaults();
    let columns = row.values.iter().enumerate().map(|(at, value)| {
        let silent = defaults.says_nothing(at, value);
        Register { stamp: if silent { unseen } else { adopted }, value: value.clone() }
    });
    let version =
        Version { live: Register { stamp: adopted, value: true }, columns: columns.collect() };
    let base = Some(Stamp::ZERO);
    Tracked { version, bases: Bases { live: base, columns: vec![base; COLUMNS] } }
}

/// A balance or a name; a nullable column; one with a default.
pub const COLUMNS: usize = 3;
/// Keys below are users, above are accounts, in a table of their own.
pub const USERS: Key = 5;
/// Accounts between which PostgreSQL's clients and the library transfer.
pub const BANK_A: [Key; 3] = [100, 101, 102];
/// Accounts between which an old script on the first file transfers.
pub const BANK_B: [Key; 3] = [110, 111, 112];
/// What each bank holds in all.
pub const TOTAL: i64 = 300;

pub fn defaults() -> Defaults {
    Defaults::new(vec![Value::Null, Value::Null, Value::Int(-1)])
}

/// PostgreSQL's CHECK refuses it until the schema is changed.
pub fn is_bad(version: &Version) -> bool {
    version.lives()
        && version.columns.iter().any(|column| matches!(column.value, Value::Int(n) if n < -1))
}

pub fn balance(version: &Version) -> i64 {
    match version.columns.first().map(|column| &column.value) {
        Some(Value::Int(balance)) => *balance,
        _ => 0,
    }
}

impl Traps {
    pub fn captured(self, now: i64, replaced: Stamp, writer: Writer) -> Stamp {
        if self.has(Trap::PlusOne) {
            let plus_one = Stamp::from_raw(replaced.raw().saturating_add(1));
            return Stamp::at(now, writer).max(plus_one.unwrap_or(replaced));
        }
        if self.has(Trap::ClockAlone) {
            return Stamp::at(now, writer);
        }
        captured(now, replaced, writer)
    }

    /// A row of the file whose number is `file`, set back.
    pub fn set_back(self, one: &SetBack, row: &Tracked, file: Writer) -> Tracked {
        if !self.has(Trap::SetBackSharesAStamp) {
            return one.tracked(row, file);
        }
        let mut row = one.tracked(row, Writer::MAX);
        let bases = row.bases.columns.iter_mut().chain([&mut row.bases.live]).flatten();
        for base in bases.filter(|base| **base == one.base(Stamp::MAX)) {
            *base = one.local(Stamp::MAX, Writer::MAX);
        }
        row
    }

    /// What the sidecar shows to an insert.
    pub fn seen_by<'a>(
        self,
        existing: Option<&'a Tracked>,
        change: &Change,
    ) -> Option<&'a Tracked> {
        let forgets = self.has(Trap::ZeroAfterDelete) && matches!(change, Change::Insert(_));
        existing.filter(|row| !forgets || row.version.live.value)
    }

    /// The epoch as the file takes it.
    pub fn seen_epoch(self, epoch: Epoch, tokens: &Tokens) -> Epoch {
        if self.has(Trap::NoToken) {
            Epoch { token: tokens.current().or(tokens.proposed()), ..epoch }
        } else if self.has(Trap::PastTokenIsACopys)
            && epoch.token.is_some_and(|seen| tokens.is_past(seen))
        {
            Epoch { token: Some(Token::after(tokens.current(), 0)), ..epoch }
        } else {
            epoch
        }
    }

    /// What a file's row says to PostgreSQL.
    pub fn offered(self, row: &Tracked, found: &Version, intact: bool) -> Version {
        let intact = intact && !self.has(Trap::OldLifeCounts);
        if intact { row.against(found) } else { row.version.clone() }
    }

    pub fn merge(self, mine: &Version, theirs: &Version) -> Merged {
        let mut merged = merge(mine, theirs);
        if self.has(Trap::MergeByRow) {
            let theirs_wins = theirs.highest() > mine.highest();
            let version = if theirs_wins { theirs } else { mine };
            merged = Merged {
                version: version.clone(),
                left_is_behind: theirs_wins,
                right_is_behind: mine.highest() > theirs.highest(),
            };
        }
        if self.has(Trap::KeepMine) {
            for (column, own) in merged.version.columns.iter_mut().zip(&mine.columns) {
                if column.stamp == own.stamp {
                    column.value = own.value.clone();
                }
            }
            merged.left_is_behind = merged.version != *mine;
            merged.right_is_behind = theirs.live.stamp < merged.version.live.stamp
                || (0..COLUMNS).any(|c| theirs.stamp_of(c) < merged.version.stamp_of(c));
        }
        merged
    }

    pub fn absorb(self, existing: Option<&Tracked>, incoming: &Version, intact: bool) -> Absorbed {
        let intact = intact && !self.has(Trap::OldLifeCounts);
        let mut absorbed = Tracked::absorb(existing, incoming, intact, &defaults());
        if let Some(existing) = existing
            && (self.has(Trap::MergeByRow) || self.has(Trap::KeepMine))
        {
            let own = if intact { existing.against(incoming) } else { existing.version.clone() };
            let merged = self.merge(&own, incoming);
            absorbed.changed = merged.left_is_behind || absorbed.row.bases != existing.bases;
            absorbed.other_is_behind = merged.right_is_behind;
            absorbed.row.version = merged.version.stored(&defaults());
        }
        absorbed
    }
}
