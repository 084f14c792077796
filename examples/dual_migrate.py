"""Loads a Google Sheet into PostgreSQL and SQLite, with the flags of the old script.

python dual_migrate.py --pg-db-url="postgresql://…" --sqlite-db-path="users.db" \
    --creds-file="google_creds.json" --sheet-key="…" --sheet-name="…"
"""

from dual_database.__main__ import dual_migrate

if __name__ == "__main__":
    dual_migrate()
