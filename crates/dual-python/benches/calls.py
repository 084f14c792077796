"""What a call costs, beside the drivers used well and beside the original's way.

    python benches/calls.py [--seconds N]

It starts a PostgreSQL of its own, with fsync on. Each contender writes into a database and a file of its own:

- `dual_database`: this package, as documented;
- `drivers`: psycopg and sqlite3 with kept connections and prepared statements, one after the
  other, which is what two stores cost at least if nothing is remembered, merged or caught up;
- `original`: a connection to each store for each call, as the replaced module did it.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sqlite3
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

import psycopg
from psycopg.rows import dict_row

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests"))
import postgres  # noqa: E402

from dual_database import DualDatabase  # noqa: E402

COLUMNS = ["user_id", "username", "first_name", "status", "phone_number", "source", "register_date"]
USERS = 1000


def user(number: int) -> Dict[str, Any]:
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    values = [number, f"user_{number}", "Пример", "registered", "+79999999999", "form", now]
    return dict(zip(COLUMNS, values))


class Kept:
    """Both drivers, used well."""

    def __init__(self, url: str, path: str, prefer: str = "postgres") -> None:
        self._prefer = prefer
        self.remote = psycopg.connect(url, autocommit=True, row_factory=dict_row, prepare_threshold=0)
        self.local = sqlite3.connect(path, isolation_level=None)
        self.local.row_factory = sqlite3.Row
        self.local.execute("PRAGMA journal_mode=WAL")
        self.local.execute("PRAGMA synchronous=NORMAL")
        names, marks = ", ".join(COLUMNS), ", ".join(["%s"] * len(COLUMNS))
        self._insert = f"INSERT INTO users ({names}) VALUES ({marks})"
        self._insert_here = self._insert.replace("%s", "?")

    def add_user(self, data: Dict[str, Any]) -> bool:
        values = list(data.values())
        self.remote.execute(self._insert, values)
        self.local.execute(self._insert_here, [*values[:-1], str(values[-1])])
        return True

    def update_user(self, user_id: int, data: Dict[str, Any]) -> bool:
        names = ", ".join(f"{name} = %s" for name in data)
        statement = f"UPDATE users SET {names} WHERE user_id = %s"
        values = [*data.values(), user_id]
        self.remote.execute(statement, values)
        self.local.execute(statement.replace("%s", "?"), values)
        return True

    def get_user(self, user_id: int) -> Optional[Dict[str, Any]]:
        if self._prefer == "local":
            row = self.local.execute("SELECT * FROM users WHERE user_id = ?", [user_id]).fetchone()
            return dict(row)
        return self.remote.execute("SELECT * FROM users WHERE user_id = %s", [user_id]).fetchone()

    def get_all_users(self, limit: int) -> List[Dict[str, Any]]:
        order = "SELECT * FROM users ORDER BY register_date DESC, user_id DESC LIMIT "
        if self._prefer == "local":
            return [dict(row) for row in self.local.execute(order + "?", [limit])]
        return self.remote.execute(order + "%s", [limit]).fetchall()

    def close(self) -> None:
        self.remote.close()
        self.local.close()


class Original:
    """A connection for each call, to each store that it needs."""

    def __init__(self, url: str, path: str, prefer: str = "postgres") -> None:
        self._url, self._path, self._prefer = url, path, prefer

    def _write(self, statement: str, values: List[Any]) -> bool:
        with psycopg.connect(self._url) as remote:
            remote.execute(statement, values)
        local = sqlite3.connect(self._path)
        with local:
            here = [str(value) if isinstance(value, datetime.datetime) else value for value in values]
            local.execute(statement.replace("%s", "?"), here)
        local.close()
        return True

    def _read(self, statement: str, value: int) -> List[Dict[str, Any]]:
        if self._prefer == "postgres":
            with psycopg.connect(self._url, row_factory=dict_row) as remote:
                return remote.execute(statement, [value]).fetchall()
        local = sqlite3.connect(self._path)
        local.row_factory = sqlite3.Row
        rows = [dict(row) for row in local.execute(statement.replace("%s", "?"), [value])]
        local.close()
        return rows

    def add_user(self, data: Dict[str, Any]) -> bool:
        names, marks = ", ".join(data), ", ".join(["%s"] * len(data))
        return self._write(f"INSERT INTO users ({names}) VALUES ({marks})", list(data.values()))

    def update_user(self, user_id: int, data: Dict[str, Any]) -> bool:
        names = ", ".join(f"{name} = %s" for name in data)
        return self._write(f"UPDATE users SET {names} WHERE user_id = %s", [*data.values(), user_id])

    def get_user(self, user_id: int) -> Optional[Dict[str, Any]]:
        return self._read("SELECT * FROM users WHERE user_id = %s", user_id)[0]

    def get_all_users(self, limit: int) -> List[Dict[str, Any]]:
        return self._read("SELECT * FROM users ORDER BY register_date DESC, user_id DESC LIMIT %s", limit)

    def close(self) -> None:
        pass


SCHEMA = "status varchar, phone_number varchar, real_name varchar, birth_date varchar, " \
    "register_date timestamp, last_activity timestamp, redeem_date timestamp, source varchar, " \
    "referrer_id bigint, brought_by_staff_id integer, profile_completed boolean, ai_concept varchar"


def prepared(url: str, path: str) -> None:
    """The table on both sides, for those that do not make it themselves."""
    with psycopg.connect(url, autocommit=True) as remote:
        remote.execute(
            "CREATE TABLE users (id serial PRIMARY KEY, user_id bigint UNIQUE NOT NULL, "
            f"username varchar, first_name varchar, {SCHEMA})"
        )
    with sqlite3.connect(path) as local:
        local.execute(
            "CREATE TABLE users (id INTEGER PRIMARY KEY, user_id INTEGER UNIQUE NOT NULL, "
            f"username TEXT, first_name TEXT, {SCHEMA})"
        )
    local.close()


def rate(work: Callable[[int], Any], seconds: float) -> float:
    """Calls a second."""
    begun = time.perf_counter()
    count = 0
    while time.perf_counter() - begun < seconds:
        work(count)
        count += 1
    return count / (time.perf_counter() - begun)


def measure(db: Any, local: Any, seconds: float) -> Dict[str, float]:
    for number in range(USERS):
        db.add_user(user(number))
    return {
        "add_user": rate(lambda n: db.add_user(user(USERS + n)), seconds),
        "update_user": rate(lambda n: db.update_user(n % USERS, {"real_name": str(n), "profile_completed": True}), seconds),
        "get_user, PostgreSQL": rate(lambda n: db.get_user(n % USERS), seconds),
        "get_user, local": rate(lambda n: local.get_user(n % USERS), seconds),
        "get_all_users(limit=10), PostgreSQL": rate(lambda n: db.get_all_users(limit=10), seconds),
        "get_all_users(limit=10), local": rate(lambda n: local.get_all_users(limit=10), seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: Dict[Tuple[str, str], List[float]] = {}
    with postgres.running(fsync=True) as server, tempfile.TemporaryDirectory() as folder:
        for round_ in range(options.rounds):
            for name, class_ in [("original", Original), ("drivers", Kept), ("dual_database", DualDatabase)]:
                url, path = server.database(), os.path.join(folder, f"{name}{round_}.db")
                if class_ is not DualDatabase:
                    prepared(url, path)
                db, local = class_(url, path), class_(url, path, prefer="local")
                for call, rate_ in measure(db, local, options.seconds).items():
                    found.setdefault((call, name), []).append(rate_)
                local.close()
                db.close()
    calls = dict.fromkeys(call for call, _ in found)
    print(f"calls a second, the median of {options.rounds} rounds; load {os.getloadavg()[0]:.1f}")
    print("| call | original | drivers | `dual_database` | times the original | of the drivers |")
    print("|---|---|---|---|---|---|")
    for call in calls:
        old, kept, ours = (
            statistics.median(found[call, name]) for name in ("original", "drivers", "dual_database")
        )
        print(f"| {call} | {old:,.0f} | {kept:,.0f} | {ours:,.0f} | {ours / old:.1f} | {ours / kept:.2f} |")


if __name__ == "__main__":
    main()
