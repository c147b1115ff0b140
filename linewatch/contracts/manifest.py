"""The engine manifest, `engines/NAME/manifest.json`: what an engine's model file takes, returns and was trained on."""

import math
from codecs import BOM_UTF8
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from linewatch.contracts.closed import ClosedModel, without_outdated
from linewatch.contracts.evidence import evidence_names
from linewatch.contracts.probability import ProbabilityModel

MANIFEST = "manifest.json"
ENGINE_NAME = r"^[a-z0-9][a-z0-9_-]*$"
Precision = Literal["fp32", "fp16", "int8"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Task(StrEnum):
    """What an engine does, which determines its inputs and outputs (n = batch rows).

    Every engine takes `image`: uint8 (n, 1, lines, width); normalisation happens inside the graph.
    screen: `score` float32 (n, lines / cell_px, width / cell_px), probability that a cell contains a defect.
    classify: `scores` float32 (n, len(classes)), independent probabilities (multi-label).
    segment: `probability` uint8 (n, lines, width), probability of a defect of any class x 255.
    inspect: `maps` float32 (n, 2 + len(classes), lines / cell_px, width / cell_px), all of it in one pass. Plane 0: the
    screen's probability that there is a defect about the cell. Plane 1: the probability that the cell belongs to a
    defect of any class. The others: the share of each class in that, which add up to 1.
    """

    SCREEN = "screen"
    CLASSIFY = "classify"
    SEGMENT = "segment"
    INSPECT = "inspect"


CASCADE = (Task.SCREEN, Task.CLASSIFY, Task.SEGMENT)
"""The tasks of the cascade, in their order."""
OUTPUT_OF = {Task.SCREEN: "score", Task.CLASSIFY: "scores", Task.SEGMENT: "probability", Task.INSPECT: "maps"}
"""The name of each task's output in the engines that linewatch makes."""
DEFECT_LEVELS = (1.0, 0.5, 0.25)
"""Shares of an inspect engine's threshold `defect` at which defects are looked for in its maps, the highest first."""


class ModelFile(ClosedModel):
    file: str = "model.onnx"
    sha256: Sha256


class ReferenceFile(ClosedModel):
    """Reference tiles, and the answers that the engine gave to them when it was made (`inference.reference_tiles`).

    tolerance: by the precision in which the engine runs, how far an answer may lie from the one in the file, of a scale
    of 1: the largest difference of a score for classify, the mean difference over a tile for screen and segment.
    """

    file: str = "reference.npz"
    sha256: Sha256
    tolerance: dict[Precision, Annotated[float, Field(gt=0, le=1)]]


class InputSpec(ClosedModel):
    name: str = "image"
    lines: int = Field(gt=0)
    width: int = Field(gt=0)
    nominal_mm_per_px: float = Field(gt=0, description="scale of the training data, as far as known")


class TrainingSource(ClosedModel):
    name: str
    part: str = Field(description="the part that was used, e.g. 'folds 0-3'")
    count: int = Field(ge=0)


class TrainingRecord(ClosedModel):
    recipe: str
    encoder: str
    seed: int
    data: tuple[TrainingSource, ...]
    split: str = Field(description="file that records the split")


class Acceptance(ClosedModel):
    """One figure of an INT8 engine and of its FP32 source, on the same held-out images."""

    data: str
    figure: str = Field(description="recall_at_10pct, top1 or dice")
    backend: str
    count: int = Field(ge=0, description="number of windows or images evaluated")
    fp32: float
    int8: float
    drop_high: float = Field(description="upper end of the 95 % interval of the drop, paired bootstrap")
    bound: float = Field(gt=0, description="upper limit of drop_high")


class Quantisation(ClosedModel):
    """How an INT8 engine was made from an FP32 engine."""

    source: str = Field(description="name of the FP32 engine")
    source_sha256: Sha256
    activations: Literal["int8", "uint8"] = Field(description="int8: for every backend; uint8: for CPUs only")
    left_fp32: tuple[str, ...] = Field(description="weighted nodes that remain FP32")
    calibration: str = Field(description="file with the calibration tiles and the scales")
    acceptance: tuple[Acceptance, ...]


class Lineage(ClosedModel):
    """The engine that a learned one was before: the same network, with another second stage."""

    engine: str = Field(description="its name")
    version: str
    second_stage: str = Field(description="version of its `probability`; empty: it had none")
    labels: int = Field(ge=0, description="how many of a mill's labels were learned from")
    learned_at: str = Field(description="time, UTC, as ISO 8601")


class EngineManifest(ClosedModel):
    """The description of one engine. The loader refuses a model that does not match it."""

    schema_version: Literal[1] = 1
    name: str = Field(pattern=ENGINE_NAME)
    version: str
    task: Task
    model: ModelFile
    input: InputSpec
    output: str = Field(description="name of the graph's output: score, scores or probability")
    cell_px: int | None = Field(
        default=None, gt=0, description="screen and inspect: side of a score cell in frame pixels"
    )
    classes: tuple[str, ...] = Field(
        default=(),
        description="classify and inspect: house classes in output order; segment: classes whose masks it was trained "
        "on",
    )
    thresholds: dict[str, Annotated[float, Field(ge=0, le=1)]] = Field(
        description="screen: {'pass': t}; classify: one per class; segment and inspect: {'defect': t}"
    )
    probability: ProbabilityModel | None = Field(
        default=None,
        description="classify and inspect: tells from an instance's evidence how probably it is a true defect",
    )
    scores_sum_to_one: bool = Field(
        default=False, description="classify: the scores of a tile sum to 1 (softmax); false: they are independent"
    )
    precision: Precision
    normalisation: str = Field(description="what the graph does to a gray level, as text")
    training: TrainingRecord
    metrics: dict[str, float]
    terms: str
    quantisation: Quantisation | None = Field(default=None, description="for INT8 engines")
    learned_from: Lineage | None = Field(default=None, description="for engines that `linewatch learn` made")
    reference: ReferenceFile | None = Field(
        default=None, description="answers to compare with: by them a changed or wrongly exported model is noticed"
    )

    @model_validator(mode="before")
    @classmethod
    def _without_call_limits(cls, tree: Any) -> Any:
        """Ignore what manifests of before 2026-12 hold."""
        name = tree.get("name") if isinstance(tree, dict) else None
        return without_outdated(
            tree,
            "call_limits",
            f"call_limits in the manifest of engine {name} are ignored: a defect is called by its probability; remove "
            "them, and fit a probability model for the engine",
        )

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read the bytes of a manifest's file, with or without a byte order mark. Raises ValidationError."""
        return cls.model_validate_json(data.removeprefix(BOM_UTF8))

    def text(self) -> str:
        """Return the text of the manifest's file."""
        return self.model_dump_json(indent=2, exclude_none=True) + "\n"

    def claims(self) -> np.ndarray:
        """Return float32 (len(classes),): the score from which a classifier claims each class."""
        return np.array([self.thresholds[name] for name in self.classes], np.float32)

    @model_validator(mode="after")
    def _fits_task(self) -> Self:
        wanted = {
            Task.SCREEN: {"pass"},
            Task.CLASSIFY: set(self.classes),
            Task.SEGMENT: {"defect"},
            Task.INSPECT: {"defect"},
        }[self.task]
        if set(self.thresholds) != wanted:
            raise ValueError(f"thresholds are {sorted(self.thresholds)}, a {self.task} engine needs {sorted(wanted)}")
        if self.task in {Task.CLASSIFY, Task.INSPECT} and not self.classes:
            raise ValueError(f"{self.task} engines need their classes")
        if self.probability is not None and self.task not in {Task.CLASSIFY, Task.INSPECT}:
            raise ValueError(f"probability is for classify and inspect engines, this is a {self.task} engine")
        unknown = sorted(set(self.probability.evidence if self.probability else ()) - set(evidence_names(self.classes)))
        if unknown:
            raise ValueError(
                f"its probability model weighs {', '.join(unknown)}, which is no evidence that this linewatch gathers; "
                "fit the model again with this version"
            )
        if self.scores_sum_to_one and self.task is not Task.CLASSIFY:
            raise ValueError(f"scores_sum_to_one is for classify engines, this is a {self.task} engine")
        if self.task in {Task.SCREEN, Task.INSPECT}:
            if self.cell_px is None:
                raise ValueError(f"{self.task} engines need cell_px")
            if self.input.lines % self.cell_px or self.input.width % self.cell_px:
                raise ValueError(f"cell_px {self.cell_px} does not divide {self.input.lines} x {self.input.width}")
        return self


def byte_threshold(probability: float) -> int:
    """Return the smallest byte, 1..255, of a mask (probability x 255) that stands for at least this probability."""
    return min(max(math.ceil(round(probability * 255, 6)), 1), 255)
