"""Checks that a model has the inputs and outputs that its manifest promises."""

from collections.abc import Sequence
from dataclasses import dataclass

from linewatch.contracts.errors import EngineError
from linewatch.contracts.manifest import EngineManifest, Task


@dataclass(frozen=True, slots=True)
class ModelPort:
    """An input or output as a runtime reports it. dims: None where the runtime does not know the extent."""

    name: str
    dtype: str
    dims: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} ({', '.join('n' if d is None else str(d) for d in self.dims)})"

    def admits(self, wanted: "ModelPort") -> bool:
        """Say whether name, type and rank are equal, the batch axis is free, and no extent contradicts `wanted`."""
        return (
            (self.name, self.dtype, len(self.dims)) == (wanted.name, wanted.dtype, len(wanted.dims))
            and self.dims[0] is None
            and all(d is None or d == w for d, w in zip(self.dims[1:], wanted.dims[1:], strict=True))
        )


def promised_input(manifest: EngineManifest) -> ModelPort:
    """Return the only input that an engine has."""
    return ModelPort(manifest.input.name, "uint8", (None, 1, manifest.input.lines, manifest.input.width))


def promised_output(manifest: EngineManifest) -> ModelPort:
    """Return the output that the engine's task requires."""
    lines, width = manifest.input.lines, manifest.input.width
    match manifest.task:
        case Task.SCREEN:
            cell_px = manifest.cell_px or 1  # the manifest's validation guarantees it for a screen
            return ModelPort(manifest.output, "float32", (None, lines // cell_px, width // cell_px))
        case Task.CLASSIFY:
            return ModelPort(manifest.output, "float32", (None, len(manifest.classes)))
        case Task.SEGMENT:
            return ModelPort(manifest.output, "uint8", (None, lines, width))
        case Task.INSPECT:
            cell_px = manifest.cell_px or 1
            planes = 2 + len(manifest.classes)
            return ModelPort(manifest.output, "float32", (None, planes, lines // cell_px, width // cell_px))


def check_fit(manifest: EngineManifest, inputs: Sequence[ModelPort], outputs: Sequence[ModelPort]) -> None:
    """Raise EngineError unless the model has exactly the promised input, and the promised output among its outputs."""
    wanted = promised_input(manifest)
    if len(inputs) != 1 or not inputs[0].admits(wanted):
        raise _misfit(manifest, "input", inputs, wanted)
    wanted = promised_output(manifest)
    if not any(output.admits(wanted) for output in outputs):
        raise _misfit(manifest, "output", outputs, wanted)


def unreadable(manifest: EngineManifest, why: Exception) -> EngineError:
    """Return the error for a model that a runtime cannot read or compile."""
    if "external data" in str(why).lower():
        return EngineError(
            f"engine {manifest.name}: {manifest.model.file} is not whole, its weights lie in another file; expected "
            "one file with a hash of all of it; make the engine by `linewatch engine import`"
        )
    first_line = str(why).strip().partition("\n")[0]
    return EngineError(
        f"engine {manifest.name}: the runtime cannot use {manifest.model.file} ({first_line}); "
        "expected an ONNX model; export it again or choose another inference.backend"
    )


def _misfit(manifest: EngineManifest, kind: str, found: Sequence[ModelPort], wanted: ModelPort) -> EngineError:
    return EngineError(
        f"engine {manifest.name}: {manifest.model.file} has {kind} {'; '.join(map(str, found)) or 'nothing'}, "
        f"its manifest promises {wanted}; export the model and its manifest together"
    )
