//! Ids: exactly as they are, or not at all.

use super::Fault;
use super::number::exact_integer;
use crate::mapping::Code;
use crate::source::Cell;

/// An id: a whole number of at most 2^53 (a larger one has lost digits already), or a text of
/// ASCII digits with an optional minus, up to 64 bits; digits may be grouped by threes.
/// Neither `7,00E+09`, nor `123.0`, nor `7_000_000_005`: what they stand for is not certain.
pub(super) fn read(cell: &Cell) -> Result<i64, Fault> {
    let bad = |says| Fault::new(Code::BadId, says);
    let id = match cell {
        Cell::Text(text) => {
            digits(text.trim()).ok_or_else(|| bad("is not a whole number written in digits"))?
        }
        Cell::Int(_) | Cell::Float(_) => exact_integer(cell)
            .ok_or_else(|| bad("is not a whole number, or too large to have kept its digits"))?,
        Cell::Bool(_) | Cell::Empty => return Err(bad("is not a number")),
    };
    if id == 0 { Err(bad("is zero, which nobody has")) } else { Ok(id) }
}

/// ASCII digits, plain or in groups of three, with an optional minus. `None` for anything
/// else and beyond 64 bits.
pub(super) fn digits(text: &str) -> Option<i64> {
    let (sign, body) = match text.strip_prefix('-') {
        Some(body) => ("-", body),
        None => ("", text),
    };
    let groups: Vec<&str> = body.split([' ', '\u{A0}', '\u{202F}', '\u{2009}', '\'']).collect();
    let in_threes = match groups.split_first() {
        Some((_, [])) => true,
        Some((first, rest)) => {
            (1..=3).contains(&first.len()) && rest.iter().all(|group| group.len() == 3)
        }
        None => false,
    };
    let all_digits = groups
        .iter()
        .all(|group| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit()));
    // The sign goes through the parser, for the one number that only exists with a minus.
    (in_threes && all_digits).then(|| format!("{sign}{}", groups.concat()).parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<i64> {
        read(&Cell::Text(text.into())).ok()
    }

    #[test]
    fn ids_are_read_exactly() {
        let cases = [
            ("5123456789", 5_123_456_789),
            (" 5123456789\u{A0}", 5_123_456_789),
            ("5 123 456 789", 5_123_456_789),
            ("5\u{A0}123\u{A0}456\u{A0}789", 5_123_456_789),
            ("5\u{202F}123\u{2009}456'789", 5_123_456_789),
            ("-1001234567890", -1_001_234_567_890),
            ("-1 234", -1_234),
            ("9007199254740993", 9_007_199_254_740_993),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("0042", 42),
        ];
        for (written, id) in cases {
            assert_eq!(text(written), Some(id), "{written:?}");
        }
        assert_eq!(read(&Cell::Int(1 << 53)), Ok(1 << 53));
        assert_eq!(read(&Cell::Float(5_123_456_789.0)), Ok(5_123_456_789));
        assert_eq!(read(&Cell::Float(9_007_199_254_740_992.0)), Ok(1 << 53));
        assert_eq!(read(&Cell::Float(-5.0)), Ok(-5));
    }

    #[test]
    fn what_may_not_be_the_id_is_refused() {
        let cases = [
            "7,00E+09",
            "7.12E+09",
            "7e9",
            "7_000_000_005",
            "123.0",
            "123,0",
            "１２３",
            "٣",
            "+5",
            "--5",
            "- 5",
            "−5",
            "5 12",
            "51 2345",
            "5123 456",
            "5  123",
            "5,123,456",
            "5.123.456",
            "9223372036854775808",
            "0x10",
            "abc",
            "N/A",
            "-",
            "'5123456789",
            "1 234 ",
            "0",
            "-0",
            "12\u{0}3",
        ];
        for written in cases {
            if written == "1 234 " {
                // Only the space around it is free.
                assert_eq!(text(written), Some(1_234));
                continue;
            }
            assert_eq!(text(written), None, "{written:?}");
        }
        let numbers = [
            Cell::Int((1 << 53) + 1),
            Cell::Int(-(1 << 53) - 1),
            Cell::Int(0),
            Cell::Float(9_007_199_254_740_994.0),
            Cell::Float(0.5),
            Cell::Float(f64::NAN),
            Cell::Float(f64::INFINITY),
            Cell::Float(-0.0),
            Cell::Bool(true),
        ];
        for cell in numbers {
            assert!(read(&cell).is_err(), "{cell:?}");
        }
    }
}
