use std::str::FromStr;
use std::time::Duration;

/// How often something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// Once in that time.
    Every(Duration),
    /// Not at all.
    Never,
}

impl Interval {
    /// The time; `None` for never.
    #[must_use]
    pub fn every(self) -> Option<Duration> {
        match self {
            Interval::Every(every) => Some(every),
            Interval::Never => None,
        }
    }
}

impl FromStr for Interval {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Interval, Self::Err> {
        let text = text.trim();
        if text == "never" {
            return Ok(Interval::Never);
        }
        // Less than a second is none: nobody is to wait for zero, or to get a day for it.
        let seconds: f64 = text.parse().unwrap_or(0.0);
        match Duration::try_from_secs_f64(seconds) {
            Ok(every) if every >= Duration::from_secs(1) => Ok(Interval::Every(every)),
            _ => Err("give a number of seconds, at least 1, or never"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_or_never() {
        let every = |text: &str| text.parse().map(Interval::every);
        assert_eq!(every("3600"), Ok(Some(Duration::from_secs(3600))));
        assert_eq!(every(" 1.5 "), Ok(Some(Duration::from_millis(1500))));
        assert_eq!(every("never"), Ok(None));
        for wrong in ["", "0", "0.9", "-5", "1d", "nan", "inf", "1e300", "Never"] {
            every(wrong).unwrap_err();
        }
    }
}
