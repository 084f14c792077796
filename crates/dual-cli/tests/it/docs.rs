//! The documents say what the programs do: whatever a user can type, set or receive stands in
//! the reference, and the examples in the documents run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use dual_cli::arguments::{Dual, DualMigrate};
use dual_import::mapping::Code;
use serde_json::{Value, json};

use crate::core_scene::Pair;
use crate::scene::{Scene, bare, bot_row, heading};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// Fails with everything that is missing at once; a list that came out too short would prove
/// nothing.
#[track_caller]
fn all_in<'a>(document: &str, least: usize, terms: impl IntoIterator<Item = &'a str>) {
    let terms: BTreeSet<&str> = terms.into_iter().collect();
    assert!(terms.len() >= least, "only {terms:?} found to look for");
    let text = read(document);
    // As a word of its own: `rows` does not stand for `row`.
    let has = |term: &str| {
        text.split(&format!("`{term}")).skip(1).any(|rest| {
            !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        })
    };
    let missing: Vec<&str> = terms.into_iter().filter(|term| !has(term)).collect();
    assert!(missing.is_empty(), "{document} does not have {missing:?}");
}

/// What stands between `before` and the next `"` in a text, at each place.
fn quoted_after<'a>(text: &'a str, before: &str) -> Vec<&'a str> {
    text.split(before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

fn help() -> String {
    let output = bare().arg("--help").output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The long options of a command and of those below it.
fn options(command: &clap::Command) -> BTreeSet<String> {
    let own = command.get_arguments().filter_map(|argument| argument.get_long());
    let own = own.map(|name| format!("--{name}"));
    own.chain(command.get_subcommands().flat_map(options)).collect()
}

#[test]
fn every_option_is_in_the_reference_and_those_of_the_job_in_both_readmes() {
    let every = options(&Dual::command());
    all_in("docs/reference.md", 15, every.iter().map(String::as_str));
    let job = options(&DualMigrate::command());
    all_in("README.md", 14, job.iter().map(String::as_str));
    all_in("README.ru.md", 14, job.iter().map(String::as_str));
}

#[test]
fn every_command_is_in_the_reference() {
    let mut commands = Vec::new();
    let mut open = vec![("dual".to_string(), Dual::command())];
    while let Some((name, command)) = open.pop() {
        open.extend(
            command
                .get_subcommands()
                .map(|sub| (format!("{name} {}", sub.get_name()), sub.clone())),
        );
        if !command.is_subcommand_required_set() {
            commands.push(name);
        }
    }
    all_in("docs/reference.md", 16, commands.iter().map(String::as_str));
}

#[test]
fn the_readmes_show_a_part_of_the_example_program() {
    let program = read("crates/dual-database/examples/service.rs");
    for document in ["README.md", "README.ru.md", "docs/guide.md", "docs/guide.ru.md"] {
        let text = read(document);
        let shown = text.split("```rust\n").nth(1).and_then(|rest| rest.split("```").next());
        let indented = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.trim().to_string()).collect()
        };
        let (shown, program) = (indented(shown.unwrap()), indented(&program));
        let found = program.windows(shown.len()).any(|window| window == shown);
        assert!(found, "{document}: {shown:#?}");
    }
}

#[test]
fn every_exit_code_is_in_the_reference_and_in_both_readmes() {
    let help = help();
    let (_, listed) = help.split_once("Exit codes:").unwrap();
    let mut codes: BTreeSet<&str> =
        listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    // The help could lag behind the code.
    let code = include_str!("../../src/exit.rs");
    let numbers = code.split("=> ").skip(1).filter_map(|rest| rest.split([',', '\n']).next());
    codes.extend(numbers.filter(|word| word.parse::<u8>().is_ok()));
    assert!(codes.len() >= 7, "{codes:?}");
    for document in ["docs/reference.md", "README.md", "README.ru.md"] {
        let text = read(document);
        for code in &codes {
            assert!(text.contains(&format!("\n| {code} | ")), "{document}: exit code {code}");
        }
    }
}

#[test]
fn every_reason_code_and_every_kind_of_error_is_in_the_reference() {
    let codes = || Code::all().iter().map(|code| code.as_str());
    for document in ["docs/reference.md", "docs/migrate.md", "docs/migrate.ru.md"] {
        all_in(document, 14, codes());
    }
    let kinds = quoted_after(include_str!("../../src/exit.rs"), "=> \"");
    all_in("docs/reference.md", 10, kinds);
}

#[test]
fn every_environment_variable_is_in_the_reference() {
    let mut names = BTreeSet::new();
    let mut folders = vec![root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // Only what users run: neither tests nor benchmarks.
                if !["tests", "benches", "target"].iter().any(|name| path.ends_with(name)) {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = std::fs::read_to_string(path).unwrap();
                for before in ["var(\"", "var_os(\"", "from_env(\"", "env = \""] {
                    names.extend(quoted_after(&text, before).into_iter().map(String::from));
                }
            }
        }
    }
    names.insert(throwaway_postgres::BIN_VARIABLE.to_string());
    all_in("docs/reference.md", 9, names.iter().map(String::as_str));
}

/// The names of all members, at any depth.
fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                into.insert(name.clone());
                // Their members are layouts and columns.
                if name != "layouts" && name != "changed_columns" {
                    names(value, into);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, into)),
        _ => {}
    }
}

#[test]
fn every_field_of_the_documents_of_dual_is_in_the_reference() {
    let pair = Pair::new();
    let mut found = BTreeSet::new();
    pair.json(0, &["user", "add", r#"{"user_id": 1, "source": "old"}"#]);
    pair.postgres("ALTER TABLE users ADD CHECK (phone_number <> 'no')");
    pair.sqlite("INSERT INTO users (user_id, phone_number) VALUES (2, 'no')");
    pair.sqlite("UPDATE users SET source = 'script' WHERE user_id = 1");
    pair.postgres("UPDATE users SET source = 'psql'");
    for (code, words) in [
        (1, &["sync", "--once"][..]),
        (0, &["init"]),
        (0, &["status"]),
        (1, &["verify"]),
        (0, &["conflicts"]),
        (0, &["quarantine"]),
        (0, &["user", "get", "1"]),
        (0, &["user", "list"]),
        (0, &["user", "delete", "1"]),
        (5, &["user", "get", "1"]),
        (0, &["uninstall", "--yes"]),
    ] {
        names(&pair.json(code, words), &mut found);
    }
    // The columns are described as such.
    for column in dual_database::schema::users().columns() {
        found.remove(&*column.name);
    }
    all_in("docs/reference.md", 40, found.iter().map(String::as_str));
}

#[test]
fn every_field_of_the_json_document_is_in_the_reference() {
    let scene = Scene::new(json!([
        heading(),
        bot_row("2025-07-10 12:00:05", 101, "Купон выдан"),
        bot_row("2025-07-10 12:00:05", 102, "Почти выдан"),
    ]));
    let mut found = BTreeSet::new();
    names(&scene.migrate(&["--json"]).ended(1).json(), &mut found);
    names(&scene.migrate(&["--json", "--sheet-name", "Нет"]).ended(4).json(), &mut found);
    all_in("docs/reference.md", 30, found.iter().map(String::as_str));
    // The example is a document, too.
    let reference = read("docs/reference.md");
    let (_, example) = reference.split_once("```json\n{\n").unwrap();
    let example = format!("{{{}", example.split("```").next().unwrap());
    let mut shown = BTreeSet::new();
    names(&serde_json::from_str(&example).unwrap(), &mut shown);
    for inside_errors in ["kind", "message", "hint"] {
        found.remove(inside_errors);
    }
    assert_eq!(shown, found);
}

#[test]
fn every_key_of_a_mapping_is_documented_and_the_example_runs() {
    let form = include_str!("../../../dual-import/src/mapping/declaration/file.rs");
    let keys = form
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(": ")?.0.into())
        .filter(|key: &&str| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'));
    // Sections are written in brackets.
    let sections = ["columns", "ignored", "defaults", "layouts", "remarks"];
    let text = read("docs/mapping.md");
    for section in sections {
        assert!(text.contains(&format!("[{section}")), "docs/mapping.md: {section}");
    }
    all_in("docs/mapping.md", 15, keys.filter(|key| !sections.contains(key)));

    let block = |language: &str| {
        let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
        rest.split("```").next().unwrap().to_string()
    };
    let scene = Scene::new(json!([]));
    let (csv, toml) =
        (scene.file("club.csv", block("csv")), scene.file("club.toml", block("toml")));
    let paths = [csv.to_str().unwrap(), toml.to_str().unwrap()];
    let ran = scene.migrate(&["--csv", paths[0], "--mapping", paths[1]]).ended(1);
    // Everything below the name of the file.
    let shown = block("text\nfile club.csv");
    assert!(ran.stdout.contains(shown.trim()), "{}\n{shown}", ran.stdout);
    assert_eq!(scene.value(7_000_000_002, "status").as_deref(), Some("redeemed"));
    let registered = scene.value(7_000_000_002, "register_date");
    assert_eq!(registered.as_deref(), Some("2025-03-01 21:00:00"));
}

#[test]
fn both_readmes_begin_with_the_two_commands() {
    for document in ["README.md", "README.ru.md"] {
        let text = read(document);
        let (_, first) = text.split_once("```sh\n").unwrap();
        let commands: Vec<&str> = first.lines().take_while(|line| *line != "```").collect();
        assert_eq!(commands, ["cargo run --bin dual demo", "cargo test --workspace"], "{document}");
    }
}

#[test]
fn relative_links_lead_somewhere() {
    let mut documents =
        vec![PathBuf::from("README.md"), "README.ru.md".into(), "CHANGELOG.md".into()];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "md") {
            documents.push(path.strip_prefix(root()).unwrap().to_path_buf());
        }
    }
    assert!(documents.len() >= 7, "{documents:?}");
    let mut checked = 0;
    for document in &documents {
        let text = read(document.to_str().unwrap());
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            let folder = root().join(document.parent().unwrap());
            let path = if file.is_empty() { root().join(document) } else { folder.join(file) };
            assert!(path.exists(), "{}: {target}", document.display());
            if !place.is_empty() {
                let headings = std::fs::read_to_string(&path).unwrap();
                let found = headings
                    .lines()
                    .filter(|line| line.starts_with('#'))
                    .any(|line| anchor(line) == place);
                assert!(found, "{}: {target} has no such heading", document.display());
            }
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} links found");
}

/// A heading's anchor, as forges make it.
fn anchor(heading: &str) -> String {
    heading
        .trim_start_matches('#')
        .trim()
        .to_lowercase()
        .chars()
        .filter_map(|c| match c {
            ' ' => Some('-'),
            c if c.is_alphanumeric() || c == '-' || c == '_' => Some(c),
            _ => None,
        })
        .collect()
}

#[test]
fn every_parameter_of_a_connection_is_in_the_reference() {
    let folder = "crates/dual-database/src/store/postgres";
    let source = read(&format!("{folder}/parameter.rs"));
    let (_, known) = source.split_once("const KNOWN").unwrap();
    let (known, _) = known.split_once("\n];").unwrap();
    let parameters =
        quoted_after(known, "\n    (\"").into_iter().chain(quoted_after(known, "\n        \""));
    let parameters = parameters.filter(|name| !name.contains([' ', '=']));
    all_in("docs/reference.md", 50, parameters);
    let source = read(&format!("{folder}/environment.rs"));
    let (_, read_ones) = source.split_once("const VARIABLES").unwrap();
    all_in(
        "docs/reference.md",
        27,
        quoted_after(read_ones, "(\"").into_iter().filter(|n| n.starts_with("PG")),
    );
    all_in("docs/reference.md", 3, ["PGSERVICE", "PGSERVICEFILE", "PGSYSCONFDIR", "PGREQUIRESSL"]);
}

/// The files of Rust code below a folder.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn unsafe_code_stands_only_where_the_document_says() {
    let mut files = Vec::new();
    for folder in ["crates", "fuzz/fuzz_targets", "fuzz/src", "examples"] {
        sources(&root().join(folder), &mut files);
    }
    assert!(files.len() > 300, "only {} files were looked at", files.len());
    // Written apart, so that this file does not find itself.
    let mark = ["uns", "afe"].concat();
    let kinds =
        [" {", " fn", " impl", " extern", " trait", "("].map(|kind| format!("{mark}{kind}"));
    let found: Vec<String> = files
        .into_iter()
        .filter(|path| {
            let text = std::fs::read_to_string(path).unwrap();
            let code = |line: &&str| !line.trim_start().starts_with("//");
            text.lines().filter(code).any(|line| kinds.iter().any(|kind| line.contains(kind)))
        })
        .map(|path| path.strip_prefix(root()).unwrap().display().to_string())
        .collect();
    assert_eq!(found, ["crates/dual-database/src/store/sqlite/extension.rs"]);
    all_in("docs/security.md", 1, found.iter().map(String::as_str));
    // Where it can be, the compiler itself refuses it for good.
    for name in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = name.unwrap().path().join("src");
        for head in ["lib.rs", "main.rs"].map(|file| folder.join(file)) {
            let is_library = folder.ends_with("dual-database/src");
            let Ok(text) = std::fs::read_to_string(&head) else { continue };
            let forbids = text.contains(&format!("#![forbid({mark}_code)]"));
            assert!(forbids || is_library, "{}", head.display());
        }
    }
    for (file, open) in
        [("lib.rs", "store"), ("store/mod.rs", "sqlite"), ("store/sqlite/mod.rs", "extension")]
    {
        let text = read(&format!("crates/dual-database/src/{file}"));
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2) {
            let declares =
                pair[1].ends_with(';') && pair[1].contains("mod ") && !pair[1].contains("use ");
            let is_open = pair[1].ends_with(&format!("mod {open};"));
            let forbids = pair[0] == format!("#[forbid({mark}_code)]");
            assert!(!declares || is_open != forbids, "{file}: {}", pair[1]);
        }
    }
}
