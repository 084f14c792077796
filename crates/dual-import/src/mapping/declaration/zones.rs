//! The zones in which a writer noted times, one after the other.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The zones of a column, in order.
#[derive(Debug, Clone)]
pub(in super::super) struct Zones(pub(super) Vec<Zone>);

#[derive(Debug, Clone)]
pub(in super::super) struct Zone {
    /// `None`: UTC, where no conversion is needed and no year is out of reach.
    pub zone: Option<TimeZone>,
    /// The last instant, in UTC, that was written in it; `None` in the last zone only.
    pub until: Option<DateTime>,
}

/// A time as UTC, and whether it lies where no zone of the list was in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Placed {
    pub utc: DateTime,
    pub in_gap: bool,
}

impl Zones {
    /// Reads a time without a zone: in the first zone that gives an instant not after its
    /// end. When writers go from a zone to one further east, some hours of local time were
    /// never written by anybody; a time in them is read in the later zone, and said to be in
    /// the gap. `None` where the instant cannot be kept.
    pub fn to_utc(&self, local: DateTime) -> Option<Placed> {
        let mut previous: Option<DateTime> = None;
        for zone in &self.0 {
            let utc = zone.to_utc(local)?;
            match zone.until {
                Some(until) if utc > until => previous = Some(until),
                _ => {
                    let in_gap = previous.is_some_and(|until| utc <= until);
                    return Some(Placed { utc, in_gap });
                }
            }
        }
        None
    }
}

impl Zone {
    fn to_utc(&self, local: DateTime) -> Option<DateTime> {
        let Some(zone) = &self.zone else { return Some(local) };
        // A time that the clocks skipped is read with the offset before, one that they showed
        // twice as the first of the two.
        let utc = match zone.to_ambiguous_timestamp(local).compatible() {
            Ok(instant) => TimeZone::UTC.to_datetime(instant),
            // Within the last day of the last year an instant is out of jiff's reach, but not
            // its clock face.
            Err(_) => {
                let offset = zone.to_offset(Timestamp::MAX).seconds();
                local.checked_sub(jiff::SignedDuration::from_secs(offset.into())).ok()?
            }
        };
        (1..=9999).contains(&utc.year()).then_some(utc)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn bot() -> Zones {
        Zones(vec![
            Zone { zone: None, until: Some(date(2026, 1, 4).at(19, 59, 0, 0)) },
            Zone {
                zone: jiff::tz::TimeZoneDatabase::bundled().get("Europe/Moscow").ok(),
                until: None,
            },
        ])
    }

    #[test]
    fn the_cut_over_is_inclusive_and_the_gap_is_known() {
        let day = date(2026, 1, 4);
        let cases = [
            (day.at(19, 59, 0, 0), day.at(19, 59, 0, 0), false),
            (day.at(19, 59, 1, 0), day.at(16, 59, 1, 0), true),
            (day.at(22, 59, 0, 0), day.at(19, 59, 0, 0), true),
            (day.at(22, 59, 1, 0), day.at(19, 59, 1, 0), false),
            (date(2026, 7, 1).at(1, 0, 0, 0), date(2026, 6, 30).at(22, 0, 0, 0), false),
            (date(2025, 7, 1).at(1, 0, 0, 0), date(2025, 7, 1).at(1, 0, 0, 0), false),
        ];
        for (local, utc, in_gap) in cases {
            assert_eq!(bot().to_utc(local), Some(Placed { utc, in_gap }), "{local}");
        }
    }

    #[test]
    fn the_last_day_that_can_be_written_is_kept() {
        let last = date(9999, 12, 31).at(23, 59, 59, 0);
        let placed = bot().to_utc(last).unwrap();
        assert_eq!(placed.utc, date(9999, 12, 31).at(20, 59, 59, 0));
    }
}
