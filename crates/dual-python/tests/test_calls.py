"""The calls of the class, with both stores up unless a test says otherwise."""

from __future__ import annotations

import datetime
import gc
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Iterator

import psycopg
import pytest

import dual_database
import postgres
from conftest import NOBODY, eventually, in_postgres, in_sqlite, is_up, settled
from dual_database import (
    AlreadyExistsError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    DualDatabase,
    FileInUseError,
    InvalidDataError,
    InvalidTypeError,
    NotFoundError,
    PartialError,
    UnavailableError,
)

DAY = datetime.datetime(2025, 8, 7, 9, 0, 1, 500)


def test_answers_are_true_when_done_and_false_when_not(db: DualDatabase) -> None:
    added = db.add_user({"user_id": 5, "first_name": "Анна"})
    assert added and added == True and added.in_both and added.pending is None  # noqa: E712
    assert added.user is not None and added.user["first_name"] == "Анна"
    again = db.add_user({"user_id": 5, "first_name": "Другая"})
    assert not again and again == False and again.pending is None  # noqa: E712
    assert isinstance(again.error, AlreadyExistsError) and again.user is None
    assert db.update_user(5, {"status": "redeemed"})
    missing = db.update_user(6, {"status": "redeemed"})
    assert not missing and isinstance(missing.error, NotFoundError)
    user = db.get_user(5)
    assert user is not None and (user["first_name"], user["status"]) == ("Анна", "redeemed")
    assert db.upsert_user({"user_id": 6, "source": "a"}) and db.upsert_user({"user_id": 6, "source": "b"})
    assert db.count_users() == 2
    assert db.delete_user(6) and not db.delete_user(6) and db.get_user(6) is None
    assert "Анна" not in repr(added)


def test_strict_raises_instead(url: str, path: Path) -> None:
    with DualDatabase(url, path, strict=True) as db:
        assert db.add_user({"user_id": 5})
        with pytest.raises(AlreadyExistsError, match="users"):
            db.add_user({"user_id": 5})
        for call in (lambda: db.update_user(6, {"source": "a"}), lambda: db.delete_user(6)):
            with pytest.raises(LookupError):
                call()


def test_a_user_is_a_dictionary_of_the_16_columns(db: DualDatabase, url: str, path: Path) -> None:
    given = {
        "user_id": 2**63 - 1, "username": "u", "first_name": "Пример 🍸", "status": "registered",
        "phone_number": "+79999999999", "real_name": "П", "birth_date": "01.02.1990",
        "register_date": DAY, "last_activity": "2025-08-07 12:00:00+03:00", "redeem_date": None,
        "source": "x", "referrer_id": -(2**63), "brought_by_staff_id": 7,
        "profile_completed": True, "ai_concept": "evgenich",
    }
    assert db.add_user(given)
    user = db.get_user(2**63 - 1)
    assert type(user) is dict and list(user)[:2] == ["id", "user_id"] and len(user) == 16
    wanted = {**given, "last_activity": datetime.datetime(2025, 8, 7, 9)}
    assert {name: user[name] for name in given} == wanted and user["id"] > 0
    assert user["profile_completed"] is True
    (there,), (here,) = in_postgres(url), in_sqlite(path)
    assert there["register_date"] == DAY and here["register_date"] == "2025-08-07 09:00:01.000500"
    assert there["profile_completed"] is True and here["profile_completed"] == 1


def test_lists_are_the_newest_first_and_can_be_filtered(db: DualDatabase) -> None:
    for number in range(1, 8):
        moment = None if number == 7 else DAY + datetime.timedelta(days=number)
        db.add_user({"user_id": number, "first_name": f"Анна {number}", "register_date": moment,
                     "status": "redeemed" if number % 2 else "registered"})
    keys = [user["user_id"] for user in db.get_all_users()]
    assert keys == [6, 5, 4, 3, 2, 1, 7]
    assert [user["user_id"] for user in db.get_all_users(limit=2)] == [6, 5]
    assert [user["user_id"] for user in db.get_all_users(2)] == [6, 5]
    assert db.get_all_users(limit=0) == []
    found = db.get_all_users(where={"status": "redeemed"}, since={"register_date": DAY + datetime.timedelta(days=2)})
    assert [user["user_id"] for user in found] == [5, 3]
    assert db.count_users(contains={"first_name": "нна 3"}) == 1
    assert db.count_users(where={"register_date": None}) == 1
    users = db.iter_users(where={"status": "registered"})
    assert isinstance(users, Iterator) and [user["user_id"] for user in users] == [6, 4, 2]


def test_iteration_holds_a_page_at_a_time(db: DualDatabase, url: str) -> None:
    db.add_user({"user_id": 0})
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO users (user_id) SELECT generate_series(1, 4999)")
    gc.collect()
    assert sorted(user["user_id"] for user in db.iter_users()) == list(range(5000))


def test_local_reads_and_modes(url: str, path: Path) -> None:
    with DualDatabase(url, path, prefer="local", write_mode="local_first") as db:
        answer = db.add_user({"user_id": 5})
        assert answer and answer.in_sqlite and answer.pending == "postgres"
        found = db.find_user(5)
        assert found and found.source == "sqlite" and found.user is not None
        eventually(lambda: len(in_postgres(url)) == 1)
    with DualDatabase(url, path) as db:
        assert db.find_user(5).source == "postgres" and not db.find_user(6)


def test_require_both_says_what_one_store_lacks(server: postgres.Server, path: Path) -> None:
    url = server.database()
    with DualDatabase(url, path, write_mode="require_both") as db:
        assert db.add_user({"user_id": 5}).in_both
        server.stop()
        with pytest.raises(ConnectionError) as raised:
            db.update_user(5, {"source": "a"})
        error = raised.value
        assert isinstance(error, UnavailableError) and error.store == "postgres"
        assert error.hint is not None and "nothing was written" in error.hint
        assert not isinstance(error, PartialError) and in_sqlite(path)[0]["source"] is None
        server.start()
        eventually(lambda: is_up(db))


def test_postgresql_away_and_back(server: postgres.Server, path: Path) -> None:
    url = server.database()
    with DualDatabase(url, path) as db:
        assert db.add_user({"user_id": 1}).in_both
        server.stop()
        answer = db.add_user({"user_id": 2})
        assert answer and answer.pending == "postgres"
        status = db.status()
        assert status.postgres.state == "down" and status.pending_to_postgres == 1
        assert status.recent_errors and status.recent_errors[0].store == "postgres"
        assert db.find_user(2).source == "sqlite"
        with pytest.raises(UnavailableError):
            db.verify()
        server.start()
        eventually(lambda: settled(db))
        assert db.verify() and [row["user_id"] for row in in_postgres(url)] == [1, 2]
        exchange = db.sync_now()
        assert (exchange.pending, exchange.quarantined, exchange.held) == (0, 0, None)
        assert db.conflicts() == [] and db.review_conflicts() == 0 and db.quarantine() == []
        assert db.repair("newest").equal


def test_a_frozen_postgresql_is_noticed(server: postgres.Server, path: Path) -> None:
    url = server.database()
    with DualDatabase(url, path, timeout=3.0) as db:
        assert db.add_user({"user_id": 1}).in_both
        server.freeze()
        assert db.add_user({"user_id": 2}).pending == "postgres"
        server.thaw()
        eventually(lambda: settled(db))
        assert db.verify()


def test_a_transaction_is_done_whole_or_not_at_all(db: DualDatabase, url: str, path: Path) -> None:
    db.add_user({"user_id": 1, "referrer_id": 100})
    with db.transaction() as tx:
        user = tx.get_user(1)
        assert user is not None
        assert tx.update_user(1, {"referrer_id": user["referrer_id"] - 40})["referrer_id"] == 60
        tx.add_user({"user_id": 2, "referrer_id": 40})
        assert db.get_user(2) is None, "nothing is written before the end"
    assert tx.written is not None and tx.written.in_both
    for bad in (KeyError("mine"), KeyboardInterrupt(), SystemExit()):
        with pytest.raises(type(bad)):
            with db.transaction() as tx:
                tx.delete_user(1)
                tx.add_user({"user_id": 3})
                raise bad
        assert tx.written is None
    with pytest.raises(NotFoundError):
        with db.transaction() as tx:
            tx.delete_user(1)
            tx.update_user(99, {"source": "a"})
    with pytest.raises(InvalidDataError):
        with db.transaction() as tx:
            tx.delete_user(1)
            tx.update_user(2, {"sorce": "a"})
    assert [row["user_id"] for row in in_postgres(url)] == [1, 2]
    assert [row["referrer_id"] for row in in_sqlite(path)] == [60, 40]
    with pytest.raises(ClosedError):
        tx.get_user(1)


def test_a_transaction_that_met_somebody_else(db: DualDatabase, url: str) -> None:
    db.add_user({"user_id": 1, "referrer_id": 0})
    with pytest.raises(ConflictError):
        with db.transaction() as tx:
            tx.update_user(1, {"referrer_id": 1 + (tx.get_user(1) or {})["referrer_id"]})
            db.update_user(1, {"referrer_id": 10})
    assert in_postgres(url)[0]["referrer_id"] == 10

    def raise_it(tx: dual_database.Transaction) -> int:
        user = tx.get_user(1)
        assert user is not None and user["referrer_id"] is not None
        return tx.update_user(1, {"referrer_id": user["referrer_id"] + 1})["referrer_id"] or 0

    def work() -> None:
        for _ in range(5):
            # Four threads want the same row: now and then somebody has to try again himself.
            while True:
                try:
                    db.run_in_transaction(raise_it)
                    break
                except ConflictError:
                    continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert in_postgres(url)[0]["referrer_id"] == 30


def test_a_transaction_goes_on_when_postgresql_goes(server: postgres.Server, path: Path) -> None:
    url = server.database()
    with DualDatabase(url, path) as db:
        db.add_user({"user_id": 1, "referrer_id": 5})
        db.add_user({"user_id": 2})
        with db.transaction() as tx:
            first = tx.get_user(1)
            server.stop()
            assert tx.get_user(2) is not None, "the block is played again on the file"
            tx.update_user(2, {"referrer_id": first["referrer_id"]})
        assert tx.written is not None and tx.written.pending == "postgres"
        assert in_sqlite(path)[1]["referrer_id"] == 5


def test_closed_is_closed(url: str, path: Path) -> None:
    db = DualDatabase(pg_url=url, sqlite_path=path)
    users = db.iter_users()
    db.add_user({"user_id": 1})
    db.close()
    db.close()
    for call in (lambda: db.get_user(1), lambda: db.add_user({"user_id": 2}), db.status, db.transaction,
                 lambda: db.iter_users(), lambda: next(users), lambda: db.sync_now()):
        with pytest.raises(ClosedError, match="closed"):
            call()
    os.rename(path, path.with_suffix(".moved"))


def test_settings_are_looked_at(url: str, path: Path) -> None:
    for settings, error in [
        ({}, ConfigurationError), ({"pg_url": url}, ConfigurationError),
        ({"sqlite_path": path}, ConfigurationError),
        ({"pg_url": 5, "sqlite_path": path}, InvalidTypeError),
        ({"pg_url": url, "sqlite_path": b"users.db"}, InvalidTypeError),
        ({"pg_url": "mysql://h/d", "sqlite_path": path}, ConfigurationError),
        ({"pg_url": "", "sqlite_path": path}, ConfigurationError),
        ({"pg_url": url, "sqlite_path": "nowhere/at/all/users.db"}, dual_database.DualDatabaseError),
        ({"pg_url": url, "sqlite_path": "\0"}, dual_database.DualDatabaseError),
        ({"pg_url": "postgresql://\ud800@h/d", "sqlite_path": path}, ConfigurationError),
        ({"pg_url": url, "sqlite_path": path, "prefer": "remote"}, ConfigurationError),
        ({"pg_url": url, "sqlite_path": path, "write_mode": "all"}, ConfigurationError),
        ({"pg_url": url, "sqlite_path": path, "write_mode": None}, InvalidTypeError),
        ({"pg_url": url, "sqlite_path": path, "timeout": 0}, ConfigurationError),
        ({"pg_url": url, "sqlite_path": path, "timeout": float("nan")}, ConfigurationError),
        ({"pg_url": url, "sqlite_path": path, "timeout": -1}, ConfigurationError),
        ({"pg_url": url, "sqlite_path": path, "timeout": 10**400}, dual_database.DualDatabaseError),
        ({"pg_url": url, "sqlite_path": path, "timeout": "5"}, InvalidTypeError),
        ({"pg_url": url, "sqlite_path": path, "background": "yes"}, InvalidTypeError),
    ]:
        with pytest.raises(error):
            DualDatabase(**settings)
    assert not path.exists()
    with pytest.raises(TypeError):
        DualDatabase(pg_url=url, sqlite_path=path, colour="red")  # type: ignore[call-arg]


def test_a_password_is_in_no_message(path: Path) -> None:
    url = "postgresql://bot:hunter2@127.0.0.1:notaport/d"
    with pytest.raises(ConfigurationError) as raised:
        DualDatabase(pg_url=url, sqlite_path=path)
    assert "hunter2" not in str(raised.value) + repr(raised.value)


def test_from_env(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("DATABASE_PATH", raising=False)
    with pytest.raises(ConfigurationError, match="DATABASE_URL"):
        DualDatabase.from_env()
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ConfigurationError, match="DATABASE_PATH"):
        DualDatabase.from_env()
    monkeypatch.setenv("DATABASE_PATH", str(path))
    with DualDatabase.from_env(timeout=20.0) as db:
        assert db.add_user({"user_id": 1}).in_both
    # Another schema of ours is another installation, and the table has one.
    monkeypatch.setenv("DUAL_SCHEMA", "Our things")
    with pytest.raises(ConfigurationError, match="dual"):
        DualDatabase.from_env(timeout=20.0)


def test_the_schema_of_ours_has_any_name(url: str, path: Path) -> None:
    with DualDatabase(url, path, pg_schema='Our "things"', timeout=20.0) as db:
        assert db.add_user({"user_id": 1}).in_both
    for wrong in ("", "pg_ours", "public"):
        with pytest.raises(ConfigurationError):
            DualDatabase(url, path, pg_schema=wrong)
    with pytest.raises(InvalidTypeError):
        DualDatabase(url, path, pg_schema=None)  # type: ignore[arg-type]


def test_both_away_is_an_error(path: Path) -> None:
    locker = (
        "import sqlite3, sys\n"
        "other = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "other.execute('BEGIN EXCLUSIVE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
        "other.execute('ROLLBACK')\n"
    )
    with DualDatabase(pg_url=NOBODY, sqlite_path=path, timeout=0.5, busy_timeout=0.3) as db:
        db.add_user({"user_id": 1})
        other = subprocess.Popen(
            [sys.executable, "-c", locker, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert other.stdout is not None and other.stdout.readline() == b"locked\n"
        with pytest.raises(ConnectionError) as raised:
            db.add_user({"user_id": 2})
        assert isinstance(raised.value, UnavailableError)
        other.communicate()
        eventually(lambda: db.status().sqlite.state == "up")
        assert db.add_user({"user_id": 2})
    assert [row["user_id"] for row in in_sqlite(path)] == [1, 2]


def test_this_process_may_not_open_the_file_past_it(db: DualDatabase, path: Path, tmp_path: Path) -> None:
    db.add_user({"user_id": 1})
    link = tmp_path / "link.db"
    link.symlink_to(path)
    for opening in (
        lambda: sqlite3.connect(path), lambda: sqlite3.connect(str(link)),
        lambda: sqlite3.connect(f"file:{path}?mode=ro", uri=True), lambda: open(path, "rb"),
        lambda: open(f"{path}-wal", "rb"), lambda: os.open(path, os.O_RDONLY), path.read_bytes,
        lambda: shutil.copy(path, tmp_path / "copy.db"),
    ):
        with pytest.raises(FileInUseError) as raised:
            opening()
        assert raised.value.hint is not None and "backup()" in raised.value.hint
    db.backup(tmp_path / "copy.db")
    assert len(in_sqlite(tmp_path / "copy.db")) == 1
    with pytest.raises(ConfigurationError):
        db.backup(tmp_path / "copy.db")
    with pytest.raises(FileInUseError):
        db.backup(tmp_path / "nowhere" / "copy.db")
    sqlite3.connect(tmp_path / "other.db").close()
    db.close()
    sqlite3.connect(path).close()
    assert path.read_bytes()[:6] == b"SQLite"


def test_a_file_that_is_open_past_it_is_not_opened(url: str, path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE notes (text)")
    with pytest.raises(FileInUseError):
        DualDatabase(url, path)
    other.close()
    link = path.with_name("link.db")
    link.symlink_to(path)
    with DualDatabase(url, link) as first, DualDatabase(url, path) as second:
        assert first.add_user({"user_id": 1}) and second.get_user(1)
        with pytest.raises(FileInUseError):
            open(f"{path}-wal", "rb")


def test_what_was_pending_is_pushed_when_a_program_ends(url: str, path: Path) -> None:
    code = (
        "from dual_database import DualDatabase\n"
        f"db = DualDatabase({url!r}, {str(path)!r}, write_mode='local_first', poll_interval=300)\n"
        "for number in range(50): db.add_user({'user_id': number})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert len(in_postgres(url)) == 50
