"""Inspected area is the area of the cells that were scored, whatever the engines answer and whatever else goes wrong.

The cascade and the decision are the real ones, and so are the workload and the pool; the engines behave badly.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
from asked_at_once import AskedAtOnce
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st

from linewatch.config.line import LineSettings
from linewatch.contracts.across import AcrossMap
from linewatch.contracts.coil import CoilConditions, CoilData
from linewatch.contracts.errors import EngineError
from linewatch.contracts.frame import Cause, Frame, StripEdges
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.prediction import Prediction
from linewatch.contracts.tile import Batch, BatchResult
from linewatch.contracts.verdict import CoilNotice, CoilState, Quality, Verdict
from linewatch.decision.coverage import JUDGED_SHARE, LEAST_SHARE, WIDTH_TOLERANCE
from linewatch.decision.decide import DecisionState, decide, finish
from linewatch.decision.rules import DecisionRules
from linewatch.inference.cascade import Cascade
from linewatch.inference.engines import EngineSet, load_engines
from linewatch.inference.pool import EnginePool
from linewatch.inference.settings import InferenceSettings
from linewatch.inference.shadow import Shadow
from linewatch.inference.workload import Workload

LINES, WIDTH, STRIP_PX = 64, 208, 150
MM_PER_PX, MM_PER_LINE = 0.5, 0.8
LADDER = (1, 2, 4)
MS = 1_000_000


@dataclass
class BadExecutor:
    """An engine's executor that answers at random: scores, no scores, too few rows, or an error."""

    manifest: EngineManifest
    backend: "BadBackend"

    @property
    def dice(self) -> random.Random:
        return self.backend.dice

    def run(self, pixels: np.ndarray, rows: int, out: np.ndarray | None = None) -> np.ndarray:
        answer = self._answer(rows)
        if not self.backend.on_strip:
            return answer
        match self.dice.randrange(8):
            case 0:
                raise EngineError("out of memory")
            case 1:
                return answer[: self.dice.randrange(rows + 1)]
            case 2 | 3 if answer.dtype.kind == "f":
                for _ in range(self.dice.randrange(1, 40)):
                    at = tuple(self.dice.randrange(size) for size in answer.shape)
                    answer[at] = self.dice.choice([np.nan, np.inf, -np.inf, -0.5, 1.5, 80.0])
        return answer

    def _answer(self, rows: int) -> np.ndarray:
        rng, spec = np.random.default_rng(self.dice.randrange(2**32)), self.manifest
        if spec.cell_px is not None:
            cells = spec.input.lines // spec.cell_px, spec.input.width // spec.cell_px
            if spec.task is Task.SCREEN:
                return rng.random((rows, *cells), np.float32) ** 8
            maps = rng.random((rows, 2 + len(spec.classes), *cells), np.float32)
            maps[:, 2:] /= maps[:, 2:].sum(axis=1, keepdims=True)
            return maps
        if spec.task is Task.CLASSIFY:
            return rng.random((rows, len(spec.classes)), np.float32)
        return rng.integers(0, 256, (rows, spec.input.lines, spec.input.width), np.uint8)

    def close(self) -> None:
        pass


@dataclass
class BadBackend:
    name: str = "bad"
    dice: random.Random = field(default_factory=random.Random)
    on_strip: bool = False  # engines are tried out when they are loaded, and behave then

    def open(
        self, manifest: EngineManifest, model: bytes, ladder: Sequence[int], workers: int
    ) -> tuple[BadExecutor, ...]:
        return tuple(BadExecutor(manifest, self) for _ in range(workers))

    def identity(self, manifest: EngineManifest) -> str:
        return f"{manifest.name}@bad"


@dataclass
class Expected:
    """What an independent account says of a frame: a mask of pixels that were scored, filled as answers go by."""

    frame: Frame
    edges: StripEdges | None
    scored: np.ndarray = field(default_factory=lambda: np.zeros((LINES, WIDTH), bool))

    def note(self, x: int, y: int, cell_px: int, score_map: np.ndarray) -> None:
        """Note the answer to a tile: a screen's scores, or an inspect engine's planes of maps."""
        good = np.isfinite(score_map) & (score_map >= 0) & (score_map <= 1)
        if good.ndim == 3:
            good = good.all(axis=0)
        shown = np.kron(good, np.ones((cell_px, cell_px), bool)).astype(bool)
        view = self.scored[y : y + shown.shape[0], x : x + shown.shape[1]]
        view |= shown[: view.shape[0], : view.shape[1]]

    def scored_px(self) -> int:
        on_strip = np.zeros((LINES, WIDTH), bool)
        edges = self.edges
        if edges is None or self.frame.pixels is None:
            return 0
        on_strip[: self.frame.valid_lines, edges.left_px : edges.right_px] = True
        for start, stop in (*edges.dark_columns, *edges.bright_columns):
            on_strip[:, start:stop] = False
        for start, stop in (*edges.dark_lines, *edges.bright_lines):
            on_strip[start:stop] = False
        return int((self.scored & on_strip).sum())


@st.composite
def strips(draw: st.DrawFn) -> list[tuple[Frame, StripEdges | None]]:
    """Frames of one coil: whole, cut short, lost, without strip, too narrow, partly dark or blown out."""
    frames: list[tuple[Frame, StripEdges | None]] = []
    line = 0
    for ordinal in range(draw(st.integers(1, 10))):
        lines = draw(st.sampled_from([LINES, LINES, LINES - 7, 1]))
        valid = draw(st.sampled_from([lines, lines, lines, lines // 2, 0]))
        left = draw(st.integers(1, WIDTH - STRIP_PX - 1))
        right = left + draw(st.sampled_from([STRIP_PX, STRIP_PX, STRIP_PX - 2, STRIP_PX - 5, 100, 60, 0]))
        edges: StripEdges | None = (
            StripEdges(left, right, True, True) if right > left else StripEdges(0, 0, False, False)
        )
        assert edges is not None
        if draw(st.integers(0, 3)) == 0 and valid > 8 and right - left >= 60:
            edges = replace(
                edges,
                dark_columns=((left, left + 20),),
                bright_columns=((left + 40, left + 45),),
                dark_lines=((0, 4),),
                bright_lines=draw(st.sampled_from([(), ((4, 8),)])),
            )
        frames.append((_frame(ordinal, line, lines, valid), edges if valid else None))
        line += lines
    return frames


def _frame(ordinal: int, first_line: int, lines: int, valid: int) -> Frame:
    pixels = np.full((LINES, WIDTH), 120, np.uint8)
    pixels[valid:] = 0
    return Frame(
        pixels=pixels if valid else None,
        slot=ordinal if valid else None,
        ordinal=ordinal,
        coil="C1",
        side="top",
        camera="cam1",
        sequence=ordinal,
        first_line=first_line,
        lines=lines,
        valid_lines=valid,
        encoder_count=0,
        along_mm=first_line * MM_PER_LINE,
        mm_per_line=MM_PER_LINE,
        columns=AcrossMap(0.0, MM_PER_PX, WIDTH),
        captured_ns=1,
        fault=None if valid == lines else Cause.LOST,
    )


def _predict(
    cascade: Cascade, pool: EnginePool, frames: list[tuple[Frame, StripEdges | None]], dice: random.Random, engines: Any
) -> tuple[list[Prediction], dict[int, Expected]]:
    """Drive a chain in any order of results; a shadow comes and goes, the engine that looks at every frame is exchanged
    on the way.
    """
    looks = engines.looks
    task = looks.manifest.task
    expected = {frame.ordinal: Expected(frame, edges) for frame, edges in frames}
    running: list[Batch] = []
    predictions: list[Prediction] = []
    waiting, now_ns = list(frames), 1
    while waiting or cascade.pending:
        now_ns += dice.randrange(40) * MS
        step = dice.choice(["feed", "run", "run", "run", "due", "exchange"])
        if step == "feed" and waiting:
            running += cascade.feed(
                replace(waiting[0][0], captured_ns=now_ns - dice.randrange(3) * 10 * MS), waiting.pop(0)[1], now_ns
            )
        elif step == "exchange":
            lineup = cascade.lineup
            if lineup.shadow is not None:
                cascade.use(lineup.with_shadow(None) if dice.random() < 0.5 else lineup.with_promoted(looks, 1))
            elif lineup.generations[task] == 0:
                cascade.use(lineup.with_shadow(Shadow(looks, looks, 0.5, AskedAtOnce(looks))))
        elif running:
            batch = running.pop(dice.randrange(len(running)))
            result = pool.run(0, batch)
            if batch.engine == task and result.output is None and dice.random() < 0.5:
                result = _unchecked(result, pool)
            for row, ref in enumerate(batch.refs if batch.engine == task else ()):
                decides = batch.generation == cascade._pending[ref.ordinal].lineup.generations[task]
                if decides and result.output is not None and row < len(result.output):
                    cell_px = looks.manifest.cell_px
                    expected[ref.ordinal].note(ref.tile.x, ref.tile.y, cell_px, result.output[row])
            running += cascade.done(replace(result, took_ns=dice.randrange(1, 30) * MS), now_ns)
        else:
            running += cascade.flush()
        predictions += cascade.take_ready()
    return predictions, expected


def _unchecked(result: BatchResult, pool: EnginePool) -> BatchResult:
    """Return an answer that the pool's own check of the scores has not seen."""
    executor = pool._loaded[Task(result.batch.engine), 0].executors[0]
    try:
        return replace(result, output=executor.run(result.batch.pixels, len(result.batch.refs)), error=None)
    except EngineError:
        return result


@pytest.mark.slow
@pytest.mark.parametrize("looks", ["screen", "screen-tiles", "inspect", "inspect-tiles"])
@pytest.mark.parametrize("hurried", [False, True])
@limits(max_examples=30, deadline=None)
@given(frames=strips(), seed=st.integers(0, 2**32))
def test_inspected_area_is_the_area_of_scored_cells(
    settings: InferenceSettings,
    line: LineSettings,
    looks: str,
    hurried: bool,
    frames: list[tuple[Frame, StripEdges | None]],
    seed: int,
) -> None:
    dice = random.Random(seed)
    chain = "inspect" if looks.startswith("inspect") else "cascade"
    named = {"chain": chain, "inspect" if chain == "inspect" else "screen": looks}
    settings = settings.model_copy(update={**named, "screen_threshold": 0.5, "claim_share": 0.5, "ladder": LADDER})
    engines: EngineSet = load_engines(settings)
    backend = BadBackend(dice=dice)
    workload = Workload(1, 60.0) if hurried else None
    with EnginePool(engines, backend, LADDER, workers=1) as pool:  # type: ignore[arg-type]
        pool.load(engines.looks, 1, backend)  # type: ignore[arg-type]
        backend.on_strip = True
        predictions, expected = _predict(Cascade(engines, settings, line, workload), pool, frames, dice, engines)
    assert [one.frame.ordinal for one in predictions] == list(range(len(frames)))
    rules = DecisionRules(
        defect_threshold_u8=128,
        class_thresholds=dict.fromkeys(engines.names_classes.manifest.classes, 0.5),
        min_area_mm2=0.0,
        merge_gap_mm=0.0,
        view_width_px=WIDTH,
        conditions=CoilConditions(data=CoilData("C1", width_mm=STRIP_PX * MM_PER_PX)),
    )
    state, verdicts = DecisionState.initial(), []
    for prediction in predictions:
        state, decided = decide(state, prediction, rules)
        verdicts += [one for one in decided if isinstance(one, Verdict)]
    mm2 = MM_PER_PX * MM_PER_LINE
    sums = np.zeros(3)
    shown: list[int] = []
    for prediction, verdict in zip(predictions, verdicts, strict=True):
        frame, edges = prediction.frame, prediction.edges
        scored_mm2 = 0.0 if prediction.failed else expected[frame.ordinal].scored_px() * mm2
        area = np.sum([[s.area.inspected_mm2, s.area.degraded_mm2, s.area.missed_mm2] for s in verdict.spans], axis=0)
        looked = (0.0, scored_mm2) if prediction.degraded else (scored_mm2, 0.0)
        assert area[:2] == pytest.approx(looked, abs=0.01)
        seen_px = edges.width_px if edges is not None else 0
        if seen_px and not prediction.failed and seen_px >= (1 - WIDTH_TOLERANCE) * STRIP_PX:
            known_px = {seen_px}
        else:
            known_px = {STRIP_PX} if seen_px else {STRIP_PX, *shown}  # without a picture: what the coil has shown
        beyond_px = STRIP_PX if seen_px else 0
        lines, beyond = (frame.valid_lines, frame.lines - frame.valid_lines) if seen_px else (frame.lines, 0)
        bounds_mm2 = [(px * lines + beyond_px * beyond) * mm2 for px in (min(known_px), max(known_px))]
        assert bounds_mm2[0] - 0.01 <= area.sum() <= bounds_mm2[1] + 0.01
        for span in verdict.spans:
            causes = dict(span.uninspected_mm2)
            assert sum(causes.values()) == pytest.approx(span.area.degraded_mm2 + span.area.missed_mm2, abs=0.01)
            share = (span.area.inspected_mm2 + span.area.degraded_mm2) / max(span.area.passed_mm2, 1e-9)
            assert span.quality is not Quality.INSPECTED or share >= JUDGED_SHARE
            assert span.quality is Quality.MISSED or share >= LEAST_SHARE
        if seen_px >= JUDGED_SHARE * STRIP_PX:
            shown.append(seen_px)
        sums += area
    (end,) = (one for one in finish(state) if isinstance(one, CoilNotice) and one.state is CoilState.ENDED)
    told = (end.area.inspected_mm2, end.area.degraded_mm2, end.area.missed_mm2)
    assert told == pytest.approx(sums)
    assert sum(end.uninspected_mm2_by_cause.values()) == pytest.approx(sums[1:].sum(), abs=0.1)
