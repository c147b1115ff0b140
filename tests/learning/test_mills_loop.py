"""The mill's own loop, with a real service and a real history: found, labelled, learned, compared, promoted, rolled
back.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from history_process import STARTED, start_history
from waiting import wait_until

from linewatch import cli
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.probability import ProbabilityModel, probability_of
from linewatch.contracts.verdict import StripBox
from linewatch.geometry.matching import match
from linewatch.history.database import reading
from linewatch.history.queries import DefectRow, coils, defects, spans
from linewatch.learning.instances import LabelledInstances
from linewatch.learning.learn import learn_from_history
from linewatch.learning.learned_engine import write_second_stage
from linewatch.learning.operating_point import Rule, fit_with_points
from linewatch.simulation.truth import CoilTruth

pytestmark = [pytest.mark.service, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
EACH = 12
"""Defects of each of two coils to label: more than came with the engine, so that the mill's opinion weighs."""


PATIENCE_S = 300.0
"""The strip is rendered and inspected as fast as a busy machine can."""


def wait_for(condition: Callable[[], object]) -> None:
    wait_until(condition, PATIENCE_S)


def run(*arguments: object) -> int:
    return cli.main([str(one) for one in arguments])


def rendered_instances(folder: Path, config: Path) -> LabelledInstances:
    """What the shipped engines find on a rendered coil, judged by its truth."""
    coil, truth, out = folder / "coil.avi", folder / "truth.json", folder / "verdicts.jsonl"
    assert run("simulate", "--out", coil, "--truth", truth, "--length-m", 4, "--defects-per-m", 5, "--seed", 3) == 0
    assert run("replay", coil, "--config", config, "--out", out) == 0
    last = {one["id"]: one for text in out.read_text().splitlines() for one in json.loads(text)["defects"]}
    rows = [one for one in last.values() if one["merged_into"] is None]
    names = tuple(rows[0]["evidence"])
    found = [StripBox(tuple(one["across_mm"]), tuple(one["along_mm"])) for one in rows]
    right = np.zeros(len(rows), bool)
    right[list(match(found, [one.box for one in CoilTruth.read(truth).defects], tolerance_mm=5.0).right)] = True
    evidence = np.array([[row["evidence"][name] for name in names] for row in rows])
    return LabelledInstances.of(names, evidence, right, np.array([box.along_mm[0] // 256 for box in found], int))


@pytest.fixture
def mill(tmp_path: Path) -> Iterator[SimpleNamespace]:
    """A line whose cascade has a second stage, and its history, both in processes of their own."""
    engines = tmp_path / "engines"
    for name in ("screen", "classify", "segment"):
        shutil.copytree(ROOT / "engines" / name, engines / name)
    publish, serve, commands = (f"ipc://{tmp_path}/{name}" for name in ("pub", "rep", "cmd"))
    inference = (
        f'[inference]\nchain = "cascade"\nengines_dir = "{engines}"\nprecision = "fp32"\ndeadline_ms = 60000.0\n'
    )
    taxonomy = f'taxonomy = "{ROOT / "configs" / "taxonomy.toml"}"\n'
    any_port = '[wire]\npublish = "tcp://127.0.0.1:*"\nserve = "tcp://127.0.0.1:*"\n'
    offline = tmp_path / "offline.toml"
    offline.write_text(f'{taxonomy}{inference}[journal]\ndir = "{tmp_path / "offline"}"\n{any_port}')
    shipped = rendered_instances(tmp_path, offline)
    # Low points, so that the strip of a few seconds has defects enough to label.
    fitted = fit_with_points(shipped, "a rendered coil", Rule(0.0), Rule(0.0))
    write_second_stage(engines, "classify", fitted.model, shipped)
    config = tmp_path / "service.toml"
    config.write_text(
        f"{taxonomy}{inference}[line]\nline_rate_hz = 400.0\n"
        '[source]\ntype = "simulator"\nlength_m = 5000.0\nthreading_m = 0.0\n'
        f'defects_per_m = 8.0\ncoil = "C-1"\n[crops]\nmax_per_s = 20.0\n[journal]\ndir = "{tmp_path / "journal"}"\n'
        f'[wire]\npublish = "{publish}"\nserve = "{serve}"\ncommands = "{commands}"\n'
    )
    history = tmp_path / "history.toml"
    url = f"sqlite:///{tmp_path / 'history.sqlite'}"
    history.write_text(
        f'database = "{url}"\n[[service]]\nname = "top"\npublish = "{publish}"\nserve = "{serve}"\n'
        f'[images]\ndir = "{tmp_path / "images"}"\n'
    )
    start_history(history)
    wait_for(lambda: "history_opened" in history.with_suffix(".log").read_text())
    with (tmp_path / "service.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "linewatch.cli", "run", str(config)], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        yield SimpleNamespace(
            engines=engines,
            history=history,
            url=url,
            commands=commands,
            out=tmp_path / "learn",
            images=tmp_path / "images",
        )
    finally:
        for one in (process, *STARTED):
            one.send_signal(signal.SIGTERM)
            one.wait(60)
        STARTED.clear()


def stored(mill: SimpleNamespace, coil: str) -> list[DefectRow]:
    """The closed defects of a coil so far."""
    with reading(mill.url) as connection:
        passages = [row.passage for row in coils(connection, coil)]
        return [row for row in defects(connection, passages, limit=10_000) if row.state == "closed"] if passages else []


def found_by(mill: SimpleNamespace, engine: str, coil: str) -> list[DefectRow]:
    """The closed defects of the coil that lie wholly in stretches that this engine inspected."""
    with reading(mill.url) as connection:
        stretches = [one for row in coils(connection, coil) for one in spans(connection, row.passage)]
    own = [one.span.along_mm for one in stretches if any(identity.startswith(f"{engine}@") for identity in one.engines)]
    return [
        row
        for row in stored(mill, coil)
        if any(begin <= row.defect.box.along_mm[0] and row.defect.box.along_mm[1] <= end for begin, end in own)
    ]


def running(mill: SimpleNamespace, capsys: pytest.CaptureFixture[str]) -> dict:
    capsys.readouterr()
    assert run("engine", "show", "--json", "--commands", mill.commands) == 0
    return json.loads(capsys.readouterr().out)


def manifest(mill: SimpleNamespace, name: str) -> EngineManifest:
    return EngineManifest.parse((mill.engines / name / "manifest.json").read_bytes())


def told_by(model: ProbabilityModel, row: DefectRow) -> float:
    evidence = dict(row.defect.evidence)
    return float(probability_of(model.log_odds(np.array([[evidence[name] for name in model.evidence]])))[0])


def test_from_labels_to_a_promoted_engine_and_back(  # noqa: PLR0915 - one story, whose service starts once
    mill: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = ("learn", "--from", "history", "--engine", "classify", "--engines-dir", mill.engines)
    learn = (*learn, "--config", mill.history, "--out", mill.out)
    wait_for(lambda: len(stored(mill, "C-1")) >= EACH)
    assert run("coil", "start", "C-2", "--commands", mill.commands) == 0
    wait_for(lambda: len(stored(mill, "C-2")) >= EACH)

    assert run(*learn) == 8
    refused = capsys.readouterr().err
    assert "5 more of true defects" in refused
    assert "5 more of false ones" in refused
    assert not (mill.engines / "classify-2").exists()

    rows = [*stored(mill, "C-1"), *stored(mill, "C-2")]
    sizes = sorted(dict(row.defect.evidence)["area"] for row in rows)
    small = {row.number for row in rows if dict(row.defect.evidence)["area"] < sizes[len(sizes) // 2]}
    for row in rows:  # this mill's strip may have small ones
        verdict = "not-a-defect" if row.number in small else "right"
        assert run("label", row.number, verdict, "--by", "eva", "--config", mill.history) == 0
    placed = ("--across-mm", 100, 120, "--along-mm", 10, 40)
    assert run("missed", rows[-1].passage, "--class", "scratch", *placed, "--config", mill.history) == 0

    capsys.readouterr()
    assert run(*learn, "--json") == 0
    learned = json.loads(capsys.readouterr().out)
    assert learned["engines"] == [str(mill.engines / "classify-2")]
    assert learned["labels"] == {"right": len(rows) - len(small), "not_a_defect": len(small), "left_out": {}}
    old, new = manifest(mill, "classify"), manifest(mill, "classify-2")
    assert old.probability is not None
    assert new.probability is not None
    assert (new.learned_from.engine, new.learned_from.version) == ("classify", old.version)
    assert (new.learned_from.labels, new.learned_from.second_stage) == (len(rows), old.probability.version)
    assert (new.model, new.probability.version != old.probability.version) == (old.model, True)
    by_both = [(told_by(old.probability, row), told_by(new.probability, row), row.number in small) for row in rows]
    fell = np.mean([after - before for before, after, is_small in by_both if is_small])
    rose = np.mean([after - before for before, after, is_small in by_both if not is_small])
    assert fell < rose, "what the mill calls no defect has become less probable"
    report = json.loads((mill.out / "classify-2" / "report.json").read_text())
    assert report == learned["changes"]
    assert report["defects"] >= len(rows)
    changed = {one["defect"]: one["stands"] for one in report["changed"]}
    assert changed, "half of what is found is no defect here"
    assert (mill.out / "classify-2" / "changed.csv").read_text().count("\n") == 1 + len(changed)
    if any(mill.images.glob("*/*/*.png")):
        assert (mill.out / "classify-2" / "changed.png").stat().st_size > 1000

    assert run("engine", "load", "classify-2", "--shadow", "--commands", mill.commands) == 0
    wait_for(lambda: (running(mill, capsys)["beside"] or {}).get("tiles", 0) > 3)
    shown = running(mill, capsys)["beside"]
    assert (shown["agreed"], shown["failed"]) == (shown["tiles"], 0), "its network is the running one's"
    assert run("engine", "promote", "--commands", mill.commands) == 0
    wait_for(lambda: len(found_by(mill, "classify-2", "C-2")) >= 3)
    assert run("engine", "rollback", "--commands", mill.commands) == 0
    wait_for(lambda: running(mill, capsys)["engines"][1]["identity"].startswith("classify@"))
    since = max(row.number for row in stored(mill, "C-2"))
    wait_for(lambda: sum(row.number > since for row in found_by(mill, "classify", "C-2")) >= 3)
    for engine, model in (("classify", old.probability), ("classify-2", new.probability)):
        single = [row for row in found_by(mill, engine, "C-2") if row.defect.frames == 1]
        for row in single:
            assert row.defect.probability == pytest.approx(told_by(model, row), abs=0.02), (engine, row)

    capsys.readouterr()
    full = ("learn", "--from", "history", "--full", "--config", mill.history)
    assert run(*full, "--out", mill.out / "set", "--json") == 0
    written = json.loads(capsys.readouterr().out)
    assert sum(written["by_class"].values()) + written["without_image"] == len(rows)
    assert run("datasets", "check", "--data", f"mill={mill.out / 'set'}") == 0
    assert run(*full, "--out", mill.out / "set") == 8

    # Learned from once more, no label counts twice, and what was learned before is kept.
    with reading(mill.url) as connection:
        again = learn_from_history(connection, mill.engines, "classify-2")
    assert [one.name for one in again.folders] == ["classify-3"]
    assert manifest(mill, "classify-3").learned_from.labels == len(rows)
    assert again.load == "classify-3"
