"""Built-in alarms about the camera's picture, which call for maintenance. They outlast the coil, as the fault does."""

from collections.abc import Mapping
from typing import Final

from linewatch.contracts.alarm import Priority
from linewatch.contracts.picture import PictureHealth, PictureQuantity, PictureReading, PictureReference

PICTURE_ALARMS: Final[Mapping[str, tuple[Priority, tuple[PictureQuantity, ...]]]] = {
    "light-low": (Priority.MEDIUM, (PictureQuantity.LIGHT, PictureQuantity.GRAY)),
    "lamp-segment-dark": (Priority.MEDIUM, (PictureQuantity.SEGMENT,)),
    "picture-saturated": (Priority.MEDIUM, (PictureQuantity.SATURATION,)),
    "contrast-low": (Priority.MEDIUM, (PictureQuantity.CONTRAST,)),
    "picture-blurred": (Priority.MEDIUM, (PictureQuantity.SHARPNESS,)),
    "lens-dirty": (Priority.LOW, (PictureQuantity.FIXED,)),
    "picture-frozen": (Priority.HIGH, (PictureQuantity.FROZEN,)),
    "strip-unsteady": (Priority.LOW, (PictureQuantity.VIBRATION, PictureQuantity.WANDER)),
}
"""Each alarm's priority, and the figures of which one beyond its limit makes it true."""
_SINCE = {
    PictureReference.LEARNING: "when it was first seen",
    PictureReference.FIRST_METRES: "in the first metres since the service started",
    PictureReference.CALIBRATION: "at the calibration",
}
_TEXTS = {
    PictureQuantity.LIGHT: "{value:.0%} of the light is left of what it was in the first metres since the service "
    "started",
    PictureQuantity.GRAY: "the strip's gray level is {value:.0f}, expected {limit:g} or more: the light is weak or the "
    "steel is dark",
    PictureQuantity.SEGMENT: "at {place} across, {value:.0%} of the light is left of what it was beside the rest "
    "{since}",
    PictureQuantity.SATURATION: "{value:.1%} of the strip is blown out, expected at most {limit:.1%}",
    PictureQuantity.CONTRAST: "{value:.0%} of the strip's contrast is left: steam, oil or stray light before the lens",
    PictureQuantity.SHARPNESS: "the sharpness is {value:.2f}, expected {limit:.2f} or more: the lens is out of focus",
    PictureQuantity.FIXED: "{value:.0f} columns show the camera, not the strip: dirt or dead pixels at {place} across",
    PictureQuantity.FROZEN: "{value:.0%} of the grabs repeat an earlier one",
    PictureQuantity.VIBRATION: "the strip's edge vibrates by {value:.1f} mm, expected at most {limit:g} mm",
    PictureQuantity.WANDER: "the strip wanders by {value:.1f} mm, expected at most {limit:g} mm",
}


def picture_text(name: str, health: PictureHealth, *, active: bool) -> tuple[bool, str] | None:
    """Return whether an alarm about the picture is true, and its text; None if that is not known."""
    readings = [one for quantity in PICTURE_ALARMS[name][1] if (one := health.of(quantity)) is not None]
    known = [(one, bad) for one in readings if (bad := one.bad(before=active)) is not None]
    if not known:
        return None
    if name == "picture-blurred" and _edge_is_sharp(health, active=active):
        return False, ""
    beyond = [one for one, bad in known if bad]
    return bool(beyond), "; ".join(_told(one, health.reference) for one in beyond)


def _edge_is_sharp(health: PictureHealth, *, active: bool) -> bool:
    """Return whether the strip's edge is in view and sharp: then the lens is in focus, however smooth the strip is."""
    edge = health.of(PictureQuantity.EDGE_SHARPNESS)
    return edge is not None and edge.bad(before=active) is False


def _told(one: PictureReading, reference: PictureReference) -> str:
    return _TEXTS[one.quantity].format(
        value=one.value or 0.0, limit=one.limit, place=one.place, since=_SINCE[reference]
    )
