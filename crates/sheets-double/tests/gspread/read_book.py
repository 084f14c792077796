"""Reads a workbook from the double with an unchanged gspread and prints what it saw.

Usage: read_book.py KEY_FILE BASE_ADDRESS SPREADSHEET_ID TITLE

gspread only knows Google's addresses. A transport adapter, which is a documented part of
`requests`, carries them to the double; nothing of gspread or google-auth is replaced.
"""

import json
import sys
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


def failure(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


def main():
    key_file, base, spreadsheet_id, title = sys.argv[1:]
    client = gspread.service_account(filename=key_file)
    session = getattr(client, "http_client", client).session
    for host in ("https://sheets.googleapis.com/", "https://www.googleapis.com/"):
        session.mount(host, ToDouble(base))

    book = client.open_by_key(spreadsheet_id)
    seen = {
        "version": gspread.__version__,
        "title": book.title,
        "by_title": client.open(title).id,
        "worksheets": [sheet.title for sheet in book.worksheets()],
        "visible": [sheet.title for sheet in book.worksheets(exclude_hidden=True)],
        "no_such_tab": failure(lambda: book.worksheet("Nobody")),
        "no_such_key": failure(lambda: client.open_by_key("NOBODY").sheet1),
        "not_shared": failure(lambda: client.open_by_key("PRIVATE").sheet1),
        "tabs": {},
    }
    for name in seen["worksheets"]:
        sheet = book.worksheet(name)
        seen["tabs"][name] = {
            "size": [sheet.row_count, sheet.col_count],
            "values": sheet.get_all_values(),
            "unformatted": sheet.get_all_values(value_render_option="UNFORMATTED_VALUE"),
            "records": sheet.get_all_records(),
            "batch": sheet.batch_get(["A1:B1", "A2:A"]),
            "cell": sheet.acell("B2").value,
            "column": sheet.col_values(1),
        }
    print(json.dumps(seen, ensure_ascii=False))


main()
