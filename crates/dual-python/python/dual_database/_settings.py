"""Settings, looked at before anything is opened."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterable, List, NoReturn, Optional, Union

from . import _guard, _log, _native
from ._errors import ConfigurationError, InvalidTypeError

Path = Union[str, "os.PathLike[str]"]

_NUMBERS = ("timeout", "busy_timeout", "poll_interval", "verify_interval")
_FLAGS = ("background", "adopt", "follow_schema")


class Secret:
    """A URL, which may hold a password: whatever shows, copies or pickles objects does not get it."""

    __slots__ = ("_text",)

    def __init__(self, text: Optional[str]) -> None:
        self._text = text

    def reveal(self) -> Optional[str]:
        """The URL."""
        return self._text

    def __repr__(self) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a URL cannot be pickled: it may hold a password")


def not_pickled(database: object) -> NoReturn:
    """Refuses to pickle or copy a database: a copy of its settings would hold the password."""
    name = type(database).__name__
    raise TypeError(
        f"cannot pickle or copy {name!r}: it holds a password and open stores; open another one where "
        "it is needed, with from_env() or from settings of your own"
    )


def located(sqlite_path: Optional[Path]) -> str:
    """The absolute path of the file."""
    if sqlite_path is None:
        raise ConfigurationError(
            "no path of the SQLite file is given", "give sqlite_path=, such as users.db"
        )
    path = os.fspath(sqlite_path) if isinstance(sqlite_path, os.PathLike) else sqlite_path
    if not isinstance(path, str):
        raise InvalidTypeError(f"sqlite_path: a path is wanted, not {type(path).__name__}")
    if not path:
        raise ConfigurationError("the path of the SQLite file is empty", "give one, such as users.db")
    return os.path.abspath(path)


def opening(pg_url: Optional[str], path: str, settings: Dict[str, Any]) -> _native.Call:
    """The opening of a database with these settings, prepared."""
    if pg_url is None:
        raise ConfigurationError(
            "no PostgreSQL URL is given",
            "give pg_url=, such as postgresql://user:password@host/database",
        )
    if not isinstance(pg_url, str):
        raise InvalidTypeError(f"pg_url: text is wanted, not {type(pg_url).__name__}")
    for name in _NUMBERS:
        if name == "verify_interval" and settings[name] is None:
            continue
        if isinstance(settings[name], bool) or not isinstance(settings[name], (int, float)):
            raise InvalidTypeError(f"{name}: a number of seconds is wanted")
        if isinstance(settings[name], int) and settings[name].bit_length() > 64:
            raise ConfigurationError(f"{name} is out of range", "give 0.1 to 300")
    for name in _FLAGS:
        if not isinstance(settings[name], bool):
            raise InvalidTypeError(f"{name}: True or False is wanted")
    for name in ("prefer", "write_mode", "pg_schema"):
        if not isinstance(settings[name], str):
            raise InvalidTypeError(f"{name}: text is wanted")
    try:
        pg_url.encode()
        settings["pg_schema"].encode()
        # The name of a file may be no valid text; `os.listdir` gives it in a form of its own.
        os.fsencode(path)
    except UnicodeEncodeError:
        raise ConfigurationError("the URL, the path or the schema is no valid text") from None
    settings = {**settings, "sqlite_extensions": _extensions(settings["sqlite_extensions"])}
    call = _native.open(pg_url, path, **settings)
    _log.begin()
    _guard.check(path)
    return call


def _extensions(given: Any) -> List[str]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise InvalidTypeError("sqlite_extensions: a list of paths is wanted")
    paths = list(given)
    if not all(isinstance(path, (str, os.PathLike)) for path in paths):
        raise InvalidTypeError("sqlite_extensions: a list of paths is wanted")
    return [os.path.abspath(path) for path in paths]


def from_environment() -> Dict[str, Any]:
    """Where both stores are, as the environment says it."""
    found: Dict[str, Any] = {"pg_url": os.environ.get("DATABASE_URL"), "sqlite_path": os.environ.get("DATABASE_PATH")}
    if not found["pg_url"]:
        raise ConfigurationError(
            "DATABASE_URL is not set", "set it to postgresql://user:password@host/database"
        )
    if not found["sqlite_path"]:
        raise ConfigurationError("DATABASE_PATH is not set", "set it to the SQLite file")
    if os.environ.get("DUAL_SCHEMA"):
        found["pg_schema"] = os.environ["DUAL_SCHEMA"]
    return found
