"""Train, evaluate and export the screen: where in a strip frame must the heavy networks look?

``linewatch train screen --data "$LINEWATCH_DATA" [--set steps=500]``

Cells learn from masks, windows of a tile's size from the smooth maximum of their cells, and areas that hold a defect
somewhere (class-only frames, X-SDD patches) from the smooth maximum of the area. The metric is the recall at a pass
rate, as `metrics.windows` defines it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from linewatch.contracts.manifest import Task, TrainingRecord, TrainingSource
from linewatch.datasets import HOUSE_SETS, Knowledge, Specimen, read_set
from linewatch.datasets.splits import FOLDS, HELD_OUT_FOLD, TRAINED_FOLDS
from linewatch.export.card_text import SPLIT, TERMS, UNKNOWN_SCALE_MM_PER_PX
from linewatch.export.engine_folder import EngineFacts, export_engine, table
from linewatch.metrics.plots import pass_rate_curves
from linewatch.metrics.tiles import TILE_PX, TileTruth, steel_columns, tile_scores
from linewatch.metrics.windows import WindowScores
from linewatch.networks.screen import Screen
from linewatch.networks.stored import read_stored
from linewatch.training.fit import HouseSettings, fit, seeded
from linewatch.training.samples.blending import Blender
from linewatch.training.samples.frames import (
    DEFECT,
    FrameMaker,
    KnownImage,
    Shares,
    cell_targets,
    known_image,
    patch_sheets,
    rendered,
    tile_targets,
)

SURE_PX = 64
TRAIN_SEEDS, HELD_OUT_SEEDS = range(1000, 1100), range(900, 910)
NORMALISATION = (
    "gray / 127.5 - 1, and its deviation from the local mean in local spreads, both of the frame at half size, "
    "happen inside the graph"
)


class ScreenSettings(HouseSettings):
    """Settings of the screen's training. Shares are of the training frames; the rest are outlined strip frames."""

    steps: PositiveInt = 1800
    batch: PositiveInt = 4
    average: float = 0.997
    peak_rate: float = 5e-4
    weight_decay: float = 0.05
    shrink: int = 2
    width: int = 64
    dropout: float = 0.3
    relative: bool = True
    taps: int = 3
    frozen: int = 4
    spots: str = ""
    tile_weight: float = 1.0
    area_weight: float = 0.1
    sharpness: float = 2.0
    touched: float = 0.06
    zoom: float = 0.25
    light: float = 0.5
    blend: float = 0.35
    patch_share: float = 0.1
    area_share: float = 0.1
    end_share: float = 0.05
    pattern_share: float = 0.04
    rendered_share: float = 0.1
    rendered_strips: int = 12
    pass_rate: float = 0.1
    threads: int = 1
    processes: int = 2


class TrainingFrames(Dataset):
    """Endless training frames: image uint8 (1, 256, 1600), cells and areas (rows, columns), tiles."""

    def __init__(self, maker: FrameMaker, settings: ScreenSettings):
        self.maker, self.settings, self.cell_px = maker, settings, settings.shrink * 16

    def __len__(self) -> int:
        return self.settings.steps * self.settings.batch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        frame = self.maker.make(np.random.default_rng((self.settings.seed, index)))
        cells, areas = cell_targets(frame.known, self.cell_px, self.settings.touched)
        tiles = tile_targets(frame.known, TILE_PX // 2)
        return {
            "image": torch.from_numpy(frame.gray)[None],
            "cells": torch.from_numpy(cells),
            "areas": torch.from_numpy(areas),
            "tiles": torch.from_numpy(tiles),
        }


def smooth_maximum(logits: Tensor, where: Tensor, sharpness: float) -> Tensor:
    """Return (n,): log-mean-exp of the logits (n, rows, columns) over `where`, from mean to maximum."""
    total = torch.where(where, logits.clamp(-20, 20) * sharpness, -torch.inf).flatten(1).logsumexp(1)
    return (total - where.flatten(1).sum(1).log()) / sharpness


def screen_loss(settings: ScreenSettings) -> Callable[[nn.Module, dict[str, Tensor]], Tensor]:
    """Return the loss of a batch of `TrainingFrames`, as the module's docstring describes it."""

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        assert isinstance(network, Screen)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network.logits(batch["image"].contiguous(memory_format=torch.channels_last))
        logits, cells, areas = logits.float(), batch["cells"], batch["areas"]
        sure = cells >= 0
        total = F.binary_cross_entropy_with_logits(logits[sure], cells[sure]) if sure.any() else logits.sum() * 0
        side = TILE_PX // network.cell_px
        raised = (logits.clamp(-20, 20) * settings.sharpness).exp()[:, None]
        windows = (F.avg_pool2d(raised, (logits.shape[1], side), side // 2).log() / settings.sharpness).flatten(1)
        sure = batch["tiles"] >= 0
        if sure.any():
            total = total + settings.tile_weight * F.binary_cross_entropy_with_logits(
                windows[sure], batch["tiles"][sure]
            )
        for area in range(1, int(areas.max()) + 1):
            inside = areas == area
            some = inside.flatten(1).any(1)
            if some.any():
                total = (
                    total
                    + settings.area_weight
                    * F.softplus(-smooth_maximum(logits[some], inside[some], settings.sharpness)).mean()
                )
        return total

    return loss


@torch.inference_mode()
def score(network: nn.Module, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """Return the cell scores (rows, columns) of each frame."""
    return [network(torch.from_numpy(image)[None, None])[0].numpy() for image in images]


@dataclass(frozen=True)
class Sources:
    """The specimens to learn from, by fold, and the folder of ImageNet weights."""

    specimens: Sequence[Specimen]
    weights: Path

    @classmethod
    def read(cls, data: Path) -> Sources:
        """Read the sets under the data folder."""
        return cls([one for name in HOUSE_SETS for one in read_set(name, data)], data / "imagenet_weights")

    def of(self, folds: Sequence[int], data_set: str, *knowledge: Knowledge) -> list[Specimen]:
        """Return the specimens of one set in `folds`; of the kinds of knowledge, if any is named."""
        return [
            one
            for one in self.specimens
            if one.fold in folds and one.data_set == data_set and (not knowledge or one.knowledge in knowledge)
        ]

    def maker(self, folds: Sequence[int], settings: ScreenSettings) -> FrameMaker:
        """Return the maker of training frames from `folds` alone."""
        strip = [known_image(one) for one in self.of(folds, "severstal", Knowledge.OUTLINED)]
        areas = self.of(folds, "severstal", Knowledge.CLASS_ONLY) if settings.area_share else []
        patches = [*self.of(folds, "neu"), *self.of(folds, "xsdd")] if settings.patch_share else []
        return FrameMaker(
            Shares(
                areas=settings.area_share,
                patches=settings.patch_share,
                rendered=settings.rendered_share,
                blended=settings.blend,
                ended=settings.end_share,
                patterned=settings.pattern_share,
                zoom=settings.zoom,
                light=settings.light,
            ),
            strip,
            areas=[known_image(one) for one in areas],
            patches=[known_image(one) for one in patches],
            rendered=rendered(TRAIN_SEEDS[: settings.rendered_strips]) if settings.rendered_share else [],
            blender=Blender.of((one.gray, one.known == DEFECT) for one in strip),
        )


def fit_screen(maker: FrameMaker, settings: ScreenSettings, weights: Path | None, run: Path) -> Screen:
    """Fit a screen to the frames of `maker`; the folder `run` receives its weights and history."""
    network = seeded(lambda: new_screen(settings, weights), settings)
    return fit(network, screen_loss(settings), TrainingFrames(maker, settings), settings, run)


def new_screen(settings: ScreenSettings, weights: Path | None) -> Screen:
    """Return an unfitted screen; `weights` as in `make_encoder`."""
    return Screen(
        settings.encoder,
        shrink=settings.shrink,
        width=settings.width,
        dropout=settings.dropout,
        weights=weights,
        relative=settings.relative,
        taps=settings.taps,
        frozen=settings.frozen,
        spots=settings.spots,
    )


def fit_without(data: Path, unseen: tuple[int, ...], settings: ScreenSettings, run: Path) -> Path:
    """Fit a screen on all folds but `unseen` and return the weights file. A finished run is not repeated."""
    run = run / f"without-{'-'.join(map(str, unseen))}"
    sources = Sources.read(data)
    maker = sources.maker([fold for fold in range(FOLDS) if fold not in unseen], settings)
    fit_screen(maker, settings, sources.weights, run)
    return run / "fit" / "weights.pt"


def load_screen(weights: Path, settings: ScreenSettings) -> Screen:
    """Return a fitted screen in eval mode."""
    network = new_screen(settings, None)
    network.load_state_dict(read_stored(weights))
    return network.eval()


def window_scores(parts: Sequence[tuple[Screen, Sequence[KnownImage]]], least_px: int = 1) -> WindowScores:
    """Return the scores and truth of all tiles, over several networks, each on frames that it has not seen."""
    scores, truths = [], []
    for network, frames in parts:
        for frame, cells in zip(frames, score(network, [one.gray for one in frames]), strict=True):
            steel = steel_columns(frame.gray)
            scores.append(tile_scores(cells, network.cell_px, steel))
            truths.append(TileTruth.of(frame.known == DEFECT, steel))
    return WindowScores.of_tiles(scores, truths, least_px)


def patch_peaks(network: Screen, patches: Sequence[KnownImage]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return for each patch the highest cell score, and the highest of its surely clean cells (nan without any)."""
    side = TILE_PX // network.cell_px
    sheets = patch_sheets(patches)
    peaks, free = [], []
    for sheet, cells in zip(sheets, score(network, [one.gray for one in sheets]), strict=True):
        targets, _ = cell_targets(sheet.known, network.cell_px, 1e-9)
        for x in range(0, 6 * side, side):
            here, clean = cells[:, x : x + side], targets[:, x : x + side] == 0
            peaks.append(float(here.max()))
            free.append(float(here[clean].max()) if clean.any() else np.nan)
    return np.array(peaks[: len(patches)]), np.array(free[: len(patches)])


def train(data: Path, out: Path, settings: ScreenSettings, run: Path) -> None:
    """Cross-validate, choose the threshold, evaluate the shipped network and write its engine folder.

    The network that has not seen the held-out fold is shipped. The threshold is chosen on folds 0-3, each scored by a
    network that has seen neither that fold nor the held-out one. The cross-validation takes these four and the shipped
    network, each on the fold that it has not seen; four of the five learned from three folds, not four, so it errs on
    the low side.
    """
    unseen = [(HELD_OUT_FOLD,), *((fold, HELD_OUT_FOLD) for fold in TRAINED_FOLDS)]
    with ProcessPoolExecutor(settings.processes, mp_context=get_context("spawn")) as pool:
        files = list(pool.map(partial(_fit_without, data, settings, run), unseen))
    networks = {folds: load_screen(file, settings) for folds, file in zip(unseen, files, strict=True)}
    sources = Sources.read(data)
    strip = {
        fold: [known_image(one) for one in sources.of([fold], "severstal", Knowledge.OUTLINED)] for fold in range(FOLDS)
    }
    shipped = networks[(HELD_OUT_FOLD,)]
    parts = [(networks[(fold, HELD_OUT_FOLD)], strip[fold]) for fold in TRAINED_FOLDS]
    calibration = window_scores(parts)
    threshold = calibration.threshold(settings.pass_rate)
    all_parts = [*parts, (shipped, strip[HELD_OUT_FOLD])]
    validation, validation_sure = window_scores(all_parts), window_scores(all_parts, SURE_PX)
    held_out = window_scores([(shipped, strip[HELD_OUT_FOLD])])
    on_rendered = window_scores([(shipped, rendered(HELD_OUT_SEEDS))])
    low, high = validation.interval(0.1)
    found = {
        "recall_at_10pct_cv": validation.recall_at(0.1),
        "recall_at_10pct_cv_low": low,
        "recall_at_10pct_cv_high": high,
        "recall_at_10pct_cv_64px": validation_sure.recall_at(0.1),
        "recall_at_1pct_cv": validation.recall_at(0.01),
        "recall_at_5pct_cv": validation.recall_at(0.05),
        "recall_at_20pct_cv": validation.recall_at(0.2),
        "auc_cv": validation.auc(),
        "recall_at_threshold_calibration": calibration.recall(threshold),
        "pass_rate_at_threshold": calibration.pass_rate(threshold),
        "auc_calibration": calibration.auc(),
        "recall_fold4": held_out.recall(threshold),
        "pass_rate_fold4": held_out.pass_rate(threshold),
        "recall_at_10pct_fold4": held_out.recall_at(0.1),
        "auc_fold4": held_out.auc(),
        "recall_rendered": on_rendered.recall(threshold),
        "pass_rate_rendered": on_rendered.pass_rate(threshold),
    }
    for name in ("neu", "xsdd"):
        patches = [known_image(one) for one in sources.of([HELD_OUT_FOLD], name)]
        peaks, free = patch_peaks(shipped, patches)
        found[f"recall_{name}_fold4"] = float((peaks >= threshold).mean())
        if name == "neu":
            found["pass_rate_neu_box_free_fold4"] = float((free[~np.isnan(free)] >= threshold).mean())
    facts = EngineFacts(
        name=out.name,
        version="2",
        task=Task.SCREEN,
        nominal_mm_per_px=UNKNOWN_SCALE_MM_PER_PX,
        normalisation=NORMALISATION,
        thresholds={"pass": threshold},
        training=_record(sources, TRAINED_FOLDS, settings),
        metrics={name: value for name, value in found.items() if value is not None},
        terms=TERMS,
        cell_px=shipped.cell_px,
    )
    examples = np.stack([one.gray for one in strip[HELD_OUT_FOLD][:4]])[:, None]
    export_engine(shipped, facts, _card(facts, settings), examples, out)
    pass_rate_curves({"5-fold": validation, "fold 4, shipped": held_out}, out / "curve.png", threshold)


def _fit_without(data: Path, settings: ScreenSettings, run: Path, unseen: tuple[int, ...]) -> Path:
    return fit_without(data, unseen, settings, run)


def _record(sources: Sources, folds: Sequence[int], settings: ScreenSettings) -> TrainingRecord:
    part = "folds 0-3"
    counts = {
        "Severstal, labelled frames": len(sources.of(folds, "severstal", Knowledge.OUTLINED)),
        "Severstal, class-only frames": len(sources.of(folds, "severstal", Knowledge.CLASS_ONLY))
        if settings.area_share
        else 0,
        "NEU surface defect database": len(sources.of(folds, "neu")) if settings.patch_share else 0,
        "X-SDD": len(sources.of(folds, "xsdd")) if settings.patch_share else 0,
    }
    data = [TrainingSource(name=name, part=part, count=count) for name, count in counts.items() if count]
    if settings.rendered_share:
        seeds = TRAIN_SEEDS[: settings.rendered_strips]
        data.append(TrainingSource(name="rendered strip", part=f"seeds {seeds[0]}-{seeds[-1]}", count=4 * len(seeds)))
    return TrainingRecord(
        recipe=f"linewatch train screen {settings.model_dump_json()}",
        encoder=f"{settings.encoder}, ImageNet",
        seed=settings.seed,
        data=tuple(data),
        split=SPLIT,
    )


def _card(facts: EngineFacts, settings: ScreenSettings) -> str:
    m = facts.metrics
    rows: list[list[object]] = [
        [
            "recall at 10 % passed, 5-fold",
            f"**{m['recall_at_10pct_cv']:.3f}** ({m['recall_at_10pct_cv_low']:.3f}-{m['recall_at_10pct_cv_high']:.3f})",
        ],
        ["the same, tiles with at least 64 defect pixels", m["recall_at_10pct_cv_64px"]],
        [
            "recall at 1 / 5 / 20 % passed, 5-fold",
            f"{m['recall_at_1pct_cv']:.3f} / {m['recall_at_5pct_cv']:.3f} / {m['recall_at_20pct_cv']:.3f}",
        ],
        ["AUC, 5-fold", m["auc_cv"]],
        [
            "calibration (folds 0-3): recall / passed at the threshold",
            f"{m['recall_at_threshold_calibration']:.3f} / {m['pass_rate_at_threshold']:.3f}",
        ],
        [
            "fold 4, shipped network: recall / passed at the threshold",
            f"{m['recall_fold4']:.3f} / {m['pass_rate_fold4']:.3f}",
        ],
        ["fold 4, shipped network: recall at 10 % / AUC", f"{m['recall_at_10pct_fold4']:.3f} / {m['auc_fold4']:.3f}"],
        ["NEU fold 4: patches passed", m["recall_neu_fold4"]],
        ["NEU fold 4: box-free areas passed", m["pass_rate_neu_box_free_fold4"]],
        ["X-SDD fold 4: patches passed", m["recall_xsdd_fold4"]],
        [
            "rendered strip, unseen seeds: recall / passed at the threshold",
            f"{m['recall_rendered']:.3f} / {m['pass_rate_rendered']:.3f}",
        ],
    ]
    return f"""# Engine `{facts.name}`: where must the heavy networks look?

One pass over the whole frame: `image` uint8 (n, 1, 256, 1600) to `score` float32 (n, {256 // (facts.cell_px or 1)}, {1600 // (facts.cell_px or 1)}), the probability that a cell of {facts.cell_px} x {facts.cell_px} px
holds a defect. A tile's score is the highest of the cells that overlap it and touch the strip; it passes at {facts.thresholds["pass"]:.4f} or above. {facts.normalisation}.

## How it was made
{settings.encoder} from ImageNet, cut at stride 16, {settings.steps} steps of {settings.batch} frames, seed {settings.seed}, by `linewatch train screen`. Cells learn from masks, windows of a tile's size from the
smooth maximum of their cells, areas that hold a defect somewhere (class-only frames, X-SDD patches) from the area's. Frames: {settings.patch_share:.0%} strip with NEU and X-SDD patches on it,
{settings.area_share:.0%} class-only, {settings.rendered_share:.0%} rendered, the rest outlined Severstal frames, {settings.blend:.0%} of those with more Severstal defects blended in. Random exposure, flips and scale.
Data: {", ".join(f"{source.name} {source.count} ({source.part})" for source in facts.training.data)}. Split: {facts.training.split}.

## Metrics
A tile is defective if its mask holds a defect pixel; clean if it holds none and a quarter of it is steel. Interval: 95 % bootstrap over frames. No shipped
network has seen fold 4; the threshold passes {settings.pass_rate:.0%} of the clean tiles of folds 0-3, each scored by a network that had seen neither it nor fold 4. 5-fold: those four networks and the shipped one, each on the fold that it had not seen.

{table(["metric", "value"], rows)}

![recall against pass rate](curve.png)

## Limits
- 100 labelled frames of one mill: the interval is wide, and a threshold found on one network passes a little more or less on the next.
- Kaggle's labels are noisy: outlines are coarse, tread plate and paint count as clean, and some marks are outlined in one frame and not in the next.
- Judged on real strip at Severstal's scale only; NEU and X-SDD patches were enlarged to 256 px.

## Terms
{facts.terms}
"""  # noqa: E501 - a line of a card is a line of Markdown
