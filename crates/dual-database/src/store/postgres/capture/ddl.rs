//! The tables that stand beside the user's, and what fills and reads them. Pure text.

use super::layout::{Layout, next};
use crate::schema::quoted_text;

/// The version of everything in the schema `dual`.
pub const FORMAT: i32 = 5;

/// What every installation has, whatever its tables: each statement can be repeated.
///
/// `token` is UNLOGGED so that crash recovery, promotion and a restore empty it.
/// It is keyed by the file; the nil uuid has the server's own. `missed` names the tables of which a
/// change could not be captured. `node` and the cursors in it are for people to look at. What was there
/// before anybody looked has the same stamps (up to 3) in every file that joins: in the log it is told
/// apart by its value. `set_back` keeps for good what a person has decided about stamps of the future
/// ([`crate::sync::SetBack`]): a file may be away for long.
pub const COMMON: [&str; 16] = [
    "CREATE SCHEMA IF NOT EXISTS dual",
    "CREATE TABLE IF NOT EXISTS dual.installation (\n  \
       one boolean PRIMARY KEY DEFAULT true CHECK (one),\n  \
       format integer NOT NULL,\n  \
       id uuid NOT NULL,\n  \
       horizon bigint NOT NULL DEFAULT 0,\n  \
       purged bigint,\n  \
       gaps bigint NOT NULL DEFAULT 0\n)",
    "ALTER TABLE dual.installation ADD COLUMN IF NOT EXISTS gaps bigint NOT NULL DEFAULT 0",
    "CREATE TABLE IF NOT EXISTS dual.tracked (\n  \
       name text PRIMARY KEY,\n  \
       target oid NOT NULL,\n  \
       triggers text NOT NULL,\n  \
       columns text NOT NULL,\n  \
       relation text\n)",
    "ALTER TABLE dual.tracked ADD COLUMN IF NOT EXISTS relation text",
    "CREATE TABLE IF NOT EXISTS dual.missed (\n  \
       name text NOT NULL,\n  \
       reason text NOT NULL,\n  \
       noted timestamptz NOT NULL DEFAULT clock_timestamp()\n)",
    "CREATE UNLOGGED TABLE IF NOT EXISTS dual.token (\n  \
       file uuid PRIMARY KEY,\n  \
       token uuid NOT NULL\n)",
    "CREATE TABLE IF NOT EXISTS dual.node (\n  \
       file uuid PRIMARY KEY,\n  \
       seen timestamptz NOT NULL,\n  \
       cursor text\n)",
    "CREATE TABLE IF NOT EXISTS dual.writer (\n  \
       number integer PRIMARY KEY CHECK (number BETWEEN 1 AND 16383),\n  \
       file uuid NOT NULL,\n  \
       claimed timestamptz NOT NULL DEFAULT clock_timestamp()\n)",
    "CREATE TABLE IF NOT EXISTS dual.set_back (\n  \
       number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n  \
       id uuid NOT NULL UNIQUE,\n  \
       highest bigint NOT NULL,\n  \
       stamp bigint NOT NULL,\n  \
       noted timestamptz NOT NULL DEFAULT clock_timestamp()\n)",
    "CREATE TABLE IF NOT EXISTS dual.conflict (\n  \
       id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n  \
       table_name text NOT NULL,\n  \
       key bigint NOT NULL,\n  \
       register text NOT NULL,\n  \
       winner bigint NOT NULL,\n  \
       loser bigint NOT NULL,\n  \
       winning text,\n  \
       losing text,\n  \
       noted timestamptz NOT NULL DEFAULT clock_timestamp(),\n  \
       reviewed boolean NOT NULL DEFAULT false\n)",
    "ALTER TABLE dual.conflict \
       DROP CONSTRAINT IF EXISTS conflict_table_name_key_register_winner_loser_key",
    "CREATE UNIQUE INDEX IF NOT EXISTS conflict_once ON dual.conflict \
       (table_name, key, register, winner, loser, \
       (CASE WHEN loser <= 3 THEN md5(coalesce(losing, '')) ELSE '' END))",
    "DROP FUNCTION IF EXISTS dual.header(uuid, text[])",
    HEADER,
    "REVOKE ALL ON FUNCTION dual.header(uuid, text[]) FROM PUBLIC",
];

/// What every look at the server tells, in one snapshot, as text (`primary/epoch.rs`): `file` asks, `relations` are functions
/// (a name with parentheses) and tables whose object ids belong to the epoch, and after them the number
/// of times that rows were found to be taken away past the triggers. No row without an installation.
///
/// A function, because its plan is kept for the session, and because on a standby it has to
/// refuse before it touches an unlogged table. It refuses, too, while a COMMIT of this role's has waited
/// for a second for a synchronous standby: another one would wait as well, with all its locks, and no
/// time-out of the server's ends that.
const HEADER: &str = "CREATE FUNCTION dual.header(file uuid, relations text[])
RETURNS SETOF text[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off AS $dual$
BEGIN
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION 'the server is in recovery' USING ERRCODE = '25006';
  END IF;
  IF current_setting('synchronous_standby_names') <> '' THEN
    IF EXISTS (SELECT FROM pg_stat_get_activity(NULL) AS a WHERE a.wait_event = 'SyncRep'
        AND a.query_start < clock_timestamp() - interval '1 s') THEN
      RAISE EXCEPTION 'commits wait for a synchronous standby' USING ERRCODE = 'DU008';
    END IF;
  END IF;
  RETURN QUERY SELECT ARRAY[
    (SELECT t.token::text FROM dual.token AS t WHERE t.file = header.file),
    (SELECT t.token::text FROM dual.token AS t
      WHERE t.file = '00000000-0000-0000-0000-000000000000'),
    left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (SELECT c.system_identifier::text FROM pg_control_system() AS c),
    (SELECT d.oid::text FROM pg_database AS d WHERE d.datname = current_database()),
    (SELECT string_agg(coalesce(CASE WHEN r.name LIKE '%()' THEN to_regprocedure(r.name)::oid
        ELSE to_regclass(r.name)::oid END, 0)::text, ' ' ORDER BY r.at)
      FROM unnest(relations) WITH ORDINALITY AS r (name, at)) || ' ' || i.gaps,
    i.id::text, txid_current_snapshot()::text,
    floor(date_part('epoch', clock_timestamp()) * 1000)::bigint::text, i.horizon::text,
    i.purged::text]
  FROM dual.installation AS i;
END
$dual$";

/// The stamp of a row that the sidecar does not know, as an expression over `dual.installation` as
/// `i`: that of rows that were there before, above the purge horizon, below which files may still
/// have an earlier life.
pub(in crate::store::postgres) fn adopted() -> String {
    let stamp = crate::stamp::Stamp::ADOPTED_POSTGRES.raw();
    format!("CASE WHEN i.horizon > 0 THEN {} ELSE {stamp} END", next("i.horizon"))
}

impl Layout {
    /// The sidecar, as it is or with what it lacks, in statements that can be repeated.
    ///
    /// `stamp` is that of `live`, and of every column that has none of its own. NULLs cost a
    /// bit each, so a row that was written once is 72 bytes whatever its width. A column that
    /// the declaration gets later counts as never set in the rows that are there.
    #[must_use]
    pub fn sidecar_ddl(&self) -> Vec<String> {
        let sidecar = &self.sidecar;
        let mut ddl = vec![
            format!(
                "CREATE TABLE IF NOT EXISTS {sidecar} (\n  \
                   key bigint PRIMARY KEY,\n  stamp bigint NOT NULL,\n  txid bigint NOT NULL,\n  \
                   live boolean NOT NULL,\n  {}\n)",
                self.each(",\n  ", |r| format!("{} bigint", r.stamp)),
            ),
            format!(
                "CREATE INDEX IF NOT EXISTS {} ON {sidecar} (txid)",
                crate::schema::quoted(&format!("side_{}_txid", self.name)),
            ),
        ];
        // The default is for the rows that are there: a new row is written by those who know.
        ddl.extend(self.registers.iter().flat_map(|r| {
            [
                format!("ADD COLUMN IF NOT EXISTS {} bigint DEFAULT 0", r.stamp),
                format!("ALTER COLUMN {} DROP DEFAULT", r.stamp),
            ]
            .map(|change| format!("ALTER TABLE {sidecar} {change}"))
        }));
        ddl
    }

    /// How many rows came past the triggers, in one pass over table and sidecar: rows that the sidecar
    /// does not know, rows that live by it and are not in the table, rows that are dead by it and are.
    #[must_use]
    pub fn loose(&self) -> String {
        format!(
            "SELECT count(*) FILTER (WHERE s.key IS NULL), \
             count(*) FILTER (WHERE s.live AND s.stamp <> 0 AND u.{key} IS NULL), \
             count(*) FILTER (WHERE (NOT s.live OR s.stamp = 0) AND u.{key} IS NOT NULL) \
             FROM {target} AS u FULL JOIN {sidecar} AS s ON s.key = u.{key}",
            sidecar = self.sidecar,
            target = self.target,
            key = self.key,
        )
    }

    /// What notes in the sidecar what came past the triggers, for all rows or for those with the
    /// keys `$1`: first those that were taken away, which is not to say that somebody has deleted
    /// them; then those that were put where the sidecar has none, as births; then those that it does
    /// not know, which were there before. Each is one statement and says how many there were.
    #[must_use]
    pub fn mend(&self, of_keys: bool) -> [String; 3] {
        let Layout { sidecar, target, key, .. } = self;
        let these = |key: String| match of_keys {
            true => format!("{key} = ANY ($1) AND "),
            false => String::new(),
        };
        let (known, found) = (these("s.key".into()), these(format!("u.{key}")));
        let there = format!("EXISTS (SELECT FROM {target} AS u WHERE u.{key} = s.key)");
        let nulls = self.each(", ", |r| format!("{} = NULL", r.stamp));
        [
            format!(
                "UPDATE {sidecar} AS s SET stamp = 0, txid = txid_current(), {nulls}\n\
                 WHERE {known}s.live AND s.stamp <> 0 AND NOT {there}",
            ),
            format!(
                "UPDATE {sidecar} AS s SET live = true, txid = txid_current(), {nulls},\n  \
                 stamp = greatest({}, (((date_part('epoch', clock_timestamp()) * 1000)::bigint \
                 - {}) << 22))\nWHERE {known}(NOT s.live OR s.stamp = 0) AND {there}",
                next(&self.highest()),
                crate::stamp::EPOCH_UNIX_MS,
            ),
            format!(
                "INSERT INTO {sidecar} (key, live, stamp, txid, {})\n\
                 SELECT u.{key}, true, {adopted}, txid_current(),\n  {}\n\
                 FROM {target} AS u, dual.installation AS i\n\
                 WHERE {found}u.{key} IS NOT NULL \
                 AND NOT EXISTS (SELECT FROM {sidecar} AS s WHERE s.key = u.{key})\n\
                 ON CONFLICT (key) DO NOTHING",
                self.each(", ", |r| r.stamp.clone()),
                self.each(",\n  ", |r| format!("CASE WHEN {} THEN i.horizon END", r.silent("u"))),
                adopted = adopted(),
            ),
        ]
    }

    /// The sidecar rows that are new since a snapshot: `$1` its xmax, `$2` its transactions in
    /// progress. Only under [`POLL_SETTINGS`] is it surely an index scan.
    #[must_use]
    pub fn changed_since(&self) -> String {
        format!(
            "SELECT key, live, stamp, txid, ARRAY[{}] FROM {} \
             WHERE txid >= $1 OR txid = ANY ($2)",
            self.each(", ", |r| format!("coalesce({}, stamp)", r.stamp)),
            self.sidecar,
        )
    }

    /// What identifies the triggers (`$1` their names) and the columns of table and sidecar as
    /// they are now, in raw terms that no upgrade of the server rewords. No row if the table is
    /// gone; a trigger that is missing, disabled or other changes the first text, and one that was
    /// disabled for a while: `xmin` tells who has changed it last.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let columns = |table: &str| {
            format!(
                "(SELECT string_agg(attname || ' ' || atttypid || ' ' || atttypmod, ',' \
                 ORDER BY attnum) FROM pg_attribute \
                 WHERE attrelid = {table} AND attnum > 0 AND NOT attisdropped)"
            )
        };
        format!(
            "SELECT t.oid, md5(coalesce((SELECT string_agg(concat_ws(' ', g.tgname, g.tgtype, \
             g.tgenabled, g.xmin, g.tgoldtable, g.tgnewtable, p.prosecdef, p.proconfig, p.prosrc), ',' \
             ORDER BY g.tgname) FROM pg_trigger AS g JOIN pg_proc AS p ON p.oid = g.tgfoid \
             WHERE g.tgrelid = t.oid AND g.tgname = ANY ($1)), '')), \
             md5(concat_ws(';', {}, {})) \
             FROM pg_class AS t WHERE t.oid = to_regclass({})",
            columns("t.oid"),
            columns(&format!("to_regclass({})", quoted_text(&self.sidecar))),
            quoted_text(&self.target),
        )
    }
}

/// For the transaction of a poll: a sidecar that was never analysed would be read whole.
pub const POLL_SETTINGS: &str = "SET LOCAL enable_seqscan = off";

/// Asks for the sidecar's rows as they are before this transaction changes them. Tied to the
/// transaction's id, so that a setting left behind in a pooled session means nothing.
pub const KEEP_BEFORE: &str = "SELECT set_config('dual.before', txid_current() || ':', true)";
