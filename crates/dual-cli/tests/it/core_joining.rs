//! `dual init` where something stands in the way: another program in the same database, an
//! installation that is gone, rights that are missing, what capture cannot live with.

use dual_database::schema::{Dialect, users};
use serde_json::{Value, json};

use crate::core_scene::{Pair, eventually};
use crate::scene::Row;

/// The declared table, as the owner makes it.
fn table(pair: &Pair<'_>, name: &str) {
    pair.postgres(&users().create_statement(Dialect::Postgres, name));
}

fn in_schema(pair: &Pair<'_>, schema: &str) -> String {
    format!("{}?options=-csearch_path%3D{schema}", pair.database.url())
}

/// Everything of ours on both sides, and what lies beside the file.
fn ours(pair: &Pair<'_>) -> (Vec<Row>, Vec<String>) {
    let there = pair.postgres(
        "SELECT nspname FROM pg_namespace WHERE nspname = 'dual' UNION ALL \
         SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
    );
    let files = std::fs::read_dir(pair.folder.path()).unwrap();
    let mut files: Vec<String> =
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    if pair.path().exists() {
        let made = pair.sqlite("SELECT name FROM sqlite_master WHERE name LIKE 'dual%'");
        files.extend(made.into_iter().filter_map(|row| row[0].clone()));
    }
    (there, files)
}

/// The statements of a hint, as the owner would run them.
fn run_hint(pair: &Pair<'_>, hint: &str) {
    let mut ran = 0;
    for part in hint.split("the owner can run: ").skip(1) {
        pair.postgres(part.trim());
        ran += 1;
    }
    assert!(ran > 0, "{hint}");
}

fn obstacles(plan: &Value) -> (String, String) {
    let side = &plan["tables"][0]["postgres"];
    (side["obstacles"].to_string(), side["hint"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn two_programs_of_one_database_do_not_take_the_table_from_each_other() {
    let (pair, second) = (Pair::new(), Pair::new());
    for schema in ["one", "two"] {
        pair.postgres(&format!("CREATE SCHEMA {schema}"));
        table(&pair, &format!("{schema}.users"));
        pair.postgres(&format!(
            "INSERT INTO {schema}.users (user_id, source) VALUES (1, '{schema}')"
        ));
    }
    second.sqlite("CREATE TABLE users (user_id INTEGER PRIMARY KEY, username TEXT)");
    second.sqlite("INSERT INTO users VALUES (2, 'second')");
    let (one, two) = (in_schema(&pair, "one"), in_schema(&pair, "two"));
    pair.run_to(&one, &["init", "--apply"]).ended(0);
    let is_first = "SELECT relation, target = 'one.users'::regclass FROM dual.tracked";
    let tracked = pair.postgres(is_first);
    let before = ours(&second);
    for dropped in [false, true] {
        if dropped {
            pair.postgres("DROP TABLE one.users");
        }
        let plan = second.run_to(&two, &["init", "--json"]).ended(1).json();
        let (why, hint) = obstacles(&plan);
        assert!(why.contains("another table of that name is joined"), "{why}");
        assert!(hint.contains("dual uninstall"), "{hint}");
        for words in
            [&["init", "--apply", "--json"][..], &["init", "--apply", "--rejoin", "--json"]]
        {
            let error = second.run_to(&two, words).ended(2).json()["error"].clone();
            assert!(
                error["message"].as_str().unwrap().contains("joined in this database"),
                "{error}"
            );
        }
        assert_eq!(ours(&second), before);
        let rows = pair.postgres("SELECT relation FROM dual.tracked");
        assert_eq!(rows, [[tracked[0][0].clone()]]);
        assert_eq!(
            pair.postgres("SELECT to_regclass('one.users') IS NULL")[0][0].as_deref(),
            Some(["f", "t"][usize::from(dropped)])
        );
    }
    // What the hint says helps.
    pair.run_to(&one, &["uninstall", "--yes", "--abandon-pending"]).ended(0);
    second.run_to(&two, &["init", "--apply"]).ended(0);
    let select = "SELECT user_id, source, username FROM users ORDER BY user_id";
    let rows = pair.postgres(&select.replace("FROM users", "FROM two.users"));
    assert_eq!((rows.len(), &rows), (2, &second.sqlite(select)));
}

#[test]
fn a_database_without_the_schema_dual_is_joined_again_with_what_waits() {
    let pair = Pair::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1, "first_name": "Анна"}"#]);
    pair.json(0, &["user", "add", r#"{"user_id": 2}"#]);
    pair.sqlite("UPDATE users SET first_name = 'Вера' WHERE user_id = 1");
    pair.sqlite("DELETE FROM users WHERE user_id = 2");
    pair.sqlite("INSERT INTO users (user_id) VALUES (3)");
    pair.postgres("DROP SCHEMA dual CASCADE");
    pair.postgres("INSERT INTO users (user_id) VALUES (4)");
    // Nothing is written to either, and the way out is told.
    for words in [
        &["user", "add", r#"{"user_id": 5}"#][..],
        &["sync", "--once"],
        &["init"],
        &["init", "--apply"],
    ] {
        let error = pair.json(2, words)["error"].clone();
        assert!(error["hint"].as_str().unwrap().contains("dual init --rejoin"), "{error}");
    }
    let hint = pair.json(0, &["status"])["sqlite"]["hint"].clone();
    assert!(hint.as_str().unwrap().contains("dual init --rejoin"), "{hint}");
    let plan = pair.run(&["init", "--rejoin"]).ended(0).words();
    assert!(plan.contains("what waits in it, in 3 rows, goes to PostgreSQL"), "{plan}");
    assert!(plan.contains("`dual init --apply --rejoin` does it"), "{plan}");
    let document = pair.json(0, &["init", "--rejoin"]);
    assert_eq!((&document["joined"], &document["rejoins_with"]), (&json!(false), &json!(3)));

    let joined = pair.json(0, &["init", "--apply", "--rejoin"]);
    assert!(joined["copy"].as_str().unwrap().contains(".before-dual-"), "{joined}");
    let select = "SELECT id, user_id, first_name, status FROM users ORDER BY user_id";
    let rows = pair.postgres(select);
    assert_eq!(rows, pair.sqlite(select));
    let names: Vec<_> = rows.iter().map(|row| (row[1].as_deref(), row[2].as_deref())).collect();
    assert_eq!(names, [(Some("1"), Some("Вера")), (Some("3"), None), (Some("4"), None)]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    // From then on it is a file like any other.
    let again = pair.json(0, &["init", "--apply", "--rejoin"]);
    assert_eq!((&again["joined"], &again["copy"]), (&json!(true), &json!(null)), "{again}");
    let added = pair.json(0, &["user", "add", r#"{"user_id": 5}"#]);
    assert_eq!(added["stored"], json!({ "postgres": true, "sqlite": true }));
}

/// A login with these rights on a table of the owner's, and the address for it.
fn poor(pair: &Pair<'_>, rights: &str) -> (String, String) {
    let role = format!("poor_{}", pair.database.name());
    table(pair, "users");
    pair.postgres(&format!("CREATE ROLE \"{role}\" LOGIN"));
    pair.postgres(&format!("GRANT {rights} ON users TO \"{role}\""));
    let url = pair.database.url_as(&role, None);
    (role, url)
}

fn without(pair: &Pair<'_>, role: &str) {
    pair.postgres(&format!("DROP OWNED BY \"{role}\" CASCADE"));
    pair.postgres(&format!("DROP ROLE \"{role}\""));
}

#[test]
fn rights_that_are_missing_are_in_the_plan_as_statements() {
    let pair = Pair::new();
    let (role, url) = poor(&pair, "SELECT, INSERT, UPDATE, DELETE");
    pair.postgres("ALTER TABLE users DROP COLUMN referrer_id");
    pair.postgres(&format!("GRANT USAGE, SELECT ON SEQUENCE users_id_seq TO \"{role}\""));
    let before = ours(&pair);
    let plan = pair.run_to(&url, &["init", "--json"]).ended(1).json();
    let (why, hint) = obstacles(&plan);
    assert!(why.contains("only the table's owner can change it"), "{why}");
    assert!(why.contains("make the schema dual") && why.contains("triggers on"), "{why}");
    pair.run_to(&url, &["init", "--apply"]).ended(4);
    assert_eq!(ours(&pair), before);
    run_hint(&pair, &hint);
    pair.run_to(&url, &["init"]).ended(0);
    assert_eq!(ours(&pair), before, "what was tried is taken back");
    pair.run_to(&url, &["init", "--apply"]).ended(0);
    pair.run_to(&url, &["user", "add", r#"{"user_id": 1}"#]).ended(0);
    pair.run_to(&url, &["uninstall", "--yes"]).ended(0);
    without(&pair, &role);
}

#[test]
fn numbers_may_be_taken_from_a_sequence_that_may_not_be_read() {
    let pair = Pair::new();
    let (role, url) = poor(&pair, "ALL");
    let database = pair.database.name();
    pair.postgres(&format!("GRANT CREATE ON DATABASE \"{database}\" TO \"{role}\""));
    pair.postgres(&format!("GRANT USAGE ON SEQUENCE users_id_seq TO \"{role}\""));
    pair.run_to(&url, &["init", "--apply"]).ended(0);
    // Each is a process of its own, and the first was not the last that works.
    for key in 1..4 {
        let words = ["user", "add", &format!(r#"{{"user_id": {key}}}"#)];
        pair.run_to(&url, &words).ended(0);
        let status = pair.run_to(&url, &["status", "--json"]).ended(0).json();
        assert_eq!(status["postgres"]["state"], "up", "{status}");
    }
    assert_eq!(pair.postgres("SELECT max(id) FROM users")[0][0].as_deref(), Some("3"));
    let plan = pair.run_to(&url, &["init"]).ended(0).stdout;
    assert!(plan.contains("nothing is left to do"), "{plan}");
    without(&pair, &role);
}

#[test]
fn what_capture_cannot_live_with_is_in_the_plan() {
    let pair = Pair::new();
    table(&pair, "users");
    pair.postgres("CREATE RULE \"keep it\" AS ON INSERT TO users DO ALSO NOTHING");
    let before = ours(&pair);
    let (why, hint) = obstacles(&pair.json(1, &["init"]));
    assert!(why.contains("the rule \\\"keep it\\\""), "{why}");
    pair.json(5, &["init", "--apply"]);
    assert_eq!(ours(&pair), before);
    run_hint(&pair, &hint);
    pair.json(0, &["init", "--apply"]);

    for part in [
        "CREATE TABLE people (LIKE users INCLUDING DEFAULTS) PARTITION BY RANGE (user_id); \
         ALTER TABLE people ATTACH PARTITION users DEFAULT",
        "CREATE TABLE people (LIKE users INCLUDING DEFAULTS); ALTER TABLE users INHERIT people",
    ] {
        let pair = Pair::new();
        table(&pair, "users");
        pair.postgres(part);
        let before = ours(&pair);
        let (why, hint) = obstacles(&pair.json(1, &["init"]));
        assert!(why.contains("a part of public.people"), "{why}");
        assert!(hint.contains("join public.people"), "{hint}");
        pair.json(5, &["init", "--apply"]);
        assert_eq!(ours(&pair), before);
    }
}

/// No catalog tells what an extension or an event trigger forbids.
#[test]
fn what_no_catalog_tells_is_found_by_trying() {
    let pair = Pair::new();
    table(&pair, "users");
    pair.postgres(
        "CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE 'not on a distributed table' USING ERRCODE = '0A000'; END $$",
    );
    pair.postgres(
        "CREATE EVENT TRIGGER forbid ON ddl_command_start WHEN TAG IN ('CREATE TRIGGER') \
         EXECUTE FUNCTION forbid()",
    );
    let before = ours(&pair);
    let (why, _) = obstacles(&pair.json(1, &["init"]));
    assert!(why.contains("not on a distributed table"), "{why}");
    let text = pair.run(&["init"]).ended(1).stdout;
    assert!(text.contains("! ") && text.contains("not on a distributed table"), "{text}");
    let error = pair.json(5, &["init", "--apply"])["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("not on a distributed table"), "{error}");
    assert_eq!(ours(&pair), before);
    pair.postgres("DROP EVENT TRIGGER forbid");
    pair.json(0, &["init"]);
    assert_eq!(ours(&pair), before);
    pair.json(0, &["init", "--apply"]);
}

#[test]
fn a_table_that_somebody_holds_is_not_tried_and_not_waited_for() {
    let pair = Pair::new();
    table(&pair, "users");
    let holds = "LOCK TABLE users IN ROW EXCLUSIVE MODE; SELECT pg_sleep(300)";
    let (database, server) = (pair.database.name().to_owned(), pair.database.server());
    let holder = std::thread::spawn(move || server.execute(&database, holds));
    eventually("the lock", || {
        let held = "SELECT FROM pg_locks WHERE relation = 'users'::regclass \
                    AND mode = 'RowExclusiveLock' AND granted";
        !pair.postgres(held).is_empty()
    });
    let plan = pair.json(0, &["init"]);
    assert!(plan["tables"][0]["postgres"]["untried"].is_string(), "{plan}");
    let text = pair.run(&["init"]).ended(0).stdout;
    assert!(text.contains("could not be tried"), "{text}");
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity \
                  WHERE query LIKE 'LOCK TABLE users%' AND datname = current_database()";
    pair.postgres(cancel);
    assert!(holder.join().unwrap().is_err());
    let plan = pair.json(0, &["init"]);
    assert_eq!(plan["tables"][0]["postgres"]["untried"], json!(null));
}
