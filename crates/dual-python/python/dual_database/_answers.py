"""What the calls answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, List, Optional, Tuple, TypedDict, Union

from ._errors import DualDatabaseError

#: By what a row is told apart: a number or a text, or a tuple of such where several columns do it.
Key = Union[int, str, Tuple[Union[int, str], ...]]


class User(TypedDict):
    """A user: a plain dictionary of the 16 columns. Timestamps have no zone and are in UTC."""

    #: PostgreSQL's number; negative while it is provisional, ``None`` while there is none.
    id: Optional[int]
    user_id: int
    username: Optional[str]
    first_name: Optional[str]
    status: Optional[str]
    phone_number: Optional[str]
    real_name: Optional[str]
    birth_date: Optional[str]
    register_date: Optional[datetime]
    last_activity: Optional[datetime]
    redeem_date: Optional[datetime]
    source: Optional[str]
    referrer_id: Optional[int]
    brought_by_staff_id: Optional[int]
    profile_completed: Optional[bool]
    ai_concept: Optional[str]


@dataclass(frozen=True, eq=False)
class Written:
    """What became of a write. It is true if it was done, and equal to ``True`` then."""

    #: The user as it is now; ``None`` after a delete, a transaction, and if nothing was done.
    #: (Not in the ``repr``, which may get into a log.)
    user: Optional[User] = field(repr=False)
    #: Whether PostgreSQL has it.
    in_postgres: bool
    #: Whether the SQLite file has it.
    in_sqlite: bool
    #: Why it was not done: :class:`AlreadyExistsError` or :class:`NotFoundError`.
    error: Optional[DualDatabaseError] = None

    @property
    def in_both(self) -> bool:
        """Whether both stores have it."""
        return self.in_postgres and self.in_sqlite

    @property
    def pending(self) -> Optional[str]:
        """The store that gets it by itself later: ``"postgres"``, ``"sqlite"``, or ``None``."""
        if not self or self.in_both:
            return None
        return "sqlite" if self.in_postgres else "postgres"

    def __bool__(self) -> bool:
        return self.in_postgres or self.in_sqlite

    def __eq__(self, other: object) -> bool:
        if isinstance(other, bool):
            return bool(self) is other
        if isinstance(other, Written):
            return (self.user, self.in_postgres, self.in_sqlite, self.error) == (
                other.user,
                other.in_postgres,
                other.in_sqlite,
                other.error,
            )
        return NotImplemented

    def __hash__(self) -> int:
        return hash(bool(self))


@dataclass(frozen=True)
class Found:
    """A user that was looked for, and who answered. It is true if there is one."""

    #: The user; ``None`` if there is none.
    user: Optional[User]
    #: Who answered: ``"postgres"`` or ``"sqlite"``.
    source: str
    #: How many seconds ago the file last heard everything from PostgreSQL; ``None`` if
    #: PostgreSQL answered, or if they never met.
    age: Optional[float]

    def __bool__(self) -> bool:
        return self.user is not None


@dataclass(frozen=True)
class Exchange:
    """Where an exchange left things."""

    #: Rows that PostgreSQL lacks still.
    pending: int
    #: Rows that one side refuses.
    quarantined: int
    #: The file has caught up with what PostgreSQL had.
    caught_up: bool
    #: A comparison waits for a person: so many rows would be lost. See ``repair``.
    held: Optional[int]


@dataclass(frozen=True)
class StoreStatus:
    """How one store stands."""

    #: ``"up"``, ``"down"`` or ``"needs_init"``.
    state: str
    #: Why it is not up.
    reason: Optional[str]
    #: What a person can do.
    hint: Optional[str]


@dataclass(frozen=True)
class RecentError:
    """Something that went wrong lately."""

    at: Optional[datetime]
    store: str
    message: str


@dataclass(frozen=True)
class Failing:
    """A step of the exchange that keeps failing."""

    step: str
    #: ``"postgres"`` or ``"sqlite"``.
    store: str
    message: str
    #: What a person can do.
    hint: Optional[str]
    since: Optional[datetime]
    last: Optional[datetime]
    #: How often it has failed.
    times: int


@dataclass(frozen=True)
class Paused:
    """A table that is not followed as it is: everything else goes on."""

    table: str
    #: What is in the way.
    reason: str
    #: What a person can do.
    hint: Optional[str]
    #: ``"postgres"`` or ``"sqlite"``: the side that it is in the way of.
    store: str = "sqlite"


@dataclass(frozen=True)
class Comparing:
    """A table that is compared, or will be, while the others are exchanged."""

    table: str
    #: ``"joined"``, ``"missed"`` (changes may have been missed), ``"backlog"``.
    reason: str


@dataclass(frozen=True)
class NotCarried:
    """A column that stays on the side that has it: ``dual init`` says why."""

    table: str
    column: str
    #: ``"postgres"`` or ``"sqlite"``.
    store: str


@dataclass(frozen=True)
class Verified:
    """A full pass of the background verification."""

    at: Optional[datetime]
    #: Rows that differed though everything was exchanged; they were compared, and settled.
    found: int


@dataclass(frozen=True)
class Damage:
    """A damaged file that was made anew. What was pending in it and could not be read is lost."""

    at: Optional[datetime]
    #: Where the damaged file is kept.
    aside: str
    #: Rows that were taken over from it.
    taken: int
    #: At least so many rows could not be read; ``None``: nothing could.
    unreadable: Optional[int]
    #: Rows that could be read, and that the table refuses.
    refused: int


@dataclass(frozen=True)
class Status:
    """How both stores stand. Numbers are ``None`` if the store that knows cannot be asked."""

    postgres: StoreStatus
    sqlite: StoreStatus
    #: Rows that PostgreSQL lacks.
    pending_to_postgres: Optional[int]
    #: Rows that the file lacks.
    pending_to_sqlite: Optional[int]
    #: Conflicts that nobody has reviewed.
    conflicts: Optional[int]
    #: Rows that one side refuses.
    quarantined: Optional[int]
    #: Seconds since both last exchanged everything.
    last_sync_age: Optional[float]
    #: ``"following"``, ``"converging"``, ``"held"`` (a comparison waits for ``repair``), or
    #: ``"failing"`` (both stores answer, and the exchange does not get on).
    sync: str
    #: Rows that would be lost, while it is held.
    held_losses: Optional[int]
    #: The size of the write-ahead log beside the file, in bytes.
    wal_bytes: Optional[int]
    #: The file's permissions, such as ``"0644"``, if others than its owner may read or write it.
    exposed: Optional[str]
    #: What went wrong lately in this process, the newest first.
    recent_errors: List[RecentError]
    #: What the exchange fails at, in whichever process, until a round comes to its end.
    failing: List[Failing]
    #: Tables of the file that cannot be written here; their rows wait in quarantine.
    paused: List[Paused]
    #: The last full pass of the background verification; ``None`` before the first.
    verified: Optional[Verified]
    #: Damaged files that were made anew, until ``review_damage``.
    damage: Optional[List[Damage]]
    #: The latest time of a stamp that an exchange has met and that lies in the future, until
    #: ``repair_stamps``.
    ahead_until: Optional[datetime] = None
    #: Columns of joined tables that one side has and the other one does not get.
    not_carried: List[NotCarried] = field(default_factory=list)
    #: Tables that have to be compared; the others are exchanged meanwhile.
    comparing: List[Comparing] = field(default_factory=list)


@dataclass(frozen=True)
class TableDifference:
    """What a comparison found in one table."""

    table: str
    rows_postgres: int
    rows_sqlite: int
    different: int
    only_postgres: int
    only_sqlite: int
    quarantined: int
    #: The first keys that differ, at most 20.
    keys: List[Key]
    #: Rows of PostgreSQL whose stamps lie in the future by its clock: see ``repair_stamps``.
    ahead_postgres: int = 0
    #: The same of the SQLite file, by PostgreSQL's clock.
    ahead_sqlite: int = 0


@dataclass(frozen=True)
class Verification:
    """What a comparison of both stores found. It is true if they are equal, quarantine included."""

    equal: bool
    tables: List[TableDifference]
    #: The purge horizon of a side lies in the future.
    horizon_ahead: bool = False
    #: The latest time that a stamp of the future tells.
    ahead_until: Optional[datetime] = None
    #: Tables that are left alone, and were not compared.
    paused: List[Paused] = field(default_factory=list)

    def __bool__(self) -> bool:
        return self.equal


@dataclass(frozen=True)
class Conflict:
    """An entry of the conflict log: two people changed the same column of the same user."""

    table: str
    key: Key
    #: The column; ``"(row)"`` for a birth or a delete.
    column: str
    #: The value that stands, as text.
    winning: Optional[str]
    #: The value that does not, as text.
    losing: Optional[str]
    #: When the value that stands was written; ``None`` if it was there before both were joined.
    winner_at: Optional[datetime]
    #: The same of the value that does not.
    loser_at: Optional[datetime]
    noted_at: Optional[datetime]
    reviewed: bool


@dataclass(frozen=True)
class QuarantinedRow:
    """A row that one side refuses. It is tried again by itself."""

    table: str
    #: ``None`` if what the file has there makes no key: of users, if it is no whole number.
    key: Optional[Key]
    #: ``"postgres"`` or ``"sqlite"``.
    refused_by: str
    #: The SQLSTATE, SQLite's extended code, or ``unreadable``.
    code: str
    reason: str
    since: Optional[datetime]


def status_of(parts: Any) -> Status:
    """What the part in Rust tells of both stores."""
    postgres, sqlite, numbers, (errors, failing, paused, verified, damage, more) = parts
    ahead_until, not_carried, comparing = more
    told: List[Any] = [
        [RecentError(*error) for error in errors],
        [Failing(*one) for one in failing],
        [Paused(*one) for one in paused],
        None if verified is None else Verified(*verified),
        None if damage is None else [Damage(*one) for one in damage],
        ahead_until,
        [NotCarried(*one) for one in not_carried],
        [Comparing(*one) for one in comparing],
    ]
    return Status(StoreStatus(*postgres), StoreStatus(*sqlite), *numbers, *told)


def verification_of(parts: Any) -> Verification:
    """What it tells of a comparison."""
    equal, tables, horizon_ahead, ahead_until, paused = parts
    found = [TableDifference(*table) for table in tables]
    alone = [Paused(*one) for one in paused]
    return Verification(equal, found, horizon_ahead, ahead_until, alone)
