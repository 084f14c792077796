//! Rows of several layouts, patched, shifted and of another kind.

use super::*;

#[test]
fn rows_of_10_and_13_columns() {
    let contact = "2025-08-07 12:34:56|#n5123456789|Анна|anna|+79991234567|2025-08-07 12:40:00|issued|qr|#n777000111|2025-09-01 10:00:00";
    let expected = "user_id=5123456789|username=anna|first_name=Анна|status=issued|phone_number=+79991234567|register_date=2025-08-07 12:34:56|redeem_date=2025-09-01 10:00:00|source=qr|referrer_id=777000111";
    assert_eq!(record(&[contact]), expected);
    assert_eq!(record(&[EXPORT, contact]), expected);
    let named = "2025-08-07 12:34:56|#n5123456789|Анна|anna|+79991234567|Анна И.|15.08.1990|Купон выдан|qr|2025-09-01 10:00:00";
    let expected = "user_id=5123456789|username=anna|first_name=Анна|status=issued|phone_number=+79991234567|real_name=Анна И.|birth_date=15.08.1990|register_date=2025-08-07 12:34:56|redeem_date=2025-09-01 10:00:00|source=qr";
    assert_eq!(record(&[named]), expected);
    assert_eq!(record(&[EXPORT, named]), expected);
    let thirteen = "2025-08-07 12:34:56|#n5123456789|Анна|anna|+79991234567||Анна И.|15.08.1990|Нет|Купон выдан|qr";
    let expected = "user_id=5123456789|username=anna|first_name=Анна|status=issued|phone_number=+79991234567|real_name=Анна И.|birth_date=15.08.1990|register_date=2025-08-07 12:34:56|source=qr|profile_completed=false";
    assert_eq!(record(&[thirteen]), expected);
    assert_eq!(record(&[EXPORT, thirteen]), expected);
}

#[test]
fn the_older_sheet_by_its_header() {
    for header in [OLDER.to_string(), OLDER.replace(" (UTC)", ""), OLDER.to_uppercase()] {
        let row =
            "2025-08-07 12:34:56|#n5|ivan|Иван|Купон выдан|#n777000111|Да|qr|2025-09-01 10:00:00";
        assert_eq!(
            record(&[&header, row]),
            "user_id=5|username=ivan|first_name=Иван|status=issued|register_date=2025-08-07 12:34:56|redeem_date=2025-09-01 10:00:00|source=qr|referrer_id=777000111",
        );
        // Both names could be either; the header says which.
        let row = "2025-08-07 12:34:56|#n5|ivan|Ivan|issued";
        assert_eq!(
            record(&[&header, row]),
            "user_id=5|username=ivan|first_name=Ivan|status=issued|register_date=2025-08-07 12:34:56"
        );
        let row = "2025-08-07 12:34:56|#n5|Иван|ivan|issued|qr|#n777000111";
        assert!(record(&[&header, row]).contains("username=ivan|first_name=Иван"));
    }
}

#[test]
fn headers_in_any_case_with_stray_spaces_anywhere() {
    let header = EXPORT.to_uppercase().replace(' ', " \u{A0} ").replace('|', " | ");
    let row = "2025-08-07 12:34:56|#n5|Анна|anna||||| Нет |issued|qr";
    let expected = "user_id=5|username=anna|first_name=Анна|status=issued|register_date=2025-08-07 12:34:56|source=qr|profile_completed=false";
    assert_eq!(record(&["", "||", &header, row]), expected);
    let (outcomes, summary) = read_by(&mapping(), &["", &header, row, &header, row, EXPORT]);
    let kinds: Vec<bool> =
        outcomes.iter().map(|outcome| matches!(outcome, RowOutcome::Header)).collect();
    assert_eq!(kinds, [false, true, false, true, false, true]);
    assert_eq!(outcomes[0], RowOutcome::Blank);
    assert_eq!(summary.unwrap().header_row, Some(2));
    // Columns in another order, one of them unknown, one without a heading.
    let header = "Имя|Комментарий||ID пользователя|Статус";
    let lines = [header, "Анна|2025-01-01 10:00:00|Да|#n5|issued"];
    assert_eq!(record(&lines), "user_id=5|first_name=Анна|status=issued");
    let warnings = read_by(&mapping(), &lines).1.unwrap().warnings;
    assert_eq!(warnings, ["unknown headings were ignored: “Комментарий” in B1"]);
}

#[test]
fn the_databases_own_names_mean_its_own_values() {
    let header = "id|user_id|username|first_name|status|register_date|last_activity|source|profile_completed|ai_concept|brought_by_staff_id";
    assert_eq!(
        record(&[
            header,
            "1|1001|anna|Да|redeemed|2026-02-01 12:00:00|2026-02-01T12:00:00Z|registered|true|x|7"
        ]),
        "user_id=1001|username=anna|first_name=Да|status=redeemed|register_date=2026-02-01 12:00:00|last_activity=2026-02-01 12:00:00|source=registered|brought_by_staff_id=7|profile_completed=true|ai_concept=x"
    );
    assert_eq!(
        record(&["signup_date|user_id", "2026-02-01 12:00:00|#n1001"]),
        "user_id=1001|register_date=2026-02-01 09:00:00"
    );
    assert_eq!(record(&["user_id|status", "#n1001|"]), "user_id=1001");
}

#[test]
fn two_headings_for_one_column_are_an_error_with_both_cells() {
    let mapping = mapping();
    let mut reader = Reader::new(&mapping);
    let cells = cells("ID Пользователя|Имя|Статус|имя в telegram");
    let error = reader.read(&SourceRow { number: 3, cells }).unwrap_err();
    assert!(error.is_invalid_data());
    assert_eq!(error.message(), "the headings in B3 and D3 both mean `first_name`");
}

#[test]
fn rows_patched_by_the_bot_are_not_guessed() {
    let rows = [
        // A status written into an export row, whose own status says otherwise.
        "2025-08-07 12:34:56|#n5|Анна|anna|+79991234567|2025-08-07 12:40:00|Анна|Купон погашен|Да|issued|qr|#n777000111",
        // A birth date, then a real name, then a redeem date, written into export rows.
        "2025-08-07 12:34:56|#n5|Анна|anna||2025-08-07 12:40:00|15.08.1990||Да|issued|qr",
        "2025-08-07 12:34:56|#n5|Анна|anna||Анна Иванова|15.08.1990||Да|issued|qr",
        "2025-08-07 12:34:56|#n5|Анна|anna||||| Да |redeemed|2025-09-01 10:00:00",
        "2025-08-07 12:34:56|#n5|Анна|anna||||| Да |redeemed|#n45901.41666",
        // The same into rows of 8 columns.
        "2025-08-07 12:34:56|#n5|Анна|anna|registered|qr|#n777000111|Купон погашен",
        "2025-08-07 12:34:56|#n5|Анна|anna|#n79991234567|qr|#n777000111|Купон погашен",
        "2025-08-07 12:34:56|#n5|Анна|anna|registered|qr||Купон погашен|||#n45901.41666",
        // And into rows of 10 columns.
        "2025-08-07 12:34:56|#n5|Анна|anna||2025-08-07 12:40:00|registered|Купон погашен",
        "2025-08-07 12:34:56|#n5|Анна|anna||Анна||Купон погашен|qr|2025-09-01 10:00:00|2025-09-01 10:00:00",
    ];
    for row in rows {
        for lines in [vec![row], vec![EXPORT, row]] {
            match last(&lines) {
                RowOutcome::Rejected(problems) => {
                    let sentence = &problems[0].sentence;
                    if problems[0].code == Code::NoLayout {
                        assert!(sentence.contains("as “"), "{sentence}");
                    }
                    assert!(!sentence.contains("Анна"), "{sentence}");
                }
                other => panic!("{row} gave {other:?}"),
            }
        }
    }
    let sentence = sentence(&[rows[0]]);
    assert!(sentence.contains("H1 (birth_date) looks like a status"), "{sentence}");
    assert_eq!(sentence.matches("as “").count(), 2, "{sentence}");
}

#[test]
fn two_readings_without_a_flaw_are_told_apart_by_nobody() {
    // J as a referrer of few digits, or as the serial of a redeem date.
    let row = "2025-08-07 12:34:56|#n5|Анна|anna||||Купон погашен|qr|#n45901";
    assert_eq!(rejected(&[row]), [(Code::TwoLayouts, None)]);
    let sentence = sentence(&[row]);
    assert!(sentence.contains("“bot of 11 columns”"), "{sentence}");
    assert!(sentence.contains("redeem_date, referrer_id"), "{sentence}");
}

#[test]
fn shifted_rows() {
    let row =
        "2025-08-07 12:34:56|#n5|Анна|anna||||Купон погашен|qr|#n777000111|2025-09-01 10:00:00";
    for by in [1usize, 2, 7, 11, 30] {
        let shifted = format!("{}{row}", "|".repeat(by));
        for lines in [vec![shifted.as_str()], vec![EXPORT, shifted.as_str()]] {
            assert_eq!(rejected(&lines), [(Code::Shifted, None)], "by {by}");
            let columns = if by == 1 { "1 column:".to_string() } else { format!("{by} columns:") };
            assert!(sentence(&lines).starts_with(&format!("shifted by {columns}")));
            let mapping = mapping().with_repaired_shifts(true);
            let (mut outcomes, summary) = read_by(&mapping, &lines);
            match outcomes.pop().unwrap() {
                RowOutcome::Record { record: repaired, .. } => {
                    assert_eq!(told(&repaired), record(&[row]));
                }
                other => panic!("{other:?}"),
            }
            assert!(summary.unwrap().warnings.iter().any(|text| text.contains("moved back")));
        }
    }
    // Problems of a repaired row are where the cells are.
    let mapping = mapping().with_repaired_shifts(true);
    let shifted = format!("|||||||{}", row.replace("Купон погашен", "Заморожен"));
    match read_by(&mapping, &[&shifted]).0.pop().unwrap() {
        RowOutcome::Rejected(problems) => assert_eq!(problems[0].cell.as_deref(), Some("O1")),
        other => panic!("{other:?}"),
    }
    // A table that begins further right as a whole is not shifted.
    let header = format!("||{EXPORT}");
    assert!(record(&[&header, &format!("||{row}")]).contains("referrer_id=777000111"));
}

#[test]
fn gaps_in_rows() {
    // No status yet; no date, under a header only; nothing but an id.
    assert_eq!(
        record(&[
            EXPORT,
            "2025-08-07 12:34:56|#n5|Анна|anna|+79991234567|Анна|15.08.1990||qr|#n777000111"
        ]),
        "user_id=5|username=anna|first_name=Анна|phone_number=+79991234567|real_name=Анна|birth_date=15.08.1990|register_date=2025-08-07 12:34:56|source=qr|referrer_id=777000111"
    );
    assert_eq!(record(&[EXPORT, "|#n5|Анна"]), "user_id=5|first_name=Анна");
    assert_eq!(rejected(&["|#n5|Анна"])[0].0, Code::NoLayout);
    assert_eq!(
        record(&[EXPORT, "2025-08-07|#n5|Анна|anna||| ||Да|redeemed_and_left"]),
        "user_id=5|username=anna|first_name=Анна|status=redeemed_and_left|register_date=2025-08-07 00:00:00|profile_completed=true"
    );
    // A birth date that is none, an English status where the writer has labels, and the
    // other way round.
    let row = "2025-08-07 12:34:56|#n5|Анна|anna|||не скажу|Купон выдан";
    for lines in [vec![row], vec![EXPORT, row]] {
        assert!(record(&lines).contains("birth_date=не скажу"), "{row}");
    }
    let row = "2025-08-07 12:34:56|#n5|Анна|anna||||redeemed|qr";
    assert!(record(&[EXPORT, row]).contains("status=redeemed|"));
    let row = "2025-08-07 12:34:56|#n5|Анна|anna|погашен и отписался|qr";
    assert!(record(&[EXPORT, row]).contains("status=redeemed_and_left|"));
    // A note beside the table.
    let row = "2025-08-07 12:34:56|#n5|Анна|anna||||| Да |issued|qr||||||звонили";
    assert!(record(&[EXPORT, row]).contains("source=qr"));
}

#[test]
fn tabs_without_rows_and_tabs_of_another_kind() {
    let summary = |lines: &[&str]| read_by(&mapping(), lines).1;
    assert_eq!(summary(&[]).unwrap().contents, Contents::Empty);
    assert_eq!(summary(&["", "||"]).unwrap().contents, Contents::Empty);
    assert_eq!(summary(&["", EXPORT]).unwrap().contents, Contents::HeaderOnly);
    for lines in [
        &["Товар|Цена|Остаток", "Пиво|#n350|#n20", "Квас|#n150|#n3"][..],
        &["Имя|Номер телефона|Комментарий", "Анна|+79991234567|постоянная"],
        &["Товар|Цена"],
        &[
            "Дата|Номер заказа|Товар|Клиент",
            "2025-08-07|#n1001|Квас|Анна",
            "2025-08-08|#n1002|Квас|Пётр",
        ],
        &["Дата|Номер|Товар|Клиент|Сумма", "2025-08-07|#n1001|Квас|Анна|#n350"],
        &["Имя|Телефон"],
    ] {
        let error = summary(lines).unwrap_err();
        assert!(error.is_invalid_data());
        let first = lines[0].split('|').next().unwrap();
        assert!(error.message().contains(&format!("“{first}”")), "{error}");
        assert!(error.message().contains("“ID Пользователя”"), "{error}");
        assert!(!error.message().contains("Квас"), "{error}");
    }
    let error = summary(&["Анна|+79991234567|anna@example.org"]).unwrap_err();
    assert!(!error.to_string().contains("Анна"), "{error}");
    // A header whose id is missing, above rows that say what they are.
    let row = "2025-08-07 12:34:56|#n5|Анна|anna|issued";
    let (outcomes, summary) = read_by(&mapping(), &["Дата регистрации|Номер|Имя", row]);
    assert_eq!(outcomes[0], RowOutcome::Header);
    assert!(matches!(outcomes[1], RowOutcome::Record { .. }));
    assert!(summary.unwrap().warnings[0].contains("no column for the id"));
    // A title above the header is a row like any other.
    let (outcomes, _) = read_by(&mapping(), &["Выгрузка гостей", EXPORT, row]);
    assert!(matches!(outcomes[0], RowOutcome::Rejected(_)));
    assert!(matches!(outcomes[2], RowOutcome::Record { .. }));
}
