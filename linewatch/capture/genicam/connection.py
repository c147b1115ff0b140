"""One opened camera: under our control, set as configured, and its stream of buffers."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from linewatch.capture.genicam.buffers import BufferPool
from linewatch.capture.genicam.discovery import (
    FoundCamera,
    find_camera,
    forget,
    holder_of,
    ipv4_interfaces,
    is_controlled,
    remember,
)
from linewatch.capture.genicam.features import CameraFeatures
from linewatch.capture.genicam.library import aravis, glib_error, reason
from linewatch.capture.genicam.mono import mono_format
from linewatch.capture.genicam.settings import GenicamFeatures
from linewatch.config.line import LineSettings
from linewatch.contracts.errors import ConfigError, LinewatchError, SourceError

log = structlog.get_logger()

_LINE_RATES = ("AcquisitionLineRate", "AcquisitionLineRateAbs", "LineRate")
ENOUGH_SOCKET_BUFFER = 8 << 20
SOCKET_BUFFER = 32 << 20
"""Bytes asked of the kernel, which gives what net.core.rmem_max allows."""


class GenicamConnection:
    """A camera that this process controls. `close` gives it back; use it from one thread.

    Opening it sets all features. Raises SourceError when the camera is not there, is held by somebody else or does not
    take a setting now, and ConfigError for a setting that it can never take.
    """

    def __init__(self, settings: GenicamFeatures, line: LineSettings) -> None:
        self._aravis, self._error = aravis(), glib_error()
        self._settings, self._line = settings, line
        self._stream: Any = None
        self._pool: BufferPool | None = None
        self._chunk_parser: Any = None
        self._running = False
        found = find_camera(settings.camera)
        _refuse_held(found)
        self.found, self._camera = _opened(found)
        self.device: Any = self._camera.get_device()
        if self._camera.is_gv_device() and not self.device.is_controller():
            _refuse_held(self.found)
            raise SourceError(
                f"{self.found.told} does not give this program control, expected a camera that is free; try again"
            )
        self.features = CameraFeatures(self.device, self.found.told)
        try:
            self._configure()
        except self._error as error:
            self.close()
            raise SourceError(f"{self.found.told} refuses to be set ({reason(error)}); start it anew") from error
        except LinewatchError:
            self.close()
            raise
        remember(self.found)

    @property
    def free_running(self) -> bool:
        return self._settings.trigger == "free"

    def start(self, payload_bytes: int) -> None:
        """Begin to receive. payload_bytes: of a picture without chunks. Raises SourceError."""
        try:
            self._stream = self._camera.create_stream(None, None)
            if self._camera.is_gv_device():
                resend = self._aravis.GvStreamPacketResend
                self._stream.set_property(
                    "packet-resend", resend.ALWAYS if self._settings.packet_resend else resend.NEVER
                )
                self._stream.set_property("frame-retention", round(self._settings.frame_retention_ms * 1000))
                self._stream.set_property("socket-buffer", self._aravis.GvStreamSocketBuffer.FIXED)
                self._stream.set_property("socket-buffer-size", SOCKET_BUFFER)
                if text := small_socket_buffer():
                    log.warning("socket_buffer_small", text=text)
            size = self._camera.get_payload()
            if size < payload_bytes:
                raise SourceError(
                    f"{self.found.told} sends {size} bytes a frame, expected at least {payload_bytes}; "
                    "take out what makes it smaller in [source.features], such as binning"
                )
            self._pool = BufferPool(self._aravis, self._stream, self._settings.buffers, size)
            self._camera.start_acquisition()
            self._running = True
        except self._error as error:
            raise SourceError(
                f"{self.found.told} does not start to send ({reason(error)}), expected frames; switch it off and on"
            ) from error

    def wait(self, timeout_s: float) -> Any | None:
        """Return the next buffer that was filled, in part or in whole, or None. Give it back to `pool`."""
        return self._stream.timeout_pop_buffer(round(timeout_s * 1e6))

    @property
    def pool(self) -> BufferPool:
        assert self._pool is not None, "start first"
        return self._pool

    @property
    def starved(self) -> int:
        """How many packets (GigE Vision) or frames found no free buffer so far: this host was late."""
        return int(self._stream.get_info_uint64_by_name("n_underruns"))

    def held(self) -> bool:
        """Return whether the camera still answers, and is ours. It is asked, which takes half a second if it is gone.

        Aravis by itself notices a loss after six seconds.
        """
        if self._camera.is_gv_device():
            return bool(self.device.is_controller()) and is_controlled(self.found.address)
        try:
            self._camera.get_payload()
        except self._error:
            return False
        return True

    def chunk(self, buffer: Any, name: str) -> int | None:
        """Return the number in a chunk of a buffer; None where it has none, as an incomplete one."""
        if buffer.get_status() != self._aravis.BufferStatus.SUCCESS or not buffer.has_chunks():
            return None
        if self._chunk_parser is None:
            self._chunk_parser = self._camera.create_chunk_parser()
        try:
            return int(self._chunk_parser.get_integer_value(buffer, name))
        except self._error:
            return None

    def holder(self) -> str | None:
        """Say who holds the camera now."""
        return holder_of(self.found.address)

    def close(self, *, lost: bool = False) -> None:
        """Stop, and give the camera back. lost: it does not answer, so it is not waited for."""
        # In this order: the stream's thread writes into the buffers, and the camera is asked by both until they end.
        parts = [self._pool, self._camera, self.device, self._chunk_parser, self._stream]
        self._pool = self._camera = self.device = self._chunk_parser = self._stream = None
        self.features.release()
        if not lost:
            camera, device = parts[1], parts[2]
            with contextlib.suppress(self._error):
                if self._running:
                    camera.stop_acquisition()
                if camera.is_gv_device() and device.is_controller():
                    device.leave_control()
            del camera, device
            _drop(parts)
            return
        # Aravis waits for answers when its objects end: for seconds, without holding the interpreter.
        threading.Thread(target=_drop, args=(parts,), name="camera-release", daemon=True).start()

    def _configure(self) -> None:
        settings, line, features = self._settings, self._line, self.features
        with contextlib.suppress(self._error):
            self._camera.stop_acquisition()  # what a killed program left running would be sent to its address
        form = mono_format(settings.pixel_format)
        form.line_bytes(line.width_px)  # refuses a width that cannot be packed
        features.set("PixelFormat", form.name, "[source] pixel_format")
        for axis, size, offset, setting in (
            ("X", ("Width", line.width_px, "[line] width_px"), settings.offset_x_px, "[source] offset_x_px"),
            ("Y", ("Height", line.frame_lines, "[line] frame_lines"), settings.offset_y_px, "[source] offset_y_px"),
        ):
            name = f"Offset{axis}"
            if offset is not None and features.has(name):
                features.set(name, 0, setting)  # a width is bounded by what lies beside it
            features.set(size[0], size[1], size[2])
            if offset:
                features.set(name, offset, setting)
        if settings.exposure_us is not None:
            self._set_number("exposure_us", settings.exposure_us, "ExposureTime", "ExposureTimeAbs", "ExposureTimeRaw")
        if settings.gain is not None:
            self._set_number("gain", settings.gain, "Gain", "GainRaw", "GainAbs")
        self._set_encoder()
        self._set_trigger()
        for name, value in settings.features.items():
            features.set(name, value, f"[source.features] {name}")
        self._set_chunks()
        if self._camera.is_gv_device():
            self._set_packets()

    def _set_number(self, setting: str, value: float, *names: str) -> None:
        """Set the first of these features that the camera has, in the type that it has."""
        name = self.features.first_of(*names) or names[0]
        kind = self.features.describe(name).type
        self.features.set(name, round(value) if kind == "integer" else value, f"[source] {setting}")

    def _set_encoder(self) -> None:
        encoder, features = self._settings.encoder_input, self.features
        if encoder is None:
            return
        setting = "[source.encoder_input]"
        features.set("EncoderSelector", encoder.name, f"{setting} name")
        for name, value, key in (
            ("EncoderSourceA", encoder.source_a, "source_a"),
            ("EncoderSourceB", encoder.source_b, "source_b"),
            ("EncoderDivider", encoder.divider, "divider"),
        ):
            if value is not None:
                features.set(name, value, f"{setting} {key}")

    def _set_trigger(self) -> None:
        settings, features = self._settings, self.features
        if settings.trigger is None:
            return
        selectors = features.describe("TriggerSelector").entries if features.has("TriggerSelector") else ()
        for selector in selectors:
            features.set(f"TriggerMode[TriggerSelector={selector}]", "Off", "[source] trigger")
        if settings.trigger == "free":
            self._set_rate()
            return
        assert settings.trigger_source is not None
        wanted = ("LineStart",) if settings.trigger == "line" else ("FrameStart", "AcquisitionStart")
        selector = next((one for one in wanted if one in selectors), wanted[0])
        where = f"[TriggerSelector={selector}]"
        features.set(f"TriggerSource{where}", settings.trigger_source, "[source] trigger_source")
        features.set(f"TriggerMode{where}", "On", "[source] trigger")

    def _set_rate(self) -> None:
        features, rate_hz = self.features, self._line.line_rate_hz
        for enable in ("AcquisitionLineRateEnable", "AcquisitionFrameRateEnable"):
            if features.has(enable):
                features.set(enable, True, "[source] trigger")
        if (name := features.first_of(*_LINE_RATES)) is not None:
            features.set(name, rate_hz, "[line] line_rate_hz")
            return
        frames_hz = rate_hz / self._line.frame_lines
        low, high = self._camera.get_frame_rate_bounds()
        if not low <= frames_hz <= high:
            raise ConfigError(
                f"[line] line_rate_hz = {rate_hz:g} is {frames_hz:.4g} frames/s of {self._line.frame_lines} lines, "
                f"{self.found.told} takes {low:g} to {high:g} now; correct it, or shorten the exposure"
            )
        self._camera.set_frame_rate(frames_hz)

    def _set_chunks(self) -> None:
        names = [one for one in (self._settings.encoder_chunk, self._settings.line_chunk) if one is not None]
        if not names:
            return
        if not self._camera.are_chunks_available():
            raise ConfigError(
                f"{self.found.told} has no chunks (feature ChunkModeActive), [source] expects {' and '.join(names)}; "
                "take encoder_chunk and line_chunk out"
            )
        entries = self.features.describe("ChunkSelector").entries
        for name in names:
            if name.removeprefix("Chunk") not in entries:
                raise ConfigError(
                    f"[source] chunk {name}: {self.found.told} has no such chunk, expected one of "
                    f"{', '.join(f'Chunk{one}' for one in entries)}; correct it"
                )
        self._camera.set_chunks(",".join(name.removeprefix("Chunk") for name in names))

    def _set_packets(self) -> None:
        settings, camera = self._settings, self._camera
        camera.gv_set_packet_size_adjustment(self._aravis.GvPacketSizeAdjustment.NEVER)
        address = self.device.get_interface_address().to_string()
        found = next((one for one in ipv4_interfaces() if one.address == address), None)
        name, mtu = (found.name, found.mtu) if found else (address, None)
        if settings.packet_size is not None:
            if mtu is not None and settings.packet_size > mtu:
                raise SourceError(
                    f"[source] packet_size = {settings.packet_size} does not pass through {name}, whose MTU is {mtu}; "
                    f"expected at most that: ip link set {name} mtu 9000 (the switch must allow it as well), or a "
                    "smaller packet_size"
                )
            self.features.set("GevSCPSPacketSize", settings.packet_size, "[source] packet_size")
        else:
            began_s = time.monotonic()
            size = camera.gv_auto_packet_size()
            log.info(
                "camera_packet_size",
                camera=self.found.serial,
                bytes=size,
                interface=name,
                mtu=mtu,
                seconds=round(time.monotonic() - began_s, 2),
            )
        if settings.packet_delay is not None:
            self.features.set("GevSCPD", settings.packet_delay, "[source] packet_delay")
        with contextlib.suppress(self._error):
            camera.gv_set_multipart(False)


@contextlib.contextmanager
def looked_at(which: str | None) -> Iterator[tuple[FoundCamera, CameraFeatures]]:
    """Give a camera's name and its features without setting anything, also while somebody else controls it.

    Raises SourceError where it is not there.
    """
    error = glib_error()
    found, camera = _opened(find_camera(which))
    device = camera.get_device()
    with contextlib.suppress(error):
        if camera.is_gv_device() and device.is_controller():
            device.leave_control()  # opening took it
    try:
        yield found, CameraFeatures(device, found.told)
    except error as failure:
        raise SourceError(f"{found.told} does not answer ({reason(failure)}), expected its features") from failure


def _refuse_held(found: FoundCamera) -> None:
    """Raises SourceError where some program has control of a camera; Aravis would try for seconds to get it."""
    if (holder := holder_of(found.address)) is not None:
        raise SourceError(
            f"{found.told} is held by {holder}, expected a camera that is free; end that program, or wait 3 s if it "
            "was killed"
        )


def _opened(found: FoundCamera) -> tuple[FoundCamera, Any]:
    """Return a camera, under our control where it was free. Raises SourceError."""
    error = glib_error()
    try:
        camera: Any = aravis().Camera.new(found.address or found.id)
        serial = camera.get_device_serial_number() or found.serial
        named = replace(found, vendor=camera.get_vendor_name(), model=camera.get_model_name(), serial=serial)
    except error as failure:
        raise SourceError(
            f"{found.told} does not open ({reason(failure)}), expected an answer; check that its address is of this "
            "host's network, and on USB that this user may open it (a udev rule)"
        ) from failure
    if found.serial not in {"", serial}:
        forget(found.serial)
        raise SourceError(
            f"{named.told} is at {found.address}, expected the camera with the serial {found.serial}; the network is "
            "searched for it when it is opened again"
        )
    return named, camera


def _drop(parts: list[Any]) -> None:
    """Release the parts, the last one first."""
    while parts:
        parts.pop()


def small_socket_buffer() -> str:
    """Say that the kernel's buffer for packets is small, and what to do; "" where it is not, or not needed."""
    if _may_use_packet_sockets():
        return ""
    allowed = int(Path("/proc/sys/net/core/rmem_max").read_text())
    if allowed >= ENOUGH_SOCKET_BUFFER:
        return ""
    return (
        f"the kernel buffers {allowed} bytes of packets (net.core.rmem_max), expected {ENOUGH_SOCKET_BUFFER}, so that "
        f"none are lost while the host is busy: sysctl -w net.core.rmem_max={SOCKET_BUFFER}"
    )


def _may_use_packet_sockets() -> bool:
    """Return whether the process has CAP_NET_RAW: Aravis then reads packets from a ring that they are put into."""
    status = Path("/proc/self/status").read_text()
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective.split()[1], 16) >> 13 & 1)
