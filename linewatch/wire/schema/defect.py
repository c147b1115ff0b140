"""Topic `defect`, and the mask in its payload."""

from dataclasses import MISSING
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field, PrivateAttr, create_model

from linewatch.contracts.defect_fields import DEFECT_FIELDS, DefectField
from linewatch.contracts.errors import WireError
from linewatch.contracts.verdict import DefectState, Extent
from linewatch.wire.schema.base import (
    MAX_MASK_RUNS,
    MAX_PAYLOAD_BYTES,
    Count,
    Message,
    Timed,
    Topic,
)

_NO_RUNS = np.empty((0, 3), np.int32)
_NO_RUNS.flags.writeable = False


class MaskBody(Message):
    """The defect's mask in this frame; its runs are the message's payload."""

    first_line: Count = Field(description="strip line from which the runs' lines count")
    runs: Annotated[int, Field(ge=0, le=MAX_MASK_RUNS)]


def _default(field: DefectField) -> Any:
    """Return the default of a field; `...` for none.

    Records of before 2026-12 get the probability that defects have without a model.
    """
    if field.name == "probability":
        return Field(default_factory=lambda told: told["peak" if told["extent"] is Extent.MASK else "confidence"])
    return ... if field.default is MISSING else field.default


if TYPE_CHECKING:

    class _DefectFields(Message):
        def __getattr__(self, name: str) -> Any: ...

else:  # the fields of `contracts.verdict.Defect` as a flat record: one that is added there is here as well
    _DefectFields = create_model(
        "_DefectFields",
        __base__=Message,
        **{one.name: (one.annotation, _default(one)) for one in DEFECT_FIELDS},
    )


class DefectBody(_DefectFields):
    """A step in one defect's life; its figures are those of the whole defect as known so far."""

    state: DefectState
    ordinal: Count | None = Field(description="of the frame that brought this step; null at the end of the coil")
    merged_into: str | None = Field(description="the defect that this one grew into; only when closed")
    mask: MaskBody | None = Field(description="null when this frame adds nothing; the payload is empty then")
    mask_dropped: bool = Field(default=False, description="there was a mask, of more runs than a message may hold")


class DefectMessage(DefectBody, Timed):
    """Topic `defect`. `runs` holds the mask, decoded from the payload."""

    topic: Literal[Topic.DEFECT]
    _runs: np.ndarray = PrivateAttr(default_factory=lambda: _NO_RUNS)

    @property
    def runs(self) -> np.ndarray:
        """int32 (n, 3), rows (line, start_px, stop_px): line from `mask.first_line`, columns [start, stop)."""
        return self._runs


def encode_runs(runs: np.ndarray) -> bytes:
    """Payload of a defect: little-endian int32 triples (line, start_px, stop_px). Raises WireError for no integers."""
    if runs.dtype.kind not in "iu":
        raise WireError(f"a mask of {runs.dtype} numbers, expected whole ones")
    return np.ascontiguousarray(runs, "<i4").tobytes()


def decode_runs(payload: bytes) -> np.ndarray:
    """int32 (n, 3) of a payload. Raises WireError when it is no mask: too large, ragged, unsorted or overlapping."""
    if not payload:
        return _NO_RUNS
    if len(payload) > MAX_PAYLOAD_BYTES or len(payload) % 12:
        raise WireError(f"a mask of {len(payload)} bytes; expected int32 triples, at most {MAX_MASK_RUNS} of them")
    runs = np.frombuffer(payload, "<i4").reshape(-1, 3)
    line, start, stop = runs.T
    ascends = (line[1:] > line[:-1]) | ((line[1:] == line[:-1]) & (start[1:] >= stop[:-1]))
    if (runs < 0).any() or (start >= stop).any() or not ascends.all():
        raise WireError("a mask whose runs are not sorted, half-open and disjoint")
    return runs
