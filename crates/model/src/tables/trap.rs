//! Known mistakes about several tables, to be put back one at a time.

traps! {
    /// A poll that could not read one of the tables moves the cursor, and the table is not compared.
    DriftSkipped = "drift-skipped",
    /// A table that was left alone is followed again as it is, without a comparison.
    UncomparedReturn = "uncompared-return",
    /// The comparison of one table tells that all of them have been compared.
    ComparedTellsForAll = "compared-tells-for-all",
    /// What is pending in a table that is left alone counts as pushed with the others.
    PausedCountsAsPushed = "paused-counts-as-pushed",
    /// A comparison gives only what lies above the file's position.
    GivenByPosition = "given-by-position",
    /// A row that PostgreSQL does not know is given, whatever was purged while the table was left alone.
    PurgeForgotten = "purge-forgotten",
    /// A row that only the file has in a table that is compared is taken for deleted.
    AbsenceIsDelete = "absence-is-delete",
    /// What a push inserts goes children first, once, and what is refused is dropped.
    ChildrenFirst = "children-first",
    /// What a push deletes goes parents first, once, and what is refused is dropped.
    ParentsDieFirst = "parents-die-first",
    /// A child that had no parent is not tried again when that has come.
    OrphanForgotten = "orphan-forgotten",
    /// The rows of a poll are taken in table by table, each in a transaction of its own.
    PollSplit = "poll-split",
    /// What is pending is pushed table by table.
    PushSplit = "push-split",
    /// Rows that exchange unique values stay parked on NULL.
    ParkedForGood = "parked-for-good",
    /// Who finds his unique value taken leaves it without a word.
    ClearedUnlogged = "cleared-unlogged",
    /// Who compares goes on giving rows though another process has come to the end of the comparison.
    GivenPastTheEnd = "given-past-the-end",
    /// A row that the file has refused stays in quarantine though PostgreSQL has nothing of it any more.
    GhostStays = "ghost-stays",
    /// The comparison of some tables moves the cursor of all.
    CursorOfSome = "cursor-of-some",
    /// The epoch that is followed still speaks of a table that is left alone.
    PauseBreaksAll = "pause-breaks-all",
    /// A table that is joined is followed from where the others are.
    JoinedUncompared = "joined-uncompared",
    /// A process goes on with tables that the file says are left alone, and without those that it follows.
    PauseUnseen = "pause-unseen",
    /// A poll is judged though the file has taken a table back, or left one alone, since it was made.
    PollOfAnother = "poll-of-another",
    /// Stamps of the future are set back at PostgreSQL in the tables that are not left alone.
    RepairedInPart = "repaired-in-part",
    /// What was set back at PostgreSQL is not set back in a table that the file leaves alone.
    SetBackPassesBy = "set-back-passes-by",
    /// A set-back takes what an insert that has not arrived has met for what was set on top of it.
    MetIsPending = "met-is-pending",
    /// Rows that exchange unique values do not make room for each other in the file.
    NoRoomHere = "no-room-here",
    /// A table that was compared beside the others follows from where those have come meanwhile.
    NeverCatchesUp = "never-catches-up",
    /// What was written to a table while it was compared counts as pushed with the others.
    PassedWithOthers = "passed-with-others",
    /// A comparison ends that was begun before the table had to be compared once more.
    EndsTheNext = "ends-the-next",
    /// A comparison of all tables does not hear of a gap that is found while it runs.
    GapInPassing = "gap-in-passing",
    /// What is new in a table that has to be compared is taken in before it was.
    TakenBefore = "taken-before",
}
