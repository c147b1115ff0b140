"""Speed against accuracy of the shipped engines and their alternatives: `python -m benchmarks.tradeoff`.

Each file in `benchmarks/tradeoff/` lists candidates of one task with what was measured of them and how; this draws one
plot a figure into `docs/pictures/`.
"""

from __future__ import annotations

import json
from pathlib import Path

from linewatch.metrics.plots import Candidate, tradeoff

FOLDER, OUT = Path("benchmarks/tradeoff"), Path("docs/pictures")
FIGURES = {
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
    for task, (of, figures) in FIGURES.items():
        path = FOLDER / f"{task}.json"
        rows = json.loads(path.read_text()) if path.is_file() else []
        for key, words in figures.items():
            known = [row for row in rows if key in row]
            if len(known) > 1:
                candidates = [
                    Candidate(row["name"], row["ms_one_thread"], row[key], shipped=row["shipped"]) for row in known
                ]
                tradeoff(candidates, OUT / f"tradeoff-{task}-{key}.png", of, words)
                print(OUT / f"tradeoff-{task}-{key}.png")


if __name__ == "__main__":
    main()
