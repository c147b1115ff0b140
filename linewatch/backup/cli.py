"""`linewatch backup`, `linewatch backup verify` and `linewatch restore`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from linewatch.contracts.errors import SourceError
from linewatch.terminal import progress_bar

backup = App(name="backup", group_commands="Actions")

Folders = Annotated[
    tuple[Path, ...],
    Parameter(help="Folders of configuration and state. Default: those of the shipped units that exist."),
]
Archive = Annotated[Path, Parameter(help="Archive that `linewatch backup` wrote.")]


@backup.default
def take(*folders: Path, out: Annotated[Path, Parameter(help="Archive to write: .tar.gz, mode 0600.")]) -> None:
    """Put all state into one archive while the services run. It holds secret keys: keep it like them."""
    from linewatch.backup.manifest import STATE_FOLDERS
    from linewatch.backup.taking import take_backup

    chosen = [folder.absolute() for folder in folders] or [folder for folder in STATE_FOLDERS if folder.is_dir()]
    if not chosen:
        raise SourceError("found no folder of state of the shipped units; name the folders")
    for folder in chosen:
        if not folder.is_dir():
            raise SourceError(f"{folder}: found no folder; expected one with configuration or state; correct the path")
    with progress_bar("backup", None) as show:
        manifest = take_backup(chosen, out, show)
    files = [file for folder in manifest.folders for file in folder.files]
    print(
        f"{out}: {len(files)} files, {sum(file.size for file in files) / 1e6:.1f} MB of state, secret keys among them"
    )
    for line in manifest.left_out:
        print(f"  left out  {line}")


@backup.command(name="verify")
def verify_archive(archive: Archive, /) -> None:
    """Read a whole archive, and check every file in it."""
    from linewatch.backup.restoring import verify

    with progress_bar("verify", None) as show:
        manifest = verify(archive, show)
    print(f"{archive}: whole; linewatch {manifest.linewatch} on {manifest.host}, {manifest.made}")
    for folder in manifest.folders:
        print(f"{len(folder.files):>8} files  {folder.path}")
    for line in manifest.left_out:
        print(f"  left out  {line}")


def restore(
    archive: Archive,
    /,
    *folders: Path,
    into: Annotated[Path, Parameter(help="Root below which the folders are put; another one tries an archive.")] = Path(
        "/"
    ),
) -> None:
    from linewatch.backup.manifest import STATE_FOLDERS
    from linewatch.backup.restoring import restore as put_back

    allowed = (*STATE_FOLDERS, *(folder.absolute() for folder in folders))
    with progress_bar("restore", None) as show:
        done = put_back(archive, allowed, into.absolute(), show)
    for place, former in done:
        print(f"{place}: restored" + (f"; the former one is {former}" if former else ""))
