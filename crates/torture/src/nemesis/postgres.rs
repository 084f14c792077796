//! PostgreSQL: killed, stopped, restarted, replaced by what lacks something.

use rustix::process::{Pid, Signal, kill_process};
use throwaway_postgres::StopMode;

use super::{Done, Skipped};
use crate::ledger::now;
use crate::schedule::Event;
use crate::world::World;

const BUSY: Skipped = "PostgreSQL is in trouble";
/// How much a replica may be behind without anybody's doing, in microseconds.
const LAG: u64 = 1_000_000;

pub(super) fn kill(world: &World, event: &Event) -> Result<Done, Skipped> {
    let Ok(servers) = world.servers.try_lock() else { return Err(BUSY) };
    servers.primary().kill().map_err(|_| "it does not run")?;
    std::thread::sleep(event.lasts());
    servers.ensure_primary().map_err(|_| "it does not start again")?;
    Ok(Done::to("PostgreSQL"))
}

pub(super) fn stop(world: &World, event: &Event) -> Result<Done, Skipped> {
    let Ok(servers) = world.servers.try_lock() else { return Err(BUSY) };
    let stopped = servers.processes();
    let all = |signal| {
        for pid in stopped.iter().filter_map(|pid| Pid::from_raw(*pid as i32)) {
            // Children of a postmaster that is stopped stay its children.
            let _ = kill_process(pid, signal);
        }
    };
    all(Signal::STOP);
    std::thread::sleep(event.lasts());
    all(Signal::CONT);
    Ok(Done::to("PostgreSQL"))
}

pub(super) fn restart(world: &World, event: &Event) -> Result<Done, Skipped> {
    let Ok(servers) = world.servers.try_lock() else { return Err(BUSY) };
    servers.primary().stop(StopMode::Fast).map_err(|_| "it does not stop")?;
    std::thread::sleep(event.lasts() / 2);
    servers.ensure_primary().map_err(|_| "it does not start again")?;
    Ok(Done::to("PostgreSQL"))
}

pub(super) fn fail_over(world: &World, event: &Event) -> Result<Done, Skipped> {
    let Ok(mut servers) = world.servers.try_lock() else { return Err(BUSY) };
    servers.ensure_standby().map_err(|_| "no replica can be made")?;
    let lost_from = now().saturating_sub(LAG);
    let died = servers.fail_over(event.lasts()).map_err(|_| "the replica does not take over")?;
    world.lead(&servers);
    let note = servers.ensure_standby().err().map(|error| error.to_string());
    world.lead(&servers);
    let (lost_from, lost_to) = (Some(lost_from), Some(died));
    Ok(Done { lost_from, lost_to, note, ..Done::to("PostgreSQL") })
}

pub(super) fn restore(world: &World, event: &Event) -> Result<Done, Skipped> {
    let Ok(mut servers) = world.servers.try_lock() else { return Err(BUSY) };
    let lost_from = now();
    let restored = servers.restore(event.lasts());
    let whole = servers.ensure_primary().err().map(|error| error.to_string());
    // If it went wrong half-way nobody knows when.
    let lost_to = restored.as_ref().ok().copied();
    let note = restored.err().map(|error| error.to_string()).or(whole);
    world.lead(&servers);
    let standby = servers.ensure_standby().err().map(|error| error.to_string());
    world.lead(&servers);
    let note = note.or(standby);
    Ok(Done { lost_from: Some(lost_from), lost_to, note, ..Done::to("PostgreSQL") })
}
