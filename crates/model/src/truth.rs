//! What really happened: every write of every register, who had seen whom, and what was
//! acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use dual_database::merge::{Conflict, RegisterId, Version};
use dual_database::stamp::Stamp;
use dual_database::value::Value;

use crate::rules::Key;

pub type OpId = usize;
pub type WriteId = usize;
pub type Log = BTreeSet<(Key, Conflict)>;

/// One register set by one write. The same write can be executed in both stores.
#[derive(Debug)]
pub struct Op {
    pub key: Key,
    pub register: RegisterId,
    pub write: WriteId,
    stamp: Stamp,
    /// The highest that it ever had: it was set back since, and what it beat it has beaten.
    highest: Stamp,
    value: Value,
    /// What it replaced, wherever it was executed. A delete and an insert replace the whole row.
    pub seen: BTreeSet<OpId>,
    /// A destroyed store had the only trace of it.
    pub destroyed: bool,
    /// A delete set the column to its default, or an insert said nothing about it: nobody's data,
    /// but it can stand, and be replaced or lose.
    pub void: bool,
}

#[derive(Debug, Default)]
pub struct Truth {
    pub ops: Vec<Op>,
    acknowledged: HashSet<WriteId>,
    writes: usize,
    /// Writes whose caller was told that this file has them on disk.
    synced: HashSet<(usize, WriteId)>,
    by_write: HashMap<(WriteId, Key, RegisterId), OpId>,
    by_stamp: HashMap<(Key, RegisterId, Stamp), BTreeSet<OpId>>,
}

pub fn registers(version: &Version) -> impl Iterator<Item = (RegisterId, Stamp)> + '_ {
    let live = std::iter::once((RegisterId::Live, version.live.stamp));
    let columns = version.columns.iter().enumerate();
    live.chain(columns.map(|(column, register)| (RegisterId::Column(column), register.stamp)))
}

/// Somebody gives a register a higher stamp.
pub fn stamp_ahead(
    key: Key,
    version: &mut Version,
    column: Option<usize>,
    stamp: Stamp,
    truth: &mut Truth,
) {
    let before = version.clone();
    let raise = |own: &mut Stamp| *own = stamp.max(*own);
    match column {
        // A dead row has the stamp of its death alone.
        Some(column) if version.live.value => {
            version.columns.iter_mut().skip(column).take(1).for_each(|one| raise(&mut one.stamp));
        }
        _ => raise(&mut version.live.stamp),
    }
    if !version.live.value {
        version.columns.iter_mut().for_each(|one| raise(&mut one.stamp));
    }
    for ((register, was), (_, is)) in registers(&before).zip(registers(version)) {
        if was != is {
            truth.forged(key, register, &before, is);
        }
    }
}

/// The registers of a row have got other stamps.
pub fn restamped(key: Key, before: &Version, after: &Version, truth: &mut Truth) {
    for ((register, was), (_, is)) in registers(before).zip(registers(after)) {
        if was != is {
            truth.restamped(key, register, before, is);
        }
    }
}

impl Truth {
    pub fn new_write(&mut self) -> WriteId {
        self.writes += 1;
        self.writes
    }

    /// A row that came past the triggers was noted as `after`. Under the stamp that all rows have which
    /// were there before it is nobody's in particular: two of them cannot be told apart.
    pub fn noted(&mut self, write: WriteId, key: Key, before: Option<&Version>, after: &Version) {
        self.executed(write, key, before, after);
        if after.live.stamp > Stamp::ADOPTED_POSTGRES {
            self.acknowledge(write);
        }
    }

    pub fn acknowledge(&mut self, write: WriteId) {
        self.acknowledged.insert(write);
    }

    /// The caller was told that the file has it on disk.
    pub fn is_synced(&mut self, file: usize, write: WriteId) {
        self.synced.insert((file, write));
    }

    /// The file was replaced by another one, with all that it had on disk.
    pub fn is_replaced(&mut self, replaced: usize) {
        self.synced.retain(|(file, _)| *file != replaced);
    }

    /// Excuses deletes whose purge a server has lost: of the delete itself it, or the file that
    /// has heard of the purge, keeps nothing. Retention is longer than any server lags.
    pub fn excuse_buried(&mut self, deaths: impl Iterator<Item = OpId>) {
        let gone = self.superseded(deaths);
        self.excuse(gone.into_iter(), None);
    }

    /// Excuses writes of which a destroyed store had the only trace, but for those that `disk`, a
    /// file that has lost what was not on its disk, has to have there.
    pub fn excuse(&mut self, ops: impl Iterator<Item = OpId>, disk: Option<usize>) {
        for op in ops {
            if let Some(op) = self.ops.get_mut(op) {
                op.destroyed |= !disk.is_some_and(|file| self.synced.contains(&(file, op.write)));
            }
        }
    }

    pub fn is_acknowledged(&self, op: OpId) -> bool {
        self.ops
            .get(op)
            .is_some_and(|op| self.acknowledged.contains(&op.write) && !op.destroyed && !op.void)
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// The writes that may have set that register to that stamp.
    pub fn of(&self, key: Key, register: RegisterId, stamp: Stamp) -> impl Iterator<Item = OpId> {
        self.by_stamp.get(&(key, register, stamp)).into_iter().flatten().copied()
    }

    /// The writes that have set that register to that stamp and to the value that it has in
    /// `version`: one stamp can have been given to two.
    fn in_version(&self, key: Key, version: &Version, register: RegisterId) -> Vec<OpId> {
        let stands = |op: &Op| match register {
            RegisterId::Live | RegisterId::Number => op.value == Value::Bool(version.live.value),
            RegisterId::Column(column) => {
                version.columns.get(column).is_some_and(|column| column.value == op.value)
            }
        };
        let stamp = match register {
            RegisterId::Live | RegisterId::Number => version.live.stamp,
            RegisterId::Column(column) => version.stamp_of(column),
        };
        // What inserts said nothing about shares one stamp: it is of the insert that gave the life.
        let births: BTreeSet<OpId> = self.of(key, RegisterId::Live, version.live.stamp).collect();
        let of_this_life = |op: &Op| {
            let birth = self.by_write.get(&(op.write, key, RegisterId::Live));
            let is_birth = |id: &&OpId| {
                self.ops.get(**id).is_some_and(|birth| birth.value == Value::Bool(true))
            };
            !op.void || birth.filter(is_birth).is_none_or(|birth| births.contains(birth))
        };
        let ops = self.of(key, register, stamp);
        let found: Vec<OpId> = ops.filter(|op| self.ops.get(*op).is_some_and(&stands)).collect();
        // One that has got a stamp of its own since belongs to whatever life it stands in.
        match found.as_slice() {
            [_] if stamp > Stamp::ADOPTED_POSTGRES => found,
            _ => {
                let mut found = found;
                found.retain(|op| self.ops.get(*op).is_some_and(of_this_life));
                found
            }
        }
    }

    fn all_of(&self, key: Key, version: &Version) -> BTreeSet<OpId> {
        registers(version)
            .flat_map(|(register, _)| self.in_version(key, version, register))
            .collect()
    }

    /// A store has executed the write.
    pub fn executed(
        &mut self,
        write: WriteId,
        key: Key,
        before: Option<&Version>,
        after: &Version,
    ) {
        let whole = before.is_none_or(|before| before.live.stamp != after.live.stamp);
        let before_all = before.map(|before| self.all_of(key, before)).unwrap_or_default();
        for (register, stamp) in registers(after) {
            let was = before.map(|before| match register {
                RegisterId::Live | RegisterId::Number => before.live.stamp,
                RegisterId::Column(column) => before.stamp_of(column),
            });
            // A column about which the insert said nothing is nobody's write, also at a purge horizon
            // of the future.
            let at_horizon =
                stamp < after.live.stamp || stamp.is_ahead_of(after.live.stamp.unix_ms());
            let silent = whole && at_horizon;
            if was == Some(stamp) {
                continue;
            }
            let seen = match (whole, was) {
                (true, _) => before_all.clone(),
                (false, Some(_)) => before
                    .map(|before| self.in_version(key, before, register).into_iter().collect())
                    .unwrap_or_default(),
                (false, None) => BTreeSet::new(),
            };
            let fresh = self.ops.len();
            let op = *self.by_write.entry((write, key, register)).or_insert(fresh);
            if op == fresh {
                let (seen, destroyed) = (BTreeSet::new(), false);
                let value = match register {
                    RegisterId::Live | RegisterId::Number => Value::Bool(after.live.value),
                    RegisterId::Column(column) => {
                        after.columns.get(column).map_or(Value::Null, |c| c.value.clone())
                    }
                };
                let void = silent || (!after.live.value && register != RegisterId::Live);
                let highest = stamp;
                self.ops.push(Op {
                    key,
                    register,
                    write,
                    stamp,
                    highest,
                    value,
                    seen,
                    destroyed,
                    void,
                });
            }
            if let Some(entry) = self.ops.get_mut(op) {
                // The store that it stood in alone had never seen the key: there it said nothing.
                entry.void |= silent;
                // Silent in one store, it can have been stamped in the other.
                entry.stamp = entry.stamp.max(stamp);
                entry.highest = entry.highest.max(stamp);
                entry.seen.extend(seen.into_iter().filter(|seen| *seen != op));
            }
            self.by_stamp.entry((key, register, stamp)).or_default().insert(op);
        }
    }

    /// Somebody has set a column past the triggers: under the stamp that it has.
    pub fn drifted(&mut self, key: Key, column: usize, version: &mut Version, value: &Value) {
        let register = RegisterId::Column(column);
        let seen = self.in_version(key, version, register).into_iter().collect();
        let Some(set) = version.columns.get_mut(column) else { return };
        set.value = value.clone();
        let (op, write, stamp) = (self.ops.len(), self.new_write(), set.stamp);
        let (value, destroyed, void, highest) = (value.clone(), false, false, stamp);
        self.ops.push(Op { key, register, write, stamp, highest, value, seen, destroyed, void });
        self.by_stamp.entry((key, register, stamp)).or_default().insert(op);
    }

    /// The write that `version` shows in that register has got another stamp.
    pub fn restamped(&mut self, key: Key, register: RegisterId, version: &Version, new: Stamp) {
        let ops = self.in_version(key, version, register);
        for op in &ops {
            if let Some(op) = self.ops.get_mut(*op) {
                op.stamp = new;
                op.highest = op.highest.max(new);
            }
        }
        self.by_stamp.entry((key, register, new)).or_default().extend(ops);
    }

    /// The same by somebody's hand: when it was written it is later than nothing else for that.
    pub fn forged(&mut self, key: Key, register: RegisterId, version: &Version, new: Stamp) {
        let ops = self.in_version(key, version, register);
        for op in &ops {
            if let Some(op) = self.ops.get_mut(*op) {
                op.highest = op.highest.max(new);
            }
        }
        self.by_stamp.entry((key, register, new)).or_default().extend(ops);
    }

    /// Everything that `roots` had seen, and they themselves.
    pub fn history(&self, roots: impl IntoIterator<Item = OpId>) -> HashSet<OpId> {
        let mut reached = HashSet::new();
        let mut open: Vec<OpId> = roots.into_iter().collect();
        while let Some(op) = open.pop() {
            if reached.insert(op) {
                open.extend(self.ops.get(op).into_iter().flat_map(|op| &op.seen));
            }
        }
        reached
    }

    /// `roots`, and what they had replaced: in the same register; a birth and a death replace the
    /// whole row. (What a column had seen of a death says nothing about it: of the rest of the
    /// life in which it was set a lost server may have had the only trace.)
    pub fn superseded(&self, roots: impl Iterator<Item = OpId>) -> HashSet<OpId> {
        let mut reached = HashSet::new();
        let mut open: Vec<OpId> = roots.collect();
        while let Some(op) = open.pop() {
            let Some(later) = self.ops.get(op).filter(|_| reached.insert(op)) else { continue };
            let whole = later.register == RegisterId::Live;
            let replaced = |seen: &&OpId| {
                whole || self.ops.get(**seen).is_some_and(|seen| seen.register == later.register)
            };
            open.extend(later.seen.iter().filter(replaced));
        }
        reached
    }

    /// The writes that stand, were superseded by one that knew them, are in a log, or set the
    /// value of such a one: of two that set the same value the later speaks for both. A dead row
    /// shows its death only.
    pub fn accounted<'a>(
        &self,
        buried: &BTreeSet<OpId>,
        rows: impl Iterator<Item = (Key, &'a Version)>,
        logs: impl Iterator<Item = &'a Log>,
    ) -> HashSet<OpId> {
        let mut roots = buried.clone();
        // Adopted rows and defaults are no writes, but can be what a later one repeats.
        let mut standing = HashMap::<(Key, RegisterId), Vec<(Stamp, Value)>>::new();
        for (key, version) in rows {
            standing
                .entry((key, RegisterId::Live))
                .or_default()
                .push((version.live.stamp, Value::Bool(version.live.value)));
            for (position, column) in version.columns.iter().enumerate() {
                if version.live.value {
                    let place = standing.entry((key, RegisterId::Column(position))).or_default();
                    place.push((column.stamp, column.value.clone()));
                }
            }
            for (register, _) in registers(version) {
                if version.live.value || register == RegisterId::Live {
                    roots.extend(self.in_version(key, version, register));
                }
            }
        }
        for (key, conflict) in logs.flatten() {
            roots.extend(self.of(*key, conflict.register, conflict.loser));
        }
        let mut accounted = self.superseded(roots.into_iter());
        loop {
            let unaccounted = (0..self.ops.len()).filter(|op| !accounted.contains(op));
            let speaks = |op: &Op, other: &Op| {
                (other.key, other.register, &other.value) == (op.key, op.register, &op.value)
                    && other.highest > op.stamp
            };
            let spoken_for = unaccounted.filter(|op| {
                let mut others = accounted.iter().filter_map(|other| self.ops.get(*other));
                self.ops.get(*op).is_some_and(|op| {
                    let stands = standing.get(&(op.key, op.register)).is_some_and(|standing| {
                        standing
                            .iter()
                            .any(|(stamp, value)| *value == op.value && *stamp > op.stamp)
                    });
                    stands || others.any(|other| speaks(op, other))
                })
            });
            let more = self.superseded(spoken_for);
            if more.is_subset(&accounted) {
                return accounted;
            }
            accounted.extend(more);
        }
    }

    /// An acknowledged write that is not accounted for, nor `excused`.
    pub fn lost(&self, accounted: &HashSet<OpId>, excused: impl Fn(&Op) -> bool) -> Option<&Op> {
        let lost = (0..self.ops.len()).filter(|op| !accounted.contains(op));
        let mut told =
            lost.filter(|op| self.is_acknowledged(*op)).filter_map(|op| self.ops.get(op));
        told.find(|op| !excused(op))
    }

    /// Looks for a value that stands although its successor was acknowledged, or although the
    /// row that it belonged to was deleted by somebody who saw it.
    ///
    /// A successor that is `excused` is in a conflict log (another write beat it, and what that
    /// one did not know may come again: a copied file's, a stuck statement's), or waits in
    /// quarantine. A birth that was `raised` above the purge horizon is in a log as one that may
    /// have been deleted.
    pub fn undead(
        &self,
        rows: &BTreeMap<Key, &Version>,
        lossless: bool,
        excused: &HashSet<OpId>,
        raised: impl Fn(Key, Stamp) -> bool,
    ) -> Option<String> {
        for (key, version) in rows.iter().filter(|(_, version)| version.live.value) {
            let lives = self.history(self.in_version(*key, version, RegisterId::Live));
            for (register, stamp) in registers(version) {
                let standing = self.in_version(*key, version, register);
                let &[standing] = standing.as_slice() else { continue };
                // What such a birth said nothing about was raised with it, as far as the horizon.
                let silent = self.ops.get(standing).is_some_and(|op| op.void);
                if raised(*key, if silent { version.live.stamp } else { stamp }) {
                    continue;
                }
                // Of two that set one value it does not matter which stands: what the second
                // replaced is gone either way.
                let value = self.ops.get(standing).map(|op| &op.value);
                let again = (0..self.ops.len()).filter(|op| {
                    self.ops.get(*op).is_some_and(|op| {
                        (op.key, op.register, Some(&op.value)) == (*key, register, value)
                    }) && *op != standing
                });
                let replaced = self.superseded(again);
                let rivals = (0..self.ops.len()).filter(|op| {
                    self.ops.get(*op).is_some_and(|op| op.key == *key)
                        && *op != standing
                        && self.is_acknowledged(*op)
                        && !excused.contains(op)
                        && self.history([*op]).contains(&standing)
                });
                for rival in rivals {
                    let Some(by) = self.ops.get(rival) else { continue };
                    // Of a life that a server has lost nobody knows any more that it ended with this
                    // column: the next one leaves open what it says nothing about.
                    let is_known = lossless || !lives.contains(&rival);
                    if by.register == register && !replaced.contains(&rival) && is_known {
                        return Some(format!(
                            "key {key}: {register:?} at {stamp} stands though write {} replaced it",
                            by.write
                        ));
                    }
                    // Of that write it was this column that lost, and is in a log.
                    let beaten = self.by_write.get(&(by.write, *key, register));
                    if beaten.is_some_and(|beaten| excused.contains(beaten)) {
                        continue;
                    }
                    // A default belongs to no life: all that were never set share one stamp.
                    // A server that has lost a life cannot tell the next one from it.
                    if by.register == RegisterId::Live
                        && lossless
                        && lives.contains(&rival)
                        && matches!(register, RegisterId::Column(_))
                        && self.ops.get(standing).is_some_and(|op| op.write != by.write && !op.void)
                    {
                        return Some(format!(
                            "key {key}: {register:?} at {stamp} is of an earlier life than write {}",
                            by.write
                        ));
                    }
                }
            }
        }
        None
    }
}
