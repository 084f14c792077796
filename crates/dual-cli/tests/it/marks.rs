//! A password and values of cells that can be told from everything else: after everything that the
//! programs do they stand where they belong, and nowhere else. On the wire that is where values are
//! sent, and not the text of a statement, which servers log; on the disk the databases, their copies
//! and the file of rejects.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use throwaway_postgres::Server;

use crate::core_scene::{Pair, dual, nowhere};
use crate::scene::Ran;

const PASSWORD: &str = "hunter2-hunter2";
/// What each value of a cell begins with, and one that is only digits.
const CELL: &str = "Метка";
const PHONE: &str = "+79995550199";

/// Passes everything on, and keeps what the programs have sent, by connection.
struct Recorder {
    port: u16,
    sent: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recorder {
    fn start(server_port: u16) -> Recorder {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&sent);
        // Ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
                let (mut back, mut to_client) =
                    (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || {
                    let _ = std::io::copy(&mut back, &mut to_client);
                    let _ = to_client.shutdown(Shutdown::Both);
                });
                let at = {
                    let mut all = shared.lock().unwrap();
                    all.push(Vec::new());
                    all.len() - 1
                };
                let shared = Arc::clone(&shared);
                thread::spawn(move || keep(client, server, at, &shared));
            }
        });
        Recorder { port, sent }
    }

    /// The messages of all connections: their kind (a zero for what opens a connection) and bytes.
    fn messages(&self) -> Vec<(u8, Vec<u8>)> {
        self.sent.lock().unwrap().iter().flat_map(|bytes| messages(bytes)).collect()
    }
}

fn keep(mut client: TcpStream, mut server: TcpStream, at: usize, sent: &Mutex<Vec<Vec<u8>>>) {
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = client.read(&mut buffer) {
        sent.lock().unwrap()[at].extend_from_slice(&buffer[..length]);
        if server.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

fn messages(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    let mut is_open = false;
    loop {
        let head = usize::from(is_open);
        let Some(length) = bytes.get(head..head + 4) else { return found };
        let end = head + u32::from_be_bytes(length.try_into().unwrap()) as usize;
        let Some(message) = bytes.get(head + 4..end) else { return found };
        found.push((if is_open { bytes[0] } else { 0 }, message.to_vec()));
        // A request for TLS, or to cancel, is followed by another opening, if by anything.
        is_open = is_open || message.starts_with(&[0, 3]);
        bytes = &bytes[end..];
    }
}

fn holds(bytes: &[u8], mark: &str) -> bool {
    bytes.windows(mark.len()).any(|part| part == mark.as_bytes())
}

fn is_marked(bytes: &[u8]) -> bool {
    holds(bytes, CELL) || holds(bytes, PHONE)
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

/// The programs between the two, with everything they can tell.
struct Marked<'s> {
    pair: Pair<'s>,
    url: String,
    temporary: tempfile::TempDir,
}

impl Marked<'_> {
    /// Runs, and looks at what was told: a row that was asked for, or written, is shown.
    #[track_caller]
    fn run(&self, words: &[&str], code: i32) -> Ran {
        self.run_to(&self.url, words, code)
    }

    #[track_caller]
    fn run_to(&self, url: &str, words: &[&str], code: i32) -> Ran {
        // Nothing may end by one.
        let mut command = std::process::Command::new("sh");
        command.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]);
        command.arg(dual().get_program()).args(["-v", "-v"]).args(words);
        crate::core_scene::without_libpq(&mut command);
        command.env("DATABASE_URL", url).env("DATABASE_PATH", self.pair.path());
        command.env("DUAL_LOG", "trace").env_remove("RUST_LOG");
        command.env("TMPDIR", self.temporary.path()).env("HOME", self.temporary.path());
        let ran = Ran::of(command.current_dir(self.pair.folder.path()).output().unwrap());
        assert_eq!(ran.code, Some(code), "{words:?}: {}{}", ran.stdout, ran.stderr);
        let told = ran.stderr.as_bytes();
        assert!(!holds(told, PASSWORD) && !is_marked(told), "{words:?}: {}", ran.stderr);
        let shows = matches!(words, ["user", ..] | ["conflicts", ..]);
        let document = ran.stdout.as_bytes();
        assert!(!holds(document, PASSWORD), "{words:?}: {}", ran.stdout);
        assert!(shows || !is_marked(document), "{words:?}: {}", ran.stdout);
        ran
    }
}

#[test]
fn passwords_and_values_stand_only_where_they_belong() {
    let server = Server::builder().password(PASSWORD).start().unwrap();
    let recorder = Recorder::start(server.port());
    let pair = Pair::on(&server);
    let url = pair
        .database
        .url()
        .replace(&format!(":{}/", server.port()), &format!(":{}/", recorder.port));
    let marked = Marked {
        pair,
        url: format!("{url}?sslmode=disable"),
        temporary: tempfile::tempdir().unwrap(),
    };
    let pair = &marked.pair;
    assert!(holds(marked.url.as_bytes(), PASSWORD), "{}", marked.url);

    // Both sides have rows, and differ.
    pair.postgres(&format!(
        "CREATE TABLE users (id serial PRIMARY KEY, user_id bigint UNIQUE NOT NULL, first_name text, \
         phone_number text UNIQUE, source text CHECK (source <> '{CELL} плохая')); \
         INSERT INTO users (user_id, first_name) VALUES (1, '{CELL} там'), (2, '{CELL} одна')"
    ));
    rusqlite::Connection::open(pair.path())
        .unwrap()
        .execute_batch(&format!(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, user_id INTEGER UNIQUE NOT NULL, first_name TEXT, \
             phone_number TEXT, source TEXT); \
             INSERT INTO users (user_id, first_name) VALUES (1, '{CELL} здесь'), (3, '{CELL} три')"
        ))
        .unwrap();
    marked.run(&["init"], 0);
    marked.run(&["init", "--sql"], 0);
    marked.run(&["init", "--apply"], 0);
    let row =
        |id: u32, more: &str| format!(r#"{{"user_id": {id}, "first_name": "{CELL} новая"{more}}}"#);
    let taken = format!(r#", "phone_number": "{PHONE}""#);
    marked.run(&["user", "add", &row(10, &taken)], 0);
    // What PostgreSQL refuses with the values in its words.
    marked.run(&["user", "add", &row(11, &taken)], 5);
    let bad = format!(r#", "source": "{CELL} плохая""#);
    marked.run(&["user", "add", &row(11, &bad)], 5);
    marked.run(&["user", "add", &row(10, "")], 5);
    marked.run(&["user", "add", &row(12, r#", "nickname": "Метка нет такой""#)], 5);
    marked.run(&["user", "update", "10", &format!(r#"{{"status": "{CELL}"}}"#)], 5);
    marked.run(&["user", "get", "10"], 0);
    marked.run(&["user", "list", "--json"], 0);
    // Away: it waits in the file, and meets another word.
    marked.run_to(
        &nowhere(),
        &["user", "update", "10", &format!(r#"{{"first_name": "{CELL} далеко"}}"#)],
        3,
    );
    pair.postgres(&format!("UPDATE users SET first_name = '{CELL} спор' WHERE user_id = 10"));
    pair.sqlite(&format!("INSERT INTO users (user_id, source) VALUES (20, '{CELL} плохая')"));
    pair.sqlite(&format!("INSERT INTO users (user_id, phone_number) VALUES (21, '{PHONE}')"));
    marked.run(&["sync", "--once"], 1);
    marked.run(&["status"], 0);
    marked.run(&["status", "--json"], 0);
    marked.run(&["conflicts"], 0);
    marked.run(&["verify"], 1);
    pair.past_the_triggers(&format!(
        "UPDATE users SET first_name = '{CELL} мимо' WHERE user_id = 2"
    ));
    marked.run(&["sync", "--once"], 1);
    marked.run(&["verify", "--json"], 1);
    marked.run(&["repair", "--prefer", "postgres"], 0);
    marked.run(&["repair", "--stamps"], 0);
    std::fs::write(
        pair.folder.path().join("users.in"),
        format!(
            "user_id,first_name,phone_number,status,register_date\n30,{CELL} лист,{PHONE}7,registered,\n\
             31,{CELL} два,,{CELL} не статус,\n{CELL} не номер,{CELL},,,\n32,{CELL} три,,,{CELL} не дата\n\
             33,{CELL} плохая,,,\n"
        ),
    )
    .unwrap();
    let import = ["migrate", "--csv", "users.in", "--max-rejects", "9"];
    marked.run(&[&import[..], &["--dry-run"]].concat(), 1);
    marked.run(&[&import[..], &["--rejects", "rejects.csv", "--yes"]].concat(), 1);
    marked.run(&["uninstall", "--yes"], 0);

    let messages = recorder.messages();
    let (mut values, mut statements) = (0, 0);
    for (kind, message) in &messages {
        assert!(
            !holds(message, PASSWORD),
            "the password is on the wire, in `{}`",
            char::from(*kind)
        );
        match kind {
            // Values of statements, rows of COPY.
            b'B' | b'd' => values += usize::from(is_marked(message)),
            _ => {
                statements += 1;
                let text = String::from_utf8_lossy(message);
                assert!(!is_marked(message), "in a message `{}`: {text}", char::from(*kind));
            }
        }
    }
    assert!(values > 5 && statements > 100, "nothing was recorded: {values}, {statements}");
    for line in server.log().lines().filter(|line| line.contains("STATEMENT:")) {
        assert!(!is_marked(line.as_bytes()), "{line}");
    }

    let mut with_values = Vec::new();
    for path in files(pair.folder.path()).into_iter().chain(files(marked.temporary.path())) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(!name.starts_with("core"), "{name}");
        let bytes = std::fs::read(&path).unwrap();
        assert!(!holds(&bytes, PASSWORD), "the password is in {name}");
        if is_marked(&bytes) && !name.ends_with("-wal") {
            with_values.push(name);
        }
    }
    with_values.sort();
    let copy = with_values.iter().position(|name| name.contains(".before-dual-"));
    with_values.remove(copy.unwrap());
    assert_eq!(with_values, ["rejects.csv", "users.db", "users.in"]);
}
