//! What somebody sets for the database, before the product comes or while it runs, stops nothing.

use dual_database::health::StoreState;
use dual_database::{Kind, Store};

use super::scene::{LIMIT, Place, is_in_both, named, open_with, setting};

const SETTINGS: [(&str, &str); 24] = [
    ("default_transaction_isolation", "'repeatable read'"),
    ("default_transaction_isolation", "serializable"),
    ("default_transaction_deferrable", "on"),
    ("synchronous_commit", "off"),
    ("statement_timeout", "'4s'"),
    ("lock_timeout", "'1s'"),
    ("idle_in_transaction_session_timeout", "'4s'"),
    ("search_path", "absent, public, pg_catalog"),
    ("DateStyle", "'German, DMY'"),
    ("IntervalStyle", "iso_8601"),
    ("TimeZone", "'Asia/Kathmandu'"),
    ("extra_float_digits", "-5"),
    ("bytea_output", "escape"),
    ("standard_conforming_strings", "off"),
    ("backslash_quote", "off"),
    ("quote_all_identifiers", "on"),
    ("array_nulls", "off"),
    ("transform_null_equals", "on"),
    ("row_security", "off"),
    ("enable_indexscan", "off"),
    ("plpgsql.variable_conflict", "use_column"),
    ("plpgsql.extra_errors", "'all'"),
    ("plan_cache_mode", "force_generic_plan"),
    ("check_function_bodies", "off"),
];

/// Everybody writes, and everything arrives.
async fn everybody_writes(place: &Place, said: &str, keys: i64) {
    let db = place.open().await;
    assert!(is_in_both(&db.add_user(&named(keys, "наш")).await.unwrap()), "{said}");
    assert!(is_in_both(&db.add_user(&named(keys + 1, "наш")).await.unwrap()), "{said}");
    place.psql(&format!(
        "INSERT INTO users (user_id, first_name, birth_date) VALUES ({0}, 'psql', '2001-02-03'); \
         UPDATE users SET username = 'psql' WHERE user_id = {1}",
        keys + 2,
        keys
    ));
    place.sqlite(&format!(
        "db.execute(\"INSERT INTO users (user_id, first_name) VALUES ({0}, 'python')\")\n\
         db.execute(\"UPDATE users SET real_name = 'python' WHERE user_id = {1}\")\n\
         db.execute(\"DELETE FROM users WHERE user_id = {1} + 1\")",
        keys + 3,
        keys
    ));
    place.until_equal(&db).await;
    let renamed = db.update_user(keys + 3, &setting("source", "наш")).await.unwrap();
    assert!(is_in_both(&renamed), "{said}");
    place.until_equal(&db).await;
    let count = format!("SELECT count(*) FROM users WHERE user_id BETWEEN {keys} AND {keys} + 3");
    assert_eq!(place.psql(&count), "3", "{said}");
    let status = db.status().await.unwrap();
    let up = [&status.postgres.state, &status.sqlite.state];
    assert_eq!(up, [&StoreState::Up; 2], "{said}: {status:?}");
    assert_eq!((status.conflicts, status.quarantined), (Some(0), Some(0)), "{said}");
    assert_eq!(status.recent_errors, [], "{said}");
    assert!(db.verify().await.unwrap().equal, "{said}");
    db.close(LIMIT).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_for_the_database_stops_nothing() {
    for (name, value) in SETTINGS {
        let place = Place::new();
        let said = format!("{name} = {value}");
        let set = format!("ALTER DATABASE {} SET {said}", place.database.name());
        place.psql(&set);
        everybody_writes(&place, &said, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_for_the_database_afterwards_stops_nothing() {
    let place = Place::new();
    everybody_writes(&place, "nothing", 1).await;
    for (at, (name, value)) in (1..).zip(SETTINGS) {
        let said = format!("{name} = {value}");
        let database = place.database.name();
        place.psql(&format!("ALTER DATABASE {database} SET {said}"));
        everybody_writes(&place, &said, at * 10).await;
        place.psql(&format!("ALTER DATABASE {database} RESET {name}"));
    }
}

/// Settings in the URL with which the server takes no connection at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_setting_of_the_connection_is_told_as_configuration() {
    let place = Place::new();
    let db = place.open().await;
    assert!(is_in_both(&db.add_user(&named(1, "наш")).await.unwrap()));
    db.close(LIMIT).await;
    for (options, said) in [
        ("-c%20statement_timeout%3Dabc", "statement_timeout"),
        ("-c%20no_such_setting%3D1", "no_such_setting"),
        ("endpoint%3Dx", "endpoint=x"),
    ] {
        let url = place.url();
        let joint = if url.contains('?') { '&' } else { '?' };
        let url = format!("{url}{joint}options={options}");
        let builder = open_with(&url, &place.path());
        let error = builder.clone().open().await.unwrap_err();
        assert!(error.is_configuration() && error.message().contains(said), "{error:?}");
        assert!(error.hint().unwrap().contains("`options`"), "{error:?}");
        // Who only looks is told, too, and sees what the file has.
        let db = builder.adopt(false).background(false).open().await.unwrap();
        let found = db.get_user(1).await.unwrap();
        assert_eq!((found.source, found.value.is_some()), (Store::Sqlite, true), "{options}");
        let status = db.status().await.unwrap();
        let StoreState::Down { kind, reason, hint } = &status.postgres.state else {
            panic!("{options}: {status:?}");
        };
        assert_eq!(*kind, Kind::Configuration, "{reason}");
        assert!(reason.contains(said) && hint.as_ref().unwrap().contains("`options`"), "{hint:?}");
        assert_eq!(status.sqlite.state, StoreState::Up, "{options}");
        assert!(db.sync_now(LIMIT).await.unwrap_err().is_configuration(), "{options}");
        db.close(LIMIT).await;
    }
}
