//! What outside programs do to the other tables: several rows of several tables in one transaction, as
//! `psql` and the `sqlite3` shell have it.

use rand::RngExt;

use super::{Side, Writer};
use crate::ledger::{Intent, Outcome};
use crate::shell;
use crate::tables::{CHILDREN, Kind, POSITIONS};
use crate::worker::{CONTENDED, OWNED, SPACE};

/// How many numbers an outside program leaves standing.
const STANDING: usize = 10;
/// How far the sequence is set ahead if nobody knows what it gave last.
const AHEAD: i64 = 10_000;

/// The numbers of a writer.
#[derive(Default)]
pub(super) struct Numbers {
    /// Labels of those that stand.
    standing: Vec<i64>,
    /// How many labels there were.
    given: i64,
    /// The highest that the sequence may have given.
    highest: i64,
}

impl Writer {
    pub(super) fn tables(&mut self) {
        let own = SPACE * self.number;
        let text = format!("w{}:{}t", self.number, self.count);
        match self.random.random_range(0..12_u32) {
            0..4 => {
                let kinds = [Kind::Pairs, Kind::Words, Kind::Late];
                let kind = kinds[self.random.random_range(0..kinds.len())];
                let label = own + self.random.random_range(0..OWNED);
                self.single(kind, label, &text);
            }
            4 => {
                let kind = if self.random.random() { Kind::Pairs } else { Kind::Words };
                let label = self.random.random_range(1..=CONTENDED);
                self.all(&[(kind, label, upsert(&text))], &self.put(kind, label, &text));
            }
            5..9 => {
                let index = self.random.random_range(0..OWNED / CHILDREN);
                let (kind, label) = (Kind::Parents, own + index);
                let child = own + index * CHILDREN + self.random.random_range(0..CHILDREN);
                match self.random.random_range(0..5_u32) {
                    0 => self.end(kind, label),
                    1 => self.single(Kind::Children, child, &text),
                    _ => {
                        let rows =
                            [(kind, label, upsert(&text)), (Kind::Children, child, upsert(&text))];
                        let sql =
                            self.put(kind, label, &text) + &self.put(Kind::Children, child, &text);
                        self.all(&rows, &sql);
                    }
                }
            }
            _ => self.numbers(own, &text),
        }
    }

    /// One row that this writer has to himself.
    fn single(&self, kind: Kind, label: i64, text: &str) {
        if kind == Kind::Late && !self.world.joined().iter().any(|(kind, _)| *kind == Kind::Late) {
            return;
        }
        match self.count % 5 {
            0 => {
                self.all(&[(kind, label, Intent::Delete)], &delete(kind, label));
            }
            // A child comes with its parent.
            which if which == 1 || kind == Kind::Children => self.update(kind, label, text),
            _ => {
                self.all(&[(kind, label, upsert(text))], &self.put(kind, label, text));
            }
        }
    }

    fn update(&self, kind: Kind, label: i64, text: &str) {
        let name = kind.name();
        let sql = format!(
            "UPDATE {name} SET username = '{text}' WHERE label = {label} RETURNING '{name}', label;"
        );
        let intent = Intent::Update { real: None, user: Some(text.to_owned()) };
        self.all(&[(kind, label, intent)], &sql);
    }

    fn end(&self, kind: Kind, label: i64) {
        let child = kind.child().unwrap_or(kind);
        let children = kind.referring(label).into_iter().map(|label| (child, label));
        let (mut rows, mut sql) = (Vec::new(), String::new());
        for (kind, label) in children.chain([(kind, label)]) {
            sql.push_str(&delete(kind, label));
            rows.push((kind, label, Intent::Delete));
        }
        self.all(&rows, &sql);
    }

    fn numbers(&mut self, own: i64, text: &str) {
        let at = self.random.random_range(0..STANDING);
        if let Some(label) = self.numbers.standing.get(at).copied() {
            match self.random.random_range(0..3_u32) {
                0 => {
                    self.numbers.standing.swap_remove(at);
                    self.end(Kind::Numbers, label);
                }
                1 => self.update(Kind::Numbers, label, text),
                _ => self.update(Kind::Positions, Kind::Numbers.referring(label)[0], text),
            }
            return;
        }
        let index = self.numbers.given;
        self.numbers.given += 1;
        let label = own + index;
        self.numbers.standing.push(label);
        let positions = (0..POSITIONS).map(|at| (Kind::Positions, own + index * POSITIONS + at));
        let (mut rows, mut sql) = (Vec::new(), self.ahead());
        for (kind, label) in [(Kind::Numbers, label)].into_iter().chain(positions) {
            sql.push_str(&self.insert(kind, label, text));
            let both = Intent::Add { real: text.to_owned(), user: text.to_owned() };
            rows.push((kind, label, both));
        }
        sql.push_str(&format!("SELECT 'number', id FROM numbers WHERE label = {label};"));
        let printed = self.all(&rows, &sql);
        let given = printed.iter().find_map(|line| line.strip_prefix("number|")?.parse().ok());
        self.numbers.highest = given.unwrap_or(self.numbers.highest + AHEAD);
    }

    /// A restored server gives numbers again. Whoever shares its numbers meets another row under them; who
    /// does not looks after that himself.
    fn ahead(&self) -> String {
        match self.side {
            Side::Postgres if !self.world.options.shared_numbers => format!(
                "SELECT setval(pg_get_serial_sequence('public.numbers', 'id'), \
                 greatest(nextval(pg_get_serial_sequence('public.numbers', 'id')), {}));",
                self.numbers.highest.max(1)
            ),
            _ => String::new(),
        }
    }

    fn put(&self, kind: Kind, label: i64, text: &str) -> String {
        let key: Vec<&str> = kind.key(label).iter().map(|(name, _)| *name).collect();
        let (columns, values) = self.columns(kind, label);
        let name = kind.name();
        format!(
            "INSERT INTO {name} ({columns}, real_name) VALUES ({values}, '{text}') \
             ON CONFLICT ({}) DO UPDATE SET real_name = excluded.real_name \
             RETURNING '{name}', label; ",
            key.join(", ")
        )
    }

    fn insert(&self, kind: Kind, label: i64, text: &str) -> String {
        let (columns, values) = self.columns(kind, label);
        let name = kind.name();
        format!(
            "INSERT INTO {name} ({columns}, real_name, username) \
             VALUES ({values}, '{text}', '{text}') RETURNING '{name}', label; "
        )
    }

    /// The columns that say which row it is, and to which one it refers.
    fn columns(&self, kind: Kind, label: i64) -> (String, String) {
        let is_given = match self.side {
            Side::Postgres => false,
            Side::File(_) => !self.world.options.shared_numbers,
        };
        let mut columns = match kind {
            Kind::Numbers if !is_given => Vec::new(),
            _ => kind.key(label),
        };
        columns.push(("label", label.to_string()));
        if let Some((column, to, label)) = kind.reference(label) {
            columns.push((column, format!("(SELECT id FROM {} WHERE label = {label})", to.name())));
        }
        let (names, values): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        (names.join(", "), values.join(", "))
    }

    /// Runs the statements in one transaction; each row is acknowledged that is printed then. Gives
    /// what was printed.
    fn all(&self, rows: &[(Kind, i64, Intent)], sql: &str) -> Vec<String> {
        let started: Vec<_> = rows
            .iter()
            .map(|(kind, label, intent)| self.ledger.start(kind.row(*label), intent.clone()))
            .collect();
        let answer = match self.side {
            Side::Postgres => shell::psql(self.world.port(), &format!("BEGIN; {sql} COMMIT;")),
            Side::File(node) => {
                // Some programs have references checked.
                let checks = if self.count.is_multiple_of(2) { "ON" } else { "OFF" };
                let sql = format!("PRAGMA foreign_keys = {checks}; BEGIN IMMEDIATE; {sql} COMMIT;");
                shell::sqlite(&self.world.nodes[node].file, "-list", &sql)
            }
        };
        let (outcome, printed) = match &answer {
            Ok(answer) => (self.told(answer), answer.out.lines().map(str::to_owned).collect()),
            Err(error) => (Outcome::Unknown { why: error.to_string() }, Vec::new()),
        };
        for (n, (kind, label, _)) in started.into_iter().zip(rows) {
            let is_printed = printed.contains(&format!("{}|{label}", kind.name()));
            let is_done = matches!(outcome, Outcome::Postgres | Outcome::Sqlite);
            let missed = is_done && !is_printed;
            let outcome = if missed { Outcome::NotFound } else { outcome.clone() };
            self.ledger.end(n, outcome, 0);
        }
        printed
    }
}

fn upsert(text: &str) -> Intent {
    Intent::Upsert { real: Some(text.to_owned()), user: None }
}

fn delete(kind: Kind, label: i64) -> String {
    let name = kind.name();
    format!("DELETE FROM {name} WHERE label = {label} RETURNING '{name}', label; ")
}
