//! Whatever the umask is, what the programs make is its owner's alone; a file that others can read is
//! told of, once.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use crate::core_scene::{Pair, dual, without_libpq};
use crate::scene::Ran;

/// The program with a umask that takes nothing away.
fn openly(pair: &Pair<'_>, words: &[&str]) -> Ran {
    let program = env!("CARGO_BIN_EXE_dual");
    let mut command = Command::new("sh");
    command.args(["-c", "umask 000; exec \"$@\"", "sh", program]).args(words);
    command.env("DATABASE_URL", pair.database.url()).env("DATABASE_PATH", pair.path());
    command.env_remove("DUAL_LOG").env_remove("RUST_LOG").current_dir(pair.folder.path());
    without_libpq(&mut command);
    Ran::of(command.output().unwrap())
}

#[track_caller]
fn all_are_private(folder: &Path, names: &[&str]) {
    let mut found: Vec<(String, u32)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            (entry.file_name().into_string().unwrap(), mode)
        })
        .filter(|(name, _)| !name.ends_with(".in"))
        .collect();
    found.sort();
    assert!(found.iter().all(|(_, mode)| *mode == 0o600), "{found:?}");
    for name in names {
        assert!(found.iter().any(|(found, _)| found == name), "{name}: {found:?}");
    }
}

#[test]
fn what_the_programs_make_is_its_owners() {
    let pair = Pair::new();
    openly(&pair, &["init", "--apply"]).ended(0);
    openly(&pair, &["user", "add", r#"{"user_id": 1}"#]).ended(0);
    all_are_private(pair.folder.path(), &["users.db", "users.db.dual-lock"]);

    let pair = Pair::new();
    std::fs::write(pair.folder.path().join("users.in"), "user_id,status\n1,registered\n2,wrong\n")
        .unwrap();
    let words =
        ["migrate", "--csv", "users.in", "--rejects", "rejects.csv", "--max-rejects", "9", "--yes"];
    openly(&pair, &words).ended(1);
    all_are_private(pair.folder.path(), &["users.db", "rejects.csv"]);
}

/// What every user of the machine sees of a process.
#[cfg(target_os = "linux")]
fn listed(process: u32) -> String {
    let line = std::fs::read(format!("/proc/{process}/cmdline")).unwrap();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

#[test]
#[cfg(target_os = "linux")]
fn a_password_among_the_arguments_is_taken_out_of_the_list_of_processes() {
    use std::io::{BufRead as _, BufReader, Read as _};
    let pair = Pair::new();
    let url = pair.database.url_as("postgres", Some("hunter2"));
    pair.json(0, &["init", "--apply"]);
    let mut child = pair
        .command_to(&url, &["sync", "--watch", "--json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    while !text.contains("PostgreSQL up") {
        assert_ne!(told.read_line(&mut text).unwrap(), 0, "{text}");
    }
    // The same process, and it does what it was told to.
    let line = listed(child.id());
    crate::core_scene::signal(&child, "TERM");
    assert!(child.wait().unwrap().success());
    told.read_to_string(&mut text).unwrap();
    assert!(line.contains("sync --watch --json --sqlite-db-path"), "{line}");
    assert!(!line.contains("hunter2") && !line.contains("pg-db-url"), "{line}");
    assert_eq!(text.matches("in the list of processes").count(), 1, "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    let ran = pair.run_to(&pair.database.url(), &["status"]).ended(0);
    assert!(!ran.stderr.contains("list of processes"), "{}", ran.stderr);
    let mut command = pair.command_to(&url, &["user", "list"]);
    let ran =
        Ran::of(command.env("DATABASE_URL", "postgresql://nowhere.invalid/x").output().unwrap());
    ran.ended(0);
}

#[test]
fn a_file_that_others_can_read_is_told_of_once() {
    let pair = Pair::new();
    let told = |words: &[&str]| {
        let mut command = dual();
        command.env("DATABASE_URL", pair.database.url()).env("DATABASE_PATH", pair.path());
        let ran = Ran::of(command.args(words).output().unwrap()).ended(0);
        (ran.stderr.matches("others than its owner can read").count(), ran.stdout)
    };
    let allow = |mode| {
        std::fs::set_permissions(pair.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    rusqlite::Connection::open(pair.path()).unwrap().execute_batch("CREATE TABLE x (a)").unwrap();
    allow(0o644);
    let (_, plan) = told(&["init"]);
    assert!(plan.contains("the file has the permissions 0644; `chmod 600`"), "{plan}");
    assert_eq!(told(&["init", "--apply"]).0, 1);
    // What asks is told every time, what works is not.
    assert_eq!(told(&["user", "list"]).0, 0);
    let (times, status) = told(&["status"]);
    assert!(times == 0 && status.contains("the file has the permissions 0644"), "{status}");
    let document = pair.json(0, &["status"]);
    assert_eq!(document["exposed"], "0644");
    // Mended, and lax again: that is told again.
    allow(0o600);
    assert_eq!(told(&["user", "list"]).0, 0);
    assert_eq!(pair.json(0, &["status"])["exposed"], serde_json::Value::Null);
    allow(0o664);
    assert_eq!(told(&["user", "list"]).0, 1);
    assert_eq!(told(&["user", "list"]).0, 0);
}
