//! What is pending through changes, pulls, answers and losses.

use super::*;
use crate::merge::Register;
use crate::stamp::Writer;
use crate::value::Value;

fn at(ms: i64) -> Stamp {
    Stamp::at(1_700_000_000_000 + ms, Writer::POSTGRES)
}

fn update(existing: &Tracked, value: i64, ms: i64) -> Tracked {
    let change = Change::Update(vec![(0, Value::Int(value))]);
    Tracked::changed(Some(existing), &change, at(ms), Stamp::ZERO, &Defaults::default())
}

fn born(ms: i64) -> Tracked {
    let change = Change::Insert(vec![Value::Int(1), Value::Null]);
    Tracked::changed(None, &change, at(ms), Stamp::ZERO, &Defaults::default())
}

#[test]
fn what_a_loss_left_at_postgresql_counts_as_unseen_by_a_row_that_is_refused() {
    let row = |value: i64, ms: i64| Version {
        live: Register { stamp: at(0), value: true },
        columns: vec![Register { stamp: at(ms), value: Value::Int(value) }],
    };
    // PostgreSQL has lost 2, and got back from another file 1, which nobody here has seen.
    let there = row(1, 10);
    let mut refused = update(&Tracked::settled(row(2, 20)), 3, 30);
    refused.mark_pending(Some(&there), false);
    let logged = conflicts(&refused.version, &refused.bases, &there);
    assert_eq!(logged.len(), 1, "{refused:?}");
    let mut settled = Tracked::settled(row(2, 20));
    settled.mark_pending(Some(&there), false);
    assert_eq!(conflicts(&settled.version, &settled.bases, &there).len(), 1);
    // What it is known to have replaced is still that.
    let mut seen = update(&Tracked::settled(row(1, 10)), 3, 30);
    seen.mark_pending(Some(&there), false);
    assert!(conflicts(&seen.version, &seen.bases, &there).is_empty());
    // Unless the server may have given that stamp to two values.
    let mut again = row(1, 10);
    again.columns[0].stamp = at(10).next(Writer::POSTGRES);
    let on_it = update(&Tracked::settled(again.clone()), 3, 30);
    for (intact, logged) in [(true, 0), (false, 1)] {
        let mut on_it = on_it.clone();
        on_it.mark_pending(Some(&again), intact);
        assert_eq!(conflicts(&on_it.version, &on_it.bases, &again).len(), logged);
    }
}

#[test]
fn a_death_that_is_refused_takes_unseen_what_was_set_above_it() {
    let there = update(&Tracked::settled(born(1).version), 2, 30).version;
    let mut dead = Tracked::settled(born(1).version);
    let change = Change::Delete;
    dead = Tracked::changed(Some(&dead), &change, at(20), Stamp::ZERO, &Defaults::default());
    // It had arrived, and PostgreSQL has lost it.
    dead = Tracked::settled(dead.version);
    dead.mark_pending(Some(&there), false);
    let logged = conflicts(&dead.version, &dead.bases, &there);
    let column = RegisterId::Column(0);
    assert!(logged.iter().any(|one| one.register == column && one.loser == at(30)), "{logged:?}");
}

#[test]
fn the_base_is_what_both_sides_last_agreed_on() {
    let new = born(1);
    assert_eq!(new.bases, Bases { live: Some(Stamp::ZERO), columns: vec![Some(Stamp::ZERO); 2] });
    let mut row = new.clone();
    row.acknowledge(&new.version);
    assert!(!row.bases.any());
    let once = update(&row, 2, 2);
    let twice = update(&once, 3, 3);
    assert_eq!(twice.bases.columns, [Some(at(1)), None]);
    let mut acknowledged = twice.clone();
    acknowledged.acknowledge(&once.version);
    assert_eq!(acknowledged.bases.columns, [Some(at(2)), None]);
    acknowledged.acknowledge(&twice.version);
    assert!(!acknowledged.bases.any());
}

#[test]
fn a_birth_after_a_pending_delete_lies_above_what_the_delete_has_met() {
    let row = Tracked::settled(born(1).version);
    let deleted =
        Tracked::changed(Some(&row), &Change::Delete, at(5), Stamp::ZERO, &Defaults::default());
    let theirs = update(&row, 3, 9).version;
    let met = Tracked::absorb(Some(&deleted), &theirs, true, &Defaults::default()).row;
    assert_eq!((met.version.live.value, met.version.highest()), (false, at(5)));
    assert_eq!(met.replaces(&Change::Insert(Vec::new())), at(9));
}

#[test]
fn what_shares_a_stamp_is_restamped_above_all_that_it_replaced_or_not_at_all() {
    struct At(i64);
    impl Clock for At {
        fn unix_ms(&self) -> i64 {
            self.0
        }
    }
    // PostgreSQL's clock was once 78 s ahead of what it shows now, and gave that to a column.
    let now = 1_700_000_000_000;
    let mut row = born(155_000);
    row.bases.columns[0] = Some(at(78_000));
    let mut clock = StampClock::new(At(now), Writer::MAX);
    assert!(!row.is_refused_as_ahead(now) && row.clone().restamp(now, &mut clock).is_empty());
    // Within what it takes, the new stamp lies above it.
    row.bases.columns[0] = Some(at(59_000));
    assert!(row.is_refused_as_ahead(now));
    // The second column, about which the insert said nothing, has no stamp.
    assert_eq!(row.restamp(now, &mut clock).len(), 2);
    assert!(row.version.live.stamp > at(59_000) && !row.is_refused_as_ahead(now));
    assert_eq!(row.version.stamp_of(0), row.version.live.stamp);
}

#[test]
fn a_pending_column_that_loses_is_logged_and_settled() {
    let row = Tracked::settled(born(1).version);
    let pending = update(&row, 2, 5);
    let incoming = update(&row, 3, 9).version;
    let absorbed = Tracked::absorb(Some(&pending), &incoming, true, &Defaults::default());
    assert_eq!(absorbed.row.version, incoming);
    assert!(!absorbed.row.bases.any());
    let lost = Conflict { register: RegisterId::Column(0), winner: at(9), loser: at(5) };
    assert_eq!(absorbed.conflicts, [lost]);
    let again = Tracked::absorb(Some(&absorbed.row), &incoming, true, &Defaults::default());
    assert!(!again.changed && !again.other_is_behind && again.conflicts.is_empty());
}

#[test]
fn the_own_write_coming_back_settles_it_without_a_conflict() {
    let row = Tracked::settled(born(1).version);
    let pending = update(&row, 2, 5);
    let absorbed = Tracked::absorb(Some(&pending), &pending.version, true, &Defaults::default());
    assert!(absorbed.changed && !absorbed.row.bases.any());
    assert!(absorbed.conflicts.is_empty() && !absorbed.other_is_behind);
}

#[test]
fn an_update_that_a_delete_had_beaten_does_not_haunt_the_next_life() {
    let old = Tracked::settled(update(&born(1), 2, 50).version);
    let change = Change::Insert(vec![Value::Int(9), Value::Null]);
    let reborn = written(Some(&old.version), &change, at(40), Stamp::ZERO, &Defaults::default());
    let absorb = |row: &Tracked, intact| {
        Tracked::absorb(Some(row), &reborn, intact, &Defaults::default()).row.version
    };
    assert_eq!(absorb(&old, true), reborn);
    assert_eq!(absorb(&old, false).columns[0].value, Value::Int(2));
    // Set by somebody who has not been heard yet, it is a conflict of two living writes.
    let pending = update(&Tracked::settled(born(1).version), 2, 50);
    assert_eq!(absorb(&pending, true).columns[0].value, Value::Int(2));
}

#[test]
fn a_pending_delete_sees_what_follows_in_a_life_that_it_has_just_met() {
    let none = Defaults::default();
    let old = Tracked::settled(update(&born(1), 2, 50).version);
    let deleted = Tracked::changed(Some(&old), &Change::Delete, at(60), Stamp::ZERO, &none);
    let change = Change::Insert(vec![Value::Int(9), Value::Null]);
    let reborn = written(Some(&old.version), &change, at(40), Stamp::ZERO, &none);
    let met = Tracked::absorb(Some(&deleted), &reborn, true, &none);
    assert_eq!(met.row.bases.column(0), Some(at(40)));
    let next = update(&Tracked::settled(reborn), 10, 45).version;
    let lost = Conflict { register: RegisterId::Column(0), winner: at(60), loser: at(45) };
    assert_eq!(conflicts(&met.row.version, &met.row.bases, &next), [lost]);
}

#[test]
fn what_is_not_pending_died_with_its_life_though_a_birth_is_pending() {
    let mut row = born(10);
    row.version.columns[1] = Register { stamp: at(18), value: Value::Int(7) };
    row.bases.columns[1] = None;
    let change = Change::Insert(vec![Value::Int(9), Value::Null]);
    let reborn = written(Some(&row.version), &change, at(15), Stamp::ZERO, &Defaults::default());
    let absorbed = Tracked::absorb(Some(&row), &reborn, true, &Defaults::default());
    assert_eq!(absorbed.row.version, reborn);
}

#[test]
fn under_a_stamp_of_the_future_nothing_is_made_on_top_of_what_is_pending() {
    let now = 1_700_000_000_000;
    let change = |column| Change::Update(vec![(column, Value::Int(7))]);
    let settled = Tracked::settled(born(0).version);
    let pending = update(&settled, 2, 10);
    assert!(!pending.supersedes(&change(0), at(20), now));
    assert!(pending.supersedes(&change(0), at(10), now), "no older");
    let far = at(86_400_000);
    assert!(pending.supersedes(&change(0), far, now));
    assert!(pending.supersedes(&Change::Delete, far, now));
    assert!(!pending.supersedes(&change(1), far, now) && !settled.supersedes(&change(0), far, now));
}
