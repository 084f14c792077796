//! `dual init` on what people have.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::core_scene::Pair;
use crate::scene::Ran;

/// The table of the old script, and the bot's own file.
fn drifted() -> Pair<'static> {
    let pair = Pair::new();
    pair.postgres(
        "CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE, \
         username varchar(100), first_name varchar(100), status varchar(20), \
         phone_number varchar(20), real_name varchar(100), birth_date varchar(20), \
         register_date timestamp, last_activity timestamp, redeem_date timestamp, \
         source varchar(50), referrer_id bigint, brought_by_staff_id integer, \
         profile_completed boolean, ai_concept varchar(20))",
    );
    pair.postgres(
        "INSERT INTO users (user_id, first_name, source) \
         VALUES (1, 'Анна', 'postgres'), (2, 'Пётр', 'postgres')",
    );
    pair.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, first_name TEXT, source TEXT)");
    pair.sqlite("INSERT INTO users VALUES (2, 'Пётр', 'sqlite'), (3, 'Вера', 'sqlite')");
    pair
}

#[test]
fn the_plan_changes_nothing_and_applied_both_sides_are_equal() {
    let pair = drifted();
    let before = pair.sqlite("SELECT sql FROM sqlite_master");
    let plan = pair.run(&["init"]).ended(0).stdout;
    assert!(plan.contains("--apply"), "{plan}");
    pair.json(0, &["init"]);
    assert_eq!(pair.sqlite("SELECT sql FROM sqlite_master"), before);
    assert_eq!(
        pair.postgres("SELECT count(*) FROM pg_namespace WHERE nspname = 'dual'"),
        [[Some("0".into())]]
    );
    let status = pair.json(0, &["status"]);
    assert!(status["sqlite"]["state"] == "needs_init" || status["sqlite"]["state"] == "up");

    pair.json(0, &["init", "--apply"]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let select = "SELECT user_id, first_name, source FROM users ORDER BY user_id";
    let rows = pair.postgres(select);
    assert_eq!(rows, pair.sqlite(select));
    // PostgreSQL wins among what was there before; the loser is logged.
    let sources: Vec<_> = rows.iter().map(|row| row[2].as_deref().unwrap()).collect();
    assert_eq!(sources, ["postgres", "postgres", "sqlite"]);
    let conflicts = pair.json(0, &["conflicts"]);
    assert!(conflicts["conflicts"].to_string().contains("sqlite"), "{conflicts}");
    // A second time nothing is left to do.
    pair.json(0, &["init", "--apply"]);
}

#[test]
fn a_column_that_additions_do_not_mend_is_named_and_each_side_serves_as_it_is() {
    let pair = Pair::new();
    pair.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, phone_number STRING)");
    let before = pair.sqlite("SELECT sql FROM sqlite_master");
    let error = pair.json(5, &["init", "--apply"])["error"].clone();
    assert_eq!(error["kind"], "schema");
    assert!(error["message"].as_str().unwrap().contains("phone_number"), "{error}");
    assert_eq!(pair.sqlite("SELECT sql FROM sqlite_master"), before);
    assert_eq!(pair.postgres("SELECT to_regclass('users') IS NULL"), [[Some("t".into())]]);
    let status = pair.json(0, &["status"]);
    assert_eq!(status["sqlite"]["state"], "needs_init", "{status}");
}

#[test]
fn two_empty_sides_need_no_init() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    let document = pair.json(0, &["status"]);
    assert_eq!(
        (&document["postgres"]["state"], &document["sqlite"]["state"]),
        (&json!("up"), &json!("up"))
    );
    pair.json(0, &["init"]);
    pair.json(0, &["init", "--apply"]);
    pair.json(0, &["user", "delete", "1"]);
    assert_eq!(pair.json(0, &["user", "list"])["users"], json!([]));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

/// Fifty people in the file with their phones; PostgreSQL knows a few of those, and two otherwise.
fn phones() -> Pair<'static> {
    let pair = Pair::new();
    pair.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, phone_number TEXT, status TEXT)");
    pair.sqlite(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50) \
         INSERT INTO users SELECT i, '+7900' || i, 'registered' FROM n",
    );
    pair.postgres(
        "CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE, \
         phone_number varchar(20), status varchar(20))",
    );
    pair.postgres(
        "INSERT INTO users (user_id, phone_number, status) SELECT i, \
         CASE WHEN i <= 11 THEN '+7900' || i WHEN i <= 13 THEN '+1' END, \
         CASE WHEN i > 45 THEN 'redeemed' END FROM generate_series(1, 50) AS i",
    );
    pair
}

#[test]
fn the_plan_says_of_each_column_what_would_become_of_it() {
    let pair = phones();
    let plan = pair.run(&["init"]).ended(0);
    assert!(plan.stdout.lines().all(|line| line.chars().count() <= 80), "{}", plan.stdout);
    let plan = plan.words();
    for line in [
        "rows of both that differ: 50",
        "phone_number: SQLite's value goes to PostgreSQL in 37, both have a value in 2",
        "status: SQLite's value goes to PostgreSQL in 45, PostgreSQL's value goes to SQLite in 5",
        "rows in which both have a value: 2; that of PostgreSQL stands",
        "--prefer sqlite",
    ] {
        assert!(plan.contains(line), "{line}\n{plan}");
    }
    let turned = pair.run(&["init", "--prefer", "sqlite"]).ended(0).stdout;
    assert!(turned.contains("that of SQLite stands"), "{turned}");
    let document = pair.json(0, &["init", "--prefer", "sqlite"]);
    assert_eq!(
        (&document["joined"], &document["prefer"], &document["copy"]),
        (&json!(false), &json!("sqlite"), &json!(null))
    );
    let phone = json!({
        "column": "phone_number", "different": 39,
        "from_postgres": 0, "from_sqlite": 37, "conflicts": 2,
    });
    let rows = &document["tables"][0]["rows"];
    assert_eq!((&rows["columns"][1], &rows["conflicting"]), (&phone, &json!(2)), "{rows}");
}

#[test]
fn of_fifty_phones_that_only_the_file_had_fifty_are_left() {
    for (prefer, stands) in [("postgres", "+1"), ("sqlite", "+790012")] {
        let pair = phones();
        pair.json(0, &["init", "--apply", "--prefer", prefer]);
        let select = "SELECT user_id, phone_number, status FROM users ORDER BY user_id";
        let rows = pair.postgres(select);
        assert_eq!(rows, pair.sqlite(select));
        assert!(rows.iter().all(|row| row[1].is_some() && row[2].is_some()), "{rows:?}");
        assert_eq!(rows[11][1].as_deref(), Some(stands));
        let conflicts = pair.json(0, &["conflicts"])["conflicts"].clone();
        assert_eq!(conflicts.as_array().unwrap().len(), 2, "{conflicts}");
        for one in conflicts.as_array().unwrap() {
            assert_eq!(one["column"], "phone_number");
            // Since when either was there nobody knows; when it was noticed is known.
            assert_eq!((&one["winner_at"], &one["loser_at"]), (&json!(null), &json!(null)));
            assert!(one["noted_at"].as_str().unwrap() > "2020-01-02", "{one}");
        }
        // Afterwards nothing is left to prefer.
        let again = pair.json(0, &["init", "--apply", "--prefer", prefer]);
        assert_eq!((&again["joined"], &again["copy"]), (&json!(true), &json!(null)), "{again}");
    }
}

/// The copies beside the file.
fn copies(pair: &Pair<'_>) -> Vec<PathBuf> {
    let names = std::fs::read_dir(pair.folder.path()).unwrap().map(|one| one.unwrap().path());
    let is_copy = |path: &PathBuf| path.to_string_lossy().contains(".before-dual-");
    names.filter(is_copy).collect()
}

fn names_in(path: &std::path::Path) -> Vec<String> {
    let copy = rusqlite::Connection::open(path).unwrap();
    let mut look = copy.prepare("SELECT first_name FROM users ORDER BY user_id").unwrap();
    look.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_file_is_copied_before_anything_of_ours_is_in_it() {
    let pair = drifted();
    // What is in the write-ahead log, while another program has the file open, belongs to it.
    let program = rusqlite::Connection::open(pair.path()).unwrap();
    let mode: String =
        program.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    program.execute_batch("UPDATE users SET first_name = 'late' WHERE user_id = 3").unwrap();
    let permissions = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(pair.path(), permissions).unwrap();
    pair.json(0, &["init"]);
    assert_eq!(copies(&pair), Vec::<PathBuf>::new(), "a plan copies nothing");

    let document = pair.json(0, &["init", "--apply"]);
    let copy = PathBuf::from(document["copy"].as_str().unwrap());
    let name = copy.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("users.db.before-dual-20"), "{name}");
    // Whoever the file was for, its copy is its owner's.
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names_in(&copy), ["Пётр", "late"]);
    let tables = "SELECT group_concat(name) FROM sqlite_master WHERE type = 'table'";
    let look = rusqlite::Connection::open(&copy).unwrap();
    let left: String = look.query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!(left, "users");
    drop(look);
    // Only the first time: later it is one of ours.
    assert_eq!(pair.json(0, &["init", "--apply"])["copy"], json!(null));
    assert_eq!(copies(&pair), std::slice::from_ref(&copy));
    // Without it, and again the first time, it is let be.
    pair.json(0, &["uninstall", "--yes"]);
    assert_eq!(pair.json(0, &["init", "--apply", "--no-copy"])["copy"], json!(null));
    assert_eq!(copies(&pair).len(), 1);
    pair.json(0, &["uninstall", "--yes"]);
    let text = pair.run(&["init", "--apply"]).ended(0).stdout;
    assert!(text.contains("the file as it was before: "), "{text}");
    assert_eq!(copies(&pair).len(), 2, "a copy never takes the place of another");
    assert_eq!(names_in(&copy), ["Пётр", "late"]);
}

#[test]
fn a_file_that_is_new_is_not_copied() {
    let pair = Pair::new();
    assert_eq!(pair.json(0, &["init", "--apply"])["copy"], json!(null));
    let empty = Pair::new();
    std::fs::write(empty.path(), []).unwrap();
    assert_eq!(empty.json(0, &["init", "--apply"])["copy"], json!(null));
    assert_eq!((copies(&pair), copies(&empty)), (vec![], vec![]));
}

/// Runs the program where `mount` has been done, `$0` the folder of the file.
fn where_mounted(pair: &Pair<'_>, mount: &str, words: &[&str]) -> Ran {
    let run = pair.command(words);
    let script = format!("{mount} && \"$@\"; code=$?; ls -A \"$0\" >&2; exit $code");
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", &script])
        .arg(pair.folder.path())
        .arg(run.get_program())
        .args(run.get_args())
        .output()
        .unwrap();
    Ran::of(output)
}

#[test]
fn without_room_or_right_for_the_copy_nothing_is_done() {
    let pair = drifted();
    pair.sqlite("CREATE TABLE ballast AS SELECT randomblob(3000000) AS b");
    let before = pair.sqlite("SELECT name FROM sqlite_master ORDER BY name");
    let small = "cp \"$0/users.db\" \"$0/../kept.$$\" && mount -t tmpfs -o size=5m tmpfs \"$0\" \
                 && mv \"$0/../kept.$$\" \"$0/users.db\"";
    let words = ["init", "--apply", "--json"];
    let ran = where_mounted(&pair, small, &words).ended(4);
    let error = ran.json()["error"].clone();
    assert_eq!(error["kind"], "no_space", "{error}");
    assert!(error["hint"].as_str().unwrap().contains("--no-copy"), "{error}");
    assert!(!ran.stderr.contains("before-dual"), "half a copy is left: {}", ran.stderr);
    let firm = "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\"";
    let error = where_mounted(&pair, firm, &words).ended(4).json()["error"].clone();
    assert_eq!(error["kind"], "access_denied", "{error}");
    assert!(error["hint"].as_str().unwrap().contains("folder"), "{error}");
    assert_eq!(pair.sqlite("SELECT name FROM sqlite_master ORDER BY name"), before);
    let dual = "SELECT count(*) FROM pg_namespace WHERE nspname = 'dual'";
    assert_eq!(pair.postgres(dual), [[Some("0".into())]]);
    // What the hint says helps.
    let words = ["init", "--apply", "--no-copy", "--json"];
    where_mounted(&pair, small, &words).ended(0);
}

#[test]
fn who_holds_the_file_is_waited_for_and_named() {
    let pair = drifted();
    let program = rusqlite::Connection::open(pair.path()).unwrap();
    program.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let error = pair.json(4, &["init", "--apply"])["error"].clone();
    assert_eq!(error["kind"], "unavailable", "{error}");
    program.execute_batch("COMMIT").unwrap();
    assert_eq!(copies(&pair), Vec::<PathBuf>::new());
    pair.json(0, &["init", "--apply"]);
    assert_eq!(copies(&pair).len(), 1);
}

#[test]
fn a_trigger_of_the_file_that_never_ends_is_told_and_holds_nothing_up() {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE)");
    pair.postgres("INSERT INTO users (user_id) VALUES (1), (2)");
    pair.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, signup_date TEXT)");
    // To be copied, and put into its form, when the table is joined.
    pair.sqlite("INSERT INTO users VALUES (3, '2024-01-02T03:04:05')");
    pair.sqlite(
        "CREATE VIEW endless AS WITH RECURSIVE n(i) AS \
         (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
    );
    pair.sqlite("CREATE TABLE noted (i)");
    for event in ["INSERT", "UPDATE"] {
        pair.sqlite(&format!(
            "CREATE TRIGGER never_{event} AFTER {event} ON users \
             BEGIN INSERT INTO noted SELECT count(*) FROM endless; END"
        ));
    }
    // Two rows that cannot come, and one that cannot get its number.
    let joined = pair.json(1, &["init", "--apply"]);
    assert_eq!((&joined["done"], &joined["quarantined"]), (&json!(true), &json!(3)), "{joined}");
    let dates = "SELECT register_date FROM users WHERE user_id = 3";
    for there in [pair.postgres(dates), pair.sqlite(dates)] {
        assert_eq!(there, [[Some("2024-01-02 03:04:05".to_owned())]]);
    }
    let once = pair.json(1, &["sync", "--once"]);
    assert_eq!(once["state"], "quarantined", "{once}");
    let text = pair.run(&["quarantine"]).ended(0).stdout;
    assert!(text.contains("a trigger of the table does not come to its end"), "{text}");
    let added = pair.json(3, &["user", "add", r#"{"user_id": 4}"#]);
    assert_eq!(added["stored"], json!({ "postgres": true, "sqlite": false }));
}
