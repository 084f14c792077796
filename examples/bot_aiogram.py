"""A bot with aiogram 3 that keeps its users in PostgreSQL and SQLite.

It needs BOT_TOKEN, DATABASE_URL and DATABASE_PATH, and goes on while PostgreSQL is away.
TELEGRAM_API_URL names another server of the Bot API than Telegram's.
"""

import asyncio
import datetime
import logging
import os

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import PRODUCTION, TelegramAPIServer
from aiogram.filters import Command, CommandStart
from aiogram.types import Message

from dual_database import AsyncDualDatabase

dispatcher = Dispatcher()


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


@dispatcher.message(CommandStart())
async def start(message: Message, db: AsyncDualDatabase) -> None:
    person = message.from_user
    added = await db.add_user(
        {
            "user_id": person.id,
            "username": person.username,
            "first_name": person.first_name,
            "source": "bot",
        }
    )
    if added:
        await message.reply(f"Добро пожаловать, {person.first_name}!")
    else:
        await db.update_user(person.id, {"last_activity": now()})
        await message.reply(f"С возвращением, {person.first_name}!")


@dispatcher.message(Command("me"))
async def me(message: Message, db: AsyncDualDatabase) -> None:
    user = await db.get_user(message.from_user.id)
    if user is None:
        await message.reply("Мы ещё не знакомы: /start")
    else:
        await message.reply(f"{user['first_name']}, телефон: {user['phone_number'] or 'не указан'}")


@dispatcher.message(F.contact)
async def contact(message: Message, db: AsyncDualDatabase) -> None:
    person = message.from_user
    if message.contact.user_id != person.id:
        await message.reply("Это не ваш номер.")
    elif await db.update_user(person.id, {"phone_number": message.contact.phone_number}):
        await message.reply("Спасибо, записано.")
    else:
        await message.reply("Мы ещё не знакомы: /start")


async def main() -> None:
    logging.basicConfig(level=logging.INFO)
    other = os.environ.get("TELEGRAM_API_URL")
    server = TelegramAPIServer.from_base(other) if other else PRODUCTION
    bot = Bot(os.environ["BOT_TOKEN"], session=AiohttpSession(api=server))
    async with AsyncDualDatabase.from_env() as db:
        # SIGTERM and Ctrl-C end the polling.
        await dispatcher.start_polling(bot, db=db, polling_timeout=5)


if __name__ == "__main__":
    asyncio.run(main())
