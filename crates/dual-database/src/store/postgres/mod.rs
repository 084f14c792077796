//! PostgreSQL: settings, connection, TLS, catalog, errors.
