"""Make torchvision, and with it timm and segmentation-models-pytorch, importable beside a CPU-only torch.

The compiled part of the published wheel is linked to CUDA. Without it the operators `nms` and `qnms` are not declared,
and the import fails where torchvision describes them to torch's compiler. Their schemas are declared here, but only if
they are missing; the operators themselves stay unusable, and linewatch does not use them. An ordinary installation is
not touched. Lightning imports torchvision if it is installed, so `declare` must run first.
"""

from __future__ import annotations

import importlib.util
from typing import Any

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[Any] = []  # the schemas live as long as their library


def declare() -> None:
    """Declare the missing operators, once; do nothing if torchvision is not installed."""
    if _declared or importlib.util.find_spec("torchvision") is None:
        return
    import torch

    _load_compiled_part()
    missing = [schema for name, schema in _SCHEMAS.items() if not hasattr(torch.ops.torchvision, name)]
    if missing:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for schema in missing:
            library.define(schema)
        _declared.append(library)


def _load_compiled_part() -> None:
    """Load torchvision's compiled part as torchvision itself does; ignore one that cannot be loaded."""
    import torch

    spec = importlib.util.find_spec("torchvision")
    assert spec is not None
    for folder in spec.submodule_search_locations or ():
        found = importlib.machinery.PathFinder.find_spec("_C", [folder])
        if found is not None and found.origin is not None:
            try:
                torch.ops.load_library(found.origin)
            except OSError:
                return
