"""A forked child: a clear error, and the parent's file unharmed."""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from conftest import eventually, in_postgres, in_sqlite, settled
from dual_database import DualDatabase, ForkedError


def child(work: Callable[[], Any]) -> None:
    """Does it in a forked child, which has to end by itself and well."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            os.write(2, f"in the child: {error!r}\n".encode())
            os._exit(1)

    def ended() -> Any:
        found, status = os.waitpid(pid, os.WNOHANG)
        return (status,) if found else None

    assert eventually(ended) == (0,)


def test_a_child_gets_a_clear_error(db: DualDatabase, url: str, path: Path, tmp_path: Path) -> None:
    db.add_user({"user_id": 1})
    users = db.iter_users()
    tx = db.transaction()
    tx.add_user({"user_id": 50})

    def work() -> None:
        for call in (lambda: db.get_user(1), lambda: db.add_user({"user_id": 2}), db.close, db.status,
                     lambda: next(users), lambda: tx.get_user(1), lambda: DualDatabase(url, path),
                     lambda: DualDatabase(url, tmp_path / "other.db"), lambda: tx.__exit__(None, None, None)):
            with pytest.raises(ForkedError) as raised:
                call()
            assert raised.value.hint is not None and "post_fork" in raised.value.hint

    child(work)
    assert db.add_user({"user_id": 3}).in_both and db.verify()
    assert [row["user_id"] for row in in_sqlite(path)] == [1, 3]


def test_a_child_that_drops_everything_harms_nobody(db: DualDatabase, path: Path) -> None:
    db.add_user({"user_id": 1})
    holder = {"db": db, "call": db._native.get_user(1), "users": db.iter_users(), "tx": db.transaction()}

    def work() -> None:
        holder.clear()
        frame = sys._getframe()
        while frame is not None:
            frame.f_locals.clear()
            frame = frame.f_back  # type: ignore[assignment]
        gc.collect()

    for _ in range(5):
        child(work)
    for number in range(2, 30):
        assert db.add_user({"user_id": number}).in_both
    assert db.verify() and len(in_sqlite(path)) == 29


def test_a_child_may_open_it_after_the_parent_has_closed_it(url: str, path: Path) -> None:
    with DualDatabase(url, path) as db:
        db.add_user({"user_id": 1})

    def work() -> None:
        with DualDatabase(url, path) as mine:
            assert mine.add_user({"user_id": os.getpid()}).in_both and mine.verify()

    for _ in range(3):
        child(work)
    with DualDatabase(url, path) as db:
        assert db.count_users() == 4 and db.verify()


GUNICORN = """
import os, sys, threading
from dual_database import DualDatabase
workers = []
for number in range(4):
    pid = os.fork()
    if pid == 0:
        with DualDatabase(sys.argv[1], sys.argv[2]) as db:
            for key in range(25):
                assert db.add_user({"user_id": number * 100 + key})
        os._exit(0)
    workers.append(pid)
sys.exit(max(os.waitpid(pid, 0)[1] for pid in workers))
"""


def test_workers_that_open_it_after_the_fork(url: str, path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", GUNICORN, url, str(path)], timeout=240)
    assert done.returncode == 0
    with DualDatabase(url, path) as db:
        eventually(lambda: settled(db))
        assert db.verify()
    assert len(in_postgres(url)) == len(in_sqlite(path)) == 100


def spawned(url: str, path: str, number: int) -> bool:
    with DualDatabase(url, path) as db:
        return bool(db.add_user({"user_id": number}))


def test_multiprocessing_by_spawn(db: DualDatabase, url: str, path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(spawned, [(url, str(path), number) for number in range(4)]) == [True] * 4
    eventually(lambda: settled(db))
    assert db.count_users() == 4 and db.verify()


def test_a_child_that_exits_as_programs_do(url: str, path: Path) -> None:
    code = (
        "import os, sys\nfrom dual_database import DualDatabase\n"
        f"db = DualDatabase({url!r}, {str(path)!r})\n"
        "db.add_user({'user_id': 1})\n"
        "pid = os.fork()\n"
        "if pid == 0: sys.exit(7)\n"
        "assert os.waitpid(pid, 0)[1] == 7 << 8\n"
        "assert db.add_user({'user_id': 2}).in_both and db.verify()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert len(in_sqlite(path)) == 2
