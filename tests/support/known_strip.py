"""A strip whose mask is known, cut into predictions as inference would give them."""

from collections.abc import Iterable

import numpy as np

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.frame import Cause, Frame, StripEdges, extent
from linewatch.contracts.prediction import Depth, Prediction
from linewatch.contracts.verdict import CoilNotice, Decided, DefectEvent, DefectState, Verdict
from linewatch.decision.decide import DecisionState, decide, finish
from linewatch.decision.rules import DecisionRules
from linewatch.geometry.grid import tile_grid, tiles_on
from linewatch.geometry.stitch import cut

CLASSES = ("scratches", "inclusion", "water")
RULES = DecisionRules(
    defect_threshold_u8=128,
    class_thresholds=dict.fromkeys(CLASSES, 0.5),
    min_area_mm2=0.0,
    merge_gap_mm=0.0,
    pseudo_classes=frozenset({"water"}),
)


def predict(
    probability: np.ndarray,
    *,
    first_line: int = 0,
    ordinal: int = 0,
    coil: str = "C1",
    lines: int | None = None,
    valid_lines: int | None = None,
    fault: Cause | None = None,
    degraded: Cause | None = None,
    failed: Cause | None = None,
    edges: StripEdges | None = None,
    scores: dict[int, tuple[float, ...]] | tuple[float, ...] = (0.4, 0.1, 0.1),
    scored_px: int | None = None,
    tile_width: int | None = None,
    only: Iterable[int] | None = None,
    mm_per_px: float = 1.0,
    mm_per_line: float = 1.0,
    columns: AcrossMap | None = None,
) -> Prediction:
    """The prediction of one frame of `probability` uint8 (lines, width); all its tiles passed (or the `only` ones).

    scores: of every tile, or by the tile's index (others score 0). scored_px: None: all strip that can be judged.
    columns: where they lie across; None: from 0 on, `mm_per_px` each.
    """
    height, width = probability.shape
    valid_lines = height if valid_lines is None else valid_lines
    edges = edges or StripEdges(0, width, False, False)
    tiles = tiles_on(tile_grid(height, width, height, min(tile_width or width, width)), edges) if height else ()
    passed = np.array([only is None or i in set(only) for i in range(len(tiles))], dtype=bool)
    of_tile = scores if isinstance(scores, dict) else dict.fromkeys(range(len(tiles)), scores)
    rows = [i for i in range(len(tiles)) if passed[i]]
    if failed or degraded:
        rows = []
    frame = Frame(
        pixels=None,
        slot=None,
        ordinal=ordinal,
        coil=coil,
        side="top",
        camera="cam1",
        sequence=ordinal,
        first_line=first_line,
        lines=height if lines is None else lines,
        valid_lines=valid_lines,
        encoder_count=first_line,
        along_mm=first_line * mm_per_line,
        mm_per_line=mm_per_line,
        columns=columns or AcrossMap(0.0, mm_per_px, width),
        captured_ns=ordinal,
        fault=fault,
    )
    return Prediction(
        frame=frame,
        edges=edges,
        tiles=tiles,
        screen_scores=np.full(len(tiles), 0.5, np.float32),
        passed=passed,
        class_scores=np.array([of_tile.get(i, (0.0,) * len(CLASSES)) for i in rows], np.float32).reshape(
            -1, len(CLASSES)
        ),
        probability=np.stack([cut(probability, tiles[i]) for i in rows])
        if rows
        else np.zeros((0, height, tile_width or width), np.uint8),
        classes=CLASSES,
        engines=("screen@0", "classify@0", "segment@0"),
        scored_px=0 if failed else _readable_px(edges, valid_lines) if scored_px is None else scored_px,
        degraded=degraded,
        depth=Depth.SCREENED if degraded else Depth.SEGMENTED,
        failed=failed,
    )


def _readable_px(edges: StripEdges, valid_lines: int) -> int:
    lines = valid_lines - extent(edges.dark_lines) - extent(edges.bright_lines)
    return lines * (edges.width_px - extent(edges.dark_columns) - extent(edges.bright_columns))


def cut_strip(probability: np.ndarray, heights: Iterable[int], **kwargs) -> list[Prediction]:
    """The strip `probability` (lines, width) as frames of the given heights; the last takes what is left."""
    predictions, line = [], 0
    for height in [*heights, len(probability)]:
        part = probability[line : line + height]
        if len(part):
            predictions.append(predict(part, first_line=line, ordinal=len(predictions), **kwargs))
            line += len(part)
    return predictions


def run(
    predictions: Iterable[Prediction], rules: DecisionRules = RULES, state: DecisionState | None = None
) -> list[Decided]:
    """Everything that is decided, to the end of the stream."""
    state, decided = state or DecisionState.initial(), []
    for prediction in predictions:
        state, more = decide(state, prediction, rules)
        decided += more
    return [*decided, *finish(state)]


def verdicts(decided: Iterable[Decided]) -> list[Verdict]:
    return [item for item in decided if isinstance(item, Verdict)]


def notices(decided: Iterable[Decided]) -> list[CoilNotice]:
    return [item for item in decided if isinstance(item, CoilNotice)]


def events(decided: Iterable[Decided]) -> list[DefectEvent]:
    return [event for item in decided for event in item.defects]


def alarms(decided: Iterable[Decided]):
    return [alarm for item in decided for alarm in item.alarms]


def instances(decided: Iterable[Decided]):
    """The defects as they ended, without those that merged into others."""
    return [e.defect for e in events(decided) if e.state is DefectState.CLOSED and e.merged_into is None]


def paint(lines: int, width: int, *rectangles: tuple[int, int, int, int], value: int = 200) -> np.ndarray:
    """Probability uint8 (lines, width): `value` on rectangles (first_line, stop_line, left_px, right_px)."""
    probability = np.zeros((lines, width), np.uint8)
    for top, bottom, left, right in rectangles:
        probability[top:bottom, left:right] = value
    return probability
