//! Rows that everybody writes. Each value is written once, so that what stands names its writer.

use dual_database::DualDatabase;
use dual_database::users::UserPatch;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{CONTENDED, Shop, call};
use crate::ledger::Intent;

pub(super) async fn work(shop: &Shop, db: &DualDatabase) {
    let options = &shop.options;
    let salt = options.seed ^ (options.number as u64) << 40 ^ u64::from(options.incarnation);
    let mut random = StdRng::seed_from_u64(salt);
    let mut count = 0;
    loop {
        tokio::time::sleep(shop.pause()).await;
        if !shop.works() {
            continue;
        }
        let key = random.random_range(1..=CONTENDED);
        count += 1;
        let text = format!("{}c", shop.unique(count));
        let row = UserPatch::new().user_id(key).real_name(text.as_str());
        let intent = Intent::Upsert { real: Some(text), user: None };
        call(shop, key, intent, db.upsert_user(&row)).await;
    }
}
