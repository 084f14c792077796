//! Numbers for rows that are added without a key, where the key is numbered by itself. Final from the beginning:
//! from PostgreSQL, or from what it keeps for the file (`sync/DESIGN.md`, numbers that both sides hand out).

use super::Written;
use super::core::{Core, Deadline, is_verdict, neither};
use super::local::{Behind, Rows, behind};
use super::options::WriteMode;
use super::plan::{Intent, WritePlan, already_exists};
use crate::merge::Change;
use crate::protocol::{Reservation, Wanted};
use crate::schema::RowId;
use crate::stamp::Stamp;
use crate::store::sqlite::replica::{Content, Durability};
use crate::sync::{Step, hooked};
use crate::value::Value;
use crate::{Error, Kind, Result, Store};

/// How often another number is taken where the one that was taken is in use by then.
pub(super) const TRIES: usize = 5;

/// What keeps the number of a new row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NumberKept {
    /// The stamp of its tombstone.
    pub by: Stamp,
    /// PostgreSQL was asked for this row. If not, it is one of the file's block: the row goes to the file, and
    /// PostgreSQL is asked before it is pushed.
    pub is_asked: bool,
}

/// What the file knows of a table before a number is taken.
#[derive(Debug, Default)]
struct Look {
    behind: Behind,
    file: uuid::Uuid,
    /// The highest number that the file has.
    highest: i64,
    keeps: bool,
}

impl Core {
    /// A number for a new row of that table, and what keeps it.
    ///
    /// # Errors
    /// Why PostgreSQL has none to give; unavailable if it is away and none is kept for the file.
    pub async fn number(
        &self,
        operation: &'static str,
        table: usize,
    ) -> Result<(RowId, NumberKept)> {
        let deadline = self.deadline();
        let (kept, is_asked) = match self.mode {
            WriteMode::LocalFirst => match self.number_here(operation, table).await {
                Ok(Some(kept)) => (kept, false),
                _ => (self.number_there(operation, table, deadline).await??, true),
            },
            WriteMode::Both | WriteMode::RequireBoth => {
                match self.number_there(operation, table, deadline).await {
                    Ok(kept) => (kept?, true),
                    Err(cause) if self.mode == WriteMode::RequireBoth => return Err(cause),
                    Err(cause) => match self.number_here(operation, table).await {
                        Ok(Some(kept)) => (kept, false),
                        Ok(None) => return Err(self.none_is_kept(operation, table, cause)),
                        Err(failure) if is_verdict(&failure) => return Err(failure),
                        Err(failure) => return Err(neither(operation, cause, &failure)),
                    },
                }
            }
        };
        let id = RowId { table, key: kept.number.into() };
        Ok((id, NumberKept { by: kept.stamp, is_asked }))
    }

    /// The next number, from PostgreSQL; or why it has none to give.
    ///
    /// # Errors
    /// Why it could not be asked.
    async fn number_there(
        &self,
        operation: &'static str,
        table: usize,
        deadline: Deadline,
    ) -> Result<Result<Reservation>> {
        self.ready(operation)?;
        let look = move |content: &Content<'_>| {
            let (behind, file) = (behind(content, [table])?, content.node()?.file);
            let highest = content.highest_number(table)?;
            Ok(Look { behind, file, highest, keeps: content.keeps_numbers(table)? })
        };
        let look = self.look_at_file(operation, deadline, look).await;
        let is_there = look.is_ok();
        let look = look.unwrap_or_default();
        if look.behind == Behind::Doubted {
            let message = "both stores have to be compared first";
            return Err(Error::new(Kind::Unavailable(Store::Postgres), operation, message));
        }
        let contact = self.followed(operation, look.file, deadline).await?;
        let (primary, writer) = (contact.primary()?, self.shared.clock().writer());
        let wanted = [Wanted { table, count: 1, behind: look.highest }];
        let question = || primary.keep_numbers(&wanted, writer, None);
        let question = hooked(self.shared.hook.as_ref(), Step::AskNumber, question);
        let kept = self.ask(operation, deadline, question).await?.unwrap_or_default();
        if let Some((_, why)) = kept.refused.into_iter().next() {
            let error = Error::new(why.kind(), operation, why.message().to_owned());
            let error = error.with_hint(why.hint().unwrap_or("name the key"));
            return Ok(Err(error.with_source(why)));
        }
        let (_, kept) = kept.numbers.into_iter().next().ok_or_else(|| {
            Error::new(Kind::Internal, operation, "PostgreSQL has answered no number")
        })?;
        if is_there && !look.keeps {
            // From now on some are kept for when PostgreSQL is away.
            let keep = move |content: &Content<'_>| content.keep_numbers(table);
            match self.change_file(operation, None, Durability::Normal, keep).await {
                Ok(()) => self.notify(),
                Err(error) => tracing::debug!(error = error.chain(), "no numbers are kept yet"),
            }
        }
        Ok(Ok(kept))
    }

    /// One that is kept for the file: on disk before it is used, it is handed out once.
    async fn number_here(
        &self,
        operation: &'static str,
        table: usize,
    ) -> Result<Option<Reservation>> {
        let good = self.shared.retention.good_numbers(self.shared.clock().unix_ms());
        let take = move |content: &Content<'_>| {
            content.keep_numbers(table)?;
            content.take_of_block(table, good)
        };
        self.change_file(operation, Some(Step::TakeNumber), Durability::Full, take).await
    }

    fn none_is_kept(&self, operation: &'static str, table: usize, cause: Error) -> Error {
        let table = self.table(table);
        let message = format!(
            "{}.{}: PostgreSQL is away, and no number is kept for a new row",
            table.name(),
            table.key_name()
        );
        Error::new(Kind::Unavailable(Store::Postgres), operation, message)
            .with_hint(
                "name the key, or try again when PostgreSQL can be reached: from the first row \
                 without a key on numbers are kept for when it cannot",
            )
            .with_source(cause)
    }

    /// Adds a row under a number of its own.
    ///
    /// # Errors
    /// Those of [`Core::number`] and [`Core::write`].
    pub async fn add_numbered(
        &self,
        operation: &'static str,
        table: usize,
        values: Vec<Value>,
    ) -> Result<Written<Rows>> {
        for _ in 0..TRIES {
            let (id, kept) = self.number(operation, table).await?;
            let insert = Intent::Change(Change::Insert(values.clone()));
            let plan = WritePlan {
                operation,
                intents: vec![(id.clone(), insert)],
                numbers: [(id, kept)].into(),
                reads: Vec::new(),
            };
            match self.write(plan).await {
                // Somebody has named it, or an outside program's row has come to it in the file.
                Err(error) if error.is_already_exists() => {}
                written => return written,
            }
        }
        let what = format!("each of {TRIES} numbers of {}", self.table(table).name());
        Err(already_exists(operation, &what))
    }
}
