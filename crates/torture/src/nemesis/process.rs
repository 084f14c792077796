//! Workers: killed, stopped, with another clock.

use rustix::process::Signal;

use super::{Done, Skipped};
use crate::crew::Member;
use crate::schedule::Event;
use crate::world::World;

fn member<'w>(world: &'w World, event: &Event) -> &'w Member {
    &world.crew[event.pick(world.crew.len())]
}

pub(super) fn kill(world: &World, event: &Event) -> Result<Done, Skipped> {
    let member = member(world, event);
    let Ok(_guard) = member.trouble.try_lock() else { return Err("it is in trouble") };
    member.kill();
    std::thread::sleep(event.lasts() / 4);
    world.start(member);
    Ok(Done::to(format!("w{} of node {}", member.number, member.node)))
}

pub(super) fn stop(world: &World, event: &Event) -> Result<Done, Skipped> {
    let member = member(world, event);
    let Ok(_guard) = member.trouble.try_lock() else { return Err("it is in trouble") };
    member.signal(Signal::STOP);
    std::thread::sleep(event.lasts());
    member.signal(Signal::CONT);
    Ok(Done::to(format!("w{}", member.number)))
}

/// At most 50 seconds ahead: beyond 60 PostgreSQL refuses stamps, which is tried too.
pub(super) fn set_clock(world: &World, event: &Event) -> Result<Done, Skipped> {
    let member = member(world, event);
    let Ok(_guard) = member.trouble.try_lock() else { return Err("it is in trouble") };
    let by = match event.choice % 6 {
        0 => -3_600_000,
        1 => 600_000,
        other => (event.choice % 100_000) as i64 - 50_000 - other as i64,
    };
    member.order(&format!("clock {by}"));
    std::thread::sleep(event.lasts());
    member.order("clock 0");
    Ok(Done { note: Some(format!("by {by} ms")), ..Done::to(format!("w{}", member.number)) })
}
