//! A server on which nobody's session prints as ours do, and the values that are hard to carry.

use std::sync::Arc;

use dual_database::schema::{Column, Decimal, LogicalType, OtherType, Role, Table, users};
use dual_database::store::postgres::{Settings, primary::Pool};
use dual_database::value::{Value, parse_timestamp_text};
use dual_database::verify::compare;
use throwaway_postgres::Server;

use crate::engine_scene::{Node, PATIENCE, Scene, limits};

/// A type and values of it.
pub type Line = (LogicalType, Vec<Value>);

/// A database with types of its own, in which every session has settings that print otherwise.
pub fn scene(server: &Server) -> Scene<'_> {
    let scene = Scene::on(server);
    let name = scene.one("SELECT current_database()");
    for setting in [
        "DateStyle = 'German'",
        "TimeZone = 'Europe/Moscow'",
        "IntervalStyle = 'sql_standard'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
    ] {
        scene.sql(&format!("ALTER DATABASE \"{name}\" SET {setting}"));
    }
    scene.sql("CREATE SCHEMA \"it's\"");
    scene.sql("CREATE TYPE \"it's\".\"Mood\" AS ENUM ('sad', 'so so', 'it''s \"ok\"')");
    scene.sql("CREATE TYPE pair AS (number integer, word text)");
    scene
}

/// A type that has no description of its own.
pub fn other(schema: &str, name: &str, shown: &str) -> LogicalType {
    OtherType::new(schema, name, shown).into()
}

/// `numeric(10,2)`, a binary number in the file.
pub fn price() -> LogicalType {
    Decimal::new(10, 2).unwrap().into()
}

/// A new type gets its line.
pub fn types() -> Vec<Line> {
    let text = |text: &str| Value::from(text);
    let texts = |texts: &[&str]| texts.iter().map(|text| Value::from(*text)).collect::<Vec<_>>();
    let at = |text| Value::Timestamp(parse_timestamp_text(text).unwrap());
    let whole = |numbers: &[i64]| numbers.iter().map(|number| Value::from(*number)).collect();
    let server = |name: &str, values: &[&str]| (other("pg_catalog", name, name), texts(values));
    let array = |of: &str, shown: &str, values: &[&str]| {
        (other("pg_catalog", &format!("_{of}"), &format!("{shown}[]")), texts(values))
    };
    let digits = "9".repeat(200);
    vec![
        (LogicalType::Bool, vec![true.into(), false.into()]),
        (LogicalType::SmallInt, whole(&[i16::MIN.into(), -1, 0, i16::MAX.into()])),
        (LogicalType::Int, whole(&[i32::MIN.into(), -1, 0, i32::MAX.into()])),
        (LogicalType::BigInt, whole(&[i64::MIN, -1, 0, i64::MAX])),
        (
            LogicalType::Real,
            [0.1, -0.0, f32::MAX, f32::MIN_POSITIVE, 1e-45, 16_777_216.0, f32::NEG_INFINITY, 0.3]
                .map(Value::Real)
                .into(),
        ),
        (
            LogicalType::Double,
            [0.1, 0.1 + 0.2, -0.0, f64::MAX, 5e-324, 1e23, 9_007_199_254_740_993.0, f64::INFINITY]
                .map(Value::Float)
                .into(),
        ),
        (
            LogicalType::Numeric,
            texts(&["1.10", "1.1", "0", "0.00", "-0.000000000000000000001", "NaN", &digits, "1e3"])
                .into_iter()
                .map(|value| LogicalType::Numeric.accept(value).unwrap())
                .collect(),
        ),
        (price(), texts(&["1.10", "-0.05", "99999999.99", "0.00", "0.30"])),
        (
            LogicalType::Text,
            vec![
                text(""),
                text(" 'Ёж\"\\N\r\n\u{1}{}' "),
                text("NULL"),
                text("1e3"),
                text("\u{feff}e\u{301}\u{10ffff}"),
                "я".repeat(70_000).into(),
            ],
        ),
        (LogicalType::Char, texts(&["", "ab", "  a", "я\t", "AB"])),
        (LogicalType::Date, texts(&["0001-01-01", "1970-01-01", "2024-02-29", "9999-12-31"])),
        (LogicalType::Time, texts(&["00:00:00", "12:00:00.100000", "23:59:59.999999", "24:00:00"])),
        (
            LogicalType::Timestamp,
            vec![
                at("0001-01-01"),
                at("1969-12-31 23:59:59.999999"),
                at("2024-02-29 12:00:00.100000"),
                at("9999-12-31 23:59:59.999999"),
            ],
        ),
        (
            LogicalType::TimestampTz,
            // The hour that Moscow had twice, under one abbreviation.
            texts(&[
                "0001-01-01 00:00:00+00:00",
                "2014-10-25 21:30:00+00:00",
                "2014-10-25 22:30:00+00:00",
                "2024-02-29 12:00:00.000001+00:00",
                "9999-12-31 23:59:59.999999+00:00",
            ]),
        ),
        (
            LogicalType::Bytes,
            vec![
                vec![].into(),
                vec![0].into(),
                (0..=255).collect::<Vec<u8>>().into(),
                b"\\x00".to_vec().into(),
                vec![0xff; 70_000].into(),
            ],
        ),
        (
            LogicalType::Uuid,
            texts(&[
                "00000000-0000-0000-0000-000000000000",
                "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
            ]),
        ),
        (
            LogicalType::Json,
            texts(&[
                "{\"b\" : 1.0,\n \"a\":[], \"b\": 1.00}",
                "{\"b\" : 1.0,\n \"a\":[], \"b\": 1.000}",
                "null",
                "\"\\ud800\"",
                "1e400",
                &format!("\"{}\"", "я".repeat(70_000)),
            ]),
        ),
        (
            LogicalType::Jsonb,
            texts(&[
                "{\"a\": 1.0, \"bb\": [true, null, \"\\u001f\\\"\\\\\\n/Ё\"], \"aaa\": {}}",
                "{\"a\": 1.00, \"bb\": [true, null, \"\\u001f\\\"\\\\\\n/Ё\"], \"aaa\": {}}",
                "null",
                "[]",
                "\"\"",
                "0.10",
            ]),
        ),
        server(
            "interval",
            &[
                "1 day",
                "24:00:00",
                "-1 years -2 mons +3 days -04:05:06.789",
                "30 days",
                "1 mon",
                "00:00:00",
            ],
        ),
        server("inet", &["10.0.0.1", "10.0.0.1/8", "::1", "2001:db8::/32"]),
        server("cidr", &["10.0.0.0/8", "0.0.0.0/0"]),
        server("macaddr", &["08:00:2b:01:02:03"]),
        server("int4range", &["empty", "[1,5)", "(,)"]),
        server("tstzrange", &["[\"2014-10-25 21:30:00+00\",\"2014-10-25 22:30:00+00\")", "empty"]),
        server("point", &["(0.1,0.30000000000000004)", "(0,0)"]),
        server("money", &["$1,234.50", "-$0.01"]),
        server("tsvector", &["'a':2 'it''s':1", ""]),
        array("int4", "integer", &["{1,NULL,3}", "{}", "[0:1]={1,2}"]),
        array("text", "text", &["{\"a,b\",NULL,\"NULL\",\"\",я}", "{}"]),
        array("float8", "double precision", &["{0.1,0.30000000000000004,NaN}", "{0.1,0.3,NaN}"]),
        array(
            "timestamptz",
            "timestamp with time zone",
            &["{\"2014-10-25 21:30:00+00\",infinity}", "{\"2014-10-25 22:30:00+00\",infinity}"],
        ),
        array("int8", "bigint", &["{{1,2},{3,9223372036854775807}}"]),
        array("numeric", "numeric", &["{1.10,NaN}", "{1.1,NaN}"]),
        array("jsonb", "jsonb", &["{\"{\\\"a\\\": 1.0}\"}", "{\"{\\\"a\\\": 1.00}\"}"]),
        array("date", "date", &["{infinity,\"0044-03-15 BC\",2024-05-06}"]),
        (other("it's", "_Mood", "\"it's\".\"Mood\"[]"), texts(&["{\"so so\",sad,NULL}"])),
        server("oid", &["4294967295"]),
        server("name", &["Ёж"]),
        server("box", &["(0.30000000000000004,1),(0.1,0)"]),
        server("jsonpath", &["$.\"a\"[*]"]),
        server("pg_lsn", &["16/B374D848"]),
        server("bit", &["101", "1"]),
        server("numrange", &["[1.0,2.00)", "[1.00,2.00)"]),
        server("tsquery", &["'a' & !'b'"]),
        array("bytea", "bytea", &["{\"\\\\x00ff\",\"\\\\x\"}"]),
        (
            other("pg_catalog", "timetz", "time with time zone"),
            texts(&["12:00:00+03", "09:00:00+00"]),
        ),
        (other("pg_catalog", "varbit", "bit varying"), texts(&["", "0", "00", "10110"])),
        (other("it's", "Mood", "\"it's\".\"Mood\""), texts(&["sad", "so so", "it's \"ok\""])),
        (other("public", "pair", "public.pair"), texts(&["(1,\"x y\")", "(,)", "(,\"\")"])),
    ]
}

/// A type that is known by its name alone.
pub fn interval() -> LogicalType {
    other("pg_catalog", "interval", "interval")
}

/// Beside the built-in table, one with a column for each of these.
pub fn tables(kinds: &[(&str, LogicalType)]) -> Arc<[Table]> {
    let data = kinds.iter().map(|(name, kind)| Column::new(*name, kind.clone(), Role::Data));
    let columns = std::iter::once(Column::new("code", LogicalType::BigInt, Role::Key)).chain(data);
    [users(), Table::declare("things", columns.collect()).unwrap()].into()
}

/// Sessions of a server on which these tables are prepared.
pub async fn pool(scene: &Scene<'_>, tables: Arc<[Table]>) -> Pool {
    let pool = Pool::new(Settings::parse(&scene.database.url()).unwrap(), limits(), tables, 4);
    pool.prepare().await.unwrap();
    pool
}

/// Whether both sides have the same, and how many rows are in quarantine.
pub async fn verified(pool: &Pool, node: &Node) -> (bool, u64) {
    let exchange = || async { node.sync.sync(PATIENCE).await.map(|_| ()) };
    let found = compare(pool, &node.replica(), exchange).await.unwrap();
    (found.tables[1].different == 0, found.tables[1].quarantined)
}

/// The same with a column of each type, in their order: `c0`, `c1` and so on.
pub fn tables_of_all() -> Arc<[Table]> {
    let names: Vec<String> = (0..types().len()).map(|at| format!("c{at}")).collect();
    let kinds = names.iter().zip(types()).map(|(name, (kind, _))| (name.as_str(), kind));
    tables(&kinds.collect::<Vec<_>>())
}
