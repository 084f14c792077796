//! Where the settings come from, and what is said when they are wrong.

use std::os::unix::fs::PermissionsExt as _;

use crate::core_scene::{Pair, dual, nowhere};
use crate::scene::Ran;

#[test]
fn flags_stand_before_or_after_the_command() {
    let pair = Pair::new();
    pair.run(&["init", "--apply"]).ended(0);
    let (url, path) = (pair.database.url(), pair.path().display().to_string());
    let flags = ["--pg-db-url", url.as_str(), "--sqlite-db-path", path.as_str(), "--json"];
    for words in [
        [&flags[..], &["user", "list"]].concat(),
        [&["user"], &flags[..], &["list"]].concat(),
        [&["user", "list"], &flags[..]].concat(),
        [&flags[..2], &["status"], &flags[2..]].concat(),
    ] {
        let ran = Ran::of(dual().args(&words).output().unwrap()).ended(0);
        ran.json();
    }
}

#[test]
fn a_flag_beats_the_environment_and_that_beats_the_file() {
    let pair = Pair::new();
    pair.run(&["init", "--apply"]).ended(0);
    let away = nowhere();
    let run = |command: &mut std::process::Command| {
        command.args(["status", "--json"]).current_dir(pair.folder.path());
        Ran::of(command.output().unwrap()).ended(0).json()["postgres"]["state"].clone()
    };
    let toml = pair.folder.path().join("dual.toml");
    let write = |url: &str| {
        let text = format!("pg_db_url = \"{url}\"\nsqlite_db_path = \"users.db\"\n");
        std::fs::write(&toml, text).unwrap();
    };
    write(&pair.database.url());
    assert_eq!(run(&mut dual()), "up");
    assert_eq!(run(dual().env("DATABASE_URL", &away)), "down");
    // An empty variable is as if not set.
    assert_eq!(run(dual().env("DATABASE_URL", "").env("DATABASE_PATH", "")), "up");
    let url = pair.database.url();
    assert_eq!(run(dual().env("DATABASE_URL", &away).args(["--pg-db-url", &url])), "up");
    write(&away);
    assert_eq!(run(&mut dual()), "down");
    assert_eq!(run(dual().env("DATABASE_URL", &url)), "up");
    assert_eq!(run(dual().args(["--pg-db-url", &url])), "up");

    // A path in the file is seen from the file.
    write(&url);
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = dual();
    command.args(["--config"]).arg(&toml).args(["status", "--json"]).current_dir(&elsewhere);
    let ran = Ran::of(command.output().unwrap()).ended(0);
    assert_eq!(ran.json()["sqlite"]["state"], "up");
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
fn a_password_that_others_can_read_is_warned_about() {
    let pair = Pair::new();
    let toml = pair.folder.path().join("dual.toml");
    let url = pair.database.url_as("postgres", Some("hunter2"));
    let text = format!("pg_db_url = \"{url}\"\nsqlite_db_path = \"users.db\"\n");
    std::fs::write(&toml, text).unwrap();
    for (mode, warned) in [(0o644, true), (0o600, false)] {
        std::fs::set_permissions(&toml, std::fs::Permissions::from_mode(mode)).unwrap();
        let output = dual().arg("status").current_dir(pair.folder.path()).output().unwrap();
        let ran = Ran::of(output).ended(0);
        assert_eq!(ran.stderr.contains("chmod 600"), warned, "{}", ran.stderr);
        assert!(!ran.stderr.contains("hunter2") && !ran.stdout.contains("hunter2"));
    }
}

#[test]
fn what_is_wrong_with_the_settings_is_one_sentence_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let run = |toml: Option<&str>, words: &[&str]| {
        let path = folder.path().join("dual.toml");
        let _ = std::fs::remove_file(&path);
        if let Some(text) = toml {
            std::fs::write(path, text).unwrap();
        }
        let words: Vec<&str> = words.iter().copied().chain(["status", "--json"]).collect();
        let output = dual().args(words).current_dir(folder.path()).output().unwrap();
        let error = Ran::of(output).ended(2).json()["error"].clone();
        assert_eq!(error["kind"], "configuration");
        let text = |name: &str| error[name].as_str().unwrap().to_string();
        (text("message"), text("hint"))
    };
    let (message, hint) = run(None, &[]);
    assert!(message.contains("--pg-db-url is missing"), "{message}");
    for way in ["--pg-db-url", "DATABASE_URL", "dual.toml"] {
        assert!(hint.contains(way), "{hint}");
    }
    let (message, _) = run(None, &["--pg-db-url", "postgresql://h/d"]);
    assert!(message.contains("--sqlite-db-path is missing"), "{message}");
    let (message, hint) = run(Some("sqlite_db_pat = 'users.db'"), &[]);
    assert!(message.contains("dual.toml: unknown key `sqlite_db_pat`"), "{message}");
    assert_eq!(hint, "did you mean `sqlite_db_path`?");
    let (message, _) = run(None, &["--config", "none.toml"]);
    assert!(message.contains("none.toml"), "{message}");
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn a_mistyped_word_gets_a_suggestion() {
    for (words, suggested) in [
        (&["statsu"][..], "status"),
        (&["user", "lst"], "list"),
        (&["status", "--jsn"], "--json"),
        (&["repair", "--prefer", "postgre"], "postgres"),
        (&["--pg-dburl", "x", "status"], "--pg-db-url"),
    ] {
        let ran = Ran::of(dual().args(words).output().unwrap()).ended(2);
        assert!(ran.stderr.contains(&format!("'{suggested}'")), "{words:?}: {}", ran.stderr);
        let ran = Ran::of(dual().arg("--json").args(words).output().unwrap()).ended(2);
        let hint = ran.json()["error"]["hint"].as_str().unwrap().to_string();
        assert!(hint.contains(suggested), "{words:?}: {hint}");
    }
    Ran::of(dual().output().unwrap()).ended(2);
    Ran::of(dual().args(["sync", "--once", "--watch"]).output().unwrap()).ended(2);
    Ran::of(dual().arg("repair").output().unwrap()).ended(2);
}

#[test]
fn what_is_going_on_is_told_on_stderr_if_asked() {
    let pair = Pair::new();
    let add = |command: &mut std::process::Command| {
        let ran = Ran::of(command.output().unwrap()).ended(0);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
        ran.json();
        ran.stderr
    };
    let words = ["user", "upsert", r#"{"user_id": 1, "first_name": "hunter2"}"#, "--json"];
    assert_eq!(add(&mut pair.command(&words)), "");
    let verbose = add(pair.command(&words).arg("-vv"));
    assert!(verbose.contains("DEBUG"), "{verbose}");
    assert!(!verbose.contains('\u{1b}'), "colours without a terminal");
    for name in ["RUST_LOG", "DUAL_LOG"] {
        assert!(add(pair.command(&words).env(name, "trace")).contains("DEBUG"), "{name}");
    }
}

/// A file of settings that is none is refused as such, and its secrets stay in it.
#[test]
fn a_file_of_settings_of_any_bytes_is_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let toml = folder.path().join("dual.toml");
    let good = "pg_db_url = \"postgresql://user:geheim-9@127.0.0.1:1/db\"\nsqlite_db_path = \"users.db\"\n";
    let mut texts: Vec<Vec<u8>> = vec![
        b"\xff\xfe\x00".to_vec(),
        b"pg_db_url = 5".to_vec(),
        b"pg_db_url = [\"a\"]".to_vec(),
        b"[pg_db_url]\na = 1".to_vec(),
        b"unknown = true".to_vec(),
        b"pg_db_url = \"\"\npg_db_url = \"\"".to_vec(),
        "[".repeat(5_000).into_bytes(),
        format!("{good}poll = 1e999").into_bytes(),
    ];
    texts.extend((0..good.len()).step_by(9).map(|end| good.as_bytes()[..end].to_vec()));
    texts.extend((1..good.len()).step_by(9).map(|at| {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] ^= 0x15;
        bytes
    }));
    for text in texts {
        std::fs::write(&toml, &text).unwrap();
        let mut command = dual();
        command.arg("--config").arg(&toml).arg("status").current_dir(folder.path());
        let output = command.output().unwrap();
        let shown = String::from_utf8_lossy(&text);
        let code = output.status.code();
        assert!(code.is_some_and(|code| code <= 5), "{shown}: {code:?}");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!said.contains("panicked") && !said.contains("geheim-9"), "{shown}\n{said}");
    }
}

#[test]
fn a_settings_file_that_others_can_write_names_no_code() {
    let pair = Pair::new();
    let toml = pair.folder.path().join("dual.toml");
    std::fs::write(&toml, "sqlite_extensions = ['planted.so']").unwrap();
    let run = |mode| {
        std::fs::set_permissions(&toml, std::fs::Permissions::from_mode(mode)).unwrap();
        let mut command = pair.command(&["status"]);
        Ran::of(command.arg("--config").arg(&toml).output().unwrap()).ended(2).stderr
    };
    for mode in [0o666, 0o620] {
        let told = run(mode);
        assert!(told.contains("another user can write") && told.contains("chmod go-w"), "{told}");
    }
    // What is one's own is read, and then it is the library that is not there.
    pair.json(0, &["init", "--apply"]);
    let told = run(0o600);
    assert!(told.contains("load an extension") && told.contains("planted.so"), "{told}");
}
