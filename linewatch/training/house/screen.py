"""Train the screen: where in a strip frame must the heavy networks look?

``linewatch train screen --data "$LINEWATCH_DATA" [--set steps=500]``

Cells learn from masks, windows of a tile's size from the smooth maximum of their cells, areas of which only is known
that a defect is somewhere in them (class-only frames, X-SDD patches) from the smooth maximum of the area. The figure of
merit is that of `merit`.
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
from linewatch.datasets.splits import FOLDS, HELD_OUT_FOLD
from linewatch.export.card_text import SPLIT, TERMS, UNKNOWN_SCALE_MM_PER_PX
from linewatch.export.engine_folder import EngineFacts, export_engine, table
from linewatch.metrics.pass_rate import TILE_PX, Merit, TileTruth, plot, steel_columns, tile_scores
from linewatch.networks.screen import Screen
from linewatch.training.fit import Recipe, fit, seeded
from linewatch.training.samples.blending import Blender
from linewatch.training.samples.frames import (
    DEFECT,
    FrameMaker,
    Known,
    Shares,
    cell_targets,
    known_picture,
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


class ScreenRecipe(Recipe):
    """The screen's recipe. Shares are of the training frames; what is left are outlined strip frames."""

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
    """Endless training frames as tensors: image uint8 (1, 256, 1600), cells and areas (rows, columns), tiles."""

    def __init__(self, maker: FrameMaker, recipe: ScreenRecipe):
        self.maker, self.recipe, self.cell_px = maker, recipe, recipe.shrink * 16

    def __len__(self) -> int:
        return self.recipe.steps * self.recipe.batch

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        frame = self.maker.make(np.random.default_rng((self.recipe.seed, index)))
        cells, areas = cell_targets(frame.known, self.cell_px, self.recipe.touched)
        tiles = tile_targets(frame.known, TILE_PX // 2)
        return {
            "image": torch.from_numpy(frame.gray)[None],
            "cells": torch.from_numpy(cells),
            "areas": torch.from_numpy(areas),
            "tiles": torch.from_numpy(tiles),
        }


def smooth_maximum(logits: Tensor, where: Tensor, sharpness: float) -> Tensor:
    """(n,) log-mean-exp of the logits (n, rows, columns) over `where`: between mean and maximum, by `sharpness`."""
    total = torch.where(where, logits.clamp(-20, 20) * sharpness, -torch.inf).flatten(1).logsumexp(1)
    return (total - where.flatten(1).sum(1).log()) / sharpness


def screen_loss(recipe: ScreenRecipe) -> Callable[[nn.Module, dict[str, Tensor]], Tensor]:
    """The loss of a batch of TrainingFrames; see the module's head."""

    def loss(network: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        assert isinstance(network, Screen)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network.logits(batch["image"].contiguous(memory_format=torch.channels_last))
        logits, cells, areas = logits.float(), batch["cells"], batch["areas"]
        sure = cells >= 0
        total = F.binary_cross_entropy_with_logits(logits[sure], cells[sure]) if sure.any() else logits.sum() * 0
        side = TILE_PX // network.cell_px
        raised = (logits.clamp(-20, 20) * recipe.sharpness).exp()[:, None]
        windows = (F.avg_pool2d(raised, (logits.shape[1], side), side // 2).log() / recipe.sharpness).flatten(1)
        sure = batch["tiles"] >= 0
        if sure.any():
            total = total + recipe.tile_weight * F.binary_cross_entropy_with_logits(windows[sure], batch["tiles"][sure])
        for area in range(1, int(areas.max()) + 1):
            inside = areas == area
            some = inside.flatten(1).any(1)
            if some.any():
                total = (
                    total
                    + recipe.area_weight
                    * F.softplus(-smooth_maximum(logits[some], inside[some], recipe.sharpness)).mean()
                )
        return total

    return loss


@torch.inference_mode()
def score(network: nn.Module, images: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
    """Cell scores (rows, columns) of each frame."""
    return [network(torch.from_numpy(image)[None, None])[0].numpy() for image in images]


@dataclass(frozen=True)
class Sources:
    """All that can be learned from, split by fold."""

    specimens: Sequence[Specimen]
    weights: Path

    @classmethod
    def read(cls, data: Path) -> Sources:
        """The sets under the data folder."""
        return cls([one for name in HOUSE_SETS for one in read_set(name, data)], data / "imagenet_weights")

    def of(self, folds: Sequence[int], data_set: str, *knowledge: Knowledge) -> list[Specimen]:
        """Specimens of one set in `folds`, of any of the kinds of knowledge (all, if none is named)."""
        return [
            one
            for one in self.specimens
            if one.fold in folds and one.data_set == data_set and (not knowledge or one.knowledge in knowledge)
        ]

    def maker(self, folds: Sequence[int], recipe: ScreenRecipe) -> FrameMaker:
        """What makes training frames from `folds` alone."""
        strip = [known_picture(one) for one in self.of(folds, "severstal", Knowledge.OUTLINED)]
        areas = self.of(folds, "severstal", Knowledge.CLASS_ONLY) if recipe.area_share else []
        patches = [*self.of(folds, "neu"), *self.of(folds, "xsdd")] if recipe.patch_share else []
        return FrameMaker(
            Shares(
                areas=recipe.area_share,
                patches=recipe.patch_share,
                rendered=recipe.rendered_share,
                blended=recipe.blend,
                ended=recipe.end_share,
                patterned=recipe.pattern_share,
                zoom=recipe.zoom,
                light=recipe.light,
            ),
            strip,
            areas=[known_picture(one) for one in areas],
            patches=[known_picture(one) for one in patches],
            rendered=rendered(TRAIN_SEEDS[: recipe.rendered_strips]) if recipe.rendered_share else [],
            blender=Blender.of((one.gray, one.known == DEFECT) for one in strip),
        )


def fit_screen(maker: FrameMaker, recipe: ScreenRecipe, weights: Path | None, run: Path) -> Screen:
    """A screen fitted to what `maker` makes; `run` gets its weights and its log."""
    network = seeded(lambda: new_screen(recipe, weights), recipe)
    return fit(network, screen_loss(recipe), TrainingFrames(maker, recipe), recipe, run)


def new_screen(recipe: ScreenRecipe, weights: Path | None) -> Screen:
    """An unfitted screen; `weights` as in make_encoder."""
    return Screen(
        recipe.encoder,
        shrink=recipe.shrink,
        width=recipe.width,
        dropout=recipe.dropout,
        weights=weights,
        relative=recipe.relative,
        taps=recipe.taps,
        frozen=recipe.frozen,
        spots=recipe.spots,
    )


def fit_without(data: Path, unseen: tuple[int, ...], recipe: ScreenRecipe, run: Path) -> Path:
    """Fits a screen on all folds but `unseen`; gives the weights file. A run that was done is kept."""
    run = run / f"without-{'-'.join(map(str, unseen))}"
    sources = Sources.read(data)
    maker = sources.maker([fold for fold in range(FOLDS) if fold not in unseen], recipe)
    fit_screen(maker, recipe, sources.weights, run)
    return run / "fit" / "weights.pt"


def load_screen(weights: Path, recipe: ScreenRecipe) -> Screen:
    """A fitted screen, in eval mode."""
    network = new_screen(recipe, None)
    network.load_state_dict(torch.load(weights, weights_only=True))
    return network.eval()


def merit_of(network: Screen, pictures: Sequence[Known], least_px: int = 1) -> Merit:
    """The figure of merit on frames whose defects are known."""
    return merged([(network, pictures)], least_px)


def merged(judged: Sequence[tuple[Screen, Sequence[Known]]], least_px: int = 1) -> Merit:
    """The figure of merit over several networks, each on frames that it has not seen."""
    scores, truths = [], []
    for network, pictures in judged:
        for picture, cells in zip(pictures, score(network, [one.gray for one in pictures]), strict=True):
            steel = steel_columns(picture.gray)
            scores.append(tile_scores(cells, network.cell_px, steel))
            truths.append(TileTruth.of(picture.known == DEFECT, steel))
    return Merit.of(scores, truths, least_px)


def patch_peaks(network: Screen, patches: Sequence[Known]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each patch the highest cell score, and the highest among cells without defect or doubt (nan: none)."""
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


def train(data: Path, out: Path, recipe: ScreenRecipe, run: Path) -> None:
    """The whole of it: cross-validation, threshold, the shipped network, its figures, the engine folder.

    The network that has not seen the held-out fold is shipped. Threshold: on folds 0-3, each scored by a network that
    has seen neither it nor the held-out fold. Cross-validation: these four and the shipped one, each on the fold that
    it has not seen; four of the five have learned from three folds, not four, so it errs to the low side.
    """
    usable = [fold for fold in range(FOLDS) if fold != HELD_OUT_FOLD]
    unseen = [(HELD_OUT_FOLD,), *((fold, HELD_OUT_FOLD) for fold in usable)]
    with ProcessPoolExecutor(recipe.processes, mp_context=get_context("spawn")) as pool:
        files = list(pool.map(partial(_fit_without, data, recipe, run), unseen))
    networks = {folds: load_screen(file, recipe) for folds, file in zip(unseen, files, strict=True)}
    sources = Sources.read(data)
    strip = {
        fold: [known_picture(one) for one in sources.of([fold], "severstal", Knowledge.OUTLINED)]
        for fold in range(FOLDS)
    }
    shipped = networks[(HELD_OUT_FOLD,)]
    judged = [(networks[(fold, HELD_OUT_FOLD)], strip[fold]) for fold in usable]
    calibration = merged(judged)
    threshold = calibration.threshold(recipe.pass_rate)
    validation = {least: merged([*judged, (shipped, strip[HELD_OUT_FOLD])], least) for least in (1, SURE_PX)}
    held_out = merit_of(shipped, strip[HELD_OUT_FOLD])
    aside = rendered(HELD_OUT_SEEDS)
    on_rendered = merit_of(shipped, aside)
    low, high = validation[1].interval(0.1)
    figures = {
        "recall_at_10pct_cv": validation[1].recall_at(0.1),
        "recall_at_10pct_cv_low": low,
        "recall_at_10pct_cv_high": high,
        "recall_at_10pct_cv_64px": validation[SURE_PX].recall_at(0.1),
        "recall_at_1pct_cv": validation[1].recall_at(0.01),
        "recall_at_5pct_cv": validation[1].recall_at(0.05),
        "recall_at_20pct_cv": validation[1].recall_at(0.2),
        "auc_cv": validation[1].auc(),
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
        patches = [known_picture(one) for one in sources.of([HELD_OUT_FOLD], name)]
        peaks, free = patch_peaks(shipped, patches)
        figures[f"recall_{name}_fold4"] = float((peaks >= threshold).mean())
        if name == "neu":
            figures["pass_rate_neu_box_free_fold4"] = float((free[~np.isnan(free)] >= threshold).mean())
    facts = EngineFacts(
        name=out.name,
        version="2",
        task=Task.SCREEN,
        nominal_mm_per_px=UNKNOWN_SCALE_MM_PER_PX,
        normalisation=NORMALISATION,
        thresholds={"pass": threshold},
        training=_record(sources, usable, recipe),
        metrics=figures,
        terms=TERMS,
        cell_px=shipped.cell_px,
    )
    examples = np.stack([one.gray for one in strip[HELD_OUT_FOLD][:4]])[:, None]
    export_engine(shipped, facts, _card(facts, recipe), examples, out)
    plot({"5-fold": validation[1], "fold 4, shipped": held_out}, out / "curve.png", threshold)


def _fit_without(data: Path, recipe: ScreenRecipe, run: Path, unseen: tuple[int, ...]) -> Path:
    return fit_without(data, unseen, recipe, run)


def _record(sources: Sources, folds: Sequence[int], recipe: ScreenRecipe) -> TrainingRecord:
    part = "folds 0-3"
    counts = {
        "Severstal, labelled frames": len(sources.of(folds, "severstal", Knowledge.OUTLINED)),
        "Severstal, class-only frames": len(sources.of(folds, "severstal", Knowledge.CLASS_ONLY))
        if recipe.area_share
        else 0,
        "NEU surface defect database": len(sources.of(folds, "neu")) if recipe.patch_share else 0,
        "X-SDD": len(sources.of(folds, "xsdd")) if recipe.patch_share else 0,
    }
    data = [TrainingSource(name=name, part=part, count=count) for name, count in counts.items() if count]
    if recipe.rendered_share:
        seeds = TRAIN_SEEDS[: recipe.rendered_strips]
        data.append(TrainingSource(name="rendered strip", part=f"seeds {seeds[0]}-{seeds[-1]}", count=4 * len(seeds)))
    return TrainingRecord(
        recipe=f"linewatch train screen {recipe.model_dump_json()}",
        encoder=f"{recipe.encoder}, ImageNet",
        seed=recipe.seed,
        data=tuple(data),
        split=SPLIT,
    )


def _card(facts: EngineFacts, recipe: ScreenRecipe) -> str:
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
{recipe.encoder} from ImageNet, cut at stride 16, {recipe.steps} steps of {recipe.batch} frames, seed {recipe.seed}, by `linewatch train screen`. Cells learn from masks, windows of a tile's size from the
smooth maximum of their cells, areas that hold a defect somewhere (class-only frames, X-SDD patches) from the area's. Frames: {recipe.patch_share:.0%} strip with NEU and X-SDD patches on it,
{recipe.area_share:.0%} class-only, {recipe.rendered_share:.0%} rendered, the rest outlined Severstal frames, {recipe.blend:.0%} of those with more Severstal defects blended in. Random exposure, flips and scale.
Data: {", ".join(f"{source.name} {source.count} ({source.part})" for source in facts.training.data)}. Split: {facts.training.split}.

## Figures
A tile is defective if its mask holds a defect pixel; clean if it holds none and a quarter of it is steel. Interval: 95 % bootstrap over frames. Fold 4 was seen by
nothing that ships; the threshold passes {recipe.pass_rate:.0%} of the clean tiles of folds 0-3, each scored by a network that had seen neither them nor fold 4. 5-fold: those four networks and the shipped one, each on the fold that it had not seen.

{table(["figure", "value"], rows)}

![recall against pass rate](curve.png)

## Limits
- 100 labelled frames of one mill: the interval is wide, and a threshold found on one network passes a little more or less on the next.
- Kaggle's labels are noisy: outlines are coarse, tread plate and paint count as clean, and some marks are outlined in one frame and not in the next.
- Judged on real strip at Severstal's scale only; NEU and X-SDD patches were enlarged to 256 px.

## Terms
{facts.terms}
"""  # noqa: E501 - a line of a card is a line of Markdown
