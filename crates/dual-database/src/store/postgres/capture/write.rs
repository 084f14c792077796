//! The function by which the library writes several rows: one call for a table, nothing dynamic.

use super::layout::{Layout, RegisterColumns};
use super::single::{ABSENT, EXISTS, LEFT_OUT, MISSING};
use crate::schema::{EQUALS, behind, quoted_body, quoted_text};
use crate::store::postgres::switched;

impl Layout {
    /// The function that does the changes of one table, given as marks
    /// ([`super::RowStamps`]; `alive` true: insert, false: delete, null: update), after it has looked
    /// whether the rows of `reads` are as they were. It returns for each change the sidecar row
    /// before and after, the surrogate, and the values as text.
    ///
    /// All of it is by key. Rows are locked in the order of their keys before anything else, if
    /// there are several; a single one is locked by its own statement.
    ///
    /// It has the caller's rights. The statements that write rows are read under the user's search path,
    /// on which the user's triggers may rely, and say everything by its full name.
    pub(super) fn write_function(&self) -> String {
        let (target, sidecar, own) = (&self.target, &self.sidecar, &self.own_key);
        let is_its_row = self.key.same("u", EQUALS, &self.own_key, "m");
        let columns = behind(", ", self.each(", ", |r| r.column.clone()));
        let updated = self.each(",\n      ", |r| {
            let (column, stamp, value) = (&r.column, &r.stamp, r.stamped_value());
            format!("{column} = CASE WHEN m.{stamp} IS NOT NULL THEN {value} ELSE u.{column} END")
        });
        let [theirs, _] = switched("dual_set");
        let head = format!(
            "CREATE FUNCTION {}(dual_changes jsonb, dual_proposal bigint, dual_reads jsonb)
RETURNS TABLE (row_before jsonb, row_after jsonb, row_surrogate bigint, row_values text[])
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS ",
            self.function("write"),
        );
        let body = format!(
            "
DECLARE
  dual_own bigint := txid_current();
  dual_wrong {key_type};
  dual_set text;
BEGIN
  IF split_part(current_setting('dual.before', true), ':', 1) IS DISTINCT FROM dual_own::text THEN
    PERFORM set_config('dual.before', dual_own || ':', true);
  END IF;
  IF dual_reads <> '[]' OR jsonb_array_length(dual_changes) > 1 THEN
    PERFORM FROM {target} AS u
    WHERE {concerned}
    ORDER BY {order} FOR NO KEY UPDATE;
    SELECT {read} INTO dual_wrong
    FROM jsonb_array_elements(dual_reads) AS r
      LEFT JOIN {sidecar} AS s ON {is_read} AND s.live
    WHERE r.value ? 'stamps' AND r.value -> 'stamps' <> CASE WHEN s.key IS NULL THEN 'null'
      ELSE to_jsonb(ARRAY[s.stamp{stamps}]) END
    LIMIT 1;
    IF FOUND THEN
      RAISE EXCEPTION 'row changed in %, key %', {name}, dual_wrong USING ERRCODE = 'DU003';
    END IF;
  END IF;
  IF dual_changes @> '[{{\"alive\": false}}]' THEN
    {theirs}
    WITH done AS (DELETE FROM {target} AS u USING {marks}
      WHERE NOT m.alive AND {is_its_row}
      RETURNING {returned})
    {undone_delete}
  END IF;
  IF dual_changes @> '[{{\"alive\": null}}]' THEN
    {theirs}
    WITH done AS (UPDATE {target} AS u SET {updated}
      FROM {marks} WHERE m.alive IS NULL AND {is_its_row}
      RETURNING {returned})
    {undone_update}
  END IF;
  IF dual_changes @> '[{{\"alive\": true}}]' THEN
    {theirs}
    WITH done AS (INSERT INTO {target} AS u ({key}{columns})
      SELECT {marked}{inserted} FROM {marks} WHERE m.alive
      ON CONFLICT ({key}) DO NOTHING RETURNING {returned})
    {undone_insert}
  END IF;
  IF dual_changes <> '[]' THEN
    RETURN QUERY SELECT * FROM {settle}(dual_changes, dual_proposal);
  END IF;
END
",
            key_type = self.key.given_type(),
            key = self.key.list(""),
            returned = self.key.list("u"),
            marked = own.list("m"),
            order = self.key.order("u", ""),
            concerned = self.concerned(),
            read = own.given_of_record("r.value"),
            is_read = own.is_of_record("s", "r.value"),
            name = quoted_text(self.name()),
            marks = self.marks("dual_changes"),
            settle = self.function("settle"),
            stamps =
                behind(", ", self.each(", ", |r| format!("coalesce(s.{0}, s.stamp)", r.stamp))),
            updated = self.assigned(updated),
            inserted = behind(", ", self.each(",\n        ", RegisterColumns::stamped_value)),
            undone_delete = self.undone("NOT m.alive", "missing", MISSING),
            undone_update = self.undone("m.alive IS NULL", "missing", MISSING),
            undone_insert = self.undone("m.alive", "exists", EXISTS),
        );
        head + &quoted_body(&body)
    }

    /// The rows of a kind of change on which it was not `done`: it is said why. If the table
    /// does not show why, a trigger or a rule of the user's has left the row out.
    fn undone(&self, these: &str, what: &str, code: &str) -> String {
        let expected = if code == EXISTS { "" } else { "NOT " };
        let name = quoted_text(self.name());
        let absent = match code {
            MISSING => format!(
                "IF EXISTS (SELECT FROM {} AS s WHERE {} AND s.live) THEN
          RAISE EXCEPTION 'row absent in %, key %', {name}, dual_wrong USING ERRCODE = '{ABSENT}';
        END IF;
        ",
                self.sidecar,
                self.own_key.is_given("s", "=", "dual_wrong"),
            ),
            _ => String::new(),
        };
        format!(
            "SELECT {given} INTO dual_wrong
    FROM pg_catalog.jsonb_to_recordset(dual_changes) AS m ({declared}, alive boolean)
    WHERE {these} AND NOT {is_done}
    LIMIT 1;
    {ours}
    IF FOUND THEN
      IF {expected}EXISTS (SELECT FROM {target} AS u WHERE {is_wrong}) THEN
        {absent}RAISE EXCEPTION 'row {what} in %, key %', {name}, dual_wrong USING ERRCODE = '{code}';
      END IF;
      {left_out}
    END IF;",
            left_out = self.left_out("dual_wrong"),
            ours = switched("dual_set")[1],
            given = self.own_key.given("m"),
            declared = self.own_key.declared(),
            is_done = self.is_done(),
            is_wrong = self.key.is_given("u", "=", "dual_wrong"),
            target = self.target,
        )
    }

    /// The row of the mark `m` is among those that were done.
    fn is_done(&self) -> String {
        match self.key.is_number() {
            true => {
                format!("m.key {EQUALS} ANY (SELECT {} FROM done AS d)", self.key.list("d"))
            }
            false => format!(
                "EXISTS (SELECT FROM done AS d WHERE {})",
                self.own_key.same("m", EQUALS, &self.key, "d")
            ),
        }
    }

    /// The row `u` is among those that are read or changed.
    fn concerned(&self) -> String {
        let (key, own) = (&self.key, self.own_key.of_record("m.value"));
        let all = "jsonb_array_elements(dual_reads || dual_changes) AS m";
        match key.is_number() {
            true => format!("{} = ANY (ARRAY(\n      SELECT {own} FROM {all}))", key.list("u")),
            false => format!("({}) IN (\n      SELECT {own} FROM {all})", key.list("u")),
        }
    }

    /// Says that the row of that key, a variable, was left out.
    pub(super) fn left_out(&self, key: &str) -> String {
        format!(
            "RAISE EXCEPTION 'a trigger or a rule has left out a row of %, key %', {}, {key} \
             USING ERRCODE = '{LEFT_OUT}';",
            quoted_text(self.name()),
        )
    }
}
