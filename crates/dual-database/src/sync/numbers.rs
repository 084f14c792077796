//! Births under numbers that a side hands out: PostgreSQL is asked for each before it is pushed.

use std::collections::BTreeMap;

use tracing::{debug, info, warn};

use super::round_state::{Flow, RoundState};
use super::rounds::Rounds;
use crate::Result;
use crate::protocol::{Epoch, Surrogate};
use crate::schema::RowId;
use crate::stamp::Writer;
use crate::store::postgres::primary::Reserved;
use crate::store::sqlite::replica::{Content, Durability, Numbered, Unsent};

/// How many births of a table are asked about at once.
pub(super) const AT_ONCE: usize = 2_000;

/// Births that are on their way to PostgreSQL to be asked about.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) unsent: Unsent,
    /// The number of the file's triggers.
    pub(super) writer: Writer,
    /// The server for which they were read.
    pub(super) followed: Epoch,
    /// The generation of the file that they were read from.
    pub(super) generation: u64,
}

impl Rounds {
    /// Has PostgreSQL keep a number for each.
    pub(super) async fn reserve(&mut self, asked: Asked) -> Result<Flow> {
        if asked.unsent.alive.is_empty() && asked.unsent.surrogates.is_empty() {
            return Flow::to(RoundState::Number(Box::new((asked, Reserved::default()))));
        }
        let link = self.take_link("reserve numbers")?;
        let primary = self.primary(&link);
        // They are asked for outside a transaction: another server would number rows for this one.
        if !asked.unsent.surrogates.is_empty()
            && !primary.header().await?.epoch.is_server_of(&asked.followed)
        {
            self.drop_link();
            return Flow::more();
        }
        let surrogates = primary.surrogates(&asked.unsent.surrogates).await?;
        if asked.unsent.alive.is_empty() {
            self.put_link(link);
            let reserved = Reserved { surrogates, ..Reserved::default() };
            return Flow::to(RoundState::Number(Box::new((asked, reserved))));
        }
        let Unsent { alive, highest, .. } = &asked.unsent;
        let reserved = primary.reserve(alive, highest, asked.writer, &asked.followed).await;
        self.put_link(link);
        match reserved? {
            Some(reserved) => {
                let reserved = Reserved { surrogates, ..reserved };
                Flow::to(RoundState::Number(Box::new((asked, reserved))))
            }
            // The next connection finds out what has become of it.
            None => {
                self.drop_link();
                Flow::more()
            }
        }
    }

    /// Writes down what is kept, on disk before anything is pushed under it, and moves what has to move.
    /// Then what is pending is read again: a row must not go before what it refers to has its number.
    pub(super) async fn number(&mut self, asked: Asked, reserved: Reserved) -> Result<Flow> {
        let work = move |content: &Content<'_>| {
            let mut moved = BTreeMap::<usize, usize>::new();
            let mut followed = BTreeMap::<usize, usize>::new();
            let mut refused = 0_usize;
            if content.generation() != asked.generation {
                return Ok((moved, followed, refused));
            }
            content.forget_given()?;
            let said: BTreeMap<&RowId, &Surrogate> =
                reserved.surrogates.iter().map(|(id, said)| (id, said)).collect();
            for (id, _) in &asked.unsent.surrogates {
                if content.take_surrogate(id, said.get(id).copied())? {
                    *followed.entry(id.table).or_default() += 1;
                }
            }
            for id in &asked.unsent.dead {
                let row = content.row(id)?.map(|row| row.tracked);
                let is_dead = |row: &_| content.is_unsent(id, row) && !row.version.live.value;
                if let Some(row) = row.filter(is_dead) {
                    content.leave_number(id, &row)?;
                }
            }
            for (id, why) in &reserved.refused {
                let row = content.row(id)?.map(|row| row.tracked);
                if row.is_some_and(|row| content.is_unsent(id, &row)) {
                    content.refuse_number(id, why)?;
                    refused += 1;
                }
            }
            for (id, kept) in &reserved.kept {
                match content.take_number(id, *kept)? {
                    Numbered::Moved => *moved.entry(id.table).or_default() += 1,
                    Numbered::Refused => refused += 1,
                    Numbered::Done | Numbered::Again => {}
                }
            }
            Ok((moved, followed, refused))
        };
        let (moved, followed, refused) =
            self.write_many("number rows", Durability::Full, work).await?;
        for (table, rows) in moved {
            let table = self.shared.tables.get(table).map_or("?", |table| table.name());
            info!(table, rows, "rows took other numbers: PostgreSQL had theirs (`dual conflicts`)");
        }
        for (table, rows) in followed {
            let table = self.shared.tables.get(table).map_or("?", |table| table.name());
            debug!(table, rows, "rows have PostgreSQL's numbers, and what refers to them follows");
        }
        if refused > 0 {
            warn!(rows = refused, "rows cannot take other numbers, and are in quarantine");
        }
        debug!("numbers were written down");
        Flow::to(RoundState::PushRead)
    }
}
