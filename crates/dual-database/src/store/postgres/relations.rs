//! Which tables a schema of the server has, before anything is declared of them.

use std::sync::Arc;

use tokio_postgres::types::Type;

use super::catalog::{columns_of, unique_of};
use super::found::FoundColumn;
use super::{Catalog, Parameter, Session};
use crate::schema::{
    LogicalType, Relation, RelationColumn, RelationKey, RelationSort, built_in, constant, quoted,
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
