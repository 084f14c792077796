"""The example bots, against a local stand-in for the Bot API."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import postgres
from bot_api import TOKEN, BotApi
from conftest import eventually, in_postgres, in_sqlite, settled
from dual_database import DualDatabase

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


@pytest.mark.parametrize("library, example", [("telebot", "bot_telebot.py"), ("aiogram", "bot_aiogram.py")])
def test_a_bot_goes_on_while_postgresql_is_away(
    library: str, example: str, server: postgres.Server, path: Path
) -> None:
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} has no release for this Python")
    url = server.database()
    api = BotApi()
    settings = {"BOT_TOKEN": TOKEN, "DATABASE_URL": url, "DATABASE_PATH": str(path), "TELEGRAM_API_URL": api.url}
    bot = subprocess.Popen([sys.executable, str(EXAMPLES / example)], env={**os.environ, **settings})
    try:
        assert api.say(5_123_456_789, "Анна", text="/me") == "Мы ещё не знакомы: /start"
        assert api.say(5_123_456_789, "Анна", text="/start") == "Добро пожаловать, Анна!"
        eventually(lambda: [row["first_name"] for row in in_postgres(url)] == ["Анна"])
        server.stop()
        assert api.say(7, "Боб", text="/start") == "Добро пожаловать, Боб!"
        shared = {"phone_number": "+79990000001", "first_name": "Анна", "user_id": 5_123_456_789}
        assert api.say(5_123_456_789, "Анна", contact=shared) == "Спасибо, записано."
        assert api.say(7, "Боб", contact=shared) == "Это не ваш номер."
        assert api.say(5_123_456_789, "Анна", text="/me") == "Анна, телефон: +79990000001"
        assert [row["user_id"] for row in in_sqlite(path)] == [7, 5_123_456_789]
        server.start()
        eventually(lambda: len(in_postgres(url)) == 2)
        assert api.say(7, "Боб", text="/start") == "С возвращением, Боб!"
        bot.send_signal(signal.SIGTERM)
        assert bot.wait(60) == 0
    finally:
        bot.kill()
        bot.wait()
        api.close()
    with DualDatabase(url, path) as db:
        eventually(lambda: settled(db))
        assert db.verify()
    phones = [row["phone_number"] for row in in_postgres(url)]
    assert phones == [None, "+79990000001"] == [row["phone_number"] for row in in_sqlite(path)]
