"""What uneven light costs, and what a flat field gives back: recall and precision on rendered strip.

``python -m experiments.uneven_light --out out/uneven`` renders strip as an even camera sees it, and as cameras see it
whose ends of the line lack light. It makes the flat field of each from a dark and a bright reference, and replays each
recording without and with it. It calls the commands that a user calls, and prints the figures of docs/calibration.md.
The base install is enough, but for the drawings.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from linewatch.cli import main as linewatch
from linewatch.contracts.verdict import StripBox
from linewatch.geometry.matching import match
from linewatch.review.against_truth import TOLERANCE_MM
from linewatch.review.from_verdicts import read_coil
from linewatch.simulation.truth import CoilTruth

FALLOFFS = (0.6, 0.8, 0.85)
SEEDS = (11, 12, 13)
LENGTH_M = 30.0
_END = 0.2  # of the camera's line, at each end
_CONFIG = """[source]
type = "simulator"
texture = "measured"
seed = {seed}
light_falloff = {falloff}
shows = "{shows}"
[calibration]
folder = "{folder}"
serial = "{seed}-{falloff}"
[wire]
publish = "tcp://127.0.0.1:*"
serve = "tcp://127.0.0.1:*"
"""


class CalledDefects:
    """Defects over all seeds, in the whole view and at its ends; called ones, and those of them that are right."""

    def __init__(self) -> None:
        self.true = self.hit = self.true_at_ends = self.hit_at_ends = self.called = self.right = 0
        self.passed_mm2 = self.inspected_mm2 = 0.0

    def add(self, verdicts: Path, truth: CoilTruth, width_mm: float) -> None:
        """Add what was called on one strip."""
        record = read_coil(verdicts)
        boxes = [defect.box for defect in record.defects if not defect.tentative]
        matching = match(boxes, [defect.box for defect in truth.defects], tolerance_mm=TOLERANCE_MM)
        ends = {number for number, defect in enumerate(truth.defects) if _at_end(defect.box, width_mm)}
        self.true, self.hit = self.true + len(truth.defects), self.hit + len(matching.hit)
        self.true_at_ends, self.hit_at_ends = (
            self.true_at_ends + len(ends),
            self.hit_at_ends + len(ends & set(matching.hit)),
        )
        self.called, self.right = self.called + matching.found_count, self.right + len(set(matching.right))
        areas = [span.area for span in record.spans if span.area is not None]
        self.passed_mm2 += sum(area.passed_mm2 for area in areas)
        self.inspected_mm2 += sum(area.inspected_mm2 for area in areas)

    def __str__(self) -> str:
        return (
            f"recall {self.hit / self.true:.1%} ({self.hit} of {self.true}), "
            f"at the ends {self.hit_at_ends / self.true_at_ends:.1%} ({self.hit_at_ends} of {self.true_at_ends}), "
            f"precision {self.right / self.called:.1%}, inspected {self.inspected_mm2 / self.passed_mm2:.2%}"
        )


def _at_end(box: StripBox, width_mm: float) -> bool:
    middle = sum(box.across_mm) / 2 / width_mm
    return middle < _END or middle > 1 - _END


def run(*words: object) -> None:
    """Run a command of linewatch. Raises SystemExit when it fails."""
    if code := linewatch([str(word) for word in words]):
        raise SystemExit(code)


def render(folder: Path, seed: int, falloff: float, shows: str = "strip", length_m: float = LENGTH_M) -> Path:
    """Write a recording of what such a camera shows, and return its configuration."""
    config = folder / f"{seed}-{falloff}-{shows}.toml"
    config.write_text(_CONFIG.format(seed=seed, falloff=falloff, shows=shows, folder=folder))
    files = ("--out", config.with_suffix(".avi"), "--truth", config.with_suffix(".truth.json"))
    run("simulate", "--config", config, "--seed", seed, "--defects-per-m", 3, "--length-m", length_m, *files)
    return config


def inspect(strip: Path, calibration: object, counts: CalledDefects) -> None:
    """Replay the recording of a configuration, and count what was called."""
    verdicts = strip.with_suffix(".jsonl")
    run("replay", strip.with_suffix(".avi"), "--config", strip, "--calibration", calibration, "--out", verdicts)
    counts.add(verdicts, CoilTruth.read(strip.with_suffix(".truth.json")), 800.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/uneven"))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    arguments = parser.parse_args()
    folder: Path = arguments.out
    seeds: Sequence[int] = arguments.seeds
    folder.mkdir(parents=True, exist_ok=True)
    even = CalledDefects()
    without, corrected = ({one: CalledDefects() for one in FALLOFFS} for _ in range(2))
    for seed in seeds:
        inspect(render(folder, seed, 0.0), "none", even)
        for falloff in FALLOFFS:
            strip = render(folder, seed, falloff)
            dark = render(folder, seed, falloff, "dark", 8.0).with_suffix(".avi")
            white = render(folder, seed, falloff, "white", 8.0).with_suffix(".avi")
            run("calibrate", "flat-field", strip, "--dark", dark, "--bright", white)
            inspect(strip, "none", without[falloff])
            inspect(strip, folder / f"{seed}-{falloff}.json", corrected[falloff])
    print(f"even light: {even}")
    for falloff in FALLOFFS:
        print(f"the ends lack {falloff:.0%}: {without[falloff]}")
        print(f"the ends lack {falloff:.0%}, with its flat field: {corrected[falloff]}")


if __name__ == "__main__":
    main()
