//! Whether PostgreSQL is still the one that was followed.

/// A random number that a file and PostgreSQL share. PostgreSQL keeps it in an UNLOGGED table,
/// which crash recovery, promotion and a restore from a base backup empty. A copy of a server that
/// was stopped in order has it still; that such a one is not the latest tells its rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u128);

impl Token {
    /// The token that a file sets after `last`: `random` below its rank.
    ///
    /// ```
    /// use dual_database::protocol::Token;
    /// let first = Token::after(None, u128::MAX);
    /// let second = Token::after(Some(first), 7);
    /// assert_eq!((first.rank(), second.rank()), (1, 2));
    /// ```
    #[must_use]
    pub fn after(last: Option<Token>, random: u128) -> Token {
        let rank = last.map_or(0, Token::rank).wrapping_add(1);
        Token((u128::from(rank) << 96) | (random & (u128::MAX >> 32)))
    }

    /// The how many-th it is of its file.
    #[must_use]
    pub fn rank(self) -> u32 {
        u32::try_from(self.0 >> 96).unwrap_or(u32::MAX)
    }
}

/// What identifies the history that the transaction ids belong to; read in the same snapshot
/// as every poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// The file's token as PostgreSQL has it; `None` if the row is gone.
    pub token: Option<Token>,
    /// The first eight hexadecimal digits of `pg_walfile_name(pg_current_wal_lsn())`: the
    /// control data still shows the old timeline after a promotion.
    pub timeline: u32,
    /// The system identifier of the cluster.
    pub system: u64,
    /// The object id of the database.
    pub database: u32,
    /// A digest of the object ids of the tracked tables, their sidecars and the token's table:
    /// `pg_restore --clean` into the same database recreates them, and brings an old token
    /// with it. A sum, to which each table adds its part.
    pub relations: u64,
    /// The number under which the product was installed there.
    pub installation: u128,
    /// The server's own token, in the same UNLOGGED table; whoever connects first after it was
    /// emptied sets it. Without it a copied file hides a loss: one copy meets the empty table
    /// and sets the token that both share, the other finds that token, takes itself for a mere
    /// copy, and trusts a server that has lost transactions.
    pub life: Option<Token>,
}

/// Why the cursor means nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// Never exchanged anything.
    FirstContact,
    /// Made anew in the place of a file that was lost or damaged. Nothing was exchanged since,
    /// and what it does not have may have been there.
    Rebuilt,
    /// PostgreSQL has another token, no earlier one: this file is a copy, or was restored from one.
    /// It takes a new number.
    OtherFile,
    /// PostgreSQL crashed, was promoted, restored or replaced: it may have lost transactions
    /// and may hand out their ids again.
    OtherPrimary,
    /// Tombstones that this file has not seen were purged.
    Purged,
    /// A row that PostgreSQL once acknowledged is not there, though the epoch has not changed.
    Missing,
    /// Triggers were missing on the file alone: what has two values under one stamp was set there.
    LocalGap,
    /// Triggers were missing at PostgreSQL, or a table was altered without them, or a comparison of
    /// the values has found what nobody captured.
    CaptureGap,
    /// So much is new on one side that it is not carried in one transaction: both are gone
    /// through by ranges instead. Nothing is suspected of anything, and nobody is asked.
    Backlog,
}

impl Break {
    /// Whether what the file had must have been in PostgreSQL at some time, and could only be
    /// superseded there by somebody who saw it. If not, a register that the comparison
    /// overwrites goes to the conflict log: its successor may not have known it. (Before the
    /// first contact nothing tells whether PostgreSQL has lost a direct write since.)
    #[must_use]
    pub fn primary_is_intact(self) -> bool {
        match self {
            Break::OtherFile | Break::Purged | Break::Backlog => true,
            Break::FirstContact
            | Break::Rebuilt
            | Break::OtherPrimary
            | Break::Missing
            | Break::LocalGap
            | Break::CaptureGap => false,
        }
    }

    /// Whether PostgreSQL may lack what it once had, or have what nobody saw: until both have been
    /// compared the file knows better.
    #[must_use]
    pub(crate) fn suspects_primary(self) -> bool {
        !self.primary_is_intact() && self != Break::LocalGap
    }

    /// What counts of two that came one after the other: whatever suspects more, and the earlier if
    /// both do.
    #[must_use]
    pub fn graver(self, next: Break) -> Break {
        let rank = |cause: Break| (cause.suspects_primary(), !cause.primary_is_intact());
        match rank(self).cmp(&rank(next)) {
            std::cmp::Ordering::Less => next,
            _ if self.primary_is_intact() => next,
            _ => self,
        }
    }
}

/// The tokens as the file has them. A new one is proposed in the file first, then set in
/// PostgreSQL, then confirmed in the file; a crash between any two steps leaves PostgreSQL with
/// one that the file knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    current: Option<Token>,
    proposed: Option<Token>,
}

impl Tokens {
    /// The tokens as the file has kept them.
    #[must_use]
    pub fn restore(current: Option<Token>, proposed: Option<Token>) -> Tokens {
        Tokens { current, proposed }
    }

    /// Whether PostgreSQL's token is one of ours.
    #[must_use]
    pub fn accept(&self, seen: Token) -> bool {
        self.current == Some(seen) || self.proposed == Some(seen)
    }

    /// Whether the file, or the one that it is a copy of, has set it before its last: whoever has it
    /// now has lost what came since. Another copy's is never lower, as it replaced what this file
    /// has or a later one.
    #[must_use]
    pub fn is_past(&self, seen: Token) -> bool {
        !self.accept(seen) && self.current.is_some_and(|current| seen.rank() < current.rank())
    }

    /// The tokens, after PostgreSQL was seen to have `seen`, with another proposed.
    ///
    /// If `seen` is not ours, the break has to be in the file's state by then: once PostgreSQL
    /// has the new token, nothing else tells of it.
    #[must_use]
    pub fn propose(&self, seen: Option<Token>, fresh: Token) -> Tokens {
        let current = seen.filter(|seen| self.accept(*seen)).or(self.current);
        Tokens { current, proposed: Some(fresh) }
    }

    /// The token to propose: what another process of the file has proposed and PostgreSQL has
    /// not been seen to have, else `fresh`. Two processes that overwrote each other's proposal
    /// would find a token at PostgreSQL that the file knows no more.
    #[must_use]
    pub fn proposal(&self, seen: Option<Token>, fresh: Token) -> Token {
        self.proposed.filter(|proposed| seen != Some(*proposed)).unwrap_or(fresh)
    }

    /// The tokens after PostgreSQL has confirmed that it has `set`.
    #[must_use]
    pub fn confirm(&self, set: Token) -> Tokens {
        match self.proposed {
            Some(proposed) if proposed == set => Tokens { current: Some(set), proposed: None },
            _ => *self,
        }
    }

    /// The token that waits to be set in PostgreSQL.
    #[must_use]
    pub fn proposed(&self) -> Option<Token> {
        self.proposed
    }

    /// The token that both sides are known to have had.
    #[must_use]
    pub fn current(&self) -> Option<Token> {
        self.current
    }
}

impl Epoch {
    /// Whether it differs from what was `followed` in nothing but the token, if at all.
    #[must_use]
    pub fn is_server_of(&self, followed: &Epoch) -> bool {
        Epoch { token: followed.token, ..*self } == *followed
    }

    /// What has happened between `followed` and this; `None` if the cursor still holds.
    #[must_use]
    pub fn break_from(&self, followed: &Epoch, tokens: &Tokens) -> Option<Break> {
        match self.token {
            _ if !self.is_server_of(followed) => Some(Break::OtherPrimary),
            None => Some(Break::OtherPrimary),
            Some(token) if tokens.accept(token) => None,
            Some(token) if tokens.is_past(token) => Some(Break::OtherPrimary),
            Some(_) => Some(Break::OtherFile),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(token: Option<u128>) -> Epoch {
        Epoch {
            token: token.map(Token),
            timeline: 1,
            system: 7,
            database: 5,
            relations: 3,
            installation: 9,
            life: Some(Token(4)),
        }
    }

    #[test]
    fn a_crash_between_any_two_steps_of_the_rotation_is_no_break() {
        let old = Tokens { current: Some(Token(1)), proposed: None };
        let proposed = old.propose(Some(Token(1)), Token(2));
        let confirmed = proposed.confirm(Token(2));
        let judge = |tokens: Tokens, there| epoch(Some(there)).break_from(&epoch(Some(1)), &tokens);
        assert_eq!(judge(proposed, 1), None);
        assert_eq!(judge(proposed, 2), None);
        assert_eq!(judge(confirmed, 2), None);
        // Another process that connects meanwhile proposes the same.
        assert_eq!(proposed.proposal(Some(Token(1)), Token(3)), Token(2));
        assert_eq!(proposed.proposal(Some(Token(2)), Token(3)), Token(3));
        assert_eq!(confirmed.proposal(Some(Token(2)), Token(3)), Token(3));
        // The next rotation starts from what PostgreSQL was seen to have.
        let next = proposed.propose(Some(Token(2)), Token(3));
        assert_eq!((judge(next, 2), judge(next, 3)), (None, None));
        assert_eq!(judge(next, 1), Some(Break::OtherFile));
    }

    #[test]
    fn a_server_that_has_an_earlier_token_has_lost_something() {
        let first = Token::after(None, 9);
        let second = Token::after(Some(first), 8);
        let others = Token::after(Some(first), 7);
        let tokens = Tokens { current: Some(second), proposed: None };
        let judge = |there: Token| epoch(Some(there.0)).break_from(&epoch(Some(1)), &tokens);
        assert_eq!(judge(second), None);
        assert_eq!(judge(first), Some(Break::OtherPrimary));
        assert_eq!(judge(others), Some(Break::OtherFile));
        assert_eq!(judge(Token::after(Some(others), 7)), Some(Break::OtherFile));
    }

    #[test]
    fn every_part_counts() {
        let tokens = Tokens { current: Some(Token(1)), proposed: None };
        let followed = epoch(Some(1));
        let other = |change: fn(&mut Epoch)| {
            let mut seen = epoch(Some(1));
            change(&mut seen);
            seen.break_from(&followed, &tokens)
        };
        assert_eq!(other(|_| ()), None);
        assert_eq!(other(|epoch| epoch.token = None), Some(Break::OtherPrimary));
        assert_eq!(other(|epoch| epoch.token = Some(Token(4))), Some(Break::OtherFile));
        assert_eq!(other(|epoch| epoch.timeline = 2), Some(Break::OtherPrimary));
        assert_eq!(other(|epoch| epoch.system = 8), Some(Break::OtherPrimary));
        assert_eq!(other(|epoch| epoch.database = 6), Some(Break::OtherPrimary));
        assert_eq!(other(|epoch| epoch.relations = 4), Some(Break::OtherPrimary));
        assert_eq!(other(|epoch| epoch.installation = 1), Some(Break::OtherPrimary));
    }
}
