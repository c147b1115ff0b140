"""Many frames through the whole service in one process, as fast as it inspects them: does its memory stand?"""

import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmarks.faults import ROOT
from benchmarks.load import MemoryCamera
from benchmarks.soak.checks import slope
from linewatch.capture.clock import MonotonicClock
from linewatch.contracts.frame import Grab
from linewatch.daemon.service import open_service
from linewatch.service_settings import load_settings
from linewatch.simulation.strip import SimulatedStrip

PICTURES: Final = 64
FRAMES_A_COIL: Final = 2_000
"""512 m of frames of 256 mm. What is kept of a coil goes with its end, so a run of one coil would always grow."""
WARM: Final = 0.25
"""This part of the run is left out: buffers, caches and the journal fill."""


class ChangingCamera(MemoryCamera):
    """No picture is like one before it, which would count as a frozen camera: its lines move on in every round. A coil
    follows the other."""

    def read(self) -> Grab | None:
        grab = super().read()
        if grab is None or grab.image is None:
            return grab
        coil, of_coil = divmod(grab.sequence, FRAMES_A_COIL)
        head_line = coil * FRAMES_A_COIL * grab.lines
        return replace(
            grab,
            image=np.roll(grab.image, grab.sequence // PICTURES, axis=0),
            coil=f"SOAK-{coil}",
            first_line=grab.first_line - head_line,
            along_mm=of_coil * grab.lines * grab.mm_per_line,
        )


def replay(frames: int, out: Path, console: Console) -> int:
    """Write `replay.json`. Returns 1 where not every line was inspected or the memory's slope is above zero."""
    settings = load_settings(ROOT / "configs" / "simulator.toml")
    line = settings.line
    strip = SimulatedStrip(18, 2 * PICTURES * line.frame_lines * line.mm_per_line / 1e3, 0.1, line)
    pictures = [strip.lines(number * line.frame_lines, line.frame_lines) for number in range(PICTURES)]
    clock, samples = MonotonicClock(), list[tuple[float, float]]()
    with TemporaryDirectory(prefix="linewatch-replay-") as folder:
        journal = settings.journal.model_copy(update={"dir": Path(folder), "max_mb": 64})
        settings = settings.model_copy(update={"journal": journal})
        camera = ChangingCamera(pictures, frames, line, clock)
        progress = Progress(
            TextColumn("replay"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=console
        )
        bar = progress.add_task("replay", total=frames)
        began_s = time.monotonic()

        def look() -> None:
            now_s = time.monotonic() - began_s
            if not samples or now_s >= samples[-1][0] + 0.5:
                pages = int(Path("/proc/self/statm").read_text().split()[1])
                samples.append((now_s, pages * os.sysconf("SC_PAGESIZE") / 1e6))
                progress.update(bar, completed=sum(service.totals.lines.values()) // line.frame_lines)

        with open_service(settings, camera, clock) as service, progress:
            service.run(lambda: None, look)
            lines = {quality.value: count for quality, count in service.totals.lines.items()}
    took_s = time.monotonic() - began_s
    warm = [sample for sample in samples if sample[0] > WARM * took_s]
    grown = slope([warm], block_s=max(1.0, took_s / 100))
    told = {
        "frames": frames,
        "frames_per_s": frames / took_s,
        "lines": lines,
        "rss_mb": warm[-1][1] if warm else None,
        "slope_mb_per_h": asdict(grown) if grown else None,
        "samples": samples,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / "replay.json").write_text(json.dumps(told))
    console.print({name: value for name, value in told.items() if name != "samples"})
    return 0 if grown is not None and grown.low <= 0.0 and sum(lines.values()) == lines.get("inspected") else 1
