"""What happens when a program ends without having closed its databases."""

from __future__ import annotations

import atexit
import sys
import threading
import time
import weakref
from typing import Optional, Protocol, Tuple

from . import _log
from ._errors import DualDatabaseError

#: How long what is pending is waited for, in seconds. A store that is away is not waited for.
_PATIENCE = 2.0

#: How long a thread whose call the end has met waits for the interpreter to end, in seconds.
_LINGER = 5.0


class Opened(Protocol):
    """Either class, once it is open."""

    def _end(self, timeout: float) -> None: ...


_open: "weakref.WeakSet[Opened]" = weakref.WeakSet()

#: The thread that ends the program, and until when others linger.
_ending: Optional[Tuple[int, float]] = None


def remember(database: Opened) -> None:
    """Closes the database when the program ends, if it is still there."""
    _open.add(database)


def lingering() -> float:
    """For how many seconds a call that has failed is not to come back: its thread does not hold
    up the end of the program, and should see no more of it than of the end of Python's own
    calls. If somebody does wait for that thread, it comes back after all."""
    if _ending is None or _ending[0] == threading.get_ident():
        return 0.0
    return max(0.0, _ending[1] - time.monotonic())


def _part() -> None:
    global _ending
    if sys.version_info < (3, 9):
        _join_executors()
    _ending = threading.get_ident(), time.monotonic() + _LINGER
    for database in list(_open):
        try:
            database._end(_PATIENCE)
        except DualDatabaseError:
            # In a forked child it is the parent's.
            continue
    _log.end(_PATIENCE)


def _join_executors() -> None:
    """Lets the threads of executors do what they have to. From Python 3.9 on they have when this
    is called; before, it was a matter of who had been imported first."""
    executors = sys.modules.get("concurrent.futures.thread")
    if executors is not None:
        executors._python_exit()


atexit.register(_part)
