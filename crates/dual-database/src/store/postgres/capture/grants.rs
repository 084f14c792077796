//! The rights of the role that runs the programs and owns nothing. In one place: the statements of
//! `dual init`, the hints of errors and `docs/security.md` say the same. Pure text.

use super::layout::Layout;
use crate::schema::{quoted, quoted_body, quoted_text};

/// What a right is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store::postgres) enum On {
    Database,
    Schema,
    Table,
    Sequence,
    Function,
}

impl On {
    /// As GRANT calls it.
    pub(in crate::store::postgres) fn word(self) -> &'static str {
        match self {
            On::Database => "DATABASE",
            On::Schema => "SCHEMA",
            On::Table => "TABLE",
            On::Sequence => "SEQUENCE",
            On::Function => "FUNCTION",
        }
    }
}

/// What the role needs on one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    on: On,
    /// The name within the schema of ours, not quoted; empty for what lies outside.
    pub(super) own: String,
    /// As it stands in SQL.
    object: String,
    privileges: Vec<&'static str>,
}

impl Right {
    fn new(on: On, own: &str, object: String, privileges: &'static str) -> Right {
        Right { on, own: own.to_owned(), object, privileges: privileges.split(", ").collect() }
    }

    /// Each privilege by itself: on what sort of object, on which one.
    pub(in crate::store::postgres) fn each(
        &self,
    ) -> impl Iterator<Item = (On, &str, &'static str)> {
        self.privileges.iter().map(|one| (self.on, self.object.as_str(), *one))
    }

    /// The same with no more than some of its privileges; `None`: without any.
    pub(in crate::store::postgres) fn reduced<'r>(
        &'r self,
        keep: impl Fn((On, &'r str, &'static str)) -> bool,
    ) -> Option<Right> {
        let kept: Vec<_> = self.each().filter(|one| keep(*one)).map(|(.., one)| one).collect();
        (!kept.is_empty()).then(|| Right { privileges: kept, ..self.clone() })
    }

    /// The statement that gives it; the role as it stands in SQL.
    pub(in crate::store::postgres) fn granted(&self, role: &str) -> String {
        format!("GRANT {self} TO {role}")
    }
}

impl std::fmt::Display for Right {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ON {} {}", self.privileges.join(", "), self.on.word(), self.object)
    }
}

/// On each table that every installation has. `writer` is never changed, only locked, for which
/// PostgreSQL wants one of the rights to change it. Which table is tracked, and by which triggers, is the
/// installer's to say: it grants rights on that table.
const TABLES: [(&str, &str); 9] = [
    ("installation", "SELECT, UPDATE (gaps), UPDATE (horizon), UPDATE (purged)"),
    ("tracked", "SELECT, UPDATE (columns)"),
    ("missed", "SELECT, DELETE"),
    ("token", "SELECT, INSERT, UPDATE"),
    ("node", "SELECT, INSERT, UPDATE"),
    ("writer", "SELECT, INSERT, UPDATE"),
    ("conflict", "SELECT, INSERT, UPDATE, DELETE"),
    ("set_back", "SELECT, INSERT"),
    IMPORT_RUN,
];

const IMPORT_RUN: (&str, &str) = ("import_run", "SELECT, INSERT");

/// On a table of the user's.
pub(in crate::store::postgres) const USERS_TABLE: [&str; 4] =
    ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// On the sequence that numbers it: to take numbers, to see how far it is, to let it go on behind what
/// others have numbered themselves.
pub(in crate::store::postgres) const USERS_SEQUENCE: [&str; 2] = ["USAGE", "UPDATE"];

/// On the database; the second one for imports.
const DATABASE: [&str; 2] = ["CONNECT", "TEMPORARY"];

fn of_schema(dual: &str) -> Right {
    Right::new(On::Schema, "", dual.to_owned(), "USAGE")
}

fn of_table(dual: &str, (name, privileges): (&str, &'static str)) -> Right {
    Right::new(On::Table, name, format!("{dual}.{name}"), privileges)
}

/// Whether something of that name may be ours: what the server says of a right that it refuses has no schema.
pub(in crate::store::postgres) fn is_named_as_ours(name: &str) -> bool {
    let called = ["_write", "_settle", "_put", "_get"];
    TABLES.iter().any(|(table, _)| *table == name)
        || name == "header"
        || name.starts_with("side_")
        || called.iter().any(|end| name.ends_with(end))
}

/// What an import needs of ours: the record, and which table is tracked.
pub(super) fn of_import(dual: &str) -> Vec<Right> {
    vec![of_schema(dual), of_table(dual, ("tracked", "SELECT")), of_table(dual, IMPORT_RUN)]
}

/// What the role needs of everything of ours beside these tables.
pub(in crate::store::postgres) fn of_ours<'l>(
    dual: &str,
    layouts: impl IntoIterator<Item = &'l Layout>,
) -> Vec<Right> {
    let mut rights = vec![of_schema(dual)];
    rights.extend(TABLES.map(|table| of_table(dual, table)));
    let header = format!("{dual}.header(uuid, text[])");
    rights.push(Right::new(On::Function, "header", header, "EXECUTE"));
    for layout in layouts {
        let side = format!("side_{}", layout.label());
        let privileges = "SELECT, INSERT, UPDATE, DELETE";
        rights.push(Right::new(On::Table, &side, layout.sidecar.clone(), privileges));
        rights.extend(layout.called().map(|(what, signature)| {
            Right::new(On::Function, &format!("{}_{what}", layout.label()), signature, "EXECUTE")
        }));
    }
    rights
}

/// What the role needs of the user's: of the database, of the table, as it stands in SQL, of its schema,
/// and of the sequence that numbers it.
pub(in crate::store::postgres) fn of_users(
    database: &str,
    schema: Option<&str>,
    table: &str,
    sequence: Option<&str>,
) -> Vec<Right> {
    let right = |on, object: String, privileges: &[&'static str]| Right {
        on,
        own: String::new(),
        object,
        privileges: privileges.to_vec(),
    };
    let mut rights = vec![right(On::Database, quoted(database), &DATABASE)];
    rights.extend(schema.map(|schema| right(On::Schema, quoted(schema), &["USAGE"])));
    rights.push(right(On::Table, table.to_owned(), &USERS_TABLE));
    rights.extend(sequence.map(|name| right(On::Sequence, name.to_owned(), &USERS_SEQUENCE)));
    rights
}

/// Takes everything in the schema of ours away from everybody but its owner, PUBLIC and what default
/// privileges have given, too; and gives the roles that run what is installed their rights on what was made anew.
pub(in crate::store::postgres) fn given_back(dual: &str, layouts: &[&Layout]) -> String {
    let rights = of_ours(dual, layouts.iter().copied());
    let each: String = rights
        .iter()
        .map(|right| {
            let text =
                quoted_text(&format!("GRANT {} TO %s", right.to_string().replace('%', "%%")));
            format!("  EXECUTE format({text}, r);\n")
        })
        .collect();
    let body = format!(
        "
DECLARE r text;
BEGIN
FOR r IN SELECT DISTINCT format('REVOKE ALL ON %s FROM %s', o.object,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END)
    FROM (SELECT 'SCHEMA ' || quote_ident(n.nspname), n.nspowner, n.nspacl
        FROM pg_namespace AS n WHERE n.oid = to_regnamespace({schema})
      UNION ALL SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END || c.oid::regclass,
          c.relowner, c.relacl
        FROM pg_class AS c
        WHERE c.relnamespace = to_regnamespace({schema}) AND c.relkind IN ('r', 'S')
      UNION ALL SELECT 'TABLE ' || c.oid::regclass, c.relowner, t.attacl
        FROM pg_class AS c JOIN pg_attribute AS t ON t.attrelid = c.oid
        WHERE c.relnamespace = to_regnamespace({schema}) AND c.relkind = 'r'
      UNION ALL SELECT 'FUNCTION ' || p.oid::regprocedure, p.proowner,
          coalesce(p.proacl, acldefault('f', p.proowner))
        FROM pg_proc AS p WHERE p.pronamespace = to_regnamespace({schema})
    ) AS o (object, owner, acl) CROSS JOIN LATERAL aclexplode(o.acl) AS a WHERE a.grantee <> o.owner
LOOP
  EXECUTE r;
END LOOP;
FOR r IN SELECT quote_ident(k.role) FROM {dual}.runtime AS k
    JOIN pg_roles AS g ON g.rolname = k.role AND g.oid = k.id
LOOP
{each}END LOOP;
END
",
        schema = quoted_text(dual),
    );
    format!("DO {}", quoted_body(&body))
}

/// Notes that `role`, as it stands in a text of SQL, is one that runs what is installed.
pub(in crate::store::postgres) fn noted_runtime(dual: &str, role: &str) -> String {
    format!(
        "INSERT INTO {dual}.runtime (role, id) SELECT g.rolname, g.oid FROM pg_roles AS g \
         WHERE g.rolname = {} ON CONFLICT (role) DO UPDATE SET id = excluded.id",
        quoted_text(role)
    )
}
