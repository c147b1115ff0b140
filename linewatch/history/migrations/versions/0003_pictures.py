"""Images of defects."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the table of the image archive."""
    op.create_table(
        "image",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("coil_id", _KEY, nullable=True),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("severity", sa.Integer(), nullable=False),
        sa.Column("area_mm2", sa.Double(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_unix_ns", sa.BigInteger(), nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("left_px", sa.Integer(), nullable=False),
        sa.Column("columns", sa.Integer(), nullable=False),
        sa.Column("scale", sa.Double(), nullable=False),
        sa.Column("across_begin_mm", sa.Double(), nullable=False),
        sa.Column("across_end_mm", sa.Double(), nullable=False),
        sa.Column("along_begin_mm", sa.Double(), nullable=False),
        sa.Column("along_end_mm", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["coil_id"], ["coil.id"], name=op.f("fk_image_coil_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_image")),
        sa.UniqueConstraint("coil_id", "name", name=op.f("uq_image_coil_id_name")),
    )
    op.create_index(op.f("ix_image_coil_id_severity_area_mm2"), "image", ["coil_id", "severity", "area_mm2"])
    op.create_index(op.f("ix_image_severity_stored_unix_ns"), "image", ["severity", "stored_unix_ns"])
