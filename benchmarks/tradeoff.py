"""Speed against accuracy of the shipped engines and their alternatives: `python -m benchmarks.tradeoff`.

Each file in `benchmarks/tradeoff/` lists the networks of one task with their measurements; this draws one plot per
metric into `docs/pictures/`.
"""

from __future__ import annotations

import json
from pathlib import Path

from linewatch.metrics.plots import TradeoffPoint, tradeoff

FOLDER, OUT = Path("benchmarks/tradeoff"), Path("docs/pictures")
METRICS = {
    "screen": (
        "frame",
        {
            "recall_at_10pct": "recall at 10 % of clean tiles passed",
            "recall_at_5pct": "recall at 5 %",
            "recall_at_1pct": "recall at 1 %",
        },
    ),
    "classify": ("tile", {"top1_neu": "top-1, NEU", "top1_xsdd": "top-1, X-SDD"}),
    "segment": ("tile", {"dice_neu": "mean Dice, NEU masks"}),
}


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    for task, (of, metrics) in METRICS.items():
        path = FOLDER / f"{task}.json"
        rows = json.loads(path.read_text()) if path.is_file() else []
        for key, label in metrics.items():
            known = [row for row in rows if key in row]
            if len(known) > 1:
                points = [
                    TradeoffPoint(row["name"], row["ms_one_thread"], row[key], shipped=row["shipped"]) for row in known
                ]
                tradeoff(points, OUT / f"tradeoff-{task}-{key}.png", of, label)
                print(OUT / f"tradeoff-{task}-{key}.png")


if __name__ == "__main__":
    main()
