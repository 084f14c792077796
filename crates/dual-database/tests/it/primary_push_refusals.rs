//! What a push leaves out: rows that a constraint, a trigger or a lock keeps out, and values that another
//! row has.

use std::collections::BTreeMap;

use dual_database::merge::{Change, Conflict, RegisterId, Tracked};
use dual_database::schema::{Column, LogicalType, Role, RowId, Table};
use dual_database::stamp::Writer;
use dual_database::value::Value;
use throwaway_postgres::{Server, shared, shared_with};

use crate::capture_oracle::visits;
use crate::primary_scene::{
    FILE, File, OLDEST_AND_NEWEST, Scene, id, push, refused, settled, state, text,
};

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
async fn required_values_of_a_short_column_are_exchanged() {
    let scene = Scene::on(shared().unwrap(), strict()).await;
    let session = scene.session().await;
    let primary = session.primary(FILE).unwrap();
    let file = File::of(&primary, 7).await;
    scene.sql(
        "ALTER TABLE guests ALTER name TYPE varchar(8), ALTER name SET NOT NULL, \
         ADD CONSTRAINT guests_name UNIQUE (name)",
    );
    let guests = [(1, "anna"), (2, "boris")]
        .map(|(key, name)| (id(key), file.guest(Some(name), None, key, 1)));
    push(&primary, &guests).await;
    let rows: BTreeMap<i64, Tracked> =
        state(&primary, 0).await.iter().map(|(key, row)| (*key, settled(row))).collect();
    let name = |key: i64, name: &str| (id(key), file.set(&rows[&key], 0, text(name), 10));
    let batch = [name(1, "boris"), name(2, "anna")];
    let pushed = push(&primary, &batch).await;
    assert_eq!((refused(&pushed), pushed.conflicts.len()), (vec![], 0));
    let now = state(&primary, 0).await;
    for (id, tracked) in &batch {
        assert_eq!(now[&id.key.number().unwrap()].version, tracked.version, "{id:?}");
    }
}
