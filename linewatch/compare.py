"""`linewatch compare`: two records of one recording by the review, run folders by the evaluation."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from linewatch.contracts.errors import ConfigError
from linewatch.review.cli import VERDICTS, ComparisonOptions, HistoryOptions, compare_verdicts
from linewatch.terminal import AsJson, extra


def compare(
    *names: Annotated[str, Parameter(help=f"A and B, each one of these: {VERDICTS} Or several run folders.")],
    out: Annotated[Path | None, Parameter(help="Folder for pictures; those of verdicts need --source.")] = None,
    options: ComparisonOptions = ComparisonOptions(),
    history: HistoryOptions = HistoryOptions(),
    as_json: AsJson = False,
) -> int:
    from linewatch.review.coil_sources import PREFIX

    paths = [Path(name) for name in names if not name.startswith(PREFIX)]
    for path in paths:
        if not path.exists():
            raise ConfigError(
                f"{path}: no such file or folder; compare two verdict files or coils of the history "
                f"({PREFIX}COIL), or run folders"
            )
    folders = [path for path in paths if path.is_dir()]
    if folders and len(folders) == len(names):
        given = {**asdict(options), "database": history.database}
        if unusable := next((name for name, value in given.items() if value is not None), None):
            raise ConfigError(
                f"--{unusable.replace('_', '-')} applies to verdict files only, but {folders[0]} is a run folder; "
                "leave it out, or name verdict files"
            )
        _compare_runs(folders, out, as_json)
        return 0
    if folders:
        held = sorted(folders[0].glob("*.jsonl"))
        remedy = f"name the file in it, {held[0]}" if held else "compare two of a kind"
        raise ConfigError(f"{folders[0]} is a folder, the others are verdicts; {remedy}")
    return compare_verdicts(names, out, options, history, as_json=as_json)


def _compare_runs(folders: Sequence[Path], out: Path | None, as_json: bool) -> None:
    if out is None:
        raise ConfigError("runs are compared in pictures; give --out DIR for them")
    with extra("train"):
        from linewatch.evaluation.run_comparison import compare

        found = compare(folders, out)
        if as_json:
            print(json.dumps({name: asdict(of) for name, of in found.items()}))
            return
        for name, of in found.items():
            low, high = of.interval or (float("nan"), float("nan"))
            print(f"{name}: Dice {of.difference:+.3f} ({low:+.3f} to {high:+.3f}), better on {of.improved:.0%} of them")
        print(out)
