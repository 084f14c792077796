//! Which of the tables that are joined cannot be followed as they are: somebody has changed a type, taken a
//! table away, or a right. The others go on without them.

use std::sync::Arc;

use super::{LocalFile, Stores};
use crate::error::{Error, Kind, Result, Store};
use crate::schema::Table;
use crate::store::postgres::primary::obstacles;
use crate::store::postgres::{Session, capture};
use crate::store::sqlite::replica::Paused;

/// The tables of a database.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kept {
    /// Those that are kept together.
    pub tables: Vec<Table>,
    /// Those that are left alone, and why.
    pub aside: Vec<(Table, Paused)>,
}

/// What is in the way of tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct Troubles {
    /// One of each table that is in trouble, on either side.
    pub found: Vec<Paused>,
    /// Both sides were asked.
    pub is_all: bool,
    /// Tables that PostgreSQL declares by a later revision: what is in their way was judged by that.
    pub revised: Vec<Table>,
}

impl Kept {
    /// Leaves those alone that are in trouble, unless none would be left; `false` if nothing was changed.
    pub(crate) fn leave(&mut self, troubles: &Troubles) -> bool {
        let is_revised = self.revise(troubles);
        let why = |table: &Table| troubles.found.iter().find(|one| *one.table == *table.name());
        let left = self.tables.iter().filter(|table| why(table).is_none()).count();
        if left == 0 || left == self.tables.len() {
            return is_revised;
        }
        for table in std::mem::take(&mut self.tables) {
            match why(&table).cloned() {
                Some(why) => self.aside.push((table, why)),
                None => self.tables.push(table),
            }
        }
        true
    }

    /// Takes those back that are in trouble no more; says whether there are any.
    pub(crate) fn take_back(&mut self, troubles: &Troubles) -> bool {
        if !troubles.is_all {
            return false;
        }
        self.revise(troubles);
        let before = self.tables.len();
        for (table, _) in std::mem::take(&mut self.aside) {
            match troubles.found.iter().find(|one| *one.table == *table.name()) {
                Some(why) => self.aside.push((table, why.clone())),
                None => self.tables.push(table),
            }
        }
        self.tables.len() > before
    }

    /// Takes the later declarations; says whether there are any.
    fn revise(&mut self, troubles: &Troubles) -> bool {
        let mut is_revised = false;
        for own in self.tables.iter_mut().chain(self.aside.iter_mut().map(|(table, _)| table)) {
            if let Some(later) = troubles.revised.iter().find(|later| is_later(later, own)) {
                own.clone_from(later);
                is_revised = true;
            }
        }
        is_revised
    }
}

fn is_later(later: &Table, own: &Table) -> bool {
    later.name() == own.name() && later.revision() > own.revision()
}

/// Looks at these tables of both sides, as far as they can be asked.
pub(crate) async fn troubles(stores: &Stores) -> Troubles {
    let mut stores = stores.clone();
    let there = in_postgres(&stores).await;
    let mut troubles = Troubles::default();
    let mut found = Vec::new();
    let is_asked = there.is_ok();
    if let Ok((paused, revised)) = there {
        found = paused;
        stores.sqlite.tables = newest(&stores.sqlite.tables, &revised);
        troubles.revised = revised;
    }
    let here = in_file(&stores);
    troubles.is_all = is_asked && here.is_ok();
    for one in found.into_iter().chain(here.unwrap_or_default()) {
        if troubles.found.iter().all(|found| found.table != one.table) {
            troubles.found.push(one);
        }
    }
    troubles
}

/// What is in the way there, and what is declared by a later revision.
async fn in_postgres(stores: &Stores) -> Result<(Vec<Paused>, Vec<Table>)> {
    let operation = "look which tables PostgreSQL keeps";
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    session.begin_snapshot(operation).await?;
    // Whoever made the schema could have said in it which columns are to be renamed.
    let standing = capture::SchemaStanding::read(&session, &stores.sqlite.tables).await?;
    standing.trusted(&session)?;
    let mut revised = capture::declared(&session).await?;
    session.rollback(operation).await?;
    revised.retain(|later| stores.sqlite.tables.iter().any(|own| is_later(later, own)));
    let tables = newest(&stores.sqlite.tables, &revised);
    let found = obstacles(&session, &tables, stores.sqlite.making).await?;
    let named = tables.iter().zip(found).filter_map(|(table, error)| Some((table, error?)));
    let paused = named.map(|(table, error)| changed(table, Store::Postgres, &error)).collect();
    Ok((paused, revised))
}

/// Besides putting it back, what is about its form can be declared as it is.
fn changed(table: &Table, store: Store, error: &Error) -> Paused {
    let mut paused = Paused::new(table, store, error);
    if matches!(error.kind(), Kind::Schema(_)) {
        let is_plain = |c: char| c.is_alphanumeric() || c == '_';
        let name = match table.name().chars().all(is_plain) {
            true => table.name().to_owned(),
            false => format!("'{}'", table.name().replace('\'', r"'\''")),
        };
        let way = format!(
            "`dual schema {name}` shows both sides; `dual schema apply {name}` declares it as it is now"
        );
        paused.hint = Some(paused.hint.map_or(way.clone(), |hint| format!("{hint} ({way})")));
    }
    paused
}

fn newest(tables: &[Table], revised: &[Table]) -> Arc<[Table]> {
    let later = |own: &Table| revised.iter().find(|later| is_later(later, own));
    tables.iter().map(|own| later(own).unwrap_or(own).clone()).collect()
}

fn in_file(stores: &Stores) -> Result<Vec<Paused>> {
    let file = LocalFile::open(&stores.sqlite)?;
    let mut found = Vec::new();
    for table in stores.sqlite.tables.iter() {
        match file.is_whole(table) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), Kind::Schema(_)) => {
                found.push(changed(table, Store::Sqlite, &error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
