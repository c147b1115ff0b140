"""The model card of an imported engine."""

from __future__ import annotations

from collections.abc import Sequence

from linewatch.contracts.manifest import EngineManifest, Task
from linewatch.importer.network_file import NetworkFile

_GIVES = {
    Task.SCREEN: "a probability for each cell of a frame that it holds a defect",
    Task.CLASSIFY: "a probability for each class of a tile",
    Task.SEGMENT: "a probability for each pixel of a tile that it is part of a defect, times 255",
}


def card_text(manifest: EngineManifest, network: NetworkFile, facts: Sequence[str], notes: Sequence[str]) -> str:
    """Return the card, Markdown. facts: what was put around the network. notes: what its owner should know."""
    files = "\n".join(f"- `{name}`: sha256 {digest}" for name, digest in network.hashes.items())
    made = "\n".join(f"- {one}" for one in facts)
    told = "\n".join(f"- {one}" for one in notes)
    thresholds = ", ".join(f"{name} {value:.2f}" for name, value in manifest.thresholds.items())
    return f"""# Engine `{manifest.name}`

Imported by `linewatch engine import`. Task {manifest.task}: {_GIVES[manifest.task]}.
Input `{manifest.input.name}` uint8 (n, 1, {manifest.input.lines}, {manifest.input.width}), output `{manifest.output}`.

## The network
Exported by {network.producer}, opset {network.opset}.

{files}

## What the import put around it
{made}

## Notes
{told}

## Figures
None: it has not been judged on held-out pictures. `linewatch evaluate {manifest.name} --data NAME=DIR` does that.

Thresholds as imported, not calibrated: {thresholds}. `linewatch fit-thresholds {manifest.name} --data NAME=DIR` chooses
them on labelled pictures.

## Terms
{manifest.terms}
"""
