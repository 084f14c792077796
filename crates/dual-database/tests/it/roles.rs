//! Three roles: who installs, who runs the programs and owns nothing, who only writes.

use dual_database::database::Written;
use dual_database::schema::quoted;
use dual_database::store::postgres::{Limits, SchemaName, Session};
use dual_database::uninstall::uninstall;
use dual_database::{Error, Kind, init};
use dual_import::WriteOptions;
use throwaway_postgres::{Server, Version, shared, shared_with};

use crate::primary_scene::OLDEST_AND_NEWEST;
use crate::roles_scene::{PATIENCE, Roles, name, quiet};

/// What stands in `docs/security.md` between two lines with these marks.
const LIST: [&str; 2] = ["<!-- the rights of the runtime role -->\n```text\n", "```"];

/// What the role was granted, as `pg_catalog` shows it, by kind and name.
fn granted(roles: &Roles) -> Vec<String> {
    let [_, runtime, _] = roles.names();
    let sql = format!(
        "SELECT string_agg(privilege, ', ' ORDER BY array_position(ARRAY['CONNECT', 'TEMPORARY', \
         'USAGE', 'SELECT', 'INSERT', 'UPDATE', 'DELETE'], privilege), privilege) || ' ON ' || what FROM ( \
           SELECT 1 AS kind, 'DATABASE ' || datname AS what, grantee, privilege_type AS privilege \
             FROM pg_database, aclexplode(datacl) WHERE datname = current_database() \
           UNION ALL SELECT 2, 'SCHEMA ' || nspname, grantee, privilege_type \
             FROM pg_namespace, aclexplode(nspacl) \
           UNION ALL SELECT CASE relkind WHEN 'S' THEN 4 ELSE 3 END, \
             CASE relkind WHEN 'S' THEN 'SEQUENCE ' ELSE 'TABLE ' END \
               || relnamespace::regnamespace || '.' || relname, grantee, privilege_type \
             FROM pg_class, aclexplode(relacl) \
           UNION ALL SELECT 3, 'TABLE ' || relnamespace::regnamespace || '.' || relname, a.grantee, \
             a.privilege_type || ' (' || attname || ')' FROM pg_attribute \
             JOIN pg_class AS c ON c.oid = attrelid, aclexplode(attacl) AS a \
           UNION ALL SELECT 5, 'FUNCTION ' || oid::regprocedure, grantee, privilege_type \
             FROM pg_proc, aclexplode(proacl) \
         ) AS g WHERE grantee = '{runtime}'::regrole GROUP BY kind, what ORDER BY kind, what"
    );
    roles.sql(&sql).into_iter().map(|row| row[0].clone().unwrap()).collect()
}

/// The statements of a hint are run by whoever they are for.
fn run_hint(roles: &Roles, error: &Error) {
    let [owner, ..] = roles.names();
    let hint = error.hint().unwrap();
    let (_, sql) = hint.split_once("can run: ").unwrap_or_else(|| panic!("{error}: {hint}"));
    assert!(!sql.contains(" ALL ") && sql.starts_with("GRANT "), "{sql}");
    roles.psql(&owner, &format!("{sql};")).unwrap();
}

async fn life(server: &'static Server) {
    let roles = Roles::on(server);
    let [owner, runtime, writer] = roles.names();
    let script = roles.script().await;
    assert_eq!(roles.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'dual'"), "0");
    roles.psql(&owner, &script).unwrap();
    // By the same role once more, and as it would be printed now.
    roles.psql(&owner, &script).unwrap();
    let again = roles.script().await;
    roles.psql(&owner, &again).unwrap();
    let list = granted(&roles);
    let documented = include_str!("../../../../docs/security.md");
    let documented = documented.split_once(LIST[0]).unwrap().1.split_once(LIST[1]).unwrap().0;
    let own = roles.database.name();
    assert_eq!(list.join("\n").replace(own, "bar") + "\n", documented);
    let owned = format!(
        "SELECT count(*) FROM pg_shdepend WHERE refobjid = '{runtime}'::regrole AND deptype = 'o'"
    );
    let member =
        format!("SELECT count(*) FROM pg_auth_members WHERE member = '{runtime}'::regrole");
    assert_eq!((roles.one(&owned), roles.one(&member)), ("0".into(), "0".into()));
    roles.walk(&runtime, &writer).await;
    assert_eq!(granted(&roles), list, "nothing was added on the way");
    assert_eq!((roles.one(&owned), roles.one(&member)), ("0".into(), "0".into()));

    // What a trigger could not do for a while needs nobody.
    roles.sql("INSERT INTO dual.missed (name, reason) VALUES ('users', '42501')");
    assert!(roles.pool(&runtime).prepare().await.unwrap().has_gap());
    assert_eq!(roles.one("SELECT count(*) FROM dual.missed"), "0");
    assert!(!roles.pool(&runtime).prepare().await.unwrap().has_gap());

    // What is the owner's alone is refused before anything is changed.
    let sidecars = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'dual_side%'";
    let here: i64 = roles.outsider().query_row(sidecars, [], |row| row.get(0)).unwrap();
    let busy = std::time::Duration::from_secs(5);
    let gone = uninstall(&roles.settings(&runtime), &Limits::default(), &roles.file(), busy).await;
    let (refused, left) = (gone.postgres.unwrap_err(), gone.sqlite.unwrap_err());
    assert_eq!((refused.kind(), left.kind()), (Kind::AccessDenied, Kind::AccessDenied));
    assert!(refused.message().contains(&owner), "{refused}");
    let still: i64 = roles.outsider().query_row(sidecars, [], |row| row.get(0)).unwrap();
    assert_eq!((still, granted(&roles)), (here, list));
    let anew = WriteOptions { recreate_tables: true, ..WriteOptions::default() };
    let rows = roles.one("SELECT count(*) FROM users");
    let error = roles.import(&runtime, anew).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied, "{error}");
    assert!(error.message().contains("only its owner can make it anew"), "{error}");
    assert_eq!(roles.one("SELECT count(*) FROM users"), rows);

    let gone = uninstall(&roles.settings(&owner), &Limits::default(), &roles.file(), busy).await;
    gone.postgres.unwrap();
    gone.sqlite.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_owns_nothing_does_everything_with_the_rights_that_are_listed() {
    life(shared().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_on_the_oldest_and_the_newest_server_too() {
    for version in OLDEST_AND_NEWEST {
        life(shared_with(&Version::exact(version)).unwrap()).await;
    }
}

/// Whatever is done with a right: opening, and importing.
async fn attempt(roles: &Roles) -> Result<(), Error> {
    let [_, runtime, _] = roles.names();
    Session::open(&roles.settings(&runtime), &Limits::default()).await?;
    roles.pool(&runtime).prepare().await?;
    let dry_run = WriteOptions { dry_run: true, ..WriteOptions::default() };
    roles.import(&runtime, dry_run).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_right_that_is_lacking_is_named_and_the_hint_gives_it() {
    let roles = Roles::on(shared().unwrap());
    let [owner, runtime, writer] = roles.names();
    roles.psql(&owner, &roles.script().await).unwrap();
    roles.walk(&runtime, &writer).await;
    let list = granted(&roles);
    let each = list.iter().flat_map(|line| {
        let (privileges, object) = line.split_once(" ON ").unwrap();
        privileges.split(", ").map(move |one| (one, object))
    });
    for (privilege, object) in each {
        roles.sql(&format!("REVOKE {privilege} ON {object} FROM {runtime}"));
        if object.starts_with("SEQUENCE") {
            // Somebody who has numbered his row himself.
            let row =
                "INSERT INTO users (id, user_id) SELECT max(id) + 1, max(user_id) + 1 FROM users";
            roles.psql(&owner, row).unwrap();
        }
        let error = attempt(&roles).await.expect_err(&format!("{privilege} ON {object}"));
        assert_eq!(error.kind(), Kind::AccessDenied, "{privilege} ON {object}: {error}");
        let told = format!("{error} {}", error.hint().unwrap_or_default()).replace('"', "");
        let named = object.split_once(' ').unwrap().1;
        let named = named.split_once('(').map_or(named, |(name, _)| name);
        assert!(told.contains(named) && told.contains(privilege), "{privilege} {object}: {told}");
        assert!(told.contains(&runtime), "{told}");
        run_hint(&roles, &error);
        attempt(&roles).await.unwrap_or_else(|error| panic!("{privilege} ON {object}: {error}"));
        assert_eq!(granted(&roles), list, "no more than that");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_the_owner_can_mend_is_told_and_nothing_is_lost_meanwhile() {
    for damage in [
        "ALTER TABLE users DISABLE TRIGGER dual_updated",
        "DROP FUNCTION dual.users_inserted() CASCADE",
        "UPDATE dual.installation SET format = 4; DROP TABLE dual.import_run",
        "DROP TABLE dual.tracked",
    ] {
        let roles = Roles::on(shared().unwrap());
        let [owner, runtime, writer] = roles.names();
        roles.psql(&owner, &roles.script().await).unwrap();
        let db = roles.builder(&runtime).open().await.unwrap();
        for id in 1..=3 {
            drop(db.add_user(&name("ours").user_id(id)).await.unwrap());
        }
        quiet(&db).await;
        db.close(PATIENCE).await;
        let list = granted(&roles);
        roles.psql(&owner, damage).unwrap();
        let change = "UPDATE users SET first_name = 'theirs' WHERE user_id = 1; \
                      INSERT INTO users (user_id, first_name) VALUES (10, 'theirs')";
        roles.psql(&writer, change).unwrap();
        let error = roles.pool(&runtime).prepare().await.unwrap_err();
        assert_eq!(error.kind(), Kind::AccessDenied, "{damage}: {error}");
        assert!(error.message().contains("installed again"), "{damage}: {error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains(&owner) && hint.contains("`dual init --sql`"), "{damage}: {hint}");
        let db = roles.builder(&runtime).open().await.unwrap();
        let written = db.update_user(2, &name("pending")).await.unwrap();
        assert!(matches!(written, Written::InOne { .. }), "{damage}: {written:?}");
        let status = db.status().await.unwrap();
        assert!(format!("{:?}", status.postgres.state).contains("installed again"), "{status:?}");
        assert_eq!(status.pending_to_postgres, Some(1), "{damage}");

        // A program runs: the script may meet its locks, and then it is run again.
        let script = roles.script().await;
        while let Err(error) = roles.psql(&owner, &script) {
            assert!(error.contains("deadlock detected"), "{damage}: {error}");
        }
        quiet(&db).await;
        let rows = "SELECT string_agg(user_id || first_name, ' ' ORDER BY user_id) FROM users";
        assert_eq!(roles.one(rows), "1theirs 2pending 3ours 10theirs", "{damage}");
        assert!(db.verify().await.unwrap().equal, "{damage}");
        assert_eq!(granted(&roles), list, "{damage}");
        db.close(PATIENCE).await;
        // The owner's own programs give the rights back, too.
        roles.psql(&owner, "DROP FUNCTION dual.users_inserted() CASCADE").unwrap();
        roles.pool(&owner).prepare().await.unwrap();
        assert_eq!(granted(&roles), list, "{damage}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_away_from_a_running_program_is_told_and_given_back() {
    let roles = Roles::on(shared().unwrap());
    let [owner, runtime, _] = roles.names();
    roles.psql(&owner, &roles.script().await).unwrap();
    // A synchroniser, which needs not every right that a call needs, would find PostgreSQL up again.
    let db = roles.builder(&runtime).background(false).open().await.unwrap();
    drop(db.add_user(&name("ours").user_id(1)).await.unwrap());
    quiet(&db).await;
    for (right, told) in [
        ("EXECUTE ON FUNCTION dual.users_put", "users_put"),
        ("INSERT, UPDATE ON TABLE dual.side_users", "side_users"),
        ("USAGE ON SCHEMA dual", "dual"),
        ("SELECT, UPDATE ON TABLE public.users", "users"),
    ] {
        roles.sql(&format!("REVOKE {right} FROM {runtime}"));
        let written = db.update_user(1, &name(right)).await.unwrap();
        assert!(matches!(written, Written::InOne { .. }), "{right}: {written:?}");
        let state = format!("{:?}", db.status().await.unwrap().postgres.state);
        assert!(state.contains(told) && !state.contains("Up"), "{right}: {state}");
        // Whoever asks what is lacking learns it, and whoever may gives it.
        let joining = init::Joining::default();
        let lacking = match init::plan(&roles.stores(&runtime), joining).await {
            Err(error) => error,
            Ok(plan) => plan.refusal().unwrap(),
        };
        assert_eq!(lacking.kind(), Kind::AccessDenied, "{right}: {lacking}");
        run_hint(&roles, &lacking);
        quiet(&db).await;
        let there = roles.one("SELECT first_name FROM users WHERE user_id = 1");
        assert_eq!(there, right);
    }
    db.close(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_even_look_prints_what_somebody_else_runs() {
    let roles = Roles::on(shared().unwrap());
    let [owner, runtime, _] = roles.names();
    let own = roles.database.name();
    roles.sql(&format!(
        "GRANT CONNECT ON DATABASE {own} TO {runtime}; INSERT INTO users (user_id) VALUES (1)"
    ));
    let stores = roles.stores(&runtime);
    // The table is there, where the role does not see it, and whatever else it may use.
    for other in [
        "",
        "CREATE SCHEMA other; GRANT ALL ON SCHEMA other TO {runtime}; \
                       ALTER ROLE {runtime} SET search_path = public, other",
    ] {
        roles.sql(&other.replace("{runtime}", &runtime));
        let error = init::sql(&stores, None).await.unwrap_err();
        assert!(error.message().contains("\"public\".\"users\" is there"), "{error}");
        let hint = error.hint().unwrap();
        assert!(
            hint.contains(&format!("GRANT USAGE ON SCHEMA \"public\" TO \"{runtime}\"")),
            "{hint}"
        );
    }
    roles.sql(&format!("ALTER ROLE {runtime} RESET search_path"));
    roles.sql(&format!("GRANT USAGE ON SCHEMA public TO {runtime}"));
    let script = init::sql(&stores, None).await.unwrap();
    roles.psql(&owner, &script).unwrap();
    init::apply(&stores, init::Joining::default(), PATIENCE).await.unwrap();
    assert_eq!(roles.here("SELECT group_concat(user_id) FROM users"), "1");
    // A mistake within it leaves nothing behind.
    let broken = script.replace("dual.\"users_put\"", "dual.\"nobody's\"");
    let before = granted(&roles);
    roles.psql(&owner, &broken.replace("CREATE TRIGGER", "CREATE BADLY")).unwrap_err();
    assert_eq!(granted(&roles), before);
    let error = init::sql(&stores, Some("nobody; DROP TABLE users")).await.unwrap_err();
    assert!(error.is_configuration() && error.message().contains("there is no role"), "{error}");
    // By a role with any name.
    let strange = format!("Роль \"%s\" '; {own}");
    let to = quoted(&strange);
    roles.sql(&format!("CREATE ROLE {to} LOGIN"));
    let joining = init::Joining::default();
    let by_owner = roles.stores(&owner);
    init::apply_for(&by_owner, joining.clone(), &strange, PATIENCE).await.unwrap();
    roles.pool(&strange).prepare().await.unwrap();
    roles.psql(&owner, &init::sql(&by_owner, Some(&strange)).await.unwrap()).unwrap();
    roles.pool(&strange).prepare().await.unwrap();
    let error = init::apply_for(&stores, joining, &strange, PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied, "{error}");
    roles.sql(&format!("DROP OWNED BY {to}; DROP ROLE {to}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schema_can_have_any_name_and_a_table_has_one() {
    let mut roles = Roles::on(shared().unwrap());
    let [owner, runtime, writer] = roles.names();
    roles.schema = SchemaName::new("Дуал \"x\" $dual$").unwrap();
    roles.psql(&owner, &roles.script().await).unwrap();
    roles.psql(&owner, &roles.script().await).unwrap();
    roles.walk(&runtime, &writer).await;
    let named = std::mem::take(&mut roles.schema);
    for stranger in [&owner, &runtime] {
        roles.sql(&format!("GRANT CREATE ON DATABASE {} TO {runtime}", roles.database.name()));
        let error = roles.pool(stranger).prepare().await.unwrap_err();
        assert!(error.is_configuration(), "{error}");
        assert!(error.message().contains(named.sql()), "{error}");
        assert!(error.hint().unwrap().contains("--pg-schema"), "{error}");
        let plan = init::plan(&roles.stores(stranger), init::Joining::default()).await;
        assert!(plan.unwrap_err().is_configuration());
    }
    assert_eq!(roles.one("SELECT count(*) FROM pg_namespace WHERE nspname = 'dual'"), "0");
    // A schema that is somebody else's is neither used nor dropped.
    roles.schema = SchemaName::new("shop").unwrap();
    roles.sql("CREATE SCHEMA shop; CREATE TABLE shop.goods (id int)");
    let busy = std::time::Duration::from_secs(5);
    let admin = roles.one("SELECT current_user");
    let gone = uninstall(&roles.settings(&admin), &Limits::default(), &roles.file(), busy).await;
    assert!(gone.postgres.unwrap_err().is_configuration());
    gone.sqlite.unwrap_err();
    assert_eq!(roles.one("SELECT count(*) FROM shop.goods"), "0");
    let error = init::sql(&roles.stores(&admin), None).await.unwrap_err();
    assert!(error.message().contains("holds other things"), "{error}");

    roles.schema = named;
    let gone = uninstall(&roles.settings(&owner), &Limits::default(), &roles.file(), busy).await;
    gone.postgres.unwrap();
    gone.sqlite.unwrap();
    let left = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'dual%'";
    assert_eq!(roles.one(left), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_the_schema_before_us_runs_nothing_as_us() {
    let roles = Roles::on(shared().unwrap());
    let [owner, _, squatter] = roles.names();
    let bait = |name: &str, columns: &str| {
        format!("CREATE VIEW dual.{name} AS SELECT {columns} FROM dual.trap(); ")
    };
    let views = [
        bait("installation", "true AS one, 5 AS format, NULL::uuid AS id, 0::bigint AS horizon"),
        bait(
            "tracked",
            "'users'::text AS name, 0::oid AS target, ''::text AS triggers, ''::text AS columns",
        ),
        bait("missed", "''::text AS name"),
        bait("import_run", "''::text AS run_id, ''::text AS source, 0::bigint AS position"),
    ];
    roles.sql(&format!(
        "CREATE SEQUENCE ran; GRANT USAGE ON SEQUENCE ran TO PUBLIC; \
         GRANT CREATE ON DATABASE {name} TO {squatter}; SET ROLE {squatter}; CREATE SCHEMA dual; \
         CREATE FUNCTION dual.trap() RETURNS bigint LANGUAGE sql AS $$ SELECT nextval('public.ran') $$; \
         {views} GRANT ALL ON SCHEMA dual TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA dual TO PUBLIC",
        name = roles.database.name(),
        views = views.concat(),
    ));
    let admin = roles.one("SELECT current_user");
    for victim in [&owner, &admin] {
        let told = |error: Error| {
            assert_eq!(error.kind(), Kind::AccessDenied, "{victim}: {error}");
            assert!(error.message().contains(&squatter), "{victim}: {error}");
        };
        told(roles.pool(victim).prepare().await.unwrap_err());
        let stores = roles.stores(victim);
        told(init::plan(&stores, init::Joining::default()).await.unwrap_err());
        told(init::sql(&stores, None).await.unwrap_err());
        told(roles.import(victim, WriteOptions::default()).await.unwrap_err());
    }
    assert_eq!(roles.one("SELECT is_called::text FROM ran"), "false", "the trap has run");
    // The owner of the table may install wherever it may make a schema.
    roles.sql("DROP SCHEMA dual CASCADE");
    roles.pool(&owner).prepare().await.unwrap();
}
