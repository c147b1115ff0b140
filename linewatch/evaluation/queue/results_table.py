"""The Markdown table of a training queue, written from its run folders: what was asked, what came out, the paper."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from linewatch.evaluation.queue.work import RunState
from linewatch.metrics.result import EvaluationResult
from linewatch.training.runs import RECORD, RESULT, RunRecord

_HEADLINES = ("top1", "count_exact", "dice", "f1")


def results_table(states: Sequence[RunState], runs: Path, failures: dict[str, str]) -> str:
    """Return one row per run. failures: why runs ended without a result, by name."""
    head = "| run | set | settings changed | started from | epochs | hours | here (95 % interval) | paper |"
    rows = [head, "|---|---|---|---|---|---|---|---|"]
    for state in states:
        run, folder = state.work.run, runs / state.work.run.name
        epochs, hours = f"{state.epochs} of {state.work.epochs}", f"{state.seconds / 3600:.1f}"
        if state.ended:
            result = EvaluationResult.model_validate_json((folder / RESULT).read_bytes())
            figures = (
                f"trunk of {run.trunk_of}" if run.trunk_of else _start(folder),
                epochs,
                hours,
                _here(result),
                _paper(result),
            )
        else:
            why = failures.get(run.name, "not trained yet" if not state.epochs else "in training")
            figures = ("", epochs, hours, why, "")
        name = f"`{run.name}`" if run.name == run.recipe else f"`{run.name}` (`{run.recipe}`)"
        changed = ", ".join((*run.changes, *([f"{run.kfold} folds"] if run.kfold else ())))
        rows.append(f"| {' | '.join((name, run.data, changed or 'none', *figures))} |")
    return "\n".join(rows) + "\n"


def _start(folder: Path) -> str:
    record = next(iter(sorted(folder.rglob(RECORD))))
    return RunRecord.model_validate_json(record.read_bytes()).pretrained


def _names(result: EvaluationResult) -> list[str]:
    found = result.metrics()
    return [name for name in result.paper if "." not in name] or [name for name in _HEADLINES if name in found][:1]


def _here(result: EvaluationResult) -> str:
    found = result.metrics()
    texts = []
    for name in _names(result):
        low_high = result.intervals.get(name)
        texts.append(f"{name} {found[name]:.3f}" + (f" ({low_high[0]:.3f}-{low_high[1]:.3f})" if low_high else ""))
    return ", ".join(texts)


def _paper(result: EvaluationResult) -> str:
    return ", ".join(f"{name} {result.paper[name]:.3f}" for name in _names(result) if name in result.paper)
