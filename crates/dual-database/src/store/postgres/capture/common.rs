//! What every installation has, whatever its tables. Pure text.

use crate::schema::{quoted_body, quoted_text};

/// The version of everything in the schema of ours.
pub(crate) const FORMAT: i32 = 6;

/// The column of the conflict log that has a key which is no number, as JSON.
pub(in crate::store::postgres) const ROW_KEY: &str = "row_key";

/// What the conflict log needs besides for a table whose key is no number: each statement can be repeated.
/// (A text may be longer than an index takes.)
pub(super) fn log_of_any_key(dual: &str) -> [String; 3] {
    [
        format!("ALTER TABLE {dual}.conflict ADD COLUMN IF NOT EXISTS {ROW_KEY} text"),
        format!("ALTER TABLE {dual}.conflict ALTER COLUMN key DROP NOT NULL"),
        format!(
            "CREATE UNIQUE INDEX IF NOT EXISTS conflict_once_by_{ROW_KEY} ON {dual}.conflict \
             (table_name, md5({ROW_KEY}), register, winner, loser, \
             (CASE WHEN loser <= 3 THEN md5(coalesce(losing, '')) ELSE '' END)) \
             WHERE {ROW_KEY} IS NOT NULL"
        ),
    ]
}

/// A statement that is run if a condition holds, as one.
pub(in crate::store::postgres) fn guarded(condition: &str, statement: &str) -> String {
    let body = format!(" BEGIN IF {condition} THEN {statement}; END IF; END ");
    format!("DO {}", quoted_body(&body))
}

/// What an earlier format has in the place of `conflict_once`.
const ONCE_BEFORE: &str = "conflict_table_name_key_register_winner_loser_key";

/// Adds a column that an earlier format lacks. One that is there is left alone: to say so much as `IF NOT
/// EXISTS` of it takes a lock that waits for everybody who runs, while they wait for what was locked before.
fn with_column(dual: &str, table: &str, column: &str, definition: &str) -> String {
    let name = quoted_text(&format!("{dual}.{table}"));
    let missing = format!(
        "NOT EXISTS (SELECT FROM pg_attribute AS a WHERE a.attrelid = to_regclass({name}) \
         AND a.attname = '{column}' AND NOT a.attisdropped)"
    );
    guarded(&missing, &format!("ALTER TABLE {dual}.{table} ADD COLUMN {column} {definition}"))
}

/// What makes the schema. Who may not make any cannot even say `IF NOT EXISTS`.
pub(super) fn make_schema(dual: &str) -> String {
    let missing = format!("to_regnamespace({}) IS NULL", quoted_text(dual));
    guarded(&missing, &format!("CREATE SCHEMA {dual}"))
}

/// Whether a role, an expression of its object id, may have code of its run as the one that is connected: it is
/// a superuser, this one, or the owner of the database; or it may put triggers on all of these tables (an
/// array of object ids), and so runs code as whoever writes to them anyway. To be a member of it is
/// no reason: its other members may be anybody.
pub(super) fn is_trusted(role: &str, tables: &str) -> String {
    format!(
        "(EXISTS (SELECT FROM pg_roles AS o WHERE o.oid = {role} \
           AND (o.rolsuper OR o.rolname = current_user)) \
         OR EXISTS (SELECT FROM pg_database AS d \
           WHERE d.datname = current_database() AND d.datdba = {role}) \
         OR cardinality({tables}) > 0 AND NOT EXISTS (SELECT FROM unnest({tables}) AS t (oid) \
           WHERE has_table_privilege({role}, t.oid, 'TRIGGER') IS NOT TRUE))"
    )
}

/// What stops where the schema, or something in it, is of somebody who is not to be trusted, whenever it
/// was made: the text of `dual init --sql` may lie about for years. From here on nobody else can make
/// anything in it.
pub(super) fn trust(dual: &str, target: &str) -> String {
    let tables = format!("array_remove(ARRAY[to_regclass({})::oid], NULL)", quoted_text(target));
    let owned = |catalog: &str, prefix: &str| {
        format!("SELECT c.{prefix}owner FROM {catalog} AS c WHERE c.{prefix}namespace = n.oid")
    };
    let body = format!(
        "
DECLARE whose text;
BEGIN
SELECT quote_ident(pg_get_userbyid(w.owner)) INTO whose FROM pg_namespace AS n
  CROSS JOIN LATERAL (SELECT n.nspowner UNION {} UNION {}) AS w (owner)
  WHERE n.oid = to_regnamespace({}) AND NOT {} LIMIT 1;
IF FOUND THEN
  RAISE EXCEPTION 'the schema %, or something in it, belongs to %, which owns neither the database nor the table, and may put no trigger on it: nothing in there is run', {}, whose
    USING ERRCODE = 'DU009';
END IF;
END
",
        owned("pg_class", "rel"),
        owned("pg_proc", "pro"),
        quoted_text(dual),
        is_trusted("w.owner", &tables),
        quoted_text(dual),
    );
    format!("DO {}", quoted_body(&body))
}

/// What makes the record of imports.
pub(super) fn import_run(dual: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {dual}.import_run (\n  \
           run_id text PRIMARY KEY,\n  source text NOT NULL,\n  \
           position bigint GENERATED ALWAYS AS IDENTITY\n)"
    )
}

/// What stops where a newer version of this program has installed more than this one knows.
pub(super) fn no_newer(dual: &str) -> String {
    let body = format!(
        "
DECLARE found integer;
BEGIN
IF to_regclass({installation}) IS NOT NULL THEN
  SELECT i.format INTO found FROM {dual}.installation AS i;
  IF found > {FORMAT} THEN
    RAISE EXCEPTION 'the schema % has format %, this program knows {FORMAT}', {name}, found
      USING ERRCODE = 'DU010';
  END IF;
END IF;
END
",
        installation = quoted_text(&format!("{dual}.installation")),
        name = quoted_text(dual),
    );
    format!("DO {}", quoted_body(&body))
}

/// The tables and the function that every installation has: each statement can be repeated.
///
/// `token` is UNLOGGED so that crash recovery, promotion and a restore empty it.
/// It is keyed by the file; the nil uuid has the server's own. `missed` names the tables of which a
/// change could not be captured; `tracked` keeps how each is declared, for every node. `node` and the cursors in it are for people to look at. What was there
/// before anybody looked has the same stamps (up to 3) in every file that joins: in the log it is told
/// apart by its value. `runtime` names the roles that run what is installed,
/// which is the installer's to say. `set_back` keeps for good what a person has decided about stamps of the future
/// ([`crate::protocol::SetBack`]): a file may be away for long. The installation's id is made there, for whoever runs this twice on two servers.
pub(super) fn common(dual: &str) -> Vec<String> {
    let made = [
        "CREATE TABLE IF NOT EXISTS {dual}.installation (\n  \
           one boolean PRIMARY KEY DEFAULT true CHECK (one),\n  \
           format integer NOT NULL,\n  \
           id uuid NOT NULL,\n  \
           horizon bigint NOT NULL DEFAULT 0,\n  \
           purged bigint,\n  \
           gaps bigint NOT NULL DEFAULT 0\n)",
        "CREATE TABLE IF NOT EXISTS {dual}.tracked (\n  \
           name text PRIMARY KEY,\n  \
           target oid NOT NULL,\n  \
           triggers text NOT NULL,\n  \
           columns text NOT NULL,\n  \
           relation text,\n  \
           declaration text\n)",
        "CREATE TABLE IF NOT EXISTS {dual}.missed (\n  \
           name text NOT NULL,\n  \
           reason text NOT NULL,\n  \
           noted timestamptz NOT NULL DEFAULT clock_timestamp()\n)",
        "CREATE UNLOGGED TABLE IF NOT EXISTS {dual}.token (\n  \
           file uuid PRIMARY KEY,\n  \
           token uuid NOT NULL\n)",
        "CREATE TABLE IF NOT EXISTS {dual}.node (\n  \
           file uuid PRIMARY KEY,\n  \
           seen timestamptz NOT NULL,\n  \
           cursor text\n)",
        "CREATE TABLE IF NOT EXISTS {dual}.writer (\n  \
           number integer PRIMARY KEY CHECK (number BETWEEN 1 AND 16383),\n  \
           file uuid NOT NULL,\n  \
           claimed timestamptz NOT NULL DEFAULT clock_timestamp()\n)",
        "CREATE TABLE IF NOT EXISTS {dual}.set_back (\n  \
           number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n  \
           id uuid NOT NULL UNIQUE,\n  \
           highest bigint NOT NULL CHECK (highest >= 0),\n  \
           stamp bigint NOT NULL CHECK (stamp >= 0),\n  \
           noted timestamptz NOT NULL DEFAULT clock_timestamp()\n)",
        "CREATE TABLE IF NOT EXISTS {dual}.runtime (\n  \
           role name PRIMARY KEY,\n  \
           id oid NOT NULL\n)",
        "CREATE TABLE IF NOT EXISTS {dual}.conflict (\n  \
           id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,\n  \
           table_name text NOT NULL,\n  \
           key bigint NOT NULL,\n  \
           register text NOT NULL,\n  \
           winner bigint NOT NULL,\n  \
           loser bigint NOT NULL,\n  \
           winning text,\n  \
           losing text,\n  \
           noted timestamptz NOT NULL DEFAULT clock_timestamp(),\n  \
           reviewed boolean NOT NULL DEFAULT false\n)",
        "DROP FUNCTION IF EXISTS {dual}.header(uuid, text[])",
    ];
    let mut statements: Vec<String> = made.map(|sql| sql.replace("{dual}", dual)).into();
    statements.extend([
        with_column(dual, "installation", "gaps", "bigint NOT NULL DEFAULT 0"),
        with_column(dual, "tracked", "relation", "text"),
        with_column(dual, "tracked", "declaration", "text"),
        guarded(
            &format!(
                "EXISTS (SELECT FROM pg_constraint AS c WHERE c.conrelid = to_regclass({}) \
                 AND c.conname = '{ONCE_BEFORE}')",
                quoted_text(&format!("{dual}.conflict"))
            ),
            &format!("ALTER TABLE {dual}.conflict DROP CONSTRAINT {ONCE_BEFORE}"),
        ),
        guarded(
            &format!("to_regclass({}) IS NULL", quoted_text(&format!("{dual}.conflict_once"))),
            &format!(
                "CREATE UNIQUE INDEX conflict_once ON {dual}.conflict \
                 (table_name, key, register, winner, loser, \
                 (CASE WHEN loser <= 3 THEN md5(coalesce(losing, '')) ELSE '' END))"
            ),
        ),
        import_run(dual),
        header(dual),
        format!("REVOKE ALL ON FUNCTION {dual}.header(uuid, text[]) FROM PUBLIC"),
        format!(
            "INSERT INTO {dual}.installation (format, id) SELECT {FORMAT}, md5(concat_ws(' ', \
             random(), random(), clock_timestamp(), pg_backend_pid(), c.system_identifier, \
             current_database()))::uuid FROM pg_control_system() AS c \
             ON CONFLICT (one) DO UPDATE SET format = excluded.format"
        ),
    ]);
    statements
}

/// What every look at the server tells, in one snapshot, as text (`primary/epoch.rs`): `file` asks, `relations` are functions
/// (a name with parentheses) and tables whose object ids belong to the epoch, and after them the number
/// of times that rows were found to be taken away past the triggers. No row without an installation.
///
/// A function, because its plan is kept for the session, and because on a standby it has to
/// refuse before it touches an unlogged table. It refuses, too, while a COMMIT of this role's has waited
/// for a second for a synchronous standby: another one would wait as well, with all its locks, and no
/// time-out of the server's ends that.
fn header(dual: &str) -> String {
    let body = format!(
        "
BEGIN
  IF pg_is_in_recovery() THEN
    RAISE EXCEPTION 'the server is in recovery' USING ERRCODE = '25006';
  END IF;
  IF current_setting('synchronous_standby_names') <> '' THEN
    IF EXISTS (SELECT FROM pg_stat_get_activity(NULL) AS a WHERE a.wait_event = 'SyncRep'
        AND a.query_start < clock_timestamp() - interval '1 s') THEN
      RAISE EXCEPTION 'commits wait for a synchronous standby' USING ERRCODE = 'DU008';
    END IF;
  END IF;
  RETURN QUERY SELECT ARRAY[
    (SELECT t.token::text FROM {dual}.token AS t WHERE t.file = header.file),
    (SELECT t.token::text FROM {dual}.token AS t
      WHERE t.file = '00000000-0000-0000-0000-000000000000'),
    left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (SELECT c.system_identifier::text FROM pg_control_system() AS c),
    (SELECT d.oid::text FROM pg_database AS d WHERE d.datname = current_database()),
    (SELECT string_agg(coalesce(CASE WHEN r.name LIKE '%()' THEN to_regprocedure(r.name)::oid
        ELSE to_regclass(r.name)::oid END, 0)::text, ' ' ORDER BY r.at)
      FROM unnest(relations) WITH ORDINALITY AS r (name, at)) || ' ' || i.gaps,
    i.id::text, txid_current_snapshot()::text,
    floor(date_part('epoch', clock_timestamp()) * 1000)::bigint::text, i.horizon::text,
    i.purged::text]
  FROM {dual}.installation AS i;
END
"
    );
    let head = format!(
        "CREATE FUNCTION {dual}.header(file uuid, relations text[])
RETURNS SETOF text[] LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off AS "
    );
    head + &quoted_body(&body)
}
