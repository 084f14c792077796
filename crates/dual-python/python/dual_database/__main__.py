"""The command line: ``python -m dual_database`` is ``dual``."""

from __future__ import annotations

import signal
import sys
from typing import Callable, NoReturn, Sequence

from . import _native


def dual() -> NoReturn:
    """The program ``dual``."""
    _run(_native.dual, "dual")


def dual_migrate() -> NoReturn:
    """The program ``dual_migrate``; also ``dual migrate``."""
    _run(_native.dual_migrate, "dual_migrate")


def _run(program: Callable[[Sequence[str]], int], name: str) -> NoReturn:
    # Ctrl-C is the program's to see; Python would only look at it when the program has ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(program([name, *sys.argv[1:]]))


if __name__ == "__main__":
    dual()
