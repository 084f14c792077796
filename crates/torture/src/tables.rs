//! The tables beside the users: a composite key, a text key, parent and child, automatic numbers with
//! children, and one that is joined while all run.
//!
//! A row of any table goes by one number in ledgers and checks: the table times [`TABLE`], and the
//! row's label. The users' label is their `user_id`; the other tables have a column of that name, from
//! which all keys but the automatic ones follow. So a row is known whatever number it got.

use serde_json::{Value, json};

use crate::worker::{OWNED, REFUSED_AT, SPACE};

/// Numbers of rows of a table begin here, times its own number.
pub const TABLE: i64 = 1_000_000_000;
/// No sequence of PostgreSQL's comes to numbers from here on, and none is set behind them: what a file
/// gives is its own.
const UPPER: i64 = 1 << 62;
/// Children of a parent.
pub const CHILDREN: i64 = 4;
/// Positions of an automatic number.
pub const POSITIONS: i64 = 2;

/// A table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The users of the documented system.
    Users,
    /// A key of a whole number and a text.
    Pairs,
    /// A key of text, in which capitals count.
    Words,
    /// What children refer to.
    Parents,
    /// Rows with a foreign key.
    Children,
    /// Numbered by PostgreSQL.
    Numbers,
    /// Children of what is numbered.
    Positions,
    /// Joined while all run.
    Late,
}

/// The text of a pair, as SQL has it.
const PARTS: [&str; 4] = ["a", "A", "я", "it''s"];
/// How a word begins, as SQL has it.
const WORDS: [&str; 4] = ["w", "W", "ы ", "o''"];

impl Kind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Kind; 8] = [
        Kind::Users,
        Kind::Pairs,
        Kind::Words,
        Kind::Parents,
        Kind::Children,
        Kind::Numbers,
        Kind::Positions,
        Kind::Late,
    ];
    /// Those that are there from the beginning.
    pub const FIRST: &[Kind] = Kind::ALL.split_at(7).0;

    /// The table of a row.
    pub fn of(row: i64) -> Kind {
        usize::try_from(row / TABLE)
            .ok()
            .and_then(|at| Kind::ALL.get(at))
            .copied()
            .unwrap_or(Kind::Users)
    }

    /// The table of that name.
    pub fn named(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Users => "users",
            Kind::Pairs => "pairs",
            Kind::Words => "words",
            Kind::Parents => "parents",
            Kind::Children => "children",
            Kind::Numbers => "numbers",
            Kind::Positions => "positions",
            Kind::Late => "late",
        }
    }

    /// The column of the label.
    pub fn label(self) -> &'static str {
        if self == Kind::Users { "user_id" } else { "label" }
    }

    /// A column that no writer sets.
    pub fn silent(self) -> &'static str {
        if self == Kind::Users { "first_name" } else { "note" }
    }

    /// The row of that label.
    pub fn row(self, label: i64) -> i64 {
        self as i64 * TABLE + label
    }

    /// The columns that say which row it is, and their values as SQL, for who gives numbers himself.
    pub fn key(self, label: i64) -> Vec<(&'static str, String)> {
        let (quarter, which) = (label / 4, (label % 4) as usize);
        match self {
            Kind::Users => vec![("user_id", label.to_string())],
            Kind::Pairs => {
                vec![("place", quarter.to_string()), ("part", format!("'{}'", PARTS[which]))]
            }
            Kind::Words => vec![("word", format!("'{}{quarter}'", WORDS[which]))],
            Kind::Parents | Kind::Children | Kind::Positions | Kind::Late => {
                vec![("id", label.to_string())]
            }
            Kind::Numbers => vec![("id", (UPPER + label).to_string())],
        }
    }

    /// The column of the foreign key, and the label that it refers to.
    pub fn reference(self, label: i64) -> Option<(&'static str, Kind, i64)> {
        let (space, index) = (label - label % SPACE, label % SPACE);
        match self {
            Kind::Children => Some(("parent", Kind::Parents, space + index / CHILDREN)),
            Kind::Positions => Some(("number", Kind::Numbers, space + index / POSITIONS)),
            _ => None,
        }
    }

    /// The labels that refer to that one.
    pub fn referring(self, label: i64) -> Vec<i64> {
        let (space, index) = (label - label % SPACE, label % SPACE);
        let many = |many: i64| (0..many).map(|which| space + index * many + which).collect();
        match self {
            Kind::Parents => many(CHILDREN),
            Kind::Numbers => many(POSITIONS),
            _ => Vec::new(),
        }
    }

    /// The table whose rows refer to it.
    pub fn child(self) -> Option<Kind> {
        match self {
            Kind::Parents => Some(Kind::Children),
            Kind::Numbers => Some(Kind::Positions),
            _ => None,
        }
    }

    /// Whether its rows are written in transactions with those of another table.
    pub fn is_of_family(self) -> bool {
        matches!(self, Kind::Parents | Kind::Children | Kind::Numbers | Kind::Positions)
    }

    /// What SQL says of a row that one writer has to himself.
    pub fn is_owned(self, row: &str) -> String {
        let label = format!("{row}{}", self.label());
        let owned = if self.has_many() { SPACE } else { OWNED };
        format!("({label} >= {SPACE} AND {label} % {SPACE} < {owned} AND {label} / {SPACE} <> 60)")
    }

    /// Whether each row is written under a label of its own.
    fn has_many(self) -> bool {
        matches!(self, Kind::Numbers | Kind::Positions)
    }

    /// How the table is made: in PostgreSQL, or in a file.
    pub fn ddl(self, postgres: bool) -> Option<String> {
        let (whole, auto) = match postgres {
            true => ("bigint", "bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"),
            false => ("INTEGER", "INTEGER PRIMARY KEY AUTOINCREMENT"),
        };
        let refers = |to: &str| format!("{whole} NOT NULL REFERENCES {to} (id)");
        let key = match self {
            Kind::Users => return None,
            Kind::Pairs => format!("place {whole} NOT NULL, part text NOT NULL"),
            Kind::Words => "word text NOT NULL PRIMARY KEY".to_owned(),
            Kind::Parents | Kind::Late => format!("id {whole} NOT NULL PRIMARY KEY"),
            Kind::Children => {
                format!("id {whole} NOT NULL PRIMARY KEY, parent {}", refers("parents"))
            }
            Kind::Numbers => format!("id {auto}"),
            Kind::Positions => {
                format!("id {whole} NOT NULL PRIMARY KEY, number {}", refers("numbers"))
            }
        };
        let last = if self == Kind::Pairs { ", PRIMARY KEY (place, part)" } else { "" };
        Some(format!(
            "CREATE TABLE IF NOT EXISTS {} ({key}, label {whole}, real_name text, username text, \
             note text{last});",
            self.name()
        ))
    }

    /// The label of a key, as logs and the quarantine have it; automatic numbers are looked up.
    pub fn label_of(self, key: &Value, looked_up: impl Fn(i64) -> Option<i64>) -> Option<i64> {
        let word = |text: &str, of: [&str; 4]| {
            let plain = |one: &str| one.replace("''", "'");
            of.iter().position(|one| plain(one) == text).and_then(|at| i64::try_from(at).ok())
        };
        match self {
            Kind::Pairs => {
                let parts = key.as_array()?;
                Some(parts.first()?.as_i64()? * 4 + word(parts.get(1)?.as_str()?, PARTS)?)
            }
            Kind::Words => {
                let text = key.as_str()?;
                let at = text.find(|c: char| c.is_ascii_digit())?;
                Some(text[at..].parse::<i64>().ok()? * 4 + word(&text[..at], WORDS)?)
            }
            Kind::Numbers => {
                let number = key.as_i64()?;
                if number >= UPPER { Some(number - UPPER) } else { looked_up(number) }
            }
            _ => key.as_i64(),
        }
    }

    /// The key of a row in a sidecar `s`, as the quarantine of a file has it.
    pub fn key_in_quarantine(self) -> &'static str {
        match self {
            Kind::Pairs => "json_array(s.key, s.key2)",
            Kind::Words => "json_quote(s.key)",
            _ => "s.key",
        }
    }

    /// A row as the library takes it.
    pub fn document(self, label: i64, real: Option<&str>, user: Option<&str>) -> String {
        let mut row = serde_json::Map::new();
        let key = self.key_values(label);
        row.extend(key.into_iter().map(|(name, value)| (name.to_owned(), value)));
        row.insert("label".into(), json!(label));
        if let Some((column, to, of)) = self.reference(label) {
            let of = to.key_values(of).into_iter().next().map(|(_, value)| value);
            row.insert(column.into(), of.unwrap_or_default());
        }
        let texts = [("real_name", real), ("username", user)];
        for (name, text) in texts {
            row.extend(text.map(|text| (name.to_owned(), json!(text))));
        }
        Value::Object(row).to_string()
    }

    /// The key's columns as values.
    pub fn key_values(self, label: i64) -> Vec<(&'static str, Value)> {
        let value =
            |sql: String| match sql.strip_prefix('\'').and_then(|sql| sql.strip_suffix('\'')) {
                Some(text) => json!(text.replace("''", "'")),
                None => json!(sql.parse::<i64>().unwrap_or_default()),
            };
        self.key(label).into_iter().map(|(name, sql)| (name, value(sql))).collect()
    }
}

/// Whether one writer alone writes that row.
pub fn is_owned(row: i64) -> bool {
    let label = row % TABLE;
    label >= SPACE && (Kind::of(row).has_many() || label % SPACE < OWNED)
}

/// Whether PostgreSQL may refuse that user for good, by a rule of its own.
pub fn is_refusable(row: i64) -> bool {
    Kind::of(row) == Kind::Users && row % SPACE >= REFUSED_AT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_label_is_known_again_by_its_key() {
        for kind in Kind::ALL {
            for label in (1..9).chain(3 * SPACE..3 * SPACE + 8) {
                let values = kind.key_values(label).into_iter().map(|(_, value)| value);
                let mut values: Vec<Value> = values.collect();
                let key = if values.len() == 1 { values.remove(0) } else { json!(values) };
                assert_eq!(kind.label_of(&key, |_| None), Some(label), "{kind:?} {key}");
                assert_eq!(Kind::of(kind.row(label)), kind);
            }
        }
        assert_eq!(
            Kind::Children.reference(3 * SPACE + 7),
            Some(("parent", Kind::Parents, 3 * SPACE + 1))
        );
        assert_eq!(Kind::Numbers.referring(3 * SPACE + 5), [3 * SPACE + 10, 3 * SPACE + 11]);
    }
}
