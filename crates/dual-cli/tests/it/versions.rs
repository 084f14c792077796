//! The oldest and the newest PostgreSQL that are promised.

use serde_json::json;
use throwaway_postgres::{Version, shared_with};

use crate::scene::{Scene, bot_row, heading};

#[test]
fn postgresql_12_and_18_are_loaded_alike() {
    for version in ["12.22.0-beta.15", "18.4.0-beta.17"] {
        let server = shared_with(&Version::exact(version)).unwrap();
        let rows = |status| {
            json!([
                heading(),
                bot_row("2025-07-10 12:00:05", 101, status),
                bot_row("2025-07-10 12:00:06", 102, "Купон выдан")
            ])
        };
        let scene = Scene::on(server, rows("Зарегистрирован"));
        scene.migrate(&[]).ended(0);
        assert_eq!(scene.equal().len(), 2, "{version}");
        scene.sheet(rows("Купон погашен"));
        scene.migrate(&["--json"]).ended(0);
        assert_eq!(scene.value(101, "status").as_deref(), Some("redeemed"), "{version}");
        let before = scene.versions();
        scene.migrate(&[]).ended(0);
        assert!(scene.versions() == before, "{version}");
    }
}
