//! Rows that only this worker writes, and reads back.

use std::collections::BTreeMap;

use dual_database::users::UserPatch;
use dual_database::{DualDatabase, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{OWNED, SPACE, Shop, call};
use crate::ledger::{Entry, Intent, Outcome, Place, now};

/// One row in so many is one that PostgreSQL refuses.
const REFUSED: u32 = 60;
/// A phone number that the CHECK on PostgreSQL's table refuses.
pub const REFUSED_PHONE: &str = "refused";
/// Where such rows begin within a worker's keys.
pub const REFUSED_AT: i64 = 700_000;
/// How many of them a worker has.
const REFUSED_ROWS: i64 = 10;

pub(super) async fn work(shop: &Shop, db: &DualDatabase) {
    let options = &shop.options;
    let salt = options.seed ^ (options.number as u64) << 32 ^ u64::from(options.incarnation);
    let mut random = StdRng::seed_from_u64(salt);
    // What the worker believes, to choose calls that mostly make sense.
    let mut alive: BTreeMap<i64, bool> = BTreeMap::new();
    let mut count = 0;
    loop {
        tokio::time::sleep(shop.pause()).await;
        if !shop.works() {
            continue;
        }
        if random.random_range(0..REFUSED) == 0 {
            refused(shop, db, random.random_range(0..REFUSED_ROWS), random.random()).await;
            continue;
        }
        let key = SPACE * options.number + random.random_range(0..OWNED);
        count += 1;
        let text = shop.unique(count);
        let outcome = match (alive.get(&key), random.random_range(0..10_u32)) {
            (Some(false), 0..5) => add(shop, db, key, text).await,
            (Some(true), 0..2) => delete(shop, db, key).await,
            (Some(true), 2..7) => update(shop, db, key, text, random.random()).await,
            // Now and then a call that ought to be refused.
            (Some(true), 7) => add(shop, db, key, text).await,
            (Some(false), 5) => update(shop, db, key, text, random.random()).await,
            _ => upsert(shop, db, key, text, random.random_range(0..3)).await,
        };
        match outcome {
            (Outcome::Unknown { .. } | Outcome::Invalid, _) => alive.remove(&key),
            (Outcome::NotFound, _) => alive.insert(key, false),
            (Outcome::AlreadyExists, _) => alive.insert(key, true),
            (_, after) => alive.insert(key, after),
        };
        if random.random() {
            look(shop, db, key).await;
        }
    }
}

async fn add(shop: &Shop, db: &DualDatabase, key: i64, text: String) -> (Outcome, bool) {
    let row = UserPatch::new().user_id(key).real_name(text.as_str()).username(text.as_str());
    let intent = Intent::Add { real: text.clone(), user: text };
    (call(shop, key, intent, db.add_user(&row)).await, true)
}

async fn upsert(
    shop: &Shop,
    db: &DualDatabase,
    key: i64,
    text: String,
    which: u32,
) -> (Outcome, bool) {
    let (real, user) = ((which != 1).then(|| text.clone()), (which != 0).then_some(text));
    let row = patch(UserPatch::new().user_id(key), real.as_deref(), user.as_deref());
    (call(shop, key, Intent::Upsert { real, user }, db.upsert_user(&row)).await, true)
}

async fn update(
    shop: &Shop,
    db: &DualDatabase,
    key: i64,
    text: String,
    which: bool,
) -> (Outcome, bool) {
    let (real, user) = if which { (Some(text), None) } else { (None, Some(text)) };
    let row = patch(UserPatch::new(), real.as_deref(), user.as_deref());
    (call(shop, key, Intent::Update { real, user }, db.update_user(key, &row)).await, true)
}

async fn delete(shop: &Shop, db: &DualDatabase, key: i64) -> (Outcome, bool) {
    (call(shop, key, Intent::Delete, db.delete_user(key)).await, false)
}

fn patch(patch: UserPatch, real: Option<&str>, user: Option<&str>) -> UserPatch {
    let patch = if let Some(real) = real { patch.real_name(real) } else { patch };
    if let Some(user) = user { patch.username(user) } else { patch }
}

/// A row that PostgreSQL refuses, or its correction.
async fn refused(shop: &Shop, db: &DualDatabase, which: i64, correct: bool) {
    let key = SPACE * shop.options.number + REFUSED_AT + which;
    let row = UserPatch::new().user_id(key);
    let (intent, row) = match correct {
        true => (Intent::Correct, row.phone_number("corrected")),
        false => (Intent::Refused, row.phone_number(REFUSED_PHONE)),
    };
    call(shop, key, intent, db.upsert_user(&row)).await;
}

async fn look(shop: &Shop, db: &DualDatabase, key: i64) {
    let t0 = now();
    let before = shop.machine.late();
    let found = db.get_user(key).await;
    let (t1, late) = (now(), shop.machine.late().saturating_sub(before));
    shop.ledger.write(&match found {
        Ok(found) => {
            let from = match found.source {
                Store::Postgres => Place::Postgres,
                Store::Sqlite => Place::Sqlite,
            };
            let there = found.value.is_some();
            let (real, user) =
                found.value.map(|user| (user.real_name, user.username)).unwrap_or_default();
            Entry::Read { t0, t1, key, from, there, real, user, late }
        }
        Err(error) => Entry::Unread { t0, t1, key, why: error.chain(), late },
    });
}
