//! The trigger functions and triggers of a tracked table. Pure: text from a [`Layout`].

use super::layout::{Layout, next};
use crate::schema::{any_of, behind, quoted_body, quoted_text};

/// The events that triggers answer, by what they are called.
const EVENTS: [&str; 5] = ["inserted", "updated", "rekeyed", "deleted", "truncated"];

/// The types of the arguments of `put`, behind that of the key.
const PUT: &str = "boolean, boolean[], text[], bigint, uuid, text[]";

/// As many triggers the table has of ours.
pub(super) const TRIGGERS: usize = EVENTS.len();

/// What every capture begins with: nothing if the transaction has written nothing (asking for
/// its id would use one up).
const BEGUN: &str = "  own := txid_current_if_assigned();
  IF own IS NULL THEN
    RETURN NULL;
  END IF;
";

/// The moment of the transaction, in milliseconds since the stamps begin. It is kept in a setting, which
/// anybody can set: what does not look like one, or lies further ahead than a clock may
/// ([`crate::stamp::FUTURE_TOLERANCE_MS`]) or before the transaction, is not taken, and what is taken is only ever PostgreSQL's.
fn moment() -> String {
    let now_ms = format!(
        "least(greatest(
      (date_part('epoch', clock_timestamp()) * 1000)::bigint - {}, 0), 2199023255551)",
        crate::stamp::EPOCH_UNIX_MS
    );
    format!(
        "  kept := current_setting('dual.moment', true);
  IF split_part(kept, ':', 1) = own::text AND kept ~ '^[0-9]{{1,20}}:[0-9]{{1,13}}$' THEN
    moment := split_part(kept, ':', 2)::bigint;
    IF moment > {now_ms} + {allowance} OR moment <
        (date_part('epoch', transaction_timestamp()) * 1000)::bigint - {epoch} THEN
      moment := NULL;
    END IF;
  END IF;
  IF moment IS NULL THEN
    moment := {now_ms};
    PERFORM set_config('dual.moment', own || ':' || moment, true);
  END IF;
  moment := greatest(moment << 22, 16384);
",
        allowance = crate::stamp::FUTURE_TOLERANCE_MS,
        epoch = crate::stamp::EPOCH_UNIX_MS,
    )
}

/// Whether the doorbell is to be rung. Notifying takes a lock that serialises commits, so only
/// one transaction of each second of moments does it; one that stays open silences its own second
/// only.
pub(super) fn notifies(moment: &str) -> String {
    format!("pg_try_advisory_xact_lock(1685414252, ({moment} >> 32)::integer)")
}

impl Layout {
    /// The functions that the triggers call, each one statement, in the order of creation.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        vec![
            self.trigger_function("inserted", Some("dual_new"), &self.insert_body()),
            self.trigger_function("updated", Some("dual_new"), &self.update_body()),
            self.trigger_function("rekeyed", None, &self.rekey_body()),
            self.trigger_function("deleted", Some("dual_old"), &self.delete_body()),
            self.trigger_function("truncated", None, &self.truncate_body()),
            self.stamp_function(),
            self.write_function(),
            self.put_function(),
            self.get_function(),
        ]
    }

    /// The functions with the types of their arguments.
    fn signatures(&self) -> Vec<String> {
        let fired = EVENTS.iter().map(|what| format!("{}()", self.function(what)));
        fired.chain(self.called().map(|(_, signature)| signature)).collect()
    }

    /// Those that are called, and not fired by a write.
    pub(super) fn called(&self) -> impl Iterator<Item = (&'static str, String)> {
        let key = self.key.given_type();
        [
            ("write", "jsonb, bigint, jsonb".to_owned()),
            ("settle", "jsonb, bigint".to_owned()),
            ("put", format!("{key}, {PUT}")),
            ("get", format!("{key}, text")),
        ]
        .into_iter()
        .map(|(what, arguments)| (what, format!("{}({arguments})", self.function(what))))
    }

    /// What drops the functions of an earlier installation, and with them the triggers that
    /// call them: that needs no ownership of the table, which `DROP TRIGGER` would.
    #[must_use]
    pub(crate) fn drop_functions(&self) -> Vec<String> {
        let drop = |function| format!("DROP FUNCTION IF EXISTS {function} CASCADE");
        self.signatures().into_iter().map(drop).collect()
    }

    /// What keeps the functions from being called by anybody else.
    pub(super) fn revokes(&self) -> Vec<String> {
        let revoke = |function| format!("REVOKE ALL ON FUNCTION {function} FROM PUBLIC");
        self.signatures().into_iter().map(revoke).collect()
    }

    /// What stands on the server for the table, by name: other object ids mean another history.
    #[must_use]
    pub fn relations(&self) -> [String; 3] {
        let capture = format!("{}()", self.function("inserted"));
        [self.target.clone(), self.sidecar.clone(), capture]
    }

    /// The triggers.
    #[must_use]
    pub fn triggers(&self) -> Vec<String> {
        let create = |what: &&str| {
            format!(
                "CREATE TRIGGER dual_{what} {} EXECUTE FUNCTION {}()",
                self.event(what),
                self.function(what)
            )
        };
        EVENTS.iter().map(create).collect()
    }

    /// When the trigger fires, and whether for each row.
    fn event(&self, what: &str) -> String {
        let target = &self.target;
        match what {
            "inserted" => format!(
                "AFTER INSERT ON {target} REFERENCING NEW TABLE AS dual_new FOR EACH STATEMENT"
            ),
            "updated" => format!(
                "AFTER UPDATE ON {target} REFERENCING OLD TABLE AS dual_old NEW TABLE AS dual_new \
                 FOR EACH STATEMENT"
            ),
            "rekeyed" => format!(
                "AFTER UPDATE ON {target} FOR EACH ROW WHEN ({})",
                self.key.alike("OLD", "NEW", true)
            ),
            "deleted" => format!(
                "AFTER DELETE ON {target} REFERENCING OLD TABLE AS dual_old FOR EACH STATEMENT"
            ),
            _ => format!("AFTER TRUNCATE ON {target} FOR EACH STATEMENT"),
        }
    }

    /// What lets the triggers fire for a session that applies what others have done
    /// (`session_replication_role`), too. Only the table's owner may do that.
    #[must_use]
    pub fn always(&self) -> String {
        let each = Layout::trigger_names().into_iter();
        let each: Vec<String> = each.map(|name| format!("ENABLE ALWAYS TRIGGER {name}")).collect();
        format!("ALTER TABLE {} {}", self.target, each.join(", "))
    }

    /// The names of the triggers.
    pub(in crate::store::postgres) fn trigger_names() -> Vec<String> {
        EVENTS.iter().map(|what| format!("dual_{what}")).collect()
    }

    fn trigger_function(&self, what: &str, rows: Option<&str>, statements: &str) -> String {
        let mine = rows.map(|rows| self.mine(rows)).unwrap_or_default();
        let body = format!(
            "\n#variable_conflict use_variable\nDECLARE\n  own bigint;\n  kept text;\n\
             \x20 moment bigint;\n  mine {key};\nBEGIN\n{BEGUN}BEGIN\n{named}{mine}{moment}{statements}  IF FOUND AND {notifies} THEN\n    \
             PERFORM pg_notify('dual', '');\n  END IF;\n{excused}END;\n  RETURN NULL;\nEND\n",
            named = self.named(),
            key = self.key.compared_type(),
            moment = moment(),
            notifies = notifies("moment"),
            excused = self.excused(),
        );
        // A plan is kept for the session and no table here is ever surely analysed: the
        // settings leave it no way but by key, no matter how large things were when it was made.
        format!(
            "CREATE FUNCTION {function}() RETURNS trigger\n\
             LANGUAGE plpgsql SECURITY DEFINER\n\
             SET search_path = pg_catalog, pg_temp SET enable_seqscan = off\n\
             SET enable_nestloop = off SET jit = off AS {body}",
            function = self.function(what),
            body = quoted_body(&body),
        )
    }

    /// The functions read the table by its name, with the installer's rights: another relation of that name, in
    /// which the table's owner can have code run, is none of theirs. (While this is asked and done, the writer's
    /// lock keeps everybody from renaming.)
    fn named(&self) -> String {
        format!(
            "  IF to_regclass({target}) IS DISTINCT FROM TG_RELID THEN
    RAISE EXCEPTION 'the table is not {name} any more' USING ERRCODE = '42P01';
  END IF;
",
            target = quoted_text(&self.target),
            name = self.name().replace('\'', "''").replace('%', "%%"),
        )
    }

    /// What becomes of a capture that cannot be done: the right to read the table was taken away, a
    /// column has another type, the sidecar is gone. That is no reason for the writer's statement to
    /// fail. It is noted instead that the table has to be looked at, once, and the doorbell rung.
    /// (Who installs capture again waits for everybody who has written, and takes the note away.) A
    /// conflict with another transaction is the writer's own affair, and so is a transaction that is made
    /// read only by the very statement that writes, a stack or a lock table that is used up: else a
    /// writer could see to it that nothing is captured and nothing noted.
    fn excused(&self) -> String {
        format!(
            "EXCEPTION
  WHEN transaction_rollback OR lock_not_available OR invalid_transaction_state THEN
    RAISE;
  WHEN OTHERS THEN
    BEGIN
      {missed}
      PERFORM pg_notify('dual', '');
    EXCEPTION
      WHEN invalid_transaction_state OR insufficient_resources OR program_limit_exceeded THEN
        RAISE;
      WHEN OTHERS THEN
        RAISE WARNING 'dual: a change of % is not captured (%)', {name}, SQLSTATE;
    END;
",
            name = quoted_text(self.name()),
            missed = self.missed("SQLSTATE", ""),
        )
    }

    /// A policy that hides rows from the function's owner hides them from [`Layout::there`], too: a second
    /// capture of a row in one transaction cannot be done.
    fn hidden(&self, row: &str, from: &str) -> String {
        let own = &self.own_key;
        let again = format!(
            "\n      AND EXISTS (SELECT FROM (SELECT {}{from}) AS k\n        \
             JOIN {} AS s ON {} WHERE s.txid = own)",
            own.named(&self.key, row),
            self.sidecar,
            own.same("s", "=", own, "k"),
        );
        let missed = self.missed("'42501'", &again);
        format!("  IF row_security_active(TG_RELID) THEN\n    {missed}\n  END IF;\n")
    }

    /// Notes, once, that the table has to be looked at; under a further condition.
    fn missed(&self, reason: &str, and: &str) -> String {
        format!(
            "INSERT INTO {dual}.missed (name, reason) SELECT {name}, {reason}
      WHERE NOT EXISTS (SELECT FROM {dual}.missed AS m WHERE m.name = {name}){and};",
            dual = self.dual,
            name = quoted_text(self.name()),
        )
    }

    /// Of the row that `put` is writing it sets the stamps itself. (What cascades from it is
    /// captured together with it, as if it were the same statement.) Anybody can say that `put` is
    /// writing: it counts only of a role that may call it, which could give its rows any stamps.
    fn mine(&self, rows: &str) -> String {
        let prefix = quoted_text(&format!(":{}:", self.setting()));
        let (other, kind) = (self.other("r"), self.key.compared_type());
        let put = format!("{}({}, {PUT})", self.function("put"), self.key.given_type());
        let put = quoted_text(&put);
        format!(
            "  kept := own || {prefix};
  IF left(current_setting('dual.put', true), length(kept)) = kept THEN
    IF has_function_privilege(
        coalesce(nullif(current_setting('role'), 'none'), session_user)::name, {put}, 'EXECUTE') THEN
      mine := substr(current_setting('dual.put'), length(kept) + 1)::{kind};
    END IF;
    IF NOT EXISTS (SELECT FROM {rows} AS r WHERE {other}) THEN
      RETURN NULL;
    END IF;
  END IF;
",
        )
    }

    /// The row is another one than that. (What a key is as JSON is not asked in vain.)
    fn other(&self, row: &str) -> String {
        let other = format!("{} IS DISTINCT FROM mine", self.key.compared(row));
        if self.key.is_number() { other } else { format!("(mine IS NULL OR {other})") }
    }

    /// Keeps what the sidecar has of the keys of a set, if this transaction asked for it: the
    /// members of a JSON object, the latest first, because of equal names the last one counts.
    fn keep_before(&self, row: &str, from: &str) -> String {
        format!(
            "  IF split_part(current_setting('dual.before', true), ':', 1) = own::text THEN
    PERFORM set_config('dual.before', own || ':' || coalesce((
      SELECT string_agg(to_json({kept})::text || ':' || coalesce(
        (SELECT to_json(s.*)::text FROM {sidecar} AS s WHERE {known}), 'null') || ',', '') {from}), '')
      || substr(current_setting('dual.before'), length(own::text) + 2), true);
  END IF;
",
            kept = self.kept(&self.key.compared(row)),
            sidecar = self.sidecar,
            known = self.tells_of(row),
        )
    }

    /// A row that was never seen lies above the purge horizon, whatever the clock says: files may
    /// still have what was purged. What it says nothing about stays at the horizon. One over a
    /// sidecar row, a tombstone above all, stamps everything. Of two captures of one
    /// transaction that come in the wrong order the table itself is asked.
    fn captured_insert(&self, row: &str, from: &str) -> String {
        let (sidecar, there) = (&self.sidecar, self.there());
        let (own, key, hidden) =
            (self.own_key.list(""), self.key.list(row), self.hidden(row, from));
        format!(
            "{hidden}  INSERT INTO {sidecar} AS s ({own}, live, stamp{stamps}, txid)
  SELECT {key}, true, greatest(moment, {unseen}){silent},
    own{from}
  ON CONFLICT ({own}) DO UPDATE SET live = true, stamp = greatest(moment, {next}){null}, txid = own
  WHERE s.txid <> own OR {there} IS NOT NULL;
",
            stamps = behind(", ", self.each(", ", |r| r.stamp.clone())),
            silent = behind(
                ",\n    ",
                self.each(",\n    ", |r| format!("CASE WHEN {} THEN i.horizon END", r.silent(row)))
            ),
            unseen = next("i.horizon"),
            next = next(&self.highest()),
            null = self.unstamped(),
        )
    }

    /// Of a dead row only its delete is kept.
    fn captured_delete(&self, row: &str, from: &str) -> String {
        let (sidecar, there) = (&self.sidecar, self.there());
        let (own, key, hidden) =
            (self.own_key.list(""), self.key.list(row), self.hidden(row, from));
        format!(
            "{hidden}  INSERT INTO {sidecar} AS s ({own}, live, stamp, txid)
  SELECT {key}, false, moment, own{from}
  ON CONFLICT ({own}) DO UPDATE SET live = false, stamp = greatest(moment, {next}){null}, txid = own
  WHERE s.txid <> own OR {there} IS NULL;
",
            next = next(&self.highest()),
            null = self.unstamped(),
        )
    }

    /// The rest of what is set where a row has one stamp for everything.
    fn unstamped(&self) -> String {
        behind(",\n    ", self.each(", ", |r| format!("{} = NULL", r.stamp)))
    }

    /// The key if the table has the row that is written to the sidecar. An `EXISTS` could be planned as a
    /// hash of the table.
    fn there(&self) -> String {
        format!(
            "(SELECT {} FROM {} AS u WHERE {} LIMIT 1)",
            self.key.first("u"),
            self.target,
            self.is_of("excluded")
        )
    }

    fn insert_body(&self) -> String {
        let other = self.other("n");
        let captured_insert = self.captured_insert(
            "n",
            &format!(" FROM dual_new AS n, {}.installation AS i WHERE {other}", self.dual),
        );
        format!("{}{captured_insert}", self.keep_before("n", "FROM dual_new AS n"))
    }

    fn delete_body(&self) -> String {
        let other = self.other("o");
        let captured_delete =
            self.captured_delete("o", &format!(" FROM dual_old AS o WHERE {other}"));
        format!("{}{captured_delete}", self.keep_before("o", "FROM dual_old AS o"))
    }

    fn rekey_body(&self) -> String {
        format!(
            "{}{}{}{}",
            self.keep_before("OLD", ""),
            self.keep_before("NEW", ""),
            self.captured_delete("OLD", ""),
            self.captured_insert("NEW", &format!(" FROM {}.installation AS i", self.dual)),
        )
    }

    /// Each column that is set gets the moment, or what lies above its own stamp and the row's
    /// insert. A row that has no sidecar row was there before the triggers: it is adopted as it
    /// is.
    fn update_body(&self) -> String {
        let (sidecar, own, key) = (&self.sidecar, self.own_key.list(""), self.key.list("n"));
        let renumbered = self.surrogate.as_ref();
        let renumbered = renumbered.map(|column| format!("o.{column} IS DISTINCT FROM n.{column}"));
        let differs = self.registers.iter().map(|r| r.differs("o", "n"));
        let differs = any_of(renumbered.into_iter().chain(differs), "\n    OR ");
        let same = self.key.alike("n", "o", false);
        let before = self.keep_before("n", "FROM dual_new AS n");
        let set =
            self.each(",\n    ", |r| format!("CASE WHEN {} THEN moment END", r.differs("o", "n")));
        let raised = self.each(",\n    ", |r| {
            let above = next(&format!("greatest(s.stamp, s.{})", r.stamp));
            format!(
                "{0} = CASE WHEN excluded.{0} IS NULL THEN s.{0} ELSE greatest(moment, {above}) END",
                r.stamp
            )
        });
        format!(
            "{before}  INSERT INTO {sidecar} AS s ({own}, live, stamp{stamps}, txid)
  SELECT {key}, true, {adopted}{set},
    own
  FROM dual_old AS o JOIN dual_new AS n ON {same}
  WHERE {other} AND ({differs})
  ON CONFLICT ({own}) DO UPDATE SET txid = own{raised}
  WHERE s.live;
",
            stamps = behind(", ", self.each(", ", |r| r.stamp.clone())),
            other = self.other("n"),
            adopted = crate::stamp::Stamp::ADOPTED_POSTGRES.raw(),
            set = behind(",\n    ", set),
            raised = behind(",\n    ", raised),
        )
    }

    fn truncate_body(&self) -> String {
        // The only way is through all of it.
        format!(
            "  UPDATE {} AS s SET live = false, stamp = greatest(moment, {}){}, txid = own
  WHERE s.live;
",
            self.sidecar,
            next(&self.highest()),
            self.unstamped(),
        )
    }
}
