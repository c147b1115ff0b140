"""`linewatch learn`: the mill's own loop."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from linewatch.config.history import HistorySettings
from linewatch.config.load import load
from linewatch.contracts.errors import ConfigError
from linewatch.terminal import AsJson, extra, print_pairs

if TYPE_CHECKING:
    from linewatch.learning.learn import Learned

HISTORY = Path("configs/history.toml")
Engines = Annotated[Path, Parameter(name="--engines-dir", help="Folder of the engines.")]


def learn(
    *,
    source: Annotated[Literal["history"], Parameter(name="--from", help="history: its labels.")],
    engine: Annotated[str, Parameter(help="Name of the inspect or classify engine that the service runs.")] = "inspect",
    engines_dir: Engines = Path("engines"),
    last: Annotated[int, Parameter(help="How many passages the report of what changes looks back.")] = 20,
    out: Annotated[Path, Parameter(help="Folder of the report, or of the set of images.")] = Path("out/learn"),
    full: Annotated[
        bool, Parameter(help="Write the labelled defects as a set of images, to train networks on; learn nothing yet.")
    ] = False,
    config: Annotated[Path, Parameter(help="Configuration of `linewatch history`.")] = HISTORY,
    as_json: AsJson = False,
) -> None:
    settings = load(config, HistorySettings)
    if full:
        _write_set(settings, out, as_json=as_json)
        return
    with extra("learn,history"):
        from linewatch.history.database import reading
        from linewatch.learning.learn import learn_from_history
        from linewatch.learning.report_folder import write_report

        with reading(settings.database) as connection:
            found = learn_from_history(connection, engines_dir, engine, last)
            folder = out / found.folders[0].name
            images = settings.images.dir if settings.images else None
            files = write_report(folder, found.changes, connection, images)
    if as_json:
        print(json.dumps(_as_json(found, files)))
    else:
        _print(found, files)


def _write_set(settings: HistorySettings, out: Path, *, as_json: bool) -> None:
    if settings.images is None:
        raise ConfigError("the history keeps no images; add [images] to its configuration, and [crops] to the service")
    with extra("history"):
        from linewatch.history.database import reading
        from linewatch.learning.training_set import write_training_set

        with reading(settings.database) as connection:
            found = write_training_set(connection, settings.images.dir, out)
    if as_json:
        print(json.dumps({**asdict(found), "folder": str(found.folder)}))
        return
    counts = ", ".join(f"{name} {count}" for name, count in found.by_class.items())
    print(f"{found.folder}: {counts}; {found.without_image} labels without an image")
    print(f"train on it: linewatch train custom_cnn --data mill={found.folder}   (which class)")
    print(f"             linewatch train tlu_net --data mill={found.folder}      (outlines)")


def _as_json(found: "Learned", files: list[Path]) -> dict[str, object]:
    return {
        "engines": [str(one) for one in found.folders],
        "version": found.model.version,
        "fitted_on": found.model.fitted_on,
        "labels": {
            "right": int(found.labels.instances.right.sum()),
            "not_a_defect": int((~found.labels.instances.right).sum()),
            "left_out": found.labels.left_out,
        },
        "told": asdict(found.told),
        "called": asdict(found.called),
        "calibration_error": {"before": found.calibration_before, "after": found.calibration_after},
        "changes": found.changes.as_json(),
        "files": [str(one) for one in files],
    }


def _print(found: "Learned", files: list[Path]) -> None:
    right = int(found.labels.instances.right.sum())
    rows = [
        ("learned from", f"{right} true and {len(found.labels.instances) - right} false defects of the history"),
        *(("left out", f"{count} labels: {why}") for why, count in found.labels.left_out.items()),
        *(
            (
                name,
                f"from probability {point.probability:g}: precision {point.precision:.2f}, recall {point.recall:.2f}",
            )
            for name, point in (("told", found.told), ("called", found.called))
        ),
        *(("note", point.unmet) for point in (found.told, found.called) if point.unmet),
        (
            "calibration error",
            f"{found.calibration_after:.3f} on the labelled defects, each by a model without its coil"
            + ("" if found.calibration_before is None else f"; before {found.calibration_before:.3f}"),
        ),
        ("new engine", ", ".join(str(one) for one in found.folders)),
        ("report", ", ".join(str(one) for one in files)),
    ]
    print_pairs("learned", rows)
    changes = found.changes
    lines = [(name, _in_words(counts)) for name, counts in changes.counts().items()]
    skipped = f"; {changes.skipped} by other engines or without evidence are left aside" if changes.skipped else ""
    title = (
        f"what it would have changed: {len(changes.judgements)} defects of {len(changes.passages)} passages{skipped}"
    )
    print_pairs(title, lines or [("", "nothing to compare")])
    print(f"try it beside the running one: linewatch engine load {found.load} --shadow")


def _in_words(counts: Mapping[str, int]) -> str:
    """Return what changed, then how many did not. counts: by "was to is"."""
    changed = {how: count for how, count in counts.items() if len(set(how.split(" to "))) > 1}
    same = sum(counts.values()) - sum(changed.values())
    return ", ".join([*(f"{count} {how}" for how, count in changed.items()), f"{same} as before"])
