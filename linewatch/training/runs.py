"""Training by a paper's protocol into a run folder, and reading a network back from it.

The folder holds ``run.json``, the record; ``network.ckpt``, the record and the weights in one file, which is all that
evaluate and export need; ``split.csv``; ``history.csv``, ``curves.png`` and the protocol's plots; ``judgement.json``,
the evaluation on the test part; and ``CARD.md``.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import AliasChoices, Field
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader

from linewatch import __version__
from linewatch.contracts.closed import ClosedModel
from linewatch.contracts.errors import ConfigError, LinewatchError
from linewatch.datasets import DataSet, DatasetError, Specimen
from linewatch.datasets.arguments import listed_problems
from linewatch.datasets.check import problems
from linewatch.datasets.parts import split_of
from linewatch.datasets.seen import fingerprint
from linewatch.datasets.splits import Split
from linewatch.export.engine_folder import table
from linewatch.files import write_file
from linewatch.metrics.plots import learning_curves
from linewatch.metrics.result import EvaluationResult, fold_spread
from linewatch.networks.mobilenet import WeightsMismatch
from linewatch.networks.paper import PaperNetwork
from linewatch.networks.pretrained import Source
from linewatch.networks.stored import read_stored
from linewatch.training.fit import HISTORY, Shuffled, fit_phases, loader, read_history
from linewatch.training.papers.study import HeldOutPart, PaperSettings, Parts, Study, folded_parts, parts_of
from linewatch.training.protocols import PaperProtocol, paper_protocol

CHECKPOINT, TRUNK = "network.ckpt", "trunk.safetensors"
RECORD, RESULT, CARD = "run.json", "judgement.json", "CARD.md"


class CheckpointError(LinewatchError):
    """A file is no checkpoint of linewatch, or not one that this version can read."""

    exit_code = 4


class RunRecord(ClosedModel):
    """The record of a training: enough to rebuild the network and to evaluate it on images that it has not seen."""

    protocol: str = Field(validation_alias=AliasChoices("protocol", "recipe"))
    """Version 0.1.0 wrote it as `recipe`."""
    settings: dict[str, Any]
    data_set: str
    classes: tuple[str, ...]
    pretrained: str
    counts: dict[str, int]
    seen: tuple[str, ...]
    """sha256 (first 16 digits) of every image of the training and validation parts."""
    thresholds: dict[str, float]
    epochs: dict[str, int]
    seconds: float
    device: str
    linewatch: str = __version__
    torch: str = torch.__version__


@dataclass(frozen=True)
class TrainingJob:
    """A training to run: its protocol and settings, the data set, and the run folder."""

    protocol: PaperProtocol
    settings: PaperSettings
    data_set: DataSet
    run: Path
    source: Source = None
    resume: bool = False


@dataclass(frozen=True)
class TrainedNetwork:
    """A fitted network with its record and its study."""

    record: RunRecord
    study: Study
    network: nn.Module

    def held_out(self, specimens: Sequence[Specimen]) -> HeldOutPart:
        return HeldOutPart(self.network, self.record.thresholds, specimens)


def train(job: TrainingJob) -> EvaluationResult:
    """Fit, evaluate on the test part and fill the run folder."""
    split = _begin(job)
    return _one(job, parts_of(job.data_set, split, job.settings), job.run)[1]


def cross_validate(job: TrainingJob, folds: int) -> EvaluationResult:
    """Fit `folds` networks, each without one fold, and evaluate each on that fold; there is a run folder per fold.

    The result is over the images of all folds together; `folds.json` has the mean and the standard deviation over the
    folds, as Apostolopoulos & Tzani report them.
    """
    split = _begin(job)
    study = job.protocol.open(job.settings, job.data_set)
    tests, alone = [], []
    for number, parts in enumerate(folded_parts(job.data_set, split, job.settings, folds)):
        trained, of_fold = _one(job, parts, job.run / f"fold-{number}")
        tests.append(trained.held_out(parts.test))
        alone.append(of_fold)
    result = with_claims(study.evaluate(tests, job.run), job.protocol, job.data_set.name)
    _write(job.run / RESULT, result.model_dump_json(indent=2, exclude_none=True))
    _write(job.run / "folds.json", json.dumps({"mean and deviation over folds": fold_spread(alone)}, indent=2))
    return result


def _begin(job: TrainingJob) -> Split:
    """Check the data and the run folder, and return the split."""
    written = job.run / "order.json"
    wanted = json.dumps(
        {
            "recipe": job.protocol.name,  # the key of version 0.1.0, so that its runs can be resumed
            "settings": job.settings.model_dump(mode="json"),
            "data": {job.data_set.name: len(job.data_set.specimens)},
            "pretrained": _pretrained(job.source),
        }
    )
    if written.is_file() and not job.resume:
        raise ConfigError(f"{job.run}: holds a run already; --resume goes on with it, --run names another folder")
    if written.is_file() and written.read_text() != wanted:
        raise ConfigError(f"{job.run}: holds a run with another protocol, settings or data; name another --run folder")
    found = problems(job.data_set)
    if found:
        raise DatasetError(listed_problems(job.data_set.name, found))
    job.protocol.open(job.settings, job.data_set)  # raises if the protocol cannot learn from this set
    job.run.mkdir(parents=True, exist_ok=True)
    _write(written, wanted)
    return split_of(job.data_set, job.run / "split.csv")


def _one(job: TrainingJob, parts: Parts, run: Path) -> tuple[TrainedNetwork, EvaluationResult]:
    run.mkdir(parents=True, exist_ok=True)
    if (run / CHECKPOINT).is_file() and (run / RESULT).is_file():
        return load(run), EvaluationResult.model_validate_json((run / RESULT).read_text())
    study = job.protocol.open(job.settings, job.data_set)
    started = time.monotonic()
    network = _fit(study, study.network(job.source), parts, run)
    history = read_history(run / HISTORY)
    record = RunRecord(
        protocol=job.protocol.name,
        settings=job.settings.model_dump(mode="json"),
        data_set=job.data_set.name,
        classes=study.classes,
        pretrained=_pretrained(job.source),
        counts={name: len(study.usable(getattr(parts, name))) for name in ("training", "validation", "test")},
        seen=tuple(sorted(fingerprint(one.path) for one in (*parts.training, *parts.validation))),
        thresholds=study.thresholds(network, parts.validation or parts.training),
        epochs={
            phase: sum(row["phase"] == phase for row in history) for phase in dict.fromkeys(r["phase"] for r in history)
        },
        seconds=round(sum(float(row["seconds"]) for row in history) or time.monotonic() - started, 1),
        device=device_name(),
    )
    trained = TrainedNetwork(record, study, network)
    result = with_claims(study.evaluate([trained.held_out(parts.test)], run), job.protocol, job.data_set.name)
    save(trained, run)
    learning_curves(run / HISTORY, run / "curves.png")
    _write(run / CARD, card(record, result, job.protocol))
    _write(run / RESULT, result.model_dump_json(indent=2, exclude_none=True))
    for phase in study.phases():  # the run has ended; the phases' checkpoints are as large again as its network
        shutil.rmtree(run / phase.name, ignore_errors=True)
    return trained, result


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


def save(trained: TrainedNetwork, run: Path) -> None:
    """Write `run.json`, `network.ckpt` and, for a paper's network, `trunk.safetensors` to start others from."""
    _write(run / RECORD, trained.record.model_dump_json(indent=2))
    state = {name: value.contiguous() for name, value in trained.network.state_dict().items()}
    part = run / f"{CHECKPOINT}.part"
    torch.save({"record": trained.record.model_dump_json(), "state": state}, part)
    part.replace(run / CHECKPOINT)
    if isinstance(trained.network, PaperNetwork):
        save_file(
            {n: v.contiguous().clone() for n, v in trained.network.trunk.state_dict().items()},
            run / TRUNK,
        )


def is_checkpoint(path: Path) -> bool:
    return (path / CHECKPOINT).is_file() or (path.is_file() and path.suffix == ".ckpt")


def load(path: Path) -> TrainedNetwork:
    """Return the network of a run folder or of a `network.ckpt`; `CheckpointError` if it is none."""
    file = path / CHECKPOINT if path.is_dir() else path
    try:
        stored = read_stored(file)
        record = RunRecord.model_validate_json(stored["record"])
    except (LookupError, TypeError, ValueError, WeightsMismatch) as error:
        raise CheckpointError(
            f"{file}: no checkpoint of linewatch ({error!s:.300}); name a run folder or a {CHECKPOINT}"
        ) from error
    protocol = paper_protocol(record.protocol)
    settings = type(protocol.settings).model_validate(record.settings)
    study = protocol.open(settings, DataSet(record.data_set, file.parent, record.classes, ()))
    network = study.network(None)
    network.load_state_dict(stored["state"])
    return TrainedNetwork(record, study, network.eval())


def with_claims(result: EvaluationResult, protocol: PaperProtocol, data_set: str) -> EvaluationResult:
    """Return the result with the paper's claims on that data set, for the metrics that both have."""
    claims = {name: value for name, value in protocol.claims.get(data_set, {}).items() if name in result.metrics()}
    return result.model_copy(update={"paper": claims})


def device_name() -> str:
    """Return the name of the GPU, or of the CPU without one."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo")
    names = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0]}, {torch.get_num_threads()} threads" if names else "CPU"


def card(record: RunRecord, result: EvaluationResult, protocol: PaperProtocol) -> str:
    """Return the model card as Markdown."""
    rows = []
    for name, value in result.metrics().items():
        interval = "" if name not in result.intervals else "{:.3f} to {:.3f}".format(*result.intervals[name])
        rows.append([name, value, interval, result.paper.get(name, "")])
    epochs = ", ".join(f"{phase} {count}" for phase, count in record.epochs.items())
    settings = "\n".join(f"- `{name}`: {value}" for name, value in record.settings.items())
    return f"""# {record.protocol} on {record.data_set}

{protocol.about}, after {protocol.paper}.

Started from: {record.pretrained}. Trained on {record.counts["training"]} specimens, {record.counts["validation"]} for
validation, evaluated on {record.counts["test"]} that it has not seen (`split.csv`). Epochs run: {epochs};
{record.seconds:.0f} s on {record.device}; torch {record.torch}. Classes: {", ".join(record.classes)}.

{table(["metric", "here", "95 % interval", "paper"], rows)}

![learning curves](curves.png)

Settings:

{settings}
"""


def _pretrained(source: Source) -> str:
    return "random weights" if source is None else f"weights of {source.name if isinstance(source, Path) else source}"


def _write(path: Path, text: str) -> None:
    write_file(path, text.encode())
