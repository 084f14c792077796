//! The library's write of one row where more than the write happens: the user's triggers, cascades,
//! types that round, names that the generated SQL uses itself.

use dual_database::merge::{Change, Register};
use dual_database::protocol::Token;
use dual_database::schema::{RowId, users};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::primary::{Primary, Refused, WrittenRow};
use dual_database::value::Value;
use throwaway_postgres::shared;

use crate::primary_scene::{FILE, Scene, id as user, tables, text};

/// The position of the users' column among the data columns.
fn at(name: &str) -> usize {
    users().data_columns().position(|column| *column.name == *name).unwrap()
}

fn new(name: &str) -> Change {
    let mut values = users().defaults();
    values[at("first_name")] = text(name);
    Change::Insert(values)
}

/// A stamp of this process, by the server's clock.
async fn now(primary: &Primary<'_>) -> Stamp {
    Stamp::at(primary.header().await.unwrap().now_ms, Writer::new(9).unwrap())
}

async fn write(
    primary: &Primary<'_>,
    id: RowId,
    change: Change,
    stamp: Stamp,
) -> Result<WrittenRow, Refused> {
    let answer = primary.write(&[(id, change)], stamp, &[]).await.unwrap();
    answer.map(|mut written| written.rows.remove(0))
}

/// Made by the server, above the write.
fn is_captured(register: &Register<Value>, above: Stamp) -> bool {
    register.stamp > above && register.stamp.writer().number() == 0
}

#[tokio::test]
async fn what_the_users_triggers_make_of_it_lies_above_the_write() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    primary.rotate(None, Token(1)).await.unwrap();
    scene.sql(
        "CREATE FUNCTION before() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           NEW.first_name := upper(NEW.first_name); NEW.source := 'trigger'; RETURN NEW; END $$;
         CREATE TRIGGER users_own BEFORE INSERT OR UPDATE ON users
           FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION before();
         CREATE FUNCTION after() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           UPDATE users SET real_name = 'after' WHERE user_id = NEW.user_id;
           INSERT INTO users (user_id, first_name) VALUES (NEW.user_id + 1000, 'beside')
             ON CONFLICT DO NOTHING;
           RETURN NULL; END $$;
         CREATE TRIGGER users_too AFTER INSERT OR UPDATE ON users
           FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION after();",
    );
    for change in [new("anna"), Change::Update(vec![(at("first_name"), text("bob"))])] {
        // Above what the triggers have made.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        let stamp = now(&primary).await;
        let renamed = matches!(change, Change::Update(_));
        let row = write(&primary, user(1), change, stamp).await.unwrap().row;
        let columns = &row.version.columns;
        for (name, value) in [
            ("first_name", if renamed { "BOB" } else { "ANNA" }),
            ("source", "trigger"),
            ("real_name", "after"),
        ] {
            let column = &columns[at(name)];
            assert_eq!(column.value, text(value), "{name}");
            let was_so = renamed && name != "first_name";
            assert!(is_captured(column, stamp) || was_so, "{name}: {column:?}, {stamp:?}");
        }
        assert_eq!(primary.row(&user(1)).await.unwrap(), Some(row));
    }
    let beside = primary.row(&user(1_001)).await.unwrap().unwrap();
    assert_eq!(beside.version.live.stamp.writer().number(), 0);
}

#[tokio::test]
async fn what_a_trigger_or_a_rule_leaves_out_is_an_error_that_says_so() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    primary.rotate(None, Token(1)).await.unwrap();
    let stamp = now(&primary).await;
    let there = write(&primary, user(1), new("anna"), stamp).await.unwrap().row;
    let rename = Change::Update(vec![(at("first_name"), text("bob"))]);
    let changes = [(user(2), new("nobody")), (user(1), rename), (user(1), Change::Delete)];
    let refused = async |words: &str| {
        for (id, change) in &changes {
            // Several at once go another way.
            let beside = (user(99), new("beside"));
            for changes in
                [vec![(id.clone(), change.clone())], vec![(id.clone(), change.clone()), beside]]
            {
                let stamp = now(&primary).await.next(stamp.writer());
                let error = primary.write(&changes, stamp, &[]).await.unwrap_err();
                let said = format!("{}; {}", error.chain(), error.hint().unwrap_or_default());
                assert!(error.is_invalid_data() && said.contains(words), "{said}");
                assert!(!error.chain().contains("raised an error"), "{error}");
            }
            assert_eq!(primary.row(&user(1)).await.unwrap().as_ref(), Some(&there));
        }
        assert_eq!(scene.one("SELECT count(*) FROM users"), "1");
    };
    scene.sql(
        "CREATE FUNCTION leave_out() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER users_out BEFORE INSERT OR UPDATE OR DELETE ON users
           FOR EACH ROW EXECUTE FUNCTION leave_out();",
    );
    refused("a trigger or a rule has left out a row of users, key").await;
    scene.sql("DROP TRIGGER users_out ON users");
    for event in ["INSERT", "UPDATE", "DELETE"] {
        scene.sql(&format!("CREATE RULE no_{event} AS ON {event} TO users DO INSTEAD NOTHING"));
    }
    refused("rules").await;
}

#[tokio::test]
async fn a_value_that_the_column_rounds_lies_above_the_write() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    scene.sql("ALTER TABLE users ALTER register_date TYPE timestamp(0)");
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    primary.rotate(None, Token(1)).await.unwrap();
    let at_ms = |text| Value::Timestamp(dual_database::value::parse_timestamp_text(text).unwrap());
    let stamp = now(&primary).await;
    let mut values = users().defaults();
    values[at("register_date")] = at_ms("2024-01-02 03:04:05.25");
    let row = write(&primary, user(1), Change::Insert(values), stamp).await.unwrap().row;
    let rounded = &row.version.columns[at("register_date")];
    assert_eq!(rounded.value, at_ms("2024-01-02 03:04:05"));
    assert!(is_captured(rounded, stamp), "{rounded:?}");
    assert_eq!(row.version.live.stamp, stamp);
    let stamp = now(&primary).await.next(stamp.writer());
    let change = Change::Update(vec![
        (at("register_date"), at_ms("2024-01-02 03:04:06.75")),
        (at("status"), text("vip")),
    ]);
    let row = write(&primary, user(1), change, stamp).await.unwrap().row;
    let rounded = &row.version.columns[at("register_date")];
    assert_eq!(rounded.value, at_ms("2024-01-02 03:04:07"));
    assert!(is_captured(rounded, stamp), "{rounded:?}");
    assert_eq!(row.version.columns[at("status")].stamp, stamp);
}

#[tokio::test]
async fn cascades_of_a_delete_are_captured() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    scene.sql(
        "ALTER TABLE users ADD FOREIGN KEY (referrer_id) REFERENCES users (user_id) \
         ON DELETE SET NULL",
    );
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    primary.rotate(None, Token(1)).await.unwrap();
    let stamp = now(&primary).await;
    write(&primary, user(1), new("referrer"), stamp).await.unwrap();
    let mut values = users().defaults();
    values[at("referrer_id")] = Value::Int(1);
    write(&primary, user(2), Change::Insert(values), stamp).await.unwrap();
    let gone = write(&primary, user(1), Change::Delete, stamp.next(stamp.writer())).await.unwrap();
    assert!(!gone.row.version.live.value);
    let left = primary.row(&user(2)).await.unwrap().unwrap();
    let referrer = &left.version.columns[at("referrer_id")];
    assert_eq!(referrer.value, Value::Null);
    assert!(is_captured(referrer, stamp), "{referrer:?}");
    assert_eq!(left.txid, gone.row.txid, "the feed delivers both together");
}

#[tokio::test]
async fn names_that_the_generated_sql_uses_are_no_hindrance() {
    let scene = Scene::on(shared().unwrap(), tables()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    primary.rotate(None, Token(1)).await.unwrap();
    let id = RowId::new(1, -5);
    let mut stamp = now(&primary).await;
    let mut next = || {
        stamp = stamp.next(stamp.writer());
        stamp
    };
    let values = vec![text("it's \"{}\\,NULL"), Value::Null, Value::Int(i64::from(i32::MIN))];
    let born = write(&primary, id.clone(), Change::Insert(values.clone()), next()).await.unwrap();
    let read: Vec<Value> =
        born.row.version.columns.iter().map(|column| column.value.clone()).collect();
    assert_eq!(read, values);
    let change = Change::Update(vec![(0, text("")), (2, Value::Null)]);
    let changed = write(&primary, id.clone(), change.clone(), next()).await.unwrap();
    assert_eq!(changed.row.version.columns[0].value, text(""));
    // What it has already is set again: under this write's stamp.
    let again = next();
    let same = write(&primary, id.clone(), change, again).await.unwrap();
    assert!([0, 2].iter().all(|at| same.row.version.columns[*at].stamp == again));
    assert_eq!(same.row.version.columns[1].stamp, born.row.version.columns[1].stamp);
    let too_large = Change::Update(vec![(2, Value::Int(i64::MAX))]);
    let refused = primary.write(&[(id.clone(), too_large)], next(), &[]).await.unwrap_err();
    assert!(refused.is_invalid_data(), "{refused}");
    let dead = write(&primary, id.clone(), Change::Delete, next()).await.unwrap();
    assert_eq!(dead.row.surrogate, None);
    let raised = write(&primary, id, Change::Insert(values), next()).await.unwrap();
    assert_eq!(raised.previous.map(|version| version.live.value), Some(false));
}
