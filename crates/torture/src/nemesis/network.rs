//! The way between a node and PostgreSQL.

use std::time::Duration;

use super::{Done, Skipped};
use crate::proxy::{Accept, Flow};
use crate::schedule::{Event, Nemesis};
use crate::world::World;

pub(super) fn disturb(world: &World, event: &Event) -> Result<Done, Skipped> {
    let node = &world.nodes[event.pick(world.nodes.len())];
    let Ok(_guard) = node.network.try_lock() else { return Err("its network is in trouble") };
    let choice = event.choice;
    node.set(|mode| match event.nemesis {
        Nemesis::Refuse => {
            mode.accept = Accept::Refuse;
            mode.broken += 1;
        }
        Nemesis::HoldToServer => mode.up = Flow::Hold,
        Nemesis::HoldToClient => mode.down = Flow::Hold,
        Nemesis::SwallowToServer => mode.up = Flow::Swallow,
        Nemesis::SwallowToClient => mode.down = Flow::Swallow,
        Nemesis::HalfOpen => {
            mode.accept = Accept::Ignore;
            mode.broken += 1;
        }
        Nemesis::Slow => {
            let late = Flow::Late(Duration::from_millis(5 + choice % 1_500));
            (mode.up, mode.down) = (late, late);
        }
        Nemesis::Throttle => {
            let rate = Flow::Throttle(500 + (choice % 20_000) as u32);
            (mode.up, mode.down) = (rate, rate);
        }
        Nemesis::CutMessage if choice.is_multiple_of(2) => mode.up = Flow::Cut,
        Nemesis::CutMessage => mode.down = Flow::Cut,
        Nemesis::CutCommit => mode.cut_commit = true,
        _ => mode.broken += 1,
    });
    std::thread::sleep(event.lasts());
    node.connect();
    Ok(Done::to(format!("node {}", node.number)))
}
