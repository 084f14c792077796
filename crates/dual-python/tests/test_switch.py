"""An existing bot is switched over with its files as they are."""

from __future__ import annotations

import datetime
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg

from conftest import eventually, in_postgres, in_sqlite, settled
from dual_database import DualDatabase

THERE = """
CREATE TABLE users (
    id SERIAL PRIMARY KEY, user_id BIGINT UNIQUE NOT NULL, username VARCHAR(100),
    first_name VARCHAR(100), status VARCHAR(20), phone_number VARCHAR(20), real_name VARCHAR(100),
    birth_date VARCHAR(20), register_date TIMESTAMP, last_activity TIMESTAMP, redeem_date TIMESTAMP,
    source VARCHAR(50), referrer_id BIGINT, brought_by_staff_id INTEGER,
    profile_completed BOOLEAN DEFAULT FALSE, ai_concept VARCHAR(50))
"""
HERE = """
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT, user_id INTEGER UNIQUE, username TEXT, first_name TEXT,
    status TEXT, phone_number TEXT, real_name TEXT, birth_date TEXT, register_date TEXT,
    last_activity TEXT, redeem_date TEXT, source TEXT, referrer_id INTEGER,
    brought_by_staff_id INTEGER, profile_completed INTEGER DEFAULT 0, ai_concept TEXT)
"""


def the_old_bot_has_run(url: str, path: Path) -> None:
    columns = "user_id, username, first_name, status, register_date, profile_completed"
    with psycopg.connect(url, autocommit=True) as there, sqlite3.connect(path) as here:
        there.execute(THERE)
        here.execute(HERE)
        for number in range(1, 4):
            moment = datetime.datetime(2025, 8, number, 9, 30, 0, 123456)
            row = [5_000_000_000 + number, f"u{number}", "Анна", "registered", moment, True]
            there.execute(f"INSERT INTO users ({columns}) VALUES (%s, %s, %s, %s, %s, %s)", row)
            row = [*row[:4], moment.isoformat(), 1]
            here.execute(f"INSERT INTO users ({columns}) VALUES (?, ?, ?, ?, ?, ?)", row)
    here.close()


def test_files_that_agree_are_joined_by_the_first_start(url: str, path: Path) -> None:
    the_old_bot_has_run(url, path)
    with DualDatabase(pg_url=url, sqlite_path=path) as db:
        assert db.add_user({"user_id": 7, "first_name": "Новый"}).in_both
        user = db.get_user(5_000_000_002)
        assert user is not None and user["profile_completed"] is True
        assert user["register_date"] == datetime.datetime(2025, 8, 2, 9, 30, 0, 123456)
        assert db.update_user(5_000_000_002, {"status": "redeemed"}).in_both
        assert [user["user_id"] for user in db.get_all_users(limit=2)] == [7, 5_000_000_003]
        assert db.verify()
    assert [row["status"] for row in in_sqlite(path)] == ["registered", "registered", "redeemed", "registered"]


def test_files_that_differ_wait_for_init_and_the_bot_goes_on(url: str, path: Path) -> None:
    the_old_bot_has_run(url, path)
    # What the old way leaves behind: one write that only one of the two has.
    with psycopg.connect(url, autocommit=True) as there:
        there.execute("UPDATE users SET first_name = 'Анна-Мария' WHERE user_id = 5000000001")
    with sqlite3.connect(path) as here:
        here.execute("INSERT INTO users (user_id, first_name) VALUES (8, 'только здесь')")
    here.close()
    with DualDatabase(pg_url=url, sqlite_path=path) as db:
        assert db.status().sqlite.state == "needs_init"
        answer = db.add_user({"user_id": 7})
        assert answer and answer.pending == "sqlite"
    words = ["--pg-db-url", url, "--sqlite-db-path", str(path), "init", "--apply"]
    done = subprocess.run([sys.executable, "-m", "dual_database", *words], stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stdout.decode()
    with DualDatabase(pg_url=url, sqlite_path=path) as db:
        eventually(lambda: settled(db))
        assert db.verify()
        (conflict,) = db.conflicts()
        assert (conflict.column, conflict.winning, conflict.losing) == ("first_name", "Анна-Мария", "Анна")
        assert conflict.key == 5_000_000_001 and conflict.noted_at is not None
        assert db.review_conflicts() == 1
    assert [row["first_name"] for row in in_postgres(url)][:2] == [None, "только здесь"]
    assert len(in_postgres(url)) == len(in_sqlite(path)) == 5


def test_a_row_that_postgresql_refuses_is_set_aside(url: str, path: Path) -> None:
    the_old_bot_has_run(url, path)
    with DualDatabase(pg_url=url, sqlite_path=path, write_mode="local_first") as db:
        assert db.add_user({"user_id": 9, "first_name": "x" * 101})
        (row,) = eventually(db.quarantine)
        assert (row.table, row.key, row.refused_by, row.code) == ("users", 9, "postgres", "22001")
        assert row.since is not None and db.add_user({"user_id": 10})
        assert db.verify().tables[0].quarantined == 1
