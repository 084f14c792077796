//! Tables of any key, any type and any name: adopted as they are, read and written.

use std::process::Command;

use serde_json::json;
use throwaway_postgres::{Server, StopMode, shared};

use crate::core_scene::Pair;
use crate::core_tables::equal;
use crate::scene::Row;

/// Tables of everything: a text as the key and every type, a uuid with a reference and a computed column,
/// a key of three columns with Cyrillic names, and names with blanks, quotes and a semicolon.
fn four<'s>(server: &'s Server) -> Pair<'s> {
    let pair = Pair::on(server);
    pair.postgres("CREATE TYPE mood AS ENUM ('ok', 'bad')");
    for sql in [
        "CREATE TABLE codes (code text PRIMARY KEY, a boolean, b smallint, c integer, d bigint, e real, \
         f double precision, g numeric(12,3), h date, i time, j timestamptz, k bytea, l jsonb, m mood, \
         n interval, o text[], p inet, q char(4), r json, s uuid)",
        "CREATE TABLE things (id uuid PRIMARY KEY, code text REFERENCES codes (code), price numeric, \
         qty int, total numeric GENERATED ALWAYS AS (price * qty) STORED, at timestamptz DEFAULT now())",
        "CREATE TABLE \"Гости\" (\"Имя\" text, \"Номер\" bigint, \"Когда\" date, \"При мечание\" text, \
         PRIMARY KEY (\"Имя\", \"Номер\", \"Когда\"))",
        "CREATE TABLE \"odd table\" (id serial PRIMARY KEY, \"a b\" text, \"x;y\" integer, \"q\"\"q\" text, \
         \"$dual$\" text)",
        "INSERT INTO codes VALUES ('A1', true, 1, 2, 3, 1.5, 0.1, 1.100, '2024-02-29', '12:30', \
         '2024-05-06 07:08:09+03', '\\x00ff', '{\"b\": 1, \"a\": [1, 2]}', 'ok', '1 day 02:00', '{a,b}', \
         '10.0.0.1', 'ab', '{\"x\": 1}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'), \
         ('Ю', false, -1, -2, -3, 0.1, 1e300, 0, '0001-01-01', '23:59:59.999999', \
         '9999-12-31 23:59:59+00', '', '[]', 'bad', '-1 mon', '{}', '::1', 'abcd', '[]', NULL)",
        "INSERT INTO codes (code) VALUES ('b2')",
        "INSERT INTO things (id, code, price, qty) VALUES \
         ('00000000-0000-0000-0000-000000000001', 'A1', 1.10, 3), \
         ('00000000-0000-0000-0000-000000000002', NULL, NULL, NULL)",
        "INSERT INTO \"Гости\" VALUES ('Анна', 1, '2024-01-01', 'у окна'), ('Анна', 2, '2024-01-01', NULL), \
         ('Б''о\"рис', 1, '2024-01-02', 'x')",
        "INSERT INTO \"odd table\" (\"a b\", \"x;y\", \"q\"\"q\", \"$dual$\") VALUES ('a', 1, 'q', '$dual$')",
    ] {
        pair.postgres(sql);
    }
    pair
}

/// As an old script does.
#[track_caller]
fn python(pair: &Pair<'_>, sql: &str) {
    let program = "import sqlite3, sys\ndb = sqlite3.connect(sys.argv[1], timeout=10)\n\
                   db.execute(sys.argv[2])\ndb.commit()\n";
    let ran = Command::new("python3").args(["-c", program]).arg(pair.path()).arg(sql).output();
    let ran = ran.unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

/// By plain statements of both sides' own clients.
#[track_caller]
fn equal_four(pair: &Pair<'_>) {
    let codes = pair.postgres(
        "SELECT code, a::int, b, c, d, f, g, h, i, m, n, o, p, rtrim(q), s FROM codes ORDER BY code COLLATE \"C\"",
    );
    let local = "SELECT code, a, b, c, d, f, g, h, i, m, n, o, p, q, s FROM codes ORDER BY code";
    let number = |row: Row| -> Row {
        let float = |text: String| text.parse::<f64>().map_or(text, |number| number.to_string());
        row.into_iter()
            .enumerate()
            .map(|(at, cell)| if at == 5 { cell.map(float) } else { cell })
            .collect()
    };
    let codes: Vec<Row> = codes.into_iter().map(number).collect();
    assert_eq!(codes, pair.sqlite(local));
    equal(pair, "SELECT id, code, price, qty FROM things ORDER BY id");
    equal(
        pair,
        "SELECT \"Номер\", \"Когда\", \"При мечание\" FROM \"Гости\" ORDER BY \"Номер\", \"Когда\"",
    );
    equal(
        pair,
        "SELECT id, \"a b\", \"x;y\", \"q\"\"q\", \"$dual$\" FROM \"odd table\" ORDER BY id",
    );
}

#[test]
fn tables_of_any_key_type_and_name_are_adopted_as_they_are() {
    let server = Server::builder().start().unwrap();
    let pair = four(&server);
    pair.json(0, &["init", "--all", "--apply"]);
    equal_four(&pair);
    for sql in [
        "UPDATE codes SET m = 'bad', g = 2.50, n = '3 days' WHERE code = 'A1'",
        "DELETE FROM things WHERE code IS NULL",
        "INSERT INTO \"Гости\" VALUES ('Вера', 5, '2025-05-05', 'psql')",
        "UPDATE \"Гости\" SET \"Номер\" = 20 WHERE \"Номер\" = 2",
        "INSERT INTO \"odd table\" (\"a b\") VALUES ('psql')",
    ] {
        pair.postgres(sql);
    }
    for sql in [
        "UPDATE codes SET f = 2.5, l = '{\"z\": 1}', o = '{x,y}', a = 0 WHERE code = 'A1'",
        "INSERT INTO codes (code, c, h) VALUES ('new', 5, '2025-01-01')",
        "INSERT INTO things (id, code, price, qty) \
         VALUES ('11111111-1111-1111-1111-111111111111', 'new', '9.90', 2)",
        "DELETE FROM \"Гости\" WHERE \"Имя\" = 'Анна' AND \"Номер\" = 1",
        "INSERT INTO \"odd table\" (id, \"a b\", \"x;y\") VALUES (17, 'sqlite3', 7)",
    ] {
        python(&pair, sql);
    }
    // PostgreSQL is away meanwhile.
    server.stop(StopMode::Fast).unwrap();
    python(&pair, "UPDATE \"Гости\" SET \"При мечание\" = 'alone' WHERE \"Когда\" = '2024-01-02'");
    pair.json(3, &["sync", "--once"]);
    server.start().unwrap();
    pair.postgres("UPDATE codes SET b = 7 WHERE code = 'b2'");
    pair.json(0, &["sync"]);
    equal_four(&pair);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert_eq!(pair.json(0, &["conflicts"])["conflicts"], json!([]));
    let changed = pair.postgres("SELECT a, f, g, m, n, o FROM codes WHERE code = 'A1'");
    let changed: Vec<_> = changed[0].iter().map(|cell| cell.as_deref().unwrap()).collect();
    assert_eq!(changed, ["f", "2.5", "2.500", "bad", "3 days", "{x,y}"]);
    assert_eq!(
        pair.postgres("SELECT total FROM things WHERE code = 'new'"),
        [[Some("19.80".into())]]
    );
    // PostgreSQL goes on behind the number that the file has given.
    let next = pair.postgres("INSERT INTO \"odd table\" (\"a b\") VALUES ('next') RETURNING id");
    assert_eq!(next, [[Some("18".into())]]);
}

#[test]
fn rows_of_any_table_are_read_and_written_by_their_keys() {
    let pair = four(shared().unwrap());
    pair.json(0, &["init", "--all", "--apply"]);
    let got = pair.json(0, &["row", "get", "codes", "A1"]);
    assert_eq!(
        (&got["table"], &got["row"]["code"], &got["row"]["g"]),
        (&json!("codes"), &json!("A1"), &json!("1.100"))
    );
    let key = r#"["Анна",1,"2024-01-01"]"#;
    assert_eq!(pair.json(0, &["row", "get", "Гости", key])["row"]["При мечание"], "у окна");
    let named = r#"{"Когда":"2024-01-01","Имя":"Анна","Номер":1}"#;
    let changed = pair.json(0, &["row", "update", "Гости", named, r#"{"При мечание":"у стены"}"#]);
    assert_eq!(changed["stored"], json!({ "postgres": true, "sqlite": true }));
    assert_eq!(pair.postgres("SELECT 1 FROM \"Гости\" WHERE \"При мечание\" = 'у стены'").len(), 1);
    let added = r#"{"code":"c3","f":0.5,"h":"2024-01-01","a":true}"#;
    assert_eq!(pair.json(0, &["row", "add", "codes", added])["row"]["f"], 0.5);
    pair.json(5, &["row", "add", "codes", added]);
    pair.json(0, &["row", "upsert", "codes", r#"{"code":"c3","b":7}"#]);
    let listed = pair.json(0, &["row", "list", "codes", "--where", "a=true"]);
    let keys: Vec<&str> = listed["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["code"].as_str().unwrap())
        .collect();
    assert_eq!(keys, ["c3", "A1"]);
    assert_eq!(pair.json(0, &["row", "delete", "codes", "c3"])["key"], "c3");
    pair.json(5, &["row", "get", "codes", "c3"]);
    let text = pair.run(&["row", "get", "odd table", "1"]).ended(0).stdout;
    assert!(text.contains("$dual$"), "{text}");

    // What is no key, no column, no table is told with what would be.
    for (words, message, hint) in [
        (vec!["row", "get", "Гости", "Анна"], "it is no key", "a JSON array of Имя, Номер, Когда"),
        (vec!["row", "get", "odd table", "x"], "it is no key", "a whole number"),
        (vec!["row", "list", "codes", "--where", "cod=1"], "there is no such column", "`code`"),
        (vec!["row", "get", "code", "1"], "no table of that name is kept", "`codes`"),
    ] {
        let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
        let ran = pair.run(&words);
        let error = ran.json()["error"].clone();
        assert!(error["message"].as_str().unwrap().contains(message), "{error}");
        assert!(error["hint"].as_str().unwrap_or("").contains(hint), "{error}");
    }
}

#[test]
fn wide_tables_and_names_of_every_kind_are_written_in_all_ways() {
    let pair = Pair::new();
    let columns: Vec<String> = (1..=118).map(|at| format!("\"c {at}\" text")).collect();
    pair.postgres(&format!("CREATE TABLE wide (id bigint PRIMARY KEY, {})", columns.join(", ")));
    // Names of ours, names that mean something to SQLite, what would end a literal.
    pair.postgres(
        r#"CREATE TABLE "1" (id integer PRIMARY KEY, s text, u text, m text, r text, own text, live text,
           stamp text, txid text, rowid text, "a\b'" text DEFAULT 'x\y''', "%s %L" text)"#,
    );
    // SQLite takes upper and lower case for the same: it is one table.
    pair.postgres("CREATE TABLE bookings (id integer PRIMARY KEY, note text)");
    pair.sqlite("CREATE TABLE Bookings (ID INTEGER PRIMARY KEY, Note TEXT)");
    pair.sqlite("INSERT INTO Bookings VALUES (1, 'file')");
    pair.postgres("INSERT INTO bookings VALUES (2, 'server')");
    let plan = pair.json(0, &["init", "--all", "--apply"]);
    assert_eq!(plan["tables"].as_array().unwrap().len(), 3, "{plan}");
    equal(&pair, "SELECT id, note FROM bookings ORDER BY id");
    assert_eq!(pair.postgres(r#"SELECT to_regclass('"Bookings"') IS NULL"#), [[Some("t".into())]]);

    pair.json(0, &["row", "add", "wide", r#"{"id":1,"c 1":"a","c 118":"z"}"#]);
    pair.json(0, &["row", "update", "wide", "1", r#"{"c 60":"m"}"#]);
    let odd = r#"{"id":1,"s":"s","u":"u","live":"yes","rowid":"r","%s %L":"%"}"#;
    pair.json(0, &["row", "add", "1", odd]);
    pair.postgres(
        r#"UPDATE "1" SET own = 'o', stamp = 't', "a\b'" = 'changed' WHERE id = 1;
           INSERT INTO "1" (id) VALUES (2)"#,
    );
    pair.sqlite(r#"UPDATE "1" SET m = 'm', txid = '7' WHERE id = 1"#);
    pair.sqlite("UPDATE wide SET \"c 2\" = 'file' WHERE id = 1");
    pair.json(0, &["sync"]);
    let all = r#"SELECT id, s, u, m, own, live, stamp, txid, rowid, "a\b'", "%s %L" FROM "1" ORDER BY id"#;
    let rows = equal(&pair, all);
    assert_eq!(rows[0][9].as_deref(), Some("changed"));
    assert_eq!(rows[1][9].as_deref(), Some(r"x\y'"));
    equal(&pair, "SELECT id, \"c 1\", \"c 2\", \"c 60\", \"c 118\" FROM wide");
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}
