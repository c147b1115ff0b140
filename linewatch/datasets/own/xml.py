"""Annotations in XML, from files that anybody may have written."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

from linewatch.datasets.errors import DatasetError


class _WithoutDoctype(ElementTree.TreeBuilder):
    """Refuses a document type before its entities are read: a few lines of them can expand to gigabytes."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise DatasetError("has a document type, which may define entities; no annotation tool writes one: take it out")


def read_xml(path: Path, what: str) -> ElementTree.Element:
    """Return the root element of an XML file; `DatasetError` if it is none or has a document type."""
    try:
        return ElementTree.parse(path, ElementTree.XMLParser(target=_WithoutDoctype())).getroot()
    except DatasetError as error:
        raise DatasetError(f"{path}: {error}") from None
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise DatasetError(f"{path}: expected {what}, found {error}; restore the file") from error


def number(element: ElementTree.Element, attribute: str) -> float:
    """Return a number from an attribute; `DatasetError` if it is none."""
    try:
        found = float(element.get(attribute, ""))
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise DatasetError(f"<{element.tag}> has {attribute}={element.get(attribute)!r}, expected a number of pixels")
    return found
