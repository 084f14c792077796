//! The life of a file's cursor: an enum with one `next` function.

use std::fmt;

use super::{Break, Epoch, Snapshot, Tokens};

/// Where a file stands towards PostgreSQL. It is kept in the file and moves in the same
/// transaction as the data; of two processes that move it from the same state one loses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Follow {
    /// The cursor holds: what is new since `snapshot` is exactly the difference.
    Following {
        /// The history that the snapshot belongs to.
        epoch: Epoch,
        /// What has been taken in.
        snapshot: Snapshot,
    },
    /// Both sides have to be compared in full.
    Reconciling {
        /// Why.
        cause: Break,
        /// A person has said that it may lose what it loses.
        approved: bool,
        /// The history that was followed until then.
        followed: Option<Epoch>,
    },
    /// The comparison would lose so much that a person has to decide; service goes on.
    Held {
        /// Why the comparison was needed.
        cause: Break,
        /// How many rows it would delete or overwrite.
        losses: usize,
        /// The history that was followed until then.
        followed: Option<Epoch>,
    },
}

/// What moves a cursor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What was new in a poll has been applied.
    Pulled {
        /// The epoch that was read in the poll's snapshot.
        epoch: Epoch,
        /// The poll's snapshot.
        snapshot: Snapshot,
    },
    /// The cursor means nothing any more.
    Broken(Break),
    /// The comparison waits for a person.
    Held {
        /// How many rows it would delete or overwrite.
        losses: usize,
    },
    /// A person has decided.
    Approved,
    /// The comparison is made again, with its guard: the cause may be gone.
    Reconsidered,
    /// A full comparison has been applied on both sides.
    Reconciled {
        /// The epoch that was read in the comparison's snapshot.
        epoch: Epoch,
        /// The comparison's snapshot.
        snapshot: Snapshot,
    },
}

/// An event that cannot happen in that state: a defect, never applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImpossibleHistory {
    /// The state.
    pub state: Box<Follow>,
    /// The event.
    pub event: Box<Event>,
}

impl Follow {
    /// A file that has never met PostgreSQL.
    #[must_use]
    pub fn new() -> Follow {
        Follow::Reconciling { cause: Break::FirstContact, approved: false, followed: None }
    }

    /// A file that stands where one was lost.
    #[must_use]
    pub fn rebuilt() -> Follow {
        Follow::Reconciling { cause: Break::Rebuilt, approved: false, followed: None }
    }

    /// The same of a table that has to be compared besides, because of that.
    #[must_use]
    pub fn with(self, cause: Break) -> Follow {
        match self {
            Follow::Following { epoch, .. } => {
                // What was never exchanged was not followed.
                let followed = Some(epoch).filter(|_| cause != Break::FirstContact);
                Follow::Reconciling { cause, approved: false, followed }
            }
            Follow::Reconciling { cause: before, approved, followed } => {
                Follow::Reconciling { cause: before.graver(cause), approved, followed }
            }
            Follow::Held { cause: before, losses, followed } => {
                Follow::Held { cause: before.graver(cause), losses, followed }
            }
        }
    }

    /// The history that is followed, or was until both sides have to be compared.
    pub fn followed_mut(&mut self) -> Option<&mut Epoch> {
        match self {
            Follow::Following { epoch, .. } => Some(epoch),
            Follow::Reconciling { followed, .. } | Follow::Held { followed, .. } => {
                followed.as_mut()
            }
        }
    }

    /// Whether PostgreSQL may lack what it had when it was followed: until both sides have been
    /// compared the file knows better, and "not found" there is no answer.
    #[must_use]
    pub(crate) fn doubts_primary(&self) -> bool {
        match self {
            Follow::Following { .. } => false,
            Follow::Reconciling { cause, followed, .. } | Follow::Held { cause, followed, .. } => {
                followed.is_some() && cause.suspects_primary()
            }
        }
    }

    /// Whether the server that a call has `seen` is the one that is followed, or nothing is known
    /// of another one that could have had more. The token does not count: another process of the
    /// file may have rotated it.
    #[must_use]
    pub(crate) fn trusts(&self, seen: &Epoch) -> bool {
        match self {
            Follow::Following { epoch, .. } => seen.is_server_of(epoch),
            Follow::Reconciling { .. } | Follow::Held { .. } => !self.doubts_primary(),
        }
    }

    /// What a new connection finds broken, from the epoch that it has `seen`.
    ///
    /// A file that has a comparison before it still knows which history it followed: a server
    /// that is another one since (restored before it came to the comparison) may have lost
    /// transactions, even if the comparison was begun for a lesser cause and the token is the
    /// file's own.
    #[must_use]
    pub fn break_at(&self, seen: &Epoch, tokens: &Tokens) -> Option<Break> {
        let (cause, followed) = match self {
            Follow::Following { epoch, .. } => return seen.break_from(epoch, tokens),
            Follow::Reconciling { cause, followed, .. } | Follow::Held { cause, followed, .. } => {
                (cause, followed)
            }
        };
        let replaced = |followed: &Epoch| !seen.is_server_of(followed);
        match seen.token {
            None if tokens.current().is_some() => Some(Break::OtherPrimary),
            Some(token) if !tokens.accept(token) => Some(Break::OtherFile),
            _ if !cause.suspects_primary() && followed.as_ref().is_some_and(replaced) => {
                Some(Break::OtherPrimary)
            }
            _ => None,
        }
    }

    /// The state after `event`.
    ///
    /// # Errors
    /// [`ImpossibleHistory`] if a cursor would go backwards, would move into another epoch
    /// without a full comparison, or if a decision comes that nobody waits for.
    pub fn next(&self, event: Event) -> Result<Follow, ImpossibleHistory> {
        match (self, event) {
            (
                Follow::Following { epoch: followed, snapshot: before },
                Event::Pulled { epoch, snapshot },
            ) if snapshot.follows(before) && epoch.is_server_of(followed) => {
                Ok(Follow::Following { epoch, snapshot })
            }
            (Follow::Following { epoch, .. }, Event::Broken(cause)) => {
                Ok(Follow::Reconciling { cause, approved: false, followed: Some(*epoch) })
            }
            // What may have been lost stays suspected until a comparison has gone through; what
            // was approved was another difference.
            (&Follow::Reconciling { cause, followed, .. }, Event::Broken(next)) => {
                let cause = cause.graver(next);
                Ok(Follow::Reconciling { cause, approved: false, followed })
            }
            (&Follow::Held { cause, losses, followed }, Event::Broken(next)) => {
                Ok(Follow::Held { cause: cause.graver(next), losses, followed })
            }
            (&Follow::Reconciling { cause, approved: false, followed }, Event::Held { losses }) => {
                Ok(Follow::Held { cause, losses, followed })
            }
            (&Follow::Held { cause, followed, .. }, Event::Approved) => {
                Ok(Follow::Reconciling { cause, approved: true, followed })
            }
            (&Follow::Held { cause, followed, .. }, Event::Reconsidered) => {
                Ok(Follow::Reconciling { cause, approved: false, followed })
            }
            (Follow::Reconciling { .. }, Event::Reconciled { epoch, snapshot })
                if epoch.token.is_some() && epoch.life.is_some() =>
            {
                Ok(Follow::Following { epoch, snapshot })
            }
            (state, event) => {
                Err(ImpossibleHistory { state: Box::new(state.clone()), event: Box::new(event) })
            }
        }
    }
}

impl Default for Follow {
    fn default() -> Follow {
        Follow::new()
    }
}

/// What a poll means for the file that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PollVerdict {
    /// Apply it and move the cursor.
    Apply,
    /// Drop it and compare in full.
    Broken(Break),
    /// Drop it and poll again: another process of the file has rotated the token since, so that
    /// the one which was read proves nothing.
    Overtaken,
}

/// Judges a poll, in the file's transaction that would apply it: `followed` and `cursor` are
/// the file's, `tokens` are read *again* there, because another process of the same file may
/// have rotated them since; `before` are those from before the poll; `purged` is the highest
/// transaction id of a purged tombstone as PostgreSQL has it.
///
/// The purge counts against the *old* cursor: a file that had not passed those deletes will
/// never hear of them.
#[must_use]
pub fn judge_poll(
    followed: &Epoch,
    cursor: &Snapshot,
    [before, tokens]: [&Tokens; 2],
    seen: &Epoch,
    polled: &Snapshot,
    purged: Option<u64>,
) -> PollVerdict {
    if let Some(cause) = seen.break_from(followed, tokens) {
        // The token is all that differs: whatever that looks like, a copy or a loss.
        let is_rotated = before != tokens && seen.token.is_some() && seen.is_server_of(followed);
        if is_rotated { PollVerdict::Overtaken } else { PollVerdict::Broken(cause) }
    } else if !polled.follows(cursor) {
        PollVerdict::Broken(Break::OtherPrimary)
    } else if purged.is_some_and(|txid| !cursor.has_passed(txid)) {
        PollVerdict::Broken(Break::Purged)
    } else {
        PollVerdict::Apply
    }
}

impl fmt::Display for ImpossibleHistory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match *self.state {
            Follow::Following { .. } => "following",
            Follow::Reconciling { .. } => "reconciling",
            Follow::Held { .. } => "held",
        };
        let event = match *self.event {
            Event::Pulled { .. } => "pulled",
            Event::Broken(_) => "broken",
            Event::Held { .. } => "held",
            Event::Approved => "approved",
            Event::Reconsidered => "reconsidered",
            Event::Reconciled { .. } => "reconciled",
        };
        write!(f, "the event `{event}` cannot happen to a cursor that is {state}")
    }
}

impl std::error::Error for ImpossibleHistory {}

#[cfg(test)]
mod tests {
    use super::super::Token;
    use super::*;

    fn epoch(timeline: u32) -> Epoch {
        Epoch {
            token: Some(Token(1)),
            timeline,
            system: 1,
            database: 1,
            relations: 1,
            installation: 1,
            life: Some(Token(1)),
        }
    }

    fn at(text: &str) -> Snapshot {
        text.parse().unwrap()
    }

    fn following(text: &str) -> Follow {
        Follow::Following { epoch: epoch(1), snapshot: at(text) }
    }

    fn pulled(timeline: u32, text: &str) -> Event {
        Event::Pulled { epoch: epoch(timeline), snapshot: at(text) }
    }

    #[test]
    fn a_cursor_goes_forward_within_its_epoch_only() {
        let state = following("10:12:10");
        assert_eq!(state.next(pulled(1, "12:12:")), Ok(following("12:12:")));
        assert!(state.next(pulled(1, "9:11:9")).is_err());
        assert!(state.next(pulled(2, "12:12:")).is_err());
        assert!(state.next(Event::Approved).is_err());
        assert!(state.next(Event::Reconciled { epoch: epoch(1), snapshot: at("12:12:") }).is_err());
        assert!(Follow::new().next(pulled(1, "12:12:")).is_err());
    }

    #[test]
    fn only_a_full_comparison_leads_into_a_new_epoch_and_only_a_person_past_the_guard() {
        let broken = following("10:12:10").next(Event::Broken(Break::OtherPrimary)).unwrap();
        let held = broken.next(Event::Held { losses: 101 }).unwrap();
        let done = Event::Reconciled { epoch: epoch(2), snapshot: at("3:3:") };
        assert!(held.next(done.clone()).is_err());
        assert!(held.next(pulled(2, "12:12:")).is_err());
        let again = held.next(Event::Approved).unwrap();
        assert_eq!(
            again.next(done),
            Ok(Follow::Following { epoch: epoch(2), snapshot: at("3:3:") })
        );
        let untold = Epoch { token: None, ..epoch(2) };
        assert!(again.next(Event::Reconciled { epoch: untold, snapshot: at("3:3:") }).is_err());
    }

    #[test]
    fn the_suspicion_of_a_loss_outlives_a_lesser_cause() {
        let caused = |cause| Follow::Reconciling { cause, approved: false, followed: None };
        let (lost, gap) = (caused(Break::OtherPrimary), caused(Break::LocalGap));
        assert_eq!(lost.next(Event::Broken(Break::Purged)), Ok(lost.clone()));
        assert_eq!(lost.next(Event::Broken(Break::LocalGap)), Ok(lost.clone()));
        assert_eq!(gap.next(Event::Broken(Break::OtherPrimary)), Ok(lost));
        assert_eq!(gap.next(Event::Broken(Break::Backlog)), Ok(gap.clone()));
        assert_eq!(caused(Break::Backlog).next(Event::Broken(Break::LocalGap)), Ok(gap));
    }

    #[test]
    fn a_server_that_may_have_lost_something_is_doubted() {
        let follows = following("10:12:10");
        assert!(!follows.doubts_primary() && follows.trusts(&epoch(1)));
        assert!(follows.trusts(&Epoch { token: None, ..epoch(1) }));
        assert!(!follows.trusts(&epoch(2)));
        assert!(!follows.trusts(&Epoch { life: None, ..epoch(1) }));
        let lost = follows.next(Event::Broken(Break::OtherPrimary)).unwrap();
        let held = lost.next(Event::Held { losses: 101 }).unwrap();
        for state in [lost, held] {
            assert!(state.doubts_primary() && !state.trusts(&epoch(2)));
        }
        let copied = follows.next(Event::Broken(Break::OtherFile)).unwrap();
        assert!(!copied.doubts_primary() && copied.trusts(&epoch(2)));
        assert!(!Follow::new().doubts_primary() && Follow::new().trusts(&epoch(2)));
    }

    #[test]
    fn a_server_restored_before_the_comparison_is_noticed() {
        let tokens = Tokens::default().propose(None, Token(1)).confirm(Token(1));
        let purged = following("10:12:10").next(Event::Broken(Break::Purged)).unwrap();
        assert_eq!(purged.break_at(&epoch(1), &tokens), None);
        assert_eq!(purged.break_at(&epoch(2), &tokens), Some(Break::OtherPrimary));
        let suspected = purged.next(Event::Broken(Break::OtherPrimary)).unwrap();
        assert_eq!(suspected.break_at(&epoch(2), &tokens), None, "an approval must stand");
    }

    #[test]
    fn a_token_that_was_rotated_during_the_poll_proves_nothing() {
        let first = Tokens::default().propose(None, Token(1)).confirm(Token(1));
        let second = first.propose(Some(Token(1)), Token(2)).confirm(Token(2));
        let judge = |before: &Tokens, seen: &Epoch| {
            let poll = at("12:12:");
            judge_poll(&epoch(1), &at("10:12:10"), [before, &second], seen, &poll, None)
        };
        assert_eq!(judge(&first, &epoch(1)), PollVerdict::Overtaken);
        assert_eq!(judge(&second, &epoch(1)), PollVerdict::Broken(Break::OtherFile));
        let ranked = Token::after(None, 7);
        let third = Tokens::default().propose(None, Token::after(Some(ranked), 8));
        let third = third.confirm(Token::after(Some(ranked), 8));
        let seen = Epoch { token: Some(ranked), ..epoch(1) };
        let poll = at("12:12:");
        let judge_ranked = |before: &Tokens| {
            judge_poll(&epoch(1), &at("10:12:10"), [before, &third], &seen, &poll, None)
        };
        assert_eq!(judge_ranked(&first), PollVerdict::Overtaken);
        assert_eq!(judge_ranked(&third), PollVerdict::Broken(Break::OtherPrimary));
        // A server that was emptied, or is another one, is not excused by it.
        for seen in [Epoch { token: None, ..epoch(1) }, epoch(2)] {
            assert_eq!(judge(&first, &seen), PollVerdict::Broken(Break::OtherPrimary));
        }
    }

    #[test]
    fn a_purge_that_the_cursor_has_not_passed_breaks_it() {
        let tokens = Tokens::default().propose(None, Token(1));
        let judge = |cursor: &str, purged| {
            let tokens = [&tokens, &tokens];
            judge_poll(&epoch(1), &at(cursor), tokens, &epoch(1), &at("20:20:"), purged)
        };
        assert_eq!(judge("10:12:10", Some(9)), PollVerdict::Apply);
        assert_eq!(judge("10:12:10", Some(10)), PollVerdict::Broken(Break::Purged));
        assert_eq!(judge("10:12:10", None), PollVerdict::Apply);
        assert_eq!(judge("21:21:", None), PollVerdict::Broken(Break::OtherPrimary));
    }
}
