"""Many threads, and a million calls."""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
from pathlib import Path
from typing import List

from conftest import eventually, in_postgres, in_sqlite, settled
from dual_database import DualDatabase

#: CI makes a tenth of the million.
CALLS = int(os.environ.get("DUAL_CALLS", "100000"))


def test_thirty_two_threads(db: DualDatabase, url: str, path: Path) -> None:
    failures: List[BaseException] = []

    def work(number: int) -> None:
        try:
            for key in range(number * 100, number * 100 + 25):
                # On a machine that is busy enough a call may end with the file alone.
                assert db.add_user({"user_id": key, "first_name": f"Н{number}"})
                assert (db.get_user(key) or {})["first_name"] == f"Н{number}"
                assert db.update_user(key, {"source": "t"})
                with db.transaction() as tx:
                    tx.update_user(key, {"referrer_id": number})
            assert len(db.get_all_users(limit=10)) == 10
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures, failures[0]
    eventually(lambda: settled(db))
    assert db.verify()
    assert len(in_postgres(url)) == len(in_sqlite(path)) == 800
    assert all(row["referrer_id"] == row["user_id"] // 100 for row in in_sqlite(path))


def test_the_interpreter_is_free_while_a_call_waits(db: DualDatabase) -> None:
    """Calls of eight threads that wait for PostgreSQL overlap with a thread that counts."""
    counted = 0
    ended = threading.Event()

    def count() -> None:
        nonlocal counted
        while not ended.is_set():
            counted += 1

    counter = threading.Thread(target=count)
    counter.start()
    for number in range(50):
        db.add_user({"user_id": number})
    ended.set()
    counter.join()
    assert counted > 10_000


def resident() -> int:
    """The memory of this process, in bytes."""
    if sys.platform == "linux":
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_memory_stays_flat(url: str, path: Path) -> None:
    with DualDatabase(url, path, prefer="local") as db:
        for number in range(20):
            db.add_user({"user_id": number, "first_name": "Анна", "source": "x" * 100})

        def calls(count: int) -> None:
            for number in range(count):
                user = db.get_user(number % 25)
                assert (user is None) == (number % 25 >= 20)
                if number % 100 == 0:
                    assert len(db.get_all_users(limit=10)) == 10
                    assert not db.add_user({"user_id": 5})
                    try:
                        db.add_user({"user_id": "x"})  # type: ignore[dict-item]
                    except ValueError:
                        pass

        calls(CALLS // 10)
        gc.collect()
        before = resident()
        calls(CALLS)
        gc.collect()
        grown = resident() - before
        print(f"{CALLS} calls: {before} bytes before, {grown} more after")
        assert grown < 8 * 1024 * 1024
