//! An import of a table with more columns than a whole number has bits.

use std::fmt::Write as _;
use std::time::Duration;

use dual_database::schema::{Column, LogicalType, Role, Table};
use dual_database::store::postgres::{Limits, Settings};
use dual_database::store::sqlite::File;
use dual_import::mapping::Mapping;
use dual_import::source::{CsvSource, Source};
use dual_import::{Import, Report, Silent, StoreOutcome, Target, WriteOptions};
use tempfile::TempDir;
use throwaway_postgres::{Database, shared};

const COLUMNS: usize = 150;

fn wide() -> Table {
    let column = |name: &str, kind, role| Column::new(name, kind, role);
    let mut columns = vec![
        column("id", LogicalType::Int, Role::Surrogate),
        column("key", LogicalType::BigInt, Role::Key),
    ];
    columns.extend((0..COLUMNS).map(|at| {
        let name: &'static str = format!("c{at}").leak();
        column(name, LogicalType::Text, Role::Data)
    }));
    Table::declare("wide", columns).unwrap()
}

/// Imports rows whose columns hold what `cell` says; those of which it says nothing are left out.
async fn import(
    database: &Database<'_>,
    folder: &TempDir,
    cell: impl Fn(i64, usize) -> Option<String>,
) -> Report {
    let known: Vec<usize> = (0..COLUMNS).filter(|at| cell(1, *at).is_some()).collect();
    let (mut csv, mut mapping) = ("key".to_owned(), "[columns.key]\nkind = \"id\"\n".to_owned());
    for at in &known {
        write!(csv, ",c{at}").unwrap();
        write!(mapping, "[columns.c{at}]\nkind = \"text\"\n").unwrap();
    }
    for key in 1..=3 {
        write!(csv, "\n{key}").unwrap();
        known.iter().for_each(|at| write!(csv, ",{}", cell(key, *at).unwrap()).unwrap());
    }
    let path = folder.path().join("wide.csv");
    std::fs::write(&path, csv).unwrap();
    let mut source = Source::from(CsvSource::open(&path).await.unwrap());
    let mapping = Mapping::from_toml(&mapping, "wide.toml", &wide()).unwrap();
    let import = Import::stage(&mut source, mapping, wide(), &Silent).await.unwrap();
    let target = Target {
        postgres: Settings::parse(&database.url()).unwrap(),
        limits: Limits::default(),
        sqlite: File::look(&folder.path().join("wide.db")).unwrap(),
        busy: Duration::from_secs(5),
    };
    import.write(&target, WriteOptions::default(), &Silent, std::future::pending()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_of_a_wide_table_is_updated_and_what_the_sheet_lacks_is_kept() {
    let database = shared().unwrap().database("wide").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let first = |key: i64, at: usize| Some(format!("{key} {at}"));
    import(&database, &folder, first).await;
    // A second sheet knows every other column, and has other words for some rows.
    let second = |key: i64, at: usize| {
        let other = if key == 2 { "new" } else { "" };
        (at % 2 == 1).then(|| format!("{other}{key} {at}"))
    };
    let report = import(&database, &folder, second).await;
    for outcome in [&report.postgres, &report.sqlite] {
        let StoreOutcome::Done(plan) = outcome else { panic!("{outcome:?}") };
        assert_eq!((plan.inserted, plan.updated, plan.unchanged), (0, 1, 2));
        assert_eq!(plan.columns.len(), COLUMNS / 2, "{:?}", plan.columns);
    }
    let expected = |key: i64, at: usize| second(key, at).or_else(|| first(key, at));
    let file = rusqlite::Connection::open(folder.path().join("wide.db")).unwrap();
    for key in 1..=3_i64 {
        for at in 0..COLUMNS {
            let sql = format!("SELECT c{at} FROM wide WHERE key = {key}");
            let there = database.execute(&sql).unwrap()[0][0].clone();
            let here: Option<String> = file.query_row(&sql, [], |row| row.get(0)).unwrap();
            assert_eq!((&there, &here), (&expected(key, at), &expected(key, at)), "{key}, c{at}");
        }
    }
    // A side that lacks the rows gets them whole from the other one.
    drop(file);
    std::fs::remove_file(folder.path().join("wide.db")).unwrap();
    import(&database, &folder, second).await;
    let file = rusqlite::Connection::open(folder.path().join("wide.db")).unwrap();
    let sql = "SELECT c0 || ',' || c63 || ',' || c64 || ',' || c149 FROM wide WHERE key = 2";
    let row: String = file.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(row, "2 0,new2 63,2 64,new2 149");
}
