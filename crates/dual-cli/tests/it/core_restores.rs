//! PostgreSQL's own dumps, restored in the forms that people use: what came after the dump stays, what
//! was restored past the triggers is seen.

use std::path::PathBuf;
use std::process::Command;

use crate::core_scene::Pair;

impl Pair<'_> {
    fn dump(&self, options: &[&str]) -> PathBuf {
        let path = self.folder.path().join("dump");
        let url = self.database.url();
        let mut command = Command::new("pg_dump");
        command.args(["-Fc", "-f"]).arg(&path).args(options).arg("-d").arg(url);
        let ran = command.output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        path
    }

    fn restore(&self, path: &PathBuf, options: &[&str]) {
        let url = self.database.url();
        let mut command = Command::new("pg_restore");
        let ran = command.args(options).arg("-d").arg(url).arg(path).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    }

    #[track_caller]
    fn both_have(&self, users: &str) {
        let select = "SELECT count(*), min(source), max(source) FROM users";
        let expected = [[Some(users.into()), Some("ours".into()), Some("ours".into())]];
        assert_eq!(self.postgres(select), expected);
        assert_eq!(self.sqlite(select), expected);
        assert_eq!(self.json(0, &["verify"])["equal"], true);
    }
}

fn filled() -> Pair<'static> {
    let pair = Pair::new();
    pair.json(0, &["init", "--apply"]);
    pair.postgres(
        "INSERT INTO users (user_id, source) SELECT n, 'ours' FROM generate_series(1, 100) AS n",
    );
    pair.json(0, &["sync", "--once"]);
    pair
}

#[test]
fn what_came_after_the_dump_is_given_back() {
    for (dumped, restored) in [
        // Everything, over what is there.
        (&[][..], &["--clean", "--if-exists"][..]),
        // The table alone: what is noted of its rows survives it.
        (&["-t", "users"], &["--clean", "--if-exists"]),
    ] {
        let pair = filled();
        let dump = pair.dump(dumped);
        pair.json(0, &["user", "add", r#"{"user_id": 101, "source": "ours"}"#]);
        pair.json(0, &["user", "delete", "100"]);
        pair.restore(&dump, restored);
        assert_eq!(pair.postgres("SELECT 1 FROM users WHERE user_id = 101").len(), 0);
        assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
        let added = "SELECT 1 FROM users WHERE user_id = 101";
        assert_eq!((pair.postgres(added).len(), pair.sqlite(added).len()), (1, 1));
        assert_eq!(pair.json(0, &["verify"])["equal"], true);
    }
}

#[test]
fn data_alone_are_seen_with_the_triggers_and_without() {
    for options in [&["--data-only"][..], &["--data-only", "--disable-triggers"]] {
        let pair = filled();
        let dump = pair.dump(&["-t", "users"]);
        pair.postgres("DELETE FROM users");
        pair.json(0, &["sync", "--once"]);
        assert_eq!(pair.sqlite("SELECT 1 FROM users").len(), 0);
        pair.restore(&dump, options);
        assert_eq!(pair.json(0, &["sync", "--once"])["state"], "done");
        pair.both_have("100");
    }
}
