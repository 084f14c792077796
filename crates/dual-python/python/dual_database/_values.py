"""Columns and keys as they are given to the part in Rust, which must never run code of Python: see
DESIGN.md. So whatever says that it is a dictionary, a whole number or a moment is made one here.
What is none of them stays as it is, and is refused there."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from datetime import date, datetime, timezone
from typing import Any, List

from ._errors import InvalidDataError

_PLAIN = frozenset((type(None), bool, int, str))


def columns(given: Any) -> Any:
    """Columns by name."""
    if type(given) is not dict:
        if not isinstance(given, Mapping):
            return given
        given = dict(given.items())
    if _PLAIN.issuperset(map(type, given.values())):
        return given
    return {name: _plain(name, value) for name, value in given.copy().items()}


def conditions(*given: Any) -> List[Any]:
    """Each of the conditions, or ``None``."""
    return [None if one is None else columns(one) for one in given]


def key(given: Any) -> Any:
    """A ``user_id``."""
    return given if type(given) is int else _plain("user_id", given)


def _plain(name: object, value: Any) -> Any:
    if isinstance(value, datetime):
        return _moment(name, value)
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    if not isinstance(value, int) and hasattr(value, "__index__"):
        return operator.index(value)
    return value


def _moment(name: object, value: datetime) -> datetime:
    try:
        if value.utcoffset() is not None:
            value = value.astimezone(timezone.utc)
    except OverflowError:
        raise InvalidDataError(
            f"users.{_shown(name)}: in UTC its year is not one of 1 to 9999"
        ) from None
    try:
        return datetime(
            value.year, value.month, value.day,
            value.hour, value.minute, value.second, value.microsecond,
        )
    except (AttributeError, TypeError, ValueError):
        # pandas.NaT calls itself a datetime, and has no parts.
        raise InvalidDataError(f"users.{_shown(name)}: it is no moment") from None


def _shown(name: object) -> str:
    """A name as it may be shown: a caller's may be anything."""
    return "".join(filter(str.isprintable, str(name)[:40]))
