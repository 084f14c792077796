//! What a person declares of tables before they are joined, in the settings file.

use serde_json::json;

use crate::core_scene::Pair;

/// Runs it in the pair's folder, where its settings are.
fn init(pair: &Pair<'_>, words: &[&str]) -> crate::scene::Ran {
    let mut command = pair.command(&["init"]);
    command.args(words).current_dir(pair.folder.path());
    crate::scene::Ran::of(command.output().unwrap())
}

fn settings(pair: &Pair<'_>, text: &str) {
    std::fs::write(pair.folder.path().join("dual.toml"), text).unwrap();
}

fn scene() -> Pair<'static> {
    let pair = Pair::new();
    pair.postgres("CREATE TABLE visits (day date, code text, note text, secret text)");
    pair.postgres("INSERT INTO visits VALUES ('2024-05-06', 'a', 'there', 'x')");
    pair.postgres("CREATE TABLE \"гости; да\" (id serial PRIMARY KEY, name text)");
    pair.postgres("INSERT INTO \"гости; да\" (name) VALUES ('Анна')");
    pair.sqlite("CREATE TABLE visits (day TEXT, code TEXT, note TEXT, born TEXT, secret TEXT)");
    pair.sqlite("INSERT INTO visits VALUES ('2024-05-06', 'a', NULL, '2000-01-02', 'y')");
    pair.sqlite("CREATE TABLE \"гости; да\" (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)");
    pair.sqlite("INSERT INTO \"гости; да\" (name) VALUES ('Вера')");
    pair
}

#[test]
fn a_key_types_and_what_is_left_out_are_as_the_settings_say() {
    let pair = scene();
    let skipped = init(&pair, &["--json"]).ended(2).json();
    assert!(skipped["error"]["message"].as_str().unwrap().contains("no key"), "{skipped}");
    settings(
        &pair,
        "[tables.visits]\nkey = ['day', 'code']\nleave_out = ['secret']\ntypes = { born = 'date' }\n\
         [tables.'гости; да']\nnumbers = 'natural'\n",
    );
    let plan = init(&pair, &["--apply", "--json"]).ended(0).json();
    let of = |name: &str| {
        let tables = plan["tables"].as_array().unwrap();
        tables.iter().find(|table| table["table"] == name).cloned().unwrap()
    };
    let visits = of("visits");
    assert_eq!((&visits["key"], &visits["state"]), (&json!(["day", "code"]), &json!("joined")));
    let rows = "SELECT day, code, note, born FROM visits";
    let row = ["2024-05-06", "a", "there", "2000-01-02"].map(|text| Some(text.to_owned()));
    assert_eq!((pair.postgres(rows), pair.sqlite(rows)), (vec![row.to_vec()], vec![row.to_vec()]));
    let born = "SELECT data_type FROM information_schema.columns WHERE column_name = 'born'";
    assert_eq!(pair.postgres(born), [[Some("date".to_owned())]]);
    // Each side keeps its own, also later; nobody is asked about numbers that are natural.
    pair.postgres("UPDATE visits SET secret = 'z', note = 'again'");
    pair.run(&["sync"]).ended(0);
    assert_eq!(
        pair.sqlite("SELECT note, secret FROM visits"),
        [["again", "y"].map(|t| Some(t.to_owned()))]
    );
    assert_eq!(pair.postgres("SELECT name FROM \"гости; да\""), [[Some("Анна".to_owned())]]);
    let status = pair.json(0, &["status"]);
    assert_eq!(
        (&status["not_carried"], &status["sync"]),
        (&json!([]), &json!("following")),
        "{status}"
    );
    assert_eq!(pair.json(0, &["verify"])["equal"], true);
    assert!(pair.database.execute("INSERT INTO visits VALUES ('2024-05-06', 'a')").is_err());
}

#[test]
fn the_plan_is_written_to_be_changed() {
    let pair = scene();
    pair.sqlite("DELETE FROM \"гости; да\"");
    settings(&pair, "# mine\nverify_interval = 60");
    let told = init(&pair, &["--write-config"]).ended(0).stderr;
    assert!(told.contains("the tables stand in dual.toml now"), "{told}");
    let text = std::fs::read_to_string(pair.folder.path().join("dual.toml")).unwrap();
    assert!(text.starts_with("# mine\nverify_interval = 60\n"), "{text}");
    assert!(
        text.contains("[tables.\"гости; да\"]\nkey = [\"id\"]\nnumbers = \"automatic\""),
        "{text}"
    );
    // It is read again as it was written; a second time it is not written.
    init(&pair, &["--apply"]).ended(0);
    let again = init(&pair, &["--write-config"]).ended(2).stderr;
    assert!(again.contains("has tables already"), "{again}");
    assert_eq!(std::fs::read_to_string(pair.folder.path().join("dual.toml")).unwrap(), text);
}

#[test]
fn what_is_no_declaration_is_told_and_nothing_is_changed() {
    let pair = scene();
    for (text, wanted) in [
        ("[tables.visit]\nkey = ['day']", "did you mean `visits`?"),
        ("[tables.visits]\nkey = ['dey']", "did you mean `day`?"),
        ("[tables.visits]\nkey = 'day'", "write key = [\"COLUMN\"]"),
        ("[tables.visits]\nkeys = ['day']", "did you mean `key`?"),
        ("[tables.visits]\nkey = ['day']\nleave_out = ['day']", "cannot be left out"),
        ("[tables.visits]\nnumbers = 'auto'", "neither automatic nor natural"),
        ("[tables.visits]\ntypes = { born = 'colour' }", "no type colour is known"),
        ("[tables.visits]\nkey = ['day']\ntypes = { note = 'date' }", "which says its type"),
        ("tables = 5", "write [tables.NAME]"),
    ] {
        settings(&pair, text);
        let error = init(&pair, &["--apply", "--json"]).ended(2).json()["error"].clone();
        let shown = format!("{} {}", error["message"], error["hint"]).replace("\\\"", "\"");
        assert!(shown.contains(wanted), "{text}: {error}");
    }
    assert!(pair.postgres("SELECT 1 FROM pg_namespace WHERE nspname = 'dual'").is_empty());
    // Values that do not fit a declared type, and a key that repeats, are told of the table.
    pair.postgres("INSERT INTO visits VALUES ('2024-05-06', 'b', 'there')");
    settings(&pair, "[tables.visits]\nkey = ['day']\n");
    let text = init(&pair, &["--tables", "visits"]).ended(1).stdout;
    assert!(text.contains("repeats"), "{text}");
}
