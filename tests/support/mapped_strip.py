"""Strip that one engine inspected as a whole: predictions with maps, as inference gives them."""

from dataclasses import replace

import cv2
import numpy as np
from known_strip import predict

from linewatch.contracts.frame import StripEdges
from linewatch.contracts.prediction import Prediction
from linewatch.decision.rules import DecisionRules

CELL_PX = 4
CLASSES = ("torn_spot", "edge_mark", "scratch", "sliver")
MAP_RULES = DecisionRules(
    defect_threshold_u8=102,
    class_thresholds=dict.fromkeys(CLASSES, 0.5),
    min_area_mm2=4.0,
    merge_gap_mm=2.0,
    outlined_classes=frozenset(CLASSES),
)


def mapped(
    maps: np.ndarray,
    *,
    classes: tuple[str, ...] = CLASSES,
    pixels: np.ndarray | None = None,
    edges: StripEdges | None = None,
    valid_lines: int | None = None,
    **kwargs,
) -> Prediction:
    """The prediction of one frame with these maps, float32 (2 + classes, rows, columns), 0.5 mm a pixel."""
    rows, columns = maps.shape[1:]
    size = columns * CELL_PX, rows * CELL_PX
    plane = cv2.resize(np.nan_to_num(maps[1], nan=0.0).clip(0, 1), size, interpolation=cv2.INTER_LINEAR)
    told = predict(
        np.rint(plane * 255).astype(np.uint8),
        edges=edges,
        valid_lines=valid_lines,
        mm_per_px=0.5,
        mm_per_line=0.5,
        tile_width=min(256, size[0]),
        **kwargs,
    )
    passed = len(told.class_scores)
    return replace(
        told,
        frame=replace(told.frame, pixels=pixels),
        class_scores=np.zeros((passed, len(classes)), np.float32),
        classes=classes,
        engines=("inspect@0",),
        maps=maps,
    )


def maps_of(plane: np.ndarray, shares: np.ndarray | None = None, screen: np.ndarray | None = None) -> np.ndarray:
    """Maps with this plane 1, (rows, columns); the shares, (classes, rows, columns), are equal unless given."""
    if shares is None:
        shares = np.full((len(CLASSES), *plane.shape), 1 / len(CLASSES))
    return np.stack([plane if screen is None else screen, plane, *shares]).astype(np.float32)
