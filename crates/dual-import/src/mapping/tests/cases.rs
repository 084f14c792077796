//! Cases A to K, each with the row as its writer makes it.

use super::*;

const BOT: &str = "2025-08-07 12:34:56|#n5123456789|Анна|anna|+79991234567|Анна Иванова|15.08.1990|Купон погашен|qr_1|#n777000111|2025-09-01 10:00:00";
const BOT_READ: &str = "user_id=5123456789|username=anna|first_name=Анна|status=redeemed|phone_number=+79991234567|real_name=Анна Иванова|birth_date=15.08.1990|register_date=2025-08-07 12:34:56|redeem_date=2025-09-01 10:00:00|source=qr_1|referrer_id=777000111";

#[test]
fn a_the_bots_own_rows() {
    assert_eq!(record(&[BOT]), BOT_READ);
    assert_eq!(
        record(&["2026-01-05 12:00:00|#n5123456789|Анна|N/A||||Зарегистрирован|||"]),
        "user_id=5123456789|first_name=Анна|status=registered|register_date=2026-01-05 09:00:00"
    );
    for id in
        ["5 123 456 789", "5\u{A0}123\u{A0}456\u{A0}789", "5\u{202F}123\u{202F}456\u{202F}789"]
    {
        assert_eq!(record(&[&BOT.replace("#n5123456789", id)]), BOT_READ);
    }
}

#[test]
fn b_rows_of_the_full_export() {
    let row = "2025-08-07 12:34:56|#n5123456789|Анна|anna|+79991234567|2025-08-07 12:40:00|Анна Иванова|15.08.1990|Да|redeemed|Сотрудник: Пётр|#n777000111|2025-09-01 10:00:00|Пётр Петров";
    let expected = "user_id=5123456789|username=anna|first_name=Анна|status=redeemed|phone_number=+79991234567|real_name=Анна Иванова|birth_date=15.08.1990|register_date=2025-08-07 12:34:56|redeem_date=2025-09-01 10:00:00|source=Сотрудник: Пётр|referrer_id=777000111|profile_completed=true";
    assert_eq!(record(&[EXPORT, row]), expected);
    assert_eq!(record(&[row]), expected);
    let typed = "#n45876.52425925926|#n5123456789|Анна|anna|#n79991234567|#n45876.5|Анна Иванова|#n33100|=true|redeemed|Сотрудник: Пётр|#n777000111|#n45901.416666666664|Пётр Петров";
    assert_eq!(record(&[EXPORT, typed]), expected);
    let summary = read_by(&mapping(), &[EXPORT, row, row]).1.unwrap();
    let staff: Vec<_> = summary.warnings.iter().filter(|text| text.contains("staff")).collect();
    assert_eq!(staff.len(), 2, "{:?}", summary.warnings);
    assert!(staff.iter().all(|text| text.starts_with("2 rows") && !text.contains("Пётр")));
}

#[test]
fn c_bot_rows_under_the_export_header() {
    assert_eq!(record(&[EXPORT, BOT]), BOT_READ);
    assert_eq!(
        record(&[EXPORT, "2025-08-07 9:00|#n5|Иван|ivan||||Зарегистрирован"]),
        "user_id=5|username=ivan|first_name=Иван|status=registered|register_date=2025-08-07 09:00:00"
    );
    assert_eq!(
        record(&[EXPORT, "2025-08-07 9:00|#n5|Иван|ivan||||Зарегистрирован|qr|#n42"]),
        "user_id=5|username=ivan|first_name=Иван|status=registered|register_date=2025-08-07 09:00:00|source=qr|referrer_id=42"
    );
    assert_eq!(
        record(&[
            EXPORT,
            "2025-08-07 9:00|#n5|Иван|ivan|registered|qr|#n4200000|2025-09-01 10:00:00"
        ]),
        "user_id=5|username=ivan|first_name=Иван|status=registered|register_date=2025-08-07 09:00:00|redeem_date=2025-09-01 10:00:00|source=qr|referrer_id=4200000"
    );
}

#[test]
fn d_a_tab_without_a_header() {
    let (outcomes, summary) = read_by(&mapping(), &[BOT, BOT]);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, RowOutcome::Record { .. })));
    let summary = summary.unwrap();
    assert_eq!((summary.rows, summary.records, summary.header_row), (2, 2, None));
    assert_eq!(summary.layouts, [LayoutCount { layout: "bot of 11 columns".to_string(), rows: 2 }]);
}

#[test]
fn g_rows_of_8_columns() {
    assert_eq!(
        record(&["2025-08-07 12:34:56|#n5123456789|Анна|N/A|issued"]),
        "user_id=5123456789|first_name=Анна|status=issued|register_date=2025-08-07 12:34:56"
    );
    assert_eq!(
        record(&[
            "2025-08-07 12:34:56|5123456789|Анна|anna|redeemed|qr|#n777000111|2025-09-01 10:00:00"
        ]),
        "user_id=5123456789|username=anna|first_name=Анна|status=redeemed|register_date=2025-08-07 12:34:56|redeem_date=2025-09-01 10:00:00|source=qr|referrer_id=777000111"
    );
}

#[test]
fn h_dates_in_every_form() {
    for written in
        ["07.08.2025 9:05", "2025-08-07 9:05:00", "7.8.2025 09:05:00", "#n45876.37847222222"]
    {
        let row = format!("{written}|#n5|Иван|ivan|issued");
        assert!(record(&[&row]).ends_with("register_date=2025-08-07 09:05:00"), "{written}");
    }
    for (written, utc, redeemed) in [
        ("2026-01-04 19:59:00", "2026-01-04 19:59:00", "2026-01-04 19:59:00"),
        ("04.01.2026 22:59:01", "2026-01-04 19:59:01", "2026-01-04 22:59:01"),
        ("2026-02-01 0:30:00", "2026-01-31 21:30:00", "2026-02-01 00:30:00"),
    ] {
        let row = format!("{written}|#n5|Иван|ivan|redeemed|||{written}");
        let told = record(&[&row]);
        assert!(told.contains(&format!("register_date={utc}")), "{told}");
        assert!(told.contains(&format!("redeem_date={redeemed}")), "{told}");
    }
    let (_, summary) = read_by(&mapping(), &["2026-01-04 21:00:00|#n5|Иван|ivan|issued"]);
    assert!(summary.unwrap().warnings[0].starts_with("1 row (row 1) had a time that no zone"));
}

#[test]
fn k_ids_and_referrers() {
    for id in ["7,00E+09", "7_000_000_005", "#n9007199254740993", "#n0.5", "#n0", "１２３"] {
        let row = BOT.replace("#n5123456789", id);
        assert_eq!(rejected(&[&row]), at(Code::BadId, "B1"), "{id}");
        assert_eq!(rejected(&[EXPORT, &row]), at(Code::BadId, "B2"), "{id}");
    }
    let rows = [
        BOT.replace("#n777000111", "abc"),
        "2025-08-07 12:34:56|#n5123456789|Анна|anna||||Купон погашен|qr|abc".to_string(),
        "2025-08-07 12:34:56|#n5123456789|Анна|anna|redeemed|qr|abc".to_string(),
        "2025-08-07 12:34:56|#n5123456789|Анна|anna|||Анна||Нет|redeemed|qr|abc".to_string(),
    ];
    for (row, cell) in rows.iter().zip(["J1", "J1", "G1", "L1"]) {
        match last(&[row]) {
            RowOutcome::Record { record, notes, .. } => {
                assert!(!told(&record).contains("referrer_id"), "{row}");
                assert!(told(&record).contains("status=redeemed"), "{row}");
                assert_eq!(notes.len(), 1);
                assert_eq!((notes[0].code, notes[0].cell.as_deref()), (Code::BadId, Some(cell)));
                assert_eq!(notes[0].raw, "abc");
                assert!(!notes[0].sentence.contains("abc"));
            }
            other => panic!("{row} gave {other:?}"),
        }
    }
    assert_eq!(rejected(&[&BOT.replace("#n5123456789", "")]), at(Code::MissingId, "B1"));
}

#[test]
fn unknown_statuses_and_bad_dates_name_their_cell() {
    let row = BOT.replace("Купон погашен", "Заморожен");
    assert_eq!(rejected(&[&row]), at(Code::UnknownStatus, "H1"));
    assert_eq!(rejected(&[EXPORT, &row]), at(Code::UnknownStatus, "H2"));
    let row = "2025-08-07 9:00|#n5|Иван|ivan||||Заморожен";
    assert_eq!(rejected(&[EXPORT, row]), at(Code::UnknownStatus, "H2"));
    assert_eq!(
        rejected(&["2025-08-07 9:00|#n5|Иван|ivan|frozen|qr"]),
        at(Code::UnknownStatus, "E1")
    );
    for date in ["31.02.2025 10:00", "вчера", "#n-5", "#n0.5", "8.8.25", "1899-12-31", "#REF!"]
    {
        let code = if date == "#REF!" { Code::ErrorCell } else { Code::BadDate };
        let row = BOT.replace("2025-08-07 12:34:56", date);
        assert_eq!(rejected(&[&row]), at(code, "A1"), "{date}");
        let row = BOT.replace("2025-09-01 10:00:00", date);
        assert_eq!(rejected(&[&row]), at(code, "K1"), "{date}");
    }
    let export = "2025-08-07 12:34:56|#n5|Анна|anna||||| Нет |frozen|qr";
    assert_eq!(rejected(&[EXPORT, export]), at(Code::UnknownStatus, "J2"));
}

#[test]
fn error_cells_and_other_damage() {
    for error in ["#REF!", "#ERROR!", "Loading..."] {
        let row = BOT.replace("+79991234567", error);
        match last(&[&row]) {
            RowOutcome::Record { record, notes, .. } => {
                assert!(!told(&record).contains("phone_number"));
                assert_eq!(notes[0].code, Code::ErrorCell);
            }
            other => panic!("{other:?}"),
        }
        let row = BOT.replace("Купон погашен", error);
        assert_eq!(rejected(&[&row]), at(Code::ErrorCell, "H1"));
        assert_eq!(rejected(&[&BOT.replace("#n5123456789", error)]), at(Code::ErrorCell, "B1"));
    }
    assert_eq!(rejected(&[&BOT.replace("qr_1", "a\0b")]), at(Code::NulInText, "I1"));
    let long = "😀".repeat(50_000);
    assert_eq!(record(&[&BOT.replace("qr_1", &long)]), BOT_READ.replace("qr_1", &long));
    match last(&[&BOT.replace("+79991234567", "#n-1227")]) {
        RowOutcome::Record { notes, .. } => assert_eq!(notes[0].code, Code::BadPhone),
        other => panic!("{other:?}"),
    }
}
