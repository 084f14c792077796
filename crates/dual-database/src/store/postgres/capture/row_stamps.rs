//! Writes that carry their own stamps: what they leave in the sidecar after capture.

use serde_json::json;

use super::layout::{Layout, next};
use crate::Error;
use crate::merge::Admission;
use crate::schema::{Column, Dialect, Key, KeyColumns, Table, behind, quoted_body};
use crate::stamp::Stamp;
use crate::store::postgres::sqlstate;
use crate::value::{Value, plain_text};

/// What a write of the library, or a merge, has set in one row and under which stamps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowStamps {
    /// The row's key.
    pub key: Key,
    /// Whether it lives and since when, if the write has set that.
    pub life: Option<(bool, Stamp)>,
    /// The columns that it has set: position, stamp and value.
    pub columns: Vec<(usize, Stamp, Value)>,
}

impl RowStamps {
    /// As the functions take it.
    pub(in crate::store::postgres) fn json(&self, table: &Table) -> serde_json::Value {
        let (alive, life) = self.life.unzip();
        let mut mark = serde_json::Map::from_iter([
            ("alive".to_owned(), json!(alive)),
            ("life".to_owned(), json!(life.map(Stamp::raw))),
        ]);
        mark.extend(record(table, &self.key));
        let data: Vec<&Column> = table.data_columns().collect();
        for (position, stamp, value) in &self.columns {
            let Some(column) = data.get(*position) else { continue };
            mark.insert(format!("s_{}", column.label), json!(stamp.raw()));
            let value = match value {
                Value::Null => continue,
                Value::Bool(flag) => json!(flag),
                Value::Int(number) => json!(number),
                other => json!(plain_text(other)),
            };
            mark.insert(format!("v_{}", column.label), value);
        }
        serde_json::Value::Object(mark)
    }
}

/// The columns of a key as records in JSON have them ([`KeyColumns::names`]).
pub(in crate::store::postgres) fn record(
    table: &Table,
    key: &Key,
) -> impl Iterator<Item = (String, serde_json::Value)> + use<> {
    let names: Vec<String> = KeyColumns::of_sidecar(table, Dialect::Postgres).names().collect();
    let values: Vec<Value> = key.values().collect();
    names.into_iter().zip(values).map(|(name, value)| {
        let value = match value {
            Value::Int(number) => json!(number),
            Value::Text(text) => json!(text),
            _ => serde_json::Value::Null,
        };
        (name, value)
    })
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
    pub(super) fn stamp_function(&self) -> String {
        let registers = self.each(",\n      ", |r| {
            format!(
                "nullif(CASE WHEN {key} IS NULL THEN w.stamp
        WHEN m.{own} IS NULL THEN coalesce(s.{own}, s.stamp)
        WHEN NOT ({is}) THEN greatest(coalesce(s.{own}, s.stamp), {next})
        WHEN w.fresh AND {silent} THEN coalesce(s.{own}, s.stamp)
        ELSE m.{own} END, w.stamp)",
                key = self.key.first("u"),
                own = r.stamp,
                next = next(&format!("m.{}", r.stamp)),
                is = r.is_as_stamped("u"),
                silent = r.silent("u"),
            )
        });
        let head = format!(
            "CREATE FUNCTION {}(marks jsonb, proposal bigint)
RETURNS TABLE (row_before jsonb, row_after jsonb, row_surrogate bigint, row_values text[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS ",
            self.function("settle"),
        );
        let body = format!(
            "
#variable_conflict use_variable
DECLARE
  own bigint := txid_current();
  kept text := current_setting('dual.before', true);
  images jsonb := '{{}}';
  replaced bigint;
  above bigint;
  now_ms bigint := (date_part('epoch', clock_timestamp()) * 1000)::bigint - {epoch};
BEGIN
  -- What the triggers have kept; a row that they have not touched is as it was.
  IF split_part(kept, ':', 1) = own::text THEN
    images := ('{{' || substr(kept, strpos(kept, ':') + 1) || '\"\":null}}')::jsonb;
  END IF;
  IF proposal IS NOT NULL THEN
    SELECT i.horizon INTO above FROM {dual}.installation AS i;
  END IF;
  FOR row_before, row_after, row_surrogate, row_values, replaced IN
    UPDATE {sidecar} AS s SET (live, stamp{stamps}, txid) = (
      SELECT {key} IS NOT NULL, w.stamp{registers},
      own
      FROM (SELECT proposal IS NOT NULL AND m.before IS NULL AS fresh,
        CASE WHEN m.alive = ({key} IS NOT NULL) THEN m.life ELSE s.stamp END AS stamp OFFSET 0) AS w)
    FROM (SELECT m.*, CASE WHEN images ? ({kept}) THEN nullif(images -> ({kept}), 'null')
          ELSE (SELECT to_jsonb(o.*) FROM {sidecar} AS o WHERE {earlier}) END AS before
        FROM {marks} OFFSET 0) AS m
      CROSS JOIN LATERAL jsonb_to_record(CASE WHEN proposal IS NOT NULL THEN m.before END)
        AS b (stamp bigint{found})
      LEFT JOIN {target} AS u ON {is_of}
    WHERE {known}
    RETURNING m.before, to_jsonb(s.*), {surrogate}, CASE WHEN {key} IS NOT NULL THEN ARRAY[{values}] END,
      greatest(b.stamp{replaced})
  LOOP
    above := greatest(above, replaced);
    RETURN NEXT;
  END LOOP;
  IF proposal <= above THEN
    RAISE EXCEPTION 'stale proposal, above %', above USING ERRCODE = 'DU001';
  END IF;
  IF (proposal >> 22) > now_ms + 60000 AND NOT (above >> 22) > now_ms + 60000 THEN
    RAISE EXCEPTION 'proposal ahead of the clock' USING ERRCODE = 'DU002';
  END IF;
  -- The tombstone of a row that was never here.
  IF marks @> '[{{\"alive\": false}}]' THEN
    RETURN QUERY
    INSERT INTO {sidecar} AS s ({keys}, live, stamp, txid)
    SELECT {marked}, false, m.life, own FROM {marks} WHERE NOT m.alive
    ON CONFLICT ({keys}) DO NOTHING
    RETURNING NULL::jsonb, to_jsonb(s.*), NULL::bigint, NULL::text[];
  END IF;
END
",
            dual = self.dual,
            epoch = crate::stamp::EPOCH_UNIX_MS,
            kept = self.kept(&self.own_key.compared("m")),
            keys = self.own_key.list(""),
            marked = self.own_key.list("m"),
            earlier = self.own_key.same("o", "=", &self.own_key, "m"),
            marks = self.marks("marks"),
            sidecar = self.sidecar,
            target = self.target,
            key = self.key.first("u"),
            is_of = self.is_of("m"),
            known = self.own_key.same("s", "=", &self.own_key, "m"),
            surrogate = self.number("u"),
            stamps = behind(", ", self.each(", ", |r| r.stamp.clone())),
            registers = behind(",\n      ", registers),
            found = behind(", ", self.each(", ", |r| format!("{} bigint", r.stamp))),
            values = self.texts("u"),
            replaced = behind(
                ", ",
                self.each(",\n        ", |r| format!(
                    "CASE WHEN m.life IS NOT NULL OR m.{0} IS NOT NULL THEN b.{0} END",
                    r.stamp
                ))
            ),
        );
        head + &quoted_body(&body)
    }
}
