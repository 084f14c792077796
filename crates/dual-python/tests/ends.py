"""Counts how programs end.

    python tests/ends.py [--total 12000 | --each N] [--jobs 4] [--kind KIND ...]

with any interpreter that has the package. Programs of every kind (`ends_programs.py`) are run in turn, against one
PostgreSQL, until there were as many as are wanted. Each has to end as the same program does that uses no more than
Python itself (`ends_twin.py`): the exit code, and what is said on standard error.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import itertools
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Counter, Dict, Iterable, List, NamedTuple, Optional

import postgres
from ends_programs import KINDS

PROGRAMS = Path(__file__).resolve().with_name("ends_programs.py")

#: Until a program counts as one that does not end at all, in seconds.
PATIENCE = 90.0


class End(NamedTuple):
    """How a program has ended."""

    code: Optional[int]
    said: str


class Place(NamedTuple):
    """What one program at a time works on."""

    url: str
    path: str


def interruptible() -> None:
    """A shell lets what it runs in the background ignore Ctrl-C, and that is handed on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def ended(kind: str, library: str, place: Place, silent: str) -> End:
    """Runs a program to its end."""
    process = subprocess.Popen(
        [sys.executable, str(PROGRAMS), kind, library, place.url, silent, place.path],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=interruptible,
    )
    try:
        _, said = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return End(None, process.communicate()[1].decode(errors="replace"))
    return End(process.returncode, said.decode(errors="replace"))


def essence(end: End) -> End:
    """Without the lines of a traceback, which tell whose code it went through."""
    lines = [line for line in end.said.splitlines() if not line.startswith(" ") and line]
    return End(end.code, "\n".join(lines))


def count(
    kinds: Iterable[str], total: int, jobs: int, server: postgres.Server, folder: str
) -> Dict[str, Counter[End]]:
    """How programs of these kinds have ended that ended otherwise than they should."""
    kinds = list(kinds)
    places: "queue.SimpleQueue[Place]" = queue.SimpleQueue()
    for number in range(jobs):
        places.put(Place(server.database(), os.path.join(folder, f"{number}.db")))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1000)
        silent = f"postgresql://silent@127.0.0.1:{listener.getsockname()[1]}/bot"
        wanted: Dict[str, End] = {}
        wrong: Dict[str, Counter[End]] = collections.defaultdict(collections.Counter)

        def twin(kind: str) -> None:
            wanted[kind] = essence(ended(kind, "ends_twin", Place("postgresql://", ""), silent))

        def ours(kind: str) -> None:
            place = places.get()
            end = ended(kind, "dual_database", place, silent)
            places.put(place)
            if essence(end) != wanted[kind]:
                wrong[kind][end] += 1

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(twin, kinds))
            list(pool.map(ours, itertools.islice(itertools.cycle(kinds), total)))
    return wrong


def told(wrong: Dict[str, Counter[End]]) -> str:
    """What was otherwise, for a person."""
    return "\n".join(
        f"{kind}: {times} times {end.code}\n{end.said[-1000:]}"
        for kind, ends in wrong.items()
        for end, times in ends.most_common(3)
    )


def available() -> List[str]:
    """The kinds that this interpreter can run."""
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return [kind for kind in KINDS if "uvloop" not in kind]
    return list(KINDS)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--total", type=int, default=12_000)
    parser.add_argument("--each", type=int, help="so many of each kind")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    options = parser.parse_args()
    kinds = options.kind or available()
    total = len(kinds) * options.each if options.each else options.total
    with postgres.running() as server, tempfile.TemporaryDirectory() as folder:
        wrong = count(kinds, total, options.jobs, server, folder)
    failed = sum(sum(ends.values()) for ends in wrong.values())
    print(told(wrong))
    print(f"Python {sys.version.split()[0]}: {total} ends of {len(kinds)} kinds, {failed} of them wrong")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
