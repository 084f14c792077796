"""Values that are no values for a column: the right exception, and nothing written."""

from __future__ import annotations

import datetime
import decimal
import enum
from pathlib import Path
from typing import Any

import pytest

from conftest import in_sqlite
from dual_database import DualDatabase, InvalidDataError, InvalidTypeError

NAN, INFINITY = float("nan"), float("inf")
UTC = datetime.timezone.utc


class Broken:
    """Something that fails when it is looked at."""

    def __index__(self) -> int:
        raise ZeroDivisionError


class Nowhere(datetime.tzinfo):
    """A zone that does not know its offset."""

    def utcoffset(self, moment: Any) -> datetime.timedelta:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    "column, value, error",
    [
        ("user_id", NAN, InvalidTypeError),
        ("user_id", INFINITY, InvalidTypeError),
        ("user_id", 5.0, InvalidTypeError),
        ("user_id", "5", InvalidTypeError),
        ("user_id", True, InvalidTypeError),
        ("user_id", None, InvalidDataError),
        ("user_id", 2**63, InvalidDataError),
        ("user_id", -(2**63) - 1, InvalidDataError),
        ("user_id", 10**4000, InvalidDataError),
        ("user_id", decimal.Decimal(5), InvalidTypeError),
        ("user_id", b"5", InvalidTypeError),
        ("user_id", [5], InvalidTypeError),
        ("brought_by_staff_id", 2**31, InvalidDataError),
        ("referrer_id", NAN, InvalidTypeError),
        ("profile_completed", 1, InvalidTypeError),
        ("profile_completed", "true", InvalidTypeError),
        ("first_name", b"bytes", InvalidTypeError),
        ("first_name", bytearray(b"bytes"), InvalidTypeError),
        ("first_name", 5, InvalidTypeError),
        ("first_name", NAN, InvalidTypeError),
        ("first_name", "\ud800", InvalidDataError),
        ("first_name", "a\0b", InvalidDataError),
        ("first_name", ["a"], InvalidTypeError),
        ("first_name", object(), InvalidTypeError),
        ("birth_date", datetime.date(1990, 2, 1), InvalidTypeError),
        ("birth_date", datetime.datetime(1990, 2, 1), InvalidTypeError),
        ("register_date", 1754557201, InvalidTypeError),
        ("register_date", "yesterday", InvalidDataError),
        ("register_date", "10000-01-01", InvalidDataError),
        ("register_date", "2025-02-30", InvalidDataError),
        ("register_date", datetime.time(9), InvalidTypeError),
        ("register_date", datetime.datetime.max.replace(tzinfo=datetime.timezone(-datetime.timedelta(hours=1))), InvalidDataError),
        ("register_date", datetime.datetime.min.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=1))), InvalidDataError),
        ("register_date", datetime.datetime(2025, 1, 1, tzinfo=Nowhere()), ZeroDivisionError),
        ("referrer_id", Broken(), ZeroDivisionError),
        ("id", 5, InvalidDataError),
        ("frist_name", "Анна", InvalidDataError),
        ("frist_name", object(), InvalidDataError),
        (5, "Анна", InvalidTypeError),
        ("\ud800", "Анна", InvalidDataError),
        ("x'; DROP TABLE users; --", "Анна", InvalidDataError),
    ],
)
def test_what_is_refused(offline: DualDatabase, path: Path, column: Any, value: Any, error: Any) -> None:
    offline.add_user({"user_id": 1, "first_name": "Анна"})
    before = in_sqlite(path)
    with pytest.raises(error) as raised:
        offline.add_user({"user_id": 2, **({column: value})})
    if issubclass(error, InvalidDataError):
        assert isinstance(raised.value, ValueError)
        assert isinstance(raised.value, TypeError) == issubclass(error, TypeError)
    if column != "user_id":
        with pytest.raises(error):
            offline.update_user(1, {"source": "a", column: value})
        with pytest.raises(error):
            offline.upsert_user({"user_id": 1, "source": "a", column: value})
        with pytest.raises(error):
            with offline.transaction() as tx:
                tx.update_user(1, {"source": "a"})
                tx.update_user(1, {column: value})
    else:
        with pytest.raises(error):
            offline.get_user(value)
    assert in_sqlite(path) == before
    assert offline.add_user({"user_id": 2}), "the interpreter and the database are alive"


def test_the_nearest_name_is_the_hint(offline: DualDatabase) -> None:
    for call in (
        lambda: offline.add_user({"user_id": 1, "frist_name": "Анна"}),
        lambda: offline.get_all_users(where={"frist_name": "Анна"}),
    ):
        with pytest.raises(InvalidDataError) as raised:
            call()
        assert raised.value.hint == "did you mean `first_name`?"
        assert "`first_name`" in str(raised.value)


def test_values_are_in_no_message(offline: DualDatabase) -> None:
    for column, value in [("user_id", "hunter2"), ("first_name", b"hunter2"),
                          ("register_date", "hunter2"), ("profile_completed", "hunter2")]:
        with pytest.raises(InvalidDataError) as raised:
            offline.add_user({"user_id": 1, column: value})
        assert "hunter2" not in str(raised.value)


def test_what_is_no_dictionary_or_number(offline: DualDatabase) -> None:
    for bad in (None, 5, "user_id", b"x", [("user_id", 1)], {1, 2}):
        with pytest.raises(InvalidTypeError):
            offline.add_user(bad)  # type: ignore[arg-type]
    for bad in (-1, 2**64):
        with pytest.raises(InvalidDataError):
            offline.get_all_users(limit=bad)
    for bad in (1.5, "10", NAN):
        with pytest.raises(InvalidTypeError):
            offline.get_all_users(limit=bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidDataError):
        offline.add_user({"first_name": "nobody"})
    offline.add_user({"user_id": 1})
    with pytest.raises(InvalidDataError):
        offline.update_user(1, {})
    with pytest.raises(InvalidDataError):
        offline.update_user(1, {"user_id": 2})
    with pytest.raises(InvalidTypeError):
        offline.get_all_users(contains={"first_name": 5})  # type: ignore[dict-item]
    with pytest.raises(InvalidDataError):
        offline.get_all_users(since={"register_date": None})


def test_what_is_taken(offline: DualDatabase) -> None:
    class Status(str, enum.Enum):
        REDEEMED = "redeemed"

    class Number(enum.IntEnum):
        FIVE = 5

    class Like:
        def __index__(self) -> int:
            return 2**40

    moscow = datetime.timezone(datetime.timedelta(hours=3))
    aware = datetime.datetime(2025, 8, 7, 12, 0, 0, 123456, tzinfo=moscow)
    naive = datetime.datetime(2025, 8, 7, 9, 0, 0, 123456)
    import types

    given = types.MappingProxyType(
        {"user_id": Number.FIVE, "status": Status.REDEEMED, "referrer_id": Like(),
         "register_date": aware, "last_activity": naive, "redeem_date": datetime.date(2025, 8, 7)}
    )
    assert offline.add_user(given)
    user = offline.get_user(Number.FIVE)
    assert user is not None and user["user_id"] == 5 and user["status"] == "redeemed"
    assert user["referrer_id"] == 2**40
    assert user["register_date"] == user["last_activity"] == naive
    assert user["register_date"].tzinfo is None
    assert user["redeem_date"] == datetime.datetime(2025, 8, 7)
    for moment in (datetime.datetime.min, datetime.datetime.max):
        assert offline.update_user(5, {"redeem_date": moment})
        assert (offline.get_user(5) or {})["redeem_date"] == moment
    for text, wanted in [("2025-08-07T12:00:00+03:00", naive.replace(microsecond=0)),
                         ("2025-08-07", datetime.datetime(2025, 8, 7)),
                         ("2025-08-07 09:00:00.123456Z", naive)]:
        assert offline.update_user(5, {"redeem_date": text})
        assert (offline.get_user(5) or {})["redeem_date"] == wanted
    assert offline.get_all_users(since={"register_date": aware.astimezone(UTC)})
