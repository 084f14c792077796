//! The other tables: rows that this worker alone writes and reads back, rows that everybody writes, and
//! parents with their children, which are written in one transaction.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use dual_database::database::{Patch, Record, TableCalls, Transaction};
use dual_database::schema::{Key, Table};
use dual_database::value::Value;
use dual_database::{DualDatabase, Error, Kind as Why, Result, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{CONTENDED, OWNED, SPACE, Shop, call, call_all};
use crate::crew::lock;
use crate::ledger::{Entry, Place, Wish, now};
use crate::tables::{CHILDREN, Kind, POSITIONS};

/// Parents of a worker.
const PARENTS: i64 = OWNED / CHILDREN;
/// How many numbers a worker leaves standing.
const STANDING: usize = 10;
/// Numbers that a process may give.
const GIVEN: i64 = 2_000;

struct Writer<'a> {
    shop: &'a Shop,
    db: &'a DualDatabase,
    random: StdRng,
    count: u64,
    /// Labels of numbers that are there, as far as this process knows.
    standing: Vec<i64>,
    given: i64,
}

pub(super) async fn work(shop: &Shop, db: &DualDatabase) {
    let options = &shop.options;
    let salt = options.seed ^ (options.number as u64) << 24 ^ u64::from(options.incarnation);
    let random = StdRng::seed_from_u64(salt);
    let mut writer = Writer { shop, db, random, count: 0, standing: Vec::new(), given: 0 };
    loop {
        tokio::time::sleep(shop.pause()).await;
        if shop.works() {
            // A table may be gone, or not be joined yet.
            let _ = writer.write().await;
        }
    }
}

impl Writer<'_> {
    async fn write(&mut self) -> Result<()> {
        self.count += 1;
        let text = format!("{}t", self.shop.unique(self.count));
        match self.random.random_range(0..10_u32) {
            0..4 => {
                let kinds = [Kind::Pairs, Kind::Words, Kind::Late];
                let kind = kinds[self.random.random_range(0..kinds.len())];
                self.single(kind, text).await
            }
            4 => {
                let kind = if self.random.random() { Kind::Pairs } else { Kind::Words };
                let label = self.random.random_range(1..=CONTENDED);
                let calls = self.db.table(kind.name())?;
                let row = row(&calls, kind, label, Some(&text), None)?;
                let wish = Wish::Upsert { real: Some(text), user: None };
                call(self.shop, kind.row(label), wish, calls.upsert(&row)).await;
                Ok(())
            }
            5..8 => self.family(text).await,
            _ => self.numbers(text).await,
        }
    }

    fn own(&self, index: i64) -> i64 {
        SPACE * self.shop.options.number + index
    }

    async fn single(&mut self, kind: Kind, text: String) -> Result<()> {
        let calls = self.db.table(kind.name())?;
        let index = self.random.random_range(0..OWNED);
        let label = self.own(index);
        let (key, id) = (kind.row(label), key(kind, label));
        match self.random.random_range(0..10_u32) {
            0..2 => {
                call(self.shop, key, Wish::Delete, calls.delete(&id)).await;
            }
            2..4 => {
                let row = row(&calls, kind, label, Some(&text), Some(&text))?;
                let wish = Wish::Add { real: text.clone(), user: text };
                call(self.shop, key, wish, calls.add(&row)).await;
            }
            4..7 => {
                let changes = changes(&calls, None, Some(&text))?;
                let wish = Wish::Update { real: None, user: Some(text) };
                call(self.shop, key, wish, calls.update(&id, &changes)).await;
            }
            _ => {
                let row = row(&calls, kind, label, Some(&text), None)?;
                let wish = Wish::Upsert { real: Some(text), user: None };
                call(self.shop, key, wish, calls.upsert(&row)).await;
            }
        }
        if self.random.random() {
            look(self.shop, &calls, key, &id).await;
        }
        Ok(())
    }

    /// A parent and a child, in one transaction; one of them; or the end of all of them.
    async fn family(&mut self, text: String) -> Result<()> {
        let index = self.random.random_range(0..PARENTS);
        let parent = self.own(index);
        let which = self.random.random_range(0..CHILDREN);
        let child = self.own(index * CHILDREN + which);
        match self.random.random_range(0..10_u32) {
            0..6 => {
                let rows = [(Kind::Parents, parent), (Kind::Children, child)];
                let wish = Wish::Upsert { real: Some(text.clone()), user: None };
                self.put(&rows, &wish, &text).await
            }
            6 | 7 => self.update(Kind::Children, child, text).await,
            8 => {
                let calls = self.db.table(Kind::Children.name())?;
                let (row, id) = (Kind::Children.row(child), key(Kind::Children, child));
                call(self.shop, row, Wish::Delete, calls.delete(&id)).await;
                Ok(())
            }
            _ => self.end(Kind::Parents, parent).await,
        }
    }

    /// A new number with its positions, in one transaction; a change; or the end of one.
    async fn numbers(&mut self, text: String) -> Result<()> {
        let at = self.random.random_range(0..STANDING);
        let begins = at >= self.standing.len() && self.given < GIVEN;
        if begins {
            let index = i64::from(self.shop.options.incarnation) * GIVEN + self.given;
            self.given += 1;
            let label = self.own(index);
            let positions =
                (0..POSITIONS).map(|at| (Kind::Positions, self.own(index * POSITIONS + at)));
            let rows: Vec<_> = [(Kind::Numbers, label)].into_iter().chain(positions).collect();
            self.standing.push(label);
            let wish = Wish::Add { real: text.clone(), user: text.clone() };
            return self.put(&rows, &wish, &text).await;
        }
        let Some(label) = self.standing.get(at).copied() else { return Ok(()) };
        match self.random.random_range(0..3_u32) {
            0 => {
                self.standing.swap_remove(at);
                self.end(Kind::Numbers, label).await
            }
            1 => self.update(Kind::Numbers, label, text).await,
            _ => {
                let position = Kind::Numbers.referring(label)[0];
                self.update(Kind::Positions, position, text).await
            }
        }
    }

    async fn update(&self, kind: Kind, label: i64, text: String) -> Result<()> {
        let calls = self.db.table(kind.name())?;
        let changes = changes(&calls, Some(&text), None)?;
        let wish = Wish::Update { real: Some(text), user: None };
        let id = key(kind, label);
        call(self.shop, kind.row(label), wish, calls.update(&id, &changes)).await;
        Ok(())
    }

    /// All of the rows in one transaction, with that text.
    async fn put(&self, rows: &[(Kind, i64)], wish: &Wish, text: &str) -> Result<()> {
        let user = matches!(wish, Wish::Add { .. }).then_some(text);
        let mut puts = Vec::new();
        for (kind, label) in rows {
            let calls = self.db.table(kind.name())?;
            let whole = row(&calls, *kind, *label, Some(text), user)?;
            puts.push((*kind, *label, whole, changes(&calls, Some(text), user)?));
        }
        let written = self.db.transaction(async |tx| {
            for (kind, label, whole, changes) in &puts {
                let id = key(*kind, *label);
                match wish {
                    Wish::Upsert { .. } if has(&tx, *kind, &id).await? => {
                        tx.update(kind.name(), &id, changes).await?;
                    }
                    _ => tx.add(kind.name(), whole)?,
                }
            }
            Ok(())
        });
        let wishes: Vec<_> =
            rows.iter().map(|(kind, label)| (kind.row(*label), wish.clone())).collect();
        call_all(self.shop, &wishes, |_| true, written).await;
        Ok(())
    }

    /// The end of a row and of all that refer to it.
    async fn end(&self, kind: Kind, label: i64) -> Result<()> {
        let child = kind.child().unwrap_or(kind);
        let children = kind.referring(label).into_iter().map(|label| (child, label));
        let rows: Vec<_> = children.chain([(kind, label)]).collect();
        let deleted = Arc::new(Mutex::new(BTreeSet::new()));
        let written = self.db.transaction(async |tx| {
            lock(&deleted).clear();
            for (kind, label) in &rows {
                let id = key(*kind, *label);
                if has(&tx, *kind, &id).await? {
                    tx.delete(kind.name(), &id).await?;
                    lock(&deleted).insert(kind.row(*label));
                }
            }
            if lock(&deleted).is_empty() {
                return Err(Error::new(Why::NotFound, "end", "nothing is there"));
            }
            Ok(())
        });
        let wishes: Vec<_> =
            rows.iter().map(|(kind, label)| (kind.row(*label), Wish::Delete)).collect();
        let done = Arc::clone(&deleted);
        call_all(self.shop, &wishes, move |row| lock(&done).contains(&row), written).await;
        Ok(())
    }
}

async fn has(tx: &Transaction, kind: Kind, id: &Key) -> Result<bool> {
    Ok(tx.get(kind.name(), id).await?.is_some())
}

fn key(kind: Kind, label: i64) -> Key {
    let values = kind.key_values(label).into_iter().map(|(_, value)| match value {
        serde_json::Value::String(text) => Value::Text(text),
        other => Value::Int(other.as_i64().unwrap_or(0)),
    });
    Key::of(&values.collect::<Vec<_>>()).unwrap_or(Key::from(0))
}

fn row(
    calls: &TableCalls,
    kind: Kind,
    label: i64,
    real: Option<&str>,
    user: Option<&str>,
) -> Result<Patch> {
    Patch::from_json(calls.declaration(), &kind.document(label, real, user))
}

fn changes(calls: &TableCalls, real: Option<&str>, user: Option<&str>) -> Result<Patch> {
    let mut patch = Patch::default();
    for (name, text) in [("real_name", real), ("username", user)] {
        if let Some(text) = text {
            patch.set(calls.declaration(), name, Value::Text(text.to_owned()))?;
        }
    }
    Ok(patch)
}

async fn look(shop: &Shop, calls: &TableCalls, key: i64, id: &Key) {
    let t0 = now();
    let before = shop.machine.late();
    let found = calls.get(id).await;
    let (t1, late) = (now(), shop.machine.late().saturating_sub(before));
    shop.ledger.write(&match found {
        Ok(found) => {
            let from = match found.source {
                Store::Postgres => Place::Postgres,
                Store::Sqlite => Place::Sqlite,
            };
            let text = |name| text(found.value.as_ref()?, calls.declaration(), name);
            let (there, real, user) = (found.value.is_some(), text("real_name"), text("username"));
            Entry::Read { t0, t1, key, from, there, real, user, late }
        }
        Err(error) => Entry::Unread { t0, t1, key, why: error.chain(), late },
    });
}

fn text(record: &Record, table: &Table, name: &str) -> Option<String> {
    match record.value(table, name)? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
