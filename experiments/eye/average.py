"""Average the weights of continuations of one training: ``python -m experiments.eye.average RUN RUN... --out RUN``.

Networks that go on from one state stay close enough for the mean of their weights to be a network as good as their
ensemble, at the cost of one (Wortsman et al. 2022, arXiv:2203.05482). Trainings that began apart have no such mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from linewatch.training.house.inspect_fit import ALL, load_network, state_file


def mean_weights(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return the mean of state dicts of one architecture; counters are those of the first."""
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if value.dtype.is_floating_point else value
        for name, value in states[0].items()
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    for network in range(ALL + 1):
        loaded = [load_network(state_file(run, network)) for run in options.runs]
        weights = mean_weights([shipped.state_dict() for shipped, _ in loaded])
        file = state_file(options.out, network)
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"network": weights, "mean": weights, "optimiser": {}, "step": max(at for _, at in loaded)}, file)


if __name__ == "__main__":
    main()
