//! A database, a file and the programs around them; each test has its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dual_database::DualDatabase;
use dual_database::database::{Builder, Written};
use dual_database::users::UserPatch;
use throwaway_postgres::{Database, Server};

/// Generous: it bounds a failure, not a success.
pub const LIMIT: Duration = Duration::from_secs(90);

/// A server that the test may stop.
pub struct Scene {
    pub server: Server,
    pub folder: tempfile::TempDir,
}

impl Scene {
    pub fn new() -> Scene {
        Scene { server: Server::builder().start().unwrap(), folder: tempfile::tempdir().unwrap() }
    }

    pub fn url(&self) -> String {
        self.server.url()
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("users.db")
    }

    pub fn builder(&self) -> Builder {
        open_with(&self.url(), &self.path())
    }

    pub async fn open(&self) -> DualDatabase {
        self.builder().open().await.unwrap()
    }

    pub fn psql(&self, sql: &str) -> String {
        psql(&self.url(), sql)
    }

    pub fn sqlite(&self, script: &str) -> String {
        sqlite(&self.path(), script)
    }

    pub async fn until_equal(&self, db: &DualDatabase) {
        until_equal(db, &self.url(), &self.path()).await;
    }
}

/// A database on the server that most tests share.
pub struct Place {
    pub database: Database<'static>,
    pub folder: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        Place::on(throwaway_postgres::shared().unwrap())
    }

    pub fn on(server: &'static Server) -> Place {
        Place {
            database: server.database("scenario").unwrap(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub fn url(&self) -> String {
        self.database.url()
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("users.db")
    }

    pub fn builder(&self) -> Builder {
        open_with(&self.url(), &self.path())
    }

    pub async fn open(&self) -> DualDatabase {
        self.builder().open().await.unwrap()
    }

    pub fn psql(&self, sql: &str) -> String {
        psql(&self.url(), sql)
    }

    pub fn sqlite(&self, script: &str) -> String {
        sqlite(&self.path(), script)
    }

    pub async fn until_equal(&self, db: &DualDatabase) {
        until_equal(db, &self.url(), &self.path()).await;
    }
}

pub fn open_with(url: &str, path: &Path) -> Builder {
    DualDatabase::builder()
        .postgres_url(url)
        .sqlite_path(path)
        .timeout(Duration::from_secs(5))
        .busy_timeout(Duration::from_secs(2))
        .poll_interval(Duration::from_millis(200))
}

pub fn named(user_id: i64, name: &str) -> UserPatch {
    UserPatch::new().set("user_id", user_id).unwrap().set("first_name", name).unwrap()
}

pub fn setting(column: &str, text: &str) -> UserPatch {
    UserPatch::new().set(column, text).unwrap()
}

pub fn is_in_both<T>(written: &Written<T>) -> bool {
    matches!(written, Written::InBoth(_))
}

/// Runs SQL as an outside client does; one transaction for what stands between BEGIN and COMMIT.
pub fn psql(url: &str, sql: &str) -> String {
    let mut child = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().into()
}

/// Runs a Python script on the file as an old program does; `db` is its connection.
pub fn sqlite(path: &Path, script: &str) -> String {
    let mut child = python(path, script);
    let output = {
        drop(child.stdin.take());
        child.wait_with_output().unwrap()
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().into()
}

/// The same, left running.
pub fn python(path: &Path, script: &str) -> Child {
    let program = format!(
        "import sqlite3, sys, time\nP = {:?}\ndb = sqlite3.connect(P, timeout=30)\n{script}\ndb.commit()\ndb.close()\n",
        path.to_str().unwrap()
    );
    Command::new("python3")
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

const COLUMNS: &str = "id,user_id,username,first_name,status,phone_number,real_name,birth_date,\
     register_date,last_activity,redeem_date,source,referrer_id,brought_by_staff_id,\
     profile_completed,ai_concept";

/// Every row as `psql` sees it; none while there is no table.
pub fn postgres_rows(url: &str) -> String {
    if psql(url, "SELECT to_regclass('users') IS NOT NULL") != "t" {
        return String::new();
    }
    psql(
        url,
        &format!(
            "SET datestyle = ISO; SET timezone = UTC; COPY (SELECT {COLUMNS} FROM users ORDER BY user_id) TO STDOUT"
        ),
    )
}

/// Every row as Python sees it, in the same form.
pub fn sqlite_rows(path: &Path) -> String {
    let script = format!(
        r"
def text(at, value):
    if value is None: return '\\N'
    if at == 14: return 't' if value else 'f'
    if at in (8, 9, 10) and '.' in value: value = value.rstrip('0').rstrip('.')
    value = str(value)
    for raw, escaped in (('\\', '\\\\'), ('\b', '\\b'), ('\f', '\\f'), ('\n', '\\n'), ('\r', '\\r'), ('\t', '\\t'), ('\v', '\\v')):
        value = value.replace(raw, escaped)
    return value
sys.stdout.reconfigure(encoding='utf-8')
for row in db.execute('SELECT {COLUMNS} FROM users ORDER BY user_id'):
    print('\t'.join(text(at, value) for at, value in enumerate(row)))
"
    );
    sqlite(path, &script)
}

/// Waits until both sides are equal for others, then asks the product whether it thinks so too,
/// and that nothing is left to do.
pub async fn until_equal(db: &DualDatabase, url: &str, path: &Path) {
    let start = Instant::now();
    loop {
        let (postgres, sqlite) = (postgres_rows(url), sqlite_rows(path));
        if postgres == sqlite {
            break;
        }
        assert!(
            start.elapsed() < LIMIT,
            "not equal: {:?}\nPostgreSQL:\n{postgres}\nSQLite:\n{sqlite}",
            db.status().await
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = db.verify().await.unwrap();
    assert!(found.equal, "{found:?}");
    until(|| async { db.status().await.is_ok_and(|s| s.pending_to_postgres == Some(0)) }).await;
}

/// Waits for a condition.
#[track_caller]
pub fn until<F: Future<Output = bool>>(
    mut condition: impl FnMut() -> F,
) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !condition().await {
            assert!(start.elapsed() < LIMIT, "waited in vain at {place}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
