"""A bot with pyTelegramBotAPI that keeps its users in PostgreSQL and SQLite.

It needs BOT_TOKEN, DATABASE_URL and DATABASE_PATH, and goes on while PostgreSQL is away.
TELEGRAM_API_URL names another server of the Bot API than Telegram's.
"""

import datetime
import logging
import os
import signal

import telebot

from dual_database import DualDatabase

logging.basicConfig(level=logging.INFO)
if "TELEGRAM_API_URL" in os.environ:
    telebot.apihelper.API_URL = os.environ["TELEGRAM_API_URL"] + "/bot{0}/{1}"

bot = telebot.TeleBot(os.environ["BOT_TOKEN"])
db = DualDatabase.from_env()


def now():
    return datetime.datetime.now(datetime.timezone.utc)


@bot.message_handler(commands=["start"])
def start(message):
    person = message.from_user
    added = db.add_user(
        {
            "user_id": person.id,
            "username": person.username,
            "first_name": person.first_name,
            "source": "bot",
        }
    )
    if added:
        bot.reply_to(message, f"Добро пожаловать, {person.first_name}!")
    else:
        db.update_user(person.id, {"last_activity": now()})
        bot.reply_to(message, f"С возвращением, {person.first_name}!")


@bot.message_handler(commands=["me"])
def me(message):
    user = db.get_user(message.from_user.id)
    if user is None:
        bot.reply_to(message, "Мы ещё не знакомы: /start")
    else:
        bot.reply_to(message, f"{user['first_name']}, телефон: {user['phone_number'] or 'не указан'}")


@bot.message_handler(content_types=["contact"])
def contact(message):
    person = message.from_user
    if message.contact.user_id != person.id:
        bot.reply_to(message, "Это не ваш номер.")
    elif db.update_user(person.id, {"phone_number": message.contact.phone_number}):
        bot.reply_to(message, "Спасибо, записано.")
    else:
        bot.reply_to(message, "Мы ещё не знакомы: /start")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: bot.stop_polling())
    with db:
        bot.infinity_polling(timeout=5, long_polling_timeout=5)
