"""`linewatch join`: the verdict files of a strip's cameras become one, the same whatever their order."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from wide_strip import VIEWS, blobs, final, told

from linewatch.cli import main
from linewatch.config.line import LineSettings
from linewatch.contracts.verdict import StripBox
from linewatch.geometry.matching import match
from linewatch.review.from_verdicts import read_coil
from linewatch.service_settings import load_settings
from linewatch.wire.decode import decided_from
from linewatch.wire.verdict_file import VerdictFile, read_strip

LINE = LineSettings(mm_per_px=1.0)
CAMERA = """
taxonomy = "configs/taxonomy.toml"
[line]
side = "{side}"
camera = "{name}"
width_px = {width_px}
across_offset_mm = {offset_px}.0
mm_per_px = 1.0
[source]
type = "simulator"
seed = {seed}
length_m = 5.12
defects_per_m = 8.0
coil = "SIM-W"
strip_px = 4000
view_offset_px = {offset_px}
[inference]
chain = "cascade"
[wire]
publish = "tcp://127.0.0.1:*"
serve = "tcp://127.0.0.1:*"
"""


def strip_file(path: Path, views: dict[str, tuple[int, int]], sides: tuple[str, ...]) -> Path:
    tables = [
        f'[[camera]]\nname = "{name}"\nside = "{side}"\nwidth_px = {stop - start}\nacross_offset_mm = {start}.0\n'
        "mm_per_px = 1.0\n"
        for side in sides
        for name, (start, stop) in views.items()
    ]
    path.write_text("".join(tables) + "[strip]\nmm_per_px = 1.0\n")
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The verdict files of three cameras, by name, and the strip's configuration."""
    mask = blobs(np.random.default_rng(5), 300, 30)
    for name, view in VIEWS.items():
        with VerdictFile(tmp_path / f"{name}.jsonl") as file:
            for decided in told(mask, f"top/{name}", view):
                file.write(decided)
    found = {name: tmp_path / f"{name}.jsonl" for name in VIEWS}
    return found | {"strip": strip_file(tmp_path / "strip.toml", VIEWS, ("top",))}


def join(files: dict[str, Path], *names: str, out: str = "joined.jsonl") -> int:
    told = [str(files[name]) for name in names]
    return main(["join", str(files["strip"]), *told, "--out", str(_out(files, out)), "--json"])


def _out(files: dict[str, Path], out: str) -> Path:
    return files["strip"].parent / out


def test_files_are_joined_in_whatever_order(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert join(files, "cam1", "cam2", "cam3") == 0
    summary = json.loads(capsys.readouterr().out)
    assert join(files, "cam3", "cam1", "cam2", out="again.jsonl") == 0
    record = _out(files, "joined.jsonl")
    assert record.read_bytes() == _out(files, "again.jsonl").read_bytes()
    decided = [decided_from(line) for line in read_strip(record)]
    assert (summary["coil"], summary["metres"], summary["coverage"]) == ("C1", 0.3, 1.0)
    assert sum(summary["defects_by_class"].values()) == len(list(final(decided)))
    read = read_coil(record)
    assert Counter(one.id for one in read.defects) == Counter(e.defect.id for e in final(decided))
    assert (read.side, read.camera, {one.side for one in read.defects}) == ("top", "strip", {"top"})


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("cam1", "cam2"), "no file is of camera top/cam3; give one, or take it out of the configuration"),
        (("cam1", "cam1", "cam2", "cam3"), "are both of camera 'top/cam1'; leave one out"),
        (("cam1", "cam2", "cam3", "strip"), "strip.toml, line 1"),
    ],
)
def test_files_that_do_not_fit_are_refused(files, names, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert join(files, *names) in (2, 6)
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_three_services_a_side_tell_of_a_wide_strip_what_one_tells_that_sees_all(tmp_path: Path) -> None:
    """With the shipped engines: each defect once, in spite of overlaps of 400 mm, and coverage of the whole width."""
    views = {"cam1": (0, 1600), "cam2": (1200, 2800), "cam3": (2400, 4000)}
    records: dict[str, list] = {}
    for side, seed in (("top", 21), ("bottom", 22)):
        for name, (start, stop) in (views | {"wide": (0, 4000)}).items():
            config = tmp_path / f"{side}-{name}.toml"
            config.write_text(CAMERA.format(side=side, name=name, width_px=stop - start, offset_px=start, seed=seed))
            out = config.with_suffix(".jsonl")
            assert main(["replay", "simulator", "--config", str(config), "--out", str(out), "--workers", "1"]) == 0
            records[f"{side}-{name}"] = [decided_from(line) for line in read_strip(out)]
    strip = strip_file(tmp_path / "strip.toml", views, ("top", "bottom"))
    cameras = sorted(str(path) for path in tmp_path.glob("*-cam*.jsonl"))
    for order, out in ((cameras, "one.jsonl"), (cameras[::-1], "other.jsonl")):
        assert main(["join", str(strip), *order, "--out", str(tmp_path / out)]) == 0
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "other.jsonl").read_bytes()
    joined = [decided_from(line) for line in read_strip(tmp_path / "one.jsonl")]
    end = joined[-1]
    assert end.area == records["top-wide"][-1].area.plus(records["bottom-wide"][-1].area)
    shared = 0
    for side in ("top", "bottom"):
        found = called(joined, side)
        assert doubles(found) == 0, side
        by_cameras = [box for name in views for box in called(records[f"{side}-{name}"], side)]
        shared += doubles(by_cameras)
        true = [
            one.box for one in load_settings(tmp_path / f"{side}-wide.toml").source.strip(LINE).truth("SIM-W").defects
        ]
        lost = set(match(by_cameras, true, tolerance_mm=10).hit) - set(match(found, true, tolerance_mm=10).hit)
        assert len(lost) <= 1, side
    assert shared > 3


def called(decided, side: str) -> list[StripBox]:
    """The boxes of the defects that were called on a side."""
    return [e.defect.box for e in final(decided) if e.defect.side == side and not e.defect.tentative]


def doubles(boxes: list[StripBox]) -> int:
    """How many pairs of boxes overlap by a tenth of the smaller one."""
    return (len(match(boxes, boxes).pairs) - len(boxes)) // 2
