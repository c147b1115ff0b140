"""Packages that overwrite each other's files, because they provide the same module."""

from collections.abc import Mapping, Sequence

CV2 = "opencv-python-headless"
"""The distribution of OpenCV that linewatch is tested with; it needs no display."""


def shared_cv2(providers: Mapping[str, Sequence[str]]) -> str | None:
    """Say that several distributions provide `cv2`, and what to do; None where one does.

    providers: the distributions by module, as `importlib.metadata.packages_distributions` returns them.
    """
    names = sorted(set(providers.get("cv2", ())))
    if len(names) < 2:
        return None
    return (
        f"cv2 is provided by {' and '.join(names)}, which overwrite each other's files, expected {CV2} alone: "
        f"{only(CV2, names)}"
    )


def only(kept: str, names: Sequence[str]) -> str:
    """Return the commands that leave one distribution of several."""
    others = " ".join(name for name in names if name != kept)
    return f"pip uninstall {others}, then pip install --force-reinstall --no-deps -c constraints.txt {kept}"
