"""Each paper's protocol, end to end on made pictures: it runs, it can overfit, its parts keep the paper's promises."""

import csv
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from made_pictures import texture, write_table

from linewatch.contracts.errors import ConfigError
from linewatch.datasets import DataSet, Knowledge, Specimen, open_set
from linewatch.datasets.parts import fractions, k_folds, made_split, random_fractions, split_of
from linewatch.evaluation.commands import evaluate, train
from linewatch.evaluation.engine_export import export_checkpoint
from linewatch.training.fit import HISTORY, fit_phases, loader, read_history
from linewatch.training.papers.counts import Counts, CountsSettings, Mosaics
from linewatch.training.papers.crops import Crops, CropsSettings, RandomCrops, rescaled
from linewatch.training.papers.joint import Joint, JointSettings
from linewatch.training.papers.single_label import NasnetSettings, SingleLabel, SingleLabelSettings
from linewatch.training.protocols import PAPER_PROTOCOLS
from linewatch.training.runs import CheckpointError, RunRecord, load

CPU = {"threads": 1, "workers": 0}


@pytest.fixture
def stripes(tmp_path: Path) -> Path:
    """A set that anything can learn: stripes along, stripes across, and spots, with masks of the stripes and spots."""
    root = tmp_path / "stripes"
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    rows = []
    for number in range(24):
        label = ("across", "along", "spot")[number % 3]
        gray, mask = texture(number, 64, 64) // 2, np.zeros((64, 64), np.uint8)
        place = 8 + 2 * (number % 20)
        window = {
            "across": np.s_[place : place + 8],
            "along": np.s_[:, place : place + 8],
            "spot": np.s_[place : place + 12, 20:32],
        }
        mask[window[label]] = 255
        gray[mask > 0] = 250
        cv2.imwrite(str(root / "images" / f"{label}_{number}.png"), gray)
        cv2.imwrite(str(root / "masks" / f"{label}_{number}.png"), mask)
        rows.append([f"{label}_{number}.png", label])
    write_table(root / "labels.csv", ["file", "class"], rows)
    return root


def test_a_size_that_the_network_does_not_take_is_refused() -> None:
    settings = SingleLabelSettings(lines=64, width=64, **CPU)
    with pytest.raises(ConfigError, match="64 x 64, custom_cnn takes 200 x 200 only"):
        settings.build(6, None)


def test_a_record_of_version_0_1_0_is_read() -> None:
    """It named the protocol `recipe`."""
    record = RunRecord(
        protocol="vgg11",
        settings={},
        data_set="neu",
        classes=("a",),
        pretrained="random weights",
        counts={},
        seen=(),
        thresholds={},
        epochs={},
        seconds=1.0,
        device="CPU",
    )
    assert RunRecord.model_validate_json(record.model_dump_json().replace('"protocol"', '"recipe"')) == record


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Strip frames of 256 x 512 in the layout of the Severstal set: without defect, and with one of each class."""
    root = tmp_path / "severstal"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    rows = []
    for number in range(10):
        label = ("ok", "1", "2", "3", "4")[number % 5]
        gray, mask = texture(900 + number, 256, 512), np.zeros((256, 512), np.uint8)
        if label != "ok":
            mask[60:200, 100 + 20 * number : 180 + 20 * number] = int(label)
            gray[mask > 0] = {"1": 250, "2": 190, "3": 190, "4": 10}[label]
        cv2.imwrite(str(root / "images" / f"f{number}.png"), gray)
        cv2.imwrite(str(root / "masks" / f"f{number}.png"), mask)
        rows.append([f"f{number}.png", label, 0])
    write_table(root / "labels.csv", ["file", "defect_classes", "mask_fraction"], rows)
    return root


def losses(study, items, run: Path) -> list[float]:  # type: ignore[no-untyped-def]
    """The loss of each epoch over the same few pictures, shown again and again without augmentation."""
    torch.manual_seed(1)
    fit_phases(study.network(None), study.loss, study.phases(), loader(items, study.settings), run, study.settings)
    return [float(row["train_loss"]) for row in read_history(run / HISTORY)]


@pytest.mark.slow
def test_a_single_label_network_overfits(stripes: Path, tmp_path: Path, small_cnn: str) -> None:
    data = open_set("stripes", stripes)
    settings = SingleLabelSettings(network=small_cnn, lines=64, width=64, epochs=12, batch=8, rate=3e-3, **CPU)
    study = SingleLabel(settings, data)
    seen = losses(study, study.validation(data.specimens), tmp_path / "run")
    assert seen[-1] < 0.2 * seen[0]


@pytest.mark.slow
def test_a_joint_network_overfits(stripes: Path, tmp_path: Path) -> None:
    data = open_set("stripes", stripes)
    settings = JointSettings(
        encoder="mobilenet_v1_0.25", lines=64, width=64, epochs=20, batch=8, rate=3e-3, patience=99, **CPU
    )
    study = Joint(settings, data)
    assert study.classes == ("across", "along", "spot")
    seen = losses(study, study.validation(data.specimens), tmp_path / "run")
    assert seen[-1] < 0.6 * seen[0]


def test_an_untrained_joint_network_can_start_from_a_prior(stripes: Path) -> None:
    data = open_set("stripes", stripes)
    small = {"encoder": "mobilenet_v1_0.25", "lines": 64, "width": 64, **CPU}
    image = torch.full((1, 1, 64, 64), 128, dtype=torch.uint8)

    def mean(settings: JointSettings) -> float:
        return Joint(settings, data).network(None).eval()(image).pixels.sigmoid().mean().item()

    assert 0.2 < mean(JointSettings(**small)) < 0.8
    assert mean(JointSettings(prior=0.01, **small)) < 0.05


@pytest.mark.slow
def test_a_network_of_crops_overfits(frames: Path, tmp_path: Path, small_cnn: str) -> None:
    data = open_set("severstal", frames, splits=tmp_path)
    settings = CropsSettings(
        network=small_cnn, lines=64, width=64, epochs=12, rate=3e-3, crops_per_frame=2, aimed=1.0, **CPU
    )
    study = Crops(settings, data)
    assert study.classes == ("1", "2+3", "4")
    seen = losses(study, study.validation(data.specimens), tmp_path / "run")
    assert seen[-1] < 0.4 * seen[0]


@pytest.mark.slow
def test_a_network_of_counts_overfits(stripes: Path, tmp_path: Path, small_cnn: str) -> None:
    data = open_set("stripes", stripes)
    settings = CountsSettings(
        network=small_cnn, lines=64, width=64, epochs=12, batch=8, rate=3e-3, mosaics=20, shares=(0.6, 0.2, 0.2), **CPU
    )
    study = Counts(settings, data)
    seen = losses(study, Mosaics(study, data.specimens, "training"), tmp_path / "run")
    assert seen[-1] < 0.3 * seen[0]


def test_no_vector_of_counts_and_no_sample_is_in_two_parts(stripes: Path) -> None:
    data = open_set("stripes", stripes)
    six = DataSet("six", stripes, tuple("abcdef"), ())
    study = Counts(CountsSettings(), six)
    parts = {part: {tuple(v) for v in study.vectors(part)} for part in ("training", "validation", "test")}  # type: ignore[arg-type]
    assert sum(map(len, parts.values())) == 126
    assert len(set().union(*parts.values())) == 126
    assert len(parts["test"]) == pytest.approx(0.2 * 126, abs=1)
    small = Counts(CountsSettings(lines=64, width=64, mosaics=40), data)
    mosaics = Mosaics(small, data.specimens, "test")
    allowed = {tuple(v) for v in small.vectors("test")}
    for index in range(len(mosaics)):
        mosaic, counts = mosaics.mosaic(index)
        assert mosaic.shape == (64, 64)
        assert counts.sum() == 4
        assert tuple(counts) in allowed
    again, _ = Mosaics(small, data.specimens, "test").mosaic(3)
    assert np.array_equal(again, mosaics.mosaic(3)[0])


def test_crops_lie_on_the_steel_and_tell_what_they_show(frames: Path, tmp_path: Path) -> None:
    data = open_set("severstal", frames, splits=tmp_path)
    study = Crops(CropsSettings(crop_px=128, lines=128, width=128, crops_per_frame=10), data)
    crops = RandomCrops(study, data.specimens, aimed=0.0)
    assert len(crops) == 100
    for index in range(0, 100, 7):
        gray, mask, labels = crops.crop(index)
        assert gray.shape == mask.shape == (128, 128)
        told = study.shown(mask, labels)
        assert told[1] == float((mask == 2).sum() >= 64 or (mask == 3).sum() >= 64)
        assert told[2] == float((mask == 4).sum() >= 64)
    with pytest.raises(ConfigError, match="classes names 9"):
        Crops(CropsSettings(classes=("1", "9")), data)


def test_rescaled_scores_are_called_at_one_half_as_at_their_own_limits() -> None:
    rng = np.random.default_rng(0)
    scores, limits = rng.random((200, 3)), np.tile(rng.uniform(0.05, 0.95, 3), (200, 1))
    bent = rescaled(scores, limits)
    assert np.array_equal(bent >= 0.5, scores >= limits)
    assert ((bent >= 0) & (bent <= 1)).all()
    for column in range(3):
        assert np.array_equal(np.argsort(bent[:, column]), np.argsort(scores[:, column]))


def test_nasnets_schedule_is_table_2s() -> None:
    frozen, fine = NasnetSettings().phases()
    weights = [torch.nn.Parameter(torch.zeros(1))]
    assert (frozen.epochs, frozen.trunk_frozen, frozen.patience, frozen.min_delta) == (20, True, 10, 0.005)
    assert isinstance(frozen.optimizer(weights), torch.optim.Adam)
    paper = NasnetSettings(fine_rate=0.1, fine_least_rate=0.01).phases()[1]
    optimizer = paper.optimizer(weights)
    assert isinstance(optimizer, torch.optim.Adamax)
    assert paper.schedule is not None
    schedule, rates = paper.schedule(optimizer), []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.1)
    assert rates[20] == pytest.approx(0.05)
    assert rates[99] == pytest.approx(0.01)
    assert isinstance(NasnetSettings(fine_optimizer="adam").phases()[1].optimizer(weights), torch.optim.Adam)
    assert not fine.trunk_frozen


@pytest.mark.parametrize("name", PAPER_PROTOCOLS)
def test_the_protocols_are_whole(name: str) -> None:
    protocol = PAPER_PROTOCOLS[name]
    assert sum(protocol.settings.shares) == pytest.approx(1)
    assert protocol.settings.with_settings(["seed=5"]).seed == 5
    phases = protocol.open(protocol.settings, DataSet("none", Path(), tuple("abcdef"), ())).phases()
    assert all(phase.epochs > 0 for phase in phases)


def made_specimens(count: int) -> DataSet:
    specimens = [
        Specimen("made", f"p{i}", None, Knowledge.LABELLED, ("ab"[i % 2],), Path(f"p{i}"), group=f"g{i // 3}")
        for i in range(count)
    ]
    return DataSet("made", Path(), ("a", "b"), tuple(specimens))


@pytest.mark.slow
def test_parts_keep_groups_whole_and_use_everything_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made_specimens(90)
    monkeypatch.setattr(Specimen, "gray", lambda self: texture(int(self.file[1:]), 40, 40))
    split = made_split(data)
    group = {one.file: one.group for one in split.assignments}
    assert all(group[f"p{3 * i}"] == group[f"p{3 * i + 1}"] == group[f"p{3 * i + 2}"] for i in range(30))
    parts = fractions(data, split, (0.7, 0.1, 0.2), 1)
    assert [len(part) for part in parts] == [pytest.approx(n, abs=6) for n in (63, 9, 18)]
    assert sorted(one.file for part in parts for one in part) == sorted(one.file for one in data.specimens)
    sides = [{group[one.file] for one in part} for part in parts]
    assert len(set().union(*sides)) == sum(map(len, sides))
    assert [[one.file for one in part] for part in fractions(data, split, (0.7, 0.1, 0.2), 1)] == [
        [one.file for one in part] for part in parts
    ]
    loose = random_fractions(data, split, (0.5, 0.0, 0.5), 1)
    assert {group[one.file] for one in loose[0]} & {group[one.file] for one in loose[2]}
    tests = [test for _, test in k_folds(data, split, 5, 1)]
    assert sorted(one.file for test in tests for one in test) == sorted(one.file for one in data.specimens)
    for rest, test in k_folds(data, split, 5, 1):
        assert not {group[one.file] for one in rest} & {group[one.file] for one in test}
    kept = split_of(data, tmp_path / "split.csv")
    assert split_of(data, tmp_path / "split.csv").assignments == kept.assignments


@pytest.mark.slow
def test_from_a_training_to_an_engine_that_agrees(stripes: Path, tmp_path: Path, small_cnn: str) -> None:
    """The commands in a row: train, refuse to run over it, resume, evaluate, export, evaluate the engine."""
    run, engines, data = tmp_path / "run", tmp_path / "engines", [f"stripes={stripes}"]
    changes = [
        f"network={small_cnn}",
        "lines=64",
        "width=64",
        "epochs=2",
        "batch=8",
        "rate=0.001",
        "threads=1",
        "workers=0",
    ]
    told = train("custom_cnn", data=data, changes=changes, run=run)
    assert told is not None
    with pytest.raises(ConfigError, match="holds a run already"):
        train("custom_cnn", data=data, changes=changes, run=run)
    assert train("custom_cnn", data=data, changes=changes, run=run, resume=True) == told
    with pytest.raises(ConfigError, match="another protocol, settings or data"):
        train("custom_cnn", data=data, changes=[*changes, "seed=3"], run=run, resume=True)
    made = {path.name for path in run.iterdir()}
    assert {"run.json", "network.ckpt", "split.csv", "history.csv", "curves.png", "judgement.json", "CARD.md"} <= made
    trained = load(run)
    manifest = export_checkpoint(run, "stripes", engines)
    assert manifest.classes == ("across", "along", "spot") == trained.study.classes
    (of_run,) = evaluate(str(run), data=data)
    (of_engine,) = evaluate("stripes", data=data, engines_dir=engines)
    assert of_run.count == of_engine.count == told.count
    assert of_run.top1 == of_engine.top1 == told.top1
    assert of_run.auc == pytest.approx(of_engine.auc, abs=1e-4)
    (everything,) = evaluate("stripes", data=data, engines_dir=engines, everything=True)
    assert everything.count == 24
    (folded,) = evaluate(str(run), data=data, folds=2, run=tmp_path / "folds")
    assert folded.count == 24
    assert "top1" in (tmp_path / "folds" / "folds.json").read_text()


@pytest.mark.slow
def test_dice_by_picture_is_kept_for_comparisons(stripes: Path, tmp_path: Path) -> None:
    changes = ["encoder=mobilenet_v1_0.25", "lines=64", "width=64", "epochs=1", "batch=8", "threads=1", "workers=0"]
    result = train("tlu_net", data=[f"stripes={stripes}"], changes=changes, run=tmp_path / "run")
    assert result is not None
    with (tmp_path / "run" / "per_image.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == result.count
    assert result.dice == pytest.approx(np.mean([float(row["dice"]) for row in rows]), abs=1e-4)
    manifest = export_checkpoint(tmp_path / "run", "joint", tmp_path / "engines")
    assert manifest.task == "segment"
    (of_run,), (of_engine,) = (
        evaluate(target, data=[f"stripes={stripes}"], engines_dir=tmp_path / "engines")
        for target in (str(tmp_path / "run"), "joint")
    )
    assert of_run.dice == pytest.approx(of_engine.dice, abs=1e-3)
    assert of_run.kaggle_dice == pytest.approx(of_engine.kaggle_dice, abs=1e-3)
    assert of_run.mla is not None


@pytest.mark.slow
def test_a_run_of_crops_and_its_engine_agree(frames: Path, tmp_path: Path, small_cnn: str) -> None:
    changes = [
        f"network={small_cnn}",
        "lines=64",
        "width=64",
        "epochs=1",
        "crops_per_frame=2",
        "threads=1",
        "workers=0",
        "shares=0.5,0.25,0.25",
    ]
    train("resnet34", data=[f"severstal={frames}"], changes=changes, run=tmp_path / "run")
    drawn = {path.name for path in (tmp_path / "run").glob("*.png")}
    assert {"curves.png", "thresholds.png", "confusion.png", "errors.png", "depths.png"} <= drawn
    export_checkpoint(tmp_path / "run", "crops", tmp_path / "engines")
    (of_run,), (of_engine,) = (
        evaluate(target, data=[f"severstal={frames}"], engines_dir=tmp_path / "engines")
        for target in (str(tmp_path / "run"), "crops")
    )
    assert of_engine.classes == ("1", "2+3", "4")
    mine, theirs = of_run.metrics(), of_engine.metrics()
    assert {name: mine[name] for name in theirs} == pytest.approx(theirs, abs=1e-3)


@pytest.mark.parametrize("content", [b"file,class\na.png,scratch\n", b"", b"\x80\x02."])
def test_what_is_no_checkpoint_is_refused_in_a_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "network.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match="no checkpoint of linewatch"):
        load(tmp_path)
