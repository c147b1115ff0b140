"""The alarm journal is asked for by time."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the index."""
    op.create_index(op.f("ix_alarm_happened_unix_ns"), "alarm", ["happened_unix_ns"])
