//! A row of the server with its sidecar, as every read of this room takes it.

use tokio_postgres::Row;

use super::{RemoteRow, RemoteTable};
use crate::merge::{Register, Version};
use crate::schema::{Key, RowId};
use crate::stamp::Stamp;
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::capture::array_of_stamps;
use crate::value::Value;
use crate::{Error, Kind, Result, Store};

/// The settings under which a statement of this room can only go by key: a plan is made for
/// tables that were perhaps never analysed, and one that reads them whole would be taken for
/// cheap.
pub(super) const BY_KEY: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
     SET LOCAL enable_mergejoin = off";

/// How many columns [`RemoteTable::select_list`] has.
pub(super) const COLUMNS: usize = 8;

/// A value as the server writes it; `None`: NULL.
pub(super) type Text = Option<String>;

/// What is read of a row, before it is judged.
#[derive(Clone, Debug)]
pub(super) struct RowAsRead {
    /// The key.
    pub key: Key,
    /// Whether the sidecar says that it lives.
    pub live: bool,
    /// The stamp of its insert or delete.
    pub stamp: i64,
    /// The transaction that changed it last.
    pub txid: i64,
    /// The stamps of the data columns, those of the row where they have none.
    pub stamps: Vec<i64>,
    /// Whether the table has it.
    pub present: bool,
    /// The surrogate, if the table has it.
    pub surrogate: Option<i64>,
    /// The data columns as `column::text`, under ISO dates and UTC, and the position of one that is
    /// too long ([`Layout::texts`](crate::store::postgres::capture::Layout)).
    pub values: Vec<Text>,
    /// Of a row that was loaded past the triggers the table is believed. The feed believes the
    /// sidecar, until it is noted there: others would hear of it once only.
    pub as_it_stands: bool,
}

impl RemoteTable {
    /// Reads rows with their sidecar, the sidecar as `s` and the table as `u`; conditions may
    /// follow. The transaction has to have the text forms of [`super::Session::begin`].
    pub(super) fn select(&self) -> String {
        format!("SELECT {} {}", self.select_list(), self.joined())
    }

    /// The columns that [`RemoteTable::decode`] reads, [`COLUMNS`] of them. Of a row that the sidecar
    /// does not know yet they are those of one that was there before.
    pub(super) fn select_list(&self) -> String {
        let layout = &self.layout;
        let adopted = Stamp::ADOPTED_POSTGRES.raw();
        format!(
            "coalesce({own}, {given}), coalesce(s.live, true), \
             coalesce(s.stamp, {adopted}), coalesce(s.txid, 0), {stamps}, \
             {key} IS NOT NULL, {surrogate}::bigint, ARRAY[{values}]",
            stamps = array_of_stamps(
                &layout.each(", ", |r| format!("coalesce(s.{}, s.stamp, {adopted})", r.stamp))
            ),
            own = layout.own_key.given("s"),
            given = layout.key.given("u"),
            key = layout.key.first("u"),
            surrogate = layout.number("u"),
            values = layout.texts("u"),
        )
    }

    /// The sidecar with the rows that it tells of.
    pub(super) fn joined(&self) -> String {
        let (sidecar, target, is_of) =
            (&self.layout.sidecar, &self.layout.target, self.layout.is_of("s"));
        format!("FROM {sidecar} AS s LEFT JOIN {target} AS u ON {is_of}")
    }

    /// Reads what [`RemoteTable::select_list`] gave, the first columns of a row.
    ///
    /// # Errors
    /// Internal if the server answers in another form.
    pub(super) fn decode(
        &self,
        table: usize,
        row: &Row,
        operation: &'static str,
    ) -> Result<RemoteRow> {
        let parts = RowAsRead {
            key: column(row, 0, operation)?,
            live: column(row, 1, operation)?,
            stamp: column(row, 2, operation)?,
            txid: column(row, 3, operation)?,
            stamps: column(row, 4, operation)?,
            present: column(row, 5, operation)?,
            surrogate: column(row, 6, operation)?,
            values: column(row, 7, operation)?,
            as_it_stands: false,
        };
        self.judge(table, parts, operation)
    }

    /// Reads what the function `get` gave.
    ///
    /// # Errors
    /// Internal if the server answers in another form.
    pub(super) fn decode_texts(
        &self,
        id: &RowId,
        texts: &[Text],
        operation: &'static str,
    ) -> Result<RemoteRow> {
        let columns = self.layout.registers.len();
        let text = |at: usize| texts.get(at).and_then(Option::as_deref);
        let number = |at| text(at).and_then(|text| text.parse::<i64>().ok());
        let needed = |at| number(at).ok_or_else(|| unexpected(operation));
        let parts = RowAsRead {
            key: id.key.clone(),
            live: text(0) == Some("true"),
            stamp: needed(1)?,
            txid: needed(2)?,
            present: text(3) == Some("true"),
            surrogate: number(4),
            stamps: (5..5 + columns).map(needed).collect::<Result<_>>()?,
            values: texts.iter().skip(5 + columns).cloned().collect(),
            as_it_stands: true,
        };
        self.judge(id.table, parts, operation)
    }

    /// The row that was read. What cannot be carried is NULL here and `unreadable`. One that lives by
    /// its sidecar and is not in the table was taken away past the triggers
    /// ([`Version::is_absent`]).
    ///
    /// # Errors
    /// Internal if the sidecar holds what nobody of ours writes.
    pub(super) fn judge(
        &self,
        table: usize,
        parts: RowAsRead,
        operation: &'static str,
    ) -> Result<RemoteRow> {
        let id = RowId::new(table, &parts.key);
        let stamp = |raw| {
            Stamp::from_raw(raw)
                .ok_or_else(|| no_stamp(operation, &self.layout.sidecar, &parts.key))
        };
        let txid = u64::try_from(parts.txid).map_err(|_| unexpected(operation))?;
        let live = Register { stamp: stamp(parts.stamp)?, value: parts.live };
        // The sidecar has it as a row of which nothing is known.
        let is_noted = parts.live && live.stamp == Stamp::ZERO;
        let is_loose = (parts.live && !is_noted) != parts.present;
        let bare = match parts.live || parts.present && parts.as_it_stands {
            false => Some(Version { live, columns: Vec::new() }.stored(&self.defaults)),
            true if !parts.present || (is_noted && !parts.as_it_stands) => {
                Some(Version::absent(self.defaults.len()))
            }
            true => None,
        };
        if let Some(version) = bare {
            let (surrogate, unreadable) = (None, None);
            return Ok(RemoteRow { id, surrogate, version, txid, unreadable, is_loose });
        }
        if parts.values.len() != self.layout.registers.len() + 1 {
            return Err(has_more(operation, self.layout.name()));
        }
        // One that was loaded over what the sidecar has as dead lives, whatever that says.
        let live = Register { value: true, stamp: live.stamp.max(Stamp::ADOPTED_POSTGRES) };
        let long = parts.values.get(self.layout.registers.len()).and_then(Option::as_deref);
        let mut unreadable = long.and_then(|position| position.parse().ok());
        if !self.table.takes_key(&id.key) {
            unreadable.get_or_insert(self.layout.registers.len());
        }
        let mut columns = Vec::with_capacity(parts.values.len());
        let read = self.layout.registers.iter().zip(parts.stamps).zip(parts.values).enumerate();
        for (position, ((register, raw), text)) in read {
            let value = match text {
                None => Value::Null,
                Some(text) => register.kind.parse(text).unwrap_or_else(|| {
                    unreadable.get_or_insert(position);
                    Value::Null
                }),
            };
            columns.push(Register { stamp: stamp(raw)?, value });
        }
        let version = Version { live, columns };
        let surrogate = parts.surrogate;
        Ok(RemoteRow { id, surrogate, version, txid, unreadable, is_loose })
    }
}

/// The sidecar holds what no writer of ours has put there.
fn no_stamp(operation: &'static str, sidecar: &str, key: &Key) -> Error {
    let message = format!("what {sidecar} has of the key {key} is no stamp");
    Error::new(Kind::Schema(Store::Postgres), operation, message)
        .with_hint("somebody has written it: `dual repair --stamps` sets it back")
}

/// What is installed gives other columns than this process knows: it has to look again. If it was a write,
/// nobody has read what became of it.
fn has_more(operation: &'static str, table: &str) -> Error {
    let message =
        format!("the table {table} has got columns since this program looked at PostgreSQL");
    Error::new(Kind::OutcomeUnknown(Store::Postgres), operation, message)
}
