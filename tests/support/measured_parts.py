"""Parts of a camera's calibration with plain figures, without pictures."""

from datetime import UTC, datetime

from linewatch.config.calibration_part import Measured
from linewatch.config.line_parts import CameraGeometry, CameraOverlap, EdgeThresholds, EncoderScale

MADE = datetime(2026, 11, 30, 12, tzinfo=UTC)


def exactly(value: float) -> Measured:
    return Measured(value=value, uncertainty=0.001)


def geometry(width_px: int = 640, mm_per_px: float = 0.49, distortion_px: tuple[float, ...] = (0.0, -9.0)):
    return CameraGeometry(
        made=MADE,
        by="me",
        source="target",
        width_px=width_px,
        across_offset_mm=exactly(-150.0),
        mm_per_px=exactly(mm_per_px),
        distortion_px=distortion_px,
        distortion_mm=1.7,
        position_uncertainty_mm=0.004,
        residual_mm=0.01,
        pitch_mm=10.0,
        edges=60,
    )


def encoder(width_px: int = 640, counts_per_mm: float = 10.2):
    return EncoderScale(
        made=MADE,
        by="me",
        source="marks",
        width_px=width_px,
        counts_per_mm=exactly(counts_per_mm),
        length_mm=exactly(5000.0),
        counts=exactly(5000.0 * counts_per_mm),
    )


def overlap(width_px: int = 640, geometry_made: datetime | None = MADE):
    return CameraOverlap(
        made=MADE,
        by="me",
        source="strip",
        width_px=width_px,
        neighbour="L",
        across_shift_mm=exactly(1.5),
        along_offset_mm=exactly(-9.6),
        overlap_mm=30.0,
        correlation=0.9,
        geometry_made=geometry_made,
    )


def edges(width_px: int = 640, edge_level: int = 45):
    return EdgeThresholds(
        made=MADE,
        by="me",
        source="strip",
        width_px=width_px,
        edge_level=edge_level,
        edge_min_width_px=60,
        background_level=exactly(20.0),
        strip_level=exactly(100.0),
        wrong_columns=0.0,
        edge_scatter_px=0.4,
    )
