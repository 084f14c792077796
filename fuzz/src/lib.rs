//! Rows out of a fuzzer's bytes, and what must hold for whatever is read from them.

use arbitrary::{Result, Unstructured};
use dual_database::Kind;
use dual_import::mapping::{Mapping, RowOutcome, Reader};
use dual_import::source::{Cell, SourceRow};
use dual_database::schema::{LogicalType, Table};
use dual_database::value::{Value, parse_timestamp_text, timestamp_text};

/// Words that lead past the first comparison, so that the fuzzer need not guess them.
const WORDS: [&str; 48] = [
    "Дата Регистрации",
    "ID Пользователя",
    "Имя в Telegram",
    "Юзернейм в Telegram",
    "Номер Телефона",
    "Дата Предоставления Контакта",
    "Настоящее Имя",
    "Дата Рождения",
    "Профиль Завершен",
    "Статус Награды",
    "Источник Привлечения",
    "ID Пригласившего",
    "Дата Погашения",
    "Сотрудник (полное имя)",
    "Дата подписки (UTC)",
    "user_id",
    "register_date",
    "status",
    "profile_completed",
    "brought_by_staff_id",
    "Зарегистрирован",
    "Купон выдан",
    "Купон погашен",
    "Погашен и отписался",
    "registered",
    "issued",
    "Да",
    "Нет",
    "true",
    "N/A",
    "-",
    "#REF!",
    "#ДЕЛ/0!",
    "2025-08-07 9:00",
    "2026-01-04 21:30:00",
    "2025-08-07T12:34:56.123456+03:00",
    "0001-01-01 00:00:00",
    "9999-12-31 23:59:59",
    "15.08.1990",
    "07.08.2025 9:05",
    "5 123 456 789",
    "7,00E+09",
    "7.12345678901E+11",
    "+7 (999) 123-45-67",
    "'0042",
    "Сотрудник: Иван",
    "\u{A0}",
    "e\u{301}🍺\u{202e}",
];

fn cell(bytes: &mut Unstructured<'_>) -> Result<Cell> {
    Ok(match bytes.int_in_range(0..=9_u8)? {
        0 => Cell::Empty,
        1 => Cell::Bool(bytes.arbitrary()?),
        2 => Cell::Int(bytes.arbitrary()?),
        3 => Cell::Int(bytes.int_in_range(1..=9_000_000_000)?),
        4 => Cell::Float(bytes.arbitrary()?),
        // Serial days of the years in question.
        5 => Cell::Float(f64::from(bytes.arbitrary::<u32>()?) / 70_000.0),
        6 | 7 => Cell::Text((*bytes.choose(&WORDS)?).to_string()),
        8 => Cell::Text(format!("{}{}", bytes.choose(&WORDS)?, bytes.arbitrary::<&str>()?)),
        _ => Cell::Text(bytes.arbitrary::<&str>()?.to_string()),
    })
}

/// A few rows; numbers have gaps, as those of a sheet with empty rows.
pub fn rows(bytes: &mut Unstructured<'_>) -> Result<Vec<SourceRow>> {
    let (mut rows, mut number) = (Vec::new(), 0_u64);
    while !bytes.is_empty() && rows.len() < 24 {
        number += u64::from(bytes.int_in_range(1..=3_u8)?);
        let width = bytes.int_in_range(0..=20_usize)?;
        let cells = (0..width).map(|_| cell(bytes)).collect::<Result<_>>()?;
        rows.push(SourceRow { number, cells });
    }
    Ok(rows)
}

/// Reads the rows; whatever is taken for a record must be what both databases can hold.
pub fn read(mapping: &Mapping, table: &Table, rows: &[SourceRow]) {
    let mut reader = Reader::new(mapping);
    let (mut records, mut set_aside) = (0_u64, 0_u64);
    for row in rows {
        match reader.read(row) {
            Ok(RowOutcome::Record { record, notes, .. }) => {
                records += 1;
                assert_eq!(record.row, row.number);
                assert_eq!(record.values.len(), table.columns().len());
                for (column, value) in table.columns().iter().zip(&record.values) {
                    if let Some(value) = value {
                        assert!(can_be_stored(&column.kind, value), "{}: {value:?}", column.name);
                    }
                }
                let key = record.values.get(table.key_position()).and_then(Option::as_ref);
                assert!(matches!(key, Some(Value::Int(_))), "no key: {key:?}");
                assert!(notes.iter().all(|note| note.row == row.number));
            }
            Ok(RowOutcome::Rejected(problems)) => {
                set_aside += 1;
                assert!(!problems.is_empty());
            }
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), Kind::InvalidData, "{}", error.chain());
                return;
            }
        }
    }
    match reader.finish() {
        Ok(summary) => {
            assert_eq!((summary.records, summary.rows), (records, records + set_aside));
        }
        Err(error) => assert_eq!(error.kind(), Kind::InvalidData, "{}", error.chain()),
    }
}

fn can_be_stored(kind: &LogicalType, value: &Value) -> bool {
    match (kind, value) {
        (_, Value::Null) => true,
        (LogicalType::Bool, Value::Bool(_)) | (LogicalType::BigInt, Value::Int(_)) => true,
        (LogicalType::Int, Value::Int(number)) => i32::try_from(*number).is_ok(),
        (LogicalType::Text, Value::Text(text)) => !text.contains('\0'),
        (LogicalType::Timestamp, Value::Timestamp(instant)) => {
            parse_timestamp_text(&timestamp_text(*instant)) == Some(*instant)
        }
        _ => false,
    }
}
