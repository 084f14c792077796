//! What is done to the world. A fault ends by itself; one that finds its target under another
//! fault of its sort is left out.

mod commands;
mod dumped;
mod file;
mod joining;
mod neighbour;
mod network;
mod past;
mod postgres;
mod probe;
mod process;
mod schema;
mod table;

pub use past::Loader;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ledger::now;
use crate::operator::Side;
use crate::schedule::{Event, Nemesis};
use crate::tables::Kind;
use crate::world::World;

/// What became of a fault.
#[derive(Debug)]
pub struct Done {
    /// Whom it hit.
    pub target: String,
    /// What a store had got since then, and nobody else, may be lost.
    pub lost_from: Option<u64>,
    /// When it was lost, if that was not at the end: what comes later is the next store's.
    pub lost_to: Option<u64>,
    /// Only these rows of it.
    pub lost_rows: Option<Vec<i64>>,
    /// Which table it hit, if not all.
    pub table: Option<Kind>,
    /// What else is to be known.
    pub note: Option<String>,
}

impl Done {
    /// It hit somebody, who loses nothing.
    pub fn to(target: impl Into<String>) -> Done {
        let (lost_from, lost_to, lost_rows, table, note) = (None, None, None, None, None);
        Done { target: target.into(), lost_from, lost_to, lost_rows, table, note }
    }

    /// The same, of that table alone.
    pub fn to_table(target: impl Into<String>, kind: Kind) -> Done {
        Done { table: Some(kind), ..Done::to(target) }
    }
}

/// Why a fault was left out.
pub(crate) type Skipped = &'static str;

/// The side that a fault hits: PostgreSQL, or the file of a node.
fn side(world: &World, event: &Event) -> Side {
    if event.choice.is_multiple_of(2) {
        return Side::Postgres;
    }
    Side::File(event.pick(world.nodes.len()))
}

/// The table that a fault hits.
fn table_of(event: &Event) -> Kind {
    let which = (event.choice >> 40) as usize % (Kind::FIRST.len() + 1);
    Kind::FIRST.get(which).copied().unwrap_or(Kind::Users)
}

/// Inflicts the schedule; returns when the last fault has ended.
pub fn inflict_all(world: &Arc<World>, events: &[Event]) {
    let start = Instant::now();
    let mut running: Vec<JoinHandle<()>> = Vec::new();
    for event in events {
        let due = Duration::from_millis(event.at_ms).saturating_sub(start.elapsed());
        std::thread::sleep(due);
        running.retain(|thread| !thread.is_finished());
        let (world, event) = (Arc::clone(world), event.clone());
        running.push(std::thread::spawn(move || inflict(&world, &event)));
    }
    let left = world.options.duration.saturating_sub(start.elapsed());
    std::thread::sleep(left);
    for thread in running {
        // A panic in it shows on standard error, and its fault stays.
        let _ = thread.join();
    }
}

fn inflict(world: &World, event: &Event) {
    let t0 = now();
    let name = event.nemesis.name();
    let destroying = event.nemesis.destroys().then(|| world.destroying.try_lock());
    let outcome = match destroying {
        Some(Err(_)) => Err("another store is just being destroyed"),
        Some(Ok(_)) if world.destroyed.load(Ordering::SeqCst) != 0 => {
            Err("the one before is not recovered from")
        }
        _ => strike(world, event),
    };
    match outcome {
        Ok(done) => {
            world.inflicted(name, t0, done);
            if event.nemesis.destroys() {
                world.destroyed.store(now(), Ordering::SeqCst);
            }
        }
        Err(why) => {
            world.inflicted(name, t0, Done { note: Some(why.into()), ..Done::to("nobody") })
        }
    }
}

fn strike(world: &World, event: &Event) -> Result<Done, Skipped> {
    match event.nemesis {
        Nemesis::KillWorker => process::kill(world, event),
        Nemesis::StopWorker => process::stop(world, event),
        Nemesis::ClockJump => process::set_clock(world, event),
        Nemesis::KillPostgres => postgres::kill(world, event),
        Nemesis::StopPostgres => postgres::stop(world, event),
        Nemesis::RestartPostgres => postgres::restart(world, event),
        Nemesis::Failover => postgres::fail_over(world, event),
        Nemesis::RestorePostgres => postgres::restore(world, event),
        Nemesis::Refuse
        | Nemesis::Reset
        | Nemesis::HoldToServer
        | Nemesis::HoldToClient
        | Nemesis::SwallowToServer
        | Nemesis::SwallowToClient
        | Nemesis::HalfOpen
        | Nemesis::Slow
        | Nemesis::Throttle
        | Nemesis::CutMessage
        | Nemesis::CutCommit => network::disturb(world, event),
        Nemesis::FullDisk => file::fill(world, event),
        Nemesis::ReadOnly => file::forbid(world, event),
        Nemesis::LockedFile => file::lock_file(world, event),
        Nemesis::DeleteFile => file::delete(world, event),
        Nemesis::CorruptPage => file::corrupt(world, event),
        Nemesis::RestoreFile => file::restore(world, event),
        Nemesis::AddColumn => schema::add_column(world, event),
        Nemesis::DropTriggers => schema::drop_triggers(world, event),
        Nemesis::AddConstraint => schema::add_constraint(world, event),
        Nemesis::DropTable => table::drop(world, event),
        Nemesis::RenameTable => table::rename(world, event),
        Nemesis::ReplaceTable => table::replace(world, event),
        Nemesis::LoadPastTriggers => past::load(world, event),
        Nemesis::CancellingTrigger => neighbour::cancel(world, event),
        Nemesis::Settings => neighbour::set(world, event),
        Nemesis::JoinColumn => joining::column(world, event),
        Nemesis::JoinTable => joining::table(world, event),
        Nemesis::RestoreTable => dumped::restore(world, event),
        Nemesis::ChangeType => dumped::retype(world, event),
        Nemesis::ShortCommands => commands::run(world, event),
    }
}
