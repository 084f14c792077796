use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use throwaway_postgres::{Error, Server, StopMode};

fn one(server: &Server, sql: &str) -> String {
    server.execute("postgres", sql).unwrap()[0][0].clone().unwrap()
}

/// Waits until nothing holds the process id, or panics; the limit only bounds a failure.
fn wait_until_gone(pid: u32) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while running(pid) {
        assert!(Instant::now() < deadline, "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process that has ended but was not waited for by its parent does not run.
fn running(pid: u32) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", &pid.to_string()]).output().unwrap();
    let state = String::from_utf8(output.stdout).unwrap();
    !state.trim().is_empty() && !state.trim().starts_with('Z')
}

#[test]
fn starts_answers_and_leaves_nothing() {
    let server = Server::builder().start().unwrap();
    let (pid, folder) = (server.pid().unwrap(), server.data_dir().to_path_buf());
    assert_eq!(one(&server, "SELECT 6 * 7"), "42");
    assert_eq!(one(&server, "SHOW server_encoding"), "UTF8");
    assert!(server.url().starts_with("postgresql://postgres@127.0.0.1:"));
    drop(server);
    assert!(!running(pid));
    assert!(!folder.exists());
    assert!(!folder.parent().unwrap().exists());
}

#[test]
fn two_at_once_do_not_meet() {
    let (one_of, other) = (Server::builder().start().unwrap(), Server::builder().start().unwrap());
    assert_ne!(one_of.port(), other.port());
    one_of.execute("postgres", "CREATE TABLE only_here (id int)").unwrap();
    let error = other.execute("postgres", "SELECT * FROM only_here").unwrap_err();
    assert!(matches!(&error, Error::Refused { code, .. } if code == "42P01"), "{error}");
}

#[test]
fn data_survive_every_way_to_stop() {
    let server = Server::builder().start().unwrap();
    let (port, url) = (server.port(), server.url());
    server.execute("postgres", "CREATE TABLE t (id int)").unwrap();
    let ways: [&dyn Fn() -> Result<(), Error>; 4] = [
        &|| server.stop(StopMode::Smart),
        &|| server.stop(StopMode::Fast),
        &|| server.stop(StopMode::Immediate),
        &|| server.kill(),
    ];
    for (number, way) in ways.iter().enumerate() {
        server.execute("postgres", "INSERT INTO t VALUES (1)").unwrap();
        let pid = server.pid().unwrap();
        way().unwrap();
        assert!(!running(pid));
        assert_eq!(server.pid(), None);
        assert!(matches!(server.stop(StopMode::Fast), Err(Error::State("stopped"))));
        assert!(server.execute("postgres", "SELECT 1").is_err());
        server.start().unwrap();
        assert!(matches!(server.start(), Err(Error::State("running"))));
        assert_eq!(one(&server, "SELECT count(*) FROM t"), (number + 1).to_string());
    }
    assert_eq!((server.port(), server.url()), (port, url));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let error = Server::builder().port(port).start().unwrap_err();
    assert!(matches!(error, Error::PortInUse(named) if named == port), "{error}");
}

#[test]
fn a_bad_setting_shows_the_log() {
    let error = Server::builder().setting("no_such_setting", "1").start().unwrap_err();
    assert!(error.to_string().contains("no_such_setting"), "{error}");
}

#[test]
fn databases_are_separate_and_dropped() {
    let server = throwaway_postgres::shared().unwrap();
    let database = server.database("it's \"mine\"").unwrap();
    let other = server.database("it's \"mine\"").unwrap();
    assert_ne!(database.name(), other.name());
    database.execute("CREATE TABLE t (id int); INSERT INTO t VALUES (1)").unwrap();
    assert_eq!(database.execute("SELECT *, NULL FROM t").unwrap(), [[Some("1".into()), None]]);
    assert!(other.execute("SELECT * FROM t").is_err());
    let name = database.name().to_owned();
    drop(database);
    let left = server
        .execute("postgres", "SELECT datname FROM pg_database")
        .unwrap()
        .iter()
        .any(|row| row[0].as_deref() == Some(&name));
    assert!(!left);
}

#[test]
fn a_password_is_asked_for_and_percent_encoded() {
    let server = Server::builder().password("p@ss'w/rd%").start().unwrap();
    assert!(server.url().contains("postgres:p%40ss%27w%2Frd%25@127.0.0.1"), "{}", server.url());
    assert_eq!(
        one(&server, "SELECT substr(rolpassword, 1, 14) FROM pg_authid WHERE rolname='postgres'"),
        "SCRAM-SHA-256$"
    );
}

#[test]
fn a_frozen_server_can_be_dropped() {
    let server = Server::builder().start().unwrap();
    let pid = server.pid().unwrap();
    server.freeze().unwrap();
    server.thaw().unwrap();
    assert_eq!(one(&server, "SELECT 1"), "1");
    server.freeze().unwrap();
    drop(server);
    assert!(!running(pid));
}

/// Run by the tests below in a process of its own: starts a server, says where it is, waits.
#[test]
#[ignore = "a part of other tests, which run it in a process of its own"]
fn start_and_wait() {
    let Some(report) = std::env::var_os("THROWAWAY_REPORT") else { return };
    let server = throwaway_postgres::shared().unwrap();
    let answer = one(server, "SELECT current_user || current_setting('port')");
    let text = format!("{}\n{}\n{answer}", server.pid().unwrap(), server.data_dir().display());
    let draft = Path::new(&report).with_extension("draft");
    std::fs::write(&draft, text).unwrap();
    std::fs::rename(draft, &report).unwrap();
    if std::env::var_os("THROWAWAY_WAIT").is_some() {
        std::thread::sleep(Duration::from_secs(600));
    }
}

fn rerun(report: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "life::start_and_wait"])
        .env("THROWAWAY_REPORT", report)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn the_watchdog_ends_the_server_of_a_process_that_ends() {
    for killed in [true, false] {
        let room = tempfile::tempdir().unwrap();
        let report = room.path().join("report");
        let mut command = rerun(&report);
        if killed {
            command.env("THROWAWAY_WAIT", "1");
        }
        let mut child = command.spawn().unwrap();
        while !report.exists() {
            assert!(!killed || child.try_wait().unwrap().is_none(), "it ended early");
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = std::fs::read_to_string(&report).unwrap();
        let mut lines = text.lines();
        let pid: u32 = lines.next().unwrap().parse().unwrap();
        let data = Path::new(lines.next().unwrap()).to_path_buf();
        if killed {
            assert!(running(pid));
            child.kill().unwrap();
        }
        child.wait().unwrap();
        wait_until_gone(pid);
        let deadline = Instant::now() + Duration::from_secs(60);
        while data.parent().unwrap().exists() {
            assert!(Instant::now() < deadline, "{} is still there", data.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// As root this tests the unprivileged account too: the program itself runs as `nobody`.
#[test]
fn works_for_an_ordinary_user() {
    let room = tempfile::tempdir_in("/tmp").unwrap();
    let id = Command::new("id").arg("-u").output().unwrap();
    if String::from_utf8(id.stdout).unwrap().trim() != "0" {
        return; // All the other tests ran as an ordinary user.
    }
    // The test program may lie in a folder that only root can enter.
    let program = room.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let open = Command::new("chmod").args(["0777"]).arg(room.path()).status().unwrap();
    assert!(open.success());
    let report = room.path().join("report");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--ignored", "--exact", "life::start_and_wait"])
        .env("THROWAWAY_REPORT", &report)
        .current_dir("/")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(std::fs::read_to_string(report).unwrap().contains("throwaway_admin"));
}
