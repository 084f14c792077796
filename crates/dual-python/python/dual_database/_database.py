"""The class for programs without asyncio."""

from __future__ import annotations

import subprocess
from types import TracebackType
from typing import (
    Any,
    Callable,
    Iterator,
    List,
    Mapping,
    NoReturn,
    Optional,
    Sequence,
    Type,
    TypeVar,
)

from . import _guard, _native, _values
from ._answers import (
    Conflict,
    Exchange,
    Found,
    QuarantinedRow,
    Status,
    User,
    Verification,
    Written,
    status_of,
    verification_of,
)
from ._calls import prepared, waited
from ._errors import AlreadyExistsError, ConflictError, NotFoundError
from ._parting import remember
from ._settings import Path, from_environment, located, not_pickled, opening

T = TypeVar("T")
Self = TypeVar("Self", bound="DualDatabase")
Conditions = Optional[Mapping[str, object]]

#: How often ``run_in_transaction`` repeats what somebody else was faster than.
TRIES = 5


class DualDatabase:
    """PostgreSQL and a SQLite file as one database of users.

    Every write goes to both. While one of them is away the other one serves, and the first gets
    everything by itself when it is back. Objects can be used by many threads at once; the
    interpreter is free while a call waits.

    :param pg_url: PostgreSQL's URL, as libpq takes it.
    :param sqlite_path: the SQLite file; it is made if it is not there.
    :param prefer: who is asked first: ``"postgres"``, or ``"local"`` for the file, which
        answers at once and may be some moments behind.
    :param write_mode: when a write is answered: ``"both"`` (after both; after one of them if the
        other is away), ``"local_first"`` (after the file, PostgreSQL gets it in the background),
        ``"require_both"`` (only after both).
    :param strict: raise :class:`AlreadyExistsError` and :class:`NotFoundError` where otherwise
        a false answer is given.
    :param timeout: seconds that a call waits for PostgreSQL; 0.1 to 300.
    :param busy_timeout: seconds that another program's lock on the file is waited for.
    :param poll_interval: seconds between two looks for news in PostgreSQL if no doorbell rings.
    :param verify_interval: seconds in which all values of both sides are compared once in the
        background, a part at a time, at least 1; a day unless told, ``None``: never.
    :param background: whether both sides are kept equal between the calls.
    :param adopt: whether tables that are there already are joined, if that only adds.
    :param follow_schema: whether a column that a joined table gets on one side is carried from then on, if
        it may be ``None`` or has a constant default; otherwise :attr:`Status.not_carried` tells of it.
    :param sqlite_extensions: extensions of SQLite that the file's triggers and indexes need.
    :param pg_schema: the schema in PostgreSQL in which everything of ours stands.
    :raises ConfigurationError: a setting is wrong.
    :raises AccessDeniedError: the file, or its folder, cannot be used.

    A store that is merely away is no error.
    """

    def __init__(
        self,
        pg_url: Optional[str] = None,
        sqlite_path: Optional[Path] = None,
        *,
        prefer: str = "postgres",
        write_mode: str = "both",
        strict: bool = False,
        timeout: float = 5.0,
        busy_timeout: float = 5.0,
        poll_interval: float = 1.0,
        verify_interval: Optional[float] = 86_400.0,
        background: bool = True,
        adopt: bool = True,
        follow_schema: bool = True,
        sqlite_extensions: Sequence[Path] = (),
        pg_schema: str = "dual",
    ) -> None:
        settings = {
            "prefer": prefer,
            "write_mode": write_mode,
            "timeout": timeout,
            "busy_timeout": busy_timeout,
            "poll_interval": poll_interval,
            "verify_interval": verify_interval,
            "background": background,
            "adopt": adopt,
            "follow_schema": follow_schema,
            "sqlite_extensions": sqlite_extensions,
            "pg_schema": pg_schema,
        }
        self._strict = strict
        self._path = located(sqlite_path)
        self._native: _native.Database = waited(opening, pg_url, self._path, settings)
        _guard.watch(self._path)
        remember(self)

    def __reduce__(self) -> NoReturn:
        not_pickled(self)

    @classmethod
    def from_env(cls: Type[Self], **settings: Any) -> Self:
        """Opens what ``DATABASE_URL``, ``DATABASE_PATH`` and ``DUAL_SCHEMA`` name; ``settings`` are
        those of the constructor.

        :raises ConfigurationError: a variable is missing, or a setting is wrong.
        """
        return cls(**{**from_environment(), **settings})

    def add_user(self, user_data: Mapping[str, object]) -> Written:
        """Adds a user: ``user_id`` and any other columns.

        Columns that are not named get their defaults: ``status`` ``"registered"``,
        ``ai_concept`` ``"evgenich"``, ``profile_completed`` ``False``, ``register_date`` and
        ``last_activity`` this moment in UTC.

        :returns: true if the user was added, with the place where the write is; false if there
            is one with that ``user_id`` already.
        :raises InvalidDataError: an unknown column, a value that a column does not take.
        :raises UnavailableError: neither store takes it.
        """
        return self._written(self._native.add_user, _values.columns(user_data))

    def upsert_user(self, user_data: Mapping[str, object]) -> Written:
        """Adds a user, or sets these columns of the one that is there."""
        return self._written(self._native.upsert_user, _values.columns(user_data))

    def get_user(self, user_id: int) -> Optional[User]:
        """The user with that ``user_id`` as a dictionary, or ``None``.

        :raises UnavailableError: neither store answers.
        """
        user: Optional[User] = waited(self._native.get_user, _values.key(user_id))
        return user

    def find_user(self, user_id: int) -> Found:
        """As :meth:`get_user`, and says which store answered and how old the answer may be."""
        return Found(*waited(self._native.find_user, _values.key(user_id)))

    def update_user(self, user_id: int, update_data: Mapping[str, object]) -> Written:
        """Sets these columns of a user; the others stay as they are.

        :returns: true if there is such a user, with the place where the write is; else false.
        :raises InvalidDataError: as for :meth:`add_user`; also if no column is named.
        :raises UnavailableError: neither store takes it.
        :raises OutcomeUnknownError: PostgreSQL's answer was lost, and the file cannot tell.
        """
        return self._written(
            self._native.update_user, _values.key(user_id), _values.columns(update_data)
        )

    def delete_user(self, user_id: int) -> Written:
        """Deletes a user. Answers as :meth:`update_user`."""
        return self._written(self._native.delete_user, _values.key(user_id))

    def get_all_users(
        self,
        limit: Optional[int] = None,
        *,
        where: Conditions = None,
        contains: Optional[Mapping[str, str]] = None,
        since: Conditions = None,
    ) -> List[User]:
        """The newest users first, by ``register_date``; those without one last.

        :param limit: how many at most; all of them unless told.
        :param where: only those with these values: ``{"status": "registered"}``.
        :param contains: only those whose text contains this one, letter by letter, in the case
            that is given: ``{"first_name": "нна"}``.
        :param since: only those with this moment or a later one:
            ``{"register_date": datetime(2025, 8, 1)}``.

        All conditions hold together.
        """
        users: List[User] = waited(
            self._native.get_all_users, limit, *_values.conditions(where, contains, since)
        )
        return users

    def count_users(
        self,
        *,
        where: Conditions = None,
        contains: Optional[Mapping[str, str]] = None,
        since: Conditions = None,
    ) -> int:
        """How many users fit; the conditions are those of :meth:`get_all_users`."""
        count: int = waited(self._native.count_users, *_values.conditions(where, contains, since))
        return count

    def iter_users(
        self,
        *,
        where: Conditions = None,
        contains: Optional[Mapping[str, str]] = None,
        since: Conditions = None,
    ) -> Iterator[User]:
        """All users that fit, the newest first, however many there are: only a page of them is
        held at a time. A user that stays as it is comes once."""
        users: _native.Users = prepared(
            self._native.users, *_values.conditions(where, contains, since)
        )
        return self._pages(users)

    @staticmethod
    def _pages(users: _native.Users) -> Iterator[User]:
        while True:
            page: List[User] = waited(users.next_page)
            if not page:
                return
            yield from page

    def transaction(self) -> Transaction:
        """Several users at once, all of it on both sides or nothing::

            with db.transaction() as tx:
                user = tx.get_user(1)
                tx.update_user(2, {"referrer_id": user["referrer_id"]})
                tx.delete_user(1)

        Nothing is written before the block ends; if it raises, nothing is written at all. In a
        transaction :class:`AlreadyExistsError` and :class:`NotFoundError` are always raised.

        :raises ConflictError: at the end of the block, if somebody else changed what it has
            read. Nothing was done; :meth:`run_in_transaction` repeats it by itself.
        """
        return Transaction(prepared(self._native.begin))

    def run_in_transaction(self, work: Callable[[Transaction], T]) -> T:
        """Runs ``work`` in a transaction, again if somebody else was faster, and gives what it
        returned. So it must do nothing else that cannot be repeated.

        :raises ConflictError: somebody else was faster again and again.
        """
        tries = 0
        while True:
            tries += 1
            try:
                with self.transaction() as tx:
                    result = work(tx)
                return result
            except ConflictError:
                if tries >= TRIES:
                    raise

    def status(self) -> Status:
        """How both stores stand, and what is pending."""
        return status_of(waited(self._native.status))

    def verify(self) -> Verification:
        """Compares both stores, every column of every row.

        :raises UnavailableError: a store does not answer; nothing can be said then.
        """
        return verification_of(waited(self._native.verify))

    def repair(self, prefer: str = "newest") -> Verification:
        """Lets a comparison that waits for a person go on. Where both sides differ ``prefer`` is
        right: ``"postgres"``, ``"sqlite"``, or the ``"newest"`` value of each column. What loses
        goes to the conflict log."""
        return verification_of(waited(self._native.repair, prefer))

    def repair_stamps(self) -> Verification:
        """Sets back the stamps that lie in the future, on both sides and for every file: a clock was
        wrong for a while, or somebody has written them. Values stay as they are.

        :raises ConfigurationError: PostgreSQL's clock and this machine's differ by more than a minute.
        """
        return verification_of(waited(self._native.repair_stamps))

    def sync_now(self, timeout: float = 30.0) -> Exchange:
        """Exchanges what is pending, for at most ``timeout`` seconds.

        :raises UnavailableError: a store does not answer, or the time is up.
        """
        return Exchange(*waited(self._native.sync_now, timeout))

    def conflicts(self, limit: int = 100) -> List[Conflict]:
        """The conflict log, the newest first."""
        return [Conflict(*entry) for entry in waited(self._native.conflicts, limit)]

    def review_conflicts(self) -> int:
        """Marks all conflicts as reviewed; says how many there were."""
        count: int = waited(self._native.review_conflicts)
        return count

    def review_damage(self) -> int:
        """You have seen what ``status().damage`` tells; says how many there were."""
        count: int = waited(self._native.review_damage)
        return count

    def quarantine(self) -> List[QuarantinedRow]:
        """The rows that one side refuses."""
        return [QuarantinedRow(*row) for row in waited(self._native.quarantine)]

    def backup(self, path: Path) -> None:
        """Copies the SQLite file as it is at one moment to a new file, in another process: this
        one must not open it past the database.

        :raises FileInUseError: it could not be copied.
        """
        target = located(path)
        command = _guard.copying(self._path, target)
        _guard.copied(target, subprocess.run(command, stderr=subprocess.PIPE, check=False))

    def close(self, timeout: float = 5.0) -> None:
        """Pushes what is pending, for at most ``timeout`` seconds, and closes the file. A second
        call does nothing; other calls raise :class:`ClosedError` from then on. Nothing relies on
        it being called: what is pending is pushed at the next start."""
        if waited(self._native.close, timeout):
            _guard.unwatch(self._path)

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        self.close()

    def _end(self, timeout: float) -> None:
        waited(self._native.close, timeout)

    def _written(self, method: Callable[..., _native.Call], *arguments: object) -> Written:
        try:
            return Written(*waited(method, *arguments))
        except (AlreadyExistsError, NotFoundError) as error:
            return not_done(error, self._strict)


class Transaction:
    """A transaction that is being put together; see :meth:`DualDatabase.transaction`."""

    #: Where it is, once the block has ended.
    written: Optional[Written] = None

    def __init__(self, native: _native.Transaction) -> None:
        self._native = native

    def get_user(self, user_id: int) -> Optional[User]:
        """The user as this transaction sees it."""
        user: Optional[User] = waited(self._native.get_user, _values.key(user_id))
        return user

    def add_user(self, user_data: Mapping[str, object]) -> None:
        """Adds a user.

        :raises AlreadyExistsError: here, or at the end of the block.
        """
        waited(self._native.add_user, _values.columns(user_data))

    def update_user(self, user_id: int, update_data: Mapping[str, object]) -> User:
        """Sets these columns; gives the user as it is then.

        :raises NotFoundError: there is no such user.
        """
        user: User = waited(
            self._native.update_user, _values.key(user_id), _values.columns(update_data)
        )
        return user

    def delete_user(self, user_id: int) -> None:
        """Deletes a user.

        :raises NotFoundError: there is no such user.
        """
        waited(self._native.delete_user, _values.key(user_id))

    def __enter__(self) -> Transaction:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        if kind is None:
            self.written = Written(*waited(self._native.commit))
        else:
            rolled_back(self._native)


def rolled_back(native: _native.Transaction) -> None:
    """Ends a transaction because of an exception, which must stay the one that is seen."""
    try:
        native.rollback()
    except _native.Failed:
        # In a forked child it is the parent's.
        pass


def not_done(error: AlreadyExistsError | NotFoundError, strict: bool) -> Written:
    """What is answered to a write that met another state than it expected."""
    if strict:
        raise error
    # Without the frames that it went through, which it would keep alive.
    error.__context__ = None
    return Written(None, False, False, error.with_traceback(None))

