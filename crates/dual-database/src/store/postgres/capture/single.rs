//! The functions for one row, which is what most calls are about: read it, write it. They take and
//! return arrays of text, because what a statement costs before it does anything grows with the
//! number of its columns, and one without a FROM is the cheapest there is.

use super::layout::{Layout, RegisterColumns, array_of_stamps, next};
use super::triggers::{TRIGGERS, notifies};
use crate::schema::{EQUALS, behind, quoted_body, quoted_text};
use crate::store::postgres::switched;

/// The code of an insert of a row that is there.
pub(super) const EXISTS: &str = "DU004";
/// The code of a change of a row that is not there.
pub(super) const MISSING: &str = "DU005";
/// The code of a change of a row that is not there though nobody has deleted it.
pub(super) const ABSENT: &str = "DU006";
/// The code of a write that a trigger or a rule of the user's does not let happen. Somebody who
/// is at the row at the same moment can look like one.
pub(super) const LEFT_OUT: &str = "DU007";

/// One plan for the life of a session, made for no values, and by key whatever the tables' size was
/// when it was made. (What a function sets by an assignment costs a tenth of a `PERFORM`.)
const PLANS: &str =
    "SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off";

impl Layout {
    /// The function that reads a row with its sidecar: NULL for a key never seen, else what
    /// [`Layout::row_texts`] lists; of a row that came past the triggers as if it had been there
    /// before. It waits for a lock no longer than `dual_patience`, a number of
    /// milliseconds, and refuses to read where a policy hides rows, as every transaction of ours does.
    pub(super) fn get_function(&self) -> String {
        let (target, sidecar, own) = (&self.target, &self.sidecar, &self.own_key);
        let adopted = crate::stamp::Stamp::ADOPTED_POSTGRES.raw();
        let head = format!(
            "CREATE FUNCTION {}(dual_key {}, dual_patience text)
RETURNS text[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
{PLANS} SET datestyle = 'ISO, YMD'{} AS ",
            self.function("get"),
            self.key.given_type(),
            self.settings(),
        );
        let body = format!(
            "
DECLARE
  dual_set text;
BEGIN
  dual_set := set_config('lock_timeout', dual_patience, true) || set_config('row_security', 'off', true);
  RETURN (SELECT ARRAY[coalesce(s.live, true)::text, coalesce(s.stamp, {adopted})::text,
      coalesce(s.txid, 0)::text,
      ({there} IS NOT NULL)::text, {surrogate}::text{stamps},
      {values}]
    FROM (SELECT {asked}) AS k LEFT JOIN {target} AS u ON {is_of}
      LEFT JOIN {sidecar} AS s ON {is_asked}
    WHERE s.key IS NOT NULL OR {there} IS NOT NULL);
END
",
            there = self.key.first("u"),
            asked = own.taken_as("dual_key"),
            is_asked = own.same("s", "=", own, "k"),
            is_of = self.is_of("k"),
            surrogate = self.number("u"),
            stamps = behind(
                ",\n      ",
                self.each(", ", |r| format!("coalesce(s.{}, s.stamp, {adopted})::text", r.stamp))
            ),
            values = self.texts("u"),
        );
        head + &quoted_body(&body)
    }

    /// The function that writes one row under a proposed stamp: `dual_alive` true inserts, false
    /// deletes, NULL updates the columns that are `dual_marked`. It answers the sidecar row before
    /// and after, the surrogate, the header ([`super::ddl`]) and the values, all as text.
    ///
    /// It does in a few statements by key what `write` and `settle` do, as long as nobody else has
    /// a trigger on the table. Then nothing can have made another row of it between the statement
    /// and its capture, so capture leaves that row out and the stamps are set here: the sidecar row
    /// is looked at once the data row is ours, which nobody passes. The three statements that write
    /// the data row are read under the user's path, and say everything by its full name.
    pub(super) fn put_function(&self) -> String {
        let (target, sidecar, key) = (&self.target, &self.sidecar, &self.key);
        let (own, known) = (self.own_key.list(""), self.own_key.is_given("s", "=", "dual_key"));
        let registers = behind(", ", self.each(", ", |r| r.stamp.clone()));
        let [theirs, ours] = switched("dual_set");
        let marks = self.numbered(",\n      ", |at, r| {
            format!(
                "CASE WHEN dual_marked[{at}] THEN dual_proposal END AS {}, dual_values[{at}] AS {}",
                r.stamp, r.value,
            )
        });
        let updated = self.numbered(",\n        ", |at, r| {
            let (column, given) = (&r.column, r.given(at));
            format!("{column} = CASE WHEN dual_marked[{at}] THEN {given} ELSE u.{column} END")
        });
        let born = self.numbered(",\n        ", |at, r| {
            let (is_given, silent) = (r.is_given(at), r.silent("u"));
            format!("CASE WHEN NOT ({is_given}) THEN dual_next WHEN {silent} THEN 0 ELSE dual_proposal END")
        });
        let changed = self.numbered(",\n        ", |at, r| {
            format!("CASE WHEN {} THEN dual_proposal ELSE dual_next END", r.is_given(at))
        });
        let replaced = self.numbered(",\n      ", |at, r| {
            format!("CASE WHEN dual_alive IS NOT NULL OR dual_marked[{at}] THEN s.{} END", r.stamp)
        });
        let inserted = self.numbered(",\n        ", |at, _| {
            format!(
                "CASE WHEN dual_stamps[{at}] > 0 THEN nullif(dual_stamps[{at}], dual_proposal) \
                 WHEN dual_before IS NULL THEN dual_horizon END",
            )
        });
        let kept = self.numbered(",\n        ", |at, r| {
            format!(
                "{0} = CASE WHEN dual_marked[{at}] THEN dual_stamps[{at}] ELSE s.{0} END",
                r.stamp,
            )
        });
        let head = format!(
            "CREATE FUNCTION {}(dual_key {}, dual_alive boolean, dual_marked boolean[],
  dual_values text[], dual_proposal bigint, dual_file uuid, dual_relations text[])
RETURNS text[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
{PLANS} SET datestyle = 'ISO, YMD'{} AS ",
            self.function("put"),
            key.given_type(),
            self.settings(),
        );
        let body = format!(
            "
DECLARE
  dual_set text;
  dual_own bigint := txid_current();
  dual_now bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint - {epoch};
  dual_before text;
  dual_after text;
  dual_surrogate text;
  dual_left text[];
  dual_stamps bigint[];
  dual_above bigint;
  dual_next bigint := {above};
  dual_horizon bigint;
BEGIN
  IF (SELECT count(*) FROM pg_catalog.pg_trigger AS t
      WHERE t.tgrelid = {oid}::regclass AND NOT t.tgisinternal) <> {TRIGGERS} THEN
    SELECT w.row_before::text, w.row_after::text, w.row_surrogate::text, w.row_values
    INTO dual_before, dual_after, dual_surrogate, dual_left
    FROM {write}((SELECT jsonb_build_array(to_jsonb(m.*)) FROM (SELECT {named},
      dual_alive AS alive, CASE WHEN dual_alive IS NOT NULL THEN dual_proposal END AS life{marks}) AS m), dual_proposal, '[]') AS w;
  ELSE
    dual_set := set_config('dual.put', dual_own || {mine} || dual_key, true);
    {theirs}
    IF dual_alive THEN
      INSERT INTO {target} AS u ({keys}{columns})
      VALUES ({taken}{given})
      ON CONFLICT ({keys}) DO NOTHING
      RETURNING {surrogate}::pg_catalog.text, ARRAY[{values}], {born}
      INTO dual_surrogate, dual_left, dual_stamps;
    ELSIF NOT dual_alive THEN
      DELETE FROM {target} AS u WHERE {is_its_row};
    ELSE
      UPDATE {target} AS u SET {updated}
      WHERE {is_its_row}
      RETURNING {surrogate}::pg_catalog.text, ARRAY[{values}], {changed}
      INTO dual_surrogate, dual_left, dual_stamps;
    END IF;
    {ours}
    IF NOT FOUND THEN
      IF dual_alive THEN
        RAISE EXCEPTION 'row exists in %, key %', {name}, dual_key USING ERRCODE = '{EXISTS}';
      END IF;
      IF EXISTS (SELECT FROM {target} AS u WHERE {there}) THEN
        {left_out}
      END IF;
      IF EXISTS (SELECT FROM {sidecar} AS s WHERE {known} AND s.live) THEN
        RAISE EXCEPTION 'row absent in %, key %', {name}, dual_key USING ERRCODE = '{ABSENT}';
      END IF;
      RAISE EXCEPTION 'row missing in %, key %', {name}, dual_key USING ERRCODE = '{MISSING}';
    END IF;
    dual_set := set_config('dual.put', '', true);
    SELECT i.horizon, to_json(s.*)::text, greatest(i.horizon, s.stamp{replaced})
    INTO dual_horizon, dual_before, dual_above
    FROM {dual}.installation AS i LEFT JOIN {sidecar} AS s ON {known};
    IF dual_proposal <= dual_above THEN
      RAISE EXCEPTION 'stale proposal, above %', dual_above USING ERRCODE = 'DU001';
    END IF;
    IF (dual_proposal >> 22) > dual_now + 60000 AND NOT (dual_above >> 22) > dual_now + 60000 THEN
      RAISE EXCEPTION 'proposal ahead of the clock' USING ERRCODE = 'DU002';
    END IF;
    IF dual_alive THEN
      INSERT INTO {sidecar} AS s ({own}, live, stamp, txid{registers})
      VALUES ({taken}, true, dual_proposal, dual_own{inserted})
      ON CONFLICT ({own}) DO UPDATE SET live = true, stamp = dual_proposal, txid = dual_own{excluded}
      RETURNING to_json(s.*)::text INTO dual_after;
    ELSIF NOT dual_alive THEN
      INSERT INTO {sidecar} AS s ({own}, live, stamp, txid)
      VALUES ({taken}, false, dual_proposal, dual_own)
      ON CONFLICT ({own}) DO UPDATE SET live = false, stamp = dual_proposal, txid = dual_own{null}
      RETURNING to_json(s.*)::text INTO dual_after;
    ELSE
      INSERT INTO {sidecar} AS s ({own}, live, stamp, txid{registers})
      VALUES ({taken}, true, {adopted}, dual_own{updated_stamps})
      ON CONFLICT ({own}) DO UPDATE SET txid = dual_own{kept}
      RETURNING to_json(s.*)::text INTO dual_after;
    END IF;
    IF {notifies} THEN
      PERFORM pg_notify('dual', '');
    END IF;
  END IF;
  RETURN (SELECT ARRAY[dual_before, dual_after, dual_surrogate] || h.header || dual_left
    FROM {dual}.header(dual_file, dual_relations) AS h (header));
END
",
            dual = self.dual,
            keys = key.list(""),
            taken = key.taken("dual_key"),
            named = key.taken_as("dual_key"),
            is_its_row = key.is_given("u", EQUALS, "dual_key"),
            there = key.is_given("u", "=", "dual_key"),
            notifies = notifies("dual_proposal"),
            above = next("dual_proposal"),
            left_out = self.left_out("dual_key"),
            write = self.function("write"),
            epoch = crate::stamp::EPOCH_UNIX_MS,
            adopted = crate::stamp::Stamp::ADOPTED_POSTGRES.raw(),
            oid = quoted_text(target),
            name = quoted_text(self.name()),
            mine = quoted_text(&format!(":{}:", self.setting())),
            surrogate = self.number("u"),
            columns = behind(", ", self.each(", ", |r| r.column.clone())),
            values = self.texts("u"),
            marks = behind(",\n      ", marks),
            given = behind(", ", self.numbered(", ", |at, r| r.given(at))),
            updated = self.assigned(updated),
            born = array_of_stamps(&born),
            changed = array_of_stamps(&changed),
            replaced = behind(",\n      ", replaced),
            inserted = behind(", ", inserted),
            excluded = behind(
                ",\n        ",
                self.each(", ", |r| format!("{0} = excluded.{0}", r.stamp))
            ),
            null = behind(",\n        ", self.each(", ", |r| format!("{} = NULL", r.stamp))),
            updated_stamps = behind(
                ", ",
                self.numbered(", ", |at, _| format!(
                    "CASE WHEN dual_marked[{at}] THEN dual_stamps[{at}] END"
                ))
            ),
            kept = behind(",\n        ", kept),
        );
        head + &quoted_body(&body)
    }

    /// The settings under which every value has one print, if a column's depend on them.
    fn settings(&self) -> &'static str {
        match self.registers.iter().any(|register| register.kind.description().has_settings()) {
            true => {
                " SET timezone = 'UTC' SET intervalstyle = 'postgres' SET extra_float_digits = 3 \
                 SET bytea_output = 'hex' SET lc_monetary = 'C'"
            }
            false => "",
        }
    }

    /// One piece of text for each register and its position, counted from one, joined.
    fn numbered(
        &self,
        separator: &str,
        piece: impl Fn(usize, &RegisterColumns) -> String,
    ) -> String {
        let pieces = self.registers.iter().enumerate().map(|(at, r)| piece(at + 1, r));
        pieces.collect::<Vec<_>>().join(separator)
    }
}

impl RegisterColumns {
    /// The value that `put` is given for the register of that position.
    fn given(&self, at: usize) -> String {
        self.kind.description().given(&format!("dual_values[{at}]"))
    }

    /// The row has that value.
    fn is_given(&self, at: usize) -> String {
        let (column, value) = (format!("u.{}", self.column), self.given(at));
        let equals = self.kind.description().is_given(&column, &format!("dual_values[{at}]"));
        format!("coalesce({equals}, {column} IS NULL AND {value} IS NULL)")
    }
}
