"""Counts for the grabs of a camera that has none: an encoder's counter, read beside the camera again and again."""

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol, Self

from linewatch.capture.position.odometer import moved_counts
from linewatch.config.counter import FileCounter, ModbusCounter
from linewatch.config.line import EncoderSettings, LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.contracts.frame import Grab
from linewatch.contracts.ports import Camera, CameraWrapper, Clock

SILENT_S: Final = 1.0
"""A counter that could not be read for so long is lost, and with it the place of the strip."""
_KEPT_S = 5.0  # readings; a grab is not older
_PATIENCE_S = 0.2  # for the first reading behind a grab's last line


class Counter(Protocol):
    """A counter beside the camera. Used by one thread."""

    def read(self) -> int:
        """Return what it shows. Raises OSError or ValueError when it cannot be read."""
        ...

    def close(self) -> None: ...


class FileReader:
    def __init__(self, settings: FileCounter) -> None:
        self._path = settings.path

    def read(self) -> int:
        return int(self._path.read_text())

    def close(self) -> None: ...


class ModbusReader:
    """Reads one or two registers over a connection that it opens again whenever it is gone."""

    def __init__(self, settings: ModbusCounter, bits: int) -> None:
        try:
            from pymodbus.client import ModbusTcpClient
        except ImportError as error:
            raise SourceError(
                "[line.encoder.counter] type = 'modbus' needs pymodbus, which is not installed; install "
                "linewatch[plant]"
            ) from error
        self._settings, self._words = settings, -(-bits // 16)
        self._client = ModbusTcpClient(settings.host, port=settings.port, timeout=SILENT_S / 2, retries=0)

    def read(self) -> int:
        from pymodbus.exceptions import ModbusException

        one = self._settings
        if not self._client.connected and not self._client.connect():
            raise OSError("no connection")
        read = self._client.read_holding_registers if one.table == "holding" else self._client.read_input_registers
        try:
            answer = read(one.address, count=self._words, device_id=one.unit)
        except ModbusException as error:
            self._client.close()
            raise OSError("no answer") from error
        if answer.isError():
            raise OSError(f"it answers {answer}")
        words = answer.registers[::-1] if one.low_word_first else answer.registers
        return int.from_bytes(b"".join(word.to_bytes(2, "big") for word in words))

    def close(self) -> None:
        self._client.close()


def counter_of(encoder: EncoderSettings) -> Counter:
    """Return the counter that the settings name. Raises SourceError when it cannot be read here."""
    settings = encoder.counter
    assert settings is not None
    return FileReader(settings) if isinstance(settings, FileCounter) else ModbusReader(settings, encoder.bits)


class CountedBesideCamera(CameraWrapper):
    """Gives the grabs of `camera` with the counts at their first and behind their last line.

    The count at a moment lies between the two readings around it. Raises SourceError when the counter cannot be read
    for longer than `SILENT_S`: strip whose place is unknown must not look as if it stood.
    """

    def __init__(
        self,
        camera: Camera,
        line: LineSettings,
        clock: Clock,
        counter: Callable[[EncoderSettings], Counter] = counter_of,
    ) -> None:
        super().__init__(camera)
        assert line.encoder is not None
        assert line.encoder.counter is not None
        self._line, self._encoder, self._clock = line, line.encoder, clock
        self._period_s = 1.0 / line.encoder.counter.polls_per_s
        self._counter = counter(line.encoder)
        self._readings: deque[tuple[int, int]] = deque(maxlen=round(_KEPT_S / self._period_s))
        self._came = threading.Condition()
        self._closed = threading.Event()
        self._why = "it has not been read yet"
        self._thread = threading.Thread(target=self._poll, name="counter", daemon=True)

    def read(self) -> Grab | None:
        grab = self._camera.read()
        if grab is None:
            return None
        stop_ns = grab.captured_ns
        begin_ns = stop_ns - round(grab.lines / self._line.line_rate_hz * 1e9)
        with self._came:
            self._came.wait_for(lambda: self._closed.is_set() or self._reaches(stop_ns), _PATIENCE_S)
            readings = list(self._readings)
        if not readings or self._clock.now_ns() - readings[-1][0] > SILENT_S * 1e9:
            raise self._lost()
        return replace(
            grab, encoder_count=self._at(readings, begin_ns), encoder_stop=self._at(readings, stop_ns), encoded=True
        )

    def stop(self) -> None:
        self._closed.set()
        super().stop()

    def __enter__(self) -> Self:
        self._thread.start()
        with self._came:
            self._came.wait_for(lambda: bool(self._readings), SILENT_S)
        super().__enter__()
        if not self._readings:
            self.__exit__()
            raise self._lost()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(2 * SILENT_S)
        super().__exit__(*exc)

    def _lost(self) -> SourceError:
        return SourceError(
            f"[line.encoder.counter] cannot be read: {self._why}; expected the counter; check its address and its cable"
        )

    def _reaches(self, at_ns: int) -> bool:
        return bool(self._readings) and self._readings[-1][0] >= at_ns

    def _at(self, readings: list[tuple[int, int]], at_ns: int) -> int:
        """Return the count at a moment, as wide as the counter; before and behind all readings that of the nearest."""
        turn, behind = 1 << self._encoder.bits, readings[-1]
        for before in reversed(readings):
            if before[0] <= at_ns:
                break
            behind = before
        else:
            return readings[0][1]
        if behind[0] <= before[0] or at_ns >= behind[0]:
            return before[1] if at_ns < behind[0] else behind[1]
        moved = moved_counts(self._encoder, before[1], behind[1], 0) * (1 if self._encoder.counts_up else -1)
        return (before[1] + round(moved * (at_ns - before[0]) / (behind[0] - before[0]))) % turn

    def _poll(self) -> None:
        turn = 1 << self._encoder.bits
        while not self._closed.is_set():
            begun_ns = self._clock.now_ns()
            try:
                count = self._counter.read() % turn
            except Exception as error:  # whatever a device answers
                self._why = f"{type(error).__name__}: {error}"
            else:
                with self._came:
                    self._readings.append(((begun_ns + self._clock.now_ns()) // 2, count))
                    self._came.notify_all()
            self._closed.wait(max(0.0, self._period_s - (self._clock.now_ns() - begun_ns) / 1e9))
        self._counter.close()
