//! What people do to the tables beside the product: dropped, replaced, renamed, shadowed. Nothing is
//! lost, nothing is made of itself, and what is to be done is said.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::core_scene::{Pair, eventually, signal};

/// Both sides with that many rows.
fn filled(rows: u32) -> Pair<'static> {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    pair.postgres(&format!(
        "INSERT INTO users (user_id, source) SELECT n, 'ours' FROM generate_series(1, {rows}) AS n"
    ));
    pair.json(0, &["sync", "--once"]);
    pair
}

/// A service that has met both sides.
struct Watching {
    child: Child,
    log: PathBuf,
}

impl Watching {
    /// Waits until it has said so.
    #[track_caller]
    fn says(&self, what: &str) {
        let said = || std::fs::read_to_string(&self.log).unwrap();
        eventually(what, || said().contains(what));
    }

    #[track_caller]
    fn end(mut self) {
        signal(&self.child, "TERM");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Watching {
    /// Also of a test that has failed nothing is left running.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watching(pair: &Pair<'_>) -> Watching {
    let log = pair.folder.path().join("watch.log");
    let mut command = pair.command(&["sync", "--watch"]);
    command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
    let child = command.spawn().unwrap();
    pair.postgres("INSERT INTO users (user_id, source) VALUES (100000, 'first')");
    eventually("the first write", || {
        pair.sqlite("SELECT 1 FROM users WHERE source = 'first'").len() == 1
    });
    Watching { child, log }
}

impl Pair<'_> {
    fn count_there(&self) -> usize {
        self.postgres("SELECT 1 FROM users WHERE source = 'ours'").len()
    }

    fn count_here(&self) -> usize {
        self.sqlite("SELECT 1 FROM users WHERE source = 'ours'").len()
    }

    /// Several statements in the file, by its own program.
    #[track_caller]
    fn script(&self, sql: &str) {
        let ran = Command::new("sqlite3").arg(self.path()).arg(sql).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    /// The statement that makes the file's table.
    fn declared(&self) -> String {
        self.sqlite("SELECT sql FROM sqlite_schema WHERE name = 'users'")[0][0].clone().unwrap()
    }

    fn triggers(&self) -> String {
        let named = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = 'users'";
        let drop =
            |row: Vec<Option<String>>| format!("DROP TRIGGER \"{}\";", row[0].clone().unwrap());
        self.sqlite(named).into_iter().map(drop).collect()
    }
}

#[test]
fn a_table_of_the_file_that_is_gone_takes_nothing_with_it() {
    for (how, sql) in [
        ("dropped", "DROP TABLE users"),
        ("renamed", "ALTER TABLE users RENAME TO users_old"),
        (
            "replaced by pandas",
            "DROP TABLE users; CREATE TABLE users (\"index\" INTEGER, user_id INTEGER, source TEXT); \
             CREATE INDEX ix_users_index ON users (\"index\"); INSERT INTO users VALUES (0, 1, 'theirs')",
        ),
    ] {
        for watched in [false, true] {
            let pair = filled(1_000);
            let service = watched.then(|| watching(&pair));
            pair.script(sql);
            let ran = pair.run(&["sync", "--once"]).ended(5);
            assert!(ran.stderr.contains("hint: "), "{how}: {}", ran.stderr);
            assert_eq!(pair.count_there(), 1_000, "{how}");
            let status = pair.json(0, &["status"]);
            assert_eq!(status["sqlite"]["state"], "needs_init", "{how}: {status}");
            if let Some(service) = service {
                service.says("SQLite needs_init");
                service.end();
            }
        }
    }
}

#[test]
fn a_table_of_the_file_that_was_dropped_is_made_again_if_a_person_says_so() {
    let pair = filled(1_000);
    pair.script("DROP TABLE users");
    pair.json(5, &["sync", "--once"]);
    pair.json(0, &["init", "--apply"]);
    assert_eq!((pair.count_here(), pair.count_there()), (1_000, 1_000));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.json(0, &["status"])["conflicts"], 0);
}

#[test]
fn a_table_of_the_file_that_is_renamed_back_goes_on() {
    let pair = filled(100);
    pair.script("ALTER TABLE users RENAME TO users_old");
    pair.json(5, &["sync", "--once"]);
    pair.script("ALTER TABLE users_old RENAME TO users; UPDATE users SET username = 'back'");
    assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
    assert_eq!((pair.count_here(), pair.count_there()), (100, 100));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn an_emptied_table_of_the_file_is_filled_again() {
    type How = fn(&Pair<'_>) -> String;
    let made_again: How = |pair| format!("DROP TABLE users; {}", pair.declared());
    let untriggered: How = |pair| format!("{} DELETE FROM users", pair.triggers());
    for how in [made_again, untriggered] {
        for rows in [50, 1_000] {
            let pair = filled(rows);
            let rows = rows as usize;
            pair.script(&how(&pair));
            assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
            assert_eq!((pair.count_here(), pair.count_there()), (rows, rows));
            assert_eq!(pair.json(0, &["verify"])["equal"], true);
            assert_eq!(pair.json(0, &["status"])["conflicts"], 0);
        }
    }
}

#[test]
fn a_table_of_postgresql_that_is_gone_is_not_made_by_a_running_service() {
    for (how, sql, back) in [
        ("renamed", "ALTER TABLE users RENAME TO members", "ALTER TABLE members RENAME TO users"),
        ("dropped", "DROP TABLE users", ""),
    ] {
        let pair = filled(80);
        let service = watching(&pair);
        pair.postgres(sql);
        pair.sqlite("INSERT INTO users (user_id, source) VALUES (81, 'ours')");
        eventually("the state", || {
            pair.json(0, &["status"])["postgres"]["state"] == json!("needs_init")
        });
        service.says("PostgreSQL needs_init");
        assert_eq!(pair.count_here(), 81, "{how}");
        assert_eq!(pair.postgres("SELECT to_regclass('users')"), [[None]], "{how}");
        match back {
            "" => drop(pair.json(0, &["init", "--apply"])),
            back => drop(pair.postgres(back)),
        }
        eventually("the write that waited", || pair.count_there() == 81);
        service.end();
        assert_eq!(pair.count_here(), 81, "{how}");
        assert_eq!(pair.json(0, &["verify"])["equal"], true, "{how}");
    }
}

impl Pair<'_> {
    /// How many rows have their telephone, there and here.
    fn phones(&self) -> (usize, usize) {
        let sql = "SELECT 1 FROM users WHERE phone_number LIKE '+7%'";
        (self.postgres(sql).len(), self.sqlite(sql).len())
    }

    /// The columns there and here, in their order.
    fn columns(&self) -> (String, String) {
        let there = "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute \
             WHERE attrelid = 'users'::regclass AND attnum > 0 AND NOT attisdropped";
        let here = "SELECT group_concat(name, ' ') FROM pragma_table_info('users')";
        let one = |mut rows: Vec<Vec<Option<String>>>| rows.remove(0).remove(0).unwrap();
        (one(self.postgres(there)), one(self.sqlite(here)))
    }
}

#[test]
fn a_column_of_postgresql_that_is_gone_is_not_made_by_itself() {
    for (how, sql, back) in [
        (
            "renamed",
            "ALTER TABLE users RENAME COLUMN phone_number TO telephone",
            "ALTER TABLE users RENAME COLUMN telephone TO phone_number",
        ),
        ("dropped", "ALTER TABLE users DROP COLUMN phone_number", ""),
    ] {
        for watched in [false, true] {
            let pair = filled(80);
            pair.postgres("UPDATE users SET phone_number = '+7' || user_id");
            pair.json(0, &["sync", "--once"]);
            let service = watched.then(|| watching(&pair));
            pair.postgres(sql);
            let (columns, _) = pair.columns();
            pair.sqlite(
                "INSERT INTO users (user_id, source, phone_number) VALUES (81, 'ours', '+7')",
            );
            let ran = pair.run(&["sync", "--once"]).ended(5);
            assert!(ran.stderr.contains("phone_number was dropped or renamed"), "{}", ran.stderr);
            assert!(
                ran.stderr.contains("hint: rename it back, or let `dual init --apply`"),
                "{how}"
            );
            let status = pair.json(0, &["status"]);
            assert_eq!(status["postgres"]["state"], "needs_init", "{how}: {status}");
            let written = pair.json(3, &["user", "update", "1", r#"{"phone_number": "+79"}"#]);
            assert_eq!(written["stored"], json!({ "postgres": false, "sqlite": true }), "{how}");
            if let Some(service) = &service {
                service.says("PostgreSQL needs_init");
            }
            assert_eq!(pair.columns().0, columns, "{how}");
            match back {
                "" => {
                    // The added column overwrites nothing by itself, in either direction.
                    assert!(pair.json(1, &["init", "--apply"])["held_losses"].is_u64(), "{how}");
                    assert_eq!(pair.phones().1, 81, "{how}");
                    pair.json(0, &["repair", "--prefer", "sqlite"]);
                }
                back => drop(pair.postgres(back)),
            }
            match service {
                Some(service) => {
                    eventually("the write that waited", || pair.phones() == (81, 81));
                    // Its verification may have met the column's absence before it was noticed.
                    eventually("all is well again", || pair.run(&["status"]).code == Some(0));
                    service.end();
                }
                None => assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done", "{how}"),
            }
            assert_eq!(pair.phones(), (81, 81), "{how}");
            let first = "SELECT phone_number FROM users WHERE user_id = 1";
            assert_eq!(pair.postgres(first), [[Some("+79".into())]], "{how}");
            assert_eq!(pair.json(0, &["verify"])["equal"], true, "{how}");
            // A repair logs whatever it overwrites.
            let logged = if back.is_empty() { 80 } else { 0 };
            assert_eq!(pair.json(0, &["status"])["conflicts"], logged, "{how}");
        }
    }
}

#[test]
fn a_column_of_the_file_that_is_gone_is_not_made_by_itself() {
    for (how, sql, back) in [
        (
            "renamed",
            "ALTER TABLE users RENAME COLUMN phone_number TO telephone",
            "ALTER TABLE users RENAME COLUMN telephone TO phone_number",
        ),
        // SQLite drops none that a trigger names.
        ("dropped", "ALTER TABLE users DROP COLUMN phone_number", ""),
    ] {
        for watched in [false, true] {
            let pair = filled(80);
            pair.postgres("UPDATE users SET phone_number = '+7' || user_id");
            pair.json(0, &["sync", "--once"]);
            let service = watched.then(|| watching(&pair));
            let triggers = if back.is_empty() { pair.triggers() } else { String::new() };
            pair.script(&format!("{triggers} {sql}"));
            let (_, columns) = pair.columns();
            pair.postgres(
                "INSERT INTO users (user_id, source, phone_number) VALUES (81, 'ours', '+7')",
            );
            let ran = pair.run(&["sync", "--once"]).ended(5);
            assert!(ran.stderr.contains("phone_number"), "{how}: {}", ran.stderr);
            assert!(ran.stderr.contains("hint: "), "{how}: {}", ran.stderr);
            let status = pair.json(0, &["status"]);
            assert_eq!(status["sqlite"]["state"], "needs_init", "{how}: {status}");
            if let Some(service) = &service {
                service.says("SQLite needs_init");
            }
            // The owner of the file goes on writing.
            pair.script("UPDATE users SET username = 'here' WHERE user_id = 1");
            assert_eq!(pair.columns().1, columns, "{how}");
            match back {
                "" => drop(pair.json(0, &["init", "--apply"])),
                back => pair.script(back),
            }
            match service {
                Some(service) => {
                    eventually("the write that waited", || pair.phones() == (81, 81));
                    eventually("all is well again", || pair.run(&["status"]).code == Some(0));
                    service.end();
                }
                None => assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done", "{how}"),
            }
            assert_eq!(pair.phones(), (81, 81), "{how}");
            let first = "SELECT username FROM users WHERE user_id = 1";
            assert_eq!(pair.postgres(first), [[Some("here".into())]], "{how}");
            assert_eq!(pair.json(0, &["verify"])["equal"], true, "{how}");
            assert_eq!(pair.json(0, &["status"])["conflicts"], 0, "{how}");
        }
    }
}

#[test]
fn an_emptied_table_of_postgresql_is_filled_again() {
    for (how, sql) in [
        (
            "made again",
            "CREATE TABLE copied (LIKE users INCLUDING ALL); DROP TABLE users; \
             ALTER TABLE copied RENAME TO users",
        ),
        ("truncated past the triggers", ""),
    ] {
        let pair = filled(50);
        match sql {
            "" => pair.past_the_triggers("TRUNCATE users"),
            sql => drop(pair.postgres(sql)),
        }
        assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done", "{how}");
        assert_eq!((pair.count_here(), pair.count_there()), (50, 50), "{how}");
        assert_eq!(pair.json(0, &["verify"])["equal"], true, "{how}");
    }
}

#[test]
fn a_table_of_that_name_before_it_in_the_search_path_is_not_taken_for_it() {
    let pair = filled(50);
    pair.postgres("CREATE SCHEMA earlier; CREATE TABLE earlier.users (LIKE public.users)");
    let name = pair.database.name().to_owned();
    pair.postgres(&format!("ALTER DATABASE {name} SET search_path = earlier, public"));
    pair.json(0, &["user", "add", r#"{"user_id": 51, "source": "ours"}"#]);
    assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
    assert_eq!(pair.postgres("SELECT 1 FROM public.users").len(), 51);
    assert_eq!(pair.postgres("SELECT 1 FROM earlier.users").len(), 0);
    assert_eq!(pair.count_here(), 51);
    let status = pair.json(0, &["status"]);
    let told = status["recent_errors"].to_string();
    assert!(told.contains("earlier"), "{status}");
}

#[test]
fn a_function_that_only_the_application_has_is_told_by_the_plan_and_by_status() {
    let pair = filled(3);
    pair.script("CREATE TRIGGER slugs AFTER INSERT ON users BEGIN SELECT slug(new.username); END");
    let plan = pair.json(0, &["init"]);
    let lacks = plan["tables"][0]["sqlite"]["lacks"].as_str().unwrap();
    assert!(
        lacks.contains("no such function: slug") && lacks.contains("sqlite_extensions"),
        "{plan}"
    );
    assert!(pair.run(&["init"]).ended(0).stdout.contains("rows will wait in quarantine"));
    pair.postgres("INSERT INTO users (user_id) VALUES (4)");
    assert_eq!(pair.json(1, &["sync", "--once"])["state"], "quarantined");
    let status = pair.json(1, &["status"]);
    assert_eq!(status["paused"][0]["table"], "users", "{status}");
    assert!(pair.run(&["status"]).ended(1).stdout.contains("table users: SQLite: "));
    pair.script("DROP TRIGGER slugs");
    assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
    assert_eq!(pair.json(0, &["status"])["paused"], json!([]));
}

#[test]
fn a_key_that_is_no_whole_number_is_told_and_keeps_a_sync_from_ending_well() {
    let pair = filled(3);
    pair.script("INSERT INTO users (user_id) VALUES (57.5), (9.3e18), ('x')");
    assert_eq!(pair.json(1, &["sync", "--once"])["quarantined"], 3);
    assert_eq!(pair.json(0, &["status"])["quarantined"], 3);
    let rows = pair.json(0, &["quarantine"]);
    assert_eq!(rows["quarantine"].as_array().map(Vec::len), Some(3), "{rows}");
    assert_eq!(pair.json(1, &["verify"])["tables"][0]["only_sqlite"], 0);
    pair.script("DELETE FROM users WHERE typeof(user_id) <> 'integer'");
    assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
}
