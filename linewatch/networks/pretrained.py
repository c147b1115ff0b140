"""Loading of pretrained weights into a trunk, from the library's hub or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from linewatch.networks.mobilenet import WeightsMismatch
from linewatch.networks.stored import read_stored

Source = str | Path | None
"""None: random weights; "imagenet": the library's hub; a file: a state of the architecture, or of linewatch's trunk."""


def state_of(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors, .pth, .pt or .ckpt file; of a linewatch checkpoint, those of its trunk.

    Only tensors are unpickled. `WeightsMismatch` if the file is missing or holds anything else.
    """
    if not file.is_file():
        raise WeightsMismatch(
            f"{file}: no such weights file; --weights takes 'imagenet', or a .pth or .safetensors file"
        )
    try:
        stored = load_file(file) if file.suffix == ".safetensors" else read_stored(file)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise WeightsMismatch(f"{file}: holds no weights that can be read ({type(error).__name__}: {error})") from error
    state: Any = stored.get("state", stored.get("state_dict", stored)) if isinstance(stored, dict) else {}
    of_trunk = {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}
    state = of_trunk or state
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsMismatch(f"{file}: holds no state of a network; expected names and tensors")
    return state


def load_trunk(trunk: nn.Module, file: Path, renamed: Mapping[str, str] | None = None) -> None:
    """Load every tensor of `trunk` from `file`; other tensors in the file (a classifier) are ignored.

    renamed: prefixes of the trunk's names, and the prefixes in a whole network's file. `WeightsMismatch` names the file
    and the first tensor that is missing or of another shape.
    """
    state, mine = state_of(file), trunk.state_dict()
    if not set(mine) & set(state):
        for ours, theirs in (renamed or {}).items():
            state |= {ours + n.removeprefix(theirs): v for n, v in list(state.items()) if n.startswith(theirs)}
    for name, value in mine.items():
        found = state.get(name)
        if found is None and name.endswith("num_batches_tracked"):
            state[name] = value
        elif found is None or found.shape != value.shape:
            shape = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise WeightsMismatch(
                f"{file}: {name} is {shape}, expected {tuple(value.shape)}; use a file of the same architecture"
            )
    trunk.load_state_dict({name: state[name] for name in mine})


def hub_unreachable(what: str, error: Exception) -> WeightsMismatch:
    """Return the error for weights whose hub cannot be reached."""
    return WeightsMismatch(
        f"the weights of {what} are not on this machine and their hub does not answer ({type(error).__name__}); "
        "fetch the file elsewhere and name it: --weights FILE"
    )


HUB_ERRORS = (URLError, OSError, TimeoutError)
