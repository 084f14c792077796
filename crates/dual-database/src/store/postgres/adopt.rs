//! What is missing for a declared table, as additive steps, and what is in the way. Pure: it
//! compares the declaration with the [`Catalog`].

use std::fmt::Write as _;
use std::sync::Arc;

use super::capture::USERS_SEQUENCE;
use super::found::{Catalog, FoundColumn, FoundTable, RelationKind, Rights};
use super::schema_plan::SchemaPlan;
use crate::schema::{Column, Dialect, QualifiedName, Role, Table, quoted, quoted_text};

/// Compares the declaration with what there is, for an import, which needs temporary tables
/// besides.
#[must_use]
pub fn plan(table: &Table, catalog: &Catalog) -> SchemaPlan {
    let mut plan = plan_table(table, catalog);
    let rights = &catalog.rights;
    if !rights.temporary {
        plan.right(
            format!("no right to make temporary tables in {}", quoted(&rights.database)),
            format!(
                "GRANT TEMPORARY ON DATABASE {} TO {}",
                quoted(&rights.database),
                quoted(&rights.user)
            ),
        );
    }
    plan
}

/// Compares the declaration with what there is.
#[must_use]
pub(crate) fn plan_table(table: &Table, catalog: &Catalog) -> SchemaPlan {
    let mut plan = SchemaPlan::default();
    match &catalog.table {
        None => create(&mut plan, table, &catalog.rights),
        Some(found) => {
            plan.target = found.qualified();
            adopt(&mut plan, table, found, &catalog.rights.user);
            may_change(&mut plan, found, &catalog.rights);
        }
    }
    plan
}

fn create(plan: &mut SchemaPlan, table: &Table, rights: &Rights) {
    plan.creates = true;
    let open = |schema: &str| {
        Some(format!("GRANT USAGE ON SCHEMA {} TO {}", quoted(schema), quoted(&rights.user)))
    };
    if let Some((schema, true)) = &rights.closed {
        plan.target = QualifiedName::new(&**schema, table.name());
        let what = format!(
            "{} is there, in a schema that {} may not use: another table would be made beside it",
            plan.target,
            quoted(&rights.user)
        );
        plan.shape(None, what, open(schema));
        return;
    }
    let Some(schema) = &rights.schema else {
        plan.target = table.name().into();
        if let Some((schema, _)) = &rights.closed {
            let what = format!(
                "{} may use no schema of the search_path, such as {}",
                quoted(&rights.user),
                quoted(schema)
            );
            plan.shape(None, what, open(schema));
            return;
        }
        plan.shape(
            None,
            "no schema of the search_path exists in which the table could be made",
            Some(format!("CREATE SCHEMA public AUTHORIZATION {}", quoted(&rights.user))),
        );
        return;
    };
    plan.target = QualifiedName::new(&**schema, table.name());
    let sql = table.create_statement(Dialect::Postgres, &plan.target.to_string());
    let done = format!("to_regclass({}) IS NOT NULL", quoted_text(&plan.target.to_string()));
    plan.step(format!("create the table {}", plan.target), sql, Some(done));
    if !rights.create_in_schema {
        plan.right(
            format!("no right to make tables in the schema {}", quoted(schema)),
            format!("GRANT USAGE, CREATE ON SCHEMA {} TO {}", quoted(schema), quoted(&rights.user)),
        );
    }
}

fn adopt(plan: &mut SchemaPlan, table: &Table, found: &FoundTable, user: &str) {
    let is = match found.kind {
        RelationKind::Table => None,
        RelationKind::View => Some("a view"),
        RelationKind::Foreign => Some("a foreign table"),
        RelationKind::Other => Some("no table"),
    };
    if let Some(is) = is {
        plan.shape(None, format!("it is {is}, a table is needed"), None);
        return;
    }
    if found.row_security {
        plan.superuser = true;
        let sql = format!("ALTER ROLE {} BYPASSRLS", quoted(user));
        plan.shape(None, "row security hides rows from this user", Some(sql));
    }
    for column in table.columns() {
        match found.present(column) {
            None => missing_column(plan, column, found),
            Some(there) => {
                if there.name != *column.name {
                    renamed_column(plan, column, there);
                }
                present_column(plan, (table, column), (found, there));
            }
        }
    }
    for extra in &found.columns {
        let filled = extra.default.is_some() || extra.identity || extra.generated;
        let is_known = table
            .columns()
            .iter()
            .any(|column| found.present(column).is_some_and(|present| present.name == extra.name));
        if !is_known && extra.not_null && !filled {
            let sql = format!(
                "ALTER TABLE {} ALTER COLUMN {} DROP NOT NULL",
                plan.target,
                quoted(&extra.name)
            );
            let what = format!(
                "{} is NOT NULL without a default, and not known here",
                quoted(&extra.name)
            );
            plan.shape(Some(&extra.name), what, Some(sql));
        }
    }
    unique_key(plan, table, found);
    widened_sequence(plan, table, found);
    surrogate_sequence(plan, table, found);
}

fn missing_column(plan: &mut SchemaPlan, column: &Column, found: &FoundTable) {
    let name = quoted(&column.name);
    if column.role == Role::Key && !found.empty {
        plan.shape(Some(&column.name), format!("its rows have no {name}, the key"), None);
        return;
    }
    let sql = format!(
        "ALTER TABLE {} ADD COLUMN IF NOT EXISTS {}",
        plan.target,
        column.added_definition(Dialect::Postgres)
    );
    let done = plan.column_has(&column.name, "true");
    plan.step(format!("add the column {name}"), sql, Some(done));
}

fn renamed_column(plan: &mut SchemaPlan, column: &Column, there: &FoundColumn) {
    let (old, new) = (quoted(&there.name), quoted(&column.name));
    let sql = format!("ALTER TABLE {} RENAME COLUMN {old} TO {new}", plan.target);
    let done = plan.column_has(&column.name, "true");
    plan.step(format!("rename the column {old} to {new}"), sql, Some(done));
}

fn present_column(
    plan: &mut SchemaPlan,
    (table, column): (&Table, &Column),
    (found, there): (&FoundTable, &FoundColumn),
) {
    let name = quoted(&column.name);
    if there.generated || (there.identity_always && column.role != Role::Surrogate) {
        let clause = if there.generated { "DROP EXPRESSION" } else { "DROP IDENTITY" };
        let sql = format!("ALTER TABLE {} ALTER COLUMN {name} {clause}", plan.target);
        plan.shape(
            Some(&column.name),
            format!("{name} is generated and cannot be written"),
            Some(sql),
        );
    }
    let base = there.base_type.as_str();
    let description = column.kind.description();
    let fits = description.fits_postgres(base, there.precision);
    let may_widen = table.may_widen(&column.name) && matches!(base, "smallint" | "integer");
    if !fits && may_widen && there.full_type != base {
        let what = format!(
            "{name} is {}, a type of your own: to make the column bigint would take away what that checks",
            there.full_type
        );
        plan.shape(Some(&column.name), what, None);
        plan.advice.get_or_insert_with(|| {
            format!(
                "make {} one of bigint, or make {name} bigint, and run it again",
                there.full_type
            )
        });
    } else if !fits && may_widen {
        widened_column(plan, column, found);
    } else if !fits {
        let wanted = column.kind.sql(Dialect::Postgres);
        let what = format!("{name} is {}, {wanted} is needed", there.full_type);
        plan.shape(Some(&column.name), what, Some(retype(&plan.target, column, there)));
        return;
    }
    if let Some(length) = there.length {
        plan.lengths.push((Arc::clone(&column.name), length));
    }
    if there.not_null && column.role == Role::Data {
        plan.required.push(Arc::clone(&column.name));
    }
    if description.is_wider(base) {
        plan.wider.push(Arc::clone(&column.name));
    }
}

/// A person lets a column of fewer bits take numbers of 64: it is one statement that writes the table anew, and one
/// for the sequence, which goes no further than its own type.
fn widened_column(plan: &mut SchemaPlan, column: &Column, found: &FoundTable) {
    let name = quoted(&column.name);
    let pinned = found.pinned.iter().filter(|(pinned, _)| *pinned == *column.name);
    let pinned: Vec<&str> = pinned.map(|(_, what)| what.as_str()).collect();
    if !pinned.is_empty() {
        let what = format!(
            "{name} cannot be made bigint: PostgreSQL changes no type of a column of which {} is made",
            pinned.join(", ")
        );
        plan.shape(Some(&column.name), what, None);
        plan.advice.get_or_insert_with(|| {
            format!("drop {} first, and make it anew when the column is bigint", pinned.join(", "))
        });
        return;
    }
    let change = format!("ALTER TABLE {} ALTER COLUMN {name} TYPE bigint", plan.target);
    // Ours compares the key, and keeps its type as it is; it is missed then, and made anew with the others.
    let sql = match column.role {
        Role::Key => format!("DROP TRIGGER IF EXISTS dual_rekeyed ON {}; {change}", plan.target),
        Role::Surrogate | Role::Data => change,
    };
    let done = plan.column_has(&column.name, "a.atttypid = 'bigint'::regtype");
    plan.rewriting(format!("make {name} bigint, which writes the whole table anew"), sql, done);
}

/// One statement that changes the type. A declared default is set anew, because the old one
/// may not convert by itself (`0` to boolean); a default of the owner's is left to convert.
fn retype(target: &QualifiedName, column: &Column, there: &FoundColumn) -> String {
    let name = quoted(&column.name);
    let wanted = column.kind.sql(Dialect::Postgres);
    let using = column.kind.description().converted(&name, &there.base_type);
    let mut sql = format!("ALTER TABLE {target} ");
    let default = column.default.as_ref().filter(|_| there.default.is_some());
    if default.is_some() {
        let _ = write!(sql, "ALTER COLUMN {name} DROP DEFAULT, ");
    }
    let _ = write!(sql, "ALTER COLUMN {name} TYPE {wanted} USING {using}");
    if let Some(value) = default {
        let literal = crate::schema::literal(value, Dialect::Postgres);
        let _ = write!(sql, ", ALTER COLUMN {name} SET DEFAULT {literal}");
    }
    sql
}

fn unique_key(plan: &mut SchemaPlan, table: &Table, found: &FoundTable) {
    let columns: Vec<&str> = table.key_columns().map(|column| &*column.name).collect();
    let names: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
    let (key, name) = (&table.key().name, names.join(", "));
    if found.null_keys > 0 {
        let what = format!("{} of its rows have no {name}, the key", found.null_keys);
        let none = names.join(" IS NULL OR ");
        let sql = format!("SELECT * FROM {} WHERE {none} IS NULL", plan.target);
        plan.shape(Some(key), what, Some(sql));
    }
    if found.unique_on(&columns).is_some() {
        return;
    }
    if found.duplicate_keys > 0 {
        let what = format!(
            "{name}, the key, repeats: {} values occur more than once",
            found.duplicate_keys
        );
        let sql = format!(
            "SELECT {name}, count(*) FROM {} GROUP BY {name} HAVING count(*) > 1",
            plan.target
        );
        plan.shape(Some(key), what, Some(sql));
        return;
    }
    if columns.iter().all(|column| found.column(column).is_some()) || found.empty {
        let sql = format!("CREATE UNIQUE INDEX ON {} ({name})", plan.target);
        let is_theirs = match columns.as_slice() {
            [_] => "i.indkey::text = a.attnum::text".to_owned(),
            several => format!(
                "i.indexprs IS NULL AND ARRAY(SELECT k.attname::text FROM pg_attribute AS k \
                 WHERE k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey)) <@ ARRAY[{}] \
                 AND i.indnatts = {}",
                several.iter().map(|name| quoted_text(name)).collect::<Vec<_>>().join(", "),
                several.len(),
            ),
        };
        let done = plan.column_has(
            key,
            &format!(
                "EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = a.attrelid AND i.indisunique \
                 AND {is_theirs} AND i.indpred IS NULL AND i.indimmediate)"
            ),
        );
        plan.step(format!("make {name} unique"), sql, Some(done));
    }
}

/// The sequence of a column that is made bigint, or was by hand, goes no further than its own type.
fn widened_sequence(plan: &mut SchemaPlan, table: &Table, found: &FoundTable) {
    let numbered = table.numbered().filter(|column| table.may_widen(&column.name));
    let narrow = found.sequence.as_ref().filter(|sequence| sequence.narrow);
    let (Some(column), Some(sequence)) = (numbered, narrow) else { return };
    let done = format!(
        "EXISTS (SELECT FROM pg_sequence AS q WHERE q.seqrelid = to_regclass({}) \
         AND q.seqtypid = 'bigint'::regtype)",
        quoted_text(&sequence.name)
    );
    let sql = format!("ALTER SEQUENCE {} AS bigint", sequence.name);
    plan.step(
        format!("let the numbers of {} go on as bigint", quoted(&column.name)),
        sql,
        Some(done),
    );
}

fn surrogate_sequence(plan: &mut SchemaPlan, table: &Table, found: &FoundTable) {
    let Some(surrogate) = table.numbered().map(|column| &column.name) else { return };
    let is_key = table.surrogate().is_none();
    let name = quoted(surrogate);
    // One that is added numbers the rows that are there, and goes on behind them.
    let Some(there) = found.column(surrogate) else { return };
    if !matches!(there.base_type.as_str(), "integer" | "bigint") || there.generated {
        return;
    }
    match &found.sequence {
        Some(sequence) => {
            let behind = match (sequence.next, found.max_surrogate) {
                (Some(next), Some(max)) => next <= max,
                (None, Some(_)) => true,
                (_, None) => false,
            };
            if behind {
                // Looked at again: others may have taken numbers since, and would get them once more.
                let sql = format!(
                    "SELECT setval({sequence}, n.highest) FROM (SELECT max({name}) AS highest FROM {} WHERE {name} <= {limit}) AS n \
                     WHERE n.highest > coalesce(pg_sequence_last_value({sequence}::regclass), 0)",
                    plan.target,
                    sequence = quoted_text(&sequence.name),
                    limit = sequence.limit,
                );
                plan.step(format!("let the numbers of {name} go on behind the highest"), sql, None);
            }
        }
        // The file numbers its rows; here they are given.
        None if is_key => {}
        None if there.default.is_some() => {
            let sql = format!("ALTER TABLE {} ALTER COLUMN {name} DROP DEFAULT", plan.target);
            let what = format!("{name} has a default that is no sequence");
            plan.shape(Some(surrogate), what, Some(sql));
        }
        None if found.null_surrogates > 0 => {
            let what = format!("{} of its rows have no {name}", found.null_surrogates);
            plan.shape(Some(surrogate), what, None);
        }
        None => {
            if !there.not_null {
                let sql = format!("ALTER TABLE {} ALTER COLUMN {name} SET NOT NULL", plan.target);
                plan.step(format!("let {name} refuse NULL"), sql, None);
            }
            let start = found.max_surrogate.unwrap_or(0).max(0).saturating_add(1);
            let sql = format!(
                "ALTER TABLE {} ALTER COLUMN {name} ADD GENERATED BY DEFAULT AS IDENTITY (START WITH {start})",
                plan.target
            );
            let done = plan.column_has(surrogate, "a.attidentity <> ''");
            plan.step(format!("let {name} be numbered"), sql, Some(done));
        }
    }
}

/// Whether this user may do the steps, and write rows afterwards.
fn may_change(plan: &mut SchemaPlan, found: &FoundTable, rights: &Rights) {
    let user = quoted(&rights.user);
    if !found.missing_rights.is_empty() {
        let missing = found.missing_rights.join(", ");
        let sql = format!("GRANT {missing} ON TABLE {} TO {user}", plan.target);
        plan.right(format!("no right to {missing}"), sql);
    }
    let alters: Vec<String> = plan
        .steps
        .iter()
        .filter(|step| !step.sets_sequence())
        .map(|step| step.sql.clone())
        .collect();
    if !alters.is_empty() && !found.owner {
        plan.right("only the table's owner can change it", alters.join("; "));
    }
    if alters.iter().any(|sql| sql.starts_with("CREATE")) && found.owner && !rights.create_in_schema
    {
        let schema = quoted(&found.schema);
        let sql = format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}");
        plan.right(format!("no right to make an index in the schema {schema}"), sql);
    }
    let sets = plan.steps.len() > alters.len();
    if let Some(sequence) = &found.sequence {
        let [takes, changes] = USERS_SEQUENCE;
        let lacks = [(takes, !sequence.usable), (changes, sets && !sequence.settable)];
        let lacks: Vec<&str> =
            lacks.into_iter().filter(|(_, lacks)| *lacks).map(|(right, _)| right).collect();
        if !lacks.is_empty() {
            let rights = lacks.join(", ");
            let sql = format!("GRANT {rights} ON SEQUENCE {} TO {user}", sequence.name);
            plan.right(format!("no right to use the sequence {}", sequence.name), sql);
        }
    }
}
