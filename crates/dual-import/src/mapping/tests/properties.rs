//! Whatever comes: no panic, the same record in every layout, and merges in any grouping.

use proptest::prelude::*;

use super::*;

fn any_cell() -> impl Strategy<Value = Cell> {
    let words = prop::sample::select(vec![
        "Купон выдан",
        "registered",
        "Да",
        "N/A",
        "#REF!",
        "2025-08-07 9:00",
        "15.08.1990",
        "7,00E+09",
        "+79991234567",
        "ID Пользователя",
        "Имя",
        "user_id",
        "status",
        "\u{A0}",
        "é",
    ]);
    prop_oneof![
        3 => Just(Cell::Empty),
        4 => words.prop_map(|word| Cell::Text(word.to_string())),
        2 => any::<String>().prop_map(Cell::Text),
        1 => any::<i64>().prop_map(Cell::Int),
        2 => (1i64..6_000_000_000).prop_map(Cell::Int),
        1 => any::<f64>().prop_map(Cell::Float),
        2 => (20_000.0..60_000.0).prop_map(Cell::Float),
        1 => any::<bool>().prop_map(Cell::Bool),
    ]
}

/// What a writer of every layout can say.
#[derive(Debug, Clone)]
struct Guest {
    date: i64,
    id: i64,
    first: String,
    username: Option<String>,
    phone: Option<String>,
    real: Option<String>,
    birth: Option<String>,
    status: usize,
    source: Option<String>,
    referrer: Option<i64>,
    redeemed: Option<i64>,
    completed: bool,
}

const VALUES: [&str; 4] = ["registered", "issued", "redeemed", "redeemed_and_left"];
const LABELS: [&str; 4] =
    ["Зарегистрирован", "Купон выдан", "Купон погашен", "Погашен и отписался"];

prop_compose! {
    fn guest()(
        date in 1_600_000_000i64..1_767_000_000,
        id in prop_oneof![1i64..100_000, 5_000_000i64..9_000_000_000_000],
        first in "[А-Я][а-яё]{1,9}( [А-Я][а-я]{1,9})?",
        username in prop::option::of("[a-z_]{5,12}"),
        phone in prop::option::of("\\+7[0-9]{10}"),
        real in prop::option::of("[А-Я][а-я]{1,9} [А-Я][а-я]{1,9}"),
        birth in prop::option::of("[0-2][1-8]\\.0[1-9]\\.19[2-9][0-9]"),
        status in 0usize..4,
        source in prop::option::of("(qr|direct|ref)_[a-z]{1,8}"),
        // Between these a number may be the serial of a redeem date.
        referrer in prop::option::of(prop_oneof![1i64..40_000, 55_000i64..9_000_000_000]),
        redeemed in prop::option::of(1_600_000_000i64..1_900_000_000),
        completed in any::<bool>(),
    ) -> Guest {
        Guest { date, id, first, username, phone, real, birth, status, source, referrer, redeemed, completed }
    }
}

fn utc(seconds: i64) -> DateTime {
    jiff::tz::TimeZone::UTC.to_datetime(jiff::Timestamp::from_second(seconds).unwrap())
}

impl Guest {
    fn cell(&self, column: &str, labels: bool, typed: bool) -> Cell {
        let text = |text: &Option<String>| text.clone().map_or(Cell::Empty, Cell::Text);
        let time = |seconds: i64| {
            if typed {
                Cell::Float(seconds as f64 / 86_400.0 + 25_569.0)
            } else {
                Cell::Text(dual_database::value::timestamp_text(utc(seconds)))
            }
        };
        let number = |number: i64| match typed {
            true => Cell::Int(number),
            false => Cell::Text(number.to_string()),
        };
        match column {
            "register_date" => time(self.date),
            "user_id" => number(self.id),
            "first_name" => Cell::Text(self.first.clone()),
            "username" => Cell::Text(self.username.clone().unwrap_or_else(|| "N/A".to_string())),
            "phone_number" if typed => {
                self.phone.as_ref().map_or(Cell::Empty, |phone| Cell::Int(phone.parse().unwrap()))
            }
            "phone_number" => text(&self.phone),
            "real_name" => text(&self.real),
            "birth_date" if typed => self.birth.as_ref().map_or(Cell::Empty, |birth| {
                let day = jiff::civil::Date::strptime("%d.%m.%Y", birth).unwrap();
                let days = jiff::civil::date(1899, 12, 30).until(day).unwrap().get_days();
                Cell::Int(days.into())
            }),
            "birth_date" => text(&self.birth),
            "status" if labels => Cell::Text(LABELS[self.status].to_string()),
            "status" => Cell::Text(VALUES[self.status].to_string()),
            "source" => text(&self.source),
            "referrer_id" => self.referrer.map_or(Cell::Empty, number),
            "redeem_date" => self.redeemed.map_or(Cell::Empty, time),
            "profile_completed" => {
                Cell::Text(if self.completed { "Да" } else { "Нет" }.to_string())
            }
            "contact_date" => self.redeemed.map_or(Cell::Empty, time),
            _ => Cell::Empty,
        }
    }

    fn value(&self, column: &str) -> Option<Value> {
        let text = |text: &Option<String>| text.clone().map(Value::Text);
        match column {
            "register_date" => Some(Value::Timestamp(utc(self.date))),
            "user_id" => Some(Value::Int(self.id)),
            "first_name" => Some(Value::Text(self.first.clone())),
            "username" => text(&self.username),
            "phone_number" => text(&self.phone),
            "real_name" => text(&self.real),
            "birth_date" => text(&self.birth),
            "status" => Some(Value::Text(VALUES[self.status].to_string())),
            "source" => text(&self.source),
            "referrer_id" => self.referrer.map(Value::Int),
            "redeem_date" => self.redeemed.map(|seconds| Value::Timestamp(utc(seconds))),
            "profile_completed" => Some(Value::Bool(self.completed)),
            _ => None,
        }
    }
}

fn any_value(column: &str) -> BoxedStrategy<Option<Value>> {
    let known = match column {
        "status" => prop::sample::select(VALUES.to_vec())
            .prop_map(|status| Value::Text(status.to_string()))
            .boxed(),
        "register_date" | "last_activity" | "redeem_date" => {
            (0i64..5).prop_map(|seconds| Value::Timestamp(utc(seconds))).boxed()
        }
        _ => (0i64..3).prop_map(Value::Int).boxed(),
    };
    prop_oneof![Just(None), Just(Some(Value::Null)), known.prop_map(Some)].boxed()
}

fn any_values() -> impl Strategy<Value = Vec<Option<Value>>> {
    users().columns().iter().map(|column| any_value(&column.name)).collect::<Vec<_>>()
}

proptest! {
    #[test]
    fn no_row_panics_and_every_row_is_counted(
        rows in prop::collection::vec(prop::collection::vec(any_cell(), 0..17), 0..8),
        repair in any::<bool>(),
    ) {
        let mapping = mapping().with_repaired_shifts(repair);
        let mut reader = Reader::new(&mapping);
        let (mut records, mut rejected) = (0, 0);
        for (number, cells) in (1..).zip(rows) {
            match reader.read(&SourceRow { number, cells }) {
                Ok(RowOutcome::Record { record, .. }) => {
                    prop_assert!(matches!(record.values[1], Some(Value::Int(_))));
                    prop_assert!(record.values[0].is_none());
                    records += 1;
                }
                Ok(RowOutcome::Rejected(problems)) => {
                    prop_assert!(!problems.is_empty());
                    rejected += 1;
                }
                Ok(_) => {}
                Err(error) => prop_assert!(error.is_invalid_data()),
            }
        }
        if let Ok(summary) = reader.finish() {
            prop_assert_eq!(summary.records, records);
            prop_assert_eq!(summary.rows, records + rejected);
        }
    }

    #[test]
    fn no_mapping_panics(text in any::<String>(), cut in any::<prop::sample::Index>(), insert in "[\\[\\]={}\"'a-z0-9 \n.,#-]{0,6}") {
        let _ = Mapping::from_toml(&text, "any.toml", &users());
        let built_in = Mapping::built_in_text();
        let mut at = cut.index(built_in.len());
        while !built_in.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = built_in.split_at(at);
        let _ = Mapping::from_toml(&format!("{before}{insert}{after}"), "any.toml", &users());
    }

    #[test]
    fn a_guest_reads_the_same_in_every_layout(
        guest in guest(),
        typed in any::<bool>(),
        headed in any::<bool>(),
    ) {
        let users = users();
        let mapping = mapping();
        for layout in &mapping.layouts {
            let names: Vec<&str> = layout
                .fields
                .iter()
                .map(|field| field.map_or("-", |field| mapping.fields[field].name.as_str()))
                .collect();
            let labels = layout.status != Some(declaration::StatusWords::Values);
            let mut row: Vec<Cell> =
                names.iter().map(|name| guest.cell(name, labels, typed)).collect();
            while row.last().is_some_and(Cell::is_empty) {
                row.pop();
            }
            let mut reader = Reader::new(&mapping);
            if headed {
                let header = SourceRow { number: 1, cells: cells(EXPORT) };
                prop_assert_eq!(reader.read(&header).unwrap(), RowOutcome::Header);
            }
            let expected: Vec<Option<Value>> = users
                .columns()
                .iter()
                .map(|column| names.contains(&&*column.name).then(|| guest.value(&column.name)).flatten())
                .collect();
            match reader.read(&SourceRow { number: 2, cells: row.clone() }).unwrap() {
                RowOutcome::Record { record, notes, .. } => {
                    prop_assert_eq!(notes, vec![]);
                    prop_assert_eq!(record.values, expected, "{} {:?}", layout.name, row);
                }
                other => prop_assert!(false, "{} gave {other:?} for {row:?}", layout.name),
            }
        }
    }

    #[test]
    fn a_header_may_have_its_columns_in_any_order(
        guest in guest(),
        typed in any::<bool>(),
        order in Just((0..12usize).collect::<Vec<_>>()).prop_shuffle(),
    ) {
        let columns = [
            "register_date", "user_id", "first_name", "username", "phone_number", "real_name",
            "birth_date", "profile_completed", "status", "source", "referrer_id", "redeem_date",
        ];
        let (users, mapping) = (users(), mapping());
        let heading = |name: &str| {
            let field = mapping.fields.iter().find(|field| field.name == name).unwrap();
            Cell::Text(field.heading.clone())
        };
        let header = order.iter().map(|at| heading(columns[*at])).collect();
        let row: Vec<Cell> =
            order.iter().map(|at| guest.cell(columns[*at], false, typed)).collect();
        let mut reader = Reader::new(&mapping);
        reader.read(&SourceRow { number: 1, cells: header }).unwrap();
        match reader.read(&SourceRow { number: 2, cells: row.clone() }).unwrap() {
            RowOutcome::Record { record, .. } => {
                for (column, value) in users.columns().iter().zip(&record.values) {
                    prop_assert_eq!(value, &guest.value(&column.name), "{:?}", row);
                }
            }
            other => prop_assert!(false, "{other:?} for {row:?}"),
        }
    }

    #[test]
    fn a_patched_row_is_read_right_or_not_at_all(
        guest in guest(),
        patch in guest(),
        parts in prop::collection::vec(any::<bool>(), 5),
        headed in any::<bool>(),
    ) {
        // As long as ids are; a short one could be a year of birth.
        let referrer = guest.referrer.map(|referrer| referrer + 5_000_000);
        let guest = Guest { referrer, ..guest };
        let users = users();
        let mapping = mapping();
        for layout in &mapping.layouts {
            let labels = layout.status != Some(declaration::StatusWords::Values);
            let mut row: Vec<Cell> = layout
                .fields
                .iter()
                .map(|field| field.map_or("-", |field| mapping.fields[field].name.as_str()))
                .map(|name| guest.cell(name, labels, false))
                .collect();
            // What the bot writes on a change, wherever the row has these columns.
            let places = [
                (4, "phone_number"), (5, "real_name"), (6, "birth_date"), (7, "status"),
                (10, "redeem_date"),
            ];
            for ((at, column), _) in places.into_iter().zip(&parts).filter(|(_, part)| **part) {
                row.resize(row.len().max(at + 1), Cell::Empty);
                // A birth date as a serial number is as good a referrer in a row of 8 columns.
                let typed = layout.fields.len() != 8 || column != "birth_date";
                let cell = patch.cell(column, true, typed);
                if !cell.is_empty() {
                    row[at] = cell;
                }
            }
            let mut reader = Reader::new(&mapping);
            if headed {
                reader.read(&SourceRow { number: 1, cells: cells(EXPORT) }).unwrap();
            }
            let outcome = reader.read(&SourceRow { number: 2, cells: row.clone() }).unwrap();
            if let RowOutcome::Record { record, layout: read_as, .. } = outcome {
                for (column, value) in users.columns().iter().zip(&record.values) {
                    let Some(value) = value else { continue };
                    let mut known = vec![guest.value(&column.name), patch.value(&column.name)];
                    // In a row of 8 columns a real name lands on the source: one free text
                    // on another, which leaves a row that could have been written so.
                    if layout.fields.len() == 8 && matches!(&*column.name, "source" | "real_name") {
                        known.extend([guest.value("source"), patch.value("real_name")]);
                    }
                    prop_assert!(
                        known.iter().flatten().any(|known| known == value),
                        "{} of “{}” read as “{}” from {:?}", column.name, layout.name, read_as, row
                    );
                }
            }
        }
    }

    #[test]
    fn merges_do_not_mind_the_grouping(a in any_values(), b in any_values(), c in any_values()) {
        let mapping = mapping();
        let record = |row, values: &Vec<Option<Value>>| SheetRecord { row, values: values.clone() };
        let (first, second, third) = (record(1, &a), record(2, &b), record(3, &c));
        let mut left = first.clone();
        merge(&mapping, &mut left, second.clone());
        merge(&mapping, &mut left, third.clone());
        let mut tail = second;
        merge(&mapping, &mut tail, third);
        let mut right = first.clone();
        merge(&mapping, &mut right, tail);
        prop_assert_eq!(&left, &right);
        let mut again = left.clone();
        merge(&mapping, &mut again, left.clone());
        prop_assert_eq!(&left, &again);
    }
}
