"""Weeks of coils in a history, as messages bring them: defects with rendered pictures, grades, losses, roll marks.

Run as a program it fills a folder to look at: FOLDER [WEEKS [COILS A WEEK]].
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from stored_coils import messages_of, store_messages

from linewatch.config.history import ImageSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.crop import Crop, CropWindow
from linewatch.contracts.frame import Cause
from linewatch.contracts.manifest import MANIFEST
from linewatch.contracts.prediction import Timing
from linewatch.contracts.verdict import (
    CoilGrade,
    CoilNotice,
    CoilState,
    CoverageSpan,
    Defect,
    DefectEvent,
    DefectState,
    Extent,
    GradeReason,
    Quality,
    RollMark,
    RollMarkState,
    RollSuspect,
    RunMask,
    StripArea,
    StripBox,
    Verdict,
)
from linewatch.geometry.runs import area_px, to_runs
from linewatch.history.archive import ImageArchive
from linewatch.history.database import writing
from linewatch.history.writer import stored_service
from linewatch.simulation.strip import SimulatedStrip
from linewatch.wire.encode import Sequencer
from linewatch.wire.schema import decode

ROOT = Path(__file__).parents[2]
WEEK_NS = 7 * 86_400 * 10**9
STRIP_MM = (24.0, 776.0)
FRAME_MM = 20_000.0
MARGIN_MM = 16.0
LINE = LineSettings(side="top", camera="cam1", width_px=1600, frame_lines=256, mm_per_px=0.5, mm_per_line=1.0)
GRADES = {"A": "prime", "B": "second choice", "C": "to be re-graded"}


@dataclass(frozen=True, slots=True)
class Pattern:
    """A rendered defect: pixels and mask, uint8 of one shape, whose window begins at `left_px`."""

    defect_class: str
    pixels: np.ndarray
    mask: np.ndarray
    left_px: int


def patterns(count: int, seed: int = 7) -> list[Pattern]:
    """Rendered defects with the steel around them."""
    strip = SimulatedStrip(seed, 4 + count, 1.5, LINE)
    found = []
    for true in strip.truth("x").defects:
        across, along = true.box.across_mm, true.box.along_mm
        left, right = max(0, int(2 * (across[0] - MARGIN_MM))), min(1600, int(2 * (across[1] + MARGIN_MM)))
        first, stop = max(0, int(along[0] - MARGIN_MM)), min(strip.total_lines, int(along[1] + MARGIN_MM))
        if stop - first > 250 or right - left > 900:
            continue
        mask = (strip.mask(first, stop - first)[:, left:right] > 0).astype(np.uint8)
        found.append(Pattern(true.defect_class, strip.lines(first, stop - first)[:, left:right], mask, left))
        if len(found) == count:
            break
    return found


def engines() -> tuple[str, ...]:
    """The identity of the shipped engine that inspects whole frames."""
    sha256 = json.loads((ROOT / "engines" / "inspect" / MANIFEST).read_text())["model"]["sha256"]
    return (f"inspect@{sha256[:12]}/onnxruntime-1.31.1/fp32/avx2",)


class Mill:
    """Makes coils one after the other; each is one passage of one epoch. dice: of its own seed."""

    def __init__(self, url: str, images: Path, pictures: int = 24, seed: int = 1) -> None:
        self._url, self._images = url, images
        self._patterns = patterns(pictures)
        self._dice = np.random.default_rng(seed)
        self._sequencer = Sequencer(1, "abc")
        self._count = 0
        self._engines = engines()

    def store(self, coils: Iterator[tuple[str, int, bool]]) -> None:
        """Store coils: name, when it began, and whether its defects have pictures."""
        bounds = ImageSettings(dir=self._images, min_free_mb=16.0)
        with writing(self._url) as engine, ImageArchive(bounds, engine) as archive:
            for name, begun_ns, pictured in coils:
                decided, crops = self._coil(name, begun_ns)
                store_messages(engine, messages_of(*decided, sequencer=self._sequencer), "top-cam1")
                if pictured:
                    records = [self._sequencer.crop(one, 5) for one in crops]
                    with engine.begin() as connection:
                        service = stored_service(connection, "top-cam1")
                    told = [decode(r.topic.encode(), r.header, r.payload) for r in records]
                    assert not archive.store(service, told)
                self._count += 1

    def _coil(self, coil: str, begun_ns: int) -> tuple[list[object], list[Crop]]:
        dice, frames = self._dice, int(self._dice.integers(14, 26))
        worn = 1.0 + 1.5 * (dice.random() < 0.12)
        defects = [self._defect(coil, frames * FRAME_MM) for _ in range(int(dice.poisson(22 * worn)))]
        defects.sort(key=lambda one: one[0].box.along_mm)
        timing = Timing(captured_ns=1, published_ns=1, published_unix_ns=begun_ns)
        decided: list[object] = [self._notice(coil, CoilState.STARTED, timing)]
        lost = Counter[Cause]()
        spans_of = [self._spans(number, lost) for number in range(frames)]
        for number in range(frames):
            begin, end = number * FRAME_MM, (number + 1) * FRAME_MM
            here = [one for one in defects if begin <= one[0].box.along_mm[0] < end]
            events = tuple(DefectEvent(DefectState.CLOSED, defect, mask) for defect, mask, _ in here)
            decided.append(self._verdict(coil, number, events, spans_of[number], timing))
        marks = self._marks(coil, frames * FRAME_MM) if worn > 1 or dice.random() < 0.05 else ()
        share = 1 - sum(lost.values()) / (frames * FRAME_MM * 752)
        grade = self._grade(defects, share, frames * FRAME_MM)
        end_timing = replace(timing, published_unix_ns=begun_ns + 10**9 * 60)
        notice = self._notice(coil, CoilState.ENDED, end_timing, frames * FRAME_MM)
        passed_mm2 = frames * FRAME_MM * 752
        area = StripArea(passed_mm2 - sum(lost.values()), 0.0, float(sum(lost.values())))
        causes = {cause.value: float(mm2) for cause, mm2 in lost.items()}
        decided.append(replace(notice, grade=grade, roll_marks=marks, area=area, uninspected_mm2_by_cause=causes))
        crops = [
            Crop(replace(defect), self._count, None, 0, 1, window, 1.0, png) for defect, _, (window, png) in defects
        ]
        return decided, crops

    def _defect(self, coil: str, length_mm: float) -> tuple[Defect, RunMask, tuple[CropWindow, bytes]]:
        dice = self._dice
        one = self._patterns[int(dice.integers(len(self._patterns)))]
        lines, columns = one.mask.shape
        runs, first = to_runs(one.mask), int(dice.uniform(0, length_mm - 300))
        rows, across = np.flatnonzero(one.mask.any(1)), np.flatnonzero(one.mask.any(0))
        box = StripBox(
            ((one.left_px + across[0]) / 2, (one.left_px + across[-1] + 1) / 2),
            (float(first + rows[0]), float(first + rows[-1] + 1)),
        )
        probability = float(np.round(dice.beta(3.2, 1.3), 4))
        others = [name for name in ("scratch", "sliver", "patches", "inclusion") if name != one.defect_class]
        name = f"{coil}/top/cam1/{first}.{one.left_px}"
        defect = Defect(
            *(name, coil, "top", "cam1", one.defect_class),
            confidence=round(0.5 + probability / 2.2, 4),
            peak=round(0.5 + probability / 2.1, 4),
            box=box,
            area_mm2=area_px(runs) / 2,
            edge_mm=round(min(box.across_mm[0] - STRIP_MM[0], STRIP_MM[1] - box.across_mm[1]), 1),
            extent=Extent.MASK,
            frames=1,
            probability=probability,
            class_scores=(
                (one.defect_class, round(0.5 + probability / 2.2, 3)),
                (others[0], round(0.4 - probability / 3, 3)),
                (others[1], 0.04),
            ),
            length_mm=box.along_mm[1] - box.along_mm[0],
            width_mm=box.across_mm[1] - box.across_mm[0],
            contrast=-0.12,
            severity=1 + int(dice.integers(5)) if probability >= 0.5 else None,
            tentative=probability < 0.5,
            evidence=(("area", 2.0),),
        )
        shifted = runs + np.array([0, one.left_px, one.left_px], np.int32)
        window_mm = StripBox((one.left_px / 2, (one.left_px + columns) / 2), (float(first), float(first + lines)))
        _, png = cv2.imencode(".png", one.pixels)
        window = CropWindow(first, lines, one.left_px, columns, window_mm)
        return defect, RunMask(first, shifted.astype(np.int32)), (window, png.tobytes())

    def _spans(self, number: int, lost: Counter[Cause]) -> tuple[CoverageSpan, ...]:
        """Return a frame's spans: now and then a part of it is lost."""
        first, lines, begin = number * 20_000, 20_000, number * FRAME_MM
        if self._dice.random() > 0.06:
            area = StripArea(FRAME_MM * 752, 0.0, 0.0)
            return (CoverageSpan(first, lines, (begin, begin + FRAME_MM), Quality.INSPECTED, None, area),)
        cause = [Cause.OVERLOAD, Cause.DARK, Cause.OVERRUN, Cause.RESTART][int(self._dice.integers(4))]
        short = int(self._dice.integers(400, 9000))
        quality = Quality.DEGRADED if cause is Cause.OVERLOAD else Quality.MISSED
        area = StripArea(0.0, short * 752.0, 0.0) if quality is Quality.DEGRADED else StripArea(0, 0, short * 752.0)
        lost[cause] += short * 752
        cut = lines - short
        return (
            CoverageSpan(first, cut, (begin, begin + cut), Quality.INSPECTED, None, StripArea(cut * 752.0, 0, 0)),
            CoverageSpan(first + cut, short, (begin + cut, begin + FRAME_MM), quality, cause, area),
        )

    def _verdict(self, coil: str, number: int, events: tuple, spans: tuple, timing: Timing) -> Verdict:
        return Verdict(
            *(number, number, coil, "top", "cam1", number * 20_000, 20_000, 20_000),
            along_mm=(number * FRAME_MM, (number + 1) * FRAME_MM),
            encoded=True,
            strip_mm=STRIP_MM,
            spans=spans,
            tiles=7,
            tiles_passed=len(events),
            screen_peak=0.4,
            defects=events,
            alarms=(),
            engines=self._engines,
            timing=timing,
        )

    def _notice(self, coil: str, state: CoilState, timing: Timing, along_mm: float = 0.0) -> CoilNotice:
        totals = (along_mm, along_mm, 0.0, 0.0, {}, {}, (), (), timing)
        return CoilNotice(state, coil, "top", "cam1", *totals)

    def _grade(self, defects: list, share: float, length_mm: float) -> CoilGrade:
        called = [defect for defect, _, _ in defects if not defect.tentative]
        severe = sum(1 for defect in called if (defect.severity or 0) >= 5)
        grade = "A" if severe < 3 else "B" if severe < 6 else "C"
        reasons = (
            () if grade == "A" else (GradeReason("severe", grade, f"{severe} defects of severity 5, more than 2", ()),)
        )
        return CoilGrade(
            grade,
            f"{grade}, of {100 * share:.1f} % inspected",
            "example@0123456789ab",
            ["DC04", "DX51D", "S235"][self._count % 3],
            ["Weser Metall", "any"][self._count % 2],
            (0.0, length_mm),
            round(share, 4),
            dict(Counter(int(defect.severity or 0) for defect in called)),
            reasons,
        )

    def _marks(self, coil: str, length_mm: float) -> tuple[RollMark, ...]:
        dice = self._dice
        roll, stand = [("F7 top", "F7"), ("F6 bottom", "F6"), ("skin-pass top", "SP")][int(dice.integers(3))]
        pitch = {"F7 top": 1900.0, "F6 bottom": 2150.0}.get(roll, 1570.0) + float(dice.normal(0, 4))
        begin = float(dice.uniform(0, length_mm / 2))
        marks = int(dice.integers(6, 40))
        diameter = (pitch / np.pi * 0.99, pitch / np.pi * 1.01)
        suspects = (
            RollSuspect(roll, stand, (pitch - 90, pitch + 90), diameter, 1, 0.91),
            RollSuspect("F5 top", "F5", (pitch - 200, pitch + 20), diameter, 1, 0.09),
        )
        return (
            RollMark(
                *(f"{coil}/roll", RollMarkState.ENDED, coil, "top", "cam1", "torn_spot"),
                pitch_mm=pitch,
                pitch_error_mm=1.4,
                confidence=0.998,
                marks=marks,
                marks_due=marks + 2,
                across_mm=(412.0, 431.0),
                along_mm=(begin, begin + marks * pitch),
                defect_ids=(),
                suspects=suspects,
            ),
        )


def history_toml(folder: Path) -> Path:
    """Write the configuration of the history in a folder."""
    path = folder / "history.toml"
    path.write_text(
        f'database = "sqlite:///{folder / "history.sqlite"}"\n[[service]]\nname = "top-cam1"\n'
        f'[images]\ndir = "{folder / "images"}"\nmin_free_mb = 16.0\n'
    )
    return path


def main(folder: Path, weeks: int = 26, per_week: int = 12) -> None:
    """Fill a history of weeks of coils up to now; the newest week's defects have pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    mill = Mill(f"sqlite:///{folder / 'history.sqlite'}", folder / "images")
    first_ns = time.time_ns() - weeks * WEEK_NS
    step_ns = WEEK_NS // per_week
    total = weeks * per_week
    mill.store(
        (f"C26-{4000 + number}", first_ns + number * step_ns, number >= total - per_week) for number in range(total)
    )
    history_toml(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(one) for one in sys.argv[2:]))
