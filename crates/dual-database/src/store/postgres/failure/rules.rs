//! What each SQLSTATE means for us (PostgreSQL manual, appendix "PostgreSQL Error Codes").

use crate::{Kind, Store};

pub(super) const UNAVAILABLE: Kind = Kind::Unavailable(Store::Postgres);
const SCHEMA: Kind = Kind::Schema(Store::Postgres);
pub(super) const NO_SPACE: Kind = Kind::NoSpace(Store::Postgres);

/// What a SQLSTATE means for us.
pub(super) struct Rule {
    /// A whole code, or the class that is its first two characters. The first match counts.
    pub code: &'static str,
    pub kind: Kind,
    /// Whether the same transaction, repeated, can succeed without anybody doing anything.
    pub retry: bool,
    /// What a person can do.
    pub hint: &'static str,
}

const fn rule(code: &'static str, kind: Kind, retry: bool, hint: &'static str) -> Rule {
    Rule { code, kind, retry, hint }
}

const BLOCKED: &str = "another session holds a lock: look for it in pg_stat_activity \
     (state, query) and pg_locks, end it with pg_terminate_backend(pid), then repeat";
const POOLER: &str = "a connection pooler swaps sessions between statements: use the \
     database's direct address";
const TOO_SHORT: &str = "transaction_timeout is too short for anything: look at ALTER ROLE and \
     ALTER DATABASE … SET";

const RULES: &[Rule] = &[
    rule("08P01", UNAVAILABLE, true, "if a connection pooler answers here, look at its log"),
    rule("08", UNAVAILABLE, true, ""),
    rule("0A", SCHEMA, false, ""),
    rule("21", Kind::InvalidData, false, ""),
    rule("22", Kind::InvalidData, false, ""),
    rule("23", Kind::InvalidData, false, ""),
    rule("25006", UNAVAILABLE, true, "connect to the primary: list all servers in the URL"),
    rule("25P03", UNAVAILABLE, true, ""),
    rule("25P04", UNAVAILABLE, true, TOO_SHORT),
    rule("26000", Kind::Configuration, false, POOLER),
    rule("42P05", Kind::Configuration, false, POOLER),
    rule("28P01", Kind::AccessDenied, false, "check the user and the password in the URL"),
    rule(
        "28",
        Kind::AccessDenied,
        false,
        "check the user in the URL and the server's pg_hba.conf; it may demand sslmode=require",
    ),
    rule(
        "3D000",
        Kind::Configuration,
        false,
        "create it with CREATE DATABASE, or correct the name after the last / of the URL",
    ),
    rule(
        "3F000",
        SCHEMA,
        false,
        "no schema of the search_path exists or may be used: CREATE SCHEMA, or GRANT USAGE ON SCHEMA",
    ),
    rule("40", UNAVAILABLE, true, ""),
    rule("42501", Kind::AccessDenied, false, ""),
    rule("42P01", SCHEMA, false, ""),
    rule("42P07", SCHEMA, true, "another program made it at the same moment: repeat"),
    rule("42P10", SCHEMA, false, "the key has no unique index"),
    rule("42701", SCHEMA, true, "another program made it at the same moment: repeat"),
    rule("42703", SCHEMA, false, ""),
    rule("42704", SCHEMA, false, ""),
    rule("42710", SCHEMA, true, "another program made it at the same moment: repeat"),
    rule("42804", SCHEMA, false, ""),
    rule("42809", SCHEMA, false, ""),
    rule("42883", SCHEMA, false, ""),
    rule("428C9", SCHEMA, false, "a generated column cannot be written"),
    rule("44", Kind::InvalidData, false, ""),
    rule("53100", NO_SPACE, false, "free room on the server's disk"),
    rule("53200", UNAVAILABLE, true, "the server is out of memory"),
    rule("53300", UNAVAILABLE, true, "raise max_connections, or close what is not used"),
    rule("53", UNAVAILABLE, true, ""),
    rule("54", Kind::InvalidData, false, ""),
    rule("55006", UNAVAILABLE, true, BLOCKED),
    rule("55P03", UNAVAILABLE, true, BLOCKED),
    rule("55", SCHEMA, false, ""),
    rule("57014", UNAVAILABLE, true, BLOCKED),
    rule("57", UNAVAILABLE, true, ""),
    rule("58030", UNAVAILABLE, false, "the server cannot read or write its disk"),
    rule("58", UNAVAILABLE, false, "look at the server's log"),
    rule(
        "DU007",
        Kind::InvalidData,
        false,
        "nothing was changed; look at the table's triggers and rules: one of them returns NULL or does nothing instead",
    ),
    rule(
        "DU008",
        UNAVAILABLE,
        true,
        "start the standby that synchronous_standby_names asks for (pg_stat_replication shows who is \
         connected), or change that setting and run SELECT pg_reload_conf()",
    ),
    rule(
        "DU009",
        Kind::AccessDenied,
        false,
        "find out who made it; name another schema (--pg-schema), or let the owner of the database \
         rename that one",
    ),
    rule("DU010", SCHEMA, false, "use the newer version of this program that made it"),
    rule("P0", Kind::InvalidData, false, "a trigger or a function of the database refused"),
    rule("XX", UNAVAILABLE, false, "look at the server's log"),
];

const UNKNOWN: Rule = rule("", Kind::Internal, false, "");

pub(super) fn rule_for(code: &str) -> &'static Rule {
    RULES
        .iter()
        .find(|rule| code == rule.code || (rule.code.len() == 2 && code.starts_with(rule.code)))
        .unwrap_or(&UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_by_code_and_class() {
        for (code, kind, retry) in [
            ("08006", UNAVAILABLE, true),
            ("23505", Kind::InvalidData, false),
            ("22001", Kind::InvalidData, false),
            ("28P01", Kind::AccessDenied, false),
            ("42501", Kind::AccessDenied, false),
            ("3D000", Kind::Configuration, false),
            ("40001", UNAVAILABLE, true),
            ("40P01", UNAVAILABLE, true),
            ("53100", NO_SPACE, false),
            ("53300", UNAVAILABLE, true),
            ("55P03", UNAVAILABLE, true),
            ("57014", UNAVAILABLE, true),
            ("57P03", UNAVAILABLE, true),
            ("25006", UNAVAILABLE, true),
            ("25P04", UNAVAILABLE, true),
            ("42P01", SCHEMA, false),
            ("42601", Kind::Internal, false),
            ("99999", Kind::Internal, false),
        ] {
            let rule = rule_for(code);
            assert_eq!((rule.kind, rule.retry), (kind, retry), "{code}");
        }
    }

    #[test]
    fn no_rule_is_hidden_by_an_earlier_one() {
        for (position, rule) in RULES.iter().enumerate() {
            let hidden = RULES.iter().take(position).any(|earlier| {
                rule.code == earlier.code
                    || (earlier.code.len() == 2 && rule.code.starts_with(earlier.code))
            });
            assert!(!hidden, "{}", rule.code);
        }
    }
}
