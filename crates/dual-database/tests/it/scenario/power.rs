//! Killed at random moments of a write load.

use std::collections::BTreeSet;
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::scene::{LIMIT, Place, postgres_rows, sqlite_rows, until_equal};

/// The example `worker`, which says on stdout what was acknowledged.
pub fn worker(url: &str, path: &Path, what: &str) -> Child {
    Command::new(program())
        .args([url, path.to_str().unwrap(), what])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// Where it is, built with the tests.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("examples").join("worker")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_kills_lose_no_acknowledged_write() {
    let place = Place::new();
    let mut acknowledged = BTreeSet::new();
    for round in 0..200u64 {
        let first = round * 1_000_000;
        let mut child = worker(&place.url(), &place.path(), &format!("add:{first}"));
        let pipe = child.stdout.take().unwrap();
        let (first_line, writes) = std::sync::mpsc::channel();
        let lines = std::thread::spawn(move || {
            let lines = std::io::BufReader::new(pipe).lines().map_while(Result::ok);
            lines.inspect(|_| first_line.send(()).unwrap_or_default()).collect::<Vec<_>>()
        });
        // Every fourth is killed while it opens the file or meets PostgreSQL.
        if round % 4 != 0 {
            writes.recv_timeout(LIMIT).unwrap();
        }
        // No more random than needed.
        tokio::time::sleep(Duration::from_millis((round * 7919) % 120)).await;
        child.kill().unwrap();
        child.wait().unwrap();
        // A line that was cut off was not acknowledged.
        let said = lines.join().unwrap();
        acknowledged
            .extend(said.iter().filter_map(|line| line.strip_suffix(" ok")).map(String::from));
    }
    let db = place.open().await;
    db.sync_now(LIMIT).await.unwrap();
    until_equal(&db, &place.url(), &place.path()).await;
    let ids = |rows: String| -> BTreeSet<String> {
        rows.lines().map(|row| row.split('\t').nth(1).unwrap().to_owned()).collect()
    };
    let (postgres, sqlite) = (ids(postgres_rows(&place.url())), ids(sqlite_rows(&place.path())));
    assert!(acknowledged.len() > 200, "only {} writes", acknowledged.len());
    for id in &acknowledged {
        assert!(postgres.contains(id) && sqlite.contains(id), "{id} was acknowledged and is lost");
    }
}
