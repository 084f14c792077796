"""An unchanged gspread that talks to the double.

gspread only knows Google's addresses. A transport adapter, which is a documented part of
`requests`, carries them to the double; nothing of gspread or google-auth is replaced.
"""

from urllib.parse import urlsplit

import gspread
import requests


class ToDouble(requests.adapters.HTTPAdapter):
    def __init__(self, base):
        self.base = base
        super().__init__()

    def send(self, request, **options):
        parts = urlsplit(request.url)
        request.url = self.base + parts.path + ("?" + parts.query if parts.query else "")
        return super().send(request, **options)


def connect(key_file, base):
    client = gspread.service_account(filename=key_file)
    session = getattr(client, "http_client", client).session
    for host in ("https://sheets.googleapis.com/", "https://www.googleapis.com/"):
        session.mount(host, ToDouble(base))
    return client
