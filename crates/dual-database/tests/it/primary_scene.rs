//! A database that is prepared as the product does it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dual_database::merge::{Change, Defaults, Tracked};
use dual_database::schema::{Column, LogicalType, Role, RowId, Table, users};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::primary::{
    Pool, Pooled, Primary, PushEnd, Pushed, RemoteRow, RemoteTable,
};
use dual_database::store::postgres::{Limits, Session, Settings};
use dual_database::value::Value;
use throwaway_postgres::{Database, Server};
use uuid::Uuid;

use crate::capture_oracle::visits;

pub const FILE: Uuid = Uuid::from_u128(7);

/// The releases on which everything that depends on one is tried besides.
pub const OLDEST_AND_NEWEST: [&str; 2] = ["12.22.0-beta.15", "18.4.0-beta.17"];

/// As the calls have them.
pub fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        statement: Duration::from_secs(10),
        lock: Duration::from_secs(5),
        grace: Duration::from_millis(500),
    }
}

pub struct Scene<'server> {
    pub database: Database<'server>,
    pub pool: Pool,
    pub tables: Arc<[RemoteTable]>,
}

impl Scene<'_> {
    /// A new database on the server with these tables.
    pub async fn on(server: &'static Server, tables: Vec<Table>) -> Scene<'static> {
        let database = server.database("primary").unwrap();
        let pool = pool(&database.url(), tables);
        let tables = pool.prepare().await.unwrap().tables;
        Scene { database, pool, tables }
    }

    pub async fn session(&self) -> Pooled {
        self.pool.get().await.unwrap()
    }

    pub fn sql(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.database.execute(sql).unwrap()
    }

    /// The only value of the only row.
    pub fn one(&self, sql: &str) -> String {
        self.sql(sql)[0][0].clone().unwrap_or_default()
    }
}

pub fn pool(url: &str, tables: Vec<Table>) -> Pool {
    Pool::new(Settings::parse(url).unwrap(), limits(), tables.into(), 4)
}

/// The built-in table, and one that names things as the generated SQL does.
pub fn tables() -> Vec<Table> {
    let column = |name: &str, kind, role| Column::new(name, kind, role);
    let awkward = Table::declare(
        "it's \"awkward\" {k}{t} $dual$",
        vec![
            column("own", LogicalType::BigInt, Role::Key),
            column("id", LogicalType::Int, Role::Surrogate),
            column("moment", LogicalType::Text, Role::Data),
            column("proposal", LogicalType::Timestamp, Role::Data),
            column("it's \"so\" $dual$", LogicalType::Int, Role::Data),
        ],
    );
    vec![users(), awkward.unwrap()]
}

pub fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub fn id(key: i64) -> RowId {
    RowId::new(0, key)
}

/// Another client, with a transaction of its own.
pub async fn client(database: &Database<'_>) -> Session {
    let settings = Settings::parse(&database.url()).unwrap();
    Session::open(&settings, &Limits::default()).await.unwrap()
}

pub async fn state(primary: &Primary<'_>, table: usize) -> BTreeMap<i64, RemoteRow> {
    let rows = primary.range(table, None, 1_000_000).await.unwrap().rows;
    rows.into_iter().map(|row| (row.id.key.number().unwrap(), row)).collect()
}

/// A file's writes: its own number, its own clock.
pub struct File {
    pub now_ms: i64,
    pub writer: Writer,
}

impl File {
    pub async fn of(primary: &Primary<'_>, number: u16) -> File {
        let now_ms = primary.header().await.unwrap().now_ms - 30_000;
        File { now_ms, writer: Writer::new(number).unwrap() }
    }

    pub fn at(&self, ms: i64) -> Stamp {
        Stamp::at(self.now_ms + ms, self.writer)
    }

    pub fn change(
        &self,
        row: Option<&Tracked>,
        change: &Change,
        ms: i64,
        table: &Table,
    ) -> Tracked {
        let defaults = Defaults::new(table.defaults());
        Tracked::changed(row, change, self.at(ms), Stamp::ZERO, &defaults)
    }

    /// A new visit.
    pub fn visit(&self, note: Option<&str>, ms: i64) -> Tracked {
        let note = note.map_or(Value::Null, text);
        let values = vec![Value::Null, note, Value::Bool(false), Value::Null];
        self.change(None, &Change::Insert(values), ms, &visits())
    }

    pub fn note(&self, row: &Tracked, note: &str, ms: i64) -> Tracked {
        self.change(Some(row), &Change::Update(vec![(1, text(note))]), ms, &visits())
    }
}

pub async fn push(primary: &Primary<'_>, batch: &[(RowId, Tracked)]) -> Pushed {
    match primary.push(batch, None, None).await.unwrap() {
        PushEnd::Done(pushed) => pushed,
        end => panic!("{end:?}"),
    }
}

pub fn refused(pushed: &Pushed) -> Vec<(i64, &str)> {
    let mut refused: Vec<_> = pushed
        .refused
        .iter()
        .map(|(id, code, _)| (id.key.number().unwrap(), code.as_str()))
        .collect();
    refused.sort_unstable();
    refused
}

pub fn settled(row: &RemoteRow) -> Tracked {
    Tracked::settled(row.version.clone())
}
