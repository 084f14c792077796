//! The table on the server: found, adopted by additions, or replaced.

use dual_database::error::{Error, Kind, Result};
use dual_database::schema::{Dialect, Table, quoted, quoted_text};
use dual_database::store::postgres::{Catalog, Plan, Session, plan};

use crate::write::WriteOptions;

/// What was found, and what is to be done. Looking takes no lock that others notice.
pub(super) struct Survey {
    catalog: Catalog,
    plan: Plan,
    /// The old table, to be dropped.
    old: Option<String>,
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
        let mut catalog = Catalog::read(session, table).await?;
        let mut old = None;
        if options.recreate_tables
            && let Some(found) = catalog.table.take()
        {
            old = Some(found.qualified());
            // The new one comes where the old one was.
            catalog.rights.schema = Some(found.schema);
        }
        let plan = plan(table, &catalog);
        if let Some(refusal) = plan.refusal("adopt the table") {
            return Err(refusal);
        }
        if !catalog.rights.create_in_database && !has(session, "to_regnamespace('dual')").await? {
            let (database, user) = (&catalog.rights.database, &catalog.rights.user);
            return Err(Error::new(
                Kind::AccessDenied,
                "make the schema dual",
                format!("no right to make a schema in {}", quoted(database)),
            )
            .with_hint(format!(
                "the owner can run: GRANT CREATE ON DATABASE {} TO {};",
                quoted(database),
                quoted(user)
            )));
        }
        Ok(Survey { catalog, plan, old })
    }

    /// Column positions whose text is limited, with the limit in characters.
    pub(super) fn length_limits(&self, table: &Table) -> Vec<(usize, u32)> {
        let lengths = self.plan.lengths.iter();
        lengths.filter_map(|(name, limit)| Some((table.position(name)?, *limit))).collect()
    }

    /// Makes the table the declared one, or replaces it, and sees to the record of runs.
    pub(super) async fn carry_out(
        self,
        session: &Session,
        table: &Table,
        options: WriteOptions,
    ) -> Result<Adopted> {
        let Survey { catalog, plan, old } = self;
        let (mut target, mut done) = (plan.target, Vec::new());
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
                session.batch("adopt the table", &step.sql).await?;
            }
            done.push(step.what);
        }
        if !has(session, "to_regnamespace('dual')").await? {
            session.batch("make the schema dual", "CREATE SCHEMA dual").await?;
            done.push("create schema dual".into());
        }
        if !has(session, "to_regclass('dual.import_run')").await? {
            session
                .batch(
                    "make the record of runs",
                    "CREATE TABLE dual.import_run (run_id text PRIMARY KEY, source text NOT NULL, \
                     position bigint GENERATED ALWAYS AS IDENTITY)",
                )
                .await?;
        }
        // A default may take numbers from a sequence that the column does not own.
        let sequence = match catalog.table.and_then(|found| found.sequence) {
            Some(sequence) => quoted_text(&sequence.name),
            None => format!(
                "pg_get_serial_sequence({}, {})",
                quoted_text(&target),
                quoted_text(table.surrogate().name)
            ),
        };
        Ok(Adopted { store: target, sequence, schema: done })
    }
}

/// Whether an expression gives something.
pub(super) async fn has(session: &Session, expression: &str) -> Result<bool> {
    let operation = "read the catalog";
    let rows = session.query(operation, &format!("SELECT {expression} IS NOT NULL"), &[]).await?;
    rows.first().and_then(|row| row.try_get(0).ok()).ok_or_else(|| super::unexpected(operation))
}
