//! Taking everything away again.

use std::time::Duration;

use dual_database::Kind;
use dual_database::Store;
use dual_database::schema::users;
use dual_database::store::postgres::{Limits, Settings};
use dual_database::store::sqlite::replica::Replica;
use dual_database::uninstall::uninstall;
use rusqlite::Connection;

use crate::capture_oracle::visits;
use crate::replica::{outside, settings};

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
