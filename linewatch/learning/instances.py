"""The rows that a second stage is fitted on: instances with their evidence, and whether each is a true defect."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from linewatch.contracts.errors import EngineError, SourceError
from linewatch.files import write_file

INSTANCES: Final = "instances.npz"
"""The file beside an engine with the rows that its second stage was fitted on."""
_COLUMNS: Final = {"evidence": np.float32, "right": np.bool_, "group": np.int64, "clean": np.bool_, "label": np.str_}


@dataclass(frozen=True, eq=False)
class LabelledInstances:
    """Instances in rows.

    names: of the evidence. evidence: float64 (n, names), all finite. right: bool (n,), whether the instance is a true
    defect. group: int64 (n,), equal for instances that may show the same steel, which are never divided between fitting
    and judging. clean: bool (n,), whether the instance lies on a frame that is known to be free of defects.
    clean_frames: how many such frames were looked at. label: str (n,), the label of a mill that an instance comes from;
    empty: it came with the engine.
    """

    names: tuple[str, ...]
    evidence: NDArray[np.float64]
    right: NDArray[np.bool_]
    group: NDArray[np.int64]
    clean: NDArray[np.bool_]
    clean_frames: int
    label: NDArray[np.str_]

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        evidence: NDArray[np.float64],
        right: NDArray[np.bool_],
        group: NDArray[np.int64],
        clean: NDArray[np.bool_] | None = None,
        clean_frames: int = 0,
        label: NDArray[np.str_] | None = None,
    ) -> LabelledInstances:
        """Return these instances. Raises SourceError for evidence that is not finite."""
        found = np.asarray(evidence, np.float64).reshape(-1, len(names))
        bad = np.flatnonzero(~np.isfinite(found).all(0))
        if len(bad):
            name = names[bad[0]]
            rows = int((~np.isfinite(found[:, bad[0]])).sum())
            raise SourceError(
                f"evidence {name!r} is not a finite number in {rows} of {len(found)} instances, expected one in each; "
                "leave out evidence that this chain of engines does not know"
            )
        none_clean = np.zeros(len(found), bool)
        return cls(
            tuple(names),
            found,
            np.asarray(right, bool),
            np.asarray(group, np.int64),
            none_clean if clean is None else np.asarray(clean, bool),
            clean_frames,
            np.full(len(found), "") if label is None else np.asarray(label, np.str_),
        )

    def __len__(self) -> int:
        return len(self.right)

    def rows(self, kept: NDArray[np.bool_]) -> LabelledInstances:
        """Return the instances of these rows, bool (n,)."""
        return replace(
            self,
            evidence=self.evidence[kept],
            right=self.right[kept],
            group=self.group[kept],
            clean=self.clean[kept],
            label=self.label[kept],
        )

    def joined(self, other: LabelledInstances) -> LabelledInstances:
        """Return both; they share no group. Raises SourceError unless both name the same evidence."""
        if self.names != other.names:
            ours, theirs = sorted(set(self.names) - {*other.names}), sorted(set(other.names) - {*self.names})
            raise SourceError(
                f"the evidence of two sets of instances differs: only here {ours}, only there {theirs}; "
                "fit the engine's second stage anew with this version"
            )
        shift = self.group.max(initial=-1) + 1 - other.group.min(initial=0)
        return LabelledInstances(
            self.names,
            np.concatenate([self.evidence, other.evidence]),
            np.concatenate([self.right, other.right]),
            np.concatenate([self.group, other.group + shift]),
            np.concatenate([self.clean, other.clean]),
            self.clean_frames + other.clean_frames,
            np.concatenate([self.label, other.label]),
        )

    def write(self, folder: Path, version: str) -> None:
        """Write the rows beside an engine, whose second stage has this version."""
        packed = io.BytesIO()
        columns = {name: getattr(self, name).astype(kind) for name, kind in _COLUMNS.items()}
        np.savez_compressed(
            packed,
            names=np.array(self.names),
            clean_frames=np.array(self.clean_frames),
            version=np.array(version),
            **columns,
        )
        write_file(folder / INSTANCES, packed.getvalue())

    @classmethod
    def read(cls, folder: Path, version: str) -> LabelledInstances:
        """Read the rows beside an engine whose second stage has this version. Raises EngineError for other ones."""
        path = folder / INSTANCES
        try:
            with np.load(path, allow_pickle=False) as stored:
                found = {name: stored[name] for name in stored.files}
            written_for = str(found["version"])
            read = cls.of(
                [str(name) for name in found["names"]],
                found["evidence"],
                found["right"],
                found["group"],
                found["clean"],
                int(found["clean_frames"]),
                found["label"],
            )
        except FileNotFoundError as error:
            raise EngineError(
                f"{path}: is missing, expected the instances that the engine's second stage was fitted on; fit it "
                "again, or copy the whole folder"
            ) from error
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise EngineError(f"{path}: is damaged ({error}); copy the engine's folder again") from error
        if written_for != version:
            raise EngineError(
                f"{path}: belongs to the second stage {written_for}, the manifest holds {version}; copy both from one "
                "folder"
            )
        return read
