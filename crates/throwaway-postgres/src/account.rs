//! Whose processes the server's are: PostgreSQL refuses to run as root.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::Error;

/// The account that root lends to the server's processes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// The account to use, or `None` if this process is not root and needs no other.
    pub(crate) fn needed() -> Result<Option<Account>, Error> {
        // A file that we make belongs to our effective user: that needs no system call of
        // our own and no /proc.
        let probe = tempfile::tempfile().map_err(Error::io("make a temporary file"))?;
        let uid = probe.metadata().map_err(Error::io("look at a temporary file"))?.uid();
        if uid != 0 {
            return Ok(None);
        }
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        Ok(Some(unprivileged(&passwd)))
    }

    /// Gives a file or folder to the account; a symbolic link itself, not what it points to.
    pub(crate) fn own(self, path: &Path) -> io::Result<()> {
        lchown(path, Some(self.uid), Some(self.gid))
    }

    /// As [`Account::own`], for a path that is known to be a plain file or folder.
    pub(crate) fn own_plain(self, path: &Path) -> io::Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
    }
}

/// Makes the command run as the account; its other groups are dropped by the standard
/// library when root changes the user.
pub(crate) fn lend(command: &mut Command, account: Option<Account>) {
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
}

/// `postgres` if the machine has it, else `nobody`, else the number that `nobody` usually has.
fn unprivileged(passwd: &str) -> Account {
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| {
            passwd.lines().find_map(|line| {
                let mut fields = line.split(':');
                if fields.next() != Some(name) {
                    return None;
                }
                let uid = fields.nth(1)?.parse().ok()?;
                let gid = fields.next()?.parse().ok()?;
                (uid != 0).then_some(Account { uid, gid })
            })
        })
        .unwrap_or(Account { uid: 65534, gid: 65534 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_postgres_then_nobody_then_a_number() {
        let both = "root:x:0:0::/:/bin/sh\nnobody:x:99:98::/:/bin/false\npostgres:x:101:104:,,:/v:";
        let account = unprivileged(both);
        assert_eq!((account.uid, account.gid), (101, 104));
        let account = unprivileged("root:x:0:0::/:/bin/sh\nnobody:x:99:98::/:/bin/false\n");
        assert_eq!((account.uid, account.gid), (99, 98));
        let account = unprivileged("postgres:x:0:0::/:/bin/sh\nnobody:broken");
        assert_eq!((account.uid, account.gid), (65534, 65534));
    }
}
