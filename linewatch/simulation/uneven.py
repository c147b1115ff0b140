"""A camera that is not calibrated: its lens and lamp light the ends of the line less, and its pixels answer unalike."""

from dataclasses import replace
from typing import Literal

import numpy as np

from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Camera, CameraWrapper

Reference = Literal["dark", "white"]

_DARK_LEVEL, _DARK_SPREAD = 4.0, 1.0
_RESPONSE_SPREAD = 0.01
_NOISE = 1.5
_WHITE_LEVEL = 200.0


class UnevenCamera(CameraWrapper):
    """Gives another camera's grabs as such a camera would see them; the lines of a column have all one fault.

    A pixel becomes dark + pixel * response, rounded and limited to 0..255. The response falls from 1 in the middle of
    the line by the share `falloff` at its ends, with the square of the distance. reference: show no strip, but what a
    covered lens shows or an evenly bright target, which is darker at the ends for the same reasons.
    """

    def __init__(self, camera: Camera, width: int, falloff: float, reference: Reference | None, seed: int) -> None:
        super().__init__(camera)
        rng = np.random.default_rng([seed, 5])
        across = np.linspace(-1, 1, width)
        self._dark = np.abs(rng.normal(_DARK_LEVEL, _DARK_SPREAD, width)).astype(np.float32)
        response = (1 - falloff * across**2) * rng.normal(1, _RESPONSE_SPREAD, width)
        self._response = response.astype(np.float32)
        self._reference = reference
        self._rng = np.random.default_rng([seed, 6])

    def read(self) -> Grab | None:
        grab = self._camera.read()
        if grab is None or grab.image is None:
            return grab
        light = grab.image.astype(np.float32)
        if self._reference is not None:
            light = self._rng.normal(0, _NOISE, light.shape).astype(np.float32)
            light += _WHITE_LEVEL if self._reference == "white" else 0.0
        pixels = np.rint(light * self._response + self._dark)
        return replace(grab, image=np.clip(pixels, 0, 255).astype(np.uint8))
