"""Reads a workbook from the double with an unchanged gspread and prints what it saw.

Usage: read_book.py KEY_FILE BASE_ADDRESS SPREADSHEET_ID TITLE
"""

import json
import sys

import gspread

from double_client import connect


def failure(call):
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None


def main():
    key_file, base, spreadsheet_id, title = sys.argv[1:]
    client = connect(key_file, base)
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
