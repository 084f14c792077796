"""The library's log in ``logging``, under ``dual_database``.

Records are kept by the part in Rust until a thread of Python comes for them: one that has ended a
call, an event loop, or, while nobody calls, a thread that waits for nothing else.
"""

from __future__ import annotations

import logging
import os
import selectors
import threading
from typing import Dict, Optional

from . import _native

#: Whoever holds it tells, so that records keep their order.
_turn = threading.Lock()

#: Who waits for records, by process: a forked child has no threads but its first.
_waiting: Dict[int, threading.Thread] = {}

#: The thread that ends the program: no other one tells anything then.
_ender: Optional[int] = None

#: Tells what a handler has raised, as `logging` does it.
_reporter = logging.NullHandler()


def begin() -> None:
    """Has records told from now on, also while nobody calls."""
    global _turn
    thread = threading.Thread(target=_wait, name="dual_database log", daemon=True)
    if _ender is not None or _waiting.setdefault(os.getpid(), thread) is not thread:
        return
    # The parent of a fork may have held its own at that moment.
    _turn = threading.Lock()
    try:
        thread.start()
    except RuntimeError:
        # No more threads to be had: whoever calls tells what there is.
        pass


def deliver() -> None:
    """Tells what has been noted. Waits for nobody: a handler may call the database, and another
    one may wait for what its thread holds."""
    while _native.has_records() and _may_tell() and _turn.acquire(blocking=False):
        try:
            _tell_all()
        finally:
            _turn.release()


def end(timeout: float) -> None:
    """Tells what has been noted. From now on no other thread does: the interpreter, when it ends,
    must not find one in the middle of a handler, with a lock that it needs itself."""
    global _ender
    _ender = threading.get_ident()
    thread = _waiting.get(os.getpid())
    if thread is None:
        # Nothing was ever opened in this process; what there may be is the parent's.
        return
    if thread.is_alive():
        _native.ring_log()
        thread.join(timeout)
    if _turn.acquire(timeout=timeout):
        try:
            _tell_all()
        finally:
            _turn.release()


def _may_tell() -> bool:
    return _ender is None or _ender == threading.get_ident()


def _wait() -> None:
    descriptor = _native.log_fileno()
    assert descriptor is not None
    # gevent and eventlet replace what selectors wait with, and no other thread has to stop.
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while _ender is None:
            selector.select()
            with _turn:
                _tell_all()


def _tell_all() -> None:
    record = _native.next_record()
    while record is not None:
        _tell(*record)
        record = _native.next_record()


def _tell(name: str, level: int, message: str) -> None:
    logger = logging.getLogger(name)
    if logger.isEnabledFor(level):
        # Made by hand: there is no line of Python to be found for it.
        record = logger.makeRecord(name, level, "dual_database", 0, message, (), None)
        try:
            logger.handle(record)
        except Exception:
            _reporter.handleError(record)
