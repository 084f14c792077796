"""The types: `mypy --strict` on a program, and the stub against the module that runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dual_database

HERE = Path(__file__).resolve().parent


def checked(tmp_path: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    # In a folder of its own: the installed package is meant, not the source beside it.
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=tmp_path, encoding="utf-8",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
    )


def test_a_typed_program_is_clean(tmp_path: Path) -> None:
    done = checked(tmp_path, "mypy", "--strict", str(HERE / "typed" / "bot.py"))
    assert done.returncode == 0, done.stdout


def test_mistakes_are_noticed(tmp_path: Path) -> None:
    source = HERE / "typed" / "wrong.py"
    done = checked(tmp_path, "mypy", "--strict", str(source))
    wanted = {
        (number, code)
        for number, line in enumerate(source.read_text("utf-8").splitlines(), 1)
        for code in re.findall(r"# E: ([a-z-]+)$", line)
    }
    found = {
        (int(number), code)
        for number, code in re.findall(r"wrong\.py:(\d+): error: .*\[([a-z-]+)\]", done.stdout)
    }
    assert found == wanted, done.stdout


def test_the_package_itself_is_clean(tmp_path: Path) -> None:
    done = checked(tmp_path, "mypy", "--strict", "-p", "dual_database")
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(sys.version_info < (3, 9), reason="the last mypy for 3.8 trips over `typing`")
def test_the_stub_is_what_runs(tmp_path: Path) -> None:
    done = checked(tmp_path, "mypy.stubtest", "dual_database")
    assert done.returncode == 0, done.stdout


def test_every_public_name_is_documented() -> None:
    for name in dual_database.__all__:
        found = getattr(dual_database, name)
        if name == "__version__":
            continue
        assert found.__doc__, name
        for member, value in vars(found).items():
            if callable(value) and not member.startswith("_"):
                assert value.__doc__, f"{name}.{member}"


def test_every_public_name_is_in_the_reference() -> None:
    for document in ("python.md", "python.ru.md"):
        text = (HERE.parents[2] / "docs" / document).read_text("utf-8")
        for name in set(dual_database.__all__) - {"__version__"}:
            assert f"`{name}" in text, (document, name)
        for name in dir(dual_database.DualDatabase):
            assert name.startswith("_") or f"{name}(" in text, (document, name)
