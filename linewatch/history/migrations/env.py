"""Runs the migrations; alembic executes this module for every command."""

from alembic import context

from linewatch.history.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
