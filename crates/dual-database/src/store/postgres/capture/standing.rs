//! What the role that is connected may do: install, or run what is installed, or neither; and what it lacks.

use tokio_postgres::types::Type;

use super::common::is_trusted;
use super::grants::Right;
use super::layout::Layout;
use crate::schema::{QualifiedName, Table, quoted};
use crate::store::postgres::answer::{column, unexpected};
use crate::store::postgres::{Catalog, Parameter, Session};
use crate::{Error, Kind, Result};

const OPERATION: &str = "look at the rights in PostgreSQL";

/// What there is of the schema of ours, and whose it is. Read from the catalog, which anybody may read.
#[derive(Clone, Debug)]
pub(crate) struct SchemaStanding {
    /// Its owner, as it stands in SQL; `None` without the schema.
    owner: Option<String>,
    /// There is an installation in it.
    pub(crate) is_installed: bool,
    /// This role may make it, or change everything in it.
    pub(crate) installs: bool,
    /// What is in it is somebody else's.
    is_foreign: bool,
    /// Its owner could run code as this role anyway.
    is_trusted: bool,
}

/// `$1` the schema, `$2` the tables to which the search path leads; `{trusted}` is [`is_trusted`].
const STANDING: &str = "SELECT quote_ident(pg_get_userbyid(n.nspowner)), \
     EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relname = 'installation'), \
     CASE WHEN n.oid IS NULL THEN has_database_privilege(current_database(), 'CREATE') \
       ELSE pg_has_role(n.nspowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_class AS c \
         WHERE c.relnamespace = n.oid AND c.relkind = 'r' AND NOT pg_has_role(c.relowner, 'USAGE')) END, \
     EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid) AND NOT EXISTS \
       (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid \
         AND c.relname IN ('installation', 'import_run')), \
     n.oid IS NULL OR {trusted} \
     FROM (SELECT $1::text AS name) AS asked \
     LEFT JOIN pg_namespace AS n ON n.nspname = asked.name";

/// `$1` the schema, and of each right what it is on, the name within the schema, and the right. What is
/// not there lacks nothing: that is for whoever installs.
const LACKING: &str = "SELECT w.at::integer - 1 \
     FROM unnest($2, $3, $4) WITH ORDINALITY AS w (kind, name, privilege, at) \
     JOIN pg_namespace AS n ON n.nspname = $1::text WHERE CASE w.kind \
       WHEN 'SCHEMA' THEN NOT has_schema_privilege(n.oid, w.privilege) \
       WHEN 'TABLE' THEN EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid \
         AND c.relname = w.name::name AND NOT CASE WHEN w.privilege LIKE '%)' \
           THEN has_column_privilege(c.oid, substring(w.privilege FROM '\\((.*)\\)'), \
             split_part(w.privilege, ' ', 1)) \
           ELSE has_table_privilege(c.oid, w.privilege) END) \
       ELSE EXISTS (SELECT FROM pg_proc AS p WHERE p.pronamespace = n.oid \
         AND p.proname = w.name::name AND NOT has_function_privilege(p.oid, w.privilege)) END \
     ORDER BY w.at";

/// The schema of the functions that our triggers on the table call, if it is another one.
const KEPT_IN: &str = "SELECT n.nspname::text FROM pg_trigger AS g \
     JOIN pg_proc AS p ON p.oid = g.tgfoid JOIN pg_namespace AS n ON n.oid = p.pronamespace \
     WHERE g.tgrelid = to_regclass($1) AND g.tgname = 'dual_inserted' AND n.nspname <> $2::text";

/// What helps whose schema is not ours alone.
pub(super) const ANOTHER: &str = "name a schema of ours alone: --pg-schema, or pg_schema in dual.toml; \
     one that is not there is made";

/// The name of a table, as it stands in SQL.
const NAMED: &str = "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c \
     JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = $1";

impl SchemaStanding {
    /// Looks at the schema, and whether its owner can be trusted with these tables; in the session's
    /// transaction. Nothing in the schema is read.
    ///
    /// # Errors
    /// As for [`Session::query`].
    pub(crate) async fn read(session: &Session, tables: &[Table]) -> Result<SchemaStanding> {
        SchemaStanding::read_beside(session, tables.iter().map(Table::remote_name)).await
    }

    /// The same beside the tables of these names.
    ///
    /// # Errors
    /// As for [`Session::query`].
    pub(crate) async fn read_beside(
        session: &Session,
        names: impl IntoIterator<Item = QualifiedName>,
    ) -> Result<SchemaStanding> {
        let mut led = Vec::new();
        for name in names {
            led.extend(Catalog::led(session, &name).await?.0);
        }
        let parameters: [Parameter<'_>; 2] =
            [(&session.schema_name(), Type::TEXT), (&led, Type::OID_ARRAY)];
        let sql = STANDING.replace("{trusted}", &is_trusted("n.nspowner", "$2"));
        let rows = session.query(OPERATION, &sql, &parameters).await?;
        let row = rows.first().ok_or_else(|| unexpected(OPERATION))?;
        Ok(SchemaStanding {
            owner: column(row, 0, OPERATION)?,
            is_installed: column(row, 1, OPERATION)?,
            installs: column(row, 2, OPERATION)?,
            is_foreign: column(row, 3, OPERATION)?,
            is_trusted: column(row, 4, OPERATION)?,
        })
    }

    /// Who can neither install nor has anything that he could run.
    ///
    /// # Errors
    /// Configuration if the schema is somebody else's; access denied if there is no installation, and
    /// this role may make none.
    pub(crate) fn check(&self, session: &Session) -> Result<()> {
        let dual = session.schema();
        self.trusted(session)?;
        if self.installs || self.is_installed {
            return Ok(());
        }
        let (database, user) = (quoted(session.database()), quoted(session.user()));
        let (message, hint) = match &self.owner {
            None => (
                format!(
                    "no right to make the schema {dual} in {database}, which takes an administrator \
                     who runs what `dual init --sql` prints, or a right"
                ),
                format!("the owner can run: GRANT CREATE ON DATABASE {database} TO {user};"),
            ),
            Some(owner) => (
                format!("nothing is installed in the schema {dual}, which belongs to {owner}"),
                format!("{owner} can run what `dual init --sql` prints"),
            ),
        };
        Err(Error::new(Kind::AccessDenied, OPERATION, message).with_hint(hint))
    }

    /// Who names no schema, or another one, is told so, and not what it would take to install there: of the
    /// tables to which the search path leads, if nothing is installed here.
    ///
    /// # Errors
    /// As for [`not_kept_elsewhere`].
    pub(crate) async fn kept_nowhere_else(
        &self,
        session: &Session,
        tables: &[Table],
    ) -> Result<()> {
        if self.is_installed {
            return Ok(());
        }
        for table in tables {
            let (Some(oid), _) = Catalog::led(session, &table.remote_name()).await? else {
                continue;
            };
            let rows = session.query(OPERATION, NAMED, &[(&oid, Type::OID)]).await?;
            if let Some(row) = rows.first() {
                not_kept(session, &column::<String>(row, 0, OPERATION)?).await?;
            }
        }
        Ok(())
    }

    /// What only the owner can mend.
    pub(crate) fn for_the_owner(&self, session: &Session, target: &str) -> Error {
        let (dual, user) = (session.schema(), quoted(session.user()));
        let owner = self.owner.as_deref().unwrap_or_default();
        let message = format!(
            "capture of {target} is missing, damaged or of another version, and has to be installed \
             again; {user} may run it, and not install it"
        );
        Error::new(Kind::AccessDenied, OPERATION, message).with_hint(format!(
            "{owner}, which owns the schema {dual}, can run what `dual init --sql` prints, or \
             `dual init --apply`"
        ))
    }

    /// What this role may not do, because it takes the owner.
    ///
    /// # Errors
    /// Access denied if the schema is not its own.
    pub(crate) fn owns(&self, session: &Session, operation: &'static str) -> Result<()> {
        match &self.owner {
            Some(owner) if !self.installs => {
                let (dual, user) = (session.schema(), quoted(session.user()));
                let message = format!(
                    "the schema {dual} belongs to {owner}, and {user} may only run what is in it"
                );
                Err(Error::new(Kind::AccessDenied, operation, message)
                    .with_hint(format!("run it as {owner}")))
            }
            _ => Ok(()),
        }
    }

    /// Whoever may make a schema could have made this one first, and what is in it would run as us: its
    /// functions, and the triggers of its tables.
    ///
    /// # Errors
    /// As for [`SchemaStanding::is_ours`]; access denied if its owner has nothing to do with the table.
    pub(crate) fn trusted(&self, session: &Session) -> Result<()> {
        self.is_ours(session, OPERATION)?;
        if self.is_trusted {
            return Ok(());
        }
        let (dual, owner) = (session.schema(), self.owner.as_deref().unwrap_or_default());
        let message = format!(
            "the schema {dual} belongs to {owner}, which owns neither the database nor the table, and \
             may put no trigger on it: nothing in there is run"
        );
        Err(Error::new(Kind::AccessDenied, OPERATION, message).with_hint(
            "find out who made it; name another schema (--pg-schema), or let the owner of the database \
             rename that one",
        ))
    }

    /// Who names another schema by mistake does not lose it.
    ///
    /// # Errors
    /// Configuration if what is in the schema is not ours.
    pub(crate) fn is_ours(&self, session: &Session, operation: &'static str) -> Result<()> {
        if !self.is_foreign {
            return Ok(());
        }
        let message = format!("the schema {} holds other things than ours", session.schema());
        Err(Error::new(Kind::Configuration, operation, message).with_hint(ANOTHER))
    }
}

/// Refuses a role that lacks some of these rights of ours, and says which.
///
/// # Errors
/// Access denied, with the statements that help.
pub(crate) async fn permit(session: &Session, rights: &[Right]) -> Result<()> {
    let each: Vec<_> =
        rights.iter().flat_map(|right| right.each().map(move |one| (&right.own, one))).collect();
    let kinds: Vec<&str> = each.iter().map(|(_, (on, ..))| on.word()).collect();
    let names: Vec<&str> = each.iter().map(|(name, _)| name.as_str()).collect();
    let privileges: Vec<&str> = each.iter().map(|(_, (.., privilege))| *privilege).collect();
    let parameters: [Parameter<'_>; 4] = [
        (&session.schema_name(), Type::TEXT),
        (&kinds, Type::TEXT_ARRAY),
        (&names, Type::TEXT_ARRAY),
        (&privileges, Type::TEXT_ARRAY),
    ];
    let mut missing = Vec::new();
    for row in session.query(OPERATION, LACKING, &parameters).await? {
        let at: i32 = column(&row, 0, OPERATION)?;
        let found = usize::try_from(at).ok().and_then(|at| each.get(at));
        missing.push(found.ok_or_else(|| unexpected(OPERATION))?.1);
    }
    let lacking = rights.iter().filter_map(|right| right.reduced(|one| missing.contains(&one)));
    let lacking: Vec<Right> = lacking.collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let user = quoted(session.user());
    let what: Vec<String> = lacking.iter().map(Right::to_string).collect();
    let sql: Vec<String> = lacking.iter().map(|right| right.granted(&user)).collect();
    let message = format!("{user} has no {}", what.join("; no "));
    Err(Error::new(Kind::AccessDenied, OPERATION, message)
        .with_hint(format!("the owner can run: {};", sql.join("; "))))
}

/// Refuses a table that another installation keeps: two would stamp each other's writes.
///
/// # Errors
/// Configuration, with the option that leads to the other one.
pub(crate) async fn not_kept_elsewhere(session: &Session, layout: &Layout) -> Result<()> {
    not_kept(session, &layout.target).await
}

async fn not_kept(session: &Session, target: &str) -> Result<()> {
    let parameters: [Parameter<'_>; 2] =
        [(&target, Type::TEXT), (&session.schema_name(), Type::TEXT)];
    let rows = session.query(OPERATION, KEPT_IN, &parameters).await?;
    let Some(row) = rows.first() else { return Ok(()) };
    let other: String = column(row, 0, OPERATION)?;
    let own = session.schema();
    let message = format!(
        "{target} is kept by an installation in the schema {}, not in {own}",
        quoted(&other)
    );
    Err(Error::new(Kind::Configuration, OPERATION, message)
        .with_hint(format!("name that schema: --pg-schema, or pg_schema = {other:?} in dual.toml")))
}
