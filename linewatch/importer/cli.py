"""`linewatch engine import`."""

import json
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from linewatch.contracts.errors import ConfigError
from linewatch.terminal import AsJson, extra


def import_engine(
    file: Annotated[Path, Parameter(help="The network, an .onnx file; files with its weights are read beside it.")],
    /,
    *,
    task: Annotated[
        Literal["classify", "segment", "screen"],
        Parameter(help="classify: scores of a tile's classes; segment: a map of a tile; screen: a map of a frame."),
    ],
    classes: Annotated[
        str, Parameter(help="Names of the classes in the order of the output: a,b,c. background or ok: clean steel.")
    ] = "",
    layout: Annotated[
        Literal["nchw", "nhwc"] | None, Parameter(help="Place of the channels. Default: as the input's shape says.")
    ] = None,
    mean: Annotated[str, Parameter(help="Subtracted from gray levels of 0 to 1: one number, or one a channel.")] = "0",
    std: Annotated[str, Parameter(help="Divides what is left: one number, or one for each channel.")] = "1",
    white: Annotated[
        float, Parameter(help="Value of a white pixel before --mean and --std: 255 for some networks of Keras.")
    ] = 1.0,
    activation: Annotated[
        Literal["sigmoid", "softmax", "none"] | None,
        Parameter(help="What makes probabilities of the output. Default: none, if it looks like probabilities."),
    ] = None,
    background: Annotated[
        int | None, Parameter(help="Channel of the output that stands for clean steel, counted from 0.")
    ] = None,
    output: Annotated[str | None, Parameter(help="The output to use, where the network has several.")] = None,
    lines: Annotated[
        int | None, Parameter(help="Lines of a tile. Default: 256, as the shipped engines; a screen: of the frame.")
    ] = None,
    width: Annotated[int | None, Parameter(help="Pixels across a tile. Default: 256; a screen: 1600.")] = None,
    cell_px: Annotated[
        int | None, Parameter(help="Side of a screen's cells in pixels. Default: as the network gives them.")
    ] = None,
    name: Annotated[str | None, Parameter(help="Name of the engine. Default: that of the file.")] = None,
    engines: Annotated[Path, Parameter(name=["--engines", "--engines-dir"], help="Folder of engines.")] = Path(
        "engines"
    ),
    as_json: AsJson = False,
) -> None:
    with extra("import"):
        from linewatch.contracts.manifest import Task
        from linewatch.importer.engine_import import ImportRequest, import_engine
        from linewatch.importer.graph import Normalisation
        from linewatch.importer.network import Layout
        from linewatch.importer.outputs import Activation

        request = ImportRequest(
            task=Task(task),
            classes=tuple(classes.split(",")) if classes else (),
            layout=Layout(layout) if layout else None,
            normalisation=Normalisation(_numbers("--mean", mean), _numbers("--std", std), white),
            activation=Activation(activation) if activation else None,
            background=background,
            output=output,
            lines=lines,
            width=width,
            cell_px=cell_px,
            name=name,
        )
        made = import_engine(file, request, engines)
    if as_json:
        print(
            json.dumps(
                {
                    "folder": str(made.folder),
                    "manifest": made.manifest.model_dump(mode="json"),
                    "facts": made.facts,
                    "notes": made.notes,
                }
            )
        )
        return
    print(f"{made.folder}: {made.manifest.task} engine, checked on reference tiles")
    for line in (*made.facts, *made.notes):
        print(f"  {line}")


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{option} {text}: expected numbers, for example 0.485,0.456,0.406") from error
