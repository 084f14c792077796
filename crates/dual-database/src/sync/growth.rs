//! Columns that somebody adds to a table while it is followed, on either side: a person, a migration, a bot
//! when it starts. PostgreSQL declares them, and whoever keeps the table learns them from there, as what
//! somebody has joined: the file never has more than PostgreSQL knows of.

use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::connect::schema_version;
use super::link::Link;
use super::rounds::Rounds;
use crate::adoption::{grown, remote_columns};
use crate::error::{Kind, Result};
use crate::schema::Table;
use crate::store::postgres::primary::Pool;

const OPERATION: &str = "look for new columns";

/// How often it is looked whether columns have come, and how soon again where they could not be declared.
const LOOK: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(30);

/// What was looked at last: both change with the columns.
type Mark = (Option<i64>, i64);

/// When it is looked again, and at what it was looked last.
#[derive(Debug, Default)]
pub(super) struct Looked {
    next: Option<Instant>,
    mark: Option<Mark>,
    /// What was seen last, which may be on its way to something else.
    seen: Option<Mark>,
}

impl Rounds {
    /// Declares the columns that have come, if they need nobody's word; says whether there are any now that
    /// this process does not keep.
    pub(super) async fn grows(&mut self, link: &Link) -> Result<bool> {
        let is_early = self.columns.next.is_some_and(|next| Instant::now() < next);
        if is_early || !(self.shared.follow_schema && self.shared.adopt) {
            return Ok(false);
        }
        self.columns.next = Some(Instant::now() + LOOK);
        let primary = self.primary(link);
        let version = self.read(OPERATION, schema_version).await?;
        let mark = (primary.columns_mark().await?, version);
        if self.columns.mark == Some(mark) {
            return Ok(false);
        }
        // A migration that adds a column, fills it and gives it the name of another one is let come to its end.
        let is_begun = self.columns.mark.is_some();
        if self.columns.seen.replace(mark) != Some(mark) && is_begun {
            return Ok(false);
        }
        let tables = self.grown(link).await?;
        if tables.is_empty() {
            self.columns.mark = Some(mark);
            return Ok(false);
        }
        let names: Vec<&str> = tables.iter().map(Table::name).collect();
        let names = names.join(", ");
        let shared = &self.shared;
        let pool = Pool::new(shared.postgres.clone(), shared.limits, tables.into(), 1)
            .making(shared.sqlite.making);
        match Box::pin(pool.prepare()).await {
            Ok(_) => {
                info!(tables = names, "new columns are carried from now on");
                Ok(true)
            }
            Err(error) => {
                warn!(
                    tables = names,
                    error = error.chain(),
                    "new columns are not carried: `dual init` shows them, `dual init --apply` declares them"
                );
                // Who may not declare them may not later either: somebody else does, or grants it.
                match error.kind() {
                    Kind::AccessDenied | Kind::Schema(_) => self.columns.mark = Some(mark),
                    _ => self.columns.next = Some(Instant::now() + AGAIN),
                }
                Ok(false)
            }
        }
    }

    async fn grown(&self, link: &Link) -> Result<Vec<Table>> {
        let tables = self.shared.tables.clone();
        let primary = self.primary(link);
        primary.session.begin_snapshot(OPERATION).await?;
        let remote = remote_columns(&primary).await?;
        primary.session.rollback(OPERATION).await?;
        self.read(OPERATION, move |content| grown(content.connection(), &tables, &remote)).await
    }
}
