//! What an installation is made of, as a list of statements: the same for `dual init --apply`, which
//! runs them, and for `dual init --sql`, which prints them. Each can be repeated. Pure text.

use super::common::{common, guarded, log_of_any_key, make_schema, no_newer, trust};
use super::install::SCHEMA_LOCK;
use super::layout::Layout;
use crate::schema::{quoted_body, quoted_text};

/// Whose right a statement needs besides that on the schema of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Needs {
    /// To make things in the database.
    Database,
    /// On the table.
    Table,
    /// None: it tells by itself what is wrong.
    Nothing,
}

/// One statement of an installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) struct Statement {
    pub sql: String,
    pub(super) needs: Needs,
}

/// Under which everything of ours is made, changed and dropped.
pub(in crate::store::postgres) fn schema_locked() -> String {
    format!("SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")
}

impl Layout {
    /// What keeps others from writing to the table, so that nothing passes by what is made.
    pub(super) fn locked(&self) -> String {
        format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", self.target)
    }

    /// Makes the schema, before anything is waited for, and sees to it that it can be trusted.
    pub(in crate::store::postgres) fn begun(&self) -> Vec<Statement> {
        let database = |sql| Statement { sql, needs: Needs::Database };
        let checked = Statement { sql: trust(&self.dual, &self.target), needs: Needs::Nothing };
        vec![
            database(schema_locked()),
            database(make_schema(&self.dual)),
            checked,
            database(no_newer(&self.dual)),
        ]
    }

    /// Makes what capture needs, and takes nothing in yet; after [`Layout::begun`].
    pub(in crate::store::postgres) fn placed(&self) -> Vec<Statement> {
        let table = |sql| Statement { sql, needs: Needs::Table };
        let database = |sql| Statement { sql, needs: Needs::Database };
        let mut statements = vec![table(self.locked())];
        // To drop the triggers keeps readers from the table. They are waited for now: a poll reads the
        // table first and then what is ours, which is changed below.
        statements.extend(self.drop_functions().into_iter().map(database));
        statements.extend(common(&self.dual).into_iter().map(database));
        if !self.key.is_number() {
            statements.extend(log_of_any_key(&self.dual).into_iter().map(database));
        }
        let beside = [self.sidecar_ddl(), self.functions(), self.revokes()];
        statements.extend(beside.into_iter().flatten().map(database));
        statements.extend(self.triggers().into_iter().map(table));
        // To change the table is its owner's.
        let owns = format!(
            "(SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class AS c WHERE c.oid = to_regclass({}))",
            quoted_text(&self.target)
        );
        statements.push(table(guarded(&owns, &self.always())));
        statements
    }

    /// What [`super::install::mend_all`] does, in one statement.
    pub(in crate::store::postgres) fn mended(&self) -> String {
        let [removed, revived, unknown] = self.mend(false);
        let body = format!(
            " BEGIN\n{removed};\nIF FOUND THEN {}; END IF;\n{revived};\n{unknown};\nEND ",
            self.gap_noted()
        );
        format!("DO {}", quoted_body(&body))
    }

    /// Others may have gone on from what was lost: the epoch becomes another one.
    pub(super) fn gap_noted(&self) -> String {
        format!("UPDATE {}.installation SET gaps = gaps + 1", self.dual)
    }

    /// Notes which columns there are now, if nothing else has changed.
    pub(super) fn columns_noted(&self) -> String {
        format!(
            "UPDATE {}.tracked AS k SET columns = f.columns \
             FROM ({}) AS f (target, triggers, columns) \
             WHERE k.name = {} AND k.target = f.target AND k.triggers = f.triggers",
            self.dual,
            self.fingerprint(),
            quoted_text(self.name()),
        )
    }

    /// Notes how capture stands now, for whoever asks whether it is still so.
    pub(in crate::store::postgres) fn noted(&self) -> [String; 2] {
        let (dual, name) = (&self.dual, quoted_text(self.name()));
        [
            format!("DELETE FROM {dual}.missed WHERE name = {name}"),
            format!(
                "INSERT INTO {dual}.tracked (name, target, triggers, columns, relation, declaration) \
                 SELECT {name}, f.target, f.triggers, f.columns, {}, {} \
                 FROM ({}) AS f (target, triggers, columns) \
                 ON CONFLICT (name) DO UPDATE SET target = excluded.target, \
                 triggers = excluded.triggers, columns = excluded.columns, \
                 relation = excluded.relation, declaration = excluded.declaration",
                quoted_text(&self.target),
                quoted_text(&self.declared.declaration()),
                self.fingerprint(),
            ),
        ]
    }
}
