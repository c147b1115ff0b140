"""The history's tables. Every change needs a migration in `migrations/versions`; a test compares the two.

Positions are strip millimetres as on the wire; times are Unix nanoseconds. A *coil* row is one passage of a coil under
one camera: a coil id that comes again gets another row.
"""

from typing import Any, Final

import sqlalchemy as sa

from linewatch.contracts.defect_fields import DEFECT_FIELDS, PASSAGE_FIELDS, DefectField

METADATA: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

_Key = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers rows in INTEGER columns only


_ADDED: Final = {"probability": sa.text("0"), "evidence": sa.text("'{}'")}
"""Defaults of columns that tables with rows got: SQLite asks for one."""


def _of_coil() -> sa.Column[int]:
    return sa.Column("coil_id", _Key, sa.ForeignKey("coil.id", ondelete="CASCADE"), nullable=False)


def _defect_columns() -> list[sa.Column[Any]]:
    """The columns for the fields of a defect, without its id, and without those that it shares with its coil."""
    made: list[sa.Column[Any]] = []
    for field in DEFECT_FIELDS:
        if field.name in ("id", *PASSAGE_FIELDS):
            continue
        default = sa.false() if field.kind is bool else _ADDED.get(field.name)
        for name in field.columns:
            made.append(sa.Column(name, _column_type(field), nullable=field.nullable, server_default=default))
    return made


def _column_type(field: DefectField) -> type[sa.types.TypeEngine[Any]]:
    if issubclass(field.kind, str):  # an enumeration, too
        return sa.String
    if field.kind is int:
        return sa.Integer if field.nullable else sa.BigInteger
    return {bool: sa.Boolean, float: sa.Double, tuple: sa.Double, dict: sa.JSON}[field.kind]


SERVICE: Final = sa.Table(
    "service",
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("name", sa.String, nullable=False, unique=True),
    sa.Column("journal", sa.Integer, nullable=False),  # number of its journal: each one counts epochs from 1
    sa.Column("journal_id", sa.String),  # UUID of its journal; NULL: not known
)

POSITION: Final = sa.Table(
    "position",  # all messages of a service's topic before (epoch, next) are stored
    METADATA,
    sa.Column("service_id", _Key, sa.ForeignKey("service.id"), primary_key=True),
    sa.Column("topic", sa.String, primary_key=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("next", sa.BigInteger, nullable=False),
)

GAP: Final = sa.Table(
    "gap",  # messages [first, end) that could not be fetched; end NULL: their number is not known
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("service_id", _Key, sa.ForeignKey("service.id"), nullable=False),
    sa.Column("journal", sa.Integer, nullable=False),
    sa.Column("topic", sa.String, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("first", sa.BigInteger, nullable=False),
    sa.Column("end", sa.BigInteger),
    sa.Column("reason", sa.String, nullable=False),
    sa.Column("noticed_unix_ns", sa.BigInteger, nullable=False),
    sa.Index(None, "service_id", "journal", "epoch"),
)

ENGINES: Final = sa.Table(
    "engines",  # the identities that served together
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("identities", sa.String, nullable=False, unique=True),  # one a line, in the cascade's order
)

COIL: Final = sa.Table(
    "coil",
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("service_id", _Key, sa.ForeignKey("service.id"), nullable=False),
    sa.Column("journal", sa.Integer, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),  # of the coil in the epoch
    sa.Column("coil", sa.String, nullable=False),
    sa.Column("side", sa.String, nullable=False),
    sa.Column("camera", sa.String, nullable=False),
    sa.Column("begun_unix_ns", sa.BigInteger, nullable=False),
    sa.Column("ended_unix_ns", sa.BigInteger),
    sa.Column("passed_mm", sa.Double),  # by the service; NULL until it ended
    sa.Column("inspected_mm", sa.Double, nullable=False),  # this and the next two: of the stored frames
    sa.Column("degraded_mm", sa.Double, nullable=False),
    sa.Column("missed_mm", sa.Double, nullable=False),
    sa.Column("passed_mm2", sa.Double),  # the same of areas; NULL where the service did not tell them
    sa.Column("inspected_mm2", sa.Double),
    sa.Column("degraded_mm2", sa.Double),
    sa.Column("missed_mm2", sa.Double),
    sa.Column("frames", sa.BigInteger, nullable=False),
    sa.Column("tiles", sa.BigInteger, nullable=False),
    sa.Column("tiles_passed", sa.BigInteger, nullable=False),
    sa.Column("encoded", sa.Boolean, nullable=False),  # false: positions derive from line rate and pitch
    sa.Column("strip_left_mm", sa.Double),  # the outermost edges seen; NULL without any
    sa.Column("strip_right_mm", sa.Double),
    sa.Column("config", sa.String, nullable=False),  # identity of the deciding settings; empty: not known
    # The cameras' calibrations, one a line, as frames told them; NULL: none was told.
    sa.Column("calibrations", sa.String),
    sa.Column("more", sa.JSON),  # of the coil messages: fields without a column
    sa.UniqueConstraint("service_id", "journal", "epoch", "ordinal"),
    sa.Index(None, "coil", "id"),
)

SPAN: Final = sa.Table(
    "span",  # lines of a coil with one quality, cause and set of engines; without overlaps
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    _of_coil(),
    sa.Column("first_line", sa.BigInteger, nullable=False),
    sa.Column("lines", sa.BigInteger, nullable=False),
    sa.Column("along_begin_mm", sa.Double, nullable=False),
    sa.Column("along_end_mm", sa.Double, nullable=False),
    sa.Column("quality", sa.String, nullable=False),
    sa.Column("cause", sa.String),
    sa.Column("inspected_mm2", sa.Double),  # this and the next two: NULL where the service did not tell areas
    sa.Column("degraded_mm2", sa.Double),
    sa.Column("missed_mm2", sa.Double),
    sa.Column("engines_id", _Key, sa.ForeignKey("engines.id"), nullable=False),
    sa.Index(None, "coil_id", "first_line"),
)

DEFECT: Final = sa.Table(
    "defect",  # a defect as last reported; its fields by `contracts.verdict.Defect`
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    _of_coil(),
    sa.Column("name", sa.String, nullable=False),  # its id on the wire, unique in its coil
    sa.Column("state", sa.String, nullable=False),
    sa.Column("merged_into", sa.String),  # the name of the defect that it became part of
    *_defect_columns(),
    # Whether a part of its mask had more runs than a message may hold.
    sa.Column("mask_dropped", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("more", sa.JSON),  # fields of the message without a column
    sa.UniqueConstraint("coil_id", "name"),
    sa.Index(
        "ix_defect_along",
        *("coil_id", "along_begin_mm", "id"),
        sqlite_where=sa.text("merged_into IS NULL"),
        postgresql_where=sa.text("merged_into IS NULL"),
    ),
    sa.Index(
        "ix_defect_class_along",
        *("coil_id", "defect_class", "along_begin_mm", "id"),
        sqlite_where=sa.text("merged_into IS NULL"),
        postgresql_where=sa.text("merged_into IS NULL"),
    ),
    sa.Index(
        "ix_defect_class_probability",  # for the least certain ones: of a million, a scan takes seconds
        *("defect_class", "probability", "id"),
        sqlite_where=sa.text("merged_into IS NULL"),
        postgresql_where=sa.text("merged_into IS NULL"),
    ),
)

MASK: Final = sa.Table(
    "mask",  # a part of a defect's mask: one per message with a mask
    METADATA,
    sa.Column("defect_id", _Key, sa.ForeignKey("defect.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("part", sa.Integer, primary_key=True),
    sa.Column("first_line", sa.BigInteger, nullable=False),
    sa.Column("runs", sa.Integer, nullable=False),
    sa.Column("packed", sa.LargeBinary, nullable=False),  # zlib of little-endian int32 (line, start_px, stop_px)
)

IMAGE: Final = sa.Table(
    "image",  # an image of a defect in a file of the archive, with its window in lines and columns, as of masks
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("coil_id", _Key, sa.ForeignKey("coil.id", ondelete="SET NULL")),  # NULL: expired, the file goes next
    sa.Column("name", sa.String, nullable=False),  # of the defect, whose row may come later
    sa.Column("severity", sa.Integer, nullable=False),  # 0: not graded
    sa.Column("area_mm2", sa.Double, nullable=False),
    sa.Column("path", sa.String, nullable=False),  # below the archive's folder
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("stored_unix_ns", sa.BigInteger, nullable=False),
    sa.Column("first_line", sa.BigInteger, nullable=False),
    sa.Column("lines", sa.Integer, nullable=False),
    sa.Column("left_px", sa.Integer, nullable=False),
    sa.Column("columns", sa.Integer, nullable=False),
    sa.Column("scale", sa.Double, nullable=False),
    sa.Column("across_begin_mm", sa.Double, nullable=False),
    sa.Column("across_end_mm", sa.Double, nullable=False),
    sa.Column("along_begin_mm", sa.Double, nullable=False),
    sa.Column("along_end_mm", sa.Double, nullable=False),
    sa.UniqueConstraint("coil_id", "name"),
    sa.Index(None, "coil_id", "severity", "area_mm2"),
    sa.Index(None, "severity", "stored_unix_ns"),
)

CLASS_COUNT: Final = sa.Table(
    "class_count",  # a coil's defects by class without merged ones; stored, as counting takes too long
    METADATA,
    sa.Column("coil_id", _Key, sa.ForeignKey("coil.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("defect_class", sa.String, primary_key=True),
    sa.Column("defects", sa.BigInteger, nullable=False),
    sa.Column("called", sa.BigInteger, nullable=False, server_default="0"),  # of them: neither tentative nor a part
)

STRIP_WIDTH: Final = sa.Table(
    "strip_width",  # frames of a coil by the width of the strip in them, in whole millimetres
    METADATA,
    sa.Column("coil_id", _Key, sa.ForeignKey("coil.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("width_mm", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("frames", sa.BigInteger, nullable=False),
)

ROLL_MARK: Final = sa.Table(
    "roll_mark",  # a row of roll marks as last reported
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    _of_coil(),
    sa.Column("name", sa.String, nullable=False),  # its id on the wire, unique in its coil
    sa.Column("state", sa.String, nullable=False),
    sa.Column("defect_class", sa.String, nullable=False),
    sa.Column("pitch_mm", sa.Double, nullable=False),
    sa.Column("pitch_error_mm", sa.Double, nullable=False),
    sa.Column("confidence", sa.Double, nullable=False),
    sa.Column("marks", sa.BigInteger, nullable=False),
    sa.Column("marks_due", sa.BigInteger, nullable=False),
    sa.Column("along_begin_mm", sa.Double, nullable=False),
    sa.Column("along_end_mm", sa.Double, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),  # the whole message
    sa.UniqueConstraint("coil_id", "name"),
)

ROLL_MARK_DEFECT: Final = sa.Table(
    "roll_mark_defect",  # every defect ever named as one of its marks: a message names the newest only
    METADATA,
    sa.Column("roll_mark_id", _Key, sa.ForeignKey("roll_mark.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("defect", sa.String, primary_key=True),  # its name; its row may come after the roll mark
)

ALARM: Final = sa.Table(
    "alarm",  # a transition
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("service_id", _Key, sa.ForeignKey("service.id"), nullable=False),
    sa.Column("journal", sa.Integer, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("sequence", sa.BigInteger, nullable=False),
    sa.Column("coil_epoch", sa.BigInteger, nullable=False, server_default="0"),  # in which the next one began
    sa.Column("coil_ordinal", sa.BigInteger, nullable=False),  # of the coil then under the camera
    sa.Column("coil", sa.String, nullable=False),  # the alarm's coil: an earlier one when it is cleared late
    sa.Column("name", sa.String, nullable=False),  # its id on the wire
    sa.Column("rule", sa.String, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("along_mm", sa.Double, nullable=False),
    sa.Column("happened_unix_ns", sa.BigInteger, nullable=False),
    sa.Column("body", sa.JSON, nullable=False),  # the whole message
    sa.UniqueConstraint("service_id", "journal", "epoch", "sequence"),
    sa.Index(None, "service_id", "journal", "coil_epoch", "coil_ordinal"),
    sa.Index(None, "happened_unix_ns"),
)

LABEL: Final = sa.Table(
    "label",  # a person's label of a defect, with a copy of the defect, as it outlives the coil
    METADATA,
    sa.Column("id", _Key, primary_key=True),
    sa.Column("defect_id", _Key, sa.ForeignKey("defect.id", ondelete="SET NULL"), index=True),
    sa.Column("verdict", sa.String, nullable=False),
    sa.Column("right_class", sa.String),  # for a wrong class
    sa.Column("who", sa.String, nullable=False),
    sa.Column("said_unix_ns", sa.BigInteger, nullable=False),
    sa.Column("service", sa.String, nullable=False),
    sa.Column("coil", sa.String, nullable=False),
    sa.Column("side", sa.String, nullable=False),
    sa.Column("camera", sa.String, nullable=False),
    sa.Column("begun_unix_ns", sa.BigInteger, nullable=False),  # of the coil: distinguishes passages of one id
    sa.Column("name", sa.String, nullable=False),
    sa.Column("found_class", sa.String, nullable=False),
    sa.Column("confidence", sa.Double, nullable=False),
    sa.Column("across_begin_mm", sa.Double, nullable=False),
    sa.Column("across_end_mm", sa.Double, nullable=False),
    sa.Column("along_begin_mm", sa.Double, nullable=False),
    sa.Column("along_end_mm", sa.Double, nullable=False),
)
