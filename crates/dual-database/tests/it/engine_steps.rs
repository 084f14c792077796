//! Every step of a round fails once, and then everything arrives all the same.

use std::time::Duration;

use dual_database::Store;
use dual_database::sync::{Fault, Step};
use throwaway_postgres::shared;

use crate::engine_scene::{Node, Once, PATIENCE, Scene, later, until};

/// A node that meets a server that knows it, with something to do for every step but those that
/// need a refusal.
async fn run(step: Step, fault: Fault) {
    let scene = Scene::on(shared().unwrap());
    let other = scene.node("other.db").await;
    other.add(1, 1).await;
    other.sync().await;
    let hook = Once::new(step, fault);
    let node = Node::open(&scene.database.url(), &scene.path("bot.db"), |shared| {
        shared.hook = Some(hook.clone());
    })
    .await;
    node.add(2, 2).await;
    scene.sql("INSERT INTO users (user_id, first_name) VALUES (1, 'a')");
    // First contact, then what is pending both ways, with a conflict.
    let mut failures = 0;
    let mut sync = async |node: &Node| match node.sync.sync(PATIENCE).await {
        Ok(_) => {}
        Err(error) => {
            assert_eq!(error.message(), "a test says so", "{step}: {error}");
            failures += 1;
            node.sync().await;
        }
    };
    sync(&node).await;
    other.sync().await;
    node.set_balance(1, 10).await;
    node.script("UPDATE users SET phone_number = '+7'");
    later().await;
    other.set_balance(1, 20).await;
    other.sync().await;
    scene.sql("UPDATE users SET real_name = 'b'");
    sync(&node).await;
    node.delete(2).await;
    sync(&node).await;
    other.sync().await;
    node.sync().await;
    scene.assert_equal(&node);
    scene.assert_equal(&other);
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 1"), "20");
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(scene.conflicts(), [vec![text("1"), text("20"), text("10")]], "{step}");
    // What needs a clock far ahead, a number that is taken, a table that both sides number, rows without a key, too many
    // losses, missing triggers, or a quiet time has its own test.
    let rare = [
        Step::Restamp,
        Step::Renumber,
        Step::Reserve,
        Step::Number,
        Step::Hold,
        Step::Forward,
        Step::NoteForwarded,
        Step::KeepNumbers,
        Step::NoteNumbers,
        Step::Uncaptured,
        Step::Scrub,
    ];
    assert!(hook.has_struck() || rare.contains(&step), "{step} was never met");
    assert_eq!(failures, usize::from(hook.has_struck()), "{step}");
    assert!(node.shared.health.is_up(Store::Postgres) && node.shared.health.is_up(Store::Sqlite));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_refused_once() {
    for step in Step::ROUND {
        run(*step, Fault::Refused).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_steps_answer_is_lost_once() {
    for step in Step::ROUND {
        run(*step, Fault::Lost).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_far_ahead_is_corrected_before_its_writes_are_pushed() {
    for fault in [Fault::None, Fault::Refused, Fault::Lost] {
        let scene = Scene::on(shared().unwrap());
        let hook = Once::new(Step::Restamp, fault);
        let node = Node::open(&scene.database.url(), &scene.path("bot.db"), |shared| {
            shared.hook = Some(hook.clone());
        })
        .await;
        node.sync().await;
        // Two hours ahead, as a call would find it that has not met PostgreSQL since.
        let now = node.shared.clock().unix_ms();
        node.shared.clock().correct(now + 7_200_000);
        node.add(1, 1).await;
        if fault == Fault::None {
            node.sync().await;
        } else {
            node.try_sync().await.unwrap_err();
            node.sync().await;
        }
        scene.assert_equal(&node);
        let ahead = scene.one(
            "SELECT max(stamp) >> 22 > extract(epoch FROM clock_timestamp()) * 1000 - 1577836800000 + 61000 \
             FROM dual.side_accounts",
        );
        assert_eq!(ahead, "f");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_that_a_pull_has_met_reaches_the_log_of_all() {
    for (step, fault) in [
        (Step::Forward, Fault::None),
        (Step::Forward, Fault::Refused),
        (Step::Forward, Fault::Lost),
        (Step::NoteForwarded, Fault::Refused),
        (Step::NoteForwarded, Fault::Lost),
    ] {
        let scene = Scene::on(shared().unwrap());
        let hook = Once::new(step, fault);
        let node = Node::open(&scene.database.url(), &scene.path("bot.db"), |shared| {
            shared.hook = Some(hook.clone());
        })
        .await;
        node.add(1, 1).await;
        node.sync().await;
        // What PostgreSQL refuses stays pending, and meets what comes from there.
        scene.sql("ALTER TABLE accounts ADD CONSTRAINT positive CHECK (balance >= 0)");
        node.set_balance(1, -1).await;
        assert_eq!(node.sync().await.quarantined, 1);
        later().await;
        scene.sql("UPDATE accounts SET balance = 7");
        let mut failures = 0;
        for _ in 0..3 {
            failures += usize::from(node.try_sync().await.is_err());
        }
        assert_eq!(failures, usize::from(fault != Fault::None), "{step} {fault:?}");
        scene.assert_equal(&node);
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(scene.conflicts(), [vec![text("1"), text("7"), text("-1")]]);
        assert_eq!(node.losers().await, [text("-1")]);
        assert_eq!(node.sync().await.quarantined, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_captured_is_settled_once() {
    for fault in [Fault::None, Fault::Refused, Fault::Lost] {
        let scene = Scene::on(shared().unwrap());
        let hook = Once::new(Step::Uncaptured, fault);
        let node = Node::open(&scene.database.url(), &scene.path("bot.db"), |shared| {
            shared.hook = Some(hook.clone());
        })
        .await;
        for owner in 1..=4 {
            node.add(owner, owner).await;
        }
        node.sync().await;
        node.drop_triggers("accounts");
        node.script("UPDATE accounts SET balance = 7 WHERE owner = 1");
        let failures = usize::from(node.try_sync().await.is_err());
        assert_eq!(failures, usize::from(fault != Fault::None), "{fault:?}");
        node.sync().await;
        scene.assert_equal(&node);
        assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 1"), "7");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(scene.conflicts(), [vec![text("1"), text("7"), text("1")]], "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_past_all_triggers_is_found_in_the_background() {
    for fault in [Fault::None, Fault::Refused, Fault::Lost] {
        let scene = Scene::on(shared().unwrap());
        let hook = Once::new(Step::Scrub, fault);
        let node = Node::start_with(&scene.database.url(), &scene.path("bot.db"), |shared| {
            shared.scrub_every = Some(Duration::from_secs(1));
            shared.hook = Some(hook.clone());
        })
        .await;
        for owner in 1..=4 {
            node.add(owner, owner).await;
        }
        node.sync().await;
        // No trigger ran, and nothing else tells of it.
        node.past_the_triggers(
            "UPDATE accounts SET balance = 7 WHERE owner = 1; DELETE FROM accounts WHERE owner = 2; \
             INSERT INTO accounts (owner, balance) VALUES (5, 5)",
        );
        until("the background verification has found it", async || scene.is_equal(&node)).await;
        assert!(fault == Fault::None || hook.has_struck(), "{fault:?}");
        let rows = "SELECT string_agg(owner || '=' || balance, ',' ORDER BY owner) FROM accounts";
        assert_eq!(scene.one(rows), "1=1,2=2,3=3,4=4,5=5", "{fault:?}");
    }
}
