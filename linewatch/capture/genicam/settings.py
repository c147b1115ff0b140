"""`[source]` of a GenICam camera: what it is set to."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from linewatch.capture.genicam.buffers import SMALLEST_PACKET
from linewatch.config.base import Settings
from linewatch.contracts.bounds import ShortText

FeatureName = Annotated[str, Field(pattern=r"^\w+(\[\w+=\w+\])?$", max_length=200)]
PixelFormat = Literal[
    "Mono8", "Mono10", "Mono12", "Mono14", "Mono16", "Mono10Packed", "Mono12Packed", "Mono10p", "Mono12p"
]
EntryName = Annotated[str, Field(pattern=r"^\w+$", max_length=100)]


class EncoderInput(Settings):
    """The camera's own encoder input, by the names of GenICam's SFNC. [source.features] sets what a vendor adds."""

    name: EntryName = Field(default="Encoder0", description="entry of the feature EncoderSelector")
    source_a: EntryName | None = Field(default=None, description="EncoderSourceA, such as Line1; left out: as it is")
    source_b: EntryName | None = Field(default=None, description="EncoderSourceB, such as Line2; left out: as it is")
    divider: int | None = Field(
        default=None, ge=1, description="EncoderDivider: counts of the encoder for each trigger; left out: as it is"
    )


class GenicamFeatures(Settings):
    """What a GenICam camera is set to when it is opened. What is left out stays as the camera has it."""

    camera: ShortText | None = Field(
        default=None,
        min_length=1,
        description="serial number, address, MAC address or user-defined name; left out: the only one that is found. "
        "A serial number is found again when the camera's address changes",
    )
    pixel_format: PixelFormat = Field(
        default="Mono8",
        description="more than 8 bits need `black_level` and `white_level`",
    )
    black_level: int | None = Field(
        default=None,
        ge=0,
        le=65534,
        description="level of the camera's pixels that becomes 0; see `white_level`",
    )
    white_level: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="level that becomes 255. Between the two the scale is linear, beyond them it is cut. The same for "
        "every picture, so that a defect looks the same in each",
    )
    offset_x_px: int | None = Field(default=None, ge=0, description="first column of the sensor that is taken")
    offset_y_px: int | None = Field(default=None, ge=0, description="area cameras: first row of the sensor")
    exposure_us: float | None = Field(default=None, gt=0, description="exposure of a line, or of an area's picture")
    gain: float | None = Field(default=None, description="in the camera's own unit, usually dB")
    trigger: Literal["free", "line", "frame"] | None = Field(
        default=None,
        description="free: the camera runs by itself, at [line] line_rate_hz; line: `trigger_source` starts each line; "
        "frame: it starts each frame; left out: as the camera is set",
    )
    trigger_source: EntryName | None = Field(
        default=None, description="entry of TriggerSource, such as Line1, Encoder0 or Software; for trigger line, frame"
    )
    encoder_input: EncoderInput | None = None
    encoder_chunk: EntryName | None = Field(
        default=None,
        description="chunk with the encoder's count at a frame's first line, such as ChunkEncoderValue; serves "
        "[line.encoder]",
    )
    line_chunk: EntryName | None = Field(
        default=None,
        description="chunk with a counter of lines at a frame's first line: lines that were lost are then known to the "
        "line. Left out: whole frames, by the frame's number",
    )
    features: dict[FeatureName, bool | int | float | str] = Field(
        default={},
        max_length=200,
        description='any other feature by its name, or `"Name[Selector=Entry]"`, in this order, behind all above; '
        "`linewatch cameras show` lists them with their bounds",
    )
    packet_size: int | None = Field(
        default=None,
        ge=SMALLEST_PACKET,
        le=16_404,
        description="GigE Vision: bytes of a packet on the network; above 1500 (jumbo frames) every switch and "
        "interface between must allow it. Left out: the largest that passes, where the camera can try it out",
    )
    packet_delay: int | None = Field(
        default=None, ge=0, description="GigE Vision: the camera's GevSCPD, where several cameras share a cable"
    )
    packet_resend: bool = Field(default=True, description="GigE Vision: ask again for packets that are missing")
    frame_retention_ms: float = Field(
        default=100.0, ge=1, le=10_000, description="GigE Vision: an incomplete frame waits so long for its packets"
    )
    buffers: int = Field(
        default=64, ge=4, le=4096, description="frames that may wait to be read; memory for all is held from the start"
    )
    silence_s: float | None = Field(
        default=None,
        gt=0,
        le=3600,
        description="a camera that sends nothing for so long is lost. Left out: 1 s and five frames with trigger free, "
        "else only a camera that answers no more",
    )

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if (self.black_level is None) != (self.white_level is None):
            raise ValueError("black_level and white_level belong together; give both, or neither")
        if self.black_level is not None and self.white_level is not None and self.white_level <= self.black_level:
            raise ValueError(
                f"white_level = {self.white_level} is not above black_level = {self.black_level}; exchange them"
            )
        if self.pixel_format != "Mono8" and self.white_level is None:
            raise ValueError(
                f"pixel_format = '{self.pixel_format}' has more than 8 bits, expected the window that becomes 0 to "
                "255; give black_level and white_level in the camera's levels"
            )
        if (self.trigger in {"line", "frame"}) != (self.trigger_source is not None):
            raise ValueError("trigger = 'line' or 'frame' and trigger_source belong together; give both, or neither")
        return self
