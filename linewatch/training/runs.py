"""A run folder: what was fitted to what, how it went, how good it is, and the network itself.

``run.json`` the record; ``network.ckpt`` the record and the weights in one file, which is all that evaluate and export
need; ``split.csv``; ``history.csv``, ``curves.png`` and the study's own pictures; ``judgement.json``; ``CARD.md``.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader

from linewatch import __version__
from linewatch.contracts.errors import ConfigError, LinewatchError
from linewatch.datasets import DataSet, DatasetError, Specimen
from linewatch.datasets.check import faults
from linewatch.datasets.parts import split_of
from linewatch.metrics.judgement import Judgement, fold_spread
from linewatch.metrics.plots import learning_curves
from linewatch.networks.paper import PaperNetwork
from linewatch.networks.pretrained import Source
from linewatch.training.fit import HISTORY, Shuffled, fit_phases, loader, read_history
from linewatch.training.papers.study import Judged, PaperSettings, Parts, Study, folded_parts, parts_of
from linewatch.training.protocols import PaperRecipe, paper_recipe

CHECKPOINT = "network.ckpt"
RECORD, JUDGEMENT, CARD = "run.json", "judgement.json", "CARD.md"
_FAULTS_TOLD = 12


class CheckpointError(LinewatchError):
    """A file is no checkpoint of ours, or not one that this version can read."""

    exit_code = 4


class RunRecord(BaseModel):
    """What a network was fitted to, and how; enough to build it again and to judge it on what it has not seen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: str
    settings: dict[str, Any]
    data_set: str
    classes: tuple[str, ...]
    pretrained: str
    counts: dict[str, int]
    seen: tuple[str, ...]
    """sha256 (first 16 digits) of every picture of the training and validation parts."""
    thresholds: dict[str, float]
    epochs: dict[str, int]
    seconds: float
    device: str
    linewatch: str = __version__
    torch: str = torch.__version__


@dataclass(frozen=True)
class Order:
    """What is to be trained, on what, into which folder."""

    recipe: PaperRecipe
    settings: PaperSettings
    data_set: DataSet
    run: Path
    source: Source = None
    resume: bool = False


@dataclass(frozen=True)
class Trained:
    """A fitted network with its record and its protocol."""

    record: RunRecord
    study: Study
    network: nn.Module

    def judged(self, specimens: Sequence[Specimen]) -> Judged:
        return Judged(self.network, self.record.thresholds, specimens)


def train(order: Order) -> Judgement:
    """Fits, judges on the test part and fills the run folder."""
    split = _begin(order)
    return _one(order, parts_of(order.data_set, split, order.settings), order.run)[1]


def cross_validate(order: Order, folds: int) -> Judgement:
    """`folds` networks, each judged on the fold that it has not seen; the run folder gets one folder a fold.

    The judgement is of all folds' pictures together; `folds.json` has the mean and the deviation over the folds, as
    Apostolopoulos & Tzani give them.
    """
    split = _begin(order)
    study = order.recipe.open(order.settings, order.data_set)
    judged, alone = [], []
    for number, parts in enumerate(folded_parts(order.data_set, split, order.settings, folds)):
        trained, of_fold = _one(order, parts, order.run / f"fold-{number}")
        judged.append(trained.judged(parts.test))
        alone.append(of_fold)
    judgement = with_claims(study.judge(judged, order.run), order.recipe, order.data_set.name)
    _write(order.run / JUDGEMENT, judgement.model_dump_json(indent=2, exclude_none=True))
    _write(order.run / "folds.json", json.dumps({"mean and deviation over folds": fold_spread(alone)}, indent=2))
    return judgement


def _begin(order: Order) -> Any:
    """The split, after the data has been checked and the run folder found fit to be written to."""
    told = order.run / "order.json"
    wanted = json.dumps(
        {
            "recipe": order.recipe.name,
            "settings": order.settings.model_dump(mode="json"),
            "data": {order.data_set.name: len(order.data_set.specimens)},
            "pretrained": _told(order.source),
        }
    )
    if told.is_file() and not order.resume:
        raise ConfigError(f"{order.run}: holds a run already; --resume goes on with it, --run names another folder")
    if told.is_file() and told.read_text() != wanted:
        raise ConfigError(f"{order.run}: holds a run with another recipe, settings or data; name another --run folder")
    found = faults(order.data_set)
    if found:
        lines = [f"{fault.path}: {fault.what}" for fault in found[:_FAULTS_TOLD]]
        more = f"\n  and {len(found) - _FAULTS_TOLD} more" if len(found) > _FAULTS_TOLD else ""
        raise DatasetError(
            f"{order.data_set.name}: {len(found)} faults, mend them first\n  " + "\n  ".join(lines) + more
        )
    order.run.mkdir(parents=True, exist_ok=True)
    _write(told, wanted)
    return split_of(order.data_set, order.run / "split.csv")


def _one(order: Order, parts: Parts, run: Path) -> tuple[Trained, Judgement]:
    run.mkdir(parents=True, exist_ok=True)
    if (run / CHECKPOINT).is_file() and (run / JUDGEMENT).is_file():
        return load(run), Judgement.model_validate_json((run / JUDGEMENT).read_text())
    study = order.recipe.open(order.settings, order.data_set)
    started = time.monotonic()
    network = _fit(study, study.network(order.source), parts, run)
    history = read_history(run / HISTORY)
    record = RunRecord(
        recipe=order.recipe.name,
        settings=order.settings.model_dump(mode="json"),
        data_set=order.data_set.name,
        classes=study.classes,
        pretrained=_told(order.source),
        counts={name: len(study.usable(getattr(parts, name))) for name in ("training", "validation", "test")},
        seen=tuple(sorted(fingerprint(one.path) for one in (*parts.training, *parts.validation))),
        thresholds=study.thresholds(network, parts.validation or parts.training),
        epochs={
            phase: sum(row["phase"] == phase for row in history) for phase in dict.fromkeys(r["phase"] for r in history)
        },
        seconds=round(sum(float(row["seconds"]) for row in history) or time.monotonic() - started, 1),
        device=device_name(),
    )
    trained = Trained(record, study, network)
    judgement = with_claims(study.judge([trained.judged(parts.test)], run), order.recipe, order.data_set.name)
    save(trained, run)
    for phase in study.phases():  # the network has been saved; its phases' checkpoints are as large again
        shutil.rmtree(run / phase.name, ignore_errors=True)
    learning_curves(run / HISTORY, run / "curves.png")
    _write(run / CARD, card(record, judgement, order.recipe))
    _write(run / JUDGEMENT, judgement.model_dump_json(indent=2, exclude_none=True))
    return trained, judgement


def _fit(study: Study, network: nn.Module, parts: Parts, run: Path) -> nn.Module:
    items = study.training(parts.training)
    order = Shuffled(len(items), study.settings.seed)  # type: ignore[arg-type]
    validation = None
    if parts.validation:
        validation = DataLoader(study.validation(parts.validation), batch_size=study.settings.batch)
    return fit_phases(
        network,
        study.loss,
        study.phases(),
        loader(items, study.settings, order),
        run,
        study.settings,
        validation,
        study.score,
    )


def save(trained: Trained, run: Path) -> None:
    """`run.json`, `network.ckpt` and, of a paper's network, `trunk.safetensors` for others to start from."""
    _write(run / RECORD, trained.record.model_dump_json(indent=2))
    state = {name: value.contiguous() for name, value in trained.network.state_dict().items()}
    part = run / f"{CHECKPOINT}.part"
    torch.save({"record": trained.record.model_dump_json(), "state": state}, part)
    part.replace(run / CHECKPOINT)
    if isinstance(trained.network, PaperNetwork):
        save_file(
            {n: v.contiguous().clone() for n, v in trained.network.trunk.state_dict().items()},
            run / "trunk.safetensors",
        )


def is_checkpoint(path: Path) -> bool:
    return (path / CHECKPOINT).is_file() or (path.is_file() and path.suffix == ".ckpt")


def load(path: Path) -> Trained:
    """The network of a run folder or of a `network.ckpt`. `CheckpointError` if it is none."""
    file = path / CHECKPOINT if path.is_dir() else path
    try:
        stored = torch.load(file, weights_only=True, map_location="cpu")
        record = RunRecord.model_validate_json(stored["record"])
    except (OSError, KeyError, TypeError, RuntimeError, ValueError, EOFError, ValidationError) as error:
        raise CheckpointError(
            f"{file}: no checkpoint of linewatch's ({type(error).__name__}); name a run folder or a {CHECKPOINT}"
        ) from error
    recipe = paper_recipe(record.recipe)
    settings = type(recipe.settings).model_validate(record.settings)
    study = recipe.open(settings, DataSet(record.data_set, file.parent, record.classes, ()))
    network = study.network(None)
    network.load_state_dict(stored["state"])
    return Trained(record, study, network.eval())


def fingerprint(picture: Path) -> str:
    """The first 16 digits of the file's sha256."""
    return hashlib.sha256(picture.read_bytes()).hexdigest()[:16]


def with_claims(judgement: Judgement, recipe: PaperRecipe, data_set: str) -> Judgement:
    """The judgement beside what the paper claims on that data set, as far as both have the figure."""
    claims = {name: value for name, value in recipe.claims.get(data_set, {}).items() if name in judgement.figures()}
    return judgement.model_copy(update={"paper": claims})


def device_name() -> str:
    """The GPU's name, or the CPU's."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0]}, {torch.get_num_threads()} threads" if names else "CPU"


def card(record: RunRecord, judgement: Judgement, recipe: PaperRecipe) -> str:
    """The model card as Markdown."""
    rows = []
    for name, value in judgement.figures().items():
        interval = "" if name not in judgement.intervals else "{:.3f} to {:.3f}".format(*judgement.intervals[name])
        claim = f"{judgement.paper[name]:.3f}" if name in judgement.paper else ""
        rows.append(f"| {name} | {value:.3f} | {interval} | {claim} |")
    epochs = ", ".join(f"{phase} {count}" for phase, count in record.epochs.items())
    settings = "\n".join(f"- `{name}`: {value}" for name, value in record.settings.items())
    return f"""# {record.recipe} on {record.data_set}

{recipe.about}, after {recipe.paper}.

Started from: {record.pretrained}. Fitted to {record.counts["training"]} specimens, {record.counts["validation"]} for
validation, judged on {record.counts["test"]} that it has not seen (`split.csv`). Epochs really run: {epochs};
{record.seconds:.0f} s on {record.device}; torch {record.torch}. Classes: {", ".join(record.classes)}.

| figure | here | 95 % interval | paper |
| --- | --- | --- | --- |
{chr(10).join(rows)}

![learning curves](curves.png)

Settings:

{settings}
"""


def _told(source: Source) -> str:
    return "random weights" if source is None else f"weights of {source.name if isinstance(source, Path) else source}"


def _write(path: Path, text: str) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    part.replace(path)
