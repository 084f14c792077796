//! The table on the server: found, adopted by additions, or replaced.

use dual_database::error::{Error, Kind, Result};
use dual_database::schema::{Dialect, Table, quoted, quoted_text};
use dual_database::store::postgres::capture::make_record_of_imports;
use dual_database::store::postgres::primary::{Importable, importable};
use dual_database::store::postgres::{Catalog, SchemaPlan, Session, plan};

use crate::columns::position;
use crate::write::WriteOptions;

/// What was found, and what is to be done. Looking takes no lock that others notice.
pub(super) struct Survey {
    catalog: Catalog,
    plan: SchemaPlan,
    /// The old table, to be dropped.
    old: Option<String>,
    shadowed: Option<String>,
}

/// The table as it was made or found.
pub(super) struct Adopted {
    /// The qualified name.
    pub(super) store: String,
    /// What numbers new rows, as an SQL expression.
    pub(super) sequence: String,
    /// What was done.
    pub(super) schema: Vec<String>,
}

impl Survey {
    /// Looks at the server and refuses what additions cannot mend.
    pub(super) async fn of(
        session: &Session,
        table: &Table,
        options: WriteOptions,
    ) -> Result<Survey> {
        let Importable { mut catalog, shadowed } = importable(session, table).await?;
        let mut old = None;
        if options.recreate_tables
            && let Some(found) = catalog.table.take()
        {
            if !found.owner {
                return Err(not_the_owner(session, &found.qualified().to_string()));
            }
            old = Some(found.qualified().to_string());
            // The new one comes where the old one was.
            catalog.rights.schema = Some(found.schema);
        }
        let plan = plan(table, &catalog);
        if let Some(refusal) = plan.refusal("adopt the table") {
            return Err(refusal);
        }
        Ok(Survey { catalog, plan, old, shadowed })
    }

    /// Another table of that name, to which the search path leads instead of the tracked one.
    pub(super) fn shadowed(&self) -> Option<&str> {
        self.shadowed.as_deref()
    }

    /// Column positions whose text is limited, with the limit in characters.
    pub(super) fn length_limits(&self, table: &Table) -> Vec<(usize, u32)> {
        let lengths = self.plan.lengths.iter();
        lengths.filter_map(|(name, limit)| Some((position(table, name)?, *limit))).collect()
    }

    /// Makes the table the declared one, or replaces it, and sees to the record of runs.
    pub(super) async fn carry_out(
        self,
        session: &Session,
        table: &Table,
        options: WriteOptions,
    ) -> Result<Adopted> {
        let Survey { catalog, plan, old, .. } = self;
        let (mut target, mut done) = (plan.target.to_string(), Vec::new());
        if let Some(old) = &old {
            done.push(format!("drop table {}", table.name()));
            if options.dry_run {
                // Nothing of the old table may be locked for a look: the new one is a
                // temporary one this time.
                target = format!("pg_temp.{}", quoted(table.name()));
                let create = table.create_statement(Dialect::Postgres, &target);
                session.batch("make the new table", &create).await?;
            } else {
                session.batch("drop the old table", &format!("DROP TABLE {old}")).await?;
            }
        }
        let stand_in = old.is_some() && options.dry_run;
        for step in plan.steps {
            // A rollback does not undo this one.
            let lasting = step.sql.starts_with("SELECT setval");
            if !(stand_in || options.dry_run && lasting) {
                session.batch("adopt the table", &step.statement()).await?;
            }
            done.push(step.what);
        }
        if make_record_of_imports(session, &target).await? {
            let dual = session.schema();
            done.push(format!("make {dual}.import_run, the record of runs"));
        }
        // A default may take numbers from a sequence that the column does not own.
        let sequence = match catalog.table.and_then(|found| found.sequence) {
            Some(sequence) => quoted_text(&sequence.name),
            None => format!(
                "pg_get_serial_sequence({}, {})",
                quoted_text(&target),
                quoted_text(&crate::load::number(table).name)
            ),
        };
        Ok(Adopted { store: target, sequence, schema: done })
    }
}

fn not_the_owner(session: &Session, target: &str) -> Error {
    let user = quoted(session.user());
    let message = format!("{target} is not {user}'s own, and only its owner can make it anew");
    Error::new(Kind::AccessDenied, "drop the old table", message)
        .with_hint("leave out --recreate-tables, or run this as the owner of the table")
}
