//! Dates: serial numbers and an explicit list of written forms. Anything else is refused,
//! never guessed.

use std::borrow::Cow;

use dual_database::value::Value;
use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time, date};

use super::{Content, Fault};
use crate::mapping::Code;
use crate::mapping::declaration::Zones;
use crate::source::Cell;

/// Day 0 of a sheet's calendar.
const EPOCH: Date = date(1899, 12, 30);
/// The first serial number after the last day of the year 9999.
const SERIAL_END: f64 = 2_958_466.0;

/// A date and time as written, with the zone that was written behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WrittenDate {
    pub local: DateTime,
    /// Seconds east of UTC.
    pub offset: Option<i64>,
    /// Whether a time of day was written at all.
    pub with_time: bool,
}

/// A timestamp in UTC. `zones` say how to read a time without a zone; without them it is UTC.
pub(super) fn read(cell: &Cell, zones: Option<&Zones>) -> Result<Content, Fault> {
    let written = match cell {
        Cell::Text(text) => parse(text.trim())?,
        Cell::Int(_) | Cell::Float(_) => {
            WrittenDate { local: serial(cell)?, offset: None, with_time: true }
        }
        Cell::Bool(_) | Cell::Empty => return Err(bad("is not a date")),
    };
    let beyond = || bad("is outside of the years 1900 to 9999");
    if let Some(offset) = written.offset {
        let utc = written.local.checked_sub(SignedDuration::from_secs(offset));
        let utc = utc.ok().filter(|utc| utc.year() >= 1).ok_or_else(beyond)?;
        return Ok(Content::Known(Value::Timestamp(utc)));
    }
    let Some(zones) = zones else {
        return Ok(Content::Known(Value::Timestamp(written.local)));
    };
    let placed = zones.to_utc(written.local).ok_or_else(beyond)?;
    let value = Value::Timestamp(placed.utc);
    Ok(if placed.in_gap { Content::InGap(value) } else { Content::Known(value) })
}

/// A date that the table keeps as text: a true date cell becomes `DD.MM.YYYY`, a text stays
/// as it was written.
pub(super) fn read_text_date(cell: &Cell) -> Result<String, Fault> {
    match cell {
        // A day typed into the sheet; a number such as 3.05 or 150890 is none.
        Cell::Int(_) | Cell::Float(_) => {
            let day = serial(cell)?;
            if day.time() != Time::midnight() || day.year() > 2100 {
                return Err(bad("is a number that stands for no day of a person's life"));
            }
            Ok(day.date().strftime("%d.%m.%Y").to_string())
        }
        Cell::Bool(_) => Err(bad("is a logical value, not a date")),
        Cell::Text(_) | Cell::Empty => super::text::read(cell),
    }
}

/// A serial number, days since 1899-12-30, to the nearest second: a second is not a round
/// fraction of a day, so that cutting it off would lose one in three.
pub(super) fn serial(cell: &Cell) -> Result<DateTime, Fault> {
    let days = match cell {
        Cell::Int(days) => *days as f64,
        Cell::Float(days) => *days,
        _ => return Err(bad("is not a date")),
    };
    if !days.is_finite() || !(0.0..SERIAL_END).contains(&days) {
        return Err(bad("is a number that stands for no date from 1900 to 9999"));
    }
    if days < 1.0 {
        return Err(bad("is a time of day without a date"));
    }
    let seconds = (days * 86_400.0).round() as i64;
    let time = SignedDuration::from_secs(seconds % 86_400);
    EPOCH
        .checked_add(jiff::Span::new().days(seconds / 86_400))
        .and_then(|midnight| midnight.to_datetime(Time::midnight()).checked_add(time))
        .ok()
        .filter(|local| (1900..=9999).contains(&local.year()))
        .ok_or_else(|| bad("is outside of the years 1900 to 9999"))
}

fn bad(says: &'static str) -> Fault {
    Fault::new(Code::BadDate, says)
}

/// The written forms: `YYYY-MM-DD`, with `H:MM`, `H:MM:SS` or `H:MM:SS.f` behind a space or a
/// `T`, and then perhaps `Z` or an offset; `D.M.YYYY`, with `H:MM` or `H:MM:SS`.
pub(super) fn parse(text: &str) -> Result<WrittenDate, Fault> {
    let text = single_spaced(text);
    if !text.is_ascii() {
        return Err(bad(if text.chars().any(char::is_alphabetic) {
            "is written with words; write the date as YYYY-MM-DD HH:MM:SS or DD.MM.YYYY HH:MM"
        } else {
            FORMS
        }));
    }
    let (day, time) = match text.find([' ', 'T', 't']) {
        Some(at) => (text.get(..at).unwrap_or(""), text.get(at + 1..)),
        None => (&*text, None),
    };
    let (day, iso) = match (numbers(day, '-'), numbers(day, '.')) {
        (Some(parts), _) => (iso_day(parts)?, true),
        (_, Some(parts)) => (dotted_day(parts)?, false),
        _ if day.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
            return Err(bad("is not a date"));
        }
        _ => return Err(bad(FORMS)),
    };
    if !(1900..=9999).contains(&day.year()) {
        return Err(bad("is outside of the years 1900 to 9999"));
    }
    let Some(time) = time else {
        return Ok(WrittenDate { local: day.at(0, 0, 0, 0), offset: None, with_time: false });
    };
    if !iso && text.contains(['T', 't']) {
        return Err(bad(FORMS));
    }
    let (local, offset) = clock(day, time, iso)?;
    Ok(WrittenDate { local, offset, with_time: true })
}

/// The text with one space wherever it has white space, no-break spaces included.
fn single_spaced(text: &str) -> Cow<'_, str> {
    if text.is_ascii() && !text.contains("  ") && !text.contains(['\t', '\n', '\r']) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

const FORMS: &str = "is in no form that is known; write YYYY-MM-DD HH:MM:SS or DD.MM.YYYY HH:MM";

/// Three numbers of one to four digits between separators.
fn numbers(text: &str, separator: char) -> Option<[(i16, usize); 3]> {
    let mut parts = text.split(separator).map(|part| {
        let digits = (1..=4).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse().ok().map(|number| (number, part.len()))).flatten()
    });
    let numbers = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(numbers)
}

fn iso_day([year, month, day]: [(i16, usize); 3]) -> Result<Date, Fault> {
    if (year.1, month.1, day.1) != (4, 2, 2) {
        return Err(bad(FORMS));
    }
    calendar_day(year.0, month.0, day.0)
}

fn dotted_day([day, month, year]: [(i16, usize); 3]) -> Result<Date, Fault> {
    if year.1 == 2 {
        return Err(bad("has a year of two digits; write all four"));
    }
    if year.1 != 4 || day.1 > 2 || month.1 > 2 {
        return Err(bad(FORMS));
    }
    calendar_day(year.0, month.0, day.0)
}

fn calendar_day(year: i16, month: i16, day: i16) -> Result<Date, Fault> {
    let none = || bad("is a day that the calendar has not");
    let month = i8::try_from(month).map_err(|_| none())?;
    let day = i8::try_from(day).map_err(|_| none())?;
    Date::new(year, month, day).map_err(|_| none())
}

/// The time of day, and the zone behind it where `zone` allows one.
fn clock(day: Date, text: &str, iso: bool) -> Result<(DateTime, Option<i64>), Fault> {
    let none = || bad("has a time of day that no clock shows");
    let end = text.find(|c: char| !matches!(c, '0'..='9' | ':' | '.')).unwrap_or(text.len());
    let (face, zone) = text.split_at(end);
    let (face, fraction) = match face.split_once('.') {
        Some((face, fraction)) => (face, Some(fraction)),
        None => (face, None),
    };
    let mut parts = face.split(':');
    let mut part = |lengths: std::ops::RangeInclusive<usize>| match parts.next() {
        Some(part) if lengths.contains(&part.len()) => part.parse::<i8>().map(Some),
        Some(_) => "".parse::<i8>().map(Some),
        None => Ok(None),
    };
    let hour = part(1..=2).ok().flatten().ok_or_else(none)?;
    let minute = part(2..=2).ok().flatten().ok_or_else(none)?;
    let second = part(2..=2).map_err(|_| none())?;
    if parts.next().is_some() {
        return Err(none());
    }
    let nanosecond = match fraction {
        None => 0,
        Some(digits)
            if iso
                && second.is_some()
                && (1..=9).contains(&digits.len())
                && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            // Both databases keep microseconds.
            let nanoseconds: i32 = format!("{digits:0<9}").parse().map_err(|_| none())?;
            nanoseconds / 1_000 * 1_000
        }
        Some(_) => return Err(none()),
    };
    let local = DateTime::new(
        day.year(),
        day.month(),
        day.day(),
        hour,
        minute,
        second.unwrap_or(0),
        nanosecond,
    );
    let local = local.map_err(|_| none())?;
    match zone.trim() {
        "" => Ok((local, None)),
        zone if iso => Ok((local, Some(offset(zone)?))),
        _ => Err(bad(FORMS)),
    }
}

/// `Z`, `UTC`, `+03`, `+0300`, `+03:00`, in seconds.
fn offset(zone: &str) -> Result<i64, Fault> {
    let unknown = || bad("has a zone behind it that is not Z or an offset such as +03:00");
    if zone.eq_ignore_ascii_case("z") || zone.eq_ignore_ascii_case("utc") {
        return Ok(0);
    }
    let (sign, body) = match (zone.strip_prefix('+'), zone.strip_prefix('-')) {
        (Some(body), _) => (1, body),
        (_, Some(body)) => (-1, body),
        _ => return Err(unknown()),
    };
    let digits = match body.split_once(':') {
        Some((hours, minutes)) if hours.len() == 2 && minutes.len() == 2 => {
            format!("{hours}{minutes}")
        }
        Some(_) => return Err(unknown()),
        None if body.len() == 2 => format!("{body}00"),
        None => body.to_string(),
    };
    if digits.len() != 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(unknown());
    }
    let number: i64 = digits.parse().map_err(|_| unknown())?;
    let (hours, minutes) = (number / 100, number % 100);
    if hours > 15 || minutes > 59 {
        return Err(unknown());
    }
    Ok(sign * (hours * 3_600 + minutes * 60))
}

#[cfg(test)]
mod tests;
