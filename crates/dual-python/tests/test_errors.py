"""The tree of exceptions."""

from __future__ import annotations

import inspect
import pickle

import pytest

import dual_database
from dual_database import DualDatabaseError

BASES = {
    "AccessDeniedError": PermissionError,
    "AlreadyExistsError": ValueError,
    "ClosedError": RuntimeError,
    "ConfigurationError": ValueError,
    "ConflictError": DualDatabaseError,
    "FileInUseError": RuntimeError,
    "ForkedError": RuntimeError,
    "InternalError": RuntimeError,
    "InvalidDataError": ValueError,
    "InvalidTypeError": TypeError,
    "NoSpaceError": ConnectionError,
    "NotFoundError": LookupError,
    "OutcomeUnknownError": DualDatabaseError,
    "PartialError": DualDatabaseError,
    "SchemaError": ValueError,
    "UnavailableError": ConnectionError,
}


def test_every_exception_has_its_base_and_can_be_sent_to_another_process() -> None:
    found = {
        name: class_
        for name, class_ in inspect.getmembers(dual_database, inspect.isclass)
        if issubclass(class_, Exception) and class_ is not DualDatabaseError
    }
    assert set(found) == set(BASES)
    for name, class_ in found.items():
        assert issubclass(class_, DualDatabaseError) and issubclass(class_, BASES[name])
        error = class_("what", "do this", "postgres")
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is class_ and str(copy) == str(error) == "what (hint: do this)"
        assert (copy.message, copy.hint, copy.store) == ("what", "do this", "postgres")
        with pytest.raises(class_, match="^what$"):
            raise class_("what")
