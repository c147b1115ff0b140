"""What failing light, a lens out of focus and dirt do to the inspection, and when the service says so.

``python -m experiments.picture_health limits --data "$LINEWATCH_DATA"`` prints the recall of the shipped inspect engine
on real frames behind each fault: the limits of `[picture]` and `[capture]` stand on it. ``... story fade --data
"$LINEWATCH_DATA" --out out/picture`` writes a recording of real strip on which one fault grows for half an hour (fade,
segment, defocus, dirt, clean), replays it through the whole service, and draws light, recall, coverage and alarms
over the time. ``... quiet`` prints how far sound strip stays from the limits. The engine was trained on most of these
frames: read how recall changes, not what it is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from linewatch.capture.cameras.recording import RecordingSource
from linewatch.capture.edges import find_edges
from linewatch.capture.picture.measure import measure
from linewatch.capture.picture.meter import PictureMeter
from linewatch.capture.recorder import record
from linewatch.capture.sidecar import sidecar_path
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import LineSettings
from linewatch.config.picture import PictureSettings
from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.config.wire import ANY_PORT, WireSettings
from linewatch.contracts.frame import Frame, Grab
from linewatch.contracts.picture import PictureQuantity
from linewatch.contracts.verdict import DefectState, StripBox
from linewatch.daemon.replay import replay
from linewatch.datasets.arguments import OwnSets
from linewatch.decision.alarms.picture import PICTURE_ALARMS, picture_text
from linewatch.evaluation.judging.inspector import Inspector
from linewatch.evaluation.judging.judged import judge_frame
from linewatch.evaluation.judging.true_frames import FrameTruth, read_frame_set
from linewatch.geometry.matching import match
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import load_engines
from linewatch.logs import configure_logs
from linewatch.pictures.reading import read_gray
from linewatch.review.against_truth import TOLERANCE_MM
from linewatch.service_settings import ServiceSettings
from linewatch.simulation.optics import OpticsSettings, seen_through
from linewatch.simulation.strip import TEXTURES, SimulatedStrip
from linewatch.wire.schema import AlarmBody, VerdictLine
from linewatch.wire.verdict_file import read_verdicts

LINE: Final = LineSettings()
MINUTES: Final = 30.0
SKIPPED: Final = 8
"""A story holds the frames that the service measures, one in eight; the seven between them show nothing else."""
COILS: Final = 3
DIRT_COILS: Final = 6
"""Dirt is told by three coils."""
FRAME_MM: Final = LINE.frame_lines * LINE.mm_per_line

DEAD_PX, DIRT_PX = (600, 1000), (330, 811, 1290)
STORIES: Final = {
    "clean": OpticsSettings(),
    "fade": OpticsSettings(light=0.15),
    "segment": OpticsSettings(dead_px=DEAD_PX, dead_light=0.1),
    "defocus": OpticsSettings(blur_px=3.0),
    "dirt": OpticsSettings(dirt_px=DIRT_PX, dirt_depth=0.6),
}
FAULTS: Final = {
    "light": [OpticsSettings(light=left) for left in (0.7, 0.5, 0.4, 0.3, 0.2, 0.15, 0.1, 1.5, 2.0, 3.0)],
    "blur_px": [OpticsSettings(blur_px=blur) for blur in (0.5, 0.7, 1.0, 1.4, 2.0)],
}


@dataclass(frozen=True, slots=True)
class StoryFrame:
    """A real frame, uint8 (256, 1600), and its true defects."""

    name: str
    gray: NDArray[np.uint8]
    truth: FrameTruth

    @property
    def boxes(self) -> list[StripBox]:
        return [one.box for one in self.truth.defects(LINE, ())]


def known_frames(data: Path, taxonomy: Taxonomy, *, whole: bool = True) -> list[StoryFrame]:
    """Return Severstal's frames with outlines, in a fixed random order. whole: those that show strip from side to side.

    Other frames of a story would be too narrow for the coil that they make.
    """
    frames = []
    for name in ("severstal", "severstal_more"):
        for one in read_frame_set(str(data / name), OwnSets(), taxonomy).frames:
            gray = one.gray()
            if gray.shape == (LINE.frame_lines, LINE.width_px):
                edges = find_edges(gray, CaptureSettings())
                lit = not (edges.dark_columns or edges.dark_lines or edges.bright_columns)
                if not whole or (lit and edges.width_px == LINE.width_px):
                    frames.append(StoryFrame(one.name, gray, one.truth(gray.shape)))
    return [frames[number] for number in np.random.default_rng(5).permutation(len(frames)).tolist()]


def settings() -> ServiceSettings:
    """Return a service whose picture is measured as the frames of a story stand for it."""
    every = PictureSettings()
    picture = PictureSettings(every_frames=1, within_m=every.within_m / SKIPPED)
    default = ServiceSettings(taxonomy=TAXONOMY, picture=picture)
    alarms = default.system_alarms
    alarms = alarms.model_copy(
        update={
            "picture_delay_m": alarms.picture_delay_m / SKIPPED,
            "coverage_within_m": alarms.coverage_within_m / SKIPPED,
        }
    )
    return default.model_copy(update={"system_alarms": alarms, "wire": WireSettings(publish=ANY_PORT, serve=ANY_PORT)})


def limits(data: Path) -> None:
    """Print recall, and what the picture's figures say, behind each fault."""
    taxonomy, chosen = Taxonomy.read(TAXONOMY), settings()
    frames, backend = known_frames(data, taxonomy, whole=False), open_backend(chosen.inference.backend)
    print("| fault | recall | false calls | inspected area | gray | sharpness | saturation |")
    print("|---|---|---|---|---|---|---|")
    cases = [("none", OpticsSettings())]
    cases += [(f"{name} {_worst(name, one):g}", one) for name, some in FAULTS.items() for one in some]
    with Inspector(load_engines(chosen.inference, backend.siblings), chosen, backend) as inspector:
        for name, optics in cases:
            pieces = called = false = 0
            area: list[float] = []
            figures: list[tuple[float, float, float]] = []
            for number, frame in enumerate(frames):
                gray = seen_through(frame.gray, optics, 1.0, number)
                seen = inspector.frame(gray)
                judged = judge_frame(frame.name, "", frame.truth, seen, LINE, inspector.rules.pseudo_classes)
                pieces += len(judged.pieces)
                called += len({on for one in judged.instances if one.called for on in one.on})
                false += sum(one.called and not one.right for one in judged.instances)
                area.append(seen.area.inspected_mm2 / seen.area.passed_mm2)
                edges = find_edges(gray, CaptureSettings())
                sample = measure(gray, edges, CaptureSettings(), None)
                if sample is not None:
                    figures.append((float(np.nanmean(sample.zones)), sample.sharpness or np.nan, sample.saturation))
            level, sharp, blown = np.nanmean(np.array(figures or [(np.nan, np.nan, np.nan)]), axis=0)
            print(
                f"| {name} | {called / pieces:.3f} | {false} | {np.mean(area):.3f} | {level:.0f} | {sharp:.3f} "
                f"| {blown:.4f} |",
                flush=True,
            )


def quiet(data: Path, times: int) -> None:
    """Print how far the figures of sound strip come to their limits, and which alarm conditions became true.

    Real frames in random orders, also those with edges, as coils of some 700 m; and simulated coils of each texture.
    """
    real = [read_gray(path) for path in _pictures(data)]
    real = [one for one in real if one.shape == (LINE.frame_lines, LINE.width_px)]
    rng = np.random.default_rng(2)
    orders = [np.tile(rng.permutation(len(real)), 7).tolist() for _ in range(times)]
    strips = {f"real frames, order {n + 1}": [real[i] for i in order] for n, order in enumerate(orders)}
    for texture in TEXTURES:
        coils = [SimulatedStrip(seed, 24 * FRAME_MM / 1000, 1.0, LINE, texture=texture) for seed in range(6)]
        looks = [[coil.lines(number * LINE.frame_lines, LINE.frame_lines) for number in range(24)] for coil in coils]
        strips[f"simulated, {texture}"] = [
            np.roll(look[number % 24], number, axis=0) for look in looks for number in range(200)
        ]
    names = [quantity.value for quantity in PictureQuantity]
    print(f"| strip | {' | '.join(names)} | alarms |\n|{'---|' * (len(names) + 2)}")
    for name, frames in strips.items():
        meter = PictureMeter(settings().picture, CaptureSettings(), LINE)
        worst: dict[PictureQuantity, float] = {}
        true = set()
        for number, gray in enumerate(frames):
            frame = _framed(gray, number, f"COIL-{number // (200 if 'simulated' in name else 344)}")
            health = meter.follow(frame, find_edges(gray, CaptureSettings()))[1]
            for one in health.readings if health is not None else ():
                if one.value is not None:
                    pick = max if one.high else min
                    worst[one.quantity] = pick(worst.get(one.quantity, one.value), one.value)
            if health is not None:
                true |= {
                    alarm for alarm in PICTURE_ALARMS if (picture_text(alarm, health, active=False) or (False,))[0]
                }
        cells = " | ".join(f"{worst[quantity]:.3f}" if quantity in worst else "-" for quantity in PictureQuantity)
        print(f"| {name} | {cells} | {', '.join(sorted(true)) or 'none'} |", flush=True)


def _pictures(data: Path) -> list[Path]:
    folders = ("severstal/images", "severstal/unlabelled", "severstal/class_only", "severstal_more/images")
    return [path for folder in folders for path in sorted((data / folder).glob("*.jpg"))]


def _framed(gray: NDArray[np.uint8], number: int, coil: str) -> Frame:
    return Frame(
        pixels=gray,
        slot=None,
        ordinal=number,
        coil=coil,
        side="top",
        camera="cam1",
        sequence=number,
        first_line=number * LINE.frame_lines,
        lines=len(gray),
        valid_lines=len(gray),
        encoder_count=0,
        along_mm=number * FRAME_MM,
        mm_per_line=LINE.mm_per_line,
        columns=LINE.across,
        captured_ns=number * 1_000_000_000,
    )


def _worst(name: str, optics: OpticsSettings) -> float:
    return float(getattr(optics, name))


class StoryCamera:
    """A camera that gives real frames, again and again in one order, behind a fault that grows; it is not live."""

    live = False
    serial = ""

    def __init__(self, frames: Sequence[StoryFrame], optics: OpticsSettings, rounds: int, coils: int) -> None:
        self.grabs: int | None = rounds * len(frames)
        self._frames, self._optics, self._next, self._total = frames, optics, 0, rounds * len(frames)
        self._of_coil = -(-self._total // coils)

    def read(self) -> Grab | None:
        if self._next >= self._total:
            return None
        number, self._next = self._next, self._next + 1
        coil, within = divmod(number, self._of_coil)
        gray = self._frames[number % len(self._frames)].gray
        return Grab(
            image=seen_through(gray, self._optics, number / self._total, number),
            coil=f"COIL-{coil + 1}",
            sequence=number,
            first_line=within * LINE.frame_lines,
            lines=len(gray),
            encoder_count=0,
            along_mm=within * FRAME_MM,
            mm_per_line=LINE.mm_per_line,
            captured_ns=round(number / self._total * MINUTES * 60e9),
        )

    def stop(self) -> None:
        self._next = self._total

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


@dataclass(frozen=True, slots=True)
class StoryTold:
    """What the service told. found: per frame, which of its true pieces were called. inspected, degraded: share of its
    area. alarms: (frame, alarm), each when it was raised."""

    found: list[list[bool]]
    inspected: NDArray[np.float64]
    degraded: NDArray[np.float64]
    alarms: list[tuple[int, AlarmBody]]
    false_calls: int


def story(name: str, data: Path, out: Path, rounds: int) -> None:
    """Record, replay and draw one story; print when the service said what, and how far recall had fallen."""
    frames = known_frames(data, Taxonomy.read(TAXONOMY))
    out.mkdir(parents=True, exist_ok=True)
    video, verdicts = out / f"{name}.avi", out / f"{name}.jsonl"
    for old in (video, sidecar_path(video), verdicts):
        old.unlink(missing_ok=True)
    record(StoryCamera(frames, STORIES[name], rounds, DIRT_COILS if name == "dirt" else COILS), video, LINE, 8192.0)
    chosen = settings().model_copy(update={"source": RecordingSource(type="recording", path=video)})
    replay(chosen, out=verdicts)
    told = _told(verdicts, frames, rounds)
    video.unlink()
    _report(name, told, len(frames))
    _draw(name, told, len(frames), out / f"picture-{name}.png")


def _told(verdicts: Path, frames: Sequence[StoryFrame], rounds: int) -> StoryTold:
    lines = [one for one in read_verdicts(verdicts) if isinstance(one, VerdictLine)]
    boxes: dict[str, dict[str, StripBox]] = {}
    for one in read_verdicts(verdicts):
        for event in one.defects:
            if event.state is DefectState.CLOSED and event.merged_into is None and not event.tentative:
                boxes.setdefault(one.coil, {})[event.id] = StripBox(tuple(event.along_mm), tuple(event.across_mm))  # type: ignore[union-attr]
    true = [
        (one.coil, number, StripBox(_moved(box.along_mm, one.along_mm[0]), box.across_mm))
        for number, one in enumerate(lines)
        for box in frames[number % len(frames)].boxes
    ]
    hit: list[list[bool]] = [[] for _ in lines]
    false = 0
    for coil in dict.fromkeys(one.coil for one in lines):
        mine = [(number, box) for name, number, box in true if name == coil]
        pairs = match(list(boxes.get(coil, {}).values()), [box for _, box in mine], tolerance_mm=TOLERANCE_MM)
        called = set(pairs.hit)
        false += pairs.found_count - len(pairs.right)
        for place, (number, _) in enumerate(mine):
            hit[number].append(place in called)
    areas = [[span.area for span in one.spans if span.area is not None] for one in lines]
    passed = np.array([sum(area.passed_mm2 for area in some) for some in areas])
    alarms = [(at, each) for at, one in enumerate(lines) for each in one.alarms if each.change == "active"]
    return StoryTold(
        hit,
        np.array([sum(area.inspected_mm2 for area in some) for some in areas]) / passed,
        np.array([sum(area.degraded_mm2 for area in some) for some in areas]) / passed,
        alarms,
        false,
    )


def _moved(along_mm: tuple[float, float], by_mm: float) -> tuple[float, float]:
    return along_mm[0] + by_mm, along_mm[1] + by_mm


def _recall(told: StoryTold, window: int) -> NDArray[np.float64]:
    """Return recall over the `window` frames up to each frame: each true frame once. NaN before the first window."""
    hits = np.cumsum([0, *(sum(one) for one in told.found)])
    pieces = np.cumsum([0, *(len(one) for one in told.found)])
    recall = np.full(len(told.found), np.nan)
    recall[window - 1 :] = (hits[window:] - hits[:-window]) / (pieces[window:] - pieces[:-window])
    return recall


def _report(name: str, told: StoryTold, window: int) -> None:
    recall = _recall(told, window)
    first = recall[window - 1]
    fallen = np.flatnonzero(recall < first - 0.05)
    per_frame = MINUTES / len(recall)
    print(f"{name}: recall {first:.3f} at first, {recall[-1]:.3f} at last; {told.false_calls} false calls")
    when = f"{fallen[0] * per_frame:.1f} min" if len(fallen) else "never"
    print(f"  recall has fallen by 5 points after {when} (over the {window * per_frame:.1f} min before)")
    for at, alarm in told.alarms:
        now = recall[min(len(recall) - 1, at + window // 2)]
        print(f"  {at * per_frame:5.1f} min, recall about then {now:.3f}: {alarm.priority} {alarm.text}")
    for share, what in ((told.inspected, "less than 95 % inspected"),):
        less = np.flatnonzero(share < 0.95)
        print(f"  {what}: {f'first after {less[0] * per_frame:.1f} min' if len(less) else 'never'}")


def _draw(name: str, told: StoryTold, window: int, path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    minutes = np.arange(len(told.found)) / len(told.found) * MINUTES
    grown, optics = minutes / MINUTES, STORIES[name]
    fault = {
        "fade": ("light that is left", 1 - grown * (1 - optics.light)),
        "segment": ("light of the segment", 1 - grown * (1 - optics.dead_light)),
        "defocus": ("blur, px, by 3", grown * optics.blur_px / 3),
        "dirt": ("light that the dirt takes", grown * optics.dirt_depth),
    }.get(name, ("nothing is wrong", 0 * grown))
    recall = _recall(told, window)
    half = window // 2  # a window's recall is that of its middle
    figure, axes = plt.subplots(figsize=(10, 4.6), layout="constrained")
    axes.plot(minutes, fault[1], color="tab:orange", label=fault[0])
    axes.plot(minutes[: len(recall) - half], recall[half:], color="tab:blue", label=f"recall, over {window} frames")
    axes.axhline(recall[window - 1] - 0.05, color="tab:blue", linestyle=":", label="recall at first, less 5 points")
    smooth = np.ones(24) / 24
    inspected = np.convolve(np.pad(told.inspected, (12, 11), mode="edge"), smooth, mode="valid")
    whole = inspected + np.convolve(np.pad(told.degraded, (12, 11), mode="edge"), smooth, mode="valid")
    axes.fill_between(minutes, 0, inspected, color="tab:green", alpha=0.15, label="area inspected")
    axes.fill_between(minutes, inspected, whole, color="gold", alpha=0.3, label="area degraded")
    axes.fill_between(minutes, whole, 1, color="tab:red", alpha=0.2, label="area missed")
    first = {alarm.rule: at for at, alarm in reversed(told.alarms)}
    for order, (rule, at) in enumerate(sorted(first.items(), key=lambda one: one[1])):
        axes.axvline(minutes[at], color="black", linewidth=1)
        axes.text(minutes[at], 0.02 + 0.07 * order, f" {rule}", fontsize=9, va="bottom")
    axes.set(xlabel="minutes", ylabel="share", xlim=(0, MINUTES), ylim=(0, 1.02), title=_TITLES[name])
    axes.legend(loc="lower left", bbox_to_anchor=(1.0, 0.0), frameon=False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


_TITLES: Final = {
    "clean": "Nothing is wrong: real strip, half an hour",
    "fade": "The light fades",
    "segment": f"One segment of the lamp dies (columns {DEAD_PX[0]} to {DEAD_PX[1]} of 1600)",
    "defocus": "The lens goes out of focus",
    "dirt": "Dirt grows on the window, in three places",
}


def _each(names: Iterable[str]) -> Iterator[str]:
    yield from track(list(names), "stories")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True, dest="part")
    for part in ("limits", "quiet", "story"):
        one = parts.add_parser(part)
        one.add_argument("--data", type=Path, required=True)
        if part == "quiet":
            one.add_argument("--times", type=int, default=8, help="random orders of the real frames")
        if part == "story":
            one.add_argument("names", nargs="*", choices=[*STORIES, []], default=[])
            one.add_argument("--out", type=Path, default=Path("out/picture"))
            one.add_argument("--rounds", type=int, default=9, help="times that each frame comes")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    configure_logs("error")
    if given.part == "limits":
        limits(given.data)
        return
    if given.part == "quiet":
        quiet(given.data, given.times)
        return
    for name in _each(given.names or STORIES):
        story(name, given.data, given.out, given.rounds)


if __name__ == "__main__":
    main()
