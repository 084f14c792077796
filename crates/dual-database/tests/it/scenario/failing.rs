//! Whatever a round fails at is seen, by its own process and by another one, until it is mended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dual_database::database::Status;
use dual_database::health::StoreState;
use dual_database::sync::{Fault, Step, StepHook};
use dual_database::{DualDatabase, Kind, Store};

use super::scene::{LIMIT, Place, named};

/// Every kind of error.
const KINDS: [Kind; 19] = [
    Kind::Configuration,
    Kind::SourceUnavailable,
    Kind::AccessDenied,
    Kind::Unavailable(Store::Postgres),
    Kind::Unavailable(Store::Sqlite),
    Kind::NoSpace(Store::Postgres),
    Kind::NoSpace(Store::Sqlite),
    Kind::InvalidData,
    Kind::Schema(Store::Postgres),
    Kind::Schema(Store::Sqlite),
    Kind::Interrupted,
    Kind::OutcomeUnknown(Store::Postgres),
    Kind::OutcomeUnknown(Store::Sqlite),
    Kind::AlreadyExists,
    Kind::NotFound,
    Kind::Conflict,
    Kind::Partial(Store::Postgres),
    Kind::Partial(Store::Sqlite),
    Kind::Internal,
];

/// Lets a step fail as long as it is told to.
#[derive(Debug)]
struct Failing {
    step: Step,
    kind: Kind,
    fails: AtomicBool,
}

impl StepHook for Failing {
    fn fault(&self, step: Step) -> Fault {
        match step == self.step && self.fails.load(Ordering::SeqCst) {
            true => Fault::Fails(self.kind),
            false => Fault::None,
        }
    }
}

/// Whether somebody who asks sees that not all is well.
fn tells(status: &Status) -> bool {
    let is_up = |state: &StoreState| matches!(state, StoreState::Up);
    !is_up(&status.postgres.state) || !is_up(&status.sqlite.state) || status.sync == "failing"
}

async fn until(db: &DualDatabase, what: &str, holds: impl Fn(&Status) -> bool) -> Status {
    let deadline = std::time::Instant::now() + LIMIT;
    loop {
        let status = db.status().await.unwrap();
        if holds(&status) {
            return status;
        }
        assert!(std::time::Instant::now() < deadline, "{what}: {status:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_failure_is_seen_until_it_is_mended() {
    for kind in KINDS {
        for step in [Step::Push, Step::Acknowledge] {
            // What is wrong with the file every process meets by itself. One of another installation is
            // left alone until the next start.
            let told_here = [Kind::Internal, Kind::Schema(Store::Sqlite), Kind::InvalidData];
            if step == Step::Acknowledge && !told_here.contains(&kind) {
                continue;
            }
            let said = format!("{kind:?} at {step}");
            let place = Place::new();
            let hook = Arc::new(Failing { step, kind, fails: AtomicBool::new(true) });
            let db = place.builder().step_hook(hook.clone()).open().await.unwrap();
            place.sqlite("db.execute(\"INSERT INTO users (user_id) VALUES (1)\")");
            until(&db, &said, tells).await;
            if kind != Kind::Unavailable(step.store()) && step.store() == Store::Postgres {
                let look = place.builder().background(false).adopt(false).open().await.unwrap();
                let status = until(&look, &said, tells).await;
                let one = status.failing.first().unwrap();
                assert_eq!((one.step.as_str(), one.store), (step.name(), step.store()), "{said}");
                assert!(one.times >= 1 && one.since_ms <= one.last_ms, "{said}: {one:?}");
                look.close(LIMIT).await;
            }
            hook.fails.store(false, Ordering::SeqCst);
            drop(db.add_user(&named(2, "потом")).await.unwrap());
            let status = until(&db, &said, |status| !tells(status)).await;
            assert_eq!(status.failing, [], "{said}");
            place.until_equal(&db).await;
            db.close(LIMIT).await;
        }
    }
}
