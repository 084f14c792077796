//! What a store lacks.

/// One addition to a store's schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addition {
    /// What it does, as a phrase.
    pub what: String,
    /// Its SQL, one statement.
    pub sql: String,
    /// A condition that holds once it is done, where others can do it meanwhile.
    pub(crate) done: Option<String>,
    /// It writes the whole table anew, for which everybody who uses it waits.
    pub(crate) rewrites: bool,
}

impl Addition {
    pub(crate) fn new(what: impl Into<String>, sql: impl Into<String>) -> Addition {
        Addition { what: what.into(), sql: sql.into(), done: None, rewrites: false }
    }
}
