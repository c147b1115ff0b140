"""Where a trunk's weights come from: nowhere, the library's hub, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from linewatch.networks.mobilenet import WeightsMismatch

Source = str | Path | None
"""None: random weights; "imagenet": the library's hub; a file: a state of the architecture, or of a trunk of ours."""


def state_of(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors, .pth, .pt or .ckpt file; of a checkpoint of ours, its trunk's. Nothing is
    unpickled but tensors. `WeightsMismatch` if there is none, or it holds something else.
    """
    if not file.is_file():
        raise WeightsMismatch(
            f"{file}: no such weights file; --weights takes 'imagenet', or a .pth or .safetensors file"
        )
    try:
        stored = (
            load_file(file)
            if file.suffix == ".safetensors"
            else torch.load(file, weights_only=True, map_location="cpu")
        )
    except (OSError, RuntimeError, ValueError, EOFError, SafetensorError, ModuleNotFoundError) as error:
        raise WeightsMismatch(f"{file}: holds no weights that can be read ({type(error).__name__}: {error})") from error
    except Exception as error:  # torch's unpickler refuses with errors of its own kinds
        raise WeightsMismatch(
            f"{file}: is refused, since it holds more than tensors ({type(error).__name__})"
        ) from error
    state: Any = stored.get("state", stored.get("state_dict", stored)) if isinstance(stored, dict) else {}
    of_trunk = {name.removeprefix("trunk."): value for name, value in state.items() if name.startswith("trunk.")}
    state = of_trunk or state
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsMismatch(f"{file}: holds no state of a network; expected names and tensors")
    return state


def load_trunk(trunk: nn.Module, file: Path, renamed: Mapping[str, str] | None = None) -> None:
    """Loads every tensor of `trunk` from `file`; what the file has beyond that (another classifier) is left.

    renamed: prefixes of the trunk's names and what a whole network's file has instead. `WeightsMismatch` names the file
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
            told = "missing" if found is None else f"of shape {tuple(found.shape)}"
            raise WeightsMismatch(
                f"{file}: {name} is {told}, expected {tuple(value.shape)}; use a file of the same architecture"
            )
    trunk.load_state_dict({name: state[name] for name in mine})


def hub_unreachable(what: str, error: Exception) -> WeightsMismatch:
    """What is said where the library's hub can't be reached."""
    return WeightsMismatch(
        f"the weights of {what} are not on this machine and their hub does not answer ({type(error).__name__}); "
        "fetch the file elsewhere and name it: --weights FILE"
    )


HUB_ERRORS = (URLError, OSError, TimeoutError)
