//! What an earlier version has left is brought to the form of this one, in place.

use serde_json::json;

use crate::core_scene::Pair;

/// An installation of formats 5 (PostgreSQL) and 1 (the file), as the last version that kept one table left
/// it: four people, one deleted, one conflict, something that waits on either side. The stamps are two
/// years older than they were, so that none lies in anybody's future.
fn before() -> Pair<'static> {
    let pair = Pair::new();
    pair.postgres(include_str!("fixtures/format_5_postgres.sql"));
    let file = rusqlite::Connection::open(pair.path()).unwrap();
    file.execute_batch(include_str!("fixtures/format_1_sqlite.sql")).unwrap();
    pair
}

const USERS: &str = "SELECT user_id, username, first_name, phone_number, real_name, source \
                     FROM users ORDER BY user_id";

#[test]
fn nothing_is_lost_and_what_waited_goes_over() {
    let pair = before();
    // Who only looks says so, and leaves it.
    let error = pair.json(4, &["conflicts"])["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("earlier version"), "{error}");
    pair.json(0, &["sync"]);
    let rows = pair.postgres(USERS);
    assert_eq!(rows, pair.sqlite(USERS));
    let text = |cell: &Option<String>| cell.clone().unwrap_or_default();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(text).collect()).collect();
    assert_eq!(
        rows,
        [
            ["1", "", "Имя 1", "+7", "waits", ""],
            ["2", "", "Имя 2", "", "", "server"],
            ["4", "waits_too", "psql", "", "", ""],
            ["5", "", "waits", "", "", ""],
        ]
    );
    assert_eq!(pair.json(0, &["conflicts"])["conflicts"][0]["losing"], "file");
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    let formats = "SELECT format::text FROM dual.installation";
    assert_eq!(pair.postgres(formats), [[Some("6".into())]]);
    assert_eq!(pair.sqlite("SELECT format FROM dual_state"), [[Some("3".into())]]);
    // Both say from now on how the table is declared, and others can be joined beside it.
    for kept in [
        pair.postgres("SELECT declaration FROM dual.tracked"),
        pair.sqlite("SELECT declaration FROM dual_tracked"),
    ] {
        assert!(kept[0][0].as_deref().unwrap().contains("\"name\":\"users\""), "{kept:?}");
    }
    pair.sqlite("CREATE TABLE staff (id INTEGER PRIMARY KEY, name TEXT)");
    pair.sqlite("INSERT INTO staff (name) VALUES ('Оля')");
    pair.json(0, &["init", "--apply"]);
    assert_eq!(pair.postgres("SELECT name FROM staff"), [[Some("Оля".into())]]);
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
}

#[test]
fn who_only_looks_changes_nothing_of_it() {
    let pair = before();
    let (postgres, file) =
        ("SELECT format::text FROM dual.installation", "SELECT format FROM dual_state");
    pair.json(0, &["init"]);
    pair.run(&["status"]);
    pair.run(&["user", "list"]);
    assert_eq!(pair.postgres(postgres), [[Some("5".into())]]);
    assert_eq!(pair.sqlite(file), [[Some("1".into())]]);
    assert_eq!(pair.sqlite("SELECT count(*) FROM users"), [[Some("4".into())]]);
    let plan = pair.json(0, &["init"]);
    assert_eq!(plan["tables"][0]["postgres"]["captured"], json!(false), "{plan}");
}
