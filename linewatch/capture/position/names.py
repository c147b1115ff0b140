"""What the names of pictures tell: when each was taken, in which order they come, and how many are missing."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import combinations, pairwise
from pathlib import Path, PurePath
from statistics import median
from typing import Final, Literal, NamedTuple

import structlog

from linewatch.contracts.errors import SourceError

_DAY = (
    r"(?<!\d)(?P<year>20\d\d)[-_.]?(?P<month>\d\d)[-_.]?(?P<day>\d\d)[T_ -]{0,2}",
    r"(?<!\d)(?P<day>\d\d)[-_.]?(?P<month>\d\d)[-_.]?(?P<year>20\d\d)[T_ -]{0,2}",
    r"(?<!\d)(?P<month>\d\d)[-_.]?(?P<day>\d\d)[-_.]?(?P<year>20\d\d)[T_ -]{0,2}",
)
_CLOCK = (
    r"(?P<hour>\d\d)[-_:.h]?(?P<minute>\d\d)[-_:.m]?(?P<second>\d\d)"
    r"(?:[.,](?P<fraction>\d+)|(?P<by>[_:-]?)(?P<joined>\d{9}|\d{6}|\d{3}))?(?!\d)"
)
_DATES = tuple(re.compile(day + _CLOCK) for day in _DAY)
_TIME_OF_DAY = re.compile(r"(?<!\d)" + _CLOCK)
_UNIX = re.compile(r"(?<!\d)(\d{10}(?:\d{3}|\d{6}|\d{9})?)(?:[.,](\d+)|[_-](\d{9}|\d{6}|\d{3}))?(?!\d)")
_UNIX_S: Final = range(946_684_800, 4_102_444_800)
"""Unix times of the years 2000 to 2099. Ten digits beyond them are a counter, such as 0000000001."""

_MOST_SERIES = 16
_MOST_MISSING = 100_000
_STEADY_SHARE = 0.5  # of the steps from one picture to the next that must be the usual one
_MEMBER_SHARE = 0.9  # of the pictures whose names must follow one pattern
_JITTER = 0.25  # of the usual time between two pictures
_CLOCK_ERROR = 0.01  # of the time between two pictures
_ODD_SHARE = 0.05  # of the times that may be neither the usual one nor a multiple of it

log = structlog.get_logger()


class TimeInName(NamedTuple):
    """A time in Unix nanoseconds, and where in the name it stands."""

    ns: int
    begin: int
    stop: int


@dataclass(frozen=True, slots=True)
class NameOrder:
    """The order of some pictures, and how many are missing directly before each, as far as their names tell.

    order: indices of the pictures. told: the same in words, for a user.
    """

    by: Literal["time", "number", "name"]
    order: tuple[int, ...]
    missing: tuple[int, ...]
    told: str


def natural(name: str) -> tuple[tuple[tuple[int, str], ...], str]:
    """Return a sort key: numbers by value, letters without case. The name itself orders `1.png` and `01.png`."""
    parts = re.split(r"([0-9]+)", name)
    return tuple((int(part), "") if part.isdecimal() else (-1, part.lower()) for part in parts), name


def order_of(pictures: Sequence[PurePath], longest_gap_s: float, counter: bool | None) -> NameOrder:
    """Find the order of pictures by their names, and which are missing.

    pictures: their paths below the folder, in natural order. counter: False: the names give no more than their order;
    True: they must tell which are missing; None: they may. Times tell it where they are steady, up to `longest_gap_s`;
    numbers tell it where they count in equal steps, most of them without a gap.

    Raises SourceError when two pictures stand for the same place, when pictures of several cameras seem to be mixed, or
    when the names must tell and do not.
    """
    _refuse_twins(pictures)
    plain = NameOrder(
        "name",
        tuple(range(len(pictures))),
        (0,) * len(pictures),
        f"{_count(pictures)} in the order of their names, one directly behind the other",
    )
    if counter is False:
        return plain
    found = _by_time(pictures, longest_gap_s) or _by_number(pictures)
    if found is not None:
        return found
    if counter:
        raise SourceError(
            f"[source] counter = true, but the names of {len(pictures)} pictures do not count in equal steps, the "
            f"first is {pictures[0]}; expected numbers such as frame_000123; rename them, or leave counter out"
        )
    told = f"{plain.told}; whether any is missing cannot be told from them"
    return NameOrder("name", by_time(pictures), plain.missing, told)


def by_time(pictures: Sequence[PurePath], *, may_be_mixed: bool = False) -> tuple[int, ...]:
    """Return indices that put pictures into the order of the times in their names, where each has its own.

    Raises SourceError when two pictures have one name but for the ending or case, or, unless `may_be_mixed`, when those
    of several cameras seem to be mixed.
    """
    _refuse_twins(pictures)
    found = _times_in(pictures)
    if found is None:
        return tuple(range(len(pictures)))
    times = [time.ns for time in found]
    if not may_be_mixed:
        _refuse_several(_series_of_times(pictures, found), _interleave)
    if len(set(times)) < len(times):
        return tuple(range(len(pictures)))
    return tuple(sorted(range(len(times)), key=lambda index: (times[index], index)))


def times_of(images: Sequence[Path], source: Literal["name", "mtime"]) -> tuple[int | None, ...]:
    """Return when each image was taken, in Unix nanoseconds; None for a file without a time.

    source: the file's name or its modification time. A name contains a date and time of day with or without fractions
    (`cam1_20261121T140305.123456.png`; the day or the month may stand first), taken as UTC, or Unix time in s, ms, us
    or ns, with or without a decimal fraction (`1795269785123.png`, `1795269785.123.png`). Raises SourceError when no
    file has a time.
    """
    named = _times_in(images) if source == "name" else None
    times: tuple[int | None, ...]
    if named is not None:
        times = tuple(time.ns for time in named)
    else:
        times = tuple(name_time_ns(image.stem) if source == "name" else _mtime_ns(image) for image in images)
    if not any(time is not None for time in times):
        raise SourceError(
            f"[source] times = '{source}', but none of {len(images)} images has a time, the first is {images[0].name}; "
            "expected a date and time (20261121T140305.123456) or Unix time (1795269785123) in the name; rename them, "
            "or leave times out: then counters in the names tell what is missing"
        )
    if missing := sum(time is None for time in times):
        first = next(image.name for image, time in zip(images, times, strict=True) if time is None)
        log.warning("images_without_time", images=missing, of=len(images), first=first)
    return times


def name_time_ns(stem: str) -> int | None:
    """Return the time in a file's name in Unix nanoseconds; None when it contains none."""
    found = _time_in(stem)
    return None if found is None else found.ns


def _time_in(stem: str, *, joined: bool = True, dates: Sequence[re.Pattern[str]] = _DATES) -> TimeInName | None:
    """Find the time in a name. joined: take digits behind a dash or the like for its fraction."""
    for pattern in dates:
        for found in pattern.finditer(stem):
            if (time := _time_of(found, joined=joined)) is not None:
                return time
    for unix in _UNIX.finditer(stem):
        digits, fraction, behind = unix.groups()
        if int(digits[:10]) not in _UNIX_S:
            continue
        stop = unix.end()
        if behind is not None and not joined:
            stop = unix.end(1)
        elif behind is not None and len(digits) == 10:
            fraction = behind
        unit_ns = 10 ** (19 - len(digits))
        time_ns = int(digits) * unit_ns + int((fraction or "0")[:9].ljust(9, "0")) * unit_ns // 10**9
        return TimeInName(time_ns, unix.start(), stop)
    return None


_Reader = Callable[..., TimeInName | None]
_DATED: Final[tuple[_Reader, ...]] = tuple(partial(_time_in, dates=(date,)) for date in _DATES)


def _first_time_of_day(stem: str, *, joined: bool = True) -> TimeInName | None:
    return next(_times_of_day(stem, joined=joined), None)


def _last_time_of_day(stem: str, *, joined: bool = True) -> TimeInName | None:
    return max(_times_of_day(stem, joined=joined), key=lambda time: time.begin, default=None)


def _times_of_day(stem: str, *, joined: bool) -> Iterator[TimeInName]:
    at = 0
    while (found := _TIME_OF_DAY.search(stem, at)) is not None:
        if (time := _time_of(found, joined=joined)) is not None:
            yield time
        at = found.start() + 1  # the next may begin within this one, as in 211126_140305


def _time_of(found: re.Match[str], *, joined: bool) -> TimeInName | None:
    """Return the time that a pattern found, without a date one of 1970-01-01; None where it is no time."""
    values = {"year": "1970", "month": "1", "day": "1", **found.groupdict()}
    parts = ("year", "month", "day", "hour", "minute", "second")
    try:
        moment = datetime(*(int(values[part]) for part in parts), tzinfo=UTC)  # type: ignore[arg-type,misc]
    except ValueError:
        return None
    left_out = bool(found["by"]) and not joined
    fraction = "0" if left_out else found["fraction"] or found["joined"] or "0"
    time_ns = round(moment.timestamp()) * 10**9 + int(fraction[:9].ljust(9, "0"))
    return TimeInName(time_ns, found.start(), found.start("by") if left_out else found.end())


def _times_in(pictures: Sequence[PurePath]) -> list[TimeInName] | None:
    """Find the time in each name; None unless all have one.

    Digits such as the last of `20261121_140305_000123` are a fraction, unless they count on from second to second. Six
    digits or three numbers are a time of day if they count seconds and minutes to 59.
    """
    readers: tuple[_Reader, ...] = (*_DATED, _first_time_of_day, _last_time_of_day)  # all names follow one
    for reader in readers:
        times = [reader(picture.stem) for picture in pictures]
        whole = [reader(picture.stem, joined=False) for picture in pictures]
        if None in times or None in whole:
            continue
        both = list(zip(times, whole, strict=True))
        if reader not in _DATED and not _reads_as_clock([apart.ns for _, apart in both]):  # type: ignore[union-attr]
            continue
        fractions = sorted((apart.ns, time.ns - apart.ns) for time, apart in both)  # type: ignore[union-attr]
        return whole if _counts_on(fractions) else times  # type: ignore[return-value]
    return None


def _reads_as_clock(times_ns: Sequence[int]) -> bool:
    """Say whether times of day are not just numbers: a counter would show seconds beyond 59 before the next minute."""
    seconds = [time_ns // 10**9 for time_ns in times_ns]
    return len({second // 60 for second in seconds}) > 1 and len({second % 60 for second in seconds}) > 2


def _counts_on(fractions: Sequence[tuple[int, int]]) -> bool:
    """Say whether these fractions, in order behind their full seconds, are a counter: fractions would begin anew."""
    if fractions[0][0] == fractions[-1][0]:
        return False
    steps = Counter(after - before for (_, before), (_, after) in pairwise(fractions))
    return min(steps) > 0 and max(steps.values()) >= _STEADY_SHARE * (len(fractions) - 1)


def _mtime_ns(image: Path) -> int | None:
    try:
        return image.stat().st_mtime_ns
    except OSError:
        return None


def _by_time(pictures: Sequence[PurePath], longest_gap_s: float) -> NameOrder | None:
    """Return the order by the times in the names, where all have one and they are steady."""
    times = [time.ns for time in _times_in(pictures) or ()]
    if len(set(times)) < max(3, len(pictures)):
        return None
    order = by_time(pictures)
    steps = [times[after] - times[before] for before, after in pairwise(order)]
    usual = median(steps)
    alike = sum(abs(step - usual) <= _JITTER * usual for step in steps)
    if alike < _STEADY_SHARE * len(steps) or not _are_multiples(
        [step for step in steps if step <= longest_gap_s * 1e9], usual
    ):
        return None
    gaps = [round(step / usual) - 1 if step <= longest_gap_s * 1e9 else 0 for step in steps]
    stops = sum(step > longest_gap_s * 1e9 for step in steps)
    told = f"{_count(times)} by the times in their names, one every {usual / 1e9:.6g} s"
    if stops:
        told += f"; {stops} gaps are longer than longest_gap_s = {longest_gap_s:g}, taken for stops of the strip"
    return _counted("time", order, gaps, told)


def _are_multiples(steps: Sequence[int], usual: float) -> bool:
    """Say whether nearly all steps are multiples of the usual one: else the strip changed its speed."""
    off = (abs(step - round(step / usual) * usual) > _JITTER * usual + _CLOCK_ERROR * step for step in steps)
    return sum(off) <= _ODD_SHARE * len(steps)


def _by_number(pictures: Sequence[PurePath]) -> NameOrder | None:
    """Return the natural order, with what is missing by the numbers in the names, where these count steadily."""
    times = _times_in(pictures)
    series = _series_of_numbers(pictures, times or [None] * len(pictures))
    if sum(map(len, series.values())) < max(2, _MEMBER_SHARE * len(pictures)):
        return None
    _refuse_several({key: list(members.values()) for key, members in series.items()}, _share_numbers)
    number = {index: value for members in series.values() for index, value in members.items()}
    chain = [number[index] for index in sorted(number)]
    if all(before < after for before, after in pairwise(chain)):
        series = {"": {index: number[index] for index in sorted(number)}}
    steps = {
        later: members[later] - members[index] for members in series.values() for index, later in pairwise(members)
    }
    for members in series.values():
        for index, later in pairwise(members):
            if members[index] == members[later] and times is None:
                raise SourceError(
                    f"{pictures[index]} and {pictures[later]} bear the same number, expected one picture for each; "
                    "move one away, or name the right ones by [source] pattern"
                )
    if not steps:
        return None
    counts = Counter(steps.values())
    most = max(counts.values())
    usual = min(step for step, count in counts.items() if count == most)
    gaps = {index: step // usual - 1 for index, step in steps.items()} if usual > 0 else {}
    if (
        not gaps
        or (len(steps) == 1 and usual > 1)  # two numbers alone tell no step
        or most < _STEADY_SHARE * len(steps)
        or any(step <= 0 or step % usual for step in steps.values())
        or sum(gaps.values()) > _MOST_MISSING
    ):
        return None
    told = f"{_count(pictures)} by the numbers in their names" + (f", one every {usual}" if usual > 1 else "")
    order = tuple(range(len(pictures)))
    return _counted("number", order, [gaps.get(index, 0) for index in order[1:]], told)


def _count(files: Sequence[object]) -> str:
    return "1 file" if len(files) == 1 else f"{len(files)} files"


def _counted(by: Literal["time", "number"], order: tuple[int, ...], gaps: Sequence[int], told: str) -> NameOrder:
    return NameOrder(by, order, (0, *gaps), f"{told}; {sum(gaps) or 'none'} missing between them")


def _series_of_numbers(pictures: Sequence[PurePath], times: Sequence[TimeInName | None]) -> dict[str, dict[int, int]]:
    """Return for each series of names that differ in one number only: that number, by the picture's index.

    That number is the one with the most values among names of one pattern; series of one picture are left out. Times
    are no numbers.
    """
    patterns: dict[tuple[str, ...], list[int]] = defaultdict(list)
    fields = []
    for index, (picture, time) in enumerate(zip(pictures, times, strict=True)):
        stem = picture.stem if time is None else _without(time, picture.stem)
        texts = re.split(r"[0-9]+", stem.lower())
        fields.append([int(digits) for digits in re.findall(r"[0-9]+", stem)])
        patterns[(picture.parent.as_posix(), *texts)].append(index)
    series: dict[str, dict[int, int]] = defaultdict(dict)
    for pattern, members in patterns.items():
        if len(members) < 2 or len(pattern) < 3:
            continue
        columns = list(zip(*(fields[index] for index in members), strict=True))
        at = max(range(len(columns)), key=lambda column: (len(set(columns[column])), column))
        for index in members:
            fixed = (*fields[index][:at], "#", *fields[index][at + 1 :])
            name = pattern[1] + "".join(f"{value}{text}" for value, text in zip(fixed, pattern[2:], strict=True))
            series[(PurePath(pattern[0]) / name).as_posix()][index] = fields[index][at]
    return {key: members for key, members in series.items() if len(members) > 1}


def _series_of_times(pictures: Sequence[PurePath], times: Sequence[TimeInName]) -> dict[str, list[int]]:
    """Return the times of pictures whose names differ in nothing else."""
    series = defaultdict(list)
    for picture, time in zip(pictures, times, strict=True):
        series[(picture.parent / _without(time, picture.stem)).as_posix()].append(time.ns)
    return series


def _without(time: TimeInName, stem: str) -> str:
    return f"{stem[: time.begin]}<time>{stem[time.stop :]}"


def _refuse_several(series: Mapping[str, list[int]], mixed: Callable[[list[int], list[int]], bool]) -> None:
    """Raise SourceError when some of these series seem to be pictures of several cameras, or of several coils."""
    if not 2 <= len(series) <= _MOST_SERIES or min(map(len, series.values())) < 2:
        return
    for one, other in combinations(series, 2):
        if mixed(series[one], series[other]):
            raise SourceError(
                f"found {len(series)} series of pictures side by side, such as {one} ({len(series[one])}) and {other} "
                f"({len(series[other])}); expected those of one camera and one coil; read each from a folder of its "
                "own, name one by [source] pattern, or set counter = false to read one behind the other"
            )


def _interleave(one: list[int], other: list[int]) -> bool:
    return max(min(one), min(other)) < min(max(one), max(other))


def _share_numbers(one: list[int], other: list[int]) -> bool:
    return 2 * len(set(one) & set(other)) >= min(len(one), len(other))


def _refuse_twins(pictures: Sequence[PurePath]) -> None:
    seen: dict[tuple[str, str], PurePath] = {}
    for picture in pictures:
        twin = seen.setdefault((picture.parent.as_posix(), picture.stem.casefold()), picture)
        if twin is not picture:
            raise SourceError(
                f"{twin} and {picture} have one name but for its ending or case, expected one picture of each place; "
                "move one kind away, or name the right one by [source] pattern"
            )
