//! What the tests of roles share: a database in which PUBLIC may do nothing, who owns the table, who runs
//! the programs, who only writes; and everything that the product does.

use std::time::Duration;

use dual_database::database::{Builder, RepairPreference, Written};
use dual_database::schema::{Dialect, Making, users};
use dual_database::stamp::Stamp;
use dual_database::store::postgres::primary::{Pool, PurgePosition};
use dual_database::store::postgres::{Limits, SchemaName, Settings};
use dual_database::store::sqlite::File;
use dual_database::store::sqlite::replica::Settings as ReplicaSettings;
use dual_database::users::{UserFilter, UserPatch};
use dual_database::{DualDatabase, Result, init};
use dual_import::mapping::Mapping;
use dual_import::source::{CsvSource, Source};
use dual_import::{Import, Report, Silent, StoreOutcome, Target, WriteOptions};
use tempfile::TempDir;
use throwaway_postgres::{Database, Server};

use crate::api_scene::{Proxy, TIMEOUT, Wire};
use crate::capture_postgres_scene::psql;

pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Roles {
    pub database: Database<'static>,
    pub proxy: Proxy,
    pub folder: TempDir,
    /// The schema of ours.
    pub schema: SchemaName,
}

impl Roles {
    /// The owner's table, and roles that have nothing yet.
    pub fn on(server: &'static Server) -> Roles {
        let database = server.database("roles").unwrap();
        let proxy = Proxy::start(server.port());
        let roles = Roles {
            database,
            proxy,
            folder: TempDir::new().unwrap(),
            schema: SchemaName::default(),
        };
        let [owner, runtime, writer] = roles.names();
        let create = users().create_statement(Dialect::Postgres, "public.users");
        roles.sql(&format!(
            "CREATE ROLE {owner} LOGIN; CREATE ROLE {runtime} LOGIN; CREATE ROLE {writer} LOGIN; \
             ALTER DATABASE {name} OWNER TO {owner}; ALTER SCHEMA public OWNER TO {owner}; \
             REVOKE ALL ON DATABASE {name} FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
             SET ROLE {owner}; {create}; \
             GRANT CONNECT ON DATABASE {name} TO {writer}; GRANT USAGE ON SCHEMA public TO {writer}; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON users TO {writer}",
            name = roles.database.name(),
        ));
        roles
    }

    /// The owner, who runs the programs, who only writes.
    pub fn names(&self) -> [String; 3] {
        ["owner", "runtime", "writer"].map(|what| format!("{what}_{}", self.database.name()))
    }

    /// As a superuser.
    pub fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.database.execute(sql).unwrap()
    }

    pub fn one(&self, sql: &str) -> String {
        self.sql(sql)[0][0].clone().unwrap_or_default()
    }

    /// By `psql`, as that role.
    pub fn psql(&self, role: &str, sql: &str) -> Result<String, String> {
        psql(&self.database, &self.database.url_as(role, None), sql)
    }

    /// Through the proxy, as that role.
    pub fn url(&self, role: &str) -> String {
        let port = self.database.server().port();
        let url = self.database.url_as(role, None);
        url.replace(&format!(":{port}/"), &format!(":{}/", self.proxy.port()))
    }

    pub fn settings(&self, role: &str) -> Settings {
        Settings::parse(&self.url(role)).unwrap().with_schema(self.schema.clone())
    }

    pub fn stores(&self, role: &str) -> init::Stores {
        init::Stores {
            postgres: self.settings(role),
            limits: Limits::default(),
            sqlite: ReplicaSettings {
                path: self.file(),
                busy: Duration::from_secs(5),
                tables: [users()].into(),
                making: Making::default(),
                extensions: Vec::new(),
                aside: [].into(),
            },
        }
    }

    pub fn file(&self) -> std::path::PathBuf {
        self.folder.path().join("users.db")
    }

    pub fn builder(&self, role: &str) -> Builder {
        DualDatabase::builder()
            .postgres_url(self.url(role))
            .postgres_schema(self.schema.name())
            .sqlite_path(self.file())
            .timeout(TIMEOUT)
            .poll_interval(Duration::from_millis(100))
    }

    pub fn pool(&self, role: &str) -> Pool {
        Pool::new(self.settings(role), Limits::default(), [users()].into(), 2)
    }

    /// What an administrator runs, for the role that runs the programs.
    pub async fn script(&self) -> String {
        let [owner, runtime, _] = self.names();
        init::sql(&self.stores(&owner), Some(&runtime)).await.unwrap()
    }

    pub fn outsider(&self) -> rusqlite::Connection {
        let connection = rusqlite::Connection::open(self.file()).unwrap();
        connection.busy_timeout(Duration::from_secs(5)).unwrap();
        connection
    }

    /// Everything that the product does, as that role; somebody else writes besides.
    pub async fn walk(&self, role: &str, writer: &str) {
        let (stores, joining) = (self.stores(role), init::Joining::default);
        let plan = init::plan(&stores, joining()).await.unwrap();
        assert!(plan.is_additive(), "{plan:?}");
        init::apply(&stores, joining(), PATIENCE).await.unwrap();
        assert!(init::plan(&stores, joining()).await.unwrap().is_done());
        let db = self.builder(role).open().await.unwrap();
        calls(&db).await;
        self.psql(
            writer,
            "INSERT INTO public.users (user_id, first_name) VALUES (20, 'outside'), (21, 'gone');
             UPDATE public.users SET first_name = 'again' WHERE user_id = 20;
             UPDATE public.users SET user_id = 22 WHERE user_id = 21;
             DELETE FROM public.users WHERE user_id = 22;
             COPY public.users (user_id, first_name) FROM STDIN;\n23\tcopied\n\\.\n",
        )
        .unwrap();
        self.outsider()
            .execute_batch(
                "INSERT INTO users (user_id, first_name) VALUES (30, 'here'); \
                 UPDATE users SET phone_number = '+79' WHERE user_id = 3; \
                 DELETE FROM users WHERE user_id = 1",
            )
            .unwrap();
        db.sync_now(PATIENCE).await.unwrap();
        let there = "SELECT string_agg(user_id || ' ' || first_name, ', ' ORDER BY user_id) \
                     FROM users WHERE user_id >= 20";
        assert_eq!(self.one(there), "20 again, 23 copied, 30 here");
        // Both sides without each other.
        self.proxy.set(Wire::Refuse);
        let away = db.update_user(2, &name("away")).await.unwrap();
        assert!(matches!(away, Written::InOne { .. }), "{away:?}");
        let change = "UPDATE public.users SET first_name = 'there' WHERE user_id = 2";
        self.psql(writer, change).unwrap();
        self.proxy.set(Wire::Pass);
        quiet(&db).await;
        assert!(!db.conflicts(10).await.unwrap().is_empty());
        db.review_conflicts().await.unwrap();
        let waits =
            format!("SELECT count(*) FROM {}.conflict WHERE NOT reviewed", self.schema.sql());
        assert_eq!(self.one(&waits), "0");
        // The owner goes on with the table.
        let [owner, ..] = self.names();
        self.sql(&format!(
            "SET ROLE {owner}; ALTER TABLE public.users ADD COLUMN IF NOT EXISTS extra int"
        ));
        self.psql(writer, "UPDATE public.users SET first_name = 'wide' WHERE user_id = 20")
            .unwrap();
        quiet(&db).await;
        db.repair(RepairPreference::Newest).await.unwrap();
        let verified = db.verify().await.unwrap();
        assert!(verified.equal, "{verified:?}");
        assert_eq!(self.here("SELECT first_name FROM users WHERE user_id = 20"), "wide");
        db.close(PATIENCE).await;
        self.purge(role).await;
        for dry_run in [true, false] {
            let options = WriteOptions { dry_run, ..WriteOptions::default() };
            let report = self.import(role, options).await.unwrap();
            let (StoreOutcome::Done(plan) | StoreOutcome::Planned(plan)) = &report.postgres else {
                panic!("{report:?}")
            };
            assert_eq!((plan.inserted, plan.updated), (2, 1), "{report:?}");
        }
    }

    pub fn here(&self, sql: &str) -> String {
        self.outsider().query_row(sql, [], |row| row.get(0)).unwrap()
    }

    async fn purge(&self, role: &str) {
        let pool = self.pool(role);
        pool.prepare().await.unwrap();
        let session = pool.get().await.unwrap();
        let primary = session.primary(uuid::Uuid::from_u128(7)).unwrap();
        let side = format!("SELECT max(stamp) + 1 FROM {}.side_users", self.schema.sql());
        let horizon = Stamp::from_raw(self.one(&side).parse().unwrap()).unwrap();
        // A transaction that is older than the tombstones keeps them, another test's, too.
        let purged = async {
            loop {
                let purge = primary.purge(horizon, PurgePosition::default(), PATIENCE);
                let (gone, rest) = purge.await.unwrap();
                assert!(rest.is_none());
                if gone > 0 {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, purged).await.expect("nothing was purged");
        primary.forget_future_ids().await.unwrap();
        primary.forget_conflicts(Duration::ZERO).await.unwrap();
    }

    pub async fn import(&self, role: &str, options: WriteOptions) -> Result<Report> {
        let path = self.folder.path().join("sheet.csv");
        std::fs::write(&path, "Telegram ID,Имя,Телефон\n701,Анна,+7999\n702,Борис,\n3,Новое,\n")
            .unwrap();
        let mut source = Source::from(CsvSource::open(&path).await?);
        let mapping = Mapping::built_in(&users())?;
        let import = Import::stage(&mut source, mapping, users(), &Silent).await?;
        let target = Target {
            postgres: self.settings(role),
            limits: Limits::default(),
            sqlite: File::look(&self.file())?,
            busy: Duration::from_secs(5),
        };
        import.write(&target, options, &Silent, std::future::pending()).await
    }
}

impl Drop for Roles {
    fn drop(&mut self) {
        for role in self.names() {
            let gone = format!(
                "REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}"
            );
            let _ = self.database.execute(&gone);
        }
    }
}

pub fn name(text: &str) -> UserPatch {
    UserPatch::new().first_name(text)
}

/// Nothing is pending either way.
pub async fn quiet(db: &DualDatabase) {
    let quiet = async {
        loop {
            let done = db.sync_now(PATIENCE).await.is_ok_and(|exchange| exchange.caught_up);
            if done && db.status().await.unwrap().pending_to_postgres == Some(0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, quiet).await.is_err() {
        panic!("{:?}", db.status().await);
    }
}

fn arrived<T: std::fmt::Debug>(written: Written<T>) {
    assert!(matches!(written, Written::InBoth(_)), "{written:?}");
}

/// Each call of the library's.
async fn calls(db: &DualDatabase) {
    for id in 1..=5 {
        arrived(db.add_user(&name("new").user_id(id)).await.unwrap());
    }
    arrived(db.update_user(2, &name("other").phone_number("+7999")).await.unwrap());
    arrived(db.upsert_user(&name("more").user_id(6)).await.unwrap());
    arrived(db.delete_user(5).await.unwrap());
    assert!(db.get_user(2).await.unwrap().value.is_some());
    assert_eq!(db.get_all_users(Some(10)).await.unwrap().value.len(), 5);
    let filter = UserFilter::new().contains("first_name", "e").unwrap();
    assert_eq!(db.count_users(&filter).await.unwrap().value, 5);
    let done = db.transaction(async |tx| {
        tx.get_user(3).await?;
        tx.add_user(&name("one").user_id(11))?;
        tx.update_user(3, &name("two")).await?;
        tx.delete_user(6).await
    });
    arrived(done.await.unwrap());
}
