"""Every message on the wire and every line of a verdict file, as closed and versioned models.

Positions are millimetres on the strip: *along* from the head of the coil, *across* from the mill's datum. Intervals are
half-open. Encoding rounds millimetres to 3 decimals and scores to 4. Two replays of one recording may differ in
`timing` and in the envelope, and in nothing else.
"""

from linewatch.wire.schema.alarm import AlarmBody, AlarmMessage, CommandMark
from linewatch.wire.schema.base import (
    DECIDED_TOPICS,
    KEPT_TOPICS,
    MAX_HEADER_BYTES,
    MAX_MASK_RUNS,
    MAX_PAYLOAD_BYTES,
    SCHEMA_MINOR,
    SCHEMA_VERSION,
    Count,
    Envelope,
    IntervalMm,
    Message,
    Score,
    Severity,
    ShortText,
    Timed,
    TimingBody,
    Token,
    Topic,
    Version,
    Versioned,
    canonical,
    explain,
    parse,
    parse_one_of,
)
from linewatch.wire.schema.bridge import BridgeFigures, BridgeHealth, BridgeReply, BridgeReport, BridgeStatus
from linewatch.wire.schema.coil import CoilBody, CoilDataBody, CoilMessage, GradeBody, GradeReasonBody
from linewatch.wire.schema.commands import (
    COMMAND,
    REPLY,
    AlarmReply,
    AlarmRequest,
    CoilAction,
    CoilReply,
    CoilRequest,
    Command,
    EngineAction,
    EngineCommand,
    EngineReply,
    Reply,
    RulesReply,
    RulesRequest,
)
from linewatch.wire.schema.crop import CropBody, CropMessage
from linewatch.wire.schema.defect import DefectBody, DefectMessage, MaskBody, decode_runs, encode_runs
from linewatch.wire.schema.disagreement import (
    DisagreementBody,
    DisagreementsReply,
    DisagreementsRequest,
    EngineCallBody,
)
from linewatch.wire.schema.frame import ColumnsBody, FrameBody, FrameMessage, SpanBody
from linewatch.wire.schema.messages import AnyMessage, decode
from linewatch.wire.schema.picture import NewestPictureBody, NewestPictureReply, NewestPictureRequest
from linewatch.wire.schema.requests import (
    REQUEST,
    CurrentCoil,
    ErrorCode,
    ErrorReply,
    ReplayReply,
    ReplayRequest,
    Request,
    Snapshot,
    SnapshotReply,
    SnapshotRequest,
)
from linewatch.wire.schema.roll_mark import RollMarkBody, RollMarkMessage, RollSuspectBody
from linewatch.wire.schema.status import (
    BackendState,
    BackendStatus,
    BesideState,
    CalibrationStatus,
    CameraStatus,
    ClockStatus,
    CoilStatus,
    CropStatus,
    DiskStatus,
    EngineBeside,
    EngineStatus,
    FaultStatus,
    JoinedCamera,
    JoinedCameraState,
    JournalStatus,
    NormalStatus,
    PictureReadingStatus,
    PictureStatus,
    PositionSource,
    PositionStatus,
    ServiceState,
    StageState,
    StageStatus,
    StatusBody,
    StatusMessage,
)
from linewatch.wire.schema.verdict_line import LINE, AlarmsLine, CoilLine, DefectLine, Line, VerdictLine

# fmt: off
__all__ = [
    "COMMAND", "DECIDED_TOPICS", "KEPT_TOPICS", "LINE", "MAX_HEADER_BYTES", "MAX_MASK_RUNS", "MAX_PAYLOAD_BYTES",
    "REPLY", "REQUEST", "SCHEMA_MINOR", "SCHEMA_VERSION", "AlarmBody", "AlarmMessage", "AlarmReply", "AlarmRequest",
    "AlarmsLine", "AnyMessage", "BackendState", "BackendStatus", "BesideState", "BridgeFigures", "BridgeHealth",
    "BridgeReply", "BridgeReport", "BridgeStatus", "CalibrationStatus", "CameraStatus", "ClockStatus", "CoilAction",
    "CoilBody", "CoilDataBody", "CoilLine", "CoilMessage", "CoilReply", "CoilRequest", "CoilStatus", "ColumnsBody",
    "Command", "CommandMark", "Count", "CropBody", "CropMessage", "CropStatus", "CurrentCoil", "DefectBody",
    "DefectLine", "DefectMessage", "DisagreementBody", "DisagreementsReply", "DisagreementsRequest", "DiskStatus",
    "EngineAction", "EngineBeside", "EngineCallBody", "EngineCommand", "EngineReply", "EngineStatus", "Envelope",
    "ErrorCode", "ErrorReply", "FaultStatus", "FrameBody", "FrameMessage", "GradeBody", "GradeReasonBody",
    "IntervalMm", "JoinedCamera", "JoinedCameraState", "JournalStatus", "Line", "MaskBody", "Message",
    "NewestPictureBody", "NewestPictureReply", "NewestPictureRequest", "NormalStatus", "PictureReadingStatus",
    "PictureStatus", "PositionSource", "PositionStatus", "ReplayReply", "ReplayRequest", "Reply", "Request",
    "RollMarkBody", "RollMarkMessage", "RollSuspectBody", "RulesReply", "RulesRequest", "Score", "ServiceState",
    "Severity", "ShortText", "Snapshot", "SnapshotReply", "SnapshotRequest", "SpanBody", "StageState", "StageStatus",
    "StatusBody", "StatusMessage", "Timed", "TimingBody", "Token", "Topic", "VerdictLine", "Version", "Versioned",
    "canonical", "decode", "decode_runs", "encode_runs", "explain", "parse", "parse_one_of",
]
