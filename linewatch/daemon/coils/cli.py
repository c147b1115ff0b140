"""`linewatch coil`: tell a running service of coils."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from linewatch.client.cli import RequestOptions
from linewatch.config.load import validated
from linewatch.contracts.errors import ConfigError
from linewatch.terminal import AsJson, print_pairs

if TYPE_CHECKING:
    from linewatch.wire.schema import CoilDataBody, CoilReply


_Text = Annotated[str | None, Parameter(help="data: of the coil.")]
_Number = Annotated[float | None, Parameter(help="data: of the coil.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class CoilDataOptions:
    """What `data` can say of a coil: the fields of `wire.schema.CoilDataBody` but its id."""

    steel_grade: _Text = None
    product: _Text = None
    customer: _Text = None
    thickness_mm: _Number = None
    width_mm: _Number = None
    length_mm: _Number = None
    head_crop_mm: _Number = None
    tail_crop_mm: _Number = None


def coil(
    action: Annotated[Literal["start", "end", "data", "show"], Parameter(help="show: changes nothing.")],
    coil: Annotated[
        str | None, Parameter(name="ID", help="The coil; default for end: the one under the camera.")
    ] = None,
    /,
    *,
    at_mm: Annotated[
        float | None, Parameter(help="start, end: position along the coil under the camera. Default: now.")
    ] = None,
    file: Annotated[
        Path | None, Parameter(help="data: the .json or .toml file of a coil, instead of the options.")
    ] = None,
    facts: CoilDataOptions = CoilDataOptions(),
    as_json: AsJson = False,
    request: RequestOptions = RequestOptions(),
) -> None:
    given_data = {name: value for name, value in asdict(facts).items() if value is not None}
    given = {"ID": coil is not None, "--at-mm": at_mm is not None, "--file": file is not None}
    usable = {"start": {"ID", "--at-mm"}, "end": {"ID", "--at-mm"}, "data": {"ID", "--file"}, "show": set[str]()}
    unusable = [name for name, there in given.items() if there and name not in usable[action]]
    if action != "data":
        unusable += [f"--{name.replace('_', '-')}" for name in sorted(given_data)]
    if unusable:
        raise ConfigError(f"coil {action} takes no {unusable[0]}; leave it out")
    if action in ("start", "data") and (coil is None) == (file is None):
        raise ConfigError(f"coil {action}: expected the ID of the coil{', or --file' * (action == 'data')}")
    with request.commander() as commander:
        token, by = request.token, request.by
        match action:
            case "start":
                assert coil is not None
                reply = commander.start_coil(coil, at_mm, token=token, by=by)
            case "end":
                reply = commander.end_coil(coil, at_mm, token=token, by=by)
            case "data":
                reply = commander.tell_coil(_coil_data(coil, file, given_data), token=token, by=by)
            case "show":
                reply = commander.show_coil()
    if as_json:
        print(reply.model_dump_json())
    else:
        _print_reply(reply)


def _coil_data(coil: str | None, file: Path | None, given_data: dict[str, object]) -> "CoilDataBody":
    from linewatch.daemon.coils.folder import read_coil_file
    from linewatch.wire.schema import CoilDataBody

    if file is not None:
        if given_data:
            raise ConfigError(
                f"coil data --file takes no --{sorted(given_data)[0].replace('_', '-')}; write it in the file"
            )
        return read_coil_file(file)
    data, faults = validated(CoilDataBody, {"coil": coil, **given_data}, "coil data")
    if data is None:
        raise ConfigError("\n".join(faults))
    return data


def _print_reply(reply: "CoilReply") -> None:
    """Print what became of the command, then how the coil under the camera is inspected."""
    if reply.token is not None:
        recipe = [f"recipe {reply.recipe}" if reply.recipe else "the default"] if reply.notes or reply.recipe else []
        print("; ".join((f"accepted (token {reply.token})", *recipe, *reply.notes)))
    now = reply.now
    data = now.data.model_dump(exclude_none=True, exclude={"coil"}) if now.data else {}
    between = ", between two coils: alarms are suppressed" if now.between_coils else ""
    rows = [
        ("coil", (now.coil or "none yet") + between),
        ("recipe", now.recipe or "default"),
        ("data", ", ".join(f"{name} {value}" for name, value in data.items()) or "none"),
        *(("note", note) for note in now.notes),
        ("coils known", str(now.known)),
    ]
    print_pairs("Under the camera", [*rows, ("trouble", now.trouble)] if now.trouble else rows)
