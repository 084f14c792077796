"""The classes of the package as far as `ends_programs.py` uses them, of plain Python: what takes
time sleeps. A program that uses them ends as Python itself ends it."""

from __future__ import annotations

import asyncio
import time
from typing import Any, AsyncIterator, Dict

#: How long a call takes.
CALL = 0.001
#: How long a silent server is waited for.
SILENCE = 60.0


def _takes(url: str) -> float:
    return SILENCE if "silent" in url else CALL


class DualDatabase:
    def __init__(self, url: str, path: str, **settings: Any) -> None:
        time.sleep(_takes(url))

    def get_user(self, user_id: int) -> None:
        time.sleep(CALL)

    find_user = get_user

    def update_user(self, user_id: int, update_data: Dict[str, object]) -> None:
        time.sleep(CALL)

    def add_user(self, user_data: Dict[str, object]) -> None:
        raise ValueError

    def __enter__(self) -> DualDatabase:
        return self

    def __exit__(self, *exception: object) -> None:
        time.sleep(CALL)


class AsyncDualDatabase:
    def __init__(self, url: str, path: str, **settings: Any) -> None:
        self._url = url
        self._closed = False

    async def open(self) -> AsyncDualDatabase:
        await asyncio.sleep(_takes(self._url))
        return self

    async def get_user(self, user_id: int) -> None:
        if self._closed:
            raise RuntimeError
        await asyncio.sleep(CALL)

    async def get_all_users(self) -> None:
        await asyncio.sleep(CALL)

    async def upsert_user(self, user_data: Dict[str, object]) -> None:
        await asyncio.sleep(CALL)

    async def iter_users(self) -> AsyncIterator[int]:
        yield 1

    def transaction(self) -> AsyncDualDatabase:
        return self

    async def close(self) -> None:
        self._closed = True
        await asyncio.sleep(CALL)

    __aenter__ = open

    async def __aexit__(self, *exception: object) -> None:
        await self.close()
