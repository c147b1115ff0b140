"""Pictures as `linewatch calibrate` takes them, without a camera."""

import numpy as np

from linewatch.calibration.taking import Taken
from linewatch.contracts.frame import Grab


def taken(
    pictures: np.ndarray,
    *,
    coil: str = "A",
    serial: str = "S1",
    origin: str = "frames",
    counts_per_line: float = 10.0,
    mm_per_line: float = 1.0,
    encoded: bool = True,
) -> Taken:
    """Pictures uint8 (n, lines, width) of strip that runs steadily, one directly behind the other."""
    lines = pictures.shape[1]
    grabs = tuple(
        Grab(
            image=None,
            coil=coil,
            sequence=number + 1,
            first_line=number * lines,
            lines=lines,
            encoder_count=5000 + round(number * lines * counts_per_line),
            along_mm=number * lines * mm_per_line,
            mm_per_line=mm_per_line,
            captured_ns=number,
            encoded=encoded,
        )
        for number in range(len(pictures))
    )
    return Taken(pictures, grabs, serial, origin)
