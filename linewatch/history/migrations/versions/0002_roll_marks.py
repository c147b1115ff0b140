"""Roll marks, strip edges and widths, tentative and excluded defects; engines in the cascade's order."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the tables and columns, and put the stored engines into the cascade's order."""
    op.add_column("coil", sa.Column("strip_left_mm", sa.Double(), nullable=True))
    op.add_column("coil", sa.Column("strip_right_mm", sa.Double(), nullable=True))
    op.add_column("defect", sa.Column("tentative", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("defect", sa.Column("excluded", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("defect", sa.Column("mask_dropped", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "strip_width",
        sa.Column("coil_id", _KEY, nullable=False),
        sa.Column("width_mm", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["coil_id"], ["coil.id"], name=op.f("fk_strip_width_coil_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("coil_id", "width_mm", name=op.f("pk_strip_width")),
    )
    op.create_table(
        "roll_mark",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("coil_id", _KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("defect_class", sa.String(), nullable=False),
        sa.Column("pitch_mm", sa.Double(), nullable=False),
        sa.Column("pitch_error_mm", sa.Double(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("marks", sa.BigInteger(), nullable=False),
        sa.Column("marks_due", sa.BigInteger(), nullable=False),
        sa.Column("along_begin_mm", sa.Double(), nullable=False),
        sa.Column("along_end_mm", sa.Double(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["coil_id"], ["coil.id"], name=op.f("fk_roll_mark_coil_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roll_mark")),
        sa.UniqueConstraint("coil_id", "name", name=op.f("uq_roll_mark_coil_id_name")),
    )
    op.create_table(
        "roll_mark_defect",
        sa.Column("roll_mark_id", _KEY, nullable=False),
        sa.Column("defect", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["roll_mark_id"], ["roll_mark.id"], name=op.f("fk_roll_mark_defect_roll_mark_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("roll_mark_id", "defect", name=op.f("pk_roll_mark_defect")),
    )
    _engines_in_cascade_order()


def _engines_in_cascade_order() -> None:
    """Reorder engines, which were sorted by name. Each stage runs only on what the earlier ones passed: the smallest
    stored set that contains an engine therefore ends with it, which gives the order."""
    engines = sa.table("engines", sa.column("id", sa.BigInteger), sa.column("identities", sa.String))
    connection = op.get_bind()
    stored = {row.id: row.identities.split("\n") for row in connection.execute(sa.select(engines)) if row.identities}
    for number, names in stored.items():
        within = [other for other in stored.values() if set(other) <= set(names)]
        ordered = sorted(names, key=lambda name: min(len(other) for other in within if name in other))
        update = sa.update(engines).where(engines.c.id == number).values(identities="\n".join(ordered))
        connection.execute(update)
