"""Make the Debian package of linewatch, with every Python package that it needs: `python -m tools.package`.

The package installs without a network: it holds the wheels of requirements/base.lock and of the extras, and makes an
environment of its version from them, each file checked against its hash. It is for hosts of this machine's kind
(processor, Debian release). Needs a package index, `pip` and `dpkg-deb`.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from rich.console import Console

ROOT: Final = Path(__file__).parents[1]
PACKAGING: Final = ROOT / "packaging"
SCRIPTS: Final = ("postinst", "prerm", "postrm")
EXTRAS: Final = ("history", "hmi", "plant", "signing")
PYTHON: Final = Path("/usr/bin/python3")
"""Debian's, by which the package's environment is made."""
KEPT: Final = ("engines", "configs", "docs", "systemd", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt")
_VERSION: Final = re.compile(r'^(version|__version__) = ".*"$', re.MULTILINE)
FROM_OPT: Final = ("taxonomy", "grading")
"""Settings of the example whose files are in the package."""


def build(extras: tuple[str, ...], version: str, out: Path, console: Console) -> Path:
    """Return the package's file in folder `out`."""
    architecture = _told("dpkg", "--print-architecture")
    with TemporaryDirectory(prefix="linewatch-package-") as name:
        tree = Path(name) / "linewatch"
        home = tree / "opt" / "linewatch"
        home.mkdir(parents=True)
        tree.chmod(0o755)
        for one in KEPT:
            source = ROOT / one
            (shutil.copytree if source.is_dir() else shutil.copy2)(source, home / one)
        locks = [ROOT / "requirements" / f"{one}.lock" for one in ("base", *extras)]
        (home / "requirements").mkdir()
        for lock in locks:
            shutil.copy2(lock, home / "requirements")
        with console.status("collecting the wheels"):
            _collect(locks, home / "wheels", version)
        units = tree / "lib" / "systemd" / "system"
        units.mkdir(parents=True)
        for unit in (ROOT / "systemd").glob("linewatch*"):
            shutil.copy2(unit, units)
        (tree / "usr" / "bin").mkdir(parents=True)
        (tree / "usr" / "bin" / "linewatch").symlink_to("/opt/linewatch/.venv/bin/linewatch")
        (tree / "etc" / "linewatch").mkdir(parents=True)
        (tree / "etc" / "linewatch" / "linewatch.toml").write_text(
            example((ROOT / "configs/simulator.toml").read_text())
        )
        _control(tree, version, architecture, extras)
        out.mkdir(parents=True, exist_ok=True)
        package = out / f"linewatch_{version}_{architecture}.deb"
        with console.status("packing"):  # wheels are compressed already
            _told("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(tree), str(package))
    return package


def example(text: str) -> str:
    """Return a configuration whose paths hold from any folder."""
    text = re.sub(rf'^({"|".join(FROM_OPT)}) = "(?!/)', r'\1 = "/opt/linewatch/', text, flags=re.MULTILINE)
    return text.replace("[inference]\n", '[inference]\nengines_dir = "/opt/linewatch/engines"\n', 1)


def _collect(locks: list[Path], folder: Path, version: str) -> None:
    """Put the wheels of the locks and linewatch's own into a folder."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    required = [part for lock in locks for part in ("-r", str(lock))]
    _told(*pip, "download", "--require-hashes", "--only-binary", ":all:", *required, "-d", str(folder))
    with TemporaryDirectory(prefix="linewatch-source-") as name:
        source = Path(name)
        shutil.copytree(ROOT / "linewatch", source / "linewatch", ignore=shutil.ignore_patterns("__pycache__"))
        for one in ("README.md", "LICENSE"):
            shutil.copy2(ROOT / one, source)
        for one in ("pyproject.toml", "linewatch/__init__.py"):
            text = (ROOT / one).read_text()
            (source / one).write_text(_VERSION.sub(rf'\1 = "{version}"', text, count=1))
        _told(*pip, "wheel", "--no-deps", str(source), "-w", str(folder))


def own_version() -> str:
    """Return the version of this source."""
    project: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["version"]


def _control(tree: Path, version: str, architecture: str, extras: tuple[str, ...]) -> None:
    folder = tree / "DEBIAN"
    folder.mkdir()
    size_kb = sum(one.stat().st_size for one in tree.rglob("*") if one.is_file() and not one.is_symlink()) // 1024
    filled = {
        "@VERSION@": version,
        "@ARCHITECTURE@": architecture,
        "@INSTALLED_KB@": str(size_kb),
        "@EXTRAS@": ", ".join(("base", *extras)),
    }
    for name in ("control", "conffiles", *SCRIPTS):
        text = (PACKAGING / name).read_text()
        for key, value in filled.items():
            text = text.replace(key, value)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755 if name in SCRIPTS else 0o644)


def _told(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} failed:\n{done.stderr.strip() or done.stdout.strip()}")
    return done.stdout.strip()


def main() -> None:
    """Make it, and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--extras", nargs="*", default=EXTRAS, help="whose packages come with it")
    parser.add_argument("--version", default=own_version(), help="of the package and of linewatch in it")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the package")
    arguments = parser.parse_args()
    console = Console(soft_wrap=True)
    package = build(tuple(arguments.extras), arguments.version, arguments.out, console)
    console.print(f"{package}: {package.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
