"""All that the service hears of coils, and where commands about them and their rules are answered."""

from collections.abc import Callable

from linewatch.capture.coils import CoilAccount
from linewatch.config.grading_file import DEFAULT
from linewatch.config.service import ServiceSettings
from linewatch.contracts.access import Caller
from linewatch.contracts.errors import LinewatchError
from linewatch.daemon.coils.folder import CoilFolder
from linewatch.daemon.coils.known import CoilBook
from linewatch.daemon.coils.orders import CoilOrders
from linewatch.daemon.coils.recorded import CoilScript
from linewatch.daemon.recipes import Recipes
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


class CoilDesk:
    """`take` and `reload` are for the command socket's thread, `status` for any."""

    def __init__(
        self,
        settings: ServiceSettings,
        epoch: int,
        recipes: Recipes,
        script: CoilScript | None,
        reread: Callable[[], ServiceSettings] | None,
        lacking: Callable[[], str | None],
    ) -> None:
        """script: of a replay, which knows nothing else of coils. reread: the settings as their file has them now;
        None: there is no file. lacking: why a recipe's engine does not run. Raises JournalError.
        """
        live, script = script is None, script or CoilScript()
        self.account, self.book = CoilAccount(script.starts), CoilBook(script.told)
        self._orders = CoilOrders(settings.journal.dir, epoch, self.account, self.book, recipes, anew=not live)
        self.folder = CoilFolder(settings.coil_data, self._orders.take) if settings.coil_data and live else None
        self._recipes, self._reread, self._lacking = recipes, reread, lacking

    def take(self, request: CoilRequest, caller: Caller) -> CoilReply | str:
        """The reply to a command; or why it is refused."""
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
        """The reply once the rules are taken up; or why they are refused, and the old ones hold."""
        if self._reread is None:
            return "the service was started without a configuration file; there is nothing to read again"
        try:
            files, left = self._recipes.reload(self._reread, caller.key or request.by)
        except (LinewatchError, OSError, ValueError) as error:  # of files that change under our eyes
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
        """As the newest frame that was decided."""
        coil, passage = self._recipes.now
        return CoilStatus(
            coil=coil or None,
            data=coil_data_body(passage.data),
            recipe=passage.recipe,
            between_coils=passage.between,
            notes=passage.notes,
            known=self.book.known,
            trouble=self._lacking() or (self.folder.trouble if self.folder else None),
        )
