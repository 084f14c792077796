//! A database, a SQLite path, a sheet and the program between them; each test has its own.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sheets_double::{Books, Double, Fault, Options};
use throwaway_postgres::{Database, Server};

pub const TAB: &str = "Выгрузка Пользователей";
pub const KEY: &str = "test-spreadsheet";

/// Values of one row, as text; `None` is NULL.
pub type Row = Vec<Option<String>>;

pub struct Scene {
    pub database: Database<'static>,
    pub folder: tempfile::TempDir,
    pub double: Double,
    // Behind the double: it lives on this runtime.
    runtime: tokio::runtime::Runtime,
}

pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn of(output: Output) -> Ran {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Checks the exit code; shows everything if it is another one.
    #[track_caller]
    pub fn ended(self, code: i32) -> Ran {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// What is on stdout, in one line: long ones are folded.
    pub fn words(&self) -> String {
        self.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The JSON document on stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        let document = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|_| panic!("no JSON: {}\n{}", self.stdout, self.stderr));
        let document: Value = document;
        assert_eq!(document["version"], 1);
        document
    }

    /// The codes of what was set aside with that outcome, with the cell or the row.
    pub fn aside(&self, outcome: &str) -> Vec<(String, String)> {
        let document = self.json();
        let all = document["set_aside"].as_array().unwrap().clone();
        all.iter()
            .filter(|one| one["outcome"] == outcome)
            .map(|one| {
                let place = one["cell"].as_str().map(String::from);
                (
                    place.unwrap_or_else(|| one["row"].to_string()),
                    one["code"].as_str().unwrap().into(),
                )
            })
            .collect()
    }
}

fn book(sheets: Value) -> Books {
    let document = json!({ KEY: { "title": "Бар", "locale": "ru_RU", "timeZone": "Europe/Moscow", "sheets": sheets } });
    Books::from_json(&document.to_string()).unwrap()
}

pub fn tab(title: &str, rows: &Value) -> Value {
    json!({ "title": title, "rowCount": 1000, "columnCount": 30, "cells": rows })
}

impl Scene {
    pub fn new(rows: Value) -> Scene {
        Scene::on(throwaway_postgres::shared().unwrap(), rows)
    }

    /// On another server than the one that most tests share.
    pub fn on(server: &'static Server, rows: Value) -> Scene {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let books = book(json!([tab(TAB, &rows)]));
        let double = runtime.block_on(Double::start(books, Options::default())).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("creds.json"), double.credentials_json()).unwrap();
        let database = server.database("scene").unwrap();
        Scene { database, folder, double, runtime }
    }

    /// Puts other rows into the tab.
    pub fn sheet(&self, rows: Value) {
        self.sheets(json!([tab(TAB, &rows)]));
    }

    pub fn sheets(&self, sheets: Value) {
        let _guard = self.runtime.enter();
        self.double.set_books(book(sheets));
    }

    pub fn fault(&self, fault: &str) {
        self.double.set_faults(vec![fault.parse::<Fault>().unwrap()]);
    }

    pub fn sqlite_path(&self) -> PathBuf {
        self.folder.path().join("users.db")
    }

    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The program with the connection values of this scene and further words; a later word
    /// replaces an earlier one of the same name.
    pub fn command(&self, words: &[&str]) -> Command {
        self.command_to(&self.database.url(), words)
    }

    pub fn command_to(&self, url: &str, words: &[&str]) -> Command {
        let mut command = bare();
        let given = |name: &str| words.iter().any(|word| word.starts_with(name));
        let defaults = [
            ("--pg-db-url", url.to_string()),
            ("--sqlite-db-path", self.sqlite_path().display().to_string()),
            ("--creds-file", self.folder.path().join("creds.json").display().to_string()),
            ("--sheet-key", KEY.to_string()),
            ("--sheets-endpoint", self.double.base_url().to_string()),
        ];
        for (name, value) in defaults {
            if !given(name) {
                command.arg(format!("{name}={value}"));
            }
        }
        command.args(words);
        command
    }

    pub fn migrate(&self, words: &[&str]) -> Ran {
        Ran::of(self.command(words).output().unwrap())
    }

    pub fn migrate_to(&self, url: &str, words: &[&str]) -> Ran {
        Ran::of(self.command_to(url, words).output().unwrap())
    }

    pub fn postgres(&self, sql: &str) -> Vec<Row> {
        self.database.execute(sql).unwrap()
    }

    pub fn sqlite(&self, sql: &str) -> Vec<Row> {
        use rusqlite::types::Value as Stored;
        let connection = rusqlite::Connection::open(self.sqlite_path()).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let width = statement.column_count();
        let text = |stored| match stored {
            Stored::Null => None,
            Stored::Integer(number) => Some(number.to_string()),
            Stored::Real(number) => Some(number.to_string()),
            Stored::Text(text) => Some(text),
            Stored::Blob(bytes) => Some(format!("{bytes:?}")),
        };
        statement
            .query_map([], |row| {
                (0..width).map(|index| row.get::<_, Stored>(index).map(text)).collect()
            })
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap()
    }

    /// All 16 columns of both sides, compared; returns the rows as PostgreSQL prints them.
    #[track_caller]
    pub fn equal(&self) -> Vec<Row> {
        let columns = "id, user_id, username, first_name, status, phone_number, real_name, \
                       birth_date, register_date, last_activity, redeem_date, source, \
                       referrer_id, brought_by_staff_id";
        let postgres = self.postgres(&format!(
            "SELECT {columns}, profile_completed::int, ai_concept FROM users ORDER BY user_id"
        ));
        let sqlite = self.sqlite(&format!(
            "SELECT {columns}, profile_completed, ai_concept FROM users ORDER BY user_id"
        ));
        assert_eq!(postgres, sqlite);
        postgres
    }

    /// How many rows of the file PostgreSQL may lack.
    pub fn pending(&self) -> i64 {
        let sql = "SELECT count(*) FROM dual_side_users, dual_node WHERE seq > pushed";
        self.sqlite(sql)[0][0].as_ref().unwrap().parse().unwrap()
    }

    /// One column of one user, the same on both sides.
    #[track_caller]
    pub fn value(&self, user: i64, column: &str) -> Option<String> {
        let sql = format!("SELECT {column} FROM users WHERE user_id = {user}");
        let (postgres, sqlite) = (self.postgres(&sql), self.sqlite(&sql));
        assert_eq!(postgres, sqlite, "{column} of {user}");
        assert_eq!(postgres.len(), 1, "user {user}");
        postgres[0][0].clone()
    }

    /// Neither database has a table, and there is no SQLite file.
    #[track_caller]
    pub fn untouched(&self) {
        let names = self.postgres(
            "SELECT nspname || '.' || relname FROM pg_class c JOIN pg_namespace n \
             ON n.oid = c.relnamespace WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')",
        );
        assert_eq!(names, Vec::<Row>::new());
        assert!(!self.sqlite_path().exists(), "a SQLite file was left behind");
    }

    /// Everything that identifies the versions of all rows on both sides. (What the file keeps
    /// for itself moves with every exchange.)
    pub fn versions(&self) -> (Vec<Row>, Vec<Row>) {
        let postgres = self.postgres(
            "SELECT xmin, cmin, ctid, u.* FROM users u UNION ALL \
             SELECT xmin, cmin, ctid, NULL, NULL, run_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL \
             FROM dual.import_run ORDER BY 5",
        );
        let mut sqlite = self.sqlite(
            "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE tbl_name NOT LIKE 'dual_%' \
             ORDER BY 2",
        );
        sqlite.extend(self.sqlite("SELECT rowid, * FROM dual_import_run ORDER BY 1"));
        // Whatever a value is, also one that is no text.
        let columns = self.sqlite("SELECT name FROM pragma_table_info('users')");
        let each: Vec<String> = columns
            .iter()
            .map(|row| format!("typeof({0}), hex({0})", row[0].as_deref().unwrap()))
            .collect();
        sqlite.extend(
            self.sqlite(&format!("SELECT {} FROM users ORDER BY user_id", each.join(", "))),
        );
        (postgres, sqlite)
    }
}

/// The program without the environment of whoever runs the tests.
pub fn bare() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dual_migrate"));
    for name in
        ["DATABASE_URL", "DATABASE_PATH", "GOOGLE_CREDENTIALS_JSON", "GOOGLE_SHEET_KEY", "DUAL_LOG"]
    {
        command.env_remove(name);
    }
    crate::core_scene::without_libpq(&mut command);
    command.stdin(Stdio::null());
    command
}

/// The heading of the full export.
pub fn heading() -> Value {
    json!([
        "Дата Регистрации",
        "ID Пользователя",
        "Имя в Telegram",
        "Юзернейм в Telegram",
        "Номер Телефона",
        "Дата Предоставления Контакта",
        "Настоящее Имя",
        "Дата Рождения",
        "Профиль Завершен",
        "Статус Награды",
        "Источник Привлечения",
        "ID Пригласившего",
        "Дата Погашения",
        "Сотрудник (полное имя)"
    ])
}

/// A row as the bot appends it, with that id, date and status label.
pub fn bot_row(date: &str, id: i64, status: &str) -> Value {
    json!([date, id, "Имя", "username", "", "", "", status, "direct", "", ""])
}
