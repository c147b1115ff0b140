"""`linewatch judge`: figures that are told by hand, and the whole command on made frames."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from made_frames import FRAME_LAYOUTS, WIDTH, as_tables, gray, mask
from made_own import put_picture
from made_pictures import REPO

from linewatch.cli import main
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.tile import Tile
from linewatch.contracts.verdict import Defect, Extent, StripArea, StripBox
from linewatch.datasets.seen import fingerprint, write_seen
from linewatch.evaluation.judging.figures import BANDS, band_of, figures_of
from linewatch.evaluation.judging.gallery import mistakes_of
from linewatch.evaluation.judging.inspector import InspectedFrame, OutlinedDefect
from linewatch.evaluation.judging.judged import InstanceTable, JudgedFrame, judge_frame, tiles_of
from linewatch.evaluation.judging.record import FramesJudgement, write_instances
from linewatch.evaluation.judging.true_frames import FrameTruth
from linewatch.geometry.runs import rectangle

CLASSES = ("torn_spot", "edge_mark", "scratch", "sliver")
TILES = tuple(Tile(x, 0, 256, 256) for x in range(0, WIDTH - 255, 224))


def found(
    name: str, box_px: tuple[int, int, int, int], probability: float, *, told: bool = True, tentative: bool = False
) -> OutlinedDefect:
    """A defect that fills its box, at the nominal 0.5 mm a pixel and 1 mm a line."""
    x0, y0, x1, y1 = box_px
    defect = Defect(
        id=f"{name}-{x0}-{y0}",
        coil="FRAME",
        side="top",
        camera="cam1",
        defect_class=name,
        confidence=probability,
        peak=probability,
        probability=probability,
        box=StripBox((x0 / 2, x1 / 2), (float(y0), float(y1))),
        area_mm2=(x1 - x0) * (y1 - y0) / 2,
        edge_mm=None,
        extent=Extent.MASK,
        frames=1,
        tentative=tentative,
        evidence=(("peak", probability), ("area", float(x1 - x0))),
    )
    return OutlinedDefect(defect, rectangle(x0, y0, x1, y1), told)


def judged(
    name: str, *defects: OutlinedDefect, scores: tuple[float, ...] = (0.0,) * 7, inspected_m2: float = 0.2048
) -> JudgedFrame:
    drawn = mask(f"{name}.png")
    truth = FrameTruth(CLASSES, drawn, (), outlined=True)
    whole_mm2 = 0.2048e6
    area = StripArea(inspected_m2 * 1e6, 0.0, whole_mm2 - inspected_m2 * 1e6)
    missed = {"dark": area.missed_mm2} if area.missed_mm2 else {}
    seen = InspectedFrame(defects, TILES, np.array(scores, np.float32), area, missed)
    tiles = tuple(tiles_of(gray(f"{name}.png"), truth, seen))
    return judge_frame(name, name, truth, seen, LineSettings(), tiles=tiles)


@pytest.fixture
def frames() -> list[JudgedFrame]:
    """The scratch of frame a is called, its torn spot is taken for a sliver and told; on the clean frame b one is
    called; the sliver of frame c is found in part, too improbably to be told.
    """
    return [
        judged(
            "a",
            found("scratch", (100, 20, 140, 120), 0.9),
            found("sliver", (500, 200, 520, 230), 0.6, tentative=True),
            found("scratch", (1000, 0, 1010, 10), 0.3, tentative=True),
            scores=(0.9, 0.1, 0.8, 0.0, 0.05, 0.0, 0.0),
        ),
        judged("b", found("torn_spot", (300, 50, 320, 90), 0.7)),
        judged("c", found("sliver", (0, 0, 150, 256), 0.2, told=False), scores=(0.9, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0)),
    ]


def test_instances_are_counted_by_hand(frames: list[JudgedFrame]) -> None:
    figures = figures_of(frames)
    values, counts = figures.values, figures.counts
    assert (counts["frames"], counts["clean_frames"], counts["pieces"], counts["groups"]) == (3, 1, 3, 3)
    assert (counts["told.instances"], counts["told.right"], counts["told.pieces_hit"]) == (4, 2, 2)
    assert (counts["called.instances"], counts["called.right"]) == (2, 1)
    assert values["told.recall"] == pytest.approx(2 / 3)
    assert values["told.precision"] == pytest.approx(2 / 4)
    assert values["told.right_class"] == pytest.approx(1 / 2)
    assert values["called.recall"] == pytest.approx(1 / 3)
    assert values["called.precision"] == pytest.approx(1 / 2)
    assert values["told.by_class.torn_spot.recall"] == 1.0, "hit, though by another class"
    assert values["told.by_class.torn_spot.precision"] == 0.0
    assert values["told.by_class.sliver.recall"] == 0.0, "what is not told is not found"
    assert values["told.by_class.sliver.precision"] == 0.0
    assert values["called.false_per_clean_frame"] == 1.0
    assert values["called.clean_frames_touched"] == 1.0
    assert values["called.false_per_1000_m2"] == pytest.approx(1000 / 0.2048)


def test_sizes_are_those_of_the_piece_and_of_the_instance(frames: list[JudgedFrame]) -> None:
    """Pieces of 2,000, 300 and 38,400 mm2; told instances of 2,000, 300, 50 and 400 mm2."""
    values = figures_of(frames).values
    assert values["told.by_size.150_to_500.recall"] == 1.0
    assert values["told.by_size.2000_to_10000.recall"] == 1.0
    assert values["told.by_size.from_10000.recall"] == 0.0
    assert values["told.by_size.150_to_500.precision"] == pytest.approx(1 / 2)
    assert values["told.by_size.0_to_150.precision"] == 0.0
    assert [band_of(area) for area in (0.0, 149.9, 150.0, 1e9)] == [BANDS[0], BANDS[0], BANDS[1], BANDS[-1]]


def test_outlines_are_compared_by_pixels(frames: list[JudgedFrame]) -> None:
    """Of frame a, 4,000 + 600 true px are found, and 100 px elsewhere; of frame c nothing is told. The torn spot is
    found as another class.
    """
    values = figures_of(frames).values
    assert values["told.dice"] == pytest.approx((2 * 4600 / (4600 + 4700) + 0) / 2)
    assert values["told.iou"] == pytest.approx((4600 / 4700 + 0) / 2)
    assert values["called.dice"] == pytest.approx((2 * 4000 / (4600 + 4000) + 0) / 2)
    assert values["told.by_class.torn_spot.dice"] == 0.0
    assert values["called.by_class.scratch.dice"] == 1.0


def test_the_probability_is_held_against_what_is_there(frames: list[JudgedFrame]) -> None:
    """Told: 0.9 and 0.6 right, 0.7 and 0.3 wrong, each in a bin of its own; 0.2 is right, but not told."""
    figures = figures_of(frames)
    assert figures.values["probability.brier"] == pytest.approx((0.01 + 0.16 + 0.49 + 0.09) / 4)
    assert figures.values["probability.calibration_error"] == pytest.approx((0.1 + 0.4 + 0.7 + 0.3) / 4)
    assert figures.values["probability.calibration_error_of_all"] == pytest.approx((0.1 + 0.4 + 0.7 + 0.3 + 0.8) / 5)
    told = [(round(one.threshold, 1), one.precision, one.recall) for one in figures.curve]
    assert told == [
        (0.9, 1.0, pytest.approx(1 / 3)),
        (0.7, pytest.approx(1 / 2), pytest.approx(1 / 3)),
        (0.6, pytest.approx(2 / 3), pytest.approx(2 / 3)),
        (0.3, pytest.approx(2 / 4), pytest.approx(2 / 3)),
        (0.2, pytest.approx(3 / 5), pytest.approx(3 / 3)),
    ]
    assert figures.values["recall_at_precision.0.80"] == pytest.approx(1 / 3)
    assert figures.values["recall_at_precision.0.60"] == 1.0


def test_the_screen_is_judged_by_tiles(frames: list[JudgedFrame]) -> None:
    """Frame a is defective in its tiles 0 and 2, frame c in 0 and 1; of 17 clean tiles, a twentieth is none and a tenth
    is one.
    """
    figures = figures_of(frames)
    assert figures.counts["screened_tiles"] == 21
    assert figures.counts["defective_tiles"] == 4
    assert figures.values["screen.recall_at_pass_rate.0.05"] == pytest.approx(3 / 4), "a clean tile scores 0.1, too"
    assert figures.values["screen.recall_at_pass_rate.0.10"] == 1.0


def test_what_was_not_inspected_is_told_and_not_found() -> None:
    figures = figures_of([judged("a", inspected_m2=0.0), judged("b", inspected_m2=0.1024)])
    assert figures.values["told.recall"] == 0.0
    assert figures.values["coverage.inspected_share"] == pytest.approx(0.25)
    assert figures.counts["frames_not_inspected"] == 1
    assert figures.counts["pieces_in_frames_not_inspected"] == 2
    assert figures.counts["uninspected_m2.dark"] == pytest.approx(0.3072)


def test_where_no_frame_shows_the_event_the_exact_bound_stands() -> None:
    """One clean frame without a false instance: at most 3.69 of them on its area; two groups hit all their pieces."""
    whole = [judged("a", found("scratch", (100, 20, 140, 120), 0.9), found("torn_spot", (500, 200, 520, 230), 0.9))]
    figures = figures_of([*whole, judged("b"), judged("c", found("sliver", (0, 0, 300, 256), 0.9))])
    assert figures.values["told.false_per_1000_m2"] == 0.0
    assert figures.intervals["told.false_per_1000_m2"] == (0.0, pytest.approx(1000 * 3.689 / 0.2048, rel=1e-3))
    assert figures.intervals["told.recall"] == (pytest.approx(0.05**0.5), 1.0)


def test_intervals_draw_whole_groups(frames: list[JudgedFrame]) -> None:
    low, high = figures_of(frames).intervals["told.recall"]
    assert (low, high) == (0.0, 1.0), "three groups, of which one shows all that is found"
    assert figures_of(frames).intervals == figures_of(frames).intervals


def test_rows_for_the_second_stage_hold_all_instances(frames: list[JudgedFrame]) -> None:
    table = InstanceTable.of(frames)
    assert table.names == ("peak", "area")
    assert table.evidence[:, 0].tolist() == [0.9, 0.6, 0.3, 0.7, 0.2]
    assert table.right.tolist() == [True, True, False, False, True]
    assert table.right_class.tolist() == [True, False, False, False, True]
    assert table.told.tolist() == [True, True, True, True, False]
    assert table.called.tolist() == [True, False, False, True, False]
    assert table.group.tolist() == [0, 0, 0, 1, 2]


def test_the_worst_are_shown_first(frames: list[JudgedFrame]) -> None:
    worst = mistakes_of(frames)
    assert [one.title for one in worst["missed"]] == ["sliver, 38,400 mm²"]
    assert [one.title for one in worst["false"]] == ["called torn spot 0.70", "told scratch 0.30"]
    assert [one.title for one in worst["wrong class"]] == ["told sliver 0.60, is torn spot"]


def test_instances_and_pieces_are_rows_of_a_table(frames: list[JudgedFrame], tmp_path: Path) -> None:
    write_instances(frames, tmp_path / "i.csv")
    with (tmp_path / "i.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["kind"] for row in rows] == ["instance"] * 3 + ["piece"] * 2 + ["instance"] * 2 + ["piece"]
    torn = next(row for row in rows if row["kind"] == "piece" and row["class"] == "torn_spot")
    assert (torn["told"], torn["called"], torn["right_class"], torn["probability"]) == ("1", "0", "0", "0.6")
    assert rows[0]["evidence.peak"] == "0.9"
    assert rows[1]["on"] == torn["number"]


def test_pooled_folds_are_judged_as_one(frames: list[JudgedFrame], tmp_path: Path) -> None:
    parts = []
    for number, part in enumerate((frames[:1], frames[1:])):
        path = tmp_path / f"{number}.json"
        FramesJudgement(tuple(part), (), (), {"screen": f"screen@{number}"}).write(path, figures_of(part))
        parts.append(str(path))
    pooled = FramesJudgement.pooled([FramesJudgement.read(Path(part)) for part in parts], parts)
    assert pooled.engines == {"screen": "several"}
    assert figures_of(pooled.frames) == figures_of(frames)
    with pytest.raises(SourceError, match="a is judged in"):
        FramesJudgement.pooled([FramesJudgement.read(Path(parts[0]))] * 2, ["one", "other"])


# the whole command


@pytest.fixture
def strip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Frames in Kaggle's tables; the working folder is the repository's, as its engines are named from there."""
    monkeypatch.chdir(REPO)
    as_tables(tmp_path / "strip")
    return tmp_path / "strip"


def told(capsys: pytest.CaptureFixture[str], *words: object, code: int = 0) -> dict[str, dict[str, float]]:
    assert main(["judge", *map(str, words), "--json"]) == code
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.slow
def test_one_set_is_judged_alike_in_every_layout(
    strip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = told(capsys, strip)
    assert first["counts"]["frames"] == 3
    assert first["counts"]["pieces"] == 3
    for name in ("kaggle, one column", "coco, compressed runs"):
        root = tmp_path / name
        FRAME_LAYOUTS[name](root)
        other = told(capsys, root)
        assert (other["counts"], other["figures"]) == (first["counts"], first["figures"]), name


@pytest.mark.slow
def test_it_writes_what_is_asked_for_and_pools_folds(
    strip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = tmp_path / "split.csv"
    split.write_text("file,group,fold\na,0,0\nb,1,1\nc.png,2,1\n")
    whole = told(capsys, strip, "--split", split, "--out", tmp_path / "whole", "--instances", tmp_path / "i.csv")
    for name in ("judgement.json", "curves.png", "gallery.png"):
        assert (tmp_path / "whole" / name).stat().st_size > 1000
    assert (tmp_path / "i.csv").is_file()
    for fold in (0, 1):
        told(capsys, strip, "--split", split, "--fold", fold, "--out", tmp_path / str(fold))
    pooled = told(capsys, tmp_path / "0" / "judgement.json", tmp_path / "1" / "judgement.json")
    assert pooled["counts"] == whole["counts"]
    assert pooled["figures"] == whole["figures"]
    assert pooled["engines"] == whole["engines"]


@pytest.mark.slow
def test_frames_of_any_size_are_judged(strip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Small, wide and high frames: what is beyond an image is no strip, and a high frame is several in turn."""
    for lines, width in ((200, 200), (600, 1800)):
        root = tmp_path / f"{lines}"
        put_picture(root / "images" / "a.png", np.resize(gray("a.png"), (lines, width)))
        put_picture(root / "masks" / "a.png", np.ones((lines, width), np.uint8))
        found = told(capsys, root)
        assert found["counts"]["strip_m2"] == pytest.approx(lines * width * 0.5e-6, rel=0.01)
        assert found["counts"]["pieces"] == 1
        assert found["counts"]["inspected_m2"] == pytest.approx(found["counts"]["strip_m2"])


@pytest.mark.slow
def test_frames_that_an_engine_was_trained_on_are_told(
    strip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = Path(shutil.copytree(REPO / "engines" / "inspect", tmp_path / "engines" / "inspect"))
    write_seen(engine, [fingerprint(strip / "images" / "a.png")])
    notes = told(capsys, strip, "--engines", tmp_path / "engines")["notes"]
    assert any("inspect was trained on 1 of these 3 frames" in note for note in notes)
    write_seen(engine, ["0" * 16])
    assert not any("trained" in note for note in told(capsys, strip, "--engines", tmp_path / "engines")["notes"])


@pytest.mark.slow
def test_refused_frames_are_told_and_give_exit_code_3(strip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (strip / "images" / "b.png").write_bytes(b"no picture")
    found = told(capsys, strip, "--without", "c", code=3)
    assert found["counts"]["frames"] == 1
    assert [one["file"] for one in found["refused"]] == ["b.png"]  # type: ignore[index]
    assert any("left out as you say: 1 frames (c)" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["nowhere"], 3, "no such folder"),
        (["STRIP", "--fold", "1"], 2, "needs --split"),
        (["STRIP", "--without", "z"], 2, "--without z: no such frame"),
        (["STRIP", "--engines", "nowhere"], 4, "nowhere/inspect"),
        (["STRIP", "--segment", "mine"], 2, "--segment mine: the chain inspect does not run it"),
        (["STRIP", "--split", "SPLIT"], 3, "lacks 3 of 3 frames"),
        (["STRIP", "--split", "SPLIT", "--fold", "7"], 3, "has no fold 7"),
        (["STRIP/train.csv.json"], 3, "found no judgement"),
        ([], 2, "FRAMES"),
    ],
)
def test_a_mistake_is_a_line_and_an_exit_code(
    words: list[str], code: int, text: str, strip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "split.csv").write_text("file,group,fold\nother.png,0,0\n")
    (strip / "train.csv.json").write_text("{}")
    given = [word.replace("STRIP", str(strip)).replace("SPLIT", str(tmp_path / "split.csv")) for word in words]
    assert main(["judge", *given]) == code
    assert text in capsys.readouterr().err


def test_a_folder_without_any_truth_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPO)
    put_picture(tmp_path / "a.png", gray("a.png"))
    assert main(["judge", str(tmp_path)]) == 3
    assert "no layout of" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(
    not Path(os.environ.get("LINEWATCH_DATA", "/nowhere")).is_dir(),
    reason="LINEWATCH_DATA names no folder of real sets",
)
def test_real_frames_are_judged_alike_from_masks_and_from_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two real frames, by their masks and by Kaggle's runs, which were drawn independently of each other's reader."""
    monkeypatch.chdir(REPO)
    data = Path(os.environ["LINEWATCH_DATA"]) / "severstal"
    names = ("002fc4e19.png", "0030401a5.png")
    for root, folder in ((tmp_path / "one", "images"), (tmp_path / "two", "train_images")):
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).symlink_to(data / "images" / name)
    (tmp_path / "one" / "masks").symlink_to(data / "masks")
    (tmp_path / "one" / "labels.csv").write_text("file,defect_classes\n002fc4e19.png,1+2\n0030401a5.png,4\n")
    (tmp_path / "two" / "train.csv").write_text((data / "train.csv").read_text())
    by_masks, by_runs = told(capsys, tmp_path / "one"), told(capsys, tmp_path / "two")
    assert by_masks["counts"]["pieces"] >= 3
    assert by_masks["counts"] == by_runs["counts"]
    assert by_masks["figures"] == by_runs["figures"]
