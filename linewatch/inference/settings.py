"""`[inference]`: which engines, on which backend, in which batches."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, GetPydanticSchema, model_validator
from pydantic_core import core_schema

from linewatch.contracts.manifest import CASCADE, Task
from linewatch.contracts.signer import Signer
from linewatch.inference.backends.registry import BACKENDS, BackendSettings

Ladder = Annotated[tuple[Annotated[int, Field(ge=1, le=256)], ...], Field(min_length=1, strict=False)]


def _one_of(names: Iterable[str]) -> GetPydanticSchema:
    """Return what makes an annotated `str` a Literal of these names, which a registry holds."""
    return GetPydanticSchema(lambda _source, _handler: core_schema.literal_schema([*names]))


BackendName = Annotated[str, _one_of(BACKENDS)]
StandInName = Annotated[str, _one_of(name for name, kind in BACKENDS.items() if kind.stands_in)]


class InferenceSettings(BackendSettings):
    """`[inference]`: the engines that look at the strip, and how they are run."""

    engines_dir: Annotated[Path, Field(strict=False)] = Path("engines")
    trusted_signers: Annotated[tuple[Signer, ...], Field(strict=False)] = Field(
        default=(),
        description="public keys of those who may sign engines, as `linewatch engine new-key` prints them: an engine "
        "that none of them signed, or that was changed since, is refused; none: engines need no signature",
    )
    chain: Literal["cascade", "inspect"] = Field(
        default="inspect",
        description="cascade: screen every frame, classify the tiles that pass, segment those near a class; inspect: "
        "one engine does all of it in one look at the frame",
    )
    screen: str = Field(default="screen", description="engine of the cascade")
    classify: str = Field(default="classify", description="engine of the cascade")
    segment: str = Field(default="segment", description="engine of the cascade")
    inspect: str = Field(default="inspect", description="engine of the chain inspect")
    backend: BackendName = "onnxruntime"
    precision: Literal["int8", "fp32"] = Field(
        default="int8",
        description="int8: an engine's INT8 sibling, where one was accepted and the backend runs it faster",
    )
    fallback: Annotated[tuple[StandInName, ...], Field(strict=False)] = Field(
        default=("onnxruntime",),
        description="live: backends that serve, in this order, while `backend` builds its engines or is lost",
    )
    workers: int = Field(
        default=0, ge=0, le=64, description="threads that run engines; 0: one per core that this process may use"
    )
    ladder: Ladder = (
        1,
    )  # on a CPU a row in a batch costs as much as alone (benchmarks/backends.py): waiting only adds delay
    batch_deadline_ms: float = Field(
        default=5.0, gt=0, le=1000, description="the longest wait of a batch's oldest tile"
    )
    tile_overlap_px: int = Field(
        default=16, ge=0, le=1024, description="neighbouring tiles share at least this; their size is the engine's"
    )
    screen_threshold: float | None = Field(
        default=None, ge=0, le=1, description="cascade: overrides the screen's manifest"
    )
    claim_share: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="cascade: a tile is segmented when a class scores at least this share of its threshold; 0: all "
        "that pass",
    )
    deadline_ms: float = Field(
        default=200.0,
        gt=0,
        le=60_000,
        description="live: from a frame's last line to its prediction; work that would finish later is shed",
    )

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the chain's engines, in order."""
        return CASCADE if self.chain == "cascade" else (Task.INSPECT,)

    @model_validator(mode="after")
    def _named_engines_look(self) -> Self:
        """A configuration from when the cascade was the only chain must not lose its engines or limits in silence."""
        of_cascade = (*(task.value for task in CASCADE), "screen_threshold", "claim_share")
        named = [key for key in of_cascade if self.chain != "cascade" and key in self.model_fields_set]
        if named and "chain" not in self.model_fields_set:
            raise ValueError(
                f"found {', '.join(named)}, which the default chain {self.chain} does not use, expected a chain; say "
                'chain = "cascade", or remove what is of no use to an inspect engine'
            )
        return self

    @model_validator(mode="after")
    def _ladder_ascends(self) -> Self:
        if list(self.ladder) != sorted(set(self.ladder)) or self.ladder[0] != 1:
            raise ValueError(f"ladder {list(self.ladder)} must start at 1 and ascend, for example [1, 2, 4, 8]")
        return self
