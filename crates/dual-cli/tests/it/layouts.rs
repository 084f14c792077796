//! The sheet as it really is: every case that the original import got wrong.

use serde_json::json;

use crate::scene::{Scene, TAB, bot_row, heading, tab};

fn some(text: &str) -> Option<String> {
    Some(text.to_string())
}

#[test]
fn a_bot_rows_keep_their_dates_and_get_english_statuses() {
    let scene = Scene::new(json!([
        heading(),
        [
            "2025-07-10 12:00:05",
            5_123_456_789_i64,
            "Вера",
            "vera",
            "+79990000003",
            "Вера Тестова",
            "01.02.1988",
            "Купон погашен",
            "vk",
            7_000_000_001_i64,
            "2025-07-12 19:00:01"
        ],
        [
            "2026-02-01 12:00:00",
            5_123_456_790_i64,
            "Глеб",
            "N/A",
            "",
            "",
            "",
            "Погашен и отписался",
            "vk",
            "",
            "2026-02-02 10:00:00"
        ],
        ["2026-01-04 19:59:00", 5_123_456_791_i64, "Дина", "N/A", "", "", "", "Купон выдан", "vk"],
    ]));
    scene.migrate(&["--json"]).ended(0);
    assert_eq!(scene.equal().len(), 3);
    assert_eq!(scene.value(5_123_456_789, "register_date"), some("2025-07-10 12:00:05"));
    assert_eq!(scene.value(5_123_456_789, "last_activity"), some("2025-07-10 12:00:05"));
    assert_eq!(scene.value(5_123_456_789, "redeem_date"), some("2025-07-12 19:00:01"));
    assert_eq!(scene.value(5_123_456_789, "status"), some("redeemed"));
    assert_eq!(scene.value(5_123_456_789, "real_name"), some("Вера Тестова"));
    assert_eq!(scene.value(5_123_456_789, "birth_date"), some("01.02.1988"));
    assert_eq!(scene.value(5_123_456_789, "referrer_id"), some("7000000001"));
    assert_eq!(scene.value(5_123_456_789, "ai_concept"), some("evgenich"));
    // After the change of zone the bot writes Moscow time; redeem dates stay UTC.
    assert_eq!(scene.value(5_123_456_790, "register_date"), some("2026-02-01 09:00:00"));
    assert_eq!(scene.value(5_123_456_790, "redeem_date"), some("2026-02-02 10:00:00"));
    assert_eq!(scene.value(5_123_456_790, "status"), some("redeemed_and_left"));
    assert_eq!(scene.value(5_123_456_790, "username"), None);
    assert_eq!(scene.value(5_123_456_791, "register_date"), some("2026-01-04 19:59:00"));
    assert_eq!(scene.value(5_123_456_791, "status"), some("issued"));
}

#[test]
fn an_id_shown_with_no_break_spaces_is_read() {
    let mut row = bot_row("2025-07-10 12:00:05", 0, "Зарегистрирован");
    row[1] = json!("5\u{a0}123\u{a0}456\u{a0}789");
    let mut narrow = bot_row("2025-07-10 12:00:05", 0, "Зарегистрирован");
    narrow[1] = json!("5\u{202f}123\u{202f}456\u{202f}790");
    let scene = Scene::new(json!([heading(), row, narrow]));
    scene.migrate(&[]).ended(0);
    assert_eq!(scene.value(5_123_456_789, "status"), some("registered"));
    assert_eq!(scene.value(5_123_456_790, "status"), some("registered"));
}

#[test]
fn b_the_full_export_is_read_by_its_heading() {
    let scene = Scene::new(json!([
        heading(),
        [
            "2025-06-01 18:04:11",
            5_123_456_789_i64,
            "Анна",
            "anna",
            "+79990000001",
            "2025-06-01 18:05:00",
            "Анна Примерова",
            "15.08.1990",
            "Да",
            "redeemed",
            "Сотрудник: Пётр",
            "",
            "2025-06-03 20:15:42",
            "Пётр Образцов"
        ],
        [
            "2025-06-02 09:30:00",
            5_123_456_790_i64,
            "Борис",
            "N/A",
            "",
            "",
            "",
            "",
            "Нет",
            "registered",
            "instagram",
            "",
            "",
            ""
        ],
    ]));
    let ran = scene.migrate(&["--json"]).ended(0);
    scene.equal();
    assert_eq!(scene.value(5_123_456_789, "status"), some("redeemed"));
    assert_eq!(scene.value(5_123_456_789, "birth_date"), some("15.08.1990"));
    assert_eq!(scene.value(5_123_456_789, "real_name"), some("Анна Примерова"));
    assert_eq!(scene.value(5_123_456_789, "source"), some("Сотрудник: Пётр"));
    assert_eq!(scene.value(5_123_456_789, "brought_by_staff_id"), None);
    assert_eq!(
        scene.postgres("SELECT profile_completed FROM users ORDER BY user_id"),
        [[some("t")], [some("f")]]
    );
    let warnings = ran.json()["warnings"].to_string();
    assert_eq!(warnings.matches("brought_by_staff_id").count(), 1, "{warnings}");
}

#[test]
fn c_a_bot_row_under_the_heading_of_the_export_is_recognised() {
    let scene = Scene::new(json!([
        heading(),
        [
            "2025-06-01 18:04:11",
            5_123_456_789_i64,
            "Анна",
            "anna",
            "+79990000001",
            "2025-06-01 18:05:00",
            "Анна Примерова",
            "15.08.1990",
            "Да",
            "issued",
            "vk",
            5_i64,
            "",
            ""
        ],
        [
            "2025-07-10 12:00:05",
            5_123_456_790_i64,
            "Вера",
            "vera",
            "+79990000003",
            "Вера Тестова",
            "01.02.1988",
            "Купон погашен",
            "flyer",
            5_123_456_789_i64,
            "2025-07-12 19:00:01"
        ],
    ]));
    let ran = scene.migrate(&["--json"]).ended(0);
    scene.equal();
    assert_eq!(scene.value(5_123_456_789, "status"), some("issued"));
    assert_eq!(scene.value(5_123_456_790, "status"), some("redeemed"));
    assert_eq!(scene.value(5_123_456_790, "real_name"), some("Вера Тестова"));
    assert_eq!(scene.value(5_123_456_790, "birth_date"), some("01.02.1988"));
    assert_eq!(scene.value(5_123_456_790, "source"), some("flyer"));
    assert_eq!(scene.value(5_123_456_790, "redeem_date"), some("2025-07-12 19:00:01"));
    assert_eq!(ran.json()["layouts"].as_object().unwrap().len(), 2);
}

#[test]
fn c_a_row_that_fits_no_layout_is_rejected_with_its_readings() {
    let scene = Scene::new(json!([
        heading(),
        bot_row("2025-07-10 12:00:05", 5_123_456_789, "Зарегистрирован"),
        bot_row("2025-07-10 12:00:06", 5_123_456_790, "Зарегистрирован"),
        ["Итого", "", "", "", 3, "", "", "", "", "", "", ""],
    ]));
    let ran = scene.migrate(&["--json"]).ended(1);
    let document = ran.json();
    assert_eq!(document["rows"]["rejected"], 1);
    assert_eq!(document["set_aside"][0]["row"], 4);
    assert_eq!(scene.equal().len(), 2);
}

#[test]
fn c_a_bot_row_whose_status_was_cleared_is_not_read_by_the_heading() {
    let mut cleared = bot_row("2025-07-10 12:00:05", 5_123_456_789, "");
    cleared[8] = json!("Сотрудник: Петя");
    let rows = [101, 102].map(|id| bot_row("2025-07-10 12:00:05", id, "Зарегистрирован"));
    let scene = Scene::new(json!([heading(), cleared, rows[0], rows[1]]));
    let ran = scene.migrate(&["--json"]).ended(1);
    assert_eq!(ran.json()["rows"]["rejected"], 1);
    assert_eq!(scene.equal().len(), 2);
}

#[test]
fn english_statuses_are_taken_as_they_are_in_every_layout() {
    let scene = Scene::new(json!([
        heading(),
        bot_row("2025-07-10 12:00:05", 101, "redeemed"),
        ["2025-07-10 12:00:05", 102, "Имя", "N/A", "", "", "", "issued", "vk"],
        ["2025-05-28 10:00:00", 103, "Ия", "ia", "", "", "", "", "", "issued", "vk", 101, ""],
    ]));
    scene.migrate(&["--json"]).ended(0);
    assert_eq!(scene.value(101, "status"), some("redeemed"));
    assert_eq!(scene.value(102, "status"), some("issued"));
    assert_eq!(scene.value(102, "source"), some("vk"));
    assert_eq!(scene.value(103, "status"), some("issued"));
}

#[test]
fn d_a_tab_without_a_heading_loses_nobody() {
    let scene = Scene::new(json!([
        bot_row("2025-07-10 12:00:05", 5_123_456_789, "Зарегистрирован"),
        bot_row("2025-07-10 12:00:06", 5_123_456_790, "Купон выдан"),
    ]));
    scene.migrate(&[]).ended(0);
    assert_eq!(scene.equal().len(), 2);
    assert_eq!(scene.value(5_123_456_789, "register_date"), some("2025-07-10 12:00:05"));
}

#[test]
fn e_a_wrong_tab_touches_nothing_even_with_recreate_tables() {
    let scene =
        Scene::new(json!([heading(), bot_row("2025-07-10 12:00:05", 7, "Зарегистрирован")]));
    scene.migrate(&[]).ended(0);
    let before = scene.versions();
    scene.sheets(json!([
        tab("Меню", &json!([["Морс", 150]])),
        tab("Выгрузка пользователей", &json!([]))
    ]));
    let ran = scene.migrate(&["--recreate-tables", "--yes"]).ended(4);
    assert!(
        ran.stderr.contains("Меню") && ran.stderr.contains("Выгрузка пользователей"),
        "{}",
        ran.stderr
    );
    let closest = ran.stderr.find("Выгрузка пользователей");
    assert!(closest < ran.stderr.find("Меню"), "the closest first: {}", ran.stderr);
    assert_eq!(scene.versions(), before);
    // The right title, and a tab of another kind under it.
    scene.sheets(json!([tab(TAB, &json!([["Напиток", "Цена"], ["Морс", 150], ["Квас", 120]]))]));
    let ran = scene.migrate(&["--recreate-tables", "--yes"]).ended(5);
    assert!(ran.stderr.contains("Напиток"), "{}", ran.stderr);
    assert_eq!(scene.versions(), before);
}

#[test]
fn f_the_bots_own_sqlite_schema_is_adopted() {
    let scene = Scene::new(json!([
        heading(),
        bot_row("2025-07-10 12:00:05", 5_123_456_789, "Купон выдан"),
        bot_row("2025-07-11 12:00:05", 5_123_456_790, "Зарегистрирован"),
    ]));
    rusqlite::Connection::open(scene.sqlite_path())
        .unwrap()
        .execute_batch(
            "CREATE TABLE users (user_id INTEGER PRIMARY KEY, username TEXT, first_name TEXT,
                 status TEXT DEFAULT 'registered', source TEXT, referrer_id INTEGER,
                 brought_by_staff_id INTEGER, signup_date TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
                 redeem_date TIMESTAMP, last_check_date TIMESTAMP);
             INSERT INTO users (user_id, first_name, signup_date) VALUES
                 (5123456789, 'Старое', '2024-01-01 10:00:00'), (42, 'Другой', '2024-02-02 10:00:00');",
        )
        .unwrap();
    let plan = scene.migrate(&["--dry-run"]).ended(0);
    assert!(plan.stderr.contains("signup_date"), "{}", plan.stderr);
    scene.migrate(&[]).ended(0);
    for column in ["status", "register_date", "last_activity", "ai_concept", "first_name"] {
        scene.value(5_123_456_789, column);
        scene.value(5_123_456_790, column);
    }
    assert_eq!(scene.value(5_123_456_789, "status"), some("issued"));
    assert_eq!(scene.value(5_123_456_790, "register_date"), some("2025-07-11 12:00:05"));
    assert_eq!(scene.value(5_123_456_789, "id"), some("1"));
    // The bot goes on reading its own column, so a new row has the date there as well.
    assert_eq!(
        scene.sqlite("SELECT signup_date FROM users WHERE user_id = 5123456790"),
        [[some("2025-07-11 12:00:05")]]
    );
    // Whoever is not in the sheet stays, with the old column as it was.
    assert_eq!(
        scene.sqlite("SELECT first_name, signup_date, register_date FROM users WHERE user_id = 42"),
        [[some("Другой"), some("2024-02-02 10:00:00"), some("2024-02-02 10:00:00")]]
    );
    scene.migrate(&["--json"]).ended(0);
}

#[test]
fn g_rows_of_the_earlier_bots_are_read() {
    let scene = Scene::new(json!([
        heading(),
        ["2025-05-01 10:00:00", 101, "Дина", "dina", "redeemed", "flyer", 7, "2025-05-02 11:00:00"],
        ["2025-05-01 10:00:01", 102, "Егор", "N/A", "registered", "flyer"],
        [
            "2025-05-20 10:00:00",
            103,
            "Жан",
            "zhan",
            "+79990000006",
            "2025-05-20 10:01:00",
            "issued",
            "flyer",
            101,
            ""
        ],
        [
            "2025-05-25 10:00:00",
            104,
            "Зоя",
            "N/A",
            "+79990000007",
            "Зоя Пробная",
            "07.07.1977",
            "Купон погашен",
            "vk",
            "2025-05-26 21:00:00"
        ],
        [
            "2025-05-28 10:00:00",
            105,
            "Ия",
            "ia",
            "",
            "",
            "",
            "",
            "",
            "Зарегистрирован",
            "vk",
            101,
            ""
        ],
    ]));
    scene.migrate(&["--json"]).ended(0);
    assert_eq!(scene.equal().len(), 5);
    assert_eq!(scene.value(101, "status"), some("redeemed"));
    assert_eq!(scene.value(101, "redeem_date"), some("2025-05-02 11:00:00"));
    assert_eq!(scene.value(101, "referrer_id"), some("7"));
    assert_eq!(scene.value(102, "source"), some("flyer"));
    assert_eq!(scene.value(103, "phone_number"), some("+79990000006"));
    assert_eq!(scene.value(103, "status"), some("issued"));
    assert_eq!(scene.value(103, "referrer_id"), some("101"));
    assert_eq!(scene.value(104, "redeem_date"), some("2025-05-26 21:00:00"));
    assert_eq!(scene.value(104, "birth_date"), some("07.07.1977"));
    assert_eq!(scene.value(105, "status"), some("registered"));
    assert_eq!(scene.value(105, "source"), some("vk"));
}

#[test]
fn h_dates_by_hand_and_true_date_cells_are_read() {
    let scene = Scene::new(json!([
        heading(),
        bot_row("08.08.2025 9:00", 101, "Зарегистрирован"),
        bot_row("08.08.2025 09:00:01", 102, "Зарегистрирован"),
        bot_row("2025-08-08 9:00:02", 103, "Зарегистрирован"),
        bot_row("08.08.2025", 104, "Зарегистрирован"),
        [{"v": 45876.52425925926, "f": "07.08.2025 12:34:56", "date": true}, 105, "Имя", "username",
         79_990_000_009_i64, "", {"v": 33100, "f": "15.08.1990", "date": true}, "Зарегистрирован", "direct"],
    ]));
    scene.migrate(&[]).ended(0);
    scene.equal();
    assert_eq!(scene.value(101, "register_date"), some("2025-08-08 09:00:00"));
    assert_eq!(scene.value(102, "register_date"), some("2025-08-08 09:00:01"));
    assert_eq!(scene.value(103, "register_date"), some("2025-08-08 09:00:02"));
    assert_eq!(scene.value(104, "register_date"), some("2025-08-08 00:00:00"));
    assert_eq!(scene.value(105, "register_date"), some("2025-08-07 12:34:56"));
    assert_eq!(scene.value(105, "phone_number"), some("+79990000009"));
    assert_eq!(scene.value(105, "birth_date"), some("15.08.1990"));
}

#[test]
fn j_of_duplicates_the_most_advanced_status_and_the_earliest_date_win() {
    let scene = Scene::new(json!([
        heading(),
        [
            "2025-07-10 12:00:00",
            101,
            "Вера",
            "vera",
            "+79990000001",
            "",
            "",
            "Купон погашен",
            "vk",
            "",
            "2025-07-12 19:00:00"
        ],
        [
            "2025-08-10 12:00:00",
            101,
            "Вера",
            "vera_new",
            "",
            "Вера Тестова",
            "",
            "Зарегистрирован",
            "flyer"
        ],
        ["2025-07-09 12:00:00", 101, "N/A", "N/A", "", "", "", "Купон выдан", "flyer"],
    ]));
    let ran = scene.migrate(&["--json"]).ended(0);
    scene.equal();
    assert_eq!(scene.value(101, "status"), some("redeemed"));
    assert_eq!(scene.value(101, "register_date"), some("2025-07-09 12:00:00"));
    assert_eq!(scene.value(101, "username"), some("vera_new"));
    assert_eq!(scene.value(101, "first_name"), some("Вера"));
    assert_eq!(scene.value(101, "phone_number"), some("+79990000001"));
    assert_eq!(scene.value(101, "real_name"), some("Вера Тестова"));
    assert_eq!(scene.value(101, "redeem_date"), some("2025-07-12 19:00:00"));
    let document = ran.json();
    assert_eq!(document["rows"]["read"], 3);
    assert_eq!(document["rows"]["merged"], 2);
    assert_eq!(ran.aside("merged").len(), 2);
}

#[test]
fn k_what_cannot_be_read_is_rejected_with_its_cell() {
    let mut scientific = bot_row("2025-07-10 12:00:00", 0, "Зарегистрирован");
    scientific[1] = json!("7,00E+09");
    let mut underscores = bot_row("2025-07-10 12:00:00", 0, "Зарегистрирован");
    underscores[1] = json!("7_000_000_005");
    let mut referrer = bot_row("2025-07-10 12:00:00", 103, "Зарегистрирован");
    referrer[9] = json!("abc");
    let mut huge = bot_row("2025-07-10 12:00:00", 0, "Зарегистрирован");
    huge[1] = json!(9_007_199_254_740_994_i64);
    let mut error = bot_row("2025-07-10 12:00:00", 0, "Зарегистрирован");
    error[1] = json!("#REF!");
    let scene = Scene::new(json!([
        heading(),
        scientific,
        underscores,
        referrer,
        bot_row("2025-07-10 12:00:00", 104, "Почти погашен"),
        bot_row("31.02.2025 10:00", 105, "Зарегистрирован"),
        huge,
        error,
        [
            "",
            "",
            "",
            "",
            "",
            "",
            "",
            "2025-08-04 10:00:00",
            106,
            "Семён",
            "N/A",
            "",
            "",
            "",
            "Зарегистрирован",
            "direct"
        ],
        bot_row("2025-07-10 12:00:00", 107, "Зарегистрирован"),
        bot_row("2025-07-10 12:00:00", 108, "Зарегистрирован"),
    ]));
    let rejects = scene.folder.path().join("rejects.csv");
    let ran = scene
        .migrate(&["--json", "--max-rejects=90%", "--rejects", rejects.to_str().unwrap()])
        .ended(1);
    let pair = |cell: &str, code: &str| (cell.to_string(), code.to_string());
    assert_eq!(
        ran.aside("rejected"),
        [
            pair("B2", "bad_id"),
            pair("B3", "bad_id"),
            pair("H5", "unknown_status"),
            pair("A6", "bad_date"),
            pair("B7", "bad_id"),
            pair("B8", "error_cell"),
            pair("9", "shifted"),
        ]
    );
    assert_eq!(ran.aside("reported"), [pair("J4", "bad_id")]);
    assert_eq!(scene.equal().len(), 3);
    assert_eq!(scene.value(103, "referrer_id"), None);
    let written = std::fs::read_to_string(rejects).unwrap();
    assert!(written.contains("\"7,00E+09\""), "{written}");
    assert!(written.contains("7 columns"), "{written}");
    assert!(!ran.stderr.contains("7,00E+09"), "no cell values among the messages");
}
