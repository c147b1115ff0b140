"""Renders a steel strip with known defects: any of its lines on request, always equal for one seed."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Self, get_args

import cv2
import numpy as np
from pydantic import Field, model_validator

from linewatch.config.base import Settings
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import StripBox
from linewatch.simulation.defects import DEFECTS, PSEUDO_DEFECTS, Stamp
from linewatch.simulation.measured import MeasuredLook
from linewatch.simulation.optics import OpticsSettings, seen_through
from linewatch.simulation.patches import RealPatch
from linewatch.simulation.steel import BLOCK_LINES, SteelLook
from linewatch.simulation.tread_plate import TreadPlateLook
from linewatch.simulation.truth import CoilTruth, TrueDefect, TrueRollMark

CLASSES: tuple[str, ...] = tuple(DEFECTS)
Texture = Literal["drawn", "measured", "tread_plate"]
TEXTURES: tuple[Texture, ...] = get_args(Texture)
PSEUDO_PER_M = 0.15
_STRETCH_LINES = 4096  # defects are laid out per stretch when needed, so that a long coil costs nothing in advance
_CLEARANCE_PX = 20  # between two defects; an inspector would count nearer ones as one
_TRIES = 40
_KEPT_BLOCKS = 4
_KEPT_STRETCHES = 3
_RIM_PX = 24


class SimulatedRollMark(Settings):
    """A damaged spot on a roll: one drawing, printed at each turn."""

    pitch_mm: float = Field(ge=50, le=50_000)
    across_mm: float = Field(description="centre, in mill coordinates")
    first_mm: float = Field(default=0.0, ge=0, description="position along the strip where it begins")
    last_mm: float | None = Field(default=None, gt=0, description="position where the roll is changed; default: never")
    jitter_mm: float = Field(default=2.0, ge=0, le=50, description="standard deviation of each mark's position along")
    missed: float = Field(default=0.0, ge=0, lt=1, description="share of turns that leave no mark")
    defect_class: Literal["torn_spot", "inclusion", "patches", "pitted_surface", "rolled_in_scale", "sliver"] = Field(
        default="torn_spot", description="the class whose drawing it prints"
    )

    @model_validator(mode="after")
    def _stays_in_step(self) -> Self:
        if 10 * self.jitter_mm > self.pitch_mm:
            raise ValueError(f"jitter_mm {self.jitter_mm:g} is above a tenth of pitch_mm {self.pitch_mm:g}; lower it")
        return self


@dataclass(frozen=True, slots=True)
class _Placed:
    defect_class: str
    genuine: bool  # False: a pseudo-defect
    line: int
    column: int
    stamp: Stamp
    roll_mark: int | None = None  # index of the roll mark that it belongs to


def look_of(texture: Texture, seed: int, width: int) -> SteelLook | MeasuredLook | TreadPlateLook:
    """Return what renders the clean strip of this texture."""
    if texture == "drawn":
        return SteelLook(seed, width)
    return MeasuredLook(seed, width) if texture == "measured" else TreadPlateLook(seed, width)


class SimulatedStrip:
    """A rendered strip. Its lines do not depend on how it is cut into frames, and are equal for equal arguments.

    texture: of the clean steel. "drawn" is the default, which tests and figures of before stand on; how near each comes
    to real strip is told in docs/experiments/normal.md.

    About `defects_per_m` defects of all drawn house classes and a few pseudo-defects (water, oil) lie on it, apart from
    each other and on steel; where there are `patches` of a class, every other defect of it is such a real patch. The
    marks of `roll_marks` lie where the roll prints them, apart from the other defects but not from each other.
    `truth()` lists them, `mask()` draws them. Raises ValueError for lines beyond the strip. Use it from one thread.
    """

    def __init__(
        self,
        seed: int,
        length_m: float,
        defects_per_m: float,
        line: LineSettings,
        patches: Sequence[RealPatch] = (),
        roll_marks: Sequence[SimulatedRollMark] = (),
        texture: Texture = "drawn",
        optics: OpticsSettings | None = None,
    ) -> None:
        """Raise ConfigError for a roll mark that does not lie on the steel."""
        self.seed = seed
        self.line = line
        self.width = line.width_px
        self.total_lines = max(1, round(length_m * 1000 / line.mm_per_line))
        self._per_line = defects_per_m * line.mm_per_line / 1000
        self._pseudo_per_line = PSEUDO_PER_M * line.mm_per_line / 1000
        self._patches = tuple(patches)
        self._steel = look_of(texture, seed, self.width)
        self._optics = optics
        rng = np.random.default_rng([seed, 2])
        margin = rng.uniform(0.015, 0.05, 2) * self.width
        self._sides = np.array([margin[0], self.width - margin[1]])
        self._waves = rng.uniform(0.5, 1.0, (2, 3)) * np.array([0.005, 0.0012, 0.0004]) * self.width
        self._periods = rng.uniform(0.8, 1.3, (2, 3)) * np.array([9000.0, 900.0, 110.0])
        self._phases = rng.uniform(0, 2 * np.pi, (2, 3))
        self._roll_marks = tuple(
            (mark, self._draw(mark.defect_class, np.random.default_rng([seed, 4, number])))
            for number, mark in enumerate(roll_marks)
        )
        for mark, stamp in self._roll_marks:
            self._check_on_steel(mark, stamp)
        self._blocks: OrderedDict[int, np.ndarray] = OrderedDict()
        self._stretches: OrderedDict[int, tuple[_Placed, ...]] = OrderedDict()

    def lines(self, first_line: int, count: int) -> np.ndarray:
        """Return gray levels, uint8 (count, width), in a new array."""
        self._check(first_line, count)
        out = np.empty((count, self.width), np.uint8)
        for index, inside, outside in _cuts(first_line, count, BLOCK_LINES):
            out[outside] = self._block(index)[inside]
        return out

    def mask(self, first_line: int, count: int) -> np.ndarray:
        """Return the truth per pixel, uint8 (count, width): 0 clean or pseudo-defect, else 1 + index into `CLASSES`."""
        self._check(first_line, count)
        out = np.zeros((count, self.width), np.uint8)
        for placed in self._placed_on(first_line, count):
            if placed.genuine:
                onto, of = _overlap(placed, first_line, count)
                out[onto][placed.stamp.mask[of] > 0] = 1 + CLASSES.index(placed.defect_class)
        return out

    def edges_px(self, first_line: int, count: int) -> np.ndarray:
        """Return the columns at which the steel begins and ends on each line: float64 (count, 2)."""
        along = np.arange(first_line, first_line + count)[:, None, None]
        wave = self._waves * np.sin(2 * np.pi * along / self._periods + self._phases)
        # The strip wanders as a whole; only the ragged part differs between its sides.
        wave[:, 1, 0] = wave[:, 0, 0]
        return self._sides + wave.sum(2)

    def truth(self, coil: str) -> CoilTruth:
        """Return everything that lies on the strip, in order along it. Draws every defect: milliseconds per metre."""
        genuine: list[TrueDefect] = []
        pseudo: list[TrueDefect] = []
        marks: list[list[int]] = [[] for _ in self._roll_marks]
        every = [p for stretch in range(-(-self.total_lines // _STRETCH_LINES)) for p in self._stretch(stretch)]
        for placed in sorted([*every, *self._prints_on(0, self.total_lines)], key=lambda p: (p.line, p.column)):
            if placed.roll_mark is not None:
                marks[placed.roll_mark].append(len(genuine))
            into = genuine if placed.genuine else pseudo
            into.append(self._described(placed, len(into)))
        return CoilTruth(
            coil=coil,
            seed=self.seed,
            lines=self.total_lines,
            length_mm=self.total_lines * self.line.mm_per_line,
            mm_per_px=self.line.mm_per_px,
            mm_per_line=self.line.mm_per_line,
            defects=tuple(genuine),
            pseudo_defects=tuple(pseudo),
            roll_marks=tuple(
                TrueRollMark(
                    id=number,
                    pitch_mm=mark.pitch_mm,
                    across_mm=mark.across_mm,
                    due=len(self._turns(mark, stamp, 0, self.total_lines)),
                    defect_ids=tuple(marks[number]),
                )
                for number, (mark, stamp) in enumerate(self._roll_marks)
            ),
        )

    def _check(self, first_line: int, count: int) -> None:
        if first_line < 0 or count < 0 or first_line + count > self.total_lines:
            raise ValueError(
                f"lines [{first_line}, {first_line + count}) are not on a strip of {self.total_lines} lines"
            )

    def _block(self, index: int) -> np.ndarray:
        if index in self._blocks:
            self._blocks.move_to_end(index)
            return self._blocks[index]
        first = index * BLOCK_LINES
        light = self._steel.block(index)
        for placed in self._placed_on(first, BLOCK_LINES):
            onto, of = _overlap(placed, first, BLOCK_LINES)
            light[onto] *= placed.stamp.gain[of]
            light[onto] += placed.stamp.light[of]
        self._darken_beyond_edges(light, self.edges_px(first, BLOCK_LINES))
        # One pass adds the noise, rounds and saturates.
        pixels = cv2.add(light, self._steel.noise(index), dtype=cv2.CV_8U)
        if self._optics is not None:
            share = self._optics.grown(first * self.line.mm_per_line / 1000)
            pixels = seen_through(np.asarray(pixels, np.uint8), self._optics, share, seed=index)
        self._blocks[index] = pixels
        if len(self._blocks) > _KEPT_BLOCKS:
            self._blocks.popitem(last=False)
        return pixels

    def _darken_beyond_edges(self, light: np.ndarray, edges: np.ndarray) -> None:
        for side, edge in enumerate(edges.T):
            low = max(0, int(edge.min()) - (_RIM_PX if side else 1))
            high = min(self.width, int(edge.max()) + (2 if side else _RIM_PX))
            column = np.arange(low, high, dtype=np.float32)[None]
            depth = (edge[:, None] - column if side else column - edge[:, None]).astype(np.float32)
            light[:, low:high] *= np.clip(depth, 0, 1) * (1 - 0.45 * np.exp(-np.maximum(depth, 0) / 5))
            if side:
                light[:, high:] = 0
            else:
                light[:, :low] = 0

    def _placed_on(self, first_line: int, count: int) -> Iterator[_Placed]:
        for stretch in range(first_line // _STRETCH_LINES, (first_line + count - 1) // _STRETCH_LINES + 1):
            for placed in self._stretch(stretch):
                if placed.line < first_line + count and placed.line + len(placed.stamp.mask) > first_line:
                    yield placed
        yield from self._prints_on(first_line, count)

    def _prints_on(self, first_line: int, count: int) -> Iterator[_Placed]:
        """Yield the roll marks that touch these lines; each turn has its own seed, so their order is free."""
        for number, (mark, stamp) in enumerate(self._roll_marks):
            lines, width = stamp.mask.shape
            column = round(self.line.across.column(mark.across_mm) - width / 2)
            for turn in self._turns(mark, stamp, first_line, count):
                rng = np.random.default_rng([self.seed, 5, number, turn])
                off_mm = float(np.clip(rng.standard_normal(), -4, 4)) * mark.jitter_mm
                line = round((mark.first_mm + turn * mark.pitch_mm + off_mm) / self.line.mm_per_line)
                line = min(max(line, 0), self.total_lines - lines)
                seen = rng.random() >= mark.missed
                if seen and line < first_line + count and line + lines > first_line:
                    yield _Placed(mark.defect_class, True, line, column, stamp, number)

    def _turns(self, mark: SimulatedRollMark, stamp: Stamp, first_line: int, count: int) -> range:
        """Return the turns whose marks may touch these lines; over the whole strip, those that lie on it."""
        lines, mm = len(stamp.mask), self.line.mm_per_line
        last_mm = min(self.total_lines - lines, first_line + count + 4 * mark.jitter_mm / mm) * mm
        if mark.last_mm is not None:
            last_mm = min(last_mm, mark.last_mm)
        first_mm = (first_line - lines) * mm - 4 * mark.jitter_mm
        first = max(0, int(np.ceil((first_mm - mark.first_mm) / mark.pitch_mm)))
        return range(first, max(first, int(np.floor((last_mm - mark.first_mm) / mark.pitch_mm)) + 1))

    def _check_on_steel(self, mark: SimulatedRollMark, stamp: Stamp) -> None:
        wander = self._waves.sum(1).max() + 4
        half_mm = stamp.mask.shape[1] / 2 * self.line.mm_per_px
        inner = self._sides + np.array([wander, -wander])
        low, high = (self.line.across.mm(side) for side in inner)
        if not low + half_mm <= mark.across_mm <= high - half_mm:
            raise ConfigError(
                f"a roll mark at across_mm = {mark.across_mm:g}, {2 * half_mm:.0f} mm wide, is not on this steel; "
                f"expected {low + half_mm:.0f} to {high - half_mm:.0f} mm; move it there"
            )

    def _stretch(self, index: int) -> tuple[_Placed, ...]:
        if index in self._stretches:
            self._stretches.move_to_end(index)
            return self._stretches[index]
        placed = self._lay_out(index)
        self._stretches[index] = placed
        if len(self._stretches) > _KEPT_STRETCHES:
            self._stretches.popitem(last=False)
        return placed

    def _lay_out(self, index: int) -> tuple[_Placed, ...]:
        rng = np.random.default_rng([self.seed, 3, index])
        first, last = index * _STRETCH_LINES, min((index + 1) * _STRETCH_LINES, self.total_lines)
        wander = self._waves.sum(1).max() + 4
        left, right = int(np.ceil(self._sides[0] + wander)), int(self._sides[1] - wander)
        names = [str(name) for name in rng.choice(CLASSES, _due(first, last, self._per_line))]
        names += [str(name) for name in rng.choice(list(PSEUDO_DEFECTS), _due(first, last, self._pseudo_per_line))]
        prints = list(self._prints_on(first, last - first))
        placed: list[_Placed] = []
        for name in names:
            stamp = self._draw(name, rng)
            lines, width = stamp.mask.shape
            for _ in range(_TRIES):
                if lines >= last - first or width >= right - left:
                    break
                line = int(rng.integers(first, last - lines))
                column = int(rng.integers(left, right - width))
                if name == "edge_mark":
                    column = left if rng.random() < 0.5 else right - width
                candidate = _Placed(name, name in DEFECTS, line, column, stamp)
                if not any(_near(candidate, other) for other in (*prints, *placed)):
                    placed.append(candidate)
                    break
        return tuple(sorted(placed, key=lambda item: (item.line, item.column)))

    def _draw(self, name: str, rng: np.random.Generator) -> Stamp:
        real = [patch.stamp for patch in self._patches if patch.defect_class == name]
        if real and rng.random() < 0.5:
            return real[int(rng.integers(len(real)))]
        return (DEFECTS[name] if name in DEFECTS else PSEUDO_DEFECTS[name])(rng)

    def _described(self, placed: _Placed, number: int) -> TrueDefect:
        mask = placed.stamp.mask
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        columns_mm, along = self.line.across, self.line.mm_per_line
        left, right = placed.column + int(columns[0]), placed.column + int(columns[-1]) + 1
        return TrueDefect(
            id=number,
            defect_class=placed.defect_class,
            box=StripBox(
                across_mm=(columns_mm.mm(left), columns_mm.mm(right)),
                along_mm=((placed.line + int(rows[0])) * along, (placed.line + int(rows[-1]) + 1) * along),
            ),
            area_mm2=float(np.count_nonzero(mask)) * columns_mm.mm_per_px_over(left, right) * along,
        )


def _cuts(first: int, count: int, size: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield the blocks of `size` that [first, first + count) touches: index, rows in the block, rows in the request."""
    at = first
    while at < first + count:
        index, offset = divmod(at, size)
        taken = min(size - offset, first + count - at)
        yield index, slice(offset, offset + taken), slice(at - first, at - first + taken)
        at += taken


def _overlap(placed: _Placed, first_line: int, count: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Return where the stamp lies on the lines, and which part of the stamp lies there."""
    lines, width = placed.stamp.mask.shape
    top, bottom = max(placed.line, first_line), min(placed.line + lines, first_line + count)
    return (
        (slice(top - first_line, bottom - first_line), slice(placed.column, placed.column + width)),
        (slice(top - placed.line, bottom - placed.line), slice(0, width)),
    )


def _near(one: _Placed, other: _Placed) -> bool:
    return all(
        a < b + size_b + _CLEARANCE_PX and b < a + size_a + _CLEARANCE_PX
        for a, size_a, b, size_b in (
            (one.line, one.stamp.mask.shape[0], other.line, other.stamp.mask.shape[0]),
            (one.column, one.stamp.mask.shape[1], other.column, other.stamp.mask.shape[1]),
        )
    )


def _due(first: int, last: int, per_line: float) -> int:
    """Return how many defects a stretch gets, so that the rounded numbers add up over the coil."""
    return int(np.floor(last * per_line + 0.5) - np.floor(first * per_line + 0.5))
