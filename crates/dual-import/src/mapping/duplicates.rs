//! Rows of the same key, merged into one by a precedence for each column.

use dual_database::value::Value;

use super::declaration::{FieldKind, Precedence};
use super::{Mapping, SheetRecord};

/// What a merge did, for the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merge {
    /// The number of the row before.
    pub earlier: u64,
    /// The number of the row that was merged into it.
    pub later: u64,
    /// The columns in which both rows had a value, and not the same.
    pub columns: Vec<MergedColumn>,
}

/// A column in which two rows differed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MergedColumn {
    /// The position in the table.
    pub column: usize,
    /// Whether the later row's value won.
    pub later_won: bool,
}

/// Merges `later` into `earlier`, which stand in this order in the source and have the same
/// key. Unknown gives way to anything and NULL to any value; between two values the mapping's
/// precedence decides. The order in which neighbours are merged does not matter.
pub fn merge(mapping: &Mapping, earlier: &mut SheetRecord, later: SheetRecord) -> Merge {
    let mut merge = Merge { earlier: earlier.row, later: later.row, columns: Vec::new() };
    for (column, (mine, theirs)) in earlier.values.iter_mut().zip(later.values).enumerate() {
        let (Some(new), true) = (&theirs, *mine != theirs) else { continue };
        let later_wins = match (mine.as_ref(), new) {
            (None | Some(Value::Null), _) => true,
            (Some(_), Value::Null) => false,
            (Some(old), new) => wins(mapping, column, old, new),
        };
        if mine.as_ref().is_some_and(|old| !old.is_null()) && !new.is_null() {
            merge.columns.push(MergedColumn { column, later_won: later_wins });
        }
        if later_wins {
            *mine = theirs;
        }
    }
    earlier.row = later.row;
    merge
}

/// Whether the later of two values wins.
fn wins(mapping: &Mapping, column: usize, old: &Value, new: &Value) -> bool {
    let Some(field) = mapping.field_of(column) else { return true };
    match (field.duplicates, &field.kind, old, new) {
        (Precedence::Earliest, _, Value::Timestamp(old), Value::Timestamp(new)) => new < old,
        (
            Precedence::MostAdvanced,
            FieldKind::Status(status),
            Value::Text(old),
            Value::Text(new),
        ) => {
            let rank = |value: &String| status.order.iter().position(|known| known == value);
            rank(new) > rank(old)
        }
        _ => true,
    }
}
