//! Columns that the file calls otherwise than PostgreSQL: declared when the table is joined, each side keeps its
//! own name from then on, and nothing is renamed or added.

use std::process::Command;

use serde_json::{Value, json};
use throwaway_postgres::{Server, StopMode};

use crate::core_scene::{Pair, Watcher, eventually};
use crate::scene::{Ran, Row};

/// Runs it in the pair's folder, where its settings are.
fn init(pair: &Pair<'_>, url: &str, words: &[&str]) -> Ran {
    let mut command = pair.command_to(url, &["init"]);
    command.args(words).current_dir(pair.folder.path());
    Ran::of(command.output().unwrap())
}

fn settings(pair: &Pair<'_>, text: &str) {
    std::fs::write(pair.folder.path().join("dual.toml"), text).unwrap();
}

/// What an old script does, with Python's own `sqlite3`; answers what its last statement gives.
#[track_caller]
fn python(pair: &Pair<'_>, script: &str) -> Vec<Row> {
    let program = format!(
        "import json, sqlite3, sys\n\
         db = sqlite3.connect(sys.argv[1], timeout=10)\n\
         rows = []\n{script}\n\
         db.commit()\n\
         print(json.dumps([[None if v is None else str(v) for v in row] for row in rows]))\n"
    );
    let ran = Command::new("python3").arg("-c").arg(program).arg(pair.path()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

/// By plain statements of both sides' own clients; answers the rows.
#[track_caller]
fn equal(pair: &Pair<'_>, there: &str, here: &str) -> Vec<Row> {
    let rows = pair.postgres(there);
    assert_eq!(rows, python(pair, &format!("rows = db.execute({here:?}).fetchall()")), "{here}");
    rows
}

fn row<const N: usize>(cells: [&str; N]) -> Row {
    cells.map(|cell| Some(cell.to_owned())).to_vec()
}

const NAMES: &str = "[tables.members]\n\
     names = { register_date = 'signup_date', member_no = 'Номер; \"да\"' }\n\
     [tables.orders.names]\nid = 'order_no'\nmember = 'who'\n";

const MEMBERS: [&str; 2] = [
    "SELECT member_no, register_date::text, visits::text, note FROM members ORDER BY member_no COLLATE \"C\"",
    "SELECT \"Номер; \"\"да\"\"\", signup_date, visits, note FROM members ORDER BY 1",
];
const ORDERS: [&str; 2] = [
    "SELECT id::text, member, total::text FROM orders ORDER BY orders.id",
    "SELECT order_no, who, printf('%.2f', total) FROM orders ORDER BY order_no",
];

/// Members and their orders on both sides, with rows that differ, and settings that say which columns are one.
fn scene(server: &Server) -> Pair<'_> {
    let pair = Pair::on(server);
    for sql in [
        "CREATE TABLE members (member_no text PRIMARY KEY, register_date timestamp, visits integer, note text)",
        "CREATE TABLE orders (id serial PRIMARY KEY, member text REFERENCES members, total numeric(10,2))",
        "INSERT INTO members VALUES ('a', '2024-05-06 07:08:09', 1, NULL), ('b', NULL, 2, 'there'), \
         ('c', '2024-01-01', 3, 'only there')",
    ] {
        pair.postgres(sql);
    }
    for sql in [
        "CREATE TABLE members (\"Номер; \"\"да\"\"\" TEXT PRIMARY KEY, signup_date TIMESTAMP, visits INTEGER, note TEXT)",
        "CREATE TABLE orders (order_no INTEGER PRIMARY KEY AUTOINCREMENT, \
         who TEXT REFERENCES members (\"Номер; \"\"да\"\"\"), total DECIMAL(10,2))",
        "INSERT INTO members VALUES ('a', '2020-02-02 02:02:02', 1, 'here'), ('b', '2023-03-03 00:00:00', 2, NULL), \
         ('d', '2022-02-02T02:02:02+00:00', 4, 'only here')",
    ] {
        pair.sqlite(sql);
    }
    settings(&pair, NAMES);
    pair
}

fn columns(pair: &Pair<'_>, table: &str) -> [Vec<Row>; 2] {
    let there = format!(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 \
         AND NOT attisdropped ORDER BY attnum"
    );
    let here = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
    [pair.postgres(&there), pair.sqlite(&here)]
}

fn column(document: &Value, table: &str, name: &str) -> Value {
    let tables = document["tables"].as_array().unwrap();
    let table = tables.iter().find(|one| one["table"] == table).unwrap();
    let columns = table["columns"].as_array().unwrap();
    columns.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
}

#[test]
fn two_names_are_one_column_and_each_side_keeps_its_own() {
    let server = Server::builder().start().unwrap();
    let pair = scene(&server);
    let before = [columns(&pair, "members"), columns(&pair, "orders")];
    let url = pair.database.url();
    let plan = init(&pair, &url, &["--json"]).ended(0).json();
    let shown = column(&plan, "members", "register_date");
    let wanted = json!({ "name": "register_date", "sqlite_name": "signup_date", "remark": null,
        "type": "timestamp without time zone", "sqlite": "TIMESTAMP",
        "postgres": "timestamp without time zone", "too_large": null, "widened": false });
    assert_eq!(shown, wanted);
    assert_eq!(column(&plan, "members", "note")["sqlite_name"], Value::Null);
    assert_eq!(plan["tables"][0]["different_columns"], json!({ "register_date": 2, "note": 2 }));
    let text = init(&pair, &url, &[]).ended(0).stdout;
    assert!(text.contains("  register_date: signup_date in the file\n"), "{text}");
    assert!(text.lines().all(|line| !line.contains("add column")), "{text}");
    init(&pair, &url, &["--apply"]).ended(0);
    let rows = equal(&pair, MEMBERS[0], MEMBERS[1]);
    let wanted = [
        row(["a", "2024-05-06 07:08:09", "1", "here"]),
        row(["b", "2023-03-03 00:00:00", "2", "there"]),
        row(["c", "2024-01-01 00:00:00", "3", "only there"]),
        row(["d", "2022-02-02 02:02:02", "4", "only here"]),
    ];
    assert_eq!(rows, wanted);
    assert_eq!([columns(&pair, "members"), columns(&pair, "orders")], before, "nothing was added");
    // What lost is told under PostgreSQL's name.
    let conflicts = pair.json(0, &["conflicts"])["conflicts"].clone();
    assert_eq!(
        (&conflicts[0]["column"], conflicts.as_array().unwrap().len()),
        (&json!("register_date"), 1)
    );
    // The settings may stay: they say what is so.
    assert_eq!(init(&pair, &url, &["--json"]).ended(0).json()["done"], true);

    let watcher = Watcher::new(&pair, &[]);
    pair.postgres("UPDATE members SET register_date = '2025-01-01' WHERE member_no = 'c'");
    pair.postgres("INSERT INTO orders (member, total) VALUES ('a', 1.50)");
    python(
        &pair,
        "db.execute(\"UPDATE members SET signup_date = '2025-02-02 00:00:00', note = 'p' WHERE note = 'only here'\")",
    );
    python(&pair, "db.execute(\"INSERT INTO members VALUES ('ж', NULL, 5, NULL)\")");
    python(&pair, "db.execute(\"INSERT INTO orders (who, total) VALUES ('ж', 2.25)\")");
    eventually("both orders on both sides", || {
        pair.sqlite("SELECT * FROM orders").len() == 2
            && pair.postgres("SELECT 1 FROM orders").len() == 2
            && pair.postgres(MEMBERS[0]) == pair.sqlite(MEMBERS[1])
    });
    let rows = equal(&pair, MEMBERS[0], MEMBERS[1]);
    assert_eq!(rows[3], row(["d", "2025-02-02 00:00:00", "4", "p"]));
    drop(watcher);

    // While PostgreSQL is away both sides write one column.
    server.stop(StopMode::Fast).unwrap();
    python(
        &pair,
        "db.execute(\"UPDATE members SET signup_date = '2026-01-01 00:00:00' WHERE note = 'here'\")",
    );
    python(&pair, "db.execute(\"DELETE FROM members WHERE note = 'only there'\")");
    let said =
        pair.json(3, &["row", "update", "members", "b", r#"{"register_date": "2026-02-02"}"#]);
    assert_eq!(said["row"]["register_date"], "2026-02-02 00:00:00", "{said}");
    server.start().unwrap();
    pair.postgres("UPDATE members SET visits = visits + 10");
    pair.postgres("UPDATE members SET register_date = '2026-03-03' WHERE member_no = 'b'");
    pair.json(0, &["sync"]);
    let rows = equal(&pair, MEMBERS[0], MEMBERS[1]);
    assert_eq!(rows[0], row(["a", "2026-01-01 00:00:00", "11", "here"]));
    assert_eq!(rows[1], row(["b", "2026-03-03 00:00:00", "12", "there"]));
    equal(&pair, ORDERS[0], ORDERS[1]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let status = pair.json(0, &["status"]);
    assert_eq!((&status["not_carried"], &status["paused"]), (&json!([]), &json!([])), "{status}");
    assert_eq!(before, [columns(&pair, "members"), columns(&pair, "orders")]);

    // Calls say PostgreSQL's name, also while the file answers; statements on the file say the file's.
    let got = pair.json(0, &["row", "get", "members", "a"]);
    assert_eq!(got["row"]["register_date"], "2026-01-01 00:00:00");
    server.stop(StopMode::Fast).unwrap();
    let listed =
        pair.json(0, &["row", "list", "members", "--where", "register_date=2026-03-03 00:00:00"]);
    assert_eq!(
        (&listed["source"], &listed["rows"][0]["member_no"]),
        (&json!("sqlite"), &json!("b"))
    );
    let read = pair.json(0, &["sql", "SELECT signup_date FROM members WHERE note = 'here'"]);
    assert_eq!(read["rows"], json!([["2026-01-01 00:00:00"]]));
    pair.run(&["sql", "SELECT register_date FROM members"]).ended(5);
    let refused =
        pair.json(5, &["row", "update", "members", "a", r#"{"signup_date": "2026-02-02"}"#]);
    assert!(refused["error"]["message"].as_str().unwrap().contains("signup_date"), "{refused}");
}

#[test]
fn numbers_that_both_sides_gave_are_two_and_references_follow_under_their_own_names() {
    let server = Server::builder().start().unwrap();
    let pair = scene(&server);
    pair.postgres(
        "CREATE TABLE lines (id bigint PRIMARY KEY, order_id integer REFERENCES orders, what text)",
    );
    pair.sqlite(
        "CREATE TABLE lines (id INTEGER PRIMARY KEY, \"заказ\" INTEGER REFERENCES orders (order_no), what TEXT)",
    );
    settings(
        &pair,
        &format!("{NAMES}[tables.lines]\nnumbers = 'natural'\nnames = {{ order_id = 'заказ' }}\n"),
    );
    let url = pair.database.url();
    init(&pair, &url, &["--apply"]).ended(0);
    server.stop(StopMode::Fast).unwrap();
    python(
        &pair,
        "db.execute(\"INSERT INTO orders (who, total) VALUES ('a', 1)\")\n\
         db.execute(\"INSERT INTO lines VALUES (10, 1, 'here')\")",
    );
    server.start().unwrap();
    pair.postgres("INSERT INTO orders (member, total) VALUES ('b', 2)");
    pair.postgres("INSERT INTO lines VALUES (20, 1, 'there')");
    pair.json(0, &["sync"]);
    let orders = equal(&pair, ORDERS[0], ORDERS[1]);
    assert_eq!(orders, [row(["1", "b", "2.00"]), row(["2", "a", "1.00"])]);
    let lines = equal(
        &pair,
        "SELECT id::text, order_id::text, what FROM lines ORDER BY id",
        "SELECT id, \"заказ\", what FROM lines ORDER BY id",
    );
    assert_eq!(lines, [row(["10", "2", "here"]), row(["20", "1", "there"])]);
    // One that the library numbers, and one that refers to a parent that is in quarantine.
    let added = pair.json(0, &["row", "add", "orders", r#"{"member": "c", "total": "3.00"}"#]);
    assert_eq!(added["row"]["id"], 3, "{added}");
    equal(&pair, ORDERS[0], ORDERS[1]);
    python(&pair, "db.execute(\"UPDATE orders SET order_no = 50 WHERE order_no = 3\")");
    python(&pair, "db.execute(\"INSERT OR REPLACE INTO orders VALUES (2, 'd', 9)\")");
    pair.json(0, &["sync"]);
    let orders = equal(&pair, ORDERS[0], ORDERS[1]);
    assert_eq!(orders.len(), 3);
    assert_eq!((&orders[1], &orders[2]), (&row(["2", "d", "9.00"]), &row(["50", "c", "3.00"])));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn rows_of_one_number_are_told_apart_when_they_are_joined() {
    let server = Server::builder().start().unwrap();
    let pair = scene(&server);
    pair.postgres(
        "CREATE TABLE lines (id bigint PRIMARY KEY, order_id integer REFERENCES orders, what text)",
    );
    pair.postgres("INSERT INTO orders (member, total) VALUES ('a', 1), ('b', 2)");
    pair.postgres("INSERT INTO lines VALUES (10, 1, 'there')");
    pair.sqlite(
        "CREATE TABLE lines (id INTEGER PRIMARY KEY, \"заказ\" INTEGER REFERENCES orders (order_no), what TEXT)",
    );
    pair.sqlite("INSERT INTO orders VALUES (1, 'd', 4), (2, 'b', 2)");
    pair.sqlite("INSERT INTO lines VALUES (20, 1, 'here'), (21, 2, 'both')");
    let names = "[tables.lines]\nnumbers = 'natural'\nnames = { order_id = 'заказ' }\n";
    settings(&pair, &format!("{NAMES}{names}"));
    let url = pair.database.url();
    let asked = init(&pair, &url, &["--json"]).ended(0).json();
    let reason = asked["skipped"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("(member in 1, total in 1)"), "{asked}");
    init(&pair, &url, &["--different", "orders", "--apply"]).ended(0);
    let orders = equal(&pair, ORDERS[0], ORDERS[1]);
    assert_eq!(orders, [row(["1", "a", "1.00"]), row(["2", "b", "2.00"]), row(["3", "d", "4.00"])]);
    let lines = equal(
        &pair,
        "SELECT id::text, order_id::text, what FROM lines ORDER BY id",
        "SELECT id, \"заказ\", what FROM lines ORDER BY id",
    );
    assert_eq!(
        lines,
        [row(["10", "1", "there"]), row(["20", "3", "here"]), row(["21", "2", "both"])]
    );
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn a_value_that_is_none_waits_and_a_file_that_is_lost_is_made_anew_under_its_names() {
    let pair = joined();
    pair.sqlite("UPDATE members SET signup_date = 'soon' WHERE raz = 2");
    pair.run(&["sync"]).ended(1);
    let waits = pair.json(0, &["quarantine"]);
    assert!(
        waits["quarantine"][0]["reason"].as_str().unwrap().contains("`register_date`"),
        "{waits}"
    );
    pair.sqlite("UPDATE members SET signup_date = NULL WHERE raz = 2");
    follows(&pair);
    // Damaged in its middle; what can be read of it is taken over.
    pair.sqlite("UPDATE members SET signup_date = '2027-01-01 00:00:00' WHERE raz = 3");
    pair.sqlite("PRAGMA wal_checkpoint(TRUNCATE)");
    let mut bytes = std::fs::read(pair.path()).unwrap();
    bytes.truncate(bytes.len() - 4096);
    std::fs::write(pair.path(), bytes).unwrap();
    pair.run(&["sync"]);
    pair.run(&["status", "--review"]);
    follows(&pair);
    let before = columns(&pair, "members")[1].clone();
    assert!(before.contains(&row(["signup_date"])) && !before.contains(&row(["register_date"])));
    for name in ["users.db", "users.db-wal", "users.db-shm"] {
        let _ = std::fs::remove_file(pair.folder.path().join(name));
    }
    pair.run(&["init", "--apply"]).ended(0);
    follows(&pair);
    let found = columns(&pair, "members")[1].clone();
    assert_eq!(found[..2], [row(["Номер; \"да\""]), row(["signup_date"])]);
    members(
        &pair,
        "member_no, register_date::text, visits::text",
        "\"Номер; \"\"да\"\"\", signup_date, raz",
    );
}

#[test]
fn two_columns_may_have_each_other_s_name() {
    let pair = Pair::new();
    pair.postgres(
        "CREATE TABLE swapped (id bigint PRIMARY KEY, a text, b text, \"C\" text, d text)",
    );
    pair.postgres("INSERT INTO swapped VALUES (1, 'one', 'two', 'three', 'four')");
    pair.sqlite("CREATE TABLE swapped (id INTEGER PRIMARY KEY, b TEXT UNIQUE, a TEXT UNIQUE, c TEXT, e TEXT)");
    pair.sqlite("INSERT INTO swapped VALUES (2, 'ONE', 'TWO', 'THREE', 'FOUR')");
    settings(&pair, "[tables.swapped]\nnames = { a = 'b', b = 'a', d = 'E' }");
    let url = pair.database.url();
    init(&pair, &url, &["--apply"]).ended(0);
    let here = "SELECT id, b, a, c, e FROM swapped ORDER BY id";
    let rows = equal(&pair, "SELECT id::text, a, b, \"C\", d FROM swapped ORDER BY id", here);
    assert_eq!(
        rows,
        [row(["1", "one", "two", "three", "four"]), row(["2", "ONE", "TWO", "THREE", "FOUR"])]
    );
    // Unique values that two rows exchange.
    pair.postgres("UPDATE swapped SET a = CASE id WHEN 1 THEN 'ONE' ELSE 'one' END, d = 'x' WHERE a IS NOT NULL");
    pair.json(0, &["sync"]);
    let rows = equal(&pair, "SELECT id::text, a, b, \"C\", d FROM swapped ORDER BY id", here);
    assert_eq!(rows[0][1].as_deref(), Some("ONE"));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn a_table_that_one_side_has_is_made_under_the_names_of_the_other() {
    let pair = Pair::new();
    pair.postgres(
        "CREATE TABLE there (day date, code text, \"при мечание\" text, PRIMARY KEY (day, code))",
    );
    pair.postgres("INSERT INTO there VALUES ('2024-05-06', 'a', 'x')");
    pair.sqlite("CREATE TABLE here (\"День\" DATE, code TEXT, born TEXT, n INTEGER)");
    pair.sqlite("INSERT INTO here VALUES ('2024-05-06', 'a', '2000-01-02', 7)");
    settings(
        &pair,
        "[tables.there]\nnames = { day = 'День', 'при мечание' = 'x\"; --' }\n\
         [tables.here]\nkey = ['День', 'code']\ntypes = { born = 'date' }\n\
         names = { day = 'День', birth_date = 'born' }\n",
    );
    let url = pair.database.url();
    init(&pair, &url, &["--all", "--apply"]).ended(0);
    let there = "SELECT \"День\", code, \"x\"\"; --\" FROM there";
    assert_eq!(pair.sqlite(there), [row(["2024-05-06", "a", "x"])]);
    let here = "SELECT day::text, code, birth_date::text, n::text FROM here";
    assert_eq!(pair.postgres(here), [row(["2024-05-06", "a", "2000-01-02", "7"])]);
    let types =
        "SELECT data_type::text FROM information_schema.columns WHERE column_name = 'birth_date'";
    assert_eq!(pair.postgres(types), [row(["date"])]);
    pair.sqlite("UPDATE here SET born = '2001-01-01', \"День\" = '2024-05-07'");
    pair.sqlite("UPDATE there SET \"x\"\"; --\" = 'y'");
    pair.json(0, &["sync"]);
    assert_eq!(pair.postgres(here), [row(["2024-05-07", "a", "2001-01-01", "7"])]);
    assert_eq!(pair.postgres("SELECT \"при мечание\" FROM there"), [row(["y"])]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    // Written down, the plan of another file says the same.
    let other = Pair::new();
    other.sqlite("CREATE TABLE mine (id INTEGER PRIMARY KEY, born TEXT)");
    settings(&other, "");
    let plain = init(&other, &other.database.url(), &["--write-config"]).ended(0).stderr;
    assert!(plain.contains("stand in dual.toml"), "{plain}");
    assert!(
        !std::fs::read_to_string(other.folder.path().join("dual.toml")).unwrap().contains("names")
    );
}

/// Members alone, joined, with `raz` for the file's visits.
fn joined() -> Pair<'static> {
    let pair = scene(throwaway_postgres::shared().unwrap());
    pair.sqlite("ALTER TABLE members RENAME COLUMN visits TO raz");
    settings(&pair, &NAMES.replace("names = {", "names = { visits = 'raz',"));
    let url = pair.database.url();
    init(&pair, &url, &["--tables", "members", "--apply"]).ended(0);
    settings(&pair, "");
    pair
}

/// Both sides of members, by the names that they have now.
#[track_caller]
fn members(pair: &Pair<'_>, there: &str, here: &str) -> Vec<Row> {
    let there = format!("SELECT {there} FROM members ORDER BY member_no COLLATE \"C\"");
    equal(pair, &there, &format!("SELECT {here} FROM members ORDER BY \"Номер; \"\"да\"\"\""))
}

#[track_caller]
fn follows(pair: &Pair<'_>) {
    pair.json(0, &["sync"]);
    let status = pair.run(&["status", "--json"]).json();
    assert_eq!((&status["paused"], &status["sync"]), (&json!([]), &json!("following")), "{status}");
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

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
