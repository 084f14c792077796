"""A throwaway PostgreSQL server that can be stopped, frozen and killed."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from typing import Any, Dict, Iterator, List, Optional

import psycopg

PATIENCE = 60.0

#: A frozen server hears nothing before it is woken; it takes some seconds to end its processes.
_WATCHDOG = """
read -r line
[ "$line" = stopped ] && exit
kill -QUIT "$0"; kill -CONT "$0"; sleep 7; rm -rf -- "$1"
"""


def programs() -> str:
    """The folder with `initdb` and `postgres`."""
    found = os.environ.get("DUAL_POSTGRES_BIN")
    if found:
        return found
    folders = glob.glob("/usr/lib/postgresql/*/bin") + glob.glob("/opt/homebrew/opt/postgresql*/bin")
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(os.path.dirname(os.path.realpath(on_path)))
    folders = [folder for folder in folders if os.path.exists(os.path.join(folder, "initdb"))]
    if not folders:
        raise RuntimeError("no PostgreSQL is installed; DUAL_POSTGRES_BIN can name its programs")
    return max(folders, key=lambda folder: [int(n) for n in folder.split("/") if n.isdigit()])


class Server:
    """One server with a folder of its own, on a port of its own."""

    def __init__(self, fsync: bool = False) -> None:
        self._fsync = "on" if fsync else "off"
        self._bin = programs()
        self._folder = tempfile.mkdtemp(prefix="dual-python-pg-")
        self._account = self._unprivileged()
        self._process: Optional[subprocess.Popen[bytes]] = None
        self._watchdog: Optional[subprocess.Popen[bytes]] = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        data = os.path.join(self._folder, "data")
        self._run(
            [self._bin + "/initdb", "-D", data, "-U", "postgres", "-E", "UTF8", "--locale=C"]
            + ["--auth=trust", "--no-sync"]
        )

    def _unprivileged(self) -> Dict[str, Any]:
        """PostgreSQL refuses to run as root."""
        if os.getuid() != 0:
            return {}
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            account = pwd.getpwnam("nobody")
        os.chown(self._folder, account.pw_uid, account.pw_gid)
        uid, gid = account.pw_uid, account.pw_gid

        def become() -> None:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)

        return {"preexec_fn": become}

    def _run(self, words: List[str]) -> None:
        done = subprocess.run(
            words, cwd=self._folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **self._account
        )
        if done.returncode != 0:
            raise RuntimeError(done.stdout.decode(errors="replace"))

    def start(self) -> None:
        data = os.path.join(self._folder, "data")
        words = [self._bin + "/postgres", "-D", data, "-p", str(self.port), "-k", self._folder]
        for setting in ("listen_addresses=127.0.0.1", f"fsync={self._fsync}", "max_connections=200"):
            words += ["-c", setting]
        log = open(os.path.join(self._folder, "log"), "ab")
        with log:
            self._process = subprocess.Popen(
                words, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, **self._account,
            )
        # Ends the server if this process ends in any way: its end of the pipe is closed then.
        self._watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, str(self._process.pid), self._folder],
            stdin=subprocess.PIPE, start_new_session=True,
        )
        until = time.monotonic() + PATIENCE
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    def stop(self, how: int = signal.SIGINT) -> None:
        if self._process is None:
            return
        self.thaw()
        self._process.send_signal(how)
        self._process.wait(PATIENCE)
        self._process = None
        assert self._watchdog is not None and self._watchdog.stdin is not None
        self._watchdog.communicate(b"stopped\n", PATIENCE)

    def freeze(self) -> None:
        """Every process of it swallows packets from now on."""
        assert self._process is not None
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        for pid in self._family():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def _family(self) -> List[int]:
        assert self._process is not None
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self._process.pid)], stdout=subprocess.PIPE
        )
        return [self._process.pid] + [int(pid) for pid in listed.stdout.split()]

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=5)

    def database(self) -> str:
        """The URL of a new database."""
        name = "t" + uuid.uuid4().hex[:12]
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.url(name)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def running(fsync: bool = False) -> Iterator[Server]:
    """A server for a `with` block."""
    server = Server(fsync)
    try:
        server.start()
        yield server
    finally:
        server.close()
