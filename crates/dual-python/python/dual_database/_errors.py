"""What can go wrong: a small tree under :class:`DualDatabaseError`."""

from __future__ import annotations

from typing import Optional


class DualDatabaseError(Exception):
    """Anything that went wrong in this package.

    Messages name what was being done, the table and the key; never values or passwords.
    """

    #: What went wrong, with its causes.
    message: str
    #: What a person can do about it, if there is something.
    hint: Optional[str]
    #: The store that it is about: ``"postgres"``, ``"sqlite"``, or ``None``.
    store: Optional[str]

    def __init__(
        self, message: str = "", hint: Optional[str] = None, store: Optional[str] = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.store = store

    def __str__(self) -> str:
        return f"{self.message} (hint: {self.hint})" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.message, self.hint, self.store)


class ConfigurationError(DualDatabaseError, ValueError):
    """A setting is wrong: the URL, the path, a time-out, a variable of the environment."""


class SchemaError(ConfigurationError):
    """A table stands in the way: see ``dual init``."""


class InvalidDataError(DualDatabaseError, ValueError):
    """The data was refused, on both sides; neither store was touched."""


class InvalidTypeError(InvalidDataError, TypeError):
    """A value of another type than the column takes."""


class AlreadyExistsError(DualDatabaseError, ValueError):
    """There is a user with that ``user_id``."""


class NotFoundError(DualDatabaseError, LookupError):
    """There is no user with that ``user_id``."""


class ConflictError(DualDatabaseError):
    """Somebody else changed what a transaction has read: nothing was done, repeat it."""


class UnavailableError(DualDatabaseError, ConnectionError):
    """Neither store could do it (or the one that is needed); nothing was done."""


class NoSpaceError(UnavailableError):
    """A disk is full, or a quota is used up; nothing was done."""


class AccessDeniedError(DualDatabaseError, PermissionError):
    """A password, a right, or the permissions of the file; nothing was done."""


class OutcomeUnknownError(DualDatabaseError):
    """The answer was lost and cannot be had: it may have been done or not."""


class PartialError(DualDatabaseError):
    """Both stores are required (``write_mode="require_both"``), and one of them has it. The
    other one gets it by itself: do not repeat it."""


class ClosedError(DualDatabaseError, RuntimeError):
    """The database, the transaction or the iteration was closed."""


class FileInUseError(DualDatabaseError, RuntimeError):
    """This process opens the SQLite file past the database, which could lose data."""


class ForkedError(DualDatabaseError, RuntimeError):
    """A database was used, or opened, in the child of the process that has it open."""


class InternalError(DualDatabaseError, RuntimeError):
    """A defect of this package."""
