"""The identity of a service's journal, and the passage that an alarm belongs to where a coil goes on over a restart."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the columns; so far every coil ended with its epoch."""
    op.add_column("service", sa.Column("journal_id", sa.String(), nullable=True))
    op.add_column("alarm", sa.Column("coil_epoch", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute("UPDATE alarm SET coil_epoch = epoch")
    op.drop_index(op.f("ix_alarm_service_id_journal_epoch_coil_ordinal"), "alarm")
    op.create_index(
        op.f("ix_alarm_service_id_journal_coil_epoch_coil_ordinal"),
        "alarm",
        ["service_id", "journal", "coil_epoch", "coil_ordinal"],
    )
