//! A database with tables and capture beside them, and what an outside client does to it.

use std::io::Write as _;
use std::process::{Command, Stdio};

use dual_database::merge::{Defaults, Tracked};
use dual_database::schema::{Dialect, Table, literal, quoted};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::capture::{Layout, install};
use dual_database::store::postgres::{Limits, Session, Settings};
use dual_database::value::Value;
use throwaway_postgres::{Database, Server};

use crate::capture_oracle::{Oracle, State, version};

/// A database with the tables and capture beside them.
pub struct Scene<'server> {
    pub database: Database<'server>,
    pub session: Session,
    pub table: Table,
    pub layout: Layout,
    pub oracle: Oracle,
}

impl Scene<'_> {
    pub async fn on(server: &'static Server, table: Table) -> Scene<'static> {
        let database = server.database("capture").unwrap();
        let target = format!("public.{}", quoted(table.name()));
        database.execute(&table.create_statement(Dialect::Postgres, &target)).unwrap();
        let settings = Settings::parse(&database.url()).unwrap();
        let session = Session::open(&settings, &Limits::default()).await.unwrap();
        let layout = Layout::new(&table, &target);
        session.begin("begin").await.unwrap();
        install(&session, &layout).await.unwrap();
        session.commit("commit").await.unwrap();
        let data = table.data_columns().map(|column| match &column.default {
            Some(Value::Text(text)) => Value::Text(text.clone()),
            Some(value) => Value::Text(literal(value, Dialect::Postgres)),
            None => Value::Null,
        });
        let defaults = Defaults::new(data.collect());
        let oracle =
            Oracle { defaults, horizon: Stamp::ZERO, writer: Writer::POSTGRES, pending: false };
        Scene { database, session, table, layout, oracle }
    }

    pub fn state(&self) -> State {
        let data: Vec<_> = self.table.data_columns().map(|column| &column.name).collect();
        let stamps: String = data
            .iter()
            .map(|name| format!(", coalesce(s.{}, s.stamp)", quoted(&format!("s_{name}"))))
            .collect();
        let values: String =
            data.iter().map(|name| format!(", u.{}::text", quoted(name))).collect();
        let key = quoted(&self.table.key().name);
        let sql = format!(
            "SELECT s.key, s.live, u.{key} IS NOT NULL, s.stamp{stamps}{values} \
             FROM {} AS s FULL JOIN {} AS u ON u.{key} = s.key",
            self.layout.sidecar(),
            quoted(self.table.name()),
        );
        let rows = self.database.execute(&sql).unwrap();
        let read = |row: &Vec<Option<String>>| {
            let live = row[1].as_deref() == Some("t");
            assert_eq!(row[1], row[2], "the sidecar and the table differ: {row:?}");
            let stamps: Vec<i64> = row[3..4 + data.len()]
                .iter()
                .map(|s| s.as_ref().unwrap().parse().unwrap())
                .collect();
            let mut values = row[4 + data.len()..].to_vec();
            if !live {
                values = (0..data.len())
                    .map(|at| match self.oracle.defaults.of(at) {
                        Value::Text(text) => Some(text.clone()),
                        _ => None,
                    })
                    .collect();
            }
            (
                row[0].as_ref().unwrap().parse().unwrap(),
                Tracked::settled(version(live, &stamps, &values)),
            )
        };
        rows.iter().map(read).collect()
    }

    pub fn clock(&self) -> i64 {
        let sql = "SELECT floor(date_part('epoch', clock_timestamp()) * 1000)::bigint";
        self.database.execute(sql).unwrap()[0][0].as_ref().unwrap().parse().unwrap()
    }

    /// Runs statements by `psql` and compares what they leave with the oracle's opinion.
    pub fn psql(&self, sql: &str, reborn: &[i64]) {
        let (before, from) = (self.state(), self.clock());
        psql(&self.database, &self.database.url(), sql).unwrap();
        let (until, after) = (self.clock() + 1, self.state());
        let reborn = reborn.iter().copied().collect();
        self.oracle.check(&before, &after, &reborn, (from, until), sql);
    }

    pub fn one(&self, sql: &str) -> String {
        self.database.execute(sql).unwrap()[0][0].clone().unwrap_or_default()
    }
}

pub fn psql(database: &Database<'_>, url: &str, sql: &str) -> Result<String, String> {
    let own = database.server().binaries().folder().join("psql");
    let program = if own.exists() { own } else { "psql".into() };
    let mut child = Command::new(program)
        .args([url, "-q", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that has stopped at an error reads no further: its answer says why.
    let _ = child.stdin.take().unwrap().write_all(sql.as_bytes());
    let output = child.wait_with_output().unwrap();
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).unwrap())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
