"""The work of `linewatch judge`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import track

from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.contracts.errors import ConfigError
from linewatch.datasets.arguments import OwnSets
from linewatch.datasets.errors import DatasetError
from linewatch.datasets.seen import fingerprint, seen_by
from linewatch.evaluation.judging.figures import Figures, figures_of
from linewatch.evaluation.judging.gallery import draw_gallery
from linewatch.evaluation.judging.groups import GroupTable, near_duplicates
from linewatch.evaluation.judging.inspector import Inspector
from linewatch.evaluation.judging.judged import JudgedFrame, judge_frames
from linewatch.evaluation.judging.record import JUDGEMENT, FramesJudgement, write_instances
from linewatch.evaluation.judging.true_frames import RefusedFrame, TrueFrame, read_frame_set
from linewatch.inference.backends.registry import open_backend
from linewatch.inference.engines import EngineSet, load_engines
from linewatch.service_settings import ServiceSettings

CURVES, GALLERY = "curves.png", "gallery.png"


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """Which frames of the folders are judged, and how they are grouped.

    split: a table of groups and folds. fold: judge only its frames. without: files to leave out, the suffix may lack.
    """

    own: OwnSets = OwnSets()
    split: Path | None = None
    fold: int | None = None
    without: tuple[str, ...] = ()


def judge(
    sources: Sequence[str], settings: ServiceSettings, choice: FrameChoice, out: Path | None, instances: Path | None
) -> tuple[FramesJudgement, Figures]:
    """Judge folders of frames, or pool earlier judgements; write what is asked for.

    Raises ConfigError, DatasetError, EngineError, SourceError.
    """
    earlier = [Path(one) for one in sources if one.endswith(".json") and Path(one).is_file()]
    if earlier and len(earlier) < len(sources):
        raise ConfigError("found folders and earlier judgements; expected either; judge the folders first, with --out")
    if not sources:
        raise ConfigError("nothing to judge; name a folder of frames with their truth, or earlier judgements")
    if earlier:
        judgement = FramesJudgement.pooled(list(map(FramesJudgement.read, earlier)), list(map(str, earlier)))
        _require(judgement.frames)
        figures = figures_of(judgement.frames)
    else:
        judgement, figures = _inspected(sources, settings, choice, out)
    if out is not None:
        judgement.write(out / JUDGEMENT, figures)
        _draw_curves(figures, out / CURVES)
    if instances is not None:
        write_instances(judgement.frames, instances)
    return judgement, figures


def _inspected(
    sources: Sequence[str], settings: ServiceSettings, choice: FrameChoice, out: Path | None
) -> tuple[FramesJudgement, Figures]:
    taxonomy_path = settings.taxonomy or TAXONOMY
    taxonomy = Taxonomy.read(taxonomy_path)
    settings = settings.model_copy(update={"taxonomy": taxonomy_path})
    sets = [read_frame_set(source, choice.own, taxonomy) for source in sources]
    refused = [one for each in sets for one in each.refused]
    notes = [f"{each.root}: {note}" for each in sets for note in each.notes]
    frames, left_out = _chosen([one for each in sets for one in each.frames], choice)
    notes += left_out
    if not frames:
        raise DatasetError(_nothing(refused, notes))
    backend = open_backend(settings.inference.backend)
    engines = load_engines(settings.inference, backend.siblings)
    notes += _seen_in_training(frames, engines)
    show = sys.stderr.isatty()
    groups = _groups(frames, choice, show=show)
    with Inspector(engines, settings, backend) as inspector:
        judging = judge_frames(zip(frames, groups, strict=True), inspector, settings.line, refused)
        judged = tuple(
            track(judging, "judging", total=len(frames), console=Console(stderr=True), disable=not show, transient=True)
        )
        _require(judged, refused)
        figures = figures_of(judged)
        if out is not None:
            draw_gallery(judged, {one.name: one for one in frames}, inspector, out / GALLERY)
    names = {
        task.value: f"{one.manifest.name}@{one.manifest.model.sha256[:12]}" for task, one in engines.by_task().items()
    }
    return FramesJudgement(judged, tuple(refused), tuple(notes), names), figures


def _chosen(frames: Sequence[TrueFrame], choice: FrameChoice) -> tuple[list[TrueFrame], list[str]]:
    """Return the frames to judge, and notes of what was left out."""
    table = None if choice.split is None else GroupTable.read(choice.split)
    if choice.fold is not None:
        if table is None:
            raise ConfigError(f"--fold {choice.fold} needs --split FILE, a table of file, group and fold")
        frames = table.of_fold(frames, choice.fold)
    unknown = [name for name in choice.without if not any(_is(one, name) for one in frames)]
    if unknown and choice.fold is None:
        raise ConfigError(f"--without {', '.join(unknown)}: no such frame; name files of the set")
    kept = [one for one in frames if not any(_is(one, name) for name in choice.without)]
    gone = len(frames) - len(kept)
    return kept, [f"left out as you say: {gone} frames ({', '.join(choice.without)})"] if gone else []


def _seen_in_training(frames: Sequence[TrueFrame], engines: EngineSet) -> list[str]:
    """Return a note for each engine that was trained on some of the frames, as far as its folder tells."""
    notes = []
    for engine in engines.by_task().values():
        if known := seen_by(engine.directory):
            count = sum(fingerprint(one.specimen.path) in known for one in frames)
            if count:
                notes.append(
                    f"engine {engine.manifest.name} was trained on {count} of these {len(frames)} frames, so the "
                    "figures flatter; judge frames that it has not seen, or each fold by an engine without it"
                )
    return notes


def _is(frame: TrueFrame, name: str) -> bool:
    file = Path(frame.file)
    return name in (frame.file, file.name, file.stem)


def _groups(frames: Sequence[TrueFrame], choice: FrameChoice, *, show: bool) -> list[str]:
    if choice.split is not None:
        return GroupTable.read(choice.split).groups(frames)
    return near_duplicates(frames, show=show)


def _require(frames: Sequence[JudgedFrame], refused: Sequence[RefusedFrame] = ()) -> None:
    if not frames:
        raise DatasetError(_nothing(refused))


def _nothing(refused: Sequence[RefusedFrame], notes: Sequence[str] = ()) -> str:
    first = "".join(f"\n  {text}" for text in [*notes, *(f"{one.file}: {one.reason}" for one in refused[:5])])
    return f"no frame can be judged; expected frames with masks, boxes or runs of their defects{first}"


def _draw_curves(figures: Figures, out: Path) -> None:
    from linewatch.metrics.plots import probability_plots

    points = {
        point: (figures.values[f"{point}.recall"] or 0.0, figures.values[f"{point}.precision"] or 0.0)
        for point in ("told", "called")
        if figures.values.get(f"{point}.recall") is not None and figures.values.get(f"{point}.precision") is not None
    }
    probability_plots(out, [(one.recall, one.precision) for one in figures.curve], points, figures.reliability)
