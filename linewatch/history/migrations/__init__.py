"""Alembic's scripts: every revision of the history's tables. `env.py` runs them on the connection that it is given."""
