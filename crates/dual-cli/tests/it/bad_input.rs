//! Anything malformed gives a clear sentence and leaves both databases as they were.

use serde_json::{Value, json};

use crate::scene::{Scene, TAB, bare, bot_row, heading, tab};

fn one_row() -> Value {
    json!([heading(), bot_row("2025-07-10 12:00:05", 101, "Купон выдан")])
}

/// Runs, expects that code and every word on stderr, and that nothing was touched.
#[track_caller]
fn refused(scene: &Scene, words: &[&str], code: i32, says: &[&str]) {
    let ran = scene.migrate(words).ended(code);
    for word in says {
        assert!(ran.stderr.contains(word), "`{word}` is missing in: {}", ran.stderr);
    }
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
    scene.untouched();
}

#[test]
fn options_are_checked_before_anything_else() {
    let scene = Scene::new(one_row());
    let folder = scene.folder.path().display().to_string();
    let text = scene.file("note.txt", "not a database, but long enough to look like something");
    let text = text.display().to_string();
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["--pg-db-url=mysql://root:secret@host/db"], 2, &["mysql"]),
        (&["--pg-db-url=postgresql://u:secret@host:99999/db"], 2, &["port"]),
        (&["--pg-db-url=postgresql://u:secret@host/db?sslmod=require"], 2, &["sslmode"]),
        (&[&format!("--sqlite-db-path={folder}")], 2, &["is a folder"]),
        (&[&format!("--sqlite-db-path={folder}/none/users.db")], 2, &["does not exist"]),
        (&[&format!("--sqlite-db-path={text}")], 2, &["note.txt", "not a database"]),
        (&["--rejects=rejects.xlsx"], 2, &[".csv", ".jsonl"]),
        (&["--max-rejects=many"], 2, &["percentage"]),
        (&["--mapping=/none/mapping.toml"], 2, &["mapping.toml"]),
        (&["--creds-file=/none/creds.json"], 2, &["creds.json"]),
        (&["--sheets-endpoint=http://sheets.example.com"], 2, &["https"]),
        (&["--no-such-option"], 2, &["--no-such-option"]),
    ];
    for (words, code, says) in cases {
        let ran = scene.migrate(words).ended(*code);
        for word in *says {
            assert!(ran.stderr.contains(word), "{words:?}: `{word}` is missing in: {}", ran.stderr);
        }
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
        scene.untouched();
    }
    let ran = crate::scene::Ran::of(bare().output().unwrap()).ended(2);
    assert!(ran.stderr.contains("DATABASE_URL"), "{}", ran.stderr);
    let ran = crate::scene::Ran::of(bare().arg("--json").output().unwrap()).ended(2);
    assert_eq!(ran.json()["error"]["kind"], "configuration");
}

#[test]
fn settings_come_from_the_environment_as_a_service_has_it() {
    let scene = Scene::new(one_row());
    let mut command = bare();
    command
        .env("DATABASE_URL", scene.database.url())
        .env("DATABASE_PATH", scene.sqlite_path())
        .env("GOOGLE_CREDENTIALS_JSON", scene.double.credentials_json())
        .env(
            "GOOGLE_SHEET_KEY",
            "https://docs.google.com/spreadsheets/d/test-spreadsheet/edit#gid=0",
        )
        .arg(format!("--sheets-endpoint={}", scene.double.base_url()));
    crate::scene::Ran::of(command.output().unwrap()).ended(0);
    assert_eq!(scene.equal().len(), 1);
}

#[test]
fn credentials_of_another_kind_say_what_they_are() {
    let scene = Scene::new(one_row());
    let creds =
        |name: &str, text: &str| format!("--creds-file={}", scene.file(name, text).display());
    refused(&scene, &[&creds("a.json", "hello")], 2, &["JSON"]);
    refused(
        &scene,
        &[&creds("b.json", r#"{"installed":{"client_id":"x","client_secret":"verysecret"}}"#)],
        2,
        &["service account"],
    );
    refused(
        &scene,
        &[&creds("c.json", r#"{"type":"authorized_user","refresh_token":"verysecret"}"#)],
        2,
        &["service account"],
    );
    let mut damaged: Value = serde_json::from_str(&scene.double.credentials_json()).unwrap();
    let key = damaged["private_key"].as_str().unwrap().replace('\n', "\\n");
    damaged["private_key"] = json!(key);
    let ran = scene.migrate(&[&creds("d.json", &damaged.to_string())]);
    // Either it is repaired, or the sentence says what is wrong with the newlines.
    if ran.code != Some(0) {
        assert!(ran.stderr.contains("\\n"), "{}", ran.stderr);
    }
    assert!(!ran.stderr.contains("PRIVATE KEY"), "{}", ran.stderr);
}

#[test]
fn what_google_refuses_becomes_one_sentence_with_what_to_do() {
    let scene = Scene::new(one_row());
    let email = scene.double.client_email().to_string();
    let cases: &[(&str, i32, &[&str])] = &[
        ("not-shared", 4, &[&email]),
        ("api-disabled", 4, &["Enable", "https://"]),
        ("xlsx", 4, &["xlsx", "Save as"]),
        ("wrong-scope", 4, &["scope"]),
        ("404", 4, &["key"]),
        ("wrong-clock=7200", 4, &["clock"]),
        ("key-deleted", 4, &["key"]),
        ("account-deleted", 4, &["account"]),
    ];
    for (fault, code, says) in cases {
        scene.fault(fault);
        let ran = scene.migrate(&[]).ended(*code);
        for word in *says {
            assert!(
                ran.stderr.to_lowercase().contains(&word.to_lowercase()),
                "{fault}: `{word}` is missing in: {}",
                ran.stderr
            );
        }
        scene.untouched();
    }
    scene.fault("429,on=values,times=1");
    let ran = scene.migrate(&[]).ended(0);
    assert!(ran.stderr.contains("waiting"), "{}", ran.stderr);
    assert_eq!(scene.equal().len(), 1);
}

#[test]
fn tabs_without_rows_change_nothing() {
    let scene = Scene::new(json!([]));
    refused(&scene, &[], 5, &[TAB]);
    scene.sheet(json!([heading()]));
    refused(&scene, &["--recreate-tables", "--yes"], 5, &["header"]);
    scene.sheets(json!([tab(TAB, &json!([["Напиток", "Цена"], ["Морс", 150], ["Квас", 90]]))]));
    refused(&scene, &[], 5, &["Напиток"]);
}

#[test]
fn too_many_rejects_stop_before_anything_is_written() {
    let mut rows = vec![heading()];
    for index in 0..4 {
        rows.push(bot_row(
            "2025-07-10 12:00:05",
            101 + index,
            if index < 3 { "Странный" } else { "Купон выдан" },
        ));
    }
    let scene = Scene::new(Value::Array(rows));
    let rejects = scene.folder.path().join("rejects.jsonl");
    let rejects_option = format!("--rejects={}", rejects.display());
    refused(&scene, &[&rejects_option], 5, &["3 of 4", "unknown_status", "H2"]);
    let lines = std::fs::read_to_string(&rejects).unwrap();
    assert_eq!(lines.lines().count(), 3);
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!(first["raw"], "Странный");
    assert_eq!(first["displayed"], "Странный");
    refused(&scene, &["--max-rejects=2"], 5, &["--max-rejects"]);
    scene.migrate(&["--max-rejects=3"]).ended(1);
    assert_eq!(scene.equal().len(), 1);
}

#[test]
fn dates_at_the_edges_of_the_calendar() {
    let scene = Scene::new(json!([
        heading(),
        bot_row("9999-12-31 23:59:59", 101, "Купон выдан"),
        bot_row("1899-12-29 10:00:00", 102, "Купон выдан"),
        [{"v": 0.5, "f": "12:00:00", "date": true}, 103, "Имя", "N/A", "", "", "", "Купон выдан", "vk"],
        [{"v": -1, "f": "29.12.1899", "date": true}, 104, "Имя", "N/A", "", "", "", "Купон выдан", "vk"],
        ["10000-01-01 00:00:00", 105, "Имя", "N/A", "", "", "", "Купон выдан", "vk"],
    ]));
    let ran = scene.migrate(&["--max-rejects=100%", "--json"]).ended(1);
    let cells: Vec<String> = ran.aside("rejected").into_iter().map(|(cell, _)| cell).collect();
    assert_eq!(cells, ["A3", "A4", "A5", "A6"]);
    // Moscow's last evening of 9999 is still 9999 in UTC.
    assert_eq!(scene.value(101, "register_date").as_deref(), Some("9999-12-31 20:59:59"));
}

#[test]
fn rights_that_are_missing_are_named_with_the_grant() {
    let scene = Scene::new(one_row());
    let name = scene.database.name().to_string();
    scene.postgres(&format!(
        "CREATE ROLE \"poor_{name}\" LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    ));
    let url = scene.database.url_as(&format!("poor_{name}"), None);
    let ran = scene.migrate_to(&url, &[]).ended(4);
    assert!(ran.stderr.contains("GRANT"), "{}", ran.stderr);
    scene.untouched();
    scene.postgres(&format!("DROP ROLE \"poor_{name}\""));

    let gone = scene.database.url().replace(&name, "no_such_database");
    let ran = scene.migrate_to(&gone, &[]);
    assert!(matches!(ran.code, Some(2 | 4)), "{:?}: {}", ran.code, ran.stderr);
    assert!(ran.stderr.contains("no_such_database"), "{}", ran.stderr);
    scene.untouched();
}

#[test]
fn a_read_only_sqlite_path_changes_nothing() {
    let scene = Scene::new(one_row());
    scene.migrate(&[]).ended(0);
    let before = scene.versions();
    scene.sheet(json!([heading(), bot_row("2025-07-10 12:00:05", 101, "Купон погашен")]));
    // A mount of its own, gone with the process; read-only binds even root.
    let folder = scene.folder.path().display().to_string();
    let migrate = scene.command(&[]);
    let output = std::process::Command::new("unshare")
        .args([
            "-rm",
            "sh",
            "-c",
            "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" && exec \"$@\"",
            &folder,
        ])
        .arg(migrate.get_program())
        .args(migrate.get_args())
        .output()
        .unwrap();
    let ran = crate::scene::Ran::of(output).ended(4);
    assert!(ran.stderr.contains("read-only mount"), "{}", ran.stderr);
    assert!(scene.versions() == before);
}

#[test]
fn a_table_that_would_bend_values_is_refused_on_either_side() {
    let scene = Scene::new(one_row());
    scene.postgres("CREATE TABLE users (id serial PRIMARY KEY, user_id integer UNIQUE NOT NULL, username varchar(100))");
    let ran = scene.migrate(&[]).ended(5);
    assert!(ran.stderr.contains("user_id") && ran.stderr.contains("bigint"), "{}", ran.stderr);
    assert!(!scene.sqlite_path().exists());
    scene.postgres("DROP TABLE users");
    scene.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, phone_number STRING)");
    let ran = scene.migrate(&[]).ended(5);
    assert!(ran.stderr.contains("phone_number") && ran.stderr.contains("STRING"), "{}", ran.stderr);
    assert_eq!(scene.postgres("SELECT to_regclass('users') IS NULL")[0][0].as_deref(), Some("t"));
}

#[test]
fn rows_too_long_for_an_existing_column_are_rejected_on_both_sides() {
    let scene = Scene::new(json!([
        heading(),
        ["2025-07-10 12:00:05", 101, "Имя", "n".repeat(101), "", "", "", "Купон выдан", "vk"],
        bot_row("2025-07-10 12:00:05", 102, "Купон выдан"),
    ]));
    // As the original script made it.
    scene.postgres(
        "CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE, username varchar(100),
             first_name varchar(100), status varchar(20), phone_number varchar(20), real_name varchar(100),
             birth_date varchar(20), register_date timestamp, last_activity timestamp, redeem_date timestamp,
             source varchar(50), referrer_id bigint, brought_by_staff_id integer, profile_completed boolean,
             ai_concept varchar(20))",
    );
    let ran = scene.migrate(&["--json"]).ended(1);
    assert_eq!(ran.aside("rejected"), [("2".to_string(), "too_long".to_string())]);
    assert_eq!(scene.equal().len(), 1);
}

#[test]
fn a_url_in_the_wrong_place_is_repeated_without_its_password() {
    for words in [&["postgresql://u:hunter2@h/d"][..], &["postgresql://u:hunter2@h/d", "--json"]] {
        let ran =
            crate::scene::Ran::of(crate::scene::bare().args(words).output().unwrap()).ended(2);
        let told = ran.stdout + &ran.stderr;
        assert!(told.contains("postgresql://u:***@h/d") && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn the_file_of_rejects_never_overwrites_what_is_read() {
    let scene = Scene::new(json!([]));
    let csv = scene.file("users.csv", "user_id\n101\n");
    let same = scene.folder.path().join(".").join("users.csv");
    let words = ["--csv", csv.to_str().unwrap(), "--rejects", same.to_str().unwrap()];
    let ran = scene.migrate(&words).ended(2);
    assert!(ran.stderr.contains("--rejects"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(csv).unwrap(), "user_id\n101\n");
    scene.untouched();
}
