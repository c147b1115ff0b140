"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "engines",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("identities", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_engines")),
        sa.UniqueConstraint("identities", name=op.f("uq_engines_identities")),
    )
    op.create_table(
        "service",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("journal", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_service")),
        sa.UniqueConstraint("name", name=op.f("uq_service_name")),
    )
    op.create_table(
        "coil",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("service_id", _KEY, nullable=False),
        sa.Column("journal", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("coil", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("camera", sa.String(), nullable=False),
        sa.Column("begun_unix_ns", sa.BigInteger(), nullable=False),
        sa.Column("ended_unix_ns", sa.BigInteger(), nullable=True),
        sa.Column("passed_mm", sa.Double(), nullable=True),
        sa.Column("inspected_mm", sa.Double(), nullable=False),
        sa.Column("degraded_mm", sa.Double(), nullable=False),
        sa.Column("missed_mm", sa.Double(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("tiles", sa.BigInteger(), nullable=False),
        sa.Column("tiles_passed", sa.BigInteger(), nullable=False),
        sa.Column("encoded", sa.Boolean(), nullable=False),
        sa.Column("config", sa.String(), nullable=False),
        sa.Column("more", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_coil_service_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_coil")),
        sa.UniqueConstraint(
            "service_id", "journal", "epoch", "ordinal", name=op.f("uq_coil_service_id_journal_epoch_ordinal")
        ),
    )
    op.create_index(op.f("ix_coil_coil_id"), "coil", ["coil", "id"], unique=False)
    op.create_table(
        "gap",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("service_id", _KEY, nullable=False),
        sa.Column("journal", sa.Integer(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("end", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("noticed_unix_ns", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_gap_service_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gap")),
    )
    op.create_index(op.f("ix_gap_service_id_journal_epoch"), "gap", ["service_id", "journal", "epoch"], unique=False)
    op.create_table(
        "position",
        sa.Column("service_id", _KEY, nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("next", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_position_service_id")),
        sa.PrimaryKeyConstraint("service_id", "topic", name=op.f("pk_position")),
    )
    op.create_table(
        "alarm",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("service_id", _KEY, nullable=False),
        sa.Column("journal", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("coil_ordinal", sa.BigInteger(), nullable=False),
        sa.Column("coil", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("rule", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("along_mm", sa.Double(), nullable=False),
        sa.Column("happened_unix_ns", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["service_id"], ["service.id"], name=op.f("fk_alarm_service_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alarm")),
        sa.UniqueConstraint(
            "service_id", "journal", "epoch", "sequence", name=op.f("uq_alarm_service_id_journal_epoch_sequence")
        ),
    )
    op.create_index(
        op.f("ix_alarm_service_id_journal_epoch_coil_ordinal"),
        "alarm",
        ["service_id", "journal", "epoch", "coil_ordinal"],
        unique=False,
    )
    op.create_table(
        "class_count",
        sa.Column("coil_id", _KEY, nullable=False),
        sa.Column("defect_class", sa.String(), nullable=False),
        sa.Column("defects", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["coil_id"], ["coil.id"], name=op.f("fk_class_count_coil_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("coil_id", "defect_class", name=op.f("pk_class_count")),
    )
    op.create_table(
        "defect",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("coil_id", _KEY, nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("merged_into", sa.String(), nullable=True),
        sa.Column("defect_class", sa.String(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("peak", sa.Double(), nullable=False),
        sa.Column("across_begin_mm", sa.Double(), nullable=False),
        sa.Column("across_end_mm", sa.Double(), nullable=False),
        sa.Column("along_begin_mm", sa.Double(), nullable=False),
        sa.Column("along_end_mm", sa.Double(), nullable=False),
        sa.Column("area_mm2", sa.Double(), nullable=False),
        sa.Column("edge_mm", sa.Double(), nullable=True),
        sa.Column("extent", sa.String(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("class_scores", sa.JSON(), nullable=False),
        sa.Column("length_mm", sa.Double(), nullable=False),
        sa.Column("width_mm", sa.Double(), nullable=False),
        sa.Column("orientation_deg", sa.Double(), nullable=False),
        sa.Column("contrast", sa.Double(), nullable=True),
        sa.Column("part_of", sa.String(), nullable=True),
        sa.Column("severity", sa.Integer(), nullable=True),
        sa.Column("more", sa.JSON(), nullable=True),
        sa.ForeignKeyConstraint(["coil_id"], ["coil.id"], name=op.f("fk_defect_coil_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_defect")),
        sa.UniqueConstraint("coil_id", "name", name=op.f("uq_defect_coil_id_name")),
    )
    op.create_index(
        "ix_defect_along",
        "defect",
        ["coil_id", "along_begin_mm", "id"],
        unique=False,
        sqlite_where=sa.text("merged_into IS NULL"),
        postgresql_where=sa.text("merged_into IS NULL"),
    )
    op.create_index(
        "ix_defect_class_along",
        "defect",
        ["coil_id", "defect_class", "along_begin_mm", "id"],
        unique=False,
        sqlite_where=sa.text("merged_into IS NULL"),
        postgresql_where=sa.text("merged_into IS NULL"),
    )
    op.create_table(
        "span",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("coil_id", _KEY, nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("lines", sa.BigInteger(), nullable=False),
        sa.Column("along_begin_mm", sa.Double(), nullable=False),
        sa.Column("along_end_mm", sa.Double(), nullable=False),
        sa.Column("quality", sa.String(), nullable=False),
        sa.Column("cause", sa.String(), nullable=True),
        sa.Column("engines_id", _KEY, nullable=False),
        sa.ForeignKeyConstraint(["coil_id"], ["coil.id"], name=op.f("fk_span_coil_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["engines_id"], ["engines.id"], name=op.f("fk_span_engines_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_span")),
    )
    op.create_index(op.f("ix_span_coil_id_first_line"), "span", ["coil_id", "first_line"], unique=False)
    op.create_table(
        "label",
        sa.Column("id", _KEY, nullable=False),
        sa.Column("defect_id", _KEY, nullable=True),
        sa.Column("verdict", sa.String(), nullable=False),
        sa.Column("right_class", sa.String(), nullable=True),
        sa.Column("who", sa.String(), nullable=False),
        sa.Column("said_unix_ns", sa.BigInteger(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("coil", sa.String(), nullable=False),
        sa.Column("side", sa.String(), nullable=False),
        sa.Column("camera", sa.String(), nullable=False),
        sa.Column("begun_unix_ns", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("found_class", sa.String(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("across_begin_mm", sa.Double(), nullable=False),
        sa.Column("across_end_mm", sa.Double(), nullable=False),
        sa.Column("along_begin_mm", sa.Double(), nullable=False),
        sa.Column("along_end_mm", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["defect_id"], ["defect.id"], name=op.f("fk_label_defect_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
    )
    op.create_index(op.f("ix_label_defect_id"), "label", ["defect_id"], unique=False)
    op.create_table(
        "mask",
        sa.Column("defect_id", _KEY, nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("first_line", sa.BigInteger(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["defect_id"], ["defect.id"], name=op.f("fk_mask_defect_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("defect_id", "part", name=op.f("pk_mask")),
    )
