"""Prints the page as a PDF by an installed browser, so that there is one layout to maintain."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from linewatch.contracts.errors import ConfigError

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "microsoft-edge", "chrome")
PATIENCE_S = 120.0


def find_browser() -> str | None:
    """Return the first of `BROWSERS` on the path."""
    return next((found for name in BROWSERS if (found := shutil.which(name))), None)


def browser_arguments(browser: str, profile: Path) -> list[str]:
    """Return the command that starts it without a window, a network or the user's profile."""
    arguments = [browser, "--headless", "--disable-gpu", "--no-first-run", f"--user-data-dir={profile}"]
    arguments += ["--disable-background-networking", "--disable-extensions", "--host-resolver-rules=MAP * ~NOTFOUND"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # needed to start as root; the page has no script
    return arguments


def print_pdf(page: Path) -> bytes:
    """Print an HTML page. Raises ConfigError when there is no browser or it prints nothing."""
    browser = find_browser()
    if browser is None:
        raise ConfigError(
            "a PDF is printed by Chromium, Chrome or Edge, and none is installed; "
            "install one (apt install chromium), or write --html and print that"
        )
    with TemporaryDirectory(prefix="linewatch-report-") as folder:
        out = Path(folder) / "report.pdf"
        arguments = browser_arguments(browser, Path(folder) / "profile")
        arguments += ["--no-pdf-header-footer", f"--print-to-pdf={out}", page.resolve().as_uri()]
        try:
            ended = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigError(f"{browser} printed no PDF: {error}; write --html and print that") from error
        data = out.read_bytes() if out.is_file() else b""
        if not data.startswith(b"%PDF"):
            last_line = (ended.stderr.strip().splitlines() or [f"exit code {ended.returncode}"])[-1]
            raise ConfigError(f"{browser} printed no PDF: {last_line}; write --html and print that")
        return data
