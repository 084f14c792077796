//! Stores that cannot be used: one clear sentence with a hint, nothing changed.

use std::path::Path;

use serde_json::{Value, json};

use crate::core_scene::{Pair, dual};
use crate::scene::Ran;

/// Runs a write and a look with these connection words; both fail alike with that code, say
/// every word in the sentence or its hint, and tell no password.
#[track_caller]
fn refused(url: &str, path: &Path, code: i32, says: &[&str]) -> Value {
    let mut last = Value::Null;
    for words in [&["init", "--apply"][..], &["user", "add", r#"{"user_id": 1}"#]] {
        let mut command = dual();
        command.args(["--json", "--pg-db-url", url, "--sqlite-db-path"]).arg(path).args(words);
        let ran = Ran::of(command.output().unwrap()).ended(code);
        let error = ran.json()["error"].clone();
        for word in says {
            assert!(error.to_string().contains(word), "{words:?}: `{word}` is missing: {error}");
        }
        assert!(!(ran.stdout + &ran.stderr).contains("hunter2"), "{error}");
        last = error;
    }
    assert!(last["hint"].is_string(), "no hint: {last}");
    last
}

#[test]
fn urls_that_name_no_postgresql() {
    let pair = Pair::new();
    let cases: &[(&str, &[&str])] = &[
        ("mysql://root:hunter2@host/db", &["mysql"]),
        ("postgresql://u:hunter2@host:99999/db", &["port"]),
        ("postgresql://u:hunter2@host/db?sslmod=require", &["sslmode"]),
        ("postgresql://u:hunter2%zz@host/db", &["%"]),
        ("", &["--pg-db-url"]),
    ];
    for (url, says) in cases {
        refused(url, &pair.path(), 2, says);
    }
    assert!(pair.untouched());
}

#[test]
fn a_password_with_special_characters_signs_in() {
    let server = throwaway_postgres::Server::builder().password("p@ss%w/:rd#").start().unwrap();
    let pair = Pair::on(&server);
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    let wrong = pair.database.url_as("postgres", Some("hunter2"));
    let ran = pair.run_to(&wrong, &["init", "--apply", "--json"]).ended(4);
    assert_eq!(ran.json()["error"]["kind"], "access_denied");
    assert!(!ran.stdout.contains("hunter2"));
    let added = pair.run_to(&wrong, &["user", "add", r#"{"user_id": 2}"#, "--json"]).ended(3);
    assert_eq!(added.json()["away"]["kind"], "access_denied");
    assert!(!added.stdout.contains("hunter2"));
}

#[test]
fn sqlite_paths_that_cannot_be_one_of_ours() {
    let pair = Pair::new();
    let folder = pair.folder.path();
    let url = pair.database.url();
    refused(&url, folder, 2, &["is a folder"]);
    refused(&url, &folder.join("none").join("users.db"), 2, &["does not exist"]);
    for (name, content) in [
        ("note.txt", b"not a database, but long enough to look like something".to_vec()),
        // As SQLCipher leaves it: noise from the first byte.
        (
            "encrypted.db",
            (0..8192_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect(),
        ),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, &content).unwrap();
        let ran = {
            let mut command = dual();
            command.args(["status", "--json", "--pg-db-url", &url, "--sqlite-db-path"]).arg(&path);
            Ran::of(command.output().unwrap())
        };
        assert!(matches!(ran.code, Some(2 | 5)), "{:?} {} {}", ran.code, ran.stdout, ran.stderr);
        let error = ran.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains("not a database"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), content, "{name} was changed");
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 2, "something was left behind");
    assert!(pair.untouched());
}

#[test]
fn a_role_without_rights_is_told_the_grant() {
    let pair = Pair::new();
    let role = format!("poor_{}", pair.database.name());
    pair.postgres(&format!(
        "CREATE ROLE \"{role}\" LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    ));
    let url = pair.database.url_as(&role, None);
    let ran = pair.run_to(&url, &["init", "--apply", "--json"]).ended(4);
    let error = ran.json()["error"].clone();
    assert!(error.to_string().contains("GRANT"), "{error}");
    assert_eq!(
        pair.postgres("SELECT count(*) FROM pg_namespace WHERE nspname = 'dual'")[0][0].as_deref(),
        Some("0")
    );
    // The file has it meanwhile, and the answer says what is missing.
    let add = ["user", "add", r#"{"user_id": 1}"#];
    let added = pair.run_to(&url, &[&add[..], &["--json"]].concat()).ended(3).json();
    assert_eq!(
        (&added["away"]["store"], &added["away"]["kind"]),
        (&json!("postgres"), &json!("access_denied"))
    );
    assert!(added["away"]["hint"].as_str().unwrap().contains("GRANT"), "{added}");
    let ran = pair.run_to(&url, &["user", "delete", "1"]).ended(3);
    assert!(ran.stderr.contains("GRANT"), "{}", ran.stderr);
    pair.postgres(&format!("DROP ROLE \"{role}\""));
}

#[test]
fn a_file_of_another_installation_is_not_mixed_into_this_one() {
    let (pair, other) = (Pair::new(), Pair::new());
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    other.json(0, &["user", "add", r#"{"user_id": 2}"#]);
    let url = other.database.url();
    for words in [
        &["user", "add", r#"{"user_id": 3}"#, "--json"][..],
        &["init", "--apply", "--json"],
        &["sync", "--once", "--json"],
        &["init", "--json"],
        &["verify", "--json"],
        &["user", "get", "1", "--json"],
        &["user", "list", "--json"],
    ] {
        let ran = pair.run_to(&url, words).ended(2);
        let error = ran.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains("another installation"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("dual uninstall"), "{error}");
    }
    let status = pair.run_to(&url, &["status", "--json"]).ended(0).json();
    assert_eq!(status["sqlite"]["state"], "needs_init");
    assert!(status["sqlite"]["reason"].as_str().unwrap().contains("another installation"));
    assert!(status["sqlite"]["hint"].as_str().unwrap().contains("dual uninstall"), "{status}");
    assert_eq!(status["postgres"]["state"], "up");
    let select = "SELECT user_id FROM users";
    assert_eq!(pair.sqlite(select), [[Some("1".into())]]);
    assert_eq!(other.postgres(select), [[Some("2".into())]]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn a_file_of_a_newer_version_is_left_alone() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    pair.sqlite("UPDATE dual_state SET format = 99");
    for words in [&["user", "add", r#"{"user_id": 2}"#][..], &["init", "--apply"]] {
        let error = pair.json(5, words)["error"].clone();
        assert_eq!(error["kind"], "schema");
        assert!(error["hint"].as_str().unwrap().contains("newer version"), "{error}");
    }
    let status = pair.json(0, &["status"]);
    assert_eq!(status["sqlite"]["state"], "needs_init");
    assert!(status["sqlite"]["reason"].as_str().unwrap().contains("format 99"), "{status}");
    assert!(status["sqlite"]["hint"].as_str().unwrap().contains("newer version"), "{status}");
    assert_eq!(status["postgres"]["state"], "up");
    assert_eq!(pair.sqlite("SELECT user_id FROM users").len(), 1);
}

#[test]
fn a_file_on_a_read_only_mount_is_named_with_what_to_do() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    let folder = pair.folder.path().display().to_string();
    // A mount of its own, gone with the process; read-only binds even root.
    let mounted = |words: &[&str]| {
        let program = pair.command(words);
        let output = std::process::Command::new("unshare")
            .args([
                "-rm",
                "sh",
                "-c",
                "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"",
                &folder,
            ])
            .arg(program.get_program())
            .args(program.get_args())
            .output()
            .unwrap();
        Ran::of(output)
    };
    let added = mounted(&["user", "add", r#"{"user_id": 2}"#, "--json"]).ended(3).json();
    assert_eq!(added["stored"], json!({ "postgres": true, "sqlite": false }));
    assert_eq!(
        (&added["away"]["store"], &added["away"]["kind"]),
        (&json!("sqlite"), &json!("access_denied"))
    );
    assert!(added["away"]["hint"].as_str().unwrap().contains("writable"), "{added}");
    assert_eq!(mounted(&["user", "get", "2", "--json"]).ended(0).json()["source"], "postgres");
    let status = mounted(&["status", "--json"]).ended(0).json();
    assert_eq!(
        (&status["postgres"]["state"], &status["sqlite"]["state"]),
        (&"up".into(), &"down".into())
    );
    assert_eq!(pair.postgres("SELECT user_id FROM users").len(), 2);
    pair.json(0, &["sync", "--once"]);
    assert_eq!(pair.sqlite("SELECT user_id FROM users").len(), 2);
}

#[test]
fn a_wrong_address_leaves_nothing_behind() {
    let pair = Pair::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::Write as _;
        for client in listener.incoming() {
            let _ = client.unwrap().write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let url = format!("postgresql://u:hunter2@{address}/db");
    let missing = pair.database.url().replace(pair.database.name(), "nowhere_at_all");
    for url in [url, missing, format!("{}?sslmode=require", pair.database.url())] {
        for words in
            [&["init", "--apply"][..], &["user", "add", r#"{"user_id": 1}"#], &["user", "get", "1"]]
        {
            let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
            let error = pair.run_to(&url, &words).ended(2).json()["error"].clone();
            assert!(error["hint"].is_string() && !error.to_string().contains("hunter2"), "{error}");
            assert_eq!(std::fs::read_dir(pair.folder.path()).unwrap().count(), 0, "{words:?}");
        }
    }
    // A file that was there is left as it was.
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    pair.run_to(
        &format!("{}?sslmode=require", pair.database.url()),
        &["user", "add", "{\"user_id\": 2}"],
    )
    .ended(2);
    assert!(!pair.path().with_extension("db-wal").exists(), "the file was not closed");
    assert_eq!(pair.sqlite("SELECT user_id FROM users").len(), 1);
}
