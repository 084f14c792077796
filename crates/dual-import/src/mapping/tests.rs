//! The cases of the bot's sheet, and what no row may do.

mod cases;
mod layouts;
mod mappings;
mod merges;
mod properties;

use dual_database::schema::users;
use dual_database::value::canonical_bytes;
use jiff::civil::DateTime;

use super::*;
use crate::source::{Cell, SourceRow};

pub(super) const EXPORT: &str = "Дата Регистрации|ID Пользователя|Имя в Telegram|Юзернейм в Telegram|Номер Телефона|Дата Предоставления Контакта|Настоящее Имя|Дата Рождения|Профиль Завершен|Статус Награды|Источник Привлечения|ID Пригласившего|Дата Погашения|Сотрудник (полное имя)";
pub(super) const OLDER: &str = "Дата подписки (UTC)|ID Пользователя|Username|Имя|Статус награды|Пригласил (ID)|Бонус за друга|Источник|Дата погашения (UTC)";

/// Cells between bars; `#5` is a number, `=true` a boolean, the rest is text.
pub(super) fn cells(line: &str) -> Vec<Cell> {
    let cell = |text: &str| match (text.strip_prefix("#n"), text.strip_prefix('=')) {
        _ if text.is_empty() => Cell::Empty,
        (Some(number), _) => match number.parse() {
            Ok(number) => Cell::Int(number),
            Err(_) => Cell::Float(number.parse().unwrap()),
        },
        (_, Some(flag)) => Cell::Bool(flag == "true"),
        _ => Cell::Text(text.to_string()),
    };
    line.split('|').map(cell).collect()
}

pub(super) fn mapping() -> Mapping {
    Mapping::built_in(&users()).unwrap()
}

/// Reads lines as the rows of one tab, from row 1 on.
pub(super) fn read_by(mapping: &Mapping, lines: &[&str]) -> (Vec<RowOutcome>, Result<Summary>) {
    let mut reader = Reader::new(mapping);
    let outcomes = (1..)
        .zip(lines)
        .map(|(number, line)| reader.read(&SourceRow { number, cells: cells(line) }).unwrap())
        .collect();
    (outcomes, reader.finish())
}

type Result<T> = dual_database::Result<T>;

/// The outcome of the last line.
pub(super) fn last(lines: &[&str]) -> RowOutcome {
    read_by(&mapping(), lines).0.pop().unwrap()
}

/// What a record knows, as `column=value` between bars, in the table's order.
pub(super) fn told(record: &SheetRecord) -> String {
    let users = users();
    let told: Vec<String> = users
        .columns()
        .iter()
        .zip(&record.values)
        .filter_map(|(column, value)| {
            let value = match value.as_ref()? {
                Value::Bool(flag) => flag.to_string(),
                value => match canonical_bytes(value) {
                    None => "NULL".to_string(),
                    Some(text) => String::from_utf8(text.into_owned()).unwrap(),
                },
            };
            Some(format!("{}={value}", column.name))
        })
        .collect();
    told.join("|")
}

/// The record of the last line, which must have been understood without a note.
pub(super) fn record(lines: &[&str]) -> String {
    match last(lines) {
        RowOutcome::Record { record, notes, .. } if notes.is_empty() => told(&record),
        other => panic!("{lines:?} gave {other:?}"),
    }
}

/// The codes and cells of the problems for which the last line was set aside.
pub(super) fn rejected(lines: &[&str]) -> Vec<(Code, Option<String>)> {
    match last(lines) {
        RowOutcome::Rejected(problems) => {
            assert!(!problems.is_empty());
            problems.into_iter().map(|problem| (problem.code, problem.cell)).collect()
        }
        other => panic!("{lines:?} gave {other:?}"),
    }
}

pub(super) fn sentence(lines: &[&str]) -> String {
    match last(lines) {
        RowOutcome::Rejected(mut problems) => problems.remove(0).sentence,
        other => panic!("{lines:?} gave {other:?}"),
    }
}

pub(super) fn at(code: Code, cell: &str) -> Vec<(Code, Option<String>)> {
    vec![(code, Some(cell.to_string()))]
}

pub(super) fn instant(text: &str) -> DateTime {
    dual_database::value::parse_timestamp_text(text).unwrap()
}
