"""`linewatch strip`: one strip under several cameras."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from linewatch.logs import configure_logs


def strip(config: Annotated[Path, Parameter(help="Configuration of a strip under several cameras.")], /) -> None:
    from linewatch.strip.service import run_strip
    from linewatch.strip.settings import load_strip_settings

    settings = load_strip_settings(config)
    configure_logs(settings.log.level)
    run_strip(settings)
