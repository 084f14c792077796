use std::io::BufRead as _;

use dual_database::{Error, Kind, Result};

use super::stop_signal;
use crate::output;

/// Asks a question that only a yes answers.
///
/// # Errors
/// [`Kind::Configuration`] for anything but a yes; [`Kind::Interrupted`].
pub async fn confirm(operation: &'static str, question: &str) -> Result<()> {
    output::message(&format!("{question} [y/N]"));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map(|_| line)
    });
    let refused = || {
        Error::new(Kind::Configuration, operation, "not confirmed; nothing was changed")
            .with_hint("answer y, or give --yes where nobody can answer")
    };
    let answer = tokio::select! {
        answer = answer => answer.ok().and_then(std::io::Result::ok).ok_or_else(refused)?,
        () = stop_signal() => {
            return Err(Error::new(Kind::Interrupted, operation, "stopped; nothing was changed"));
        }
    };
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" | "д" | "да" => Ok(()),
        _ => Err(refused()),
    }
}
