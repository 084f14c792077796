//! `[tables.NAME]` in `dual.toml`: what a person declares of tables before they are joined.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use dual_database::init::{Chosen, ChosenColumn, Declared, Survey};
use dual_database::schema::LogicalType;
use dual_database::{Error, Kind, Result};

use super::file::{NAME, SettingsFile, wrong};
use super::unreadable;

const KEY: &str = "key";
const NUMBERS: &str = "numbers";
const LEAVE: &str = "leave_out";
const TYPES: &str = "types";
const NAMES: &str = "names";
const KEYS: [&str; 5] = [KEY, NUMBERS, LEAVE, TYPES, NAMES];
const AUTOMATIC: &str = "automatic";
const NATURAL: &str = "natural";

/// The tables that stand in the settings file, or in the one of this folder; none if there is no such file.
///
/// # Errors
/// [`Kind::Configuration`], naming the table and what is wrong.
pub fn declared(named: Option<&Path>) -> Result<BTreeMap<String, Declared>> {
    SettingsFile::tables(named)
}

/// Writes what the survey says of tables that are not joined yet behind the settings file, made if there is none,
/// for a person to change.
///
/// # Errors
/// [`Kind::Configuration`] if tables stand there already; those of writing.
pub fn write(named: Option<&Path>, survey: &Survey) -> Result<String> {
    let operation = "write the settings file";
    let path = named.unwrap_or(Path::new(NAME));
    if !SettingsFile::tables(named)?.is_empty() {
        let message = format!("{} has tables already", path.display());
        return Err(Error::new(Kind::Configuration, operation, message)
            .with_hint("take them out, or change them there"));
    }
    let options = std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let text = text(survey);
    let text = match std::fs::read(path) {
        Ok(before) if !before.is_empty() && !before.ends_with(b"\n") => format!("\n{text}"),
        _ => text,
    };
    options
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|cause| unreadable(operation, path, cause))?;
    Ok(path.display().to_string())
}

/// What a survey says, as it is read.
fn text(survey: &Survey) -> String {
    let mut text = String::from(
        "\n# Tables as `dual init` would join them. What is changed here counts until they are joined.\n",
    );
    for Chosen { table, columns, .. } in survey.chosen.iter().filter(|chosen| !chosen.joined) {
        let key: Vec<String> = table.key_columns().map(|one| quoted(&one.name)).collect();
        let _ = writeln!(text, "\n[{TABLES}.{}]", quoted(table.name()));
        let _ = writeln!(text, "{KEY} = [{}]", key.join(", "));
        if table.has_whole_key() && table.surrogate().is_none() {
            let numbers = if table.has_automatic_key() { AUTOMATIC } else { NATURAL };
            let _ = writeln!(text, "{NUMBERS} = {}", quoted(numbers));
        }
        let _ = writeln!(text, "{LEAVE} = []");
        let only = |has: fn(&ChosenColumn) -> bool| -> Vec<String> {
            columns.iter().filter(|one| has(one)).map(|one| quoted(&one.name)).collect()
        };
        let there = only(|one| one.postgres.is_some() && one.sqlite.is_none());
        let here = only(|one| one.sqlite.is_some() && one.postgres.is_none());
        // Which of them are one, if any are, only a person knows.
        if !(there.is_empty() || here.is_empty()) {
            let (others, own) = (there.join(", "), here.join(", "));
            let _ = writeln!(text, "# only in PostgreSQL: {others}; only in the file: {own}");
            let _ = writeln!(text, "# if two are one: {NAMES} = {{ {} = {} }}", there[0], here[0]);
        }
        let is_widened = |column: &ChosenColumn| column.width.is_some_and(|width| width.widened);
        let is_said = |column: &&ChosenColumn| column.postgres.is_none() || is_widened(column);
        let own = columns.iter().filter(is_said);
        let own: Vec<_> = own.filter_map(|column| Some((column, column.kind.as_ref()?))).collect();
        if !own.is_empty() {
            let _ = writeln!(text, "[{TABLES}.{}.{TYPES}]", quoted(table.name()));
        }
        for (column, kind) in own {
            let _ = writeln!(text, "{} = {}", quoted(&column.name), quoted(kind));
        }
    }
    text
}

/// A text as TOML reads it: as JSON has it, but for one character that must not stand there as it is.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007f")
}

/// The key of the settings file under which they stand.
pub(super) const TABLES: &str = "tables";

/// Reads them.
///
/// # Errors
/// [`Kind::Configuration`].
pub(super) fn parse(path: &Path, value: toml::Value) -> Result<BTreeMap<String, Declared>> {
    let toml::Value::Table(tables) = value else {
        return Err(wrong(path, "tables is no table").with_hint("write [tables.NAME]"));
    };
    let mut declared = BTreeMap::new();
    for (name, value) in tables {
        let about =
            |what: String| wrong(path, &format!("[tables.{}]: {what}", name.escape_debug()));
        let toml::Value::Table(table) = value else {
            return Err(about("it is no table".into()).with_hint("write [tables.NAME]"));
        };
        let mut one = Declared::default();
        for (key, value) in table {
            let texts = |value: toml::Value| -> Result<Vec<String>> {
                let texts: Option<Vec<String>> = value.try_into().ok();
                let hint = format!("write {key} = [\"COLUMN\"]");
                texts.ok_or_else(|| about(format!("{key} is no list of texts")).with_hint(hint))
            };
            match key.as_str() {
                KEY => one.key = texts(value)?,
                LEAVE => one.left_out = texts(value)?,
                NUMBERS => {
                    one.automatic = Some(match value.as_str() {
                        Some(AUTOMATIC) => true,
                        Some(NATURAL) => false,
                        _ => {
                            let message = format!("{NUMBERS} is neither {AUTOMATIC} nor {NATURAL}");
                            return Err(about(message)
                                .with_hint(format!("write {NUMBERS} = \"{NATURAL}\"")));
                        }
                    });
                }
                TYPES => {
                    let types: Option<BTreeMap<String, String>> = value.try_into().ok();
                    let types = types.ok_or_else(|| {
                        about(format!("{TYPES} is no table of texts"))
                            .with_hint(format!("write {TYPES} = {{ COLUMN = \"date\" }}"))
                    })?;
                    for (column, kind) in types {
                        let kind = LogicalType::named(&kind).ok_or_else(|| {
                            about(format!("no type {} is known", kind.escape_debug())).with_hint(
                                "one of PostgreSQL's: text, integer, bigint, numeric, boolean, date, \
                                 timestamp, timestamptz, uuid, bytea, jsonb …",
                            )
                        })?;
                        one.types.insert(column, kind);
                    }
                }
                NAMES => {
                    let names: Option<BTreeMap<String, String>> = value.try_into().ok();
                    one.names = names.ok_or_else(|| {
                        about(format!("{NAMES} is no table of texts"))
                            .with_hint(format!("write {NAMES} = {{ NAME = \"NAME IN THE FILE\" }}"))
                    })?;
                }
                _ => {
                    return Err(about(format!("unknown key `{}`", key.escape_debug()))
                        .suggesting(&key, KEYS));
                }
            }
        }
        declared.insert(name, one);
    }
    Ok(declared)
}
