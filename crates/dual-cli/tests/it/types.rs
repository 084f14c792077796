//! Every type that `users` has, at its extremes, with both databases as the oracle; and what
//! one of them can hold and the other cannot is refused by name.

use std::fmt::Write as _;

use serde_json::json;

use crate::scene::{Ran, Scene};

/// A user, a column, its text (`None`: NULL) and SQLite's storage class.
type Expected<'a> = (i64, &'a str, Option<&'a str>, &'a str);

const LONGEST: usize = 50_000;

fn execute(scene: &Scene, sql: &str) {
    rusqlite::Connection::open(scene.sqlite_path()).unwrap().execute_batch(sql).unwrap();
}

fn import(scene: &Scene, csv: &str) -> Ran {
    let path = scene.file("import.csv", csv);
    scene.migrate(&["--csv", path.to_str().unwrap()])
}

/// Both tables are there, with a user 1 in them.
fn with_tables() -> Scene {
    let scene = Scene::new(json!([]));
    import(&scene, "user_id,first_name\n1,Анна\n").ended(0);
    scene
}

/// Compares what both databases have, as they have it, with what is expected.
#[track_caller]
fn hold(scene: &Scene, expected: &[Expected<'_>]) {
    for (user, column, text, class) in expected {
        let postgres = match *column {
            "register_date" | "last_activity" | "redeem_date" => format!(
                "regexp_replace(to_char({column}, 'YYYY-MM-DD HH24:MI:SS.US'), '\\.000000$', '')"
            ),
            "profile_completed" => format!("{column}::int::text"),
            _ => format!("{column}::text"),
        };
        let postgres = scene.postgres(&format!(
            "SELECT {postgres}, encode(convert_to({column}::text, 'UTF8'), 'hex') \
             FROM users WHERE user_id = {user}"
        ));
        let sqlite = scene.sqlite(&format!(
            "SELECT CAST({column} AS TEXT), lower(hex({column})), typeof({column}) \
             FROM users WHERE user_id = {user}"
        ));
        let place = format!("{column} of {user}");
        assert_eq!((postgres.len(), sqlite.len()), (1, 1), "{place}");
        assert_eq!(postgres[0][0].as_deref(), *text, "{place} in PostgreSQL");
        assert_eq!(sqlite[0][0].as_deref(), *text, "{place} in SQLite");
        assert_eq!(sqlite[0][2].as_deref(), Some(*class), "{place}");
        let is_text = ["first_name", "real_name", "status", "source"].contains(column);
        if is_text && text.is_some() {
            assert_eq!(postgres[0][1], sqlite[0][1], "{place}, byte by byte");
        }
    }
}

#[test]
fn extremes_arrive_from_a_file() {
    let scene = Scene::new(json!([]));
    let long = "я".repeat(LONGEST);
    let csv = format!(
        "user_id,first_name,real_name,register_date,last_activity,referrer_id,brought_by_staff_id,profile_completed\n\
         9223372036854775807,e\u{301}🍺👨‍👩‍👧,\"שלום \u{202e}\n\t\\N\"\"'\",1900-01-01 00:00:00.000001,9999-12-31 23:59:59.999999,-9223372036854775808,2147483647,true\n\
         -9223372036854775808,{long},,2025-08-07 09:00:00.5,1900-01-01 00:00:00,9223372036854775807,-2147483648,false\n\
         2147483648,,,,,,0,\n"
    );
    import(&scene, &csv).ended(0);
    let (most, least, third) = (i64::MAX, i64::MIN, 2_147_483_648);
    hold(
        &scene,
        &[
            (most, "user_id", Some("9223372036854775807"), "integer"),
            (most, "first_name", Some("e\u{301}🍺👨‍👩‍👧"), "text"),
            (most, "real_name", Some("שלום \u{202e}\n\t\\N\"'"), "text"),
            (most, "register_date", Some("1900-01-01 00:00:00.000001"), "text"),
            (most, "last_activity", Some("9999-12-31 23:59:59.999999"), "text"),
            (most, "referrer_id", Some("-9223372036854775808"), "integer"),
            (most, "brought_by_staff_id", Some("2147483647"), "integer"),
            (most, "profile_completed", Some("1"), "integer"),
            (least, "first_name", Some(&long), "text"),
            (least, "real_name", None, "null"),
            (least, "register_date", Some("2025-08-07 09:00:00.500000"), "text"),
            (least, "last_activity", Some("1900-01-01 00:00:00"), "text"),
            (least, "referrer_id", Some("9223372036854775807"), "integer"),
            (least, "brought_by_staff_id", Some("-2147483648"), "integer"),
            (least, "profile_completed", Some("0"), "integer"),
            (third, "first_name", None, "null"),
            (third, "register_date", None, "null"),
            (third, "referrer_id", None, "null"),
            (third, "brought_by_staff_id", Some("0"), "integer"),
            (third, "profile_completed", Some("0"), "integer"),
        ],
    );
}

/// What the source does not know comes with the row from the store that has it: values that
/// no cell can have, among them the empty text and the year 1.
#[test]
fn extremes_of_a_row_that_one_store_lacks_arrive_from_the_other() {
    let long = "я".repeat(LONGEST);
    let columns = "user_id, first_name, real_name, status, register_date, last_activity, \
                   redeem_date, referrer_id, brought_by_staff_id, profile_completed";
    let values = format!(
        "(21, 'x', '', '{long}', '0001-01-01 00:00:00', '9999-12-31 23:59:59.999999', \
           '2024-02-29 12:00:00.100000', -9223372036854775808, -2147483648, TRUE), \
         (22, 'x', ' e\u{301} 🍺\n\t\\N ', NULL, NULL, '0001-01-01 00:00:00.000001', NULL, \
           9223372036854775807, 2147483647, FALSE), \
         (23, 'x', NULL, '', NULL, NULL, NULL, NULL, NULL, NULL)"
    );
    for in_postgres in [true, false] {
        let scene = with_tables();
        let insert = format!("INSERT INTO users ({columns}) VALUES {values}");
        if in_postgres {
            scene.postgres(&insert);
        } else {
            execute(&scene, &insert);
        }
        import(&scene, "user_id,first_name\n21,Яна\n22,Яна\n23,Яна\n").ended(0);
        hold(
            &scene,
            &[
                (21, "first_name", Some("Яна"), "text"),
                (21, "real_name", Some(""), "text"),
                (21, "status", Some(&long), "text"),
                (21, "register_date", Some("0001-01-01 00:00:00"), "text"),
                (21, "last_activity", Some("9999-12-31 23:59:59.999999"), "text"),
                (21, "redeem_date", Some("2024-02-29 12:00:00.100000"), "text"),
                (21, "referrer_id", Some("-9223372036854775808"), "integer"),
                (21, "brought_by_staff_id", Some("-2147483648"), "integer"),
                (21, "profile_completed", Some("1"), "integer"),
                (22, "real_name", Some(" e\u{301} 🍺\n\t\\N "), "text"),
                (22, "status", None, "null"),
                (22, "register_date", None, "null"),
                (22, "last_activity", Some("0001-01-01 00:00:00.000001"), "text"),
                (22, "referrer_id", Some("9223372036854775807"), "integer"),
                (22, "brought_by_staff_id", Some("2147483647"), "integer"),
                (22, "profile_completed", Some("0"), "integer"),
                (23, "real_name", None, "null"),
                (23, "status", Some(""), "text"),
                (23, "profile_completed", None, "null"),
            ],
        );
        let before = scene.versions();
        import(&scene, "user_id,first_name\n21,Яна\n22,Яна\n23,Яна\n").ended(0);
        assert!(scene.versions() == before, "a run without changes moved something");
    }
}

/// Runs, and expects a refusal that names the row's key and the column, and that nothing moved.
#[track_caller]
fn refused(scene: &Scene, user: i64, column: &str, value: &str) {
    let before = scene.versions();
    for option in ["--json", "--dry-run"] {
        let path = scene.file("import.csv", format!("user_id,first_name\n1,Новая\n{user},Яна\n"));
        let ran = scene.migrate(&["--csv", path.to_str().unwrap(), option]);
        if option == "--dry-run" && ran.code == Some(0) {
            continue; // It does not fetch what it would complete.
        }
        let ran = ran.ended(5);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        for word in ["table users", &format!("user_id {user}"), column, "correct that"] {
            assert!(told.contains(word), "{value}: `{word}` is missing in: {told}");
        }
        assert!(scene.versions() == before, "{value}: something moved");
    }
}

#[test]
fn what_sqlite_cannot_hold_is_refused_with_the_row_and_the_column() {
    let scene = with_tables();
    let values = ["infinity", "-infinity", "0044-03-15 12:00:00 BC", "10000-01-01 00:00:00"];
    for (user, value) in (101..).zip(values) {
        scene.postgres(&format!(
            "INSERT INTO users (user_id, last_activity) VALUES ({user}, '{value}')"
        ));
        refused(&scene, user, "last_activity", value);
    }
    // Rows that the import does not name are in nobody's way.
    import(&scene, "user_id,first_name\n1,Новая\n").ended(0);
    assert_eq!(scene.value(1, "first_name").as_deref(), Some("Новая"));
}

/// Values that a SQLite file can have and PostgreSQL not, with the column.
const UNFIT: [(&str, &str); 13] = [
    ("real_name", "CAST(x'41fffe42' AS TEXT)"),
    ("real_name", "'a' || char(0) || 'b'"),
    ("real_name", "x'4142'"),
    ("referrer_id", "'abc'"),
    ("referrer_id", "1.5"),
    ("referrer_id", "9.3e18"),
    ("brought_by_staff_id", "2147483648"),
    ("brought_by_staff_id", "-2147483649"),
    ("profile_completed", "2"),
    ("last_activity", "'вчера'"),
    ("last_activity", "'2025-02-30 10:00:00'"),
    ("last_activity", "'10000-01-01 00:00:00'"),
    ("redeem_date", "x'32303235'"),
];

#[test]
fn what_postgresql_cannot_hold_is_refused_with_the_row_and_the_column() {
    let scene = with_tables();
    for (user, (column, value)) in (201..).zip(UNFIT) {
        execute(
            &scene,
            &format!("INSERT INTO users (id, user_id, {column}) VALUES ({user}, {user}, {value})"),
        );
        refused(&scene, user, column, value);
    }
    import(&scene, "user_id,first_name\n1,Новая\n").ended(0);
    assert_eq!(scene.value(1, "first_name").as_deref(), Some("Новая"));
}

/// A value that stays where it is need not fit into the other store.
#[test]
fn what_is_not_carried_over_is_in_nobodys_way() {
    let scene = with_tables();
    let (mut csv, mut after) = (String::from("user_id,first_name\n"), csv_header());
    for user in 201..201 + UNFIT.len() {
        writeln!(csv, "{user},Яна").unwrap();
        writeln!(
            after,
            "{user},Вера,Вера Тестова,42,7,true,2026-01-01 00:00:00,2026-01-02 00:00:00"
        )
        .unwrap();
    }
    import(&scene, &csv).ended(0);
    for (user, (column, value)) in (201..).zip(UNFIT) {
        execute(&scene, &format!("UPDATE users SET {column} = {value} WHERE user_id = {user}"));
    }
    scene.postgres("UPDATE users SET last_activity = 'infinity' WHERE user_id = 201");
    let odd = |scene: &Scene| {
        (201..)
            .zip(UNFIT)
            .map(|(user, (column, _))| {
                scene.sqlite(&format!("SELECT hex({column}) FROM users WHERE user_id = {user}"))
            })
            .collect::<Vec<_>>()
    };
    let before = odd(&scene);
    import(&scene, &csv.replace("Яна", "Ольга")).ended(0);
    assert_eq!(scene.value(213, "first_name").as_deref(), Some("Ольга"));
    assert_eq!(odd(&scene), before);
    // What the source does know replaces it, on both sides, whether or not the other store
    // has the row.
    execute(&scene, "DELETE FROM users WHERE user_id = 201");
    scene.postgres("DELETE FROM users WHERE user_id IN (207, 210)");
    import(&scene, &after).ended(0);
    assert_eq!(scene.equal().len(), UNFIT.len() + 1);
    assert_eq!(scene.value(201, "last_activity").as_deref(), Some("2026-01-01 00:00:00"));
}

fn csv_header() -> String {
    "user_id,first_name,real_name,referrer_id,brought_by_staff_id,profile_completed,\
     last_activity,redeem_date\n"
        .into()
}
