//! Which of its readings a row is taken by, if by any.

use super::Mapping;
use super::candidate::Candidate;
use super::cells::is_blank;
use super::layout::{Flaw, Reading, View, is_strong};

/// What became of a row.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It was written so; misfits that do not take the row with them are noted.
    Taken(Reading),
    /// It was written so, and has cells that take the row with them.
    Refused(Reading),
    /// It fits these, differently.
    Ambiguous(Reading, Reading),
    /// It fits none; these come nearest.
    Unfit(Option<Reading>, Option<Reading>),
}

/// Between readings without flaws.
pub(super) fn decide_strict(
    mapping: &Mapping,
    candidates: &[Candidate],
    view: View<'_>,
    mut readings: Vec<Reading>,
) -> Option<Verdict> {
    // A header's reading comes first, so that it stands for those that agree with it.
    let mut distinct: Vec<Reading> = Vec::new();
    for reading in readings.drain(..) {
        if !distinct.iter().any(|other| other.values == reading.values) {
            distinct.push(reading);
        }
    }
    let mut distinct = distinct.into_iter();
    let first = distinct.next()?;
    for other in distinct {
        // Where the others only differ from the header by free text, the header decides.
        if !first.is_header || speaks_for_itself(mapping, candidates, view, &first, &other) {
            return Some(Verdict::Ambiguous(first, other));
        }
    }
    Some(Verdict::Taken(first))
}

/// Whether `other` reads a date, an id or the like where `first` reads something else.
fn speaks_for_itself(
    mapping: &Mapping,
    candidates: &[Candidate],
    view: View<'_>,
    first: &Reading,
    other: &Reading,
) -> bool {
    let slots = |reading: &Reading| candidates.get(reading.candidate).map(|c| c.slots.as_slice());
    let (mine, theirs) = (slots(first).unwrap_or_default(), slots(other).unwrap_or_default());
    theirs.iter().enumerate().any(|(position, slot)| {
        slot.field != mine.get(position).and_then(|slot| slot.field)
            && !is_blank(view.get(position))
            && slot
                .field
                .and_then(|field| mapping.fields.get(field))
                .is_some_and(|field| is_strong(&field.kind))
    })
}

/// By so much the lightest reading must be lighter than one with another outcome.
const CLEARLY: u32 = 2;

/// Between readings with flaws; `headed` where the tab has shown by a header that it is one
/// of ours.
pub(super) fn decide(mut readings: Vec<Reading>, headed: bool) -> Verdict {
    readings.sort_by_key(Reading::weight);
    let mut readings = readings.into_iter();
    let Some(best) = readings.next() else { return Verdict::Unfit(None, None) };
    let runner = readings.find(|other| !best.same_outcome(other));
    let margin =
        runner.as_ref().map_or(u32::MAX, |other| other.weight().saturating_sub(best.weight()));
    let missing = best.count(|flaw| matches!(flaw, Flaw::Missing { .. }));
    let misfits = best.count(|flaw| matches!(flaw, Flaw::Misfit { rejects: true, .. }));
    // By position a row must show what it is: most of what speaks for itself has to be there.
    let plausible = best.is_header || (missing <= usize::from(headed) && best.strong > misfits);
    if best.contradicts() || !plausible {
        return Verdict::Unfit(Some(best), runner);
    }
    match (best.rejects(), runner) {
        (true, Some(other)) if margin == 0 && !other.rejects() => {
            Verdict::Unfit(Some(best), Some(other))
        }
        (true, _) => Verdict::Refused(best),
        (false, Some(other)) if margin < CLEARLY => {
            if other.rejects() || other.contradicts() {
                Verdict::Unfit(Some(best), Some(other))
            } else {
                Verdict::Ambiguous(best, other)
            }
        }
        (false, _) => Verdict::Taken(best),
    }
}
