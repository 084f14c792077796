//! The logical type of a column that a file has. SQLite keeps any value in any column, so the declared
//! type is a hint, and the values decide: whatever is chosen here, every value that was counted can be
//! carried as, or the sentence says how many cannot.

use super::{Affinity, Decimal, LogicalType, json};

/// What a file's column holds: so many values of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// Values other than NULL.
    pub values: u64,
    /// Integers.
    pub integers: u64,
    /// Those of them that are 0 or 1.
    pub flags: u64,
    /// Integers and floating-point numbers that a floating-point number of 64 bits keeps.
    pub numbers: u64,
    /// Floating-point numbers.
    pub reals: u64,
    /// The most digits before the point that one of the numbers has, and behind it, of 15 in all.
    pub digits: (u32, u32),
    /// Texts, UTF-8 or not.
    pub texts: u64,
    /// Texts that PostgreSQL cannot keep: no UTF-8, or with a NUL.
    pub broken: u64,
    /// Texts that are a date.
    pub dates: u64,
    /// Texts that are a time of day.
    pub times: u64,
    /// Texts that are a date with a time of day, with or without a zone.
    pub timestamps: u64,
    /// Those of them with a zone.
    pub zoned: u64,
    /// Texts that are a uuid.
    pub uuids: u64,
    /// Texts that are a JSON object or list.
    pub documents: u64,
    /// Texts that are a decimal number.
    pub decimals: u64,
    /// Bytes.
    pub blobs: u64,
}

impl Evidence {
    /// Counts an integer.
    pub fn integer(&mut self, number: i64) {
        self.values += 1;
        self.integers += 1;
        self.flags += u64::from(matches!(number, 0 | 1));
        self.digits.0 =
            self.digits.0.max(number.unsigned_abs().checked_ilog10().map_or(0, |ten| ten + 1));
        let is_kept = LogicalType::Double.description().decode_integer(number).is_some();
        self.numbers += u64::from(is_kept);
    }

    /// Counts a floating-point number.
    pub fn real(&mut self, number: f64) {
        self.values += 1;
        self.reals += 1;
        self.numbers += 1;
        // What was computed may have more digits, which nobody has meant.
        let printed = format!("{:.14e}", number.abs());
        let (digits, exponent) = printed.split_once('e').unwrap_or((&printed, "400"));
        let kept = digits.trim_end_matches('0').trim_end_matches('.').replace('.', "").len();
        let (kept, point) = (i32::try_from(kept).unwrap_or(0), exponent.parse().unwrap_or(400) + 1);
        let [before, behind] = [point, kept - point].map(|count| count.max(0).unsigned_abs());
        self.digits = (self.digits.0.max(before), self.digits.1.max(behind));
    }

    /// Counts a text.
    pub fn text(&mut self, bytes: &[u8]) {
        self.values += 1;
        self.texts += 1;
        let Some(text) = str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')) else {
            self.broken += 1;
            return;
        };
        let is = |kind: LogicalType| kind.description().decode_text(text).is_some();
        if is(LogicalType::Date) {
            self.dates += 1;
        } else if is(LogicalType::Timestamp) {
            self.timestamps += 1;
            let time = text.get(10..).unwrap_or_default();
            self.zoned += u64::from(time.contains(['Z', 'z', '+', '-']));
        } else if is(LogicalType::Time) {
            self.times += 1;
        } else if is(LogicalType::Uuid) {
            self.uuids += 1;
        } else if is(LogicalType::Numeric) {
            self.decimals += 1;
        } else if json::is_json(text) {
            self.documents += 1;
        }
    }

    /// Counts bytes.
    pub fn blob(&mut self) {
        self.values += 1;
        self.blobs += 1;
    }

    /// How many of the values a column of the type carries.
    fn carried_as(&self, kind: &LogicalType) -> u64 {
        match kind {
            LogicalType::Bool => self.flags,
            LogicalType::BigInt => self.integers,
            LogicalType::Double => self.numbers,
            LogicalType::Decimal(_) => self.numbers,
            LogicalType::Numeric => self.integers + self.reals + self.decimals,
            LogicalType::Date => self.dates,
            LogicalType::Time => self.times,
            LogicalType::Timestamp | LogicalType::TimestampTz => self.timestamps + self.dates,
            LogicalType::Uuid => self.uuids,
            LogicalType::Json | LogicalType::Jsonb => self.documents,
            LogicalType::Bytes => self.blobs,
            _ => self.texts - self.broken,
        }
    }

    /// What all of the values are, as exactly as it can be said; `None`: not of one kind, or none.
    fn by_values(&self) -> Option<LogicalType> {
        let is_all = |count: u64| self.values > 0 && count == self.values;
        Some(match () {
            () if is_all(self.integers) => LogicalType::BigInt,
            () if is_all(self.numbers) => LogicalType::Double,
            () if is_all(self.blobs) => LogicalType::Bytes,
            () if is_all(self.dates) => LogicalType::Date,
            () if is_all(self.times) => LogicalType::Time,
            () if is_all(self.zoned) => LogicalType::TimestampTz,
            () if is_all(self.timestamps) => LogicalType::Timestamp,
            () if is_all(self.uuids) => LogicalType::Uuid,
            () if is_all(self.texts) => LogicalType::Text,
            () => return None,
        })
    }
}

/// The type of a file's column, and why it is that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inferred {
    /// The logical type: [`LogicalType::sql`] names PostgreSQL's.
    pub kind: LogicalType,
    /// How many of the values it does not carry: their rows would be set aside.
    pub uncarried: u64,
    /// Whether SQLite keeps every value of the type in such a column. In one that is declared `DATE` or
    /// `STRING` it makes a number of a text that looks like one; that row would be set aside.
    pub is_kept: bool,
    /// The reason, as a sentence without a full stop: "150 of 150 values are dates".
    pub why: String,
}

/// The type for a column that is declared so and holds that.
///
/// What is declared as text stays text, whatever form it has by now: the next value may have another.
///
/// ```
/// use dual_database::schema::{Evidence, LogicalType, inferred};
/// let mut born = Evidence::default();
/// born.text(b"1990-02-01");
/// born.text(b"1991-12-31");
/// let found = inferred("DATE", &born);
/// assert_eq!((found.kind, found.why.as_str()), (LogicalType::Date, "2 of 2 values are dates"));
/// born.text(b"01.02.1990");
/// let found = inferred("DATE", &born);
/// assert_eq!((found.kind, found.why.as_str()), (LogicalType::Text, "only 2 of 3 values are dates"));
/// ```
#[must_use]
pub fn inferred(declared: &str, evidence: &Evidence) -> Inferred {
    let affinity = Affinity::of(declared);
    let wanted = wanted(declared, evidence);
    let carries_all = |kind: &LogicalType| evidence.carried_as(kind) == evidence.values;
    let kind = wanted
        .clone()
        .filter(carries_all)
        .or_else(|| evidence.by_values())
        // No type carries them all: the one that carries the most.
        .unwrap_or_else(|| {
            let candidates = wanted.clone().into_iter().chain(usual(affinity).iter().cloned());
            let most = |best: LogicalType, kind: LogicalType| {
                if evidence.carried_as(&kind) > evidence.carried_as(&best) { kind } else { best }
            };
            candidates.reduce(most).unwrap_or(LogicalType::Text)
        });
    let counted = |kind: &LogicalType| {
        format!("{} of {} values are {}", evidence.carried_as(kind), evidence.values, called(kind))
    };
    let form = evidence.by_values().filter(|form| kind == LogicalType::Text && *form != kind);
    let why = match (&wanted, form) {
        _ if evidence.values == 0 && declared.is_empty() => {
            "there are no values, and no type is declared".to_owned()
        }
        _ if evidence.values == 0 => format!("it is declared {declared}, and there are no values"),
        (_, Some(form)) => format!("it is declared {declared}, though {}", counted(&form)),
        (Some(asked), None) if *asked != kind => format!("only {}", counted(asked)),
        _ => counted(&kind),
    };
    Inferred {
        uncarried: evidence.values - evidence.carried_as(&kind),
        is_kept: kind.description().fits_sqlite(affinity),
        kind,
        why,
    }
}

/// What the declared type asks for; `None`: anything.
fn wanted(declared: &str, evidence: &Evidence) -> Option<LogicalType> {
    let name = declared.trim().to_ascii_uppercase();
    let word = name.split(['(', ' ']).next().unwrap_or_default();
    let is_zoned = evidence.zoned > 0 && evidence.zoned == evidence.timestamps;
    Some(match word {
        "BOOL" | "BOOLEAN" => LogicalType::Bool,
        "DATE" => LogicalType::Date,
        "TIME" => LogicalType::Time,
        "TIMESTAMPTZ" => LogicalType::TimestampTz,
        "DATETIME" | "TIMESTAMP" if is_zoned || name.contains("WITH TIME ZONE") => {
            LogicalType::TimestampTz
        }
        "DATETIME" | "TIMESTAMP" => LogicalType::Timestamp,
        "UUID" | "GUID" => LogicalType::Uuid,
        "JSON" => LogicalType::Json,
        "JSONB" => LogicalType::Jsonb,
        // SQLite makes binary numbers of what looks like a number there.
        "NUMERIC" | "DECIMAL" | "NUMBER" | "MONEY" => {
            decimal(&name, evidence).unwrap_or(LogicalType::Double)
        }
        "BYTEA" => LogicalType::Bytes,
        _ => match Affinity::of(&name) {
            Affinity::Integer => LogicalType::BigInt,
            Affinity::Real => LogicalType::Double,
            Affinity::Text => LogicalType::Text,
            Affinity::Blob if !name.is_empty() => LogicalType::Bytes,
            Affinity::Blob | Affinity::Numeric => return None,
        },
    })
}

/// The declared number of digits, if the values have no more.
fn decimal(name: &str, evidence: &Evidence) -> Option<LogicalType> {
    let (_, rest) = name.split_once('(')?;
    let (inner, _) = rest.split_once(')')?;
    let (precision, scale) = inner.split_once(',').unwrap_or((inner, "0"));
    let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
    let decimal = Decimal::new(precision, scale)?;
    let (before, behind) = evidence.digits;
    (before <= precision - scale && behind <= scale).then(|| decimal.into())
}

/// What a column of the affinity may hold where its values are of several kinds.
fn usual(affinity: Affinity) -> &'static [LogicalType] {
    match affinity {
        Affinity::Integer | Affinity::Real | Affinity::Numeric => {
            &[LogicalType::Double, LogicalType::BigInt, LogicalType::Text]
        }
        Affinity::Text | Affinity::Blob => {
            &[LogicalType::Text, LogicalType::BigInt, LogicalType::Double, LogicalType::Bytes]
        }
    }
}

/// What values of the type are called.
fn called(kind: &LogicalType) -> &'static str {
    match kind {
        LogicalType::Bool => "0 or 1",
        LogicalType::SmallInt | LogicalType::Int | LogicalType::BigInt => "whole numbers",
        LogicalType::Real | LogicalType::Double => "numbers",
        LogicalType::Numeric | LogicalType::Decimal(_) => "decimal numbers",
        LogicalType::Date => "dates",
        LogicalType::Time => "times of day",
        LogicalType::Timestamp | LogicalType::TimestampTz => "timestamps",
        LogicalType::Bytes => "bytes",
        LogicalType::Uuid => "uuids",
        LogicalType::Json | LogicalType::Jsonb => "JSON documents",
        LogicalType::Text | LogicalType::Char | LogicalType::Other(_) => "texts",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, floating-point numbers, texts, bytes.
    fn of(integers: &[i64], reals: &[f64], texts: &[&str], blobs: u64) -> Evidence {
        let mut evidence = Evidence::default();
        integers.iter().for_each(|number| evidence.integer(*number));
        reals.iter().for_each(|number| evidence.real(*number));
        texts.iter().for_each(|text| evidence.text(text.as_bytes()));
        (0..blobs).for_each(|_| evidence.blob());
        evidence
    }

    #[test]
    fn the_values_decide_what_the_declared_type_is() {
        use LogicalType::{
            BigInt, Bool, Bytes, Date, Double, Json, Text, Time, Timestamp, TimestampTz, Uuid,
        };
        let price = || LogicalType::from(Decimal::new(10, 2).unwrap());
        let uuid = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        for (declared, evidence, kind, why) in [
            ("BOOLEAN", of(&[0, 1, 1], &[], &[], 0), Bool, "3 of 3 values are 0 or 1"),
            ("BOOLEAN", of(&[0, 1, 2], &[], &[], 0), BigInt, "only 2 of 3 values are 0 or 1"),
            ("bool", of(&[], &[], &["true"], 0), Text, "only 0 of 1 values are 0 or 1"),
            ("INTEGER", of(&[0, i64::MAX], &[], &[], 0), BigInt, "2 of 2 values are whole numbers"),
            ("INTEGER", of(&[7], &[0.5], &[], 0), Double, "only 1 of 2 values are whole numbers"),
            ("INT", of(&[i64::MAX], &[0.5], &[], 0), BigInt, "1 of 2 values are whole numbers"),
            ("BIGINT", of(&[7, 8], &[], &["abc"], 0), BigInt, "2 of 3 values are whole numbers"),
            ("POINT", of(&[], &[], &["(1,2)"], 0), Text, "only 0 of 1 values are whole numbers"),
            ("DATE", of(&[], &[], &["1990-02-01"], 0), Date, "1 of 1 values are dates"),
            ("DATE", of(&[], &[], &["01.02.1990"], 0), Text, "only 0 of 1 values are dates"),
            ("DATE", of(&[1_700_000_000], &[], &[], 0), BigInt, "only 0 of 1 values are dates"),
            (
                "DATETIME",
                of(&[], &[], &["2024-05-06 07:08:09"], 0),
                Timestamp,
                "1 of 1 values are timestamps",
            ),
            (
                "DATETIME",
                of(&[], &[], &["2024-05-06"], 0),
                Timestamp,
                "1 of 1 values are timestamps",
            ),
            (
                "TIMESTAMP",
                of(&[], &[], &["2024-05-06T07:08:09Z"], 0),
                TimestampTz,
                "1 of 1 values are timestamps",
            ),
            (
                "TIMESTAMP WITH TIME ZONE",
                of(&[], &[], &[], 0),
                TimestampTz,
                "it is declared TIMESTAMP WITH TIME ZONE, and there are no values",
            ),
            ("TIME", of(&[], &[], &["07:08"], 0), Time, "1 of 1 values are times of day"),
            ("DECIMAL", of(&[7], &[0.1], &[], 0), Double, "2 of 2 values are numbers"),
            ("DECIMAL(20,2)", of(&[7], &[0.1], &[], 0), Double, "2 of 2 values are numbers"),
            ("DECIMAL(10,2)", of(&[7], &[1.005], &[], 0), Double, "2 of 2 values are numbers"),
            ("DECIMAL(3,2)", of(&[10], &[], &[], 0), Double, "1 of 1 values are numbers"),
            (
                "decimal(10, 2)",
                of(&[7], &[0.1 + 0.2, -99_999_999.99], &[], 0),
                price(),
                "3 of 3 values are decimal numbers",
            ),
            (
                "NUMERIC(10,2)",
                of(&[], &[], &[], 0),
                price(),
                "it is declared NUMERIC(10,2), and there are no values",
            ),
            (
                "double precision",
                of(&[], &[0.1, 1e300], &[], 0),
                Double,
                "2 of 2 values are numbers",
            ),
            ("UUID", of(&[], &[], &[uuid], 0), Uuid, "1 of 1 values are uuids"),
            (
                "JSON",
                of(&[], &[], &["{\"a\": 1}", "[]"], 0),
                Json,
                "2 of 2 values are JSON documents",
            ),
            (
                "VARCHAR(20)",
                of(&[], &[], &["1990-02-01"], 0),
                Text,
                "it is declared VARCHAR(20), though 1 of 1 values are dates",
            ),
            ("TEXT", of(&[], &[], &["007", "x"], 0), Text, "2 of 2 values are texts"),
            ("TEXT", of(&[], &[], &["x", "\0"], 1), Text, "1 of 3 values are texts"),
            ("BLOB", of(&[], &[], &[], 2), Bytes, "2 of 2 values are bytes"),
            ("BLOB", of(&[], &[], &["a"], 0), Text, "only 0 of 1 values are bytes"),
            ("", of(&[], &[], &[uuid], 0), Uuid, "1 of 1 values are uuids"),
            ("", of(&[1, 2], &[], &[], 0), BigInt, "2 of 2 values are whole numbers"),
            ("", of(&[1, 2], &[], &["a"], 0), BigInt, "2 of 3 values are whole numbers"),
            ("", of(&[], &[], &[], 0), Text, "there are no values, and no type is declared"),
            ("STRING", of(&[], &[], &["a"], 0), Text, "1 of 1 values are texts"),
        ] {
            let found = inferred(declared, &evidence);
            assert_eq!((&found.kind, found.why.as_str()), (&kind, why), "{declared} {evidence:?}");
            assert_eq!(found.uncarried, evidence.values - evidence.carried_as(&kind));
        }
        for (declared, is_kept) in [("STRING", false), ("DATE", false), ("TEXT", true), ("", true)]
        {
            assert_eq!(inferred(declared, &of(&[], &[], &["1.2.1990"], 0)).is_kept, is_kept);
        }
    }
}
