//! `dual init --apply` and `dual migrate` against servers that nobody would choose: a database of SQL_ASCII with
//! bytes that are no UTF-8, row security that is forced, a synchronous standby that is gone. Nothing hangs,
//! and what is said is so.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use throwaway_postgres::Server;

use crate::core_scene::{Pair, eventually};
use crate::scene::Ran;

/// What a CSV brings: a row that is there with a text that cannot be read, one that is there, a new one.
const CSV: &str = "user_id,first_name,phone_number,register_date\n\
     1,Анна,+71,2025-01-01 00:00:00\n2,Борис,+72,2025-01-01 00:00:00\n3,Вера,+73,2025-01-01 00:00:00\n";

const TABLE: &str = "CREATE TABLE users (user_id bigint PRIMARY KEY, first_name text, username text); \
     INSERT INTO users VALUES (1, 'Anna', 'a'), (2, 'Boris', 'b')";

impl Pair<'_> {
    fn migrate_command(&self, url: &str) -> Command {
        let csv = self.folder.path().join("users.csv");
        std::fs::write(&csv, CSV).unwrap();
        self.command_to(url, &["migrate", "--csv", csv.to_str().unwrap(), "--json"])
    }

    fn migrate(&self) -> Ran {
        Ran::of(self.migrate_command(&self.database.url()).output().unwrap())
    }
}

#[test]
fn in_a_database_of_any_bytes_the_row_is_named() {
    let pair = Pair::new();
    let (server, name) = (pair.database.server(), pair.database.name());
    for sql in [
        format!("DROP DATABASE {name}"),
        format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
        ),
    ] {
        server.execute("postgres", &sql).unwrap();
    }
    pair.postgres(TABLE);
    pair.postgres("UPDATE users SET username = E'\\xff' WHERE user_id = 2");
    let error = pair.migrate().ended(5).json()["error"].clone();
    let told = "table users, user_id 2: column username has a value that SQLite cannot hold";
    assert!(error["message"].as_str().unwrap().ends_with(told), "{error}");
    assert!(error["hint"].as_str().unwrap().contains("no UTF-8"), "{error}");
    // Nothing of it was done. Joining sets the row aside, and carries the others.
    let joined = pair.json(1, &["init", "--apply"]);
    assert_eq!(joined["quarantined"], 1, "{joined}");
    let aside = pair.json(0, &["quarantine"])["quarantine"].clone();
    assert_eq!((&aside[0]["key"], &aside[0]["code"]), (&json!(2), &json!("unreadable")), "{aside}");
    assert_eq!(pair.sqlite("SELECT first_name FROM users"), [[Some("Anna".into())]]);
    pair.postgres("UPDATE users SET username = 'b' WHERE user_id = 2");
    pair.migrate().ended(0);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.sqlite("SELECT first_name FROM users").len(), 3);
}

#[test]
fn row_security_that_is_forced_is_told_with_what_helps() {
    let pair = Pair::new();
    let (name, role) = (pair.database.name(), format!("owner_{}", pair.database.name()));
    pair.postgres(&format!(
        "CREATE ROLE {role} LOGIN; ALTER DATABASE {name} OWNER TO {role}; \
         GRANT CREATE, USAGE ON SCHEMA public TO {role}; SET ROLE {role}; {TABLE}; \
         ALTER TABLE users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"
    ));
    let url = pair.database.url_as(&role, None);
    let hint = |ran: Ran| {
        let error = ran.ended(4).json()["error"].clone();
        assert_eq!(error["kind"], "access_denied", "{error}");
        error["hint"].as_str().unwrap().to_owned()
    };
    for hint in [
        hint(pair.run_to(&url, &["init", "--json"])),
        hint(pair.run_to(&url, &["init", "--apply", "--json"])),
        hint(Ran::of(pair.migrate_command(&url).output().unwrap())),
    ] {
        assert!(hint.contains(&format!("ALTER ROLE \"{role}\" BYPASSRLS")), "{hint}");
    }
    assert!(!pair.path().exists(), "no file is left of what was refused");
    pair.postgres(&format!("ALTER ROLE {role} BYPASSRLS"));
    Ran::of(pair.migrate_command(&url).output().unwrap()).ended(0);
    pair.run_to(&url, &["verify"]).ended(0);
    assert_eq!(pair.sqlite("SELECT first_name FROM users").len(), 3);
    pair.postgres(&format!(
        "REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}"
    ));
}

/// Far below what a COMMIT is waited for, and far above what anything else here takes.
const SOON: Duration = Duration::from_secs(40);

#[test]
fn without_the_synchronous_standby_nothing_is_begun() {
    let server = Server::builder().start().unwrap();
    let pair = Pair::on(&server);
    pair.postgres(TABLE);
    let set = |how: &str| {
        pair.postgres(&format!("ALTER SYSTEM {how}"));
        pair.postgres("SELECT pg_reload_conf()");
        let names = || pair.postgres("SHOW synchronous_standby_names")[0][0].clone().unwrap();
        eventually("the setting", || names().is_empty() == how.starts_with("RESET"));
    };
    set("SET synchronous_standby_names = 'gone'");
    let asked = Instant::now();
    let told = |value: &Value| {
        let text = value.to_string();
        assert!(text.contains("commits wait for a synchronous standby"), "{text}");
    };
    told(&pair.json(0, &["init"])["tables"][0]["postgres"]["untried"]);
    let error = pair.json(4, &["init", "--apply"])["error"].clone();
    told(&error["message"]);
    assert!(error["hint"].as_str().unwrap().contains("pg_reload_conf()"), "{error}");
    assert!(!pair.path().exists(), "no file is left of what was refused");
    // A migration goes on with the file.
    let moved = pair.migrate().ended(3).json();
    assert_eq!(moved["stored"], json!({ "postgres": false, "sqlite": true }), "{moved}");
    assert_eq!(moved["stores"]["postgres"]["state"], "away", "{moved}");
    let waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
    assert_eq!(pair.postgres(waiting).len(), 0, "nobody waits there");
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());

    set("RESET synchronous_standby_names");
    pair.json(0, &["init", "--apply"]);
    pair.migrate().ended(0);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.postgres("SELECT 1 FROM users").len(), 3);

    // What is joined already, while somebody's COMMIT waits.
    set("SET synchronous_standby_names = 'gone'");
    let mut stuck = pair.command(&["user", "add", r#"{"user_id": 4}"#]);
    Ran::of(stuck.output().unwrap()).ended(3);
    eventually("the state", || {
        let status = pair.json(0, &["status"]);
        status["postgres"]["state"] == json!("down")
            && status["postgres"]["reason"].to_string().contains("synchronous standby")
    });
    set("RESET synchronous_standby_names");
    assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
    assert_eq!(pair.postgres("SELECT 1 FROM users").len(), 4);
}
