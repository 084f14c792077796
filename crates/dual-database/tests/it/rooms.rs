//! The rooms of the library have one direction: a lower one never imports an upper one.

use std::path::{Path, PathBuf};

/// From the lowest. Rooms of one line do not import each other.
const FLOORS: [&[&str]; 14] = [
    &["error", "phase", "private"],
    &["stamp"],
    &["clock"],
    &["value"],
    &["schema"],
    &["merge"],
    &["protocol"],
    &["store::postgres", "store::sqlite"],
    &["health", "verify", "uninstall"],
    &["adoption"],
    &["sync"],
    &["init"],
    &["database"],
    &["users"],
];

/// Every file of the library below the folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|kind| kind == "rs"))
        .collect()
}

/// The room of a path of modules, and its floor.
fn room(path: &str) -> Option<(usize, &'static str)> {
    FLOORS.iter().enumerate().find_map(|(floor, rooms)| {
        let found = rooms.iter().find(|room| {
            path.strip_prefix(**room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        found.map(|room| (floor, *room))
    })
}

/// The paths that a file names from the root of the crate, in `use` or anywhere else, but for comments.
fn named(text: &str) -> Vec<String> {
    let code: String = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let (names, base) = match rest.strip_prefix('{') {
            Some(group) => (group.split_once('}').unwrap().0, ""),
            None => match rest.strip_prefix("store::{") {
                Some(group) => (group.split_once('}').unwrap().0, "store::"),
                None => (rest, ""),
            },
        };
        let is_of_a_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let group = names.len() < rest.len();
        let names: Vec<&str> = if group { names.split(',').collect() } else { vec![names] };
        found.extend(names.into_iter().map(|name| {
            let end = name.trim().find(|c| !is_of_a_path(c)).unwrap_or(name.trim().len());
            format!("{base}{}", &name.trim()[..end])
        }));
    }
    found
}

/// What a file imports from where it may not.
fn wrong(path: &str, text: &str) -> Vec<String> {
    let Some((floor, own)) = room(path) else { return Vec::new() };
    named(text)
        .into_iter()
        .filter(|name| room(name).is_some_and(|(above, other)| above >= floor && other != own))
        .map(|name| format!("{path} uses {name}"))
        .collect()
}

#[test]
fn a_lower_room_never_imports_an_upper_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut upwards = Vec::new();
    let mut rooms: Vec<&str> = Vec::new();
    for file in files(&root) {
        let path = file.strip_prefix(&root).unwrap().with_extension("");
        let path = path.to_str().unwrap().replace('/', "::");
        let path = path.strip_suffix("::mod").unwrap_or(&path);
        // The names of the crate, and of the stores.
        if path == "lib" || path == "store" {
            continue;
        }
        let (_, own) = room(path).unwrap_or_else(|| panic!("{path} has no floor"));
        rooms.push(own);
        upwards.extend(wrong(path, &std::fs::read_to_string(&file).unwrap()));
    }
    assert_eq!(upwards, Vec::<String>::new());
    let empty = |name: &&&str| !rooms.contains(*name);
    assert_eq!(FLOORS.iter().copied().flatten().find(empty), None, "a room that is not there");
}

/// Where a text takes the name of a declared column for that of the file: `NAME.name`, of what is called like one.
fn takes_the_name(text: &str) -> Vec<String> {
    const COLUMNS: [&str; 8] =
        ["column", "c", "key", "key()", "numbered", "surrogate", "id", "anew"];
    let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let taken = |line: &&str| {
        line.match_indices(".name").any(|(at, name)| {
            let before = &line[..at];
            let begin =
                before.rfind(|c| !is_part(c) && c != '(' && c != ')').map_or(0, |at| at + 1);
            let rest = &line[at + name.len()..];
            COLUMNS.contains(&&before[begin..]) && !rest.starts_with(|c| is_part(c) || c == '(')
        })
    };
    code.filter(taken).map(|line| line.trim().to_owned()).collect()
}

#[test]
fn the_file_s_sql_calls_columns_as_the_file_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rooms = ["store/sqlite", "verify", "database/report.rs", "adoption/file.rs"];
    let is_of_the_file =
        |file: &PathBuf| rooms.iter().any(|room| file.starts_with(root.join(room)));
    for file in files(&root).into_iter().filter(is_of_the_file) {
        let text = std::fs::read_to_string(&file).unwrap();
        let found = takes_the_name(&text);
        assert!(found.is_empty(), "{}: {found:?}: say name_in(Dialect::Sqlite)", file.display());
    }
    assert_eq!(takes_the_name("quoted(&column.name)\n// column.name\ncolumn.name_in(s)").len(), 1);
    assert_eq!(takes_the_name("x(&table.key().name);\nfound.name;\ntable.name()").len(), 1);
}

#[test]
fn an_arrow_that_goes_back_up_is_seen() {
    let seen = |text: &str| wrong("store::postgres::copy", text);
    assert_eq!(seen("use crate::sync::Shared;"), ["store::postgres::copy uses sync::Shared"]);
    assert_eq!(seen("use crate::{Error, init, Store};").len(), 1);
    assert_eq!(seen("use crate::store::{postgres::Session, sqlite::File};").len(), 1);
    assert_eq!(seen("fn f() { crate::database::open() }").len(), 1);
    assert_eq!(seen("//! See [`crate::sync`].\nuse crate::merge::Version;"), [""; 0]);
    assert_eq!(seen("use crate::store::postgres::Session;\nuse pub_crate::sync;"), [""; 0]);
}
