//! What calls say and read while a table is compared beside the others.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dual_database::sync::{Fault, Step, StepHook};
use dual_database::users::UserPatch;
use dual_database::{Kind, Store};

use crate::api_scene::{Scene, both};

/// Does something just before PostgreSQL is asked; from then on the feed is read when the file has been asked to
/// take the answer, and no comparison gets on.
#[derive(Default)]
struct Before {
    ask: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    waits: AtomicBool,
    /// A comparison gets on.
    compares: AtomicBool,
}

impl fmt::Debug for Before {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Before").finish_non_exhaustive()
    }
}

impl StepHook for Before {
    fn fault(&self, step: Step) -> Fault {
        if step == Step::Ask
            && let Some(write) = self.ask.lock().unwrap().take()
        {
            self.waits.store(true, Ordering::SeqCst);
            tokio::task::block_in_place(write);
        }
        if step == Step::Poll {
            tokio::task::block_in_place(|| {
                while self.waits.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(5));
                }
            });
        }
        match step == Step::ReadRemote && !self.compares.load(Ordering::SeqCst) {
            true => Fault::Fails(Kind::Internal),
            false => Fault::None,
        }
    }

    fn done(&self, step: Step) {
        if step == Step::Take {
            self.waits.store(false, Ordering::SeqCst);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_says_that_a_file_has_what_its_feed_has_passed_by() {
    let scene = Arc::new(Scene::shared("api_apart_mass"));
    let hook = Arc::new(Before { compares: true.into(), ..Before::default() });
    let builder = scene.builder().timeout(Duration::from_secs(20)).step_hook(hook.clone());
    let db = builder.open().await.unwrap();
    both(db.upsert_user(&UserPatch::new().user_id(1).first_name("Anna")).await.unwrap());
    db.sync_now(Duration::from_secs(10)).await.unwrap();
    hook.compares.store(false, Ordering::SeqCst);
    let elsewhere = scene.clone();
    *hook.ask.lock().unwrap() = Some(Box::new(move || {
        // More than is carried at once, and what the file does not know of the row.
        let sql = "INSERT INTO users (user_id, first_name) \
                   SELECT n, repeat('x', 1000000) FROM generate_series(101, 120) AS n; \
                   UPDATE users SET source = 'elsewhere' WHERE user_id = 1";
        elsewhere.database.execute(sql).unwrap();
    }));
    let written = db.update_user(1, &UserPatch::new().first_name("Berta")).await.unwrap();
    let here = scene.sqlite("SELECT first_name FROM users WHERE user_id = 1");
    assert!(here.as_deref() == Some("Berta") || !written.is_in(Store::Sqlite), "{here:?}");
    hook.compares.store(true, Ordering::SeqCst);
    scene.wait_equal().await;
}
