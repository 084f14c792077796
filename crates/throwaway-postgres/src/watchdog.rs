//! Ends the server when this process ends without doing so itself.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::error::Error;

/// Waits for the end of its standard input, whose other end only this process holds (the
/// standard library marks it close-on-exec): the system closes it however we end. Then it
/// stops the server whose data folder is `$1/data`, if it runs, and removes `$1`. A number in
/// a lock file is only taken for that server if its command line names the folder.
const SCRIPT: &str = r#"
while read -r line; do :; done
round=0
while [ $round -lt 5 ] && [ -d "$1" ]; do
    pid=
    [ -r "$1/data/postmaster.pid" ] && read -r pid < "$1/data/postmaster.pid"
    case "$pid" in ''|*[!0-9]*) pid= ;; esac
    if [ -n "$pid" ]; then
        if [ -r "/proc/$pid/cmdline" ]; then
            line=$(tr '\0' ' ' < "/proc/$pid/cmdline")
        else
            line=$(ps -o args= -p "$pid" 2>/dev/null)
        fi
        case "$line" in *"$1"*) kill -s QUIT "$pid"; sleep 1 ;; esac
    fi
    rm -rf -- "$1"
    round=$((round + 1))
    # initdb or a server that was just starting may write once more.
    sleep 1
done
"#;

/// A server's folder and the watchdog over it. Dropping it removes the folder.
#[derive(Debug)]
pub(crate) struct Watchdog {
    folder: TempDir,
    process: Child,
}

impl Watchdog {
    pub(crate) fn start(folder: TempDir) -> Result<Watchdog, Error> {
        let process = Command::new("sh")
            .arg("-c")
            .arg(SCRIPT)
            .arg("throwaway-postgres-watchdog")
            .arg(folder.path())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal goes to the whole group: it must survive that.
            .process_group(0)
            .spawn()
            .map_err(Error::io("start the watchdog, sh"))?;
        Ok(Watchdog { folder, process })
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // What cannot be removed here the watchdog tries, after a pause; if the folder is gone
        // it ends at once.
        let _ = std::fs::remove_dir_all(self.folder.path());
        drop(self.process.stdin.take());
        // Nobody is left to tell.
        let _ = self.process.wait();
    }
}
