//! A1 notation: how a range of a tab is asked for and how the answered one is read.

use super::column_name;

/// The title quoted for A1 notation; always quoted, because a bare title can be read as a
/// cell (`D3`, `tab01`) or as a named range.
fn quoted(title: &str) -> String {
    format!("'{}'", title.replace('\'', "''"))
}

/// Rows `first` to `last` of the first `columns` columns: `'Лист1'!A1:K5000`.
pub(crate) fn rows(title: &str, first: u64, last: u64, columns: u64) -> String {
    let last_column = usize::try_from(columns.saturating_sub(1)).unwrap_or(usize::MAX - 1);
    format!("{}!A{first}:{}{last}", quoted(title), column_name(last_column))
}

/// Percent-encodes everything but the unreserved characters of RFC 3986, so that a title with
/// `/`, `#`, `%`, `+` or `&` stays one path segment or one query value.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 3);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            for digit in [byte >> 4, byte & 15] {
                let digit = char::from_digit(u32::from(digit), 16).unwrap_or('0');
                encoded.push(digit.to_ascii_uppercase());
            }
        }
    }
    encoded
}

/// The upper left corner of an answered range, as (column from 0, row from 1); an open
/// corner begins at the edge. `None` if it is not a range.
///
/// The title is not compared: whether and how the answer quotes it is the server's business.
pub(crate) fn corner(range: &str) -> Option<(u64, u64)> {
    // The cells never contain an exclamation mark, the title may.
    let cells = range.rsplit_once('!').map_or(range, |(_, cells)| cells);
    let first = cells.split_once(':').map_or(cells, |(first, _)| first);
    let digits = first.find(|c: char| c.is_ascii_digit()).unwrap_or(first.len());
    let (letters, number) = first.split_at(digits);
    let mut column: u64 = 0;
    for letter in letters.bytes() {
        if !letter.is_ascii_uppercase() || column > 1_000_000 {
            return None;
        }
        column = column * 26 + u64::from(letter - b'A') + 1;
    }
    let row = if number.is_empty() { 1 } else { number.parse().ok()? };
    (row > 0 && !first.is_empty()).then(|| (column.saturating_sub(1), row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_quoted_and_their_quotes_doubled() {
        assert_eq!(rows("Лист1", 1, 5000, 11), "'Лист1'!A1:K5000");
        assert_eq!(rows("Jon's Data", 2, 2, 26), "'Jon''s Data'!A2:Z2");
        assert_eq!(rows("D3", 7, 9, 1), "'D3'!A7:A9");
        assert_eq!(rows("", 1, 1, 18_278), "''!A1:ZZZ1");
    }

    #[test]
    fn everything_reserved_is_encoded() {
        assert_eq!(percent_encode("'D3'!A1:D4"), "%27D3%27%21A1%3AD4");
        assert_eq!(percent_encode("a/b#c%d+e&f ?"), "a%2Fb%23c%25d%2Be%26f%20%3F");
        assert_eq!(percent_encode("й🌵"), "%D0%B9%F0%9F%8C%B5");
        assert_eq!(percent_encode("A-z_0.9~"), "A-z_0.9~");
    }

    #[test]
    fn corners_of_answered_ranges() {
        for (range, expected) in [
            ("Sheet1!A1:Z1000", Some((0, 1))),
            ("'Jon''s Data'!A151:Z200", Some((0, 151))),
            ("'a!b'!C7", Some((2, 7))),
            ("'🌵 test'!AA10:AB10", Some((26, 10))),
            ("A:B", Some((0, 1))),
            ("5:9", Some((0, 5))),
            ("Лист1!A1", Some((0, 1))),
            ("Sheet1", None),
            ("Sheet1!", None),
            ("Sheet1!A0", None),
            ("Sheet1!A99999999999999999999999", None),
            ("Sheet1!AAAAAAAAAAAAAAAAAAAAAAAAA1", None),
            ("Sheet1!A1x", None),
        ] {
            assert_eq!(corner(range), expected, "{range}");
        }
    }
}
