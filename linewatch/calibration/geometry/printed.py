"""A target to print at scale, as an SVG file in millimetres."""

from linewatch.contracts.errors import ConfigError

_MOST_BARS = 20_000


def printed_target(width_mm: float, height_mm: float, pitch_mm: float) -> str:
    """Return the SVG of a target with its index in the middle, and a scale to measure the print with.

    Raises ConfigError where it would have fewer than 12 bars, or too many.
    """
    bars = int(width_mm / pitch_mm)
    if not 12 <= bars <= _MOST_BARS or not 5 <= height_mm <= 2000:
        raise ConfigError(
            f"a target of {width_mm:g} x {height_mm:g} mm has {bars} bars with a pitch of {pitch_mm:g} mm, expected "
            f"12 to {_MOST_BARS} bars and a height of 5 to 2000 mm; correct the size or the pitch"
        )
    half, middle, foot = pitch_mm / 2.0, width_mm / 2.0, 12.0
    side = (bars - 1) // 2
    # Dark bars lie at odd numbers of halves from the middle; the index fills the gap between the first two.
    dark = [
        (middle + number * half - half / 2.0, half) for number in range(-2 * side + 1, 2 * side, 2) if abs(number) > 1
    ]
    dark.append((middle - 1.5 * half, 3.0 * half))
    rects = "".join(
        f'<rect x="{left:.4f}" y="0" width="{width:.4f}" height="{height_mm:g}"/>\n' for left, width in sorted(dark)
    )
    length = (2 * side - 2) * half
    begin, below = middle - length / 2.0, height_mm + 4.0
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width_mm:g}mm" height="{height_mm + foot:g}mm" '
        f'viewBox="0 0 {width_mm:g} {height_mm + foot:g}">\n'
        f'<rect width="{width_mm:g}" height="{height_mm + foot:g}" fill="white"/>\n{rects}'
        f'<path d="M{begin:.4f} {below - 2:g}v4M{begin:.4f} {below:g}h{length:.4f}m0 -2v4" stroke="black" '
        'stroke-width="0.3" fill="none"/>\n'
        f'<text x="{middle:g}" y="{below + 5:g}" font-size="4" text-anchor="middle" font-family="sans-serif">'
        f"linewatch target, pitch {pitch_mm:g} mm; print at 100 %: this line is {length:.1f} mm long</text>\n</svg>\n"
    )
