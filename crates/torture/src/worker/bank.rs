//! A bank of the worker's own: transfers between accounts, whose sum never changes.

use dual_database::users::UserPatch;
use dual_database::{DualDatabase, Error, Kind};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{ACCOUNTS, BANK, DEPOSIT, SPACE, Shop, call};
use crate::ledger::{Intent, Outcome};

pub(super) async fn work(shop: &Shop, db: &DualDatabase) {
    let options = &shop.options;
    let first = SPACE * options.number + BANK;
    let salt = options.seed ^ (options.number as u64) << 48 ^ u64::from(options.incarnation);
    let mut random = StdRng::seed_from_u64(salt);
    while options.incarnation == 0 && !open(shop, db, first).await {
        tokio::time::sleep(shop.pause()).await;
    }
    loop {
        tokio::time::sleep(shop.pause()).await;
        if !shop.works() {
            continue;
        }
        let from = first + random.random_range(0..ACCOUNTS);
        let to = first + (from - first + random.random_range(1..ACCOUNTS)) % ACCOUNTS;
        let amount = random.random_range(1..=9);
        let moved = db.transaction(async |tx| {
            let (Some(giver), Some(taker)) = (tx.get_user(from).await?, tx.get_user(to).await?)
            else {
                return Err(missing());
            };
            let holds = |user: dual_database::users::User| user.referrer_id.unwrap_or(0);
            let less = UserPatch::new().referrer_id(holds(giver) - amount);
            let more = UserPatch::new().referrer_id(holds(taker) + amount);
            tx.update_user(from, &less).await?;
            tx.update_user(to, &more).await?;
            Ok(())
        });
        call(shop, from, Intent::Transfer { to, amount }, moved).await;
    }
}

/// All accounts at once. Says whether they are there.
async fn open(shop: &Shop, db: &DualDatabase, first: i64) -> bool {
    let opened = db.transaction(async |tx| {
        for account in first..first + ACCOUNTS {
            tx.add_user(&UserPatch::new().user_id(account).referrer_id(DEPOSIT))?;
        }
        Ok(())
    });
    let outcome = call(shop, first, Intent::Transfer { to: first, amount: 0 }, opened).await;
    matches!(outcome, Outcome::Both | Outcome::Postgres | Outcome::Sqlite | Outcome::AlreadyExists)
}

fn missing() -> Error {
    Error::new(Kind::NotFound, "transfer", "an account is not there")
}
