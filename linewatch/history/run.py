"""`linewatch history`: listens to every service of its configuration and stores what they say, until SIGTERM comes."""

import time
from collections import deque
from contextlib import ExitStack, suppress
from threading import Event
from typing import Final

import sqlalchemy as sa
import structlog

from linewatch.client import ClientKeys, Loss, Lost, Subscriber
from linewatch.config.history import HeardService, HistorySettings
from linewatch.contracts.errors import HistoryError
from linewatch.history.archive import Archive
from linewatch.history.database import explained, is_passing, writing
from linewatch.history.recorder import Recorder, Stored, standing_of
from linewatch.history.retention import expire_step
from linewatch.signals import on_end
from linewatch.systemd import Notifier
from linewatch.wire.schema import DECIDED_TOPICS, AnyMessage, CropMessage, DefectMessage, StatusMessage, Topic

log = structlog.get_logger()

BATCH_MESSAGES: Final = 2_000
BATCH_MASK_RUNS: Final = 1 << 21  # 24 MiB of them
ANSWERS_AWAITED: Final = 10
"""How often a service that does not answer is asked for what was missed before that counts as lost."""
EXPIRE_EVERY_S: Final = 60.0
TIDY_EVERY_S: Final = 1.0
PICTURES_HELD: Final = 128
"""That wait for their coil's row; the oldest are dropped."""
RETRY_S: Final = (1.0, 30.0)  # after a failure to write: at first, and at most
WAIT_S: Final = 0.05
NOTIFY_EVERY_S: Final = 1.0


class _Missed(Exception):
    """The service did not answer for what was missed: subscribe again from where the database stands."""


def run_history(settings: HistorySettings) -> None:
    """Store until SIGINT or SIGTERM. Raises HistoryError when the database cannot be used, WireError for endpoints.

    A database that is locked, full or away for a while is waited for: the services' journals hold what is not stored.
    """
    stop = Event()
    with on_end(stop.set), writing(settings.database) as engine, ExitStack() as stack:
        with explained(settings.database):
            archive = stack.enter_context(Archive(settings.images, engine)) if settings.images else None
        ears = [stack.enter_context(_Ear(service, engine, archive)) for service in settings.service]
        notifier = Notifier()
        notifier.ready()
        log.info("history open", database=engine.url.render_as_string(), services=[ear.name for ear in ears])
        troubled_s = RETRY_S[0]
        next_expiry_s = next_notice_s = next_tidy_s = time.monotonic()
        commit_s = settings.commit_ms / 1000
        while True:
            stopping = stop.is_set()
            try:
                with explained(settings.database):
                    for ear in ears:
                        ear.listen(WAIT_S / len(ears), commit_s, at_once=stopping)
                    if time.monotonic() >= next_expiry_s and not _expire(engine, settings):
                        next_expiry_s = time.monotonic() + EXPIRE_EVERY_S
                    if archive is not None and time.monotonic() >= next_tidy_s and not archive.tidy():
                        next_tidy_s = time.monotonic() + TIDY_EVERY_S
                troubled_s = RETRY_S[0]
            except HistoryError as error:
                if stopping or not is_passing(error):
                    raise
                log.error("history not written", error=str(error), retry_s=troubled_s)
                notifier.alive(f"cannot write: {error}")
                for ear in ears:
                    ear.forget()
                if archive is not None:
                    with suppress(sa.exc.DBAPIError):  # no row can be removed, but files can: pixels go first
                        archive.tidy()
                stop.wait(troubled_s)
                troubled_s = min(2 * troubled_s, RETRY_S[1])
            if stopping:
                break
            if time.monotonic() >= next_notice_s:
                states = [ear.state() for ear in ears] + ([archive.state()] if archive else [])
                notifier.alive(", ".join(states))
                next_notice_s = time.monotonic() + NOTIFY_EVERY_S
        notifier.stopping()
        log.info("history closed", stored={ear.name: ear.stored for ear in ears})


class _Ear:
    """One service: its subscription, and what was heard and is not yet written."""

    def __init__(self, service: HeardService, engine: sa.Engine, archive: Archive | None) -> None:
        self.name = service.name
        self.stored = 0
        self._service = service
        self._engine = engine
        self._archive = archive
        self._pictures: deque[CropMessage] = deque(maxlen=PICTURES_HELD)
        self._pictures_due_s = 0.0
        self._wire: Subscriber | None = None
        self._recorder: Recorder
        self._stored: Stored
        self._heard: list[AnyMessage | Lost] = []
        self._runs = 0
        self._since_s = 0.0
        self._unanswered = 0

    def __enter__(self) -> "_Ear":
        return self

    def __exit__(self, *_: object) -> None:
        self.forget()

    def state(self) -> str:
        """For `systemctl status`."""
        age_s = self._wire.heartbeat_age_s if self._wire else float("inf")
        heard = f"heartbeat {age_s:.1f} s old" if age_s < float("inf") else "no heartbeat yet"
        return f"{self.name}: {self.stored} messages stored, {heard}"

    def listen(self, wait_s: float, commit_s: float, *, at_once: bool) -> None:
        """Hear what comes within `wait_s`, and write when it is due or `at_once`. Raises DBAPIError."""
        wire = self._wire or self._subscribe()
        try:
            until_s = time.monotonic() + wait_s
            while (message := wire.poll(max(0.0, until_s - time.monotonic()))) is not None:
                self._take(message)
                if self._is_full() or time.monotonic() > until_s:
                    break
            if self._heard and (at_once or self._is_full() or time.monotonic() - self._since_s >= commit_s):
                self._write(wire)
            if self._pictures and not self._heard and (at_once or time.monotonic() >= self._pictures_due_s):
                self._store_pictures(commit_s)
        except _Missed:
            self.forget()

    def forget(self) -> None:
        """Drop what is not written: the next subscription begins where the database stands."""
        self._heard, self._runs = [], 0
        self._pictures.clear()
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def _subscribe(self) -> Subscriber:
        service = self._service
        with self._engine.begin() as connection:
            stored = standing_of(connection, self.name)
        self._stored, self._recorder = stored, Recorder(stored)
        keys = ClientKeys(service.keys.secret_file, service.keys.server_public_file) if service.keys else None
        topics = DECIDED_TOPICS if self._archive is None else (*DECIDED_TOPICS, Topic.CROP)
        self._wire = Subscriber(
            service.publish, service.serve, topics, keys=keys, since="journal", positions=stored.positions
        )
        return self._wire

    def _take(self, message: AnyMessage | Lost) -> None:
        if isinstance(message, StatusMessage):
            self._recorder.hear(message)
            return
        if isinstance(message, CropMessage):
            self._pictures.append(message)
            return
        if isinstance(message, Lost):
            if message.loss is Loss.NO_ANSWER and self._unanswered < ANSWERS_AWAITED:
                self._unanswered += 1
                log.warning("service does not answer, asking again", service=self.name, reason=message.reason)
                raise _Missed
            log.error(
                "messages lost",
                service=self.name,
                topic=message.topic,
                epoch=message.epoch,
                first=message.first,
                end=message.end,
                reason=message.reason,
            )
        if not self._heard:
            self._since_s = time.monotonic()
        self._heard.append(message)
        if isinstance(message, DefectMessage):
            self._runs += len(message.runs)

    def _is_full(self) -> bool:
        new_journal = (
            bool(self._heard) and isinstance(self._heard[-1], Lost) and self._heard[-1].loss is Loss.NEW_JOURNAL
        )
        return new_journal or len(self._heard) >= BATCH_MESSAGES or self._runs >= BATCH_MASK_RUNS

    def _write(self, wire: Subscriber) -> None:
        with self._engine.begin() as connection:
            self._recorder.store(connection, self._heard, wire.positions)
        self.stored += len(self._heard)
        self._unanswered = 0
        began_anew = isinstance(self._heard[-1], Lost) and self._heard[-1].loss is Loss.NEW_JOURNAL
        self._heard, self._runs = [], 0
        if began_anew:
            self.forget()

    def _store_pictures(self, commit_s: float) -> None:
        """A picture is told behind its defect; where that has to be fetched, it waits for its coil."""
        assert self._archive is not None
        unknown = self._archive.store(self._stored, tuple(self._pictures))
        self._pictures = deque(unknown, PICTURES_HELD)
        self._pictures_due_s = time.monotonic() + (TIDY_EVERY_S if unknown else commit_s)


def _expire(engine: sa.Engine, settings: HistorySettings) -> bool:
    """Whether there is more to expire."""
    with engine.begin() as connection:
        gone = expire_step(connection, settings.keep)
    if gone:
        log.info("coil expired", coil=gone)
    return gone is not None
