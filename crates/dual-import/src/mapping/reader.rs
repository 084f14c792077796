//! Rows in, outcomes out: the state between rows is the header and the counts.

use std::collections::HashMap;

use dual_database::error::{Error, Kind, Result};

use super::candidate::Candidate;
use super::cells::{self, Content, is_blank};
use super::layout::{self, Evidence, Memo, Reading, View};
use super::verdict::{Verdict, decide, decide_strict};
use super::{Code, Mapping, Problem, SheetRecord, header, sentences};
use crate::source::{Cell, SourceRow};

/// What became of a row.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RowOutcome {
    /// There is nothing in it.
    Blank,
    /// It is the header, or the header once more.
    Header,
    /// It was understood.
    Record {
        /// What it says.
        record: SheetRecord,
        /// The layout it was written in: a name from the mapping, or `header in row 1`.
        layout: String,
        /// Cells that were left out, their values being unknown.
        notes: Vec<Problem>,
    },
    /// It was set aside; at least one problem says why.
    Rejected(Vec<Problem>),
}

/// What a tab has in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Contents {
    /// Nothing.
    Empty,
    /// A header and no rows.
    HeaderOnly,
    /// Rows.
    Rows,
}

/// How many rows were read in a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayoutCount {
    /// The layout's name, as in [`RowOutcome::Record`].
    pub layout: String,
    /// The rows.
    pub rows: u64,
}

/// What there is to say after the last row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// What the tab has in it.
    pub contents: Contents,
    /// The first header's row.
    pub header_row: Option<u64>,
    /// Rows that are neither blank nor headers: those understood and those set aside.
    pub rows: u64,
    /// Rows that were understood.
    pub records: u64,
    /// Of these, how many in which layout; the most frequent first.
    pub layouts: Vec<LayoutCount>,
    /// What a person should know, one sentence each, without values of cells.
    pub warnings: Vec<String>,
}

/// Reads the rows of one tab in their order.
#[derive(Debug)]
pub struct Reader<'m> {
    mapping: &'m Mapping,
    /// The header first, if there is one that can be used, then the layouts by position.
    candidates: Vec<Candidate>,
    /// Where the table begins.
    start: usize,
    /// What columns mean to a set of candidates, one bit each.
    grounds: HashMap<u64, Evidence>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    header_row: Option<u64>,
    has_key_heading: bool,
    seen: Vec<String>,
    rows: u64,
    records: u64,
    /// Rows that have the shape of a layout, whether they were taken or not.
    recognised: u64,
    layouts: HashMap<String, u64>,
    unknown_headings: Vec<(String, String)>,
    other_headers: Vec<u64>,
    beside: Counters,
    in_gap: Counters,
    repaired: Counters,
    remarks: HashMap<usize, Counters>,
}

/// How many rows something happened in, and in which first.
#[derive(Debug, Default, Clone, Copy)]
struct Counters {
    rows: u64,
    first: u64,
}

impl Counters {
    fn add(&mut self, row: u64) {
        if self.rows == 0 {
            self.first = row;
        }
        self.rows = self.rows.saturating_add(1);
    }

    fn text(self) -> String {
        match self.rows {
            1 => format!("1 row (row {})", self.first),
            rows => format!("{rows} rows (the first is row {})", self.first),
        }
    }
}

impl<'m> Reader<'m> {
    /// A reader that has seen no row yet.
    #[must_use]
    pub fn new(mapping: &'m Mapping) -> Reader<'m> {
        Reader {
            mapping,
            candidates: Candidate::by_position(mapping),
            start: 0,
            grounds: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// Reads the next row.
    ///
    /// # Errors
    /// [`Kind::InvalidData`] where the row is a header with two headings for one column.
    pub fn read(&mut self, row: &SourceRow) -> Result<RowOutcome> {
        if row.cells.iter().all(is_blank) {
            return Ok(RowOutcome::Blank);
        }
        let first = self.counts.rows == 0 && self.counts.header_row.is_none();
        if first && self.counts.seen.is_empty() {
            self.counts.seen = header::seen(row);
        }
        if let Some(header) = header::recognise(self.mapping, row, first)? {
            self.take_header(header, row);
            return Ok(RowOutcome::Header);
        }
        self.counts.rows = self.counts.rows.saturating_add(1);
        Ok(self.read_data(row))
    }

    fn take_header(&mut self, header: header::Header, row: &SourceRow) {
        let known = self.candidates.first().filter(|candidate| candidate.is_header);
        let again = match (&header.candidate, known) {
            (Some(new), Some(known)) => new.slots == known.slots && header.start == self.start,
            _ => false,
        };
        if again {
            return;
        }
        if self.counts.header_row.is_none() {
            self.counts.header_row = Some(row.number);
            self.counts.unknown_headings = header.unknown;
            self.counts.seen = header::seen(row);
        } else if header.candidate.is_some() {
            self.counts.other_headers.push(row.number);
        }
        self.counts.has_key_heading |= header.candidate.is_some();
        let Some(candidate) = header.candidate else { return };
        self.candidates.retain(|candidate| !candidate.is_header);
        self.candidates.insert(0, candidate);
        self.start = header.start;
        self.grounds.clear();
    }

    fn read_data(&mut self, row: &SourceRow) -> RowOutcome {
        let view = View { row: row.number, cells: &row.cells, start: self.start };
        if let Some(verdict) = self.strictly(view) {
            return self.conclude(view, verdict);
        }
        if let Some(by) = self.shift(view) {
            self.counts.recognised = self.counts.recognised.saturating_add(1);
            if !self.mapping.repair_shift {
                let sentence = sentences::shifted(by);
                return RowOutcome::Rejected(vec![sentences::of_row(
                    view,
                    Code::Shifted,
                    sentence,
                )]);
            }
            self.counts.repaired.add(view.row);
            let view = View { start: self.start.saturating_add(by), ..view };
            // What stands before the shifted row is known to be empty.
            let verdict = self.strictly(view).unwrap_or_else(|| self.weighing(view));
            return self.conclude(view, verdict);
        }
        let verdict = self.weighing(view);
        self.conclude(view, verdict)
    }

    /// The candidates that a row may have been written in at all: those under which its key
    /// and its date can be read, or, if there are none, one of the two.
    fn plausible(&self, view: View<'_>, memo: &mut Memo) -> u64 {
        let (mut both, mut either) = (0, 0);
        for (number, candidate) in self.candidates.iter().enumerate() {
            let mut reads = |position: Option<usize>| {
                let slot = *candidate.slots.get(position?)?;
                match memo.read(self.mapping, view, position?, slot)? {
                    Ok(Content::Empty) => None,
                    read => Some(read.is_ok()),
                }
            };
            let key = reads(candidate.key) == Some(true);
            let date = reads(candidate.date);
            let bit = 1u64.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).unwrap_or(0);
            if key && date != Some(false) {
                both |= bit;
            }
            if key || date == Some(true) {
                either |= bit;
            }
        }
        match (both, either) {
            (0, 0) => u64::MAX,
            (0, either) => either,
            (both, _) => both,
        }
    }

    fn is_among(set: u64, number: usize) -> bool {
        u32::try_from(number).ok().and_then(|number| set.checked_shr(number)).unwrap_or(0) & 1 == 1
    }

    /// All readings by the plausible candidates, in their order.
    fn readings(&mut self, view: View<'_>, strictly: bool) -> Vec<Reading> {
        let mut memo = Memo::default();
        let set = self.plausible(view, &mut memo);
        let (mapping, candidates) = (self.mapping, &self.candidates);
        let plausible =
            || candidates.iter().enumerate().filter(|(number, _)| Reader::is_among(set, *number));
        let evidence = self
            .grounds
            .entry(set)
            .or_insert_with(|| Evidence::of(mapping, plausible().map(|(_, candidate)| candidate)));
        plausible()
            .filter_map(|candidate| {
                layout::read(mapping, candidate, evidence, view, &mut memo, strictly)
            })
            .collect()
    }

    fn strictly(&mut self, view: View<'_>) -> Option<Verdict> {
        let readings = self.readings(view, true);
        decide_strict(self.mapping, &self.candidates, view, readings)
    }

    fn weighing(&mut self, view: View<'_>) -> Verdict {
        let headed = self.counts.has_key_heading;
        decide(self.readings(view, false), headed)
    }

    /// By how many columns the row stands to the right of its place: the cells before are
    /// empty, no candidate finds an id, and some layout would find date and id further on.
    fn shift(&self, view: View<'_>) -> Option<usize> {
        let filled = view.cells.iter().position(|cell| !is_blank(cell))?;
        let by = filled.checked_sub(self.start).filter(|by| *by > 0)?;
        let field = self.mapping.fields.get(self.mapping.key)?;
        let is_id = |cell: &Cell| matches!(cells::read(field, false, cell), Ok(Content::Known(_)));
        let key_of = |candidate: &Candidate| candidate.key;
        if self.candidates.iter().filter_map(key_of).any(|position| is_id(view.get(position))) {
            return None;
        }
        let further = View { start: filled, ..view };
        let found = self.candidates.iter().any(|candidate| {
            let date = candidate.date;
            let slot = date.and_then(|position| candidate.slots.get(position));
            let date_field =
                slot.and_then(|slot| slot.field).and_then(|field| self.mapping.fields.get(field));
            let (Some(date), Some(date_field), Some(key)) = (date, date_field, key_of(candidate))
            else {
                return false;
            };
            let is_date = !is_blank(further.get(date))
                && cells::read(date_field, false, further.get(date)).is_ok();
            is_date && is_id(further.get(key))
        });
        found.then_some(by)
    }

    fn conclude(&mut self, view: View<'_>, verdict: Verdict) -> RowOutcome {
        let row_problem =
            |code, sentence| RowOutcome::Rejected(vec![sentences::of_row(view, code, sentence)]);
        match verdict {
            Verdict::Taken(reading) => self.take(view, reading),
            Verdict::Refused(reading) => {
                self.counts.recognised = self.counts.recognised.saturating_add(1);
                RowOutcome::Rejected(sentences::of_cells(self.mapping, view, &reading))
            }
            Verdict::Ambiguous(one, other) => {
                self.counts.recognised = self.counts.recognised.saturating_add(1);
                let sentence = sentences::ambiguous(self.mapping, &self.candidates, [&one, &other]);
                row_problem(Code::TwoLayouts, sentence)
            }
            Verdict::Unfit(best, runner) => {
                let readings = [best.as_ref(), runner.as_ref()];
                let sentence = sentences::unfit(self.mapping, &self.candidates, view, &readings);
                row_problem(Code::NoLayout, sentence)
            }
        }
    }

    fn take(&mut self, view: View<'_>, reading: Reading) -> RowOutcome {
        let counts = &mut self.counts;
        counts.records = counts.records.saturating_add(1);
        counts.recognised = counts.recognised.saturating_add(1);
        let candidate = self.candidates.get(reading.candidate);
        let layout = candidate.map(|candidate| candidate.name.clone()).unwrap_or_default();
        match counts.layouts.get_mut(&layout) {
            Some(rows) => *rows = rows.saturating_add(1),
            None => {
                counts.layouts.insert(layout.clone(), 1);
            }
        }
        if reading.in_gap {
            counts.in_gap.add(view.row);
        }
        if reading.is_beside() {
            counts.beside.add(view.row);
        }
        for (number, remark) in self.mapping.remarks.iter().enumerate() {
            let position = candidate.and_then(|candidate| candidate.position_of(remark.field));
            let Some(cell) = position.map(|position| view.get(position)) else { continue };
            let applies = match &remark.prefix {
                None => !is_blank(cell),
                Some(prefix) => {
                    let text = cell.raw();
                    super::declaration::normalised(&text).starts_with(prefix.as_str())
                }
            };
            if applies {
                counts.remarks.entry(number).or_default().add(view.row);
            }
        }
        let notes = sentences::of_cells(self.mapping, view, &reading);
        RowOutcome::Record {
            record: SheetRecord { row: view.row, values: reading.values },
            layout,
            notes,
        }
    }

    /// After the last row.
    ///
    /// # Errors
    /// [`Kind::InvalidData`] where the tab is of another kind: no heading means the key, and
    /// no row has the shape of any layout, or none below a row of other headings was understood.
    pub fn finish(self) -> Result<Summary> {
        let counts = &self.counts;
        let has_something = counts.rows > 0 || counts.header_row.is_some();
        // A first row of nothing but words is a header of something else: rows below it that
        // resemble a layout, and failed, do so by chance.
        let is_foreign = counts.recognised == 0 || (counts.records == 0 && counts.seen.len() >= 2);
        if has_something && !counts.has_key_heading && is_foreign {
            return Err(self.another_kind());
        }
        let contents = match (counts.rows, counts.header_row) {
            (0, None) => Contents::Empty,
            (0, Some(_)) => Contents::HeaderOnly,
            _ => Contents::Rows,
        };
        let mut layouts: Vec<LayoutCount> = counts
            .layouts
            .iter()
            .map(|(layout, rows)| LayoutCount { layout: layout.clone(), rows: *rows })
            .collect();
        layouts.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.layout.cmp(&b.layout)));
        Ok(Summary {
            contents,
            header_row: counts.header_row,
            rows: counts.rows,
            records: counts.records,
            layouts,
            warnings: self.warnings(),
        })
    }

    fn another_kind(&self) -> Error {
        let key = self.mapping.fields.get(self.mapping.key);
        let key = key.map_or("", |field| field.heading.as_str());
        let seen = match self.counts.seen.as_slice() {
            [] => "its first row has none".to_string(),
            seen => {
                let told: Vec<String> =
                    seen.iter().take(20).map(|heading| format!("“{heading}”")).collect();
                format!("its first row has {}", told.join(", "))
            }
        };
        let expected: Vec<String> = self
            .mapping
            .fields
            .iter()
            .filter(|field| field.target.is_some() && field.heading != field.name)
            .map(|field| format!("“{}”", field.heading))
            .collect();
        let message = format!(
            "the tab is of another kind: no heading means the id (such as “{key}”), and no row \
             has the shape of a known layout; expected headings are {}; {seen}",
            expected.join(", "),
        );
        Error::new(Kind::InvalidData, "read the rows", message)
            .with_hint("check the name of the tab, or say with a mapping what its columns mean")
    }

    fn warnings(&self) -> Vec<String> {
        let counts = &self.counts;
        let mut warnings = Vec::new();
        if let Some(row) = counts.header_row.filter(|_| !counts.has_key_heading) {
            warnings.push(format!(
                "the header in row {row} has no column for the id; rows were read by position"
            ));
        }
        if !counts.unknown_headings.is_empty() {
            let headings: Vec<String> = counts
                .unknown_headings
                .iter()
                .take(20)
                .map(|(cell, heading)| {
                    format!("“{}” in {cell}", heading.chars().take(60).collect::<String>())
                })
                .collect();
            warnings.push(format!("unknown headings were ignored: {}", headings.join(", ")));
        }
        if !counts.other_headers.is_empty() {
            let rows: Vec<String> =
                counts.other_headers.iter().take(20).map(u64::to_string).collect();
            warnings.push(format!(
                "the header changes in row {}; the rows below were read by the new one",
                rows.join(", ")
            ));
        }
        for (number, remark) in self.mapping.remarks.iter().enumerate() {
            if let Some(counters) = counts.remarks.get(&number) {
                warnings.push(format!("{}: {}", counters.text(), remark.says));
            }
        }
        let tallies = [
            (
                counts.in_gap,
                "a time that no zone of its column explains; it was read in the later zone",
            ),
            (counts.beside, "cells outside of the headed columns; they were ignored"),
            (counts.repaired, "begun in another column; they were read as if moved back"),
        ];
        for (counters, says) in tallies {
            if counters.rows > 0 {
                warnings.push(format!("{} had {says}", counters.text()));
            }
        }
        warnings
    }
}
