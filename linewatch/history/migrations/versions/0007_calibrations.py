"""The calibrations of the cameras that saw a coil."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; of coils that are stored already it is not known."""
    op.add_column("coil", sa.Column("calibrations", sa.String(), nullable=True))
