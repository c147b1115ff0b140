"""What the address of a page about coils asks for: filters of the search and of sums over weeks."""

from collections.abc import Mapping
from datetime import datetime, timedelta, tzinfo
from typing import Final

from linewatch.history.search import CoilFilter
from linewatch.hmi.page import PageError
from linewatch.hmi.texts import N_

MOST_TEXT: Final = 128
YEARS: Final = (1971, 2200)
_YES_NO: Final = {"yes": True, "no": False}


def chosen(query: Mapping[str, str], name: str) -> str | None:
    """Return a value of the query; None where it is not given. Raises PageError for one that is too long."""
    value = query.get(name, "")
    if len(value) > MOST_TEXT:
        raise PageError(400, N_("{name}: at most {most} characters"), name=name, most=MOST_TEXT)
    return value or None


def day(query: Mapping[str, str], name: str, zone: tzinfo) -> datetime | None:
    """Return when a day of the query begins in the plant's zone; None where it is not given. Raises PageError."""
    text = chosen(query, name)
    if text is None:
        return None
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=zone)
        if not YEARS[0] <= found.year < YEARS[1]:
            raise ValueError(text)
    except ValueError as error:
        raise PageError(400, N_("{name}: expected a day such as 2026-11-30, from 1971 on"), name=name) from error
    return found


def coil_filter(query: Mapping[str, str], zone: tzinfo) -> CoilFilter:
    """Return the filter of the search for coils. Raises PageError for a value that it cannot have."""
    begin, end = day(query, "from", zone), day(query, "to", zone)
    return CoilFilter(
        text=chosen(query, "text"),
        service=chosen(query, "service"),
        side=chosen(query, "side"),
        grade=chosen(query, "grade"),
        product=chosen(query, "product"),
        defect_class=chosen(query, "class"),
        cause=chosen(query, "cause"),
        begun_from_ns=None if begin is None else unix_ns(begin),
        begun_to_ns=None if end is None else unix_ns(end + timedelta(days=1)),  # that day included
        worst_share=_share(query, "lost"),
        roll_marks=_yes_no(query, "rolls"),
        labelled=_yes_no(query, "labelled"),
        ended=_yes_no(query, "ended"),
    )


def unix_ns(at: datetime) -> int:
    """Return a time as Unix nanoseconds."""
    return int(at.timestamp()) * 10**9


def _yes_no(query: Mapping[str, str], name: str) -> bool | None:
    text = chosen(query, name)
    if text is not None and text not in _YES_NO:
        raise PageError(400, N_("{name}: expected yes or no"), name=name)
    return None if text is None else _YES_NO[text]


def _share(query: Mapping[str, str], name: str) -> float | None:
    """Return a percentage of the query as a share."""
    text = chosen(query, name)
    if text is None:
        return None
    try:
        percent = float(text)
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise PageError(400, N_("{name}: expected a percentage"), name=name)
    return percent / 100
