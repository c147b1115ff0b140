"""Faults on purpose: a camera that fails in exactly the ways that were asked for, at places that a seed decides."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from linewatch.contracts.errors import ConfigError
from linewatch.contracts.frame import Cause, Grab
from linewatch.contracts.ports import Camera, CameraWrapper


class CameraFault(StrEnum):
    """What can go wrong with a grab."""

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
    """How many of each fault."""

    counts: Mapping[CameraFault, int]

    @staticmethod
    def parse(text: str) -> "FaultSpec":
        """`"drop=3,truncate=2"`. Raises ConfigError that says which part is wrong and what can be asked for."""
        counts: dict[CameraFault, int] = {}
        for part in text.split(","):
            name, _, number = part.strip().partition("=")
            known = ", ".join(CameraFault)
            if name not in set(CameraFault) or not number.isdecimal() or int(number) > 1_000_000:
                raise ConfigError(
                    f"fault {part.strip()!r} is not NAME=COUNT; expected names: {known}; e.g. drop=3,black=1"
                )
            if CameraFault(name) in counts:
                raise ConfigError(f"fault {name!r} is given twice in {text!r}; add the counts up")
            counts[CameraFault(name)] = int(number)
        return FaultSpec(MappingProxyType(counts))

    @property
    def total(self) -> int:
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class MissedLines:
    """Lines [first_line, first_line + lines) of a coil that a fault takes from the inspection."""

    coil: str
    first_line: int
    lines: int
    cause: Cause


class FaultyCamera(CameraWrapper):
    """`camera`, with exactly the faults of `spec`; the same seed puts them at the same grabs.

    No two faulty grabs are neighbours, and the first and the last grab stay whole: a loss shows in what comes
    after it, and a frozen grab in what came before. `missed` tells what the faults have cost so far, in strip order.
    Raises ConfigError when the source is too short, or its length is not known.
    """

    def __init__(self, camera: Camera, spec: FaultSpec, seed: int, total: int | None = None) -> None:
        total = camera.grabs if total is None else total
        if total is None:
            raise ConfigError("faults need a source of known length; this one does not say how many grabs it has")
        if 2 * spec.total + 1 > total:
            raise ConfigError(
                f"{spec.total} faults do not fit into {total} grabs, none beside another; "
                f"at most {max(0, (total - 1) // 2)} do"
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
                # Only a frozen grab needs the one before it; the source may reuse its memory.
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
            image, shown = self._spoilt(grab.image, fault)
        cause = Cause.CORRUPT if image is None and fault is not CameraFault.DROP else _CAUSES[fault]
        self.missed.append(MissedLines(grab.coil, grab.first_line + shown, grab.lines - shown, cause))
        if fault is CameraFault.DROP:
            return None
        return replace(grab, image=image, fault=Cause.CORRUPT if image is None else None)

    def _spoilt(self, image: np.ndarray, fault: CameraFault) -> tuple[np.ndarray | None, int]:
        """The image with the fault, and how many of its leading lines are still good."""
        spoilt: np.ndarray | None = None
        shown = 0
        match fault:
            case CameraFault.TRUNCATE:
                shown = int(self._rng.integers(1, len(image))) if len(image) > 1 else 0
                spoilt = image[:shown]
            case CameraFault.BLACK:
                spoilt = np.zeros_like(image)
            case CameraFault.FROZEN:
                spoilt = self._shown
            case CameraFault.COLOUR:
                gray = image[..., 0] if image.ndim == 3 else image
                spoilt = np.stack([gray, 255 - gray, gray], axis=-1)
            case CameraFault.DEPTH:
                spoilt = image.astype(np.uint16) << 4
            case CameraFault.WRONG_SIZE:
                spoilt = image[:, : image.shape[1] // 2]
        return spoilt, shown


def _plan(spec: FaultSpec, total: int, rng: np.random.Generator) -> dict[int, CameraFault]:
    """Grab number -> fault: distinct, in [1, total - 2], no two in a row."""
    faults = [fault for fault in CameraFault for _ in range(spec.counts.get(fault, 0))]
    # k places without neighbours among n are k places among n - k + 1, spread by one each.
    if not faults:
        return {}
    spots = np.sort(rng.choice(total - 1 - len(faults), len(faults), replace=False))
    order = rng.permutation(len(faults))
    return {
        int(spot) + index + 1: faults[int(which)] for index, (spot, which) in enumerate(zip(spots, order, strict=True))
    }
