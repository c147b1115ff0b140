"""From the strip to the lists: the shipped engines' service, its history, and what the commands say of it."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from decisions import coil_notice
from history_process import let_run, start_history, wait_for
from stored_coils import messages_of, store_messages
from typed_commands import typed

from linewatch.config.history import HistorySettings
from linewatch.config.load import load
from linewatch.contracts.coil import file_name
from linewatch.contracts.verdict import CoilState
from linewatch.history.archived_images import archived_images
from linewatch.history.database import writing
from linewatch.history.labels import LabelVerdict, export_labels, label
from linewatch.history.queries import coils, defects
from linewatch.review.from_verdicts import read_coil
from linewatch.wire.encode import Sequencer

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]


def linewatch(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "linewatch.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,
    )


@pytest.fixture(scope="module")
def inspected(tmp_path_factory):
    """A coil that was inspected while the history listened: the history's configuration, and the verdict file."""
    folder = tmp_path_factory.mktemp("mill")
    publish, serve = (f"ipc://{folder}/{name}" for name in ("pub", "rep"))
    service = folder / "service.toml"
    service.write_text(
        f'taxonomy = "configs/taxonomy.toml"\n[source]\ntype = "simulator"\nlength_m = 8.0\ndefects_per_m = 2.0\n'
        f'coil = "MILL-7"\n[[alarm]]\nname = "any"\n[journal]\ndir = "{folder / "journal"}"\n'
        f'[wire]\npublish = "{publish}"\nserve = "{serve}"\n[crops]\nmax_per_s = 50.0\n'
    )
    config = folder / "history.toml"
    config.write_text(
        f'database = "sqlite:///{folder / "history.sqlite"}"\n[[service]]\nname = "top"\npublish = "{publish}"\n'
        f'serve = "{serve}"\n[images]\ndir = "{folder / "images"}"\n'
    )
    history = start_history(config)
    wait_for(lambda: "history_opened" in config.with_suffix(".log").read_text())
    verdicts = folder / "verdicts.jsonl"
    replay = subprocess.Popen(
        [
            *(sys.executable, "-m", "linewatch.cli", "replay", "simulator"),
            *("--config", str(service), "--out", str(verdicts), "--hold-s", "120"),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: _has_ended(config))
        (coil,) = json.loads(typed("coils", "--config", config, "--json").stdout)["coils"]
        most = sum(coil["defects_by_class"].values()) / 2  # those told before the history was connected have no picture
        wait_for(lambda: len(list((folder / "images").glob("*/*/*.png"))) > most)
        let_run(history, 1.0)  # so long for the others
    finally:
        replay.send_signal(signal.SIGINT)
        replay.wait(60)
        history.send_signal(signal.SIGTERM)
        assert history.wait(60) == 0
    return config, verdicts


def _has_ended(config):
    listed = typed("coils", "--config", config, "--json")
    return listed.returncode == 0 and any(row["ended_unix_ns"] for row in json.loads(listed.stdout)["coils"])


def listed(*arguments):
    ended = typed(*arguments, "--json")
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_what_the_history_lists_is_what_the_verdict_file_holds(inspected):
    config, verdicts = inspected
    found = read_coil(verdicts)
    assert len(found.defects) > 3
    (coil,) = listed("coils", "--config", config)["coils"]
    assert (coil["coil"], coil["service"], coil["side"]) == ("MILL-7", "top", "top")
    assert coil["passed_mm"] == coil["inspected_mm"] == found.length_mm == 8000.0
    assert sum(coil["defects_by_class"].values()) == len(found.defects)
    assert coil["alarms"] > 0
    assert coil["grade"] is None
    assert len(coil["config"]) == 12
    assert 0 < time.time() - coil["begun_unix_ns"] / 1e9 < 3600
    page = listed("defects", "--config", config, "--coil", "MILL-7")
    assert page["after"] is None
    assert {(d["name"], d["defect_class"], d["area_mm2"]) for d in page["defects"]} == {
        (d.id, d.defect_class, d.area_mm2) for d in found.defects
    }
    name = page["defects"][0]["defect_class"]
    of_class = listed("defects", "--config", config, "--passage", coil["passage"], "--class", name)["defects"]
    assert of_class == [d for d in page["defects"] if d["defect_class"] == name]
    first = listed("defects", "--config", config, "--coil", "MILL-7", "--limit", 2)
    rest = listed("defects", "--config", config, "--coil", "MILL-7", "--after", first["after"])
    assert first["defects"] + rest["defects"] == page["defects"]


def test_every_defect_has_its_picture(inspected):
    """Of the shipped engines' defects on the simulated strip, stored by the history as they were published."""
    config, _ = inspected
    found = listed("defects", "--config", config, "--coil", "MILL-7", "--images")["defects"]
    pictures = {d["defect"]: cv2.imread(d["image"], cv2.IMREAD_UNCHANGED) for d in found if d["image"]}
    assert len(pictures) > len(found) / 2  # the history may not have been connected yet when the first were told
    found = [d for d in found if d["image"]]
    assert all(picture.dtype == np.uint8 and picture.ndim == 2 for picture in pictures.values())
    for defect in found:
        height, width = pictures[defect["defect"]].shape
        assert min(height, width) >= 16  # a margin around it
    table = typed("defects", "--config", config, "--coil", "MILL-7", "--images").stdout
    folder, below = found[0]["image"].split("/images/")
    assert below in table
    assert f"images are in {folder}/images" in table.replace("\n", "")


def test_pictures_that_nobody_keeps_are_named_as_such(inspected, tmp_path):
    config = tmp_path / "without.toml"
    config.write_text(inspected[0].read_text().partition("[images]")[0])
    ended = typed("defects", "--config", config, "--coil", "MILL-7", "--images")
    assert ended.returncode == 2
    assert "keeps no images; add [images] there, and [crops] to the service" in ended.stderr


def test_lists_for_people(inspected):
    config, _ = inspected
    coils = typed("coils", "--config", config).stdout
    assert "MILL-7" in coils
    assert "100.00%" in coils
    defects = typed("defects", "--config", config, "--coil", "MILL-7", "--limit", "1").stdout
    assert "there may be more: --after" in defects


def test_labels_are_kept_and_exported(inspected, tmp_path):
    config, _ = inspected
    first, second = listed("defects", "--config", config, "--coil", "MILL-7", "--limit", 2)["defects"]
    said = listed("label", first["defect"], "wrong-class", "--class", "tarnish", "--who", "eva", "--config", config)
    assert (said["name"], said["found_class"], said["right_class"]) == (first["name"], first["defect_class"], "tarnish")
    assert typed("label", second["name"], "not-a-defect", "--by", "eva", "--config", config).returncode == 0
    out = tmp_path / "labels.csv"
    assert listed("labels", "export", "--out", out, "--config", config) == {"path": str(out), "labels": 2}
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["verdict"], row["right_class"], row["who"]) for row in rows] == [
        ("wrong-class", "tarnish", "eva"),
        ("not-a-defect", "", "eva"),
    ]
    assert float(rows[0]["along_begin_mm"]) == first["along_mm"][0]
    lines = tmp_path / "labels.jsonl"
    assert typed("labels", "export", "--out", lines, "--config", config).returncode == 0
    assert [json.loads(line)["coil"] for line in lines.read_text().splitlines()] == ["MILL-7"] * 2


def test_report_regrade_and_compare_read_the_history_as_they_read_the_verdict_file(inspected, tmp_path):
    config, verdicts = inspected
    for name, source in (("file", ["--verdicts", verdicts]), ("history", ["MILL-7", "--history", config])):
        folder = tmp_path / name
        made = typed("report", *source, "--html", folder / "coil.html", "--csv", folder)
        assert made.returncode == 0, made.stderr
    for table in ("defects.csv", "spans.csv", "alarms.csv"):
        lines = (tmp_path / "history" / table).read_text()
        assert lines == (tmp_path / "file" / table).read_text()
        assert lines.count("\n") > 1
    page = (tmp_path / "history" / "coil.html").read_text()
    assert "passage 1 of the history" in page
    assert "data:image/jpeg" in page, "steel out of the image archive"
    assert "data:image/jpeg" not in (tmp_path / "file" / "coil.html").read_text(), "a verdict file holds no steel"

    rules = ("--rules", "configs/grading/example.toml", "--json")
    ours = typed("regrade", verdicts, *rules)
    theirs = typed("regrade", "--coil", "MILL-7", "--history", config, *rules)
    assert ours.returncode == 0, ours.stderr
    assert json.loads(ours.stdout) == json.loads(theirs.stdout)

    url = tomllib.loads(config.read_text())["database"]
    limits = ("--fail-lost", "0", "--fail-new", "0", "--fail-reclassified", "0")
    same = typed("compare", "history:MILL-7", verdicts, "--database", url, *limits)
    assert same.returncode == 0, same.stderr
    assert "history:MILL-7" in same.stdout
    facts = listed("compare", verdicts, "history:#1", "--database", url)
    assert facts["compared_mm"] == 8000.0
    assert facts["total"]["in_a"] == facts["total"]["in_b"] == facts["matched"] > 3
    assert facts["resized"] == []


def test_a_picture_is_drawn_of_a_coil_of_the_history(inspected, tmp_path):
    config, verdicts = inspected
    pixels = []
    for source in (verdicts, "history:MILL-7"):
        out = tmp_path / "coil.png"
        more = ("--source", "simulator", "--config", config.with_name("service.toml"), "--history", config)
        drawn = typed("picture", source, *more, "--out", out)
        assert drawn.returncode == 0, drawn.stderr
        pixels.append(cv2.imread(str(out)))
    assert pixels[0].std() > 10
    assert (pixels[0] == pixels[1]).all()


def test_stored_coils_that_cannot_be_meant(inspected, tmp_path):
    rules = ("--rules", "configs/grading/example.toml")
    page = ("--html", tmp_path / "c.html")
    for arguments, code, said in (
        (("report", *page), 2, "no coil is named; give its id or --passage"),
        (("report", "NONE", *page), 8, "no coil 'NONE' in this history"),
        (("report", "--passage", "9", *page), 8, "no passage 9"),
        (("report", "--passage", "1", "--verdicts", inspected[1], *page), 2, "--passage 1 is of the history"),
        (("report", "MILL-7", "--database", "mysql://x", *page), 2, "--database mysql://x: expected sqlite:///PATH"),
        (("report", "MILL-7", "--database", "sqlite:////nowhere/h", *page), 8, "there is no history yet"),
        (("regrade", *rules), 2, "no coil is named"),
        (("regrade", "history:NONE", *rules), 8, "no coil 'NONE'"),
        (("compare", "history:NONE", inspected[1]), 8, "no coil 'NONE'"),
        (("compare", "history:#x", inspected[1]), 8, "no coil '#x'"),
    ):
        ended = typed(*arguments, "--history", inspected[0])
        assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
        assert said in ended.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["defects", "--coil", "NONE"], 8, "no coil 'NONE' in this history"),
        (["defects", "--passage", "99"], 8, "no passage 99"),
        (["coils", "--limit", "0"], 2, "--limit is 0, expected 1 to 10000"),
        (["label", "99999", "not-a-defect"], 8, "no defect '99999'"),
        (["labels", "export", "--out", "labels.xls"], 8, "ends in .csv or .jsonl"),
    ],
)
def test_mistakes_are_named(inspected, arguments, code, said):
    ended = typed(*arguments, "--config", inspected[0])
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False)
    assert said in ended.stderr


def test_names_that_look_like_markup_or_formulas_are_printed_as_they_are(tmp_path):
    url = f"sqlite:///{tmp_path / 'h.sqlite'}"
    config = tmp_path / "history.toml"
    config.write_text(f'database = "{url}"\n[[service]]\nname = "svc"\n')
    with writing(url) as engine:
        for name in ("[red]7[/red]", ":ok: ä", "=1+1"):
            begun = replace(coil_notice(CoilState.STARTED), coil=name)
            store_messages(engine, messages_of(begun, sequencer=Sequencer(1)), file_name(name))
    ended = typed("coils", "--config", config)
    assert ended.returncode == 0, ended.stderr
    for name in ("[red]7[/red]", ":ok: ä", "=1+1"):
        assert name in ended.stdout
        (found,) = listed("coils", f"--coil= {name} ", "--config", config)["coils"]
        assert found["coil"] == name
    for arguments, said in ((("coils", "--coil", ""), "is empty"), (("defects", "--coil", "a\nb"), "U+000A")):
        ended = typed(*arguments, "--config", config)
        assert (ended.returncode, said in ended.stderr, "Traceback" in ended.stderr) == (2, True, False)


def test_what_cannot_be_printed_ends_with_one_line_and_a_code(inspected, tmp_path):
    config = inspected[0]
    for words in (
        ["coils", "--config", config],
        ["defects", "--coil", "MILL-7", "--json", "--config", config],
        ["report", "MILL-7", "--html", tmp_path / "r.html", "--history", config],
    ):
        with open("/dev/full", "w") as full:
            ended = subprocess.run(
                [sys.executable, "-m", "linewatch.cli", *map(str, words)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
        assert (ended.returncode, len(ended.stderr.splitlines())) == (1, 1), ended.stderr
        assert "standard output cannot be written (No space left on device)" in ended.stderr
    page = linewatch("report", "MILL-7", "--html", "/dev/stdout", "--history", config)
    assert (page.returncode, page.stderr) == (0, "")
    assert page.stdout.startswith("<!DOCTYPE html>")
    assert page.stdout.rstrip().endswith("</html>")  # and nothing behind it
    assert Path("/dev/stdout").is_symlink()


def test_labels_are_exported_with_pictures_and_masks_that_lie_on_them(inspected, tmp_path):
    """As the service told of each defect: the mask's area, and how much darker or lighter it is than what is around."""
    config, _ = inspected
    settings, out = load(config, HistorySettings), tmp_path / "wrong.jsonl"
    with writing(settings.database) as engine, engine.begin() as connection:
        (row,) = coils(connection)
        found = defects(connection, [row.passage])
        for each in found:
            label(connection, str(each.number), LabelVerdict.NOT_A_DEFECT, None, "eva")
        assert export_labels(connection, out, settings.images.dir) == len(found)
        kept = archived_images(connection, settings.images.dir, row.passage, [each.defect.id for each in found])
    labels = {told["name"]: told for told in map(json.loads, out.read_text().splitlines())}
    contrasts = []
    for defect in (each.defect for each in found):
        told = labels[defect.id]
        if defect.id not in kept:
            assert (told["image"], told["mask"]) == (None, None)
            continue
        image, mask = (cv2.imread(str(tmp_path / told[name]), cv2.IMREAD_UNCHANGED) for name in ("image", "mask"))
        assert np.array_equal(image, kept[defect.id].read())
        assert mask.shape == image.shape
        assert set(np.unique(mask)) == {0, 255}
        if defect.frames == 1:  # all of it is in the one frame that is shown; a pixel has 0.5 mm2
            assert (mask == 255).sum() * 0.5 == pytest.approx(defect.area_mm2, abs=0.5)
            contrasts.append(((image[mask == 255].mean() - image[mask == 0].mean()) / 255, defect.contrast or 0.0))
    seen, contrast = np.array(contrasts).T
    clear = np.abs(contrast) > 0.05
    assert clear.any()
    assert (np.sign(seen) == np.sign(contrast))[clear].all()


def test_without_the_extra_its_name_is_told(inspected):
    """Where SQLAlchemy cannot be imported, as in the service's own install."""
    program = (
        "import sys; sys.modules['sqlalchemy'] = None; from linewatch.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, "coils", "--config", str(inspected[0])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == 2
    assert "needs sqlalchemy, which is not installed; pip install 'linewatch[history]'" in ended.stderr
