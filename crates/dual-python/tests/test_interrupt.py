"""Ctrl-C, and other signals, in the middle of a call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import postgres
from conftest import eventually, in_postgres, settled
from dual_database import DualDatabase


def later(seconds: float, number: int = signal.SIGINT) -> None:
    threading.Timer(seconds, os.kill, (os.getpid(), number)).start()


def test_ctrl_c_ends_a_call_that_waits(server: postgres.Server, path: Path) -> None:
    url = server.database()
    with DualDatabase(url, path, timeout=60.0) as db:
        assert db.add_user({"user_id": 1})
        server.freeze()
        for call in (lambda: db.update_user(1, {"source": "a"}), lambda: db.get_user(1)):
            later(0.3)
            begun = time.monotonic()
            with pytest.raises(KeyboardInterrupt):
                call()
            assert time.monotonic() - begun < 10
        server.thaw()
        # The one that was given up is there whole or not at all, and both sides agree.
        eventually(lambda: settled(db))
        assert db.verify()
        source = in_postgres(url)[0]["source"]
        assert source in (None, "a")
        assert db.update_user(1, {"source": "b"}).in_both


def test_a_signal_handler_may_call_the_database(server: postgres.Server, path: Path) -> None:
    url = server.database()
    seen = []
    with DualDatabase(url, path, timeout=3.0) as db, DualDatabase(
        url, path.with_name("other.db"), prefer="local"
    ) as other:
        assert other.add_user({"user_id": 1})
        before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(other.get_user(1)))
        try:
            server.freeze()
            later(0.3, signal.SIGUSR1)
            db.add_user({"user_id": 2})
            server.thaw()
        finally:
            signal.signal(signal.SIGUSR1, before)
        assert seen and seen[0]["user_id"] == 1


def test_ctrl_c_inside_a_transaction_rolls_back(db: DualDatabase, url: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        with db.transaction() as tx:
            tx.add_user({"user_id": 1})
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
    assert in_postgres(url) == []


WRITER = """
import sys
from dual_database import DualDatabase
db = DualDatabase(sys.argv[1], sys.argv[2])
for number in range(int(sys.argv[3]), 10**9):
    if db.add_user({"user_id": number, "first_name": "писатель"}):
        sys.stdout.write(f"{number}\\n")
        sys.stdout.flush()
"""


def test_sigkill_under_load_loses_nothing(server: postgres.Server, path: Path) -> None:
    url = server.database()
    acknowledged = set()
    for number in range(4):
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, url, str(path), str((2 * number + one) * 1_000_000)],
                stdout=subprocess.PIPE,
            )
            for one in range(2)
        ]
        for writer in writers:
            assert writer.stdout is not None
            # Killed in the middle of its work, with PostgreSQL there or away.
            for _ in range(20):
                acknowledged.add(int(writer.stdout.readline()))
        if number == 2:
            server.stop(signal.SIGQUIT)
            for writer in writers:
                assert writer.stdout is not None
                for _ in range(20):
                    acknowledged.add(int(writer.stdout.readline()))
        for writer in writers:
            writer.kill()
            assert writer.stdout is not None
            acknowledged.update(int(line) for line in writer.stdout.read().splitlines(True) if line.endswith(b"\n"))
            writer.wait()
        if number == 2:
            server.start()
    with DualDatabase(url, path) as db:
        eventually(lambda: settled(db), within=180)
        assert db.verify()
        there = {row["user_id"] for row in in_postgres(url)}
        assert acknowledged <= there and len(acknowledged) >= 200
