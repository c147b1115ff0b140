"""Topic `defect`, and the mask in its payload."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PrivateAttr

from linewatch.contracts.errors import WireError
from linewatch.contracts.verdict import DefectState, Extent
from linewatch.wire.schema.base import (
    MAX_MASK_RUNS,
    MAX_PAYLOAD_BYTES,
    Count,
    IntervalMm,
    Message,
    Score,
    Severity,
    Timed,
    Topic,
)


class MaskBody(Message):
    """The defect's mask in this frame; its runs are the message's payload."""

    first_line: Count = Field(description="strip line from which the runs' lines count")
    runs: Annotated[int, Field(ge=0, le=MAX_MASK_RUNS)]


class DefectBody(Message):
    """A step in one defect's life; its figures are those of the whole defect as known so far."""

    state: DefectState
    id: str
    ordinal: Count | None = Field(description="of the frame that brought this step; null at the end of the coil")
    coil: str
    side: str
    camera: str
    defect_class: str
    confidence: Score
    peak: Score = Field(description="highest defect probability in it")
    across_mm: IntervalMm
    along_mm: IntervalMm
    area_mm2: Annotated[float, Field(ge=0)]
    edge_mm: float | None = Field(description="from the nearest strip edge that was seen; null when none was")
    extent: Extent
    frames: Count = Field(description="that it spans")
    class_scores: dict[str, Score] = Field(default={}, description="of the most likely classes")
    length_mm: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="of the rectangle with the outline's second moments, whatever way it lies"
    )
    width_mm: Annotated[float, Field(ge=0)] = 0.0
    orientation_deg: Annotated[float, Field(gt=-90, le=90)] = Field(
        default=0.0, description="of the length: 0 along the strip, 90 across; positive: across grows with along"
    )
    contrast: Annotated[float, Field(ge=-1, le=1)] | None = Field(
        default=None, description="mean gray less that of the steel around it, of full scale; null when not known"
    )
    part_of: str | None = Field(default=None, description="first part of a defect so long that it is closed in parts")
    merged_into: str | None = Field(description="the defect that this one grew into; only when closed")
    mask: MaskBody | None = Field(description="null when this frame adds nothing; the payload is empty then")
    mask_dropped: bool = Field(default=False, description="there was a mask, of more runs than a message may hold")
    severity: Severity | None = Field(default=None, description="by the grading rules; null: not graded")
    tentative: bool = Field(
        default=False,
        description="below what its class must reach to be called (`[decision] operating_point`): it neither grades "
        "nor alarms",
    )
    excluded: bool = Field(
        default=False,
        description="all of it lies in an excluded end: it neither grades nor alarms",
    )


class DefectMessage(DefectBody, Timed):
    """Topic `defect`. `runs` holds the mask, decoded from the payload."""

    topic: Literal[Topic.DEFECT]
    _runs: np.ndarray = PrivateAttr(default_factory=lambda: np.empty((0, 3), np.int32))

    @property
    def runs(self) -> np.ndarray:
        """int32 (n, 3), rows (line, start_px, stop_px): line from `mask.first_line`, columns [start, stop)."""
        return self._runs


def encode_runs(runs: np.ndarray) -> bytes:
    """Payload of a defect: little-endian int32 triples (line, start_px, stop_px)."""
    return np.ascontiguousarray(runs, "<i4").tobytes()


def decode_runs(payload: bytes) -> np.ndarray:
    """int32 (n, 3) of a payload. Raises WireError when it is no mask: too large, ragged, unsorted or overlapping."""
    if len(payload) > MAX_PAYLOAD_BYTES or len(payload) % 12:
        raise WireError(f"a mask of {len(payload)} bytes; expected int32 triples, at most {MAX_MASK_RUNS} of them")
    runs = np.frombuffer(payload, "<i4").reshape(-1, 3)
    line, start, stop = runs.T
    ascends = (line[1:] > line[:-1]) | ((line[1:] == line[:-1]) & (start[1:] >= stop[:-1]))
    if (runs < 0).any() or (start >= stop).any() or not ascends.all():
        raise WireError("a mask whose runs are not sorted, half-open and disjoint")
    return runs
