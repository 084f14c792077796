//! Others who may do something in the database, while somebody installs or after it: nothing of theirs runs
//! with more rights than they have, and nobody is given any by the way.

use dual_database::store::postgres::{Limits, Session};
use dual_database::{Kind, init};
use throwaway_postgres::shared;

use crate::roles_scene::{PATIENCE, Roles};

/// A schema with whatever reads like ours, and a trap in it.
fn squatted() -> String {
    let bait = |name: &str, columns: &str| {
        format!("CREATE VIEW dual.{name} AS SELECT {columns} FROM dual.trap(); ")
    };
    [
        "CREATE SCHEMA dual; CREATE FUNCTION dual.trap() RETURNS bigint LANGUAGE sql \
         AS $$ SELECT nextval('public.ran') $$; "
            .to_owned(),
        bait("installation", "true AS one, 5 AS format, NULL::uuid AS id, 0::bigint AS horizon"),
        bait("tracked", "'users'::text AS name, 0::oid AS target, ''::text AS triggers"),
        "GRANT ALL ON SCHEMA dual TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA dual TO PUBLIC"
            .into(),
    ]
    .concat()
}

/// Roles, of which the third may make schemas, and a count of traps that have run.
fn with_a_squatter() -> Roles {
    let roles = Roles::on(shared().unwrap());
    let [.., squatter] = roles.names();
    roles.sql(&format!(
        "CREATE SEQUENCE ran; GRANT USAGE ON SEQUENCE ran TO PUBLIC; \
         GRANT CREATE ON DATABASE {} TO {squatter}",
        roles.database.name()
    ));
    roles
}

fn has_run(roles: &Roles) -> bool {
    roles.one("SELECT is_called::text FROM ran") == "true"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_was_printed_before_a_schema_was_squatted_stops_at_it() {
    let roles = with_a_squatter();
    let [owner, _, squatter] = roles.names();
    let script = roles.script().await;
    roles.psql(&squatter, &squatted()).unwrap();
    let admin = roles.one("SELECT current_user");
    for victim in [&owner, &admin] {
        let error = roles.psql(victim, &script).unwrap_err();
        assert!(error.contains(&squatter), "{error}");
    }
    assert!(!has_run(&roles), "the trap has run");
    // One thing of his in a schema of the owner's is enough.
    roles.sql(&format!(
        "DROP SCHEMA dual CASCADE; CREATE SCHEMA dual AUTHORIZATION {owner}; \
         GRANT CREATE ON SCHEMA dual TO {squatter}; SET ROLE {squatter}; \
         CREATE VIEW dual.installation AS SELECT nextval('ran') AS format"
    ));
    assert!(roles.psql(&owner, &script).unwrap_err().contains(&squatter));
    assert!(!has_run(&roles), "the trap has run");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_between_while_an_installation_waits_for_the_table() {
    let roles = with_a_squatter();
    let [.., squatter] = roles.names();
    let admin = roles.one("SELECT current_user");
    let writer = Session::open(&roles.settings(&squatter), &Limits::default()).await.unwrap();
    writer.begin("hold the table").await.unwrap();
    writer.batch("hold the table", "UPDATE public.users SET first_name = 'held'").await.unwrap();
    let pool = roles.pool(&admin);
    let installing = tokio::spawn(async move { pool.prepare().await.map(|_| ()) });
    let waits = "SELECT count(*) > 0 FROM pg_locks WHERE relation = 'public.users'::regclass AND NOT granted";
    let reached = async {
        while roles.one(waits) != "t" {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.expect("it never waited for the table");
    let late = format!("SET statement_timeout = '300ms'; {}", squatted());
    roles.psql(&squatter, &late).unwrap_err();
    writer.rollback("hold the table").await.unwrap();
    installing.await.unwrap().unwrap();
    assert!(!has_run(&roles), "the trap has run");
    let owner = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'dual'";
    assert_eq!(roles.one(owner), admin);
}

#[tokio::test(flavor = "multi_thread")]
async fn default_privileges_make_nobody_a_role_that_runs() {
    let roles = Roles::on(shared().unwrap());
    let [owner, runtime, writer] = roles.names();
    roles.sql(&format!(
        "SET ROLE {owner}; \
         ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writer}; \
         ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {writer}; \
         ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO {writer}; \
         ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {writer}; \
         ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC"
    ));
    let others = format!(
        "SELECT count(*) FROM (SELECT unnest(nspacl) FROM pg_namespace WHERE nspname = 'dual' \
         UNION ALL SELECT unnest(relacl) FROM pg_class WHERE relnamespace = 'dual'::regnamespace \
         UNION ALL SELECT unnest(proacl) FROM pg_proc WHERE pronamespace = 'dual'::regnamespace) AS a (one) \
         WHERE one::text !~ '^({owner}|{runtime})='"
    );
    let script = roles.script().await;
    for _ in 0..2 {
        roles.psql(&owner, &script).unwrap();
        assert_eq!(roles.one(&others), "0");
        assert!(
            roles.one(&format!("SELECT has_table_privilege('{runtime}', 'dual.node', 'INSERT')"))
                == "t"
        );
    }
    init::apply(&roles.stores(&runtime), init::Joining::default(), PATIENCE).await.unwrap();
    roles.psql(&owner, "DROP FUNCTION dual.users_inserted() CASCADE").unwrap();
    roles.pool(&owner).prepare().await.unwrap();
    assert_eq!(roles.one(&others), "0");
    roles.pool(&runtime).prepare().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fellow_member_of_a_group_and_a_superuser_to_run_are_refused() {
    let roles = with_a_squatter();
    let [owner, _, squatter] = roles.names();
    let group = format!("group_{}", roles.database.name());
    roles.sql(&format!(
        "CREATE ROLE {group}; GRANT {group} TO {owner}, {squatter}; GRANT USAGE ON SCHEMA public TO {group}; \
         GRANT CREATE ON DATABASE {} TO {group}",
        roles.database.name()
    ));
    roles.psql(&squatter, &format!("SET ROLE {group}; {}", squatted())).unwrap();
    let error = roles.pool(&owner).prepare().await.unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied, "{error}");
    assert!(error.message().contains(&group), "{error}");
    assert!(!has_run(&roles), "the trap has run");
    roles.sql("DROP SCHEMA dual CASCADE");
    let admin = roles.one("SELECT current_user");
    let error = init::sql(&roles.stores(&owner), Some(&admin)).await.unwrap_err();
    assert!(error.is_configuration() && error.message().contains("superuser"), "{error}");
    roles.sql(&format!("DROP OWNED BY {group}; DROP ROLE {group}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_of_the_table_runs_nothing_as_the_installer() {
    let roles = with_a_squatter();
    let [owner, runtime, writer] = roles.names();
    let admin = roles.one("SELECT current_user");
    init::apply_for(&roles.stores(&admin), init::Joining::default(), &runtime, PATIENCE)
        .await
        .unwrap();
    roles.psql(&owner, "INSERT INTO users (user_id) VALUES (1), (2)").unwrap();
    let trap = format!(
        "CREATE FUNCTION up() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN \
           IF current_user <> '{owner}' THEN PERFORM nextval('public.ran'); END IF; RETURN 1; END $$; \
         ALTER TABLE users RENAME TO moved; CREATE VIEW users AS SELECT up() AS user_id; \
         BEGIN; UPDATE moved SET first_name = 'x'; DELETE FROM moved WHERE user_id = 1; \
         INSERT INTO moved (user_id) VALUES (1); COMMIT"
    );
    roles.psql(&owner, &trap).unwrap();
    assert!(!has_run(&roles), "it ran as the installer");
    assert_eq!(roles.one("SELECT count(*) FROM dual.missed"), "1");
    roles.psql(&owner, "DROP VIEW users; ALTER TABLE moved RENAME TO users").unwrap();

    // Nor does a writer say that he has written long ago.
    let backdated = "BEGIN; INSERT INTO users (user_id) VALUES (8); \
                     SELECT set_config('dual.moment', txid_current() || ':1', true); \
                     INSERT INTO users (user_id) VALUES (9); COMMIT";
    roles.sql(&format!("GRANT USAGE ON SEQUENCE users_id_seq TO {writer}"));
    roles.psql(&writer, backdated).unwrap();
    let ages = "SELECT string_agg(((date_part('epoch', clock_timestamp()) * 1000 - 1577836800000 \
                - (stamp >> 22)) < 600000)::text, ' ') FROM dual.side_users WHERE key IN (8, 9)";
    assert_eq!(roles.one(ages), "true true");
}
