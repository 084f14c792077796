//! The calls on any table: orders, rows as structs, and both in transactions.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dual_database::database::{Direction, Filter, Patch, Record};
use dual_database::{DualDatabase, Kind, Result, Store};
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::api_scene::{Scene, Wire, both, eventually, only};

const BOOKINGS: &str = "CREATE TABLE bookings (code bigint PRIMARY KEY, guest text, at timestamp, \
     price numeric, seats integer DEFAULT 2, extra jsonb, picture bytea)";

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Booking {
    code: i64,
    guest: Option<String>,
    at: Option<jiff::civil::DateTime>,
    price: Option<String>,
    seats: i32,
    extra: Option<Extra>,
    picture: Option<Vec<u8>>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Extra {
    table: String,
    tags: Vec<u8>,
}

async fn scene(name: &str) -> Scene<'static> {
    let scene = Scene::shared(name);
    scene.database.execute(BOOKINGS).unwrap();
    scene.join(&scene.file(), &["bookings"]).await;
    scene
}

fn row(db: &DualDatabase, json: &str) -> Patch {
    Patch::from_json(db.table("bookings").unwrap().declaration(), json).unwrap()
}

fn order(db: &DualDatabase, columns: &[&str]) -> Filter {
    let table = db.table("bookings").unwrap();
    let named = columns.iter().try_fold(Filter::default(), |filter, column| {
        filter.order_by_text(table.declaration(), column)
    });
    named.unwrap()
}

fn keys(rows: &[Record]) -> Vec<i64> {
    rows.iter().map(|row| row.key.number().unwrap()).collect()
}

/// Bookings 1 to 6: two have 3 seats, two have none.
async fn six(db: &DualDatabase) {
    for (code, seats) in (1..).zip(["3", "1", "null", "3", "2", "null"]) {
        let json = format!(r#"{{"code": {code}, "guest": "g{code}", "seats": {seats}}}"#);
        both(db.table("bookings").unwrap().add(&row(db, &json)).await.unwrap());
    }
    db.sync_now(Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_streams_come_in_the_order_that_is_asked_for_from_either_side() {
    let scene = scene("api_rows_order").await;
    let db = scene.open().await;
    six(&db).await;
    let bookings = db.table("bookings").unwrap();
    for store in [Store::Postgres, Store::Sqlite] {
        if store == Store::Sqlite {
            scene.proxy.set(Wire::Refuse);
        }
        for (columns, expected) in [
            (&[][..], [6, 5, 4, 3, 2, 1]),
            (&["code"], [1, 2, 3, 4, 5, 6]),
            (&["seats"], [2, 5, 1, 4, 3, 6]),
            (&["-seats"], [4, 1, 5, 2, 6, 3]),
            (&["-seats", "code"], [1, 4, 5, 2, 3, 6]),
            (&["seats", "-guest"], [2, 5, 4, 1, 6, 3]),
        ] {
            let filter = order(&db, columns);
            let found = bookings.list(&filter, None).await.unwrap();
            assert_eq!((keys(&found.value), found.source), (expected.into(), store), "{columns:?}");
            let first = bookings.list(&filter, Some(2)).await.unwrap();
            assert_eq!(keys(&first.value), expected[..2]);
            let streamed: Vec<Record> = bookings.stream(&filter).try_collect().await.unwrap();
            assert_eq!(keys(&streamed), expected);
        }
    }
    let declared = bookings.declaration();
    let error = Filter::default().order_by(declared, "seat", Direction::Ascending).unwrap_err();
    assert_eq!(error.hint(), Some("did you mean `seats`?"));
    let error = order(&db, &["seats"]).order_by_text(declared, "-seats").unwrap_err();
    assert!(error.message().contains("twice"), "{error}");
    let error = Filter::default().order_by_text(declared, "extra").unwrap_err();
    assert!(error.is_invalid_data() && error.message().contains("bookings.extra"), "{error}");
    scene.proxy.set(Wire::Pass);
    db.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_struct_goes_into_a_table_and_comes_back() {
    let scene = scene("api_rows_struct").await;
    let db = scene.open().await;
    let bookings = db.table("bookings").unwrap();
    let declared = bookings.declaration();
    let full = Booking {
        code: 1,
        guest: Some("Анна".into()),
        at: Some(jiff::civil::date(2025, 8, 7).at(12, 0, 0, 0)),
        price: Some("12.50".into()),
        seats: 4,
        extra: Some(Extra { table: "у окна".into(), tags: vec![1, 2] }),
        picture: Some(vec![0, 255]),
    };
    let bare = Booking {
        code: 2,
        guest: None,
        at: None,
        price: None,
        extra: None,
        picture: None,
        ..full.clone()
    };
    for booking in [&full, &bare] {
        let written = bookings.add(&Patch::from_struct(declared, booking).unwrap()).await.unwrap();
        assert_eq!(both(written).to_struct::<Booking>(declared).unwrap(), *booking);
    }
    db.sync_now(Duration::from_secs(10)).await.unwrap();
    for store in [Store::Postgres, Store::Sqlite] {
        if store == Store::Sqlite {
            scene.proxy.set(Wire::Refuse);
        }
        let found = bookings.list(&order(&db, &["code"]), None).await.unwrap();
        assert_eq!(found.source, store);
        let rows = found.value.iter().map(|row| row.to_struct::<Booking>(declared));
        assert_eq!(rows.collect::<Result<Vec<_>>>().unwrap(), [full.clone(), bare.clone()]);
    }
    #[derive(Debug, Deserialize, PartialEq)]
    struct Priced {
        code: i64,
        price: Option<f64>,
    }
    let sql = "SELECT code, price FROM bookings ORDER BY code";
    let priced: Vec<Priced> = db.query(sql, []).await.unwrap().value.to_structs().unwrap();
    assert_eq!(priced, [Priced { code: 1, price: Some(12.5) }, Priced { code: 2, price: None }]);

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is never made")]
    struct Wrong {
        gest: String,
    }
    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "it is never made")]
    struct Number {
        guest: i64,
    }
    let row = bookings.get(1).await.unwrap().value.unwrap();
    let error = row.to_struct::<Wrong>(declared).unwrap_err();
    assert_eq!(
        (error.kind(), error.message(), error.hint()),
        (
            Kind::InvalidData,
            "bookings.gest: there is no such column",
            Some("did you mean `guest`?")
        )
    );
    let error = row.to_struct::<Number>(declared).unwrap_err();
    assert!(error.message().starts_with("bookings.guest: the field wants i64"), "{error}");
    assert!(!error.chain().contains("Анна"), "{}", error.chain());
    let error = db.query("SELECT 'x' AS guest", []).await.unwrap().value.to_structs::<Number>();
    assert!(error.unwrap_err().message().starts_with("guest, row 1:"));
    let error = Patch::from_struct(declared, &serde_json::json!({"gest": "x"})).unwrap_err();
    assert_eq!(error.hint(), Some("did you mean `guest`?"));
    for (json, words) in [
        (serde_json::json!({"guest": ["x"]}), "bookings.guest: a list"),
        (serde_json::json!({"guest": {"a": 1}}), "bookings.guest: an object"),
        (serde_json::json!({"picture": [256]}), "bookings.picture: bytes"),
        (serde_json::json!([1]), "bookings: a struct"),
    ] {
        let error = Patch::from_struct(declared, &json).unwrap_err();
        assert!(error.message().contains(words), "{error}");
    }
    scene.proxy.set(Wire::Pass);
    db.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_lists_what_it_has_made_of_the_table() {
    let scene = scene("api_rows_tx").await;
    let db = scene.open().await;
    six(&db).await;
    let by_seats = order(&db, &["-seats", "code"]);
    let three = Filter::default().equals(db.table("bookings").unwrap().declaration(), "seats", 3);
    let three = three.unwrap();
    for store in [Store::Postgres, Store::Sqlite] {
        if store == Store::Sqlite {
            scene.proxy.set(Wire::Refuse);
        }
        let error = db
            .transaction(async |tx| {
                let listed = async |filter: &Filter, limit| {
                    tx.list("bookings", filter, limit).await.map(|rows| keys(&rows))
                };
                assert_eq!(listed(&by_seats, None).await?, [1, 4, 5, 2, 3, 6]);
                assert_eq!(listed(&three, Some(1)).await?, [4]);
                tx.upsert("bookings", &row(&db, r#"{"code": 7, "seats": 9}"#)).await?;
                tx.upsert("bookings", &row(&db, r#"{"code": 2, "seats": 3}"#)).await?;
                tx.delete("bookings", 4).await?;
                tx.update("bookings", 1, &row(&db, r#"{"seats": null}"#)).await?;
                assert_eq!(listed(&by_seats, None).await?, [7, 2, 5, 1, 3, 6]);
                assert_eq!(listed(&by_seats, Some(2)).await?, [7, 2]);
                assert_eq!(listed(&by_seats, Some(0)).await?, [0; 0]);
                assert_eq!(listed(&three, None).await?, [2]);
                // What it has added and taken back; what it has deleted and brought back.
                tx.delete("bookings", 7).await?;
                let again = tx.upsert("bookings", &row(&db, r#"{"code": 4}"#)).await?;
                assert_eq!(again.values[0], None::<&str>.into(), "another life");
                let kept = tx.upsert("bookings", &row(&db, r#"{"code": 5}"#)).await?;
                assert_eq!(kept.values[0], "g5".into());
                assert_eq!(listed(&by_seats, None).await?, [2, 4, 5, 1, 3, 6]);
                let error = tx.list("bookings", &order_of_nothing(), None).await.unwrap_err();
                assert!(error.is_invalid_data(), "{error}");
                Err::<(), _>(error)
            })
            .await
            .unwrap_err();
        assert!(error.is_invalid_data(), "{error}");
    }
    scene.proxy.set(Wire::Pass);
    eventually("up again", async || {
        db.table("bookings").unwrap().get(1).await.unwrap().source == Store::Postgres
    })
    .await;
    let changed = db.transaction(async |tx| {
        for row in tx.list("bookings", &three, None).await? {
            tx.update("bookings", row.key, &self::row(&db, r#"{"seats": 5}"#)).await?;
        }
        tx.upsert("bookings", &row(&db, r#"{"code": 8, "guest": "new"}"#)).await?;
        let again = tx.upsert("bookings", &row(&db, r#"{"code": 8, "price": "1.50"}"#)).await?;
        assert_eq!((&again.values[0], &again.values[2]), (&"new".into(), &"1.50".into()));
        tx.upsert("bookings", &row(&db, r#"{"code": 2, "guest": "Вера"}"#)).await
    });
    both(changed.await.unwrap());
    let sql = "SELECT string_agg(code || ' ' || coalesce(seats, 0) || ' ' || guest, ', ' ORDER BY code) \
               FROM bookings";
    let expected = "1 5 g1, 2 1 Вера, 3 0 g3, 4 5 g4, 5 2 g5, 6 0 g6, 8 2 new";
    assert_eq!(scene.postgres(sql).as_deref(), Some(expected));
    // While PostgreSQL is away.
    scene.proxy.set(Wire::Refuse);
    let written = db.transaction(async |tx| {
        let first = tx.list("bookings", &order(&db, &["code"]), Some(1)).await?;
        assert_eq!(keys(&first), [1]);
        tx.upsert("bookings", &row(&db, r#"{"code": 1, "seats": 6}"#)).await?;
        tx.upsert("bookings", &row(&db, r#"{"code": 9, "seats": 7}"#)).await
    });
    only(Store::Sqlite, written.await.unwrap());
    scene.proxy.set(Wire::Pass);
    eventually("both have it", async || {
        let sql =
            "SELECT string_agg(seats::text, ',' ORDER BY code) FROM bookings WHERE code IN (1, 9)";
        scene.postgres(sql).as_deref() == Some("6,7")
    })
    .await;
    db.close(Duration::from_secs(5)).await;
}

fn order_of_nothing() -> Filter {
    Filter { order: vec![("fax".into(), Direction::Ascending)], ..Filter::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_transaction_has_listed_is_what_it_counts_on() {
    let scene = scene("api_rows_reads").await;
    let db = scene.builder().timeout(Duration::from_secs(20)).open().await.unwrap();
    six(&db).await;
    let table = db.table("bookings").unwrap();
    let three = Filter::default().equals(table.declaration(), "seats", 3).unwrap();
    let runs = AtomicU32::new(0);
    let sum = db.transaction(async |tx| {
        let listed = tx.list("bookings", &three, None).await?;
        if runs.fetch_add(1, Ordering::Relaxed) == 0 {
            // Somebody else takes one of them, and one that was not listed.
            let sql = "UPDATE bookings SET seats = 2 WHERE code IN (1, 2)";
            scene.database.execute(sql).unwrap();
        }
        let count = listed.len() as i64;
        let json = format!(r#"{{"code": 100, "seats": {count}}}"#);
        tx.upsert("bookings", &row(&db, &json)).await?;
        Ok(count)
    });
    assert_eq!(both(sum.await.unwrap()), 1);
    assert_eq!(runs.load(Ordering::Relaxed), 2);
    // A row that was not answered, because of the limit, does not count.
    runs.store(0, Ordering::Relaxed);
    let first = db.transaction(async |tx| {
        let listed = tx.list("bookings", &order(&db, &["code"]), Some(1)).await?;
        if runs.fetch_add(1, Ordering::Relaxed) == 0 {
            scene.database.execute("UPDATE bookings SET seats = 8 WHERE code = 2").unwrap();
        }
        tx.upsert("bookings", &row(&db, r#"{"code": 101}"#)).await?;
        Ok(keys(&listed))
    });
    assert_eq!(both(first.await.unwrap()), [1]);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    db.close(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_an_order_takes_ties_and_nulls_over_pages() {
    let scene = scene("api_rows_stream").await;
    scene
        .database
        .execute(
            "INSERT INTO bookings (code, seats, price) SELECT n, CASE WHEN n % 3 > 0 THEN n % 2 END, \
             CASE WHEN n % 5 > 0 THEN (n % 7) / 2.0 END FROM generate_series(1, 5001) AS n",
        )
        .unwrap();
    let db = scene.open().await;
    eventually("the file has them", async || {
        scene.sqlite("SELECT count(*) FROM bookings").as_deref() == Some("5001")
    })
    .await;
    let filter = order(&db, &["-seats", "price"]);
    let sql = "SELECT string_agg(code::text, ',' ORDER BY seats DESC NULLS LAST, price NULLS LAST, code) \
               FROM bookings";
    let expected = scene.postgres(sql).unwrap();
    for store in [Store::Postgres, Store::Sqlite] {
        if store == Store::Sqlite {
            scene.proxy.set(Wire::Refuse);
        }
        let rows = db.table("bookings").unwrap().stream(&filter);
        let codes: Vec<String> =
            rows.map(|row| row.unwrap().key.number().unwrap().to_string()).collect().await;
        assert_eq!(codes.join(","), expected, "{store}");
    }
    scene.proxy.set(Wire::Pass);
    db.close(Duration::from_secs(5)).await;
}

#[test]
fn the_blocking_facade_has_the_tables_too() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let scene = runtime.block_on(scene("api_rows_blocking"));
    let db = dual_database::blocking::DualDatabase::open(scene.builder()).unwrap();
    let bookings = db.table("bookings").unwrap();
    let declared = bookings.declaration().clone();
    let row = |json: &str| Patch::from_json(&declared, json).unwrap();
    both(bookings.add(&row(r#"{"code": 1}"#)).unwrap());
    both(bookings.upsert(&row(r#"{"code": 2, "seats": 5}"#)).unwrap());
    both(bookings.update(1, &row(r#"{"guest": "Анна"}"#)).unwrap());
    let filter = Filter::default().order_by_text(&declared, "seats").unwrap();
    let listed = db.transaction(|tx| {
        tx.add("bookings", &row(r#"{"code": 3, "seats": 1}"#))?;
        tx.upsert("bookings", &row(r#"{"code": 2, "guest": "Вера"}"#))?;
        tx.list("bookings", &filter, None)
    });
    assert_eq!(keys(&both(listed.unwrap())), [3, 1, 2]);
    let rows: Vec<Record> = bookings.rows(&filter).collect::<Result<_>>().unwrap();
    assert_eq!(keys(&rows), [3, 1, 2]);
    assert_eq!(keys(&bookings.list(&filter, Some(1)).unwrap().value), [3]);
    assert_eq!(bookings.count(&filter).unwrap().value, 3);
    both(bookings.delete(3).unwrap());
    assert_eq!(bookings.get(3).unwrap().value, None);
    db.close(Duration::from_secs(5)).unwrap();
}
