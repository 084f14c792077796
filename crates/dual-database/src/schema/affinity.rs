/// How SQLite treats values of a column, derived from its declared type
/// (<https://sqlite.org/datatype3.html>, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// `…INT…`.
    Integer,
    /// `…CHAR…`, `…CLOB…`, `…TEXT…`.
    Text,
    /// `…BLOB…` or no type: values stay as they are.
    Blob,
    /// `…REAL…`, `…FLOA…`, `…DOUB…`.
    Real,
    /// Anything else, `STRING` and `DATETIME` among them: text that looks like a number
    /// becomes one.
    Numeric,
}

impl Affinity {
    /// The affinity of a declared type.
    ///
    /// ```
    /// use dual_database::schema::Affinity;
    /// assert_eq!(Affinity::of("VARCHAR(20)"), Affinity::Text);
    /// assert_eq!(Affinity::of("STRING"), Affinity::Numeric);
    /// ```
    #[must_use]
    pub fn of(declared: &str) -> Affinity {
        let declared = declared.to_ascii_uppercase();
        let has = |part: &str| declared.contains(part);
        if has("INT") {
            Affinity::Integer
        } else if has("CHAR") || has("CLOB") || has("TEXT") {
            Affinity::Text
        } else if has("BLOB") || declared.is_empty() {
            Affinity::Blob
        } else if has("REAL") || has("FLOA") || has("DOUB") {
            Affinity::Real
        } else {
            Affinity::Numeric
        }
    }
}
