//! What capture costs on PostgreSQL: layouts of the sidecar and forms of trigger beside a plain
//! table, in one run, on a table that is never analysed. Needs `psql` and `pgbench`. Not a test:
//! machines are shared, only the ratios within one run mean something.
//!
//! `cargo bench --workspace --bench capture [-- ROWS [SECONDS [ROUNDS]]]`

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use dual_database::schema::{Dialect, quoted, users};
use dual_database::store::postgres::capture::{Layout, changed_since, install};
use dual_database::store::postgres::{Limits, Session, Settings};
use throwaway_postgres::Server;

const TARGET: &str = "public.users";

/// A form of capture: its name and what makes it, if it is not the product's.
struct Form {
    name: &'static str,
    sql: Option<String>,
}

struct Bench {
    server: Server,
    folder: tempfile::TempDir,
    rows: u64,
    seconds: u64,
    rounds: usize,
    runtime: tokio::runtime::Runtime,
}

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let number = |at: usize, default| numbers.get(at).copied().unwrap_or(default);
    let server = Server::builder()
        .setting("autovacuum", "off")
        .setting("shared_buffers", "512MB")
        .setting("max_wal_size", "8GB")
        .setting("max_connections", "60")
        .start()
        .unwrap();
    let bench = Bench {
        server,
        folder: tempfile::tempdir().unwrap(),
        rows: number(0, 1_000_000),
        seconds: number(1, 5),
        rounds: usize::try_from(number(2, 5)).unwrap(),
        runtime: tokio::runtime::Runtime::new().unwrap(),
    };
    println!("{}, {} rows", bench.server.binaries().version(), bench.rows);
    let csv = bench.csv();
    let forms = [
        Form { name: "plain", sql: Some(String::new()) },
        Form { name: "empty triggers", sql: Some(empty_triggers()) },
        Form { name: "row trigger, bigint a column", sql: Some(row_trigger()) },
        Form { name: "statement, jsonb", sql: Some(statement_trigger(json_layout())) },
        Form { name: "statement, bigint[]", sql: Some(statement_trigger(array_layout())) },
        Form { name: "statement, NULL a column (ours)", sql: None },
    ];
    println!("\n{:34} {:>8} {:>9} {:>9}", "", "\\copy s", "data MB", "side MB");
    for (at, form) in forms.iter().enumerate() {
        bench.load(at, form, &csv);
    }
    bench.adoption(&csv);
    bench.throughput(&forms);
    bench.poll(forms.len() - 1);
}

impl Bench {
    fn program(&self, name: &str) -> PathBuf {
        let own = self.server.binaries().folder().join(name);
        if own.exists() { own } else { name.into() }
    }

    fn number(&self, database: &str, sql: &str) -> f64 {
        let rows = self.server.execute(database, sql).unwrap();
        rows[0][0].as_ref().unwrap().parse().unwrap()
    }

    fn csv(&self) -> PathBuf {
        let path = self.folder.path().join("users.csv");
        let mut out = BufWriter::new(std::fs::File::create(&path).unwrap());
        for row in 1..=self.rows {
            writeln!(
                out,
                "{row},user_{row},Гость {},registered,+7999{row:07},Имя Фамилия {},01.02.1990,\
                 2025-01-02 03:04:05,2025-02-03 04:05:06,source_{},f",
                row % 1000,
                row % 5000,
                row % 20
            )
            .unwrap();
        }
        path
    }

    fn copy(&self, database: &str, csv: &Path) -> f64 {
        let copy = format!(
            "\\copy users (user_id, username, first_name, status, phone_number, real_name, \
             birth_date, register_date, last_activity, source, profile_completed) \
             from '{}' csv",
            csv.display()
        );
        let started = Instant::now();
        let status = Command::new(self.program("psql"))
            .args([&self.server.url_for(database), "-q", "-v", "ON_ERROR_STOP=1", "-c", &copy])
            .status()
            .unwrap();
        assert!(status.success());
        started.elapsed().as_secs_f64()
    }

    fn install(&self, database: &str) -> f64 {
        let settings = Settings::parse(&self.server.url_for(database)).unwrap();
        self.runtime.block_on(async {
            let limits = Limits { statement: Duration::ZERO, ..Limits::default() };
            let session = Session::open(&settings, &limits).await.unwrap();
            let started = Instant::now();
            session.begin("install").await.unwrap();
            install(&session, &Layout::new(&users(), TARGET)).await.unwrap();
            session.commit("install").await.unwrap();
            started.elapsed().as_secs_f64()
        })
    }

    fn load(&self, at: usize, form: &Form, csv: &Path) {
        let database = format!("form{at}");
        self.server.create_database(&database).unwrap();
        let create = users().create_statement(Dialect::Postgres, TARGET);
        self.server.execute(&database, &create).unwrap();
        match &form.sql {
            Some(sql) if sql.is_empty() => {}
            Some(sql) => drop(self.server.execute(&database, sql).unwrap()),
            None => drop(self.install(&database)),
        }
        let took = self.copy(&database, csv);
        println!(
            "{:34} {took:8.1} {:9.0} {:9.0}",
            form.name,
            self.size(&database, "public.users"),
            self.sidecar(&database)
        );
    }

    fn size(&self, database: &str, table: &str) -> f64 {
        let sql = format!("SELECT coalesce(pg_total_relation_size(to_regclass('{table}')), 0)");
        self.number(database, &sql) / 1e6
    }

    fn sidecar(&self, database: &str) -> f64 {
        self.size(database, "dual.side_users") + self.size(database, "public.side")
    }

    /// Capture off, then one set-based statement.
    fn adoption(&self, csv: &Path) {
        self.server.create_database("adopted").unwrap();
        let create = users().create_statement(Dialect::Postgres, TARGET);
        self.server.execute("adopted", &create).unwrap();
        let copy = self.copy("adopted", csv);
        let took = self.install("adopted");
        let size = self.sidecar("adopted");
        println!(
            "adoption of a loaded table: {took:.1} s after {copy:.1} s of \\copy, sidecar {size:.0} MB"
        );
    }

    /// Every form once in each round, so that what else the machine does meets all of them.
    fn throughput(&self, forms: &[Form]) {
        let insert = self.script(
            "insert",
            "\\set k random(10000000, 4000000000000)\nINSERT INTO users (user_id, username, \
             first_name, status, phone_number, register_date) VALUES (:k, 'u', 'Имя', \
             'registered', '+7999', now()) ON CONFLICT DO NOTHING;\n",
        );
        let update = self.script(
            "update",
            &format!(
                "\\set k random(1, {})\n\\set r random(1, 1000000000)\n\
                 UPDATE users SET last_activity = now(), phone_number = :r WHERE user_id = :k;\n",
                self.rows
            ),
        );
        for (what, script) in [("inserts", insert), ("updates", update)] {
            let mut rates = vec![Vec::new(); forms.len()];
            for _ in 0..self.rounds {
                for (at, rates) in rates.iter_mut().enumerate() {
                    rates.push(self.pgbench(&format!("form{at}"), &script));
                }
            }
            println!(
                "\n{what}/s, 16 clients, medians of {} rounds; the ratio to plain is of the same round",
                self.rounds
            );
            let plain = rates[0].clone();
            for (form, rates) in forms.iter().zip(rates) {
                let ratios = rates.iter().zip(&plain).map(|(rate, plain)| rate / plain).collect();
                println!("{:34} {:8.0} {:6.2} ×", form.name, median(rates), median(ratios));
            }
        }
    }

    fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(format!("{name}.sql"));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn pgbench(&self, database: &str, script: &Path) -> f64 {
        let output = Command::new(self.program("pgbench"))
            .args(["-n", "-M", "prepared", "-c", "16", "-j", "2", "-T"])
            .arg(self.seconds.to_string())
            .arg("-f")
            .arg(script)
            .arg(self.server.url_for(database))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let tps = text.lines().find_map(|line| line.strip_prefix("tps = "));
        tps.unwrap_or_else(|| panic!("{}", String::from_utf8_lossy(&output.stderr)))
            .split(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// A poll while a transaction that began before 100,000 changes stays open.
    fn poll(&self, at: usize) {
        let database = format!("form{at}");
        let settings = Settings::parse(&self.server.url_for(&database)).unwrap();
        let layout = Layout::new(&users(), TARGET);
        let old = self.server.url_for(&database);
        self.runtime.block_on(async {
            let open =
                Session::open(&Settings::parse(&old).unwrap(), &Limits::default()).await.unwrap();
            open.begin("stay open").await.unwrap();
            open.batch("write", "INSERT INTO public.users (user_id) VALUES (-1)").await.unwrap();
            let change = "UPDATE users SET source = 'x' WHERE user_id <= 100000";
            self.server.execute(&database, change).unwrap();
            let cursor = self.server.execute(&database, "SELECT txid_current_snapshot()").unwrap();
            let cursor = cursor[0][0].as_ref().unwrap().parse().unwrap();
            let few = "UPDATE users SET source = 'y' WHERE user_id BETWEEN 500 AND 509";
            self.server.execute(&database, few).unwrap();
            let session = Session::open(&settings, &Limits::default()).await.unwrap();
            let mut ours = Vec::new();
            let mut scan = Vec::new();
            for _ in 0..50 {
                session.begin_snapshot("poll").await.unwrap();
                let started = Instant::now();
                let found = changed_since(&session, &layout, &cursor).await.unwrap();
                ours.push(started.elapsed().as_secs_f64() * 1e3);
                assert_eq!(found.len(), 10);
                let sql = format!(
                    "SELECT key FROM {} WHERE txid >= txid_snapshot_xmin('{cursor}') \
                     AND NOT txid_visible_in_snapshot(txid, '{cursor}')",
                    layout.sidecar()
                );
                let started = Instant::now();
                assert_eq!(session.query("poll", &sql, &[]).await.unwrap().len(), 10);
                scan.push(started.elapsed().as_secs_f64() * 1e3);
                session.rollback("poll").await.unwrap();
            }
            println!(
                "\na poll that finds 10 rows, a transaction open since before 100,000 changes: \
                 {:.1} ms (scanning from xmin: {:.1} ms)",
                median(ours),
                median(scan)
            );
        });
    }
}

fn median(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn each(separator: &str, piece: impl Fn(usize, &str) -> String) -> String {
    let table = users();
    let columns = table.data_columns().enumerate();
    let pieces: Vec<String> = columns.map(|(at, c)| piece(at, &quoted(&c.name))).collect();
    pieces.join(separator)
}

const CLOCK: &str =
    "((date_part('epoch', clock_timestamp()) * 1000)::bigint - 1577836800000) << 22";
const RING: &str =
    "IF pg_try_advisory_xact_lock(815, 1) THEN PERFORM pg_notify('dual', ''); END IF; RETURN NULL;";
const HEAD: &str =
    "RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp";

fn empty_triggers() -> String {
    "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN NULL; END$$;
     CREATE TRIGGER i AFTER INSERT ON users REFERENCING NEW TABLE AS n
       FOR EACH STATEMENT EXECUTE FUNCTION nothing();
     CREATE TRIGGER u AFTER UPDATE ON users REFERENCING OLD TABLE AS o NEW TABLE AS n
       FOR EACH STATEMENT EXECUTE FUNCTION nothing()"
        .into()
}

fn row_trigger() -> String {
    let (columns, moments) =
        (each(", ", |at, _| format!("s{at}")), each(", ", |_, _| "moment".into()));
    let definitions = each(", ", |at, _| format!("s{at} bigint NOT NULL"));
    let set = each(", ", |at, column| {
        format!(
            "s{at} = CASE WHEN NEW.{column} IS DISTINCT FROM OLD.{column} \
             THEN greatest(moment, s.s{at} + 16384) ELSE s.s{at} END"
        )
    });
    format!(
        "CREATE TABLE side (key bigint PRIMARY KEY, txid bigint NOT NULL, live boolean NOT NULL,
           stamp bigint NOT NULL, {definitions});
         CREATE INDEX ON side (txid);
         CREATE FUNCTION capture() {HEAD} AS $$DECLARE moment bigint := {CLOCK}; BEGIN
           IF TG_OP = 'INSERT' THEN
             INSERT INTO public.side (key, txid, live, stamp, {columns})
             VALUES (NEW.user_id, txid_current(), true, moment, {moments})
             ON CONFLICT (key) DO NOTHING;
           ELSE
             UPDATE public.side AS s SET txid = txid_current(), {set} WHERE key = NEW.user_id;
           END IF;
           {RING} END$$;
         CREATE TRIGGER c AFTER INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION capture()"
    )
}

/// The type of the exceptions; what an insert and an update put there; how they are merged.
type LayoutSql = (&'static str, String, String, String);

fn silent(column: &str) -> String {
    format!("CASE WHEN n.{column} IS NULL THEN 0 END")
}

fn changed(column: &str) -> String {
    format!("CASE WHEN n.{column} IS DISTINCT FROM o.{column} THEN moment END")
}

fn json_layout() -> LayoutSql {
    let object = |piece: fn(&str) -> String| {
        let pairs = each(", ", |at, column| format!("'{at}', {}", piece(column)));
        format!("jsonb_strip_nulls(jsonb_build_object({pairs}))")
    };
    let merge = "coalesce(s.own, '{}') || excluded.own".into();
    ("jsonb", object(silent), object(changed), merge)
}

fn array_layout() -> LayoutSql {
    let array = |piece: fn(&str) -> String| {
        format!("ARRAY[{}]::bigint[]", each(", ", |_, column| piece(column)))
    };
    let merge = each(", ", |at, _| format!("coalesce(excluded.own[{0}], s.own[{0}])", at + 1));
    ("bigint[]", array(silent), array(changed), format!("ARRAY[{merge}]"))
}

fn statement_trigger((kind, insert, update, merge): LayoutSql) -> String {
    let head = format!("{HEAD} AS $$DECLARE moment bigint := {CLOCK}; BEGIN");
    let target = "INSERT INTO public.side AS s (key, txid, live, stamp, own)";
    format!(
        "CREATE TABLE side (key bigint PRIMARY KEY, txid bigint NOT NULL, stamp bigint NOT NULL,
           live boolean NOT NULL, own {kind});
         CREATE INDEX ON side (txid);
         CREATE FUNCTION inserted() {head}
           {target} SELECT n.user_id, txid_current(), true, moment, {insert} FROM n
           ON CONFLICT (key) DO UPDATE SET stamp = moment, own = NULL, txid = excluded.txid;
           {RING} END$$;
         CREATE FUNCTION updated() {head}
           {target} SELECT n.user_id, txid_current(), true, 2, {update}
           FROM o JOIN n ON o.user_id = n.user_id
           ON CONFLICT (key) DO UPDATE SET own = {merge}, txid = excluded.txid;
           {RING} END$$;
         CREATE TRIGGER i AFTER INSERT ON users REFERENCING NEW TABLE AS n
           FOR EACH STATEMENT EXECUTE FUNCTION inserted();
         CREATE TRIGGER u AFTER UPDATE ON users REFERENCING OLD TABLE AS o NEW TABLE AS n
           FOR EACH STATEMENT EXECUTE FUNCTION updated()"
    )
}
