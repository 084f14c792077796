"""What happens when a program ends without having closed its databases."""

from __future__ import annotations

import atexit
import weakref
from typing import Optional, Protocol

from . import _native
from ._errors import DualDatabaseError

#: How long what is pending is waited for, in seconds. A store that is away is not waited for.
_PATIENCE = 2.0


class Opened(Protocol):
    """Either class, once it is open."""

    def _closing(self, timeout: float) -> Optional[_native.Call]: ...


_open: "weakref.WeakSet[Opened]" = weakref.WeakSet()


def remember(database: Opened) -> None:
    """Closes the database when the program ends, if it is still there."""
    _open.add(database)


def _part() -> None:
    for database in list(_open):
        try:
            call = database._closing(_PATIENCE)
            if call is not None:
                call.wait()
        except DualDatabaseError:
            # In a forked child it is the parent's.
            continue
    _native.flush_log()


atexit.register(_part)
