"""`linewatch learn-normal`: learns from a line's own clean strip what is normal there.

The strip runs through the service as any recording does, with all that is found told, however improbable. Whoever
starts the command vouches that the strip is clean: nothing is ever learned by itself.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from linewatch.config.normal import check_normal, line_of, read_normal
from linewatch.config.wire import ANY_PORT, WireSettings
from linewatch.contracts.errors import ConfigError, EngineError, SourceError
from linewatch.contracts.evidence import EVIDENCE
from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.contracts.normal import (
    FAINT,
    PRIOR_FRAMES,
    TRAITS,
    Drift,
    LearnedStrip,
    NormalModel,
    NormalReference,
    NormalStrip,
    traits_of,
)
from linewatch.contracts.probability import ProbabilityModel, log_odds, probability_of
from linewatch.contracts.verdict import DefectState
from linewatch.daemon.replay import replay
from linewatch.files import write_output
from linewatch.inference.engines import load_engines
from linewatch.learning.instances import INSTANCES, LabelledInstances
from linewatch.logs import configure_logs
from linewatch.service_settings import ServiceSettings, settings_or_defaults, with_source
from linewatch.terminal import AsJson, coil_named, extra, print_pairs
from linewatch.wire.schema import VerdictLine
from linewatch.wire.verdict_file import read_strip

LEAST_SPREAD = 0.05
"""Evidence that hardly varies among the instances of a set is not trusted to tell instances apart."""


def learn_normal(
    *sources: Annotated[str, Parameter(help="Recordings or folders of frames, of strip without defects.")],
    out: Annotated[Path, Parameter(help="The model. One that is there learns more; name it in [decision] normal.")],
    config: Annotated[Path | None, Parameter(help="Configuration of the line. Default: built-in settings.")] = None,
    coil: Annotated[str | None, Parameter(help="Learn from this coil of the recordings only.")] = None,
    new: Annotated[bool, Parameter(negative="", help="Forget what the model in --out has learned before.")] = False,
    picture: Annotated[Path | None, Parameter(help="Draw how what is normal has drifted to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    if not sources:
        raise ConfigError("no strip to learn from; name recordings or folders of frames that show clean strip")
    settings = settings_or_defaults(config)
    configure_logs("warning")
    model = None if new or not out.exists() else read_normal(out)
    for source in sources:
        one = with_source(settings, source, own_line=config is None)
        model = learned(one, source, model, out, None if coil is None else coil_named(coil))
    assert model is not None
    if picture is not None:
        draw_drift(model.learned, picture)
    write_output(out, (model.model_dump_json() + "\n").encode())
    if as_json:
        print(json.dumps(_told(model, out)))
    else:
        print_pairs(f"normal strip of {model.line.camera}, {model.line.side}", [*_rows(model, out)])


@dataclass(frozen=True)
class StripFound:
    """What was found on clean strip. m2: inspected of it. log_odds: float64 (n,). traits: float64 (n, len(TRAITS))."""

    m2: float
    log_odds: np.ndarray
    traits: np.ndarray


def learned(
    settings: ServiceSettings, source: str, model: NormalModel | None, path: Path, coil: str | None = None
) -> NormalModel:
    """Return the model that has learned from the source of these settings as well; None: it begins with it.

    path: of the model, for messages. Raises ConfigError where engine, line and model do not fit each other, SourceError
    for strip that is too little, EngineError, and what `replay` raises.
    """
    engine, reference = _engine_of(settings)
    if model is not None:
        check_normal(model, path, settings.line, engine)
    tell = float(log_odds(_tell_probability(settings, engine)))
    found, frame_m2 = find(settings, tell, coil), _frame_m2(settings, engine)
    if found.m2 < PRIOR_FRAMES * frame_m2:
        raise SourceError(
            f"{source}: {found.m2:.2f} m2 of strip were inspected, expected {PRIOR_FRAMES * frame_m2:.2f} m2 or more; "
            "name more strip"
        )
    strip = NormalStrip.of(reference.points(found.log_odds, found.traits), found.m2 / frame_m2)
    lowered = found.log_odds
    if model is not None:
        lowered = lowered + model.unlike_normal(found.log_odds, found.traits)
    entry = LearnedStrip(
        learned_unix_ns=time.time_ns(),
        source=source,
        coil=coil,
        m2=found.m2,
        told=int((found.log_odds >= tell).sum()),
        told_still=int((lowered >= tell).sum()),
    )
    if model is not None:
        return model.learning(strip, entry)
    return NormalModel(
        line=line_of(settings.line), engine=engine.name, reference=reference, strip=strip, learned=(entry,)
    )


def find(settings: ServiceSettings, tell: float, coil: str | None) -> StripFound:
    """Run the strip through the service and return what it found, down to FAINT below the log-odds `tell`.

    Raises SourceError when the coil is not there, and what `replay` raises.
    """
    faint = float(probability_of(np.array(tell - FAINT)))
    decision = settings.decision.model_copy(update={"tell_probability": faint, "normal": None, "grading": None})
    settings = settings.model_copy(
        update={
            "decision": decision,
            "wire": WireSettings(publish=ANY_PORT, serve=ANY_PORT),
            "recipe": (),
            "coil_data": None,
            "crops": None,
        }
    )
    with TemporaryDirectory(prefix="linewatch-normal-") as folder:
        verdicts = Path(folder) / "verdicts.jsonl"
        replay(settings, out=verdicts)
        return _read(verdicts, coil)


def _read(verdicts: Path, coil: str | None) -> StripFound:
    m2, coils, names = 0.0, set(), tuple(EVIDENCE)
    rows: list[tuple[float, list[float]]] = []
    for line in read_strip(verdicts):
        coils.add(line.coil)
        if coil not in (None, line.coil):
            continue
        if isinstance(line, VerdictLine):
            m2 += sum(span.area.inspected_mm2 for span in line.spans if span.area is not None) / 1e6
        for defect in line.defects:
            if defect.state is DefectState.CLOSED and defect.merged_into is None:
                rows.append((defect.probability, [defect.evidence[name] for name in names]))
    if coil is not None and coil not in coils:
        raise SourceError(f"the source holds no coil {coil!r}, only {', '.join(sorted(coils)) or 'none'}; name another")
    evidence = np.array([row for _, row in rows], np.float64).reshape(-1, len(names))
    probability = np.array([one for one, _ in rows], np.float64)
    return StripFound(m2, log_odds(probability), traits_of(names, evidence))


def _engine_of(settings: ServiceSettings) -> tuple[EngineManifest, NormalReference]:
    """Return the engine that has the probability model, and what it takes for defects on other clean strip."""
    inference = settings.inference
    engine = load_engines(inference).names_classes.manifest
    if engine.probability is None:
        raise ConfigError(
            f"engine {engine.name} has no probability model, which what is normal adds to; expected one with it (its "
            "manifest's `probability`); choose another engine in [inference]"
        )
    folder = inference.engines_dir / (inference.inspect if engine.task is Task.INSPECT else inference.classify)
    return engine, reference_of(LabelledInstances.read(folder, engine.probability.version), engine.probability, folder)


def reference_of(instances: LabelledInstances, model: ProbabilityModel, folder: Path) -> NormalReference:
    """Return what a probability model takes for defects on the clean frames among the instances it was fitted on.

    folder: of the engine, for messages. Raises EngineError when there were no clean frames.
    """
    if not instances.clean_frames:
        raise EngineError(
            f"{folder / INSTANCES}: has no frame without defects, expected some: by them a line's clean strip is "
            "judged; fit the engine's second stage with clean frames as well"
        )
    traits = traits_of(instances.names, instances.evidence)
    spreads = dict(zip(TRAITS, np.maximum(traits.std(axis=0), LEAST_SPREAD).round(4).tolist(), strict=True))
    told = model.log_odds(instances.evidence[:, [instances.names.index(name) for name in model.evidence]])
    near = instances.clean & (told >= log_odds(model.tell_probability) - FAINT)
    frames = float(instances.clean_frames)
    scale = NormalReference(probability=model.version, spreads=spreads, strip=NormalStrip(frames=frames))
    strip = NormalStrip.of(scale.points(told[near], traits[near]), frames)
    return scale.model_copy(update={"strip": strip})


def _frame_m2(settings: ServiceSettings, engine: EngineManifest) -> float:
    """Return the area on this line of as many pixels as a frame has on which the probability model was fitted.

    An engine of tiles was fitted on frames as wide as the line's own.
    """
    line = settings.line
    pixels = engine.input.lines * (engine.input.width if engine.task is Task.INSPECT else line.width_px)
    return pixels * line.mm_per_px * line.mm_per_line / 1e6


def _tell_probability(settings: ServiceSettings, engine: EngineManifest) -> float:
    assert engine.probability is not None
    own = settings.decision.tell_probability
    return engine.probability.tell_probability if own is None else own


def _told(model: NormalModel, path: Path) -> dict[str, object]:
    """Return the result as `--json` prints it."""
    return {
        "path": str(path),
        "version": model.version,
        "m2": sum(one.m2 for one in model.learned),
        "newest_m2": model.learned[-1].m2,
        "instances": round(sum(model.strip.counts)),
        "told_per_m2": (drift := Drift.of(model)).told,
        "told_still_per_m2": drift.still,
        "trend_per_m2": drift.trend,
    }


def _rows(model: NormalModel, path: Path) -> Iterator[tuple[str, str]]:
    drift, m2 = Drift.of(model), sum(one.m2 for one in model.learned)
    yield "model", f"{path}, version {model.version}; name it in [decision] normal, then `linewatch reload`"
    yield "learned from", f"{m2:.1f} m2 of strip, the last {model.learned[-1].m2:.1f} m2 of it now"
    yield "instances on it", f"{sum(model.strip.counts):.0f}, in {len(model.strip.instances)} rows"
    yield "told on the last", f"{drift.told:.2f} a m2 without a model of what is normal"
    if model.version > 1:
        than = "" if drift.trend is None else f", {drift.trend:+.2f} against the strip learned before"
        yield "with the model before", f"{drift.still:.2f} a m2{than}"


def draw_drift(learned: Sequence[LearnedStrip], path: Path) -> None:
    """Draw, strip after strip, what would be told on it without a model and with the model that was there before it.

    Raises ConfigError where matplotlib is not installed.
    """
    with extra("train"):
        from linewatch.metrics.plots.drawing import BLUE, VERMILION, drawing, whole_epochs
    strips = range(1, len(learned) + 1)
    with drawing(path, 900, 420) as figure:
        axes = figure.add_subplot()
        axes.plot(strips, [one.told / one.m2 for one in learned], "o-", color=BLUE, label="without a model")
        if len(learned) > 1:
            still = [one.told_still / one.m2 for one in learned[1:]]
            axes.plot(strips[1:], still, "s-", color=VERMILION, label="with the model that was there before the strip")
        whole_epochs(axes)
        axes.set(xlabel="strip, in the order in which it was learned", ylabel="false defects told a m\u00b2")
        axes.set_ylim(bottom=0)
        axes.set_title("Normal strip of the line: a rise of the lower curve is a drift")
        axes.legend()
