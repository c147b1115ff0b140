"""`linewatch datasets`: what a data set holds, and what is wrong with it. The options of sets for other commands."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from linewatch.terminal import AsJson, extra, wide_console

if TYPE_CHECKING:
    from linewatch.datasets import DataSet
    from linewatch.datasets.arguments import OwnSets

_PROBLEMS = 3
"""The exit code of unusable input."""

Data = Annotated[tuple[str, ...], Parameter(help="NAME=DIR of a data set, or a folder of data sets. May be repeated.")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class OwnSetOptions:
    """How data sets of one's own are read."""

    layout: Annotated[
        str | None,
        Parameter(help="csv, coco, yolo, voc, labelme, cvat, masks or folders. Default: recognised by what is there."),
    ] = None
    unmarked: Annotated[
        Literal["unknown", "clean"],
        Parameter(help="What an image is that no annotation mentions: unknown, and not used, or free of defects."),
    ] = "unknown"

    def own_sets(self) -> "OwnSets":
        """Return the options for `open_sets`. Raises ConfigError for an unknown layout."""
        from linewatch.datasets.arguments import OwnSets

        return OwnSets(self.layout, self.unmarked)


def datasets(
    action: Annotated[Literal["check"], Parameter(help="check: decodes every image and lists all problems.")],
    /,
    *,
    data: Data = (),
    own: OwnSetOptions = OwnSetOptions(),
    as_json: AsJson = False,
) -> int:
    with extra("train"):
        from linewatch.datasets.arguments import open_sets
        from linewatch.datasets.check import class_counts, notes, problems
        from linewatch.datasets.problems import shortened

        code = 0
        for data_set in open_sets(data, own.own_sets()):
            found = problems(data_set)
            code = _PROBLEMS if found else code
            if as_json:
                body = {
                    "name": data_set.name,
                    "recognised": data_set.recognised,
                    "images": len(data_set.specimens),
                    "classes": [asdict(one) for one in class_counts(data_set)],
                    "notes": notes(data_set),
                    "problems": [{"path": str(one.path), "text": one.text} for one in found],
                }
                print(json.dumps(body, indent=1))
            else:
                _print_table(data_set)
                for note in notes(data_set):
                    print(f"note: {note}")
                for line in shortened(found):
                    print(f"problem: {line}")
                print(f"{data_set.name}: " + (f"{len(found)} problems; --json lists all" if found else "no problem"))
    return code


def _print_table(data_set: "DataSet") -> None:
    from rich.table import Table

    from linewatch.datasets.check import class_counts

    read_as = f", read as {data_set.recognised}" if data_set.recognised else ""
    print(f"{data_set.name}: {len(data_set.specimens)} images in {data_set.root}{read_as}")
    table = Table("class", *("images", "boxes", "outlines", "masks"), box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in class_counts(data_set):
        table.add_row(one.label, str(one.images), str(one.boxes), str(one.outlines), str(one.masks))
    unlabelled = sum(not one.labels for one in data_set.specimens)
    if unlabelled:
        table.add_row("(unknown)", str(unlabelled))
    wide_console().print(table)
