"""Rows of roll marks of many passages, with the rolls that are suspected of them."""

from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from linewatch.contracts.verdict import RollMark
from linewatch.history.tables import COIL, ROLL_MARK, SERVICE
from linewatch.wire.decode import roll_mark_from
from linewatch.wire.schema import RollMarkMessage

MARKS_AT_MOST: Final = 5_000


@dataclass(frozen=True, slots=True)
class RollMarkRow:
    """A row of roll marks with its passage."""

    passage: int
    coil: str
    service: str
    begun_unix_ns: int
    mark: RollMark

    @property
    def roll(self) -> str | None:
        """The most likely roll; None where no configured roll would leave such marks."""
        return self.mark.suspects[0].roll if self.mark.suspects else None

    @property
    def stand(self) -> str | None:
        """The stand of the most likely roll."""
        return self.mark.suspects[0].stand if self.mark.suspects else None


def roll_marks(
    connection: sa.Connection,
    *,
    passages: tuple[int, ...] | None = None,
    begun_from_ns: int | None = None,
    limit: int = MARKS_AT_MOST,
) -> list[RollMarkRow]:
    """Return rows of roll marks, the newest passage first, in order along each. passages: None: of all."""
    of_coil = COIL.c.coil, COIL.c.begun_unix_ns, SERVICE.c.name.label("service")
    wanted: sa.Select[Any] = (
        sa.select(ROLL_MARK.c.coil_id, sa.cast(ROLL_MARK.c.body, sa.Text).label("body"), *of_coil)
        .select_from(ROLL_MARK.join(COIL).join(SERVICE))
        .order_by(COIL.c.begun_unix_ns.desc(), ROLL_MARK.c.coil_id.desc(), ROLL_MARK.c.along_begin_mm)
        .limit(limit)
    )
    if passages is not None:
        wanted = wanted.where(ROLL_MARK.c.coil_id.in_(passages))
    if begun_from_ns is not None:
        wanted = wanted.where(COIL.c.begun_unix_ns >= begun_from_ns)
    return [
        RollMarkRow(
            row.coil_id,
            row.coil,
            row.service,
            row.begun_unix_ns,
            roll_mark_from(RollMarkMessage.model_validate_json(row.body)),
        )
        for row in connection.execute(wanted)
    ]
