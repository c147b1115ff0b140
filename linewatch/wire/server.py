"""The serve socket: replays what a consumer missed, tells the service's state, and hears of the bridges' health."""

from collections.abc import Callable

import zmq
from pydantic import ValidationError

from linewatch.config.wire import WireSettings
from linewatch.contracts.access import Caller
from linewatch.contracts.errors import JournalError
from linewatch.contracts.ports import RecordStore
from linewatch.contracts.record import Record
from linewatch.wire.access.server_keys import ServerKeys
from linewatch.wire.access.zap import ZapAuthenticator
from linewatch.wire.bridges import Bridges
from linewatch.wire.router import Answer, Router, refusal
from linewatch.wire.schema import (
    KEPT_TOPICS,
    REQUEST,
    SCHEMA_VERSION,
    BridgeReply,
    BridgeReport,
    ErrorCode,
    NewestPictureBody,
    NewestPictureReply,
    NewestPictureRequest,
    ReplayReply,
    ReplayRequest,
    Request,
    Snapshot,
    SnapshotReply,
)

MAX_REPLY_BYTES = 256 << 10


class Server(Router[Request]):
    """Answers `replay` from the journal, `snapshot` with the state, `picture`, and whether a key may connect.

    Takes note of what `bridge` reports.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        settings: WireSettings,
        keys: ServerKeys | None,
        store: RecordStore,
        snapshot: Callable[[], Snapshot],
        bridges: Bridges | None = None,
        picture: Callable[[], tuple[NewestPictureBody, bytes] | None] = lambda: None,
    ) -> None:
        """bridges: where their reports go; None: nobody shows them. picture: of the camera, where there is one."""
        authenticator = ZapAuthenticator(context, keys.allowed) if keys else None
        super().__init__(context, settings.serve, keys, setting="serve", requests=REQUEST, authenticator=authenticator)
        self._store = store
        self._snapshot = snapshot
        self._bridges = bridges or Bridges()
        self._picture = picture

    def answer(self, request: Request, caller: Caller) -> Answer:
        try:
            if isinstance(request, ReplayRequest):
                return self._replay(request)
            if isinstance(request, BridgeReport):
                return self._report(request, caller)
            if isinstance(request, NewestPictureRequest):
                return self._newest_picture(request)
            return SnapshotReply(
                schema_version=SCHEMA_VERSION, reply="snapshot", id=request.id, snapshot=self._snapshot()
            ), ()
        except (JournalError, OSError, ValidationError) as error:  # the last: the state is beyond what a snapshot holds
            return refusal(request.id, ErrorCode.UNAVAILABLE, str(error))

    def _report(self, request: BridgeReport, caller: Caller) -> Answer:
        refused = self._bridges.take(request, caller)
        if refused is not None:
            return refusal(request.id, ErrorCode.REFUSED, refused)
        return BridgeReply(schema_version=SCHEMA_VERSION, reply="bridge", id=request.id), ()

    def _newest_picture(self, request: NewestPictureRequest) -> Answer:
        found = self._picture()
        about, records = (None, ()) if found is None else (found[0], (Record(0, "picture", 0, b"", found[1]),))
        return NewestPictureReply(schema_version=SCHEMA_VERSION, reply="picture", id=request.id, picture=about), records

    def _replay(self, request: ReplayRequest) -> Answer:
        if request.topic not in KEPT_TOPICS:
            return refusal(request.id, ErrorCode.NOT_KEPT, f"{request.topic} is not journaled; it is published once")
        epochs = self._store.epochs()
        span = self._store.span(request.epoch, request.topic)
        end = span.next if span else 0
        if request.to_sequence is not None:
            end = min(end, request.to_sequence)
        records: list[Record] = []
        if request.from_sequence < end:
            kept = self._store.read(request.epoch, request.topic, request.from_sequence, MAX_REPLY_BYTES)
            records = [record for record in kept if record.sequence < end]
        return ReplayReply(
            schema_version=SCHEMA_VERSION,
            reply="replay",
            id=request.id,
            topic=request.topic,
            epoch=request.epoch,
            records=len(records),
            more=bool(records) and records[-1].sequence + 1 < end,
            oldest=span.oldest if span else None,
            next=span.next if span else None,
            next_epoch=min((epoch for epoch in epochs if epoch > request.epoch), default=None),
            oldest_epoch=epochs[0],
            journal_id=self._store.identity or None,
        ), records
