//! Both stores as others see them, and whether they are equal: `psql` and the `sqlite3` shell
//! print, and what they print is compared here. Nothing of the product takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::node::Node;
use crate::shell;
use crate::worker::{REFUSED_AT, SPACE};

/// A row: its columns as text.
pub type Row = BTreeMap<String, Option<String>>;

const COLUMNS: &str = "id, user_id, username, first_name, status, phone_number, real_name, \
    birth_date, register_date, last_activity, redeem_date, source, referrer_id, \
    brought_by_staff_id, profile_completed, ai_concept";

/// A register that has lost, by the conflict log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Lost {
    /// Of which row.
    pub key: i64,
    /// Which column; `(row)` for whether the row is there.
    pub register: String,
    /// The value that lost, as text.
    pub losing: Option<String>,
    /// The value that won; none if that was the row's end.
    pub winning: Option<String>,
}

/// A store's rows by their keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dump {
    /// The rows.
    pub rows: BTreeMap<i64, Row>,
    /// Rows that one side refuses, one entry for each that is listed.
    pub quarantine: Vec<i64>,
    /// What has lost, by the conflict log.
    pub lost: BTreeSet<Lost>,
    /// Rows of the sidecar.
    pub sidecar: u64,
    /// Entries of the conflict log.
    pub conflicts: u64,
}

impl Dump {
    /// What PostgreSQL has; `None` if it does not answer.
    pub fn of_postgres(port: u16) -> Option<Dump> {
        let columns = COLUMNS.replace("register_date,", "register_date::text,");
        let columns = columns
            .replace("last_activity,", "last_activity::text,")
            .replace("redeem_date,", "redeem_date::text,");
        let sql = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; \
             SELECT row_to_json(t) FROM (SELECT {columns} FROM users ORDER BY user_id) AS t; \
             SELECT json_build_object('key', key, 'register', register, 'losing', losing, \
             'winning', winning) FROM dual.conflict WHERE table_name = 'users'; \
             SELECT json_build_object('conflicts', count(*)) FROM dual.conflict; \
             SELECT json_build_object('sidecar', count(*)) FROM dual.side_users; COMMIT;"
        );
        let answer = shell::psql(port, &sql).ok().filter(|answer| answer.ok)?;
        let mut dump = Dump::default();
        for line in answer.out.lines() {
            dump.add(serde_json::from_str(line).ok()?);
        }
        Some(dump)
    }

    /// What a file has; `None` if it cannot be read.
    pub fn of_file(file: &Path) -> Option<Dump> {
        let sql = format!(
            "BEGIN; SELECT {COLUMNS} FROM users ORDER BY user_id; \
             SELECT key AS quarantined FROM dual_quarantine; \
             SELECT key, register, losing, winning FROM dual_conflict WHERE name = 'users'; \
             SELECT count(*) AS conflicts FROM dual_conflict; \
             SELECT count(*) AS sidecar FROM dual_side_users; COMMIT;"
        );
        let answer = shell::sqlite(file, "-json", &sql).ok().filter(|answer| answer.ok)?;
        let mut dump = Dump::default();
        // One array for each statement that has rows.
        for rows in serde_json::Deserializer::from_str(&answer.out).into_iter::<Vec<Value>>() {
            rows.ok()?.into_iter().for_each(|row| dump.add(row));
        }
        Some(dump)
    }

    fn add(&mut self, row: Value) {
        if let Ok(lost) = serde_json::from_value::<Lost>(row.clone()) {
            self.lost.insert(lost);
            return;
        }
        let Value::Object(row) = row else { return };
        if let Some(key) = row.get("user_id").and_then(Value::as_i64) {
            self.rows.insert(key, canonical(&row));
        } else if let Some(key) = row.get("quarantined").and_then(Value::as_i64) {
            self.quarantine.push(key);
        } else if let Some(count) = row.get("conflicts").and_then(Value::as_u64) {
            self.conflicts = count;
        } else if let Some(count) = row.get("sidecar").and_then(Value::as_u64) {
            self.sidecar = count;
        }
    }

    /// Writes the rows as text, one a line.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut text = String::new();
        for (key, row) in &self.rows {
            text.push_str(&format!("{key}\t{}\n", serde_json::to_string(row)?));
        }
        for key in &self.quarantine {
            text.push_str(&format!("quarantined\t{key}\n"));
        }
        for lost in &self.lost {
            text.push_str(&format!("lost\t{}\n", serde_json::to_string(lost)?));
        }
        fs::write(path, text)
    }
}

/// Both sides spell some values in their own way: booleans, and the end of a moment.
fn canonical(row: &Map<String, Value>) -> Row {
    let text = |name: &str, value: &Value| match value {
        Value::Null => None,
        Value::Bool(flag) => Some(u8::from(*flag).to_string()),
        Value::String(text) if name.ends_with("_date") || name == "last_activity" => {
            let text = text.replace('T', " ");
            let short =
                text.contains('.').then(|| text.trim_end_matches('0').trim_end_matches('.'));
            Some(short.unwrap_or(&text).to_owned())
        }
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    row.iter().map(|(name, value)| (name.clone(), text(name, value))).collect()
}

/// Whether PostgreSQL may refuse that row for good: only such a row may stay in quarantine.
pub fn is_refusable(key: i64) -> bool {
    key % SPACE >= REFUSED_AT
}

/// Where a file differs from PostgreSQL. Rows in quarantine are excepted if they belong there;
/// every other one that is there is a difference.
pub fn differences(postgres: &Dump, file: &Dump, node: &Node) -> Vec<String> {
    let aside = file.quarantine.iter().copied();
    let (set_aside, stuck): (BTreeSet<i64>, BTreeSet<i64>) =
        aside.partition(|key| is_refusable(*key));
    let without = |dump: &Dump| {
        let mut dump = dump.clone();
        dump.rows.retain(|key, _| !set_aside.contains(key));
        dump
    };
    let names = ["PostgreSQL", &format!("node {}", node.number)];
    let mut found = rows_that_differ(&without(postgres), &without(file), names);
    found.extend(stuck.iter().map(|key| format!("row {key} is in quarantine in {}", names[1])));
    found
}

/// The rows in which two dumps differ.
pub fn rows_that_differ(one: &Dump, two: &Dump, names: [&str; 2]) -> Vec<String> {
    let keys: BTreeSet<i64> = one.rows.keys().chain(two.rows.keys()).copied().collect();
    let differ = |key: &i64| match (one.rows.get(key), two.rows.get(key)) {
        (Some(one), Some(two)) if one == two => None,
        (Some(one), Some(two)) => {
            let columns = one.iter().filter(|(name, value)| two.get(*name) != Some(value));
            let columns: Vec<String> = columns
                .map(|(name, value)| {
                    format!("{name} {value:?} and {:?}", two.get(name).unwrap_or(&None))
                })
                .collect();
            Some(format!("row {key}, {} and {}: {}", names[0], names[1], columns.join(", ")))
        }
        (Some(_), None) => Some(format!("row {key} is not in {}", names[1])),
        _ => Some(format!("row {key} is in {} only", names[1])),
    };
    keys.iter().filter_map(differ).collect()
}
