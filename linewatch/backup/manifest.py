"""What an archive says of itself: who made it, and every folder and file in it."""

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

MANIFEST_NAME: Final = "backup.json"
FORMAT: Final = 1
STATE_FOLDERS: Final = (
    Path("/etc/linewatch"),
    Path("/var/lib/linewatch"),
    Path("/var/lib/linewatch-history"),
    Path("/var/lib/linewatch-hmi"),
    Path("/var/lib/linewatch-strip"),
)
"""Where the shipped units keep configurations, keys and state."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KeptEntry(_Strict):
    """A file or folder in a kept folder. path: relative; "." is the kept folder itself. mode: permission bits."""

    path: str
    mode: Annotated[int, Field(ge=0, le=0o777)]
    owner: str
    group: str

    @model_validator(mode="after")
    def _lies_in_its_folder(self) -> Self:
        pure = PurePosixPath(self.path)
        if not self.path or "\0" in self.path or pure.is_absolute() or ".." in pure.parts or str(pure) != self.path:
            raise ValueError(f"path {self.path!r} does not lie in its folder")
        return self


class KeptFile(KeptEntry):
    """A file. sqlite: copied by SQLite's backup, in the state of one moment."""

    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    sqlite: bool = False


class KeptFolder(_Strict):
    """A folder of state, by its absolute path, with all that lies in it."""

    path: str
    folders: tuple[KeptEntry, ...]
    files: tuple[KeptFile, ...]

    @model_validator(mode="after")
    def _is_a_tree(self) -> Self:
        pure = PurePosixPath(self.path)
        if not pure.is_absolute() or ".." in pure.parts or str(pure) != self.path or len(pure.parts) < 3:
            raise ValueError(f"folder {self.path!r} is no absolute path below a folder of the root")
        folders = {entry.path for entry in self.folders}
        files = {file.path for file in self.files}
        named = [*(entry.path for entry in self.folders), *(file.path for file in self.files)]
        if "." not in folders or len(set(named)) != len(named):
            raise ValueError(f"folder {self.path!r} names an entry twice, or not itself")
        if lost := [one for one in (folders | files) - {"."} if str(PurePosixPath(one).parent) not in folders]:
            raise ValueError(f"folder {self.path!r} lacks the folder of {lost[0]!r}")
        return self


class BackupManifest(_Strict):
    """The manifest, the last file of an archive. left_out: what is not in it, and why."""

    format: Literal[1]
    linewatch: str
    host: str
    made: str
    folders: tuple[KeptFolder, ...]
    left_out: tuple[str, ...] = ()


def version_key(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, to compare by."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def member_name(number: int, path: str) -> str:
    """Return the name in the archive of a file of the folder with this number."""
    return f"state/{number}/{path}"
