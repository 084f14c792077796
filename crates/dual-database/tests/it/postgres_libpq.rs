//! The same text, the same variables and the same files, given to `psql` and to us: the same comes of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use dual_database::store::postgres::{Environment, Limits, Session, Settings};
use dual_database::{Error, Kind};
use throwaway_postgres::Server;

use crate::postgres_tls::Authority;

const LOOK: &str = "SELECT concat_ws(' ', current_user, current_database(), \
     current_setting('application_name'), current_setting('geqo'), \
     (SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()))";

/// Where a connection is made from: variables, and a folder of the user's.
struct Place {
    home: tempfile::TempDir,
    variables: Vec<(&'static str, String)>,
}

impl Place {
    fn new() -> Place {
        Place { home: tempfile::tempdir().unwrap(), variables: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Place {
        self.variables.push((name, value.to_string()));
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn file(self, name: &str, mode: u32, text: &str) -> Place {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        self
    }

    fn psql(&self, text: &str) -> Result<String, String> {
        let mut command = Command::new("psql");
        command
            .env_clear()
            .env("PATH", std::env::var("PATH").unwrap())
            .env("HOME", self.home.path());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        // Its own wish of a name is weaker than everything that is given.
        let output = command.args(["--no-psqlrc", "-wAtc", LOOK, "-d", text]).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    async fn ours(&self, text: &str) -> Result<String, Error> {
        let environment =
            Environment::of(self.variables.iter().cloned()).with_home(self.home.path());
        let settings = Settings::resolve(text, &environment)?.with_application_name("psql");
        let session = Session::open(&settings, &Limits::default()).await?;
        let rows = session.query("look", LOOK, &[]).await?;
        Ok(rows[0].try_get(0).unwrap())
    }

    /// Both get in, and see the same.
    async fn both_see(&self, text: &str, expected: &str) {
        let psql = self.psql(text);
        assert_eq!(psql.as_deref(), Ok(expected), "psql, {text}");
        let ours = self.ours(text).await;
        assert_eq!(ours.unwrap(), expected, "ours, {text}");
    }

    /// Both are refused; ours says this.
    async fn both_refuse(&self, text: &str, said: &str) -> Error {
        let psql = self.psql(text);
        assert!(psql.is_err(), "psql, {text}: {psql:?}");
        let error = self.ours(text).await.unwrap_err();
        let told = format!("{} ({})", error.chain(), error.hint().unwrap_or_default());
        assert!(told.contains(said), "{text}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
        error
    }
}

fn server() -> Server {
    let server = Server::builder().password("hunter2").start().unwrap();
    server.execute("postgres", "CREATE DATABASE bar").unwrap();
    server.execute("postgres", "CREATE ROLE bot LOGIN PASSWORD 'a:b\\c'").unwrap();
    server
}

#[tokio::test]
async fn variables_stand_for_what_the_text_leaves_out() {
    let server = server();
    let port = server.port();
    let place = || Place::new().with("PGPASSWORD", "hunter2");
    place()
        .both_see(&format!("postgresql://postgres@127.0.0.1:{port}/bar"), "postgres bar psql on f")
        .await;
    let all = place()
        .with("PGHOST", "127.0.0.1")
        .with("PGPORT", port)
        .with("PGUSER", "postgres")
        .with("PGDATABASE", "bar")
        .with("PGAPPNAME", "named")
        .with("PGOPTIONS", "-c geqo=off");
    all.both_see("postgresql://", "postgres bar named off f").await;
    // The text beats them, in either form.
    all.both_see("postgresql:///postgres?application_name=x", "postgres postgres x off f").await;
    all.both_see("dbname=postgres options='-c geqo=on'", "postgres postgres named on f").await;
    all.both_refuse("postgresql://postgres:wrong@/bar", "password").await;
    // The address is not looked up; the name is what is shown.
    let address = place().with("PGHOSTADDR", "127.0.0.1");
    let url = format!("postgresql://postgres@nowhere.invalid:{port}/bar");
    address.both_see(&url, "postgres bar psql on f").await;
    for (name, value) in [
        ("PGSSLMODE", "always"),
        ("PGSSLMODE", ""),
        ("PGCONNECT_TIMEOUT", "soon"),
        ("PGCHANNELBINDING", "perhaps"),
        ("PGTARGETSESSIONATTRS", "nothing"),
        ("PGSSLMODE", "require"),
        ("PGREQUIRESSL", "1"),
        ("PGGSSENCMODE", "require"),
        ("PGCHANNELBINDING", "require"),
        ("PGTARGETSESSIONATTRS", "standby"),
    ] {
        let url = format!("postgresql://postgres@127.0.0.1:{port}/bar");
        let error = place().with(name, value).both_refuse(&url, "").await;
        let is_ours = error.operation() == "read the PostgreSQL URL";
        assert!(!is_ours || error.message().starts_with(name), "{error}");
    }
}

#[tokio::test]
async fn the_older_name_of_sslmode_stands_in_its_place() {
    let server = server();
    let at = format!("host=127.0.0.1 port={} user=postgres dbname=bar", server.port());
    let place = || Place::new().with("PGPASSWORD", "hunter2");
    place().both_refuse(&format!("{at} requiressl=1"), "TLS").await;
    // It beats what comes from elsewhere, and the last of the text counts.
    place().with("PGSSLMODE", "disable").both_refuse(&format!("{at} requiressl=1"), "TLS").await;
    place().both_refuse(&format!("{at} sslmode=disable requiressl=1"), "TLS").await;
    let seen = "postgres bar psql on f";
    place().both_see(&format!("{at} requiressl=1 sslmode=disable"), seen).await;
    place().with("PGSSLMODE", "require").both_see(&format!("{at} requiressl=0"), seen).await;
}

#[tokio::test]
async fn a_certificate_in_the_users_folder_hinders_no_connection_without_tls() {
    let server = server();
    let place = Place::new().with("PGPASSWORD", "hunter2");
    let folder = place.home.path().join(".postgresql");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("postgresql.crt"), "no certificate").unwrap();
    let url = format!("postgresql://postgres@127.0.0.1:{}/bar?sslmode=disable", server.port());
    place.both_see(&url, "postgres bar psql on f").await;
}

#[tokio::test]
async fn the_password_file_is_read_as_libpq_reads_it() {
    let server = server();
    let port = server.port();
    let url = format!("postgresql://bot@127.0.0.1:{port}/bar");
    let line = format!(
        "#127.0.0.1:*:*:*:no\nother:*:*:*:no\n127.0.0.1:{port}:bar:bot:a\\:b\\\\c\n*:*:*:*:no\n"
    );
    let seen = "bot bar psql on f";
    Place::new().file(".pgpass", 0o600, &line).both_see(&url, seen).await;
    let place = Place::new().file("secrets", 0o400, &line);
    let path = place.path("secrets");
    place.both_see(&format!("{url}?passfile={}", path.display()), seen).await;
    let place = place.with("PGPASSFILE", path.display());
    place.both_see(&url, seen).await;
    // A password that is given beats it, an empty one does not.
    place.both_refuse(&format!("postgresql://bot:wrong@127.0.0.1:{port}/bar"), "28P01").await;
    place.both_see(&format!("postgresql://bot:@127.0.0.1:{port}/bar"), seen).await;

    // Others can read it: it is not used, and that is said.
    for mode in [0o640, 0o604, 0o660] {
        let place = Place::new().file(".pgpass", mode, &line);
        place.both_refuse(&url, "chmod 600").await;
    }
    // A wrong one: it is said where it came from.
    let place = Place::new().file(".pgpass", 0o600, "*:*:*:*:hunter2");
    let error = place.both_refuse(&url, "the password came from").await;
    assert_eq!(error.kind(), Kind::AccessDenied);
    let error =
        Place::new().both_refuse(&url, "the server asks for a password, and there is none").await;
    assert_eq!(error.kind(), Kind::AccessDenied);
    assert!(error.hint().unwrap().contains(".pgpass"), "{:?}", error.hint());
}

#[tokio::test]
async fn a_service_is_found_as_libpq_finds_it() {
    let server = server();
    let text = format!(
        "# services\n[other]\nhost=nowhere.invalid\n\n[bar]\nhost=127.0.0.1\nport={}\ndbname=bar\n\
         user=postgres\npassword=hunter2\napplication_name=served\n",
        server.port()
    );
    let seen = "postgres bar served on f";
    let place = Place::new().file(".pg_service.conf", 0o600, &text).with("PGDATABASE", "postgres");
    // A service beats the variables, the text beats the service.
    place.both_see("service=bar", seen).await;
    place.both_see("postgresql://?service=bar&application_name=x", "postgres bar x on f").await;
    let place = place.with("PGSERVICE", "bar");
    place.both_see("postgresql://", seen).await;
    place.both_refuse("service=none", "the service `none` is described nowhere").await;
    let named = Place::new().file("elsewhere", 0o600, &text).with("PGSERVICE", "bar");
    let path = named.path("elsewhere").display().to_string();
    named.with("PGSERVICEFILE", path).both_see("postgresql://", seen).await;
    let system = Place::new().file("etc/pg_service.conf", 0o644, &text).with("PGSERVICE", "bar");
    let path = system.path("etc").display().to_string();
    system.with("PGSYSCONFDIR", path).both_see("postgresql://", seen).await;
    for (line, said) in [
        ("hots=x", "the service bar: unknown parameter `hots`"),
        ("service=other", "line 2"),
        ("host", "line 2"),
    ] {
        let place = Place::new().file(".pg_service.conf", 0o600, &format!("[bar]\n{line}\n"));
        place.both_refuse("service=bar", said).await;
    }
    let gone = Place::new().with("PGSERVICE", "bar").with("PGSERVICEFILE", "/nowhere");
    gone.both_refuse("postgresql://", "the service file /nowhere").await;
}

/// A server that lets in who shows a certificate of `ca` for its own name.
fn with_certificates(authority: &Authority) -> Server {
    authority.issue("server", "localhost");
    authority.issue_for("bot", "bot");
    let server = Server::builder()
        .tls(authority.path("server.crt"), authority.path("server.key"))
        .setting("unix_socket_directories", ".")
        .start()
        .unwrap();
    server.execute("postgres", "CREATE ROLE bot LOGIN").unwrap();
    let ca = server.data_dir().join("ca.crt");
    std::fs::copy(authority.path("ca.crt"), &ca).unwrap();
    std::fs::set_permissions(&ca, std::fs::Permissions::from_mode(0o644)).unwrap();
    let access = server.data_dir().join("pg_hba.conf");
    let old = std::fs::read_to_string(&access).unwrap();
    let (first, _) = old.split_once('\n').unwrap();
    let text = format!("{first}\nlocal all all trust\nhostssl all all 127.0.0.1/32 cert\n");
    std::fs::write(&access, text).unwrap();
    server.execute("postgres", "ALTER SYSTEM SET ssl_ca_file = 'ca.crt'").unwrap();
    server.execute("postgres", "SELECT pg_reload_conf()").unwrap();
    server
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn a_client_shows_its_certificate_as_libpq_does() {
    let authority = Authority::new();
    let server = with_certificates(&authority);
    let (certificate, key) = (read(&authority.path("bot.crt")), read(&authority.path("bot.key")));
    let root = read(&authority.path("ca.crt"));
    let url = format!("postgresql://bot@localhost:{}/postgres?sslmode=verify-full", server.port());
    let seen = "bot postgres psql on t";
    let home = || {
        Place::new().file(".postgresql/root.crt", 0o644, &root).file(
            ".postgresql/postgresql.crt",
            0o644,
            &certificate,
        )
    };
    // A reload takes a moment.
    let place = home().file(".postgresql/postgresql.key", 0o600, &key);
    while place.psql(&url).is_err_and(|said| !said.contains("expired")) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    place.both_see(&url, seen).await;
    place.both_refuse(&format!("{url}&sslcertmode=disable"), "").await;
    let place =
        Place::new().file("c", 0o644, &certificate).file("k", 0o600, &key).file("r", 0o644, &root);
    let [c, k, r] = ["c", "k", "r"].map(|name| place.path(name).display().to_string());
    place.both_see(&format!("{url}&sslcert={c}&sslkey={k}&sslrootcert={r}"), seen).await;
    let place = place.with("PGSSLCERT", c).with("PGSSLKEY", k).with("PGSSLROOTCERT", r);
    place.both_see(&url, seen).await;

    for mode in [0o644, 0o660, 0o606] {
        let place = home().file(".postgresql/postgresql.key", mode, &key);
        let error = place.both_refuse(&url, "others than its owner can use the key").await;
        assert!(error.hint().unwrap().contains("chmod 600"));
    }
    home().both_refuse(&url, "no key that belongs to it").await;
    let wrong =
        home().file(".postgresql/postgresql.key", 0o600, &read(&authority.path("server.key")));
    wrong.both_refuse(&url, "sslcert and sslkey").await;
    // Nothing is shown: the server says what it wants.
    let place = Place::new().file(".postgresql/root.crt", 0o644, &root);
    place.both_refuse(&url, "certificate").await;
    // The authorities of the user make `require` look at the certificate.
    let other = read(&authority.path("other.crt"));
    let place = home().file(".postgresql/root.crt", 0o644, &other).file(
        ".postgresql/postgresql.key",
        0o600,
        &key,
    );
    place.both_refuse(&url.replace("verify-full", "require"), "sslrootcert").await;
}

#[tokio::test]
async fn the_peer_behind_a_socket_is_looked_at() {
    use std::os::unix::fs::MetadataExt as _;
    let authority = Authority::new();
    let server = with_certificates(&authority);
    let owner = std::fs::metadata(server.data_dir()).unwrap().uid();
    let users = read(Path::new("/etc/passwd"));
    let name_of = |wanted: &dyn Fn(u32) -> bool| {
        let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
        lines.find(|fields| wanted(fields[2].parse().unwrap())).unwrap()[0].to_owned()
    };
    let (right, wrong) = (name_of(&|number| number == owner), name_of(&|number| number != owner));
    let text = |peer: &str| {
        let folder = server.data_dir().display().to_string();
        format!("host={folder} port={} user=bot dbname=postgres requirepeer={peer}", server.port())
    };
    let place = Place::new();
    while place.psql(&text(&right)).is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    place.both_see(&text(&right), "bot postgres psql on f").await;
    place.both_refuse(&text(&wrong), "requirepeer demands a server of").await;
    place.both_refuse(&text("nobody-at-all"), "nobody is called").await;
}

#[tokio::test]
async fn what_has_been_revoked_is_refused() {
    let authority = Authority::new();
    authority.issue("server", "localhost");
    authority.issue("gone", "localhost");
    let list = authority.revoke("gone");
    let root = read(&authority.path("ca.crt"));
    for (name, passes) in [("server", true), ("gone", false)] {
        let server = authority.server(name);
        let url = format!(
            "postgresql://postgres@localhost:{}/postgres?sslmode=verify-full",
            server.port()
        );
        let place =
            Place::new().file(".postgresql/root.crt", 0o644, &root).with("PGPASSWORD", "secret");
        place.both_see(&url, "postgres postgres psql on t").await;
        let place = place.file("list", 0o644, &list);
        let url = format!("{url}&sslcrl={}", place.path("list").display());
        if passes {
            place.both_see(&url, "postgres postgres psql on t").await;
        } else {
            place.both_refuse(&url, "has been revoked").await;
        }
    }
}

#[tokio::test]
async fn a_certificate_without_an_alternative_name() {
    let authority = Authority::new();
    authority.issue_by_common_name("plain", "localhost");
    let server = authority.server("plain");
    let root = read(&authority.path("plain.crt"));
    let place = Place::new().file("root", 0o644, &root).with("PGPASSWORD", "secret");
    let url = |mode: &str| {
        let (port, root) = (server.port(), place.path("root"));
        format!(
            "postgresql://postgres@localhost:{port}/postgres?sslmode={mode}&sslrootcert={}",
            root.display()
        )
    };
    place.both_see(&url("require"), "postgres postgres psql on t").await;
    place.both_see(&url("verify-ca"), "postgres postgres psql on t").await;
    // The one difference: a common name is no name of a host, which is said.
    place.psql(&url("verify-full")).unwrap();
    let error = place.ours(&url("verify-full")).await.unwrap_err();
    assert!(error.hint().unwrap().contains("no subjectAltName"), "{} {:?}", error, error.hint());
}

#[tokio::test]
async fn what_is_not_done_is_refused_with_a_sentence() {
    for (text, said) in [
        ("sslnegotiation=direct", "sslnegotiation=direct goes with no sslmode"),
        ("sslnegotiation=direct sslmode=prefer", "content without TLS"),
        ("require_auth=scram-sha-256", "require_auth"),
        ("sslpassword=hunter2", "sslpassword: a key that is encrypted"),
        ("sslcrldir=/x", "sslcrldir"),
        ("sslkeylogfile=/x", "sslkeylogfile"),
        ("gssencmode=require", "gssencmode=require"),
        ("replication=database", "replication"),
        ("scram_client_key=hunter2", "scram_client_key"),
        ("oauth_client_secret=hunter2", "oauth_client_secret"),
        ("ssl_max_protocol_version=TLSv1.1", "before 1.2"),
        (
            "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
            "newer than the newest",
        ),
        ("sslcertmode=require", "sslcertmode=require"),
        ("hostaddr=name", "hostaddr is no address"),
        ("host=a,b hostaddr=127.0.0.1", "2 hosts and 1 addresses"),
    ] {
        let error = Settings::parse(text).unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration);
        let told = format!("{} {}", error.chain(), error.hint().unwrap_or_default());
        assert!(told.contains(said), "{text}: {told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let direct = Settings::parse("sslnegotiation=direct sslmode=require");
    direct.unwrap();
}
