"""What a soak writes: `report.json`, `report.md` with a table of recovery times, `memory.png`, `recovery.png`."""

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.soak.checks import Slope, steady_growth
from benchmarks.soak.processes import Sample

WARM_S: Final = 600.0
"""A process has warmed up: what its caches, arenas and journal take grows in the first ten minutes."""
MOST_GROWTH_MB_PER_H: Final = 5.0
"""A leak of less takes months to fill a machine; the coil that runs keeps some of this while it lasts."""


@dataclass
class Done:
    """A fault that was injected. Seconds count from the start of the soak; recovered_s from the fault's end, of a kill
    from the kill; None: not within the time that is allowed."""

    number: int
    kind: str
    target: str
    begun_s: float
    lasted_s: float
    recovered_s: float | None = None
    note: str = ""


@dataclass
class Report:
    """Everything that was seen."""

    seed: int
    minutes: float
    line_rate_hz: float
    ready_s: dict[str, float] = field(default_factory=dict)
    """From the start of each process until it did its work, at the first start of all of them at once."""
    faults: list[Done] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    lives: dict[str, list[list[tuple[float, Sample]]]] = field(default_factory=dict)
    """By process and start."""
    lines: dict[str, dict[str, int]] = field(default_factory=dict)
    alarms: dict[str, int] = field(default_factory=dict)
    lasted_s: float = 0.0

    def by_kind(self) -> list[tuple[str, int, float | None, float | None]]:
        """Return kind, times, median and longest recovery; None: at least one has not recovered, or none was told."""
        rows = []
        for kind in sorted({fault.kind for fault in self.faults}):
            of_kind = [fault.recovered_s for fault in self.faults if fault.kind == kind]
            times = [one for one in of_kind if one is not None]
            whole = len(times) == len(of_kind)
            rows.append(
                (kind, len(of_kind), statistics.median(times) if times else None, max(times) if whole else None)
            )
        return rows

    def grown(self, name: str, from_s: float) -> Slope | None:
        """Return the steady growth of a process's memory, without the first from_s seconds of each of its lives; None:
        too short."""
        lives = [[(at, one.rss_mb) for at, one in life if at >= life[0][0] + from_s] for life in self.lives[name]]
        return steady_growth([life for life in lives if life])

    def leaks(self) -> list[str]:
        """Return the processes whose memory grew once they were warm, in words: the whole interval is above the
        bound."""
        told = []
        for name in self.lives:
            grown = self.grown(name, WARM_S)
            if grown is not None and grown.low > MOST_GROWTH_MB_PER_H:
                told.append(
                    f"{name}: memory grew by {grown.mb_per_h:.1f} MB an hour ({grown.low:.1f} to {grown.high:.1f}) "
                    f"once it was {WARM_S / 60:g} minutes old; at most {MOST_GROWTH_MB_PER_H:g} are allowed"
                )
        return told

    def memory(self) -> list[dict[str, Any]]:
        """Return, by process, its memory, slopes, threads and descriptors; the latter without the first 30 s of each
        life."""
        rows = []
        for name, lives in self.lives.items():
            warm = [[(at, one) for at, one in life if at >= life[0][0] + 30.0] for life in lives]
            every = [one for life in lives for _, one in life]
            if not every:
                continue
            started, grown = self.grown(name, 30.0), self.grown(name, WARM_S)
            rows.append(
                {
                    "process": name,
                    "starts": len(lives),
                    "most_mb": max(one.rss_mb for one in every),
                    "growth_from_30_s_mb_per_h": asdict(started) if started else None,
                    "growth_mb_per_h": asdict(grown) if grown else None,
                    "threads": _range([one.threads for life in warm for _, one in life]),
                    "descriptors": _range([one.descriptors for life in warm for _, one in life]),
                }
            )
        return rows

    def write(self, folder: Path) -> None:
        """Write all files."""
        folder.mkdir(parents=True, exist_ok=True)
        lives = {
            name: [
                [(round(at, 1), round(one.rss_mb, 1), one.threads, one.descriptors) for at, one in life] for life in of
            ]
            for name, of in self.lives.items()
        }
        told = {name: value for name, value in asdict(self).items() if name != "lives"}
        told |= {"memory": self.memory(), "lives": lives}
        (folder / "report.json").write_text(json.dumps(told, indent=1))
        (folder / "report.md").write_text(self.tables())
        self._plot(folder)

    def tables(self) -> str:
        """Return the report as Markdown."""
        out = [
            f"Seed {self.seed}, {self.lasted_s / 60:.1f} minutes, {self.line_rate_hz:g} lines/s, {len(self.faults)} "
            f"faults of {len({fault.kind for fault in self.faults})} kinds; {len(self.wrong)} checks failed.",
            "",
            "| fault | times | recovered after, median | longest |",
            "|---|---|---|---|",
        ]
        out += [f"| {kind} | {times} | {_s(median)} | {_s(most)} |" for kind, times, median, most in self.by_kind()]
        out += [
            "",
            f"| process | starts | most memory | steady growth from 30 s on, MB/h (95 %) | from {WARM_S:g} s on | "
            "threads | descriptors |",
            "|---|---|---|---|---|---|---|",
        ]
        for row in self.memory():
            slopes = " | ".join(_slope(row[name]) for name in ("growth_from_30_s_mb_per_h", "growth_mb_per_h"))
            out.append(
                f"| {row['process']} | {row['starts']} | {row['most_mb']:.0f} MB | {slopes} | {row['threads']} | "
                f"{row['descriptors']} |"
            )
        out += [
            "",
            "| service | lines inspected | degraded | missed | transitions of alarms |",
            "|---|---|---|---|---|",
        ]
        for name, lines in self.lines.items():
            cells = " | ".join(f"{lines.get(quality, 0):,}" for quality in ("inspected", "degraded", "missed"))
            out.append(f"| {name} | {cells} | {self.alarms.get(name, 0)} |")
        out += [""] + [f"- at {one['at_s']:.0f} s, after {one['fault']}: {one['what']}" for one in self.wrong]
        return "\n".join(out) + "\n"

    def _plot(self, folder: Path) -> None:
        import matplotlib as mpl

        mpl.use("agg")
        from matplotlib import pyplot as plt

        names = [name for name, lives in self.lives.items() if any(lives)]
        if not names:
            return
        figure, axes = plt.subplots(len(names), 1, figsize=(10, 1.2 * len(names) + 0.8), sharex=True, squeeze=False)
        for axis, name in zip(axes[:, 0], names, strict=True):
            for life in self.lives[name]:
                axis.plot([at / 60 for at, _ in life], [one.rss_mb for _, one in life], color="#1f5fa8", linewidth=1.2)
            for fault in self.faults:
                own = fault.target in (name, "host")
                axis.axvline(
                    fault.begun_s / 60, color="#c0392b" if own else "#dddddd", linewidth=0.9 if own else 0.4, zorder=0
                )
            axis.set_ylim(bottom=0)
            axis.set_ylabel(f"{name}\nMB", rotation=0, ha="right", va="center", fontsize=9)
            axis.spines[["top", "right"]].set_visible(False)
        axes[-1, 0].set_xlabel("minutes; red: a fault of this process or of the host, gray: of another")
        figure.suptitle("Memory of each process", fontsize=11)
        figure.tight_layout()
        figure.savefig(folder / "memory.png", dpi=110)
        plt.close(figure)
        kinds = sorted({fault.kind for fault in self.faults}, reverse=True)
        figure, axis = plt.subplots(figsize=(10, 0.32 * len(kinds) + 1.2))
        for row, kind in enumerate(kinds):
            times = [one.recovered_s for one in self.faults if one.kind == kind and one.recovered_s is not None]
            axis.plot(times, [row] * len(times), "o", color="#1f5fa8", alpha=0.6, markersize=5)
        axis.set_yticks(range(len(kinds)), kinds, fontsize=9)
        axis.set_xlabel("seconds from the end of the fault (of a kill: from the kill) until the process works")
        axis.set_xlim(left=0)
        axis.grid(axis="x", color="#e5e5e5")
        axis.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        figure.savefig(folder / "recovery.png", dpi=110)
        plt.close(figure)


def _s(seconds: float | None) -> str:
    return "not in time" if seconds is None else f"{seconds:.1f} s"


def _slope(of: dict[str, float] | None) -> str:
    return f"{of['mb_per_h']:+.1f} ({of['low']:+.1f} to {of['high']:+.1f})" if of else "too short"


def _range(values: list[int]) -> str:
    return f"{min(values)} to {max(values)}" if values else ""
