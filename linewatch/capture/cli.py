"""`linewatch cameras`: GenICam cameras on the network and on USB."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from linewatch.contracts.errors import ConfigError
from linewatch.logs import configure_logs
from linewatch.terminal import AsJson, plain_console, print_pairs, wide_console

if TYPE_CHECKING:
    from linewatch.capture.genicam.look import Look

Which = Annotated[str, Parameter(name="ID", help="Serial number, address, MAC address or user-defined name.")]

_NONE = (
    "no camera answers; check power and cable, that the interface has an address of the camera's network, and that no "
    "firewall drops UDP from port 3956"
)


def list_cameras(*, as_json: AsJson = False) -> None:
    """List the cameras that answer, and who holds each."""
    from linewatch.capture.genicam.discovery import found_cameras

    cameras = found_cameras()
    if as_json:
        print(json.dumps([asdict(one) for one in cameras]))
        return
    if not cameras:
        print(_NONE)
        return
    from rich.table import Table

    table = Table(title="cameras", title_justify="left")
    for column in ("vendor", "model", "serial", "address", "MAC", "protocol", "held by"):
        table.add_column(column, overflow="fold")
    for one in cameras:
        table.add_row(one.vendor, one.model, one.serial, one.address, one.mac, one.protocol, one.holder or "nobody")
    wide_console().print(table)


cameras = App(name="cameras", default_command=list_cameras, group_commands="Actions")


@cameras.command
def show(camera: Which, pattern: str = "", /, *, as_json: AsJson = False) -> None:
    """Show a camera's features: type, value, bounds. PATTERN: only those whose name contains it."""
    from linewatch.capture.genicam.connection import looked_at

    with looked_at(camera) as (found, features):
        shown = [one for one in features.all() if pattern.lower() in one.name.lower()]
    if as_json:
        print(json.dumps({"camera": asdict(found), "features": [asdict(one) for one in shown]}))
        return
    from rich.table import Table

    table = Table(title=found.told, title_justify="left")
    for column in ("category", "feature", "type", "value", "bounds", "access"):
        table.add_column(column, overflow="fold")
    category = None
    for one in shown:
        if one.category != category:
            table.add_section()
        value = "" if one.value is None else f"{one.value:g}" if isinstance(one.value, float) else str(one.value)
        told = one.category if one.category != category else ""
        table.add_row(told, one.name, one.type, f"{value} {one.unit}".strip(), one.bounds, one.access)
        category = one.category
    wide_console().print(table)


@cameras.command
def grab(
    camera: Which,
    /,
    *,
    out: Annotated[Path, Parameter(help="PNG to write.")],
    config: Annotated[
        Path | None,
        Parameter(help="Set the camera as [source] and [line] of this configuration say. Default: as it is set now."),
    ] = None,
    black: Annotated[int | None, Parameter(help="Level that becomes black; for more than 8 bits. Default: 0.")] = None,
    white: Annotated[int | None, Parameter(help="Level that becomes white. Default: the highest.")] = None,
    as_json: AsJson = False,
) -> None:
    """Take one picture, and say how bright it is."""
    from linewatch.capture.genicam.look import look

    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out}: found suffix {out.suffix!r}, expected .png; rename it")
    configure_logs("warning")
    _print_look(look(camera, config, black, white), out, as_json=as_json)


def _print_look(seen: "Look", out: Path, *, as_json: bool) -> None:
    import cv2

    from linewatch.files import write_output

    write_output(out, cv2.imencode(".png", seen.image)[1].tobytes())
    facts = {name: value for name, value in asdict(seen).items() if name != "image"} | {"picture": str(out)}
    if as_json:
        print(json.dumps(facts))
        return
    lines, width = seen.image.shape
    print_pairs(
        seen.camera,
        [
            ("picture", f"{out}, {width} px x {lines} lines"),
            ("pixel format", f"{seen.pixel_format}, levels {seen.black_level} to {seen.white_level} become 0 to 255"),
            ("brightness", f"mean {seen.mean:.0f}, 1 % are below {seen.low}, 1 % above {seen.high}"),
            ("blown out", f"{seen.saturated:.2%} of the pixels are at 255"),
        ],
    )
    if seen.missing_lines:
        plain_console().print(f"{seen.missing_lines} of its lines were not received")
