//! A blow to one step.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use dual_database::sync::{Fault, Step, StepHook};

/// What happens to a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// It is not done.
    Refused,
    /// It is done, and nobody hears of it.
    Lost,
    /// It is done twice.
    Twice,
    /// The process ends before it.
    EndsBefore,
    /// The process ends when it has been done.
    EndsAfter,
}

impl Blow {
    pub const ALL: [Blow; 5] =
        [Blow::Refused, Blow::Lost, Blow::Twice, Blow::EndsBefore, Blow::EndsAfter];

    pub fn ends_the_process(self) -> bool {
        matches!(self, Blow::EndsBefore | Blow::EndsAfter)
    }
}

/// What a process was told.
#[derive(Clone, Debug)]
pub struct Ledger(PathBuf);

impl Ledger {
    pub fn in_folder(folder: &Path) -> Ledger {
        Ledger(folder.join("ledger"))
    }

    pub fn has(&self, line: &str) -> bool {
        std::fs::read_to_string(&self.0).is_ok_and(|all| all.lines().any(|it| it == line))
    }

    /// In one piece, before anything else happens.
    pub fn note(&self, line: &str) {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&self.0).unwrap();
        file.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

/// Strikes the first time that the step is met; and lets PostgreSQL's answer be lost before, if the
/// step is only met then.
#[derive(Debug)]
pub struct Strike {
    step: Step,
    blow: Blow,
    ledger: Ledger,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    has_struck: bool,
    /// The process ends when the step has been done.
    ends: bool,
    /// An answer was lost before.
    has_lost: bool,
}

impl Strike {
    pub fn new(step: Step, blow: Blow, ledger: Ledger) -> Strike {
        Strike { step, blow, ledger, state: Mutex::default() }
    }
}

impl StepHook for Strike {
    fn fault(&self, step: Step) -> Fault {
        let mut state = self.state.lock().unwrap();
        if step == Step::Ask
            && self.step == Step::Resume
            && !std::mem::replace(&mut state.has_lost, true)
        {
            return Fault::Lost;
        }
        // PostgreSQL gives no number, so that one is taken that is kept for the file.
        if step == Step::AskNumber && self.step == Step::TakeNumber {
            return Fault::Refused;
        }
        if step != self.step || std::mem::replace(&mut state.has_struck, true) {
            return Fault::None;
        }
        self.ledger.note("struck");
        match self.blow {
            Blow::Refused => Fault::Refused,
            Blow::Lost => Fault::Lost,
            Blow::Twice => Fault::Twice,
            Blow::EndsBefore => std::process::abort(),
            Blow::EndsAfter => {
                state.ends = true;
                Fault::None
            }
        }
    }

    fn done(&self, step: Step) {
        if step == self.step && self.state.lock().unwrap().ends {
            std::process::abort();
        }
    }
}
