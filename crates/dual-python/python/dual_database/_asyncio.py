"""The class for programs with asyncio."""

from __future__ import annotations

import asyncio
import subprocess
from types import TracebackType
from typing import Any, AsyncIterator, Awaitable, Callable, List, Mapping, Optional, Type, TypeVar

from . import _guard, _native
from ._answers import (
    Conflict,
    Exchange,
    Found,
    QuarantinedRow,
    Status,
    User,
    Verification,
    Written,
)
from ._database import TRIES, Conditions, not_done, rolled_back
from ._errors import AlreadyExistsError, ClosedError, ConflictError, NotFoundError
from ._parting import remember
from ._settings import Path, from_environment, located, opening

T = TypeVar("T")
Self = TypeVar("Self", bound="AsyncDualDatabase")


class _Waiting:
    """Waits for calls in whichever loop runs."""

    def __init__(self) -> None:
        self._mailbox: Optional[_native.Mailbox] = None

    async def answer(self, call: _native.Call) -> Any:
        loop = asyncio.get_running_loop()
        mailbox = self._mailbox
        if mailbox is None or mailbox.event_loop is not loop:
            mailbox = self._mailbox = _native.Mailbox(loop)
        try:
            return await call.start(mailbox)
        finally:
            # Nothing to do but for a coroutine that was cancelled.
            call.abandon()


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
        background: bool = True,
        adopt: bool = True,
    ) -> None:
        self._settings = {
            "prefer": prefer,
            "write_mode": write_mode,
            "timeout": timeout,
            "busy_timeout": busy_timeout,
            "poll_interval": poll_interval,
            "background": background,
            "adopt": adopt,
        }
        self._pg_url = pg_url
        self._path = located(sqlite_path)
        self._strict = strict
        self._native: Optional[_native.Database] = None
        self._opening: Optional[asyncio.Task[_native.Database]] = None
        self._closed = False
        self._waiting = _Waiting()

    @classmethod
    def from_env(cls: Type[Self], **settings: Any) -> Self:
        """What ``DATABASE_URL`` and ``DATABASE_PATH`` name; not opened yet.

        :raises ConfigurationError: a variable is missing.
        """
        return cls(**{**from_environment(), **settings})

    async def open(self: Self) -> Self:
        """Opens it, if it is not open; see :class:`DualDatabase` for what can be raised."""
        await self._opened()
        return self

    async def add_user(self, user_data: Mapping[str, object]) -> Written:
        """See :meth:`DualDatabase.add_user`."""
        return await self._written((await self._opened()).add_user(user_data))

    async def upsert_user(self, user_data: Mapping[str, object]) -> Written:
        """See :meth:`DualDatabase.upsert_user`."""
        return await self._written((await self._opened()).upsert_user(user_data))

    async def get_user(self, user_id: int) -> Optional[User]:
        """See :meth:`DualDatabase.get_user`."""
        call = (await self._opened()).get_user(user_id)
        user: Optional[User] = await self._waiting.answer(call)
        return user

    async def find_user(self, user_id: int) -> Found:
        """See :meth:`DualDatabase.find_user`."""
        call = (await self._opened()).find_user(user_id)
        found: Found = await self._waiting.answer(call)
        return found

    async def update_user(self, user_id: int, update_data: Mapping[str, object]) -> Written:
        """See :meth:`DualDatabase.update_user`."""
        return await self._written((await self._opened()).update_user(user_id, update_data))

    async def delete_user(self, user_id: int) -> Written:
        """See :meth:`DualDatabase.delete_user`."""
        return await self._written((await self._opened()).delete_user(user_id))

    async def get_all_users(
        self,
        limit: Optional[int] = None,
        *,
        where: Conditions = None,
        contains: Optional[Mapping[str, str]] = None,
        since: Conditions = None,
    ) -> List[User]:
        """See :meth:`DualDatabase.get_all_users`."""
        call = (await self._opened()).get_all_users(limit, where, contains, since)
        users: List[User] = await self._waiting.answer(call)
        return users

    async def count_users(
        self,
        *,
        where: Conditions = None,
        contains: Optional[Mapping[str, str]] = None,
        since: Conditions = None,
    ) -> int:
        """See :meth:`DualDatabase.count_users`."""
        call = (await self._opened()).count_users(where, contains, since)
        count: int = await self._waiting.answer(call)
        return count

    async def iter_users(
        self,
        *,
        where: Conditions = None,
        contains: Optional[Mapping[str, str]] = None,
        since: Conditions = None,
    ) -> AsyncIterator[User]:
        """See :meth:`DualDatabase.iter_users`; to be used with ``async for``."""
        users = (await self._opened()).users(where, contains, since)
        while True:
            page: List[User] = await self._waiting.answer(users.next_page())
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
        status: Status = await self._waiting.answer((await self._opened()).status())
        return status

    async def verify(self) -> Verification:
        """See :meth:`DualDatabase.verify`."""
        found: Verification = await self._waiting.answer((await self._opened()).verify())
        return found

    async def repair(self, prefer: str = "newest") -> Verification:
        """See :meth:`DualDatabase.repair`."""
        found: Verification = await self._waiting.answer((await self._opened()).repair(prefer))
        return found

    async def sync_now(self, timeout: float = 30.0) -> Exchange:
        """See :meth:`DualDatabase.sync_now`."""
        done: Exchange = await self._waiting.answer((await self._opened()).sync_now(timeout))
        return done

    async def conflicts(self, limit: int = 100) -> List[Conflict]:
        """See :meth:`DualDatabase.conflicts`."""
        found: List[Conflict] = await self._waiting.answer(
            (await self._opened()).conflicts(limit)
        )
        return found

    async def review_conflicts(self) -> int:
        """See :meth:`DualDatabase.review_conflicts`."""
        count: int = await self._waiting.answer((await self._opened()).review_conflicts())
        return count

    async def review_damage(self) -> int:
        """See :meth:`DualDatabase.review_damage`."""
        count: int = await self._waiting.answer((await self._opened()).review_damage())
        return count

    async def quarantine(self) -> List[QuarantinedRow]:
        """See :meth:`DualDatabase.quarantine`."""
        rows: List[QuarantinedRow] = await self._waiting.answer(
            (await self._opened()).quarantine()
        )
        return rows

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
        call = self._closing(timeout)
        if call is not None:
            await self._waiting.answer(call)
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
        native: _native.Database = await self._waiting.answer(
            opening(self._pg_url, self._path, self._settings)
        )
        self._native = native
        _guard.watch(self._path)
        remember(self)
        return native

    def _closing(self, timeout: float) -> Optional[_native.Call]:
        return self._native.close(timeout) if self._native is not None else None

    async def _written(self, call: _native.Call) -> Written:
        try:
            written: Written = await self._waiting.answer(call)
        except (AlreadyExistsError, NotFoundError) as error:
            return not_done(error, self._strict)
        return written


class AsyncTransaction:
    """A transaction that is being put together; see :meth:`AsyncDualDatabase.transaction`."""

    #: Where it is, once the block has ended.
    written: Optional[Written] = None

    def __init__(self, database: AsyncDualDatabase) -> None:
        self._database = database
        self._waiting = database._waiting
        self._native: Optional[_native.Transaction] = None

    async def get_user(self, user_id: int) -> Optional[User]:
        """See :meth:`Transaction.get_user`."""
        user: Optional[User] = await self._waiting.answer(self._begun().get_user(user_id))
        return user

    async def add_user(self, user_data: Mapping[str, object]) -> None:
        """See :meth:`Transaction.add_user`."""
        await self._waiting.answer(self._begun().add_user(user_data))

    async def update_user(self, user_id: int, update_data: Mapping[str, object]) -> User:
        """See :meth:`Transaction.update_user`."""
        call = self._begun().update_user(user_id, update_data)
        user: User = await self._waiting.answer(call)
        return user

    async def delete_user(self, user_id: int) -> None:
        """See :meth:`Transaction.delete_user`."""
        await self._waiting.answer(self._begun().delete_user(user_id))

    async def __aenter__(self) -> AsyncTransaction:
        self._native = (await self._database._opened()).begin()
        return self

    async def __aexit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        native = self._begun()
        if kind is None:
            self.written = await self._waiting.answer(native.commit())
        else:
            rolled_back(native)

    def _begun(self) -> _native.Transaction:
        if self._native is None:
            raise ClosedError("the transaction has not begun", "use it with `async with`")
        return self._native
