//! From what the driver says to this library's errors, by one table ([`rules`]).

mod rules;

use std::fmt;
use std::time::Duration;

use tokio_postgres::error::{DbError, Severity};

use super::capture::is_named_as_ours;
use super::connect;
use crate::schema::quoted;
use crate::{Error, Kind, Result, Store};
use rules::{NO_SPACE, UNAVAILABLE, rule_for};

/// What the server said, without any value of a cell: the cause in our errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    /// The five characters that say what happened.
    pub sqlstate: String,
    /// The server's message, or its condition's name where the message may quote a value.
    pub message: String,
    /// The table that was refused, if the server names it.
    pub table: Option<String>,
    /// The column.
    pub column: Option<String>,
    /// The constraint.
    pub constraint: Option<String>,
    /// The line of a COPY at which it happened, counted from 1.
    pub copy_line: Option<u64>,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        for (name, value) in
            [("constraint", &self.constraint), ("table", &self.table), ("column", &self.column)]
        {
            // The server's message usually names some of them.
            if let Some(value) = value.as_deref().filter(|value| !self.message.contains(*value)) {
                write!(f, ", {name} {}", quoted(value))?;
            }
        }
        if let Some(line) = self.copy_line {
            write!(f, ", line {line} of the COPY")?;
        }
        write!(f, " (SQLSTATE {})", self.sqlstate)
    }
}

impl std::error::Error for ServerError {}

impl ServerError {
    pub(super) fn new(error: &DbError) -> ServerError {
        let sqlstate = error.code().code().to_owned();
        let (copy_line, copy_column) = copy_place(error.where_().unwrap_or_default());
        ServerError {
            message: without_values(&sqlstate, error.message()),
            table: error.table().map(str::to_owned),
            column: error.column().map(str::to_owned).or(copy_column),
            constraint: error.constraint().map(str::to_owned),
            copy_line,
            sqlstate,
        }
    }

    /// The error of ours for it. `user` and `database` are for the hint.
    pub(super) fn into_error(self, operation: &'static str, user: &str, database: &str) -> Error {
        let rule = rule_for(&self.sqlstate);
        let hint = match self.sqlstate.as_str() {
            "42501"
                if operation == connect::OPERATION && self.message.contains("for database ") =>
            {
                let (database, user) = (quoted(database), quoted(user));
                format!("its owner can run: GRANT CONNECT ON DATABASE {database} TO {user}")
            }
            "42501" => missing_right(&self.message, user, database),
            "28000" if self.message.contains("no encryption") => {
                "the server demands TLS: put sslmode=require into the URL".into()
            }
            _ => rule.hint.to_owned(),
        };
        let error = Error::new(rule.kind, operation, self.to_string()).with_source(self);
        if hint.is_empty() { error } else { error.with_hint(hint) }
    }
}

/// Messages of these classes quote what a cell or a trigger says. Where there is no quotation
/// mark of any language in it, there is no value either.
fn without_values(sqlstate: &str, message: &str) -> String {
    let of = |classes: &[&str]| classes.iter().any(|class| sqlstate.starts_with(class));
    // A code of nobody's is one that a trigger of the user's has chosen, with its own words.
    let custom = rule_for(sqlstate).code.is_empty() && !of(&["25", "42", "DU"]);
    let may_quote = custom || of(&["22", "21", "P0", "54", "44"]);
    let quotes = |c: char| "\"'`«»„“”‘’‚‹›「」".contains(c);
    if !may_quote || (!custom && sqlstate != "P0001" && !message.contains(quotes)) {
        return message.to_owned();
    }
    match sqlstate {
        "22P02" => "a text is not of the column's type",
        "22003" => "a number is out of the range of its type",
        "2200H" => "a sequence has come to its end",
        "22007" => "a date or time cannot be read",
        "22008" => "a date or time is out of range",
        "22021" => "a character does not exist in the database's encoding",
        "22P05" => "a character cannot be converted to the database's encoding",
        "22P04" => "the COPY data are malformed",
        "22001" => "a text is too long for its column",
        "P0001" => "a trigger or a function of the database raised an error",
        _ if custom => "a trigger or a function of the database raised an error",
        code if code.starts_with("44") => "a row violates the check option of a view",
        _ => "a value was refused",
    }
    .to_owned()
}

/// `COPY users, line 3, column age: "abc"`: the line in any language, the column in English.
fn copy_place(context: &str) -> (Option<u64>, Option<String>) {
    let Some(place) = context.strip_prefix("COPY ") else { return (None, None) };
    let mut parts = place.splitn(4, ", ");
    let line = parts.nth(1).and_then(|part| {
        part.split(|c: char| !c.is_ascii_digit()).find(|digits| !digits.is_empty())?.parse().ok()
    });
    let column = parts.next().and_then(|part| {
        let name = part.strip_prefix("column ")?;
        Some(name.split_once(':').map_or(name, |(name, _)| name).to_owned())
    });
    (line, column)
}

/// The statement that gives the missing right, as far as the (English) message says which.
fn missing_right(message: &str, user: &str, database: &str) -> String {
    let to = quoted(user);
    let object = |prefix: &str| {
        let name = message.strip_prefix(prefix)?;
        Some(name.trim_matches('"').to_owned())
    };
    if message.starts_with("permission denied to create temporary tables") {
        return format!(
            "the owner of the database can run: GRANT TEMPORARY ON DATABASE {} TO {to}",
            quoted(database)
        );
    }
    let refused = ["table ", "relation ", "function "]
        .into_iter()
        .find_map(|what| object(&format!("permission denied for {what}")));
    if refused.is_some_and(|name| is_named_as_ours(&name)) {
        return format!(
            "`dual init` names every right that {to} lacks, with the statement for each"
        );
    }
    for (prefix, right) in [
        ("permission denied for schema ", "USAGE, CREATE ON SCHEMA"),
        ("permission denied for table ", "SELECT, INSERT, UPDATE, DELETE ON TABLE"),
        ("permission denied for relation ", "SELECT, INSERT, UPDATE, DELETE ON TABLE"),
        ("permission denied for sequence ", "USAGE, UPDATE ON SEQUENCE"),
        ("permission denied for database ", "CREATE, CONNECT ON DATABASE"),
    ] {
        if let Some(name) = object(prefix) {
            return format!("its owner can run: GRANT {right} {} TO {to}", quoted(&name));
        }
    }
    if let Some(name) = object("query would be affected by row-level security policy for table ") {
        return format!("{} hides rows from {to}: {}", quoted(&name), sees_all(&to));
    }
    match object("must be owner of table ").or_else(|| object("must be owner of relation ")) {
        Some(name) => format!("let the owner of the table {} run this command once", quoted(&name)),
        None => format!("ask the owner of the database for the right; the user here is {to}"),
    }
}

/// How a role comes to see every row, while the policies go on for all others.
pub(super) fn sees_all(role: &str) -> String {
    format!("a superuser can run: ALTER ROLE {role} BYPASSRLS")
}

/// The SQLSTATE in an error of this room, if the server sent one.
#[must_use]
pub fn sqlstate(error: &Error) -> Option<&str> {
    server_error(error).map(|server| server.sqlstate.as_str())
}

/// Whether the server does not support it on that table, one with rules for example.
pub(super) fn is_unsupported(error: &Error) -> bool {
    sqlstate(error) == Some("0A000")
}

/// Whether the same transaction, repeated, can succeed without anybody doing anything.
#[must_use]
pub fn is_retryable(error: &Error) -> bool {
    match sqlstate(error) {
        Some(code) => rule_for(code).retry,
        None => error.kind() == UNAVAILABLE,
    }
}

fn server_error(error: &Error) -> Option<&ServerError> {
    std::error::Error::source(error)?.downcast_ref()
}

/// The server, as far as errors speak of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// `host:port`.
    pub(super) address: String,
    pub(super) user: String,
    pub(super) database: String,
}

impl Peer {
    /// The error for what the driver says about `operation`. `closing` is why the connection
    /// ended, where that is known.
    pub(super) fn failure(
        &self,
        operation: &'static str,
        error: &tokio_postgres::Error,
        closing: Option<&ServerError>,
    ) -> Error {
        if let Some(server) = error.as_db_error() {
            return ServerError::new(server).into_error(operation, &self.user, &self.database);
        }
        if let Some(server) = closing {
            return server.clone().into_error(operation, &self.user, &self.database);
        }
        let cause = std::error::Error::source(error);
        let io = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
        let text = error.to_string();
        if error.is_closed() || io.is_some() {
            let reason = io.map_or("the connection ended".to_owned(), describe_io);
            return self.lost(operation, &reason);
        }
        if text.starts_with("authentication error") {
            let reason = cause.map(ToString::to_string).unwrap_or(text);
            return Error::new(Kind::AccessDenied, operation, reason)
                .with_hint("check the user and the password in the URL");
        }
        if text.starts_with("unexpected message") {
            return self.lost(operation, "the answer is not what PostgreSQL would send");
        }
        // Conversions of parameters and rows: the cause may show a value.
        Error::new(Kind::Internal, operation, text)
    }

    /// The server cannot be reached, or not any more.
    pub(super) fn lost(&self, operation: &'static str, reason: &str) -> Error {
        Error::new(UNAVAILABLE, operation, format!("{}: {reason}", self.address))
    }

    /// No answer within the time allowed.
    pub(super) fn silent(&self, operation: &'static str, limit: Duration) -> Error {
        self.lost(operation, &format!("no answer within {} s", limit.as_secs_f32()))
            .with_hint("the server or the network is stuck; the connection was given up")
    }
}

/// An input or output error without the numbers of the operating system.
pub(super) fn describe_io(error: &std::io::Error) -> String {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::ConnectionReset => "connection reset".into(),
        ErrorKind::TimedOut => "no answer in time".into(),
        ErrorKind::UnexpectedEof => "the connection was closed".into(),
        ErrorKind::BrokenPipe => "the connection is broken".into(),
        _ => error.to_string(),
    }
}

/// Whether an answer to COMMIT leaves open what became of it: the server said it while it was
/// ending the session, or says itself that it does not know (40003).
pub(super) fn leaves_commit_open(error: &tokio_postgres::Error) -> bool {
    match error.as_db_error() {
        None => true,
        Some(server) => {
            let code = server.code().code();
            let ending =
                matches!(server.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
            ending || code == "40003" || code.starts_with("08") || code.starts_with("57P")
        }
    }
}

/// What a refused BEGIN means: a server in recovery, to which a pooler has led, says that it does not
/// support writes.
pub(super) fn standby(error: Error) -> Error {
    if sqlstate(&error) != Some("0A000") {
        return error;
    }
    let (operation, message) = (error.operation().to_owned(), error.message().to_owned());
    Error::new(UNAVAILABLE, operation, message)
        .with_hint("connect to the primary: list all servers in the URL")
        .with_source(error)
}

/// What a refused connection means. A server that is there and says no to the settings with which it
/// is asked will say so again. What it says quotes a setting, and no cell.
pub(super) fn refused(error: Error, address: &str, said: &DbError) -> Error {
    let stands =
        matches!(error.kind(), UNAVAILABLE | NO_SPACE | Kind::AccessDenied | Kind::Configuration);
    if stands {
        return error.about(address);
    }
    let message = format!("{address}: {} (SQLSTATE {})", said.message(), said.code().code());
    Error::new(Kind::Configuration, error.operation().to_owned(), message)
        .with_hint(
            "the server refuses the settings of the connection: look at `options` and the other \
             parameters in the URL, and at ALTER ROLE and ALTER DATABASE … SET",
        )
        .with_source(error)
}

/// Wraps a failed COMMIT whose outcome is not known.
pub(super) fn commit_unknown(operation: &'static str, cause: Error) -> Error {
    let message = format!("the answer to COMMIT was lost: {}", cause.message());
    Error::new(Kind::OutcomeUnknown(Store::Postgres), operation, message)
        .with_hint("it may or may not have been done: look before repeating it")
        .with_source(cause)
}

/// A refusal of ours about the session's state.
pub(super) fn misuse<T>(operation: &'static str, message: &str) -> Result<T> {
    Err(Error::new(Kind::Internal, operation, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_do_not_get_through() {
        for (code, message, kept) in [
            ("22P02", "invalid input syntax for type integer: \"secret\"", false),
            ("22003", "value \"99999999999\" is out of range for type integer", false),
            ("22P02", "неверный синтаксис для типа integer: «secret»", false),
            ("22001", "value too long for type character varying(20)", true),
            ("P0001", "secret is not allowed", false),
            ("ZZ123", "secret is not allowed", false),
            ("DU001", "stale proposal, above 7", true),
            ("23505", "duplicate key value violates unique constraint \"users_pkey\"", true),
        ] {
            assert_eq!(without_values(code, message) == message, kept, "{message}");
            assert!(!without_values(code, message).contains("secret"));
        }
    }

    #[test]
    fn the_place_in_a_copy() {
        let place = |context| {
            let (line, column) = copy_place(context);
            (line, column.unwrap_or_default())
        };
        assert_eq!(place("COPY users, line 3, column age: \"a, b\""), (Some(3), "age".into()));
        assert_eq!(place("COPY users, line 12: \"x\""), (Some(12), String::new()));
        assert_eq!(place("COPY users, строка 7, столбец age: \"x\""), (Some(7), String::new()));
        assert_eq!(place("PL/pgSQL function f() line 3 at RAISE"), (None, String::new()));
    }

    #[test]
    fn rights_that_are_missing_come_as_sql() {
        for (message, sql) in [
            (
                "permission denied for schema public",
                "GRANT USAGE, CREATE ON SCHEMA \"public\" TO \"bot\"",
            ),
            (
                "permission denied to create temporary tables in database \"d\"",
                "GRANT TEMPORARY ON DATABASE \"d\" TO \"bot\"",
            ),
            (
                "permission denied for table users",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE \"users\" TO \"bot\"",
            ),
            (
                "query would be affected by row-level security policy for table \"users\"",
                "ALTER ROLE \"bot\" BYPASSRLS",
            ),
            ("permission denied for function users_put", "`dual init` names every right"),
            ("permission denied for table side_users", "`dual init` names every right"),
            ("must be owner of table users", "the owner of the table \"users\""),
            ("нет доступа к схеме public", "the user here is \"bot\""),
        ] {
            let hint = missing_right(message, "bot", "d");
            assert!(hint.contains(sql), "{hint}");
        }
    }
}
