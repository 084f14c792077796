"""What a typed program looks like: `mypy --strict` has nothing to say of it."""

from __future__ import annotations

import asyncio
import datetime
from typing import List, Optional

from dual_database import (
    AsyncDualDatabase,
    DualDatabase,
    DualDatabaseError,
    Transaction,
    User,
    Written,
)


def register(db: DualDatabase, user_id: int, name: str) -> bool:
    answer: Written = db.add_user({"user_id": user_id, "first_name": name})
    if answer.pending is not None:
        print(f"{answer.pending} gets it later")
    return bool(answer)


def newest(db: DualDatabase) -> List[Optional[str]]:
    users: List[User] = db.get_all_users(
        limit=10, since={"register_date": datetime.datetime(2025, 8, 1)}
    )
    return [user["first_name"] for user in users]


def give(db: DualDatabase, giver: int, taker: int) -> int:
    def work(tx: Transaction) -> int:
        user = tx.get_user(giver)
        if user is None:
            raise LookupError(giver)
        return tx.update_user(taker, {"referrer_id": user["user_id"]})["user_id"]

    return db.run_in_transaction(work)


async def main() -> None:
    async with AsyncDualDatabase.from_env(timeout=2.0) as db:
        found = await db.get_user(5)
        if found is not None:
            reveal: Optional[str] = found["username"]
            print(reveal, found.get("first_name"))
        async for user in db.iter_users(where={"status": "registered"}):
            print(user["register_date"])
        async with db.transaction() as tx:
            await tx.add_user({"user_id": 6})
        try:
            await db.verify()
        except DualDatabaseError as error:
            print(error.hint)


if __name__ == "__main__":
    asyncio.run(main())
