"""The class with coroutines."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import time
from pathlib import Path
from typing import Any, Awaitable, List

import pytest

import postgres
from conftest import NOBODY, eventually, in_postgres, in_sqlite
from dual_database import (
    AsyncDualDatabase,
    ClosedError,
    ConfigurationError,
    ConflictError,
    DualDatabase,
    InvalidDataError,
    NotFoundError,
)


def test_it_has_the_same_names_as_coroutines() -> None:
    for name, call in inspect.getmembers(DualDatabase, inspect.isfunction):
        if name.startswith("_"):
            continue
        twin = getattr(AsyncDualDatabase, name)
        assert inspect.signature(call).parameters.keys() == inspect.signature(twin).parameters.keys()
        is_async = inspect.iscoroutinefunction(twin) or inspect.isasyncgenfunction(twin)
        assert is_async or name == "transaction", name


def test_the_calls(url: str, path: Path) -> None:
    async def main() -> None:
        async with AsyncDualDatabase(pg_url=url, sqlite_path=path) as db:
            assert (await db.add_user({"user_id": 1, "first_name": "Анна"})).in_both
            assert not await db.add_user({"user_id": 1})
            assert (await db.get_user(1) or {})["first_name"] == "Анна"
            assert (await db.find_user(1)).source == "postgres"
            assert not await db.update_user(2, {"source": "a"})
            assert await db.upsert_user({"user_id": 2})
            async with db.transaction() as tx:
                user = await tx.get_user(1)
                assert user is not None
                await tx.update_user(2, {"first_name": user["first_name"]})
                await tx.delete_user(1)
                await tx.add_user({"user_id": 3})
            assert tx.written is not None and tx.written.in_both
            with pytest.raises(NotFoundError):
                async with db.transaction() as tx:
                    await tx.delete_user(2)
                    await tx.delete_user(99)
            with pytest.raises(ConflictError):
                async with db.transaction() as tx:
                    await tx.get_user(2)
                    await tx.update_user(3, {"source": "b"})
                    await db.update_user(2, {"source": "a"})

            async def work(tx: Any) -> str:
                return str((await tx.update_user(2, {"source": "c"}))["source"])

            assert await db.run_in_transaction(work) == "c"
            assert await db.count_users() == len(await db.get_all_users()) == 2
            assert [user["user_id"] async for user in db.iter_users(where={"user_id": 2})] == [2]
            assert (await db.status()).postgres.state == "up"
            assert await db.verify() and await db.repair() and not (await db.sync_now()).pending
            assert await db.conflicts() == [] == await db.quarantine()
            assert await db.review_conflicts() == 0
            with pytest.raises(InvalidDataError):
                await db.add_user({"user_id": 4, "x": 1})
        with pytest.raises(ClosedError):
            await db.get_user(1)
        await db.close()

    asyncio.run(main())
    assert [row["user_id"] for row in in_postgres(url)] == [2, 3]


def test_it_opens_by_the_first_call_and_in_any_loop(url: str, path: Path) -> None:
    db = AsyncDualDatabase(url, path)

    async def add(first: int) -> None:
        await asyncio.gather(*(db.add_user({"user_id": number}) for number in range(first, first + 20)))

    asyncio.run(add(0))
    asyncio.run(add(20))
    assert len(in_sqlite(path)) == 40
    asyncio.run(db.close())
    wrong = AsyncDualDatabase("mysql://h/d", path)
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            asyncio.run(wrong.get_user(1))
    asyncio.run(AsyncDualDatabase(url, path).close())


async def ticks(work: Awaitable[Any]) -> List[float]:
    """How long the loop was held up while the work was going on."""
    gaps: List[float] = []
    task = asyncio.ensure_future(work)
    last = time.monotonic()
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.monotonic()
        gaps.append(now - last)
        last = now
    await task
    return gaps


def test_ten_thousand_coroutines(url: str, path: Path) -> None:
    async def main() -> None:
        async with AsyncDualDatabase(url, path) as db:
            await db.add_user({"user_id": 0, "first_name": "Анна"})

            async def write(number: int) -> bool:
                return bool(await db.add_user({"user_id": number}))

            async def read(_: int) -> bool:
                return (await db.get_user(0) or {})["first_name"] == "Анна"

            work: List[Awaitable[bool]] = [write(number) for number in range(1, 2001)]
            work += [read(number) for number in range(8000)]
            done: List[bool] = []

            async def all_of_it() -> None:
                done.extend(await asyncio.gather(*work))

            gaps = await ticks(all_of_it())
            assert len(done) == 10_000 and all(done)
            # The start of ten thousand coroutines is one turn of the loop; no other comes near.
            assert sorted(gaps)[-2] < sum(gaps) / 4, sorted(gaps)[-5:]
            assert await db.count_users() == 2001
            assert (await db.sync_now(60)).pending == 0 and await db.verify()

    asyncio.run(main())


def test_a_coroutine_that_is_cancelled_ends_at_once(server: postgres.Server, path: Path) -> None:
    url = server.database()

    async def main() -> None:
        async with AsyncDualDatabase(url, path, timeout=30.0) as db:
            assert await db.add_user({"user_id": 1})
            server.freeze()
            begun = time.monotonic()
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(db.update_user(1, {"source": "a"}), 0.3)
            task = asyncio.ensure_future(db.get_user(1))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert time.monotonic() - begun < 5
            server.thaw()
            assert (await db.sync_now(60)).pending == 0 and await db.verify()
            assert await db.update_user(1, {"source": "b"})

    asyncio.run(main())


def test_a_loop_that_is_gone_harms_nobody(path: Path) -> None:
    db = AsyncDualDatabase(NOBODY, path, timeout=1.0)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(db.open())
    tasks = [loop.create_task(db.add_user({"user_id": number})) for number in range(200)]
    loop.run_until_complete(asyncio.sleep(0))
    for task in tasks:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    pending = loop.create_task(db.get_all_users())
    loop.run_until_complete(asyncio.sleep(0))
    pending._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()

    async def main() -> int:
        try:
            return await db.count_users()
        finally:
            await db.close()

    assert 0 <= asyncio.run(main()) <= 200


def descriptors() -> int:
    """How many this process has open."""
    gc.collect()
    return len(os.listdir("/dev/fd"))


def test_loops_leave_nothing_behind(path: Path) -> None:
    db = AsyncDualDatabase(NOBODY, path, timeout=1.0)

    async def calls() -> None:
        await asyncio.gather(*(db.count_users() for _ in range(5)))
        given_up = asyncio.ensure_future(db.count_users())
        await asyncio.sleep(0)
        given_up.cancel()

    asyncio.run(calls())
    before = descriptors()
    for _ in range(50):
        asyncio.run(calls())
    by_turns = [asyncio.new_event_loop() for _ in range(2)]
    for _ in range(20):
        for loop in by_turns:
            loop.run_until_complete(calls())
    for loop in by_turns:
        loop.close()
    by_turns.clear()
    del loop
    eventually(lambda: descriptors() <= before)
    asyncio.run(db.close())


def test_closing_while_it_opens(path: Path) -> None:
    async def main() -> None:
        db = AsyncDualDatabase(NOBODY, path, timeout=1.0)
        opening = asyncio.ensure_future(db.open())
        await asyncio.sleep(0)
        await db.close()
        await asyncio.wait([opening])
        with pytest.raises(ClosedError):
            await db.get_user(1)

    asyncio.run(main())


