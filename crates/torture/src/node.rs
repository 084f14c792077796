//! A node: a folder on a small disk of its own, a file in it, and a way to each server.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use crate::proxy::{Mode, Proxy};

/// The size of a node's disk. What is salvaged lies beside the file.
const DISK: &str = "size=256m";

/// A node.
#[derive(Debug)]
pub struct Node {
    /// Which one.
    pub number: usize,
    /// The folder of the file.
    pub folder: PathBuf,
    /// The file.
    pub file: PathBuf,
    /// The ways to both servers.
    pub ways: [Proxy; 2],
    /// Whether the folder is a disk of its own, which can be filled.
    pub has_disk: bool,
    /// When a page of the file was destroyed last; 0 if none was.
    pub wrecked: AtomicU64,
    /// Held by the fault that the file is under.
    pub trouble: Mutex<()>,
    /// Held by who changes the file's table, or how it is written to.
    pub table: Mutex<()>,
    /// Held while short commands run.
    pub commands: Mutex<()>,
    /// Held by the fault that the network is under.
    pub network: Mutex<()>,
}

impl Node {
    /// A node in that folder.
    ///
    /// # Errors
    /// The folder cannot be made, or no port is free.
    pub async fn new(number: usize, run: &Path, ports: [u16; 2]) -> io::Result<Node> {
        let folder = run.join(format!("node{number}"));
        fs::create_dir_all(&folder)?;
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", DISK, "tmpfs"])
            .arg(&folder)
            .stderr(std::process::Stdio::null())
            .status();
        Ok(Node {
            number,
            file: folder.join("users.db"),
            folder,
            ways: [Proxy::start(ports[0]).await?, Proxy::start(ports[1]).await?],
            has_disk: mounted.is_ok_and(|status| status.success()),
            wrecked: AtomicU64::new(0),
            trouble: Mutex::new(()),
            table: Mutex::new(()),
            commands: Mutex::new(()),
            network: Mutex::new(()),
        })
    }

    /// For people.
    pub fn name(&self) -> String {
        format!("node {}", self.number)
    }

    /// PostgreSQL's URL by the node's own ways; every other node insists on TLS.
    pub fn url(&self) -> String {
        let [one, two] = [&self.ways[0], &self.ways[1]].map(Proxy::port);
        let tls = if self.number % 2 == 1 { "require" } else { "disable" };
        format!(
            "postgresql://postgres@127.0.0.1:{one},127.0.0.1:{two}/postgres\
             ?target_session_attrs=read-write&sslmode={tls}"
        )
    }

    /// Both ways are as they should be.
    pub fn connect(&self) {
        self.set(|mode| *mode = Mode { broken: mode.broken, ..Mode::default() });
    }

    /// Changes both ways.
    pub fn set(&self, change: impl Fn(&mut Mode)) {
        for way in &self.ways {
            way.set(&change);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.has_disk {
            // What is on it is kept beside the report.
            let kept = self.folder.with_extension("files");
            let _ = Command::new("cp").arg("-a").arg(&self.folder).arg(kept).status();
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        }
    }
}
