//! What holds people's data is its owner's alone, from its first moment on; what was shared stays so.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dual_database::store::sqlite::replica::{Durability, Replica};

use crate::capture_oracle::visits;
use crate::replica_scene::{id, note, now, outside, settings};

/// The permissions of everything in the folder of the file, under names without what is made up.
fn permissions(path: &Path) -> Vec<(String, u32)> {
    let mut all: Vec<(String, u32)> = std::fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let name = name.split_inclusive("corrupt-").next().unwrap().to_owned();
            (name, entry.metadata().unwrap().mode() & 0o777)
        })
        .collect();
    all.sort();
    all
}

fn all_have(path: &Path, mode: u32, names: &[&str]) {
    let expected: Vec<(String, u32)> =
        names.iter().map(|name| ((*name).to_owned(), mode)).collect();
    assert_eq!(permissions(path), expected);
}

fn allow(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

async fn write(replica: &Replica) {
    replica
        .write("test", Durability::Full, |content| content.change(&id(1), &note("a"), now()))
        .await
        .unwrap();
}

const OPEN: [&str; 5] =
    ["bot.db", "bot.db-shm", "bot.db-wal", "bot.db.dual-lock", "bot.db.dual-push"];

#[tokio::test(flavor = "multi_thread")]
async fn a_new_file_and_all_beside_it_are_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    let replica = Replica::open(settings(&path, vec![visits()])).await.unwrap();
    write(&replica).await;
    drop(replica.push_turn(Duration::from_secs(5)).await.unwrap());
    all_have(&path, 0o600, &OPEN);

    // Put back after it was deleted.
    std::fs::remove_file(&path).unwrap();
    write(&replica).await;
    all_have(&path, 0o600, &OPEN);
    Arc::new(replica).close().await;

    // Made anew after it was damaged.
    std::fs::write(&path, vec![b'x'; 9_000]).unwrap();
    let replica = Replica::open(settings(&path, vec![visits()])).await.unwrap();
    write(&replica).await;
    let names: Vec<String> = permissions(&path).into_iter().map(|(name, _)| name).collect();
    assert!(names.contains(&"bot.db.corrupt-".to_owned()), "{names:?}");
    assert!(permissions(&path).iter().all(|(_, mode)| *mode == 0o600), "{:?}", permissions(&path));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_shared_stays_so_whatever_takes_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    outside(&path, "CREATE TABLE other (a)");
    allow(&path, 0o660);
    let replica = Replica::open(settings(&path, vec![visits()])).await.unwrap();
    write(&replica).await;
    drop(replica.push_turn(Duration::from_secs(5)).await.unwrap());
    all_have(&path, 0o660, &OPEN);
    std::fs::remove_file(&path).unwrap();
    write(&replica).await;
    all_have(&path, 0o660, &OPEN);
    Arc::new(replica).close().await;
    std::fs::write(&path, vec![b'x'; 9_000]).unwrap();
    let replica = Replica::open(settings(&path, vec![visits()])).await.unwrap();
    write(&replica).await;
    assert!(permissions(&path).iter().all(|(_, mode)| *mode == 0o660), "{:?}", permissions(&path));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_leads_nowhere_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bot.db");
    let elsewhere = folder.path().join("elsewhere");
    symlink(&elsewhere, &path).unwrap();
    let error = Replica::open(settings(&path, vec![visits()])).await.unwrap_err();
    assert!(error.is_configuration(), "{}", error.chain());
    assert!(error.message().contains("a link to a file that is not there"), "{}", error.chain());
    assert!(!elsewhere.exists());
    // As the hint says.
    std::fs::write(&elsewhere, "").unwrap();
    Replica::open(settings(&path, vec![visits()])).await.unwrap();

    let lock = folder.path().join("other.db.dual-lock");
    symlink(folder.path().join("target"), &lock).unwrap();
    Replica::open(settings(folder.path().join("other.db"), vec![visits()])).await.unwrap_err();
    assert!(!folder.path().join("target").exists());
}
