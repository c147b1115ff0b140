"""The evidence that there is of a piece of a defect: its names, and what each of them is.

`decision.defects.evidence` gathers it, a `ProbabilityModel` weighs it, and `Defect.evidence` tells it.
"""

from collections.abc import Mapping
from typing import Final

EVIDENCE: Final[Mapping[str, str]] = {
    "peak": "log-odds of the highest probability of a defect in it",
    "mean": "log-odds of the mean probability of a defect in it",
    "mass": "logarithm of the sum of these probabilities over its cells",
    "solid": "share of it where the probability is 0.5 or more",
    "area": "logarithm of its area in cells",
    "width": "logarithm of the width of its box in pixels",
    "lines": "logarithm of the lines of its box",
    "aspect": "logarithm of width by lines of its box",
    "filled": "share of its box that it fills",
    "cut": "number of ends of the frame, 0 to 2, that its box touches",
    "edge": "logarithm of 1 + the pixels to the nearer side of the strip",
    "contrast": "absolute difference of its mean gray level from that of the ring around it, by the spread of the ring",
    "darkness": "the same difference, positive where it is darker",
    "roughness": "logarithm of its standard deviation of gray levels by that of the ring",
    "screen": "log-odds of the screen's highest score about it",
    "confidence": "score of its class",
    "class_margin": "score of its likeliest class above that of the next",
    "outlined": "1 with an outline of its own, 0 with that of a tile",
    "others": "logarithm of 1 + the number of other pieces in the frame",
    "others_mass": "logarithm of 1 + the sum of their masses",
    "nearest": "logarithm of 1 + the pixels between the middles of its box and the nearest other's",
    "frame_mass": "logarithm of 1 + the sum of the probabilities of a defect over the cells of the frame",
    "prominence": "log-odds of the mean probability in it above that within 12 pixels around it",
}
"""What is known of every piece. The score of each class comes on top, by the names of `evidence_names`."""


def evidence_names(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of all evidence under an engine with these classes: EVIDENCE, then the score of each class."""
    return (*EVIDENCE, *(f"score_{name}" for name in classes))
