"""Checks of a data set before a training starts: all problems at once, and what the user should know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from rich.console import Console
from rich.progress import track

from linewatch.datasets.class_names import CLEAN, is_clean
from linewatch.datasets.errors import DatasetError
from linewatch.datasets.layout import images
from linewatch.datasets.own.content import named
from linewatch.datasets.problems import DatasetProblem
from linewatch.datasets.specimen import DataSet, Knowledge, Specimen, read_gray
from linewatch.datasets.splits import FOLDS

_SHOWN_FROM = 500
_THREADS = 4


@dataclass(frozen=True, slots=True)
class ClassCount:
    """How much a set has of one class: images that show it, its boxes, its outlines, and images with a mask of it."""

    label: str
    images: int
    boxes: int
    outlines: int
    masks: int


def class_counts(data_set: DataSet) -> list[ClassCount]:
    """Return the counts of every class of the set, in its order."""
    images, boxes, outlines, masks = Counter[str](), Counter[str](), Counter[str](), Counter[str]()
    for one in data_set.specimens:
        images.update(one.labels)
        boxes.update(box.label for box in one.boxes)
        outlines.update(outline.label for outline in one.outlines)
        if one.knowledge is Knowledge.OUTLINED:
            masks.update(set(one.labels) & set(one.mask_labels))
    return [ClassCount(name, images[name], boxes[name], outlines[name], masks[name]) for name in data_set.labels]


def notes(data_set: DataSet) -> list[str]:
    """Return how the set was read where there was a choice, and what its size allows."""
    found = list(data_set.notes)
    few = [f"{one.label} ({one.images})" for one in class_counts(data_set) if 0 < one.images < FOLDS]
    if few:
        found.append(
            f"classes with fewer than {FOLDS} images: {', '.join(few)}; training, validation and test may not each "
            "have one"
        )
    if len(data_set.labels) == 1:
        found.append(_one_class(data_set.labels[0]))
    return found


def tell(data_set: DataSet) -> None:
    """Print to stderr how an own set was read."""
    console = Console(stderr=True, soft_wrap=True)
    lines = [f"read as {data_set.recognised}"] if data_set.recognised else []
    for line in [*lines, *data_set.notes]:
        console.print(f"linewatch: {data_set.name}: {line}", markup=False, highlight=False)


def require_choice(name: str, classes: Sequence[str], specimens: Sequence[Specimen]) -> None:
    """Raise `DatasetError` unless each image is of one class, and there are two classes at least.

    Of a single class every network is right, and of an image that shows several classes no answer is.
    """
    if len(classes) == 1:
        raise DatasetError(f"{name}: {_one_class(classes[0])}")
    mixed = [f"{one.file} ({', '.join(one.labels)})" for one in specimens if one.mixed]
    if mixed:
        raise DatasetError(
            f"{name}: images that show several classes: {len(mixed)} ({named(mixed)}), expected one class for each, "
            "since the classes exclude each other here; take them out, or use a network of outlines such as tlu_net"
        )


def _one_class(label: str) -> str:
    return (
        f"one class only, {label}: classification has nothing to tell apart, and top-1 1.0 would be no result; "
        "add images of another class or without defects"
    )


def problems(data_set: DataSet) -> list[DatasetProblem]:
    """Decode every image and return all problems of the set; large sets show a progress bar.

    Problems are: images that are missing or do not decode; masks that are missing, of another size or with run lengths
    out of bounds, or empty; boxes and outlines outside their image or without area; images of another size than their
    annotation says; images named twice or without a label; classes without an image; what could not be read.
    """
    counted = Counter(one.path for one in data_set.specimens)
    found = list(data_set.problems)
    found += [
        DatasetProblem(path, f"named {count} times; take the other rows out")
        for path, count in counted.items()
        if count > 1
    ]
    if not data_set.recognised:  # the reader of an own set names every image in its folder
        found += _unlabelled(data_set)
    counts = Counter(label for one in data_set.specimens for label in one.labels)
    found += [
        DatasetProblem(data_set.root, f"class {label} has no image; add some, or use another set")
        for label in data_set.labels
        if not counts[label]
    ]
    with ThreadPoolExecutor(_THREADS) as pool:
        checked = pool.map(partial(problems_of, own=bool(data_set.recognised)), data_set.specimens)
        if len(data_set.specimens) >= _SHOWN_FROM:
            checked = iter(
                track(
                    checked,
                    f"checking {data_set.name}",
                    total=len(data_set.specimens),
                    console=Console(stderr=True),
                    transient=True,
                )
            )
        return found + [problem for each in checked for problem in each]


def _unlabelled(data_set: DataSet) -> Iterator[DatasetProblem]:
    """Yield the images beside labelled ones that have no label."""
    named = {one.path for one in data_set.specimens} | {one.mask_path for one in data_set.specimens}
    for folder in sorted({one.path.parent for one in data_set.specimens}):
        if folder.is_dir():
            for path in images(folder):
                if path not in named:
                    yield DatasetProblem(path, "this image has no label; label it or move it away")


def problems_of(one: Specimen, *, own: bool) -> list[DatasetProblem]:
    """Return what is wrong with one image, its marks and its mask. own: of a user's own set, where an empty mask is."""
    if not one.path.is_file():
        return [DatasetProblem(one.path, "a label names it, but it is not there; restore it or take its label out")]
    try:
        shape = read_gray(one.path).shape
    except DatasetError as error:
        return [DatasetProblem(one.path, str(error).removeprefix(f"{one.path}: "))]
    found = [DatasetProblem(one.path, text) for text in _of_marks(one, *shape)]
    if found or one.knowledge is not Knowledge.OUTLINED:
        return found
    return _of_mask(one, shape, own)


def _of_marks(one: Specimen, lines: int, width: int) -> Iterator[str]:
    """Yield what is wrong with the size that the annotation states, with boxes and with outlines."""
    if one.stated_px is not None and one.stated_px != (lines, width):
        turned = one.stated_px == (width, lines)
        remedy = (
            "the image has an Exif orientation that the marks do not follow; save it turned, without the tag"
            if turned
            else "restore the image that was annotated"
        )
        yield f"is {width} x {lines}, but annotated as {one.stated_px[1]} x {one.stated_px[0]}; {remedy}"
        return
    for box in one.boxes:
        where = f"box {box.label} ({box.x0}, {box.y0}, {box.x1}, {box.y1})"
        if box.x0 >= box.x1 or box.y0 >= box.y1:
            yield f"{where} has no area; draw it again or take it out"
        elif 0 < box.x1 <= 1 and 0 < box.y1 <= 1:
            yield f"{where} is one pixel in the corner, expected pixels, not shares of the size; multiply them by it"
        elif box.x0 < 0 or box.y0 < 0 or box.x1 > width + 1 or box.y1 > lines + 1:
            yield f"{where} leaves the image, {width} x {lines}"
    for outline in one.outlines:
        bounds = outline.shape.bounds()
        if bounds is not None and bounds.leave(lines, width):
            yield (
                f"outline {outline.label} ({bounds.x0:g}, {bounds.y0:g}, {bounds.x1:g}, {bounds.y1:g}) leaves the "
                f"image, {width} x {lines}"
            )
            continue
        if bounds is not None and 0 < bounds.x1 <= 1 and 0 < bounds.y1 <= 1:
            yield f"outline {outline.label} is one pixel in the corner, expected pixels, not shares of the size"
            continue
        try:
            if not outline.shape.pixels(lines, width).any():
                yield f"outline {outline.label} has no area; draw it again or take it out"
        except DatasetError as error:
            yield str(error)


def _of_mask(one: Specimen, shape: tuple[int, ...], own: bool) -> list[DatasetProblem]:
    """Return what is wrong with a mask. Published sets have a few empty masks, with which their papers trained."""
    path = one.mask_path or one.path
    if one.mask_path is not None and not one.mask_path.is_file():
        return [DatasetProblem(one.mask_path, f"the mask of {one.file} is not there; restore it")]
    try:
        mask = one.mask()
    except DatasetError as error:
        return [DatasetProblem(path, str(error).removeprefix(f"{path}: "))]
    if mask.shape != shape:
        return [
            DatasetProblem(
                path,
                f"a mask of {mask.shape[1]} x {mask.shape[0]} for an image of {shape[1]} x {shape[0]}; not its mask",
            )
        ]
    if own and one.mask_path is not None and not mask.any() and not all(map(is_clean, one.labels)):
        return [
            DatasetProblem(
                path,
                f"is empty, but {one.file} is labelled {'+'.join(one.labels)}; draw the defect, or label the image "
                f"{CLEAN}",
            )
        ]
    return []
