"""Fixtures: servers, databases, files; and waiting for conditions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List

import psycopg
import pytest
from psycopg.rows import dict_row

# What libpq takes from the environment of whoever runs the tests.
for name in [name for name in os.environ if name.startswith("PG")]:
    del os.environ[name]

import dual_database
from dual_database import DualDatabase

import postgres


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """A shell lets what it runs in the background ignore Ctrl-C, and Python keeps it so."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_server() -> Iterator[postgres.Server]:
    """One server for all tests that leave it running."""
    with postgres.running() as server:
        yield server


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    """A server that the test may stop."""
    with postgres.running() as server:
        yield server


@pytest.fixture
def url(shared_server: postgres.Server) -> str:
    """The URL of an empty database."""
    return shared_server.database()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The name of a SQLite file that is not there yet."""
    return tmp_path / "users.db"


@pytest.fixture
def db(url: str, path: Path) -> Iterator[DualDatabase]:
    """An open database, both stores empty."""
    with DualDatabase(pg_url=url, sqlite_path=path) as database:
        yield database


@pytest.fixture
def offline(path: Path) -> Iterator[DualDatabase]:
    """An open database whose PostgreSQL was never there."""
    with DualDatabase(pg_url=NOBODY, sqlite_path=path, timeout=1.0) as database:
        yield database


#: Where nobody listens.
NOBODY = "postgresql://bot@127.0.0.1:1/bot"


def in_postgres(url: str) -> List[Dict[str, Any]]:
    """The users that PostgreSQL has, as psycopg sees them."""
    with psycopg.connect(url, row_factory=dict_row) as connection:
        return connection.execute("SELECT * FROM users ORDER BY user_id").fetchall()


_READ = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.row_factory = sqlite3.Row
print(json.dumps([dict(row) for row in connection.execute(sys.argv[2])]))
"""


def in_sqlite(path: Path) -> List[Dict[str, Any]]:
    """The users that the file has, as Python's own SQLite sees them, in another process."""
    statement = "SELECT * FROM users ORDER BY user_id"
    out = subprocess.check_output([sys.executable, "-c", _READ, str(path), statement])
    return json.loads(out)


def eventually(condition: Callable[[], Any], within: float = 60.0) -> Any:
    """Waits until it holds, and gives what it was."""
    until = time.monotonic() + within
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < until, "it has not come to be"
        time.sleep(0.05)


def is_up(database: DualDatabase) -> bool:
    """Whether PostgreSQL serves calls."""
    return database.status().postgres.state == "up"


def settled(database: DualDatabase) -> bool:
    """Whether nothing is pending either way."""
    try:
        exchange = database.sync_now(5)
    except dual_database.UnavailableError:
        return False
    return exchange.pending == 0 and exchange.caught_up
