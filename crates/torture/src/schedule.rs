//! The schedule of faults: drawn whole from the seed before anything is started.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::options::Options;

macro_rules! nemeses {
    ($($variant:ident $name:literal $doc:literal,)*) => {
        /// A kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Nemesis { $(#[doc = $doc] $variant,)* }

        impl Nemesis {
            /// Every kind.
            pub const ALL: &[Nemesis] = &[$(Nemesis::$variant,)*];

            /// Its name on the command line and in reports.
            pub fn name(self) -> &'static str {
                match self { $(Nemesis::$variant => $name,)* }
            }
        }
    };
}

nemeses! {
    KillWorker "kill-worker" "SIGKILL of a worker.",
    StopWorker "stop-worker" "SIGSTOP of a worker.",
    KillPostgres "kill-postgres" "SIGKILL of PostgreSQL; it recovers from its log.",
    StopPostgres "stop-postgres" "SIGSTOP of every process of PostgreSQL.",
    RestartPostgres "restart-postgres" "An orderly restart.",
    Refuse "refuse" "A node's connections break and new ones are refused.",
    Reset "reset" "A node's connections are reset; new ones work.",
    HoldToServer "hold-to-server" "What a node asks arrives only after the fault.",
    HoldToClient "hold-to-client" "What a node is answered arrives only after the fault.",
    SwallowToServer "swallow-to-server" "What a node asks is lost.",
    SwallowToClient "swallow-to-client" "What a node asks is done, the answers are lost.",
    HalfOpen "half-open" "New connections are accepted and never answered.",
    Slow "slow" "Every piece in either direction is late.",
    Throttle "throttle" "A few kilobytes a second.",
    CutMessage "cut-message" "Connections break in the middle of a message.",
    CutCommit "cut-commit" "Connections break after COMMIT was sent, before its answer.",
    FullDisk "full-disk" "The disk of the file is full.",
    ReadOnly "read-only" "File and folder cannot be written when they are opened next.",
    LockedFile "locked-file" "Another process holds the file's write lock.",
    DeleteFile "delete-file" "The file is deleted while it is open.",
    CorruptPage "corrupt-page" "A page of the file is overwritten with zeros.",
    RestoreFile "restore-file" "An older copy of the file comes back.",
    ClockJump "clock-jump" "A worker's clock is set.",
    Failover "failover" "PostgreSQL dies, its replica that has lost the tail takes over.",
    RestorePostgres "restore-postgres" "An older copy of PostgreSQL's data comes back.",
    AddColumn "add-column" "A nullable column is added on either side.",
    DropTriggers "drop-triggers" "Our triggers are dropped on either side.",
    AddConstraint "add-constraint" "An index and a CHECK come and go on PostgreSQL's table.",
    DropTable "drop-table" "The table is dropped on either side.",
    RenameTable "rename-table" "The table has another name for a while, on either side.",
    ReplaceTable "replace-table" "Another table takes the table's name, on either side.",
    LoadPastTriggers "load-past-triggers" "Rows come, change and go with triggers disabled.",
    CancellingTrigger "cancelling-trigger" "A user's trigger cancels or rewrites on either side.",
    Settings "settings" "Somebody sets something for the database or the role.",
    JoinColumn "join-column" "A column is added on either side, and joined.",
    JoinTable "join-table" "A table of one side is joined while all run.",
    RestoreTable "restore-table" "A table comes back from a dump of itself, on either side.",
    ChangeType "change-type" "A column has another type for a while, on either side.",
    ShortCommands "short-commands" "Short commands run beside the workers of a file.",
}

impl Nemesis {
    /// Whether a node's file cannot be used, or not by everybody, while it lasts.
    pub fn touches_file(self) -> bool {
        matches!(
            self,
            Nemesis::FullDisk
                | Nemesis::ReadOnly
                | Nemesis::LockedFile
                | Nemesis::DeleteFile
                | Nemesis::CorruptPage
                | Nemesis::RestoreFile
                | Nemesis::DropTable
                | Nemesis::RenameTable
                | Nemesis::ReplaceTable
                | Nemesis::RestoreTable
                | Nemesis::ChangeType
        )
    }

    /// Whether a durable store can lose something by it that it alone had. One of these waits
    /// until the one before is recovered from: two at once may lose what both stores had.
    pub fn destroys(self) -> bool {
        matches!(
            self,
            Nemesis::DeleteFile
                | Nemesis::CorruptPage
                | Nemesis::RestoreFile
                | Nemesis::Failover
                | Nemesis::RestorePostgres
                | Nemesis::DropTable
                | Nemesis::ReplaceTable
                | Nemesis::RestoreTable
        )
    }
}

/// One fault: when, for how long, whom it hits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Milliseconds after the start.
    pub at_ms: u64,
    /// Milliseconds that it lasts.
    pub lasts_ms: u64,
    /// What.
    pub nemesis: Nemesis,
    /// Which node, worker or table side; taken modulo how many there are.
    pub target: u32,
    /// What else is to be chosen about it.
    pub choice: u64,
}

/// The faults of a run, in the order in which they begin.
pub fn draw(options: &Options) -> Vec<Event> {
    let mut random = StdRng::seed_from_u64(options.seed);
    let mut events = Vec::new();
    let end = options.duration.as_millis() as u64;
    // The first copy is let through.
    let mut at_ms = 3_000;
    if options.nemeses.0.is_empty() {
        return events;
    }
    loop {
        at_ms += random.random_range(500..7_000_u64);
        let nemesis = options.nemeses.0[random.random_range(0..options.nemeses.0.len())];
        // Most are short: what is begun and ended in quick succession finds the most.
        let lasts_ms = match random.random_range(0..10_u32) {
            0..6 => random.random_range(50..1_500),
            6..9 => random.random_range(1_500..5_000),
            _ => random.random_range(5_000..15_000),
        };
        let event = Event {
            at_ms,
            lasts_ms,
            nemesis,
            target: random.random_range(0..1_000),
            choice: random.random(),
        };
        if at_ms >= end {
            return events;
        }
        events.push(event);
    }
}

impl Event {
    /// How long it lasts.
    pub fn lasts(&self) -> Duration {
        Duration::from_millis(self.lasts_ms)
    }

    /// One of `count`, by the event's choice.
    pub fn pick(&self, count: usize) -> usize {
        self.target as usize % count.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Nemeses;

    #[test]
    fn a_seed_is_a_schedule() {
        let options = |seed| Options {
            duration: Duration::from_secs(1_200),
            seed,
            nodes: 2,
            workers_per_node: 2,
            rate: 10,
            nemeses: Nemeses(Nemesis::ALL.to_vec()),
            shared_numbers: false,
            folder: None,
        };
        let events = draw(&options(7));
        assert_eq!(events, draw(&options(7)));
        assert_ne!(events, draw(&options(8)));
        assert!(events.len() > 100 && events.is_sorted_by_key(|event| event.at_ms));
        for nemesis in Nemesis::ALL {
            assert!(events.iter().any(|event| event.nemesis == *nemesis), "{nemesis:?}");
        }
    }
}
