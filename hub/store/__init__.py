"""The hub's own database: tables, queries and schema upgrades, on SQLite and PostgreSQL."""
