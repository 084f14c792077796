//! Joining what has lived apart: what is known beats what nobody has set, and of two that are known
//! one stands and the other one is in the log.

use std::collections::BTreeMap;
use std::time::Duration;

use dual_database::init::{Bond, ColumnCounts, Joining, Stores, apply, plan};
use dual_database::schema::{Dialect, Making};
use dual_database::store::postgres::Settings;
use dual_database::store::sqlite::replica::Settings as ReplicaSettings;
use dual_database::{DualDatabase, Store};
use throwaway_postgres::shared;

use crate::engine_scene::{PATIENCE, Scene, limits, tables};

/// Rows of a query, as text.
type Rows = Vec<Vec<Option<String>>>;

/// What a side has in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cell {
    Null,
    Default,
    Empty,
    One,
    Two,
}

const CELLS: [Cell; 5] = [Cell::Null, Cell::Default, Cell::Empty, Cell::One, Cell::Two];

/// A column without a default, and one with.
const COLUMNS: [(&str, Option<&str>); 2] = [("phone_number", None), ("status", Some("registered"))];

impl Cell {
    fn text(self, default: Option<&str>) -> Option<String> {
        match self {
            Cell::Null => None,
            Cell::Default => default.map(str::to_owned),
            Cell::Empty => Some(String::new()),
            Cell::One => Some("+1".into()),
            Cell::Two => Some("+2".into()),
        }
    }

    fn is_known(self) -> bool {
        !matches!(self, Cell::Null | Cell::Default)
    }
}

/// Every pair of what the file and PostgreSQL may have in both columns.
fn pairs() -> BTreeMap<i64, [(Cell, Cell); 2]> {
    let all = || CELLS.into_iter().flat_map(|here| CELLS.map(|there| (here, there)));
    let both = all().flat_map(|phone| all().map(move |status| [phone, status]));
    (1..).zip(both).collect()
}

fn sql(text: Option<String>) -> String {
    text.map_or("NULL".into(), |text| format!("'{text}'"))
}

/// The statements that put these rows into a side.
fn rows(side: fn((Cell, Cell)) -> Cell) -> String {
    let values: Vec<String> = pairs()
        .iter()
        .map(|(key, cells)| {
            let texts = cells.iter().zip(COLUMNS);
            let texts = texts.map(|(pair, (_, default))| sql(side(*pair).text(default)));
            format!("({key}, {})", texts.collect::<Vec<_>>().join(", "))
        })
        .collect();
    let names = COLUMNS.map(|(name, _)| name).join(", ");
    format!("INSERT INTO users (user_id, {names}) VALUES {}", values.join(", "))
}

fn here() -> String {
    rows(|(here, _)| here)
}

pub fn there() -> String {
    rows(|(_, there)| there)
}

/// What has to stand, and the values that lost, by column.
fn expected(prefer: Store) -> (BTreeMap<i64, [Option<String>; 2]>, Rows) {
    let (mut stands, mut lost) = (BTreeMap::new(), Vec::new());
    for (key, cells) in pairs() {
        let mut row = [None, None];
        for ((pair, (column, default)), stands) in cells.iter().zip(COLUMNS).zip(&mut row) {
            let [ours, theirs] = [pair.0, pair.1].map(|cell| cell.text(default));
            let (winner, loser) = match (pair.0.is_known(), pair.1.is_known()) {
                (true, false) => (ours, None),
                (false, true) => (theirs, None),
                // Nobody has set either; a default says more than NULL.
                (false, false) => (ours.or(theirs), None),
                (true, true) if ours == theirs => (ours, None),
                (true, true) if prefer == Store::Sqlite => (ours, Some(theirs)),
                (true, true) => (theirs, Some(ours)),
            };
            if let Some(loser) = loser {
                let entry = [Some(key.to_string()), Some(column.to_owned()), winner.clone(), loser];
                lost.push(entry.to_vec());
            }
            *stands = winner;
        }
        stands.insert(key, row);
    }
    lost.sort();
    (stands, lost)
}

pub fn stores(scene: &Scene<'_>, file: &str) -> Stores {
    Stores {
        postgres: Settings::parse(&scene.database.url()).unwrap(),
        limits: limits(),
        sqlite: ReplicaSettings {
            path: scene.path(file),
            busy: Duration::from_secs(5),
            tables: tables(),
            making: Making::default(),
            extensions: Vec::new(),
            aside: [].into(),
        },
    }
}

pub fn script(scene: &Scene<'_>, file: &str, sql: &str) {
    rusqlite::Connection::open(scene.path(file)).unwrap().execute_batch(sql).unwrap();
}

/// What the plan has to say of each column, from what each side has there.
fn counts() -> Vec<ColumnCounts> {
    let count = |(at, (column, default)): (usize, (&'static str, Option<&str>))| {
        let mut counts = ColumnCounts { column: column.into(), ..ColumnCounts::default() };
        for (here, there) in pairs().into_values().map(|pairs| pairs[at]) {
            let [ours, theirs] = [here.text(default), there.text(default)];
            if ours == theirs {
                continue;
            }
            counts.different += 1;
            match (here.is_known(), there.is_known()) {
                (true, true) => counts.conflicts += 1,
                (true, false) => counts.from_sqlite += 1,
                (false, true) => counts.from_postgres += 1,
                (false, false) if ours.is_some() => counts.from_sqlite += 1,
                (false, false) => counts.from_postgres += 1,
            }
        }
        counts
    };
    let mut counts: Vec<_> = COLUMNS.into_iter().enumerate().map(count).collect();
    // In the order of the declaration.
    counts.reverse();
    counts
}

/// What both sides have and what lies beside the file: what a plan must leave as it is.
fn everything(scene: &Scene<'_>) -> (Rows, Vec<(String, Vec<u8>)>) {
    let sql = "SELECT n.nspname || '.' || c.relname, c.xmin::text, pg_relation_filenode(c.oid)::text \
               FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace \
               WHERE nspname NOT LIKE 'pg_%' ORDER BY 1";
    let mut there = scene.sql(sql);
    there.extend(scene.sql("SELECT users::text, xmin::text FROM users ORDER BY user_id"));
    let files = std::fs::read_dir(scene.folder.path()).unwrap().map(Result::unwrap);
    let read = |file: std::fs::DirEntry| {
        (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())
    };
    let mut here: Vec<_> = files.map(read).collect();
    here.sort();
    (there, here)
}

pub async fn assert_planned(scene: &Scene<'_>, file: &str, joining: Joining) {
    let before = everything(scene);
    let found = plan(&stores(scene, file), joining.clone()).await.unwrap();
    assert_eq!(everything(scene), before);
    let bond = if joining.rejoin { Bond::Rejoining { pending: 0 } } else { Bond::New };
    let prefer = joining.prefer;
    assert_eq!((found.bond, found.prefer), (bond, prefer));
    let rows = found.tables[0].rows.as_ref().unwrap();
    assert_eq!(rows.columns, counts());
    let (_, lost) = expected(prefer);
    let conflicting: std::collections::BTreeSet<_> = lost.iter().map(|entry| &entry[0]).collect();
    assert_eq!(rows.conflicting, conflicting.len() as u64);
    let differs = |pairs: &[(Cell, Cell); 2]| {
        let texts = pairs.iter().zip(COLUMNS);
        texts.into_iter().any(|((one, two), (_, default))| one.text(default) != two.text(default))
    };
    assert_eq!(rows.different, pairs().values().filter(|pairs| differs(pairs)).count() as u64);
}

/// The users' table of the library, in a file that has not met anybody.
pub fn lonely(scene: &Scene<'_>, file: &str) {
    let sql = tables()[0].create_statement(Dialect::Sqlite, "users");
    script(scene, file, &format!("{sql}; {}", here()));
}

pub async fn assert_joined(scene: &Scene<'_>, file: &str, prefer: Store) {
    assert_joined_with(scene, file, prefer, |_| false).await;
}

/// With entries of the log that may be there besides.
async fn assert_joined_with(
    scene: &Scene<'_>,
    file: &str,
    prefer: Store,
    may_be: impl Fn(&[Option<String>]) -> bool,
) {
    let node = scene.node(file).await;
    node.sync().await;
    scene.assert_equal(&node);
    let (stands, lost) = expected(prefer);
    let found = scene.sql("SELECT user_id::text, phone_number, status FROM users");
    let found: BTreeMap<i64, [Option<String>; 2]> = found
        .into_iter()
        .map(|row| (row[0].as_ref().unwrap().parse().unwrap(), [row[1].clone(), row[2].clone()]))
        .collect();
    let wrong = |(key, row): (i64, [Option<String>; 2])| {
        (found.get(&key) != Some(&row))
            .then(|| (pairs().remove(&key), row, found.get(&key).cloned()))
    };
    assert_eq!(stands.into_iter().filter_map(wrong).next(), None);
    let log = "SELECT key::text, register, winning, losing FROM dual.conflict ORDER BY 1, 2, 3, 4";
    let mut noted = scene.sql(log);
    noted.sort();
    let is_none = |entry: &&Vec<Option<String>>| !lost.contains(entry) && !may_be(entry);
    assert_eq!(noted.iter().find(is_none), None, "this is no loser");
    assert_eq!(lost.iter().find(|entry| !noted.contains(entry)), None, "a loser is not noted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_known_on_one_side_stands_on_both() {
    for prefer in [Store::Postgres, Store::Sqlite] {
        let scene = Scene::on(shared().unwrap());
        lonely(&scene, "bot.db");
        scene.sql(&tables()[0].create_statement(Dialect::Postgres, "users"));
        scene.sql(&there());
        let joining = Joining { prefer, ..Joining::default() };
        assert_planned(&scene, "bot.db", joining.clone()).await;
        apply(&stores(&scene, "bot.db"), joining, PATIENCE).await.unwrap();
        assert_joined(&scene, "bot.db", prefer).await;
    }
}

/// Whoever joins later meets rows that were captured, and defaults that a purge has lifted.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_file_joins_what_has_been_one_for_long() {
    for prefer in [Store::Postgres, Store::Sqlite] {
        let scene = Scene::on(shared().unwrap());
        scene.node("first.db").await.sync().await;
        // Everything that is born from now on says nothing at the horizon.
        let now = "(date_part('epoch', clock_timestamp()) * 1000)::bigint - 1577836800000";
        scene.sql(&format!("UPDATE dual.installation SET horizon = ({now}) << 22"));
        scene.sql(&there());
        lonely(&scene, "bot.db");
        let joining = Joining { prefer, ..Joining::default() };
        assert_planned(&scene, "bot.db", joining.clone()).await;
        script(&scene, "bot.db", "INSERT INTO users (user_id, username) VALUES (9000, 'here')");
        apply(&stores(&scene, "bot.db"), joining, PATIENCE).await.unwrap();
        // A row that only the file has was never given: nobody can have deleted it. What says nothing
        // below the horizon may be what somebody has emptied: it is logged.
        let says_nothing = |entry: &[Option<String>]| {
            let default = COLUMNS.iter().find(|(name, _)| entry[1].as_deref() == Some(name));
            entry[3].is_none() || default.is_some_and(|one| one.1 == entry[3].as_deref())
        };
        assert_joined_with(&scene, "bot.db", prefer, says_nothing).await;
        assert_eq!(scene.one("SELECT username FROM users WHERE user_id = 9000"), "here");
        // What it said nothing about is still nobody's.
        let horizon = "SELECT (s_phone_number = horizon)::text FROM dual.side_users, \
                       dual.installation WHERE key = 9000";
        assert_eq!(scene.one(horizon), "true");
        let first = scene.node("first.db").await;
        first.sync().await;
        scene.assert_equal(&first);
    }
}

/// Adopted rows have the same stamps in every file: what each has lost is told apart all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_each_of_two_files_has_lost_is_in_the_log() {
    let scene = Scene::on(shared().unwrap());
    scene.sql(&tables()[0].create_statement(Dialect::Postgres, "users"));
    scene.sql("INSERT INTO users (user_id, username) VALUES (1, 'there')");
    for (file, name) in [("one.db", "one"), ("two.db", "two")] {
        let sql = tables()[0].create_statement(Dialect::Sqlite, "users");
        let insert = format!("INSERT INTO users (user_id, username) VALUES (1, '{name}')");
        script(&scene, file, &format!("{sql}; {insert}"));
        apply(&stores(&scene, file), Joining::default(), PATIENCE).await.unwrap();
    }
    let log = "SELECT winning, losing, winner <= 3 AND loser <= 3 FROM dual.conflict ORDER BY 2";
    let entry = |name: &str| [Some("there".into()), Some(name.into()), Some("t".into())].to_vec();
    assert_eq!(scene.sql(log), [entry("one"), entry("two")]);
    let open = DualDatabase::builder()
        .postgres_url(scene.database.url())
        .sqlite_path(scene.path("two.db"))
        .background(false);
    let database = open.open().await.unwrap();
    let conflicts = database.conflicts(10).await.unwrap();
    let times: Vec<_> = conflicts.iter().map(|one| (one.winner_ms, one.loser_ms)).collect();
    // Since when they were there nobody knows.
    assert_eq!(times, [(None, None), (None, None)]);
    database.close(PATIENCE).await;
}
