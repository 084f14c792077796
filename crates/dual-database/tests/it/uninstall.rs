//! Taking everything away again.

use std::time::Duration;

use dual_database::Kind;
use dual_database::Store;
use dual_database::schema::users;
use dual_database::store::postgres::{Limits, Settings};
use dual_database::store::sqlite::replica::Replica;
use dual_database::uninstall::{of_file, uninstall};
use rusqlite::Connection;

use crate::capture_oracle::visits;
use crate::replica_scene::{outside, settings};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_users_stays_whatever_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    // A table that is tracked, but not built in, is one of ours too.
    let replica = Replica::open(settings(&path, vec![users(), visits()])).await.unwrap();
    drop(replica);
    outside(
        &path,
        "CREATE TABLE dual_boot (a); CREATE INDEX dual_boot_a ON dual_boot (a);
         CREATE TRIGGER dual_note AFTER INSERT ON dual_boot BEGIN SELECT 1; END;
         INSERT INTO dual_boot VALUES (1)",
    );
    let away = Settings::parse("postgresql://nobody@127.0.0.1:1/none").unwrap();
    let gone = uninstall(&away, &Limits::default(), &path, Duration::from_secs(5)).await;
    assert_eq!(gone.postgres.unwrap_err().kind(), Kind::Unavailable(Store::Postgres));
    gone.sqlite.unwrap();
    let file = Connection::open(&path).unwrap();
    let mut look = file
        .prepare("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name")
        .unwrap();
    let names: Vec<String> =
        look.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(names, ["dual_boot", "dual_boot_a", "dual_note", "users", "visits"]);
}

/// Somebody has put something else where ours stood, of any name and kind; what has the name of a trigger
/// of ours and is none is the user's.
#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_place_of_ours_goes_whatever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    drop(Replica::open(settings(&path, vec![users()])).await.unwrap());
    outside(
        &path,
        "DROP TABLE dual_state; CREATE INDEX dual_state ON users (first_name);
         DROP TABLE dual_conflict; CREATE VIEW \"DUAL_Conflict\" AS SELECT 1;
         CREATE VIEW \"dual_side_of \"\"two\"\" words\" AS SELECT 1;
         CREATE TABLE \"dual_side_; DROP TABLE users\" (a);
         CREATE TABLE dual_users_inserted (a)",
    );
    of_file(&path, Duration::from_secs(5)).await.unwrap();
    let file = Connection::open(&path).unwrap();
    let mut look = file
        .prepare("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%' ORDER BY name")
        .unwrap();
    let names: Vec<String> =
        look.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(names, ["dual_users_inserted", "users"]);
    drop(look);
    drop(Replica::open(settings(&path, vec![users()])).await.unwrap());
}
