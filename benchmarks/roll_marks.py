"""How soon a roll mark is recognised, and how often chance is called one: `python -m benchmarks.roll_marks`.

No pixels: defects as the decision gets them, by the stated models in `benchmarks/rolling.py`. Thresholds were chosen on
seeds below 1000 (`--tuning`), what is reported comes from other ones. Writes out/roll_marks.json and
docs/pictures/roll-marks.png.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.rolling import FRAME_MM, Background, Marks, background, frames, marks, random_marks
from linewatch.config.roll import PeriodicSettings, RollSettings
from linewatch.contracts.verdict import RollMark, RollMarkState
from linewatch.decision.rollmarks.rows import Recurrence, follow_rolls

JUDGING, TUNING = 1000, 1
LEAD_MM = 100_000.0  # strip before the first mark
TURNS = 16
SHOWN = (3, 4, 5, 6, 7, 8, 10, 12, 16)
MISSED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
JITTER_MM = (1.0, 3.0, 6.0, 10.0)
OUT, PICTURE = Path("out/roll_marks.json"), Path("docs/pictures/roll-marks.png")
SETTINGS = PeriodicSettings()
MILL = tuple(
    RollSettings(
        name=f"{stand} work roll",
        stand=stand,
        diameter_min_mm=low,
        diameter_max_mm=high,
        forward_slip=slip,
        forward_slip_error=0.02,
        h_stand_mm=h_mm,
        h_exit_mm=2.5,
    )
    for stand, low, high, slip, h_mm in (
        ("F4", 680, 760, 0.05, 6.6),
        ("F5", 600, 680, 0.05, 4.6),
        ("F6", 600, 680, 0.05, 3.3),
        ("F7", 600, 680, 0.04, 2.5),
        ("table", 300, 310, 0.0, 2.5),
        ("pinch", 880, 900, 0.0, 2.5),
    )
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One mark on one strip. due, seen: turns, and marks that the inspection found, when it was recognised; None:
    not within TURNS turns. ratio: of the pitch that was told to the true one. rank: of the true roll, from 1.
    """

    due: int | None
    seen: int | None
    ratio: float | None
    false_calls: int
    strip_mm: float
    rank: int | None = None
    suspects: int = 0


def trial(rng: np.random.Generator, of: Marks, rolls: tuple[RollSettings, ...] = (), roll: str = "") -> Trial:
    """Random strip, then the mark until it is recognised, or TURNS turns."""
    end_mm = of.first_mm + TURNS * of.pitch_mm
    printed, place = marks(rng, end_mm, of)
    state, false_calls = Recurrence.initial(0.0, SETTINGS, rolls), 0
    for along_mm, closed in frames(background(rng, end_mm, Background()) + printed, end_mm):
        state, events = follow_rolls(state, closed, along_mm)
        for event in events:
            if sum(name.startswith("m") for name in event.defect_ids) * 2 < len(event.defect_ids):
                false_calls += event.state is RollMarkState.RECOGNISED
            else:
                return _found(event, of, place, printed, false_calls, along_mm, roll)
    return Trial(None, None, None, false_calls, end_mm)


def _found(
    event: RollMark, of: Marks, place: np.ndarray, printed: list, false_calls: int, along_mm: float, roll: str
) -> Trial:
    until_mm = event.along_mm[1] + of.length_mm
    names = [suspect.roll for suspect in event.suspects]
    return Trial(
        due=int(np.count_nonzero(place <= until_mm)),
        seen=sum(defect.box.along_mm[1] <= until_mm and "+" not in defect.id for defect in printed),
        ratio=event.pitch_mm / of.pitch_mm,
        false_calls=false_calls,
        strip_mm=along_mm,
        rank=names.index(roll) + 1 if roll in names else None,
        suspects=len(names),
    )


def trials(seed: int, count: int, **changes: float) -> list[Trial]:
    """Marks anywhere across, of any pitch from 0.6 to 10 m."""
    made = []
    for number in range(count):
        rng = np.random.default_rng([seed, 1, number])
        made.append(trial(rng, random_marks(rng, Background().width_mm, LEAD_MM, **changes)))
    return made


def mill_trials(seed: int, count: int) -> list[Trial]:
    """Marks of the rolls of MILL, each of a diameter and a slip within what is configured."""
    made = []
    for number in range(count):
        rng = np.random.default_rng([seed, 2, number])
        roll = MILL[int(rng.integers(len(MILL)))]
        diameter_mm = rng.uniform(roll.diameter_min_mm, roll.diameter_max_mm)
        slip = 1 + roll.forward_slip + rng.uniform(-1, 1) * roll.forward_slip_error
        pitch_mm = float(np.pi * diameter_mm * slip * roll.h_stand_mm / roll.h_exit_mm)
        made.append(trial(rng, random_marks(rng, Background().width_mm, LEAD_MM, pitch_mm=pitch_mm), MILL, roll.name))
    return made


def false_calls(seed: int, km: int) -> tuple[list[RollMark], float, int]:
    """What is called on random strip, in coils of 10 km; seconds it took; defects."""
    called: list[RollMark] = []
    elapsed_s, defects = 0.0, 0
    for coil in range(max(1, km // 10)):
        length_mm = min(km, 10) * 1e6
        random = background(np.random.default_rng([seed, 3, coil]), length_mm, Background())
        defects += len(random)
        state = Recurrence.initial(0.0, SETTINGS, ())
        begin = time.perf_counter()
        for along_mm, closed in frames(random, length_mm):
            state, events = follow_rolls(state, closed, along_mm)
            called += [event for event in events if event.state is RollMarkState.RECOGNISED]
        elapsed_s += time.perf_counter() - begin
    return called, elapsed_s, defects


def cost_ms(defects_per_frame: int, count: int = 400) -> dict[str, float]:
    """CPU time of one frame, on random strip with so many defects in every frame of 0.8 m width."""
    length_mm, width_mm = count * FRAME_MM, 800.0
    dense = Background(per_m2=defects_per_frame * 1e6 / FRAME_MM / width_mm, width_mm=width_mm)
    by_frame = dict(frames(background(np.random.default_rng(TUNING), length_mm, dense), length_mm))
    state, took = Recurrence.initial(0.0, SETTINGS, ()), []
    for number in range(count):
        along_mm = (number + 1) * FRAME_MM
        closed = by_frame.get(along_mm, [])
        begin = time.thread_time()
        state, _ = follow_rolls(state, closed, along_mm)
        took.append((time.thread_time() - begin) * 1e3)
    settled = took[count // 4 :]
    return {
        "median_ms": float(np.median(settled)),
        "p99_ms": float(np.quantile(settled, 0.99)),
        "remembered": len(state.table),
    }


def share(made: list[Trial], within: int, by: str = "due") -> float:
    return float(np.mean([getattr(one, by) is not None and getattr(one, by) <= within for one in made]))


def draw(curves: dict[str, list[Trial]]) -> None:
    """Share of marks recognised within n turns of the roll."""
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axes = figure.add_subplot()
    turns = np.arange(1, TURNS + 1)
    for name, made in curves.items():
        axes.step(turns, [100 * share(made, n) for n in turns], where="post", label=name)
    axes.axhline(95, color="0.6", lw=0.8, ls="--")
    axes.axvline(6, color="0.6", lw=0.8, ls="--")
    axes.annotate("the mark and 5 repeats", (6.1, 3), color="0.35", fontsize=9)
    axes.set(
        xlabel="turns of the roll since its first mark, that one and missed ones included",
        ylabel="recognised, % of roll marks",
        xlim=(1, TURNS),
        ylim=(0, 101),
        title="Roll marks on strip with 5 random defects per m², half of them at the edges",
    )
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_png(PICTURE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strips", type=int, default=400, help="with one mark each")
    parser.add_argument(
        "--cell-strips", type=int, default=100, help="for each cell of the table over jitter and misses"
    )
    parser.add_argument("--km", type=int, default=300, help="of random strip")
    parser.add_argument(
        "--tuning", action="store_true", help="the seeds on which thresholds were chosen; draws nothing"
    )
    options = parser.parse_args()
    seed, say = TUNING if options.tuning else JUDGING, Console(width=140).print

    say("cost of a frame:", cost := {str(n): cost_ms(n) for n in (0, 1, 10, 100)})
    head = trials(seed, options.strips)
    curves = {
        "nothing missed": trials(seed + 1, options.strips // 2, missed=0.0),
        "5 % missed": trials(seed + 2, options.strips // 2, missed=0.05),
        "10 % missed": head,
        "30 % missed": trials(seed + 3, options.strips // 2, missed=0.3),
    }
    table = Table(title="recognised within n turns (the first included)", title_justify="left")
    for column in ("strip", *map(str, SHOWN), "found marks <= 6", "pitch right"):
        table.add_column(column)
    for name, made in curves.items():
        right = [abs(one.ratio - 1) < 0.01 for one in made if one.ratio is not None]
        table.add_row(
            name, *(f"{share(made, n):.1%}" for n in SHOWN), f"{share(made, 6, 'seen'):.1%}", f"{np.mean(right):.1%}"
        )
    say(table)
    in_mill = mill_trials(seed, options.strips // 2)
    found = [one for one in in_mill if one.due is not None]
    first = float(np.mean([one.rank == 1 for one in found]))
    named = float(np.mean([one.rank is not None for one in found]))
    say(
        f"rolls in the configuration: within 6 turns {share(in_mill, 6):.1%}; the true roll is among the suspects in "
        f"{named:.1%}, the first of them in {first:.1%} ({np.mean([one.suspects for one in found]):.1f} suspects)"
    )
    called, elapsed_s, defects = false_calls(seed, options.km)
    say(f"{len(called)} false calls on {options.km} km of random strip ({defects} defects, {elapsed_s:.0f} s)")
    for event in called:
        say(f"  {event.pitch_mm:.0f} mm, {event.marks} of {event.marks_due}, at {event.across_mm[0]:.0f} mm across")
    grid = {
        f"{missed:g}": {
            f"{jitter:g}": trials(seed + 9, options.cell_strips, missed=missed, jitter_mm=jitter)
            for jitter in JITTER_MM
        }
        for missed in MISSED
    }
    table = Table(title="recognised within 6 and 12 turns, by missed share and jitter (mm)", title_justify="left")
    for column in ("missed", *(f"{jitter:g} mm" for jitter in JITTER_MM)):
        table.add_column(column)
    for missed, row in grid.items():
        table.add_row(
            f"{float(missed):.0%}", *(f"{share(made, 6):.0%}, {share(made, 12):.0%}" for made in row.values())
        )
    say(table)
    report = {
        "seeds": "tuning" if options.tuning else "judging",
        "background": asdict(Background()),
        "settings": SETTINGS.model_dump(),
        "cost": cost,
        "within_turns": {name: {n: share(made, n) for n in range(3, TURNS + 1)} for name, made in curves.items()},
        "within_found_marks": {
            name: {n: share(made, n, "seen") for n in range(3, TURNS + 1)} for name, made in curves.items()
        },
        "pitch_ratios": {name: [one.ratio for one in made] for name, made in curves.items()},
        "mill": {"within_6": share(in_mill, 6), "named": named, "first": first},
        "false_calls": len(called),
        "km": options.km,
        "false_calls_beside_marks": sum(one.false_calls for made in curves.values() for one in made),
        "km_beside_marks": sum(one.strip_mm for made in curves.values() for one in made) / 1e6,
        "grid": {m: {j: [share(made, n) for n in (5, 6, 8, 12)] for j, made in row.items()} for m, row in grid.items()},
    }
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report, indent=1) + "\n")
    if not options.tuning:
        draw(curves)
        say(PICTURE)


if __name__ == "__main__":
    main()
