"""A learned engine is a whole engine beside the old one, and its INT8 siblings come along."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from linewatch.contracts.errors import EngineError, HistoryError
from linewatch.contracts.evidence import evidence_names
from linewatch.contracts.manifest import EngineManifest
from linewatch.inference.engines import best_sibling, find_engine
from linewatch.learning.instances import INSTANCES, LabelledInstances
from linewatch.learning.labelled import MillLabels, check_enough
from linewatch.learning.learned_engine import write_second_stage, write_successor
from linewatch.learning.second_stage import at, fit

ROOT = Path(__file__).parents[2]
CLASSES = tuple(json.loads((ROOT / "engines" / "classify" / "manifest.json").read_text())["classes"])


def drawn(seed: int = 0) -> LabelledInstances:
    names = evidence_names(CLASSES)
    rng = np.random.default_rng(seed)
    evidence = rng.normal(size=(80, len(names)))
    right = evidence[:, 0] + rng.normal(size=80) > 0
    return LabelledInstances.of(names, evidence, right, np.arange(80) // 4)


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    for name in ("classify", "classify-int8"):
        shutil.copytree(ROOT / "engines" / name, tmp_path / name)
    return tmp_path


def read(folder: Path) -> EngineManifest:
    return EngineManifest.parse((folder / "manifest.json").read_bytes())


def test_the_second_stage_is_written_to_the_engine_and_its_int8_siblings(engines: Path) -> None:
    model = fit(drawn(), "80 drawn instances")
    folders = write_second_stage(engines, "classify", model, drawn())
    assert [one.name for one in folders] == ["classify", "classify-int8"]
    for folder in folders:
        found = find_engine(engines, folder.name)
        assert found.manifest.probability == model
        assert len(LabelledInstances.read(folder, model.version)) == 80
        assert f"Version {model.version}. 80 drawn instances" in (folder / "CARD.md").read_text()
    again = at(model, 0.1, 0.4)
    write_second_stage(engines, "classify", again, drawn())
    card = (engines / "classify" / "CARD.md").read_text()
    assert model.version not in card
    assert card.count("## Second stage") == 1


def test_a_successor_lies_beside_with_its_siblings_and_its_lineage(engines: Path) -> None:
    first, second, third = (fit(drawn(seed), "drawn") for seed in range(3))
    write_second_stage(engines, "classify", first, drawn())
    (engines / "classify" / "seen.csv").write_text("sha256\nabc\n")
    before = {path: path.read_bytes() for path in engines.rglob("*") if path.is_file()}
    folders = write_successor(engines, "classify", second, drawn(1), labels=31)
    assert [one.name for one in folders] == ["classify-2", "classify-2-int8"]
    assert {path: path.read_bytes() for path in before} == before, "the old engine is as it was"
    new = find_engine(engines, "classify-2")
    assert (new.directory / "seen.csv").read_text() == "sha256\nabc\n", "what it was trained on"
    assert best_sibling(new, ("int8",)).manifest.name == "classify-2-int8"
    assert new.manifest.model == read(engines / "classify").model
    lineage = new.manifest.learned_from
    assert lineage is not None
    assert (lineage.engine, lineage.second_stage, lineage.labels) == ("classify", first.version, 31)
    assert new.manifest.version == f"{read(engines / 'classify').version}+{second.version}"
    assert [one.name for one in write_successor(engines, "classify-2", third, drawn(2), 40)] == [
        "classify-3",
        "classify-3-int8",
    ]
    assert read(engines / "classify-3").learned_from.engine == "classify-2"
    # Learned from the first engine again, it takes the next free name.
    assert write_successor(engines, "classify", second, drawn(1), 31)[0].name == "classify-4"
    assert not list(engines.glob(".learning-*"))


def test_a_successor_of_a_damaged_engine_is_not_written(engines: Path) -> None:
    model = fit(drawn(), "drawn")
    write_second_stage(engines, "classify", model, drawn())
    (engines / "classify-int8" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(EngineError, match="damaged"):
        write_successor(engines, "classify", model, drawn(), 1)
    assert sorted(one.name for one in engines.iterdir()) == ["classify", "classify-int8"]


def labels(true: int, false: int, passages: int) -> MillLabels:
    right = np.array([True] * true + [False] * false)
    count = len(right)
    instances = LabelledInstances.of(("a",), np.zeros(count), right, np.arange(count) % max(passages, 1))
    return MillLabels(instances, {"its evidence is not stored": 3}, 0)


def test_labels_that_are_too_few_say_how_many_are_lacking() -> None:
    check_enough(labels(5, 5, 2))
    with pytest.raises(HistoryError) as refused:
        check_enough(labels(2, 0, 1))
    told = str(refused.value)
    assert "2 of true defects and 0 of false ones, of 1 passages; 3 left out: its evidence is not stored" in told
    for lacking in ("3 more of true defects", "5 more of false ones", "1 more of another passage"):
        assert lacking in told
    with pytest.raises(HistoryError, match=r"Lacking: 5 more of false ones"):
        check_enough(labels(50, 0, 4))


def test_instances_of_another_second_stage_are_not_taken_for_its_own(engines: Path) -> None:
    model = fit(drawn(), "drawn")
    write_second_stage(engines, "classify", model, drawn())
    shutil.copy(engines / "classify" / INSTANCES, engines / "kept.npz")
    write_second_stage(engines, "classify", fit(drawn(1), "drawn"), drawn(1))
    shutil.copy(engines / "kept.npz", engines / "classify" / INSTANCES)
    version = read(engines / "classify").probability.version
    with pytest.raises(EngineError, match="belongs to the second stage"):
        LabelledInstances.read(engines / "classify", version)
