//! CSV files go through the same stages.

use serde_json::json;

use crate::scene::Scene;

fn scene() -> Scene {
    Scene::new(json!([]))
}

#[test]
fn a_csv_file_with_the_databases_own_names_keeps_its_values() {
    let scene = scene();
    let path = scene.file(
        "users.csv",
        "user_id,username,first_name,status,phone_number,real_name,birth_date,register_date,last_activity,redeem_date,source,referrer_id,brought_by_staff_id,profile_completed,ai_concept\n\
         9223372036854775807,a,\"Имя, с запятой\",issued,+79990000001,\"Две\nстроки\",15.08.1990,2026-05-01 12:00:00.123456,2026-05-02 12:00:00,,vk,42,7,true,other\n\
         102,,,redeemed,,,,2026-05-01 12:00:01,,2026-05-03 00:00:00,,,,0,\n",
    );
    scene.migrate(&["--csv", path.to_str().unwrap()]).ended(0);
    assert_eq!(scene.equal().len(), 2);
    let some = |text: &str| Some(text.to_string());
    assert_eq!(scene.value(i64::MAX, "register_date"), some("2026-05-01 12:00:00.123456"));
    assert_eq!(scene.value(i64::MAX, "last_activity"), some("2026-05-02 12:00:00"));
    assert_eq!(scene.value(i64::MAX, "real_name"), some("Две\nстроки"));
    assert_eq!(scene.value(i64::MAX, "brought_by_staff_id"), some("7"));
    assert_eq!(scene.value(i64::MAX, "ai_concept"), some("other"));
    assert_eq!(scene.value(102, "ai_concept"), some("evgenich"));
}

#[test]
fn a_file_that_excel_wrote_in_russian_is_read() {
    let scene = scene();
    let path = scene.file(
        "excel.csv",
        "\u{feff}ID Пользователя;Имя в Telegram;Статус Награды;Дата Регистрации\r\n5 123 456 789;Анна;Купон выдан;08.08.2025 9:00\r\n",
    );
    scene.migrate(&["--csv", path.to_str().unwrap()]).ended(0);
    assert_eq!(scene.value(5_123_456_789, "register_date").as_deref(), Some("2025-08-08 09:00:00"));
}

#[test]
fn text_of_every_kind_survives_both_databases() {
    let scene = scene();
    let texts = [
        "שלום עולם",
        "🍺👨‍👩‍👧",
        "back\\slash \\N \\t",
        "quote ' \" ;",
        "e\u{301}",
        "a\tb",
        "\u{202e}rtl",
    ];
    let mut file = String::from("user_id,first_name,register_date\n");
    for (index, text) in texts.iter().enumerate() {
        file.push_str(&format!(
            "{},\"{}\",2025-01-01 00:00:00\n",
            index + 1,
            text.replace('"', "\"\"")
        ));
    }
    let long = "я".repeat(50_000);
    file.push_str(&format!("100,{long},2025-01-01 00:00:00\n"));
    let path = scene.file("texts.csv", file);
    scene.migrate(&["--csv", path.to_str().unwrap()]).ended(0);
    scene.equal();
    for (index, text) in (1..).zip(texts) {
        assert_eq!(scene.value(index, "first_name").as_deref(), Some(text));
    }
    assert_eq!(scene.value(100, "first_name"), Some(long));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let scene = scene();
    let missing = scene.folder.path().join("none.csv");
    let ran = scene.migrate(&["--csv", missing.to_str().unwrap()]);
    assert!(matches!(ran.code, Some(2 | 4)), "{:?} {}", ran.code, ran.stderr);
    assert!(ran.stderr.contains("none.csv"), "{}", ran.stderr);
    let latin = scene.file("cp1251.csv", b"user_id,first_name\n1,\xc0\xed\xed\xe0\n");
    let ran = scene.migrate(&["--csv", latin.to_str().unwrap()]).ended(5);
    assert!(ran.stderr.contains("UTF-8"), "{}", ran.stderr);
    for (name, text) in
        [("empty.csv", ""), ("heading.csv", "user_id,first_name\n"), ("other.csv", "a,b\n1,2\n")]
    {
        let path = scene.file(name, text);
        scene.migrate(&["--csv", path.to_str().unwrap()]).ended(5);
    }
    let nul = scene.file("nul.csv", "user_id,first_name\n1,a\u{0}b\n2,b\n3,c\n");
    let ran = scene.migrate(&["--csv", nul.to_str().unwrap(), "--json"]).ended(1);
    assert_eq!(ran.aside("rejected"), [("B2".to_string(), "nul_in_text".to_string())]);
}

#[test]
fn a_path_that_sqlite_reads_in_its_own_way_is_a_file() {
    for name in [":memory:", "file:users.db"] {
        let scene = scene();
        let csv = scene.file("users.csv", "user_id\n101\n");
        let path = format!("--sqlite-db-path={name}");
        let mut command = scene.command(&["--csv", csv.to_str().unwrap(), &path]);
        command.current_dir(scene.folder.path());
        crate::scene::Ran::of(command.output().unwrap()).ended(0);
        std::fs::rename(scene.folder.path().join(name), scene.sqlite_path()).unwrap();
        assert_eq!(scene.equal().len(), 1);
    }
}
