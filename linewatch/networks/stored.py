"""Reading of what PyTorch has written to a file, as data only: no code in it is run.

A file of PyTorch is a pickle, and a pickle can name code to be run. Every such file is read here.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from linewatch.networks.mobilenet import WeightsMismatch


def read_stored(file: Path, device: str | torch.device = "cpu") -> Any:
    """Return the tensors and plain values in a file. Raises `WeightsMismatch` if it holds anything else, or nothing."""
    try:
        return torch.load(file, weights_only=True, map_location=device)
    except UnpicklingError as error:
        raise WeightsMismatch(
            f"{file}: is refused, since it is damaged or holds more than tensors and plain values, which might be code "
            "to run; name a file of whose origin you are sure, or delete it to begin anew"
        ) from error
    except (OSError, LookupError, TypeError, AttributeError, RuntimeError, ValueError, EOFError, ImportError) as error:
        text = " ".join(str(error).split())
        raise WeightsMismatch(f"{file}: cannot be read ({type(error).__name__}: {text:.200})") from error
