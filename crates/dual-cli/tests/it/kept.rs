//! An import into a database that is installed already: it goes into the table that is tracked, in the schema
//! in which ours stands, or it is refused.

use serde_json::json;

use crate::scene::{Scene, bot_row, heading};

fn scene() -> Scene {
    let scene = Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 7, "Купон выдан")]));
    scene.migrate(&[]).ended(0);
    scene
}

/// Somebody who may make things in front of the table, and waits for who comes along.
const BAIT: &str = "CREATE SCHEMA front; CREATE TABLE front.users (LIKE public.users INCLUDING ALL); \
     CREATE FUNCTION front.trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
       CREATE TABLE IF NOT EXISTS public.caught (); RETURN NULL; END $$; \
     CREATE TRIGGER trap AFTER INSERT ON front.users EXECUTE FUNCTION front.trap()";

#[test]
fn a_table_in_front_of_the_tracked_one_gets_nothing() {
    let scene = scene();
    scene.postgres(BAIT);
    let url = format!("{}?options=-csearch_path%3Dfront,public", scene.database.url());
    let counts = "SELECT (SELECT count(*) FROM front.users), to_regclass('public.caught')";
    let rows = |id| json!([heading(), bot_row("2025-07-10 12:00:05", id, "Купон выдан")]);
    for (id, words) in [
        (8, &["--dry-run"][..]),
        (8, &[]),
        (9, &["--recreate-tables", "--dry-run"]),
        (9, &["--recreate-tables", "--yes"]),
    ] {
        scene.sheet(rows(id));
        let told = scene.migrate_to(&url, words).ended(0).stderr;
        assert!(told.contains("the search path leads to front.users"), "{words:?}: {told}");
        assert_eq!(scene.postgres(counts), [[Some("0".into()), None]], "{words:?}");
        let there = format!("SELECT user_id FROM public.users WHERE user_id = {id}");
        let arrived = usize::from(!words.contains(&"--dry-run"));
        assert_eq!(scene.postgres(&there).len(), arrived, "{words:?}");
    }
    let tracked = "SELECT target = 'public.users'::regclass FROM dual.tracked";
    assert_eq!(scene.postgres(tracked), [[Some("t".into())]]);
    // A file that has never met this database may mean the other one.
    let other = scene.folder.path().join("other.db").display().to_string();
    let told = scene.migrate_to(&url, &["--sqlite-db-path", &other]).ended(2).stderr;
    assert!(told.contains("another table of that name is joined"), "{told}");
    assert_eq!(scene.postgres(counts), [[Some("0".into()), None]]);
}

#[test]
fn a_table_that_an_installation_in_another_schema_keeps_is_not_imported_into() {
    let scene = Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 7, "Купон выдан")]));
    scene.migrate(&["--pg-schema", "kept"]).ended(0);
    for words in [&[][..], &["--dry-run"], &["--recreate-tables", "--yes"]] {
        let told = scene.migrate(words).ended(2).stderr;
        assert!(told.contains("installation in the schema \"kept\""), "{words:?}: {told}");
        assert!(told.contains("--pg-schema"), "{words:?}: {told}");
    }
    // An import's record elsewhere changes nothing.
    scene.postgres("CREATE SCHEMA dual; CREATE TABLE dual.import_run (LIKE kept.import_run)");
    scene.migrate(&[]).ended(2);
    scene.postgres("CREATE TABLE dual.installation (LIKE kept.installation)");
    scene.migrate(&[]).ended(2);
    scene.migrate(&["--pg-schema", "kept"]).ended(0);
}

#[test]
fn an_import_makes_nothing_in_a_schema_that_is_not_ours_alone() {
    let scene = Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 7, "Купон выдан")]));
    scene.postgres("CREATE SCHEMA app; CREATE SCHEMA busy; CREATE TYPE busy.mood AS ENUM ()");
    let url = format!("{}?options=-csearch_path%3Dapp", scene.database.url());
    let told = scene.migrate_to(&url, &["--pg-schema", "app"]).ended(2).stderr;
    assert!(told.contains("stands or would be made"), "{told}");
    let told = scene.migrate_to(&url, &["--pg-schema", "busy"]).ended(2).stderr;
    assert!(told.contains("type busy.mood"), "{told}");
    scene.untouched();
    scene.migrate_to(&url, &[]).ended(0);
}
