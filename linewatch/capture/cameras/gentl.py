"""A camera behind a GenTL producer, the driver that makers of frame grabbers ship (Camera Link, CoaXPress)."""

import threading
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Self

import numpy as np
import structlog
from pydantic import Field

from linewatch.capture.cameras.source import CoilName, SourceSettings
from linewatch.config.line import LineSettings
from linewatch.contracts.bounds import made_printable
from linewatch.contracts.errors import ConfigError, SourceError
from linewatch.contracts.frame import Cause, Grab, PositionSource
from linewatch.contracts.ports import Camera, Clock

log = structlog.get_logger()

_POLL_S: Final = 0.5
"""How long a read waits at once: a line that stands triggers nothing, and `stop` must be heard."""
_opening = threading.Lock()  # producers are not made to be loaded twice at a time


class GentlSource(SourceSettings):
    """A camera behind a GenTL producer. It sends 8-bit gray, `width_px` wide and `frame_lines` high."""

    type: Literal["gentl"]
    is_device: ClassVar[bool] = True
    producer: Annotated[Path, Field(strict=False)] = Field(description="the producer's file, which ends in .cti")
    camera: str = Field(default="", max_length=200, description="serial number or id; empty: the only one")
    features: dict[str, bool | int | float | str] = Field(
        default={}, description="features to set before the start, in this order, by their names in the camera"
    )
    counter: str | None = Field(
        default=None,
        description="chunk feature that holds the encoder's counter at each grab, such as ChunkEncoderValue; set "
        "[source.features] so that the camera sends it",
    )
    buffers: int = Field(default=16, ge=2, le=1024, description="grabs that wait for the service; then they are lost")
    coil: CoilName = "CAMERA"

    @property
    def has_encoder_count(self) -> bool:
        return self.counter is not None

    @property
    def position_source(self) -> PositionSource:
        return PositionSource.LINE_RATE if self.counter is None else PositionSource.ENCODER

    def open(self, line: LineSettings, clock: Clock, *, live: bool) -> Camera:
        try:
            from harvesters.core import Harvester
        except ImportError as error:
            raise SourceError(
                "[source] type = 'gentl' needs the packages harvesters and genicam, which are not installed; install "
                "linewatch[gentl]"
            ) from error
        if not self.producer.is_file():
            raise SourceError(
                f"[source] producer = {str(self.producer)!r}: no such file, expected a GenTL producer (.cti); install "
                "the driver of the frame grabber's maker, and name its file"
            )
        with _opening:
            harvester = Harvester()
            try:
                harvester.add_file(str(self.producer), check_validity=True)
                harvester.update()
                return GentlCamera(self, line, clock, harvester, self._chosen(harvester.device_info_list))
            except (ConfigError, SourceError):
                harvester.reset()
                raise
            except Exception as error:  # a producer raises what it likes
                harvester.reset()
                raise SourceError(
                    f"{self.producer.name} cannot open camera {self.camera or 'of any name'}: {_text(error)}; expected "
                    "a camera that answers and that no other program holds; check its power and its cable"
                ) from error

    def _chosen(self, found: list[Any]) -> int:
        """Return the number of the camera in the producer's list."""
        names = [(_info(one, "serial_number"), _info(one, "id_")) for one in found]
        fit = [number for number, name in enumerate(names) if not self.camera or self.camera in name]
        if len(fit) != 1:
            told = ", ".join(f"{serial or 'no serial'} ({name})" for serial, name in names) or "no camera"
            raise SourceError(
                f"[source] camera = {self.camera!r}: {self.producer.name} finds {told}, expected exactly one of that "
                "serial number or id; check its power and its cable, and set [source] camera"
            )
        return fit[0]


class GentlCamera:
    """Gives the buffers of an image acquirer; a jump of the camera's frame number is lost grabs.

    Without a counter, positions follow from frame numbers. An incomplete buffer is a grab with fault TRUNCATED.
    """

    live = True
    grabs: int | None = None

    def __init__(self, source: GentlSource, line: LineSettings, clock: Clock, harvester: Any, number: int) -> None:
        """Raises ConfigError when the camera cannot be set as `source` and `line` say."""
        self._source, self._line, self._clock, self._harvester = source, line, clock, harvester
        self.serial = made_printable(_info(harvester.device_info_list[number], "serial_number"))
        self._acquirer = harvester.create(number)
        self._nodes = self._acquirer.remote_device.node_map
        self._stopped = threading.Event()
        self._buffer: Any = None
        self._first_id: int | None = None
        try:
            self._set_up()
            self._acquirer.num_buffers = source.buffers
            self._acquirer.start()
        except BaseException:
            self._acquirer.destroy()
            raise

    def read(self) -> Grab | None:
        self._give_back()
        while not self._stopped.is_set():
            try:
                self._buffer = self._acquirer.try_fetch(timeout=_POLL_S)
                if self._buffer is not None:
                    return self._grab(self._buffer, self._clock.now_ns())
            except Exception as error:
                if self._stopped.is_set():
                    break
                raise SourceError(
                    f"camera {self.serial} was lost: {_text(error)}; check its power and its cable"
                ) from error
        return None

    def stop(self) -> None:
        self._stopped.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        if self._acquirer is None:
            return
        self._give_back()
        with suppress(Exception):  # a camera that is gone cannot be told to stop
            self._acquirer.stop()
        with suppress(Exception):
            self._acquirer.destroy()
        self._acquirer = None
        with _opening, suppress(Exception):
            self._harvester.reset()

    def _set_up(self) -> None:
        wanted = {"PixelFormat": "Mono8", "Width": self._line.width_px, "Height": self._line.frame_lines}
        for name, value in {**wanted, **self._source.features}.items():
            try:
                self._nodes.get_node(name).value = value
            except Exception as error:
                now = None
                with suppress(Exception):
                    now = self._nodes.get_node(name).value
                if name in wanted and now == value:
                    continue  # it cannot be changed, and need not
                raise ConfigError(
                    f"camera {self.serial}: feature {name} cannot be set to {value!r} ({_text(error)}), found {now!r}; "
                    "expected a feature of this camera, and a value within its bounds; correct [source.features] or "
                    "[line]"
                ) from error
        if self._source.counter is not None:
            try:
                self._nodes.get_node(self._source.counter)
            except Exception as error:
                raise ConfigError(
                    f"camera {self.serial} has no feature {self._source.counter}, [source] counter expects a chunk "
                    "feature such as ChunkEncoderValue; correct it, or remove it"
                ) from error

    def _grab(self, buffer: Any, now_ns: int) -> Grab:
        number = int(buffer.module.frame_id)
        self._first_id = number if self._first_id is None else self._first_id
        sequence, line = number - self._first_id, self._line
        first, count, counted = sequence * line.frame_lines, sequence * line.frame_lines, False
        if self._source.counter is not None:
            with suppress(Exception):  # the grab is told as one without a count
                count, counted = int(self._nodes.get_node(self._source.counter).value), True
        image, fault = None, Cause.TRUNCATED
        if not buffer.module._is_incomplete():
            image, fault = _image(buffer)
        return Grab(
            image=image,
            coil=self._source.coil,
            sequence=sequence,
            first_line=first,
            lines=line.frame_lines,
            encoder_count=count,
            along_mm=first * line.mm_per_line,
            mm_per_line=line.mm_per_line,
            captured_ns=now_ns,
            encoded=counted,
            fault=fault,
        )

    def _give_back(self) -> None:
        buffer, self._buffer = self._buffer, None
        if buffer is not None:
            with suppress(Exception):
                buffer.queue()


def _image(buffer: Any) -> tuple[np.ndarray | None, Any]:
    components = buffer.payload.components
    if not components:
        return None, Cause.CORRUPT
    one = components[0]
    if one.data_format != "Mono8":
        return None, Cause.DEPTH
    return one.data.reshape(one.height, one.width), None


def _info(device: Any, name: str) -> str:
    try:
        return str(getattr(device, name) or "")
    except Exception:  # a producer need not know it
        return ""


def _text(error: Exception) -> str:
    return made_printable(" ".join(str(error).split()))[:300] or type(error).__name__
