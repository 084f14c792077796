//! Under which search path a statement is read.
//!
//! Whoever may make things in a schema of the user's path (in `public` that was everybody until
//! PostgreSQL 14) can make an operator, a function, a type that fits what a statement says better than
//! the server's own, and have it run with the rights of whoever sends the statement. So what we send
//! is read under a path of ours, on which nobody else makes anything. But the *user's* triggers,
//! defaults and constraints fire within our writes, and may rely on the path that a session of this
//! role has by itself. So what writes to a user's table is sent under that path, and says everything
//! by its full name; COMMIT, too, because of triggers that are deferred.
//!
//! The server keeps the user's path in a setting of the transaction, where functions find it. (It is
//! no secret and no promise: code of the user's that changes it changes it for itself.)

/// The setting in which a transaction of ours keeps the user's path.
const KEPT: &str = "dual.path";

/// What makes the path ours.
pub const OURS: &str = "SET LOCAL search_path = pg_catalog, pg_temp";

/// What makes the path the user's until the transaction, or its savepoint, ends.
pub const USERS: &str = "SELECT pg_catalog.set_config('search_path', \
     pg_catalog.current_setting('dual.path'), true)";

/// As an assignment within a function to `set`, a variable: the path is the user's; and ours again.
pub(in crate::store::postgres) fn switched(set: &str) -> [String; 2] {
    [
        format!(
            "{set} := pg_catalog.set_config('search_path', pg_catalog.current_setting('{KEPT}'), true);"
        ),
        format!("{set} := pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);"),
    ]
}

/// What keeps the user's `path`, and makes it ours. It takes no snapshot, as a question would.
pub(super) fn kept(path: &str) -> String {
    // Read before any setting of ours counts: whether backslashes mean something is not known.
    let path = path.replace('\\', r"\\").replace('\'', "''");
    format!("SET LOCAL {KEPT} = E'{path}'; {OURS}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_path_is_kept_as_it_is() {
        assert_eq!(
            kept("\"$user\", public"),
            "SET LOCAL dual.path = E'\"$user\", public'; SET LOCAL search_path = pg_catalog, pg_temp"
        );
        assert!(kept(r#""it's \""#).starts_with(r#"SET LOCAL dual.path = E'"it''s \\"'; "#));
    }
}
