"""Answers commands about coils and their rules."""

from collections.abc import Callable

from linewatch.capture.coils import CoilAccount
from linewatch.config.grading_file import DEFAULT
from linewatch.contracts.access import Caller
from linewatch.contracts.errors import LinewatchError
from linewatch.daemon.coils.coil_data import KnownCoilData
from linewatch.daemon.coils.folder import CoilFolder
from linewatch.daemon.coils.orders import CoilOrders
from linewatch.daemon.recipes import Recipes
from linewatch.service_settings import ServiceSettings
from linewatch.wire.encode import coil_data_body
from linewatch.wire.schema import (
    SCHEMA_VERSION,
    CoilAction,
    CoilReply,
    CoilRequest,
    CoilStatus,
    RulesReply,
    RulesRequest,
)


class CoilManager:
    """`take` is for the command socket's thread, `reload` and `status` for any."""

    def __init__(
        self,
        settings: ServiceSettings,
        epoch: int,
        account: CoilAccount,
        known: KnownCoilData,
        recipes: Recipes,
        recorded: bool,
        reread: Callable[[], ServiceSettings] | None,
        recipe_trouble: Callable[[], str | None],
        keep: Callable[[Callable[[], None]], bool] | None = None,
    ) -> None:
        """recorded: what is known of coils comes from an earlier run alone. reread: the settings as their file has them
        now; None: there is no file. recipe_trouble: why a recipe's engine does not run. keep: as of `CoilOrders`, which
        raises JournalError without it.
        """
        self._known = known
        self._orders = CoilOrders(settings.journal.dir, epoch, account, known, recipes, anew=recorded, keep=keep)
        self.folder = CoilFolder(settings.coil_data, self._orders.take) if settings.coil_data and not recorded else None
        self._recipes, self._reread, self._recipe_trouble = recipes, reread, recipe_trouble
        self.go_on = self._orders.go_on

    def take(self, request: CoilRequest, caller: Caller) -> CoilReply | str:
        """Return the reply to a command, or why it is refused."""
        order = None if request.action is CoilAction.SHOW else self._orders.take(request, caller)
        if isinstance(order, str):
            return order
        return CoilReply(
            schema_version=SCHEMA_VERSION,
            reply="coil",
            id=request.id,
            token=request.token,
            recipe=order.recipe if order else None,
            notes=order.notes if order else (),
            now=self.status(),
        )

    def reload(self, request: RulesRequest, caller: Caller) -> RulesReply | str:
        """Read the rule files again. Return the reply, or why they are refused; the old rules hold then."""
        if self._reread is None:
            return "the service was started without a configuration file; there is nothing to read again"
        try:
            files, left = self._recipes.reload(self._reread, caller.key or request.by)
        except (LinewatchError, OSError, ValueError) as error:  # of files that change while they are read
            return f"{error}\nthe rules are as they were"
        gradings = sorted(files.gradings.items(), key=lambda one: (one[0] != DEFAULT, one[0]))
        return RulesReply(
            schema_version=SCHEMA_VERSION,
            reply="rules",
            id=request.id,
            config=files.identity,
            gradings=tuple(rules.identity for _, rules in gradings),
            left=left,
        )

    def status(self) -> CoilStatus:
        """Return the coil of the newest frame that was decided, and how it is inspected."""
        coil, conditions = self._recipes.now
        return CoilStatus(
            coil=coil or None,
            data=coil_data_body(conditions.data),
            recipe=conditions.recipe,
            between_coils=conditions.between,
            notes=conditions.notes,
            known=self._known.coils,
            trouble=self._recipe_trouble() or (self.folder.trouble if self.folder else None),
        )
