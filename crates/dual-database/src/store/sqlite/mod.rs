//! SQLite: the thread that owns the connection, opening, catalog, errors.
