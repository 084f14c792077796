//! The schema in which everything of ours stands on the server.

use crate::schema::quoted;
use crate::{Error, Kind, Result};

/// The longest name that PostgreSQL keeps whole, in bytes (its `NAMEDATALEN` without the last one).
const LONGEST_NAME: usize = 63;

/// The name of the schema in which everything of ours stands: `dual`, unless told. Of two names there
/// are two installations, and a table belongs to one of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchemaName {
    name: String,
    sql: String,
}

impl SchemaName {
    /// The name, as it is: upper and lower case count.
    ///
    /// ```
    /// use dual_database::store::postgres::SchemaName;
    /// assert_eq!(SchemaName::new("Kept by us")?.sql(), "\"Kept by us\"");
    /// assert!(SchemaName::new("pg_ours").is_err());
    /// # Ok::<(), dual_database::Error>(())
    /// ```
    ///
    /// # Errors
    /// Configuration if PostgreSQL keeps no such name, or keeps it for itself; or if it is `public`,
    /// which is everybody's: the schema is ours alone.
    pub fn new(name: &str) -> Result<SchemaName> {
        let why = match name {
            "" => Some("it is empty".to_owned()),
            "public" | "information_schema" => Some("that one is not ours alone".to_owned()),
            _ if name.starts_with("pg_") => {
                Some("PostgreSQL keeps names that begin with pg_ for itself".to_owned())
            }
            _ if name.contains('\0') => Some("it holds a NUL character".to_owned()),
            _ if name.len() > LONGEST_NAME => {
                Some(format!("it has {} bytes, and PostgreSQL keeps {LONGEST_NAME}", name.len()))
            }
            _ => None,
        };
        match why {
            None if name == "dual" => Ok(SchemaName::default()),
            None => Ok(SchemaName { name: name.to_owned(), sql: quoted(name) }),
            Some(why) => {
                let message = format!("{name:?} can be no name of a schema of ours: {why}");
                Err(Error::new(Kind::Configuration, "read the name of the schema", message)
                    .with_hint("give another one, or leave it out: it is dual then"))
            }
        }
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name as it stands in SQL.
    #[must_use]
    pub fn sql(&self) -> &str {
        &self.sql
    }
}

impl Default for SchemaName {
    fn default() -> SchemaName {
        // Not in quotes, for people who read the statements.
        SchemaName { name: "dual".to_owned(), sql: "dual".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::SchemaName;

    #[test]
    fn a_name_is_ours_and_whole_or_refused() {
        assert_eq!(SchemaName::new("dual").unwrap(), SchemaName::default());
        for good in ["Dual", "Дуал \"x\" $dual$", "PG_X", "a.b", &"я".repeat(31)] {
            assert_eq!(SchemaName::new(good).unwrap().name(), good);
        }
        for bad in ["", "public", "information_schema", "pg_", "pg_temp", "a\0", &"я".repeat(32)] {
            let error = SchemaName::new(bad).unwrap_err();
            assert!(error.is_configuration() && error.hint().is_some(), "{error}");
        }
    }
}
