//! Puts known mistakes into the production code, one at a time, and sees that the tests notice.
//!
//! `mutants.toml` lists them: what is wrong about each, the edit, and the tests that have to fail.
//! The tracked files are copied to `target/mutants/tree`, so that nothing here is ever changed
//! in the work tree. First the tests have to pass without a mistake; then each mistake is made,
//! built, and each of its tests has to fail. One that does not build proves nothing and counts as
//! not caught.
//!
//! `cargo run -p mutants` runs all, `cargo run -p mutants -- NAME…` some, `--quick` those that
//! unit tests catch, `--list` none.

#![forbid(unsafe_code)]

mod list;
mod suite;
mod tree;

use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use list::Mutant;
use suite::{Suite, Target};
use tree::Tree;

/// Longer than any of the tests waits for anything.
const LIMIT: Duration = Duration::from_secs(400);

/// Known mistakes in the production code, put back one at a time: every one has to be caught.
#[derive(Parser)]
struct Arguments {
    /// The mutants to run; all if none is named.
    names: Vec<String>,
    /// Only those that are caught by unit tests.
    #[arg(long)]
    quick: bool,
    /// Only says which there are.
    #[arg(long)]
    list: bool,
    /// Where to build; `target/mutants/build` if not given. The workspace's own `target` can be
    /// shared: it saves building the dependencies again.
    #[arg(long, value_name = "FOLDER")]
    target_dir: Option<PathBuf>,
}

type Outcome<T> = Result<T, Box<dyn Error>>;

/// What became of a mutant.
struct Verdict {
    caught_by: Vec<String>,
    /// Why it was not caught.
    missed: Option<String>,
    took: Duration,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::from(2)
        }
    }
}

/// Says whether every mutant was caught.
fn run(arguments: &Arguments) -> Outcome<bool> {
    let mut out = std::io::stdout();
    let mutants = list::select(list::all()?, &arguments.names, arguments.quick)?;
    if arguments.list {
        for mutant in &mutants {
            writeln!(out, "{}\n    {}\n    {}", mutant.name, mutant.file, mutant.wrong)?;
        }
        return Ok(true);
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let work = root.join("target/mutants");
    let tree = Tree::copy(&root, &work.join("tree"))?;
    // All edits are tried before anything is built: a list that has rotted is noticed at once.
    for mutant in &mutants {
        tree.mutated(mutant)?;
    }
    let build = match &arguments.target_dir {
        Some(folder) => std::path::absolute(folder)?,
        None => work.join("build"),
    };
    let suite = Suite { tree: tree.path().to_owned(), build };
    writeln!(out, "without a mistake")?;
    for target in Target::ALL {
        let filters: Vec<&str> = mutants.iter().flat_map(|m| m.filters(target)).collect();
        suite.passes(target, &filters, LIMIT * 4)?;
    }
    let mut all_caught = true;
    for mutant in &mutants {
        let verdict = judge(&tree, &suite, mutant)?;
        let seconds = verdict.took.as_secs();
        match &verdict.missed {
            None => {
                writeln!(out, "{} | {} | {seconds}", mutant.name, verdict.caught_by.join(", "))?;
            }
            Some(why) => {
                all_caught = false;
                writeln!(out, "{} | NOT CAUGHT: {why} | {seconds}", mutant.name)?;
            }
        }
    }
    let count = mutants.len();
    writeln!(out, "{count} mutants: {}", if all_caught { "all caught" } else { "NOT all caught" })?;
    Ok(all_caught)
}

/// Makes the mistake, sees what the tests say, and takes it back.
fn judge(tree: &Tree, suite: &Suite, mutant: &Mutant) -> Outcome<Verdict> {
    let began = Instant::now();
    let mistake = tree.make(mutant)?;
    let (mut caught_by, mut missed) = (Vec::new(), None);
    for target in Target::ALL {
        let filters: Vec<&str> = mutant.filters(target).collect();
        if filters.is_empty() {
            continue;
        }
        if let Err(why) = suite.build(target) {
            missed = Some(format!("it does not build: {why}"));
            break;
        }
        let failed = suite.failures(target, &filters, LIMIT)?;
        for filter in filters {
            if !failed.iter().any(|test| test.contains(filter)) {
                missed = Some(format!("{filter} passes"));
            }
        }
        caught_by.extend(failed);
    }
    mistake.take_back()?;
    Ok(Verdict { caught_by, missed, took: began.elapsed() })
}
