//! A server and its life.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::account::{Account, lend};
use crate::binaries::Binaries;
use crate::builder::Builder;
use crate::command::{run_program, tail};
use crate::database::{Database, literal};
use crate::error::Error;
use crate::fetch::Version;
use crate::folder;
use crate::process::{self, Layout, StartFailure};
use crate::watchdog::Watchdog;
use crate::wire;

/// The account of [`Server::execute`]; the server trusts it on the loopback address.
pub(crate) const ADMINISTRATOR: &str = "throwaway_admin";
/// The superuser whom [`Server::url`] names.
const USER: &str = "postgres";
const INITDB_LIMIT: Duration = Duration::from_secs(120);
const PORT_ATTEMPTS: usize = 20;
/// How long a restart waits for its port and for the processes of a killed server.
const RESTART_LIMIT: Duration = Duration::from_secs(30);

/// How a server stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Waits until the clients have gone.
    Smart,
    /// Ends the clients' sessions, writes everything out.
    Fast,
    /// Ends at once; the next start recovers as after a crash.
    Immediate,
}

impl Builder {
    /// Makes the data folder and starts the server; returns when it accepts connections.
    ///
    /// # Errors
    /// No binaries, `initdb` or `postgres` fails (with the end of the log), the given port is
    /// in use.
    pub fn start(self) -> Result<Server, Error> {
        let account = Account::needed()?;
        let binaries = match (&self.binaries, &self.version) {
            (Some(binaries), _) => binaries.clone(),
            (None, Some(version)) => Binaries::fetch(version)?,
            (None, None) => Binaries::find()?,
        };
        let watchdog = Watchdog::start(folder::for_server(account)?)?;
        let folder = watchdog.folder();
        let layout = Layout { data: folder.join("data"), log: folder.join("log") };
        // From here on, dropping the server cleans up.
        let server = Server {
            binaries: binaries.reachable(account, folder)?,
            layout,
            account,
            password: self.password.clone(),
            life: Mutex::new(Life { process: None, port: self.port.unwrap_or(0) }),
            databases: AtomicU64::new(0),
            _watchdog: watchdog,
        };
        server.initialise(&self)?;
        server.first_start(self.port)?;
        let password = self
            .password
            .as_deref()
            .map(|password| format!(" PASSWORD {}", literal(password)))
            .unwrap_or_default();
        server.execute("postgres", &format!("CREATE ROLE {USER} SUPERUSER LOGIN{password}"))?;
        Ok(server)
    }
}

/// A running (or stopped) server. Dropping it stops it and removes its data.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    layout: Layout,
    account: Option<Account>,
    password: Option<String>,
    life: Mutex<Life>,
    databases: AtomicU64,
    _watchdog: Watchdog,
}

#[derive(Debug)]
struct Life {
    process: Option<Child>,
    port: u16,
}

impl Server {
    /// What the server is to be like; [`Builder::start`] starts it.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The port on 127.0.0.1, the same after a stop and a start.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.life().port
    }

    /// The process id of the postmaster, unless it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.life().process.as_ref().map(Child::id)
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.layout.data
    }

    /// The binaries that run.
    #[must_use]
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Everything that the server has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.layout.log_text()
    }

    /// The URL of the database `postgres` for the superuser `postgres`, with the password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_for("postgres")
    }

    /// The URL of a database for the superuser `postgres`.
    #[must_use]
    pub fn url_for(&self, database: &str) -> String {
        self.url_as(USER, self.password.as_deref(), database)
    }

    /// The URL of a database for another role.
    #[must_use]
    pub fn url_as(&self, user: &str, password: Option<&str>, database: &str) -> String {
        let password =
            password.map(|password| format!(":{}", percent_encoded(password))).unwrap_or_default();
        format!(
            "postgresql://{}{password}@127.0.0.1:{}/{}",
            percent_encoded(user),
            self.port(),
            percent_encoded(database),
        )
    }

    /// Runs SQL in a database as a superuser; rows come as text, `None` for NULL. Several
    /// statements separated by `;` are one transaction.
    ///
    /// # Errors
    /// The server refuses ([`Error::Refused`]) or does not answer.
    pub fn execute(&self, database: &str, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        wire::run(self.port(), ADMINISTRATOR, database, sql)
    }

    /// A streaming replica of this running server, made by `pg_basebackup`, on a port of its own.
    /// It follows asynchronously; `SELECT pg_promote()` makes it a primary.
    ///
    /// # Errors
    /// The binaries have no `pg_basebackup` (fetched ones do not), the server has a password,
    /// or the replica does not start.
    pub fn standby(&self) -> Result<Server, Error> {
        let watchdog = Watchdog::start(folder::for_server(self.account)?)?;
        let folder = watchdog.folder();
        let layout = Layout { data: folder.join("data"), log: folder.join("log") };
        let standby = Server {
            binaries: self.binaries.clone().reachable(self.account, folder)?,
            layout,
            account: self.account,
            password: self.password.clone(),
            life: Mutex::new(Life { process: None, port: 0 }),
            databases: AtomicU64::new(0),
            _watchdog: watchdog,
        };
        let mut command = Command::new(standby.binaries.program("pg_basebackup"));
        command
            .args([
                "--checkpoint=fast",
                "--wal-method=stream",
                "--write-recovery-conf",
                "--no-sync",
            ])
            .args(["--no-password", "--host=127.0.0.1", "--username", ADMINISTRATOR])
            .arg(format!("--port={}", self.port()))
            .arg("--pgdata")
            .arg(&standby.layout.data)
            .current_dir("/");
        lend(&mut command, self.account);
        let outcome = run_program("pg_basebackup", &mut command, INITDB_LIMIT)?;
        if !outcome.succeeded() {
            let log = tail(&outcome.output, 10);
            let reason = "it could not copy the data".into();
            return Err(Error::Server { program: "pg_basebackup", reason, log });
        }
        standby.first_start(None)?;
        Ok(standby)
    }

    /// Makes a database of that name and returns its URL.
    ///
    /// # Errors
    /// It exists, or the server does not answer.
    pub fn create_database(&self, name: &str) -> Result<String, Error> {
        let quoted = name.replace('"', "\"\"");
        self.execute("postgres", &format!("CREATE DATABASE \"{quoted}\" TEMPLATE template0"))?;
        Ok(self.url_for(name))
    }

    /// Makes a database whose name starts with `prefix` and which is dropped with the guard.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn database(&self, prefix: &str) -> Result<Database<'_>, Error> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let prefix: String = prefix.chars().filter(char::is_ascii).take(40).collect();
        Database::create(self, format!("{prefix}_{number}"))
    }

    /// Stops the server; the data stay.
    ///
    /// # Errors
    /// It is not running, or does not end within a minute (a client that stays, in
    /// [`StopMode::Smart`]); then it goes on as it was.
    pub fn stop(&self, mode: StopMode) -> Result<(), Error> {
        let mut life = self.life();
        let child = life.process.as_mut().ok_or(Error::State("stopped"))?;
        let signal = match mode {
            StopMode::Smart => "TERM",
            StopMode::Fast => "INT",
            StopMode::Immediate => "QUIT",
        };
        process::stop(child, signal, &self.layout)?;
        life.process = None;
        Ok(())
    }

    /// SIGKILL for the postmaster. Its other processes notice and end by themselves;
    /// [`Server::start`] waits for them.
    ///
    /// # Errors
    /// It is not running.
    pub fn kill(&self) -> Result<(), Error> {
        let mut child = self.life().process.take().ok_or(Error::State("stopped"))?;
        process::end(&mut child);
        Ok(())
    }

    /// Halts the postmaster as it is: new connections are accepted by the system and never
    /// answered; sessions go on. [`Server::thaw`] ends it.
    ///
    /// # Errors
    /// It is not running.
    pub fn freeze(&self) -> Result<(), Error> {
        process::signal(self.life().process.as_ref().ok_or(Error::State("stopped"))?, "STOP")
    }

    /// Lets a halted postmaster go on.
    ///
    /// # Errors
    /// It is not running.
    pub fn thaw(&self) -> Result<(), Error> {
        process::signal(self.life().process.as_ref().ok_or(Error::State("stopped"))?, "CONT")
    }

    /// Starts a stopped or killed server on its data and its port again.
    ///
    /// # Errors
    /// It is running; it does not start (with the end of the log); somebody else has taken
    /// its port.
    pub fn start(&self) -> Result<(), Error> {
        let mut life = self.life();
        if let Some(child) = &mut life.process {
            if child.try_wait().map_err(Error::io("look at the server"))?.is_none() {
                return Err(Error::State("running"));
            }
            life.process = None;
        }
        let deadline = Instant::now() + RESTART_LIMIT;
        loop {
            match process::start(&self.binaries, &self.layout, life.port, self.account) {
                Ok(child) => {
                    life.process = Some(child);
                    return Ok(());
                }
                Err(StartFailure::Fatal(error)) => return Err(error),
                Err(_) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(StartFailure::PortInUse) => return Err(Error::PortInUse(life.port)),
                Err(StartFailure::PreviousStillEnding) => {
                    return Err(Error::Server {
                        program: "postgres",
                        reason: "processes of the killed server do not end".into(),
                        log: self.layout.log_tail(),
                    });
                }
            }
        }
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn initialise(&self, builder: &Builder) -> Result<(), Error> {
        // With C.UTF-8 lower() knows all alphabets, as on real servers; not every system has it.
        let mut failure = String::new();
        for locale in ["--locale=C.UTF-8", "--no-locale"] {
            let mut command = Command::new(self.binaries.program("initdb"));
            command
                .args(["--encoding=UTF8", "--auth=trust", "--no-sync", locale])
                .args(["--username", ADMINISTRATOR, "--pgdata"])
                .arg(&self.layout.data)
                .current_dir("/");
            lend(&mut command, self.account);
            let outcome = run_program("initdb", &mut command, INITDB_LIMIT)?;
            if outcome.succeeded() {
                return self.configure(builder);
            }
            failure = outcome.output;
            if !failure.contains("locale") {
                break;
            }
        }
        let log = tail(&failure, 10);
        Err(Error::Server { program: "initdb", reason: "it could not make the data".into(), log })
    }

    fn configure(&self, builder: &Builder) -> Result<(), Error> {
        let data = &self.layout.data;
        let write = |name: &str, text: &[u8], mode| {
            let path = data.join(name);
            fs::write(&path, text)
                .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
                .and_then(|()| self.account.map_or(Ok(()), |account| account.own(&path)))
                .map_err(Error::io(format!("write the server's {name}")))
        };
        let path = data.join("postgresql.conf");
        let mut text =
            fs::read_to_string(path).map_err(Error::io("read the server's configuration"))?;
        text.push_str(&builder.configuration());
        write("postgresql.conf", text.as_bytes(), 0o600)?;
        write("pg_hba.conf", builder.host_based_access().as_bytes(), 0o600)?;
        if let Some((certificate, key)) = &builder.tls {
            for (from, to) in [(certificate, "server.crt"), (key, "server.key")] {
                let bytes =
                    fs::read(from).map_err(Error::io(format!("read {}", from.display())))?;
                write(to, &bytes, 0o600)?;
            }
        }
        Ok(())
    }

    /// A port is free only until somebody else takes it: try, and try another.
    fn first_start(&self, asked: Option<u16>) -> Result<(), Error> {
        let mut life = self.life();
        for _ in 0..PORT_ATTEMPTS {
            if asked.is_none() {
                life.port = free_port()?;
            }
            match process::start(&self.binaries, &self.layout, life.port, self.account) {
                Ok(child) => {
                    life.process = Some(child);
                    return Ok(());
                }
                Err(StartFailure::PortInUse) if asked.is_none() => {}
                Err(StartFailure::PortInUse) => return Err(Error::PortInUse(life.port)),
                Err(StartFailure::Fatal(error)) => return Err(error),
                Err(StartFailure::PreviousStillEnding) => {
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
        Err(Error::PortInUse(life.port))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.life().process.take() {
            // An immediate stop frees the shared memory, which SIGKILL leaves behind. A frozen
            // one must go on to hear of it.
            let _ = process::signal(&child, "CONT");
            if process::stop(&mut child, "QUIT", &self.layout).is_err() {
                process::end(&mut child);
            }
        }
    }
}

/// A port below those that systems hand out for outgoing connections, so that none of these
/// takes it while the server is stopped.
fn free_port() -> Result<u16, Error> {
    let mut last = None;
    for _ in 0..100 {
        let random = RandomState::new().build_hasher().finish() % 17_000;
        let port = 15_000 + u16::try_from(random).unwrap_or(0);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    Err(Error::io("find a free port")(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into())))
}

fn percent_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// A server for all tests of this process, started at the first call.
///
/// # Errors
/// It did not start; every later call says so again.
pub fn shared() -> Result<&'static Server, Error> {
    static SHARED: OnceLock<Result<Server, String>> = OnceLock::new();
    SHARED
        .get_or_init(|| Server::builder().start().map_err(|error| error.to_string()))
        .as_ref()
        .map_err(|error| Error::Shared(error.clone()))
}

/// As [`shared`], of a version that is fetched: one server per version and process.
///
/// # Errors
/// It could not be fetched or did not start.
pub fn shared_with(version: &Version) -> Result<&'static Server, Error> {
    static SHARED: Mutex<BTreeMap<String, &'static Server>> = Mutex::new(BTreeMap::new());
    let mut servers = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    let name = format!("{version:?}");
    if let Some(server) = servers.get(&name) {
        return Ok(server);
    }
    // Never dropped, as a static is not; the watchdog ends it with the process.
    let server: &'static Server =
        Box::leak(Box::new(Server::builder().version(version.clone()).start()?));
    servers.insert(name, server);
    Ok(server)
}
