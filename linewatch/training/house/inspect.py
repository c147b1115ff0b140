"""Train the inspect network and write its engines.

``linewatch train inspect --data severstal_frames="$LINEWATCH_DATA" [--set steps=1500]`` trains and exports;
``linewatch export RUN/fold-all/state.pt --name inspect --data severstal_frames="$LINEWATCH_DATA"`` exports a network
of a run again, as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import EngineManifest, Task, TrainingRecord, TrainingSource
from linewatch.datasets import severstal_frames
from linewatch.datasets.seen import fingerprint, write_seen
from linewatch.export.card_text import UNKNOWN_SCALE_MM_PER_PX
from linewatch.export.engine_folder import EngineFacts, export_engine, table
from linewatch.metrics.inspected import InspectScores
from linewatch.metrics.intervals import bounded
from linewatch.metrics.windows import WindowScores
from linewatch.networks.inspect import FrameNetwork
from linewatch.networks.inspect_shipped import InspectMaps
from linewatch.training.house.inspect_fit import (
    ALL,
    ENCODER,
    FoldTraining,
    InspectSettings,
    fit_all,
    load_network,
    state_file,
    trained_on,
)
from linewatch.training.house.tile_engine import with_interval
from linewatch.training.samples.labelled_frames import CLASSES, SPLIT, Folds, LabelledFrame, read_frames

DEFECT = 0.25
"""From this probability on, a cell belongs to an outline."""
NORMALISATION = (
    "(gray - 127) / 128, the four pixels of each 2 x 2 block as planes of their own, and the deviation of the frame at "
    "half size from its local mean in local spreads, happen inside the graph"
)
TERMS = (
    "Weights: Apache-2.0, as the ImageNet weights that they start from (EfficientNet-Lite, TensorFlow). Trained on: "
    'Severstal frames ("The dataset is owned by PAO Severstal. If you need to use the dataset in your research you are '
    'entitled to do it without any restrictions except those established by the applicable law.").'
)
_EXAMPLES = 4


def train(data: Path, out: Path, settings: InspectSettings, run: Path) -> None:
    """Train all networks in the folder `run`, and write the engine `out` of the one that learned from all frames.

    The engines of the others, for a cross-validation, lie in `run/engines/fold-K`.
    """
    weights, root = data / "imagenet_weights", data / severstal_frames.NAME
    runs = [FoldTraining.begin(weights, state_file(run, network), settings) for network in range(ALL + 1)]
    fit_all(read_frames(root), Folds.read(), runs)
    for network in range(ALL):
        write_engine(state_file(run, network), run / "engines" / f"fold-{network}", root, settings)
    write_engine(state_file(run, ALL), out, root, settings)


def write_engine(state: Path, out: Path, data: Path, settings: InspectSettings | None = None) -> EngineManifest:
    """Write the engine folder `out` of one network of a run and return its manifest.

    state: `fold-K/state.pt`, trained without fold K, or `fold-all/state.pt`. data: the folder of `severstal` and
    `severstal_more`. Its figures
    are of frames that a network has not seen: the fold that it leaves out; for the one of all frames, each fold by the
    network beside it that leaves that fold out. settings: of the training, None where only the state tells of it.
    `ConfigError` for anything else, `EngineError` as `export_engine`.
    """
    which = state.parent.name.removeprefix("fold-")
    if which != "all" and not (which.isdecimal() and int(which) < ALL):
        raise ConfigError(
            f"{state}: lies in {state.parent.name}/, expected fold-0 to fold-{ALL - 1} or fold-all, which say what the "
            "network has not seen; name a state.pt in its run folder"
        )
    network = ALL if which == "all" else int(which)
    encoder = settings.encoder if settings else ENCODER
    shipped, steps = load_network(state, encoder)
    frames, folds = read_frames(data), Folds.read()
    seen = trained_on(frames, folds, network)
    crossed = network == ALL
    judges = [fold for fold in range(ALL) if state_file(state.parent.parent, fold).is_file()] if crossed else [network]
    unseen = [
        (load_network(state_file(state.parent.parent, fold), encoder)[0], folds.of(frames, fold)) for fold in judges
    ]
    facts = EngineFacts(
        name=out.name,
        version="1",
        task=Task.INSPECT,
        nominal_mm_per_px=UNKNOWN_SCALE_MM_PER_PX,
        normalisation=NORMALISATION,
        thresholds={"defect": DEFECT},
        training=TrainingRecord(
            recipe=f"linewatch train inspect {settings.model_dump_json() if settings else f'--set steps={steps}'}",
            encoder=f"{encoder}, ImageNet",
            seed=(settings or InspectSettings()).seed,
            data=(TrainingSource(name="Severstal, located frames", part=_part(network), count=len(seen)),),
            split=SPLIT.as_posix(),
        ),
        metrics=_metrics(unseen, folds) if unseen else {},
        terms=TERMS,
        classes=CLASSES,
        cell_px=FrameNetwork.OUTLINE_PX,
    )
    examples = np.stack([frame.gray() for frame in frames[:: len(frames) // _EXAMPLES]])[:, None]
    manifest = export_engine(InspectMaps(shipped), facts, _card(facts, judges, crossed), examples, out)
    write_seen(out, [fingerprint(frame.path) for frame in seen])
    return manifest


def _part(network: int) -> str:
    return "all folds" if network == ALL else f"without fold {network}"


@torch.inference_mode()
def _answers(
    parts: Sequence[tuple[FrameNetwork, Sequence[LabelledFrame]]],
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]]:
    for network, frames in parts:
        maps = InspectMaps(network).eval()
        for frame in frames:
            gray = frame.gray()
            yield gray, frame.mask, maps(torch.from_numpy(gray)[None, None])[0].numpy()


def _metrics(parts: Sequence[tuple[FrameNetwork, Sequence[LabelledFrame]]], folds: Folds) -> dict[str, float]:
    """Return the metrics on outlined frames, each by the network that has not seen it.

    recall_at_5pct, recall_at_10pct, auc: of the screen plane, over tiles. dice: mean over defective frames, of the
    defect plane at its threshold, at pixels. piece_recall: share of the true pieces that the defect plane finds.
    *_low, *_high: 95 % bootstrap over groups of frames that may show the same steel.
    """
    outlined = [(network, [one for one in frames if one.outlined and not one.doubtful]) for network, frames in parts]
    group = np.array([folds.group[frame.name] for _, frames in outlined for frame in frames])
    scores = InspectScores.of(_answers(outlined), FrameNetwork.OUTLINE_PX, DEFECT)
    windows = scores.windows
    found: dict[str, float | None] = {"auc": windows.auc()}
    for rate in (0.05, 0.1):
        at_rate = partial(_recall, windows, rate)
        found |= bounded(f"recall_at_{rate * 100:.0f}pct", at_rate, group[windows.groups.astype(int)])
    found |= bounded("dice", scores.mean_dice, group)
    found |= bounded("piece_recall", lambda at: float(scores.found[at].mean()), group[scores.of_frame])
    return {f"severstal_{name}": value for name, value in found.items() if value is not None}


def _recall(windows: WindowScores, rate: float, at: NDArray[np.intp]) -> float | None:
    return windows.at(at).recall_at(rate)


def _card(facts: EngineFacts, judges: Sequence[int], crossed: bool) -> str:
    metrics, source = facts.metrics, facts.training.data[0]
    rows: list[list[object]] = [
        [title, with_interval(metrics, f"severstal_{name}")]
        for name, title in (
            ("recall_at_5pct", "screen plane: recall on defective tiles where 5 % of the clean ones pass"),
            ("recall_at_10pct", "screen plane: the same at 10 %"),
            ("auc", "screen plane: AUC over tiles"),
            ("dice", "defect plane: mean Dice of the defective frames, at pixels"),
            ("piece_recall", "defect plane: true pieces of 64 px and more in which it reaches 0.5"),
        )
    ]
    named = ", ".join(map(str, judges)) or "none"
    judged = (
        f"This network has seen every frame, so the figures are those of its siblings without fold {named}, each "
        "on the fold that it has not seen."
        if crossed
        else f"On fold {named}, which it has not seen."
    )
    return f"""# Engine `{facts.name}`: what is where in a frame?

One pass over the whole frame: `image` uint8 (n, 1, 256, 1600) to `maps` float32 (n, {2 + len(facts.classes)}, 64, 400), cells of {facts.cell_px} px. Plane 0: the probability that there is a
defect about the cell (of 32 px cells). Plane 1: the probability that the cell belongs to a defect of any class; an outline begins at {facts.thresholds["defect"]}. The others: the
share in it of {", ".join(facts.classes)}. {facts.normalisation}.

## How it was made
{facts.training.encoder}, as trunk at half the frame's resolution whose stem sees every pixel; a light U-Net decoder. By `linewatch train inspect`, seed {facts.training.seed}, crops of 448 px. Data: {source.name} {source.count}
({source.part}). Split: {facts.training.split}, groups of frames that may show the same steel.

## Metrics
Outlined frames. {judged} In brackets: 95 % bootstrap over groups of frames.

{table(["metric", "value"], rows)}

## Limits
- 178 located frames of one mill: the intervals are wide, and Kaggle's labels are noisy (outlines are coarse, some marks are outlined in one frame and not in the next).
- Classes: only Kaggle's four. Crazing, pitted surface, rolled-in scale and other classes are not told apart from these, and are found only as far as they resemble them.
- Severstal's scale, 256 lines of 1600 px: other scales were not judged.
- Tread plate, of which there are few frames, is called too often by a network that has seen none.

## Terms
{facts.terms}
"""  # noqa: E501 - a line of a card is a line of Markdown
