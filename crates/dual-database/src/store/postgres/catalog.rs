//! Reading what the server has of a declared table, and what we may do with it.

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};

use super::capture::USERS_TABLE;
use super::found::{Catalog, FoundColumn, FoundTable, RelationKind, Rights, Sequence, UniqueIndex};
use super::session::{Parameter, Session};
use crate::schema::{QualifiedName, Table, quoted};
use crate::{Error, Kind, Result, Store};

const OPERATION: &str = "read PostgreSQL's catalog";

impl Catalog {
    /// Reads what there is of `table`, in the session's transaction.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub async fn read(session: &Session, table: &Table) -> Result<Catalog> {
        let (oid, schema) = Catalog::led(session, &table.remote_name()).await?;
        Catalog::read_in(session, table, oid, schema).await
    }

    /// The table to which the user's search path leads, and the schema in which a new one would be
    /// made; asked in the session's transaction.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub(super) async fn led(
        session: &Session,
        name: &QualifiedName,
    ) -> Result<(Option<u32>, Option<String>)> {
        let row = one(session, LED, &[(&name.to_string(), Type::TEXT)]).await?;
        let declared = name.schema.as_ref().map(|schema| schema.to_string());
        let first: Option<String> = get(&row, 1)?;
        Ok((get(&row, 0)?, declared.or(first)))
    }

    /// The same of the table with that object id, wherever the search path leads; `None`: there is
    /// none.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub(crate) async fn read_of(
        session: &Session,
        table: &Table,
        oid: Option<u32>,
    ) -> Result<Catalog> {
        let (_, schema) = Catalog::led(session, &table.remote_name()).await?;
        Catalog::read_in(session, table, oid, schema).await
    }

    /// `schema`: where a new table would be made.
    async fn read_in(
        session: &Session,
        table: &Table,
        oid: Option<u32>,
        schema: Option<String>,
    ) -> Result<Catalog> {
        let found = session
            .query(
                OPERATION,
                RELATION,
                &[(&oid, Type::OID), (&USERS_TABLE.as_slice(), Type::TEXT_ARRAY)],
            )
            .await?;
        let found = found.into_iter().next();
        let mut catalog = Catalog { table: None, rights: Rights::default() };
        if let Some(row) = found {
            catalog.table = Some(read_table(session, table, &row).await?);
        }
        let schema = catalog.table.as_ref().map(|found| found.schema.clone()).or(schema);
        let row = one(session, RIGHTS, &[(&schema, Type::TEXT)]).await?;
        catalog.rights = Rights {
            user: get(&row, 0)?,
            database: get(&row, 1)?,
            schema: get(&row, 2)?,
            create_in_schema: get(&row, 3)?,
            temporary: get(&row, 4)?,
            create_in_database: get(&row, 5)?,
            closed: None,
        };
        if catalog.table.is_none() {
            let parameters: [Parameter<'_>; 1] = [(&table.name(), Type::TEXT)];
            let rows = session.query(OPERATION, CLOSED, &parameters).await?;
            let closed = rows.first().map(|row| Ok((get(row, 0)?, get(row, 1)?)));
            catalog.rights.closed = closed.transpose()?;
        }
        Ok(catalog)
    }
}

/// The statement is read under our path, and looks under the user's: from the inside to the outside the
/// path is made the user's, looked along, made ours again.
const LED: &str = "SELECT f.oid, f.schema, set_config('search_path', 'pg_catalog, pg_temp', true) \
     FROM (SELECT CASE WHEN p.path IS NOT NULL THEN to_regclass($1)::oid END AS oid, \
         CASE WHEN p.path IS NOT NULL THEN current_schema()::text END AS schema \
       FROM (SELECT set_config('search_path', current_setting('dual.path'), true) AS path OFFSET 0) AS p \
       OFFSET 0) AS f";

/// The schemas of the path that are there, and are not open to this user.
const CLOSED: &str = "SELECT n.nspname::text, EXISTS (SELECT FROM pg_class AS c \
       WHERE c.relnamespace = n.oid AND c.relname = $1::text) \
     FROM unnest(string_to_array(replace(current_setting('dual.path'), '\"$user\"', current_user), ',')) \
       WITH ORDINALITY AS p (name, at) \
     JOIN pg_namespace AS n ON n.nspname = btrim(p.name, ' \"') \
     WHERE NOT has_schema_privilege(n.oid, 'USAGE') ORDER BY 2 DESC, p.at LIMIT 1";

/// Result columns are cast to types that every driver knows, so that no second question for a
/// type is needed.
const RELATION: &str = "SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
     row_security_active(c.oid), pg_has_role(c.relowner, 'USAGE'), \
     ARRAY(SELECT r FROM unnest($2) AS r WHERE NOT has_table_privilege(c.oid, r)), \
     (SELECT format('%I.%I', m.nspname, p.relname) FROM pg_catalog.pg_inherits i \
           JOIN pg_catalog.pg_class p ON p.oid = i.inhparent \
           JOIN pg_catalog.pg_namespace m ON m.oid = p.relnamespace \
           WHERE i.inhrelid = c.oid ORDER BY i.inhseqno LIMIT 1), \
     ARRAY(SELECT r.rulename::text FROM pg_catalog.pg_rewrite r \
           WHERE r.ev_class = c.oid AND r.ev_type <> '1' AND r.ev_enabled <> 'D' ORDER BY 1) \
     FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.oid = $1";

const COLUMNS: &str = "SELECT a.attname::text, format_type(b.oid, NULL), \
     format_type(a.atttypid, a.atttypmod), \
     CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END, \
     a.attnotnull OR t.typnotnull, pg_get_expr(d.adbin, d.adrelid), a.attidentity::text, \
     a.attgenerated::text, n.nspname::text, b.typname::text \
     FROM pg_catalog.pg_attribute a \
     JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
     JOIN pg_catalog.pg_type b ON b.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END \
     JOIN pg_catalog.pg_namespace n ON n.oid = b.typnamespace \
     LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

const UNIQUE_INDEXES: &str = "SELECT c.relname::text, i.indisprimary, \
     ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, position) \
           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
           WHERE k.position <= i.indnkeyatts ORDER BY k.position) \
     FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
     WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indisready AND i.indimmediate \
     AND i.indpred IS NULL AND i.indexprs IS NULL \
     ORDER BY i.indisprimary DESC, c.relname";

/// The sequence that the column owns, or else the one that its default takes numbers from.
const SEQUENCE: &str = "SELECT n.nspname::text, c.relname::text, \
     has_sequence_privilege(c.oid, 'SELECT'), \
     has_sequence_privilege(c.oid, 'USAGE') \
       OR has_sequence_privilege(c.oid, 'SELECT') AND has_sequence_privilege(c.oid, 'UPDATE'), \
     has_sequence_privilege(c.oid, 'UPDATE'), \
     (SELECT q.seqmax / 2 FROM pg_catalog.pg_sequence AS q WHERE q.seqrelid = c.oid), \
     (SELECT q.seqtypid <> 'bigint'::regtype FROM pg_catalog.pg_sequence AS q WHERE q.seqrelid = c.oid) \
     FROM pg_catalog.pg_attribute a \
     LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
     JOIN pg_catalog.pg_depend p ON p.classid = 'pg_class'::regclass AND p.deptype IN ('a', 'i') \
          AND p.refclassid = 'pg_class'::regclass AND p.refobjid = a.attrelid AND p.refobjsubid = a.attnum \
       OR p.classid = 'pg_attrdef'::regclass AND p.objid = d.oid AND p.refclassid = 'pg_class'::regclass \
     JOIN pg_catalog.pg_class c ON c.relkind = 'S' \
          AND c.oid = CASE WHEN p.classid = 'pg_class'::regclass THEN p.objid ELSE p.refobjid END \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     WHERE a.attrelid = $1 AND a.attname = $2 \
     ORDER BY p.classid = 'pg_attrdef'::regclass DESC LIMIT 1";

/// The state of a sequence from which numbers may be taken, but which may not be read: the view tells
/// the last one that was taken.
const HANDED_OUT: &str = "SELECT coalesce(last_value, start_value), last_value IS NOT NULL \
     FROM pg_catalog.pg_sequences WHERE schemaname = $1 AND sequencename = $2";

/// What is made of a column and keeps its type as it is: views and rules, triggers that name it, policies,
/// generated columns, the key of partitions. What is ours is made anew.
const PINNED: &str = "SELECT DISTINCT a.attname::text, CASE d.classid \
         WHEN 'pg_rewrite'::regclass THEN (SELECT CASE c.relkind WHEN 'v' THEN 'the view ' \
             WHEN 'm' THEN 'the materialized view ' ELSE 'a rule of ' END || c.oid::regclass::text \
           FROM pg_rewrite AS r JOIN pg_class AS c ON c.oid = r.ev_class WHERE r.oid = d.objid) \
         WHEN 'pg_trigger'::regclass THEN (SELECT 'the trigger ' || t.tgname FROM pg_trigger AS t \
           WHERE t.oid = d.objid AND NOT t.tgisinternal AND t.tgname <> 'dual_rekeyed') \
         WHEN 'pg_policy'::regclass THEN (SELECT 'the policy ' || p.polname FROM pg_policy AS p WHERE p.oid = d.objid) \
         WHEN 'pg_attrdef'::regclass THEN (SELECT 'the generated column ' || g.attname FROM pg_attrdef AS e \
           JOIN pg_attribute AS g ON g.attrelid = e.adrelid AND g.attnum = e.adnum \
           WHERE e.oid = d.objid AND g.attgenerated <> '') \
         ELSE 'the key of its partitions' END \
     FROM pg_attribute AS a JOIN pg_depend AS d ON d.refclassid = 'pg_class'::regclass \
       AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum \
       AND (d.classid IN ('pg_rewrite'::regclass, 'pg_trigger'::regclass, 'pg_policy'::regclass, \
           'pg_attrdef'::regclass) \
         OR d.classid = 'pg_class'::regclass AND d.objid = a.attrelid AND d.objsubid = 0 AND d.deptype = 'i') \
     WHERE a.attrelid = $1 AND a.attnum > 0 ORDER BY 1, 2";

const RIGHTS: &str = "SELECT current_user::text, current_database()::text, \
     $1, coalesce(has_schema_privilege($1, 'CREATE'), false), \
     has_database_privilege(current_database(), 'TEMPORARY'), \
     has_database_privilege(current_database(), 'CREATE')";

async fn read_table(session: &Session, table: &Table, row: &Row) -> Result<FoundTable> {
    let mut found = FoundTable {
        oid: get(row, 0)?,
        schema: get(row, 1)?,
        name: get(row, 2)?,
        kind: match get::<String>(row, 3)?.as_str() {
            "r" | "p" => RelationKind::Table,
            "v" | "m" => RelationKind::View,
            "f" => RelationKind::Foreign,
            _ => RelationKind::Other,
        },
        row_security: get(row, 4)?,
        owner: get(row, 5)?,
        missing_rights: get(row, 6)?,
        parent: get(row, 7)?,
        rules: get(row, 8)?,
        ..FoundTable::default()
    };
    found.columns = columns_of(session, found.oid).await?;
    found.unique_indexes = unique_of(session, found.oid).await?;
    if table.widens() {
        for row in session.query(OPERATION, PINNED, &[(&found.oid, Type::OID)]).await? {
            let what: Option<String> = get(&row, 1)?;
            let column: String = get(&row, 0)?;
            found.pinned.extend(what.map(|what| (column, what)));
        }
    }
    if let Some(surrogate) = table.numbered() {
        found.sequence = sequence(session, found.oid, &surrogate.name).await?;
    }
    if found.kind == RelationKind::Table && !found.missing_rights.iter().any(|r| r == "SELECT") {
        count(session, table, &mut found).await?;
    }
    Ok(found)
}

/// The columns of the relation with that object id, in their order.
///
/// # Errors
/// As [`Session::query`].
pub(super) async fn columns_of(session: &Session, oid: u32) -> Result<Vec<FoundColumn>> {
    let rows = session.query(OPERATION, COLUMNS, &[(&oid, Type::OID)]).await?;
    rows.iter().map(column).collect()
}

/// Its unique indexes that `ON CONFLICT` can use, the primary key's first.
///
/// # Errors
/// As [`Session::query`].
pub(super) async fn unique_of(session: &Session, oid: u32) -> Result<Vec<UniqueIndex>> {
    let rows = session.query(OPERATION, UNIQUE_INDEXES, &[(&oid, Type::OID)]).await?;
    let index = |row: &Row| {
        Ok(UniqueIndex { name: get(row, 0)?, primary: get(row, 1)?, columns: get(row, 2)? })
    };
    rows.iter().map(index).collect()
}

fn column(row: &Row) -> Result<FoundColumn> {
    let base_type: String = get(row, 1)?;
    let modifier: i32 = get(row, 3)?;
    // The manual's pg_attribute: what it means depends on the type; -1 is "none".
    let length = u32::try_from(modifier.saturating_sub(4)).ok();
    let precision = u32::try_from(modifier).ok();
    let numeric = length.filter(|_| base_type == "numeric");
    // Eleven bits with a sign, from PostgreSQL 15 on.
    let scale = numeric.map(|packed| packed & 0x7ff).filter(|scale| *scale < 0x400);
    let (identity, generated): (String, String) = (get(row, 6)?, get(row, 7)?);
    Ok(FoundColumn {
        name: get(row, 0)?,
        type_name: (get(row, 8)?, get(row, 9)?),
        full_type: get(row, 2)?,
        length: length.filter(|_| base_type == "character varying"),
        precision: precision.filter(|_| base_type.starts_with("timestamp")).or(scale),
        digits: numeric.map(|packed| packed >> 16),
        not_null: get(row, 4)?,
        default: get(row, 5)?,
        identity: !identity.is_empty(),
        identity_always: identity == "a",
        generated: !generated.is_empty(),
        base_type,
    })
}

async fn sequence(session: &Session, oid: u32, column: &str) -> Result<Option<Sequence>> {
    let parameters: &[Parameter<'_>] = &[(&oid, Type::OID), (&column, Type::NAME)];
    let Some(row) = session.query(OPERATION, SEQUENCE, parameters).await?.into_iter().next() else {
        return Ok(None);
    };
    let (schema, own): (String, String) = (get(&row, 0)?, get(&row, 1)?);
    let name = format!("{}.{}", quoted(&schema), quoted(&own));
    let (readable, usable): (bool, bool) = (get(&row, 2)?, get(&row, 3)?);
    let state = if readable {
        let sql = format!("SELECT last_value, is_called FROM {name}");
        Some(one(session, &sql, &[]).await?)
    } else if usable {
        Some(one(session, HANDED_OUT, &[(&schema, Type::NAME), (&own, Type::NAME)]).await?)
    } else {
        None
    };
    let next = |row: Row| -> Result<i64> {
        let last: i64 = get(&row, 0)?;
        Ok(if get(&row, 1)? { last.saturating_add(1) } else { last })
    };
    let next = state.map(next).transpose()?;
    let (settable, limit, narrow) = (get(&row, 4)?, get(&row, 5)?, get(&row, 6)?);
    Ok(Some(Sequence { name, next, usable, settable, limit, narrow }))
}

/// What only the rows can tell; each question only where its answer matters, because the last
/// ones read the whole table.
async fn count(session: &Session, table: &Table, found: &mut FoundTable) -> Result<()> {
    let from = found.qualified();
    let whole = |column: &FoundColumn| {
        matches!(column.base_type.as_str(), "smallint" | "integer" | "bigint")
    };
    let sql = format!("SELECT NOT EXISTS (SELECT FROM {from})");
    found.empty = get(&one(session, &sql, &[]).await?, 0)?;
    let surrogate = table.numbered().map(|column| &column.name);
    if let Some(surrogate) = surrogate.filter(|name| found.column(name).is_some_and(whole)) {
        let column = quoted(surrogate);
        let limit = found.sequence.as_ref().map_or(i64::MAX, |sequence| sequence.limit);
        let sql = format!("SELECT max({column})::bigint FROM {from} WHERE {column} <= {limit}");
        found.max_surrogate = get(&one(session, &sql, &[]).await?, 0)?;
        if found.sequence.is_none() {
            let sql = format!("SELECT count(*) FROM {from} WHERE {column} IS NULL");
            found.null_surrogates = get(&one(session, &sql, &[]).await?, 0)?;
        }
    }
    let key: Vec<&str> = table.key_columns().map(|column| &*column.name).collect();
    let columns: Option<Vec<&FoundColumn>> = key.iter().map(|name| found.column(name)).collect();
    if let Some(columns) = columns {
        let names: Vec<String> = key.iter().map(|name| quoted(name)).collect();
        let each = |is: &str, joined: &str| {
            let each = names.iter().map(|name| format!("{name} {is}"));
            each.collect::<Vec<_>>().join(joined)
        };
        if columns.iter().any(|column| !column.not_null) {
            let sql = format!("SELECT count(*) FROM {from} WHERE {}", each("IS NULL", " OR "));
            found.null_keys = get(&one(session, &sql, &[]).await?, 0)?;
        }
        if found.unique_on(&key).is_none() {
            let sql = format!(
                "SELECT count(*) FROM (SELECT FROM {from} WHERE {} \
                 GROUP BY {} HAVING count(*) > 1) AS repeated",
                each("IS NOT NULL", " AND "),
                names.join(", "),
            );
            found.duplicate_keys = get(&one(session, &sql, &[]).await?, 0)?;
        }
    }
    Ok(())
}

async fn one(session: &Session, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row> {
    session.query(OPERATION, sql, parameters).await?.into_iter().next().ok_or_else(|| {
        Error::new(Kind::Unavailable(Store::Postgres), OPERATION, "a question has no answer")
    })
}

fn get<'row, T: FromSql<'row>>(row: &'row Row, position: usize) -> Result<T> {
    row.try_get(position).map_err(|error| {
        Error::new(Kind::Internal, OPERATION, format!("column {position}: {error}"))
    })
}
