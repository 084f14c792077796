"""A local stand-in for Telegram's Bot API: it hands out updates, and keeps what was sent."""

from __future__ import annotations

import email.message
import email.parser
import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Dict, List, Optional

TOKEN = "42:TEST"
ME = {"id": 42, "is_bot": True, "first_name": "Бот", "username": "example_bot"}


class BotApi:
    """One bot's server. People write by `say`; what the bot answers is in `sent`."""

    def __init__(self) -> None:
        self._updates: List[Dict[str, Any]] = []
        self._news = threading.Condition()
        self._count = 0
        self.sent: List[Dict[str, str]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def answer(self) -> None:
                where = urllib.parse.urlsplit(self.path)
                given = dict(urllib.parse.parse_qsl(where.query))
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                given.update(parsed(self.headers.get("Content-Type") or "", body))
                token, _, method = where.path.rpartition("/")
                if token != f"/bot{TOKEN}":
                    self.reply(401, {"ok": False, "error_code": 401, "description": "Unauthorized"})
                else:
                    self.reply(200, {"ok": True, "result": api.call(method, given)})

            def reply(self, code: int, document: Any) -> None:
                body = json.dumps(document).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def call(self, method: str, given: Dict[str, str]) -> Any:
        if method == "getMe":
            return ME
        if method == "getUpdates":
            return self._next(int(given.get("offset") or 0), float(given.get("timeout") or 0))
        if method == "sendMessage":
            with self._news:
                self.sent.append(given)
                self._news.notify_all()
            return self._message(int(given["chat_id"]), {"text": given["text"]})
        return True

    def say(self, person: int, name: str, **what: Any) -> str:
        """Somebody writes to the bot; gives the bot's answer."""
        with self._news:
            before = len(self.sent)
            message = self._message(person, what)
            message["from"] = {"id": person, "is_bot": False, "first_name": name, "username": f"u{person}"}
            text = what.get("text", "")
            if text.startswith("/"):
                message["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text)}]
            self._updates.append({"update_id": self._count, "message": message})
            self._news.notify_all()
            assert self._news.wait_for(lambda: len(self.sent) > before, 60), "the bot is silent"
            return self.sent[before]["text"]

    def _message(self, chat: int, what: Dict[str, Any]) -> Dict[str, Any]:
        self._count += 1
        about = {"message_id": self._count, "date": int(time.time())}
        return {**about, "chat": {"id": chat, "type": "private"}, **what}

    def _next(self, offset: int, timeout: float) -> List[Dict[str, Any]]:
        def waiting() -> List[Dict[str, Any]]:
            return [update for update in self._updates if update["update_id"] >= offset]

        with self._news:
            self._news.wait_for(waiting, timeout)
            return waiting()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def parsed(kind: str, body: bytes) -> Dict[str, str]:
    """The parameters of a call, in any of the forms that the Bot API takes."""
    if kind.startswith("application/json"):
        return {name: str(value) for name, value in json.loads(body).items()}
    if kind.startswith("multipart/form-data"):
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        parts = email.parser.BytesParser().parsebytes(head + body).get_payload()
        assert isinstance(parts, list)
        return {name(part) or "": text(part) for part in parts}
    return dict(urllib.parse.parse_qsl(body.decode()))


def name(part: "email.message.Message[str, str]") -> Optional[str]:
    found = part.get_param("name", header="content-disposition")
    return found if isinstance(found, str) else None


def text(part: "email.message.Message[str, str]") -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload.decode()
