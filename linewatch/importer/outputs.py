"""How the output of a network becomes the answer of a task: what it means is read from its shape and its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, ValueInfoProto, helper

from linewatch.contracts.errors import ConfigError, EngineError
from linewatch.contracts.manifest import OUTPUT_OF, Task
from linewatch.datasets.class_names import is_clean
from linewatch.importer.graph import RAW, Builder
from linewatch.importer.network import DETECTOR_REMEDY, Layout, dims_text
from linewatch.inference.answers import SLACK

_MOST_CELL_PX = 256
_LIKE_A_DETECTOR = f"it looks like the boxes of an object detector; {DETECTOR_REMEDY}"


class Activation(StrEnum):
    """What makes probabilities of a network's output. none: it gives probabilities itself."""

    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of a network's channels. background: the channel that stands for "no defect", if there is one."""

    defects: tuple[str, ...]
    background: int | None

    @property
    def channels(self) -> int:
        """Number of channels, one for each class and one for the background."""
        return len(self.defects) + (self.background is not None)

    @property
    def defect_channels(self) -> list[int]:
        """The channels of the defects, in the order of the classes."""
        return [one for one in range(self.channels) if one != self.background]


@dataclass(frozen=True, slots=True)
class Answer:
    """The tail that gives a task's answer, and what it does, for the card and the person who imports.

    sums_to_one: of a classifier, the scores of a tile sum to 1.
    """

    tail: Builder
    value: str
    output: ValueInfoProto
    activation: Activation
    notes: tuple[str, ...]
    sums_to_one: bool = False
    cell_px: int | None = None


def classes_of(names: Sequence[str], background: int | None, task: Task) -> Classes:
    """Return the classes without the background, which is one of the names or the channel `background`.

    Raises ConfigError for names that cannot be used.
    """
    cleaned = [name.strip() for name in names]
    if any(not name or not name.isprintable() for name in cleaned):
        raise ConfigError(f"--classes {','.join(names)}: has an empty name, or one that cannot be printed; correct it")
    folded = [name.casefold() for name in cleaned]
    if twice := sorted({name for name, fold in zip(cleaned, folded, strict=True) if folded.count(fold) > 1}):
        raise ConfigError(f"--classes: {' and '.join(twice)} stands there twice; give each output its own name")
    named = [at for at, name in enumerate(cleaned) if is_clean(name)]
    if len(named) > 1:
        raise ConfigError(
            f"--classes: {' and '.join(cleaned[at] for at in named)} stand for clean steel, expected one at most; call "
            "the others what they show"
        )
    if named and background not in (None, named[0]):
        raise ConfigError(
            f"--background {background}: --classes has {cleaned[named[0]]} at place {named[0]}; leave one of them out"
        )
    defects = tuple(name for at, name in enumerate(cleaned) if at not in named)
    background = named[0] if named else background
    if not defects and task is not Task.SCREEN:
        raise ConfigError(
            "--classes: expected the names of the network's classes in the order of its output, for example "
            "--classes scratch,sliver"
        )
    classes = Classes(defects, background)
    if background is not None and not 0 <= background < max(classes.channels, 2):
        raise ConfigError(f"--background {background}: expected a channel from 0 to {classes.channels - 1}")
    return classes


class OutputReader:
    """Makes the answer of a task from an output.

    name: of the network's file, for errors. raw: the output for the reference tiles, float32 (tiles, ...). ends_in: the
    activation with which the network itself ends, as an operator. layout: where the network has its channels. size,
    picture: lines and width of a tile, and of the picture that the network takes.
    """

    def __init__(
        self,
        name: str,
        raw: NDArray[np.float32],
        classes: Classes,
        activation: Activation | None,
        ends_in: str | None,
        layout: Layout,
        size: tuple[int, int],
        picture: tuple[int, int],
    ) -> None:
        self._name, self._raw, self._classes, self._asked = name, raw, classes, activation
        self._ends_in, self._layout, self._size = ends_in, layout, size
        self._picture = picture
        self._tail = Builder()
        self._notes: list[str] = []

    def classify(self) -> Answer:
        """Return the answer of a classifier: `scores` float32 (n, classes)."""
        row, channels = self._raw.shape[1:], self._classes.channels
        flat = [extent for extent in row if extent != 1]
        if len(flat) > 1:
            raise self._misfit(
                f"a score for each of {channels} classes: (n, {channels})",
                _LIKE_A_DETECTOR if len(flat) == 2 else "a segmenter is imported with --task segment",
            )
        found = int(np.prod(row, dtype=np.int64))
        if found != channels:
            raise self._miscount(found)
        raw = self._raw.reshape(len(self._raw), found)
        value = self._tail.reshape(RAW, found)
        activation = self._activation(raw)
        value, values = self._activated(value, raw, activation)
        exclusive = found > 1 and _sums_to_one(values)
        if self._classes.background is not None:
            value = self._tail.op("Gather", value, self._tail.constant(self._classes.defect_channels, np.int64), axis=1)
            values = values[:, self._classes.defect_channels]
            self._notes.append(f"channel {self._classes.background} is the background and is left out")
        elif exclusive:
            self._notes.append(
                "the scores of a tile sum to 1 and no class is the background: each tile that the screen passes is of "
                "some class; see that one class stands for clean steel (name it background), or lean on thresholds"
            )
        output = helper.make_tensor_value_info(
            OUTPUT_OF[Task.CLASSIFY], TensorProto.FLOAT, ["n", len(self._classes.defects)]
        )
        return Answer(
            self._tail, value, output, activation, tuple(self._notes), exclusive and self._classes.background is None
        )

    def segment(self) -> Answer:
        """Return the answer of a segmenter: `probability` uint8 (n, lines, width), resized to the tile."""
        value, _, (lines, width), activation = self._any_defect()
        if not np.isclose(lines * self._picture[1], width * self._picture[0], rtol=0.02):
            raise self._misfit(f"a map in the proportions of its picture of {_by(self._picture)}", _LIKE_A_DETECTOR)
        if (lines, width) != self._size:
            value = self._tail.resized(value, (lines, width), self._size)
            self._notes.append(f"its map of {lines} x {width} is resized to the tile's {_by(self._size)}")
        value = self._tail.op("Mul", self._tail.unit(value), self._tail.constant(255.0))
        output = helper.make_tensor_value_info(OUTPUT_OF[Task.SEGMENT], TensorProto.UINT8, ["n", *self._size])
        return Answer(self._tail, self._tail.rounded_bytes(value), output, activation, tuple(self._notes))

    def screen(self, cell_px: int | None) -> Answer:
        """Return the answer of a screen: `score` float32 (n, cells along, cells across), of cells of `cell_px` pixels.

        cell_px: None for the cells that the network gives.
        """
        value, _, (lines, width), activation = self._any_defect()
        own, odd = divmod(self._size[0], lines)
        if odd or own * width != self._size[1] or own > _MOST_CELL_PX:
            raise self._misfit(
                f"a score for each square cell of a frame of {_by(self._size)}, for example "
                f"(n, {self._size[0] // 32}, {self._size[1] // 32}) for cells of 32 px",
                "give the frame's --lines and --width as the network was made for",
            )
        wanted = own if cell_px is None else cell_px
        if wanted != own:
            if wanted % own or self._size[0] % wanted or self._size[1] % wanted:
                raise ConfigError(
                    f"--cell-px {wanted}: the network's cells are of {own} px, expected a multiple of that, which "
                    f"divides {_by(self._size)}"
                )
            side = wanted // own
            value = self._tail.reshape(value, 1, lines, width)
            value = self._tail.op("MaxPool", value, kernel_shape=[side, side], strides=[side, side])
            value = self._tail.reshape(value, lines // side, width // side)
            self._notes.append(f"the highest of {side} x {side} of its cells of {own} px is the score of a cell")
        output = helper.make_tensor_value_info(
            OUTPUT_OF[Task.SCREEN], TensorProto.FLOAT, ["n", self._size[0] // wanted, self._size[1] // wanted]
        )
        return Answer(self._tail, value, output, activation, tuple(self._notes), cell_px=wanted)

    def _any_defect(self) -> tuple[str, NDArray, tuple[int, int], Activation]:
        """Return the probability of a defect of any class (n, lines, width): its value, sample values and extents."""
        channels, row = self._classes.channels, self._raw.shape[1:]
        if len(row) == 2:
            row = (1, *row)
            raw, value = self._raw[:, None], self._tail.reshape(RAW, *row)
        else:
            raw, value = self._raw, RAW
        if len(row) != 3:
            raise self._misfit("a map: (n, channels, lines, width)", "a classifier is imported with --task classify")
        possible = {1, channels} if self._classes.defects else {1, channels + 1, 2}
        orders = [1, 3] if self._layout is Layout.NCHW else [3, 1]
        axis = next((one for one in orders if raw.shape[one] in possible), None)
        if axis is None:
            raise self._miscount(raw.shape[orders[0]])
        found = raw.shape[axis]
        if axis == 1:  # channels last, where softmax means the same in every opset
            raw, value = np.moveaxis(raw, 1, 3), self._tail.op("Transpose", value, perm=[0, 2, 3, 1])
        lines, width = raw.shape[1:3]
        if found == 1:
            if self._classes.background is not None:
                in_proportion = lines * self._size[1] == width * self._size[0]
                raise self._misfit(
                    f"{channels} channels, one of them the background",
                    "leave the background out" if in_proportion else _LIKE_A_DETECTOR,
                )
            if self._asked is Activation.SOFTMAX:
                raise ConfigError("--activation softmax: over one channel it is always 1; give --activation sigmoid")
        activation = self._activation(raw)
        value, values = self._activated(value, raw, activation)
        if found == 1:
            return self._tail.reshape(value, lines, width), values[..., 0], (lines, width), activation
        exclusive = _sums_to_one(values)
        background = self._classes.background
        if exclusive and background is None:
            raise EngineError(
                f"{self._name}: the {found} channels of a pixel sum to 1, so one of them stands for clean steel; say "
                "which by --background N, counted from 0, or by the name background in --classes"
            )
        if exclusive:
            clean = self._channel(value, background or 0, lines, width)
            value = self._tail.op("Sub", self._tail.constant(1.0), clean)
            self._notes.append(f"the probability of a defect is 1 less that of channel {background}, the background")
            return value, 1 - values[..., background or 0], (lines, width), activation
        defects = [one for one in range(found) if one != background]
        parts = [self._channel(value, one, lines, width) for one in defects]
        self._notes.append("the probability of a defect is the highest of its classes")
        value = self._tail.op("Max", *parts) if len(parts) > 1 else parts[0]
        return value, values[..., defects].max(-1), (lines, width), activation

    def _channel(self, value: str, channel: int, lines: int, width: int) -> str:
        """Return one channel (n, lines, width) of a map (n, lines, width, channels)."""
        taken = self._tail.op("Gather", value, self._tail.constant([channel], np.int64), axis=3)
        return self._tail.reshape(taken, lines, width)

    def _activation(self, raw: NDArray) -> Activation:
        """Return the activation that was asked for, or `none` where the values are probabilities already."""
        low, high = float(raw.min()), float(raw.max())
        inside = low >= -SLACK and high <= 1 + SLACK
        values = f"from {low:.3g} to {high:.3g}"
        if self._asked in (None, Activation.NONE) and not inside:
            if low >= 0 and high <= 100 + SLACK and self._asked is None:
                hint = "looks like percent or logits: divide by 100 in the network, or give --activation"
            else:
                hint = "looks like logits: give --activation"
            raise EngineError(
                f"{self._name}: on reference tiles its output is {values}, expected probabilities from 0 to 1; {hint} "
                "sigmoid (each class by itself) or --activation softmax (one class of all)"
            )
        if self._asked is None:
            self._notes.append(f"its output on reference tiles is {values}: taken as probabilities")
            return Activation.NONE
        if self._asked is Activation.SOFTMAX and raw.shape[-1] == 1:
            raise ConfigError("--activation softmax: over one class it is always 1; give --activation sigmoid")
        if self._asked is not Activation.NONE and raw.shape[-1] > 1:
            if low >= -SLACK and np.allclose(raw.sum(-1), 100.0, atol=1.0):
                raise EngineError(
                    f"{self._name}: gives percentages ({values}, 100 in all), expected logits with --activation "
                    f"{self._asked}; divide by 100 in the network, and leave the activation out"
                )
            if self._asked is Activation.SIGMOID and high <= SLACK and _sums_to_one(np.exp(raw)):
                raise EngineError(
                    f"{self._name}: gives logarithms of probabilities (it ends in LogSoftmax), expected logits with "
                    "--activation sigmoid; give --activation softmax"
                )
        softmax_inside = raw.shape[-1] > 1 and _sums_to_one(raw)
        if self._asked is not Activation.NONE and inside and (self._ends_in or softmax_inside):
            raise EngineError(
                f"{self._name}: gives probabilities already (it ends in {self._ends_in or 'softmax'}), a second "
                f"activation would flatten them; leave --activation {self._asked} out"
            )
        return self._asked

    def _activated(self, value: str, raw: NDArray, activation: Activation) -> tuple[str, NDArray]:
        """Return the probabilities, whose channels stand last, and their values on the reference tiles."""
        match activation:
            case Activation.SIGMOID:
                return self._tail.op("Sigmoid", value), 0.5 + 0.5 * np.tanh(raw.astype(np.float64) / 2)
            case Activation.SOFTMAX:
                powers = np.exp(raw.astype(np.float64) - raw.max(-1, keepdims=True))
                value = self._tail.op("Softmax", value, axis=raw.ndim - 1)
                return value, powers / powers.sum(-1, keepdims=True)
            case Activation.NONE:
                return value, raw

    def _miscount(self, found: int) -> EngineError:
        if not self._classes.defects:  # a screen, whose classes need no names
            return self._misfit(
                "1, or one for each class",
                "name the classes by --classes, with background among them if one stands for clean steel",
                f"{found} channels",
            )
        names = ", ".join(self._classes.defects)
        beside = " and a background" if self._classes.background is not None else ""
        spare = found == self._classes.channels + 1 and self._classes.background is None
        remedy = (
            "if one of them stands for clean steel, say which by --background N, counted from 0"
            if spare
            else "name each class once, in the order of the training"
        )
        return self._misfit(f"{self._classes.channels} ({names}{beside})", remedy, f"{found} classes")

    def _misfit(self, expected: str, remedy: str, found: str | None = None) -> EngineError:
        given = f"({dims_text((None, *self._raw.shape[1:]))})"
        return EngineError(
            f"{self._name}: its output {given} has {found}, expected {expected}; {remedy}"
            if found
            else f"{self._name}: its output is {given}, expected {expected}; {remedy}"
        )


def _sums_to_one(values: NDArray) -> bool:
    """Say whether the last axis sums to 1, as after softmax."""
    return bool(values.min() >= -SLACK and np.allclose(values.sum(-1), 1.0, atol=1e-2))


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
