//! The README's first command.

use std::process::Command;

#[test]
fn the_demonstration_shows_both_sides_and_cleans_up() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_dual"))
        .arg("demo")
        .env("TMPDIR", folder.path())
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    assert!(stdout.contains("in PostgreSQL") && stdout.contains("in the SQLite file"), "{stdout}");
    // Both tables show the same guests.
    assert_eq!(stdout.matches("vera_new").count(), 2, "{stdout}");
    assert!(stdout.contains("«7,00E+09»"), "{stdout}");
    assert!(stderr.contains("cleaning up"), "{stderr}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "something was left behind");
}
