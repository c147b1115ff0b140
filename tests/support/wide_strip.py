"""A wide strip whose defects are known, seen by several cameras, each decided as its own service would."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from known_strip import RULES as NARROW_RULES
from known_strip import predict

from linewatch.contracts.across import AcrossMap
from linewatch.contracts.frame import Cause, StripEdges
from linewatch.contracts.verdict import CoilNotice, Decided, DefectEvent, DefectState, Verdict
from linewatch.decision.decide import DecisionState, decide, finish
from linewatch.decision.rules import DecisionRules
from linewatch.strip.join import Joiner
from linewatch.strip.settings import StripCamera, StripSettings
from linewatch.wire.decode import decided_from
from linewatch.wire.schema import LINE
from linewatch.wire.verdict_file import line_of

WIDTH_PX, FRAME_LINES = 240, 32
VIEWS = {"cam1": (0, 100), "cam2": (70, 170), "cam3": (140, 240)}
"""The columns that each camera sees; neighbours share 30 of them."""
EDGES = 6, 231
"""The strip's edges."""
GAP_MM = 2.0
RULES = replace(NARROW_RULES, merge_gap_mm=GAP_MM)


def settings(sides: Sequence[str] = ("top", "bottom"), **more) -> StripSettings:
    cameras = [
        StripCamera(name=name, side=side, width_px=stop - start, mm_per_px=1.0, across_offset_mm=float(start))
        for side in sides
        for name, (start, stop) in VIEWS.items()
    ]
    strip = {
        "frame_lines": FRAME_LINES,
        "mm_per_px": 1.0,
        "mm_per_line": 1.0,
        "seam_across_mm": GAP_MM,
        "seam_along_mm": GAP_MM,
    }
    return StripSettings.model_validate({"camera": cameras, "strip": strip, **more})


@dataclass(frozen=True)
class Seen:
    """What one camera tells."""

    key: str
    decided: tuple[Verdict | CoilNotice, ...]


def told(
    mask: np.ndarray,
    key: str,
    view: tuple[int, int],
    *,
    coil: str = "C1",
    begin: int = 0,
    stop: int | None = None,
    frame_lines: int = FRAME_LINES,
    rules: DecisionRules = RULES,
    edges: tuple[int, int] = EDGES,
    failed: Iterable[int] = (),
    distortion_px: tuple[float, ...] = (),
) -> tuple[Decided, ...]:
    """Decide the view's part of a mask, uint8 (lines, WIDTH_PX), frame by frame, as seen through a lens.

    failed: numbers of the frames that were not inspected.
    """
    side, camera = key.split("/")
    state, decided = DecisionState.initial(), []
    rules = replace(rules, side=side, camera=camera)
    columns = AcrossMap(float(view[0]), 1.0, view[1] - view[0], distortion_px)
    looked_at = np.floor(columns.mm(np.arange(columns.width_px) + 0.5)).astype(int)
    left, right = max(edges[0], view[0]) - view[0], min(edges[1], view[1]) - view[0]
    seen = StripEdges(left, right, left > 0, right < view[1] - view[0])
    for ordinal, first in enumerate(range(begin, len(mask) if stop is None else stop, frame_lines)):
        part = np.ascontiguousarray(mask[first : min(first + frame_lines, stop or len(mask)), looked_at])
        lost = {"failed": Cause.ENGINE} if ordinal in set(failed) else {}
        prediction = predict(part, first_line=first, ordinal=ordinal, coil=coil, edges=seen, columns=columns, **lost)
        frame = replace(prediction.frame, side=side, camera=camera)
        engines = (f"eye@{camera}",)
        state, more = decide(state, replace(prediction, frame=frame, engines=engines), rules)
        decided += more
    return (*decided, *finish(state))


def recorded(decided: Iterable[Decided]) -> tuple[Verdict | CoilNotice, ...]:
    """Return decisions as they come back from a verdict file."""
    return tuple(decided_from(LINE.validate_json(line_of(one))) for one in decided)


def by_cameras(mask: np.ndarray | dict[str, np.ndarray], settings: StripSettings, **more) -> list[Seen]:
    """What each camera tells of a strip. mask: of both sides, or by side."""
    masks = mask if isinstance(mask, dict) else {"top": mask, "bottom": mask}
    return [Seen(one.key, recorded(told(masks[one.side], one.key, VIEWS[one.name], **more))) for one in settings.camera]


def joined(settings: StripSettings, seen: Iterable[Seen], order: Iterable[int] | None = None) -> list[Decided]:
    """Join what cameras tell. order: of whose next decision is taken; then the rest, camera by camera."""
    seen = list(seen)
    joiner, decided = Joiner(settings), []
    left = [iter(one.decided) for one in seen]
    over: set[int] = set()

    def step(at: int) -> None:
        one = next(left[at], None)
        if one is not None:
            decided.extend(joiner.take(seen[at].key, one))
        elif at not in over:
            over.add(at)
            decided.extend(joiner.over(seen[at].key))

    for at in order or ():
        step(at % len(seen))
    while len(over) < len(seen):
        for at in range(len(seen)):
            step(at)
    return decided


def heard(settings: StripSettings, seen: Iterable[Seen], silent: str, from_frame: int, until: int) -> list[Decided]:
    """Join cameras of which one is silent from one frame to another; the clock goes on by 100 ms a frame."""
    joiner, decided, kept, seen = Joiner(settings), [], [], list(seen)
    for at in range(max(len(one.decided) for one in seen)):
        now_ns = at * 100_000_000
        for one in seen:
            if at < len(one.decided):
                kept.append((one.key, one.decided[at]))
        if at >= until or at < from_frame:
            say, kept = kept, []
        else:
            say, kept = [x for x in kept if x[0] != silent], [x for x in kept if x[0] == silent]
        for key, one in say:
            decided += joiner.take(key, one, now_ns)
        decided += joiner.tick(now_ns)
    return decided + list(joiner.finish())


def final(decided: Iterable[Decided]) -> Iterator[DefectEvent]:
    """Yield the event with which each defect closed for good."""
    for one in decided:
        yield from (e for e in one.defects if e.state is DefectState.CLOSED and e.merged_into is None)


def blobs(rng: np.random.Generator, lines: int, count: int) -> np.ndarray:
    """A mask with ellipses of all sizes, and scratches that cross the seams."""
    mask = np.zeros((lines, WIDTH_PX), np.uint8)
    for _ in range(count):
        line, column = int(rng.integers(0, lines)), int(rng.integers(*EDGES))
        if rng.random() < 0.4:
            length, slope = int(rng.integers(20, 120)), rng.uniform(-0.8, 0.8)
            for step in range(length):
                at = round(column + slope * step)
                if line + step < lines and EDGES[0] <= at < EDGES[1] - 2:
                    mask[line + step, at : at + 3] = 255
        else:
            high, wide = int(rng.integers(2, 14)), int(rng.integers(2, 14))
            mask[max(line - high, 0) : line, max(column - wide, EDGES[0]) : column] = 255
    return mask
