use dual_database::schema::{Table, users};
use dual_database::store::postgres::{Catalog, Limits, SchemaPlan, Session, Settings, plan};
use dual_database::{Kind, Store};
use throwaway_postgres::{Database, Server, Version, shared, shared_with};

async fn planned(url: &str, table: &Table) -> (Session, SchemaPlan) {
    let session = Session::open(&Settings::parse(url).unwrap(), &Limits::default()).await.unwrap();
    session.begin_snapshot("look").await.unwrap();
    let catalog = Catalog::read(&session, table).await.unwrap();
    session.rollback("look").await.unwrap();
    let plan = plan(table, &catalog);
    (session, plan)
}

/// The plan as text: what the user would be shown.
fn shown(plan: &SchemaPlan) -> String {
    let mut text = format!("target {}\n", plan.target);
    for step in &plan.steps {
        text.push_str(&format!("step: {}\n    {}\n", step.what, step.sql));
    }
    for obstacle in &plan.obstacles {
        let sql = obstacle.sql.as_deref().unwrap_or("-");
        text.push_str(&format!("obstacle: {:?} {}\n    {sql}\n", obstacle.kind, obstacle.what));
    }
    text + &format!(
        "lengths {:?} required {:?} wider {:?}\n",
        plan.lengths, plan.required, plan.wider
    )
}

/// Runs the steps; afterwards nothing is left to do.
async fn carry_out(database: &Database<'_>) -> String {
    let table = users();
    let (session, first) = planned(&database.url(), &table).await;
    assert_eq!(first.obstacles, []);
    session.begin("begin").await.unwrap();
    for step in &first.steps {
        session.batch("carry out the plan", &step.sql).await.unwrap();
    }
    session.commit("commit").await.unwrap();
    let (_, second) = planned(&database.url(), &table).await;
    assert!(second.is_done(), "{}", shown(&second));
    shown(&first)
}

fn next_id(database: &Database<'_>) -> String {
    let sql = "INSERT INTO users (user_id) VALUES (999) RETURNING id";
    database.execute(sql).unwrap()[0][0].clone().unwrap()
}

fn every_version() -> Vec<&'static Server> {
    vec![
        shared().unwrap(),
        shared_with(&Version::exact("12.22.0-beta.15")).unwrap(),
        shared_with(&Version::exact("18.4.0-beta.17")).unwrap(),
    ]
}

#[tokio::test]
async fn a_missing_table_is_made_on_every_version() {
    for server in every_version() {
        let database = server.database("create").unwrap();
        insta::assert_snapshot!("create", carry_out(&database).await);
        assert_eq!(next_id(&database), "1");
    }
}

#[tokio::test]
async fn the_documented_table_needs_nothing() {
    for server in every_version() {
        let database = server.database("documented").unwrap();
        database
            .execute(
                "CREATE TABLE users (id SERIAL PRIMARY KEY, user_id BIGINT UNIQUE NOT NULL, \
                 username VARCHAR(64), first_name TEXT, status VARCHAR DEFAULT 'registered', \
                 phone_number VARCHAR(20), real_name VARCHAR, birth_date VARCHAR, \
                 register_date TIMESTAMP NOT NULL, last_activity TIMESTAMP, redeem_date TIMESTAMP, \
                 source VARCHAR, referrer_id BIGINT, brought_by_staff_id BIGINT, \
                 profile_completed BOOLEAN DEFAULT FALSE, ai_concept VARCHAR DEFAULT 'evgenich', \
                 extra text NOT NULL DEFAULT 'x')",
            )
            .unwrap();
        let (_, plan) = planned(&database.url(), &users()).await;
        assert!(plan.is_done(), "{}", shown(&plan));
        assert_eq!(plan.lengths, [("username".into(), 64), ("phone_number".into(), 20)]);
        assert_eq!(plan.required, ["register_date".into()]);
        assert_eq!(plan.wider, ["brought_by_staff_id".into()]);
    }
}

#[tokio::test]
async fn what_is_missing_is_added() {
    for server in every_version() {
        let database = server.database("added").unwrap();
        database
            .execute(
                "CREATE SCHEMA app; ALTER DATABASE CURRENT_DB SET search_path = app, public; \
                 CREATE TABLE app.users (id integer, user_id bigint, username text); \
                 INSERT INTO app.users VALUES (7, 1, 'a'), (3, 2, 'b')"
                    .replace("CURRENT_DB", &format!("\"{}\"", database.name()))
                    .as_str(),
            )
            .unwrap();
        insta::assert_snapshot!("added", carry_out(&database).await);
        assert_eq!(next_id(&database), "8");
        assert!(database.execute("INSERT INTO users (user_id) VALUES (1)").is_err());
    }
}

#[tokio::test]
async fn a_sequence_behind_its_numbers_is_set() {
    let database = shared().unwrap().database("behind").unwrap();
    let (session, first) = planned(&database.url(), &users()).await;
    session.batch("make", &first.steps[0].sql).await.unwrap();
    database.execute("INSERT INTO users (id, user_id) VALUES (41, 1)").unwrap();
    insta::assert_snapshot!("behind", carry_out(&database).await);
    assert_eq!(next_id(&database), "42");
}

#[tokio::test]
async fn wrong_types_come_with_sql_that_works() {
    for server in every_version() {
        let database = server.database("types").unwrap();
        database
            .execute(
                "CREATE DOMAIN short AS varchar(5); \
                 CREATE TABLE users (id serial PRIMARY KEY, user_id integer NOT NULL UNIQUE, \
                 username short, first_name char(10), status text DEFAULT 'new', phone_number numeric, \
                 real_name text, birth_date date, register_date timestamptz DEFAULT now(), \
                 last_activity timestamp(0), redeem_date text, source text, referrer_id text, \
                 brought_by_staff_id smallint, profile_completed integer DEFAULT 0, ai_concept text, \
                 extra text NOT NULL); \
                 INSERT INTO users (user_id, first_name, phone_number, birth_date, last_activity, \
                 redeem_date, referrer_id, profile_completed, extra) VALUES \
                 (1, 'x', 79999999999, '2000-01-02', '2020-01-01', '2020-01-01 00:00:00', '5', 1, '')",
            )
            .unwrap();
        let (_, plan) = planned(&database.url(), &users()).await;
        insta::assert_snapshot!("types", shown(&plan));
        assert_eq!(plan.lengths, [("username".into(), 5)]);
        let error = plan.refusal("prepare the table").unwrap();
        assert_eq!(error.kind(), Kind::Schema(Store::Postgres));
        for obstacle in &plan.obstacles {
            database.execute(obstacle.sql.as_deref().unwrap()).unwrap();
        }
        let (_, plan) = planned(&database.url(), &users()).await;
        assert!(plan.is_done(), "{}", shown(&plan));
        let rows = database
            .execute(
                "SELECT first_name || '|', phone_number, profile_completed, referrer_id, birth_date \
                 FROM users",
            )
            .unwrap();
        let row: Vec<&str> = rows[0].iter().map(|value| value.as_deref().unwrap()).collect();
        assert_eq!(row, ["x|", "79999999999", "t", "5", "2000-01-02"]);
    }
}

#[tokio::test]
async fn keys_that_repeat_or_lack_are_in_the_way() {
    let database = shared().unwrap().database("keys").unwrap();
    let (session, first) = planned(&database.url(), &users()).await;
    session.batch("make", &first.steps[0].sql).await.unwrap();
    database
        .execute(
            "ALTER TABLE users DROP CONSTRAINT users_user_id_key, ALTER user_id DROP NOT NULL; \
             INSERT INTO users (user_id) VALUES (1), (1), (2), (NULL); \
             CREATE UNIQUE INDEX ON users (user_id) WHERE user_id > 1; \
             CREATE UNIQUE INDEX ON users (user_id, id)",
        )
        .unwrap();
    let (_, plan) = planned(&database.url(), &users()).await;
    insta::assert_snapshot!("keys", shown(&plan));
}

#[tokio::test]
async fn what_is_no_table_is_in_the_way() {
    let database = shared().unwrap().database("view").unwrap();
    database.execute("CREATE VIEW users AS SELECT 1 AS user_id").unwrap();
    let (_, plan) = planned(&database.url(), &users()).await;
    insta::assert_snapshot!("view", shown(&plan));
}

#[tokio::test]
async fn missing_rights_are_in_the_way() {
    let database = shared().unwrap().database("rights_of").unwrap();
    let user = format!("user_{}", database.name());
    let name = database.name();
    database
        .execute(&format!(
            "CREATE ROLE {user} LOGIN; REVOKE ALL ON SCHEMA public FROM PUBLIC; \
             GRANT USAGE ON SCHEMA public TO {user}; REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC"
        ))
        .unwrap();
    let url = database.url_as(&user, None);
    let (session, none) = planned(&url, &users()).await;
    drop(session);
    assert_eq!(none.refusal("prepare").unwrap().kind(), Kind::AccessDenied);
    database
        .execute(&format!(
            "CREATE TABLE users (id serial PRIMARY KEY, user_id bigint NOT NULL UNIQUE, username text); \
             GRANT SELECT, INSERT ON users TO {user}"
        ))
        .unwrap();
    let (session, some) = planned(&url, &users()).await;
    drop(session);
    let text = format!("{}\n{}", shown(&none), shown(&some)).replace(name, "DATABASE");
    insta::assert_snapshot!("rights", text);
    for obstacle in none.obstacles.iter().chain(&some.obstacles) {
        database.execute(obstacle.sql.as_deref().unwrap()).unwrap();
    }
    let (session, left) = planned(&url, &users()).await;
    drop(session);
    assert!(left.is_done(), "{}", shown(&left));
    database.execute(&format!("DROP OWNED BY {user}; DROP ROLE {user}")).unwrap();
}
