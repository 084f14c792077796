//! What `--verbose` tells.

use rcgen::{CertificateParams, KeyPair};
use throwaway_postgres::Server;

use crate::core_scene::{Pair, dual};
use crate::scene::Ran;

/// The phases in the order in which they ended, without their durations.
fn phases(stderr: &str) -> Vec<&str> {
    stderr
        .lines()
        .filter_map(|line| Some(line.split_once("phase: ")?.1.split_once(" took=")?.0))
        .collect()
}

#[test]
fn twice_it_tells_where_the_time_goes_and_no_values() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (folder.path().join("server.crt"), folder.path().join("server.key"));
    let made = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(["localhost".to_owned()]).unwrap();
    std::fs::write(&certificate, parameters.self_signed(&made).unwrap().pem()).unwrap();
    std::fs::write(&key, made.serialize_pem()).unwrap();
    let server = Server::builder().tls(certificate, key).password("hunter2").start().unwrap();
    let pair = Pair::on(&server);
    pair.run(&["user", "add", r#"{"user_id": 7, "first_name": "hunter2"}"#]).ended(0);

    // A password among the arguments would be told of.
    let get = |words: &[&str]| {
        let mut command = dual();
        command.args(["user", "get", "7", "--sqlite-db-path"]).arg(pair.path()).args(words);
        Ran::of(command.env("DATABASE_URL", pair.database.url()).output().unwrap()).ended(0)
    };
    let quiet = get(&[]);
    assert_eq!(quiet.stderr, "");
    let told = get(&["-v", "-v"]);
    assert_eq!(told.stdout, quiet.stdout);
    let phases = phases(&told.stderr);
    for phase in [
        "prepare TLS",
        "TLS handshake",
        "connect to PostgreSQL",
        "look at the tables",
        "open the file",
        "look at the server",
        "open both",
        "ask",
        "close both",
    ] {
        assert!(phases.contains(&phase), "{phase} is not told: {}", told.stderr);
    }
    assert_eq!(phases.last(), Some(&"close both"));
    assert!(!told.stderr.contains("hunter2"), "{}", told.stderr);

    let written =
        pair.run(&["-v", "-v", "user", "update", "7", r#"{"source": "hunter2"}"#]).ended(0);
    assert!(written.stderr.contains("phase: write took="), "{}", written.stderr);
    assert!(!written.stderr.contains("hunter2"), "{}", written.stderr);
}
