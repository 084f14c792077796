//! `dual uninstall`: what is left is the users' tables.

use serde_json::json;

use crate::core_scene::{Pair, dual, nowhere};
use crate::scene::{Ran, Row};

/// What there is besides table `users` and what belongs to it.
fn left(pair: &Pair<'_>) -> (Vec<Row>, Vec<Row>) {
    let postgres = pair.postgres(
        "SELECT nspname FROM pg_namespace WHERE nspname = 'dual' UNION ALL \
         SELECT tgname FROM pg_trigger WHERE NOT tgisinternal UNION ALL \
         SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace \
         WHERE nspname = 'public'",
    );
    let sqlite = pair.sqlite(
        "SELECT type || ' ' || name FROM sqlite_master \
         WHERE tbl_name <> 'users' AND name NOT LIKE 'sqlite_%' OR type = 'trigger'",
    );
    (postgres, sqlite)
}

#[test]
fn only_the_tables_stay_and_both_go_on_as_they_are() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1, "first_name": "Анна"}"#]);
    // It is asked first, and nobody answers here.
    let ran = pair.run(&["uninstall"]).ended(2);
    assert!(ran.stderr.contains("[y/N]"), "{}", ran.stderr);
    assert_ne!(left(&pair), (vec![], vec![]));
    // What is pending arrives before.
    pair.sqlite("INSERT INTO users (user_id, first_name) VALUES (2, 'Пётр')");
    let document = pair.json(0, &["uninstall", "--yes"]);
    assert_eq!(document["removed"], json!({ "postgres": true, "sqlite": true }));
    assert_eq!(left(&pair), (vec![], vec![]));
    let select = "SELECT id, user_id, first_name, status FROM users ORDER BY user_id";
    assert_eq!(pair.postgres(select).len(), 2);
    assert_eq!(pair.postgres(select), pair.sqlite(select));
    pair.sqlite("UPDATE users SET first_name = 'Вера' WHERE user_id = 1");
    pair.postgres("INSERT INTO users (user_id) VALUES (3)");
    // And back again.
    pair.json(0, &["init", "--apply"]);
    assert_eq!(pair.json(0, &["verify"])["tables"][0]["rows_sqlite"], 3);
}

#[test]
fn what_is_pending_is_not_forgotten_without_being_told() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1}"#]);
    pair.sqlite("INSERT INTO users (user_id) VALUES (2)");
    let away = nowhere();
    let ran = pair.run_to(&away, &["uninstall", "--yes", "--json"]).ended(4);
    let error = ran.json()["error"].clone();
    assert_eq!(error["kind"], "unavailable");
    assert!(error["hint"].as_str().unwrap().contains("--abandon-pending"), "{error}");
    assert_ne!(left(&pair).1, Vec::<Row>::new());
    let ran = pair.run_to(&away, &["uninstall", "--yes", "--abandon-pending", "--json"]).ended(3);
    let document = ran.json();
    assert_eq!(document["removed"], json!({ "postgres": false, "sqlite": true }));
    assert_eq!(document["error"]["kind"], "unavailable");
    assert_eq!(left(&pair).1, Vec::<Row>::new());
    assert_eq!(pair.sqlite("SELECT user_id FROM users").len(), 2);
}

#[test]
fn what_others_have_in_our_schema_stays_and_is_told() {
    let pair = Pair::new();
    pair.run(&["init", "--apply"]).ended(0);
    pair.postgres(
        "CREATE TABLE dual.mine (id int PRIMARY KEY); INSERT INTO dual.mine VALUES (1); \
         CREATE TABLE dual.side_effects (id int); CREATE FUNCTION dual.put() RETURNS int \
           LANGUAGE sql AS 'SELECT 1'; CREATE TYPE dual.mood AS ENUM ('good')",
    );
    let document = pair.json(0, &["uninstall", "--yes"]);
    assert_eq!(document["removed"], json!({ "postgres": true, "sqlite": true }));
    let left_there = json!([
        "function dual.put()",
        "table dual.mine",
        "table dual.side_effects",
        "type dual.mood"
    ]);
    assert_eq!((&document["was_installed"], &document["left"]), (&json!(true), &left_there));
    assert_eq!(pair.postgres("SELECT id FROM dual.mine").len(), 1);
    let ours = "SELECT relname FROM pg_class WHERE relnamespace = 'dual'::regnamespace \
                AND relkind = 'r' ORDER BY 1";
    let names: Vec<_> = pair.postgres(ours).into_iter().flatten().flatten().collect();
    assert_eq!(names, ["mine", "side_effects"]);
    assert_eq!(left(&pair).1, Vec::<Row>::new());
    // Not once more among them.
    let told = pair.run(&["init", "--apply"]).ended(2).stderr;
    assert!(told.contains("other things than ours"), "{told}");
    pair.postgres("DROP SCHEMA dual CASCADE");
    pair.run(&["init", "--apply"]).ended(0);
    // With names, and where a table of the user's was moved into it.
    pair.postgres("INSERT INTO users (user_id) VALUES (7); ALTER TABLE users SET SCHEMA dual");
    let there = format!("{}?options=-csearch_path%3Ddual", pair.database.url());
    let told = pair.run_to(&there, &["init"]).ended(2).stderr;
    assert!(told.contains("`dual uninstall` takes ours out of it"), "{told}");
    let told = pair.run(&["uninstall", "--yes", "--abandon-pending"]).ended(0).stdout;
    assert_eq!(
        told,
        "PostgreSQL: only the tables are left, and what others have in our schema: table dual.users\n\
         SQLite: only the tables are left\n"
    );
    assert_eq!(pair.postgres("SELECT user_id FROM dual.users").len(), 1);
    // Where nothing is, that is said.
    pair.postgres("ALTER TABLE dual.users SET SCHEMA public; DROP SCHEMA dual");
    let told = pair.run(&["uninstall", "--yes", "--abandon-pending"]).ended(0).stdout;
    assert!(told.starts_with("PostgreSQL: nothing of ours was there\n"), "{told}");
}

#[test]
fn what_others_have_made_of_ours_is_not_dropped_with_it() {
    let pair = Pair::new();
    pair.run(&["init", "--apply"]).ended(0);
    for (made, named, dropped) in [
        ("CREATE VIEW seen AS SELECT key FROM dual.conflict", "view public.seen", "VIEW seen"),
        (
            "CREATE TABLE noted (run text REFERENCES dual.import_run)",
            "table constraint noted_run_fkey on public.noted",
            "TABLE noted",
        ),
        (
            "CREATE TABLE orders (id int); CREATE TRIGGER dual_too AFTER TRUNCATE ON orders \
               EXECUTE FUNCTION dual.users_truncated()",
            "trigger dual_too on public.orders",
            "TABLE orders",
        ),
        (
            "CREATE FUNCTION of(dual.side_users) RETURNS int LANGUAGE sql AS 'SELECT 1'",
            "function public.of(dual.side_users)",
            "FUNCTION of",
        ),
    ] {
        pair.postgres(made);
        let before = left(&pair);
        for words in [&["uninstall", "--yes"][..], &["uninstall", "--yes", "--abandon-pending"]] {
            let told = pair.run(words).ended(2).stderr;
            assert!(told.contains(named), "{told}");
        }
        assert_eq!(left(&pair), before);
        pair.postgres(&format!("DROP {dropped}"));
    }
    pair.run(&["uninstall", "--yes"]).ended(0);
    assert_eq!(left(&pair), (vec![], vec![]));
}

#[test]
fn who_forgets_the_schema_takes_nothing_away() {
    let pair = Pair::new();
    pair.run(&["init", "--apply", "--pg-schema", "kept"]).ended(0);
    let before = left(&pair);
    for words in [&["uninstall", "--yes"][..], &["uninstall", "--yes", "--abandon-pending"]] {
        let told = pair.run(words).ended(2).stderr;
        assert!(told.contains("installation in the schema \"kept\""), "{told}");
        assert!(told.contains("--pg-schema"), "{told}");
    }
    assert_eq!(left(&pair), before);
    pair.run(&["uninstall", "--yes", "--pg-schema", "kept"]).ended(0);
    assert_eq!(left(&pair), (vec![], vec![]));
}

/// The words of the guide, for who has no way to PostgreSQL just then.
#[test]
fn a_file_whose_tables_somebody_has_changed_is_made_anew() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1, "first_name": "one"}"#]);
    pair.sqlite("UPDATE dual_node SET follow = 'somebody''s'");
    let ran = pair.run(&["status"]);
    let told = format!("{}{}", ran.stdout, ran.stderr);
    assert!(told.contains("`dual uninstall --file-only --abandon-pending`"), "{told}");
    let path = pair.path().display().to_string();
    let of_the_file = |words: &[&str]| {
        let mut command = dual();
        command.args(["uninstall", "--file-only", "--sqlite-db-path", &path]).args(words);
        Ran::of(command.current_dir(pair.folder.path()).output().unwrap())
    };
    let asks = of_the_file(&["--yes"]).ended(2).stderr;
    assert!(asks.contains("--pg-db-url"), "{asks}");
    let asks = of_the_file(&["--abandon-pending"]).ended(2).stderr;
    assert!(asks.contains("[y/N]") && !asks.contains("postgresql:"), "{asks}");
    let done = of_the_file(&["--abandon-pending", "--yes"]).ended(0).stdout;
    assert_eq!(done, "SQLite: only the tables are left\n");
    let document = of_the_file(&["--abandon-pending", "--yes", "--json"]).ended(0).json();
    assert_eq!(document["removed"], json!({ "postgres": false, "sqlite": true }));
    let (there, here) = left(&pair);
    assert!(!there.is_empty() && here.is_empty(), "{there:?} {here:?}");
    pair.sqlite("UPDATE users SET first_name = 'other' WHERE user_id = 1");
    pair.run(&["init", "--apply"]).ended(0);
    pair.run(&["verify"]).ended(0);
    assert_eq!(pair.sqlite("SELECT first_name FROM users"), [[Some("one".into())]]);
    let conflicts = pair.run(&["conflicts"]).ended(0).stdout;
    assert!(conflicts.contains("other"), "{conflicts}");
}
