//! What is ours in the schema of ours: told by name and shape, so that nothing else is taken for ours,
//! whoever has put it there. Read from the catalog, which anybody may read.

use tokio_postgres::types::Type;

use super::standing::ANOTHER;
use crate::schema::{Table, quoted};
use crate::store::postgres::answer::column;
use crate::store::postgres::{Parameter, Session};
use crate::{Error, Kind, Result};

const OPERATION: &str = "look at the schema of ours in PostgreSQL";

/// `$1` the schema, `$2` the tables whose functions may stand there without a sidecar. What stands in a
/// schema depends on it; what goes with a table is not named beside it. Of what depends on ours, what
/// goes with our own tables is ours, and so are our triggers; a view is known by its rule. What somebody
/// drops at this moment, as who installs again does, has no name any more, and is not there.
const FOUND: &str = "WITH space AS (SELECT n.oid FROM pg_namespace AS n WHERE n.nspname = $1::text), \
     known (name, columns) AS (VALUES ('installation', '{one,format,id}'::text[]), \
       ('tracked', '{name,target,triggers,columns}'), ('missed', '{name,reason}'), \
       ('token', '{file,token}'), ('node', '{file,seen,cursor}'), ('writer', '{number,file}'), \
       ('conflict', '{table_name,key,register,winner,loser}'), ('set_back', '{id,highest,stamp}'), \
       ('import_run', '{run_id,source}'), ('runtime', '{role,id}')), \
     tables AS (SELECT c.oid, c.relname, c.reltype, k.name IS NULL AS is_sidecar \
       FROM pg_class AS c JOIN space AS s ON s.oid = c.relnamespace \
       LEFT JOIN known AS k ON k.name = c.relname \
       WHERE c.relkind = 'r' AND (k.name IS NOT NULL OR c.relname LIKE 'side\\_%') \
       AND coalesce(k.columns, '{key,live,stamp,txid}') <@ ARRAY(SELECT a.attname::text \
         FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)), \
     functions AS (SELECT p.oid FROM pg_proc AS p JOIN space AS s ON s.oid = p.pronamespace \
       WHERE p.proname = 'header' AND oidvectortypes(p.proargtypes) = 'uuid, text[]' \
       OR p.proname IN (SELECT (t.name || '_' || w.what)::name \
         FROM (SELECT substr(relname, 6) FROM tables WHERE is_sidecar UNION SELECT unnest($2)) AS t (name), \
         unnest('{inserted,updated,rekeyed,deleted,truncated,settle,write,put,get}'::text[]) AS w (what))), \
     sequences AS (SELECT c.oid FROM tables AS t JOIN pg_depend AS d ON d.refobjid = t.oid \
       AND d.refclassid = 'pg_class'::regclass AND d.classid = 'pg_class'::regclass \
       AND d.deptype IN ('a', 'i') JOIN pg_class AS c ON c.oid = d.objid AND c.relkind = 'S'), \
     ours (class, oid) AS (SELECT 'pg_class'::regclass::oid, oid FROM tables \
       UNION ALL SELECT 'pg_class'::regclass, oid FROM sequences \
       UNION ALL SELECT 'pg_proc'::regclass, oid FROM functions), \
     types (class, oid) AS (SELECT 'pg_type'::regclass::oid, y.oid FROM tables AS t \
       JOIN pg_type AS y ON t.reltype IN (y.oid, y.typelem)), \
     strangers AS (SELECT d.classid, d.objid FROM pg_depend AS d JOIN space AS s ON s.oid = d.refobjid \
       WHERE d.refclassid = 'pg_namespace'::regclass AND d.deptype = 'n' \
       AND NOT EXISTS (SELECT FROM pg_depend AS e WHERE (e.classid, e.objid) = (d.classid, d.objid) \
         AND e.refclassid = 'pg_class'::regclass AND e.deptype IN ('a', 'i')) \
       EXCEPT SELECT class, oid FROM ours), \
     dependents AS (SELECT DISTINCT coalesce(r.class, d.classid) AS class, coalesce(r.view, d.objid) AS oid, \
         CASE WHEN r.view IS NULL THEN d.objsubid ELSE 0 END AS part \
       FROM (SELECT * FROM ours UNION ALL SELECT * FROM types) AS o \
       JOIN pg_depend AS d ON d.refclassid = o.class AND d.refobjid = o.oid AND d.deptype = 'n' \
       LEFT JOIN LATERAL (SELECT 'pg_class'::regclass::oid, w.ev_class FROM pg_rewrite AS w \
         WHERE d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid) AS r (class, view) ON true \
       WHERE NOT EXISTS (SELECT FROM ours AS i WHERE (i.class, i.oid) = (d.classid, d.objid)) \
       AND NOT EXISTS (SELECT FROM pg_depend AS e JOIN ours AS i ON (i.class, i.oid) = (e.refclassid, e.refobjid) \
         WHERE (e.classid, e.objid) = (d.classid, d.objid) AND e.deptype IN ('a', 'i')) \
       AND NOT EXISTS (SELECT FROM pg_trigger AS g JOIN functions AS f ON f.oid = g.tgfoid \
         WHERE d.classid = 'pg_trigger'::regclass AND g.oid = d.objid \
         AND g.tgname IN ('dual_inserted', 'dual_updated', 'dual_rekeyed', 'dual_deleted', 'dual_truncated'))), \
     found (kind, class, oid, part) AS (SELECT 'table', 'pg_class'::regclass::oid, oid, 0 FROM tables \
       UNION ALL SELECT 'function', 'pg_proc'::regclass, oid, 0 FROM functions \
       UNION ALL SELECT 'installation', 'pg_class'::regclass, oid, 0 FROM tables WHERE relname = 'installation' \
       UNION ALL SELECT 'stranger', classid, objid, 0 FROM strangers \
       UNION ALL SELECT 'dependent', class, oid, part FROM dependents) \
     SELECT f.kind, i.type, i.identity FROM found AS f \
     CROSS JOIN LATERAL pg_identify_object(f.class, f.oid, f.part) AS i \
     WHERE i.identity IS NOT NULL ORDER BY 1, 2, 3";

/// What stands in the schema of ours, each by its name in SQL.
#[derive(Debug, Default)]
pub(crate) struct Ours {
    /// Our tables; the sequences of their columns go with them.
    pub tables: Vec<String>,
    /// Our functions; our triggers go with them.
    pub functions: Vec<String>,
    /// What others have put there, each after its kind.
    pub strangers: Vec<String>,
    /// What others have made that depends on ours, wherever it is, each after its kind.
    pub dependents: Vec<String>,
    /// Capture is installed: not only the record of imports.
    pub is_installed: bool,
}

impl Ours {
    /// Looks at the schema, in the session's transaction.
    ///
    /// # Errors
    /// As for [`Session::query`].
    pub(crate) async fn read(session: &Session, tables: &[Table]) -> Result<Ours> {
        let names: Vec<&str> = tables.iter().map(Table::label).collect();
        let parameters: [Parameter<'_>; 2] =
            [(&session.schema_name(), Type::TEXT), (&names, Type::TEXT_ARRAY)];
        let mut ours = Ours::default();
        for row in session.query(OPERATION, FOUND, &parameters).await? {
            let kind: String = column(&row, 0, OPERATION)?;
            let (what, name): (String, String) =
                (column(&row, 1, OPERATION)?, column(&row, 2, OPERATION)?);
            match kind.as_str() {
                "table" => ours.tables.push(name),
                "function" => ours.functions.push(name),
                "stranger" => ours.strangers.push(format!("{what} {name}")),
                "dependent" => ours.dependents.push(format!("{what} {name}")),
                _ => ours.is_installed = true,
            }
        }
        Ok(ours)
    }

    /// There is nothing of ours.
    pub(crate) fn is_none(&self) -> bool {
        self.tables.is_empty() && self.functions.is_empty()
    }

    /// What others have made of ours would go with it.
    ///
    /// # Errors
    /// Configuration, with the names.
    pub(crate) fn unused(&self, operation: &'static str) -> Result<()> {
        if self.dependents.is_empty() {
            return Ok(());
        }
        let message = format!("of ours somebody has made use: {}", self.dependents.join(", "));
        Err(Error::new(Kind::Configuration, operation, message)
            .with_hint("nothing was changed; drop what is named there, then repeat it"))
    }
}

/// Refuses to install among what others have put into the schema, or beside the table itself, which
/// stands, or would be made, in the schema `of_table`.
///
/// # Errors
/// Configuration, with the names.
pub(crate) async fn ours_alone(
    session: &Session,
    table: &Table,
    of_table: Option<&str>,
) -> Result<()> {
    let ours = Ours::read(session, std::slice::from_ref(table)).await?;
    let dual = session.schema();
    let refused = |message, hint: &str| {
        Err(Error::new(Kind::Configuration, OPERATION, message).with_hint(hint))
    };
    if of_table == Some(session.schema_name()) {
        let message = format!(
            "{dual} is where the table {} stands or would be made, and no schema of ours alone",
            quoted(table.name())
        );
        return match ours.is_installed {
            true => refused(
                message,
                "`dual uninstall` takes ours out of it and leaves the table; then name a schema of ours \
                 alone (--pg-schema)",
            ),
            false => refused(message, ANOTHER),
        };
    }
    match ours.is_installed || ours.strangers.is_empty() {
        true => Ok(()),
        false => refused(
            format!(
                "the schema {dual} holds other things than ours: {}",
                ours.strangers.join(", ")
            ),
            ANOTHER,
        ),
    }
}
