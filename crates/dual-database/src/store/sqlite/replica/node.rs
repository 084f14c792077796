//! What the file knows of itself, and the tables in which it and the logs are kept.

use rusqlite::Connection;
use uuid::Uuid;

use super::super::capture::{prefer, renumber, state, unmeet};
use super::super::failed;
use super::{Content, Node, follow};
use crate::protocol::{Follow, Lease, Tokens};
use crate::stamp::{Stamp, Writer};
use crate::{Result, Store};

const OPERATION: &str = "read the state of the SQLite file";

/// What stands beside the sidecars: each statement can be repeated. Numbers of 128 bits are kept
/// as text.
pub(super) const TABLES: [&str; 14] = [
    "CREATE TABLE IF NOT EXISTS dual_node (\n  \
       one INTEGER PRIMARY KEY CHECK (one = 1),\n  \
       file TEXT NOT NULL,\n  \
       installation TEXT,\n  \
       pushed INTEGER NOT NULL,\n  \
       purged INTEGER NOT NULL,\n  \
       follow TEXT NOT NULL,\n  \
       token TEXT,\n  \
       proposed TEXT,\n  \
       lease_holder INTEGER,\n  \
       lease_until INTEGER,\n  \
       exchanged INTEGER,\n  \
       held INTEGER,\n  \
       tidied INTEGER,\n  \
       inspected INTEGER,\n  \
       ahead INTEGER\n)",
    "CREATE TABLE IF NOT EXISTS dual_scrub (\n  \
       one INTEGER PRIMARY KEY CHECK (one = 1),\n  \
       at_table INTEGER NOT NULL,\n  \
       after INTEGER,\n  \
       parts INTEGER NOT NULL,\n  \
       found INTEGER NOT NULL,\n  \
       parts_before INTEGER,\n  \
       ended INTEGER,\n  \
       found_before INTEGER NOT NULL\n)",
    "CREATE TABLE IF NOT EXISTS dual_writer (\n  \
       number INTEGER PRIMARY KEY,\n  \
       process TEXT NOT NULL,\n  \
       heartbeat INTEGER NOT NULL\n)",
    "CREATE TABLE IF NOT EXISTS dual_conflict (\n  \
       number INTEGER PRIMARY KEY AUTOINCREMENT,\n  \
       name TEXT NOT NULL,\n  \
       key INTEGER NOT NULL,\n  \
       register TEXT NOT NULL,\n  \
       winner INTEGER NOT NULL,\n  \
       loser INTEGER NOT NULL,\n  \
       winning TEXT,\n  \
       losing TEXT,\n  \
       noted INTEGER NOT NULL,\n  \
       reviewed INTEGER NOT NULL,\n  \
       sent INTEGER NOT NULL\n)",
    "CREATE INDEX IF NOT EXISTS dual_conflict_row ON dual_conflict (name, key)",
    "CREATE INDEX IF NOT EXISTS dual_conflict_sent ON dual_conflict (sent)",
    "CREATE TABLE IF NOT EXISTS dual_quarantine (\n  \
       name TEXT NOT NULL,\n  \
       key INTEGER NOT NULL,\n  \
       refused_by TEXT NOT NULL,\n  \
       code TEXT NOT NULL,\n  \
       reason TEXT NOT NULL,\n  \
       since INTEGER NOT NULL,\n  \
       retry INTEGER NOT NULL,\n  \
       PRIMARY KEY (name, key, refused_by)\n)",
    "CREATE INDEX IF NOT EXISTS dual_quarantine_due ON dual_quarantine (name, refused_by, retry, key)",
    "CREATE TABLE IF NOT EXISTS dual_damage (\n  \
       aside TEXT PRIMARY KEY,\n  \
       noted INTEGER NOT NULL,\n  \
       taken INTEGER NOT NULL,\n  \
       unreadable INTEGER,\n  \
       refused INTEGER NOT NULL,\n  \
       reviewed INTEGER NOT NULL\n)",
    "CREATE TABLE IF NOT EXISTS dual_set_back (id TEXT PRIMARY KEY)",
    "CREATE TABLE IF NOT EXISTS dual_block (\n  \
       name TEXT PRIMARY KEY,\n  \
       wanted INTEGER NOT NULL,\n  \
       taken INTEGER NOT NULL,\n  \
       asked INTEGER NOT NULL\n)",
    "CREATE TABLE IF NOT EXISTS dual_number (\n  \
       name TEXT NOT NULL,\n  \
       number INTEGER NOT NULL,\n  \
       stamp INTEGER NOT NULL,\n  \
       PRIMARY KEY (name, number)\n) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS dual_given (\n  \
       name TEXT NOT NULL,\n  \
       number INTEGER NOT NULL,\n  \
       PRIMARY KEY (name, number)\n) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS dual_failing (\n  \
       step TEXT PRIMARY KEY,\n  \
       store TEXT NOT NULL,\n  \
       message TEXT NOT NULL,\n  \
       hint TEXT,\n  \
       away INTEGER NOT NULL,\n  \
       since INTEGER NOT NULL,\n  \
       last INTEGER NOT NULL,\n  \
       times INTEGER NOT NULL\n)",
];

impl Content<'_> {
    /// What the file knows of itself.
    ///
    /// # Errors
    /// About the schema if it cannot be read; else those of [`failed`].
    pub fn node(&self) -> Result<Node> {
        let state = state(self.connection())?;
        let sql = "SELECT file, installation, pushed, follow, token, proposed, lease_holder, \
                   lease_until, exchanged, held FROM dual_node";
        let wrap = |cause| failed(OPERATION, cause);
        let mut look = self.connection().prepare_cached(sql).map_err(wrap)?;
        let mut rows = look.query([]).map_err(wrap)?;
        let row = rows.next().map_err(wrap)?.ok_or_else(follow::unreadable)?;
        let text = |at: usize| row.get::<_, Option<String>>(at).map_err(wrap);
        let number = |at: usize| row.get::<_, Option<i64>>(at).map_err(wrap);
        let file = text(0)?.and_then(|text| Uuid::parse_str(&text).ok());
        let pushed = number(2)?.ok_or_else(follow::unreadable)?;
        // Below it nothing would ever be pushed.
        if pushed > state.seq {
            return Err(follow::unreadable());
        }
        let holder = number(6)?.and_then(|holder| u16::try_from(holder).ok());
        Ok(Node {
            file: file.ok_or_else(follow::unreadable)?,
            number: state.writer,
            installation: text(1)?.map(|text| follow::number(&text)).transpose()?,
            pushed,
            seq: state.seq,
            follow: follow::read(&text(3)?.unwrap_or_default())?,
            tokens: Tokens::restore(
                follow::token(text(4)?.as_deref())?,
                follow::token(text(5)?.as_deref())?,
            ),
            horizon: state.horizon,
            lease: holder
                .zip(number(7)?)
                .map(|(holder, until_unix_ms)| Lease { holder, until_unix_ms }),
            exchanged_ms: number(8)?,
            held_from: number(9)?,
        })
    }

    /// Writes everything of `node` but `seq`, `file` and `number`, which have their own ways
    /// ([`Content::new_identity`]). The horizon never goes back.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn set_node(&self, node: &Node) -> Result<()> {
        let operation = "write the state of the SQLite file";
        let horizon = "UPDATE dual_state SET horizon = ?1 WHERE horizon < ?1";
        self.execute(operation, horizon, &[&node.horizon.raw()])?;
        self.execute(
            operation,
            "UPDATE dual_node SET installation = ?1, pushed = ?2, follow = ?3, token = ?4, \
             proposed = ?5, lease_holder = ?6, lease_until = ?7, exchanged = ?8, held = ?9",
            &[
                &node.installation.map(|number| number.to_string()),
                &node.pushed,
                &follow::write(&node.follow)?,
                &node.tokens.current().map(|token| token.0.to_string()),
                &node.tokens.proposed().map(|token| token.0.to_string()),
                &node.lease.map(|lease| lease.holder),
                &node.lease.map(|lease| lease.until_unix_ms),
                &node.exchanged_ms,
                &node.held_from,
            ],
        )
        .map(|_| ())
    }

    /// When this file last had PostgreSQL's old tombstones purged, in milliseconds since 1970.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn tidied_ms(&self) -> Result<Option<i64>> {
        let wrap = |cause| failed(OPERATION, cause);
        let sql = "SELECT tidied FROM dual_node";
        let mut look = self.connection().prepare_cached(sql).map_err(wrap)?;
        look.query_row([], |row| row.get(0)).map_err(wrap)
    }

    /// Notes that it does so now.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn set_tidied_ms(&self, now_ms: i64) -> Result<()> {
        let operation = "write the state of the SQLite file";
        self.execute(operation, "UPDATE dual_node SET tidied = ?1", &[&now_ms]).map(|_| ())
    }

    /// The version of the file's schema at which somebody has looked last whether capture is as it was
    /// installed, and nothing came past it.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn inspected(&self) -> Result<Option<i64>> {
        let wrap = |cause| failed(OPERATION, cause);
        let sql = "SELECT inspected FROM dual_node";
        let mut look = self.connection().prepare_cached(sql).map_err(wrap)?;
        look.query_row([], |row| row.get(0)).map_err(wrap)
    }

    /// Notes that version.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn set_inspected(&self, version: i64) -> Result<()> {
        let operation = "write the state of the SQLite file";
        self.execute(operation, "UPDATE dual_node SET inspected = ?1", &[&version]).map(|_| ())
    }

    /// Says of the rows that were in the file before it, or their table, met anybody whose values stand
    /// where PostgreSQL has others.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn prefer(&self, side: Store) -> Result<()> {
        let (here, is_new) = (side == Store::Sqlite, self.node()?.installation.is_none());
        for (table, local) in self.tables().iter().enumerate() {
            if is_new || self.is_first_contact(table)? {
                prefer(self.connection(), &local.layout, here)?;
            }
        }
        Ok(())
    }

    /// Makes it a file that has met nobody: it is to join another installation. What it has not given
    /// yet it keeps to give. Its conflict log stays as it is.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub(crate) fn unmeet(&self) -> Result<()> {
        let operation = "forget what the SQLite file has met";
        for local in self.tables() {
            unmeet(self.connection(), &local.layout)?;
        }
        // What was refused, there or here, will be tried anew.
        let followed = "UPDATE dual_tracked SET relation = NULL, compare = NULL";
        for sql in ["DELETE FROM dual_quarantine", "DELETE FROM dual_scrub", followed] {
            self.execute(operation, sql, &[])?;
        }
        self.forget_numbers()?;
        self.forget_all_given()?;
        self.execute(operation, "UPDATE dual_state SET horizon = 0", &[])?;
        let sql = "UPDATE dual_node SET installation = NULL, pushed = 0, purged = 0, follow = ?1, \
                   token = NULL, proposed = NULL, exchanged = NULL, held = NULL, tidied = NULL";
        self.execute(operation, sql, &[&follow::write(&Follow::new())?]).map(|_| ())
    }

    /// Another identity and another number for the triggers: the file is a copy.
    ///
    /// # Errors
    /// Those of [`failed`].
    pub fn new_identity(&self, file: Uuid, number: Writer) -> Result<()> {
        renumber(self.connection(), number)?;
        self.forget_numbers()?;
        self.forget_all_given()?;
        let sql = "UPDATE dual_node SET file = ?1";
        self.execute("give the SQLite file an identity", sql, &[&file.to_string()]).map(|_| ())
    }
}

/// The tables and the row of a file that has none, which begins as `follow`; nothing where there
/// is one.
pub(super) fn install(connection: &Connection, begins: &Follow) -> Result<()> {
    let operation = "install the state of the SQLite file";
    let wrap = |cause| failed(operation, cause);
    TABLES.iter().try_for_each(|sql| connection.execute_batch(sql)).map_err(wrap)?;
    add_columns(connection).map_err(wrap)?;
    let follow = follow::write(begins)?;
    connection
        .execute(
            "INSERT INTO dual_node (one, file, pushed, purged, follow) \
             SELECT 1, ?1, 0, ?2, ?3 WHERE NOT EXISTS (SELECT 1 FROM dual_node)",
            (Uuid::now_v7().to_string(), Stamp::ZERO.raw(), follow),
        )
        .map_err(wrap)?;
    Ok(())
}

/// Columns that these tables have got since they were made. Programs of before do not know them, and need not.
fn add_columns(connection: &Connection) -> rusqlite::Result<()> {
    let there = "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2)";
    let columns = [("dual_node", "inspected"), ("dual_node", "ahead"), ("dual_tracked", "marked")];
    for (table, name) in columns {
        if !connection.query_row(there, [table, name], |row| row.get(0))? {
            connection.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {name} INTEGER"))?;
        }
    }
    Ok(())
}
