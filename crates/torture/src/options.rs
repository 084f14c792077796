//! What a run is to be like. It is kept beside the schedule, so that a run can be repeated.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::schedule::Nemesis;

/// How long a call of a worker waits for PostgreSQL, and how long for a lock on the file.
pub const TIMEOUT: Duration = Duration::from_secs(2);

/// The options of `torture run`.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Options {
    /// How long faults are injected, such as 90s, 10m or 2h; healing and checking come on top
    #[arg(long, default_value = "2m", value_parser = duration)]
    pub duration: Duration,
    /// What the schedule and the workers' choices are drawn from
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Files, each with its own workers and its own way to PostgreSQL
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub nodes: u32,
    /// Processes that use the library, for each node; one with the command line comes on top
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=8))]
    pub workers_per_node: u32,
    /// Calls a second that each task of a worker tries (three tasks a worker)
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rate: u32,
    /// `all`, or names with commas between them
    #[arg(long, default_value = "all", value_parser = nemeses)]
    pub nemeses: Nemeses,
    /// Let every side number rows of its own, as it comes: two that were given one number while apart
    /// have to be two rows
    #[arg(long)]
    #[serde(default)]
    pub shared_numbers: bool,
    /// Where everything is kept; a new folder in the system's temporary one unless told
    #[arg(long)]
    pub folder: Option<PathBuf>,
}

/// The faults that may be drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nemeses(pub Vec<Nemesis>);

fn nemeses(text: &str) -> Result<Nemeses, String> {
    if text == "all" {
        return Ok(Nemeses(Nemesis::ALL.to_vec()));
    }
    text.split(',')
        .map(|name| {
            Nemesis::ALL.iter().copied().find(|nemesis| nemesis.name() == name).ok_or_else(|| {
                let names: Vec<&str> = Nemesis::ALL.iter().map(|known| known.name()).collect();
                format!("no nemesis is called `{name}`; there are {}", names.join(", "))
            })
        })
        .collect::<Result<_, _>>()
        .map(Nemeses)
}

fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("`{text}` is no duration"))?;
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        other => return Err(format!("`{other}` is no unit: s, m or h")),
    };
    Ok(Duration::from_secs(number.saturating_mul(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_names_are_read() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("10m"), Ok(Duration::from_secs(600)));
        assert!(duration("x").is_err() && duration("3d").is_err());
        let two = nemeses("failover,delete-file").unwrap();
        assert_eq!(two.0, [Nemesis::Failover, Nemesis::DeleteFile]);
        assert!(nemeses("failover,typo").unwrap_err().contains("`typo`"));
    }
}
