"""The library's log in Python's `logging`."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

import postgres
from conftest import eventually, is_up
from dual_database import DualDatabase


def test_it_goes_to_logging_in_the_level_that_was_set(
    server: postgres.Server, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.database()
    caplog.set_level(logging.DEBUG, logger="dual_database")
    with DualDatabase(url, path) as db:
        db.add_user({"user_id": 1, "first_name": "hunter2"})
        server.stop()
        db.add_user({"user_id": 2, "phone_number": "hunter2"})
        server.start()
        eventually(lambda: is_up(db))
    levels = {record.levelno for record in caplog.records}
    assert {logging.DEBUG, logging.INFO, logging.WARNING} <= levels
    assert all(record.name.split(".")[0] == "dual_database" for record in caplog.records)
    assert any("the store is down" in record.getMessage() for record in caplog.records)
    assert "hunter2" not in caplog.text
    caplog.clear()
    caplog.set_level(logging.ERROR, logger="dual_database")
    server.stop()
    with DualDatabase(url, path) as db:
        db.add_user({"user_id": 3})
        assert db.status().postgres.state == "down"
    assert not caplog.records


def test_it_is_told_in_its_order_while_nobody_calls(
    server: postgres.Server, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="dual_database")
    with DualDatabase(server.database(), path):
        for _ in range(2):
            caplog.clear()
            server.stop()
            eventually(lambda: "the store is down" in caplog.text)
            server.start()
            eventually(lambda: "the store is up" in caplog.text)
        told = {record.threadName for record in caplog.records}
    assert told == {"dual_database log"}


def test_a_handler_may_call_the_database_and_may_fail(
    offline: DualDatabase, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append((record.getMessage(), offline.count_users()))
            raise ZeroDivisionError

    logger = logging.getLogger("dual_database")
    handler = Handler()
    logger.addHandler(handler)
    try:
        with DualDatabase("postgresql://bot@127.0.0.1:2/bot", path.with_name("b.db"), timeout=0.5) as db:
            assert db.add_user({"user_id": 1})
            eventually(lambda: seen)
        assert "ZeroDivisionError" in capsys.readouterr().err
    finally:
        logger.removeHandler(handler)


QUIET = """
import sys, threading, time
from dual_database import DualDatabase
import logging
logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
db = DualDatabase("postgresql://bot@127.0.0.1:1/bot", sys.argv[1], timeout=0.5)
threads = [threading.Thread(target=lambda: [db.get_user(1) for _ in range(2000)], daemon=True) for _ in range(4)]
for thread in threads: thread.start()
time.sleep(0.05)
print("ending")
"""


def test_a_program_that_ends_in_the_middle_ends_well(path: Path) -> None:
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", QUIET, str(path)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0 and b"ending" in done.stdout and b"the store is down" in done.stdout
        assert b"panicked" not in done.stderr, done.stderr
