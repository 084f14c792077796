use super::{Dialect, LogicalType, Table, quoted};

/// The columns of a key as they stand in SQL, and what statements say about them: the only place
/// that knows how many they are.
///
/// ```
/// use dual_database::schema::{Dialect, KeyColumns, users};
/// let key = KeyColumns::of(&users());
/// assert_eq!(key.list("u"), "u.\"user_id\"");
/// assert_eq!(key.same("u", "=", &KeyColumns::of_sidecar(&users()), "s"), "u.\"user_id\" = s.key");
/// assert_eq!(key.is("", "=", Dialect::Sqlite, 2), "\"user_id\" = ?2");
/// assert_eq!(key.above("u", Dialect::Postgres, 1), "u.\"user_id\" > $1");
/// ```
#[derive(Clone, Debug)]
pub struct KeyColumns {
    columns: Vec<(String, LogicalType)>,
}

impl KeyColumns {
    /// Those of the table itself.
    #[must_use]
    pub fn of(table: &Table) -> KeyColumns {
        let key = table.key();
        KeyColumns { columns: vec![(quoted(&key.name), key.kind.clone())] }
    }

    /// Those of what stands beside it.
    #[must_use]
    pub fn of_sidecar(table: &Table) -> KeyColumns {
        KeyColumns::of(table).renamed(["key"])
    }

    /// The same values under other names.
    #[must_use]
    pub fn renamed<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> KeyColumns {
        let kinds = self.columns.iter().map(|(_, kind)| kind.clone());
        let columns = names.into_iter().map(str::to_owned).zip(kinds).collect();
        KeyColumns { columns }
    }

    /// The columns, of that row if it has a name.
    #[must_use]
    pub fn list(&self, row: &str) -> String {
        self.each(row, ", ", |_, column| column)
    }

    /// The columns of the row, as PostgreSQL gives them.
    #[must_use]
    pub fn given(&self, row: &str) -> String {
        self.each(row, ", ", |at, column| format!("{column}::{}", self.kind(at)))
    }

    /// The same for `ORDER BY`.
    #[must_use]
    pub fn order(&self, row: &str, direction: &str) -> String {
        self.each(row, ", ", |_, column| format!("{column}{direction}"))
    }

    /// The row has the key of another row, whose columns are `other`.
    #[must_use]
    pub fn same(&self, row: &str, equals: &str, other: &KeyColumns, other_row: &str) -> String {
        self.each(row, " AND ", |at, column| {
            let other = other.columns.get(at).map(|(name, _)| of(other_row, name));
            format!("{column} {equals} {}", other.unwrap_or_default())
        })
    }

    /// The row has the key that parameters give, from the `first` on.
    #[must_use]
    pub fn is(&self, row: &str, equals: &str, dialect: Dialect, first: usize) -> String {
        self.each(row, " AND ", |at, column| {
            format!("{column} {equals} {}", parameter(dialect, first + at))
        })
    }

    /// The key of the row is above that of the parameters.
    #[must_use]
    pub fn above(&self, row: &str, dialect: Dialect, first: usize) -> String {
        self.compared(row, ">", dialect, first)
    }

    /// The key of the row is that of the parameters, or below it.
    #[must_use]
    pub fn upto(&self, row: &str, dialect: Dialect, first: usize) -> String {
        self.compared(row, "<=", dialect, first)
    }

    /// The key of the row is below that of the parameters.
    #[must_use]
    pub fn below(&self, row: &str, dialect: Dialect, first: usize) -> String {
        self.compared(row, "<", dialect, first)
    }

    /// Both bounds, either of which may be NULL: there is none then.
    #[must_use]
    pub fn between(&self, row: &str, dialect: Dialect, first: usize) -> String {
        let (from, to) = (parameter(dialect, first), first + self.columns.len());
        format!(
            "({from} IS NULL OR {}) AND ({} IS NULL OR {})",
            self.above(row, dialect, first),
            parameter(dialect, to),
            self.upto(row, dialect, to),
        )
    }

    /// The key of the row is among those of the arrays that parameters give to PostgreSQL, one for
    /// each column.
    #[must_use]
    pub fn among(&self, row: &str, equals: &str, first: usize) -> String {
        match self.columns.as_slice() {
            [(name, _)] => format!("{} {equals} ANY (${first})", of(row, name)),
            several => {
                let arrays: Vec<String> = self.arrays(first).collect();
                let names: Vec<String> = several.iter().map(|(name, _)| of(row, name)).collect();
                format!(
                    "({}) IN (SELECT * FROM ROWS FROM ({}))",
                    names.join(", "),
                    arrays
                        .iter()
                        .map(|one| format!("pg_catalog.unnest({one})"))
                        .collect::<Vec<_>>()
                        .join(", "),
                )
            }
        }
    }

    /// The arrays of keys that parameters give to PostgreSQL, to be taken apart.
    pub fn arrays(&self, first: usize) -> impl Iterator<Item = String> {
        (0..self.columns.len()).map(move |at| format!("${}::{}[]", first + at, self.kind(at)))
    }

    /// In a file, where any column can hold anything: the row has a key that can go over.
    #[must_use]
    pub fn is_whole(&self, row: &str) -> String {
        self.each(row, " AND ", |_, column| format!("typeof({column}) = 'integer'"))
    }

    fn compared(&self, row: &str, than: &str, dialect: Dialect, first: usize) -> String {
        let given = |at: usize| parameter(dialect, first + at);
        match self.columns.as_slice() {
            [(name, _)] => format!("{} {than} {}", of(row, name), given(0)),
            several => {
                let given: Vec<String> = (0..several.len()).map(given).collect();
                format!("({}) {than} ({})", self.list(row), given.join(", "))
            }
        }
    }

    fn each(&self, row: &str, separator: &str, piece: impl Fn(usize, String) -> String) -> String {
        let pieces = self.columns.iter().enumerate();
        pieces.map(|(at, (name, _))| piece(at, of(row, name))).collect::<Vec<_>>().join(separator)
    }

    /// The type in which PostgreSQL gives and takes it.
    fn kind(&self, at: usize) -> &str {
        let kind = self.columns.get(at).map_or(&LogicalType::BigInt, |(_, kind)| kind);
        kind.description().carried()
    }
}

fn of(row: &str, name: &str) -> String {
    if row.is_empty() { name.to_owned() } else { format!("{row}.{name}") }
}

fn parameter(dialect: Dialect, number: usize) -> String {
    match dialect {
        Dialect::Postgres => format!("${number}"),
        Dialect::Sqlite => format!("?{number}"),
    }
}
