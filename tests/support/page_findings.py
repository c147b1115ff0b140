"""What is wrong with a page in Chromium: errors of its scripts, and what axe-core finds."""

import os
import warnings
from pathlib import Path
from typing import Any

from hmi_process import ROOT

SERIOUS = ("serious", "critical")

examined: set[Any] = set()
"""Pages that axe-core examines now: it tries styles out, which the page's policy refuses with an error."""


def axe() -> Path | None:
    """Return axe-core's script, as npm installs it here or where NODE_PATH says; None: it is not there."""
    folders = (ROOT / "tests" / "foreign" / "node_modules", Path(os.environ.get("NODE_PATH", "none")))
    return next((found for folder in folders if (found := folder / "axe-core" / "axe.min.js").exists()), None)


def findings(page: Any) -> list[str]:
    """Return what axe-core finds; without axe-core nothing, and a warning in pytest's summary."""
    script = axe()
    if script is None:
        warnings.warn("axe-core is not installed (`make test-foreign`): the page was not examined", stacklevel=2)
        return []
    examined.add(page)
    page.evaluate(script.read_text())
    found = page.evaluate("axe.run().then((all) => all.violations)")
    examined.discard(page)
    return [
        f"{one['id']}: {one['help']}: {node['html'][:160]}: {node['failureSummary'][:200]}"
        for one in found
        if one["impact"] in SERIOUS
        for node in one["nodes"]
    ]


def noted(page: Any) -> list[str]:
    """Return a list that takes every error of the page's scripts, and everything that its policy stopped."""
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Security Policy" in said.text else None)
    return errors
