//! Which of the tables that are joined cannot be followed as they are: somebody has changed a type, taken a
//! table away, or a right. The others go on without them.

use super::{LocalFile, Stores};
use crate::error::{Kind, Result, Store};
use crate::schema::Table;
use crate::store::postgres::Session;
use crate::store::postgres::primary::obstacles;
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
}

impl Kept {
    /// Leaves those alone that are in trouble; `false`, and nothing is changed, if there are none, or none
    /// would be left.
    pub(crate) fn leave(&mut self, troubles: &Troubles) -> bool {
        let why = |table: &Table| troubles.found.iter().find(|one| *one.table == *table.name());
        let left = self.tables.iter().filter(|table| why(table).is_none()).count();
        if left == 0 || left == self.tables.len() {
            return false;
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
        let before = self.tables.len();
        for (table, _) in std::mem::take(&mut self.aside) {
            match troubles.found.iter().find(|one| *one.table == *table.name()) {
                Some(why) => self.aside.push((table, why.clone())),
                None => self.tables.push(table),
            }
        }
        self.tables.len() > before
    }
}

/// Looks at these tables of both sides, as far as they can be asked.
pub(crate) async fn troubles(stores: &Stores) -> Troubles {
    let mut troubles = Troubles::default();
    let there = in_postgres(stores).await;
    let here = in_file(stores);
    troubles.is_all = there.is_ok() && here.is_ok();
    for one in there.unwrap_or_default().into_iter().chain(here.unwrap_or_default()) {
        if troubles.found.iter().all(|found| found.table != one.table) {
            troubles.found.push(one);
        }
    }
    troubles
}

async fn in_postgres(stores: &Stores) -> Result<Vec<Paused>> {
    let session = Session::open(&stores.postgres, &stores.limits).await?;
    let tables = &stores.sqlite.tables;
    let found = obstacles(&session, tables, stores.sqlite.making).await?;
    let named = tables.iter().zip(found).filter_map(|(table, error)| Some((table, error?)));
    Ok(named.map(|(table, error)| Paused::new(table, Store::Postgres, &error)).collect())
}

fn in_file(stores: &Stores) -> Result<Vec<Paused>> {
    let file = LocalFile::open(&stores.sqlite)?;
    let mut found = Vec::new();
    for table in stores.sqlite.tables.iter() {
        match file.is_whole(table) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), Kind::Schema(_)) => {
                found.push(Paused::new(table, Store::Sqlite, &error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}
