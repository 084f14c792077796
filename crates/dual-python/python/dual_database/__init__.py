"""PostgreSQL and a SQLite file kept as one database of users.

::

    from dual_database import DualDatabase

    db = DualDatabase(pg_url="postgresql://user:password@host/database", sqlite_path="users.db")
    db.add_user({"user_id": 5123456789, "first_name": "Анна"})
    db.get_user(5123456789)

With asyncio: :class:`AsyncDualDatabase`.
"""

from ._answers import (
    Comparing,
    Conflict,
    Damage,
    Exchange,
    Failing,
    Found,
    NotCarried,
    Paused,
    QuarantinedRow,
    RecentError,
    Status,
    StoreStatus,
    TableDifference,
    User,
    Verification,
    Verified,
    Written,
)
from ._asyncio import AsyncDualDatabase, AsyncTransaction
from ._database import DualDatabase, Transaction
from ._errors import (
    AccessDeniedError,
    AlreadyExistsError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    DualDatabaseError,
    FileInUseError,
    ForkedError,
    InternalError,
    InvalidDataError,
    InvalidTypeError,
    NoSpaceError,
    NotFoundError,
    OutcomeUnknownError,
    PartialError,
    SchemaError,
    UnavailableError,
)
from ._native import __version__

__all__ = [
    "AccessDeniedError",
    "AlreadyExistsError",
    "AsyncDualDatabase",
    "AsyncTransaction",
    "ClosedError",
    "Comparing",
    "ConfigurationError",
    "Conflict",
    "ConflictError",
    "Damage",
    "DualDatabase",
    "DualDatabaseError",
    "Exchange",
    "Failing",
    "FileInUseError",
    "ForkedError",
    "Found",
    "InternalError",
    "InvalidDataError",
    "InvalidTypeError",
    "NoSpaceError",
    "NotFoundError",
    "OutcomeUnknownError",
    "PartialError",
    "NotCarried",
    "Paused",
    "QuarantinedRow",
    "RecentError",
    "SchemaError",
    "Status",
    "StoreStatus",
    "TableDifference",
    "Transaction",
    "UnavailableError",
    "User",
    "Verification",
    "Verified",
    "Written",
    "__version__",
]
