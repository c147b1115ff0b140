"""Called defects counted by class, for rates over weeks, and an index for the defects that are the least certain."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Add the column and count what is stored; add the index."""
    op.add_column("class_count", sa.Column("called", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "CREATE TEMPORARY TABLE counted AS SELECT coil_id, defect_class, COUNT(*) AS called FROM defect "
        "WHERE merged_into IS NULL AND part_of IS NULL AND NOT tentative GROUP BY coil_id, defect_class"
    )
    op.execute("CREATE INDEX counted_key ON counted (coil_id, defect_class)")
    op.execute(
        "UPDATE class_count SET called = COALESCE((SELECT counted.called FROM counted WHERE "
        "counted.coil_id = class_count.coil_id AND counted.defect_class = class_count.defect_class), 0)"
    )
    op.execute("DROP TABLE counted")
    op.create_index(
        op.f("ix_defect_class_probability"),
        "defect",
        ["defect_class", "probability", "id"],
        sqlite_where=sa.text("merged_into IS NULL"),
        postgresql_where=sa.text("merged_into IS NULL"),
    )
