//! Both stores as others see them, and whether they are equal: `psql` and the `sqlite3` shell
//! print, and what they print is compared here. Nothing of the product takes part.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::node::Node;
use crate::shell;
use crate::tables::{Kind, TABLE, is_refusable};

/// A row: its columns as text.
pub type Row = BTreeMap<String, Option<String>>;

/// A table that is joined, and the end of its sidecar's name.
pub type Joined = (Kind, String);

/// The columns of the users that are compared; of the other tables it is all that both sides have.
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
    /// Rows whose columns do not belong together.
    #[serde(default)]
    pub strange: Vec<String>,
}

impl Dump {
    /// What PostgreSQL has; `None` if it does not answer.
    pub fn of_postgres(port: u16, tables: &[Joined]) -> Option<Dump> {
        let columns = COLUMNS.replace("register_date,", "register_date::text,");
        let columns = columns
            .replace("last_activity,", "last_activity::text,")
            .replace("redeem_date,", "redeem_date::text,");
        let mut sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; ".to_owned();
        for (kind, sidecar) in tables {
            let (name, label) = (kind.name(), kind.label());
            let columns = if *kind == Kind::Users { &columns } else { "*" };
            sql.push_str(&format!(
                "SELECT json_build_object('of', '{name}', 'row', row_to_json(t)) \
                 FROM (SELECT {columns} FROM public.{name} ORDER BY {label}) AS t; \
                 SELECT json_build_object('sidecar', count(*)) FROM dual.side_{sidecar}; "
            ));
        }
        sql.push_str(
            "SELECT json_build_object('of', table_name, \
             'key', coalesce(to_jsonb(c) ->> 'row_key', key::text)::json, \
             'register', register, 'losing', losing, 'winning', winning) FROM dual.conflict AS c; \
             SELECT json_build_object('conflicts', count(*)) FROM dual.conflict; COMMIT;",
        );
        let answer = shell::psql(port, &sql).ok().filter(|answer| answer.ok)?;
        let lines = answer.out.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        Some(Dump::of(lines.ok()?))
    }

    /// What a file has; `None` if it cannot be read.
    pub fn of_file(file: &Path, tables: &[Joined]) -> Option<Dump> {
        let mut sql = "BEGIN; ".to_owned();
        for (kind, sidecar) in tables {
            let (name, label) = (kind.name(), kind.label());
            let columns = if *kind == Kind::Users { COLUMNS } else { "*" };
            sql.push_str(&format!(
                "SELECT '{name}' AS \"of\", {columns} FROM {name} ORDER BY {label}; \
                 SELECT count(*) AS sidecar FROM dual_side_{sidecar}; "
            ));
        }
        sql.push_str(
            "SELECT name AS \"of\", key AS quarantined FROM dual_quarantine; \
             SELECT name AS \"of\", key, register, losing, winning FROM dual_conflict; \
             SELECT count(*) AS conflicts FROM dual_conflict; COMMIT;",
        );
        let answer = shell::sqlite(file, "-json", &sql).ok().filter(|answer| answer.ok)?;
        let mut lines = Vec::new();
        // One array for each statement that has rows.
        for rows in serde_json::Deserializer::from_str(&answer.out).into_iter::<Vec<Value>>() {
            lines.extend(rows.ok()?);
        }
        Some(Dump::of(lines))
    }

    fn of(lines: Vec<Value>) -> Dump {
        let mut dump = Dump::default();
        let mut numbers = BTreeMap::new();
        // Rows come first, for the automatic numbers in everything else.
        let mut rest = Vec::new();
        for mut line in lines {
            let kind = line["of"].as_str().and_then(Kind::named);
            let inner = line.get_mut("row").map(Value::take);
            let row = inner.unwrap_or(line);
            let (Some(kind), Value::Object(row)) = (kind, &row) else {
                rest.push((kind, row));
                continue;
            };
            match row.get(kind.label()).and_then(Value::as_i64) {
                Some(label) => dump.take(kind, label, row, &mut numbers),
                // A row without its label is none that anybody has written.
                None if row.contains_key(kind.label()) => {
                    dump.strange.push(format!("{} {}", kind.name(), Value::Object(row.clone())));
                }
                None => rest.push((Some(kind), Value::Object(row.clone()))),
            }
        }
        rest.into_iter().for_each(|(kind, line)| dump.add(kind, &line, &numbers));
        dump
    }

    fn take(
        &mut self,
        kind: Kind,
        label: i64,
        row: &Map<String, Value>,
        numbers: &mut BTreeMap<i64, i64>,
    ) {
        let fits = |(name, value): &(&str, Value)| row.get(*name) == Some(value);
        if kind == Kind::Numbers {
            numbers.extend(row.get("id").and_then(Value::as_i64).map(|id| (id, label)));
        } else if !kind.key_values(label).iter().all(fits) {
            self.strange.push(format!("{} {}", kind.name(), Value::Object(row.clone())));
        }
        if self.rows.insert(kind.row(label), canonical(row)).is_some() {
            self.strange.push(format!("{} has two rows of {label}", kind.name()));
        }
    }

    fn add(&mut self, kind: Option<Kind>, line: &Value, numbers: &BTreeMap<i64, i64>) {
        let count = |name: &str| line.get(name).and_then(Value::as_u64);
        self.conflicts += count("conflicts").unwrap_or(0);
        self.sidecar += count("sidecar").unwrap_or(0);
        let Some(kind) = kind else { return };
        let known = |key: &Value| {
            // In a file a key that is no number is JSON in a text.
            let inner = key.as_str().and_then(|text| serde_json::from_str(text).ok());
            let label = [Some(key), inner.as_ref()]
                .into_iter()
                .flatten()
                .find_map(|key| kind.label_of(key, |number| numbers.get(&number).copied()));
            // Of a number whose row is gone nothing else is known.
            kind.row(label.unwrap_or(TABLE - 1))
        };
        if let Some(key) = line.get("quarantined") {
            self.quarantine.push(known(key));
        } else if let Some(key) = line.get("key") {
            let text = |name: &str| line[name].as_str().map(str::to_owned);
            let (register, losing, winning) = (text("register"), text("losing"), text("winning"));
            let register = register.unwrap_or_default();
            self.lost.insert(Lost { key: known(key), register, losing, winning });
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
    let columns = row.iter().filter(|(name, _)| *name != "of");
    columns.map(|(name, value)| (name.clone(), text(name, value))).collect()
}

/// Whether that row may stay in quarantine: PostgreSQL has a rule against it, lacks what it refers to,
/// or keeps what refers to it.
pub fn may_wait(row: i64, postgres: &Dump) -> bool {
    let (kind, label) = (Kind::of(row), row % TABLE);
    let has = |kind: Kind, label| postgres.rows.contains_key(&kind.row(label));
    let is_orphan = kind.reference(label).is_some_and(|(_, to, label)| !has(to, label));
    let is_held = kind
        .child()
        .is_some_and(|child| kind.referring(label).into_iter().any(|label| has(child, label)));
    is_refusable(row) || is_orphan || is_held
}

/// Where a file differs from PostgreSQL. Rows in quarantine are excepted if they belong there;
/// every other one that is there is a difference.
pub fn differences(postgres: &Dump, file: &Dump, node: &Node) -> Vec<String> {
    let aside = file.quarantine.iter().copied();
    let (set_aside, stuck): (BTreeSet<i64>, BTreeSet<i64>) =
        aside.partition(|key| may_wait(*key, postgres));
    let without = |dump: &Dump| {
        let mut dump = dump.clone();
        dump.rows.retain(|key, _| !set_aside.contains(key));
        dump
    };
    let names = ["PostgreSQL", &format!("node {}", node.number)];
    let mut found = rows_that_differ(&without(postgres), &without(file), names);
    for (dump, name) in [(postgres, names[0]), (file, names[1])] {
        found.extend(dump.strange.iter().map(|row| format!("in {name} {row}")));
    }
    found.extend(stuck.iter().map(|key| format!("row {key} is in quarantine in {}", names[1])));
    found
}

/// The rows in which two dumps differ.
pub fn rows_that_differ(one: &Dump, two: &Dump, names: [&str; 2]) -> Vec<String> {
    let keys: BTreeSet<i64> = one.rows.keys().chain(two.rows.keys()).copied().collect();
    let differ = |key: &i64| match (one.rows.get(key), two.rows.get(key)) {
        (Some(one), Some(two)) => {
            let columns = one
                .iter()
                .filter(|(name, value)| two.get(*name).is_some_and(|other| other != *value));
            let columns: Vec<String> = columns
                .map(|(name, value)| {
                    format!("{name} {value:?} and {:?}", two.get(name).unwrap_or(&None))
                })
                .collect();
            let said = format!("row {key}, {} and {}: {}", names[0], names[1], columns.join(", "));
            (!columns.is_empty()).then_some(said)
        }
        (Some(_), None) => Some(format!("row {key} is not in {}", names[1])),
        _ => Some(format!("row {key} is in {} only", names[1])),
    };
    keys.iter().filter_map(differ).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::worker::SPACE;

    const LABEL: i64 = 3 * SPACE + 5;

    fn pair() -> Map<String, Value> {
        let text = Kind::Pairs.document(LABEL, Some("1"), None);
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn both_programs_say_the_same_of_a_row_and_of_its_conflicts() {
        let row = Value::Object(pair());
        let key = json!([LABEL / 4, "A"]);
        let lost = |key: Value| {
            let (losing, winning) = ("1", Value::Null);
            json!({"of": "pairs", "key": key, "register": "real_name", "losing": losing, "winning": winning})
        };
        let psql = Dump::of(vec![json!({"of": "pairs", "row": row}), lost(key.clone())]);
        let mut row = pair();
        row.insert("of".into(), json!("pairs"));
        let sqlite = Dump::of(vec![Value::Object(row), lost(json!(key.to_string()))]);
        assert_eq!(psql, sqlite);
        assert_eq!(psql.lost.first().map(|lost| lost.key), Some(Kind::Pairs.row(LABEL)));
        assert_eq!((psql.rows.len(), psql.strange.len()), (1, 0));
    }

    #[test]
    fn what_does_not_belong_together_is_told() {
        let mut other = pair();
        other.insert("part".into(), json!("a"));
        let lines = [pair(), pair(), other].map(|row| json!({"of": "pairs", "row": row}));
        // Twice the same label, and a key of another one (which has the same label again).
        assert_eq!(Dump::of(lines.to_vec()).strange.len(), 3);
    }

    #[test]
    fn a_child_waits_for_its_parent_and_a_parent_for_the_end_of_its_children() {
        let (parent, label) = Kind::Children.reference(LABEL).map(|of| (of.1, of.2)).unwrap();
        let (parent, child) = (parent.row(label), Kind::Children.row(LABEL));
        let with = |rows: &[i64]| Dump {
            rows: rows.iter().map(|row| (*row, Row::default())).collect(),
            ..Dump::default()
        };
        assert!(may_wait(child, &with(&[])) && !may_wait(child, &with(&[parent])));
        assert!(may_wait(parent, &with(&[child])) && !may_wait(parent, &with(&[])));
    }
}
