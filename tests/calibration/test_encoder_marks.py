"""Two marks on the strip, a known length apart, tell what the encoder counts on a millimetre."""

import numpy as np
import pytest
from taken_pictures import taken

from linewatch.calibration.encoder.making import make_encoder_scale
from linewatch.config.calibration_part import Measured
from linewatch.config.capture import CaptureSettings
from linewatch.config.line import EncoderSettings
from linewatch.contracts.errors import SourceError

ENCODER = EncoderSettings(counts_per_mm=10.1, counts_per_line=10.1)
WIDTH, LINES, PICTURES = 400, 64, 24
LENGTH = Measured(value=900.0, uncertainty=0.3)


def steel(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    strip = rng.normal(110, 8, (PICTURES * LINES, WIDTH)) + 6 * np.sin(np.arange(PICTURES * LINES) / 90)[:, None]
    strip[:, :30] = strip[:, -30:] = 3
    return strip


def marked(strip: np.ndarray, *marks: tuple[float, float, float], columns: slice = slice(30, -30)) -> np.ndarray:
    """Strip with marks of (line, skew over half the width in lines, gray levels), 6 lines wide."""
    strip, (lines, width) = strip.copy(), strip.shape
    for at, skew, levels in marks:
        middle = at + skew * (np.arange(width) - width / 2) / (width / 2)
        cover = np.clip(3.5 - np.abs(np.arange(lines)[:, None] + 0.5 - middle), 0, 1)
        strip[:, columns] += (levels * cover)[:, columns]
    return strip.clip(0, 255).astype(np.uint8).reshape(PICTURES, LINES, WIDTH)


def scale(pictures: np.ndarray, length: Measured = LENGTH, **more):
    return make_encoder_scale(taken(pictures, **more), ENCODER, CaptureSettings(), "me", length).part


@pytest.mark.parametrize(("levels", "skew"), [(-60.0, 12.0), (60.0, 0.0)])
def test_the_scale_is_right_within_its_uncertainty_for_dark_and_bright_marks_that_are_not_square(levels, skew):
    part = scale(marked(steel(), (300.3, skew, levels), (1200.3, skew, levels)))
    assert part.counts.value == pytest.approx(9000.0, abs=1.5)
    assert abs(part.counts.value - 9000.0) < 3 * part.counts.uncertainty + 0.3
    assert part.counts_per_mm.value == pytest.approx(10.0, abs=3 * part.counts_per_mm.uncertainty)
    assert part.counts_per_mm.uncertainty == pytest.approx(10.0 * 0.3 / 900.0, rel=0.3)  # the tape's, not the lines'


TWO = ((300.0, 5.0, -60.0), (1200.0, 5.0, -60.0))
BAD = {
    "none": (lambda: scale(marked(steel())), "found 0 marks"),
    "one": (lambda: scale(marked(steel(), TWO[0])), "found 1 marks"),
    "three": (lambda: scale(marked(steel(), *TWO, (700.0, 0.0, -60.0))), "found 3 marks"),
    "stains": (lambda: scale(marked(steel(), *TWO, columns=slice(40, 180))), "found 0 marks"),
    "wrong length": (lambda: scale(marked(steel(), *TWO), Measured(value=2000.0, uncertainty=0.5)), "measure between"),
    "no counts": (lambda: scale(marked(steel(), *TWO), encoded=False), "no encoder count"),
    "standing": (lambda: scale(marked(steel(), *TWO), counts_per_line=0.0), "does not rise"),
    "backwards": (lambda: scale(marked(steel(), *TWO), counts_per_line=-10.0), "does not rise"),
}


@pytest.mark.parametrize("name", BAD)
def test_marks_that_tell_nothing_are_refused(name):
    attempt, said = BAD[name]
    with pytest.raises(SourceError, match=said) as caught:
        attempt()
    assert "expected" in str(caught.value)
    assert "\n" not in str(caught.value)
