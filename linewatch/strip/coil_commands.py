"""Commands about coils, forwarded to the services of all cameras: all of them take a command, or it is told which not.

Each command goes out with its own token, so that it may be sent again until every service has it. A start or an end
without a position is given one, somewhat ahead of the strip: every camera divides the strip at the same place.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Final

import structlog

from linewatch.client import Commander
from linewatch.contracts.access import Caller
from linewatch.contracts.errors import LinewatchError, WireError
from linewatch.daemon.coils.orders import THIS_HOST
from linewatch.daemon.stages.wiring import TICK_S, Wiring
from linewatch.strip.rules import StripRules
from linewatch.strip.settings import StripCamera, StripSettings
from linewatch.wire.schema import (
    SCHEMA_VERSION,
    CoilAction,
    CoilReply,
    CoilRequest,
    CoilStatus,
    RulesReply,
    RulesRequest,
)

log = structlog.get_logger()

ANSWER_S: Final = 2.0
AHEAD_S: Final = 0.5
"""How far ahead of the strip a coil is started or ended, by its present speed: a command takes time to all cameras."""
PLACES_KEPT: Final = 256
_NO_COMMANDS: Final = "it has no `commands` in the strip's configuration"


@dataclass(slots=True)
class _Forwarded:
    """A request on its way to the cameras. outcomes: by name, why it was not taken; "": it was."""

    request: CoilRequest
    by: str
    outcomes: dict[str, str] = field(default_factory=dict)
    replies: dict[str, CoilReply] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StripPlace:
    """The strip as far as a camera has told of it: where, and how fast it runs."""

    along_mm: float = 0.0
    mm_per_s: float = 0.0
    frame_mm: float = 0.0


class CoilCommands:
    """`take` is for the command socket's thread, `reload` for any, `run` for those of the forwarding stage, `take_file`
    for that of Level 2's folder.
    """

    def __init__(
        self,
        cameras: Sequence[StripCamera],
        place: Callable[[], StripPlace],
        status: Callable[[], CoilStatus],
        rules: StripRules,
        reread: Callable[[], StripSettings] | None,
        follow: Callable[[StripRules], None],
    ) -> None:
        """place: the newest of the strip. status: of the coil in the joined record. rules: that hold now. reread: the
        settings as their file has them now; None: there is no file. follow: have the next coil begin with rules.
        """
        self._rules, self._reread, self._follow = rules, reread, follow
        self._cameras, self._place, self.status = tuple(cameras), place, status
        self._queues: tuple[SimpleQueue[_Forwarded], ...] = tuple(SimpleQueue() for _ in cameras)
        self._lock = threading.Lock()
        self._reloading = threading.Lock()  # a command and a signal may come together: the files read last hold
        self._at_mm: OrderedDict[str, float] = OrderedDict()  # by token, of requests that named no position

    def take(self, request: CoilRequest, caller: Caller) -> CoilReply | str | Callable[[], CoilReply | str | None]:
        """Return the reply, why the request is refused, or what returns one of these once all cameras have answered."""
        if request.action is CoilAction.SHOW:
            return self._reply(request, {})
        by, said_by = caller.named(request.by)
        forwarded = _Forwarded(self._placed(request), f"{said_by} ({by})" if said_by else by)
        for camera, queue in zip(self._cameras, self._queues, strict=True):
            if camera.commands is None:
                forwarded.outcomes[camera.key] = _NO_COMMANDS
            else:
                queue.put(forwarded)
        return lambda: self._answer(request, forwarded)

    def reload(self, request: RulesRequest, caller: Caller) -> RulesReply | str:
        """Read the rules again, for the coils from the next one on. Return the reply, or why they are refused."""
        if self._reread is None:
            return "the process was started without a configuration file; there is nothing to read again"
        try:
            with self._reloading:
                rules, left = self._rules.read_again(self._reread())
                self._rules = rules
                self._follow(rules)
        except (LinewatchError, OSError, ValueError) as error:  # of files that change while they are read
            return f"{error}\nthe rules are as they were"
        log.info("rules_reloaded", by=caller.key or request.by, config=rules.config, left=left)
        return RulesReply(
            schema_version=SCHEMA_VERSION,
            reply="rules",
            id=request.id,
            config=rules.config,
            gradings=rules.gradings,
            left=left,
        )

    def take_file(self, request: CoilRequest) -> CoilReply | str:
        """Pass a file of Level 2 on to all cameras, and wait for their answers. For a thread of its own."""
        taken = self.take(request, THIS_HOST)
        until_s = time.monotonic() + 2 * ANSWER_S
        while callable(taken):
            if (answer := taken()) is not None:
                return answer
            if time.monotonic() >= until_s:
                return f"not all cameras have answered within {2 * ANSWER_S:g} s"
            time.sleep(0.05)
        return taken

    def run(self, wiring: Wiring) -> None:
        """Send requests to the camera of this thread, until the end."""
        camera, queue = self._cameras[wiring.worker], self._queues[wiring.worker]
        while not wiring.aborted:
            try:
                forwarded = queue.get(timeout=TICK_S)
            except Empty:
                continue
            try:
                reply = _send(camera, forwarded)
            except WireError as error:
                self._tell(forwarded, camera, _why(error), None)
            else:
                self._tell(forwarded, camera, "", reply)

    def _placed(self, request: CoilRequest) -> CoilRequest:
        """Return the request with a position, the same each time that it is sent."""
        if request.at_mm is not None or request.action not in (CoilAction.START, CoilAction.END):
            return request
        assert request.token is not None
        with self._lock:
            if (at_mm := self._at_mm.get(request.token)) is None:
                place = self._place()
                at_mm = round(place.along_mm + max(place.frame_mm, AHEAD_S * place.mm_per_s), 3)
                self._at_mm[request.token] = at_mm
                if len(self._at_mm) > PLACES_KEPT:
                    self._at_mm.popitem(last=False)
        return request.model_copy(update={"at_mm": at_mm})

    def _tell(self, forwarded: _Forwarded, camera: StripCamera, refused: str, reply: CoilReply | None) -> None:
        if refused:
            log.warning("coil_command_not_taken", camera=camera.key, action=forwarded.request.action, why=refused)
        with self._lock:
            forwarded.outcomes[camera.key] = refused
            if reply is not None:
                forwarded.replies[camera.key] = reply

    def _answer(self, request: CoilRequest, forwarded: _Forwarded) -> CoilReply | str | None:
        with self._lock:
            outcomes, replies = dict(forwarded.outcomes), dict(forwarded.replies)
        if len(outcomes) < len(self._cameras):
            return None
        refused = {name: why for name, why in outcomes.items() if why}
        if not refused:
            return self._reply(request, replies)
        taken = sorted(set(outcomes) - set(refused))
        said = "; ".join(f"{name}: {why}" for name, why in sorted(refused.items()))
        if not taken:
            return f"no camera has taken it: {said}"
        return (
            f"{', '.join(taken)} {'have' if len(taken) > 1 else 'has'} taken it, others have not: {said}; send it "
            f"again with the same token ({request.token}) once they can"
        )

    def _reply(self, request: CoilRequest, replies: Mapping[str, CoilReply]) -> CoilReply:
        notes = [f"{name}: {note}" for name, reply in sorted(replies.items()) for note in reply.notes]
        recipes = {reply.recipe for reply in replies.values()}
        return CoilReply(
            schema_version=SCHEMA_VERSION,
            reply="coil",
            id=request.id,
            token=request.token,
            recipe=recipes.pop() if len(recipes) == 1 else None,
            notes=tuple(notes),
            now=self.status(),
        )


def _send(camera: StripCamera, forwarded: _Forwarded) -> CoilReply:
    assert camera.commands is not None
    request, by = forwarded.request, forwarded.by[:64]
    at_mm = None if request.at_mm is None else max(0.0, request.at_mm - camera.along_offset_mm)
    with Commander(camera.commands, ANSWER_S, keys=camera.client_keys) as commander:
        if request.data is not None:
            return commander.tell_coil(request.data, token=request.token, by=by)
        if request.action is CoilAction.START:
            assert request.coil is not None
            return commander.start_coil(request.coil, at_mm, token=request.token, by=by)
        return commander.end_coil(request.coil, at_mm, token=request.token, by=by)


def _why(error: WireError) -> str:
    return str(error).removeprefix("the service refused: refused: ")
