//! What `dual init` would do, as it is told.

use std::sync::Arc;

use super::RowCounts;
use crate::error::{Error, Kind, Store};

/// What one side has of a table, and what is to be done there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SidePlan {
    /// Whether the table is there.
    pub exists: bool,
    /// Whether its writes are captured.
    pub captured: bool,
    /// What would be done, as phrases.
    pub steps: Vec<String>,
    /// What only a person can change, as clauses.
    pub obstacles: Vec<String>,
    /// What sort of obstacle the first one is: a missing right is none of the schema.
    pub kind: Option<Kind>,
    /// What that person could do.
    pub hint: Option<String>,
    /// Why the steps could not be tried just now.
    pub untried: Option<String>,
    /// What the table needs and only the application's connection has: what comes from the other
    /// side waits in quarantine meanwhile.
    pub lacks: Option<String>,
}

impl SidePlan {
    /// Something is in the way besides.
    pub(super) fn refused(&mut self, error: &Error) {
        self.obstacles.push(error.message().to_owned());
        self.kind.get_or_insert(error.kind());
        if let Some(hint) = error.hint() {
            self.hint =
                Some(self.hint.take().map_or(hint.to_owned(), |first| format!("{first} {hint}")));
        }
    }
}

/// What is there of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TablePlan {
    /// The table.
    pub table: Arc<str>,
    /// PostgreSQL.
    pub postgres: SidePlan,
    /// The file.
    pub sqlite: SidePlan,
    /// The rows, as both sides would have them after the steps; `None` if there are obstacles.
    pub rows: Option<RowCounts>,
    /// Rows of the file that would get other numbers, because PostgreSQL has others under theirs.
    pub renumbered: u64,
}

/// What there is, and what would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The tables in their order.
    pub tables: Vec<TablePlan>,
    /// How the file stands towards this PostgreSQL.
    pub bond: Bond,
    /// Whose value stands where both sides have one, of tables that are joined now.
    pub prefer: Store,
    /// The file's permissions, such as `0644`, if others than its owner may read or write it.
    pub exposed: Option<String>,
}

/// How a file stands towards a PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bond {
    /// It has met nobody yet, or is not there.
    New,
    /// It belongs to this database.
    Joined,
    /// It belongs to another one, which this one takes the place of.
    Rejoining {
        /// Rows of the file that have something which it has given to nobody yet.
        pending: u64,
    },
}

impl Plan {
    /// Nothing is in the way: additions are enough.
    #[must_use]
    pub fn is_additive(&self) -> bool {
        let free = |side: &SidePlan| side.obstacles.is_empty();
        self.tables.iter().all(|table| free(&table.postgres) && free(&table.sqlite))
    }

    /// Both sides are captured and have nothing left to add.
    #[must_use]
    pub fn is_done(&self) -> bool {
        let done = |side: &SidePlan| side.captured && side.steps.is_empty();
        self.is_additive()
            && !matches!(self.bond, Bond::Rejoining { .. })
            && self.tables.iter().all(|table| done(&table.postgres) && done(&table.sqlite))
    }

    /// The error that it is if something could not be tried just now, because of somebody's lock: to begin with
    /// the rest would stop half-way.
    #[must_use]
    pub fn untried(&self) -> Option<Error> {
        let table = self.tables.iter().find(|table| table.postgres.untried.is_some())?;
        let reason = table.postgres.untried.as_deref().unwrap_or_default();
        let message = format!("table {}: {reason}", table.table);
        let kind = Kind::Unavailable(Store::Postgres);
        Some(
            Error::new(kind, "make one database of both", message)
                .with_hint("nothing was changed; run it again when the lock is gone"),
        )
    }

    /// The error that the obstacles are, if there are any.
    #[must_use]
    pub fn refusal(&self) -> Option<Error> {
        let sides = self.tables.iter().flat_map(|table| {
            let side = |store, side| (&*table.table, store, side);
            [side(Store::Postgres, &table.postgres), side(Store::Sqlite, &table.sqlite)]
        });
        let blocked: Vec<_> = sides.filter(|(_, _, side)| !side.obstacles.is_empty()).collect();
        let (_, store, first) = blocked.first()?;
        let clause = |(table, store, side): &(&str, Store, &SidePlan)| {
            format!("table {table} in {store}: {}", side.obstacles.join("; "))
        };
        let message = blocked.iter().map(clause).collect::<Vec<_>>().join("; ");
        let kind = first.kind.unwrap_or(Kind::Schema(*store));
        let error = Error::new(kind, "make one database of both", message);
        Some(
            error.with_hint(first.hint.clone().unwrap_or_else(|| {
                "nothing was changed; see the plan with `dual init`".to_owned()
            })),
        )
    }
}
