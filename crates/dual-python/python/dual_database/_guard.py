"""Keeps this process from opening the SQLite file past the database.

On Unix a process loses its locks on a file when it closes *any* descriptor of it, and two copies
of SQLite in one process (Python's module ``sqlite3`` and the one in this package) do not see
each other's locks at all. Either way another program could then remove or overwrite what was
acknowledged (https://www.sqlite.org/howtocorrupt.html, section 2.2). Other processes are no
danger, so they may do what they like; in this one such an ``open`` is refused.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, Dict, Iterator, List, Optional, Tuple

from ._errors import ConfigurationError, FileInUseError

Identity = Tuple[int, int]

_BESIDE = ("", "-wal", "-shm", "-journal")

#: How often each path is open, and in which process.
_open: Dict[str, int] = {}
_process: Optional[int] = None
_watching = False


def check(path: str) -> None:
    """Refuses a file that something else in this process has open."""
    identity = _identity(path)
    if identity is None or _is_open(identity) is not None:
        return
    for name in os.listdir("/dev/fd"):
        try:
            found = os.fstat(int(name))
        except (OSError, ValueError):
            continue
        if (found.st_dev, found.st_ino) == identity:
            raise FileInUseError(
                f"{path} is open in this process already, past this database",
                "close it first (a connection of sqlite3, a file)",
            )


def watch(path: str) -> None:
    """From now on the file is not to be opened past the database."""
    global _process, _watching
    if _process != os.getpid():
        # What the parent of a fork has open is no danger here: locks are a process's own.
        _open.clear()
        _process = os.getpid()
    # What lies beside the file is named after it, not after a link to it.
    path = os.path.realpath(path)
    _open[path] = _open.get(path, 0) + 1
    if not _watching:
        _watching = True
        sys.addaudithook(_audit)


def unwatch(path: str) -> None:
    """It was closed."""
    path = os.path.realpath(path)
    if _process != os.getpid() or path not in _open:
        return
    _open[path] -= 1
    if _open[path] == 0:
        del _open[path]


def _audit(event: str, arguments: Tuple[Any, ...]) -> None:
    if event not in ("open", "sqlite3.connect") or not _open:
        return
    named = arguments[0]
    try:
        name = os.fsdecode(named)
    except TypeError:
        # A descriptor that is open already.
        return
    if event == "sqlite3.connect" and name.startswith("file:"):
        name = name[len("file:") :].split("?")[0]
    identity = _identity(name)
    path = None if identity is None else _is_open(identity)
    if path is not None:
        raise FileInUseError(
            f"{path} is open as a database; opening it past that in the same process "
            "could lose data",
            "use the calls of the database, or another process; a copy is made by backup()",
        )


def _is_open(identity: Identity) -> Optional[str]:
    """The path of the open database that this file belongs to."""
    if _process != os.getpid():
        return None
    return next((path for path in list(_open) if identity in _identities(path)), None)


def _identities(path: str) -> Iterator[Identity]:
    for beside in _BESIDE:
        identity = _identity(path + beside)
        if identity is not None:
            yield identity


def _identity(path: str) -> Optional[Identity]:
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


_COPY = """
import sqlite3, sys
source, target = (sqlite3.connect(name) for name in sys.argv[1:])
with target:
    source.backup(target)
"""


def copying(source: str, target: str) -> List[str]:
    """The command that copies the file: another process may open it."""
    if os.path.lexists(target):
        raise ConfigurationError(f"{target} is there already", "give the name of a new file")
    if not sys.executable:
        raise ConfigurationError("there is no Python interpreter to be run")
    return [sys.executable, "-I", "-c", _COPY, source, target]


def copied(target: str, done: "subprocess.CompletedProcess[bytes]") -> None:
    """Looks how the copying has ended."""
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").splitlines()
        raise FileInUseError(f"the file was not copied to {target}: {lines[-1] if lines else ''}")
