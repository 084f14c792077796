//! Who the server is: the header of every look at it, the tokens, the numbers of writers.

use std::str::FromStr;

use rand::random;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::row::Text;
use super::{Header, Primary};
use crate::phase::timed;
use crate::protocol::{Epoch, Snapshot, Token};
use crate::stamp::{Stamp, Writer};
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::{Access, Call, Parameter, Session};
use crate::{Error, Kind, Result, Store};

/// One value, as [`Header::read`] takes it; none without an installation. `$1` is the file as
/// text, `$2` what [`Primary::relations`] says.
pub(super) fn header(session: &Session) -> String {
    format!("SELECT {}.header($1::text::uuid, $2)", session.schema())
}

/// How many texts there are in a header.
pub(super) const HEADER_TEXTS: usize = 11;

/// What follows the object ids: how often rows were found that were taken away past the triggers.
const GAPS: &str = "gaps";

/// How many relations each table has.
const OF_A_TABLE: usize = 3;

const OPERATION: &str = "look at PostgreSQL's state";

impl Header {
    /// Reads the answer to [`header`], texts in the order of `dual.header`.
    ///
    /// # Errors
    /// About the schema if there is no installation; internal if the answer has another form.
    pub(super) fn read(answer: Option<&[Text]>, relations: &[String]) -> Result<Header> {
        let Some(texts) = answer else {
            return Err(Error::new(
                Kind::Schema(Store::Postgres),
                OPERATION,
                "the installation has no row",
            )
            .with_hint("run `dual init --apply`"));
        };
        let text = |at: usize| texts.get(at).and_then(Option::as_deref);
        let token = |at| text(at).map(|text| Ok(Token(uuid(text)?.as_u128()))).transpose();
        let ids: Result<Vec<i64>> =
            text(5).unwrap_or_default().split_whitespace().map(|id| number(Some(id))).collect();
        let timeline = text(2).and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let (relations, tables) = digests(relations, &ids?);
        let epoch = Epoch {
            token: token(0)?,
            life: token(1)?,
            timeline: timeline.ok_or_else(|| unexpected(OPERATION))?,
            system: number::<i64>(text(3))?.cast_unsigned(),
            database: number(text(4))?,
            relations,
            installation: uuid(text(6).unwrap_or_default())?.as_u128(),
        };
        Ok(Header {
            epoch,
            tables,
            snapshot: number::<Snapshot>(text(7))?,
            now_ms: number(text(8))?,
            horizon: Stamp::from_raw(number(text(9))?).ok_or_else(|| unexpected(OPERATION))?,
            purged: text(10).map(|txid| number(Some(txid))).transpose()?,
        })
    }
}

impl Primary<'_> {
    /// What belongs to the epoch, by name.
    pub(super) fn relations(&self) -> Vec<String> {
        let tables = self.tables.iter().flat_map(|table| table.layout.relations());
        std::iter::once(format!("{}.token", self.session.schema())).chain(tables).collect()
    }

    /// Who the server is, without rows; one round trip.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`]; about the schema if nothing is
    /// installed; unavailable if the server is in recovery.
    pub async fn header(&self) -> Result<Header> {
        // In a transaction for what that begins with: nothing is compiled for it.
        timed("look at the server", self.look(true)).await
    }

    /// The same, as the session's open transaction sees it.
    ///
    /// # Errors
    /// As for [`Primary::header`].
    pub(super) async fn header_in(&self) -> Result<Header> {
        self.look(false).await
    }

    async fn look(&self, alone: bool) -> Result<Header> {
        let relations = self.relations();
        let file = self.file.to_string();
        let parameters: [Parameter<'_>; 2] = [(&file, Type::TEXT), (&relations, Type::TEXT_ARRAY)];
        let sql = header(self.session);
        let rows = if alone {
            self.session.ask(OPERATION, &sql, &parameters).await?
        } else {
            self.session.query(OPERATION, &sql, &parameters).await?
        };
        let answer: Option<Vec<Text>> =
            rows.first().map(|row| column(row, 0, OPERATION)).transpose()?;
        Header::read(answer.as_deref(), &relations)
    }

    /// Sets the file's token if it is still the one `seen`; the server's own if it has none.
    /// False if another process was faster, unless with the same token: processes of one file
    /// propose the same, and of many that begin at once each would else begin again.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`].
    pub async fn rotate(&self, seen: Option<Token>, fresh: Token) -> Result<bool> {
        let operation = "set the file's token on PostgreSQL";
        let text = |token: Token| Uuid::from_u128(token.0).to_string();
        let (file, fresh, seen) = (self.file.to_string(), text(fresh), seen.map(text));
        // Not the file's: that one is written down, and a copy of the file can give it once more
        // to a server that was restored meanwhile.
        let own_life = text(Token(random()));
        let dual = self.session.schema();
        let known = format!(
            "INSERT INTO {dual}.token (file, token) VALUES ($1::text::uuid, $2::text::uuid)"
        );
        let life = Call {
            sql: &format!("{known} ON CONFLICT (file) DO NOTHING"),
            parameters: &[(&Uuid::nil().to_string(), Type::TEXT), (&own_life, Type::TEXT)],
        };
        let both: [Parameter<'_>; 2] = [(&file, Type::TEXT), (&fresh, Type::TEXT)];
        let three: [Parameter<'_>; 3] =
            [(&file, Type::TEXT), (&fresh, Type::TEXT), (&seen, Type::TEXT)];
        let own = if seen.is_none() {
            Call {
                sql: &format!(
                    "{known} ON CONFLICT (file) DO UPDATE SET token = excluded.token \
                     WHERE token.token = excluded.token RETURNING true"
                ),
                parameters: &both,
            }
        } else {
            Call {
                sql: &format!(
                    "UPDATE {dual}.token SET token = $2::text::uuid WHERE file = $1::text::uuid \
                     AND token IN ($3::text::uuid, $2::text::uuid) RETURNING true"
                ),
                parameters: &three,
            }
        };
        let answers = self.session.transact(operation, Access::Write, &[life, own]).await?;
        Ok(answers.get(1).is_some_and(|rows| !rows.is_empty()))
    }

    /// Claims writer numbers for the file; returns those that belong to another one, each with
    /// a free one that was claimed instead.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::commit`]; configuration if all numbers are
    /// taken.
    pub async fn claim_numbers(&self, numbers: &[Writer]) -> Result<Vec<(Writer, Writer)>> {
        let operation = "claim writer numbers on PostgreSQL";
        let session = self.session;
        let file = self.file.to_string();
        let wanted: Vec<i32> = numbers.iter().map(|writer| writer.number().into()).collect();
        // As nearly always: a process takes over the number of one that is gone. Nobody gives
        // back what it has claimed, so there is nothing to lock.
        let dual = session.schema();
        let held = session
            .ask(
                operation,
                &format!(
                    "SELECT FROM unnest($1) AS n WHERE NOT EXISTS (SELECT FROM {dual}.writer AS w \
                 WHERE w.number = n AND w.file = $2::text::uuid)"
                ),
                &[(&wanted, Type::INT4_ARRAY), (&file, Type::TEXT)],
            )
            .await?;
        if held.is_empty() {
            return Ok(Vec::new());
        }
        session.begin(operation).await?;
        // Nobody else may take what is found to be free.
        session
            .batch(operation, &format!("LOCK TABLE {dual}.writer IN SHARE ROW EXCLUSIVE MODE"))
            .await?;
        let own: [Parameter<'_>; 2] = [(&wanted, Type::INT4_ARRAY), (&file, Type::TEXT)];
        session
            .execute(
                operation,
                &format!(
                    "INSERT INTO {dual}.writer (number, file) SELECT DISTINCT n, $2::text::uuid \
                 FROM unnest($1) AS n ON CONFLICT (number) DO NOTHING"
                ),
                &own,
            )
            .await?;
        let foreign = session
            .query(
                operation,
                &format!(
                    "SELECT number FROM {dual}.writer WHERE number = ANY ($1) \
                 AND file <> $2::text::uuid ORDER BY number"
                ),
                &own,
            )
            .await?;
        let count = i64::try_from(foreign.len()).unwrap_or(i64::MAX);
        // Any of them: files that have not been here yet have chosen theirs by chance, too.
        let free = session
            .query(
                operation,
                &format!(
                    "INSERT INTO {dual}.writer (number, file) SELECT n, $2::text::uuid \
                 FROM generate_series(1, 16383) AS n \
                 WHERE NOT EXISTS (SELECT FROM {dual}.writer AS w WHERE w.number = n) \
                 ORDER BY random() LIMIT $1 RETURNING number"
                ),
                &[(&count, Type::INT8), (&file, Type::TEXT)],
            )
            .await?;
        if free.len() < foreign.len() {
            session.rollback(operation).await?;
            return Err(Error::new(Kind::Configuration, operation, "all numbers are taken")
                .with_hint(format!("delete the rows of files that are gone from {dual}.writer")));
        }
        session.commit(operation).await?;
        foreign.iter().zip(&free).map(|(old, new)| Ok((writer(old)?, writer(new)?))).collect()
    }

    /// Leaves word on the server, for people, of when the file was here and how far it is.
    ///
    /// # Errors
    /// As for [`crate::store::postgres::Session::query`].
    pub async fn sign(&self, cursor: Option<&Snapshot>) -> Result<()> {
        let (file, cursor) = (self.file.to_string(), cursor.map(Snapshot::to_string));
        let sql = format!(
            "INSERT INTO {}.node (file, seen, cursor) \
             VALUES ($1::text::uuid, clock_timestamp(), $2) ON CONFLICT (file) \
             DO UPDATE SET seen = excluded.seen, cursor = excluded.cursor",
            self.session.schema()
        );
        let parameters: [Parameter<'_>; 2] = [(&file, Type::TEXT), (&cursor, Type::TEXT)];
        self.session.repeat("leave word on PostgreSQL", &sql, &parameters).await.map(|_| ())
    }
}

/// What the epoch says of the relations that are named, the token's and then three of each table, with
/// these object ids and the count of gaps; and each table's part of that. It is a sum, so that a table can
/// come and go and the others are what they were.
fn digests(names: &[String], ids: &[i64]) -> (u64, Vec<u64>) {
    let names = names.iter().map(String::as_str).chain([GAPS]);
    let named: Vec<(&str, i64)> = names.zip(ids.iter().copied()).collect();
    let [token, tables @ .., gaps] = named.as_slice() else { return (digest(&named), Vec::new()) };
    let each: Vec<u64> = tables.chunks(OF_A_TABLE).map(digest).collect();
    (each.iter().fold(digest(&[*token, *gaps]), |sum, one| sum.wrapping_add(*one)), each)
}

/// The numbers under their names, as one number: FNV-1a of 64 bits, because it is kept in
/// files and must not change with the program.
fn digest(named: &[(&str, i64)]) -> u64 {
    let bytes = named.iter().flat_map(|(name, id)| name.bytes().chain([0]).chain(id.to_be_bytes()));
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

fn writer(row: &Row) -> Result<Writer> {
    let number: i32 = column(row, 0, OPERATION)?;
    u16::try_from(number).ok().and_then(Writer::new).ok_or_else(|| unexpected(OPERATION))
}

fn number<T: FromStr>(text: Option<&str>) -> Result<T> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| unexpected(OPERATION))
}

fn uuid(text: &str) -> Result<Uuid> {
    Uuid::parse_str(text).map_err(|_| unexpected(OPERATION))
}

#[cfg(test)]
mod tests {
    use super::{digest, digests};

    #[test]
    fn a_table_that_comes_changes_nothing_of_the_others() {
        let names = |tables: &[&str]| -> Vec<String> {
            let of = |table: &&str| ["", "_side", "()"].map(|end| format!("{table}{end}"));
            std::iter::once("token".to_owned()).chain(tables.iter().flat_map(of)).collect()
        };
        let (one, of_one) = digests(&names(&["a"]), &[1, 10, 11, 12, 0]);
        let (two, of_two) = digests(&names(&["a", "b"]), &[1, 10, 11, 12, 20, 21, 22, 0]);
        assert_eq!((of_one[0], two), (of_two[0], one.wrapping_add(of_two[1])));
        let (replaced, of_replaced) = digests(&names(&["a"]), &[1, 13, 11, 12, 0]);
        assert!(replaced != one && of_replaced != of_one);
        for other in [[2, 10, 11, 12, 0], [1, 10, 11, 12, 1]] {
            let (other, tables) = digests(&names(&["a"]), &other);
            assert!(other != one && tables == of_one);
        }
    }

    #[test]
    fn names_and_ids_both_count_and_the_number_is_for_ever() {
        let of = |name: &str, id| digest(&[(name, id)]);
        assert_eq!(of("dual.token", 16_384), of("dual.token", 16_384));
        assert_ne!(of("dual.token", 16_384), of("dual.token", 16_385));
        assert_ne!(of("dual.token", 16_384), of("dual.tokens", 16_384));
        assert_eq!(digest(&[]), 0xcbf2_9ce4_8422_2325);
    }
}
