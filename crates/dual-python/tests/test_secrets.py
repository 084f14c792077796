"""What shows, copies or pickles objects does not get the password."""

from __future__ import annotations

import copy
import pickle
import pprint
from pathlib import Path

import pytest

from dual_database import AsyncDualDatabase, DualDatabase

HIDDEN = "hunter2"


def attempts(database: object) -> None:
    """Every way to a copy is refused, with a sentence that does not tell the password."""
    ways = [lambda protocol=protocol: pickle.dumps(database, protocol) for protocol in range(6)]
    ways += [lambda: copy.copy(database), lambda: copy.deepcopy(database)]
    ways += [lambda: pickle.dumps({"db": database}), lambda: copy.deepcopy([database])]
    for way in ways:
        with pytest.raises(TypeError, match="holds a password") as refused:
            way()
        assert HIDDEN not in str(refused.value)
    for shown in (repr(database), str(database), pprint.pformat(vars(database))):
        assert HIDDEN not in shown


def test_an_unopened_one(path: Path) -> None:
    database = AsyncDualDatabase(f"postgresql://bot:{HIDDEN}@127.0.0.1:1/bar", path)
    attempts(database)
    for value in vars(database).values():
        try:
            data = pickle.dumps(value)
        except TypeError:
            continue
        assert HIDDEN.encode() not in data


def test_an_open_one(url: str, path: Path) -> None:
    secret = url.replace("://postgres@", f"://postgres:{HIDDEN}@")
    assert secret != url
    with DualDatabase(secret, path) as database:
        attempts(database)
        # Without its constructor there is nothing in it.
        with pytest.raises(TypeError):
            pickle.dumps(database._native)
