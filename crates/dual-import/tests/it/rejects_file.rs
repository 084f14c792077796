//! The file of rejects holds what people have written in cells.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use dual_import::RejectsFile;

#[test]
fn the_file_of_rejects_is_its_owners_and_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rejects.csv");
    RejectsFile::create(&path).unwrap().finish().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    // One that is there keeps its permissions.
    std::fs::write(
        &path,
        "old and longer than the heading is, which is what is written\n".repeat(9),
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    RejectsFile::create(&path).unwrap().finish().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("row,cell,"));
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);

    let victim = folder.path().join("victim");
    std::fs::write(&victim, "kept").unwrap();
    let link = folder.path().join("link.csv");
    symlink(&victim, &link).unwrap();
    let error = RejectsFile::create(&link).unwrap_err();
    assert!(error.message().contains("it is a link"), "{}", error.chain());
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "kept");
}
