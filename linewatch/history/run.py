"""`linewatch history`: subscribes to every configured service and stores its messages until SIGTERM."""

import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from threading import Event
from typing import Final

import sqlalchemy as sa
import structlog

from linewatch.client import ClientKeys, Loss, Lost, Subscriber
from linewatch.config.history import HistoryServiceSettings, HistorySettings
from linewatch.contracts.errors import HistoryError
from linewatch.history.archive import ImageArchive
from linewatch.history.database import explained, is_passing, reopen, shown, upkeep, writing
from linewatch.history.figures import HistoryFigures
from linewatch.history.retention import AgeAllowance, Ages, expire_step
from linewatch.history.writer import HistoryWriter, StoredService, TwoWritersError, stored_service
from linewatch.logs import log_sums
from linewatch.monitoring.endpoint import monitored
from linewatch.signals import on_end, on_reload, tell_that_a_restart_is_needed
from linewatch.systemd import Notifier
from linewatch.wire.schema import DECIDED_TOPICS, AnyMessage, CropMessage, DefectMessage, StatusMessage, Topic

log = structlog.get_logger()

BATCH_MESSAGES: Final = 2_000
BATCH_MASK_RUNS: Final = 1 << 21  # 24 MiB of them
ANSWERS_AWAITED: Final = 10
"""How often a service that is silent, or cannot read its journal, is asked for missed messages before they are lost."""
ASK_AGAIN_S: Final = 5.0
"""From one time that it is asked to the next. A service whose disk hangs refuses at once."""
EXPIRE_EVERY_S: Final = 60.0
TIDY_EVERY_S: Final = 1.0
UPKEEP_EVERY_S: Final = 1.0
CROPS_HELD: Final = 128
"""How many images may wait for their coil's row; then the oldest are dropped."""
RETRY_S: Final = (1.0, 30.0)  # after a failure to write: at first, and at most
WAIT_S: Final = 0.05
NOTIFY_EVERY_S: Final = 1.0


class _Missed(Exception):
    """The service did not deliver missed messages: subscribe again from the stored positions."""


def run_history(settings: HistorySettings) -> None:
    """Store until SIGINT or SIGTERM. Raises HistoryError for an unusable database, WireError for bad endpoints.

    While a database is locked, full, read-only, damaged or unreachable it retries: the services' journals hold what is
    not stored yet. A SQLite file that was moved away or replaced is noticed before the next commit, and within a second
    without one: the file at the path is opened, or made, and its own positions say what is fetched again.
    """
    stop = Event()
    with (
        on_end(stop.set),
        on_reload(tell_that_a_restart_is_needed),
        writing(settings.database) as engine,
        ExitStack() as stack,
    ):
        with explained(settings.database):
            archive = stack.enter_context(ImageArchive(settings.images, engine)) if settings.images else None
        listeners = [stack.enter_context(_Listener(service, engine, archive)) for service in settings.service]
        notifier = Notifier()
        notifier.ready()
        log.info(
            "history_opened", database=engine.url.render_as_string(), services=[listener.name for listener in listeners]
        )
        recording, figures = _Recording(settings, engine, listeners, archive, notifier), HistoryFigures(listeners)
        stack.enter_context(monitored(settings.monitoring, figures))
        troubled_s = RETRY_S[0]
        while True:
            stopping = stop.is_set()
            try:
                recording.step(stopping=stopping)
                troubled_s, figures.written = RETRY_S[0], True
            except HistoryError as error:
                figures.failed()
                if stopping or isinstance(error, TwoWritersError):
                    raise
                log.error("history_write_failed", error=str(error), retry_s=troubled_s)
                notifier.alive(f"cannot write: {error}")
                recording.give_up(error)
                stop.wait(troubled_s)
                notifier.alive(f"cannot write: {error}")
                troubled_s = min(2 * troubled_s, RETRY_S[1])
            if stopping:
                break
            log_sums()
        notifier.stopping()
        log.info("history_closed", stored={listener.name: listener.stored for listener in listeners})


class _Recording:
    """What the loop does again and again, and what it does about a database that fails."""

    def __init__(
        self,
        settings: HistorySettings,
        engine: sa.Engine,
        listeners: "Sequence[_Listener]",
        archive: ImageArchive | None,
        notifier: Notifier,
    ) -> None:
        self._notifier, self._next_notice_s = notifier, time.monotonic()
        self._settings, self._engine, self._listeners, self._archive = settings, engine, listeners, archive
        self._next_expiry_s = self._next_tidy_s = self._next_upkeep_s = time.monotonic()
        self._ages, self._allowance = Ages(settings.keep.days), AgeAllowance(settings.keep.days)
        self._unusable: str | None = None  # why the database must be opened anew
        self._reopened = ""

    def state(self) -> str:
        """Return a line for `systemctl status`."""
        archive = [self._archive.state()] if self._archive else []
        reopened = [self._reopened] if self._reopened else []
        return ", ".join([*(listener.state() for listener in self._listeners), *archive, *reopened])

    def step(self, *, stopping: bool) -> None:
        """Store what comes within `WAIT_S`, all of it if `stopping`, and do what is due. Raises HistoryError."""
        settings, engine = self._settings, self._engine
        if self._unusable is not None:
            self._reopen(self._unusable)
        with explained(settings.database):
            if time.monotonic() >= self._next_upkeep_s:
                upkeep(engine, settings.database)
                self._next_upkeep_s = time.monotonic() + UPKEEP_EVERY_S
            for listener in self._listeners:
                listener.listen(WAIT_S / len(self._listeners), settings.commit_ms / 1000, at_once=stopping)
                self._feed()  # behind each: many services that do not answer at once are no hung history
            if time.monotonic() >= self._next_expiry_s and not self._expire():
                self._next_expiry_s = time.monotonic() + EXPIRE_EVERY_S
            if self._archive is not None and time.monotonic() >= self._next_tidy_s and not self._archive.tidy():
                self._next_tidy_s = time.monotonic() + TIDY_EVERY_S

    def give_up(self, error: HistoryError) -> None:
        """Drop what is not stored, which the services' journals have, after `error`."""
        if self._unusable is None and not is_passing(error):
            self._unusable = str(error)
        for listener in self._listeners:
            listener.forget()
        if self._archive is not None and self._unusable is None:
            # Rows cannot be removed now, but files can, which makes room.
            with suppress(sa.exc.DBAPIError, HistoryError):
                self._archive.tidy()

    def _expire(self) -> bool:
        """Expire a part of the oldest coil; return whether there is more."""
        with self._engine.begin() as connection:
            gone = expire_step(connection, self._settings.keep, allowance=self._allowance, ages=self._ages)
        if gone:
            log.info("coil_expired", coil=gone)
        return gone is not None

    def _feed(self) -> None:
        if time.monotonic() >= self._next_notice_s:
            self._notifier.alive(self.state())
            self._next_notice_s = time.monotonic() + NOTIFY_EVERY_S

    def _reopen(self, why: str) -> None:
        reopen(self._engine, self._settings.database)
        log.warning("history_reopened", database=shown(self._settings.database), why=why)
        self._reopened = f"reopened at {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {why}"
        self._unusable, self._ages = None, Ages(self._settings.keep.days)
        if self._archive is not None:
            self._archive.look_again()


class _Listener:
    """One service: its subscription, and the messages that are not yet written."""

    def __init__(self, service: HistoryServiceSettings, engine: sa.Engine, archive: ImageArchive | None) -> None:
        self.name = service.name
        self.stored = 0
        self._service = service
        self._engine = engine
        self._archive = archive
        self._crops: deque[CropMessage] = deque(maxlen=CROPS_HELD)
        self._images_due_s = 0.0
        self._wire: Subscriber | None = None
        self._writer: HistoryWriter
        self._stored: StoredService
        self._received: list[AnyMessage | Lost] = []
        self._runs = 0
        self._since_s = 0.0
        self._unanswered = 0
        self._subscribed_s = 0.0

    def __enter__(self) -> "_Listener":
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    def state(self) -> str:
        """Return a text for `systemctl status`."""
        age_s = self.heartbeat_age_s
        heartbeat = f"heartbeat {age_s:.1f} s old" if age_s < float("inf") else "no heartbeat yet"
        return f"{self.name}: {self.stored} messages stored, {heartbeat}"

    @property
    def heartbeat_age_s(self) -> float:
        """Seconds since the service was last heard; infinite: it has not been."""
        wire = self._wire
        return wire.heartbeat_age_s if wire else float("inf")

    def listen(self, wait_s: float, commit_s: float, *, at_once: bool) -> None:
        """Receive for `wait_s`, then write what is due, or everything if `at_once`. Raises DBAPIError."""
        if self._wire is None and self._unanswered and time.monotonic() < self._subscribed_s + ASK_AGAIN_S:
            time.sleep(wait_s)
            return
        wire = self._wire or self._subscribe()
        try:
            until_s = time.monotonic() + wait_s
            while (message := wire.poll(max(0.0, until_s - time.monotonic()))) is not None:
                self._take(message)
                if self._is_full() or time.monotonic() > until_s:
                    break
            if self._received and (at_once or self._is_full() or time.monotonic() - self._since_s >= commit_s):
                self._write(wire)
            if self._crops and not self._received and (at_once or time.monotonic() >= self._images_due_s):
                self._store_images(commit_s)
        except _Missed:
            self.forget()

    def forget(self) -> None:
        """Drop what is not written and unsubscribe: the next subscription begins at the stored positions."""
        self._received, self._runs = [], 0
        self._crops.clear()
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _subscribe(self) -> Subscriber:
        service = self._service
        with self._engine.begin() as connection:
            stored = stored_service(connection, self.name)
        self._stored, self._writer = stored, HistoryWriter(stored)
        self._subscribed_s = time.monotonic()
        keys = ClientKeys(service.keys.secret_file, service.keys.server_public_file) if service.keys else None
        topics = DECIDED_TOPICS if self._archive is None else (*DECIDED_TOPICS, Topic.CROP)
        self._wire = Subscriber(
            service.publish,
            service.serve,
            topics,
            keys=keys,
            since="journal",
            positions=stored.positions,
            journal=stored.journal_id,
        )
        return self._wire

    def _take(self, message: AnyMessage | Lost) -> None:
        if isinstance(message, StatusMessage):
            self._writer.set_clock(message)
            return
        if isinstance(message, CropMessage):
            self._crops.append(message)
            return
        if isinstance(message, Lost):
            if message.loss is Loss.NO_ANSWER and self._unanswered < ANSWERS_AWAITED:
                self._unanswered += 1
                log.warning("service_not_answering", service=self.name, reason=message.reason)
                raise _Missed
            log.error(
                "messages_lost",
                service=self.name,
                topic=message.topic,
                epoch=message.epoch,
                first=message.first,
                end=message.end,
                reason=message.reason,
            )
        if not self._received:
            self._since_s = time.monotonic()
        self._received.append(message)
        if isinstance(message, DefectMessage):
            self._runs += len(message.runs)

    def _is_full(self) -> bool:
        return self._ends_journal() or len(self._received) >= BATCH_MESSAGES or self._runs >= BATCH_MASK_RUNS

    def _ends_journal(self) -> bool:
        last = self._received[-1] if self._received else None
        return isinstance(last, Lost) and last.loss is Loss.NEW_JOURNAL

    def _write(self, wire: Subscriber) -> None:
        with self._engine.begin() as connection:
            self._writer.store(connection, self._received, wire.positions, wire.journal)
        self.stored += len(self._received)
        self._unanswered = 0
        new_journal = self._ends_journal()
        self._received, self._runs = [], 0
        if new_journal:
            self.forget()

    def _store_images(self, commit_s: float) -> None:
        """Store the images whose coil is known. A crop may overtake its coil, whose messages may have to be fetched."""
        assert self._archive is not None
        unknown = self._archive.store(self._stored, tuple(self._crops))
        self._crops = deque(unknown, CROPS_HELD)
        self._images_due_s = time.monotonic() + (TIDY_EVERY_S if unknown else commit_s)
