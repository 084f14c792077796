"""Programs that end, each in a way of its own; `ends.py` runs them and counts.

    python ends_programs.py KIND dual_database|ends_twin URL SILENT PATH

The same program runs with the package and with its twin of plain Python (`ends_twin.py`), and has
to end the same way: its exit code, and what it says while it ends. `SILENT` is where somebody
takes connections and never says a word.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import gc
import importlib
import logging
import os
import signal
import sys
import threading
import time
import warnings
from typing import Any, Awaitable, Callable, Dict, List

KIND, LIBRARY, URL, SILENT, PATH = sys.argv[1:] if len(sys.argv) == 6 else [""] * 5

#: Where nobody listens.
NOBODY = "postgresql://bot@127.0.0.1:1/bot"


library: Any = importlib.import_module(LIBRARY) if LIBRARY else None


def sync(url: str = URL, path: str = PATH, **settings: Any) -> Any:
    return library.DualDatabase(url, path, **{"timeout": 30.0, **settings})


def coroutines(url: str = URL, path: str = PATH, **settings: Any) -> Any:
    return library.AsyncDualDatabase(url, path, **{"timeout": 30.0, **settings})


async def reads(db: Any) -> None:
    try:
        while True:
            await db.get_user(1)
    except RuntimeError:
        # It was closed.
        pass


def endless(db: Any) -> None:
    """Calls of every kind: answered, refused by the library, refused before it is asked."""
    while True:
        db.get_user(1)
        db.find_user(1)
        db.update_user(-1, {"source": "a"})
        try:
            db.add_user({"user_id": "x"})
        except ValueError:
            pass


async def in_flight(db: Any, count: int = 20) -> List["asyncio.Future[None]"]:
    """Starts calls that go on, and waits until they do."""
    tasks = [asyncio.ensure_future(reads(db)) for _ in range(count)]
    await db.get_user(1)
    return tasks


def daemons(target: Callable[..., None], *arguments: Any, count: int = 4) -> None:
    for _ in range(count):
        threading.Thread(target=target, args=arguments, daemon=True).start()


# --- asyncio -----------------------------------------------------------------------------------


async def one_call(path: str = PATH) -> None:
    async with coroutines(path=path) as db:
        await db.get_user(1)


def closed() -> None:
    asyncio.run(one_call())


def closed_by_uvloop() -> None:
    import uvloop

    uvloop.install()
    asyncio.run(one_call())


def closed_in_debug_mode() -> None:
    async def main() -> None:
        # A busy machine is no slow callback.
        asyncio.get_running_loop().slow_callback_duration = 60.0
        await one_call()

    asyncio.run(main(), debug=True)


def not_closed() -> None:
    async def main() -> None:
        await coroutines().get_user(1)

    asyncio.run(main())


def not_closed_by_uvloop() -> None:
    import uvloop

    uvloop.install()
    not_closed()


def not_closed_with_calls_in_flight() -> None:
    async def main() -> None:
        await in_flight(coroutines())

    asyncio.run(main())


def calls_in_flight_by_uvloop() -> None:
    import uvloop

    uvloop.install()
    not_closed_with_calls_in_flight()


def cancelled() -> None:
    async def main() -> None:
        async with coroutines() as db:
            tasks = await in_flight(db)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(main())


def cancelled_while_it_opens() -> None:
    async def main() -> None:
        try:
            await asyncio.wait_for(coroutines(SILENT, timeout=60.0).open(), 0.02)
        except asyncio.TimeoutError:
            pass

    asyncio.run(main())


def exit_in_a_coroutine() -> None:
    async def main() -> None:
        async with coroutines() as db:
            await in_flight(db)
            sys.exit(3)

    asyncio.run(main())


def exception_in_a_coroutine() -> None:
    async def main() -> None:
        async with coroutines() as db:
            await in_flight(db)
            raise RuntimeError("the end")

    asyncio.run(main())


def sigterm() -> None:
    async def main() -> None:
        await in_flight(coroutines())
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(60)

    asyncio.run(main())


def sigterm_that_exits() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
    sigterm()


def sigterm_that_cancels() -> None:
    async def main() -> None:
        async with coroutines() as db:
            task = asyncio.ensure_future(reads(db))
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait([task])

    asyncio.run(main())


def sigint() -> None:
    async def main() -> None:
        await in_flight(coroutines())
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(60)

    asyncio.run(main())


def loops_one_after_another() -> None:
    db = coroutines()
    for _ in range(3):
        asyncio.run(db.get_user(1))
    asyncio.run(db.close())


def loops_in_threads() -> None:
    for number in range(3):
        threading.Thread(target=asyncio.run, args=(one_call(f"{PATH}{number}"),)).start()


def loop_in_a_daemon_thread() -> None:
    started = threading.Event()

    async def main() -> None:
        await in_flight(coroutines())
        started.set()
        await asyncio.sleep(60)

    daemons(asyncio.run, main(), count=1)
    started.wait(60)


def loop_closed_with_calls_in_flight() -> None:
    loop = asyncio.new_event_loop()
    db = coroutines()
    loop.run_until_complete(db.get_user(1))
    tasks = [loop.create_task(db.get_all_users()) for _ in range(20)]
    loop.run_until_complete(asyncio.sleep(0))
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()


def loop_left_open() -> None:
    # A collection while a loop is made leaves its pipe in a younger generation, and the last
    # collection then closes the pipe first: a traceback of Python's own, with either library.
    gc.collect()
    loop = asyncio.new_event_loop()
    loop.run_until_complete(coroutines().get_user(1))


def transaction_left_open() -> None:
    async def main() -> None:
        tx = await coroutines().transaction().__aenter__()
        await tx.get_user(1)

    asyncio.run(main())


def iteration_left_open() -> None:
    async def main() -> None:
        db = coroutines()
        await db.upsert_user({"user_id": 1})
        async for _ in db.iter_users():
            break

    asyncio.run(main())


def logging_on() -> None:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)

    async def main() -> None:
        async with coroutines(NOBODY, timeout=0.5) as db:
            await in_flight(db)

    asyncio.run(main())


def logging_on_and_not_closed() -> None:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)

    async def main() -> None:
        await in_flight(coroutines())

    asyncio.run(main())


# --- calls that wait ---------------------------------------------------------------------------


def sync_closed() -> None:
    with sync() as db:
        db.get_user(1)


def sync_not_closed() -> None:
    db = sync()
    db.get_user(1)


def sync_exit() -> None:
    with sync() as db:
        db.get_user(1)
        sys.exit(4)


def sync_exception() -> None:
    sync().get_user(1)
    raise RuntimeError("the end")


def sync_sigint() -> None:
    db = sync()
    threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGINT)).start()
    endless(db)


def sync_sigint_while_it_waits() -> None:
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    sync(SILENT, timeout=60.0)


def sync_sigterm() -> None:
    db = sync()
    threading.Timer(0.02, os.kill, (os.getpid(), signal.SIGTERM)).start()
    endless(db)


def daemon_threads() -> None:
    db = sync()
    daemons(endless, db)
    time.sleep(0.02)


def daemon_threads_and_logging() -> None:
    logging.basicConfig(level=logging.DEBUG, stream=sys.stdout)
    db = sync(NOBODY, timeout=0.5)
    daemons(endless, db)
    time.sleep(0.02)


def daemon_threads_that_wait() -> None:
    for number in range(4):
        daemons(sync, SILENT, f"{PATH}{number}", count=1)
    time.sleep(0.05)


def daemon_threads_and_local_reads() -> None:
    db = sync(prefer="local")
    daemons(endless, db)
    time.sleep(0.02)


def daemon_threads_and_finalizers() -> None:
    """Wherever something is made, code of Python may be run for what is not needed any more."""

    class Circle:
        def __init__(self) -> None:
            self.myself = self

        def __del__(self) -> None:
            sum(range(2000))

    def work() -> None:
        while True:
            Circle()
            db.get_user(1)

    db = sync(prefer="local")
    gc.set_threshold(1)
    daemons(work)
    time.sleep(0.02)


def daemon_threads_that_a_handler_joins() -> None:
    """A handler that was there before the package is run after the package's own."""
    ending = threading.Event()

    def work() -> None:
        while not ending.is_set():
            db.get_user(1)

    def join() -> None:
        ending.set()
        thread.join(60)
        print(thread.is_alive(), db is not None)

    atexit.register(join)
    db = sync()
    thread = threading.Thread(target=_until_closed, args=(work,), daemon=True)
    thread.start()


def _until_closed(work: Callable[[], None]) -> None:
    try:
        work()
    except RuntimeError:
        # ClosedError: the program ends.
        pass


def threads_that_are_waited_for() -> None:
    db = sync()
    for _ in range(4):
        threading.Thread(target=lambda: [db.get_user(1) for _ in range(50)]).start()


def executor() -> None:
    db = sync()
    pool = concurrent.futures.ThreadPoolExecutor(4)
    for _ in range(50):
        pool.submit(db.get_user, 1)


def used_while_it_ends() -> None:
    db = None
    atexit.register(lambda: db.get_user(1) if LIBRARY == "ends_twin" else _refused(db))
    db = sync()


def _refused(db: Any) -> None:
    try:
        db.get_user(1)
    except RuntimeError:
        # ClosedError: the package's own handler was run before.
        pass


def _fork() -> int:
    with warnings.catch_warnings():
        # From 3.12 on: about a process that has threads.
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def forked() -> None:
    db = sync()
    db.get_user(1)
    pid = _fork()
    if pid == 0:
        sys.exit(7)
    sys.exit(os.waitpid(pid, 0)[1] >> 8)


def forked_with_calls_in_flight() -> None:
    async def main() -> int:
        db = coroutines()
        await in_flight(db)
        pid = _fork()
        if pid == 0:
            os._exit(6)
        await db.get_user(1)
        return os.waitpid(pid, 0)[1] >> 8

    sys.exit(asyncio.run(main()))


def subinterpreter() -> None:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        import _interpreters as interpreters  # type: ignore[import-not-found,no-redef]
    sync().get_user(1)
    code = (
        f"import sys; sys.path[:] = {sys.path!r}\n"
        "try: import dual_database\n"
        "except ImportError: pass\n"
        "else: raise SystemExit('it was taken')\n"
    )
    other = interpreters.create()
    interpreters.run_string(other, code)
    interpreters.destroy(other)


KINDS: Dict[str, Callable[[], None]] = {
    name: kind
    for name, kind in list(globals().items())
    if callable(kind) and not name.startswith("_") and getattr(kind, "__module__", "") == __name__
    and name not in ("sync", "coroutines", "reads", "endless", "in_flight", "daemons", "one_call")
}

if __name__ == "__main__":
    KINDS[KIND]()
