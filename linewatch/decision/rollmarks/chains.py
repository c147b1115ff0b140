"""Test whether a row of defects comes from a roll or from chance: an a-contrario test (Desolneux, Moisan, Morel, 2000).

A hypothesis is a pair of similar defects at one place across the strip, a number of turns of one pitch apart. Between
the two lie `turns - 1` places where the roll would have left a mark. If the defects lay there by chance, each place
would be hit with a probability p that is estimated from the strip itself: from the density of defects at that place
across (defects crowd at the edges) and from how common their appearance is. The tail of the binomial distribution,
times the number of hypotheses on 100 km of such strip, is the expected number of rows as good as this one that chance
gives (NFA, number of false alarms). Nothing is tuned to a pitch, a density or a width, and the threshold is a figure
that an operator understands.
"""

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from linewatch.config.roll import PeriodicSettings

MAX_TURNS: Final = 12
"""Most turns between the two defects of a hypothesis."""
MAX_CANDIDATES: Final = 16
"""Most earlier defects, the nearest ones, that are tried as the beginning of a row."""
KM_100: Final = 1e8  # millimetres
_DENSITY_WINDOW_MM: Final = 30.0
_SAMPLE: Final = 256  # least number of defects used to estimate how common an appearance is
_LEAST_CANDIDATES: Final = 3
_WORK: Final = 600  # bound on the sum of squared candidate counts of one frame
_OVERLAP: Final = 20.0
"""Hypotheses overlap: each pair is tested at eleven numbers of turns and three levels. Their union is therefore rarer
than their sum, by this factor, measured on random strip (`benchmarks.roll_marks`, tuning seeds)."""
_TURNS: Final = np.arange(2, MAX_TURNS + 1)


class Level(NamedTuple):
    """A level of similarity: of one class or of any; ln of the ratio of lengths and of widths at most `log_ratio`."""

    same_class: bool
    log_ratio: float


LEVELS: Final = (Level(True, 0.4), Level(False, 0.3), Level(False, 0.6))
"""Roll marks look alike, but their outlines vary and their class is sometimes mistaken."""
_LOOSEST: Final = Level(False, max(level.log_ratio for level in LEVELS))

X, Y, LOG_WIDTH, LOG_LENGTH, CLASS, NUMBER = range(6)
"""Columns of a table of defects: middle across and along in mm, ln of width and length, class and a serial number."""


@dataclass(frozen=True, slots=True)
class Chain:
    """A significant row. rows: indices into the table, oldest first. slots: the turn of each mark, from 0."""

    rows: np.ndarray
    slots: np.ndarray
    pitch_mm: float
    log_p: float
    log_tests: float

    @property
    def log_nfa(self) -> float:
        """Return log10 of the expected number of such rows by chance on 100 km of such strip."""
        return log_nfa(int(self.slots[-1]) + 1, len(self.slots), self.log_p, self.log_tests)


def log_nfa(due: int, seen: int, log_p: float, log_tests: float) -> float:
    """Return log10 NFA of `seen` marks out of `due`, the first and the last of which form the hypothesis."""
    return float(log_tests + _log_choose(np.array(due - 2), np.array(seen - 2)) + (seen - 2) * log_p)


_LOG_FACTORIAL = np.concatenate([[0.0], np.cumsum(np.log10(np.arange(1, 100_001)))])


def _log_choose(n: np.ndarray, k: np.ndarray) -> np.ndarray:
    n = np.minimum(n, 100_000)
    k = np.clip(k, 0, n)
    return _LOG_FACTORIAL[n] - _LOG_FACTORIAL[k] - _LOG_FACTORIAL[n - k]


def find_chains(
    table: np.ndarray,
    fresh: np.ndarray,
    length_mm: float,
    settings: PeriodicSettings,
    expected_mm: tuple[tuple[float, float], ...] = (),
) -> list[Chain]:
    """Return the rows that end in a fresh defect and that chance gives less often than `false_calls_per_100_km`.

    There is at most one row per fresh defect; the most significant comes first.

    table: float64 (n, 6), sorted by X: the remembered defects of the last `length_mm`. fresh: indices into the table.
    expected_mm: pitch ranges of known rolls; half of the budget of false calls goes to them.
    """
    lines = _lines(table, fresh, settings)
    if lines is None:
        return []
    gaps, members, level, ends, in_band = lines

    # Every hypothesis: the row began with that candidate, a number of turns ago.
    pitch_mm = gaps[:, :, None] / _TURNS
    line, begin, turn = np.nonzero((pitch_mm >= settings.min_pitch_mm) & (pitch_mm <= settings.max_pitch_mm))
    if not len(line):
        return []
    pitch_mm, turn = pitch_mm[line, begin, turn], _TURNS[turn]
    tolerance_mm = settings.along_tolerance_mm + settings.pitch_tolerance * pitch_mm
    back = gaps[line] / pitch_mm[:, None]
    at = np.minimum(np.rint(back), MAX_TURNS + 1)
    hit = (np.abs(back - at) * pitch_mm[:, None] <= tolerance_mm[:, None]) & (at < turn[:, None]) & (at >= 1)
    seen = np.bitwise_count(_distinct(at, hit)).astype(np.int64)
    tests = _tests(fresh[ends][line], pitch_mm, expected_mm, len(table))
    some = np.flatnonzero(seen)  # two marks do not make a row
    if not len(some):
        return []
    line, begin, turn, seen, tests = line[some], begin[some], turn[some], seen[some], tests[some]
    pitch_mm, tolerance_mm, back, at, hit = pitch_mm[some], tolerance_mm[some], back[some], at[some], hit[some]
    strangers = begin - np.count_nonzero(hit, axis=1)
    chance = _chance(table, fresh[ends], level, in_band, line, seen + 2, length_mm, settings)
    p = -np.expm1(-2 * tolerance_mm * np.maximum(chance, strangers / gaps[line, begin]))
    log_p = np.log10(p)
    log_tests = np.log10(tests / _OVERLAP * (len(table) + 1) / length_mm * KM_100)
    log_nfas = log_tests + _log_choose(turn - 1, seen) + seen * log_p

    chains: list[Chain] = []
    significant = log_nfas <= np.log10(settings.false_calls_per_100_km)
    for end in np.unique(ends[line[significant]]):
        best = int(np.argmin(np.where(significant & (ends[line] == end), log_nfas, np.inf)))
        own = np.flatnonzero(hit[best])
        # Of several pieces of one mark, take the one nearest to its expected place.
        own = own[np.argsort(np.abs(back[best] - at[best])[own], kind="stable")]
        slots, nearest = np.unique(turn[best] - at[best][own].astype(np.int64), return_index=True)
        of = members[line[best]]
        chains.append(
            Chain(
                rows=np.concatenate([[of[begin[best]]], of[own[nearest]], [fresh[end]]]),
                slots=np.concatenate([[0], slots, [turn[best]]]),
                pitch_mm=float(pitch_mm[best]),
                log_p=float(log_p[best]),
                log_tests=float(log_tests[best]),
            )
        )
    return sorted(chains, key=lambda chain: (chain.log_nfa, tuple(table[chain.rows, NUMBER])))


def _lines(
    table: np.ndarray, fresh: np.ndarray, settings: PeriodicSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:
    """Return the candidates of each fresh defect at each level of similarity, a line each; None if there are none.

    Returned are, per line: the distances back to its candidates, nearest first; their indices into the table; the
    level; the index of the fresh defect; the number of defects at its place across.
    """
    rows, columns = _pairs(table[:, X], table[fresh, X], settings.across_tolerance_mm)
    in_band = np.bincount(rows, minlength=len(fresh))
    gap_mm = table[fresh, Y][rows] - table[columns, Y]
    near = np.flatnonzero((gap_mm >= settings.min_pitch_mm) & (gap_mm <= MAX_TURNS * settings.max_pitch_mm))
    near = near[_alike(_LOOSEST, table, columns[near], fresh[rows[near]])]
    if len(near) < _LEAST_CANDIDATES:
        return None
    near = near[np.lexsort((gap_mm[near], rows[near]))]
    rows, columns, gap_mm = rows[near], columns[near], gap_mm[near]

    # A line is a fresh defect at one level, with its candidates ordered from the nearest.
    level, pair = np.nonzero([_alike(level, table, columns, fresh[rows]) for level in LEVELS])
    of_line = level * len(fresh) + rows[pair]
    counts = np.bincount(of_line, minlength=len(LEVELS) * len(fresh))
    kept = _affordable(counts)
    if not len(kept):
        return None
    rank = np.arange(len(pair)) - np.repeat(np.cumsum(counts) - counts, counts)
    at_line = np.full(len(counts), -1)
    at_line[kept] = np.arange(len(kept))
    chosen = (at_line[of_line] >= 0) & (rank < MAX_CANDIDATES)
    line, rank, pair = at_line[of_line[chosen]], rank[chosen], pair[chosen]
    gaps = np.full((len(kept), int(rank.max()) + 1), np.inf)
    gaps[line, rank] = gap_mm[pair]
    members = np.zeros(gaps.shape, np.intp)
    members[line, rank] = columns[pair]
    level, ends = kept // len(fresh), kept % len(fresh)
    return gaps, members, level, ends, in_band[ends]


def _alike(level: Level, table: np.ndarray, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which pairs of table rows look alike at this level: bool."""
    alike = np.abs(table[ones, LOG_WIDTH] - table[others, LOG_WIDTH]) <= level.log_ratio
    alike &= np.abs(table[ones, LOG_LENGTH] - table[others, LOG_LENGTH]) <= level.log_ratio
    if level.same_class:
        alike &= table[ones, CLASS] == table[others, CLASS]
    return alike


def _affordable(counts: np.ndarray) -> np.ndarray:
    """Return the lines to test: those with enough candidates, fewest first, up to the bound on the work per frame.

    Where defects are that numerous, a row among many candidates is no evidence.
    """
    kept = np.flatnonzero(counts >= _LEAST_CANDIDATES)
    kept = kept[np.argsort(counts[kept], kind="stable")]
    work = np.cumsum(np.minimum(counts[kept], MAX_CANDIDATES) ** 2)
    return np.sort(kept[work <= _WORK])


def _distinct(at: np.ndarray, hit: np.ndarray) -> np.ndarray:
    """Return the turns that were hit, as bits: int64 (hypotheses,)."""
    marks = np.zeros(len(at), np.int64)
    bits = np.where(hit, 1 << at.astype(np.int64), 0)
    for column in bits.T:
        marks |= column
    return marks


def _pairs(sorted_x: np.ndarray, x: np.ndarray, tolerance_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Return all pairs (index into x, index into sorted_x) within the tolerance."""
    low = np.searchsorted(sorted_x, x - tolerance_mm)
    counts = np.searchsorted(sorted_x, x + tolerance_mm, side="right") - low
    first = np.cumsum(counts) - counts
    rows = np.repeat(np.arange(len(x)), counts)
    return rows, np.arange(len(rows)) + np.repeat(low - first, counts)


def _chance(
    table: np.ndarray,
    end: np.ndarray,
    level: np.ndarray,
    in_band: np.ndarray,
    line: np.ndarray,
    members: np.ndarray,
    length_mm: float,
    settings: PeriodicSettings,
) -> np.ndarray:
    """Return the defects per mm with the row's place across and appearance, without its `members`.

    The result is float64 (hypotheses,). The density at the place is the higher of that of the band and that of a wider
    window, with one defect added.
    """
    low, high = (np.searchsorted(table[:, X], table[end, X] + sign * _DENSITY_WINDOW_MM) for sign in (-1, 1))
    wide = ((high - low)[line] - members).clip(0) + 1
    narrow = (in_band[line] - members).clip(0)
    per_mm = np.maximum(wide * settings.across_tolerance_mm / _DENSITY_WINDOW_MM, narrow) / length_mm
    sample = np.arange(0, len(table), 1 + len(table) // _SAMPLE)
    counts = np.zeros(len(end), np.int64)
    for at, one in enumerate(LEVELS):
        mine = np.flatnonzero(level == at)
        counts[mine] = np.count_nonzero(_alike(one, table, sample[None], end[mine][:, None]), axis=1)
    share = len(sample) / len(table)
    alike = (counts[line] - members * share).clip(0)
    return per_mm * (alike + 0.5) / (len(sample) - members * share + 1)


def _tests(
    end: np.ndarray, pitch_mm: np.ndarray, expected_mm: tuple[tuple[float, float], ...], ends: int
) -> np.ndarray:
    """Return how many hypotheses share each one's defect; half the budget is for expected pitches: (hypotheses,)."""
    of_all = np.bincount(end, minlength=ends)[end].astype(np.float64)
    if not expected_mm:
        return of_all
    expected = np.any([(pitch_mm >= low) & (pitch_mm <= high) for low, high in expected_mm], axis=0)
    of_expected = np.bincount(end[expected], minlength=ends)[end]
    return 2 * np.where(expected, of_expected, of_all)
