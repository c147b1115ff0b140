"""Makes torchvision, and with it timm and segmentation-models-pytorch, importable beside a CPU-only torch.

The published wheel's compiled part is linked to CUDA. Without it the operators `nms` and `qnms` are not declared, and
the import fails where torchvision describes them to torch's compiler. Their schemas are declared here, only where they
are really missing; the operators themselves stay unusable, and nothing of ours uses them. An ordinary install is left
as it is. `torchmetrics` and `lightning` import torchvision where it is installed, so `declare` runs before they do.
"""

from __future__ import annotations

import importlib.util
from typing import Any

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_declared: list[Any] = []  # a library's schemas live as long as it does


def declare() -> None:
    """Declares what is missing, once; does nothing where torchvision is not installed."""
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
    """As torchvision does itself; a part that cannot be loaded is what the schemas are for."""
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
