"""Probability of defects and its evidence; what was stored before has the probability of an engine without a model."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns, and fill in the probability."""
    op.add_column("defect", sa.Column("probability", sa.Double(), nullable=False, server_default=sa.text("0")))
    op.add_column("defect", sa.Column("evidence", sa.JSON(), nullable=False, server_default=sa.text("'{}'")))
    op.execute("UPDATE defect SET probability = CASE WHEN extent = 'mask' THEN peak ELSE confidence END")
