//! Mappings that are wrong say where, and what was probably meant.

use super::*;

/// The built-in text with a replacement, and what is said of it.
fn refused(from: &str, to: &str) -> (String, Option<String>) {
    let text = Mapping::built_in_text();
    assert!(text.contains(from), "{from}");
    let error = Mapping::from_toml(&text.replacen(from, to, 1), "my.toml", &users()).unwrap_err();
    assert!(error.is_configuration());
    (error.message().to_string(), error.hint().map(str::to_string))
}

#[test]
fn errors_name_file_line_key_and_the_nearest_name() {
    let line = |needle: &str| {
        let text = Mapping::built_in_text();
        text[..text.find(needle).unwrap()].matches('\n').count() + 1
    };
    let cases = [
        ("[columns.username]", "[columns.usrname]", "unknown column `usrname`", Some("username")),
        ("kind = \"yes_no\"", "kind = \"yesno\"", "unknown variant `yesno`", Some("yes_no")),
        ("headers = [\"ID Сотрудника\"]", "heders = []", "unknown field `heders`", Some("headers")),
        (
            "Europe/Moscow",
            "Europe/Moskow",
            "unknown time zone `Europe/Moskow`",
            Some("Europe/Moscow"),
        ),
        (
            "\"Купон выдан\" = \"issued\"",
            "\"Купон выдан\" = \"isued\"",
            "unknown status `isued`",
            Some("issued"),
        ),
        // The table's own words are all that there are.
        (
            "duplicates = \"most_advanced\"",
            "order = [\"registered\", \"redemed\"]",
            "unknown status `redemed`",
            Some("redeemed"),
        ),
        ("kind = \"status\"", "kind = \"text\"", "`status` takes a few words only", None),
        ("kind = \"phone\"", "kind = \"id\"", "`phone_number` cannot be filled", None),
        ("2026-01-04T19:59:00Z", "2026-01-04 19:59", "`until` is not an instant", None),
        (
            "[columns.phone_number]",
            "[columns.id]\nkind = \"id\"\n[columns.phone_number]",
            "`id` is numbered",
            None,
        ),
        (
            "last_activity = \"register_date\"",
            "last_activity = \"source\"",
            "`last_activity` cannot be filled",
            None,
        ),
        (
            "duplicates = \"earliest\"",
            "duplicates = \"most_advanced\"",
            "`earliest` is for a timestamp",
            None,
        ),
        ("kind = \"phone\"", "kind = \"phone\"\nzones = []", "`zones` belongs", None),
        ("\"Телефон\"", "\"Имя\"", "the heading `", None),
        ("[defaults]", "[defaults", "", None),
    ];
    for (from, to, message, hint) in cases {
        let (said, hinted) = refused(from, to);
        assert!(said.starts_with("my.toml, line "), "{said}");
        assert!(said.contains(message), "{said}");
        assert_eq!(hinted, hint.map(|name| format!("did you mean `{name}`?")), "{said}");
    }
    assert!(
        refused("Europe/Moscow", "Moon").0.contains(&format!("line {}:", line("Europe/Moscow")))
    );
    let (said, _) = refused(
        "\"register_date\", \"user_id\", \"first_name\"",
        "\"register_date\", \"first_name\"",
    );
    assert!(said.contains("the layout has no column for the key"), "{said}");
}

#[test]
fn another_sheet_needs_no_code() {
    let text = r#"
        [columns.user_id]
        kind = "id"
        headers = ["Клиент"]
        [columns.register_date]
        kind = "timestamp"
        headers = ["Когда"]
        zones = [{ zone = "Asia/Yekaterinburg" }]
        on_bad = "report"
        [columns.source]
        kind = "text"
        unknown = ["нет данных"]
    "#;
    let mapping = Mapping::from_toml(text, "other.toml", &users()).unwrap();
    let lines = ["Когда|Клиент|source", "2025-08-07 12:00:00|#n5|нет данных", "потом|#n6|Да"];
    let (outcomes, _) = read_by(&mapping, &lines);
    let (
        RowOutcome::Record { record: first, .. },
        RowOutcome::Record { record: second, notes, .. },
    ) = (&outcomes[1], &outcomes[2])
    else {
        panic!("{outcomes:?}");
    };
    assert_eq!(told(first), "user_id=5|register_date=2025-08-07 07:00:00");
    assert_eq!(told(second), "user_id=6|source=Да");
    assert_eq!(notes[0].code, Code::BadDate);
}
