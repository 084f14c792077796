"""The command line that comes with the wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import List

import pytest

import dual_database
from conftest import in_postgres, in_sqlite

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parents[2] / "examples" / "dual_migrate.py"

CSV = "user_id,username,first_name,status\n5123456789,anna,Анна,registered\n7,bob,Боб,redeemed\n"


def beside(name: str) -> str:
    """A program of the environment that the tests run in."""
    found = shutil.which(name, path=os.path.dirname(sys.executable))
    assert found, f"{name} is not installed beside {sys.executable}"
    return found


MIGRATIONS: List[List[str]] = [
    [sys.executable, "-m", "dual_database", "migrate"],
    [sys.executable, str(SCRIPT)],
    ["dual", "migrate"],
    ["dual_migrate"],
]


@pytest.mark.parametrize("program", MIGRATIONS, ids=["module", "script", "dual", "dual_migrate"])
def test_a_migration(program: List[str], url: str, path: Path, tmp_path: Path) -> None:
    if program[0] != sys.executable:
        program = [beside(program[0]), *program[1:]]
    table = tmp_path / "users.csv"
    table.write_text(CSV, "utf-8")
    words = [f"--pg-db-url={url}", f"--sqlite-db-path={path}", f"--csv={table}", "--json"]
    done = subprocess.run([*program, *words], stdout=subprocess.PIPE, timeout=120)
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["version"] == 1
    assert [row["first_name"] for row in in_postgres(url)] == ["Боб", "Анна"]
    assert [row["user_id"] for row in in_sqlite(path)] == [7, 5123456789]


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "dual_database", *words], encoding="utf-8", timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )


def test_exit_codes_and_messages_are_those_of_the_programs(url: str, path: Path) -> None:
    stores = ["--pg-db-url", url, "--sqlite-db-path", str(path)]
    assert run("--help").returncode == 0 and "Usage: dual" in run("--help").stdout
    assert dual_database.__version__ in run("--version").stdout
    assert run("colour").returncode == 2
    assert run(*stores, "user", "add", '{"user_id": 5}').returncode == 0
    done = run(*stores, "user", "add", '{"user_id": 5}')
    assert done.returncode == 5 and done.stderr.startswith("error: ")
    assert run(*stores, "user", "get", "6").returncode == 5
    absent = ["--pg-db-url", "postgresql://bot@127.0.0.1:1/bot", "--sqlite-db-path", str(path)]
    assert run(*absent, "user", "add", '{"user_id": 7}').returncode == 3
    assert run(*stores, "sync", "--once").returncode == 0
    assert json.loads(run(*stores, "--json", "verify").stdout)["equal"] is True


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_as_it_ends_the_program(url: str, path: Path, number: int) -> None:
    stores = ["--pg-db-url", url, "--sqlite-db-path", str(path)]
    watch = subprocess.Popen(
        [sys.executable, "-m", "dual_database", *stores, "sync", "--watch"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )
    # It tells its state, and listens from before that on.
    assert watch.stderr is not None and b"PostgreSQL up" in watch.stderr.readline()
    watch.send_signal(number)
    _, messages = watch.communicate(timeout=60)
    assert watch.returncode == 0 and b"Traceback" not in messages, (watch.returncode, messages)


def test_the_flags_of_the_seed_are_known() -> None:
    document = (HERE / "seed" / "DUAL_DATABASE_SYSTEM.md").read_text("utf-8")
    flags = set(re.findall(r"`(--[a-z-]+)`", document))
    assert len(flags) == 5
    helped = subprocess.run([sys.executable, str(SCRIPT), "--help"], stdout=subprocess.PIPE, encoding="utf-8")
    assert helped.returncode == 0 and all(flag in helped.stdout for flag in flags)
