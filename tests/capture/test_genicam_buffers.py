"""What becomes of a GenICam buffer: its pixels by the window, what was received of it, which are missing."""

import sys

import numpy as np
import pytest
from mono_pixels import packed

from linewatch.capture.clock import MonotonicClock
from linewatch.capture.genicam.buffers import UNKNOWN_FRAME, EncoderCounts, FrameNumbers, MarkedMemory
from linewatch.capture.genicam.mono import MONO_FORMATS, MonoFormat, MonoReader, mono_format
from linewatch.contracts.errors import ConfigError
from linewatch.service_settings import settings_from

LINES, WIDTH = 16, 160
BY_NAME = {one.name: one for one in MONO_FORMATS}


@pytest.mark.parametrize("form", MONO_FORMATS, ids=lambda form: form.name)
@pytest.mark.parametrize("window", [(0.0, 1.0), (0.1, 0.7)])
def test_levels_become_gray_by_the_window(form: MonoFormat, window: tuple[float, float]) -> None:
    levels = np.random.default_rng(form.code).integers(0, form.top + 1, (LINES, WIDTH)).astype(np.uint16)
    black, white = round(window[0] * form.top), round(window[1] * form.top)
    data = packed(form, levels)
    assert len(data) == LINES * form.line_bytes(WIDTH)
    reader = MonoReader(form, LINES, WIDTH, black, white)
    expected = np.clip(np.rint((levels.astype(float) - black) * 255 / (white - black)), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(reader.gray(data, LINES), expected)
    np.testing.assert_array_equal(reader.gray(data, 5), expected[:5])
    assert reader.gray(data, 0).shape == (0, WIDTH)
    assert reader.image_bytes == len(data)


def test_8_bits_without_a_window_are_not_copied() -> None:
    data = np.zeros(LINES * WIDTH, np.uint8)
    assert np.shares_memory(MonoReader(mono_format("Mono8"), LINES, WIDTH).gray(data, LINES), data)


def test_a_width_within_a_packed_group_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"'Mono10p' packs 4 pixels together, .* width_px is 162; expected a multiple"
    ):
        MonoReader(mono_format("Mono10p"), LINES, 162)


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"pixel_format": "Mono12"}, "has more than 8 bits, expected the window"),
        ({"black_level": 9}, "black_level and white_level belong together"),
        ({"black_level": 9, "white_level": 9}, "white_level = 9 is not above black_level = 9"),
        ({"pixel_format": "RGB8"}, "expected 'Mono8'"),
        ({"trigger": "line"}, "trigger = 'line' or 'frame' and trigger_source belong together"),
        ({"features": {"a b": 1}}, "features"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused(settings: dict, refusal: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_from({"source": {"type": "genicam"} | settings}, "c.toml")
    assert refusal in str(refused.value)


@pytest.mark.parametrize("size", [100_000, 99_841, 2 * 256])
@pytest.mark.parametrize("packet", [540, 1464, 8964])
def test_what_was_received_of_a_buffer_is_never_told_too_large(size: int, packet: int) -> None:
    """Whichever packet is missing, the bytes before it are told, but for less than two marks."""
    pixels = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8)
    memory = MarkedMemory(size)
    starts = range(0, size, packet)
    for missing in starts:
        memory.mark()
        for start in starts:
            if start != missing:
                memory.bytes[start : start + packet] = pixels[start : start + packet]
        received = memory.received()
        assert received <= missing or size - missing < 8
        assert missing - received < 3 * 256
        np.testing.assert_array_equal(memory.bytes[: min(received, missing)], pixels[: min(received, missing)])


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [
        ([7, 8, 9], [0, 0, 0]),
        ([7, 10, 11], [0, 2, 0]),
        ([65_534, 65_535, 1, 2], [0, 0, 0, 0]),  # 16 bits, in which 0 is no frame
        ([65_534, 3], [0, 3]),
        ([65_535, 0, 1], [0, 0, 0]),  # a camera that counts 0 all the same
        ([0, 1, 2, 4], [0, 0, 0, 1]),  # USB3 Vision
        ([65_535, 65_536, 65_538], [0, 0, 1]),  # extended ids
        ([7, UNKNOWN_FRAME, 9], [0, 0, 0]),
        ([7, UNKNOWN_FRAME, 11], [0, 0, 2]),
        ([65_535, UNKNOWN_FRAME, 2], [0, 0, 0]),
        ([UNKNOWN_FRAME, 5], [0, 0]),
        ([9, 9], [0, 0]),
    ],
)
def test_missing_frames_are_known_by_their_numbers(numbers: list[int], lost: list[int]) -> None:
    told = FrameNumbers()
    assert [told.lost_before(number) for number in numbers] == lost


def test_a_frame_without_its_count_is_placed_as_the_frames_before_it_ran() -> None:
    counts = EncoderCounts(1 << 16)
    assert counts.at(0, None) is None
    assert [counts.at(at, count) for at, count in ((0, 65_000), (100, 65_400), (200, None), (300, None))] == [
        *(65_000, 65_400),
        *(65_800 % (1 << 16), (66_200) % (1 << 16)),
    ]
    assert counts.at(400, 66_600 % (1 << 16)) == 66_600 % (1 << 16)
    back = EncoderCounts(1 << 16)
    assert [back.at(0, 100), back.at(50, 65_536 - 50), back.at(100, None)] == [100, 65_486, 65_336]


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gi", None)
    settings = settings_from({"source": {"type": "genicam"}}, "c.toml")
    assert settings.source is not None
    with pytest.raises(ConfigError, match=r"need PyGObject, .* libgirepository1.0-dev .*, then pip install .*genicam"):
        settings.source.open(settings.line, MonotonicClock(), live=True)
