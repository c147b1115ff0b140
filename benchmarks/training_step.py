"""What a training step of the papers' networks costs: `python -m benchmarks.training_step` (needs the extra train).

For each network the CPU time an image of a step (forward, backward, optimizer) in FP32 and in bfloat16, each with the
planes of an image apart and with channels last, one thread, in turns; and that of reading and augmenting an image, the
first time from its file and later from memory. With `--compile`, torch compiles the networks, minutes each.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import nn

from benchmarks.ratio import median_ratio
from linewatch.datasets.neu import read
from linewatch.files import write_output
from linewatch.networks.registry import NETWORKS
from linewatch.networks.spec import NetworkSpec
from linewatch.training.papers.study import LabelledImages, ResizedImages
from linewatch.training.protocols import paper_protocol

PLAIN, KINDS = "fp32", ("fp32", "fp32, channels last", "bf16", "bf16, channels last")
NAMES = ("custom_cnn", "nasnet_mobile", "resnet34", "vgg11")


def step_of(spec: NetworkSpec, kind: str, batch: int, *, compiled: bool) -> Callable[[], None]:
    """Return a step of training in one of KINDS on `batch` random images."""
    torch.manual_seed(0)
    network = spec.build().train()
    image = torch.randint(0, 256, (batch, 1, spec.lines, spec.width), dtype=torch.uint8)
    target = torch.randint(0, spec.classes, (batch,))
    if "channels last" in kind:
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    forward = torch.compile(network) if compiled else network

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=kind.startswith("bf16")):
            scores = forward(image)
        scores = scores.float().reshape(batch, -1)
        loss = nn.functional.cross_entropy(scores, target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def step_ms(spec: NetworkSpec, batch: int, rounds: int, *, compiled: bool) -> dict[str, list[float]]:
    """Return the CPU milliseconds an image of each kind of step, a figure a round."""
    steps = {kind: step_of(spec, kind, batch, compiled=compiled) for kind in KINDS}
    for step in steps.values():
        step()  # the first chooses kernels, and makes the optimizer's state
    spent: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(rounds):
        for kind, step in steps.items():
            begin = time.process_time()
            step()
            spent[kind].append(1e3 * (time.process_time() - begin) / batch)
    return spent


def loading_ms(root: Path, count: int = 200) -> dict[str, float]:
    """Return the CPU milliseconds an image of NEU costs custom_cnn's pipeline, from its file and from memory."""
    settings = paper_protocol("custom_cnn").settings
    specimens = read(root)[:count]
    images = ResizedImages(specimens, settings.lines, settings.width)
    items = LabelledImages(images, np.zeros(len(specimens), np.int64), 0, settings.augmentation())
    found = {}
    for name, epoch in (("from its file", 0), ("from memory", 1)):
        begin = time.process_time()
        for index in range(len(specimens)):
            items[epoch, index]
        found[name] = 1e3 * (time.process_time() - begin) / len(specimens)
    return found


def main() -> None:
    """Measure, print a table, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=sorted(NETWORKS), default=NAMES)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("out/training_step.json"))
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("network", f"{PLAIN}, ms an image", *(f"times as fast: {kind}" for kind in KINDS[1:]))
    written: dict[str, object] = {"batch": chosen.batch, "compiled": chosen.compile, "torch": torch.__version__}
    for name in track(chosen.networks, "networks"):
        spent = step_ms(NETWORKS[name], chosen.batch, chosen.rounds, compiled=chosen.compile)
        rates = {kind: [1 / one for one in spent[kind]] for kind in KINDS}
        ratios = {kind: median_ratio(rates[kind], rates[PLAIN]) for kind in KINDS[1:]}
        written[name] = {PLAIN: float(np.median(spent[PLAIN])), **{kind: one._asdict() for kind, one in ratios.items()}}
        shown = (f"{one.ratio:.2f} ({one.low:.2f}-{one.high:.2f})" for one in ratios.values())
        table.add_row(name, f"{np.median(spent[PLAIN]):.0f}", *shown)
    console = Console()
    console.print(table)
    if (data := os.environ.get("LINEWATCH_DATA")) is not None:
        written["loading"] = loading = loading_ms(Path(data) / "neu")
        console.print(
            *(f"reading and augmenting {name}: {ms:.2f} ms an image" for name, ms in loading.items()), sep="\n"
        )
    write_output(chosen.out, json.dumps(written, indent=1).encode())


if __name__ == "__main__":
    main()
