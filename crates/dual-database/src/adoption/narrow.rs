//! Whole numbers of the file for which PostgreSQL's column has too few bits. To make it wider writes its table anew
//! while everybody waits, so a person has to ask for it; a table of which a number would not fit is left out until he
//! has.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::survey::{Choice, Chosen, ChosenColumn, Skipped, Survey, Width};
use super::{LocalFile, OPERATION};
use crate::error::{Error, Kind, Result};
use crate::schema::{LogicalType, Role, Table, built_in, shell_word};
use crate::store::postgres::{NarrowReference, Session, narrow_references};

/// The columns that are to be made wider, by the names of their tables.
type Wide = BTreeMap<Arc<str>, Vec<Arc<str>>>;

/// Lets those columns be made wider that a person names, with what refers to them, and leaves tables out of which the
/// file has numbers that do not fit. Of what is joined nothing is asked.
///
/// # Errors
/// Configuration if he names what is not there or holds no such numbers; those of reading both sides.
pub(super) async fn decided(
    session: &Session,
    file: &LocalFile,
    choice: &Choice,
    survey: &mut Survey,
) -> Result<()> {
    for chosen in survey.chosen.iter_mut().filter(|chosen| !chosen.joined) {
        measured(file, chosen)?;
    }
    let mut wide = Wide::new();
    for given in &choice.widen {
        asked(given, survey, &mut wide)?;
    }
    for (name, declared) in &choice.declared {
        for column in declared.types.keys() {
            let is_it = |chosen: &&Chosen| !chosen.joined && *chosen.table.name() == **name;
            let chosen = survey.chosen.iter().find(is_it);
            let column = chosen.and_then(|chosen| narrow(chosen, column)).map(|one| &one.name);
            if let Some(column) = column.cloned() {
                note(&mut wide, Arc::from(name.as_str()), column);
            }
        }
    }
    let stay = with_referring(session, survey, &mut wide).await?;
    for mut chosen in std::mem::take(&mut survey.chosen) {
        if let Some(columns) = wide.get(chosen.table.name()) {
            widen(&mut chosen, columns, &stay);
        }
        // The documented system's own columns are what its programs write.
        let is_built_in = chosen.table.label() == built_in().label();
        match left_out(&chosen).filter(|_| !is_built_in) {
            Some(skipped) => survey.skipped.push(skipped),
            None => survey.chosen.push(chosen),
        }
    }
    Ok(())
}

/// Counts the numbers of the file that do not fit.
fn measured(file: &LocalFile, chosen: &mut Chosen) -> Result<()> {
    for column in &mut chosen.columns {
        let kind = match column.postgres.as_deref() {
            Some("smallint") => LogicalType::SmallInt,
            Some("integer") => LogicalType::Int,
            _ => continue,
        };
        // The numbers of a surrogate are PostgreSQL's.
        let declared = chosen.table.column(&column.name);
        let Some(declared) = declared.filter(|declared| declared.role != Role::Surrogate) else {
            continue;
        };
        let Some((least, most)) = kind.bounds().filter(|_| column.sqlite.is_some()) else {
            continue;
        };
        let too_large = file.outside(&chosen.table, declared, least, most)?;
        column.width = Some(Width { too_large, widened: false });
    }
    Ok(())
}

/// What a person names: a table, in which those are meant that do not fit, or a column of one.
fn asked(given: &str, survey: &Survey, wide: &mut Wide) -> Result<()> {
    let wrong = |message: String| Error::new(Kind::Configuration, OPERATION, message);
    let is_named = |chosen: &&Chosen, name: &str| chosen.table.name().eq_ignore_ascii_case(name);
    let find = |name: &str| survey.chosen.iter().find(|chosen| is_named(chosen, name));
    let cut = given.match_indices('.').map(|(at, _)| (&given[..at], &given[at + 1..]));
    let found = find(given).map(|chosen| (chosen, None));
    let found = found
        .or_else(|| cut.into_iter().find_map(|(table, column)| Some((find(table)?, Some(column)))));
    let Some((chosen, column)) = found else {
        let message = format!("--widen {given}: it is none of the tables that would be joined");
        let known = survey.chosen.iter().map(|chosen| chosen.table.name());
        return Err(wrong(message).suggesting(given, known));
    };
    let name = chosen.table.shared_name();
    let Some(column) = column else {
        let fits = |column: &&ChosenColumn| column.width.is_some_and(|width| width.too_large > 0);
        let columns: Vec<&ChosenColumn> = chosen.columns.iter().filter(fits).collect();
        if columns.is_empty() && !chosen.joined {
            let message = format!("--widen {name}: all numbers of the file fit");
            let hint = format!("name the column that is to be bigint: --widen {name}.COLUMN");
            return Err(wrong(message).with_hint(hint));
        }
        columns.iter().for_each(|one| note(wide, Arc::clone(&name), Arc::clone(&one.name)));
        return Ok(());
    };
    let Some(declared) =
        chosen.table.columns().iter().find(|own| own.name.eq_ignore_ascii_case(column))
    else {
        let known = chosen.table.columns().iter().map(|column| &*column.name);
        let message = format!("--widen {given}: {name} has no column {column}");
        return Err(wrong(message).suggesting(column, known));
    };
    let shown = chosen.columns.iter().find(|one| one.name == declared.name);
    let there = shown.and_then(|one| one.postgres.as_deref());
    match there {
        // It was said before, and done.
        _ if declared.kind == LogicalType::BigInt && (chosen.joined || there == Some("bigint")) => {
            Ok(())
        }
        _ if chosen.joined => {
            let message = format!("--widen {given}: {name} is joined already");
            let hint = format!(
                "`dual schema apply {} --widen {}`",
                shell_word(&name),
                shell_word(&declared.name)
            );
            Err(wrong(message).with_hint(hint))
        }
        Some("smallint" | "integer") => {
            note(wide, name, Arc::clone(&declared.name));
            Ok(())
        }
        other => {
            let is = other.map_or("not there".to_owned(), str::to_owned);
            let message = format!("--widen {given}: in PostgreSQL it is {is}");
            Err(wrong(message).with_hint("only smallint and integer become bigint"))
        }
    }
}

fn note(wide: &mut Wide, table: Arc<str>, column: Arc<str>) {
    let columns = wide.entry(table).or_default();
    if !columns.contains(&column) {
        columns.push(column);
    }
}

fn narrow<'c>(chosen: &'c Chosen, name: &str) -> Option<&'c ChosenColumn> {
    let is_it = |column: &&ChosenColumn| {
        matches!(column.postgres.as_deref(), Some("smallint" | "integer"))
            && column.name.eq_ignore_ascii_case(name)
    };
    chosen.columns.iter().find(is_it)
}

/// What refers to such a column, and to that, is made wider too, in the tables that are joined now; what stays
/// as it is in others comes back: the column that it refers to, and how it is shown.
async fn with_referring(
    session: &Session,
    survey: &Survey,
    wide: &mut Wide,
) -> Result<Vec<(Arc<str>, Arc<str>, String)>> {
    let find = |name: &str| survey.chosen.iter().find(|chosen| chosen.table.name() == name);
    let each = |(table, columns): (&Arc<str>, &Vec<Arc<str>>)| {
        columns.iter().map(|column| (Arc::clone(table), Arc::clone(column))).collect::<Vec<_>>()
    };
    let mut left: Vec<(Arc<str>, Arc<str>)> = wide.iter().flat_map(each).collect();
    let mut stay = Vec::new();
    while let Some((table, column)) = left.pop() {
        let Some(parent) = find(&table) else { continue };
        let there = narrow_references(session, &parent.table.remote_name(), &column).await?;
        for NarrowReference { is_beside, table: name, column: own, kind } in there {
            let child = find(&name).filter(|child| !child.joined && is_beside);
            let is_known =
                wide.get(&*name).is_some_and(|known| known.iter().any(|one| **one == own));
            match child.filter(|child| child.table.label() != built_in().label()) {
                Some(_) if is_known => {}
                Some(child) => {
                    let pair = (child.table.shared_name(), Arc::<str>::from(own));
                    note(wide, Arc::clone(&pair.0), Arc::clone(&pair.1));
                    left.push(pair);
                }
                None => stay.push((
                    Arc::clone(&table),
                    Arc::clone(&column),
                    format!("{name}.{own} refers to it and stays {kind}"),
                )),
            }
        }
    }
    Ok(stay)
}

fn widen(chosen: &mut Chosen, columns: &[Arc<str>], stay: &[(Arc<str>, Arc<str>, String)]) {
    chosen.table = chosen.table.widening(columns);
    let name = chosen.table.shared_name();
    for column in chosen.columns.iter_mut().filter(|one| columns.contains(&one.name)) {
        column.kind = Some("bigint".to_owned());
        let width = column.width.get_or_insert(Width { too_large: 0, widened: true });
        width.widened = true;
        let is = column.postgres.as_deref().unwrap_or_default();
        let mut remark = format!("made of PostgreSQL's {is}");
        if width.too_large > 0 {
            remark.push_str(&format!(", too small for {} of the file's numbers", width.too_large));
        }
        let others = stay.iter().filter(|(table, own, _)| *table == name && *own == column.name);
        others.for_each(|(_, _, what)| remark.push_str(&format!("; {what}")));
        column.remark = Some(remark);
    }
}

/// Why the table is left out: numbers of the file do not fit, and nobody has asked for more.
fn left_out(chosen: &Chosen) -> Option<Skipped> {
    let misfit = |column: &&ChosenColumn| {
        column.width.is_some_and(|width| width.too_large > 0 && !width.widened)
    };
    let columns: Vec<&ChosenColumn> = chosen.columns.iter().filter(misfit).collect();
    if columns.is_empty() {
        return None;
    }
    let table = chosen.table.shared_name();
    let each = columns.iter().map(|column| {
        let too_large = column.width.map_or(0, |width| width.too_large);
        let is = column.postgres.as_deref().unwrap_or_default();
        format!("{too_large} in {}, which is {is} there", column.name)
    });
    let each = each.collect::<Vec<_>>().join(", ");
    let names = columns.iter().map(|column| format!("{table}.{}", column.name));
    let names = names.collect::<Vec<_>>().join(",");
    let is_key = |column: &&ChosenColumn| is_of_key(&chosen.table, &column.name);
    let or = match columns.iter().any(is_key) {
        true => String::new(),
        false => format!("; or leave_out in the settings, [tables.{table}]"),
    };
    Some(Skipped {
        reason: format!("numbers of the file do not fit in PostgreSQL: {each}"),
        hint: format!(
            "`--widen {}` makes that bigint, which writes the table anew while everybody waits{or}",
            shell_word(&names),
        ),
        table,
        joined: chosen.joined,
    })
}

fn is_of_key(table: &Table, name: &str) -> bool {
    table.key_columns().any(|column| *column.name == *name)
}
