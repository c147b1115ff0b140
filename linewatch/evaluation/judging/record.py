"""A judgement on disk: `judgement.json` holds every judged frame, so that judgements of several folds can be pooled.

Beside it a table of all instances and true pieces for other programs.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from linewatch import __version__
from linewatch.contracts.errors import SourceError
from linewatch.evaluation.judging.figures import Figures, as_json
from linewatch.evaluation.judging.judged import JudgedFrame
from linewatch.evaluation.judging.true_frames import RefusedFrame
from linewatch.files import write_output

SCHEMA_VERSION = 1
JUDGEMENT = "judgement.json"
_FRAMES = TypeAdapter(tuple[JudgedFrame, ...])
_REFUSED = TypeAdapter(tuple[RefusedFrame, ...])
_COLUMNS = (
    *("frame", "group", "kind", "number", "class", "area_mm2", "x0_px", "y0_px", "x1_px", "y1_px"),
    *("told", "called", "probability", "right", "right_class", "on"),
)


@dataclass(frozen=True, slots=True)
class FramesJudgement:
    """Judged frames, those that were refused, and what judged them. engines: their identities, by task."""

    frames: tuple[JudgedFrame, ...]
    refused: tuple[RefusedFrame, ...]
    notes: tuple[str, ...]
    engines: dict[str, str]

    @classmethod
    def pooled(cls, parts: Sequence[Self], origins: Sequence[str]) -> Self:
        """Return several judgements as one. Raises SourceError where two have judged the same frame."""
        first: dict[str, int] = {}
        for number, part in enumerate(parts):
            for frame in part.frames:
                if (earlier := first.setdefault(frame.name, number)) != number:
                    raise SourceError(
                        f"{frame.name} is judged in {origins[earlier]} and in {origins[number]}; expected each frame "
                        "once, as by the folds of one split; name each judgement once"
                    )
        engines: dict[str, str] = {}
        for part in parts:
            for task, name in part.engines.items():
                engines[task] = name if engines.get(task, name) == name else "several"
        return cls(
            tuple(frame for part in parts for frame in part.frames),
            tuple(one for part in parts for one in part.refused),
            tuple(dict.fromkeys(note for part in parts for note in part.notes)),
            engines,
        )

    def summary(self, figures: Figures) -> dict[str, Any]:
        """Return what `--json` prints: all but the frames."""
        return {
            "schema_version": SCHEMA_VERSION,
            "linewatch": __version__,
            "engines": self.engines,
            "notes": list(self.notes),
            "refused": [asdict(one) for one in self.refused],
            **as_json(figures),
        }

    def write(self, path: Path, figures: Figures) -> None:
        """Write the judgement with its frames. Raises ConfigError."""
        body = {**self.summary(figures), "frames": [asdict(one) for one in self.frames]}
        write_output(path, f"{json.dumps(body)}\n".encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote. Raises SourceError."""
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
            version = body["schema_version"]
            if version != SCHEMA_VERSION:
                raise ValueError(f"schema version {version}, expected {SCHEMA_VERSION}")
            return cls(
                _FRAMES.validate_python(body["frames"]),
                _REFUSED.validate_python(body["refused"]),
                tuple(body["notes"]),
                dict(body["engines"]),
            )
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror}); expected a {JUDGEMENT}") from error
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            reason = str(error).splitlines()[0]
            raise SourceError(
                f"{path}: found no judgement ({reason}), expected what `linewatch judge --out` writes as {JUDGEMENT}; "
                "a folder of frames is named by the folder itself"
            ) from error


def write_instances(frames: Iterable[JudgedFrame], path: Path) -> None:
    """Write a CSV file with a row for each instance and each true piece. Raises ConfigError.

    `on` holds the numbers of the true pieces that an instance lies on. A piece is told or called where such an instance
    lies on it, and `right_class` where one that is told has its class. Columns `evidence.NAME` follow.
    """
    listed = list(frames)
    evidence = list(dict.fromkeys(name for frame in listed for one in frame.instances for name in one.evidence))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*_COLUMNS, *(f"evidence.{name}" for name in evidence)])
    for frame in listed:
        for number, one in enumerate(frame.instances):
            told = [int(one.told), int(one.called), one.probability, int(one.right), int(one.right_class)]
            head = [frame.name, frame.group, "instance", number, one.defect_class, one.area_mm2, *one.box_px]
            known = [one.evidence.get(name, "") for name in evidence]
            table.writerow([*head, *told, " ".join(map(str, one.on)), *known])
        for number, piece in enumerate(frame.pieces):
            hits = [one for one in frame.instances if number in one.on]
            named = any(one.told and one.defect_class == piece.defect_class for one in hits)
            told = [int(any(one.told for one in hits)), int(any(one.called for one in hits))]
            head = [frame.name, frame.group, "piece", number, piece.defect_class, piece.area_mm2, *piece.box_px]
            best = max((one.probability for one in hits), default="")
            table.writerow([*head, *told, best, "", int(named), "", *([""] * len(evidence))])
    write_output(path, text.getvalue().encode())
