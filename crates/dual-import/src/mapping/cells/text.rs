//! Texts and phones.

use std::borrow::Cow;

use super::Fault;
use super::number::exact_integer;
use crate::mapping::Code;
use crate::source::Cell;

/// A cell as text: numbers in digits, booleans as the sheet shows them; trimmed. `None` for
/// an empty cell.
pub(super) fn of(cell: &Cell) -> Option<Cow<'_, str>> {
    Some(match cell {
        Cell::Empty => return None,
        Cell::Text(text) => Cow::Borrowed(text.trim()),
        Cell::Bool(_) => Cow::Owned(cell.raw()),
        Cell::Int(_) | Cell::Float(_) => match exact_integer(cell) {
            Some(number) => Cow::Owned(number.to_string()),
            None => Cow::Owned(cell.raw()),
        },
    })
}

/// Any text, as it is but for the white space around it.
pub(super) fn read(cell: &Cell) -> Result<String, Fault> {
    let text = of(cell).unwrap_or_default();
    if text.contains('\0') {
        let says = "holds a NUL character, which PostgreSQL cannot keep";
        return Err(Fault { code: Code::NulInText, says, fatal: true });
    }
    Ok(text.into_owned())
}

/// A phone: a text stays as it was written. A number has lost its plus, or an eight that the
/// country writes instead: 11 digits from 7 on are `+7…`, other 11 to 15 digits get a plus
/// unless they begin with 8, fewer stay digits.
pub(super) fn read_phone(cell: &Cell) -> Result<String, Fault> {
    let bad = |says| Fault::new(Code::BadPhone, says);
    match cell {
        Cell::Bool(_) => Err(bad("is a logical value, not a phone number")),
        Cell::Int(_) | Cell::Float(_) => {
            let number = exact_integer(cell)
                .filter(|number| *number >= 0)
                .ok_or_else(|| bad("is a number that no phone has; it may be a calculated one"))?;
            let digits = number.to_string();
            let international = (11..=15).contains(&digits.len()) && !digits.starts_with('8');
            Ok(if international { format!("+{digits}") } else { digits })
        }
        Cell::Text(_) | Cell::Empty => read(cell),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phones() {
        let phone = |cell| read_phone(&cell).ok();
        let cases = [
            (Cell::Text(" +7 (999) 123-45-67 ".into()), "+7 (999) 123-45-67"),
            (Cell::Text("89991234567".into()), "89991234567"),
            (Cell::Text("79991234567".into()), "79991234567"),
            (Cell::Int(79_991_234_567), "+79991234567"),
            (Cell::Float(79_991_234_567.0), "+79991234567"),
            (Cell::Int(380_501_234_567), "+380501234567"),
            (Cell::Int(89_991_234_567), "89991234567"),
            (Cell::Int(9_991_234_567), "9991234567"),
            (Cell::Int(1_234_567_890_123_456), "1234567890123456"),
        ];
        for (cell, written) in cases {
            assert_eq!(phone(cell.clone()).as_deref(), Some(written), "{cell:?}");
        }
        for cell in [Cell::Int(-1227), Cell::Float(0.5), Cell::Float(1e300), Cell::Bool(true)] {
            assert_eq!(phone(cell), None);
        }
    }

    #[test]
    fn texts_stay_what_they_are() {
        let long = "я".repeat(50_000);
        for text in ["👩‍👩‍👧", "שלום", "a\u{A0}b", "e\u{301}", "line\nline", &long]
        {
            assert_eq!(read(&Cell::Text(text.into())).as_deref(), Ok(text));
        }
        assert_eq!(read(&Cell::Int(12_345)).as_deref(), Ok("12345"));
        assert_eq!(read(&Cell::Float(1.5)).as_deref(), Ok("1.5"));
        assert_eq!(read(&Cell::Bool(true)).as_deref(), Ok("TRUE"));
        assert!(read(&Cell::Text("a\0b".into())).is_err_and(|fault| fault.fatal));
    }
}
