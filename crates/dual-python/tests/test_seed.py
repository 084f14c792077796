"""The code that the documentation of the original shows runs as it is."""

from __future__ import annotations

import datetime
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

import postgres
from conftest import NOBODY, eventually, in_postgres, in_sqlite, settled
from dual_database import DualDatabase

HERE = Path(__file__).resolve().parent
#: The document lies beside the checkout; where it does not, a copy stands in for it.
DOCUMENTS = [
    HERE.parents[2].parent / "shared" / "seed" / "DUAL_DATABASE_SYSTEM.md",
    HERE / "seed" / "DUAL_DATABASE_SYSTEM.md",
]
URL = "postgresql://postgres:пароль@хост:порт/база"
FILE = "путь_к_sqlite_базе.db"
PROMISED = ["Имя пользователя: example_user", "ID: 123456789, Имя: Пример"]


def block() -> str:
    """The one block of Python in the document."""
    document = next(document for document in DOCUMENTS if document.exists())
    print(f"the code is taken from {document}")
    blocks: List[str] = re.findall(r"```python\n(.*?)```", document.read_text("utf-8"), re.S)
    assert len(blocks) == 1 and "from dual_database import DualDatabase" in blocks[0]
    return blocks[0]


def connected(url: str, path: Path) -> str:
    """The block with the two values of the connection."""
    code = block()
    assert code.count(URL) == 1 and code.count(FILE) == 1
    return code.replace(URL, url).replace(FILE, str(path))


def run(code: str, folder: Path) -> List[str]:
    """Runs it as a program of its own; gives the lines that it printed."""
    script = folder / "bot.py"
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def check(row: dict) -> None:
    """What the block has written, whoever is asked."""
    assert row["user_id"] == 123456789
    assert row["username"] == "example_user" and row["first_name"] == "Пример"
    assert row["status"] == "registered" and row["phone_number"] == "+79999999999"
    assert row["source"] == "registration_form" and row["real_name"] == "Пример Примерович"
    assert row["profile_completed"] in (True, 1)


def test_with_both_databases(url: str, path: Path, tmp_path: Path) -> None:
    assert run(connected(url, path), tmp_path) == PROMISED
    (there,), (here,) = in_postgres(url), in_sqlite(path)
    check(there)
    check(here)
    moment = str(there["register_date"])
    assert here["register_date"] == moment and here["id"] == there["id"] > 0
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert abs(datetime.datetime.fromisoformat(moment) - now).seconds < 300
    # A bot that is started again meets its user.
    assert run(connected(url, path), tmp_path) == PROMISED


@pytest.mark.parametrize("after", ["db.add_user(user_data)\n", "print(f\"Имя пользователя"])
def test_with_postgresql_stopped_half_way(
    server: postgres.Server, path: Path, tmp_path: Path, after: str
) -> None:
    url = server.database()
    code = connected(url, path)
    assert code.count(after) == 1
    stopped, going = tmp_path / "stopped", tmp_path / "going"
    pause = (
        "import pathlib, time\n"
        f"pathlib.Path({str(going)!r}).touch()\n"
        f"while not pathlib.Path({str(stopped)!r}).exists(): time.sleep(0.02)\n"
    )
    at = code.index(after) + len(after) if after.endswith("\n") else code.index(after)
    script = tmp_path / "bot.py"
    script.write_text(code[:at] + pause + code[at:], "utf-8")
    bot = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    eventually(going.exists)
    server.stop()
    stopped.touch()
    out, _ = bot.communicate(timeout=120)
    assert bot.returncode == 0 and out.splitlines() == PROMISED
    check(in_sqlite(path)[0])
    # What was done meanwhile arrives by itself.
    server.start()
    with DualDatabase(pg_url=url, sqlite_path=path) as db:
        eventually(lambda: settled(db))
        assert db.verify()
    check(in_postgres(url)[0])


def test_with_postgresql_absent_from_the_start(
    server: postgres.Server, path: Path, tmp_path: Path
) -> None:
    assert run(connected(NOBODY, path), tmp_path) == PROMISED
    check(in_sqlite(path)[0])
    assert in_sqlite(path)[0]["id"] < 0
    url = server.database()
    with DualDatabase(pg_url=url, sqlite_path=path) as db:
        eventually(lambda: settled(db))
    check(in_postgres(url)[0])
    assert in_postgres(url)[0]["id"] == in_sqlite(path)[0]["id"] > 0
