"""Reads the values of every tab in full precision, and prints them.

Usage: read_values.py KEY_FILE BASE_ADDRESS SPREADSHEET_ID
"""

import json
import sys

import gspread

from double_client import connect


def main():
    key_file, base, spreadsheet_id = sys.argv[1:]
    book = connect(key_file, base).open_by_key(spreadsheet_id)
    options = {
        "value_render_option": "UNFORMATTED_VALUE",
        "date_time_render_option": "SERIAL_NUMBER",
    }
    tabs = {}
    for sheet in book.worksheets():
        corner = gspread.utils.rowcol_to_a1(sheet.row_count, sheet.col_count)
        tabs[sheet.title] = {
            "values": sheet.get_values(**options),
            "batch": sheet.batch_get([f"A1:{corner}"], **options)[0],
        }
    print(json.dumps({"version": gspread.__version__, "tabs": tabs}, ensure_ascii=False))


main()
