"""Carries out commands about coils. Each is written to a file first and, by its token, carried out once.

The file (`coil-orders.jsonl` in the journal's folder) is the audit trail, and keeps coils' data over a restart.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Lock
from time import time_ns

import structlog
from pydantic import ValidationError

from linewatch.capture.coils import CoilAccount
from linewatch.contracts.access import Caller, Role
from linewatch.contracts.errors import JournalError
from linewatch.daemon.coils.coil_data import KnownCoilData
from linewatch.daemon.recipes import Recipes
from linewatch.files import write_file
from linewatch.wire.decode import coil_data_from
from linewatch.wire.schema import CoilAction, CoilDataBody, CoilRequest, Message

log = structlog.get_logger()

ORDERS_FILE = "coil-orders.jsonl"
ORDERS_KEPT = 1_024
THIS_HOST = Caller(key=None, role=Role.OPERATOR)
"""Whoever writes files into the service's folder."""
NOT_ON_DISK = "not on disk yet: the journal's disk fails, and a restart before it works again forgets this"
_ORDERS_WRITTEN = 4 * ORDERS_KEPT  # lines; then the file is rewritten with those that are kept


class CoilOrder(Message):
    """One line of the file: a request as it was taken, and its answer."""

    epoch: int
    token: str
    action: CoilAction
    coil: str | None
    at_mm: float | None
    data: CoilDataBody | None
    by: str  # the name of the key that it came with; without keys, the name that the request gave
    at_unix_ns: int
    said_by: str | None = None  # the name that the request gave, where `by` is a key's
    recipe: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str | None:
        """The name of the key that the request came with; None without keys."""
        return None if self.said_by is None else self.by


class CoilOrders:
    """May be used by any thread."""

    def __init__(
        self,
        folder: Path,
        epoch: int,
        account: CoilAccount,
        known: KnownCoilData,
        recipes: Recipes,
        *,
        anew: bool,
        keep: Callable[[Callable[[], None]], bool] | None = None,
    ) -> None:
        """anew: forget the orders of earlier runs, as a replay does.

        keep: have the file written where a disk that hangs or fails holds nothing up, and return whether it is. None:
        a request that cannot be written is refused, and the constructor raises JournalError.
        """
        self._path = folder / ORDERS_FILE
        self._epoch, self._account, self._known, self._recipes = epoch, account, known, recipes
        self._lock = Lock()
        self._keep_on_disk = keep
        self._orders: OrderedDict[str, CoilOrder] = OrderedDict()
        for order in () if anew else self._read():
            self._orders[order.token] = order
            if order.data is not None:
                known.add(coil_data_from(order.data))
        self._written = len(self._orders)
        self._write_all()

    def take(self, request: CoilRequest, caller: Caller = THIS_HOST) -> CoilOrder | str:
        """Carry out a request, unless it was before. Return the order once it is on disk, or why it is refused."""
        assert request.token is not None
        with self._lock:
            earlier = self._orders.get(request.token)
            if earlier is not None:
                return self._again(earlier, request, caller)
            return self._take(request, request.token, caller)

    def go_on(self, begun: Collection[str], *, between: bool) -> None:
        """Order again what an earlier run had taken and not carried out when it was killed.

        begun: names of the coils that began. between: the last one of them has ended.
        """
        orders = [order for order in self._orders.values() if order.action is not CoilAction.DATA]
        carried_out = [i for i, order in enumerate(orders) if order.action is CoilAction.START and order.coil in begun]
        waiting = orders[carried_out[-1] + 1 :] if carried_out else orders
        waiting = [order for order in waiting if order.epoch == self._epoch - 1]
        if between:  # these have ended a coil; a later one is not theirs
            waiting = [order for order in waiting if order.action is CoilAction.START]
        for order in waiting:  # this run may be killed before it carries them out, too
            self._orders[order.token] = order.model_copy(update={"epoch": self._epoch})
        if waiting:
            self._write_all()
        for order in waiting:
            if order.action is CoilAction.START:
                refused = self._account.order_start(order.coil or "", at_mm=order.at_mm)
            else:
                refused = self._account.order_end(order.coil, at_mm=order.at_mm)
            log.info("coil_order_goes_on", action=str(order.action), coil=order.coil, refused=refused)

    def _again(self, earlier: CoilOrder, request: CoilRequest, caller: Caller) -> CoilOrder | str:
        same = ("action", "coil", "at_mm", "data")
        if earlier.key != caller.key or any(getattr(earlier, name) != getattr(request, name) for name in same):
            return "its token names another request"
        return earlier

    def _take(self, request: CoilRequest, token: str, caller: Caller) -> CoilOrder | str:
        by, said_by = caller.named(request.by)
        data = None if request.data is None else coil_data_from(request.data)
        conditions = None if data is None else self._recipes.files.conditions_of(data)
        order = CoilOrder(
            epoch=self._epoch,
            token=token,
            action=request.action,
            coil=request.coil,
            at_mm=request.at_mm,
            data=request.data,
            by=by,
            said_by=said_by,
            at_unix_ns=time_ns(),
            recipe=conditions.recipe if conditions else None,
            notes=conditions.notes if conditions else (),
        )
        if (refused := self._refused(request)) is not None:
            return refused
        try:
            if not self._keep(order):
                order = order.model_copy(update={"notes": (*order.notes, NOT_ON_DISK)})
        except OSError as error:
            return f"{self._path} cannot be written ({error.strerror}); nothing was changed"
        if data is not None:
            self._known.add(data)
            return order
        if request.action is CoilAction.START:
            assert request.coil is not None
            return self._account.order_start(request.coil, at_mm=request.at_mm) or order
        return self._account.order_end(request.coil, at_mm=request.at_mm) or order

    def _refused(self, request: CoilRequest) -> str | None:
        if request.action is CoilAction.DATA:
            return None
        if request.action is CoilAction.END:
            return self._account.end_refusal(request.coil)
        return self._account.start_refusal(request.coil or "")

    def _keep(self, order: CoilOrder) -> bool:
        """Keep an order, and return whether it is on disk. Raises OSError."""
        on_disk = True
        if self._keep_on_disk is None:
            _append(self._path, order)
        else:
            on_disk = self._keep_on_disk(partial(_append, self._path, order))
        self._orders[order.token] = order
        self._written += 1
        while len(self._orders) > ORDERS_KEPT:
            self._orders.popitem(last=False)
        if self._written > _ORDERS_WRITTEN:
            self._written = len(self._orders)
            with suppress(JournalError):  # the order itself is on disk
                self._write_all()
        return on_disk

    def _read(self) -> list[CoilOrder]:
        try:
            return _read(self._path)
        except JournalError as error:
            if self._keep_on_disk is None:
                raise
            log.error("coil_orders_unreadable", error=str(error))
            return []

    def _rewriting(self) -> Callable[[], None]:
        lines = b"".join(order.model_dump_json().encode() + b"\n" for order in self._orders.values())
        return partial(write_file, self._path, lines, sync=True)

    def _write_all(self) -> None:
        """Write the file anew. Raises JournalError where nothing keeps it."""
        if self._keep_on_disk is not None:
            self._keep_on_disk(self._rewriting())
            return
        try:
            self._rewriting()()
        except OSError as error:
            raise JournalError(
                f"cannot write {self._path}: {error.strerror}; free space, or repair the folder"
            ) from error


def _append(path: Path, order: CoilOrder) -> None:
    """Write a line to disk; after an error, none of it is there."""
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        line = order.model_dump_json().encode() + b"\n"
        try:
            if file.write(line) != len(line):
                raise OSError(28, "No space left on device")
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _read(path: Path) -> list[CoilOrder]:
    """Return the newest orders in the file. Lines that are none, as one cut short by a kill, are logged and skipped."""
    try:
        if path.exists() and not path.is_file():  # a pipe would hang the start
            aside = path.rename(path.with_name(f"{path.name}.not-a-file"))
            log.error("journal_file_set_aside", file=aside.name)
        lines = path.read_bytes().splitlines()[-_ORDERS_WRITTEN:]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise JournalError(f"cannot read {path}: {error.strerror}; repair it, or move it away") from error
    orders = []
    for line in lines:
        try:
            orders.append(CoilOrder.model_validate_json(line))
        except ValidationError as error:
            log.warning("coil_order_skipped", path=str(path), error=str(error.errors()[0]["msg"]))
    return orders[-ORDERS_KEPT:]
