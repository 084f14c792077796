//! Seeded histories of two model stores against the promises of `dual-database`.
//!
//! The stores are models: PostgreSQL with transactions in progress, row locks, snapshots,
//! crashes that hand out transaction ids again, restores and fail-overs; SQLite with one
//! writer, a sequence, power cuts, restored and copied files. What decides (stamps, merge,
//! cursor, epoch, reconcile) is the product's own code. A history is drawn from a seed, then
//! everything is healed and left alone, and the promises are checked. Known mistakes
//! ([`Trap`]) can be put back one at a time, to see that the model notices them.
//!
//! ```
//! let report = model::run(7, None);
//! assert_eq!(report.violation, None);
//! ```

#![forbid(unsafe_code)]

#[macro_use]
mod trap;

mod check;
mod compare;
mod file;
mod history;
pub mod numbers;
mod primary;
mod process;
mod rng;
mod round;
mod rules;
pub mod tables;
mod truth;
mod world;
mod write;

pub use history::{Event, Fault, generate, shrink};
pub use trap::Trap;

use trap::Traps;
use world::World;

/// What one history showed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The first promise that did not hold.
    pub violation: Option<String>,
    /// Writes that somebody was told of as done.
    pub acknowledged: usize,
    /// Polls that were applied.
    pub polls: usize,
    /// Epochs that ended.
    pub breaks: usize,
    /// Comparisons that waited for a person.
    pub held: usize,
    /// Entries in the conflict logs.
    pub conflicts: usize,
    /// Sums of transfers that were checked.
    pub sums: usize,
}

/// Runs the history of a seed.
#[must_use]
pub fn run(seed: u64, trap: Option<Trap>) -> Report {
    replay(seed, &generate(seed), trap)
}

/// What every store has of a row after each event of a history, to understand a violation.
#[must_use]
pub fn trace(seed: u64, history: &[Event], trap: Option<Trap>, key: u8) -> Vec<String> {
    let mut world = World::new(seed, Traps(trap));
    let mut lines = vec![world.shown(key)];
    for event in history {
        world.happen(event);
        lines.push(format!("{event:?}\n{}", world.shown(key)));
    }
    world.heal(seed.is_multiple_of(2));
    world.check_healed();
    lines.push(format!("healed: {:?}\n{}", world.violation, world.shown(key)));
    lines
}

/// Runs a history in the world of a seed, up to the first violation.
#[must_use]
pub fn replay(seed: u64, history: &[Event], trap: Option<Trap>) -> Report {
    let mut world = World::new(seed, Traps(trap));
    for event in history {
        if world.violation.is_none() {
            world.happen(event);
        }
    }
    if world.violation.is_none() {
        world.heal(seed.is_multiple_of(2));
    }
    if world.violation.is_none() {
        world.check_healed();
    }
    let logs = world.files.iter().map(|file| file.now.log.len()).sum::<usize>();
    Report {
        violation: world.violation,
        acknowledged: world.truth.acknowledged(),
        polls: world.polls,
        breaks: world.breaks,
        held: world.held,
        conflicts: logs + world.primary.data.log.len(),
        sums: world.sums,
    }
}
