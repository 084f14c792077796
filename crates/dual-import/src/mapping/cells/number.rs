//! Whole numbers and the words for yes and no.

use super::{Fault, id, text};
use crate::mapping::Code;
use crate::mapping::declaration::normalised;
use crate::source::Cell;

/// Beyond it a double skips integers.
const EXACT: i64 = 1 << 53;

/// A number cell as the integer that it is, if nothing was lost on the way.
pub(super) fn exact_integer(cell: &Cell) -> Option<i64> {
    let number = match cell {
        Cell::Int(number) => *number,
        Cell::Float(number) if number.fract() == 0.0 && number.abs() <= EXACT as f64 => {
            *number as i64
        }
        _ => return None,
    };
    (-EXACT..=EXACT).contains(&number).then_some(number)
}

/// A whole number from `least` to `most`, written as an id is, zero included.
pub(super) fn read(cell: &Cell, least: i64, most: i64) -> Result<i64, Fault> {
    let number = match cell {
        Cell::Text(text) => id::digits(text.trim()),
        _ => exact_integer(cell),
    };
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| Fault::new(Code::BadNumber, "is not a whole number of the column's size"))
}

/// Yes or no: a tick box, Да and Нет, TRUE and FALSE, ИСТИНА and ЛОЖЬ, 1 and 0, in any case;
/// no other word.
pub(super) fn read_yes_no(cell: &Cell) -> Result<bool, Fault> {
    let word = match cell {
        Cell::Bool(flag) => return Ok(*flag),
        _ => text::of(cell).map(|word| normalised(&word)),
    };
    match word.as_deref() {
        Some("да" | "true" | "истина" | "1") => Ok(true),
        Some("нет" | "false" | "ложь" | "0") => Ok(false),
        _ => Err(Fault::new(Code::BadBoolean, "is not one of the words for yes and no")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_for_yes_and_no_and_no_others() {
        for yes in ["Да", "да", " ДА ", "TRUE", "true", "Истина", "1"] {
            assert_eq!(read_yes_no(&Cell::Text(yes.into())), Ok(true), "{yes}");
        }
        for no in ["Нет", "НЕТ\u{A0}", "FALSE", "False", "ЛОЖЬ", "0"] {
            assert_eq!(read_yes_no(&Cell::Text(no.into())), Ok(false), "{no}");
        }
        for cell in [Cell::Int(1), Cell::Float(1.0), Cell::Bool(true)] {
            assert_eq!(read_yes_no(&cell), Ok(true));
        }
        assert_eq!(read_yes_no(&Cell::Int(0)), Ok(false));
        for other in ["yes", "no", "д", "+", "01", "2", "t", "да, наверное"] {
            assert!(read_yes_no(&Cell::Text(other.into())).is_err(), "{other}");
        }
        for cell in [Cell::Int(2), Cell::Int(-1), Cell::Float(0.5)] {
            assert!(read_yes_no(&cell).is_err());
        }
    }

    #[test]
    fn whole_numbers_hold_their_bounds() {
        let int = |cell| read(&cell, i32::MIN.into(), i32::MAX.into()).ok();
        assert_eq!(int(Cell::Int(0)), Some(0));
        assert_eq!(int(Cell::Text("2147483647".into())), Some(2_147_483_647));
        assert_eq!(int(Cell::Int(2_147_483_648)), None);
        assert_eq!(int(Cell::Float(1.5)), None);
        assert_eq!(int(Cell::Bool(true)), None);
    }
}
