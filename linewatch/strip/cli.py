"""`linewatch strip` and `join`: one strip under several cameras, live and from their records."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from linewatch.logs import configure_logs
from linewatch.terminal import AsJson, print_pairs


def strip(config: Annotated[Path, Parameter(help="Configuration of a strip under several cameras.")], /) -> None:
    from linewatch.strip.service import run_strip
    from linewatch.strip.settings import load_strip_settings

    settings = load_strip_settings(config)
    configure_logs(settings.log.level)
    run_strip(settings, lambda: load_strip_settings(config))


def join(
    config: Annotated[Path, Parameter(help="Configuration of a strip under several cameras.")],
    verdicts: Annotated[
        tuple[Path, ...],
        Parameter(name="FILE", help="The verdict file of each camera, in any order (`linewatch replay --out`)."),
    ],
    /,
    *,
    out: Annotated[Path, Parameter(help="Write the strip's verdicts to this JSON Lines file.")],
    as_json: AsJson = False,
) -> None:
    from linewatch.strip.join_files import join_files, join_rows
    from linewatch.strip.settings import load_strip_settings

    summary = join_files(load_strip_settings(config), verdicts, out)
    if as_json:
        print(json.dumps(asdict(summary)))
    else:
        print_pairs("strip", join_rows(summary))
