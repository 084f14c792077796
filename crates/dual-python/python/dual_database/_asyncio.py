"""The class for programs with asyncio."""

from __future__ import annotations

import asyncio
import subprocess
from types import TracebackType
from typing import (
    Any,
    AsyncIterator,
    Awaitable,
    Callable,
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
from ._calls import answered, prepared, waited
from ._database import TRIES, Conditions, not_done, rolled_back
from ._errors import AlreadyExistsError, ClosedError, ConflictError, NotFoundError
from ._parting import remember
from ._settings import Path, Secret, from_environment, located, not_pickled, opening

T = TypeVar("T")
Self = TypeVar("Self", bound="AsyncDualDatabase")


class AsyncDualDatabase:
    """:class:`DualDatabase` with coroutines in place of calls that wait.

    It is opened by the first call, by ``await db.open()``, or by ``async with``. The settings
    are those of :class:`DualDatabase`. A call can be cancelled: a write is then in a store whole
    or not at all, and what is in one of them reaches the other.
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
        self._settings = {
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
        self._pg_url = Secret(pg_url)
        self._path = located(sqlite_path)
        self._strict = strict
        self._native: Optional[_native.Database] = None
        self._opening: Optional[asyncio.Task[_native.Database]] = None
        self._closed = False

    def __reduce__(self) -> NoReturn:
        not_pickled(self)

    @classmethod
    def from_env(cls: Type[Self], **settings: Any) -> Self:
        """What ``DATABASE_URL``, ``DATABASE_PATH`` and ``DUAL_SCHEMA`` name; not opened yet.

        :raises ConfigurationError: a variable is missing.
        """
        return cls(**{**from_environment(), **settings})

    async def open(self: Self) -> Self:
        """Opens it, if it is not open; see :class:`DualDatabase` for what can be raised."""
        await self._opened()
        return self

    async def add_user(self, user_data: Mapping[str, object]) -> Written:
        """See :meth:`DualDatabase.add_user`."""
        return await self._written((await self._opened()).add_user, _values.columns(user_data))

    async def upsert_user(self, user_data: Mapping[str, object]) -> Written:
        """See :meth:`DualDatabase.upsert_user`."""
        return await self._written((await self._opened()).upsert_user, _values.columns(user_data))

    async def get_user(self, user_id: int) -> Optional[User]:
        """See :meth:`DualDatabase.get_user`."""
        native = await self._opened()
        user: Optional[User] = await answered(native.get_user, _values.key(user_id))
        return user

    async def find_user(self, user_id: int) -> Found:
        """See :meth:`DualDatabase.find_user`."""
        native = await self._opened()
        return Found(*await answered(native.find_user, _values.key(user_id)))

    async def update_user(self, user_id: int, update_data: Mapping[str, object]) -> Written:
        """See :meth:`DualDatabase.update_user`."""
        native = await self._opened()
        return await self._written(
            native.update_user, _values.key(user_id), _values.columns(update_data)
        )

    async def delete_user(self, user_id: int) -> Written:
        """See :meth:`DualDatabase.delete_user`."""
        return await self._written((await self._opened()).delete_user, _values.key(user_id))

    async def get_all_users(
        self,
        limit: Optional[int] = None,
        *,
        where: Conditions = None,
        contains: Optional[Mapping[str, str]] = None,
        since: Conditions = None,
    ) -> List[User]:
        """See :meth:`DualDatabase.get_all_users`."""
        native = await self._opened()
        users: List[User] = await answered(
            native.get_all_users, limit, *_values.conditions(where, contains, since)
        )
        return users

    async def count_users(
        self,
        *,
        where: Conditions = None,
        contains: Optional[Mapping[str, str]] = None,
        since: Conditions = None,
    ) -> int:
        """See :meth:`DualDatabase.count_users`."""
        native = await self._opened()
        count: int = await answered(
            native.count_users, *_values.conditions(where, contains, since)
        )
        return count

    async def iter_users(
        self,
        *,
        where: Conditions = None,
        contains: Optional[Mapping[str, str]] = None,
        since: Conditions = None,
    ) -> AsyncIterator[User]:
        """See :meth:`DualDatabase.iter_users`; to be used with ``async for``."""
        native = await self._opened()
        users: _native.Users = prepared(
            native.users, *_values.conditions(where, contains, since)
        )
        while True:
            page: List[User] = await answered(users.next_page)
            if not page:
                return
            for user in page:
                yield user

    def transaction(self) -> AsyncTransaction:
        """See :meth:`DualDatabase.transaction`; to be used with ``async with``."""
        return AsyncTransaction(self)

    async def run_in_transaction(self, work: Callable[[AsyncTransaction], Awaitable[T]]) -> T:
        """See :meth:`DualDatabase.run_in_transaction`."""
        tries = 0
        while True:
            tries += 1
            try:
                async with self.transaction() as tx:
                    result = await work(tx)
                return result
            except ConflictError:
                if tries >= TRIES:
                    raise

    async def status(self) -> Status:
        """See :meth:`DualDatabase.status`."""
        return status_of(await answered((await self._opened()).status))

    async def verify(self) -> Verification:
        """See :meth:`DualDatabase.verify`."""
        return verification_of(await answered((await self._opened()).verify))

    async def repair_stamps(self) -> Verification:
        """See :meth:`DualDatabase.repair_stamps`."""
        return verification_of(await answered((await self._opened()).repair_stamps))

    async def repair(self, prefer: str = "newest") -> Verification:
        """See :meth:`DualDatabase.repair`."""
        return verification_of(await answered((await self._opened()).repair, prefer))

    async def sync_now(self, timeout: float = 30.0) -> Exchange:
        """See :meth:`DualDatabase.sync_now`."""
        return Exchange(*await answered((await self._opened()).sync_now, timeout))

    async def conflicts(self, limit: int = 100) -> List[Conflict]:
        """See :meth:`DualDatabase.conflicts`."""
        found = await answered((await self._opened()).conflicts, limit)
        return [Conflict(*entry) for entry in found]

    async def review_conflicts(self) -> int:
        """See :meth:`DualDatabase.review_conflicts`."""
        count: int = await answered((await self._opened()).review_conflicts)
        return count

    async def review_damage(self) -> int:
        """See :meth:`DualDatabase.review_damage`."""
        count: int = await answered((await self._opened()).review_damage)
        return count

    async def quarantine(self) -> List[QuarantinedRow]:
        """See :meth:`DualDatabase.quarantine`."""
        found = await answered((await self._opened()).quarantine)
        return [QuarantinedRow(*row) for row in found]

    async def backup(self, path: Path) -> None:
        """See :meth:`DualDatabase.backup`."""
        target = located(path)
        command = _guard.copying(self._path, target)
        process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.PIPE)
        _, messages = await process.communicate()
        done = subprocess.CompletedProcess(command, process.returncode or 0, b"", messages)
        _guard.copied(target, done)

    async def close(self, timeout: float = 5.0) -> None:
        """See :meth:`DualDatabase.close`."""
        self._closed = True
        if self._native is None and self._opening is not None:
            # It ends before it is closed, or there is nothing to close.
            await asyncio.wait([self._opening])
        if self._native is not None and await answered(self._native.close, timeout):
            _guard.unwatch(self._path)

    async def __aenter__(self: Self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        await self.close()

    async def _opened(self) -> _native.Database:
        if self._native is not None:
            return self._native
        if self._closed:
            raise ClosedError("the database is closed")
        loop = asyncio.get_running_loop()
        opening = self._opening
        # One that failed is tried again; one of a loop that has ended is nobody's.
        if opening is None or opening.done() or opening.get_loop() is not loop:
            opening = self._opening = loop.create_task(self._open())
        # Who gives up must not end it for the others that wait.
        return await asyncio.shield(opening)

    async def _open(self) -> _native.Database:
        native: _native.Database = await answered(
            opening, self._pg_url.reveal(), self._path, self._settings
        )
        self._native = native
        _guard.watch(self._path)
        remember(self)
        return native

    def _end(self, timeout: float) -> None:
        if self._native is not None:
            waited(self._native.close, timeout)

    async def _written(self, method: Callable[..., _native.Call], *arguments: object) -> Written:
        try:
            return Written(*await answered(method, *arguments))
        except (AlreadyExistsError, NotFoundError) as error:
            return not_done(error, self._strict)


class AsyncTransaction:
    """A transaction that is being put together; see :meth:`AsyncDualDatabase.transaction`."""

    #: Where it is, once the block has ended.
    written: Optional[Written] = None

    def __init__(self, database: AsyncDualDatabase) -> None:
        self._database = database
        self._native: Optional[_native.Transaction] = None

    async def get_user(self, user_id: int) -> Optional[User]:
        """See :meth:`Transaction.get_user`."""
        key = _values.key(user_id)
        user: Optional[User] = await answered(self._begun().get_user, key)
        return user

    async def add_user(self, user_data: Mapping[str, object]) -> None:
        """See :meth:`Transaction.add_user`."""
        await answered(self._begun().add_user, _values.columns(user_data))

    async def update_user(self, user_id: int, update_data: Mapping[str, object]) -> User:
        """See :meth:`Transaction.update_user`."""
        user: User = await answered(
            self._begun().update_user, _values.key(user_id), _values.columns(update_data)
        )
        return user

    async def delete_user(self, user_id: int) -> None:
        """See :meth:`Transaction.delete_user`."""
        await answered(self._begun().delete_user, _values.key(user_id))

    async def __aenter__(self) -> AsyncTransaction:
        self._native = prepared((await self._database._opened()).begin)
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        native = self._begun()
        if kind is None:
            self.written = Written(*await answered(native.commit))
        else:
            rolled_back(native)

    def _begun(self) -> _native.Transaction:
        if self._native is None:
            raise ClosedError("the transaction has not begun", "use it with `async with`")
        return self._native
