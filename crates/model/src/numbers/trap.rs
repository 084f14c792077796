//! Known mistakes about numbers, to be put back one at a time.

traps! {
    /// A birth is pushed under its number without asking, and merged with what is there.
    SentUnreserved = "sent-unreserved",
    /// A fresh number is used at PostgreSQL before the file has written it down.
    UsedBeforeNoted = "used-before-noted",
    /// The pull merges into a birth that waits for its number.
    PulledInto = "pulled-into",
    /// References stay behind when a row moves.
    ReferencesStay = "references-stay",
    /// What refers to the other row moves along.
    AllReferencesMove = "all-references-move",
    /// A tombstone under the number is taken for one that the file has seen.
    TombstoneSeen = "tombstone-seen",
    /// A birth over a tombstone that the file knows counts as one that has seen what is there.
    DeadSeen = "dead-seen",
    /// A number that was handed out, and is not committed yet, counts as free.
    InFlightUnseen = "in-flight-unseen",
    /// PostgreSQL's sequence does not go on behind the numbers of files.
    SequenceStays = "sequence-stays",
    /// PostgreSQL keeps nothing of what it has reserved.
    NothingKept = "nothing-kept",
    /// A reservation answered late is used though another process has used one for that row.
    LateAnswer = "late-answer",
    /// A birth that was deleted before anybody heard of it deletes what PostgreSQL has under its number.
    DeadAreSent = "dead-are-sent",
    /// What was set aside because a birth was in the way is not asked for again.
    NotAskedAgain = "not-asked-again",
    /// PostgreSQL keeps nothing of a block.
    BlockNotKept = "block-not-kept",
    /// A copy of a file that takes another identity keeps the block of the one that it is a copy of.
    BlockOfACopy = "block-of-a-copy",
    /// What was born under a number of a block is pushed without asking.
    BlockIsTrusted = "block-is-trusted",
    /// A number of a block is handed out, however long ago it was reserved.
    BlockBeyondPurge = "block-beyond-purge",
    /// The number of a call is reserved under the number of the file's triggers, as those of births are.
    CallsAreBirths = "calls-are-births",
    /// What PostgreSQL was sent, and may have, waits to be asked about.
    SentIsUnasked = "sent-is-unasked",
    /// The tombstones of a block get fresh stamps, so that they last.
    KeptOn = "kept-on",
}
