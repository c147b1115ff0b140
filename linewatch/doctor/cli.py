"""`linewatch doctor` and `linewatch support-bundle`."""

import contextlib
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic import BaseModel

from linewatch import __version__
from linewatch.check.kinds import kind_of
from linewatch.check.units import running_process, unit_of, working_folder
from linewatch.client.cli import KeyOptions
from linewatch.config.load import checked, toml_of
from linewatch.config.text import read_text
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.doctor.finding import FindingLevel
from linewatch.doctor.needs import HostNeeds, needs_of
from linewatch.terminal import AsJson, plain_console

if TYPE_CHECKING:
    from linewatch.doctor.bundle import SupportBundle
    from linewatch.doctor.finding import HostFinding

_STYLES = {FindingLevel.NOTE: "cyan", FindingLevel.WARNING: "yellow", FindingLevel.FAULT: "bold red"}

Config = Annotated[
    Path | None,
    Parameter(help="Configuration of a service, a strip, a history or a bridge. Default: the host alone."),
]
WorkingDir = Annotated[
    Path | None,
    Parameter(
        help="Folder from which relative paths count. Default: WorkingDirectory of the systemd unit that runs this "
        "configuration, else the present folder."
    ),
]


def doctor(config: Config = None, /, *, working_dir: WorkingDir = None, as_json: AsJson = False) -> int:
    from linewatch.doctor.examine import examined

    needs = HostNeeds()
    if config is not None:
        text = read_text(config, "give the path of a TOML configuration")
        tree = toml_of(text, config)
        needs = _needs(checked(tree, str(config), kind_of(tree), text), config)
    with _entered(working_folder(needs.unit, working_dir)):
        findings = examined(needs)
    if as_json:
        print(json.dumps(_report(findings), indent=1))
    else:
        _print(findings)
    return SourceError.exit_code if any(one.level is FindingLevel.FAULT for one in findings) else 0


def support_bundle(
    config: Config = None,
    /,
    *,
    out: Annotated[Path, Parameter(help="Archive to write: .tar.gz.")],
    log: Annotated[
        tuple[Path, ...], Parameter(help="A log file to put in as well, where journald has none. May be repeated.")
    ] = (),
    working_dir: WorkingDir = None,
    keys: KeyOptions = KeyOptions(),
) -> None:
    from linewatch.doctor.bundle import SupportBundle, collect
    from linewatch.doctor.examine import examined
    from linewatch.doctor.secrets import known_secrets
    from linewatch.files import write_output

    tree: dict[str, Any] = {}
    settings, needs, fault = None, HostNeeds(), ""
    if config is not None:
        text = read_text(config, "give the path of a TOML configuration")
        try:
            tree = toml_of(text, config)
            settings = checked(tree, str(config), kind_of(tree), text)
            needs = _needs(settings, config)
        except ConfigError as error:
            fault = str(error) if tree else f"{config}: is not TOML; `linewatch check` says where"
            needs = HostNeeds(config.absolute(), unit_of(config), running_process(config))
    out, logs, client_keys = out.absolute(), [path.absolute() for path in log], keys.client_keys()
    with _entered(working_folder(needs.unit, working_dir)):
        bundle = SupportBundle(known_secrets(tree))
        if fault:
            bundle.add("configuration-faults.txt", fault + "\n")
        collect(bundle, tree, settings, needs, examined(needs), client_keys, logs)
    archive = bundle.archive()
    write_output(out, archive)
    if out.is_file():
        with contextlib.suppress(OSError):
            out.chmod(0o600)
    _print_listing(bundle, out, len(archive))


def _needs(settings: BaseModel, config: Path) -> HostNeeds:
    return needs_of(settings, config.absolute(), unit_of(config), running_process(config))


@contextlib.contextmanager
def _entered(folder: Path) -> Any:
    """Run in a folder. Raises ConfigError where it cannot be entered."""
    try:
        change = contextlib.chdir(folder)
        change.__enter__()
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be entered ({error.strerror}); make it, or give --working-dir") from error
    try:
        yield
    finally:
        change.__exit__(None, None, None)


def _report(findings: "Sequence[HostFinding]") -> dict[str, Any]:
    return {"linewatch": __version__, "host": platform.node(), "findings": [asdict(one) for one in findings]}


def _print(findings: "Sequence[HostFinding]") -> None:
    """Print the findings. Commands are not folded, so that they can be copied."""
    from rich.text import Text

    console = plain_console(None if sys.stdout.isatty() else 1000)
    for one in findings:
        console.print(
            Text.assemble((f"{one.level:<8}", _STYLES.get(one.level, "")), f"{one.subject}: {one.found}"),
            soft_wrap=True,
        )
        for name, said in (("costs", one.costs), ("mend", one.mend)):
            if said:
                console.print(Text(f"         {name + ':':<7}{said}"), soft_wrap=True)
    counts = [f"{sum(one.level is level for one in findings)} {level}" for level in FindingLevel]
    print(f"{', '.join(counts)}; linewatch {__version__} on {platform.node()}")


def _print_listing(bundle: "SupportBundle", out: Path, size: int) -> None:
    for name, data in bundle.files.items():
        print(f"{len(data):>10}  {name}")
    for line in bundle.left_out:
        print(f"  left out  {line}")
    print(f"{out}: {len(bundle.files)} files, {size / 1e3:.0f} kB; secrets are taken out, but look before you send it")
