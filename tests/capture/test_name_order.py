"""The order of pictures by their names, and what is missing between them."""

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
