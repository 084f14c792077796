//! Writes that carry their own stamps: what they leave in the sidecar after capture.

use serde_json::json;

use super::layout::{Layout, next};
use crate::Error;
use crate::merge::Admission;
use crate::schema::Table;
use crate::stamp::Stamp;
use crate::store::postgres::sqlstate;
use crate::value::{Value, timestamp_text};

/// What a write of the library, or a merge, has set in one row and under which stamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The row's key.
    pub key: i64,
    /// Whether it lives and since when, if the write has set that.
    pub life: Option<(bool, Stamp)>,
    /// The columns that it has set: position in [`Table::columns`], stamp and value.
    pub columns: Vec<(usize, Stamp, Value)>,
}

impl Mark {
    /// As the functions take it.
    pub(in crate::store::postgres) fn json(&self, table: &Table) -> serde_json::Value {
        let columns = self.columns.iter().filter_map(|(position, stamp, value)| {
            let column = table.columns().get(*position)?;
            let value = match value {
                Value::Null => serde_json::Value::Null,
                Value::Bool(flag) => json!(flag),
                Value::Int(number) => json!(number),
                Value::Text(text) => json!(text),
                Value::Timestamp(instant) => json!(timestamp_text(*instant)),
            };
            Some((column.name.to_owned(), json!([stamp.raw(), value])))
        });
        let (alive, live) = self.life.unzip();
        json!({
            "key": self.key,
            "alive": alive,
            "live": live.map(Stamp::raw),
            "columns": columns.collect::<serde_json::Map<_, _>>(),
        })
    }
}

/// What a proposal was refused for, if that is what the error says.
#[must_use]
pub fn refusal(error: &Error) -> Option<Admission> {
    match sqlstate(error)? {
        "DU001" => {
            let (_, rest) = error.message().split_once("stale proposal, above ")?;
            let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
            Some(Admission::Stale { above: Stamp::from_raw(digits.parse().ok()?)? })
        }
        "DU002" => Some(Admission::Ahead),
        _ => None,
    }
}

impl Layout {
    /// The function that gives marked registers their own stamps. It trusts the table, not the
    /// mark: a register counts as set by the write only if the row has that value, so what a
    /// user's trigger has made of it is captured, above the mark. With a proposal it refuses a
    /// write that comes too late, of which then nothing stands.
    pub(super) fn settle_function(&self) -> String {
        let stamp = |name: &str| format!("m.columns -> '{}'", name.replace('\'', "''"));
        let registers = self.each(",\n      ", |r| {
            let mark = stamp(r.name);
            format!(
                "nullif(CASE WHEN u.{key} IS NULL THEN w.stamp
        WHEN {mark} IS NULL THEN coalesce(s.{own}, s.stamp)
        WHEN NOT ({is}) THEN greatest(coalesce(s.{own}, s.stamp), {next})
        WHEN proposal IS NOT NULL AND jsonb_typeof(befores -> s.key::text) = 'null' AND {silent}
          THEN coalesce(s.{own}, s.stamp)
        ELSE ({mark} ->> 0)::bigint END, w.stamp)",
                key = self.key,
                own = r.stamp,
                next = next(&format!("({mark} ->> 0)::bigint")),
                is = r.is("u", &format!("{mark} ->> 1")),
                silent = r.silent("u"),
            )
        });
        format!(
            "CREATE FUNCTION {function}(marks jsonb, proposal bigint)
RETURNS TABLE (row_key bigint, row_before jsonb, row_after jsonb)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $dual$
#variable_conflict use_variable
DECLARE
  own bigint := txid_current();
  images jsonb;
  befores jsonb;
  above bigint;
  now_ms bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint - 1577836800000;
BEGIN
  -- What the triggers have kept; a row that they have not touched is as it was.
  SELECT coalesce(jsonb_object_agg(line ->> 1, line -> 2 ORDER BY at DESC), '{{}}') INTO images
  FROM (SELECT CASE WHEN at > 1 THEN image::jsonb END AS line, at
    FROM unnest(string_to_array(current_setting('dual.before', true), E'\\n'))
      WITH ORDINALITY AS kept (image, at)
    WHERE split_part(current_setting('dual.before', true), ':', 1) = own::text) AS l
  WHERE line ->> 0 = '{name}';
  SELECT coalesce(jsonb_object_agg(m.value ->> 'key', CASE
      WHEN images ? (m.value ->> 'key') THEN images -> (m.value ->> 'key')
      ELSE coalesce((SELECT to_jsonb(s) FROM {sidecar} AS s
        WHERE s.key = (m.value ->> 'key')::bigint), 'null') END), '{{}}') INTO befores
  FROM jsonb_array_elements(marks) AS m;
  IF proposal IS NOT NULL THEN
    SELECT greatest(max(i.horizon), max((b.value ->> 'stamp')::bigint), max((
        SELECT max(r.value::text::bigint) FROM jsonb_each(b.value) AS r
        WHERE r.key LIKE 's\\_%' AND jsonb_typeof(r.value) = 'number'
          AND (m.value ->> 'live' IS NOT NULL OR m.value -> 'columns' ? substr(r.key, 3)))))
    INTO above
    FROM dual.installation AS i, jsonb_array_elements(marks) AS m,
      LATERAL (SELECT nullif(befores -> (m.value ->> 'key'), 'null') AS value) AS b;
    IF proposal <= above THEN
      RAISE EXCEPTION 'stale proposal, above %', above USING ERRCODE = 'DU001';
    END IF;
    IF (proposal >> 22) > now_ms + 60000 AND NOT (above >> 22) > now_ms + 60000 THEN
      RAISE EXCEPTION 'proposal ahead of the clock' USING ERRCODE = 'DU002';
    END IF;
  END IF;
  -- The tombstone of a row that was never here.
  INSERT INTO {sidecar} (key, live, stamp, txid)
  SELECT (m.value ->> 'key')::bigint, false, (m.value ->> 'live')::bigint, own
  FROM jsonb_array_elements(marks) AS m WHERE NOT (m.value ->> 'alive')::boolean
  ON CONFLICT (key) DO NOTHING;
  RETURN QUERY
  UPDATE {sidecar} AS s SET (stamp, {stamps}, txid) = (
    SELECT w.stamp,
      {registers},
      own
    FROM (SELECT CASE WHEN (m.value ->> 'alive')::boolean = (u.{key} IS NOT NULL)
      THEN (m.value ->> 'live')::bigint ELSE s.stamp END AS stamp OFFSET 0) AS w)
  FROM (SELECT value, (value ->> 'key')::bigint AS mark_key, value -> 'columns' AS columns
      FROM jsonb_array_elements(marks) OFFSET 0) AS m
    LEFT JOIN {target} AS u ON u.{key} = m.mark_key
  WHERE s.key = m.mark_key
  RETURNING s.key, nullif(befores -> s.key::text, 'null'), to_jsonb(s);
END
$dual$",
            function = self.function("settle"),
            name = self.name.replace('\'', "''"),
            sidecar = self.sidecar,
            target = self.target,
            key = self.key,
            stamps = self.each(", ", |r| r.stamp.clone()),
        )
    }
}
