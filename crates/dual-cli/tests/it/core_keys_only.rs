//! Tables of nothing but their key: who has which role, which labels there are. Written by psql, sqlite3 and
//! Python, and compared by what these say.

use std::collections::BTreeSet;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::process::Command;

use serde_json::json;
use throwaway_postgres::{Server, StopMode, shared};

use crate::core_scene::{Pair, eventually, signal};

/// Who has which role, on both sides with rows of its own; labels, which only PostgreSQL has; flags, which
/// only the file has; sizes, of which each side computes a column; and the parents.
const THERE: &str = "
    CREATE TABLE people (id integer PRIMARY KEY, name text);
    CREATE TABLE roles (id integer PRIMARY KEY, name text);
    CREATE TABLE people_roles (
      person_id integer REFERENCES people ON DELETE CASCADE, role_id integer REFERENCES roles,
      PRIMARY KEY (person_id, role_id));
    CREATE TABLE labels (label text PRIMARY KEY);
    CREATE TABLE sizes (code text PRIMARY KEY, width integer GENERATED ALWAYS AS (length(code)) STORED);
    INSERT INTO people VALUES (1, 'Anna'), (2, 'Boris'), (3, 'Vera');
    INSERT INTO roles VALUES (1, 'admin'), (2, 'guest'), (3, 'cook');
    INSERT INTO people_roles VALUES (1, 1), (1, 2), (2, 2);
    INSERT INTO labels VALUES ('red'), ('зелёный'), ('it''s \"q\"'), ('');
    INSERT INTO sizes VALUES ('S'), ('XL');";

const HERE: &str = "
    CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE roles (id INTEGER PRIMARY KEY, name TEXT);
    CREATE TABLE people_roles (
      person_id INTEGER NOT NULL REFERENCES people (id) ON DELETE CASCADE,
      role_id INTEGER NOT NULL REFERENCES roles (id), PRIMARY KEY (person_id, role_id));
    CREATE TABLE flags (flag TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
    CREATE TABLE sizes (code TEXT NOT NULL PRIMARY KEY, width INTEGER AS (length(code)) VIRTUAL);
    INSERT INTO people VALUES (1, 'Anna'), (3, 'Vera'), (4, 'Gleb');
    INSERT INTO roles VALUES (1, 'admin'), (3, 'cook');
    INSERT INTO people_roles VALUES (1, 1), (3, 3), (4, 1);
    INSERT INTO flags VALUES ('on'), ('off');
    INSERT INTO sizes VALUES ('S'), ('XXL');";

const KEYS_ONLY: [(&str, &str); 4] = [
    ("people_roles", "person_id, role_id"),
    ("labels", "label"),
    ("flags", "flag"),
    ("sizes", "code, width"),
];

fn scene(server: &Server) -> Pair<'_> {
    let pair = Pair::on(server);
    psql(&pair, THERE);
    sqlite3(&pair, HERE);
    pair
}

#[track_caller]
fn ran(command: &mut Command) -> String {
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

/// PostgreSQL's own client.
#[track_caller]
fn psql(pair: &Pair<'_>, sql: &str) -> String {
    let own = pair.database.server().binaries().folder().join("psql");
    let mut program = Command::new(if own.exists() { own } else { "psql".into() });
    program.args(["-X", "-q", "-A", "-t", "-F", "|", "-v", "ON_ERROR_STOP=1"]);
    ran(program.arg("-d").arg(pair.database.url()).args(["-c", sql]))
}

/// SQLite's own client.
#[track_caller]
fn sqlite3(pair: &Pair<'_>, sql: &str) -> String {
    ran(Command::new("sqlite3").args(["-cmd", ".timeout 10000"]).arg(pair.path()).arg(sql))
}

/// An old script, with statements of its own.
#[track_caller]
fn python(pair: &Pair<'_>, sql: &str) {
    let program = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=10)\n\
                   db.executescript(sys.argv[2])\ndb.commit()\n";
    ran(Command::new("python3").args(["-c", program]).arg(pair.path()).arg(sql));
}

fn lines(text: &str) -> BTreeSet<String> {
    text.split_terminator('\n').map(str::to_owned).collect()
}

/// What both clients say of a table is the same; so many rows.
#[track_caller]
fn equal(pair: &Pair<'_>, select: &str, rows: usize) {
    let there = psql(pair, select);
    assert_eq!(lines(&there), lines(&sqlite3(pair, select)), "{select}");
    assert_eq!(there.split_terminator('\n').count(), rows, "{select}: {there}");
}

#[track_caller]
fn all_equal(pair: &Pair<'_>, rows: [usize; 4]) {
    each_equal(pair, rows);
    assert_eq!(pair.json(0, &["conflicts"])["conflicts"], json!([]));
}

#[track_caller]
fn each_equal(pair: &Pair<'_>, rows: [usize; 4]) {
    for ((table, columns), rows) in KEYS_ONLY.into_iter().zip(rows) {
        equal(pair, &format!("SELECT {columns} FROM {table}"), rows);
    }
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn they_are_kept_like_any_other_table() {
    let server = Server::builder().start().unwrap();
    let pair = scene(&server);
    let plan = pair.json(0, &["init", "--all"]);
    assert_eq!(plan["skipped"], json!([]), "{plan}");
    pair.json(0, &["init", "--all", "--apply"]);
    all_equal(&pair, [5, 4, 2, 3]);

    // Everybody goes on writing; a key that becomes another, what is there already, and REPLACE.
    psql(
        &pair,
        "INSERT INTO people_roles VALUES (2, 3), (1, 1) ON CONFLICT DO NOTHING; \
         DELETE FROM people_roles WHERE person_id = 1 AND role_id = 2; \
         UPDATE labels SET label = 'blue' WHERE label = 'red'; INSERT INTO flags VALUES ('auto'); \
         INSERT INTO sizes VALUES ('M')",
    );
    sqlite3(
        &pair,
        "INSERT OR REPLACE INTO people_roles VALUES (3, 3), (4, 3); \
         INSERT OR IGNORE INTO people_roles VALUES (4, 1), (2, 1); \
         DELETE FROM labels WHERE label = ''; INSERT OR REPLACE INTO flags VALUES ('on'); \
         UPDATE flags SET flag = 'OFF' WHERE flag = 'off'",
    );
    python(
        &pair,
        "DELETE FROM sizes WHERE code = 'S'; INSERT INTO labels VALUES ('новый'), ('Red'); \
         INSERT OR REPLACE INTO sizes (code) VALUES ('XL'), ('L')",
    );
    pair.json(0, &["sync"]);
    all_equal(&pair, [7, 5, 3, 4]);

    // PostgreSQL is away: what is written meanwhile arrives, deletes of both sides too.
    psql(&pair, "DELETE FROM people_roles WHERE person_id = 3; INSERT INTO labels VALUES ('late')");
    server.stop(StopMode::Fast).unwrap();
    python(
        &pair,
        "DELETE FROM people_roles WHERE person_id = 2 AND role_id = 2; \
         INSERT INTO people_roles VALUES (1, 3); DELETE FROM labels WHERE label = 'новый'; \
         INSERT INTO flags VALUES ('alone'); DELETE FROM flags WHERE flag = 'on'",
    );
    let added = pair.json(3, &["row", "add", "labels", r#"{"label":"offline"}"#]);
    assert_eq!(added["stored"], json!({ "postgres": false, "sqlite": true }));
    pair.json(3, &["row", "delete", "sizes", "L"]);
    pair.json(3, &["sync", "--once"]);
    server.start().unwrap();
    psql(&pair, "DELETE FROM flags WHERE flag = 'auto'; DELETE FROM people WHERE id = 4");
    pair.json(0, &["sync"]);
    all_equal(&pair, [4, 6, 2, 3]);
    equal(&pair, "SELECT id FROM people", 3);

    // All of them at once, and then many.
    psql(&pair, "TRUNCATE labels");
    psql(&pair, "INSERT INTO sizes SELECT 'size ' || n FROM generate_series(1, 3000) AS n");
    let many = "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 3000)";
    sqlite3(&pair, &format!("{many} INSERT INTO flags SELECT 'flag ' || n FROM n"));
    pair.json(0, &["sync"]);
    all_equal(&pair, [4, 0, 3_002, 3_003]);

    // A file that comes later has all of them.
    let second = pair.folder.path().join("second.db");
    let mut command = crate::core_scene::dual();
    command.args(["sync", "--sqlite-db-path"]).arg(&second).arg("--pg-db-url");
    ran(command.arg(pair.database.url()));
    for (table, columns) in KEYS_ONLY {
        let sql = format!("SELECT {} FROM {table}", columns.replace(", width", ""));
        let there = ran(Command::new("sqlite3").arg(&second).arg(&sql));
        assert_eq!(lines(&there), lines(&psql(&pair, &sql)), "{table}");
    }
    pair.json(0, &["uninstall", "--yes"]);
    let left = "SELECT name FROM sqlite_master WHERE name LIKE 'dual%'";
    assert_eq!(sqlite3(&pair, left), "");
    assert_eq!(sqlite3(&pair, "SELECT count(*) FROM flags"), "3002\n");
}

#[test]
fn their_rows_are_read_and_written_by_their_keys() {
    let pair = scene(shared().unwrap());
    pair.json(0, &["init", "--all", "--apply"]);
    let got = pair.json(0, &["row", "get", "people_roles", "[1,1]"]);
    assert_eq!(got["row"], json!({ "person_id": 1, "role_id": 1 }));
    let added = pair.json(0, &["row", "add", "people_roles", r#"{"person_id":2,"role_id":1}"#]);
    assert_eq!(added["stored"], json!({ "postgres": true, "sqlite": true }));
    assert_eq!(added["row"], json!({ "person_id": 2, "role_id": 1 }));
    pair.json(5, &["row", "add", "people_roles", r#"{"person_id":2,"role_id":1}"#]);
    // What is there already stays as it is; what is not comes.
    for role in [1, 3] {
        let row = format!(r#"{{"person_id":2,"role_id":{role}}}"#);
        let put = pair.json(0, &["row", "upsert", "people_roles", &row]);
        assert_eq!(put["row"], json!({ "person_id": 2, "role_id": role }));
    }
    let listed = pair.json(0, &["row", "list", "people_roles", "--where", "person_id=2"]);
    let roles: Vec<_> = listed["rows"].as_array().unwrap().iter().map(|r| &r["role_id"]).collect();
    assert_eq!(roles, [&json!(3), &json!(2), &json!(1)]);
    pair.json(0, &["row", "delete", "people_roles", r#"{"role_id":2,"person_id":2}"#]);
    pair.json(5, &["row", "get", "people_roles", "[2,2]"]);
    pair.json(5, &["row", "delete", "people_roles", "[2,2]"]);
    // There is nothing in it that an update could set.
    let error = pair.json(5, &["row", "update", "labels", "red", "{}"])["error"].clone();
    assert_eq!(error["kind"], "invalid_data", "{error}");
    pair.json(0, &["row", "add", "labels", r#"{"label":"x y"}"#]);
    assert_eq!(pair.json(0, &["row", "get", "labels", "x y"])["row"], json!({ "label": "x y" }));
    pair.json(0, &["row", "delete", "sizes", "XL"]);
    all_equal(&pair, [6, 5, 2, 2]);

    // One that the other side does not take waits, and goes over when it does.
    psql(&pair, "ALTER TABLE labels ADD CHECK (label <> 'bad')");
    sqlite3(
        &pair,
        "INSERT INTO labels VALUES ('bad'), ('good'); INSERT INTO people_roles VALUES (9, 9)",
    );
    pair.json(1, &["sync", "--once"]);
    let waiting = pair.json(0, &["quarantine"]);
    assert_eq!(waiting["quarantine"].as_array().unwrap().len(), 2, "{waiting}");
    equal(&pair, "SELECT label FROM labels WHERE label <> 'bad'", 6);
    psql(&pair, "INSERT INTO people VALUES (9, 'new'); INSERT INTO roles VALUES (9, 'new')");
    sqlite3(&pair, "DELETE FROM labels WHERE label = 'bad'");
    pair.json(0, &["sync"]);
    all_equal(&pair, [7, 6, 2, 2]);
}

#[test]
fn one_that_gets_a_column_is_followed() {
    let pair = scene(shared().unwrap());
    pair.json(0, &["init", "--all", "--apply"]);
    let child = pair.spawn(&["sync", "--watch"]);
    sqlite3(&pair, "ALTER TABLE people_roles ADD COLUMN note TEXT");
    sqlite3(&pair, "UPDATE people_roles SET note = 'here' WHERE person_id = 4");
    psql(&pair, "ALTER TABLE labels ADD COLUMN uses integer DEFAULT 0");
    psql(&pair, "UPDATE labels SET uses = 7 WHERE label = 'red'");
    eventually("the file's column", || {
        let sql = "SELECT 1 FROM people_roles WHERE note = 'here'";
        pair.database.execute(sql).is_ok_and(|rows| rows.len() == 1)
    });
    eventually("PostgreSQL's column", || {
        let file = rusqlite::Connection::open(pair.path()).unwrap();
        file.query_row("SELECT 1 FROM labels WHERE uses = 7", [], |_| Ok(())).is_ok()
    });
    psql(&pair, "UPDATE people_roles SET note = 'there' WHERE person_id = 3");
    sqlite3(&pair, "INSERT INTO labels (label, uses) VALUES ('new', 3)");
    signal(&child, "TERM");
    crate::scene::Ran::of(child.wait_with_output().unwrap()).ended(0);
    pair.json(0, &["sync"]);
    equal(&pair, "SELECT person_id, role_id, note FROM people_roles", 5);
    equal(&pair, "SELECT label, uses FROM labels", 5);
    all_equal(&pair, [5, 5, 2, 3]);
}

#[test]
fn what_nobody_saw_comes_back() {
    for prefer in ["postgres", "sqlite"] {
        let pair = scene(shared().unwrap());
        pair.json(0, &["init", "--all", "--apply"]);
        // Rows that came, and went, past the triggers: what nobody has deleted comes back.
        let set = |how: &str| {
            psql(
                &pair,
                &format!(
                    "DO $$ DECLARE t record; BEGIN FOR t IN SELECT tgname FROM pg_trigger \
                     WHERE tgrelid = 'labels'::regclass AND NOT tgisinternal LOOP \
                     EXECUTE format('ALTER TABLE labels {how} TRIGGER %I', t.tgname); END LOOP; END $$"
                ),
            )
        };
        set("DISABLE");
        psql(&pair, "INSERT INTO labels VALUES ('past'); DELETE FROM labels WHERE label = 'red'");
        set("ENABLE ALWAYS");
        pair.json(0, &["sync"]);
        all_equal(&pair, [5, 5, 2, 3]);
        pair.untriggered(
            "INSERT INTO flags VALUES ('past'); DELETE FROM people_roles WHERE role_id = 1",
        );
        assert_eq!(pair.json(1, &["verify"])["equal"], false);
        pair.json(0, &["repair", "--prefer", prefer]);
        all_equal(&pair, [5, 5, 3, 3]);
    }
}

#[test]
fn one_that_is_taken_away_or_damaged_is_given_back() {
    let pair = scene(shared().unwrap());
    pair.json(0, &["init", "--all", "--apply"]);
    // A column of the key, and a whole table.
    psql(&pair, "ALTER TABLE labels RENAME COLUMN label TO mark; DROP TABLE flags");
    sqlite3(&pair, "INSERT INTO labels VALUES ('kept'); INSERT INTO sizes (code) VALUES ('L')");
    pair.json(1, &["sync", "--once"]);
    let paused = pair.run(&["status", "--json"]).json()["paused"].clone();
    let names: Vec<_> = paused.as_array().unwrap().iter().map(|one| &one["table"]).collect();
    assert_eq!(names, [&json!("flags"), &json!("labels")], "{paused}");
    equal(&pair, "SELECT code, width FROM sizes", 4);
    psql(&pair, "ALTER TABLE labels RENAME COLUMN mark TO label");
    pair.json(0, &["init", "--apply"]);
    pair.json(0, &["sync"]);
    all_equal(&pair, [5, 5, 2, 4]);
    assert_eq!(pair.json(0, &["init"])["done"], true);

    // A hole into the rows of one table, and into their index: PostgreSQL has them.
    sqlite3(&pair, "INSERT INTO people_roles VALUES (2, 3); DELETE FROM flags WHERE flag = 'on'");
    sqlite3(&pair, "PRAGMA wal_checkpoint(TRUNCATE)");
    let size: u64 = sqlite3(&pair, "PRAGMA page_size").trim().parse().unwrap();
    let roots = "SELECT rootpage FROM sqlite_master WHERE tbl_name = 'labels' AND rootpage > 0";
    let roots = sqlite3(&pair, roots);
    let mut file = std::fs::File::options().write(true).open(pair.path()).unwrap();
    for root in roots.split_terminator('\n') {
        let page: u64 = root.parse().unwrap();
        file.seek(SeekFrom::Start((page - 1) * size)).unwrap();
        file.write_all(&vec![0xff; usize::try_from(size).unwrap()]).unwrap();
    }
    drop(file);
    // Whoever meets it makes the file anew, of what can be read, and asks PostgreSQL for the rest.
    eventually("the file is made anew", || pair.run(&["verify"]).code == Some(0));
    let beside = std::fs::read_dir(pair.folder.path()).unwrap();
    let mut names = beside.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert!(names.any(|name| name.contains(".corrupt-")));
    for (table, columns) in KEYS_ONLY {
        // The new file has what is declared: the column that it has computed is not.
        let sql = format!("SELECT {} FROM {table}", columns.replace(", width", ""));
        equal(&pair, &sql, psql(&pair, &sql).split_terminator('\n').count());
    }
    assert_eq!(psql(&pair, "SELECT flag FROM flags"), "off\n");
    assert_eq!(psql(&pair, "SELECT count(*) FROM people_roles"), "6\n");
}

#[test]
fn a_file_joins_another_postgresql_with_what_waits() {
    let pair = scene(shared().unwrap());
    pair.json(0, &["init", "--all", "--apply"]);
    python(
        &pair,
        "INSERT INTO people_roles VALUES (2, 1); DELETE FROM labels WHERE label = 'red'; \
         INSERT INTO flags VALUES ('waits')",
    );
    psql(
        &pair,
        "DROP SCHEMA dual CASCADE; INSERT INTO labels VALUES ('there'); DELETE FROM sizes WHERE code = 'S'",
    );
    let plan = pair.json(0, &["init", "--all", "--rejoin"]);
    assert_eq!(plan["rejoins_with"], json!(3), "{plan}");
    pair.json(0, &["init", "--all", "--apply", "--rejoin"]);
    each_equal(&pair, [6, 4, 3, 3]);
    // That row of the other one was deleted by somebody who has not seen it.
    let conflicts = pair.json(0, &["conflicts"])["conflicts"].clone();
    let lost: Vec<_> = conflicts.as_array().unwrap().iter().map(|one| &one["key"]).collect();
    assert_eq!(lost, [&json!("red")]);
}

#[test]
fn a_role_that_owns_nothing_keeps_them() {
    let pair = scene(shared().unwrap());
    let role = format!("runs {}", pair.database.name());
    psql(
        &pair,
        &format!(
            "CREATE ROLE \"{role}\" LOGIN; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"{role}\""
        ),
    );
    pair.json(0, &["init", "--all", "--apply", "--runtime", &role]);
    let url = pair.database.url_as(&role, None);
    let json = |code, words: &[&str]| pair.run_to(&url, words).ended(code).json();
    json(0, &["row", "add", "labels", r#"{"label":"by the role"}"#, "--json"]);
    json(0, &["row", "delete", "people_roles", "[1,1]", "--json"]);
    sqlite3(&pair, "INSERT INTO flags VALUES ('file'); DELETE FROM sizes WHERE code = 'S'");
    psql(&pair, "INSERT INTO flags VALUES ('psql')");
    json(0, &["sync", "--json"]);
    all_equal(&pair, [4, 5, 4, 2]);
}

/// The number that the file has given goes over as another one, and what refers to it has it in its key.
#[test]
fn what_refers_to_a_number_that_moves_goes_along() {
    let pair = Pair::new();
    psql(
        &pair,
        "CREATE TABLE guests (id serial PRIMARY KEY, name text); \
         CREATE TABLE guests_tags (guest integer REFERENCES guests, tag text, PRIMARY KEY (guest, tag))",
    );
    sqlite3(
        &pair,
        "CREATE TABLE guests (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT); \
         CREATE TABLE guests_tags (guest INTEGER NOT NULL REFERENCES guests (id), tag TEXT NOT NULL, \
         PRIMARY KEY (guest, tag)) WITHOUT ROWID",
    );
    pair.json(0, &["init", "--all", "--apply"]);
    psql(
        &pair,
        "INSERT INTO guests (name) VALUES ('there'), ('there too'); \
         INSERT INTO guests_tags VALUES (1, 'same'), (1, 'there'), (2, 'same')",
    );
    python(
        &pair,
        "INSERT INTO guests (name) VALUES ('here'); INSERT INTO guests_tags VALUES (1, 'same'), (1, 'here')",
    );
    pair.json(0, &["sync"]);
    pair.json(0, &["sync"]);
    let named = "SELECT g.name, t.tag FROM guests AS g JOIN guests_tags AS t ON t.guest = g.id";
    equal(&pair, named, 5);
    equal(&pair, "SELECT guest, tag FROM guests_tags", 5);
    let here = lines(&psql(&pair, &format!("{named} WHERE g.name = 'here'")));
    assert_eq!(here, lines("here|here\nhere|same\n"));
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.json(0, &["quarantine"])["quarantine"], json!([]));
}
