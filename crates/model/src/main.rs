//! Runs seeds of the model and prints what was violated, with a short history to replay.

#![forbid(unsafe_code)]

use std::io::Write;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Instant;

use clap::Parser;
use model::{Report, Trap, generate, numbers, replay, run, shrink, tables, trace};

/// Seeded histories of two model stores against the promises.
#[derive(Parser)]
struct Arguments {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// The mistake to put back; `all` puts back each of them in turn.
    #[arg(long)]
    trap: Option<String>,
    /// Of the first violation: what every store has of that row after each event.
    #[arg(long)]
    key: Option<u8>,
    /// The world of numbers that both sides hand out.
    #[arg(long)]
    numbers: bool,
    /// The world of several tables.
    #[arg(long, conflicts_with = "numbers")]
    tables: bool,
    /// How many violating seeds to name.
    #[arg(long, default_value_t = 5)]
    print: u64,
}

fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::parse();
    let mut out = std::io::stdout().lock();
    let name = arguments.trap.as_deref();
    let violated = if arguments.numbers {
        named(name, numbers::Trap::ALL)
            .and_then(|traps| any(traps, |trap| numbered(&mut out, &arguments, trap)))
    } else if arguments.tables {
        named(name, tables::Trap::ALL)
            .and_then(|traps| any(traps, |trap| tabled(&mut out, &arguments, trap)))
    } else {
        named(name, Trap::ALL).and_then(|traps| {
            let verbose = traps.len() == 1;
            any(traps, |trap| seeds(&mut out, &arguments, trap, verbose))
        })
    };
    match violated {
        Ok(violated) => Ok(if violated { ExitCode::from(1) } else { ExitCode::SUCCESS }),
        Err(message) => {
            writeln!(std::io::stderr(), "{message}")?;
            Ok(ExitCode::from(2))
        }
    }
}

/// The traps that are meant by a name: none without one.
fn named<T: Copy + FromStr<Err = String>>(
    name: Option<&str>,
    all: &[T],
) -> Result<Vec<Option<T>>, String> {
    match name {
        None => Ok(vec![None]),
        Some("all") => Ok(all.iter().copied().map(Some).collect()),
        Some(name) => name.parse().map(|trap| vec![Some(trap)]),
    }
}

/// Runs the seeds with each of them; says whether a promise was violated.
fn any<T>(
    traps: Vec<Option<T>>,
    mut run: impl FnMut(Option<T>) -> std::io::Result<bool>,
) -> Result<bool, String> {
    let mut violated = false;
    for trap in traps {
        violated |= run(trap).map_err(|error| error.to_string())?;
    }
    Ok(violated)
}

/// Runs the seeds of the world of numbers. With a trap the first violation ends it.
fn numbered(
    out: &mut impl Write,
    arguments: &Arguments,
    trap: Option<numbers::Trap>,
) -> std::io::Result<bool> {
    let name = trap.map_or("no trap", numbers::Trap::name);
    let (mut violations, mut total) = (0u64, numbers::Report::default());
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        let report = numbers::run(seed, trap);
        total.born += report.born;
        total.moved += report.moved;
        total.followed += report.followed;
        let Some(violation) = report.violation else { continue };
        violations += 1;
        if violations <= arguments.print {
            writeln!(out, "{name}: seed {seed}: {violation}")?;
        }
        if trap.is_some() {
            return Ok(true);
        }
    }
    writeln!(
        out,
        "{name}: {} seeds, {violations} violations; {} rows, {} took another number, {} children",
        arguments.seeds, total.born, total.moved, total.followed
    )?;
    Ok(violations > 0)
}

/// Runs the seeds of the world of several tables. With a trap the first violation ends it.
fn tabled(
    out: &mut impl Write,
    arguments: &Arguments,
    trap: Option<tables::Trap>,
) -> std::io::Result<bool> {
    let name = trap.map_or("no trap", tables::Trap::name);
    let begun = Instant::now();
    let (mut violations, mut total) = (0u64, tables::Report::default());
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        let report = tables::run(seed, trap);
        total.written += report.written;
        total.polls += report.polls;
        total.paused += report.paused;
        total.compared += report.compared;
        total.held += report.held;
        total.aside += report.aside;
        total.conflicts += report.conflicts;
        let Some(violation) = report.violation else { continue };
        // A seed that fails without the mistake says nothing about it.
        if trap.is_some() && tables::run(seed, None).violation.is_some() {
            continue;
        }
        violations += 1;
        if violations <= arguments.print {
            writeln!(out, "{name}: seed {seed}: {violation}")?;
        }
        if trap.is_some() {
            return Ok(true);
        }
    }
    let seconds = begun.elapsed().as_secs_f64().max(1e-9);
    writeln!(
        out,
        "{name}: {} seeds in {seconds:.1} s ({:.0} a second), {violations} violations; {} values, \
         {} polls, {} pauses, {} comparisons, {} held, {} rows aside, {} conflicts",
        arguments.seeds,
        arguments.seeds as f64 / seconds,
        total.written,
        total.polls,
        total.paused,
        total.compared,
        total.held,
        total.aside,
        total.conflicts,
    )?;
    Ok(violations > 0)
}

/// Runs the seeds with one trap, or none; says whether a promise was violated. With a trap the
/// first violation ends it.
fn seeds(
    out: &mut impl Write,
    arguments: &Arguments,
    trap: Option<Trap>,
    verbose: bool,
) -> std::io::Result<bool> {
    let name = trap.map_or("no trap", Trap::name);
    let begun = Instant::now();
    let (mut ran, mut violations, mut total) = (0u64, 0u64, Report::default());
    for seed in arguments.from..arguments.from.saturating_add(arguments.seeds) {
        let report = run(seed, trap);
        ran += 1;
        total.acknowledged += report.acknowledged;
        total.polls += report.polls;
        total.breaks += report.breaks;
        total.held += report.held;
        total.conflicts += report.conflicts;
        total.sums += report.sums;
        let Some(violation) = report.violation else { continue };
        // A seed that fails without the mistake says nothing about it.
        if trap.is_some() && run(seed, None).violation.is_some() {
            continue;
        }
        violations += 1;
        if violations <= arguments.print {
            writeln!(out, "{name}: seed {seed} (number {ran}): {violation}")?;
        }
        if violations == 1 && verbose {
            let fails = |history: &[_]| replay(seed, history, trap).violation.is_some();
            let short = shrink(generate(seed), fails);
            if let Some(violation) = replay(seed, &short, trap).violation {
                writeln!(out, "  shrunk: {violation}")?;
            }
            let lines = match arguments.key {
                Some(key) => trace(seed, &short, trap, key),
                None => short.iter().map(|event| format!("{event:?}")).collect(),
            };
            for line in lines {
                writeln!(out, "  {line}")?;
            }
        }
        if trap.is_some() {
            return Ok(true);
        }
    }
    let seconds = begun.elapsed().as_secs_f64().max(1e-9);
    writeln!(
        out,
        "{name}: {ran} seeds in {seconds:.1} s ({:.0} a second), {violations} violations; \
         {} acknowledged writes, {} polls, {} broken epochs, {} held, {} conflicts, {} sums",
        ran as f64 / seconds,
        total.acknowledged,
        total.polls,
        total.breaks,
        total.held,
        total.conflicts,
        total.sums,
    )?;
    Ok(violations > 0)
}
