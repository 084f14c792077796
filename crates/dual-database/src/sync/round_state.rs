//! Where a round stands between two steps, and how a step ends.

use super::block::Lacking;
use super::compare::Comparison;
use super::numbers::Asked;
use super::pull::Polled;
use super::push::Batch;
use super::step::Step;
use crate::protocol::{Outcome, Token};
use crate::stamp::Writer;
use crate::store::postgres::primary::{Header, Kept, Pushed, Reserved};
use crate::{Error, Result};

/// Where a round stands: what its next step needs.
#[derive(Clone, Debug)]
pub(super) enum RoundState {
    Connect,
    Propose(Box<Header>),
    Rotate { seen: Option<Token>, fresh: Token },
    Confirm { fresh: Token },
    Inspect,
    Gaps,
    PushRead,
    Claim(Vec<Writer>),
    Renumber { claimed: Vec<Writer>, replaced: Vec<(Writer, Writer)> },
    Reserve(Box<Asked>),
    Number(Box<(Asked, Reserved)>),
    Compare,
    ReadRemote(Box<Comparison>),
    ReadLocal(Box<Comparison>),
    Give(Box<Comparison>),
    ApplyRange(Box<Comparison>),
    Uncaptured(Box<Comparison>),
    Finish(Box<Comparison>),
    Hold(Box<Comparison>),
    Push(Box<Batch>),
    Restamp { primary_ms: i64, is_apart: bool },
    Acknowledge(Box<(Batch, Pushed)>),
    Forward,
    NoteForwarded { numbers: Vec<i64>, generation: u64 },
    Poll,
    Apply(Box<Polled>),
    KeepNumbers(Box<Lacking>),
    NoteNumbers(Box<(Lacking, Kept)>),
    Scrub,
}

impl RoundState {
    pub(super) fn step(&self) -> Step {
        match self {
            RoundState::Connect => Step::Connect,
            RoundState::Propose(_) => Step::Propose,
            RoundState::Rotate { .. } => Step::Rotate,
            RoundState::Confirm { .. } => Step::Confirm,
            RoundState::Inspect => Step::Inspect,
            RoundState::Gaps => Step::Gaps,
            RoundState::PushRead => Step::PushRead,
            RoundState::Claim(_) => Step::Claim,
            RoundState::Renumber { .. } => Step::Renumber,
            RoundState::Reserve(_) => Step::Reserve,
            RoundState::Number(_) => Step::Number,
            RoundState::Compare => Step::Compare,
            RoundState::ReadRemote(_) => Step::ReadRemote,
            RoundState::ReadLocal(_) => Step::ReadLocal,
            RoundState::Give(_) => Step::Give,
            RoundState::ApplyRange(_) => Step::ApplyRange,
            RoundState::Uncaptured(_) => Step::Uncaptured,
            RoundState::Finish(_) => Step::Finish,
            RoundState::Hold(_) => Step::Hold,
            RoundState::Push(_) => Step::Push,
            RoundState::Restamp { .. } => Step::Restamp,
            RoundState::Acknowledge(_) => Step::Acknowledge,
            RoundState::Forward => Step::Forward,
            RoundState::NoteForwarded { .. } => Step::NoteForwarded,
            RoundState::Poll => Step::Poll,
            RoundState::Apply(_) => Step::Apply,
            RoundState::KeepNumbers(_) => Step::KeepNumbers,
            RoundState::NoteNumbers(_) => Step::NoteNumbers,
            RoundState::Scrub => Step::Scrub,
        }
    }
}

impl RoundState {
    /// The table that a comparison is at, if it is at one.
    pub(super) fn table(&self) -> Option<usize> {
        match self {
            RoundState::ReadRemote(of)
            | RoundState::ReadLocal(of)
            | RoundState::Give(of)
            | RoundState::ApplyRange(of)
            | RoundState::Uncaptured(of) => Some(of.table()),
            _ => None,
        }
    }
}

/// How a step ended.
#[derive(Debug)]
pub(super) enum Flow {
    /// The round goes on.
    Next(RoundState),
    /// The round is over.
    End(Outcome),
}

impl Flow {
    /// The round goes on there.
    pub(super) fn to(stand: RoundState) -> Result<Flow> {
        Ok(Flow::Next(stand))
    }

    /// The round is over; another one has something to do at once.
    pub(super) fn more() -> Result<Flow> {
        Ok(Flow::End(Outcome::More))
    }

    /// The round is over, everything was exchanged that can be.
    pub(super) fn idle() -> Result<Flow> {
        Ok(Flow::End(Outcome::Idle))
    }
}

/// What became of one step, for whoever drives the rounds.
#[derive(Debug)]
pub(super) enum Advance {
    /// The round goes on.
    Next,
    /// It is over.
    End(Outcome),
    /// It was given up; the next one begins from the start.
    Failed(Error),
    /// The comparison of some tables was given up, and is begun again later; the others have been exchanged.
    Apart(Error),
}
