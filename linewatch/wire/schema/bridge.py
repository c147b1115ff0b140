"""What a bridge to the plant tells the service of itself, and what the service tells of its bridges."""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from linewatch.contracts.bounds import ShortText, printable
from linewatch.wire.schema.base import Count, Message, Version, Versioned

Trouble = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(printable)]


class BridgeHealth(StrEnum):
    """Whether the plant gets what a bridge shows."""

    SERVING = "serving"
    TROUBLED = "troubled"  # the plant's side cannot be reached, or does not take what it should
    SILENT = "silent"  # the bridge has not reported for 10 s


class BridgeFigures(Message):
    """What a bridge counts."""

    peers: Count = Field(default=0, description="controllers, clients or brokers that are connected now")
    waiting: Count = Field(default=0, description="messages that are kept until the plant's side takes them")
    dropped: Count = Field(default=0, description="messages that the plant never gets, since the bridge started")


class BridgeReport(BridgeFigures):
    """A request to the serve socket: a bridge tells its health, every 2 s. The reply takes note."""

    schema_version: Version
    request: Literal["bridge"]
    id: Count = Field(default=0, description="repeated in the reply")
    name: ShortText = Field(description="of the bridge; one that reports under the same name takes its place")
    protocol: ShortText
    trouble: Trouble | None = Field(default=None, description="why the plant's side is not served; null: it is")
    ending: bool = Field(default=False, description="true: the bridge was told to end, and is not missed")


class BridgeReply(Versioned):
    """The reply to `bridge`."""

    reply: Literal["bridge"]
    id: Count


class BridgeStatus(BridgeFigures):
    """A bridge to the plant, as it told last."""

    name: str
    protocol: str
    key: str | None = Field(description="name of the key that it reports with; null: the service has no keys")
    health: BridgeHealth
    text: str | None = Field(description="why it does not serve; null: it does")
    report_age_s: Annotated[float, Field(ge=0)]
