//! The file as it is, looked at. Nothing is written to it; a change of its columns is tried, and taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::{Kept, OPERATION, SidePlan};
use crate::error::{Error, Kind, Result, Store};
use crate::schema::{Column, Dialect, Key, KeyColumns, Table, quoted};
use crate::store::sqlite::capture::{Drift, Layout, declared, drift, is_current, lacks, to_be};
use crate::store::sqlite::replica::{
    Settings, is_first_contact, lacking, paused, refuse_taken_away, refuse_unasked,
};
use crate::store::sqlite::{Adoption, File, FoundRelation, define_functions, failed};

/// The file, if there is one.
///
/// Each look sees its own moment: no lock is held from one to the next, because a file that is not
/// joined yet has perhaps no write-ahead log, and whoever writes to it would have to wait.
pub(crate) struct LocalFile {
    connection: Option<Mutex<Connection>>,
    settings: Settings,
    /// Columns that are read as if the numbers that they refer to were others: table, column, and the table of this
    /// connection's own in which these stand.
    moved: Mutex<Vec<(String, String, String)>>,
}

impl LocalFile {
    pub(crate) fn open(settings: &Settings) -> Result<LocalFile> {
        let wrap = |cause| failed(OPERATION, cause).about(settings.path.display());
        let file = File::look(&settings.path)?;
        if !file.existed {
            let (settings, moved) = (settings.clone(), Mutex::default());
            return Ok(LocalFile { connection: None, settings, moved });
        }
        let mut log = file.path.clone().into_os_string();
        log.push("-wal");
        let keeps_log = std::fs::metadata(log).is_ok();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file.path, flags).map_err(wrap)?;
        connection
            .busy_timeout(settings.busy)
            // Whose log it is, he writes it back.
            .and_then(|()| {
                let flag = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
                connection.set_db_config(flag, keeps_log)
            })
            .and_then(|_| connection.execute_batch("PRAGMA query_only = ON"))
            .map_err(wrap)?;
        define_functions(&connection, &settings.extensions)?;
        let (connection, moved) = (Some(Mutex::new(connection)), Mutex::default());
        Ok(LocalFile { connection, settings: settings.clone(), moved })
    }

    pub(super) fn connection(&self) -> Option<MutexGuard<'_, Connection>> {
        self.connection.as_ref().map(|one| one.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn look(&self, table: &Table) -> Result<(SidePlan, FoundRelation)> {
        let (found, drift) = match self.connection().as_deref() {
            None => (FoundRelation::Nothing, Drift::Absent),
            Some(connection) => (
                FoundRelation::read(connection, "main", table)?,
                drift(connection, &Layout::new(table))?,
            ),
        };
        let mut side = SidePlan {
            exists: !matches!(found, FoundRelation::Nothing),
            captured: drift == Drift::None,
            ..SidePlan::default()
        };
        side.lacks = self.lacks(table);
        match Adoption::plan("main", &self.to_be(table)?, &found) {
            Ok(adoption) => {
                side.steps.extend(adoption.steps.into_iter().map(|step| step.what));
                if !side.captured {
                    side.steps.push(format!("capture the writes to {}", table.name()));
                }
            }
            Err(error) => {
                side.obstacles.push(error.message().to_owned());
                side.kind = Some(error.kind());
                side.hint = error.hint().map(str::to_owned);
            }
        }
        Ok((side, found))
    }

    fn lacks(&self, table: &Table) -> Option<String> {
        let columns = table.columns().iter();
        let error = lacking(self.connection()?.deref(), &quoted(table.name()), columns)?;
        Some(format!("{}: {}", error.message(), error.hint().unwrap_or_default()))
    }

    /// The tables that it keeps together, as they are declared; none if it keeps none yet.
    pub(super) fn declared(&self) -> Result<Vec<Table>> {
        self.connection().as_deref().map_or(Ok(Vec::new()), declared)
    }

    /// The same, without those that are left alone, and those.
    pub(super) fn kept(&self) -> Result<Kept> {
        let Some(connection) = self.connection() else { return Ok(Kept::default()) };
        let notes = paused(&connection)?;
        let mut kept = Kept::default();
        for table in declared(&connection)? {
            match notes.iter().find(|note| *note.table == *table.name()) {
                Some(note) => kept.aside.push((table, note.clone())),
                None => kept.tables.push(table),
            }
        }
        Ok(kept)
    }

    /// Whether a table that is joined is there as it is declared, or additions make it so.
    ///
    /// # Errors
    /// About the schema if not; those of reading it.
    pub(super) fn is_whole(&self, table: &Table) -> Result<()> {
        let Some(connection) = self.connection() else { return Ok(()) };
        let to_be = to_be(&connection, table)?;
        let layout = Layout::new(table);
        refuse_taken_away(&connection, &to_be, &layout)?;
        refuse_unasked(&connection, table, &layout)?;
        let found = FoundRelation::read(&connection, "main", table)?;
        self.tries(&Adoption::plan("main", &to_be, &found)?, table)
    }

    /// Whether additions, and columns that are made anew, make the table what is declared.
    ///
    /// # Errors
    /// About the schema if not; those of reading it.
    pub(super) fn can_be_made(&self, table: &Table) -> Result<()> {
        let Some(connection) = self.connection() else { return Ok(()) };
        let found = FoundRelation::read(&connection, "main", table)?;
        let to_be = to_be(&connection, table)?;
        self.tries(&Adoption::retyping("main", &to_be, &found)?, table)
    }

    /// Whatever else there is in the file can be in the way of a change of what is there: it is tried.
    fn tries(&self, adoption: &Adoption, table: &Table) -> Result<()> {
        if !adoption.changes_columns() {
            return Ok(());
        }
        let path = &self.settings.path;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)
            .and_then(|connection| connection.busy_timeout(self.settings.busy).map(|()| connection))
            .map_err(|cause| failed(OPERATION, cause).about(path.display()))?;
        define_functions(&connection, &self.settings.extensions)?;
        adoption.try_out(&connection, table)
    }

    fn to_be(&self, table: &Table) -> Result<Table> {
        self.connection().map_or_else(|| Ok(table.clone()), |one| to_be(&one, table))
    }

    /// Whether it captures the table, and has exchanged it with PostgreSQL or is about to.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) fn keeps(&self, table: &Table) -> Result<bool> {
        let is_captured = match self.connection() {
            Some(connection) => drift(&connection, &Layout::new(table))? != Drift::Absent,
            None => false,
        };
        Ok(is_captured && self.installation()?.is_some())
    }

    /// Whether it keeps the table and has been through it with PostgreSQL: what it only captures by now has
    /// its own numbers still.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) fn has_met(&self, table: &Table) -> Result<bool> {
        let is_kept = self.keeps(table)?;
        match self.connection().filter(|_| is_kept) {
            Some(connection) => Ok(!is_first_contact(&connection, table.name())?),
            None => Ok(false),
        }
    }

    /// The columns of the file's table that refer to the key of another one, by themselves: each with the name of
    /// that.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) fn references(&self, table: &Table) -> Result<Vec<(String, String)>> {
        let Some(connection) = self.connection() else { return Ok(Vec::new()) };
        let sql = "SELECT min(\"from\"), min(\"table\") FROM pragma_foreign_key_list(?1) \
                   GROUP BY id HAVING count(*) = 1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        connection
            .prepare(sql)
            .and_then(|mut look| look.query_map([table.name()], read)?.collect())
            .map_err(|cause| failed(OPERATION, cause))
    }

    /// The keys of the rows that have one of these in that column.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) fn referring(
        &self,
        table: &Table,
        column: &str,
        to: &BTreeSet<Key>,
    ) -> Result<Vec<Key>> {
        let Some(connection) = self.connection() else { return Ok(Vec::new()) };
        let wrap = |cause| failed(OPERATION, cause);
        let sql = format!(
            "SELECT {}, {column} FROM {} AS u WHERE typeof({column}) = 'integer'",
            KeyColumns::of(table, Dialect::Sqlite).given("u"),
            quoted(table.name()),
            column = quoted(column),
        );
        let mut look = connection.prepare(&sql).map_err(wrap)?;
        let mut rows = look.query([]).map_err(wrap)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(wrap)? {
            let number: i64 = row.get(1).map_err(wrap)?;
            if to.contains(&Key::from(number)) {
                found.push(row.get(0).map_err(wrap)?);
            }
        }
        Ok(found)
    }

    /// The keys of the table's rows with the numbers that they have in that column; those without one left out.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) fn numbers(&self, table: &Table, column: &Column) -> Result<Vec<(Key, i64)>> {
        let Some(connection) = self.connection() else { return Ok(Vec::new()) };
        let key = KeyColumns::of(table, Dialect::Sqlite);
        let sql = format!(
            "SELECT {}, u.{column} FROM {} AS u WHERE typeof(u.{column}) = 'integer' AND {}",
            key.given("u"),
            quoted(table.name()),
            key.is_carried("u"),
            column = column.quoted(Dialect::Sqlite),
        );
        let has =
            "SELECT EXISTS (SELECT 1 FROM pragma_table_info(?1) WHERE name = ?2 COLLATE NOCASE)";
        let wrap = |cause| failed(OPERATION, cause);
        let names = [table.name(), column.name_in(Dialect::Sqlite)];
        let has: bool = connection.query_row(has, names, |row| row.get(0)).map_err(wrap)?;
        if !has {
            return Ok(Vec::new());
        }
        let mut look = connection.prepare(&sql).map_err(wrap)?;
        look.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .map_err(wrap)
    }

    /// Lets columns that refer to the table's surrogate be read as if these numbers were the others.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) fn reads_moved(&self, table: &Table, moved: &BTreeMap<i64, i64>) -> Result<()> {
        let (Some(connection), Some(surrogate)) = (self.connection(), table.surrogate()) else {
            return Ok(());
        };
        let wrap = |cause| failed(OPERATION, cause);
        let sql = "SELECT DISTINCT m.name, f.\"from\" \
             FROM main.sqlite_schema AS m, pragma_foreign_key_list(m.name) AS f \
             WHERE m.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE \
               AND (f.\"to\" = ?2 COLLATE NOCASE OR f.\"to\" IS NULL AND ?2 COLLATE NOCASE IN \
                 (SELECT name FROM pragma_table_info(?1) WHERE pk = f.seq + 1))";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let names = [table.name(), surrogate.name_in(Dialect::Sqlite)];
        let referring: Vec<(String, String)> = connection
            .prepare(sql)
            .and_then(|mut look| look.query_map(names, read)?.collect())
            .map_err(wrap)?;
        let mut known = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        if moved.is_empty() || referring.is_empty() {
            return Ok(());
        }
        let aside = format!("dual_moved_{}", known.len() + 1);
        // In this connection's own schema, which is no part of the file. (Set anew it would forget what is there.)
        let store = if known.is_empty() { "PRAGMA temp_store = MEMORY; " } else { "" };
        connection
            .execute_batch(&format!(
                "PRAGMA query_only = OFF; {store}\
                 CREATE TEMP TABLE {aside} (own INTEGER PRIMARY KEY, other INTEGER NOT NULL)"
            ))
            .and_then(|()| {
                let insert = format!("INSERT INTO temp.{aside} (own, other) VALUES (?1, ?2)");
                let mut insert = connection.prepare(&insert)?;
                moved.iter().try_for_each(|pair| insert.execute(pair).map(drop))
            })
            .and_then(|()| connection.execute_batch("PRAGMA query_only = ON"))
            .map_err(wrap)?;
        known.extend(referring.into_iter().map(|(child, column)| (child, column, aside.clone())));
        Ok(())
    }

    /// The table as it is to be read, to stand behind `FROM`.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) fn read_as(&self, table: &Table) -> Result<String> {
        let known = self.moved.lock().unwrap_or_else(PoisonError::into_inner);
        let is_its =
            |(child, ..): &&(String, String, String)| child.eq_ignore_ascii_case(table.name());
        let own: Vec<_> = known.iter().filter(is_its).collect();
        let (Some(connection), false) = (self.connection(), own.is_empty()) else {
            return Ok(quoted(table.name()));
        };
        let sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1";
        let names: Vec<String> = connection
            .prepare(sql)
            .and_then(|mut look| look.query_map([table.name()], |row| row.get(0))?.collect())
            .map_err(|cause| failed(OPERATION, cause))?;
        let read = |name: &String| {
            let column = quoted(name);
            match own.iter().find(|(_, moved, _)| moved.eq_ignore_ascii_case(name)) {
                Some((_, _, aside)) => format!(
                    "coalesce((SELECT m.other FROM temp.{aside} AS m WHERE m.own = t.{column}), t.{column}) AS {column}"
                ),
                None => format!("t.{column}"),
            }
        };
        let columns: Vec<String> = names.iter().map(read).collect();
        Ok(format!("(SELECT {} FROM {} AS t)", columns.join(", "), quoted(table.name())))
    }

    /// How many whole numbers of that column lie outside.
    ///
    /// # Errors
    /// Those of reading it.
    pub(super) fn outside(
        &self,
        table: &Table,
        column: &Column,
        least: i64,
        most: i64,
    ) -> Result<u64> {
        let from = self.read_as(table)?;
        let Some(connection) = self.connection() else { return Ok(0) };
        let sql = format!(
            "SELECT count(*) FROM {from} WHERE typeof({column}) = 'integer' \
             AND {column} NOT BETWEEN ?1 AND ?2",
            column = column.quoted(Dialect::Sqlite),
        );
        let count = connection.query_row(&sql, [least, most], |row| row.get::<_, i64>(0));
        count.map(i64::unsigned_abs).map_err(|cause| failed(OPERATION, cause))
    }

    /// Whether it knows itself as a node.
    pub(crate) fn is_node(&self) -> Result<bool> {
        self.connection().as_deref().map_or(Ok(false), has_node)
    }

    /// The installation that it has met, if it has met any.
    pub(super) fn installation(&self) -> Result<Option<u128>> {
        let Some(connection) = self.connection() else { return Ok(None) };
        if !has_node(&connection)? {
            return Ok(None);
        }
        let sql = "SELECT installation FROM dual_node";
        let text: Option<String> = connection
            .query_row(sql, [], |row| row.get(0))
            .map_err(|cause| failed(OPERATION, cause))?;
        // One that cannot be read is nobody's that is known here.
        Ok(text.map(|text| text.parse().unwrap_or_default()))
    }

    /// Rows that have something which the file has given to nobody yet.
    pub(super) fn pending(&self, tables: &[Table]) -> Result<u64> {
        let Some(connection) = self.connection() else { return Ok(0) };
        let mut pending = 0;
        for layout in tables.iter().map(Layout::new) {
            if drift(&connection, &layout)? != Drift::Absent && !lacks(&connection, &layout)? {
                let count = connection.query_row(&layout.pending(), [], |row| row.get::<_, i64>(0));
                pending += count.map_err(|cause| failed(OPERATION, cause))?.unsigned_abs();
            }
        }
        Ok(pending)
    }
}

fn has_node(connection: &Connection) -> Result<bool> {
    let there = "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'dual_node')";
    connection.query_row(there, [], |row| row.get(0)).map_err(|cause| failed(OPERATION, cause))
}

/// Whether the file is joined as it stands: its tables are as declared, and captured.
///
/// # Errors
/// About the schema if it is not, or if there is none; those of reading it.
pub(crate) fn joined(settings: &Settings) -> Result<()> {
    let file = LocalFile::open(settings)?;
    let wants = |message: &str| {
        let error = Error::new(Kind::Schema(Store::Sqlite), "look at the SQLite file", message);
        Err(error.with_hint("`dual init` shows what is to be done, `dual init --apply` does it"))
    };
    if file.connection.is_none() {
        return wants("the file is not there yet");
    }
    if let Some(connection) = file.connection()
        && !is_current(&connection)?
    {
        return wants("an earlier version of this program has joined it");
    }
    for table in settings.tables.iter() {
        if let Some(connection) = file.connection() {
            refuse_taken_away(&connection, &to_be(&connection, table)?, &Layout::new(table))?;
        }
        let (side, _) = file.look(table)?;
        if let Some(obstacle) = side.obstacles.first() {
            return wants(obstacle);
        }
        if !side.captured || !side.steps.is_empty() {
            return wants("it is not joined with PostgreSQL yet, or not any more");
        }
    }
    Ok(())
}

/// How far a file is part of the database, as far as it knows itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileStanding {
    /// It has not met PostgreSQL, or cannot be looked at.
    Stranger,
    /// It is a node, and something waits to be exchanged.
    Waiting,
    /// It is a node and has given everything.
    Settled,
}

/// Looks at the file and changes nothing.
#[must_use]
pub fn standing(settings: &Settings) -> FileStanding {
    let look = || -> Option<FileStanding> {
        let file = LocalFile::open(settings).ok()?;
        let connection = file.connection()?;
        if !has_node(&connection).ok()? {
            return Some(FileStanding::Stranger);
        }
        let follows = "SELECT json_type(follow, '$.state.following') IS NOT NULL FROM dual_node";
        let mut settled: bool = connection.query_row(follows, [], |row| row.get(0)).ok()?;
        for table in settings.tables.iter() {
            let sql = format!(
                "SELECT EXISTS (SELECT 1 FROM {} WHERE seq > (SELECT pushed FROM dual_node))",
                Layout::new(table).sidecar()
            );
            settled &= !connection.query_row(&sql, [], |row| row.get::<_, bool>(0)).ok()?;
        }
        Some(if settled { FileStanding::Settled } else { FileStanding::Waiting })
    };
    look().unwrap_or(FileStanding::Stranger)
}
