//! Users of the operating system: ours, and whose server it is that listens on a socket.

use tokio::net::UnixStream;

use super::url::refused;
use crate::{Error, Kind, Result};

const OPERATION: &str = "connect to PostgreSQL";

/// Checks `requirepeer`.
///
/// # Errors
/// Configuration if the process at the other end belongs to another user, or if nobody is known by
/// that name.
pub(super) fn check(stream: &UnixStream, wanted: &str) -> Result<()> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let Some(number) = number_of(&users, wanted) else {
        return Err(refused(format!("requirepeer: nobody is called {wanted} in /etc/passwd")));
    };
    let peer = stream.peer_cred().map_err(|cause| {
        Error::new(Kind::Configuration, OPERATION, "the peer's user cannot be asked for")
            .with_source(cause)
    })?;
    if peer.uid() == number {
        return Ok(());
    }
    let found = name_of(&users, peer.uid()).unwrap_or("somebody without a name");
    let message = format!("requirepeer demands a server of {wanted}, and this one is {found}'s");
    Err(Error::new(Kind::Configuration, OPERATION, message)
        .with_hint("find out whose it is before anything is sent to it"))
}

/// What the operating system calls the user of this process, as whom one connects unless told.
pub(super) fn own_name() -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let own = rustix::process::geteuid().as_raw();
    name_of(&users, own).map(str::to_owned).or_else(|| std::env::var("USER").ok())
}

fn fields(line: &str) -> Option<(&str, u32)> {
    let mut fields = line.split(':');
    Some((fields.next()?, fields.nth(1)?.parse().ok()?))
}

fn number_of(users: &str, name: &str) -> Option<u32> {
    users.lines().filter_map(fields).find(|(known, _)| *known == name).map(|(_, number)| number)
}

fn name_of(users: &str, number: u32) -> Option<&str> {
    users.lines().filter_map(fields).find(|(_, known)| *known == number).map(|(name, _)| name)
}
