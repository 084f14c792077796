//! What the processes do in each stage.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dual_database::DualDatabase;
use dual_database::database::{Builder, Patch, RepairPreference, Transaction};
use dual_database::init;
use dual_database::schema::{Column, Dialect, LogicalType, Making, Role, Table, users};
use dual_database::store::postgres::{Limits, Settings};
use dual_database::store::sqlite::replica::Settings as ReplicaSettings;
use dual_database::sync::{Step, StepHook};
use dual_database::users::UserPatch;

use super::strike::{Blow, Ledger, Strike};
use super::{LIMIT, Place, Stage, import};
use crate::scenario::scene::{named, open_with, psql, setting, sqlite};

/// Nobody listens there.
const NOBODY: &str = "postgresql://nobody@127.0.0.1:1/nothing";

/// A file as an old program has left it.
fn old_file(place: &Place) {
    let table = users().create_statement(Dialect::Sqlite, "users");
    let file = rusqlite::Connection::open(place.file()).unwrap();
    file.execute_batch(&table).unwrap();
    file.execute("INSERT INTO users (user_id, first_name) VALUES (2, 'old')", []).unwrap();
}

/// What is there before the process.
pub fn prepare(stage: Stage, place: &Place) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let met = |file: &Path, rows: &[(i64, &str)]| {
        runtime.block_on(async {
            let db = open_with(&place.url(), file).open().await.unwrap();
            for (key, name) in rows {
                assert!(db.add_user(&named(*key, name)).await.is_ok());
            }
            db.sync_now(LIMIT).await.unwrap();
            db.close(LIMIT).await;
        });
    };
    let other = place.folder.path().join("other.db");
    match stage {
        Stage::Ordinary | Stage::Unheard => {
            met(&other, &[(3, "there")]);
            old_file(place);
        }
        Stage::Alone => old_file(place),
        Stage::Ahead | Stage::Numbered => met(&other, &[(3, "there")]),
        Stage::Born => {
            runtime.block_on(join_tickets(place));
            place.psql("INSERT INTO tickets (what) VALUES ('psql'), ('psql too')");
            sqlite(
                &place.file(),
                "for what in ('file', 'file too', 'file last'):\n  \
                 db.execute('INSERT INTO tickets (what) VALUES (?)', (what,))",
            );
        }
        Stage::Unkeyed => runtime.block_on(async {
            join_tickets(place).await;
            let db = open_with(&place.url(), &place.file()).open().await.unwrap();
            add_ticket(&db, "first").await.unwrap();
            let has = |count: &str| {
                let sql = format!("print(db.execute('{count}').fetchone()[0])");
                sqlite(&place.file(), &sql) == "20"
            };
            let began = Instant::now();
            while !has("SELECT count(*) FROM dual_number") {
                assert!(began.elapsed() < LIMIT, "no numbers are kept");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            db.close(LIMIT).await;
            // Some are left, and more are wanted.
            let few = "db.execute('DELETE FROM dual_number WHERE number > 5')\n\
                       db.execute('UPDATE dual_block SET asked = 0')";
            sqlite(&place.file(), few);
        }),
        Stage::Held => {
            met(&place.file(), &[(3, "there")]);
            place.psql(
                "INSERT INTO users (user_id, first_name) SELECT n, 'x' FROM generate_series(100, 300) AS n",
            );
            met(&place.file(), &[]);
            place.psql("UPDATE users SET first_name = 'restored'; DELETE FROM dual.token");
            sqlite(&place.file(), "db.execute(\"UPDATE users SET first_name = 'here'\")");
        }
        Stage::Met => {
            met(&place.file(), &[(30, "x")]);
            place.psql("ALTER TABLE users ADD CONSTRAINT fine CHECK (first_name <> 'bad')");
        }
        Stage::Uncaptured => {
            met(&place.file(), &[(30, "x"), (31, "x"), (32, "x")]);
            sqlite(
                &place.file(),
                "for (drop,) in db.execute(\"SELECT 'DROP TRIGGER ' || name FROM sqlite_schema WHERE type = 'trigger'\").fetchall(): db.execute(drop)\n\
                 db.execute(\"UPDATE users SET first_name = 'unseen' WHERE user_id = 30\")",
            );
            Ledger::in_folder(place.folder.path()).note("has 30 unseen");
        }
        Stage::Quiet => met(&place.file(), &[(30, "x")]),
        Stage::Import => {
            met(&place.file(), &[(40, "old")]);
            sqlite(&place.file(), "db.execute(\"UPDATE users SET first_name = 'newer'\")");
            import::write_csv(place.folder.path());
        }
    }
}

/// A table whose key both sides hand out, on both.
async fn join_tickets(place: &Place) {
    let number = Column::new("id", LogicalType::Int, Role::Key);
    let what = Column::new("what", LogicalType::Text, Role::Data);
    let tickets = vec![Column { automatic: true, ..number }, what];
    let stores = init::Stores {
        postgres: Settings::parse(&place.url()).unwrap(),
        limits: Limits::default(),
        sqlite: ReplicaSettings {
            path: place.file(),
            busy: Duration::from_secs(5),
            tables: [users(), Table::declare("tickets", tickets).unwrap()].into(),
            making: Making::default(),
            extensions: Vec::new(),
            aside: [].into(),
        },
    };
    init::apply(&stores, init::Joining::default(), LIMIT).await.unwrap();
}

/// Each row once, on both sides.
pub fn check_born(place: &Place, what: &str) {
    let each = "SELECT id || ' ' || what FROM tickets ORDER BY id";
    let here = format!("print('\\n'.join(row[0] for row in db.execute(\"{each}\")))");
    let there = place.psql(&format!("SELECT string_agg(t, E'\\n') FROM ({each}) AS r (t)"));
    assert_eq!(sqlite(&place.file(), &here), there, "{what}");
    let mut rows: Vec<&str> =
        there.lines().filter_map(|row| Some(row.split_once(' ')?.1)).collect();
    rows.sort_unstable();
    assert_eq!(rows, ["file", "file last", "file too", "psql", "psql too"], "{what}");
}

async fn add_ticket(db: &DualDatabase, what: &str) -> dual_database::Result<i64> {
    let tickets = db.table("tickets")?;
    let json = format!(r#"{{"what": "{what}"}}"#);
    let row = Patch::from_json(tickets.declaration(), &json)?;
    Ok(tickets.add(&row).await?.value().key.number().unwrap())
}

/// Each row once, on both sides, under the number that was told.
pub fn check_unkeyed(place: &Place, what: &str) {
    let each = "SELECT id || ' ' || what FROM tickets ORDER BY id";
    let here = format!("print('\\n'.join(row[0] for row in db.execute(\"{each}\")))");
    let there = place.psql(&format!("SELECT string_agg(t, E'\\n') FROM ({each}) AS r (t)"));
    assert_eq!(sqlite(&place.file(), &here), there, "{what}");
    let mut names: Vec<&str> =
        there.lines().filter_map(|row| Some(row.split_once(' ')?.1)).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all, "{what}: {there}");
    for told in place.ledger().iter().filter_map(|line| line.strip_prefix("ticket ")) {
        assert!(there.lines().any(|row| row == told), "{what}: {told} in\n{there}");
    }
}

/// The process that [`Place::process`] starts.
#[test]
#[ignore = "run by the tests of the steps, in a process of its own"]
fn inner_process() {
    let variable = |name: &str| std::env::var(name).unwrap();
    let folder = PathBuf::from(variable("FOLDER"));
    let ledger = Ledger::in_folder(&folder);
    let stage = Stage::ALL.into_iter().find(|it| format!("{it:?}") == variable("STAGE")).unwrap();
    let steps = [Step::ROUND, Step::CALL, Step::IMPORT].concat();
    let step = steps.into_iter().find(|step| format!("{step:?}") == variable("STEP"));
    let blow = Blow::ALL.into_iter().find(|blow| format!("{blow:?}") == variable("BLOW"));
    let hook = step
        .zip(blow)
        .map(|(step, blow)| Arc::new(Strike::new(step, blow, ledger.clone())) as Arc<dyn StepHook>);
    let (url, file) = (variable("URL"), folder.join("users.db"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if stage == Stage::Import {
            return import::process(&url, &file, &ledger, hook).await;
        }
        let struck = hook.is_some();
        let at = if stage == Stage::Alone && struck { NOBODY } else { &url };
        let mut builder = open_with(at, &file);
        if let Some(hook) = hook {
            builder = builder.step_hook(hook);
        }
        let process = Process { url, file, ledger };
        match (stage, struck) {
            (Stage::Held, _) => process.decides(builder).await,
            (_, false) => process.goes_on(builder).await,
            (Stage::Alone, true) => drop(process.writes(builder).await),
            (Stage::Ordinary | Stage::Unheard, true) => process.everybody_writes(builder).await,
            (Stage::Ahead, true) => process.is_ahead(builder).await,
            (Stage::Numbered, true) => process.is_numbered(builder).await,
            (Stage::Met, true) => process.meets(builder).await,
            (Stage::Uncaptured | Stage::Born, true) => process.goes_on(builder).await,
            (Stage::Unkeyed, true) => process.adds_tickets(builder).await,
            (Stage::Quiet, true) => process.rests(builder).await,
            (Stage::Import, true) => {}
        }
    });
}

struct Process {
    url: String,
    file: PathBuf,
    ledger: Ledger,
}

impl Process {
    /// Until nothing is left to do.
    async fn until_quiet(&self, db: &DualDatabase) {
        let began = Instant::now();
        while !db.sync_now(LIMIT).await.is_ok_and(|done| {
            done.caught_up && done.pending == 0 && done.quarantined == 0 && done.held.is_none()
        }) {
            assert!(began.elapsed() < LIMIT, "it does not become quiet: {:?}", db.status().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn end(&self, db: DualDatabase) {
        self.until_quiet(&db).await;
        assert!(db.verify().await.unwrap().equal);
        db.close(LIMIT).await;
    }

    async fn goes_on(&self, builder: Builder) {
        self.end(builder.open().await.unwrap()).await;
    }

    async fn adds(&self, db: &DualDatabase, key: i64, name: &str) {
        self.ledger.note(&format!("try {key}"));
        match db.add_user(&named(key, name)).await {
            Ok(_) => self.ledger.note(&format!("has {key} {name}")),
            Err(error) => self.ledger.note(&format!("failed: {}", error.chain())),
        }
    }

    async fn adds_tickets(&self, builder: Builder) {
        let db = builder.open().await.unwrap();
        let began = Instant::now();
        for at in 1.. {
            let what = format!("ticket{at}");
            match add_ticket(&db, &what).await {
                Ok(id) => self.ledger.note(&format!("ticket {id} {what}")),
                Err(error) => self.ledger.note(&format!("failed: {}", error.chain())),
            }
            if at >= 3 && self.ledger.has("struck") {
                break;
            }
            assert!(began.elapsed() < LIMIT, "it is not struck: {:?}", db.status().await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self.end(db).await;
    }

    async fn renames(&self, db: &DualDatabase, key: i64, name: &str) {
        self.ledger.note(&format!("try {key}"));
        match db.update_user(key, &setting("first_name", name)).await {
            Ok(_) => self.ledger.note(&format!("has {key} {name}")),
            Err(error) => self.ledger.note(&format!("failed: {}", error.chain())),
        }
    }

    async fn counts(&self, db: &DualDatabase) {
        self.ledger.note("counting");
        let count = async |tx: Transaction| {
            let user = tx.get_user(11).await?;
            let count = user.and_then(|user| user.referrer_id).unwrap_or(0) + 1;
            tx.update_user(11, &UserPatch::new().referrer_id(count)).await.map(drop)
        };
        match db.transaction(count).await {
            Ok(_) => self.ledger.note("counted"),
            Err(error) => self.ledger.note(&format!("failed: {}", error.chain())),
        }
    }

    async fn writes(&self, builder: Builder) -> DualDatabase {
        let db = builder.open().await.unwrap();
        for key in 10..14 {
            self.adds(&db, key, "new").await;
        }
        self.renames(&db, 10, "other").await;
        for _ in 0..3 {
            self.counts(&db).await;
        }
        self.ledger.note("try 12");
        match db.delete_user(12).await {
            Ok(_) => self.ledger.note("gone 12"),
            Err(error) => self.ledger.note(&format!("failed: {}", error.chain())),
        }
        db
    }

    async fn everybody_writes(&self, builder: Builder) {
        let db = self.writes(builder).await;
        sqlite(
            &self.file,
            "db.execute(\"INSERT INTO users (user_id, first_name) VALUES (20, 'script')\")",
        );
        self.ledger.note("has 20 script");
        psql(&self.url, "UPDATE users SET first_name = 'psql' WHERE user_id = 3");
        self.ledger.note("has 3 psql");
        self.until_quiet(&db).await;
        self.renames(&db, 13, "last").await;
        self.counts(&db).await;
        self.end(db).await;
    }

    async fn is_ahead(&self, builder: Builder) {
        let db = builder.background(false).open().await.unwrap();
        let two_hours_ahead = "db.execute(\"INSERT INTO users (user_id, first_name) VALUES (20, 'ahead')\")\n\
             db.execute('UPDATE dual_side_users SET stamp = stamp + (7200000 << 22) WHERE key = 20')";
        sqlite(&self.file, two_hours_ahead);
        self.ledger.note("has 20 ahead");
        self.end(db).await;
    }

    async fn is_numbered(&self, builder: Builder) {
        let db = builder.background(false).open().await.unwrap();
        let numbers = "print(*[n for (n,) in db.execute('SELECT writer FROM dual_state UNION SELECT number FROM dual_writer')], sep=',')";
        let numbers = sqlite(&self.file, numbers);
        psql(
            &self.url,
            &format!(
                "INSERT INTO dual.writer (number, file) SELECT n, '00000000-0000-0000-0000-000000000001' \
                 FROM unnest(ARRAY[{numbers}]) AS n"
            ),
        );
        self.adds(&db, 10, "new").await;
        self.end(db).await;
    }

    async fn decides(&self, builder: Builder) {
        let db = builder.open().await.unwrap();
        let began = Instant::now();
        while db.status().await.unwrap().sync != "held" {
            assert!(began.elapsed() < LIMIT, "it is not held: {:?}", db.status().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        db.repair(RepairPreference::Newest).await.unwrap();
        self.end(db).await;
    }

    async fn rests(&self, builder: Builder) {
        let db = builder.verify_interval(Some(Duration::from_secs(1))).open().await.unwrap();
        self.adds(&db, 10, "new").await;
        let began = Instant::now();
        while !self.ledger.has("struck") {
            assert!(began.elapsed() < LIMIT, "nothing is verified: {:?}", db.status().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.end(db).await;
    }

    async fn meets(&self, builder: Builder) {
        let db = builder.open().await.unwrap();
        sqlite(&self.file, "db.execute(\"UPDATE users SET first_name = 'bad'\")");
        let began = Instant::now();
        while db.status().await.unwrap().quarantined != Some(1) {
            assert!(began.elapsed() < LIMIT, "it is not set aside: {:?}", db.status().await);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        psql(&self.url, "UPDATE users SET first_name = 'good'");
        self.ledger.note("has 30 good");
        self.end(db).await;
    }
}
