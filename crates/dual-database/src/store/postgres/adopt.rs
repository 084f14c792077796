//! What is missing for a declared table, as additive steps, and what is in the way. Pure: it
//! compares the declaration with the [`Catalog`].

use std::fmt::Write as _;
use std::sync::Arc;

use super::capture::{USERS_SEQUENCE, guarded};
use super::catalog::{Catalog, FoundColumn, FoundTable, RelationKind, Rights};
use crate::protocol::Addition;
use crate::schema::{Column, Dialect, QualifiedName, Role, Table, quoted, quoted_text};
use crate::{Error, Kind, Store};

impl Addition {
    /// The statement that does it unless it is done; one without a condition can be repeated.
    #[must_use]
    pub fn statement(&self) -> String {
        match &self.done {
            Some(done) => guarded(&format!("NOT {done}"), &self.sql),
            None => self.sql.clone(),
        }
    }

    /// Whether it sets a sequence, which no rollback takes back.
    pub(in crate::store::postgres) fn sets_sequence(&self) -> bool {
        self.sql.starts_with("SELECT ")
    }
}

/// What sort of thing is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObstacleKind {
    /// A right is missing.
    Right,
    /// The table is of another shape.
    Shape,
}

/// Something that only a person can change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// What sort of thing.
    pub kind: ObstacleKind,
    /// The column that it is about.
    pub column: Option<String>,
    /// What is in the way, as a clause.
    pub what: String,
    /// What the owner could run, if a statement can help.
    pub sql: Option<String>,
}

/// What is to be done before rows can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaPlan {
    /// The table's name, existing or to be made.
    pub target: QualifiedName,
    /// Whether the table is to be made.
    pub creates: bool,
    /// What is to be run, in this order.
    pub steps: Vec<Addition>,
    /// What is in the way; if there is anything, no step may be run.
    pub obstacles: Vec<Obstacle>,
    /// Whether the owner's rights do not suffice to remove them.
    superuser: bool,
    /// What it was called before somebody took it away.
    was: Option<String>,
    /// What a person could do, where no statement of the owner's helps.
    pub advice: Option<String>,
    /// The most characters of a text column that has a limit.
    pub lengths: Vec<(Arc<str>, u32)>,
    /// Columns besides key and surrogate that refuse NULL.
    pub required: Vec<Arc<str>>,
    /// Integer columns whose values the server keeps in 64 bits although 32 are declared.
    pub wider: Vec<Arc<str>>,
}

impl SchemaPlan {
    /// Nothing is to be done and nothing is in the way.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.steps.is_empty() && self.obstacles.is_empty()
    }

    /// The error that the obstacles are, if there are any: access denied if only rights are
    /// missing, else about the schema. Its hint is the SQL for the owner.
    #[must_use]
    pub fn refusal(&self, operation: &'static str) -> Option<Error> {
        self.refusal_of(operation, |_| true)
    }

    /// The same of what no right would help with.
    pub(super) fn shape_refusal(&self, operation: &'static str) -> Option<Error> {
        self.refusal_of(operation, |kind| kind == ObstacleKind::Shape)
    }

    fn refusal_of(
        &self,
        operation: &'static str,
        counts: impl Fn(ObstacleKind) -> bool,
    ) -> Option<Error> {
        let obstacles: Vec<&Obstacle> =
            self.obstacles.iter().filter(|obstacle| counts(obstacle.kind)).collect();
        if obstacles.is_empty() {
            return None;
        }
        let rights = obstacles.iter().all(|obstacle| obstacle.kind == ObstacleKind::Right);
        let kind = if rights { Kind::AccessDenied } else { Kind::Schema(Store::Postgres) };
        let reasons: Vec<&str> = obstacles.iter().map(|obstacle| obstacle.what.as_str()).collect();
        let about = self.was.clone().unwrap_or_else(|| self.target.to_string());
        let error = Error::new(kind, operation, format!("{about}: {}", reasons.join("; ")));
        let statements: Vec<&str> =
            obstacles.iter().filter_map(|obstacle| obstacle.sql.as_deref()).collect();
        if let Some(advice) = &self.advice {
            return Some(error.with_hint(advice));
        }
        if statements.is_empty() {
            return Some(error);
        }
        let who = if self.superuser { "a superuser" } else { "the owner" };
        Some(error.with_hint(format!("{who} can run: {};", statements.join("; "))))
    }

    /// Somebody has taken away what was tracked: that is for a person to decide about.
    pub(super) fn taken_away(&mut self, was: &str, what: &str, advice: &str) {
        self.was = Some(was.to_owned());
        self.advice = Some(advice.to_owned());
        self.obstacles.clear();
        self.shape(None, what, None);
    }

    /// What capture cannot live with, of a table that is to be tracked.
    pub(super) fn capture(&mut self, found: &FoundTable) {
        if let Some(parent) = &found.parent {
            let what = format!("it is a part of {parent}: writes to that would pass it by");
            self.shape(None, what, None);
            self.advice.get_or_insert(format!("join {parent} under that name instead"));
        }
        for rule in &found.rules {
            let rule = quoted(rule);
            let what = format!("the rule {rule} rewrites the writes to it; a trigger can do that");
            let sql = format!("DROP RULE {rule} ON {}", self.target);
            self.shape(None, what, Some(sql));
        }
    }

    /// In a database that takes bytes of any kind a text may be none, and nobody could be told of its row.
    pub(super) fn any_bytes(&mut self, table: &Table) {
        for (_, column) in table.key_columns().filter(|(_, column)| column.kind.is_text()) {
            let what = format!(
                "{} is of its key, and a text of this database, which is SQL_ASCII, may be bytes of any kind",
                quoted(&column.name)
            );
            self.shape(Some(&column.name), what, None);
        }
    }

    fn step(&mut self, what: impl Into<String>, sql: impl Into<String>, done: Option<String>) {
        self.steps.push(Addition { done, ..Addition::new(what, sql) });
    }

    /// The column has that, a condition over its `pg_attribute` as `a`.
    fn column_has(&self, name: &str, what: &str) -> String {
        format!(
            "EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = to_regclass({}) \
             AND a.attname = {} AND NOT a.attisdropped AND {what})",
            quoted_text(&self.target.to_string()),
            quoted_text(name)
        )
    }

    fn shape(&mut self, column: Option<&str>, what: impl Into<String>, sql: Option<String>) {
        let column = column.map(str::to_owned);
        self.obstacles.push(Obstacle { kind: ObstacleKind::Shape, column, what: what.into(), sql });
    }

    fn right(&mut self, what: impl Into<String>, sql: impl Into<String>) {
        let (kind, what, sql) = (ObstacleKind::Right, what.into(), Some(sql.into()));
        self.obstacles.push(Obstacle { kind, column: None, what, sql });
    }
}

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
            Some(there) if there.name != *column.name => renamed_column(plan, column, there),
            Some(there) => present_column(plan, column, there),
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
    present_column(plan, column, there);
}

fn present_column(plan: &mut SchemaPlan, column: &Column, there: &FoundColumn) {
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
    if !fits {
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
    let columns: Vec<&str> = table.key_columns().map(|(_, column)| &*column.name).collect();
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
