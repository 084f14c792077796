//! A process that uses the product as a service does, and writes down what it was told.

mod bank;
mod command;
mod contended;
mod machine;
mod owner;
mod tables;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use clap::{Args, ValueEnum};
use dual_database::database::{Prefer, WriteMode, Written};
use dual_database::{DualDatabase, Error, Kind, Store};

use crate::ledger::{Entry, Intent, Ledger, Outcome, now};
use crate::options::TIMEOUT;
pub use command::answered;
use machine::Machine;
pub use owner::{REFUSED_AT, REFUSED_PHONE};

/// Keys of a worker begin here, times its number.
pub const SPACE: i64 = 1_000_000;
/// Rows that a worker alone writes.
pub const OWNED: i64 = 40;
/// Where the accounts of a worker's bank begin within its keys.
pub const BANK: i64 = 500_000;
/// Accounts of a bank.
pub const ACCOUNTS: i64 = 8;
/// What an account begins with.
pub const DEPOSIT: i64 = 1_000;
/// Rows that everybody writes: 1 to this.
pub const CONTENDED: i64 = 8;

/// How often everything is verified in the background.
const VERIFIED: Duration = Duration::from_secs(5);

/// How a worker uses the product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Manner {
    /// The library, PostgreSQL first.
    Library,
    /// The library, the file first.
    Local,
    /// The program `dual`, once for each call.
    Command,
}

/// The options of `torture worker`.
#[derive(Args, Clone, Debug)]
pub struct Options {
    #[arg(long)]
    pub(crate) number: i64,
    #[arg(long)]
    pub(crate) node: usize,
    #[arg(long)]
    pub(crate) incarnation: u32,
    #[arg(long)]
    pub(crate) manner: Manner,
    #[arg(long)]
    pub(crate) url: String,
    #[arg(long)]
    pub(crate) file: PathBuf,
    #[arg(long)]
    pub(crate) ledgers: PathBuf,
    #[arg(long)]
    pub(crate) seed: u64,
    #[arg(long)]
    pub(crate) rate: u32,
    /// Only keep both sides equal.
    #[arg(long)]
    pub(crate) idle: bool,
}

/// What the tasks of a worker share.
struct Shop {
    options: Options,
    ledger: Ledger,
    machine: Machine,
    idle: AtomicBool,
    /// Calls that have not been answered.
    calls: AtomicUsize,
}

impl Shop {
    /// The pause between two calls of a task.
    fn pause(&self) -> Duration {
        Duration::from_secs_f64(1.0 / f64::from(self.options.rate.max(1)))
    }

    /// Waits until no call is left, and says so by a file.
    fn rest(&self) {
        self.idle.store(true, Ordering::SeqCst);
        let mut quiet = 0;
        while quiet < 5 {
            std::thread::sleep(Duration::from_millis(100));
            quiet = if self.calls.load(Ordering::SeqCst) == 0 { quiet + 1 } else { 0 };
        }
        // Whoever waits for it waits in vain if it cannot be made.
        let _ = std::fs::write(at_rest(&self.options.ledgers, self.options.number), "");
    }

    fn works(&self) -> bool {
        !self.idle.load(Ordering::SeqCst)
    }

    /// A text that nobody else writes, with a number that grows: of two by one worker the later
    /// is the greater.
    fn unique(&self, count: u64) -> String {
        let number = u64::from(self.options.incarnation) * 10_000_000 + count;
        format!("w{}:{number}", self.options.number)
    }
}

/// The file that says that the worker of that number has no call under way, and makes none.
pub fn at_rest(ledgers: &Path, number: i64) -> PathBuf {
    ledgers.with_file_name("logs").join(format!("w{number}.rests"))
}

/// Runs until its standard input ends or says so.
///
/// # Errors
/// The ledger cannot be made.
pub fn run(options: Options) -> io::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter("dual_database=debug")
        .with_ansi(false)
        .with_writer(io::stderr)
        .init();
    let who = format!("w{}", options.number);
    let ledger = Ledger::create(&options.ledgers, &who, Some(options.node), options.incarnation)?;
    let idle = AtomicBool::new(options.idle);
    let calls = AtomicUsize::new(0);
    let shop = Arc::new(Shop { options, ledger, machine: Machine::watch(), idle, calls });
    let orders = Arc::clone(&shop);
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        if !orders.works() {
            orders.rest();
        }
        for order in io::stdin().lines().map_while(Result::ok) {
            match order.split_once(' ').unwrap_or((&order, "")) {
                ("idle", _) => orders.rest(),
                ("clock", by) => dual_database::clock::shift(by.parse().unwrap_or(0)),
                _ => break,
            }
        }
        let _ = ended.send(());
    });
    if shop.options.manner == Manner::Command {
        return command::work(&shop, end);
    }
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            () = work(&shop) => {}
            _ = end => {}
        }
    });
    Ok(())
}

async fn work(shop: &Arc<Shop>) {
    let options = &shop.options;
    let builder = DualDatabase::builder()
        .postgres_url(&options.url)
        .sqlite_path(&options.file)
        .timeout(TIMEOUT)
        .busy_timeout(TIMEOUT)
        .poll_interval(Duration::from_millis(200))
        .verify_interval(Some(VERIFIED));
    let builder = match options.manner {
        Manner::Local => builder.write_mode(WriteMode::LocalFirst).prefer(Prefer::Local),
        Manner::Library | Manner::Command => builder,
    };
    let db = loop {
        match builder.clone().open().await {
            Ok(db) => break db,
            // Both stores may be away at that moment.
            Err(error) => {
                log(&format!("open: {}", error.chain()));
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }
    };
    shop.ledger.write(&Entry::Ready { t: now() });
    tokio::join!(
        owner::work(shop, &db),
        contended::work(shop, &db),
        bank::work(shop, &db),
        tables::work(shop, &db),
        tell(shop, &db)
    );
}

/// Writes down now and then what the product says about itself.
async fn tell(shop: &Shop, db: &DualDatabase) {
    loop {
        let t0 = now();
        if let Ok(status) = db.status().await {
            shop.ledger.write(&Entry::Status {
                t0,
                t1: now(),
                to_postgres: status.pending_to_postgres,
                to_sqlite: status.pending_to_sqlite,
                sync: status.sync.into(),
                up: status.postgres.state == dual_database::health::StoreState::Up,
                wal: status.wal_bytes,
            });
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// For the worker's own log.
#[allow(clippy::print_stderr, reason = "the log of this process is its standard error")]
fn log(text: &str) {
    eprintln!("{} {text}", now());
}

/// Calls, and writes down what is attempted and answered.
async fn call<T>(
    shop: &Shop,
    key: i64,
    intent: Intent,
    call: impl Future<Output = dual_database::Result<Written<T>>>,
) -> Outcome {
    call_all(shop, &[(key, intent)], |_| true, call).await
}

/// The same for a call that writes several rows; those that it has left as they were, by `written`, count
/// as not found.
async fn call_all<T>(
    shop: &Shop,
    rows: &[(i64, Intent)],
    written: impl Fn(i64) -> bool,
    call: impl Future<Output = dual_database::Result<Written<T>>>,
) -> Outcome {
    shop.calls.fetch_add(1, Ordering::SeqCst);
    let started: Vec<(u64, i64)> =
        rows.iter().map(|(key, intent)| (shop.ledger.start(*key, intent.clone()), *key)).collect();
    let before = shop.machine.late();
    let outcome = match call.await {
        Ok(Written::InBoth(_)) => Outcome::Both,
        Ok(Written::InOne { stored_in: Store::Postgres, .. }) => Outcome::Postgres,
        Ok(Written::InOne { stored_in: Store::Sqlite, .. }) => Outcome::Sqlite,
        Err(error) => told(&error),
    };
    let late = shop.machine.late().saturating_sub(before);
    for (n, key) in started {
        let left = matches!(outcome, Outcome::Both | Outcome::Postgres | Outcome::Sqlite);
        let left = left && !written(key);
        shop.ledger.end(n, if left { Outcome::NotFound } else { outcome.clone() }, late);
    }
    shop.calls.fetch_sub(1, Ordering::SeqCst);
    outcome
}

fn told(error: &Error) -> Outcome {
    match error.kind() {
        Kind::AlreadyExists => Outcome::AlreadyExists,
        Kind::NotFound => Outcome::NotFound,
        Kind::InvalidData => Outcome::Invalid,
        _ => Outcome::Unknown { why: error.chain() },
    }
}
