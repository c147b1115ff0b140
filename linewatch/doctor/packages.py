"""Versions of linewatch and of what it runs on, and combinations that are known to fail."""

import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, distributions, requires, version

import zmq

import linewatch
from linewatch.check.packages import CV2, only
from linewatch.doctor.finding import HostFinding, fault, fine, note, warning

_RUNTIMES = ("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "opencv-python-headless", "av", "numpy", "pyzmq")
_ONE_OF = {
    CV2: (
        ("opencv-python", "opencv-contrib-python", "opencv-contrib-python-headless"),
        "pictures are read by whichever was installed last, or `import cv2` fails",
    ),
    "onnxruntime": (
        ("onnxruntime-gpu", "onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-training", "ort-nightly"),
        "engines run on whichever was installed last, or not at all",
    ),
}
"""Distributions that overwrite each other's files: the one that linewatch is tested with, the others, and the costs."""
_OLDEST_LIBZMQ = (4, 3, 3)
"""Earlier ones let a client without a key take memory or hold a socket up (CVE-2019-13132, CVE-2020-15166)."""
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^;\s]+)(?:\s*;(.*))?$")


@dataclass(frozen=True, slots=True)
class PackageFacts:
    """installed: versions by distribution, in small letters. pinned: those of the base install that were tested.

    distribution: linewatch's version as installed; "": it is run from a folder.
    """

    linewatch: str
    distribution: str
    python: str
    installed: Mapping[str, str]
    pinned: Mapping[str, str]
    libzmq: tuple[int, ...]
    has_curve: bool


def look_at_packages() -> PackageFacts:
    """Return the versions of this installation."""
    try:
        own, asked = version("linewatch"), requires("linewatch") or []
    except PackageNotFoundError:
        own, asked = "", []
    pins = [found for line in asked if (found := _PIN.match(line.replace(" ", ""))) and "extra" not in (found[3] or "")]
    return PackageFacts(
        linewatch.__version__,
        own,
        platform.python_version(),
        installed_versions(),
        {pin[1].lower(): pin[2] for pin in pins},
        zmq.zmq_version_info(),
        zmq.has("curve"),
    )


@cache
def installed_versions() -> Mapping[str, str]:
    """Return the versions of what is installed, by name in small letters; of two of a name the one that is imported."""
    found: dict[str, str] = {}
    for one in distributions():
        about = one.metadata  # read and parsed anew each time
        if about["Name"] and about["Version"]:
            found.setdefault(about["Name"].lower().replace("_", "-"), about["Version"])
    return found


def judge_packages(facts: PackageFacts) -> Iterator[HostFinding]:
    """Judge versions and combinations."""
    runtimes = [f"{name} {facts.installed[name]}" for name in _RUNTIMES if name in facts.installed]
    libzmq = ".".join(map(str, facts.libzmq))
    yield fine(
        "versions", f"linewatch {facts.linewatch}, Python {facts.python}, libzmq {libzmq}, {', '.join(runtimes)}"
    )
    if facts.distribution not in {"", facts.linewatch}:
        yield warning(
            "linewatch twice",
            f"{facts.linewatch} runs, {facts.distribution} is installed",
            "processes of different versions read each other's files",
            "pip uninstall linewatch, then install the version that is wanted; unset PYTHONPATH",
        )
    for kept, (others, costs) in _ONE_OF.items():
        if len(names := [name for name in (kept, *others) if name in facts.installed]) > 1:
            yield fault(
                "packages",
                f"{' and '.join(names)} overwrite each other's files",
                costs,
                only(kept, names),
            )
    differ = [
        f"{name} {facts.installed[name]} (tested: {wanted})"
        for name, wanted in sorted(facts.pinned.items())
        if name in facts.installed and facts.installed[name] != wanted
    ]
    if differ:
        yield note(
            "untested versions",
            ", ".join(differ),
            "scores may differ in their last digits from those that were accepted, and nobody has tried the rest",
            "pip install -c constraints.txt linewatch, or docs/install.md",
        )
    if not facts.has_curve:
        yield fault(
            "libzmq",
            f"{libzmq} without CURVE",
            "no socket can have keys, so that no other host may connect",
            "pip install --force-reinstall --no-deps -c constraints.txt pyzmq",
        )
    elif facts.libzmq < _OLDEST_LIBZMQ:
        yield warning(
            "libzmq",
            f"{libzmq}, expected {'.'.join(map(str, _OLDEST_LIBZMQ))} or later",
            "a client without a key can take the memory of the service",
            "pip install --force-reinstall --no-deps -c constraints.txt pyzmq",
        )
