"""The calibrations of the cameras that saw a coil."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Add the column; of coils that are stored already it is not known."""
    op.add_column("coil", sa.Column("calibrations", sa.String(), nullable=True))
