//! Columns that the file calls otherwise than PostgreSQL: declared when the table is joined, each side keeps its
//! own name from then on, and nothing is renamed or added.

use serde_json::{Value, json};
use throwaway_postgres::{Server, StopMode};

use crate::core_scene::{Pair, Watcher, eventually, python};
use crate::scene::{Ran, Row};

/// Runs it in the pair's folder, where its settings are.
pub fn init(pair: &Pair<'_>, url: &str, words: &[&str]) -> Ran {
    let mut command = pair.command_to(url, &["init"]);
    command.args(words).current_dir(pair.folder.path());
    Ran::of(command.output().unwrap())
}

pub fn settings(pair: &Pair<'_>, text: &str) {
    std::fs::write(pair.folder.path().join("dual.toml"), text).unwrap();
}

/// By plain statements of both sides' own clients; answers the rows.
#[track_caller]
pub fn equal(pair: &Pair<'_>, there: &str, here: &str) -> Vec<Row> {
    let rows = pair.postgres(there);
    assert_eq!(rows, python(pair, &format!("rows = db.execute({here:?}).fetchall()")), "{here}");
    rows
}

pub fn row<const N: usize>(cells: [&str; N]) -> Row {
    cells.map(|cell| Some(cell.to_owned())).to_vec()
}

pub const NAMES: &str = "[tables.members]\n\
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
pub fn scene(server: &Server) -> Pair<'_> {
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

pub fn columns(pair: &Pair<'_>, table: &str) -> [Vec<Row>; 2] {
    let there = format!(
        "SELECT attname::text FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0 \
         AND NOT attisdropped ORDER BY attnum"
    );
    let here = format!("SELECT name FROM pragma_table_info('{table}') ORDER BY cid");
    [pair.postgres(&there), pair.sqlite(&here)]
}

pub fn column(document: &Value, table: &str, name: &str) -> Value {
    let tables = document["tables"].as_array().unwrap();
    let table = tables.iter().find(|one| one["table"] == table).unwrap();
    let columns = table["columns"].as_array().unwrap();
    columns.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
}

/// Members alone, joined, with `raz` for the file's visits.
pub fn joined() -> Pair<'static> {
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
pub fn members(pair: &Pair<'_>, there: &str, here: &str) -> Vec<Row> {
    let there = format!("SELECT {there} FROM members ORDER BY member_no COLLATE \"C\"");
    equal(pair, &there, &format!("SELECT {here} FROM members ORDER BY \"Номер; \"\"да\"\"\""))
}

#[track_caller]
pub fn follows(pair: &Pair<'_>) {
    pair.json(0, &["sync"]);
    let status = pair.run(&["status", "--json"]).json();
    assert_eq!((&status["paused"], &status["sync"]), (&json!([]), &json!("following")), "{status}");
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
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
