//! Tables that a side numbers and that have another key besides: which of the two tells their rows apart, and what
//! becomes of the numbers if it is the other one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::rows::{self, LocalRows, Met, RemoteRows, get};
use super::survey::{Choice, Chosen, Skipped, Survey};
use super::{Bond, LocalFile, OPERATION, remote};
use crate::error::Result;
use crate::schema::{Column, Dialect, EQUALS, Key, KeyColumns, Role, Table, quoted};
use crate::store::postgres::{Parameter, Session};

/// So many rows of the file are looked up at once.
const PAGE: usize = 5_000;

/// How the numbers and another key of two sides go together.
#[derive(Clone, Copy, Debug, Default)]
struct Pairing {
    /// Rows of that key that have other numbers.
    renumbered: u64,
    /// Numbers under which that key is another one.
    others: u64,
}

impl Pairing {
    fn differs(self) -> bool {
        self.renumbered > 0 || self.others > 0
    }
}

/// Lets rows be told apart by their natural key where the two sides pair it with other numbers; of several such keys
/// a person has to choose one, and the table is left out until he has.
///
/// # Errors
/// Those of reading both sides.
pub(super) async fn decided(
    session: &Session,
    file: &LocalFile,
    choice: &Choice,
    survey: &mut Survey,
) -> Result<()> {
    let said = |chosen: &Chosen| {
        let is_it = |name: &String| chosen.table.name().eq_ignore_ascii_case(name);
        choice.same.iter().chain(&choice.different).any(is_it)
    };
    for mut chosen in std::mem::take(&mut survey.chosen) {
        if chosen.natural.is_empty() || said(&chosen) {
            survey.chosen.push(chosen);
            continue;
        }
        let mut differing = Vec::new();
        for key in &chosen.natural {
            let pairing = pairing(session, file, &chosen.table, key).await?;
            differing.extend(Some((key.clone(), pairing)).filter(|(_, pairing)| pairing.differs()));
        }
        match (differing.as_slice(), chosen.natural.as_slice()) {
            ([], _) => survey.chosen.push(chosen),
            ([(key, pairing)], [_]) => {
                chosen.keyed = Some(why(&chosen.table, key, *pairing));
                chosen.table = chosen.table.keyed_by(key)?;
                survey.chosen.push(chosen);
            }
            _ => survey.skipped.push(asked(&chosen, &differing)),
        }
    }
    align(session, file, &survey.tables()).await.map(drop)
}

/// Lets the file be read as if the numbers of tables that are told apart by another key were PostgreSQL's, with what
/// refers to them; says how many are others, by table. Of what has been exchanged already nothing is to be done.
///
/// # Errors
/// Those of reading both sides.
pub(super) async fn align(
    session: &Session,
    file: &LocalFile,
    tables: &[Table],
) -> Result<BTreeMap<Arc<str>, u64>> {
    let mut counts = BTreeMap::new();
    for table in tables.iter().filter(|table| table.asks_for_surrogates()) {
        if file.has_met(table)? {
            continue;
        }
        let moved = moved(session, file, table).await?;
        counts.insert(table.shared_name(), moved.len() as u64);
        file.reads_moved(table, &moved)?;
    }
    Ok(counts)
}

async fn pairing(
    session: &Session,
    file: &LocalFile,
    table: &Table,
    key: &[Arc<str>],
) -> Result<Pairing> {
    let numbered = table.key().name.clone();
    let renumbered = pairs(table, key, std::slice::from_ref(&numbered))?;
    let others = pairs(table, &[numbered], key)?;
    Ok(Pairing {
        renumbered: differing(session, file, &renumbered).await?,
        others: differing(session, file, &others).await?,
    })
}

/// The table as if it had no other columns.
fn pairs(table: &Table, key: &[Arc<str>], data: &[Arc<str>]) -> Result<Table> {
    let mut columns = Vec::new();
    for column in table.columns() {
        let role = match (key.contains(&column.name), data.contains(&column.name)) {
            (true, _) => Role::Key,
            (false, true) => Role::Data,
            (false, false) => continue,
        };
        columns.push(Column { role, default: None, automatic: false, ..column.clone() });
    }
    let pairs = Table::declare(table.shared_name(), columns)?;
    Ok(pairs.labelled(table.label()).within(table.remote_name().schema))
}

/// How many rows of one key are not equal.
async fn differing(session: &Session, file: &LocalFile, table: &Table) -> Result<u64> {
    let (there, planned) = remote(session, table, Bond::New).await?;
    let (_, found) = file.look(table)?;
    if !there.exists || planned.catalog.table.is_none() {
        return Ok(0);
    }
    let remote = RemoteRows::new(session, table, &planned.catalog);
    let local = LocalRows::new(file, table, &found)?;
    let mut different = 0;
    let met = |met, _: &Key| different += u64::from(met == Met::Different);
    rows::compare(&remote, &local, None, met).await?;
    Ok(different)
}

fn why(table: &Table, key: &[Arc<str>], pairing: Pairing) -> String {
    let (key, number) = (key.join(", "), &table.key().name);
    format!(
        "{key} and not {number}: {} rows of one {key} have other numbers on the two sides, and under {} numbers \
         {key} is another one; {number} is PostgreSQL's, and what refers to it follows",
        pairing.renumbered, pairing.others,
    )
}

fn asked(chosen: &Chosen, differing: &[(Vec<Arc<str>>, Pairing)]) -> Skipped {
    let name = chosen.table.shared_name();
    let all = chosen.natural.iter().map(|key| key.join(", ")).collect::<Vec<_>>().join("; ");
    let each = differing.iter().map(|(key, pairing)| {
        let (key, number) = (key.join(", "), &chosen.table.key().name);
        format!(
            "{} rows of one {key} have another {number} there, {} numbers another {key}",
            pairing.renumbered, pairing.others
        )
    });
    let each = each.collect::<Vec<_>>().join("; ");
    let first = chosen.natural.first().map_or_else(Vec::new, |key| {
        key.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>()
    });
    Skipped {
        reason: format!(
            "both sides pair its numbers with other rows ({each}), and it has several keys: {all}"
        ),
        hint: format!(
            "say which it is in the settings, [tables.{name}] key = [{}]; or `--same {name}`, `--different {name}`, \
             which go by the number",
            first.join(", ")
        ),
        table: name,
        joined: chosen.joined,
    }
}

/// The numbers of the file's rows that are others in PostgreSQL, each with that one; below 0 where PostgreSQL does not
/// have the row and will give it one.
async fn moved(session: &Session, file: &LocalFile, table: &Table) -> Result<BTreeMap<i64, i64>> {
    let mut moved = BTreeMap::new();
    let Some(surrogate) = table.surrogate() else { return Ok(moved) };
    let (there, planned) = remote(session, table, Bond::New).await?;
    let (here, _) = file.look(table)?;
    let target = planned.catalog.table.as_ref().filter(|found| found.present(surrogate).is_some());
    if !(there.obstacles.is_empty() && here.obstacles.is_empty() && here.exists) {
        return Ok(moved);
    }
    let key = KeyColumns::of(table, Dialect::Postgres);
    let sql = target.map(|target| {
        format!(
            "SELECT {}, u.{}::bigint FROM {} AS u WHERE {}",
            key.given("u"),
            quoted(&surrogate.name),
            target.qualified(),
            key.among("u", EQUALS, 1),
        )
    });
    let numbers = file.numbers(table, surrogate)?;
    let mut fresh = 0;
    for page in numbers.chunks(PAGE) {
        let keys: Vec<&Key> = page.iter().map(|(key, _)| key).collect();
        let mut known = BTreeMap::new();
        if let Some(sql) = &sql {
            let parameters: [Parameter<'_>; 1] = [(&keys, key.many())];
            for row in session.query(OPERATION, sql, &parameters).await? {
                let (key, number): (Key, Option<i64>) = (get(&row, 0)?, get(&row, 1)?);
                known.extend(number.map(|number| (key, number)));
            }
        }
        for (key, own) in page {
            let number = known.get(key).copied().unwrap_or_else(|| {
                fresh -= 1;
                fresh
            });
            if number != *own {
                moved.insert(*own, number);
            }
        }
    }
    Ok(moved)
}
