//! The ways to read a row: the header, if there is one, and the layouts by position.

use super::Mapping;
use super::declaration::{FieldKind, StatusWords};

/// A way to read a row: what each column means, from the first one on.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub name: String,
    pub slots: Vec<Slot>,
    /// Rows under a header may lack anything but the key, and have notes beside the table.
    pub is_header: bool,
    pub status: Option<StatusWords>,
    /// The column of the first timestamp that the table keeps: the date of the row.
    pub date: Option<usize>,
    /// The column of the key.
    pub key: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// `None`: without a meaning.
    pub field: Option<usize>,
    /// The database's own value.
    pub native: bool,
}

impl Slot {
    pub const NONE: Slot = Slot { field: None, native: false };
}

impl Candidate {
    pub fn of_header(mapping: &Mapping, name: String, slots: Vec<Slot>) -> Candidate {
        Candidate { name, slots, is_header: true, status: None, date: None, key: None }
            .with_places(mapping)
    }

    pub fn by_position(mapping: &Mapping) -> Vec<Candidate> {
        let candidate = |layout: &super::declaration::SheetLayout| {
            Candidate {
                name: layout.name.clone(),
                slots: layout.fields.iter().map(|&field| Slot { field, native: false }).collect(),
                is_header: false,
                status: layout.status,
                date: None,
                key: None,
            }
            .with_places(mapping)
        };
        mapping.layouts.iter().map(candidate).collect()
    }

    pub fn position_of(&self, field: usize) -> Option<usize> {
        self.slots.iter().position(|slot| slot.field == Some(field))
    }

    fn with_places(mut self, mapping: &Mapping) -> Candidate {
        self.key = self.position_of(mapping.key);
        self.date = self.slots.iter().position(|slot| {
            slot.field.and_then(|field| mapping.fields.get(field)).is_some_and(|field| {
                field.target.is_some() && matches!(field.kind, FieldKind::Timestamp(_))
            })
        });
        self
    }
}
