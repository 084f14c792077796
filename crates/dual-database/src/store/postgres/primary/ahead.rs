//! Stamps that lie in the future, or are none: how many there are, and what sets them back.

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::{Primary, RemoteTable};
use crate::Result;
use crate::protocol::{Ahead, SetBack};
use crate::stamp::Stamp;
use crate::store::postgres::Parameter;
use crate::store::postgres::answer::{column, unexpected};

const OPERATION: &str = "look for stamps of the future in PostgreSQL";

impl Primary<'_> {
    /// How many rows of each table have a stamp above `limit`, or one that is none.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub async fn ahead(&self, limit: Stamp) -> Result<Vec<Ahead>> {
        let mut found = Vec::with_capacity(self.tables.len());
        let limit = limit.raw();
        let parameters: [Parameter<'_>; 1] = [(&limit, Type::INT8)];
        for table in self.tables {
            let stamps = stamps(table);
            let sql = format!(
                "SELECT count(*), max(greatest({})) FROM {} AS s WHERE {}",
                stamps.join(", "),
                table.layout.sidecar,
                is_beyond(&stamps)
            );
            let rows = self.session.ask(OPERATION, &sql, &parameters).await?;
            let row = rows.first().ok_or_else(|| unexpected(OPERATION))?;
            let rows: i64 = column(row, 0, OPERATION)?;
            let highest: Option<i64> = column(row, 1, OPERATION)?;
            found.push(Ahead {
                rows: u64::try_from(rows).map_err(|_| unexpected(OPERATION))?,
                highest: highest.and_then(Stamp::from_raw),
            });
        }
        Ok(found)
    }

    /// Sets back what lies in the future, or is no stamp, in one transaction: everybody who writes is
    /// waited for, and waits. Every file learns of it by the epoch, which becomes another one, and by
    /// what is kept of it ([`Primary::set_backs`]).
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`]. Nothing was changed then, unless it was the
    /// answer that was lost.
    pub async fn set_back(&self) -> Result<SetBack> {
        let operation = "set back stamps of the future in PostgreSQL";
        self.session.begin(operation).await?;
        let done = self.set_back_in(operation).await;
        self.end(done, operation).await
    }

    async fn set_back_in(&self, operation: &'static str) -> Result<SetBack> {
        // Whoever has looked at a stamp of the future holds the table from before that.
        let targets: Vec<&str> = self.tables.iter().map(|t| t.layout.target.as_str()).collect();
        let locks = format!(
            "LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE; {}",
            targets.join(", "),
            self.sidecars_locked()
        );
        self.session.batch(operation, &locks).await?;
        let clock = "SELECT floor(date_part('epoch', clock_timestamp()) * 1000)::bigint";
        let rows = self.session.query(operation, clock, &[]).await?;
        let now_ms = column(rows.first().ok_or_else(|| unexpected(operation))?, 0, operation)?;
        let limit = SetBack::limit(now_ms);
        let mut highest = Stamp::ZERO;
        for table in self.tables {
            highest = highest.max(self.highest(table, limit, operation).await?);
        }
        let one = SetBack::at(Uuid::now_v7().as_u128(), now_ms, highest);
        let (limit, stamp) = (one.limit.raw(), one.stamp.raw());
        let bounds: [Parameter<'_>; 2] = [(&limit, Type::INT8), (&stamp, Type::INT8)];
        for table in self.tables {
            let stamps = stamps(table);
            let set = |s: &String| {
                let name = s.trim_start_matches("s.");
                format!("{name} = CASE WHEN {s} NOT BETWEEN 0 AND $1 THEN $2 ELSE {s} END")
            };
            let sql = format!(
                "UPDATE {} AS s SET txid = txid_current(), {} WHERE {}",
                table.layout.sidecar,
                stamps.iter().map(set).collect::<Vec<_>>().join(", "),
                is_beyond(&stamps)
            );
            self.session.execute(operation, &sql, &bounds).await?;
        }
        let dual = self.session.schema();
        let sql = format!(
            "UPDATE {dual}.installation SET gaps = gaps + 1, \
             horizon = CASE WHEN horizon NOT BETWEEN 0 AND $1 THEN $2 ELSE horizon END"
        );
        self.session.execute(operation, &sql, &bounds).await?;
        let sql = format!(
            "INSERT INTO {dual}.set_back (highest, stamp, id) VALUES ($1, $2, $3::text::uuid)"
        );
        let id = Uuid::from_u128(one.id).to_string();
        let [limit, stamp] = bounds;
        self.session.execute(operation, &sql, &[limit, stamp, (&id, Type::TEXT)]).await?;
        Ok(one)
    }

    /// The highest stamp of a table up to `limit`.
    async fn highest(
        &self,
        table: &RemoteTable,
        limit: Stamp,
        operation: &'static str,
    ) -> Result<Stamp> {
        let sound = |s: String| format!("CASE WHEN {s} <= $1 THEN {s} END");
        let sound: Vec<String> = stamps(table).into_iter().map(sound).collect();
        let sql = format!(
            "SELECT coalesce(max(greatest({}, 0)), 0) FROM {} AS s",
            sound.join(", "),
            table.layout.sidecar
        );
        let rows = self.session.query(operation, &sql, &[(&limit.raw(), Type::INT8)]).await?;
        let raw = column(rows.first().ok_or_else(|| unexpected(operation))?, 0, operation)?;
        Stamp::from_raw(raw).ok_or_else(|| unexpected(operation))
    }

    /// Everything that was ever set back here, in its order.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub async fn set_backs(&self) -> Result<Vec<SetBack>> {
        let operation = "read what was set back in PostgreSQL";
        let dual = self.session.schema();
        let sql = format!("SELECT id::text, highest, stamp FROM {dual}.set_back ORDER BY number");
        let rows = self.session.ask(operation, &sql, &[]).await?;
        let stamp = |row, at| {
            Stamp::from_raw(column(row, at, operation)?).ok_or_else(|| unexpected(operation))
        };
        rows.iter()
            .map(|row| {
                let id: String = column(row, 0, operation)?;
                let id = Uuid::parse_str(&id).map_err(|_| unexpected(operation))?;
                Ok(SetBack { id: id.as_u128(), limit: stamp(row, 1)?, stamp: stamp(row, 2)? })
            })
            .collect()
    }
}

/// The columns of the sidecar `s` that hold stamps.
fn stamps(table: &RemoteTable) -> Vec<String> {
    let own = table.layout.stamps().map(|stamp| format!("s.{stamp}"));
    std::iter::once("s.stamp".to_owned()).chain(own).collect()
}

/// One of them is none, or above `$1`.
fn is_beyond(stamps: &[String]) -> String {
    let beyond = |stamp: &String| format!("{stamp} NOT BETWEEN 0 AND $1");
    stamps.iter().map(beyond).collect::<Vec<_>>().join(" OR ")
}
