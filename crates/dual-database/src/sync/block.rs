//! Numbers that are kept for rows that the library adds to the file while PostgreSQL is away.

use tracing::{debug, warn};

use super::round_state::{Flow, RoundState};
use super::rounds::Rounds;
use crate::Result;
use crate::protocol::{Epoch, Follow, Wanted};
use crate::stamp::Writer;
use crate::store::postgres::primary::Kept;
use crate::store::sqlite::replica::Durability;

/// What the file's blocks lack.
#[derive(Clone, Debug)]
pub(super) struct Lacking {
    /// How many, of which tables.
    tables: Vec<Wanted>,
    /// The number of the file's triggers.
    writer: Writer,
    /// The server for which it was read.
    followed: Epoch,
    /// The generation of the file that it was read from.
    generation: u64,
}

impl Rounds {
    /// What is to be kept, if anything is; it is this process that asks for it then.
    pub(super) async fn lacking_numbers(&self) -> Result<Option<Lacking>> {
        let operation = "look for numbers";
        let lasting = self.shared.retention.lasting_numbers(self.shared.clock().unix_ms());
        if self.read(operation, move |content| content.lacking_numbers(lasting)).await?.is_empty() {
            return Ok(None);
        }
        self.write(operation, Durability::Normal, move |content| {
            let tables = content.lacking_numbers(lasting)?;
            content.asks_numbers(&tables)?;
            let node = content.node()?;
            let Follow::Following { epoch: followed, .. } = node.follow else { return Ok(None) };
            let (writer, generation) = (node.number, content.generation());
            Ok((!tables.is_empty()).then_some(Lacking { tables, writer, followed, generation }))
        })
        .await
    }

    /// Has PostgreSQL keep them. What is wrong with a table's numbers is told to whoever needs one.
    pub(super) async fn keep_numbers(&mut self, lacking: Lacking) -> Result<Flow> {
        let link = self.take_link("keep numbers")?;
        let primary = self.primary(&link);
        let (tables, writer) = (&lacking.tables, lacking.writer);
        let kept = primary.keep_numbers(tables, writer, Some(&lacking.followed)).await;
        self.put_link(link);
        let Some(kept) = kept? else {
            // The next connection finds out what has become of it.
            self.drop_link();
            return Flow::more();
        };
        for (table, why) in &kept.refused {
            let table = self.shared.tables.get(*table).map_or("?", |table| table.name());
            warn!(table, error = why.chain(), "no numbers can be kept for rows without a key");
        }
        if kept.numbers.is_empty() {
            return Flow::idle();
        }
        Flow::to(RoundState::NoteNumbers(Box::new((lacking, kept))))
    }

    /// Writes them down.
    pub(super) async fn note_numbers(&mut self, lacking: Lacking, kept: Kept) -> Result<Flow> {
        let good = self.shared.retention.good_numbers(self.shared.clock().unix_ms());
        let numbers = kept.numbers.len();
        self.write("note kept numbers", Durability::Full, move |content| {
            // What was kept for the file that was here before is nobody's.
            match content.generation() == lacking.generation {
                true => content.note_numbers(lacking.writer, good, &kept.numbers),
                false => Ok(()),
            }
        })
        .await?;
        debug!(numbers, "numbers were kept for rows without a key");
        Flow::idle()
    }
}
