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
        let columns = table.key_columns();
        let columns = columns.map(|(_, column)| (quoted(&column.name), column.kind.clone()));
        KeyColumns { dialect, ours: false, columns: columns.collect() }
    }

    /// Those of what stands beside it: `key`, then `key2` and so on.
    #[must_use]
    pub fn of_sidecar(table: &Table, dialect: Dialect) -> KeyColumns {
        let columns =
            table.key_columns().enumerate().map(|(at, (_, column))| (own(at), column.kind.clone()));
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

    /// The key of the row as one value, NULL if there is none.
    #[must_use]
    pub fn given(&self, row: &str) -> String {
        if self.is_number() {
            let column = self.first(row);
            return match self.dialect == Dialect::Postgres && !self.ours {
                true => format!("{column}::bigint"),
                false => column,
            };
        }
        let there = format!("{} IS NOT NULL", self.first(row));
        match self.dialect {
            Dialect::Postgres => {
                format!("CASE WHEN {there} THEN {}::pg_catalog.text END", self.json(row))
            }
            Dialect::Sqlite => format!("CASE WHEN {there} THEN {} END", self.json(row)),
        }
    }

    /// The type of that value, of PostgreSQL's.
    #[must_use]
    pub fn given_type(&self) -> &'static str {
        if self.is_number() { "bigint" } else { "text" }
    }

    /// The same as it is compared, and tells rows apart as a text: the number, or JSON.
    #[must_use]
    pub fn compared(&self, row: &str) -> String {
        if self.is_number() { self.first(row) } else { self.json(row) }
    }

    /// The type of that, of PostgreSQL's.
    #[must_use]
    pub fn compared_type(&self) -> &'static str {
        if self.is_number() { "bigint" } else { "jsonb" }
    }

    fn json(&self, row: &str) -> String {
        let parts =
            self.each(row, ", ", |column, kind| kind.description().keyed(self.dialect, &column));
        match (self.dialect, self.columns.len()) {
            (Dialect::Postgres, 1) => format!("pg_catalog.to_jsonb({parts})"),
            (Dialect::Postgres, _) => format!("pg_catalog.jsonb_build_array({parts})"),
            (Dialect::Sqlite, 1) => format!("json_quote({parts})"),
            (Dialect::Sqlite, _) => format!("json_array({parts})"),
        }
    }

    /// The columns of the key that is one value.
    #[must_use]
    pub fn taken(&self, value: &str) -> String {
        self.parts(value).collect::<Vec<_>>().join(", ")
    }

    /// The same under the names of ours, to stand behind `SELECT`.
    #[must_use]
    pub fn taken_as(&self, value: &str) -> String {
        let named =
            self.parts(value).enumerate().map(|(at, part)| format!("{part} AS {}", own(at)));
        named.collect::<Vec<_>>().join(", ")
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

    /// The same, the parameter being JSON in any case.
    #[must_use]
    pub fn below_text(&self, row: &str, number: usize) -> String {
        match self.is_number() {
            true => format!("{} < ${number}::text::bigint", self.first(row)),
            false => self.below(row, number),
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

    /// The key of the row is among those of the array that a parameter gives to PostgreSQL.
    #[must_use]
    pub fn among(&self, row: &str, equals: &str, number: usize) -> String {
        if self.is_number() {
            return format!("{} {equals} ANY (${number})", self.first(row));
        }
        format!(
            "({}) {equals} ANY (SELECT {} FROM pg_catalog.unnest({}) AS k (k))",
            self.list(row),
            self.taken("k.k"),
            self.array(number),
        )
    }

    /// In a file: the key of the row is the one value that is selected `from`.
    #[must_use]
    pub fn within(&self, row: &str, value: &str, from: &str) -> String {
        if self.is_number() {
            return format!("{} IN (SELECT {value} FROM {from})", self.first(row));
        }
        format!("({}) IN (SELECT {} FROM {from})", self.list(row), self.taken(value))
    }

    /// The array of keys that a parameter gives to PostgreSQL, to be taken apart.
    #[must_use]
    pub fn array(&self, number: usize) -> String {
        format!("${number}::{}[]", self.given_type())
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

    /// The definitions of the columns in a table of ours, and what comes behind all columns.
    #[must_use]
    pub fn definitions(&self) -> (String, String) {
        let primary = format!(",\n  PRIMARY KEY ({})", self.list(""));
        match self.dialect {
            Dialect::Postgres if self.is_number() => {
                ("key bigint PRIMARY KEY".into(), String::new())
            }
            Dialect::Postgres => (self.declared(), primary),
            Dialect::Sqlite if self.is_number() => {
                ("key INTEGER PRIMARY KEY".into(), String::new())
            }
            Dialect::Sqlite => {
                let define = |column, kind: &LogicalType| {
                    format!("{column} {} NOT NULL", kind.sql(Dialect::Sqlite))
                };
                (self.each("", ",\n  ", define), primary)
            }
        }
    }

    /// The columns with the types that PostgreSQL's tables of ours, and records in JSON, have.
    #[must_use]
    pub fn declared(&self) -> String {
        self.each("", ", ", |column, kind| {
            let description = kind.description();
            format!("{column} {}{}", description.carried(), description.collation())
        })
    }

    /// The names under which records in JSON have the columns.
    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..self.columns.len()).map(own)
    }

    /// Their types.
    pub fn kinds(&self) -> impl Iterator<Item = &LogicalType> {
        self.columns.iter().map(|(_, kind)| kind)
    }

    /// The columns of the key of such a record, in PostgreSQL.
    #[must_use]
    pub fn of_record(&self, record: &str) -> String {
        let parts = self.columns.iter().enumerate().map(|(at, (_, kind))| {
            format!("({record} ->> '{}')::{}", own(at), kind.description().carried())
        });
        parts.collect::<Vec<_>>().join(", ")
    }

    /// The row has the key of such a record.
    #[must_use]
    pub fn is_of_record(&self, row: &str, record: &str) -> String {
        self.every(|at, column, kind| {
            let part = format!("({record} ->> '{}')::{}", own(at), kind.description().carried());
            Some(self.equal(of(row, column), "=", part, kind, false))
        })
    }

    /// The key of such a record as one value.
    #[must_use]
    pub fn given_of_record(&self, record: &str) -> String {
        if self.is_number() {
            return self.of_record(record);
        }
        let parts: Vec<String> = self.names().map(|name| format!("{record} -> '{name}'")).collect();
        match parts.as_slice() {
            [one] => format!("({one})::text"),
            several => format!("jsonb_build_array({})::text", several.join(", ")),
        }
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

    /// The key that is one value, column by column, of their types.
    fn parts(&self, value: &str) -> impl Iterator<Item = String> {
        let alone = self.columns.len() == 1;
        self.columns.iter().enumerate().map(move |(at, (_, kind))| {
            if self.is_number() {
                return value.to_owned();
            }
            let part = match (self.dialect, alone) {
                (Dialect::Postgres, true) => {
                    format!("({value})::pg_catalog.jsonb OPERATOR(pg_catalog.#>>) '{{}}'")
                }
                (Dialect::Postgres, false) => {
                    format!("({value})::pg_catalog.jsonb OPERATOR(pg_catalog.->>) {at}")
                }
                (Dialect::Sqlite, true) => format!("({value} ->> '$')"),
                (Dialect::Sqlite, false) => format!("({value} ->> {at})"),
            };
            kind.description().unkeyed(self.dialect, &part)
        })
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
