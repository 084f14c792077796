//! Which tables a schema of the server has, before anything is declared of them.

use std::sync::Arc;

use tokio_postgres::types::Type;

use super::catalog::{columns_of, unique_of};
use super::found::FoundColumn;
use super::{Catalog, Parameter, Session};
use crate::schema::{
    LogicalType, QualifiedName, Relation, RelationColumn, RelationKey, RelationSort, built_in,
    constant, quoted,
};
use crate::{Error, Kind, Result};

const OPERATION: &str = "look for tables in PostgreSQL";

/// What belongs to an extension is its own matter.
const RELATIONS: &str = "SELECT c.oid, c.relname::text, CASE WHEN c.relkind IN ('v', 'm') THEN 'view' \
       WHEN c.relkind = 'f' THEN 'foreign' \
       WHEN EXISTS (SELECT FROM pg_inherits AS i WHERE i.inhrelid = c.oid) THEN 'part' ELSE 'table' END, \
       ARRAY(SELECT DISTINCT r.relname::text FROM pg_constraint AS k JOIN pg_class AS r ON r.oid = k.confrelid \
         WHERE k.conrelid = c.oid AND k.contype = 'f' AND r.oid <> c.oid ORDER BY 1) \
     FROM pg_class AS c WHERE c.relnamespace = to_regnamespace($1)::oid \
     AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT EXISTS (SELECT FROM pg_depend AS d \
       WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
     ORDER BY c.relname COLLATE \"C\"";

const NARROW_REFERENCES: &str = "SELECT c.relnamespace = t.relnamespace, c.relname::text, a.attname::text, \
       format_type(a.atttypid, a.atttypmod) \
     FROM pg_constraint AS k JOIN LATERAL unnest(k.conkey, k.confkey) AS p (own, other) ON true \
     JOIN pg_class AS t ON t.oid = k.confrelid \
     JOIN pg_attribute AS r ON r.attrelid = k.confrelid AND r.attnum = p.other AND r.attname = $2 \
     JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = p.own \
     JOIN pg_class AS c ON c.oid = k.conrelid \
     WHERE k.contype = 'f' AND k.confrelid = $1 \
     AND a.atttypid IN ('smallint'::regtype, 'integer'::regtype) ORDER BY 1, 2, 3";

/// The relations of that schema, or else of the first one of the search path, in the session's transaction;
/// none if that is the schema of ours.
///
/// # Errors
/// Configuration if there is no such schema; else as for [`Session::query`].
pub(crate) async fn relations(session: &Session, schema: Option<&str>) -> Result<Vec<Relation>> {
    let schema = match schema {
        Some(named) => Some(named.to_owned()),
        None => Catalog::led(session, &built_in().remote_name()).await?.1,
    };
    let Some(schema) = schema.filter(|name| name != session.schema_name()) else {
        return Ok(Vec::new());
    };
    let exists = "SELECT to_regnamespace($1) IS NOT NULL";
    let shown = quoted(&schema);
    let rows = session.query(OPERATION, exists, &[(&shown, Type::TEXT)]).await?;
    if !rows.first().is_some_and(|row| row.try_get(0).unwrap_or(false)) {
        let message = format!("there is no schema {shown} in PostgreSQL");
        return Err(Error::new(Kind::Configuration, OPERATION, message)
            .with_hint("give the name of one as it is, upper and lower case count"));
    }
    let parameters: [Parameter<'_>; 1] = [(&shown, Type::TEXT)];
    let mut found = Vec::new();
    for row in session.query(OPERATION, RELATIONS, &parameters).await? {
        let unexpected = |cause| {
            Error::new(Kind::Internal, OPERATION, "an unexpected answer").with_source(cause)
        };
        let oid: u32 = row.try_get(0).map_err(unexpected)?;
        let name: String = row.try_get(1).map_err(unexpected)?;
        let sort = match row.try_get::<_, String>(2).map_err(unexpected)?.as_str() {
            "view" => RelationSort::View,
            "foreign" => RelationSort::Foreign,
            "part" => RelationSort::Part,
            _ => RelationSort::Table,
        };
        let columns = columns_of(session, oid).await?;
        let never_null =
            |name: &String| columns.iter().any(|column| column.name == *name && column.not_null);
        let keys = unique_of(session, oid).await?.into_iter();
        let keys = keys.filter(|index| index.columns.iter().all(never_null)).map(|index| {
            let columns = index.columns.into_iter().map(Arc::from).collect();
            RelationKey { columns, primary: index.primary }
        });
        let keys = keys.collect();
        let columns = columns.into_iter().map(column).collect();
        let references: Vec<String> = row.try_get(3).map_err(unexpected)?;
        let references = references.into_iter().map(Arc::from).collect();
        found.push(Relation { name: name.into(), sort, columns, keys, references });
    }
    Ok(found)
}

/// A column that refers to another one and has fewer than 64 bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NarrowReference {
    /// Its table stands in the schema of the one that it refers to.
    pub is_beside: bool,
    /// That table.
    pub table: String,
    /// Its name.
    pub column: String,
    /// Its type.
    pub kind: String,
}

/// The columns that refer to that column of the table and have fewer than 64 bits, in the session's transaction.
///
/// # Errors
/// As for [`Session::query`].
pub(crate) async fn narrow_references(
    session: &Session,
    table: &QualifiedName,
    column: &str,
) -> Result<Vec<NarrowReference>> {
    let Some(oid) = Catalog::led(session, table).await?.0 else { return Ok(Vec::new()) };
    let parameters: [Parameter<'_>; 2] = [(&oid, Type::OID), (&column, Type::TEXT)];
    let rows = session.query(OPERATION, NARROW_REFERENCES, &parameters).await?;
    let read =
        |row: &tokio_postgres::Row| -> std::result::Result<NarrowReference, tokio_postgres::Error> {
            let (is_beside, table, column, kind) =
                (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            Ok(NarrowReference { is_beside, table, column, kind })
        };
    rows.iter().map(read).collect::<std::result::Result<_, _>>().map_err(|cause| {
        Error::new(Kind::Internal, OPERATION, "an unexpected answer").with_source(cause)
    })
}

fn column(found: FoundColumn) -> RelationColumn {
    // One of fewer digits would cut.
    let kind = Some(found.logical()).filter(|kind| {
        *kind == LogicalType::TimestampTz
            || kind.description().fits_postgres(&found.base_type, found.precision)
    });
    let in_binary =
        Some(found.logical_beside("DECIMAL")).filter(|beside| Some(beside) != kind.as_ref());
    let constant =
        |kind: &LogicalType| found.default.as_deref().and_then(|text| constant(text, kind));
    RelationColumn {
        default: kind.as_ref().filter(|_| !found.generated).and_then(constant),
        name: found.name.into(),
        declared: found.full_type,
        kind,
        in_binary,
        evidence: None,
        not_null: found.not_null,
        generated: found.generated,
        numbered: found.identity
            || found.default.as_deref().is_some_and(|text| text.starts_with("nextval(")),
    }
}
