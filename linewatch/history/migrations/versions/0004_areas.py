"""Inspected, degraded and missed area of coils and spans; NULL in what was stored before."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns of areas."""
    for table, names in (
        ("coil", ("passed_mm2", "inspected_mm2", "degraded_mm2", "missed_mm2")),
        ("span", ("inspected_mm2", "degraded_mm2", "missed_mm2")),
    ):
        for name in names:
            op.add_column(table, sa.Column(name, sa.Double(), nullable=True))
