use std::fmt;
use std::sync::Arc;

use super::{Dialect, quoted};

/// A table's name with the schema in which it stands, as the server has them. In a file there is no
/// schema, and on a server there may be none in which a table could be made.
///
/// It prints as PostgreSQL reads it.
///
/// ```
/// use dual_database::schema::{Dialect, QualifiedName};
/// let name = QualifiedName::new("public", "Гости");
/// assert_eq!(name.to_string(), "\"public\".\"Гости\"");
/// assert_eq!(name.quoted(Dialect::Sqlite), "\"Гости\"");
/// assert_eq!(QualifiedName::from("users").to_string(), "\"users\"");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct QualifiedName {
    /// The schema.
    pub schema: Option<Arc<str>>,
    /// The name within it.
    pub name: Arc<str>,
}

impl QualifiedName {
    /// The name in that schema.
    pub fn new(schema: impl Into<Arc<str>>, name: impl Into<Arc<str>>) -> QualifiedName {
        QualifiedName { schema: Some(schema.into()), name: name.into() }
    }

    /// As it stands in that side's SQL.
    #[must_use]
    pub fn quoted(&self, dialect: Dialect) -> String {
        match (dialect, &self.schema) {
            (Dialect::Postgres, Some(schema)) => {
                format!("{}.{}", quoted(schema), quoted(&self.name))
            }
            _ => quoted(&self.name),
        }
    }
}

impl<N: Into<Arc<str>>> From<N> for QualifiedName {
    /// The name alone: wherever a search leads.
    fn from(name: N) -> QualifiedName {
        QualifiedName { schema: None, name: name.into() }
    }
}

impl fmt::Display for QualifiedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted(Dialect::Postgres))
    }
}
