//! Histories: what happens, drawn from a seed, as a list that can be shortened.

use dual_database::merge::Change;
use dual_database::value::Value;

use crate::rng::Rng;
use crate::rules::{Key, USERS};

/// What happens to a message between a process and PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It never arrived.
    Refused,
    /// It was executed; the answer was lost.
    Lost,
    /// The caller has gone when it is executed.
    Delayed,
    /// It arrives twice: a step at once, a statement of a call again later.
    Twice,
}

/// One thing that happens. What does not apply at that moment does nothing.
#[allow(missing_docs, reason = "the names of the fields say it; variants are documented")]
#[derive(Clone, Debug)]
pub enum Event {
    /// Milliseconds pass.
    Wait(i64),
    /// The library is called.
    Call { process: usize, key: Key, change: Change, fault: Fault },
    /// The library transfers between accounts.
    Transfer { process: usize, from: usize, amount: i64, fault: Fault },
    /// The call in flight goes on.
    Answer { process: usize },
    /// The library reads.
    Read { process: usize, key: Key },
    /// One step of the synchroniser.
    Advance { process: usize, fault: Fault },
    /// Steps of the synchroniser until the round ends.
    Round { process: usize },
    /// psql changes a row in the transaction of that slot.
    Outside { slot: u8, key: Key, change: Change },
    /// psql transfers between accounts.
    OutsideTransfer { slot: u8, from: usize, amount: i64 },
    /// psql ends the transaction.
    OutsideEnd { slot: u8, commit: bool },
    /// psql truncates the users.
    Truncate,
    /// A script changes rows of a file.
    Script { file: usize, key: Key, change: Change },
    /// A script transfers on the first file.
    ScriptTransfer { from: usize, amount: i64 },
    /// Statements whose callers have gone are executed.
    RunLate,
    /// Old tombstones are purged.
    Purge,
    /// SIGKILL.
    Kill { process: usize },
    /// A new process with a new number.
    Start { process: usize },
    /// SIGSTOP or SIGCONT.
    Stop { process: usize, stop: bool },
    /// PostgreSQL crashes and recovers.
    Crash { draw: u64 },
    /// PostgreSQL goes away or comes back.
    Up(bool),
    /// The replica receives everything.
    Replicate,
    /// The replica takes over.
    FailOver,
    /// PostgreSQL is backed up.
    BackUp,
    /// PostgreSQL is restored.
    Restore { kind: u64 },
    /// The file is locked or its disk full, or not.
    Block { file: usize, block: bool },
    /// Power cut of the file's machine.
    PowerCut { file: usize },
    /// The file is backed up.
    FileBackUp { file: usize },
    /// The file is restored.
    FileRestore { file: usize },
    /// A copy of a file replaces another.
    FileCopy { from: usize, to: usize },
    /// The clock of the file's machine is set.
    ClockJump { file: usize, skew: i64 },
    /// It gains, or loses, so many of a thousand milliseconds.
    ClockDrift { file: usize, rate: i64 },
    /// PostgreSQL's clock is set.
    PrimaryClockJump { skew: i64 },
    /// Somebody takes the triggers away and changes a row past them: in a file, or at PostgreSQL.
    SchemaDrift { file: Option<usize>, key: Key, column: usize, value: Value },
    /// Somebody takes a row away past the triggers; `told`: the catalog shows that they were gone.
    Remove { file: Option<usize>, key: Key, told: bool },
    /// Somebody loads a row past the triggers.
    Load { file: Option<usize>, key: Key, values: Vec<Value>, told: bool },
    /// Somebody drops the users, or replaces them, and makes the table anew without a row.
    Replace { file: Option<usize> },
    /// The synchroniser compares the values of both sides.
    Verify { process: usize },
    /// A user's trigger at PostgreSQL cancels changes of that row, or does so no more.
    Cancel { key: Option<Key> },
    /// Somebody writes a stamp far in the future into a sidecar: that of the row, or of a column.
    Ahead { file: Option<usize>, key: Key, column: Option<usize>, ms: i64 },
    /// The same with the purge horizon.
    HorizonAhead { file: Option<usize>, ms: i64 },
    /// A person sets back what lies in the future.
    SetBack,
}

const FILES: usize = 3;
/// Processes: two on each file.
pub const PROCESSES: usize = 2 * FILES;

struct Draw {
    rng: Rng,
    value: i64,
    files: usize,
    hot: Key,
    /// Messages are repeated, clocks drift, PostgreSQL's jumps, triggers vanish: in every fourth
    /// history, so that the others stay what they were before there was that.
    strange: bool,
}

impl Draw {
    fn value(&mut self) -> Value {
        self.value += 1;
        if self.rng.once_in(8) { Value::Null } else { Value::Int(self.value) }
    }

    fn change(&mut self) -> Change {
        match self.rng.below(10) {
            0..3 => {
                let name = self.value();
                let phone = if self.rng.once_in(2) { self.value() } else { Value::Null };
                let status = match self.rng.below(4) {
                    0 => self.value(),
                    1 => Value::Null,
                    _ => Value::Int(-1),
                };
                Change::Insert(vec![name, phone, status])
            }
            3..5 => Change::Delete,
            _ => {
                let column = self.rng.index(3);
                let mut columns = vec![(column, self.value())];
                if self.rng.once_in(3) {
                    columns.push(((column + 1) % 3, self.value()));
                }
                Change::Update(columns)
            }
        }
    }

    fn key(&mut self) -> Key {
        if self.rng.once_in(2) {
            return self.hot;
        }
        Key::try_from(self.rng.below(u64::from(USERS))).unwrap_or_default()
    }

    fn process(&mut self) -> usize {
        // Mostly the first process of each file.
        let file = self.rng.index(self.files);
        if self.rng.once_in(4) { file + FILES } else { file }
    }

    fn file(&mut self) -> usize {
        self.rng.index(self.files)
    }

    /// What neighbours do to one of the two sides.
    fn neighbour(&mut self, process: usize) -> Event {
        let file = (!self.rng.once_in(2)).then(|| self.file());
        let (key, told) = (self.key(), !self.rng.once_in(3));
        match self.rng.below(9) {
            0..3 => Event::Remove { file, key, told },
            3..5 => {
                let values = vec![self.value(), self.value(), Value::Int(-1)];
                Event::Load { file, key, values, told }
            }
            5 => Event::Replace { file },
            6 => Event::Cancel { key: (!self.rng.once_in(3)).then_some(key) },
            _ => Event::Verify { process },
        }
    }

    fn fault(&mut self, faults: bool) -> Fault {
        match self.rng.below(if faults { 8 } else { 1 }) {
            1 => Fault::Refused,
            2 => Fault::Lost,
            3 => Fault::Delayed,
            4 if self.strange => Fault::Twice,
            _ => Fault::None,
        }
    }
}

/// The history of a seed. Every seed has its own mixture: some kinds of events are left out,
/// so that the others come in longer runs.
#[must_use]
pub fn generate(seed: u64) -> Vec<Event> {
    let mut rng = Rng::new(seed);
    let files = 1 + rng.index(FILES);
    let length = 40 + rng.index(100);
    let kinds = rng.next();
    let has = |bit: u32| kinds >> bit & 1 == 1;
    let faults = has(0);
    let hot = Key::try_from(rng.below(u64::from(USERS))).unwrap_or_default();
    let strange = !has(26) && !has(27);
    let mut draw = Draw { rng, value: 1_000, files, hot, strange };
    let mut events = Vec::with_capacity(length);
    while events.len() < length {
        let process = draw.process();
        match draw.rng.below(100) {
            0..18 => {
                let (key, change) = (draw.key(), draw.change());
                let fault = draw.fault(faults);
                events.push(Event::Call { process, key, change, fault });
                if draw.rng.once_in(2) {
                    events.push(Event::Answer { process });
                }
            }
            18..23 if has(1) => {
                let (from, amount) = (draw.rng.index(3), draw.rng.range(1, 20));
                let fault = draw.fault(faults);
                events.push(Event::Transfer { process, from, amount, fault });
                events.push(Event::Answer { process });
            }
            23..31 => events.push(Event::Answer { process }),
            31..33 => events.push(Event::Read { process, key: draw.key() }),
            33..44 => events.push(Event::Advance { process, fault: draw.fault(faults) }),
            44..55 => events.push(Event::Round { process }),
            55..66 if has(2) => {
                let slot = u8::try_from(draw.rng.below(3)).unwrap_or_default();
                let (key, change) = (draw.key(), draw.change());
                events.push(Event::Outside { slot, key, change });
                if draw.rng.once_in(2) {
                    events.push(Event::OutsideEnd { slot, commit: true });
                }
            }
            66..70 if has(1) => {
                let slot = u8::try_from(draw.rng.below(3)).unwrap_or_default();
                let (from, amount) = (draw.rng.index(3), draw.rng.range(1, 20));
                events.push(Event::OutsideTransfer { slot, from, amount });
                if draw.rng.once_in(2) {
                    events.push(Event::OutsideEnd { slot, commit: true });
                }
            }
            70..75 => {
                let slot = u8::try_from(draw.rng.below(3)).unwrap_or_default();
                events.push(Event::OutsideEnd { slot, commit: !draw.rng.once_in(3) });
            }
            75..82 if has(3) => {
                let (file, key, mut change) = (draw.file(), draw.key(), draw.change());
                if has(4)
                    && draw.rng.once_in(5)
                    && let Change::Update(columns) = &mut change
                {
                    draw.value += 1;
                    columns.truncate(1);
                    columns
                        .iter_mut()
                        .for_each(|column| column.1 = Value::Int(-1_000 - draw.value));
                }
                events.push(Event::Script { file, key, change });
            }
            82..84 if has(1) => {
                let (from, amount) = (draw.rng.index(3), draw.rng.range(1, 20));
                events.push(Event::ScriptTransfer { from, amount });
            }
            84..86 => events.push(Event::RunLate),
            86..91 => {
                let ms = if draw.rng.once_in(6) {
                    draw.rng.range(100, 2_000)
                } else {
                    draw.rng.range(1, 8)
                };
                events.push(Event::Wait(ms));
            }
            91..100 => rare(&mut draw, &mut events, has),
            _ => {}
        }
    }
    // Drawn apart, so that every other history stays what it was.
    if has(40) && has(41) && has(42) {
        ahead(&mut draw, &mut events);
    }
    events
}

/// PostgreSQL's clock was wrong for a while, or somebody has written stamps: they lie far in the
/// future, until a person sets them back, or time has passed them.
fn ahead(draw: &mut Draw, events: &mut Vec<Event>) {
    for _ in 0..1 + draw.rng.index(6) {
        let ms = if draw.rng.once_in(2) { 86_400_000 } else { draw.rng.range(61_000, 150_000) };
        let file = (!draw.rng.once_in(2)).then(|| draw.file());
        let mut place = |draw: &mut Draw, event| {
            let at = draw.rng.index(events.len() + 1);
            events.insert(at, event);
            at
        };
        match draw.rng.below(8) {
            0..3 => {
                let column = (!draw.rng.once_in(3)).then(|| draw.rng.index(3));
                // Time does not pass it: left alone it would be a difference of stamps alone.
                let event = Event::Ahead { file, key: draw.key(), column, ms: 86_400_000 };
                place(draw, event);
            }
            3 => drop(place(draw, Event::HorizonAhead { file, ms })),
            4 | 5 => {
                let at = place(draw, Event::PrimaryClockJump { skew: ms });
                let until = (at + 1 + draw.rng.index(12)).min(events.len());
                events.insert(until, Event::PrimaryClockJump { skew: 0 });
            }
            6 => drop(place(draw, Event::Wait(ms.min(150_000)))),
            _ => drop(place(draw, Event::SetBack)),
        }
    }
    let at = draw.rng.index(events.len() + 1);
    let scene = away(draw);
    events.splice(at..at, scene);
    if draw.rng.once_in(2) {
        // Who was away until then comes when the clock has passed it.
        events.push(Event::Wait(150_000));
    }
}

fn rare(draw: &mut Draw, events: &mut Vec<Event>, has: impl Fn(u32) -> bool) {
    let (process, file) = (draw.process(), draw.file());
    let coin = draw.rng.once_in(2);
    let event = match draw.rng.below(if draw.strange { 22 } else { 14 }) {
        0 if has(5) => Event::Kill { process },
        1 if has(5) => Event::Start { process },
        2 if has(6) => Event::Stop { process, stop: coin },
        3 | 4 if has(7) => {
            let draw = draw.rng.next();
            Event::Crash { draw }
        }
        5 if has(8) => Event::Up(coin),
        6 if has(9) => Event::Replicate,
        7 if has(9) => Event::FailOver,
        8 if has(10) => Event::BackUp,
        9 if has(10) => Event::Restore { kind: draw.rng.next() },
        10 if has(11) => Event::Block { file, block: coin },
        11 if has(12) => match draw.rng.below(4) {
            0 => Event::PowerCut { file },
            1 => Event::FileBackUp { file },
            2 => Event::FileRestore { file },
            _ => Event::FileCopy { from: draw.file(), to: file },
        },
        12 if has(13) => {
            let wild = draw.rng.once_in(3);
            let skew =
                if wild { draw.rng.range(-200_000, 200_000) } else { draw.rng.range(-30, 30) };
            Event::ClockJump { file, skew }
        }
        13 if has(14) => {
            if coin {
                Event::Truncate
            } else {
                events.push(Event::Wait(400));
                Event::Purge
            }
        }
        14 if has(13) && coin => Event::ClockDrift { file, rate: draw.rng.range(-100, 100) },
        14 if has(13) => {
            let wild = draw.rng.once_in(3);
            let skew = if wild { draw.rng.range(-50_000, 50_000) } else { draw.rng.range(-30, 30) };
            Event::PrimaryClockJump { skew }
        }
        15 if has(15) => {
            let (key, column, value) = (draw.key(), draw.rng.index(3), draw.value());
            Event::SchemaDrift { file: coin.then_some(file), key, column, value }
        }
        16..22 if has(16) => draw.neighbour(process),
        _ => Event::Wait(1),
    };
    events.push(event);
}

/// A file has what PostgreSQL's clock, which was wrong, has given, perhaps with a change on top, and
/// is away when it is set back; perhaps for longer than the clock was wrong by.
fn away(draw: &mut Draw) -> Vec<Event> {
    let (key, process, slot) = (draw.key(), draw.process(), 0);
    let update = |draw: &mut Draw| {
        draw.value += 1;
        Change::Update(vec![(0, Value::Int(draw.value))])
    };
    let outside = |draw: &mut Draw| {
        let change = if draw.rng.once_in(4) { draw.change() } else { update(draw) };
        [Event::Outside { slot, key, change }, Event::OutsideEnd { slot, commit: true }]
    };
    let mut scene = vec![
        Event::OutsideEnd { slot, commit: true },
        Event::PrimaryClockJump { skew: draw.rng.range(100_000, 150_000) },
    ];
    scene.extend(outside(draw));
    scene.push(Event::Round { process });
    if draw.rng.once_in(2) {
        let change = update(draw);
        scene.push(Event::Script { file: process % FILES, key, change });
    }
    scene.extend([Event::PrimaryClockJump { skew: 0 }, Event::SetBack]);
    scene.extend(outside(draw));
    if draw.rng.once_in(2) {
        scene.push(Event::Wait(150_000));
    }
    scene
}

/// Leaves out events while the history still `fails`: halves first, single events last.
pub fn shrink(history: Vec<Event>, fails: impl Fn(&[Event]) -> bool) -> Vec<Event> {
    let mut history = history;
    let mut chunk = history.len() / 2;
    while chunk > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < history.len() {
            let mut without = history.clone();
            without.drain(at..(at + chunk).min(history.len()));
            if fails(&without) {
                history = without;
                shorter = true;
            } else {
                at += chunk;
            }
        }
        if !shorter || chunk > 1 {
            chunk = if chunk == 1 { 0 } else { chunk / 2 };
        }
    }
    history
}
