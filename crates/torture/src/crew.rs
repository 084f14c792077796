//! The worker processes: started, hit, started again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use clap::ValueEnum;
use rustix::process::{Pid, Signal, kill_process};

use crate::ledger::now;
use crate::node::Node;
use crate::options::Options;
use crate::worker::Manner;

/// A worker, whoever plays it at the moment.
#[derive(Debug)]
pub struct Member {
    /// Its number, from 1.
    pub number: i64,
    /// Its node.
    pub node: usize,
    /// How it uses the product.
    pub manner: Manner,
    /// The process.
    pub life: Mutex<Life>,
    /// Held by the fault that it is under.
    pub trouble: Mutex<()>,
}

/// The life of a worker.
#[derive(Debug, Default)]
pub struct Life {
    child: Option<Child>,
    incarnations: u32,
    since: u64,
    idle: bool,
    retired: bool,
    /// How often the process has ended without being asked to.
    pub deaths: Vec<String>,
    /// Its highest memory, in kilobytes.
    pub memory: u64,
}

/// Where workers are started.
#[derive(Debug)]
pub struct Yard {
    /// The folder of the run.
    pub folder: PathBuf,
    /// Of the run.
    pub seed: u64,
    /// Of the run.
    pub rate: u32,
    /// Whether root's right to write everywhere can be taken away from workers.
    pub humble: bool,
}

impl Yard {
    /// In that folder.
    pub fn new(options: &Options, folder: &Path) -> Yard {
        let tried = Command::new("setpriv").args(HUMBLE).arg("true").status();
        let humble = tried.is_ok_and(|status| status.success());
        let (seed, rate) = (options.seed, options.rate);
        Yard { folder: folder.to_path_buf(), seed, rate, humble }
    }
}

/// Takes away root's right to write what nobody may write.
const HUMBLE: [&str; 2] =
    ["--inh-caps=-dac_override,-dac_read_search", "--bounding-set=-dac_override,-dac_read_search"];

impl Member {
    /// One that does not run yet.
    pub fn new(number: i64, node: usize, manner: Manner) -> Member {
        Member { number, node, manner, life: Mutex::default(), trouble: Mutex::new(()) }
    }

    /// Starts it, unless it runs.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&self, yard: &Yard, nodes: &[Node]) -> io::Result<()> {
        let mut life = lock(&self.life);
        if life.child.is_some() || life.retired {
            return Ok(());
        }
        let node = &nodes[self.node];
        let name = format!("w{}.{}.log", self.number, life.incarnations);
        let log = File::create(yard.folder.join("logs").join(name))?;
        let program = std::env::current_exe()?;
        let mut command = match yard.humble {
            true => Command::new("setpriv"),
            false => Command::new(&program),
        };
        if yard.humble {
            command.args(HUMBLE).arg(&program);
        }
        let manner = self.manner.to_possible_value();
        command
            .arg("worker")
            .args(["--number", &self.number.to_string(), "--node", &self.node.to_string()])
            .args(["--incarnation", &life.incarnations.to_string()])
            .args(["--manner", manner.as_ref().map_or("library", |name| name.get_name())])
            .args(["--seed", &yard.seed.to_string(), "--rate", &yard.rate.to_string()])
            .arg("--url")
            .arg(node.url())
            .arg("--file")
            .arg(&node.file)
            .arg("--ledgers")
            .arg(yard.folder.join("ledgers"))
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log);
        if life.idle {
            command.arg("--idle");
        }
        life.since = now();
        life.child = Some(command.spawn()?);
        life.incarnations += 1;
        Ok(())
    }

    /// When it was started last.
    pub fn since(&self) -> u64 {
        lock(&self.life).since
    }

    /// Tells it something, if it runs.
    pub fn order(&self, words: &str) {
        let mut life = lock(&self.life);
        if words == "idle" {
            life.idle = true;
        }
        if let Some(stdin) = life.child.as_mut().and_then(|child| child.stdin.as_mut()) {
            // One that is dying hears nothing.
            let _ = writeln!(stdin, "{words}");
        }
    }

    /// Sends it a signal, if it runs.
    pub fn signal(&self, signal: Signal) {
        let life = lock(&self.life);
        if let Some(pid) = life.child.as_ref().and_then(|child| Pid::from_raw(child.id() as i32)) {
            // Not yet waited for: the number is still its own.
            let _ = kill_process(pid, signal);
        }
    }

    /// SIGKILL, and its end.
    pub fn kill(&self) {
        let mut life = lock(&self.life);
        if let Some(mut child) = life.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks it to end for good, and waits for it.
    pub fn end(&self) {
        self.order("end");
        let mut life = lock(&self.life);
        life.retired = true;
        if let Some(mut child) = life.child.take() {
            drop(child.stdin.take());
            let _ = crate::shell::wait(&mut child, std::time::Duration::from_secs(20));
        }
    }

    /// Notes how much memory it uses, and whether it has ended by itself.
    pub fn look(&self) {
        let mut life = lock(&self.life);
        let Some(child) = life.child.as_mut() else { return };
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let memory = status.unwrap_or_default().lines().find_map(|line| {
            line.strip_prefix("VmRSS:")?.trim().trim_end_matches(" kB").trim().parse().ok()
        });
        if let Ok(Some(status)) = child.try_wait() {
            life.child = None;
            let incarnation = life.incarnations - 1;
            life.deaths.push(format!("w{}.{incarnation}: {status}", self.number));
        }
        life.memory = life.memory.max(memory.unwrap_or(0));
    }
}

/// The lock, also after a panic of somebody who held it.
pub fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
