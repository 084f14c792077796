//! Row-level security that is switched on while a process runs: rows that are hidden are not gone.

use dual_database::DualDatabase;
use dual_database::database::{Status, WriteMode};
use dual_database::health::StoreState;
use dual_database::users::{UserFilter, UserPatch};
use dual_database::{Kind, Store};

use super::scene::{Place, is_in_both, named, open_with, psql, until};

/// What hides rows from the table's owner (all of them, or one), and whether somebody deletes a row
/// meanwhile and makes it anew in the same transaction.
const HIDING: [(&str, bool); 3] =
    [("", false), ("CREATE POLICY one ON users USING (user_id <> 1);", false), ("", true)];

/// The statement that the hint gives, if PostgreSQL is down.
fn mending(status: &Status) -> Option<String> {
    match &status.postgres.state {
        StoreState::Up => None,
        StoreState::Down { kind, reason, hint } | StoreState::NeedsInit { kind, reason, hint } => {
            let hint = hint.as_deref().unwrap_or_default();
            assert!(matches!(kind, Kind::AccessDenied | Kind::Schema(_)), "{kind:?}: {reason}");
            assert!(reason.contains("row") && reason.contains("users"), "{reason}");
            // Nothing is taken from those whom the policies protect.
            assert!(!hint.contains("ROW LEVEL SECURITY"), "{hint}");
            let (_, sql) = hint.split_once("a superuser can run: ").expect(hint);
            let sql = sql.trim_end_matches(';');
            assert!(
                sql.starts_with("ALTER ROLE \"hidden_") && sql.ends_with(" BYPASSRLS"),
                "{sql}"
            );
            Some(sql.to_owned())
        }
    }
}

async fn everything_goes_on_in_the_file(db: &DualDatabase) {
    // Said by the first call that asks, and by the synchroniser without any.
    let found = db.get_user(1).await.unwrap();
    let name = found.value.and_then(|user| user.first_name);
    assert_eq!((found.source, name.as_deref()), (Store::Sqlite, Some("Анна")));
    until(|| async { mending(&db.status().await.unwrap()).is_some() }).await;
    let count = db.count_users(&UserFilter::new()).await.unwrap();
    assert_eq!((count.source, count.value), (Store::Sqlite, 3));
    for written in [
        db.update_user(1, &UserPatch::new().first_name("Яна")).await.unwrap().is_in(Store::Sqlite),
        db.delete_user(2).await.unwrap().is_in(Store::Sqlite),
        db.add_user(&named(4, "Вера")).await.unwrap().is_in(Store::Sqlite),
    ] {
        assert!(written);
    }
    assert_eq!(db.status().await.unwrap().pending_to_postgres, Some(3));
    assert_eq!(db.status().await.unwrap().quarantined, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_a_policy_hides_are_not_gone() {
    for (hiding, anew) in HIDING {
        let place = Place::new();
        let role = format!("hidden_{}", place.database.name());
        place.psql(&format!(
            "CREATE ROLE {role} LOGIN; ALTER DATABASE {0} OWNER TO {role}; \
             GRANT CREATE, USAGE ON SCHEMA public TO {role}",
            place.database.name()
        ));
        let url = place.database.url_as(&role, None);
        let open = |mode| open_with(&url, &place.path()).write_mode(mode).open();
        let db = open(WriteMode::Both).await.unwrap();
        for key in 1..=3 {
            assert!(is_in_both(&db.add_user(&named(key, "Анна")).await.unwrap()));
        }
        psql(
            &url,
            &format!(
                "{hiding} ALTER TABLE users ENABLE ROW LEVEL SECURITY; ALTER TABLE users FORCE ROW LEVEL SECURITY"
            ),
        );
        everything_goes_on_in_the_file(&db).await;
        // Others write meanwhile, and another process is told so, too.
        place.psql("UPDATE users SET username = 'psql' WHERE user_id = 1");
        place.psql("INSERT INTO users (user_id, first_name) VALUES (5, 'psql')");
        if anew {
            // The second capture would have to see the row.
            place.psql(
                "BEGIN; DELETE FROM users WHERE user_id = 3; \
                 INSERT INTO users (user_id, first_name) VALUES (3, 'Анна'); COMMIT",
            );
        }
        let other = open(WriteMode::Both).await.unwrap();
        until(|| async { mending(&other.status().await.unwrap()).is_some() }).await;
        assert!(other.get_user(3).await.unwrap().value.is_some());
        other.close(super::scene::LIMIT).await;
        assert_eq!(place.psql("SELECT count(*) FROM users"), "4");

        // As the hint says.
        place.psql(&mending(&db.status().await.unwrap()).unwrap());
        place.until_equal(&db).await;
        until(|| async { db.status().await.unwrap().postgres.state == StoreState::Up }).await;
        let rows = "SELECT string_agg(user_id || coalesce(username, '') || first_name, ' ' ORDER BY user_id) FROM users";
        assert_eq!(place.psql(rows), "1psqlЯна 3Анна 4Вера 5psql");
        assert!(is_in_both(&db.add_user(&named(6, "f")).await.unwrap()));
        // What is overwritten after a gap is logged, as after any other.
        let conflicts = db.status().await.unwrap().conflicts;
        assert!(anew || conflicts == Some(0), "{conflicts:?}");
        db.close(super::scene::LIMIT).await;
        place.psql(&format!(
            "REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}"
        ));
    }
}
