//! The only place that reads the time, and the calendar arithmetic of dates on the wire.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_PER_DAY: i64 = 86_400;
/// Days from 1899-12-30, where serial numbers start, to 1970-01-01.
const SERIAL_OF_UNIX_EPOCH: i64 = 25_569;
const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Milliseconds since 1970-01-01T00:00:00Z.
#[allow(clippy::disallowed_methods, reason = "this is the clock")]
pub(crate) fn now_millis() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |passed| i64::try_from(passed.as_millis()).unwrap_or(i64::MAX))
}

/// A date and a time of day of the proleptic Gregorian calendar, without a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
}

impl Moment {
    /// The moment that is `seconds` after 1970-01-01T00:00:00.
    pub(crate) fn from_unix(seconds: i64) -> Self {
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let of_day = seconds.rem_euclid(SECONDS_PER_DAY);
        // Years are counted from March, so that the leap day is the last of its year.
        let shifted = days.saturating_add(719_468);
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * march_month + 2) / 5 + 1,
            hour: of_day / 3_600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
        }
    }

    /// Seconds since 1970-01-01T00:00:00.
    fn to_unix(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let era = year.div_euclid(400);
        let year_of_era = year.rem_euclid(400);
        let march_month = (self.month + 9) % 12;
        let day_of_year = (153 * march_month + 2) / 5 + self.day - 1;
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        let days = era * 146_097 + day_of_era - 719_468;
        days * SECONDS_PER_DAY + self.hour * 3_600 + self.minute * 60 + self.second
    }

    /// The moment that a serial number of a sheet shows, to the nearest second.
    /// `None` when it is not a number of a representable year.
    pub(crate) fn from_serial(serial: f64) -> Option<Self> {
        if !serial.is_finite() || serial.abs() > 4_000_000.0 {
            return None;
        }
        // In range by the check above: four million days are 3.5e11 seconds.
        #[allow(clippy::cast_possible_truncation)]
        let seconds = (serial * SECONDS_PER_DAY as f64).round() as i64;
        Some(Self::from_unix(seconds - SERIAL_OF_UNIX_EPOCH * SECONDS_PER_DAY))
    }

    /// The serial number of `YYYY-MM-DD` or `YYYY-MM-DD h:mm:ss` (`T` may stand for the
    /// blank); `None` for any other text.
    pub(crate) fn serial_of_text(text: &str) -> Option<f64> {
        let (date, time) = match text.split_once([' ', 'T']) {
            Some((date, time)) => (date, time),
            None => (text, "0:00:00"),
        };
        let mut date = date.splitn(3, '-').map(|part| part.parse::<i64>().ok());
        let mut time = time.splitn(3, ':').map(|part| part.parse::<i64>().ok());
        let moment = Self {
            year: date.next()??,
            month: date.next()??,
            day: date.next()??,
            hour: time.next()??,
            minute: time.next()??,
            second: time.next()??,
        };
        if !(0..=9_999).contains(&moment.year) {
            return None;
        }
        let unix = moment.to_unix();
        // A day or an hour that does not exist comes back as another one.
        if Self::from_unix(unix) != moment {
            return None;
        }
        Some((unix + SERIAL_OF_UNIX_EPOCH * SECONDS_PER_DAY) as f64 / SECONDS_PER_DAY as f64)
    }
}

/// `Tue, 25 Jul 2023 15:39:19 GMT`, as in the `Date` header.
pub(crate) fn http_date(millis: i64) -> String {
    let seconds = millis.div_euclid(1_000);
    let at = Moment::from_unix(seconds);
    let weekday = usize::try_from(seconds.div_euclid(SECONDS_PER_DAY).rem_euclid(7)).unwrap_or(0);
    let month = usize::try_from(at.month - 1).unwrap_or(0);
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        WEEKDAYS.get(weekday).unwrap_or(&"Thu"),
        at.day,
        MONTHS.get(month).unwrap_or(&"Jan"),
        at.year,
        at.hour,
        at.minute,
        at.second
    )
}

/// `2023-07-25T15:39:15.028Z`, as Drive prints times.
pub(crate) fn rfc3339(millis: i64) -> String {
    let at = Moment::from_unix(millis.div_euclid(1_000));
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year,
        at.month,
        at.day,
        at.hour,
        at.minute,
        at.second,
        millis.rem_euclid(1_000)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serials_and_moments_agree() {
        let known = [
            ("2020-01-01", 43_831.0),
            ("1999-01-02", 36_162.0),
            ("1970-01-01", 25_569.0),
            ("1899-12-30", 0.0),
            ("1899-12-29", -1.0),
            ("2025-08-07 12:34:56", 45_876.524_259_259_26),
        ];
        for (text, serial) in known {
            let read = Moment::serial_of_text(text).unwrap();
            assert!((read - serial).abs() < 1e-9, "{text}: {read}");
            assert_eq!(Moment::from_serial(read), Moment::from_serial(serial), "{text}");
        }
        assert_eq!(Moment::serial_of_text("2023-02-29"), None);
        assert_eq!(Moment::serial_of_text("2023-02-28 24:00:00"), None);
        assert_eq!(Moment::serial_of_text("yesterday"), None);
    }

    #[test]
    fn dates_are_printed_as_on_the_wire() {
        assert_eq!(http_date(1_690_299_559_000), "Tue, 25 Jul 2023 15:39:19 GMT");
        assert_eq!(rfc3339(1_690_299_555_028), "2023-07-25T15:39:15.028Z");
    }
}
