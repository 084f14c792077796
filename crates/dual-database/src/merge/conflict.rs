//! Which writes lost without having been seen by the one that beat them.

use super::{Bases, Version, merge};
use crate::stamp::Stamp;

/// A register of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegisterId {
    /// Whether the row exists.
    Live,
    /// The column at that position.
    Column(usize),
    /// Its number, where a side hands it out: another row had it.
    Number,
}

/// A write that was superseded by one that did not know it: an entry for the conflict log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conflict {
    /// Where.
    pub register: RegisterId,
    /// The stamp of the write that stands: of the same register, or of the delete that took
    /// the whole row.
    pub winner: Stamp,
    /// The stamp of the write that does not.
    pub loser: Stamp,
}

/// Compares what a file has pending with what was `found` on the other side, before the two
/// are merged. `pending` is the file's version, `bases` the stamps that its pending registers
/// replaced.
///
/// A conflict is
/// - a pending register that finds a stamp above its base, not its own, with another value
///   (the same stamp with another value too: two files have used one number);
/// - a pending column of a row whose delete the file had not seen: the delete beats it;
/// - under a pending delete, a column that was set without the file having seen it.
///
/// A stamp *below* the base is none: PostgreSQL has lost something and gets it back. Neither is a
/// column that nobody has ever set.
#[must_use]
pub fn conflicts(pending: &Version, bases: &Bases, found: &Version) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let merged = merge(pending, found).version;
    if let Some(base) = bases.live
        && found.live.stamp > base
        && found.live.value != pending.live.value
    {
        conflicts.push(Conflict {
            register: RegisterId::Live,
            winner: pending.live.stamp.max(found.live.stamp),
            loser: pending.live.stamp.min(found.live.stamp),
        });
    }
    // Of a life that the file has not seen it has seen no column either, whatever the stamps.
    let unseen_life = found.live.stamp > bases.live.unwrap_or(pending.live.stamp)
        && found.live.stamp != pending.live.stamp;
    for (position, own) in pending.columns.iter().enumerate() {
        let base = bases.column(position);
        let theirs = found.stamp_of(position);
        let unseen = base.is_some_and(|base| theirs > base || unseen_life);
        let register = RegisterId::Column(position);
        match (pending.live.value, found.live.value) {
            (true, true) => {
                let differs = found.columns.get(position).is_some_and(|c| c.value != own.value);
                if unseen && differs {
                    conflicts.push(Conflict {
                        register,
                        winner: own.stamp.max(theirs),
                        loser: own.stamp.min(theirs),
                    });
                }
            }
            // A delete sets every column: in a row that lives again it can still beat what was
            // set before it.
            (true, false) => {
                let voided = merged.columns.get(position).is_some_and(|c| c.value != own.value);
                if base.is_some() && (!merged.live.value || voided) {
                    let (winner, loser) = (found.live.stamp, own.stamp);
                    conflicts.push(Conflict { register, winner, loser });
                }
            }
            (false, true) => {
                // The delete has set every column, so each of them has its base.
                // (Above it, or of a copied file under the same stamp.)
                let kept = merged.columns.get(position) == found.columns.get(position);
                if unseen && (!merged.live.value || !kept) {
                    let (winner, loser) = (pending.live.stamp, theirs);
                    conflicts.push(Conflict { register, winner, loser });
                }
            }
            (false, false) => {}
        }
    }
    // What nobody has set has lost nothing.
    let is_set = |one: &Conflict| one.register == RegisterId::Live || one.loser != Stamp::ZERO;
    conflicts.retain(is_set);
    conflicts
}

/// What `winner` takes from `loser` in a comparison with a server that may have lost
/// transactions: nothing tells whether the writer of a higher stamp had seen the lower one, so
/// every register that is overwritten is logged. Two are not: one that nobody has ever set, and
/// one of which the winner's side remembers (`bases`, what is pending in it) that just this
/// setting was replaced, as far as its stamp tells (`Stamp::is_given_once`).
#[must_use]
pub fn overwritten(loser: &Version, winner: &Version, bases: &Bases) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let merged = merge(loser, winner).version;
    let seen = |base: Option<Stamp>, loser: Stamp| base == Some(loser) && loser.is_given_once();
    // On equal stamps too: a server that came back from a backup can hand one out again.
    if merged.live.value != loser.live.value && !seen(bases.live, loser.live.stamp) {
        let (winner, loser) = (merged.live.stamp, loser.live.stamp);
        conflicts.push(Conflict { register: RegisterId::Live, winner, loser });
    }
    if !loser.live.value {
        return conflicts;
    }
    for (position, (own, merged_column)) in loser.columns.iter().zip(&merged.columns).enumerate() {
        let replaced = merged_column.value != own.value;
        let known = own.stamp == Stamp::ZERO || seen(bases.column(position), own.stamp);
        if (replaced || !merged.live.value) && !known {
            let by = if merged.live.value { merged_column.stamp } else { merged.live.stamp };
            let register = RegisterId::Column(position);
            conflicts.push(Conflict { register, winner: by, loser: own.stamp });
        }
    }
    conflicts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::merge::Register;
    use crate::stamp::Writer;
    use crate::value::Value;

    fn at(ms: i64) -> Stamp {
        Stamp::at(1_700_000_000_000 + ms, Writer::POSTGRES)
    }

    fn row(live: bool, born: i64, column: i64) -> Version {
        let value = Value::Int(column);
        let columns = vec![Register { stamp: at(column), value }];
        Version { live: Register { stamp: at(born), value: live }, columns }
    }

    fn column_base(base: i64) -> Bases {
        Bases { live: None, columns: vec![Some(at(base))] }
    }

    fn both_bases(live: i64, column: i64) -> Bases {
        Bases { live: Some(at(live)), columns: vec![Some(at(column))] }
    }

    fn entry(register: RegisterId, winner: i64, loser: i64) -> Vec<Conflict> {
        vec![Conflict { register, winner: at(winner), loser: at(loser) }]
    }

    const COLUMN: RegisterId = RegisterId::Column(0);

    #[test]
    fn a_pending_column_conflicts_with_what_it_has_not_seen() {
        let pending = row(true, 0, 30);
        let judge = |found: i64| conflicts(&pending, &column_base(10), &row(true, 0, found));
        assert_eq!(judge(10), []);
        assert_eq!(judge(30), []);
        assert_eq!(judge(5), [], "lost by a restore, not a conflict");
        assert_eq!(judge(20), entry(COLUMN, 30, 20));
        assert_eq!(judge(40), entry(COLUMN, 40, 30));
    }

    #[test]
    fn equal_values_do_not_conflict_and_equal_stamps_can() {
        let pending = row(true, 0, 30);
        let mut found = row(true, 0, 20);
        found.columns[0].value = Value::Int(30);
        assert_eq!(conflicts(&pending, &column_base(10), &found), []);
        let mut found = row(true, 0, 30);
        found.columns[0].value = Value::Int(31);
        assert_eq!(conflicts(&pending, &column_base(10), &found), entry(COLUMN, 30, 30));
    }

    #[test]
    fn an_update_and_a_delete_that_did_not_see_each_other() {
        let found = row(false, 20, 10);
        assert_eq!(conflicts(&row(true, 0, 30), &column_base(10), &found), entry(COLUMN, 20, 30));
        let (deleted, updated) = (row(false, 30, 30), row(true, 0, 20));
        assert_eq!(conflicts(&deleted, &both_bases(0, 10), &updated), entry(COLUMN, 30, 20));
        assert_eq!(conflicts(&deleted, &both_bases(0, 20), &updated), []);
    }

    #[test]
    fn a_delete_and_a_new_life_that_did_not_see_each_other() {
        let reborn = row(true, 40, 40);
        assert_eq!(
            conflicts(&row(false, 30, 30), &both_bases(0, 10), &reborn),
            entry(RegisterId::Live, 40, 30)
        );
    }

    #[test]
    fn under_one_stamp_a_death_takes_what_it_replaces() {
        let defaults = crate::merge::Defaults::new(vec![Value::Int(7)]);
        let deleted = row(false, 30, 30).stored(&defaults);
        let mut found = row(true, 30, 30);
        found.columns[0].value = Value::Null;
        let mut both = entry(RegisterId::Live, 30, 30);
        both.extend(entry(COLUMN, 30, 30));
        assert_eq!(conflicts(&deleted, &both_bases(0, 0), &found), both);
    }

    #[test]
    fn a_server_that_lost_transactions_overwrites_nothing_silently() {
        let ours = row(true, 0, 30);
        assert_eq!(overwritten(&ours, &row(true, 0, 20), &Bases::default()), []);
        assert_eq!(overwritten(&ours, &row(true, 0, 40), &Bases::default()), entry(COLUMN, 40, 30));
        let mut again = row(true, 0, 30);
        again.columns[0].value = Value::Int(31);
        assert_eq!(overwritten(&ours, &again, &Bases::default()), entry(COLUMN, 30, 30));
        assert_eq!(overwritten(&again, &ours, &Bases::default()), []);
        let mut both = entry(RegisterId::Live, 50, 0);
        both.extend(entry(COLUMN, 50, 30));
        assert_eq!(overwritten(&ours, &row(false, 50, 50), &Bases::default()), both);
    }

    #[test]
    fn what_was_replaced_is_known_by_a_stamp_that_no_server_gives_twice() {
        let overwritten_of = |writer: Writer, base: i64| {
            let at = |ms: i64| Stamp::at(1_700_000_000_000 + ms, writer);
            let mut loser = row(true, 0, 30);
            (loser.live.stamp, loser.columns[0].stamp) = (at(0), at(30));
            let bases = Bases { live: Some(at(0)), columns: vec![Some(at(base))] };
            overwritten(&loser, &row(false, 50, 50), &bases).len()
        };
        let file = Writer::new(7).unwrap();
        assert_eq!(overwritten_of(file, 30), 0);
        assert_eq!(overwritten_of(file, 20), 1);
        assert_eq!(overwritten_of(Writer::POSTGRES, 30), 0);
        // Made from what it replaced: 30 lay ahead of PostgreSQL's clock.
        let mut raised = row(true, 0, 30);
        raised.columns[0].stamp = at(30).next(Writer::POSTGRES);
        let bases = Bases { live: Some(at(0)), columns: vec![Some(at(30).next(Writer::POSTGRES))] };
        assert_eq!(overwritten(&raised, &row(false, 50, 50), &bases).len(), 1);
        let mut adopted = row(true, 0, 30);
        adopted.live.stamp = Stamp::ADOPTED_POSTGRES;
        adopted.columns[0].stamp = Stamp::ADOPTED_POSTGRES;
        let base = Some(Stamp::ADOPTED_POSTGRES);
        let bases = Bases { live: base, columns: vec![base] };
        assert_eq!(overwritten(&adopted, &row(false, 50, 50), &bases), []);
    }
}
