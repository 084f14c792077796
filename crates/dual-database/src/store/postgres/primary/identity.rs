//! Which table is the one that was tracked: people drop, rename and replace tables, and make others
//! of the same name that come earlier in a search path.

use tokio_postgres::types::Type;

use crate::schema::{Table, quoted};
use crate::store::postgres::answer::column;
use crate::store::postgres::capture::has;
use crate::store::postgres::{Catalog, Session};
use crate::{Error, Result};

const OPERATION: &str = "look for the tracked table in PostgreSQL";

/// What has become of the table that was tracked under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// None was.
    Untracked,
    /// It is there, as it was or made anew under its name.
    There { oid: u32 },
    /// It has another name, and nothing is under its own.
    Renamed { was: String, is: String },
    /// It is gone.
    Dropped { was: String, schema: Option<String> },
}

/// A table of the server, with what was known of it before.
pub(super) struct Known {
    pub identity: Identity,
    /// The columns whose stamps the sidecar keeps, if there is one.
    pub columns: Option<Vec<String>>,
    /// The table to which the search path leads instead, if it leads to another one.
    pub shadowed: Option<String>,
    /// The revision by which it is declared there.
    pub revision: Option<u32>,
}

/// `$1` the name, `$2` the table to which the user's search path leads, `$3` the sidecar. An installation of an
/// earlier format knows the table by its object id alone.
const KNOWN: &str = "WITH k AS (SELECT to_jsonb(t) AS j FROM {dual}.tracked AS t WHERE t.name = $1), \
     r AS (SELECT (j ->> 'target')::oid AS target, j ->> 'relation' AS relation, \
       j ->> 'declaration' AS declaration FROM k) \
     SELECT r.target, r.relation, \
     (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c \
       JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = r.target), \
     CASE WHEN r.relation IS NULL THEN $2 ELSE to_regclass(r.relation)::oid END, \
     (parse_ident(r.relation))[1], \
     (SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class AS c \
       JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = $2), \
     CASE WHEN to_regclass($3) IS NOT NULL THEN ARRAY(SELECT substr(a.attname, 3) \
       FROM pg_catalog.pg_attribute AS a WHERE a.attrelid = to_regclass($3) \
       AND a.attname LIKE 's\\_%' AND NOT a.attisdropped) END, r.declaration \
     FROM r";

impl Known {
    /// Looks at what is known of the table, in the session's transaction.
    ///
    /// # Errors
    /// As for [`Session::query`].
    pub(super) async fn read(session: &Session, table: &Table, sidecar: &str) -> Result<Known> {
        let identity = Identity::Untracked;
        let unknown = Known { identity, columns: None, shadowed: None, revision: None };
        if !has(session, "tracked").await? {
            return Ok(unknown);
        }
        let (name, path) = (table.name(), quoted(table.name()));
        let (first, _) = Catalog::led(session, &table.remote_name()).await?;
        let parameters: [crate::store::postgres::Parameter<'_>; 3] =
            [(&name, Type::TEXT), (&first, Type::OID), (&sidecar, Type::TEXT)];
        let sql = KNOWN.replace("{dual}", session.schema());
        let rows = session
            .query(OPERATION, &sql, &parameters)
            .await
            .map_err(|error| needs_usage(error, session))?;
        let Some(row) = rows.first() else { return Ok(unknown) };
        let target: u32 = column(row, 0, OPERATION)?;
        let relation: Option<String> = column(row, 1, OPERATION)?;
        let is: Option<String> = column(row, 2, OPERATION)?;
        let under_its_name: Option<u32> = column(row, 3, OPERATION)?;
        let was = relation.clone().unwrap_or_else(|| path.clone());
        let identity = match (is, under_its_name) {
            (Some(is), _) if relation.as_ref().is_none_or(|was| *was == is) => {
                Identity::There { oid: target }
            }
            (_, Some(oid)) => Identity::There { oid },
            (Some(is), None) => Identity::Renamed { was, is },
            (None, None) => Identity::Dropped { was, schema: column(row, 4, OPERATION)? },
        };
        let shown: Option<String> = column(row, 5, OPERATION)?;
        let shadowed = match identity {
            Identity::There { oid } => shown.filter(|_| first != Some(oid)),
            Identity::Renamed { .. } | Identity::Dropped { .. } => shown,
            Identity::Untracked => None,
        };
        let declaration: Option<String> = column(row, 7, OPERATION)?;
        let declared = declaration.and_then(|text| Table::from_declaration(&text).ok());
        let revision = declared.map(|table| table.revision());
        Ok(Known { identity, columns: column(row, 6, OPERATION)?, shadowed, revision })
    }

    /// What the server has of the table that is meant.
    ///
    /// # Errors
    /// As for [`Catalog::read`].
    pub(super) async fn catalog(&self, session: &Session, table: &Table) -> Result<Catalog> {
        match &self.identity {
            Identity::Untracked => Catalog::read(session, table).await,
            Identity::There { oid } => Catalog::read_of(session, table, Some(*oid)).await,
            Identity::Renamed { .. } | Identity::Dropped { .. } => {
                Catalog::read_of(session, table, None).await
            }
        }
    }
}

/// Of the schema in which the tracked table stands no more than this right is needed to look.
fn needs_usage(error: Error, session: &Session) -> Error {
    let refused = error.message().strip_prefix("permission denied for schema ");
    let schema = refused.and_then(|rest| rest.split(" (SQLSTATE").next()).map(quoted);
    match schema {
        Some(schema) => {
            let user = quoted(session.user());
            error.with_hint(format!("its owner can run: GRANT USAGE ON SCHEMA {schema} TO {user}"))
        }
        None => error,
    }
}
