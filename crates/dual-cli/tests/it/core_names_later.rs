//! What becomes of columns that the file calls otherwise when something changes, or is declared wrongly.

use crate::core_names::{column, columns, follows, init, joined, members, row, settings};
use crate::core_scene::{Pair, Watcher, eventually};
use crate::scene::Row;
use serde_json::json;

#[test]
fn columns_that_come_are_told_from_those_that_are_known_by_another_name() {
    let pair = joined();
    pair.postgres("ALTER TABLE members ADD COLUMN born date, ADD COLUMN signup_date text");
    pair.postgres("UPDATE members SET born = '2000-01-02', signup_date = 'mine'");
    pair.sqlite("ALTER TABLE members ADD COLUMN \"почта\" TEXT");
    pair.sqlite("ALTER TABLE members ADD COLUMN register_date TEXT");
    pair.sqlite("UPDATE members SET \"почта\" = 'x@y', register_date = 'own'");
    follows(&pair);
    let rows = members(
        &pair,
        "member_no, register_date::text, visits::text, born::text, \"почта\"",
        "\"Номер; \"\"да\"\"\", signup_date, raz, born, \"почта\"",
    );
    assert_eq!(rows[0], row(["a", "2024-05-06 07:08:09", "1", "2000-01-02", "x@y"]));
    // Each side keeps its own of what the other one knows by that name for another column.
    let status = pair.json(0, &["status"]);
    let told = json!([
        { "table": "members", "column": "register_date", "store": "sqlite" },
        { "table": "members", "column": "signup_date", "store": "postgres" },
    ]);
    let mut found = status["not_carried"].as_array().unwrap().clone();
    found.sort_by_key(|one| one["column"].to_string());
    assert_eq!(json!(found), told, "{status}");
    let text = init(&pair, &pair.database.url(), &["--tables", "members"]).ended(0).stdout;
    for wanted in [
        "  register_date: signup_date in the file\n",
        "  signup_date is not carried: in the file register_date is called so\n",
        "  register_date is not carried: in the file that column is called signup_date\n",
    ] {
        assert!(text.contains(wanted), "{text}");
    }
    let of_columns = text.lines().filter(|line| line.contains(" in the file"));
    assert!(of_columns.clone().all(|line| line.chars().count() <= 80), "{text}");
    assert_eq!(columns(&pair, "members")[1].len(), 7);
    assert_eq!(pair.sqlite("SELECT DISTINCT register_date FROM members"), [row(["own"])]);
}

#[test]
fn names_types_and_drops_are_declared_anew_by_each_side_s_own() {
    let pair = joined();
    let url = pair.database.url();
    let other = Pair::new();
    other.run_to(&url, &["init", "--apply"]).ended(0);
    let shown = pair.json(0, &["schema", "members"]);
    let wanted = json!({ "name": "register_date", "sqlite_name": "signup_date", "sqlite": "TIMESTAMP",
        "declared": "timestamp without time zone", "postgres": "timestamp without time zone",
        "differs": null });
    assert_eq!(column(&shown, "members", "register_date"), wanted);
    let text = pair.run(&["schema", "members"]).ended(0).stdout;
    assert!(text.contains("signup_date: TIMESTAMP"), "{text}");

    // PostgreSQL's name is another one now; the file's stays.
    pair.postgres("ALTER TABLE members RENAME register_date TO joined");
    pair.sqlite("UPDATE members SET signup_date = '2026-01-01 00:00:00' WHERE note = 'here'");
    let refused = pair.json(2, &["schema", "apply", "members", "--yes"]);
    let hint = refused["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("--rename register_date=joined"), "{refused}");
    let done =
        pair.json(0, &["schema", "apply", "members", "--rename", "register_date=joined", "--yes"]);
    let step =
        json!(["register_date is called joined in PostgreSQL, and signup_date in files as before"]);
    assert_eq!((&done["steps"], &done["applied"]), (&step, &json!(true)), "{done}");
    follows(&pair);
    let rows = members(&pair, "joined::text, note", "signup_date, note");
    assert_eq!(rows[0], row(["2026-01-01 00:00:00", "here"]));
    other.run_to(&url, &["sync"]).ended(0);
    assert_eq!(
        other.sqlite("SELECT signup_date FROM members WHERE note = 'here'"),
        [row(["2026-01-01 00:00:00"])]
    );

    // A type: the file's column is made anew under the name that it has there.
    pair.postgres("ALTER TABLE members ALTER visits TYPE text");
    let done = pair.json(0, &["schema", "apply", "members", "--yes"]);
    assert!(done["steps"][1].as_str().unwrap().starts_with("raz is made anew"), "{done}");
    follows(&pair);
    let rows = members(&pair, "visits, joined::text", "raz, signup_date");
    assert_eq!(rows[0][0].as_deref(), Some("1"));

    // The file's name is another one now; PostgreSQL's stays, and other files get it.
    pair.sqlite("ALTER TABLE members RENAME COLUMN signup_date TO \"С; 'да'\"");
    let refused = pair.json(2, &["schema", "apply", "members", "--yes"]);
    let hint = refused["error"]["hint"].as_str().unwrap();
    assert!(hint.contains(r"--file-name 'joined=С; '\''да'\'''"), "{refused}");
    let words = ["schema", "apply", "members", "--file-name", "joined=С; 'да'", "--yes"];
    assert_eq!(pair.json(0, &words)["steps"], json!(["joined is called С; 'да' in files"]));
    assert_eq!(pair.json(0, &words)["applied"], false);
    follows(&pair);
    members(&pair, "joined::text", "\"С; 'да'\"");
    other.run_to(&url, &["schema", "apply", "members", "--yes"]).ended(0);
    assert_eq!(
        other.sqlite("SELECT \"С; 'да'\" FROM members WHERE note = 'here'"),
        [row(["2026-01-01 00:00:00"])]
    );
    assert!(columns(&pair, "members")[0].contains(&row(["joined"])));
    // One that had one name on both sides.
    pair.run(&["schema", "apply", "members", "--file-name", "note=запись", "--yes"]).ended(0);
    follows(&pair);
    members(&pair, "note", "\"запись\"");
    other.run_to(&url, &["sync"]).ended(0);
    other.sqlite("UPDATE members SET \"запись\" = 'from there' WHERE \"запись\" = 'here'");
    other.run_to(&url, &["sync"]).ended(0);
    follows(&pair);
    assert_eq!(members(&pair, "note", "\"запись\"")[0], row(["from there"]));
    for (words, wanted) in [
        (["--file-name", "note=raz"], "taken in the file"),
        (["--file-name", "nope=x"], "did you mean"),
        (["--file-name", "member_no=x"], "is of its key"),
        (["--rename", "note=visits"], "taken"),
    ] {
        let words = [&["schema", "apply", "members", "--yes"][..], &words].concat();
        let refused = pair.json(2, &words);
        assert!(refused["error"].to_string().contains(wanted), "{words:?} {refused}");
    }

    // What PostgreSQL has no more is not put back by what the file has under its own name.
    pair.postgres("ALTER TABLE members DROP COLUMN joined");
    pair.run(&["schema", "apply", "members", "--drop", "joined", "--yes"]).ended(0);
    follows(&pair);
    assert_eq!(columns(&pair, "members")[0].len(), 3);
    assert_eq!(
        pair.sqlite("SELECT count(*) FROM members WHERE \"С; 'да'\" IS NOT NULL"),
        [row(["4"])]
    );
}

#[test]
fn programs_that_run_follow_a_new_name_in_files() {
    let pair = joined();
    let url = pair.database.url();
    let other = Pair::new();
    other.run_to(&url, &["init", "--apply"]).ended(0);
    let own = Watcher::new(&pair, &[]);
    let mut watcher = other.command_to(&url, &["sync", "--watch"]).spawn().unwrap();
    let third = Pair::new();
    third.run_to(&url, &["init", "--apply"]).ended(0);
    pair.run(&["schema", "apply", "members", "--file-name", "note=запись", "--yes"]).ended(0);
    let is_named = |pair: &Pair<'_>| columns(pair, "members")[1].contains(&row(["запись"]));
    eventually("the other file's name", || {
        let names = other.sqlite("SELECT name FROM pragma_table_info('members')");
        names.contains(&row(["запись"]))
    });
    assert!(is_named(&pair));
    other.sqlite("UPDATE members SET \"запись\" = 'from another file' WHERE raz = 3");
    pair.postgres("UPDATE members SET note = 'there' WHERE visits = 2");
    let note = "SELECT \"запись\" FROM members WHERE raz IN (2, 3) ORDER BY raz";
    let wanted = [row(["there"]), row(["from another file"])];
    eventually("both changes in both files", || {
        pair.sqlite(note) == wanted && other.sqlite(note) == wanted
    });
    crate::core_scene::signal(&watcher, "TERM");
    watcher.wait().unwrap();
    drop(own);
    follows(&pair);
    third.run_to(&url, &["sync"]).ended(0);
    assert_eq!(third.sqlite(note), wanted);
    // One that comes now has the new name; one that has the old one is renamed, as a person has said of files.
    let old = Pair::new();
    old.sqlite("CREATE TABLE members (\"Номер; \"\"да\"\"\" TEXT PRIMARY KEY, note TEXT)");
    old.sqlite("INSERT INTO members VALUES ('z', 'old')");
    old.run_to(&url, &["init", "--apply"]).ended(0);
    assert_eq!(
        old.sqlite("SELECT \"запись\" FROM members WHERE \"запись\" = 'old'"),
        [row(["old"])]
    );
    assert_eq!(pair.postgres("SELECT note FROM members WHERE member_no = 'z'"), [row(["old"])]);
}

#[test]
fn a_file_that_joins_later_has_the_declared_name_or_gets_it() {
    let pair = joined();
    let url = pair.database.url();
    // Neither name: it is made under the file's.
    let bare = Pair::new();
    bare.sqlite("CREATE TABLE members (\"Номер; \"\"да\"\"\" TEXT PRIMARY KEY, note TEXT)");
    bare.sqlite("INSERT INTO members VALUES ('z', 'new')");
    bare.run_to(&url, &["init", "--apply"]).ended(0);
    let names: Vec<Row> = columns(&pair, "members")[1].clone();
    let mut found = bare.sqlite("SELECT name FROM pragma_table_info('members') ORDER BY cid");
    assert_eq!(found.len(), names.len());
    found.sort();
    assert_eq!(found, {
        let mut names = names;
        names.sort();
        names
    });
    assert_eq!(
        bare.sqlite("SELECT signup_date FROM members WHERE raz = 1"),
        [row(["2024-05-06 07:08:09"])]
    );
    // PostgreSQL's name: a sentence with the statement that mends it, and nothing half joined.
    let alike = Pair::new();
    alike.sqlite(
        "CREATE TABLE members (\"Номер; \"\"да\"\"\" TEXT PRIMARY KEY, register_date TEXT, note TEXT)",
    );
    alike.sqlite("INSERT INTO members VALUES ('y', '2021-01-01 00:00:00', 'alike')");
    let refused =
        alike.run_to(&url, &["init", "--tables", "members", "--apply", "--json"]).ended(5).json();
    let statement = "ALTER TABLE \"members\" RENAME COLUMN \"register_date\" TO \"signup_date\"";
    assert!(refused["error"]["message"].as_str().unwrap().contains(statement), "{refused}");
    assert_eq!(
        alike.sqlite("SELECT name FROM sqlite_schema WHERE name LIKE 'dual%'"),
        Vec::<Row>::new()
    );
    alike.sqlite(statement);
    alike.run_to(&url, &["init", "--apply"]).ended(0);
    follows(&pair);
    let rows =
        members(&pair, "member_no, register_date::text", "\"Номер; \"\"да\"\"\", signup_date");
    assert_eq!(rows[4], row(["y", "2021-01-01 00:00:00"]));
    assert_eq!(rows[5][0].as_deref(), Some("z"));
}

#[test]
fn names_that_make_no_one_column_are_refused_and_nothing_is_changed() {
    let pair = Pair::new();
    pair.postgres(
        "CREATE TABLE t (id bigint PRIMARY KEY, register_date date, other text, \"Дата\" text, code uuid, \"Two\" text, two text)",
    );
    pair.postgres("CREATE TABLE users (user_id bigint UNIQUE NOT NULL, extra text)");
    pair.sqlite(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, signup_date TEXT, other TEXT, note TEXT, amount DECIMAL(9,2), made AS (id))",
    );
    pair.sqlite("CREATE TABLE users (user_id INTEGER UNIQUE, signup_date TEXT, more TEXT)");
    let url = pair.database.url();
    for (names, wanted) in [
        ("t.names]\nregsiter_date = 'signup_date'", "did you mean `register_date`?"),
        ("t.names]\nregister_date = 'singup_date'", "did you mean `signup_date`?"),
        ("t.names]\nsignup_date = 'register_date'", "PostgreSQL has no column signup_date"),
        ("t.names]\nregister_date = 'other'", "PostgreSQL has a column other, too"),
        ("t.names]\nregister_date = 'note'\n'Дата' = 'NOTE'", "would both be note in the file"),
        ("t.names]\nTwo = 'note'\ntwo = 'note'", "would both be note in the file"),
        ("t.names]\nregister_date = 'note'\nREGISTER_DATE = 'signup_date'", "is named twice"),
        (
            "t.names]\nother = 'note'\nregister_date = 'other'\n[tables.t]\nleave_out = ['note']",
            "unreadable",
        ),
        (
            "t]\nleave_out = ['note']\n[tables.t.names]\nother = 'note'",
            "is in names, and in leave_out",
        ),
        ("t.names]\nTwo = 'amount'", "Two and amount cannot be one column"),
        ("t.names]\nother = 'made'", "it is computed"),
        ("t.names]\nother = ''", "names no column"),
        ("t.names]\nother = \"a\\u0000b\"", "names no column"),
        ("t]\nnames = ['other']", "write names = { NAME = \"NAME IN THE FILE\" }"),
        ("t.names]\nother = 5", "names is no table of texts"),
        ("t.names]\nother = 'x; DROP TABLE t; --'", "the file has no column x; DROP TABLE t; --"),
        (
            "t]\nkey = ['other']\ntypes = { signup_date = 'date' }\n[tables.t.names]\nregister_date = 'signup_date'",
            "which says its type",
        ),
        ("users.names]\nregister_date = 'signup_date'", "the documented system has"),
        ("users.names]\nextra = 'user_id'", "the documented system has"),
    ] {
        settings(&pair, &format!("[tables.{names}\n"));
        let error = init(&pair, &url, &["--apply", "--json"]).ended(2).json()["error"].clone();
        let shown = format!("{} {}", error["message"], error["hint"]).replace("\\\"", "\"");
        assert!(shown.contains(wanted) || wanted == "unreadable", "{names}: {error}");
    }
    assert!(pair.postgres("SELECT 1 FROM pg_namespace WHERE nspname = 'dual'").is_empty());
    // What is right is joined, other columns of the users among it; afterwards names are not said anew.
    settings(
        &pair,
        "[tables.t.names]\nregister_date = 'signup_date'\nother = 'note'\n'Дата' = 'other'\n\
                     [tables.users.names]\nextra = 'more'\n",
    );
    pair.sqlite("INSERT INTO users VALUES (7, '2024-01-01 00:00:00', 'm')");
    pair.sqlite("INSERT INTO t (id, signup_date, other, note) VALUES (1, '2024-01-01', 'д', 'o')");
    init(&pair, &url, &["--apply"]).ended(0);
    let rows = pair.postgres("SELECT register_date::text, other, \"Дата\" FROM t");
    assert_eq!(rows, [row(["2024-01-01", "o", "д"])]);
    assert_eq!(
        pair.postgres("SELECT extra, register_date::text FROM users"),
        [row(["m", "2024-01-01 00:00:00"])]
    );
    for (names, wanted) in [
        ("register_date = 'note'", "register_date is called signup_date in files, not note"),
        ("'amount' = 'x'", "--file-name amount=x"),
        ("nope = 'x'", "has no column nope"),
    ] {
        settings(&pair, &format!("[tables.t.names]\n{names}\n"));
        let error = init(&pair, &url, &["--json"]).ended(2).json()["error"].clone();
        assert!(error.to_string().contains(wanted), "{names}: {error}");
    }
}

#[test]
fn a_written_plan_tells_what_could_be_one_column() {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE t (id bigint PRIMARY KEY, register_date date, note text)");
    pair.sqlite("CREATE TABLE t (id INTEGER PRIMARY KEY, signup_date DATE, note TEXT)");
    pair.sqlite("INSERT INTO t VALUES (1, '2024-05-06', 'x')");
    let url = pair.database.url();
    init(&pair, &url, &["--write-config"]).ended(0);
    let path = pair.folder.path().join("dual.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let line = "# if two are one: names = { \"register_date\" = \"signup_date\" }\n";
    assert!(text.contains(line), "{text}");
    assert!(
        text.contains(
            "# only in PostgreSQL: \"register_date\"; only in the file: \"signup_date\"\n"
        ),
        "{text}"
    );
    // Taken at its word, with what it writes of types: that is PostgreSQL's to say then.
    let names = line.trim_start_matches("# if two are one: ");
    let (before, _) = text.replace(line, names).split_once("[tables.\"t\".types]").map_or_else(
        || (text.replace(line, names), String::new()),
        |(before, types)| (before.to_owned(), types.to_owned()),
    );
    settings(&pair, &before);
    init(&pair, &url, &["--apply"]).ended(0);
    assert_eq!(pair.postgres("SELECT register_date::text FROM t"), [row(["2024-05-06"])]);
}
