//! Pushes on real servers: the merge against the model's rules, what is refused, unique values.

use std::collections::BTreeMap;
use std::time::Duration;

use dual_database::merge::{
    Bases, Change, Conflict, Defaults, Register, RegisterId, Tracked, Version,
};
use dual_database::schema::{Column, LogicalType, Role, RowId, Table, users};
use dual_database::stamp::{Stamp, Writer};
use dual_database::store::postgres::primary::{Primary, PushEnd, Pushed, RemoteRow};
use dual_database::store::postgres::{Limits, Session, Settings, is_retryable};
use dual_database::value::Value;
use throwaway_postgres::{Database, Server, shared, shared_with};

use crate::capture_oracle::visits;
use crate::primary_scene::{FILE, Scene};

const OLDEST_AND_NEWEST: [&str; 2] = ["12.22.0-beta.15", "18.4.0-beta.17"];

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn id(key: i64) -> RowId {
    RowId::new(0, key)
}

async fn client(database: &Database<'_>) -> Session {
    let settings = Settings::parse(&database.url()).unwrap();
    Session::open(&settings, &Limits::default()).await.unwrap()
}

async fn state(primary: &Primary<'_>, table: usize) -> BTreeMap<i64, RemoteRow> {
    let rows = primary.range(table, None, 1_000_000).await.unwrap().rows;
    rows.into_iter().map(|row| (row.id.key.number().unwrap(), row)).collect()
}

/// A file's writes: its own number, its own clock.
struct File {
    now_ms: i64,
    writer: Writer,
}

impl File {
    async fn of(primary: &Primary<'_>, number: u16) -> File {
        let now_ms = primary.header().await.unwrap().now_ms - 30_000;
        File { now_ms, writer: Writer::new(number).unwrap() }
    }

    fn at(&self, ms: i64) -> Stamp {
        Stamp::at(self.now_ms + ms, self.writer)
    }

    fn change(&self, row: Option<&Tracked>, change: &Change, ms: i64, table: &Table) -> Tracked {
        let defaults = Defaults::new(table.defaults());
        Tracked::changed(row, change, self.at(ms), Stamp::ZERO, &defaults)
    }

    /// A new visit.
    fn visit(&self, note: Option<&str>, ms: i64) -> Tracked {
        let note = note.map_or(Value::Null, text);
        let values = vec![Value::Null, note, Value::Bool(false), Value::Null];
        self.change(None, &Change::Insert(values), ms, &visits())
    }

    fn note(&self, row: &Tracked, note: &str, ms: i64) -> Tracked {
        self.change(Some(row), &Change::Update(vec![(1, text(note))]), ms, &visits())
    }
}

async fn push(primary: &Primary<'_>, batch: &[(RowId, Tracked)]) -> Pushed {
    match primary.push(batch, None, None).await.unwrap() {
        PushEnd::Done(pushed) => pushed,
        end => panic!("{end:?}"),
    }
}

fn refused(pushed: &Pushed) -> Vec<(i64, &str)> {
    let mut refused: Vec<_> = pushed
        .refused
        .iter()
        .map(|(id, code, _)| (id.key.number().unwrap(), code.as_str()))
        .collect();
    refused.sort_unstable();
    refused
}

fn settled(row: &RemoteRow) -> Tracked {
    Tracked::settled(row.version.clone())
}

async fn merges(server: &'static Server) {
    let scene = Scene::on(server, vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let born = file.visit(Some("hello"), 1);
    let pushed = push(&primary, &[(id(2), file.visit(None, 2)), (id(1), born.clone())]).await;
    assert!(pushed.refused.is_empty() && pushed.gone.is_empty() && pushed.conflicts.is_empty());
    assert_eq!(pushed.surrogates, [(id(1), 1), (id(2), 2)]);
    let rows = state(&primary, 0).await;
    assert_eq!(rows[&1].version, born.version);
    assert_eq!(rows[&2].version, file.visit(None, 2).version);

    // Again, its answer was lost: nothing is touched.
    let again = push(&primary, &[(id(1), born.clone())]).await;
    assert!(again.surrogates.is_empty() && again.conflicts.is_empty());
    assert_eq!(state(&primary, 0).await, rows);

    // An update of one column; one below what is there; a delete; a tombstone of nobody.
    let mut known = born;
    known.acknowledge(&known.version.clone());
    let later = file.note(&known, "later", 10);
    push(&primary, &[(id(1), later.clone())]).await;
    let row = state(&primary, 0).await[&1].clone();
    assert_eq!((&row.version, row.surrogate), (&later.version, Some(1)));
    let stale = file.note(&known, "stale", 5);
    let pushed = push(&primary, &[(id(1), stale.clone())]).await;
    let lost = Conflict { register: RegisterId::Column(1), winner: file.at(10), loser: file.at(5) };
    let told = vec![(id(1), lost, Some("later".to_owned()), Some("stale".to_owned()))];
    assert_eq!(pushed.conflicts, told);
    // It stands, and the file hears of it, perhaps again; in a comparison it takes every row in.
    let again = state(&primary, 0).await[&1].clone();
    assert_eq!((&again.version, again.txid > row.txid), (&row.version, true));
    primary.push(&[(id(1), stale)], Some(true), None).await.unwrap();
    assert_eq!(state(&primary, 0).await[&1], again);
    let logged = primary.conflicts(9).await.unwrap();
    assert_eq!((logged.len(), logged[0].conflict), (1, lost));
    assert!(!logged[0].reviewed && logged[0].noted_ms >= file.now_ms);
    let dead = file.change(Some(&settled(&row)), &Change::Delete, 20, &visits());
    let never = file.change(Some(&file.visit(Some("x"), 3)), &Change::Delete, 21, &visits());
    push(&primary, &[(id(1), dead.clone()), (id(9), never.clone())]).await;
    let rows = state(&primary, 0).await;
    assert_eq!((&rows[&1].version, &rows[&9].version), (&dead.version, &never.version));
    assert_eq!(scene.one("SELECT count(*) FROM visits"), "1");

    // A new life over it, with a surrogate of its own.
    let values = vec![Value::Int(5), text("again"), Value::Bool(true), Value::Null];
    let reborn = file.change(Some(&dead), &Change::Insert(values), 30, &visits());
    let pushed = push(&primary, &[(id(1), reborn.clone())]).await;
    assert_eq!(pushed.surrogates.len(), 1);
    assert_eq!(state(&primary, 0).await[&1].version, reborn.version);
    let born_while_alive = file.change(
        Some(&reborn),
        &Change::Insert(vec![Value::Null, text("replaced"), Value::Null, Value::Null]),
        40,
        &visits(),
    );
    push(&primary, &[(id(1), born_while_alive.clone())]).await;
    assert_eq!(state(&primary, 0).await[&1].version, born_while_alive.version);

    // Of a row that was there once and is not, only a comparison decides.
    let lost = Tracked::settled(file.visit(Some("lost"), 50).version);
    assert_eq!(push(&primary, &[(id(77), lost.clone())]).await.gone, [id(77)]);
    let end = primary.push(&[(id(77), lost.clone())], Some(false), None).await.unwrap();
    assert!(matches!(end, PushEnd::Done(pushed) if pushed.gone.is_empty()));
    assert_eq!(state(&primary, 0).await[&77].version, lost.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_leaves_the_merged_version_and_touches_nothing_else() {
    merges(shared().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_does_the_same_on_12_and_18() {
    for version in OLDEST_AND_NEWEST {
        merges(shared_with(&throwaway_postgres::Version::exact(version)).unwrap()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lies_ahead_of_the_servers_clock_is_refused_with_the_whole_batch() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let batch = [(id(1), file.visit(None, 1)), (id(2), file.visit(None, 200_000))];
    let end = primary.push(&batch, None, None).await.unwrap();
    assert!(matches!(end, PushEnd::Ahead { now_ms } if now_ms >= file.now_ms + 30_000));
    assert!(state(&primary, 0).await.is_empty() && !session.in_transaction());
}

/// `read_committed_merge.py`: stamps that were read before the lock was given are stale.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_that_waited_for_a_lock_merges_with_what_it_finds_then() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let mut row = file.visit(Some("old"), 1);
    push(&primary, &[(id(1), row.clone())]).await;
    row.acknowledge(&row.version.clone());
    let other = client(&scene.database).await;
    other.begin("begin").await.unwrap();
    other
        .batch("write", "UPDATE public.visits SET note = 'psql' WHERE visit_id = 1")
        .await
        .unwrap();
    let batch = [(id(1), file.note(&row, "file", 5))];
    let (pushed, ()) = tokio::join!(push(&primary, &batch), async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                     AND datname = current_database()";
        while scene.one(waits) != "1" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.commit("commit").await.unwrap();
    });
    let now = state(&primary, 0).await[&1].version.clone();
    assert_eq!(now.columns[1].value, text("psql"));
    assert!(now.stamp_of(1) > file.at(5));
    assert_eq!(pushed.conflicts.len(), 1);
}

/// `skip_by_origin.py`: psql sets one column, then a push another one; its transaction is that of
/// the push now.
#[tokio::test(flavor = "multi_thread")]
async fn what_others_did_to_a_row_that_was_pushed_then_comes_with_the_feed() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let mut row = file.visit(Some("x0"), 1);
    push(&primary, &[(id(1), row.clone())]).await;
    row.acknowledge(&row.version.clone());
    let cursor = primary.header().await.unwrap().snapshot;
    scene.sql("UPDATE visits SET paid = true WHERE visit_id = 1");
    push(&primary, &[(id(1), file.note(&row, "ours", 40_000))]).await;
    let poll = primary.poll(&cursor, &[]).await.unwrap();
    assert_eq!(poll.rows.len(), 1);
    assert_eq!(poll.rows[0].version.columns[2].value, Value::Bool(true));
    assert_eq!(poll.rows[0].version.columns[1].value, text("ours"));
    assert_eq!(poll.rows[0].version.stamp_of(1), file.at(40_000));
}

/// `stamp_zero.py`: a new life owes nothing to the old one, on either side.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_the_old_life_gives_nothing_of_it_to_the_new() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let mut row = file.visit(Some("+7 old life"), 1);
    push(&primary, &[(id(1), row.clone())]).await;
    row.acknowledge(&row.version.clone());
    scene.sql("DELETE FROM visits; INSERT INTO visits (visit_id, note) VALUES (1, NULL)");
    // The file changes another column without having seen any of it.
    let update = Change::Update(vec![(0, Value::Int(5))]);
    let pending = file.change(Some(&row), &update, 2, &visits());
    let pushed = push(&primary, &[(id(1), pending)]).await;
    let now = state(&primary, 0).await[&1].version.clone();
    assert_eq!((&now.columns[0].value, &now.columns[1].value), (&Value::Null, &Value::Null));
    assert!(now.stamp_of(1) >= now.live.stamp, "nothing of the new life is at zero");
    assert!(!pushed.conflicts.is_empty());
}

/// Two tables with everything that can refuse a row.
fn strict() -> Vec<Table> {
    let column = |name: &str, kind, role| Column::new(name, kind, role);
    let guests = vec![
        column("id", LogicalType::BigInt, Role::Surrogate),
        column("guest", LogicalType::BigInt, Role::Key),
        column("name", LogicalType::Text, Role::Data),
        column("mail", LogicalType::Text, Role::Data),
        column("badge", LogicalType::Int, Role::Data),
        column("host", LogicalType::BigInt, Role::Data),
    ];
    vec![Table::declare("guests", guests).unwrap(), visits()]
}

const CONSTRAINTS: &str = "ALTER TABLE guests ALTER name SET NOT NULL, \
     ALTER name TYPE varchar(10), ADD CONSTRAINT polite CHECK (name <> 'rude'), \
     ADD CONSTRAINT guests_mail UNIQUE (mail), ALTER badge SET NOT NULL, \
     ADD CONSTRAINT guests_badge UNIQUE (badge), \
     ADD CONSTRAINT hosted FOREIGN KEY (host) REFERENCES guests (guest) DEFERRABLE INITIALLY DEFERRED; \
     ALTER TABLE visits ADD CONSTRAINT invited FOREIGN KEY (guest) REFERENCES guests (guest); \
     CREATE FUNCTION taboo() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN \
       IF NEW.name = 'Voldemort' THEN RAISE EXCEPTION 'never % that', NEW.name USING ERRCODE = 'ZZ123'; END IF; \
       IF NEW.name = 'Nobody' THEN RETURN NULL; END IF; \
       RETURN NEW; END$$; \
     CREATE TRIGGER taboo BEFORE INSERT OR UPDATE ON guests FOR EACH ROW EXECUTE FUNCTION taboo()";

impl File {
    fn guest(&self, name: Option<&str>, mail: Option<&str>, badge: i64, ms: i64) -> Tracked {
        self.hosted(name, mail, badge, Value::Null, ms)
    }

    fn hosted(
        &self,
        name: Option<&str>,
        mail: Option<&str>,
        badge: i64,
        host: Value,
        ms: i64,
    ) -> Tracked {
        let or_null = |value: Option<&str>| value.map_or(Value::Null, text);
        let values = vec![or_null(name), or_null(mail), Value::Int(badge), host];
        self.change(None, &Change::Insert(values), ms, &strict()[0])
    }

    fn set(&self, row: &Tracked, column: usize, value: Value, ms: i64) -> Tracked {
        let change = Change::Update(vec![(column, value)]);
        self.change(Some(row), &change, ms, &strict()[0])
    }
}

async fn refuses(server: &'static Server) {
    let scene = Scene::on(server, strict()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    scene.sql(CONSTRAINTS);
    let mut batch: Vec<(RowId, Tracked)> = (0..2_500)
        .map(|key| (id(key), file.guest(Some("nice"), Some(&format!("m{key}")), key, key)))
        .collect();
    for (key, name) in [(5, None), (900, Some("rude")), (1_700, Some("much too long a name"))] {
        batch[key] = (id(key as i64), file.guest(name, None, key as i64, 1));
    }
    batch[2_100] = (id(2_100), file.guest(Some("Voldemort"), None, 2_100, 1));
    batch[2_101] = (id(2_101), file.guest(Some("Nobody"), None, 2_101, 1));
    batch[2_102] = (id(2_102), file.guest(Some("n\0l"), None, 2_102, 1));
    batch[2_103] = (id(2_103), file.hosted(Some("x"), None, 2_103, Value::Int(-9), 1));
    batch[2_104].1.version.columns[2].value = Value::Int(1 << 40);
    // Hosts that come later in the batch, in another part of it.
    batch[3] = (id(3), file.hosted(Some("x"), None, 3, Value::Int(2_400), 1));
    let visit = |key: i64, guest: i64| {
        let values = vec![Value::Int(guest), Value::Null, Value::Bool(false), Value::Null];
        let row = file.change(None, &Change::Insert(values), 1, &visits());
        (RowId::new(1, key), row)
    };
    batch.insert(0, visit(1, 2_300));
    batch.insert(0, visit(2, 900));
    let pushed = push(&primary, &batch).await;
    let expected = [
        (2, "23503"),
        (5, "23502"),
        (900, "23514"),
        (1_700, "22001"),
        (2_100, "ZZ123"),
        (2_101, "P0001"),
        (2_102, "unreadable"),
        (2_103, "23503"),
        (2_104, "unreadable"),
    ];
    assert_eq!(refused(&pushed), expected);
    let reasons: String = pushed.refused.iter().map(|(_, _, reason)| reason.as_str()).collect();
    for (part, there) in [("polite", true), ("hosted", true), ("Voldemort", false), ("rude", false)]
    {
        assert_eq!(reasons.contains(part), there, "{reasons}");
    }
    assert_eq!(pushed.surrogates.len(), 2_502 - expected.len());
    assert_eq!(scene.one("SELECT count(*) FROM guests"), "2492");
    // Exactly what was pushed stands.
    let rows = state(&primary, 0).await;
    assert_eq!(rows.len(), 2_492);
    for (id, tracked) in batch.iter().filter(|(id, _)| id.table == 0) {
        if let Some(row) = rows.get(&id.key.number().unwrap()) {
            assert_eq!(row.version, tracked.version);
        }
    }
    // A delete that others hold back, and one that takes them along.
    let gone = |id: &RowId, row: &Tracked, table: &Table| {
        let mut row = row.clone();
        row.acknowledge(&row.version.clone());
        (id.clone(), file.change(Some(&row), &Change::Delete, 9_000, table))
    };
    let (host, guest) = (&rows[&2_300], &rows[&2_400]);
    let alone = [gone(&host.id, &settled(host), &strict()[0])];
    assert_eq!(refused(&push(&primary, &alone).await), [(2_300, "23503")]);
    let (visit, guest) = (visit(1, 0), settled(guest));
    let both = [
        alone[0].clone(),
        gone(&visit.0, &visit.1, &visits()),
        gone(&id(2_400), &guest, &strict()[0]),
    ];
    assert_eq!(refused(&push(&primary, &both).await), [(2_400, "23503")]);
    assert!(!state(&primary, 0).await[&2_300].version.live.value);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_constraint_refuses_single_rows_and_the_rest_goes_on() {
    refuses(shared().unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn single_rows_are_refused_on_12_and_18_too() {
    for version in OLDEST_AND_NEWEST {
        refuses(shared_with(&throwaway_postgres::Version::exact(version)).unwrap()).await;
    }
}

/// `unique_swap_and_ids.sql`
#[tokio::test(flavor = "multi_thread")]
async fn unique_values_are_exchanged_and_who_finds_his_taken_cedes_it() {
    let scene = Scene::on(shared().unwrap(), strict()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    scene.sql(CONSTRAINTS);
    scene.sql("CREATE UNIQUE INDEX by_name ON guests (lower(name), host) WHERE host IS NOT NULL");
    let guests: Vec<(RowId, Tracked)> = (1..=1_500)
        .map(|key| (id(key), file.guest(Some("x"), Some(&format!("m{key}")), key, 1)))
        .collect();
    push(&primary, &guests).await;
    let rows: BTreeMap<i64, Tracked> =
        state(&primary, 0).await.iter().map(|(key, row)| (*key, settled(row))).collect();
    let mail = |key: i64, mail: &str| (id(key), file.set(&rows[&key], 1, text(mail), 10));
    let badge = |key: i64, badge: i64| (id(key), file.set(&rows[&key], 2, Value::Int(badge), 11));
    // A swap at the two ends of the batch, a ring of required values, everybody moved up by one,
    // and a value that a deleted row gives up.
    let mut batch = vec![mail(1, "m1500"), mail(1_500, "m1")];
    batch.extend([badge(10, 11), badge(11, 12), badge(12, 10)]);
    batch.extend((100..1_200).map(|key| badge(key, key + 1)));
    batch.push((id(1_200), file.change(Some(&rows[&1_200]), &Change::Delete, 12, &strict()[0])));
    batch.push(mail(13, "m1200"));
    let pushed = push(&primary, &batch).await;
    assert_eq!((refused(&pushed), pushed.conflicts.len()), (vec![], 0));
    let now = state(&primary, 0).await;
    for (id, tracked) in &batch {
        assert_eq!(now[&id.key.number().unwrap()].version, tracked.version, "{id:?}");
    }

    // A mail that somebody else has: the column is left empty, under a stamp above both. The badge
    // cannot be.
    let now: BTreeMap<i64, Tracked> = now.iter().map(|(key, row)| (*key, settled(row))).collect();
    scene.sql("INSERT INTO guests (guest, name, mail, badge) VALUES (5000, 'psql', 'new', 5000)");
    let born = file.guest(Some("late"), Some("new"), 6_000, 20);
    let batch = [
        (id(20), file.set(&now[&20], 1, text("new"), 20)),
        (id(21), file.set(&now[&21], 2, Value::Int(5_000), 20)),
        (id(22), file.set(&now[&22], 0, text("fine"), 20)),
        (id(6_000), born.clone()),
    ];
    let pushed = push(&primary, &batch).await;
    assert_eq!(refused(&pushed), [(21, "23505")]);
    let after = state(&primary, 0).await;
    for key in [20, 6_000] {
        let register = &after[&key].version.columns[1];
        assert_eq!(register.value, Value::Null);
        assert!(register.stamp > file.at(20) && register.stamp.writer() == Writer::POSTGRES);
        let lost = Conflict {
            register: RegisterId::Column(1),
            winner: register.stamp,
            loser: file.at(20),
        };
        assert!(pushed.conflicts.contains(&(id(key), lost, None, Some("new".into()))));
    }
    assert_eq!(after[&22].version, batch[2].1.version);
    assert_eq!(after[&21].version, now[&21].version);
    // Pushed again, because the answer was lost: the same stands, nothing is logged twice.
    push(&primary, &batch[..1]).await;
    assert_eq!(state(&primary, 0).await[&20].version, after[&20].version);
    assert_eq!(primary.unreviewed_count().await.unwrap(), 2);
    // Ids come from the sequence, so that the next client finds a free one.
    scene.sql("INSERT INTO guests (guest, name, badge) VALUES (7000, 'innocent', 7000)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_inserts_meanwhile_is_merged() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let other = client(&scene.database).await;
    other.begin("begin").await.unwrap();
    other
        .batch("write", "INSERT INTO public.visits (visit_id, note) VALUES (2, 'psql')")
        .await
        .unwrap();
    let batch: Vec<_> = (1..=3).map(|key| (id(key), file.visit(Some("file"), key))).collect();
    let (pushed, ()) = tokio::join!(push(&primary, &batch), async {
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                     AND datname = current_database()";
        while scene.one(waits) != "1" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.commit("commit").await.unwrap();
    });
    assert_eq!(refused(&pushed), []);
    assert_eq!(pushed.conflicts.len(), 1);
    let rows = state(&primary, 0).await;
    let note = |key: i64| rows[&key].version.columns[1].value.clone();
    assert_eq!((note(1), note(2), note(3)), (text("file"), text("psql"), text("file")));
    assert_eq!(rows[&1].version, batch[0].1.version);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_locked_is_left_out_and_a_locked_table_is_no_row_s_fault() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let mut session = client(&scene.database).await;
    session.set_limits(Limits { lock: Duration::from_millis(50), ..Limits::default() });
    let primary = Primary { session: &session, tables: &scene.tables, file: FILE };
    let file = File::of(&primary, 7).await;
    let batch = [(id(1), file.visit(Some("a"), 1)), (id(2), file.visit(Some("b"), 2))];
    push(&primary, &batch[..1]).await;
    let other = client(&scene.database).await;
    other.begin("begin").await.unwrap();
    other.batch("write", "UPDATE public.visits SET paid = true WHERE visit_id = 1").await.unwrap();
    let mut row = batch[0].1.clone();
    row.acknowledge(&row.version.clone());
    let blocked = [(id(1), file.note(&row, "later", 9)), batch[1].clone()];
    assert_eq!(refused(&push(&primary, &blocked).await), [(1, "55P03")]);
    other.commit("end").await.unwrap();
    let rows = state(&primary, 0).await;
    assert_eq!((rows.len(), &rows[&1].version.columns[1].value), (2, &text("a")));
    other.begin("begin").await.unwrap();
    other.batch("lock", "LOCK TABLE public.visits IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let error = primary.push(&blocked, None, None).await.unwrap_err();
    assert!(is_retryable(&error) && error.is_unavailable(), "{error}");
    assert!(!session.in_transaction());
    other.commit("end").await.unwrap();
    assert_eq!(state(&primary, 0).await[&1].version, rows[&1].version, "nothing stands");
    assert_eq!(refused(&push(&primary, &blocked).await), []);
    assert_eq!(state(&primary, 0).await[&1].version.columns[1].value, text("later"));
}

/// What a user's trigger makes of a row is newer than what was pushed.
#[tokio::test(flavor = "multi_thread")]
async fn a_users_trigger_that_rewrites_a_value_is_told_by_the_feed() {
    let scene = Scene::on(shared().unwrap(), vec![visits()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    scene.sql(
        "CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS
           $$BEGIN NEW.note := upper(NEW.note); RETURN NEW; END$$;
         CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON visits
           FOR EACH ROW EXECUTE FUNCTION shout();",
    );
    let row = file.visit(Some("quiet"), 1);
    push(&primary, &[(id(1), row.clone())]).await;
    let now = state(&primary, 0).await[&1].version.clone();
    assert_eq!(now.columns[1].value, text("QUIET"));
    assert!(now.stamp_of(1) > row.version.stamp_of(1));
    assert_eq!(now.live.stamp, row.version.live.stamp);
}

/// The wide built-in table.
#[tokio::test(flavor = "multi_thread")]
async fn users_of_many_shapes_arrive_as_they_are() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let table = users();
    let instant = dual_database::value::parse_timestamp_text("2025-08-07 09:00:01.5").unwrap();
    let batch: Vec<(RowId, Tracked)> = (0..1_100)
        .map(|key: i64| {
            let value = |(at, column): (usize, &Column)| match column.kind {
                _ if (key + at as i64) % 3 == 0 => column.default.clone().unwrap_or(Value::Null),
                LogicalType::Text => text(&format!("Ёж's \"{key}\"\n{at}")),
                LogicalType::Bool => Value::Bool(key % 2 == 0),
                LogicalType::Timestamp => Value::Timestamp(instant),
                _ => Value::Int(key),
            };
            let values = table.data_columns().map(value).collect();
            (id(key), file.change(None, &Change::Insert(values), key, &table))
        })
        .collect();
    assert_eq!(refused(&push(&primary, &batch).await), []);
    let rows = state(&primary, 0).await;
    for (id, tracked) in &batch {
        assert_eq!(rows[&id.key.number().unwrap()].version, tracked.version);
    }
    // Each with other columns changed.
    let changed: Vec<(RowId, Tracked)> = batch
        .iter()
        .map(|(id, row)| {
            let mut row = row.clone();
            row.acknowledge(&row.version.clone());
            let position =
                usize::try_from(id.key.number().unwrap()).unwrap() % table.data_columns().count();
            let change = Change::Update(vec![(position, Value::Null)]);
            (id.clone(), file.change(Some(&row), &change, 2_000, &table))
        })
        .collect();
    assert_eq!(refused(&push(&primary, &changed).await), []);
    let rows = state(&primary, 0).await;
    for (id, tracked) in &changed {
        assert_eq!(rows[&id.key.number().unwrap()].version, tracked.version);
    }
}

/// What the model's `push` leaves in memory, and what the server has after the same pushes.
mod against_the_model {
    use dual_database::merge::{conflicts, merge, overwritten};
    use dual_database::protocol::reconcile::{Unknown, given, is_nobodys, risen, unknown};
    use proptest::prelude::*;

    use super::*;

    const KEYS: i64 = 4;

    fn value(at: usize) -> BoxedStrategy<Value> {
        let some = match at {
            0 => (0i64..3).prop_map(Value::Int).boxed(),
            1 => prop_oneof![Just(text("it's new")), Just(text("a")), Just(text("Ё"))].boxed(),
            2 => any::<bool>().prop_map(Value::Bool).boxed(),
            _ => Just(Value::Timestamp(jiff::civil::date(2025, 8, 7).at(9, 0, 1, 500_000_000)))
                .boxed(),
        };
        prop_oneof![3 => some, 1 => Just(Value::Null)].boxed()
    }

    /// Few stamps, so that they meet; as offsets.
    fn stamp() -> impl Strategy<Value = Option<i64>> {
        prop_oneof![1 => Just(None), 6 => (0i64..6).prop_map(Some)]
    }

    type Draft = (bool, Option<i64>, Vec<(Option<i64>, Value)>, Vec<Option<Option<i64>>>);

    fn draft() -> impl Strategy<Value = Draft> {
        let columns: Vec<_> = (0..4).map(|at| (stamp(), value(at))).collect();
        let bases = prop::collection::vec(prop::option::of(stamp()), 5);
        (any::<bool>(), stamp(), columns, bases)
    }

    fn batches() -> impl Strategy<Value = Vec<(Option<bool>, BTreeMap<i64, Draft>)>> {
        let batch = prop::collection::btree_map(0..KEYS, draft(), 1..4);
        prop::collection::vec((prop::option::of(any::<bool>()), batch), 1..6)
    }

    type Told = Vec<(i64, Conflict)>;

    /// A port of the model's `Primary::push`.
    fn model(
        rows: &mut BTreeMap<i64, Version>,
        batch: &BTreeMap<i64, Tracked>,
        comparison: Option<bool>,
        horizon: Stamp,
        defaults: &Defaults,
    ) -> (Vec<i64>, Told, bool) {
        let (mut gone, mut log, mut rose) = (Vec::new(), Vec::new(), false);
        for (key, row) in batch {
            let (version, logged) = match rows.get(key) {
                Some(existing) => {
                    let mut logged = conflicts(&row.version, &row.bases, existing);
                    if comparison == Some(false) {
                        logged.extend(overwritten(existing, &row.version, &row.bases));
                        logged.extend(overwritten(&row.version, existing, &Bases::default()));
                    }
                    logged.retain(|one| !is_nobodys(one, row, existing, defaults));
                    let own = match comparison.unwrap_or(true) {
                        true => row.against(existing),
                        false => row.version.clone(),
                    };
                    let merged = merge(existing, &own);
                    (merged.left_is_behind.then_some(merged.version), logged)
                }
                None => match (unknown(row, horizon), comparison) {
                    (Unknown::Delete, _) => {
                        gone.push(*key);
                        continue;
                    }
                    (Unknown::Give, None) if row.bases.live.is_none() => {
                        gone.push(*key);
                        continue;
                    }
                    (Unknown::GiveAndLog, _) => {
                        let (version, logged) = risen(&row.version, horizon, 0);
                        rose = true;
                        (Some(version), logged.into_iter().collect())
                    }
                    (Unknown::Give, _) => (Some(given(&row.version, horizon)), Vec::new()),
                },
            };
            log.extend(logged.into_iter().map(|conflict| (*key, conflict)));
            if let Some(version) = version {
                rows.insert(*key, version.stored(defaults));
            }
        }
        log.sort_unstable();
        log.dedup();
        (gone, log, rose)
    }

    #[test]
    fn any_pushes_leave_the_same() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let scene = runtime.block_on(Scene::on(shared().unwrap(), vec![visits()]));
        let session = runtime.block_on(scene.session());
        let primary = session.primary(FILE).unwrap();
        let file = runtime.block_on(File::of(&primary, 7));
        let defaults = Defaults::new(visits().defaults());
        let stamped = |at: Option<i64>| at.map_or(Stamp::ZERO, |ms| file.at(ms));
        let tracked = |(alive, life, columns, bases): Draft| {
            // Who lives has a birth; without one a row would count as absent.
            let life = life.or(alive.then_some(0));
            let live = Register { stamp: stamped(life), value: alive };
            let columns = columns
                .into_iter()
                .map(|(stamp, value)| Register { stamp: stamped(stamp), value })
                .collect();
            let version = Version { live, columns }.stored(&defaults);
            let mut bases = bases.into_iter().map(|base| base.map(stamped));
            let bases = Bases { live: bases.next().flatten(), columns: bases.collect() };
            Tracked { version, bases }
        };
        let config = ProptestConfig::with_cases(150);
        proptest!(config, |(horizon in prop::option::of(0i64..6), batches in batches())| {
            let horizon = stamped(horizon);
            scene.sql(&format!(
                "TRUNCATE visits, dual.side_visits, dual.conflict; \
                 UPDATE dual.installation SET horizon = {}", horizon.raw()
            ));
            let mut rows = BTreeMap::new();
            for (comparison, batch) in batches {
                let batch: BTreeMap<i64, Tracked> =
                    batch.into_iter().map(|(key, draft)| (key, tracked(draft))).collect();
                let (gone, log, rose) = model(&mut rows, &batch, comparison, horizon, &defaults);
                let pushes: Vec<_> =
                    batch.iter().rev().map(|(key, row)| (id(*key), row.clone())).collect();
                let end = runtime.block_on(primary.push(&pushes, comparison, None)).unwrap();
                let PushEnd::Done(pushed) = end else { panic!("ahead") };
                prop_assert_eq!(&pushed.refused, &vec![]);
                let now: BTreeMap<i64, Version> = runtime
                    .block_on(state(&primary, 0))
                    .into_iter()
                    .map(|(key, row)| {
                        assert_eq!(row.unreadable, None);
                        (key, row.version)
                    })
                    .collect();
                let gone_there: Vec<i64> = pushed.gone.iter().map(|id| id.key.number().unwrap()).collect();
                prop_assert_eq!(gone_there, gone);
                if rose {
                    // Its stamp is of the server's clock.
                    rows = now;
                    continue;
                }
                prop_assert_eq!(&now, &rows);
                let mut told: Told =
                    pushed.conflicts.iter().map(|(id, one, ..)| (id.key.number().unwrap(), *one)).collect();
                told.sort_unstable();
                prop_assert_eq!(told, log);
            }
        });
    }
}

/// Run by hand: `cargo test --workspace --test it -- --ignored a_large_batch`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes in an unoptimised build"]
#[allow(clippy::print_stderr, reason = "it is run for its figures")]
async fn a_large_batch_takes_linear_time() {
    let scene = Scene::on(shared().unwrap(), vec![users()]).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    let (table, mut from) = (users(), 0);
    for size in [20_000, 200_000] {
        let batch: Vec<(RowId, Tracked)> = (from..from + size)
            .map(|key| {
                let values = table.defaults().into_iter().map(|default| match default {
                    Value::Null => Value::Null,
                    other => other,
                });
                (id(key), file.change(None, &Change::Insert(values.collect()), 1, &table))
            })
            .collect();
        from += size;
        let begun = std::time::Instant::now();
        assert_eq!(refused(&push(&primary, &batch).await), []);
        eprintln!("{size} new rows: {:?}", begun.elapsed());
        let begun = std::time::Instant::now();
        assert_eq!(refused(&push(&primary, &batch).await), []);
        eprintln!("{size} known rows: {:?}", begun.elapsed());
    }
}
