//! A password that was given on the command line stands in the list of processes, where every user of
//! the machine reads it: it is taken out there.
//!
//! The program starts itself again, in the same process, with the URL in `DATABASE_URL`, which nobody
//! but the user and root can see. That is the one way without writing over the memory of the arguments.

use std::ffi::{OsStr, OsString};

use dual_database::store::postgres::mask;

use crate::output::message;

const OPTION: &str = "--pg-db-url";
const VARIABLE: &str = "DATABASE_URL";

/// Returns if there is no password among the words, or if the program cannot start itself again.
pub fn without_password(words: &[OsString]) {
    let Some(found) = Found::among(words) else { return };
    let again = again(words, &found);
    let could = if again.is_some() { "could" } else { "can" };
    message(&format!(
        "note: the password in {OPTION} {could} be read by every user of this machine, in the list of \
         processes; give the URL in {VARIABLE} or dual.toml, or the password in a password file (~/.pgpass)"
    ));
    if let Some(mut again) = again {
        use std::os::unix::process::CommandExt as _;
        // It returns only if it has failed; then everything goes on with what there is.
        let cause = again.exec();
        message(&format!("note: it is still to be read there: {cause}"));
    }
}

/// The URL with a password, and where it stands.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nothing is started again"))]
struct Found {
    url: String,
    first: usize,
    count: usize,
}

impl Found {
    /// If the option stands there once; the parser has something to say about twice.
    fn among(words: &[OsString]) -> Option<Found> {
        let end = words.iter().position(|word| word == "--").unwrap_or(words.len());
        let mut all = words.iter().enumerate().take(end).filter_map(|(first, word)| {
            let rest = word.to_str()?.strip_prefix(OPTION)?;
            match rest.strip_prefix('=') {
                Some(url) => Some(Found { url: url.to_owned(), first, count: 1 }),
                None if rest.is_empty() => {
                    let url = words.get(first + 1)?.to_str()?.to_owned();
                    Some(Found { url, first, count: 2 })
                }
                None => None,
            }
        });
        all.next().filter(|found| all.next().is_none() && mask(&found.url) != found.url)
    }
}

/// The same program with the same words but for the URL. These words may be the end of what the process
/// was started with: before them stand an interpreter and its own.
#[cfg(target_os = "linux")]
fn again(words: &[OsString], found: &Found) -> Option<std::process::Command> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::process::CommandExt as _;
    let line = std::fs::read("/proc/self/cmdline").ok()?;
    let line = line.strip_suffix(b"\0")?;
    let started: Vec<&OsStr> = line.split(|byte| *byte == 0).map(OsStr::from_bytes).collect();
    let given = words.get(1..)?;
    let before = started.len().checked_sub(given.len())?;
    if before == 0 || !started.iter().skip(before).eq(given.iter()) {
        return None;
    }
    let url = before + found.first.checked_sub(1)?;
    let mut again = std::process::Command::new(std::env::current_exe().ok()?);
    again.arg0(started.first()?).env(VARIABLE, &found.url);
    for (place, word) in started.iter().enumerate().skip(1) {
        if !(url..url + found.count).contains(&place) {
            again.arg(word);
        }
    }
    Some(again)
}

#[cfg(not(target_os = "linux"))]
fn again(_: &[OsString], _: &Found) -> Option<std::process::Command> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &[&str]) -> Option<(String, usize, usize)> {
        let words: Vec<OsString> = words.iter().map(Into::into).collect();
        Found::among(&words).map(|found| (found.url, found.first, found.count))
    }

    #[test]
    fn the_url_among_the_words() {
        let url = "postgresql://u:hunter2@h/d";
        let told = |first, count| Some((url.to_owned(), first, count));
        assert_eq!(found(&["dual", "--pg-db-url", url, "status"]), told(1, 2));
        assert_eq!(found(&["dual", "status", &format!("--pg-db-url={url}")]), told(2, 1));
        let pairs = "host=h password=hunter2";
        assert_eq!(found(&["dual", "--pg-db-url", pairs]).unwrap().0, pairs);
        for words in [
            &["dual", "--pg-db-url", "postgresql://u@h/d"][..],
            &["dual", "--pg-db-url"],
            &["dual", "--pg-db-url", url, "--pg-db-url", url],
            &["dual", "--", "--pg-db-url", url],
            &["dual", "--pg-db-urls", url],
        ] {
            assert_eq!(found(words), None, "{words:?}");
        }
    }
}
