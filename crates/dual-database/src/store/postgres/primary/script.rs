//! What an administrator can run where the role that runs the programs may not install, and the grants
//! for that role. The statements are those that [`super::prepare`] runs.

use tokio_postgres::types::Type;

use super::prepare::{Planned, plan_known};
use crate::schema::{Table, quoted, quoted_body, quoted_text};
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::capture::{
    Layout, On, Right, SchemaStanding, USERS_SEQUENCE, given_back, not_kept_elsewhere,
    noted_runtime, of_ours, of_users, ours_alone,
};
use crate::store::postgres::{OURS, Parameter, Session};
use crate::{Error, Kind, Result};

const OPERATION: &str = "write down what is to be done in PostgreSQL";

/// What every transaction of ours has, so that the text means there what it means here.
const SETTINGS: [&str; 5] = [
    "SET LOCAL client_encoding = 'UTF8'",
    "SET LOCAL standard_conforming_strings = on",
    "SET LOCAL client_min_messages = warning",
    "SET LOCAL lock_timeout = '1min'",
    OURS,
];

/// Which of the rights on the user's things the role lacks; what is not there yet lacks all.
const LACKED: &str = "SELECT w.at::integer - 1 FROM unnest($2, $3, $4) WITH ORDINALITY AS w (kind, object, privilege, at) \
     WHERE NOT coalesce(CASE w.kind \
       WHEN 'DATABASE' THEN has_database_privilege($1::name, current_database()::text, w.privilege) \
       WHEN 'SCHEMA' THEN has_schema_privilege($1::name, to_regnamespace(w.object)::oid, w.privilege) \
       WHEN 'TABLE' THEN has_table_privilege($1::name, to_regclass(w.object)::oid, w.privilege) \
       ELSE has_sequence_privilege($1::name, to_regclass(w.object)::oid, w.privilege) END, false) \
     ORDER BY w.at";

/// Everything from nothing to an installation that `runtime`, or else the role that is connected, can
/// run, as one text for `psql`. Changes nothing, and needs no right but to read the catalog.
///
/// # Errors
/// Configuration if there is no such role; about the schema if a table is in the way; else as for
/// [`Session::query`].
pub(crate) async fn script(
    session: &Session,
    tables: &[Table],
    runtime: Option<&str>,
) -> Result<String> {
    session.begin_snapshot(OPERATION).await?;
    let owns_all = is_superuser(session, session.user()).await? == Some(true);
    let role = match runtime {
        Some(role) => Some(known_role(session, role).await?),
        None => Some(session.user().to_owned()).filter(|_| !owns_all),
    };
    let standing = SchemaStanding::read(session, tables).await?;
    standing.trusted(session)?;
    standing.kept_nowhere_else(session, tables).await?;
    let (mut statements, mut planned) = (Vec::new(), Vec::new());
    for table in tables {
        let known = plan_known(session, table, true).await?;
        if let Some(refusal) = known.plan.shape_refusal(OPERATION) {
            return Err(refusal);
        }
        let layout = Layout::new(table, &known.plan.target).within(session);
        if known.catalog.table.is_some() {
            not_kept_elsewhere(session, &layout).await?;
        }
        ours_alone(session, table, known.catalog.rights.schema.as_deref()).await?;
        statements.extend(layout.begun().into_iter().map(|statement| statement.sql));
        statements.extend(known.plan.steps.iter().map(|step| step.statement()));
        statements.extend(layout.placed().into_iter().map(|statement| statement.sql));
        statements.push(layout.mended());
        statements.extend(layout.noted());
        planned.push((table, known, layout));
    }
    let layouts: Vec<&Layout> = planned.iter().map(|(_, _, layout)| layout).collect();
    statements.push(given_back(session.schema(), &layouts));
    if let Some(role) = &role {
        statements.extend(grants(session, &planned, role).await?);
    }
    session.rollback(OPERATION).await?;
    let settings = SETTINGS.map(str::to_owned);
    let all: Vec<String> = settings.into_iter().chain(statements).map(|sql| sql + ";\n").collect();
    Ok(format!(
        "-- Dual Database in {database:?}{role}.\n\
         -- For psql, as the role that owns the tables (or is to): all of it or nothing is done, and it\n\
         -- can be run again. (A client other than psql takes it without the next line.)\n\
         \\set ON_ERROR_STOP on\n\
         BEGIN;\n{statements}COMMIT;\n",
        database = session.database(),
        role = role.map_or(String::new(), |role| {
            format!(", for the role {role:?}, which runs the programs and owns nothing")
        }),
        statements = all.concat(),
    ))
}

/// Gives `role` the rights of one that runs what is installed, and owns nothing.
///
/// # Errors
/// Configuration if there is no such role; access denied if this one may not give them.
pub(crate) async fn grant(session: &Session, tables: &[Table], role: &str) -> Result<()> {
    let operation = "give the rights to run";
    session.begin(operation).await?;
    let role = known_role(session, role).await?;
    let mut planned = Vec::new();
    for table in tables {
        let known = plan_known(session, table, true).await?;
        let layout = Layout::new(table, &known.plan.target).within(session);
        planned.push((table, known, layout));
    }
    for sql in grants(session, &planned, &role).await? {
        session.batch(operation, &sql).await?;
    }
    session.commit(operation).await
}

/// The role as PostgreSQL knows it.
///
/// # Errors
/// Configuration if it does not, or if the role is a superuser: that one needs no rights.
pub(crate) async fn known_role(session: &Session, role: &str) -> Result<String> {
    let refused =
        |message, hint| Err(Error::new(Kind::Configuration, OPERATION, message).with_hint(hint));
    match is_superuser(session, role).await? {
        Some(false) => Ok(role.to_owned()),
        Some(true) => refused(
            format!("{} is a superuser, and needs no rights", quoted(role)),
            "name the role that the programs connect as, or leave it out",
        ),
        None => refused(
            format!("there is no role {} in PostgreSQL", quoted(role)),
            "give the name of one as it is, upper and lower case count; CREATE ROLE makes it",
        ),
    }
}

/// Whether the role is a superuser; `None` if there is none of that name.
async fn is_superuser(session: &Session, role: &str) -> Result<Option<bool>> {
    let sql = "SELECT rolsuper FROM pg_roles WHERE rolname = $1::text";
    let rows = session.query(OPERATION, sql, &[(&role, Type::TEXT)]).await?;
    rows.first().map(|row| column(row, 0, OPERATION)).transpose()
}

async fn grants(
    session: &Session,
    planned: &[(&Table, Planned, Layout)],
    role: &str,
) -> Result<Vec<String>> {
    let to = quoted(role);
    let layouts = planned.iter().map(|(_, _, layout)| layout);
    let ours = of_ours(session.schema(), layouts);
    let mut statements: Vec<String> = ours.iter().map(|right| right.granted(&to)).collect();
    statements.push(noted_runtime(session.schema(), role));
    for (table, Planned { catalog, plan, .. }, _) in planned {
        let found = catalog.table.as_ref();
        let sequence = found.and_then(|found| found.sequence.as_ref());
        let rights = of_users(
            session.database(),
            catalog.rights.schema.as_deref(),
            &plan.target.to_string(),
            sequence.map(|sequence| sequence.name.as_str()),
        );
        for right in lacked(session, rights, role).await? {
            let sql = right.granted(&to);
            if !statements.contains(&sql) {
                statements.push(sql);
            }
        }
        // A key that is there without one stays without.
        let numbered = table.surrogate().or_else(|| table.numbered().filter(|_| found.is_none()));
        if let (None, Some(column)) = (sequence, numbered) {
            statements.push(of_its_sequence(&plan.target.to_string(), &column.name, &to));
        }
    }
    Ok(statements)
}

/// On the sequence of a table that is made, or numbered, by the same statements.
fn of_its_sequence(target: &str, column: &str, to: &str) -> String {
    let grant =
        format!("GRANT {} ON SEQUENCE %s TO {}", USERS_SEQUENCE.join(", "), to.replace('%', "%%"));
    let body = format!(
        " BEGIN EXECUTE format({}, pg_get_serial_sequence({}, {})); END ",
        quoted_text(&grant),
        quoted_text(target),
        quoted_text(column)
    );
    format!("DO {}", quoted_body(&body))
}

/// What the role does not have by itself, by PUBLIC or as the owner.
async fn lacked(session: &Session, rights: Vec<Right>, role: &str) -> Result<Vec<Right>> {
    let each: Vec<(On, &str, &'static str)> = rights.iter().flat_map(Right::each).collect();
    let kinds: Vec<&str> = each.iter().map(|(on, ..)| on.word()).collect();
    let objects: Vec<&str> = each.iter().map(|(_, object, _)| *object).collect();
    let privileges: Vec<&str> = each.iter().map(|(.., privilege)| *privilege).collect();
    let parameters: [Parameter<'_>; 4] = [
        (&role, Type::TEXT),
        (&kinds, Type::TEXT_ARRAY),
        (&objects, Type::TEXT_ARRAY),
        (&privileges, Type::TEXT_ARRAY),
    ];
    let mut missing = Vec::new();
    for row in session.query(OPERATION, LACKED, &parameters).await? {
        let at: i32 = column(&row, 0, OPERATION)?;
        let found = usize::try_from(at).ok().and_then(|at| each.get(at));
        missing.push(*found.ok_or_else(|| unexpected(OPERATION))?);
    }
    Ok(rights.iter().filter_map(|right| right.reduced(|one| missing.contains(&one))).collect())
}
