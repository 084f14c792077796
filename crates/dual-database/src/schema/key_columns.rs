mod given;

use super::{Dialect, LogicalType, Table, quoted};

/// The columns of a key as they stand in SQL, and what statements say about them: the only place
/// that knows how many they are.
///
/// Wherever a key is one value (a parameter, a column of an answer, an entry of a list) it is the number
/// itself if it is one whole number, and else its JSON ([`super::Key::json`]), taken apart there: so each
/// statement is the same whatever the key is.
///
/// ```
/// use dual_database::schema::{Column, Dialect, KeyColumns, LogicalType, Role, Table, users};
/// let key = KeyColumns::of(&users(), Dialect::Sqlite);
/// let own = KeyColumns::of_sidecar(&users(), Dialect::Sqlite);
/// assert_eq!(key.list("u"), "u.\"user_id\"");
/// assert_eq!(key.same("u", "=", &own, "s"), "u.\"user_id\" = s.key");
/// assert_eq!(key.is("", "=", 2), "\"user_id\" = ?2");
/// assert_eq!(KeyColumns::of(&users(), Dialect::Postgres).above("u", 1), "u.\"user_id\" > $1");
///
/// let columns = [("day", Role::Key), ("code", Role::Key), ("note", Role::Data)];
/// let columns = columns.map(|(name, role)| Column::new(name, LogicalType::Text, role));
/// let table = Table::declare("days", columns.into()).unwrap();
/// let own = KeyColumns::of_sidecar(&table, Dialect::Sqlite);
/// assert_eq!(own.is("s", "=", 1), "s.key = (?1 ->> 0) AND s.key2 = (?1 ->> 1)");
/// ```
#[derive(Clone, Debug)]
pub struct KeyColumns {
    dialect: Dialect,
    /// They are of a table of ours: of their types, and in the order of the canonical texts.
    ours: bool,
    columns: Vec<(String, LogicalType)>,
}

impl KeyColumns {
    /// Those of the table itself.
    #[must_use]
    pub fn of(table: &Table, dialect: Dialect) -> KeyColumns {
        let columns =
            table.key_columns().map(|column| (column.quoted(dialect), column.kind.clone()));
        KeyColumns { dialect, ours: false, columns: columns.collect() }
    }

    /// Those of what stands beside it: `key`, then `key2` and so on.
    #[must_use]
    pub fn of_sidecar(table: &Table, dialect: Dialect) -> KeyColumns {
        let columns =
            table.key_columns().enumerate().map(|(at, column)| (own(at), column.kind.clone()));
        KeyColumns { dialect, ours: true, columns: columns.collect() }
    }

    /// Whether it is one whole number.
    #[must_use]
    pub fn is_number(&self) -> bool {
        matches!(self.columns.as_slice(), [(_, kind)] if kind.is_whole_number())
    }

    /// The columns, of that row if it has a name.
    #[must_use]
    pub fn list(&self, row: &str) -> String {
        self.each(row, ", ", |column, _| column)
    }

    /// The first of them, which is NULL only if there is no row.
    #[must_use]
    pub fn first(&self, row: &str) -> String {
        self.columns.first().map(|(name, _)| of(row, name)).unwrap_or_default()
    }

    /// The columns of another row, whose columns are `other`, under these names.
    #[must_use]
    pub fn named(&self, other: &KeyColumns, row: &str) -> String {
        let pairs = other.columns.iter().zip(&self.columns);
        let named = pairs.map(|((column, _), (name, _))| format!("{} AS {name}", of(row, column)));
        named.collect::<Vec<_>>().join(", ")
    }

    /// The columns for `ORDER BY`.
    #[must_use]
    pub fn order(&self, row: &str, direction: &str) -> String {
        self.each(row, ", ", |column, kind| format!("{}{direction}", self.ordered(column, kind)))
    }

    /// The row has the key of another row, whose columns are `other`.
    #[must_use]
    pub fn same(&self, row: &str, equals: &str, other: &KeyColumns, other_row: &str) -> String {
        self.every(|at, column, kind| {
            let (name, _) = other.columns.get(at)?;
            Some(self.equal(of(row, column), equals, of(other_row, name), kind, true))
        })
    }

    /// Both rows of the table have the same key, or (`differ`) not.
    #[must_use]
    pub fn alike(&self, row: &str, other_row: &str, differ: bool) -> String {
        let (equals, joined) = match (self.dialect, differ) {
            (Dialect::Postgres, false) => ("=", " AND "),
            (Dialect::Postgres, true) => ("IS DISTINCT FROM", " OR "),
            (Dialect::Sqlite, false) => ("IS", " AND "),
            (Dialect::Sqlite, true) => ("IS NOT", " OR "),
        };
        let each = self.columns.iter().map(|(name, kind)| {
            let collation = self.collation(kind);
            format!("{} {equals} {}{collation}", of(row, name), of(other_row, name))
        });
        let each: Vec<String> = each.collect();
        match each.as_slice() {
            [one] => one.clone(),
            several => format!("({})", several.join(joined)),
        }
    }

    /// The row has the key that is one value, an expression.
    #[must_use]
    pub fn is_given(&self, row: &str, equals: &str, value: &str) -> String {
        let parts: Vec<String> = self.parts(value).collect();
        self.every(|at, column, kind| {
            Some(self.equal(of(row, column), equals, parts.get(at)?.clone(), kind, false))
        })
    }

    /// The row has the key that a parameter gives.
    #[must_use]
    pub fn is(&self, row: &str, equals: &str, number: usize) -> String {
        self.is_given(row, equals, &self.parameter(number))
    }

    /// The key of the row is above that of the parameter.
    #[must_use]
    pub fn above(&self, row: &str, number: usize) -> String {
        self.ranged(row, ">", number)
    }

    /// The key of the row is that of the parameter, or below it.
    #[must_use]
    pub fn upto(&self, row: &str, number: usize) -> String {
        self.ranged(row, "<=", number)
    }

    /// The key of the row is below that of the parameter.
    #[must_use]
    pub fn below(&self, row: &str, number: usize) -> String {
        self.ranged(row, "<", number)
    }

    /// The key of the row comes after that of the parameter, which is JSON in any case, from the lowest on or
    /// (`falling`) from the highest.
    #[must_use]
    pub fn beyond_text(&self, row: &str, falling: bool, number: usize) -> String {
        let than = if falling { "<" } else { ">" };
        match self.is_number() {
            true => format!("{} {than} ${number}::text::bigint", self.first(row)),
            false => self.ranged(row, than, number),
        }
    }

    /// The row has the key of the parameter, which is JSON in any case.
    #[must_use]
    pub fn is_text(&self, row: &str, number: usize) -> String {
        match self.is_number() {
            true => format!("{} = ${number}::text::bigint", self.first(row)),
            false => self.is(row, "=", number),
        }
    }

    /// The key of the row is above one and not above the other, those of them that there are: parameters
    /// from the `first` on.
    #[must_use]
    pub fn bounded(&self, row: &str, [after, upto]: [bool; 2], first: usize) -> String {
        let bounds = [
            after.then(|| self.above(row, first)),
            upto.then(|| self.upto(row, first + usize::from(after))),
        ];
        let bounds: Vec<String> = bounds.into_iter().flatten().collect();
        if bounds.is_empty() { "1 = 1".to_owned() } else { bounds.join(" AND ") }
    }

    /// Both bounds, either of which may be NULL: there is none then.
    #[must_use]
    pub fn between(&self, row: &str, first: usize) -> String {
        format!(
            "({} IS NULL OR {}) AND ({} IS NULL OR {})",
            self.parameter(first),
            self.above(row, first),
            self.parameter(first + 1),
            self.upto(row, first + 1),
        )
    }

    /// Whether all of them are among the columns of an index of a file, each with its collation, and told
    /// apart there byte by byte.
    #[must_use]
    pub fn is_within(&self, index: &[(String, String)]) -> bool {
        self.columns.iter().all(|(name, kind)| {
            index.iter().any(|(column, collation)| {
                quoted(column).eq_ignore_ascii_case(name)
                    && (kind.is_whole_number() || collation.eq_ignore_ascii_case("BINARY"))
            })
        })
    }

    /// In a file, where any column can hold anything: the row has a key that can go over.
    #[must_use]
    pub fn is_whole(&self, row: &str) -> String {
        self.each(row, " AND ", |column, kind| kind.description().is_keyed(&column))
    }

    /// The same, as our own statements can tell it.
    #[must_use]
    pub fn is_carried(&self, row: &str) -> String {
        self.each(row, " AND ", |column, kind| kind.description().is_carried(&column))
    }

    /// The expression `column` as it is ordered and compared byte by byte.
    fn ordered(&self, column: String, kind: &LogicalType) -> String {
        if self.ours { column } else { format!("{column}{}", self.collation(kind)) }
    }

    fn collation(&self, kind: &LogicalType) -> &'static str {
        match self.dialect {
            Dialect::Postgres => kind.description().collation(),
            Dialect::Sqlite if kind.is_whole_number() => "",
            Dialect::Sqlite => " COLLATE BINARY",
        }
    }

    /// A column equals a value: byte by byte, and found by the index that it has, whatever its
    /// collation. `of_column`: the value is another column.
    fn equal(
        &self,
        column: String,
        equals: &str,
        value: String,
        kind: &LogicalType,
        of_column: bool,
    ) -> String {
        let collation = self.collation(kind);
        match self.dialect {
            _ if self.is_number() => format!("{column} {equals} {value}"),
            Dialect::Postgres if collation.is_empty() => format!("{column} {equals} {value}"),
            Dialect::Postgres if self.ours => format!("{column} {equals} {value}{collation}"),
            Dialect::Postgres => {
                // A column brings its collation along; what comes out of JSON takes that of the index.
                let free = match of_column {
                    true => format!(
                        "(pg_catalog.to_jsonb({value}) OPERATOR(pg_catalog.#>>) '{{}}')::{}",
                        kind.description().carried()
                    ),
                    false => value.clone(),
                };
                format!("{column} {equals} {free} AND {column} {equals} {value}{collation}")
            }
            Dialect::Sqlite if self.ours => format!("{column} {equals} {value}"),
            // A column without a type would have the number 1 equal the text '1'.
            Dialect::Sqlite => {
                let exactly = match collation {
                    "" => String::new(),
                    _ => format!(" AND {column} {equals} {value}{collation}"),
                };
                format!("{column} {equals} {value}{exactly} AND typeof({column}) = typeof({value})")
            }
        }
    }

    fn ranged(&self, row: &str, than: &str, number: usize) -> String {
        let given = self.taken(&self.parameter(number));
        match self.columns.as_slice() {
            [_] => format!("{} {than} {given}", self.order(row, "")),
            _ => format!("({}) {than} ({given})", self.order(row, "")),
        }
    }

    fn each(
        &self,
        row: &str,
        separator: &str,
        piece: impl Fn(String, &LogicalType) -> String,
    ) -> String {
        let pieces = self.columns.iter().map(|(name, kind)| piece(of(row, name), kind));
        pieces.collect::<Vec<_>>().join(separator)
    }

    fn every(&self, piece: impl Fn(usize, &str, &LogicalType) -> Option<String>) -> String {
        let columns = self.columns.iter().enumerate();
        let pieces = columns.filter_map(|(at, (name, kind))| piece(at, name, kind));
        pieces.collect::<Vec<_>>().join(" AND ")
    }

    fn parameter(&self, number: usize) -> String {
        match self.dialect {
            Dialect::Postgres => format!("${number}"),
            Dialect::Sqlite => format!("?{number}"),
        }
    }
}

/// What the columns are called in tables of ours.
fn own(at: usize) -> String {
    if at == 0 { "key".to_owned() } else { format!("key{}", at + 1) }
}

fn of(row: &str, name: &str) -> String {
    if row.is_empty() { name.to_owned() } else { format!("{row}.{name}") }
}
