//! Faults on demand.

use std::fmt;
use std::str::FromStr;

use crate::error::Error;

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// `POST /token`.
    Token,
    /// `GET /v4/spreadsheets/{id}`.
    Metadata,
    /// `GET /v4/spreadsheets/{id}/values/{range}` and `values:batchGet`.
    Values,
    /// `GET /drive/v3/files[/{id}]`.
    Drive,
    /// Anything else.
    Other,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// `429`, `rate-limit[=SECONDS]`: 429 RESOURCE_EXHAUSTED; Retry-After only if given.
    RateLimit {
        /// Seconds in Retry-After.
        retry_after: Option<u64>,
    },
    /// `503`, `unavailable`: 503 UNAVAILABLE.
    Unavailable,
    /// `500`, `internal`: 500 INTERNAL.
    Internal,
    /// `502`, `html`: 502 with a page of HTML.
    BadGateway,
    /// `cut`: the connection is closed instead of an answer.
    Cut,
    /// `cut-body`: the connection is closed in the middle of the body.
    CutBody,
    /// `slow-body=MILLISECONDS`: the body comes in ten pieces, a wait before each; the
    /// milliseconds are those of one wait (500).
    SlowBody {
        /// Milliseconds before each piece.
        millis: u64,
    },
    /// `slow=MILLISECONDS`: a wait before the answer starts (5000).
    Slow {
        /// Milliseconds before the status line.
        millis: u64,
    },
    /// `404`, `not-found`: no such spreadsheet.
    NotFound,
    /// `not-shared`: 403, the spreadsheet is not shared with the account.
    NotShared,
    /// `wrong-scope`: 403, the token lacks the scope.
    WrongScope,
    /// `api-disabled`: 403 SERVICE_DISABLED.
    ApiDisabled,
    /// `xlsx`: 400 FAILED_PRECONDITION, the file is not a spreadsheet of Google's.
    Xlsx,
    /// `401`, `reject-token`: the token is taken for an invalid one.
    RejectToken,
    /// `expiring-token=SECONDS`: the token dies after so many seconds and says so in
    /// `expires_in` (5).
    ExpiringToken {
        /// Life of the token.
        seconds: u64,
    },
    /// `revoked-token=SECONDS`: the token says 3599 but dies after so many seconds (0).
    RevokedToken {
        /// Life of the token.
        seconds: u64,
    },
    /// `wrong-clock=SECONDS`: the service's clock is so far ahead of this machine's, or
    /// behind if negative (7200); shows in the token check and in every Date header.
    WrongClock {
        /// Seconds ahead.
        seconds: i64,
    },
    /// `account-deleted`: the token endpoint does not know the account.
    AccountDeleted,
    /// `key-deleted`: the token endpoint does not know the key.
    KeyDeleted,
}

/// A fault, where it strikes and how often.
///
/// Written `KIND[=VALUE][,on=ENDPOINT][,times=N][,after=N]`: `429,on=values,times=2` refuses
/// the first two reads of values, `cut-body,after=3,times=1` breaks the fourth answer. The
/// endpoints are `token`, `metadata`, `values` and `drive`. Without `on`, faults of the token
/// exchange strike there and the others everywhere but there; without `times` a fault
/// strikes for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// The only endpoint where it does.
    pub on: Option<Endpoint>,
    /// How many requests it strikes.
    pub times: Option<u64>,
    /// How many requests pass before it starts.
    pub after: u64,
}

impl Fault {
    /// A fault that strikes every request from now on.
    pub fn new(kind: FaultKind) -> Self {
        Self { kind, on: None, times: None, after: 0 }
    }

    /// The same fault at one endpoint only.
    #[must_use]
    pub fn on(mut self, endpoint: Endpoint) -> Self {
        self.on = Some(endpoint);
        self
    }

    /// The same fault for `times` requests only.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// The same fault after `passed` requests that it spares.
    #[must_use]
    pub fn after(mut self, passed: u64) -> Self {
        self.after = passed;
        self
    }

    fn strikes(&self, endpoint: Endpoint) -> bool {
        match self.on {
            Some(on) => on == endpoint,
            None if self.kind.of_token() => endpoint == Endpoint::Token,
            None => matches!(endpoint, Endpoint::Metadata | Endpoint::Values | Endpoint::Drive),
        }
    }
}

impl FaultKind {
    /// Whether the fault only makes sense in the token exchange.
    fn of_token(self) -> bool {
        matches!(
            self,
            Self::ExpiringToken { .. }
                | Self::RevokedToken { .. }
                | Self::WrongClock { .. }
                | Self::AccountDeleted
                | Self::KeyDeleted
        )
    }

    /// Whether the fault is an answer of the Sheets API that the token endpoint never gives.
    fn of_sheets(self) -> bool {
        matches!(
            self,
            Self::NotFound
                | Self::NotShared
                | Self::WrongScope
                | Self::ApiDisabled
                | Self::Xlsx
                | Self::RejectToken
        )
    }
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = |reason: String| Error::Fault { text: text.to_owned(), reason };
        let number = |name: &str, value: &str| {
            value
                .parse::<u64>()
                .map_err(|_| wrong(format!("`{name}` must be a whole number, not `{value}`")))
        };
        let mut parts = text.split(',').map(str::trim);
        let head = parts.next().unwrap_or("");
        let (name, value) = match head.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (head, None),
        };
        let size = |default: u64| value.map_or(Ok(default), |value| number(name, value));
        let kind = match name {
            "429" | "rate-limit" => {
                let retry_after = value.map(|value| number(name, value)).transpose()?;
                FaultKind::RateLimit { retry_after }
            }
            "slow-body" => FaultKind::SlowBody { millis: size(500)? },
            "slow" => FaultKind::Slow { millis: size(5_000)? },
            "expiring-token" => FaultKind::ExpiringToken { seconds: size(5)? },
            "revoked-token" => FaultKind::RevokedToken { seconds: size(0)? },
            "wrong-clock" => {
                let seconds = value.unwrap_or("7200");
                let parsed = seconds.parse::<i64>();
                // A century either way is wrong enough.
                let in_range = parsed.ok().filter(|seconds| seconds.unsigned_abs() < 3_200_000_000);
                FaultKind::WrongClock {
                    seconds: in_range
                        .ok_or_else(|| wrong(format!("`{seconds}` is no number of seconds")))?,
                }
            }
            plain => {
                if value.is_some() {
                    return Err(wrong(format!("`{plain}` takes no value")));
                }
                match plain {
                    "503" | "unavailable" => FaultKind::Unavailable,
                    "500" | "internal" => FaultKind::Internal,
                    "502" | "html" => FaultKind::BadGateway,
                    "cut" => FaultKind::Cut,
                    "cut-body" => FaultKind::CutBody,
                    "404" | "not-found" => FaultKind::NotFound,
                    "not-shared" => FaultKind::NotShared,
                    "wrong-scope" => FaultKind::WrongScope,
                    "api-disabled" => FaultKind::ApiDisabled,
                    "xlsx" => FaultKind::Xlsx,
                    "401" | "reject-token" => FaultKind::RejectToken,
                    "account-deleted" => FaultKind::AccountDeleted,
                    "key-deleted" => FaultKind::KeyDeleted,
                    other => return Err(wrong(format!("no fault is called `{other}`"))),
                }
            }
        };
        let mut fault = Self::new(kind);
        for part in parts {
            match part.split_once('=') {
                Some(("times", value)) => fault.times = Some(number("times", value)?),
                Some(("after", value)) => fault.after = number("after", value)?,
                Some(("on", value)) => {
                    fault.on = Some(value.parse().map_err(|reason: String| wrong(reason))?);
                }
                _ => {
                    let reason = format!("`{part}` is none of on=, times=, after=");
                    return Err(wrong(reason));
                }
            }
        }
        let token = fault.on.is_none() || fault.on == Some(Endpoint::Token);
        if kind.of_token() && !token {
            return Err(wrong(format!("`{name}` happens at the token endpoint only")));
        }
        if kind.of_sheets() && fault.on == Some(Endpoint::Token) {
            return Err(wrong(format!("`{name}` does not happen at the token endpoint")));
        }
        Ok(fault)
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "token" => Ok(Self::Token),
            "metadata" => Ok(Self::Metadata),
            "values" => Ok(Self::Values),
            "drive" => Ok(Self::Drive),
            other => Err(format!("no endpoint is called `{other}`")),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Token => "token",
            Self::Metadata => "metadata",
            Self::Values => "values",
            Self::Drive => "drive",
            Self::Other => "other",
        })
    }
}

/// The faults in force and how often each one struck.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    faults: Vec<(Fault, u64)>,
}

impl Plan {
    pub(crate) fn new(faults: Vec<Fault>) -> Self {
        Self { faults: faults.into_iter().map(|fault| (fault, 0)).collect() }
    }

    /// What this request suffers: the first fault that is due. Every fault that waits
    /// counts the request.
    pub(crate) fn strike(&mut self, endpoint: Endpoint) -> Option<FaultKind> {
        let mut due = None;
        for (fault, seen) in &mut self.faults {
            let clock = matches!(fault.kind, FaultKind::WrongClock { .. });
            if clock || !fault.strikes(endpoint) {
                continue;
            }
            let end = fault.times.map(|times| fault.after.saturating_add(times));
            let now = *seen >= fault.after && end.is_none_or(|end| *seen < end);
            if !now || due.is_none() {
                *seen = seen.saturating_add(1);
            }
            if now && due.is_none() {
                due = Some(fault.kind);
            }
        }
        due
    }

    /// Seconds by which the service's clock is ahead.
    pub(crate) fn clock_ahead(&mut self, endpoint: Endpoint) -> i64 {
        for (fault, seen) in &mut self.faults {
            if let FaultKind::WrongClock { seconds } = fault.kind {
                let end = fault.times.map(|times| fault.after.saturating_add(times));
                let now = *seen >= fault.after && end.is_none_or(|end| *seen < end);
                if endpoint == Endpoint::Token {
                    *seen = seen.saturating_add(1);
                }
                if now {
                    return seconds;
                }
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_are_read() {
        let fault: Fault = "429=7,on=values,times=2,after=1".parse().unwrap();
        let kind = FaultKind::RateLimit { retry_after: Some(7) };
        assert_eq!(fault, Fault::new(kind).on(Endpoint::Values).times(2).after(1));
        assert_eq!(
            "wrong-clock=-60".parse::<Fault>().unwrap().kind,
            FaultKind::WrongClock { seconds: -60 }
        );
        for (text, reason) in [
            ("", "no fault is called ``"),
            ("tea", "no fault is called `tea`"),
            ("503=1", "`503` takes no value"),
            ("429=soon", "`429` must be a whole number, not `soon`"),
            ("503,on=mars", "no endpoint is called `mars`"),
            ("503,often", "`often` is none of on=, times=, after="),
            ("key-deleted,on=values", "`key-deleted` happens at the token endpoint only"),
            ("xlsx,on=token", "`xlsx` does not happen at the token endpoint"),
            ("wrong-clock=x", "`x` is no number of seconds"),
        ] {
            let error = text.parse::<Fault>().unwrap_err().to_string();
            assert_eq!(error, format!("fault `{text}`: {reason}"));
        }
    }

    #[test]
    fn a_plan_counts_its_requests() {
        let faults = ["503,on=values,after=1,times=2", "429,times=1"];
        let mut plan = Plan::new(faults.iter().map(|text| text.parse().unwrap()).collect());
        let limited = Some(FaultKind::RateLimit { retry_after: None });
        let unavailable = Some(FaultKind::Unavailable);
        assert_eq!(plan.strike(Endpoint::Token), None);
        assert_eq!(plan.strike(Endpoint::Values), limited);
        assert_eq!(plan.strike(Endpoint::Values), unavailable);
        assert_eq!(plan.strike(Endpoint::Metadata), None);
        assert_eq!(plan.strike(Endpoint::Values), unavailable);
        assert_eq!(plan.strike(Endpoint::Values), None);
    }
}
