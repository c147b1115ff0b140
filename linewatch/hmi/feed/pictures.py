"""The newest picture of each camera, asked for only while a browser looks, and at most five times a second."""

import asyncio
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from linewatch.client.pictures import NewestPicture, PictureRequester
from linewatch.contracts.errors import WireError
from linewatch.hmi.settings import HmiSettings

EVERY_S: Final = 0.2
ANSWER_TIMEOUT_S: Final = 1.0
KEPT: Final = 8
"""Pictures of a camera: a browser asks for the newest one's place first, then for its pixels."""


class NewestPictures:
    """Used by the event loop. Every camera has a thread of its own, so that a silent one holds nobody else up."""

    def __init__(self, settings: HmiSettings) -> None:
        single = settings.service
        self._cameras = {
            camera.name: _Camera(PictureRequester(camera.serve, ANSWER_TIMEOUT_S, keys=camera.client_keys))
            for camera in settings.camera
        } or {"": _Camera(PictureRequester(single.serve, ANSWER_TIMEOUT_S, keys=single.client_keys))}

    @property
    def cameras(self) -> tuple[str, ...]:
        """SIDE/NAME of each; "" alone: the camera of the service itself."""
        return tuple(self._cameras)

    async def newest(self, camera: str) -> NewestPicture | None:
        """Return a camera's newest picture, at most EVERY_S old; None where it has none or does not answer.

        Raises KeyError for an unknown camera.
        """
        return await self._cameras[camera].newest()

    def kept(self, camera: str, ordinal: int) -> NewestPicture | None:
        """Return a picture that `newest` returned lately; None for another. Raises KeyError for an unknown camera."""
        return self._cameras[camera].kept.get(ordinal)

    def close(self) -> None:
        """Return when every request has ended."""
        for camera in self._cameras.values():
            camera.close()


class _Camera:
    def __init__(self, requester: PictureRequester) -> None:
        self._requester = requester
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="picture")
        self._asked_s = float("-inf")
        self._asking: asyncio.Future[NewestPicture | None] | None = None
        self.kept: OrderedDict[int, NewestPicture] = OrderedDict()

    async def newest(self) -> NewestPicture | None:
        if self._asking is None or (self._asking.done() and time.monotonic() - self._asked_s >= EVERY_S):
            self._asked_s = time.monotonic()
            self._asking = asyncio.get_running_loop().run_in_executor(self._thread, self._ask)
        found = await asyncio.shield(self._asking)
        if found is not None and found.about.ordinal not in self.kept:
            self.kept[found.about.ordinal] = found
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        return found

    def _ask(self) -> NewestPicture | None:
        try:
            return self._requester.newest()
        except WireError:
            return None

    def close(self) -> None:
        self._thread.submit(self._requester.close)
        self._thread.shutdown()
