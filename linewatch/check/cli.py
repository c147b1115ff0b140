"""`linewatch check`."""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from pydantic import BaseModel

from linewatch.check.kinds import kind_of
from linewatch.check.packages import shared_cv2
from linewatch.config.grading import GradingSettings
from linewatch.config.grading_file import grading_from
from linewatch.config.history import HistorySettings
from linewatch.config.load import checked, toml_of
from linewatch.config.taxonomy import TAXONOMY, Taxonomy
from linewatch.config.text import read_text
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.hmi.settings import HmiSettings
from linewatch.plant.mqtt.settings import MqttSettings
from linewatch.plant.settings import BridgeSettings
from linewatch.service_settings import ServiceSettings
from linewatch.strip.settings import StripSettings

if TYPE_CHECKING:
    from linewatch.check.trials import Trials


def check(
    config: Annotated[
        Path,
        Parameter(help="Configuration of a service, a strip, a history or a bridge; grading rules; a taxonomy."),
    ],
    /,
    *,
    taxonomy: Annotated[Path, Parameter(help="Taxonomy that grading rules are checked against.")] = TAXONOMY,
    working_dir: Annotated[
        Path | None,
        Parameter(
            help="Folder from which relative paths count. Default: WorkingDirectory of the systemd unit that runs this "
            "configuration, else the present folder."
        ),
    ] = None,
    as_json: Annotated[bool, Parameter(name="--json", help="Print the file with all defaults filled in.")] = False,
) -> int:
    if (fault := shared_cv2(packages_distributions())) is not None:
        print(f"linewatch: {fault}", file=sys.stderr)
    text = read_text(config, "give the path of a TOML configuration")
    tree = toml_of(text, config)
    kind = kind_of(tree)
    if kind is GradingSettings:
        grading = grading_from(tree, str(config), Taxonomy.read(taxonomy))
        print(grading.model_dump_json(indent=1) if as_json else f"{config}: good")
        return 0
    settings = checked(tree, str(config), kind, text)
    trials, about = _try_all(settings, text, config, working_dir)
    if as_json:
        print(settings.model_dump_json(indent=1))
        for row in trials.faults:
            print(f"linewatch: {row.setting}: {row.result}", file=sys.stderr)
    else:
        _print(config, settings, trials, about)
    return SourceError.exit_code if trials.faults else 0


def _try_all(settings: BaseModel, text: str, config: Path, working_dir: Path | None) -> "tuple[Trials, list[str]]":
    """Try what the settings name; return what was found, and lines on how the configuration is run."""
    from linewatch.check.monitoring import check_monitoring
    from linewatch.check.mqtt import check_mqtt
    from linewatch.check.others import check_bridge, check_history, check_hmi
    from linewatch.check.service import check_service
    from linewatch.check.strip import check_strip
    from linewatch.check.trials import Trials
    from linewatch.check.units import running_process, unit_of, user_name, working_folder
    from linewatch.daemon.wall_clock import synchronised

    unit, owner = unit_of(config), running_process(config)
    folder = working_folder(unit, working_dir)
    whose = f", the WorkingDirectory of {unit.name}" if unit and folder == unit.folder else ""
    about = [f"relative paths count from {folder.absolute()}{whose}", f"tried as user {user_name()}"]
    if unit and unit.user and unit.user != user_name():
        about[1] += (
            f", but {unit.name} runs as {unit.user}, who may read and write other files: "
            f"sudo -u {unit.user} {Path(sys.argv[0]).absolute()} check {config.absolute()}"
        )
    elif os.geteuid() == 0:
        about[1] += ", who may read and write everything; a service usually runs as another user"
    if isinstance(settings, ServiceSettings | HistorySettings) and synchronised() is False:
        about.append(
            "the clock of this host is not synchronised, so dates may be wrong: switch on NTP or PTP (`timedatectl`)"
        )
    if owner is not None:
        about.append(f"process {owner} runs this configuration now; it is not disturbed")
    trials = Trials(text, unit)
    try:
        with contextlib.chdir(folder):
            if isinstance(settings, ServiceSettings):
                check_service(settings, trials, owner)
            elif isinstance(settings, StripSettings):
                check_strip(settings, trials, owner)
            elif isinstance(settings, HistorySettings):
                check_history(settings, trials)
            elif isinstance(settings, HmiSettings):
                check_hmi(settings, trials, owner)
            elif isinstance(settings, MqttSettings):
                check_mqtt(settings, trials, owner)
            elif isinstance(settings, BridgeSettings):
                check_bridge(settings, trials, owner)
            if (monitoring := getattr(settings, "monitoring", None)) is not None:
                check_monitoring(monitoring, trials, owner)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be entered ({error.strerror}); make it, or give --working-dir") from error
    return trials, about


def _print(config: Path, settings: BaseModel, trials: "Trials", about: Sequence[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if trials.rows:
        table = Table(box=None, pad_edge=False)
        for column in ("", "line", "setting", "value", "result"):
            table.add_column(column, overflow="fold")
        for row in trials.rows:
            line = "default" if row.line is None else str(row.line)
            mark = Text("good" if row.good else "FAILS", style="" if row.good else "bold red")
            table.add_row(mark, line, Text(row.setting), Text(row.value), Text(row.result))
        console = Console(width=None if sys.stdout.isatty() else 1000)
        with console.capture() as drawn:
            console.print(table)
        print("\n".join(line.rstrip() for line in drawn.get().splitlines()))
        for line in about:
            print(f"  {line}")
    if isinstance(settings, ServiceSettings):
        if settings.source is None:
            print("  it has no [source], which `linewatch run` and `record` need and `linewatch replay` does not")
        for roll in settings.roll:
            low, high = roll.pitch_mm
            print(f"  roll {roll.name}, stand {roll.stand}: marks every {low:.0f} to {high:.0f} mm")
    faults = len(trials.faults)
    print(f"{config}: {f'{faults} of {len(trials.rows)} cannot be used as they are' if faults else 'good'}")
