//! Which layout a row was written in.
//!
//! Candidates are the header, if there is one, and the layouts by position. Each reads the
//! row; what does not go with it is a [`Flaw`], and flaws have a weight. A reading without
//! flaws is taken if there is one such reading, or if all of them come to the same record.
//! Otherwise the lightest is taken where it is clearly the lightest and does not contradict
//! itself; its flaws then say precisely what is wrong with the row.
//!
//! Dates, ids, statuses and words for yes and no speak for themselves. Free text accepts
//! anything, so it speaks by what it looks like: a status where a birth date belongs is
//! evidence against a reading, if another reading has a status in that cell.

use dual_database::value::Value;

use super::candidate::{Candidate, Slot};
use super::cells::{self, CellKind, Content, Doubt, Fault, is_blank};
use super::declaration::{Field, FieldKind, OnBad, normalised};
use super::{Code, Mapping};
use crate::source::Cell;

/// A row from the column on where its table begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'r> {
    pub row: u64,
    pub cells: &'r [Cell],
    pub start: usize,
}

impl<'r> View<'r> {
    pub fn get(&self, position: usize) -> &'r Cell {
        self.start.checked_add(position).and_then(|at| self.cells.get(at)).unwrap_or(&Cell::Empty)
    }

    pub fn address(&self, position: usize) -> String {
        super::header::address(self.start.saturating_add(position), self.row)
    }

    /// Filled cells before the table begins.
    fn before(&self) -> bool {
        self.cells.iter().take(self.start).any(|cell| !is_blank(cell))
    }

    fn width(&self) -> usize {
        self.cells.len().saturating_sub(self.start)
    }
}

/// The cells of a row as they have been read so far: most candidates agree on most columns, so
/// that nearly every cell is read once for all of them.
#[derive(Debug, Default)]
pub(super) struct Memo {
    columns: Vec<Remembered>,
}

#[derive(Debug, Default)]
struct Remembered {
    reads: Vec<(Slot, Result<Content, Fault>)>,
    cell_kind: Option<CellKind>,
}

impl Memo {
    fn column(&mut self, position: usize) -> Option<&mut Remembered> {
        if position >= self.columns.len() {
            self.columns.resize_with(position.saturating_add(1), Remembered::default);
        }
        self.columns.get_mut(position)
    }

    /// The cell as `slot` reads it; `None` where the slot has no meaning.
    pub fn read(
        &mut self,
        mapping: &Mapping,
        view: View<'_>,
        position: usize,
        slot: Slot,
    ) -> Option<Result<Content, Fault>> {
        let field = mapping.fields.get(slot.field?)?;
        let column = self.column(position)?;
        if let Some((_, read)) = column.reads.iter().find(|(known, _)| *known == slot) {
            return Some(read.clone());
        }
        let read = cells::read(field, slot.native, view.get(position));
        column.reads.push((slot, read.clone()));
        Some(read)
    }

    fn cell_kind(&mut self, mapping: &Mapping, cell: &Cell, position: usize) -> CellKind {
        let fresh = || cells::cell_kind(cell, &mapping.words);
        match self.column(position) {
            Some(column) => *column.cell_kind.get_or_insert_with(fresh),
            None => fresh(),
        }
    }
}

/// What does not go with a reading.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Flaw {
    /// A cell that cannot be read; whether the row goes with it.
    Misfit { position: usize, field: usize, fault: Fault, rejects: bool },
    /// The same, and it looks like what another layout has there.
    Clash { position: usize, field: usize, cell_kind: CellKind },
    /// Readable as anything is, but it looks like what another layout has there.
    Foreign { position: usize, field: usize, cell_kind: CellKind },
    /// Readable, but unusual there.
    Unlikely { position: usize, field: usize },
    /// The writer of this layout always fills it.
    Missing { field: usize },
    /// Cells to the left of the table.
    Before { under_header: bool },
    /// A cell that the layout has no column for.
    Beyond { position: usize, under_header: bool },
}

impl Flaw {
    /// The heavier, the less likely it is that the row was written so. A cell that spoils one
    /// value is lighter than one that is at home elsewhere.
    fn weight(&self) -> u32 {
        match self {
            Flaw::Misfit { rejects: false, .. } => 2,
            Flaw::Misfit { fault, .. } if fault.code == Code::BadDate => 5,
            Flaw::Misfit { .. } => 3,
            Flaw::Missing { .. } => 4,
            Flaw::Unlikely { .. } => 5,
            Flaw::Before { under_header: true } | Flaw::Beyond { under_header: true, .. } => 5,
            Flaw::Clash { .. } | Flaw::Foreign { .. } => 9,
            Flaw::Before { .. } | Flaw::Beyond { .. } => 9,
        }
    }

    /// Whether a reading with it contradicts itself.
    fn contradicts(&self) -> bool {
        match self {
            Flaw::Clash { .. } | Flaw::Foreign { .. } => true,
            Flaw::Before { under_header } | Flaw::Beyond { under_header, .. } => !under_header,
            Flaw::Misfit { .. } | Flaw::Unlikely { .. } | Flaw::Missing { .. } => false,
        }
    }
}

/// What the candidates that a row may have been written in have in each column, by which the
/// looks of a cell become evidence.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    columns: Vec<Present>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Present {
    contested: bool,
    status: bool,
    timestamp: bool,
    text_date: bool,
    yes_no: bool,
    number: bool,
    phone: bool,
}

impl Evidence {
    pub fn of<'c>(mapping: &Mapping, candidates: impl Iterator<Item = &'c Candidate>) -> Evidence {
        let mut firsts: Vec<Option<usize>> = Vec::new();
        let mut columns: Vec<Present> = Vec::new();
        for candidate in candidates {
            for (position, slot) in candidate.slots.iter().enumerate() {
                if position == columns.len() {
                    columns.push(Present::default());
                    firsts.push(slot.field);
                }
                let (Some(present), Some(first)) =
                    (columns.get_mut(position), firsts.get(position))
                else {
                    continue;
                };
                present.contested |= *first != slot.field;
                match slot.field.and_then(|field| mapping.fields.get(field)).map(|f| &f.kind) {
                    Some(FieldKind::Status(_)) => present.status = true,
                    Some(FieldKind::Timestamp(_)) => present.timestamp = true,
                    Some(FieldKind::TextDate) => present.text_date = true,
                    Some(FieldKind::YesNo) => present.yes_no = true,
                    Some(FieldKind::Id | FieldKind::Integer(..)) => present.number = true,
                    Some(FieldKind::Phone) => present.phone = true,
                    Some(FieldKind::Username | FieldKind::Text) | None => {}
                }
            }
        }
        Evidence { columns }
    }

    fn contested(&self, position: usize) -> bool {
        self.columns.get(position).is_some_and(|present| present.contested)
    }

    fn is_id(&self, position: usize) -> bool {
        self.columns.get(position).is_some_and(|present| present.number)
    }

    /// Whether some candidate has a column there in which such a cell is at home.
    fn is_home(&self, position: usize, cell_kind: CellKind) -> bool {
        let Some(present) = self.columns.get(position) else { return false };
        match cell_kind {
            CellKind::Status => present.status,
            CellKind::DateTime => present.timestamp,
            CellKind::Date => present.timestamp || present.text_date,
            CellKind::Day => present.text_date,
            CellKind::YesNo => present.yes_no,
            CellKind::Phone => present.phone,
            CellKind::LongNumber => present.number || present.phone,
            CellKind::Number | CellKind::Plain => false,
        }
    }
}

/// A row as one candidate reads it.
#[derive(Debug)]
pub(super) struct Reading {
    /// The candidate's place in the list.
    pub candidate: usize,
    pub is_header: bool,
    pub values: Vec<Option<Value>>,
    pub flaws: Vec<Flaw>,
    /// Timestamps in the hours that no zone of theirs has.
    pub in_gap: bool,
    /// Dates, ids, statuses and the like that were read.
    pub strong: usize,
    /// What is absent under a header, where it may be.
    absent: u32,
}

impl Reading {
    pub fn weight(&self) -> u32 {
        self.flaws.iter().map(Flaw::weight).sum::<u32>().saturating_add(self.absent)
    }

    pub fn rejects(&self) -> bool {
        self.flaws.iter().any(|flaw| matches!(flaw, Flaw::Misfit { rejects: true, .. }))
    }

    /// Whether the row has cells outside of the table's columns.
    pub fn is_beside(&self) -> bool {
        self.count(|flaw| matches!(flaw, Flaw::Before { .. } | Flaw::Beyond { .. })) > 0
    }

    pub fn contradicts(&self) -> bool {
        self.flaws.iter().any(Flaw::contradicts)
    }

    pub fn count(&self, flaw: impl Fn(&Flaw) -> bool) -> usize {
        self.flaws.iter().filter(|found| flaw(found)).count()
    }

    /// Whether a person would notice a difference between taking this and the other.
    pub fn same_outcome(&self, other: &Reading) -> bool {
        let misfits = |reading: &Reading| -> Vec<(usize, usize)> {
            let of = |flaw: &Flaw| match flaw {
                Flaw::Misfit { position, field, .. } => Some((*position, *field)),
                _ => None,
            };
            reading.flaws.iter().filter_map(of).collect()
        };
        self.values == other.values
            && self.contradicts() == other.contradicts()
            && misfits(self) == misfits(other)
    }
}

/// Reads a row as `candidate`. With `strictly`, `None` as soon as there is a flaw.
pub(super) fn read(
    mapping: &Mapping,
    (number, candidate): (usize, &Candidate),
    evidence: &Evidence,
    view: View<'_>,
    memo: &mut Memo,
    strictly: bool,
) -> Option<Reading> {
    let mut reading = Reading {
        candidate: number,
        is_header: candidate.is_header,
        values: vec![None; mapping.columns.len()],
        flaws: Vec::new(),
        in_gap: false,
        strong: 0,
        absent: 0,
    };
    if view.before() {
        reading.flaws.push(Flaw::Before { under_header: candidate.is_header });
    }
    for (position, slot) in candidate.slots.iter().enumerate() {
        let Some((number, field)) =
            slot.field.and_then(|number| Some((number, mapping.fields.get(number)?)))
        else {
            continue;
        };
        let cell = view.get(position);
        let Some(read) = memo.read(mapping, view, position, *slot) else { continue };
        match read {
            Ok(Content::Empty) => {
                if let Some(flaw) = missing(mapping, candidate, position, number, field) {
                    reading.flaws.extend(flaw);
                    reading.absent = reading.absent.saturating_add(1);
                }
            }
            Ok(content) => {
                let (value, in_gap) = match content {
                    Content::InGap(value) => (value, true),
                    Content::Known(value) => (value, false),
                    Content::Empty => continue,
                };
                reading.in_gap |= in_gap && field.target.is_some();
                reading.strong += usize::from(is_strong(&field.kind));
                let flaw = if value.is_null() {
                    None
                } else {
                    flaw_of_cell(
                        mapping,
                        candidate,
                        evidence,
                        memo,
                        (position, number),
                        field,
                        cell,
                    )
                };
                reading.flaws.extend(flaw);
                if let Some(place) = field.target.and_then(|at| reading.values.get_mut(at)) {
                    *place = Some(value);
                }
            }
            Err(fault) => {
                let cell_kind = memo.cell_kind(mapping, cell, position);
                let at_home = evidence.contested(position)
                    && !is_own(&field.kind, cell_kind)
                    && evidence.is_home(position, cell_kind);
                reading.flaws.push(if at_home {
                    Flaw::Clash { position, field: number, cell_kind }
                } else {
                    let rejects = fault.fatal || field.on_bad == OnBad::Reject;
                    Flaw::Misfit { position, field: number, fault, rejects }
                });
            }
        }
        if strictly && !reading.flaws.is_empty() {
            return None;
        }
    }
    for position in candidate.slots.len()..view.width() {
        if !is_blank(view.get(position)) {
            reading.flaws.push(Flaw::Beyond { position, under_header: candidate.is_header });
            if strictly {
                return None;
            }
        }
    }
    (!strictly || reading.flaws.is_empty()).then_some(reading)
}

/// `None` where the cell may be empty, `Some(None)` where that is unusual but allowed.
fn missing(
    mapping: &Mapping,
    candidate: &Candidate,
    position: usize,
    number: usize,
    field: &Field,
) -> Option<Option<Flaw>> {
    if number == mapping.key {
        let fault = Fault { code: Code::MissingId, says: "is empty", fatal: true };
        return Some(Some(Flaw::Misfit { position, field: number, fault, rejects: true }));
    }
    let is_expected =
        matches!(field.kind, FieldKind::Status(_)) || candidate.date == Some(position);
    is_expected.then(|| (!candidate.is_header).then_some(Flaw::Missing { field: number }))
}

/// What the looks of a readable cell say against its column.
fn flaw_of_cell(
    mapping: &Mapping,
    candidate: &Candidate,
    evidence: &Evidence,
    memo: &mut Memo,
    (position, number): (usize, usize),
    field: &Field,
    cell: &Cell,
) -> Option<Flaw> {
    if !evidence.contested(position) {
        return None;
    }
    if let (FieldKind::Status(status), Cell::Text(text)) = (&field.kind, cell) {
        let written = status.words.get(&normalised(text)).map(|(_, words)| *words);
        let usual = candidate.status.is_none() || candidate.status == written;
        return (!usual).then_some(Flaw::Unlikely { position, field: number });
    }
    if matches!(field.kind, FieldKind::Timestamp(_)) && evidence.is_id(position) {
        return (!is_recent_serial(cell)).then_some(Flaw::Unlikely { position, field: number });
    }
    if is_strong(&field.kind) {
        return None;
    }
    let cell_kind = memo.cell_kind(mapping, cell, position);
    match cells::doubt(&field.kind, cell, cell_kind) {
        Doubt::Foreign if evidence.is_home(position, cell_kind) => {
            Some(Flaw::Foreign { position, field: number, cell_kind })
        }
        Doubt::Unlikely => Some(Flaw::Unlikely { position, field: number }),
        Doubt::Foreign | Doubt::None => None,
    }
}

/// Whether a date cell, if it is a number at all, is one of the years 2009 to 2050: where
/// another layout has an id, a number of other years is an id, not a date.
fn is_recent_serial(cell: &Cell) -> bool {
    match cell {
        Cell::Int(days) => (40_000..55_000).contains(days),
        Cell::Float(days) => (40_000.0..55_000.0).contains(days),
        _ => true,
    }
}

/// Kinds that do not accept any text.
pub(super) fn is_strong(kind: &FieldKind) -> bool {
    matches!(
        kind,
        FieldKind::Id
            | FieldKind::Integer(..)
            | FieldKind::Timestamp(_)
            | FieldKind::Status(_)
            | FieldKind::YesNo
    )
}

/// Whether a cell that cannot be read as `kind` is still an attempt at it.
fn is_own(kind: &FieldKind, cell_kind: CellKind) -> bool {
    match kind {
        FieldKind::Timestamp(_) => matches!(cell_kind, CellKind::Date | CellKind::DateTime),
        FieldKind::Id | FieldKind::Integer(..) => {
            matches!(
                cell_kind,
                CellKind::Phone | CellKind::LongNumber | CellKind::Day | CellKind::Number
            )
        }
        FieldKind::YesNo => matches!(cell_kind, CellKind::YesNo),
        _ => false,
    }
}
