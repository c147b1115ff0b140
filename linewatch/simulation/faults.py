"""Simulated faults of a camera: exactly those that are requested, in grabs that a seed selects."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.ports import Camera, CameraWrapper


class CameraFault(StrEnum):
    """A fault of one grab."""

    DROP = "drop"  # it never arrives
    TRUNCATE = "truncate"  # its last lines are missing
    BLACK = "black"
    FROZEN = "frozen"  # it shows the grab before
    COLOUR = "colour"
    DEPTH = "depth"  # 16 bits
    WRONG_SIZE = "wrong_size"
    CORRUPT = "corrupt"  # not decodable


_CAUSES = MappingProxyType(
    {
        CameraFault.DROP: Cause.LOST,
        CameraFault.TRUNCATE: Cause.TRUNCATED,
        CameraFault.BLACK: Cause.BLACK,
        CameraFault.FROZEN: Cause.FROZEN,
        CameraFault.COLOUR: Cause.COLOUR,
        CameraFault.DEPTH: Cause.DEPTH,
        CameraFault.WRONG_SIZE: Cause.WRONG_SIZE,
        CameraFault.CORRUPT: Cause.CORRUPT,
    }
)


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """The number of faults of each kind."""

    counts: Mapping[CameraFault, int]

    @staticmethod
    def parse(text: str) -> "FaultSpec":
        """Parse text like `"drop=3,truncate=2"`. Raises ConfigError that names the wrong part and the known faults."""
        counts: dict[CameraFault, int] = {}
        for part in text.split(","):
            name, _, number = part.strip().partition("=")
            known = ", ".join(CameraFault)
            if name not in set(CameraFault) or not number.isdecimal() or int(number) > 1_000_000:
                raise ConfigError(
                    f"fault {part.strip()!r} is not NAME=COUNT; expected names: {known}; write e.g. drop=3,black=1"
                )
            if CameraFault(name) in counts:
                raise ConfigError(f"fault {name!r} is given twice in {text!r}, expected once; add the counts")
            counts[CameraFault(name)] = int(number)
        return FaultSpec(MappingProxyType(counts))

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class MissedLines:
    """Lines [first_line, first_line + lines) of a coil that cannot be inspected because of a fault."""

    coil: str
    first_line: int
    lines: int
    cause: Cause


class FaultyCamera(CameraWrapper):
    """Gives the grabs of `camera` with exactly the faults of `spec`; the same seed selects the same grabs.

    No two faulty grabs are neighbours, and the first and the last grab have no fault, since a lost grab shows only in
    the one after it and a frozen grab repeats the one before. `missed` lists the lines lost so far, in strip order.
    Raises ConfigError when the source is too short, or its length is unknown.
    """

    def __init__(self, camera: Camera, spec: FaultSpec, seed: int, total: int | None = None) -> None:
        total = camera.grabs if total is None else total
        if total is None:
            raise ConfigError(
                "the number of grabs of this source is unknown, expected a known one; replay a recording or folder"
            )
        if 2 * spec.total + 1 > total:
            raise ConfigError(
                f"{spec.total} faults do not fit into {total} grabs, since no two may be neighbours; expected at most "
                f"{max(0, (total - 1) // 2)}; ask for fewer"
            )
        super().__init__(camera)
        self.grabs: int | None = total - spec.counts.get(CameraFault.DROP, 0)
        self.missed: list[MissedLines] = []
        self._rng = np.random.default_rng(seed)
        self._plan = _plan(spec, total, self._rng)
        self._at = 0
        self._shown: np.ndarray | None = None

    def read(self) -> Grab | None:
        while (grab := self._camera.read()) is not None:
            fault = self._plan.get(self._at)
            self._at += 1
            if fault is None:
                # A frozen grab repeats the one before it, whose memory the source may reuse.
                if self._plan.get(self._at) is CameraFault.FROZEN and grab.image is not None:
                    self._shown = grab.image.copy()
                return grab
            broken = self._broken(grab, fault)
            if broken is not None:
                return broken
        return None

    def _broken(self, grab: Grab, fault: CameraFault) -> Grab | None:
        shown = 0
        image: np.ndarray | None = None
        if grab.image is not None:
            image, shown = self._faulty(grab.image, fault)
        cause = Cause.CORRUPT if image is None and fault is not CameraFault.DROP else _CAUSES[fault]
        self.missed.append(MissedLines(grab.coil, grab.first_line + shown, grab.lines - shown, cause))
        if fault is CameraFault.DROP:
            return None
        return replace(grab, image=image, fault=Cause.CORRUPT if image is None else None)

    def _faulty(self, image: np.ndarray, fault: CameraFault) -> tuple[np.ndarray | None, int]:
        """Return the image with the fault, and the number of its leading lines that are still good."""
        faulty: np.ndarray | None = None
        shown = 0
        match fault:
            case CameraFault.TRUNCATE:
                shown = int(self._rng.integers(1, len(image))) if len(image) > 1 else 0
                faulty = image[:shown]
            case CameraFault.BLACK:
                faulty = np.zeros_like(image)
            case CameraFault.FROZEN:
                faulty = self._shown
            case CameraFault.COLOUR:
                gray = image[..., 0] if image.ndim == 3 else image
                faulty = np.stack([gray, 255 - gray, gray], axis=-1)
            case CameraFault.DEPTH:
                faulty = image.astype(np.uint16) << 4
            case CameraFault.WRONG_SIZE:
                faulty = image[:, : image.shape[1] // 2]
        return faulty, shown


def _plan(spec: FaultSpec, total: int, rng: np.random.Generator) -> dict[int, CameraFault]:
    """Return fault by grab number: distinct numbers in [1, total - 2], no two in a row."""
    faults = [fault for fault in CameraFault for _ in range(spec.counts.get(fault, 0))]
    # Choosing k of n without neighbours is choosing k of n - k + 1 and spreading them by one each.
    if not faults:
        return {}
    spots = np.sort(rng.choice(total - 1 - len(faults), len(faults), replace=False))
    order = rng.permutation(len(faults))
    return {
        int(spot) + index + 1: faults[int(which)] for index, (spot, which) in enumerate(zip(spots, order, strict=True))
    }
