//! PostgreSQL: a primary and the replica that follows it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use throwaway_postgres::{Error, Server, StopMode};

use crate::ledger::now;

/// The primary and, unless it is being made, its replica.
#[derive(Debug)]
pub struct Servers {
    primary: Server,
    standby: Option<Server>,
}

impl Servers {
    /// Starts both, with TLS that no client has to use.
    ///
    /// # Errors
    /// What [`throwaway_postgres::Builder::start`] says.
    pub fn start(certificate: &Path, key: &Path) -> Result<Servers, Error> {
        let primary = Server::builder()
            .tls(certificate, key)
            .setting("wal_keep_size", "512MB")
            .setting("max_connections", "200")
            .setting("max_wal_senders", "5")
            .start()?;
        let standby = Some(primary.standby()?);
        Ok(Servers { primary, standby })
    }

    /// The one that takes writes.
    pub fn primary(&self) -> &Server {
        &self.primary
    }

    /// The ports of the primary and of the replica.
    pub fn ports(&self) -> [u16; 2] {
        [self.primary.port(), self.standby.as_ref().map_or(1, Server::port)]
    }

    /// Makes a replica, if there is none.
    ///
    /// # Errors
    /// What [`Server::standby`] says.
    pub fn ensure_standby(&mut self) -> Result<(), Error> {
        if self.standby.is_none() {
            self.standby = Some(self.primary.standby()?);
        }
        Ok(())
    }

    /// The replica hears nothing more; after that time the primary dies and the replica takes
    /// over what it has. Gives when the primary was dead.
    ///
    /// # Errors
    /// There is no replica, or it does not take over.
    pub fn fail_over(&mut self, after: Duration) -> Result<u64, Error> {
        self.ensure_standby()?;
        let Some(standby) = self.standby.take() else { return Err(Error::State("stopped")) };
        standby.stop(StopMode::Fast)?;
        std::thread::sleep(after);
        self.primary.kill()?;
        let died = now();
        standby.start()?;
        standby.execute("postgres", "SELECT pg_promote(true, 60)")?;
        // Drops the server that was killed.
        self.primary = standby;
        Ok(died)
    }

    /// The primary's data as they are now come back after that time. Gives when the later ones
    /// were gone.
    ///
    /// # Errors
    /// The server does not stop or start, or its data cannot be copied.
    pub fn restore(&mut self, after: Duration) -> io::Result<u64> {
        let other = |error: Error| io::Error::other(error.to_string());
        let data = self.primary.data_dir().to_path_buf();
        let backup = data.with_extension("backup");
        self.primary.stop(StopMode::Fast).map_err(other)?;
        let copied = copy(&data, &backup);
        self.primary.start().map_err(other)?;
        copied?;
        std::thread::sleep(after);
        self.standby = None;
        self.primary.stop(StopMode::Immediate).map_err(other)?;
        let died = now();
        fs::remove_dir_all(&data)?;
        fs::rename(&backup, &data)?;
        self.primary.start().map_err(other)?;
        Ok(died)
    }

    /// Every process of the primary.
    pub fn processes(&self) -> Vec<u32> {
        let Some(main) = self.primary.pid() else { return Vec::new() };
        let children = fs::read_to_string(format!("/proc/{main}/task/{main}/children"));
        let children = children.unwrap_or_default();
        let ids = children.split_whitespace().filter_map(|word| word.parse().ok());
        std::iter::once(main).chain(ids).collect()
    }

    /// Whatever was done to the primary: it runs again.
    ///
    /// # Errors
    /// It does not start.
    pub fn ensure_primary(&self) -> Result<(), Error> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let lives = self.primary.execute("postgres", "SELECT 1").is_ok();
            match lives {
                true => return Ok(()),
                false if self.primary.pid().is_none() => self.primary.start()?,
                false if Instant::now() < end => std::thread::sleep(Duration::from_millis(200)),
                false => return Err(Error::State("silent")),
            }
        }
    }
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("the data cannot be copied")) }
}
