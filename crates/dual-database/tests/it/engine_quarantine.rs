//! Rows that one side refuses are set aside, the rest goes on, and they arrive when they can.

use dual_database::Store;
use dual_database::merge::Change;
use dual_database::schema::RowId;
use dual_database::stamp::Stamp;
use dual_database::store::sqlite::replica::Durability;
use dual_database::value::Value;
use throwaway_postgres::shared;

use crate::engine_scene::Scene;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_postgresql_refuses_waits_and_leaves_when_the_rule_goes() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql("ALTER TABLE accounts ADD CONSTRAINT positive CHECK (balance >= 0)");
    node.add(1, -1).await;
    node.add(2, 2).await;
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 1));
    assert_eq!(scene.one("SELECT string_agg(owner::text, ',') FROM accounts"), "2");
    let aside = node.look(|content| content.quarantine()).await;
    assert_eq!(
        (aside[0].id.key.number().unwrap(), aside[0].refused_by, aside[0].code.as_str()),
        (1, Store::Postgres, "23514")
    );
    assert!(aside[0].reason.contains("positive"), "{}", aside[0].reason);
    // It changes: it is tried again.
    node.set_note(1, "still bad").await;
    assert_eq!(node.sync().await.quarantined, 1);
    node.set_balance(1, 1).await;
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 0));
    scene.assert_equal(&node);
    // Two of them; the rule goes; one that leaves makes the others due.
    node.set_balance(1, -5).await;
    node.set_balance(2, -6).await;
    assert_eq!(node.sync().await.quarantined, 2);
    scene.sql("ALTER TABLE accounts DROP CONSTRAINT positive");
    node.set_note(1, "again").await;
    node.sync().await;
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}

/// Deleted there and purged before the file has heard of it, or lost with a restored server.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_file_refuses_leaves_when_postgresql_has_nothing_of_it_any_more() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    node.script("CREATE TRIGGER no BEFORE INSERT ON accounts WHEN new.balance < 0 BEGIN SELECT RAISE(ABORT, 'negative'); END");
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (1, -1), (2, 2)");
    assert_eq!(node.sync().await.quarantined, 1);
    scene.sql("DELETE FROM accounts WHERE owner = 1; DELETE FROM dual.side_accounts WHERE key = 1");
    node.script("UPDATE dual_quarantine SET retry = 0");
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_file_refuses_waits_and_is_asked_for_again() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    node.script("CREATE TRIGGER no BEFORE INSERT ON accounts WHEN new.balance < 0 BEGIN SELECT RAISE(ABORT, 'negative'); END");
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (1, -1), (2, 2)");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 1));
    assert_eq!(node.one::<i64>("SELECT sum(owner) FROM accounts"), 2);
    let aside = node.look(|content| content.quarantine()).await;
    assert_eq!((aside[0].id.key.number().unwrap(), aside[0].refused_by), (1, Store::Sqlite));
    node.script("DROP TRIGGER no; UPDATE dual_quarantine SET retry = 0");
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_the_other_side_cannot_hold_is_set_aside_with_its_row() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql(
        "INSERT INTO users (user_id, register_date) VALUES (1, 'infinity'), (2, '2024-01-01')",
    );
    node.script("INSERT INTO accounts (owner, balance) VALUES (3, 'not a number'), (4, 4)");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 2));
    assert_eq!(node.one::<i64>("SELECT sum(user_id) FROM users"), 2);
    assert_eq!(scene.one("SELECT sum(owner) FROM accounts"), "4");
    let mut aside = node.look(|content| content.quarantine()).await;
    aside.sort_by_key(|entry| entry.id.clone());
    let seen: Vec<_> =
        aside.iter().map(|e| (e.id.key.number().unwrap(), e.refused_by, e.code.as_str())).collect();
    assert_eq!(seen, [(1, Store::Sqlite, "unreadable"), (3, Store::Postgres, "unreadable")]);
    assert!(aside.iter().all(|entry| !entry.reason.contains("number")));
    scene.sql("UPDATE users SET register_date = '2024-02-02' WHERE user_id = 1");
    node.script("UPDATE accounts SET balance = 3 WHERE owner = 3");
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}

/// A trigger that cancels the updates of a table, but for what it passes.
const CANCELS: &str = "CREATE FUNCTION cancels() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
       IF NEW.note = 'no' THEN RETURN NULL; END IF;
       IF NEW.note = 'shout' THEN NEW.note := 'SHOUT'; END IF;
       IF NEW.note = 'keep' THEN NEW.note := OLD.note; END IF;
       RETURN NEW; END $$;
     CREATE TRIGGER cancels BEFORE UPDATE ON accounts
       FOR EACH ROW EXECUTE FUNCTION cancels()";

#[tokio::test(flavor = "multi_thread")]
async fn an_update_that_a_trigger_of_postgresql_cancels_is_set_aside_and_one_that_it_rewrites_is_not()
 {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    for owner in 1..=5 {
        node.add(owner, owner).await;
    }
    node.sync().await;
    scene.sql(CANCELS);
    node.set_note(1, "no").await;
    node.script("UPDATE accounts SET note = 'no', balance = 20 WHERE owner = 2");
    node.set_note(3, "yes").await;
    node.set_note(4, "shout").await;
    node.set_note(5, "keep").await;
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 2));
    let aside = node.look(|content| content.quarantine()).await;
    let seen: Vec<_> = aside.iter().map(|e| (e.id.key.number().unwrap(), e.refused_by)).collect();
    assert_eq!(seen, [(1, Store::Postgres), (2, Store::Postgres)]);
    assert!(aside[0].reason.contains("trigger"), "{}", aside[0].reason);
    let here = "SELECT group_concat(balance || coalesce(note, '-')) FROM \
                (SELECT * FROM accounts ORDER BY owner)";
    assert_eq!(node.one::<String>(here), "1no,20no,3yes,4SHOUT,5-");
    let there =
        "SELECT string_agg(balance || coalesce(note, '-'), ',' ORDER BY owner) FROM accounts";
    assert_eq!(scene.one(there), "1-,2-,3yes,4SHOUT,5-");
    // The trigger goes: they arrive.
    scene.sql("DROP TRIGGER cancels ON accounts");
    node.set_balance(1, 10).await;
    node.sync().await;
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_rule_of_postgresql_does_not_let_happen_is_set_aside_and_the_other_tables_go_on() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    for owner in 1..=3 {
        node.add(owner, owner).await;
    }
    node.sync().await;
    for event in ["INSERT", "UPDATE", "DELETE"] {
        scene.sql(&format!("CREATE RULE no_{event} AS ON {event} TO accounts DO INSTEAD NOTHING"));
    }
    node.set_balance(1, 10).await;
    node.delete(2).await;
    node.add(4, 4).await;
    node.script("INSERT INTO users (user_id) VALUES (7)");
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 3));
    assert_eq!(scene.one("SELECT sum(user_id) FROM users"), "7");
    assert_eq!(
        scene.one("SELECT string_agg(balance::text, ',' ORDER BY owner) FROM accounts"),
        "1,2,3"
    );
    let here = "SELECT group_concat(balance) FROM (SELECT * FROM accounts ORDER BY owner)";
    assert_eq!(node.one::<String>(here), "10,3,4");
    for event in ["INSERT", "UPDATE", "DELETE"] {
        scene.sql(&format!("DROP RULE no_{event} ON accounts"));
    }
    node.set_note(1, "again").await;
    node.sync().await;
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_trigger_of_the_file_leaves_out_is_set_aside() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    scene.sql("INSERT INTO accounts (owner, balance) VALUES (1, 1), (2, 2), (3, 3)");
    node.sync().await;
    for (event, row) in [("INSERT", "new"), ("UPDATE", "new"), ("DELETE", "old")] {
        node.script(&format!(
            "CREATE TRIGGER no_{event} BEFORE {event} ON accounts WHEN {row}.note IS NOT 'yes' \
             BEGIN SELECT RAISE(IGNORE); END"
        ));
    }
    scene.sql(
        "UPDATE accounts SET balance = 10 WHERE owner = 1; DELETE FROM accounts WHERE owner = 2; \
         INSERT INTO accounts (owner, balance) VALUES (4, 4); \
         INSERT INTO accounts (owner, balance, note) VALUES (5, 5, 'yes'); \
         UPDATE accounts SET balance = 30, note = 'yes' WHERE owner = 3",
    );
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 3));
    let mut aside = node.look(|content| content.quarantine()).await;
    aside.sort_by_key(|entry| entry.id.clone());
    let seen: Vec<_> =
        aside.iter().map(|e| (e.id.key.number().unwrap(), e.refused_by, e.code.as_str())).collect();
    assert_eq!(seen, [1, 2, 4].map(|key| (key, Store::Sqlite, "1811")));
    assert!(aside[0].reason.contains("trigger"), "{}", aside[0].reason);
    let here = "SELECT group_concat(owner || '=' || balance) FROM \
                (SELECT * FROM accounts ORDER BY owner)";
    assert_eq!(node.one::<String>(here), "1=1,2=2,3=30,5=5");
    // What is not there is not taken for deleted here, nor what is for alive.
    node.sync().await;
    let there = "SELECT string_agg(owner || '=' || balance, ',' ORDER BY owner) FROM accounts";
    assert_eq!(scene.one(there), "1=10,3=30,4=4,5=5");
    node.script(
        "DROP TRIGGER no_INSERT; DROP TRIGGER no_UPDATE; DROP TRIGGER no_DELETE; \
         UPDATE dual_quarantine SET retry = 0",
    );
    assert_eq!(node.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}

/// A trigger of the file's that never comes to its end.
const ENDLESS: &str = "CREATE VIEW endless AS \
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n; \
     CREATE TABLE noted (i); \
     CREATE TRIGGER never_i AFTER INSERT ON accounts WHEN new.note = 'never' \
       BEGIN INSERT INTO noted SELECT count(*) FROM endless; END; \
     CREATE TRIGGER never_u AFTER UPDATE ON accounts WHEN new.note = 'never' \
       BEGIN INSERT INTO noted SELECT count(*) FROM endless; END";

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_of_the_file_that_never_ends_costs_its_rows_and_nothing_else() {
    let scene = Scene::on(shared().unwrap());
    let node = scene.node("bot.db").await;
    node.sync().await;
    node.script(ENDLESS);
    scene.sql(
        "INSERT INTO accounts (owner, balance, note) VALUES (1, 1, 'never'), (2, 2, 'fine'); \
         INSERT INTO users (user_id) VALUES (1)",
    );
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 1));
    let aside = node.look(|content| content.quarantine()).await;
    assert_eq!((aside[0].id.key.number().unwrap(), aside[0].refused_by), (1, Store::Sqlite));
    assert_eq!((aside[0].code.as_str(), aside[0].reason.contains("trigger")), ("9", true));
    assert_eq!(node.one::<i64>("SELECT sum(owner) FROM accounts"), 2);
    assert_eq!(node.one::<i64>("SELECT count(*) FROM users"), 1);
    // A call gets the reason, and who shares its transaction does not suffer.
    let note = Change::Update(vec![(1, Value::Text("never".into()))]);
    let id = RowId::new(1, 2);
    let stamp = node.shared.clock().propose(Stamp::ZERO);
    let replica = node.replica();
    let refused = replica
        .write("test", Durability::Full, move |content| content.change(&id, &note, stamp))
        .await
        .unwrap_err();
    assert!(refused.is_invalid_data() && refused.message().contains("trigger"), "{refused}");
    node.set_balance(2, 20).await;
    // However many they are.
    scene.sql(
        "INSERT INTO accounts (owner, balance, note) SELECT n, n, 'never' \
         FROM generate_series(10, 50) AS n",
    );
    let exchange = node.sync().await;
    assert_eq!((exchange.pending, exchange.quarantined), (0, 42));
    assert_eq!(scene.one("SELECT balance FROM accounts WHERE owner = 2"), "20");
    // A comparison comes to its end, too.
    scene.sql("DELETE FROM dual.token");
    let other = scene.node("bot.db").await;
    assert_eq!(other.sync().await.quarantined, 42);
    node.script("DROP TRIGGER never_i; DROP TRIGGER never_u; UPDATE dual_quarantine SET retry = 0");
    // Another process has not met it yet.
    assert_eq!(scene.node("bot.db").await.sync().await.quarantined, 0);
    scene.assert_equal(&node);
}
