"""Keep what would have to be trained again: ``python -m experiments.eye.keep --out runs/eye``, after `report`, writes
`experiments/eye/weights/` (its README says what is in it).
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from experiments.eye.maps import load_networks
from experiments.eye.report import say
from linewatch.networks.inspect import FrameNetwork
from linewatch.training.samples.labelled_frames import CLASSES

FOLDER = Path(__file__).with_name("weights")
KEPT_FOLD = 0
"""One network is kept: five would be too large for a repository."""


def write_network(network: FrameNetwork, path: Path) -> None:
    """Write weights in half precision and running statistics in single precision."""
    state = {
        name: (value.float() if "running" in name else value.half()).contiguous()
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    save_file(state, path)


def read_network(path: Path) -> FrameNetwork:
    """Read what `write_network` wrote, in single precision, for inference."""
    network = FrameNetwork(len(CLASSES))
    state = network.state_dict()
    network.load_state_dict({**state, **{name: value.float() for name, value in load_file(path).items()}})
    return network.eval()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/eye"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    networks, _ = load_networks(options.out)
    write_network(networks[KEPT_FOLD], FOLDER / f"without-fold-{KEPT_FOLD}.safetensors")
    for name in ("maps.npz", "probability.json"):
        shutil.copyfile(options.out / name, FOLDER / name)
    for path in sorted(FOLDER.iterdir()):
        say(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
