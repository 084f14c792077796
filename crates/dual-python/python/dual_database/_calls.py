"""How calls are waited for, by a thread or by a coroutine."""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import Any, Callable, Dict, Optional, Tuple

from . import _errors, _log, _native, _parting


def prepared(method: Callable[..., Any], *arguments: object) -> Any:
    """What a method gives that asks neither store."""
    try:
        return method(*arguments)
    except _native.Failed as failed:
        said = failed.args
    raise _raised(said)


def waited(method: Callable[..., _native.Call], *arguments: object) -> Any:
    """What the call answers that the method prepares; other threads go on meanwhile."""
    call: Optional[_native.Call] = None
    try:
        call = method(*arguments)
        answer = call.wait()
        while answer is call:
            # Python has looked for signals before it came here.
            _log.deliver()
            answer = call.wait()
        if not isinstance(answer, _native.Failed):
            return answer
        said = answer.args
    except _native.Failed as failed:
        said = failed.args
    except BaseException:
        if call is not None:
            call.abandon()
        raise
    # Behind the block: Ctrl-C from here on is nothing that happened while a failure was handled.
    _log.deliver()
    seconds = _parting.lingering()
    if seconds:
        time.sleep(seconds)
    raise _raised(said)


async def answered(method: Callable[..., _native.Call], *arguments: object) -> Any:
    """What the call answers that the method prepares; the loop goes on meanwhile."""
    try:
        call = method(*arguments)
        loop = asyncio.get_running_loop()
        mailbox = _mailboxes.get(loop, _nobodys)() or _Mailbox(loop)
        number, future = call.start(mailbox.native), loop.create_future()
        mailbox.futures[number] = future
        try:
            return await future
        except BaseException:
            # Cancelled, most likely.
            mailbox.futures.pop(number, None)
            call.abandon()
            raise
    except _native.Failed as failed:
        said = failed.args
    seconds = _parting.lingering()
    if seconds:
        await asyncio.sleep(seconds)
    raise _raised(said)


def _raised(said: Tuple[Any, ...]) -> _errors.DualDatabaseError:
    name, message, hint, store = said
    error: _errors.DualDatabaseError = getattr(_errors, name)(message, hint, store)
    return error


class _Mailbox:
    """Where the answers for one event loop arrive. The loop keeps it, until it is closed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.native = _native.Mailbox()
        self.futures: Dict[int, asyncio.Future[Any]] = {}
        loop.add_reader(self.native.fileno(), self._deliver)
        _mailboxes[loop] = weakref.ref(self)

    def _deliver(self) -> None:
        for number, failed, answer in self.native.take():
            future = self.futures.pop(number, None)
            if future is None or future.done():
                # Cancelled meanwhile.
                continue
            if failed is None:
                future.set_result(answer)
            else:
                future.set_exception(failed)
        _log.deliver()


_mailboxes: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[_Mailbox]]" = (
    weakref.WeakKeyDictionary()
)


def _nobodys() -> None:
    """The mailbox of a loop that has none."""
