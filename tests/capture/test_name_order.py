"""The order of pictures by their names, and what is missing between them."""

from datetime import datetime, timedelta
from pathlib import PurePath
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linewatch.capture.position.names import NameOrder, order_of
from linewatch.contracts.errors import SourceError


def found(*names: str, longest_gap_s: float = 10.0, counter: bool | None = None) -> NameOrder:
    return order_of([PurePath(name) for name in names], longest_gap_s, counter)


def missing_between(*names: str) -> dict[str, int]:
    told = found(*names)
    return {names[index]: missing for index, missing in zip(told.order, told.missing, strict=True) if missing}


@given(
    st.sets(st.integers(0, 120), min_size=60),
    st.sampled_from(["{:04d}", "cam1_{}", "a7-{:010d}-top"]),
    st.integers(1, 9),
)
def test_every_number_between_the_first_and_the_last_is_there_or_missing(numbers, form, step):
    chosen = sorted(numbers)
    told = found(*(form.format(step * number) + ".png" for number in chosen))
    if told.by == "number":
        assert sum(told.missing) == chosen[-1] - chosen[0] + 1 - len(chosen)
    else:
        assert sum(told.missing) == 0


def test_counters_with_leading_zeros_are_no_seconds_since_1970():
    names = [f"{number:010d}.png" for number in (1, 2, 3, 6, 7)]
    told = found(*names)
    assert told.by == "number"
    assert told.missing == (0, 0, 0, 2, 0)
    assert told.told == "5 files by the numbers in their names; 2 missing between them"


@pytest.mark.parametrize(
    ("digits", "fraction"), [(13, False), (16, False), (19, False), (10, True), (13, True), (16, True)]
)
def test_steady_unix_times_tell_what_is_missing(digits, fraction):
    """30 frames, 0.1 s apart, 10 of them gone."""
    names = []
    for number in (*range(8), *range(18, 30)):
        time_ns = 1_705_314_600_700_000_000 + number * 100_000_000
        text = f"{time_ns:019d}"
        names.append(text[:digits] + (f".{text[digits : digits + 6] or '0'}" if fraction else "") + ".png")
    Random(4).shuffle(names)
    told = found(*names)
    assert told.by == "time"
    assert [names[index] for index in told.order] == sorted(names)
    assert sum(told.missing) == 10
    assert "one every 0.1 s; 10 missing" in told.told


def test_fractions_of_different_lengths_are_put_in_order_of_time():
    names = [f"{1705314600 + tenths / 20!r}.png" for tenths in range(1, 40)]
    by_text = sorted(names, key=lambda name: [int(part) for part in name.removesuffix(".png").split(".")])
    assert by_text != names
    assert [by_text[index] for index in found(*by_text).order] == names


def test_a_long_gap_in_steady_times_is_a_stop_and_said():
    names = [f"{1705314600000 + 100 * number}.png" for number in (*range(10), *range(500, 510))]
    told = found(*names)
    assert sum(told.missing) == 0
    assert "1 gaps are longer than longest_gap_s = 10, taken for stops of the strip" in told.told
    assert sum(found(*names, longest_gap_s=60.0).missing) == 490


def test_strip_that_changes_its_speed_is_not_missing():
    """Of 60 pictures by an encoder's lines, 20 were taken while the strip slowed down to a fifth and came up again."""
    steps_ms = [100] * 20 + [*range(120, 520, 40), *range(500, 100, -40)] + [100] * 20
    times = [1705314600000 + sum(steps_ms[:number]) for number in range(len(steps_ms))]
    told = found(*(f"{time}.png" for time in times))
    assert (told.by, sum(told.missing)) == ("name", 0)
    jittered = [time + (number * 7919) % 9 for number, time in enumerate(range(1705314600000, 1705314606000, 100))]
    late = [time + 40 * (number == 30) for number, time in enumerate(jittered) if number not in {11, 12, 40}]
    assert sum(found(*(f"{time}.png" for time in late)).missing) == 3


def test_names_that_do_not_count_give_their_order_only():
    for names in (
        ("0002cc93b.jpg", "0007a71bf.jpg", "000a4bcdd.jpg", "000f6bf48.jpg", "0014fce06.jpg"),
        ("3.png", "4.png", "17.png", "90.png", "2081.png"),
        ("a.png", "b.png"),
    ):
        told = found(*names)
        assert (told.by, sum(told.missing)) == ("name", 0)
        assert "whether any is missing cannot be told" in told.told
        with pytest.raises(SourceError, match="counter = true, but the names of"):
            found(*names, counter=True)


def test_line_numbers_count_in_steps():
    names = [f"line_{256 * number:08d}.png" for number in (0, 1, 2, 5, 6)]
    assert missing_between(*names) == {names[3]: 2}


def test_a_counter_that_goes_on_over_sub_folders_is_one():
    assert missing_between("a/1.png", "a/2.png", "b/4.png", "b/5.png") == {"b/4.png": 1}


@pytest.mark.parametrize(
    "forms",
    [
        ("cam1_{:04d}.png", "cam2_{:04d}.png"),
        ("{:04d}_left.png", "{:04d}_right.png"),
        ("left/{:04d}.png", "right/{:04d}.png"),
        ("A_1705314{:03d}.png", "B_1705314{:03d}.png"),
    ],
)
def test_pictures_of_two_cameras_side_by_side_are_refused(forms):
    names = sorted(form.format(number) for form in forms for number in range(20))
    with pytest.raises(SourceError, match="found 2 series of pictures side by side, such as"):
        found(*names)
    assert found(*names, counter=False).by == "name"


@pytest.mark.parametrize("twins", [("0001.jpg", "0001.png"), ("F1.png", "f1.png"), ("0007.png", "7.png", "8.png")])
def test_two_pictures_of_one_place_are_refused(twins):
    with pytest.raises(SourceError, match=r"expected one picture (of each place|for each)"):
        found(*twins)


@pytest.mark.parametrize(
    "form",
    [
        *("%d.%m.%Y %H-%M-%S", "%m-%d-%Y_%H.%M.%S", "%d%m%Y%H%M%S", "Image__%Y-%m-%d__%H-%M-%S", "%Y%m%d_%H%M%S"),
        *("%H%M%S", "%H-%M-%S", "%y%m%d_%H%M%S", "%d%m%y_%H%M%S"),
    ],
)
def test_clock_times_of_many_forms_tell_what_is_missing(form: str) -> None:
    """One picture a second over several minutes, and once over the end of a month, three of them gone."""
    dated = "%d" in form and "%Y" in form
    begin = datetime(2026, 11, 30, 23, 58, 5) if dated else datetime(2026, 11, 21, 14, 3, 5)
    names = [(begin + timedelta(seconds=at)).strftime(form) + ".png" for at in range(150) if not 70 <= at < 73]
    told = found(*sorted(names))
    assert (told.by, sum(told.missing)) == ("time", 3)
    assert [sorted(names)[index] for index in told.order] == names


@pytest.mark.parametrize("digits", [3, 4, 6, 9])
@pytest.mark.parametrize("form", ["%Y%m%d_%H%M%S", "1705314600", "%H-%M-%S"])
def test_a_counter_behind_the_seconds_is_no_fraction(form: str, digits: int) -> None:
    """Ten pictures a second, one of them gone."""
    begin = datetime(2026, 11, 21, 14, 3, 5)
    names = []
    for number in range(900):
        second = (begin + timedelta(seconds=number // 10)).strftime(form) if "%" in form else int(form) + number // 10
        names.append(f"{second}_{number:0{digits}d}.png")
    del names[120]
    told = found(*names)
    assert (told.by, told.missing.index(1), sum(told.missing)) == ("number", 120, 1)


def test_a_fraction_behind_the_seconds_is_no_counter():
    names = [f"20261121_1403{at // 10:02d}_{at % 10 * 100:03d}.png" for at in range(300) if not 60 <= at < 64]
    assert sum(found(*names).missing) == 4
    assert found(*names).by == "time"


def test_uneven_times_of_day_are_no_numbers():
    """Seconds and minutes are not two cameras, and no pictures are missing from second 59 to 60 of a minute."""
    at, names = datetime(2026, 11, 21, 14, 3, 5), []
    for step in (3, 8, 2, 9, 1, 7, 5, 4, 8, 2, 6) * 4:
        at += timedelta(seconds=step)
        names.append(at)
    for form in ("%d.%m.%Y %H-%M-%S", "%H%M%S", "%H_%M_%S"):
        told = found(*(moment.strftime(form) + ".png" for moment in names))
        assert (told.by, sum(told.missing)) == ("name", 0)


def test_six_digits_that_count_beyond_59_are_a_counter():
    assert missing_between(*(f"{number:06d}.png" for number in range(200) if number != 100)) == {"000101.png": 1}
    assert missing_between(*(f"{number:06d}.png" for number in range(0, 900, 50) if number != 100)) == {"000150.png": 1}


def test_times_that_jitter_still_show_a_long_gap():
    random = Random(1)
    times = [1705314600 + number / 10 + random.uniform(-0.008, 0.008) for number in range(64)]
    assert sum(found(*(f"{time:.6f}.png" for time in times)).missing) == 0
    assert sum(found(*(f"{time:.6f}.png" for time in times[:20] + times[30:])).missing) == 10


def test_two_numbers_alone_tell_no_step():
    assert found("part1.tif", "part3.tif").by == "name"
    assert missing_between("part1.tif", "part2.tif", "part4.tif") == {"part4.tif": 1}
