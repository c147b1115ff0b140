"""What uneven light costs, and what a flat field gives back: recall and precision on a rendered strip.

``python -m experiments.uneven_light --out out/uneven`` renders one strip as an even camera sees it and as cameras see
it whose ends of the line lack light, makes the flat field of each from a dark and a bright reference, and replays each
recording without and with it. It calls the commands that a user calls. The base install is enough, but for the drawing.
"""

import argparse
from pathlib import Path

from linewatch.cli import main as linewatch
from linewatch.review.against_truth import score_against_truth
from linewatch.review.from_verdicts import read_coil
from linewatch.simulation.truth import CoilTruth

FALLOFFS = (0.3, 0.6, 0.8)
_CONFIG = """[source]
type = "simulator"
texture = "{texture}"
light_falloff = {falloff}
shows = "{shows}"
[calibration]
folder = "{folder}"
serial = "SIM-{falloff}"
"""


def run(*words: object) -> None:
    """Run a command of linewatch. Raises SystemExit when it fails."""
    if code := linewatch([str(word) for word in words]):
        raise SystemExit(code)


def render(folder: Path, falloff: float, shows: str, length_m: float, arguments: argparse.Namespace) -> Path:
    """Write a recording of what such a camera shows, and return its configuration."""
    config = folder / f"{falloff}-{shows}.toml"
    config.write_text(_CONFIG.format(falloff=falloff, shows=shows, folder=folder, texture=arguments.texture))
    video, truth = config.with_suffix(".avi"), config.with_suffix(".truth.json")
    per_m = ("--seed", arguments.seed, "--defects-per-m", 3)
    run("simulate", "--config", config, *per_m, "--length-m", length_m, "--out", video, "--truth", truth)
    return config


def judge(config: Path, calibration: str) -> str:
    """Replay the recording of a configuration, and return recall and precision of what was called."""
    verdicts = config.with_suffix(".jsonl")
    video = config.with_suffix(".avi")
    run("replay", video, "--config", config, "--calibration", calibration, "--out", verdicts)
    record = read_coil(verdicts)
    truth = CoilTruth.read(config.with_suffix(".truth.json"))
    told = score_against_truth([defect.box for defect in record.defects], truth)
    called = score_against_truth([defect.box for defect in record.defects if not defect.tentative], truth)
    return (
        f"{called.recall:.1%} of {called.true} called, precision {called.precision:.1%}; "
        f"{told.recall:.1%} told, precision {told.precision:.1%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/uneven"))
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--length-m", type=float, default=40.0)
    parser.add_argument("--texture", choices=("drawn", "measured"), default="measured")
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    found = {"an even camera": judge(render(folder, 0.0, "strip", arguments.length_m, arguments), "none")}
    for falloff in FALLOFFS:
        strip = render(folder, falloff, "strip", arguments.length_m, arguments)
        dark, white = (
            render(folder, falloff, shows, 8.0, arguments).with_suffix(".avi") for shows in ("dark", "white")
        )
        run("calibrate", "flat-field", strip, "--dark", dark, "--bright", white)
        found[f"the ends lack {falloff:.0%}"] = judge(strip, "none")
        found[f"the ends lack {falloff:.0%}, flat field"] = judge(strip, str(folder / f"SIM-{falloff}.json"))
    print("\n".join(f"{name}: {figures}" for name, figures in found.items()))


if __name__ == "__main__":
    main()
