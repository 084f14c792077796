//! Capture that cannot do its work: nobody's write fails for it, somebody is told, and what was written
//! meanwhile is taken in when what was in its way has gone.

use dual_database::database::{Status, WriteMode};
use dual_database::health::StoreState;
use dual_database::{DualDatabase, Kind, Store};

use super::scene::{LIMIT, Place, is_in_both, named, open_with, psql, until};

/// What a neighbour does to the table, who takes it back, and what is told meanwhile.
struct Hindrance {
    done: &'static str,
    undone: &'static str,
    told: &'static str,
    /// A statement that would help, of which the hint speaks.
    hint: &'static str,
}

/// `{role}` owns the functions, and the table.
const HINDRANCES: [Hindrance; 3] = [
    Hindrance {
        done: "REVOKE SELECT ON users FROM {role}",
        undone: "GRANT SELECT ON users TO {role}",
        told: "users",
        hint: "GRANT SELECT",
    },
    Hindrance {
        done: "ALTER TABLE users ALTER profile_completed DROP DEFAULT, \
               ALTER profile_completed TYPE text USING profile_completed::text, \
               ALTER profile_completed SET DEFAULT 'false'",
        undone: "ALTER TABLE users ALTER profile_completed DROP DEFAULT, \
                 ALTER profile_completed TYPE boolean USING profile_completed::boolean, \
                 ALTER profile_completed SET DEFAULT false",
        told: "\"profile_completed\" is text, boolean is needed",
        hint: "ALTER COLUMN \"profile_completed\" TYPE boolean",
    },
    Hindrance {
        done: "CREATE TYPE stage AS ENUM ('registered', 'issued', 'redeemed', 'redeemed_and_left'); \
               ALTER TABLE users ALTER status DROP DEFAULT, ALTER status TYPE stage USING status::stage, \
               ALTER status SET DEFAULT 'registered'",
        undone: "ALTER TABLE users ALTER status DROP DEFAULT, ALTER status TYPE text USING status::text, \
                 ALTER status SET DEFAULT 'registered'; DROP TYPE stage",
        told: "\"status\" is public.stage, character varying is needed",
        hint: "ALTER COLUMN \"status\" TYPE character varying",
    },
];

/// What somebody writes there, each in a statement of its own, and all within one transaction.
const WRITES: [&str; 7] = [
    "INSERT INTO users (user_id, first_name) VALUES (10, 'psql'), (11, 'psql')",
    "UPDATE users SET first_name = 'psql', status = 'issued', profile_completed = 'true' WHERE user_id = 1",
    "DELETE FROM users WHERE user_id = 2",
    "UPDATE users SET user_id = 30 WHERE user_id = 3",
    "INSERT INTO users (user_id) VALUES (10) ON CONFLICT (user_id) DO UPDATE SET source = 'psql'",
    "BEGIN; INSERT INTO users (user_id) VALUES (12); UPDATE users SET source = 'psql' WHERE user_id = 12; \
     DELETE FROM users WHERE user_id = 11; COMMIT",
    "COPY users (user_id, first_name) FROM STDIN;\n13\tcopy\n\\.\n",
];

impl Hindrance {
    fn is_told(&self, status: &Status) -> bool {
        match &status.postgres.state {
            StoreState::Up => false,
            StoreState::Down { reason, hint, .. } | StoreState::NeedsInit { reason, hint, .. } => {
                let hint = hint.as_deref().unwrap_or_default();
                assert!(hint.contains(self.hint), "{reason}: {hint}");
                reason.contains(self.told)
            }
        }
    }
}

/// The rows as somebody reads them.
const ROWS: &str = "SELECT string_agg(concat_ws(' ', user_id, first_name, status, profile_completed::text, source), ', ' \
     ORDER BY user_id) FROM users";

/// The database, unless it is to be closed.
async fn kept(db: DualDatabase, runs: bool) -> Option<DualDatabase> {
    if runs {
        return Some(db);
    }
    db.close(LIMIT).await;
    None
}

async fn goes_on_in_the_file(db: &DualDatabase, hindrance: &Hindrance) {
    until(async || hindrance.is_told(&db.status().await.unwrap())).await;
    let found = db.get_user(4).await.unwrap();
    assert_eq!(found.source, Store::Sqlite);
    let written = db.add_user(&named(5, "наш")).await.unwrap();
    assert!(written.is_in(Store::Sqlite) && !is_in_both(&written));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_that_cannot_be_done_fails_nobody_and_is_made_up_for() {
    for hindrance in HINDRANCES {
        for runs in [true, false] {
            let place = Place::new();
            let name = place.database.name();
            let role = format!("unable_{name}");
            place.psql(&format!(
                "CREATE ROLE {role} LOGIN; ALTER DATABASE {name} OWNER TO {role}; \
                 GRANT CREATE, USAGE ON SCHEMA public TO {role}; CREATE ROLE {role}_writer LOGIN"
            ));
            let url = place.database.url_as(&role, None);
            let open = || open_with(&url, &place.path()).write_mode(WriteMode::Both).open();
            let db = open().await.unwrap();
            for key in 1..=4 {
                assert!(is_in_both(&db.add_user(&named(key, "наш")).await.unwrap()));
            }
            place.until_equal(&db).await;
            let running = kept(db, runs).await;
            place.psql(&format!("GRANT ALL ON users TO {role}_writer"));
            place.psql(&hindrance.done.replace("{role}", &role));
            let writer = place.database.url_as(&format!("{role}_writer"), None);
            for write in WRITES {
                psql(&writer, write);
            }
            let noted = "SELECT string_agg(name, ' ') FROM dual.missed";
            assert_eq!(place.psql(noted), "users", "{}", hindrance.done);
            let written = "1 psql issued true, 4 наш registered false, 10 psql registered false psql, \
                 12 registered false psql, 13 copy registered false, 30 наш registered false";
            assert_eq!(place.psql(ROWS), written, "{}", hindrance.done);

            let db = match running {
                Some(db) => db,
                None => open().await.unwrap(),
            };
            goes_on_in_the_file(&db, &hindrance).await;
            assert_eq!(place.psql(noted), "users", "{}", hindrance.done);
            place.psql(&hindrance.undone.replace("{role}", &role));
            place.until_equal(&db).await;
            until(async || db.status().await.unwrap().postgres.state == StoreState::Up).await;
            assert_eq!(place.psql(noted), "", "{}", hindrance.done);
            let there = "SELECT count(*) FROM users WHERE user_id IN (1, 4, 5, 10, 12, 13, 30)";
            assert_eq!(place.psql(there), "7", "{}", hindrance.done);
            // From here on it is captured again, a delete as a delete.
            psql(&writer, "DELETE FROM users WHERE user_id = 10");
            place.until_equal(&db).await;
            assert_eq!(place.psql("SELECT count(*) FROM users WHERE user_id = 10"), "0");
            assert!(is_in_both(&db.add_user(&named(6, "наш")).await.unwrap()));
            db.close(LIMIT).await;
            place.psql(&format!(
                "REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}; \
                 DROP OWNED BY {role}_writer; DROP ROLE {role}_writer"
            ));
        }
    }
}

/// What a connection to the file can be set to, and what it can have beside the file.
const CONNECTIONS: [&str; 18] = [
    "PRAGMA trusted_schema = OFF",
    "PRAGMA recursive_triggers = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA defer_foreign_keys = ON",
    "PRAGMA legacy_alter_table = ON",
    "PRAGMA reverse_unordered_selects = ON",
    "PRAGMA automatic_index = OFF",
    "PRAGMA count_changes = ON",
    "PRAGMA full_column_names = ON",
    "PRAGMA short_column_names = OFF",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA case_sensitive_like = ON",
    "PRAGMA cell_size_check = ON",
    "PRAGMA cache_size = 1",
    "PRAGMA temp_store = 2",
    "CREATE TEMP TABLE users (a)",
    "CREATE TEMP TABLE dual_state (a); CREATE TEMP TABLE dual_side_users (a); CREATE TEMP TABLE dual_look_users (a)",
    "ATTACH ':memory:' AS other; CREATE TABLE other.users (a); CREATE TABLE other.dual_state (a)",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_setting_of_a_connection_to_the_file_fails_its_writer() {
    let place = Place::new();
    let db = place.open().await;
    for (at, set) in (1..).zip(CONNECTIONS) {
        let key = at * 10;
        for id in key..key + 3 {
            assert!(is_in_both(&db.add_user(&named(id, "наш")).await.unwrap()), "{set}");
        }
        place.sqlite(&format!(
            "db.executescript(\"{set}\")\n\
             db.execute(\"INSERT INTO main.users (user_id, first_name) VALUES ({key} + 3, 'python')\")\n\
             db.execute(\"UPDATE main.users SET first_name = 'python' WHERE user_id = {key}\")\n\
             db.execute(\"UPDATE OR REPLACE main.users SET user_id = {key} + 4 WHERE user_id = {key} + 1\")\n\
             db.execute(\"REPLACE INTO main.users (user_id, first_name) VALUES ({key} + 3, 'again')\")\n\
             db.execute(\"DELETE FROM main.users WHERE user_id = {key} + 2\")"
        ));
        place.until_equal(&db).await;
        let rows = "SELECT string_agg(user_id % 10 || first_name, ' ' ORDER BY user_id) FROM users";
        let rows = format!("{rows} WHERE user_id BETWEEN {key} AND {key} + 9");
        assert_eq!(place.psql(&rows), "0python 3again 4наш", "{set}");
    }
    // A program that has the file beside its own.
    place.sqlite(
        "own = sqlite3.connect(':memory:')\nown.execute('ATTACH ? AS side', (P,))\n\
         own.execute(\"INSERT INTO side.users (user_id) VALUES (1)\")\n\
         own.execute(\"UPDATE side.users SET source = 'beside' WHERE user_id = 10\")\nown.commit()",
    );
    place.until_equal(&db).await;
    assert_eq!(place.psql("SELECT source FROM users WHERE user_id = 10"), "beside");
    assert_eq!(db.status().await.unwrap().quarantined, Some(0));
    db.close(LIMIT).await;
}

/// Under `legacy_alter_table`, the default of some builds, triggers do not follow what they name, and a
/// trigger of SQLite cannot pass over an error.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_the_file_that_have_lost_what_they_name_fail_nobody_for_long() {
    for (how, table, undone) in [
        ("ALTER TABLE users RENAME TO guests", "guests", "ALTER TABLE guests RENAME TO users"),
        (
            "ALTER TABLE users DROP COLUMN phone_number",
            "users",
            "ALTER TABLE users ADD COLUMN phone_number TEXT",
        ),
    ] {
        for runs in [true, false] {
            let place = Place::new();
            let db = place.open().await;
            for id in 1..=3 {
                let user = named(id, "наш").set("phone_number", "+7").unwrap();
                assert!(is_in_both(&db.add_user(&user).await.unwrap()));
            }
            let running = kept(db, runs).await;
            place.sqlite(&format!("db.executescript('PRAGMA legacy_alter_table = ON; {how}')"));
            let write = format!("UPDATE {table} SET first_name = 'python' WHERE user_id = 1");
            let write = format!(
                "try:\n    db.execute(\"{write}\")\nexcept sqlite3.OperationalError as e: print(e)"
            );
            if let Some(db) = &running {
                until(async || place.sqlite(&write).is_empty()).await;
                until(async || {
                    let state = db.status().await.unwrap().sqlite.state;
                    matches!(state, StoreState::NeedsInit { .. })
                })
                .await;
            } else {
                assert!(place.sqlite(&write).contains("no such "), "{how}");
                let error = place.builder().open().await.unwrap_err();
                assert_eq!(error.kind(), Kind::Schema(Store::Sqlite), "{how}: {error}");
                assert_eq!(place.sqlite(&write), "", "{how}");
            }
            place.sqlite(&format!("db.execute('{undone}')"));
            let db = match running {
                Some(db) => db,
                None => place.open().await,
            };
            place.until_equal(&db).await;
            let found = place.psql("SELECT first_name, phone_number FROM users WHERE user_id = 1");
            assert_eq!(found, "python|+7", "{how}");
            assert_eq!(place.psql("SELECT count(*) FROM users"), "3", "{how}");
            db.close(LIMIT).await;
        }
    }
}
