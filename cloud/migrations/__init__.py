"""Alembic migrations: one revision file per slice and change, in one line."""
