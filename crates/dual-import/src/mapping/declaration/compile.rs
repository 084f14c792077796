//! From the file to the checked mapping; every error names the line and the key.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dual_database::error::{Error, Kind, Result};
use dual_database::schema::{LogicalType, Role, Table};
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::file::{ColumnEntry, File, KindName, LayoutEntry, Name, OnBad, Precedence, StatusWords};
use super::zones::{Zone, Zones};
use super::{
    Field, FieldKind, Heading, Mapping, Remark, SheetLayout, StatusKind, StatusVocabulary, initial,
    normalised,
};
use crate::columns::{key_position, position};

/// A row's candidates, the header being one more, are kept as the bits of a word.
const MOST_LAYOUTS: usize = 63;

/// Where errors are: the file's name and its text.
struct Origin<'a> {
    name: &'a str,
    text: &'a str,
}

impl Origin<'_> {
    fn error(&self, at: Option<usize>, message: &str) -> Error {
        let line = at.map(|at| {
            let before = self.text.as_bytes().iter().take(at);
            before.filter(|byte| **byte == b'\n').count() + 1
        });
        let place = line.map(|line| format!(", line {line}")).unwrap_or_default();
        Error::new(
            Kind::Configuration,
            "read the mapping",
            format!("{}{place}: {message}", self.name),
        )
    }

    fn at(&self, name: &Name, message: &str) -> Error {
        self.error(Some(name.span().start), message)
    }

    fn unknown<'n>(
        &self,
        name: &Name,
        what: &str,
        known: impl IntoIterator<Item = &'n str>,
    ) -> Error {
        let error = self.at(name, &format!("unknown {what} `{}`", name.get_ref()));
        error.suggesting(name.get_ref(), known)
    }
}

pub(super) fn compile(text: &str, origin: &str, table: &Table) -> Result<Mapping> {
    let origin = Origin { name: origin, text };
    let file: File = toml::from_str(text).map_err(|error| syntax(&origin, &error))?;
    if table.surrogate().is_none() {
        let message = format!("the table {} has no column that PostgreSQL numbers", table.name());
        return Err(origin.error(None, &message));
    }
    let mut fields = columns(&origin, &file.columns, table)?;
    fields.extend(ignored(&origin, &file.ignored, table, &fields)?);
    let key = fields
        .iter()
        .position(|field| field.target.is_some() && field.target == key_position(table))
        .ok_or_else(|| {
            origin.error(None, &format!("`[columns.{}]`, the key, is missing", table.key().name))
        })?;
    let mut targets = vec![None; table.columns().len()];
    for (position, field) in fields.iter().enumerate() {
        if let Some(place) = field.target.and_then(|column| targets.get_mut(column)) {
            *place = Some(position);
        }
    }
    let headings = headings(&origin, &file, &fields)?;
    let of_key = headings.iter().filter(|(_, heading)| heading.field == key);
    Ok(Mapping {
        key_initials: of_key.filter_map(|(word, _)| initial(word)).collect(),
        headings,
        layouts: layouts(&origin, &file.layouts, &fields, key)?,
        words: StatusVocabulary(
            fields
                .iter()
                .filter_map(|field| match &field.kind {
                    FieldKind::Status(status) => Some(status.words.keys().cloned()),
                    _ => None,
                })
                .flatten()
                .collect(),
        ),
        remarks: file
            .remarks
            .iter()
            .map(|entry| {
                Ok(Remark {
                    field: field_named(&origin, &entry.column, &fields)?,
                    prefix: entry.prefix.as_deref().map(normalised),
                    says: entry.says.clone(),
                })
            })
            .collect::<Result<_>>()?,
        fallbacks: fallbacks(&origin, &file.defaults, table)?,
        columns: table.columns().iter().map(|column| column.name.clone()).collect(),
        repair_shift: file.repair_shift,
        fields,
        targets,
        key,
    })
}

/// What TOML or the form refused. A mistyped key or word is answered with its neighbour:
/// serde lists what it expected between backticks, the refused one first.
fn syntax(origin: &Origin<'_>, error: &toml::de::Error) -> Error {
    let message = error.message();
    let refused = origin.error(error.span().map(|span| span.start), message);
    let mut names = message.split('`').skip(1).step_by(2);
    match (message.starts_with("unknown "), names.next()) {
        (true, Some(given)) => refused.suggesting(given, names),
        _ => refused,
    }
}

fn columns(
    origin: &Origin<'_>,
    entries: &BTreeMap<Name, ColumnEntry>,
    table: &Table,
) -> Result<Vec<Field>> {
    let mut fields = Vec::new();
    for (name, entry) in entries {
        let Some(position) = position(table, name.get_ref()) else {
            let known = table.columns().iter().map(|column| &*column.name);
            return Err(origin.unknown(name, "column", known));
        };
        let column = &table.columns()[position];
        if column.role == Role::Surrogate {
            let message = format!("`{}` is numbered by the database; ignore it", column.name);
            return Err(origin.at(name, &message));
        }
        if !fits(entry.kind, &column.kind) {
            let message = format!("`{}` cannot be filled from cells of this `kind`", column.name);
            return Err(origin.at(name, &message));
        }
        let words = table.words(&column.name);
        if words.is_some() && entry.kind != KindName::Status {
            let message =
                format!("`{}` takes a few words only: its `kind` is `status`", column.name);
            return Err(origin.at(name, &message));
        }
        let mut field = field(origin, name, entry, &column.kind, words)?;
        field.target = Some(position);
        if column.role == Role::Key {
            if entry.on_bad.as_ref().is_some_and(|policy| *policy.get_ref() == OnBad::Report) {
                return Err(origin.at(name, "`on_bad` of the key can only be `reject`"));
            }
            field.on_bad = OnBad::Reject;
        }
        fields.push(field);
    }
    Ok(fields)
}

fn ignored(
    origin: &Origin<'_>,
    entries: &BTreeMap<Name, ColumnEntry>,
    table: &Table,
    fields: &[Field],
) -> Result<Vec<Field>> {
    let mut found = Vec::new();
    for (name, entry) in entries {
        if fields.iter().any(|field| field.name == *name.get_ref()) || name.get_ref() == "-" {
            let message = format!("`{}` cannot be ignored: the name is taken", name.get_ref());
            return Err(origin.at(name, &message));
        }
        let kind = table.column(name.get_ref()).map_or(&LogicalType::BigInt, |column| &column.kind);
        found.push(field(origin, name, entry, kind, None)?);
    }
    Ok(found)
}

fn fits(kind: KindName, column: &LogicalType) -> bool {
    match kind {
        KindName::Id => *column == LogicalType::BigInt,
        KindName::Integer => matches!(column, LogicalType::BigInt | LogicalType::Int),
        KindName::Timestamp => *column == LogicalType::Timestamp,
        KindName::YesNo => *column == LogicalType::Bool,
        KindName::Status
        | KindName::Phone
        | KindName::Username
        | KindName::Text
        | KindName::TextDate => *column == LogicalType::Text,
    }
}

fn field(
    origin: &Origin<'_>,
    name: &Name,
    entry: &ColumnEntry,
    column: &LogicalType,
    words: Option<&[Arc<str>]>,
) -> Result<Field> {
    let misplaced = [
        (entry.zones.as_ref().map(|v| v.span()), KindName::Timestamp, "zones", "timestamp"),
        (entry.order.as_ref().map(|v| v.span()), KindName::Status, "order", "status"),
        (entry.labels.as_ref().map(|v| v.span()), KindName::Status, "labels", "status"),
    ];
    for (span, kind, key, kind_name) in misplaced {
        if let Some(span) = span.filter(|_| entry.kind != kind) {
            let message = format!("`{key}` belongs to a column of the kind `{kind_name}` only");
            return Err(origin.error(Some(span.start), &message));
        }
    }
    let kind = match entry.kind {
        KindName::Id => FieldKind::Id,
        KindName::Integer if *column == LogicalType::Int => {
            FieldKind::Integer(i32::MIN.into(), i32::MAX.into())
        }
        KindName::Integer => FieldKind::Integer(i64::MIN, i64::MAX),
        KindName::Timestamp => FieldKind::Timestamp(zones(origin, name, entry)?),
        KindName::Status => FieldKind::Status(status(origin, name, entry, words)?),
        KindName::YesNo => FieldKind::YesNo,
        KindName::Phone => FieldKind::Phone,
        KindName::Username => FieldKind::Username,
        KindName::Text => FieldKind::Text,
        KindName::TextDate => FieldKind::TextDate,
    };
    // A wrong key, date or status would be believed, and a word that is neither yes nor no is
    // the sign of a row in another layout; the rest can wait for a correction.
    let on_bad = match kind {
        FieldKind::Id | FieldKind::Timestamp(_) | FieldKind::Status(_) | FieldKind::YesNo => {
            OnBad::Reject
        }
        _ => OnBad::Report,
    };
    let duplicates = entry.duplicates.as_ref().map_or(Precedence::Latest, |v| *v.get_ref());
    let possible = match duplicates {
        Precedence::Latest => true,
        Precedence::Earliest => entry.kind == KindName::Timestamp,
        Precedence::MostAdvanced => entry.kind == KindName::Status,
    };
    if let Some(entry) = entry.duplicates.as_ref().filter(|_| !possible) {
        let message = "`earliest` is for a timestamp, `most_advanced` for a status";
        return Err(origin.error(Some(entry.span().start), message));
    }
    Ok(Field {
        name: name.get_ref().clone(),
        target: None,
        kind,
        on_bad: entry.on_bad.as_ref().map_or(on_bad, |v| *v.get_ref()),
        duplicates,
        null: entry.null.iter().map(|word| normalised(word)).collect(),
        unknown: entry.unknown.iter().map(|word| normalised(word)).collect(),
        heading: entry.headers.first().unwrap_or(name).get_ref().clone(),
    })
}

fn zones(origin: &Origin<'_>, name: &Name, entry: &ColumnEntry) -> Result<Zones> {
    let list = entry.zones.as_ref().map_or(&[][..], |list| list.get_ref().as_slice());
    let Some((last, earlier)) = list.split_last() else {
        return Err(origin.at(name, "`zones` is missing: in which zone were the times written?"));
    };
    if let Some(until) = &last.until {
        return Err(origin.at(until, "the last of the `zones` has no end, so no `until`"));
    }
    let mut zones: Vec<Zone> = Vec::new();
    for entry in earlier {
        let until = entry.until.as_ref().ok_or_else(|| {
            origin.at(&entry.zone, "`until` is missing: every zone but the last has an end")
        })?;
        let instant: jiff::Timestamp = until.get_ref().parse().map_err(|_| {
            origin.at(until, "`until` is not an instant such as `2026-01-04T19:59:00Z`")
        })?;
        let instant = TimeZone::UTC.to_datetime(instant);
        if zones.last().is_some_and(|zone| zone.until >= Some(instant)) {
            return Err(origin.at(until, "`until` is not after the one before"));
        }
        zones.push(Zone { zone: zone(origin, &entry.zone)?, until: Some(instant) });
    }
    zones.push(Zone { zone: zone(origin, &last.zone)?, until: None });
    Ok(Zones(zones))
}

fn zone(origin: &Origin<'_>, name: &Name) -> Result<Option<TimeZone>> {
    if name.get_ref() == "UTC" {
        return Ok(None);
    }
    // The bundled database, so that a mapping means the same on every machine.
    let database = TimeZoneDatabase::bundled();
    match database.get(name.get_ref()) {
        Ok(zone) => Ok(Some(zone)),
        Err(_) => {
            let known: Vec<String> = database.available().map(|zone| zone.to_string()).collect();
            Err(origin.unknown(name, "time zone", known.iter().map(String::as_str)))
        }
    }
}

/// The words of a status: those of the mapping, which are some of the table's if it declares any;
/// else all that the table declares.
fn status(
    origin: &Origin<'_>,
    name: &Name,
    entry: &ColumnEntry,
    declared: Option<&[Arc<str>]>,
) -> Result<StatusKind> {
    let mut status = StatusKind::default();
    let order: Vec<(&Name, String)> = match (&entry.order, declared) {
        (Some(list), _) => {
            list.get_ref().iter().map(|value| (value, value.get_ref().clone())).collect()
        }
        (None, Some(words)) => words.iter().map(|word| (name, (**word).to_owned())).collect(),
        (None, None) => Vec::new(),
    };
    if order.is_empty() {
        return Err(origin.at(name, "`order` is missing: the statuses, the most advanced last"));
    }
    let unknown =
        |value: &str| declared.is_some_and(|words| !words.iter().any(|word| **word == *value));
    if let Some((written, _)) = order.iter().find(|(_, value)| unknown(value)) {
        return Err(origin.unknown(
            written,
            "status",
            declared.iter().copied().flatten().map(|word| &**word),
        ));
    }
    let mut add = |at: &Name, written: &str, value: &str, words| match status
        .words
        .insert(normalised(written), (value.to_owned(), words))
    {
        None => Ok(()),
        Some(_) => Err(origin.at(at, &format!("`{written}` is there already"))),
    };
    for (written, value) in &order {
        add(written, value, value, StatusWords::Values)?;
    }
    if let Some(labels) = &entry.labels {
        for (label, value) in labels.get_ref() {
            if !order.iter().any(|(_, known)| known == value.get_ref()) {
                let known = order.iter().map(|(_, value)| value.as_str());
                return Err(origin.unknown(value, "status", known));
            }
            add(label, label.get_ref(), value.get_ref(), StatusWords::Labels)?;
        }
    }
    status.order = order.into_iter().map(|(_, value)| value).collect();
    Ok(status)
}

fn headings(
    origin: &Origin<'_>,
    file: &File,
    fields: &[Field],
) -> Result<HashMap<String, Heading>> {
    let mut headings: HashMap<String, Heading> = fields
        .iter()
        .enumerate()
        .filter(|(_, field)| field.target.is_some())
        .map(|(position, field)| {
            (normalised(&field.name), Heading { field: position, native: true })
        })
        .collect();
    for (name, entry) in file.columns.iter().chain(&file.ignored) {
        let field = field_named(origin, name, fields)?;
        for heading in &entry.headers {
            let word = normalised(heading.get_ref());
            let message = match headings.get(&word) {
                _ if word.is_empty() => "a heading cannot be empty".to_string(),
                Some(other) if other.field != field => {
                    let other = fields.get(other.field).map_or("", |field| field.name.as_str());
                    format!("the heading `{}` means `{other}` already", heading.get_ref())
                }
                Some(_) => continue,
                None => {
                    headings.insert(word, Heading { field, native: false });
                    continue;
                }
            };
            return Err(origin.at(heading, &message));
        }
    }
    Ok(headings)
}

fn layouts(
    origin: &Origin<'_>,
    entries: &[LayoutEntry],
    fields: &[Field],
    key: usize,
) -> Result<Vec<SheetLayout>> {
    let mut layouts: Vec<SheetLayout> = Vec::new();
    if let Some(entry) = entries.get(MOST_LAYOUTS) {
        let message = format!("there are more than {MOST_LAYOUTS} layouts");
        return Err(origin.at(&entry.name, &message));
    }
    for entry in entries {
        if layouts.iter().any(|layout| layout.name == *entry.name.get_ref()) {
            return Err(origin.at(&entry.name, "another layout has this name"));
        }
        let mut positions = Vec::new();
        for column in &entry.columns {
            let field = match column.get_ref().as_str() {
                "-" => None,
                _ => Some(field_named(origin, column, fields)?),
            };
            if field.is_some() && positions.contains(&field) {
                let message = format!("`{}` stands twice in this layout", column.get_ref());
                return Err(origin.at(column, &message));
            }
            positions.push(field);
        }
        if !positions.contains(&Some(key)) {
            let message = "the layout has no column for the key".to_string();
            return Err(origin.at(&entry.name, &message));
        }
        layouts.push(SheetLayout {
            name: entry.name.get_ref().clone(),
            fields: positions,
            status: entry.status,
        });
    }
    Ok(layouts)
}

fn field_named(origin: &Origin<'_>, name: &Name, fields: &[Field]) -> Result<usize> {
    fields.iter().position(|field| field.name == *name.get_ref()).ok_or_else(|| {
        origin.unknown(name, "column", fields.iter().map(|field| field.name.as_str()))
    })
}

fn fallbacks(
    origin: &Origin<'_>,
    entries: &BTreeMap<Name, Name>,
    table: &Table,
) -> Result<Vec<(usize, usize)>> {
    let position_of = |name: &Name| {
        position(table, name.get_ref()).ok_or_else(|| {
            origin.unknown(name, "column", table.columns().iter().map(|column| &*column.name))
        })
    };
    entries
        .iter()
        .map(|(column, from)| {
            let (to, source) = (position_of(column)?, position_of(from)?);
            let (to_column, source_column) = (&table.columns()[to], &table.columns()[source]);
            if to == source || to_column.kind != source_column.kind || to_column.role != Role::Data
            {
                let message =
                    format!("`{}` cannot be filled from `{}`", to_column.name, source_column.name);
                return Err(origin.at(column, &message));
            }
            Ok((to, source))
        })
        .collect()
}
