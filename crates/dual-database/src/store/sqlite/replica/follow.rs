//! The cursor as text that the file keeps: JSON with a version.

use serde::{Deserialize, Serialize};

use super::super::failure::ANEW;
use crate::protocol::{Break, Epoch, Follow, Token};
use crate::{Error, Kind, Result, Store};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct KeptCursor {
    version: u32,
    state: KeptState,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum KeptState {
    Following { epoch: KeptEpoch, snapshot: String },
    Reconciling { cause: Cause, approved: bool, followed: Option<KeptEpoch> },
    Held { cause: Cause, losses: usize, followed: Option<KeptEpoch> },
}

/// 128 bits are kept as text: few readers of JSON know such numbers.
#[derive(Serialize, Deserialize)]
struct KeptEpoch {
    token: Option<String>,
    timeline: u32,
    system: u64,
    database: u32,
    relations: u64,
    installation: String,
    life: Option<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Cause {
    FirstContact,
    Rebuilt,
    OtherFile,
    OtherPrimary,
    Purged,
    Missing,
    LocalGap,
    CaptureGap,
    Backlog,
}

/// The cursor as text.
///
/// # Errors
/// Internal, if JSON cannot be made of it.
pub(super) fn write(follow: &Follow) -> Result<String> {
    let state = match follow {
        Follow::Following { epoch, snapshot } => {
            KeptState::Following { epoch: kept_epoch(epoch), snapshot: snapshot.to_string() }
        }
        Follow::Reconciling { cause, approved, followed } => KeptState::Reconciling {
            cause: kept(*cause),
            approved: *approved,
            followed: followed.as_ref().map(kept_epoch),
        },
        Follow::Held { cause, losses, followed } => KeptState::Held {
            cause: kept(*cause),
            losses: *losses,
            followed: followed.as_ref().map(kept_epoch),
        },
    };
    serde_json::to_string(&KeptCursor { version: VERSION, state }).map_err(|cause| {
        Error::new(Kind::Internal, "keep the cursor", "the cursor is no JSON").with_source(cause)
    })
}

/// The cursor from its text.
///
/// # Errors
/// About the schema if it is none, or one of a newer version.
pub(super) fn read(text: &str) -> Result<Follow> {
    let kept: KeptCursor =
        serde_json::from_str(text).map_err(|cause| unreadable().with_source(cause))?;
    if kept.version != VERSION {
        return Err(unreadable());
    }
    Ok(match kept.state {
        KeptState::Following { epoch, snapshot } => Follow::Following {
            epoch: read_epoch(epoch)?,
            snapshot: snapshot.parse().map_err(|cause| unreadable().with_source(cause))?,
        },
        KeptState::Reconciling { cause, approved, followed } => Follow::Reconciling {
            cause: broken(cause),
            approved,
            followed: followed.map(read_epoch).transpose()?,
        },
        KeptState::Held { cause, losses, followed } => Follow::Held {
            cause: broken(cause),
            losses,
            followed: followed.map(read_epoch).transpose()?,
        },
    })
}

/// A token from its text.
pub(super) fn token(text: Option<&str>) -> Result<Option<Token>> {
    text.map(|text| number(text).map(Token)).transpose()
}

/// A number of 128 bits from its text.
pub(super) fn number(text: &str) -> Result<u128> {
    text.parse().map_err(|cause| unreadable().with_source(cause))
}

/// A cause as text.
pub(super) fn cause_text(cause: Break) -> Result<String> {
    match serde_json::to_value(kept(cause)) {
        Ok(serde_json::Value::String(text)) => Ok(text),
        _ => Err(Error::new(Kind::Internal, "keep a cause", "the cause is no text")),
    }
}

/// A cause from its text.
///
/// # Errors
/// About the schema if it is none.
pub(super) fn cause(text: &str) -> Result<Break> {
    let cause = serde_json::from_value(text.into());
    Ok(broken(cause.map_err(|cause| unreadable().with_source(cause))?))
}

pub(super) fn unreadable() -> Error {
    Error::new(
        Kind::Schema(Store::Sqlite),
        "read the state of the SQLite file",
        "what the file knows of itself cannot be read",
    )
    .with_hint(ANEW)
}

fn kept_epoch(epoch: &Epoch) -> KeptEpoch {
    KeptEpoch {
        token: epoch.token.map(|token| token.0.to_string()),
        timeline: epoch.timeline,
        system: epoch.system,
        database: epoch.database,
        relations: epoch.relations,
        installation: epoch.installation.to_string(),
        life: epoch.life.map(|token| token.0.to_string()),
    }
}

fn read_epoch(kept: KeptEpoch) -> Result<Epoch> {
    Ok(Epoch {
        token: token(kept.token.as_deref())?,
        timeline: kept.timeline,
        system: kept.system,
        database: kept.database,
        relations: kept.relations,
        installation: number(&kept.installation)?,
        life: token(kept.life.as_deref())?,
    })
}

fn kept(cause: Break) -> Cause {
    match cause {
        Break::FirstContact => Cause::FirstContact,
        Break::Rebuilt => Cause::Rebuilt,
        Break::OtherFile => Cause::OtherFile,
        Break::OtherPrimary => Cause::OtherPrimary,
        Break::Purged => Cause::Purged,
        Break::Missing => Cause::Missing,
        Break::LocalGap => Cause::LocalGap,
        Break::CaptureGap => Cause::CaptureGap,
        Break::Backlog => Cause::Backlog,
    }
}

fn broken(cause: Cause) -> Break {
    match cause {
        Cause::FirstContact => Break::FirstContact,
        Cause::Rebuilt => Break::Rebuilt,
        Cause::OtherFile => Break::OtherFile,
        Cause::OtherPrimary => Break::OtherPrimary,
        Cause::Purged => Break::Purged,
        Cause::Missing => Break::Missing,
        Cause::LocalGap => Break::LocalGap,
        Cause::CaptureGap => Break::CaptureGap,
        Cause::Backlog => Break::Backlog,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch() -> Epoch {
        Epoch {
            token: Some(Token(u128::MAX)),
            timeline: 7,
            system: u64::MAX,
            database: u32::MAX,
            relations: u64::MAX - 1,
            installation: u128::MAX - 2,
            life: None,
        }
    }

    fn following() -> Follow {
        Follow::Following { epoch: epoch(), snapshot: "10:14:10,12".parse().unwrap() }
    }

    #[test]
    fn every_state_comes_back() {
        let causes = [
            Break::FirstContact,
            Break::Rebuilt,
            Break::OtherFile,
            Break::OtherPrimary,
            Break::Purged,
            Break::Missing,
            Break::LocalGap,
            Break::CaptureGap,
            Break::Backlog,
        ];
        let held = causes.into_iter().flat_map(|cause| {
            [
                Follow::Reconciling { cause, approved: true, followed: None },
                Follow::Held { cause, losses: 101, followed: Some(epoch()) },
            ]
        });
        for one in causes {
            assert_eq!(cause(&cause_text(one).unwrap()).unwrap(), one);
        }
        for follow in held.chain([following(), Follow::new()]) {
            assert_eq!(read(&write(&follow).unwrap()).unwrap(), follow);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(
            text in "\\PC{0,60}", at in 0usize..200, put in "[-0-9a-z:,\"{}]{0,3}",
        ) {
            let mut damaged = write(&following()).unwrap();
            let at = at.min(damaged.len());
            damaged.replace_range(at..(at + put.len()).min(damaged.len()), &put);
            for text in [text, damaged] {
                if let Err(error) = read(&text) {
                    proptest::prop_assert_eq!(error.kind(), Kind::Schema(Store::Sqlite));
                }
            }
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        let text = write(&following()).unwrap();
        for wrong in [
            "".to_owned(),
            "{}".into(),
            text.replace("\"version\":1", "\"version\":2"),
            text.replace("10:14:10,12", "14:10:"),
            text.replace("following", "leading"),
            text.replace(&u128::MAX.to_string(), "-1"),
        ] {
            let error = read(&wrong).unwrap_err();
            assert_eq!(error.kind(), Kind::Schema(Store::Sqlite), "{wrong}");
        }
    }
}
