"""Sessions, subscriptions and monitored items of an OPC UA server, bounded, and each its owner's alone.

asyncua runs them. It has no bound on monitored items, on the rate of publishing and on what one request may ask for,
and it lets every session use every subscription; both are settled here.
"""

import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import structlog
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.address_space import AddressSpace, ViewService
from asyncua.server.internal_server import InternalServer
from asyncua.server.internal_session import InternalSession
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemData, MonitoredItemService, MonitoredItemValues
from asyncua.server.subscription_service import SubscriptionService

from linewatch.contracts.access import Role
from linewatch.plant.commands import PlantClient
from linewatch.plant.opcua.commands import CALLER
from linewatch.plant.opcua.events import EventFilter
from linewatch.plant.opcua.settings import OpcuaListenSettings
from linewatch.plant.opcua.users import ClientUser, UserList

SESSION_TIMEOUT_MS = 120_000
SUBSCRIPTION_LIFETIME_MS = 120_000
KEEP_ALIVE_MS = 30_000
PUBLISH_MS = 20.0, 10_000.0  # shortest and longest interval
SUBSCRIPTIONS_PER_SESSION = 16
UNACKNOWLEDGED_MESSAGES = 32
VALUES_QUEUED, EVENTS_QUEUED = 20, 1_000  # of one monitored item
NODES_PER_READ, NODES_PER_BROWSE, METHODS_PER_CALL, ITEMS_PER_CALL = 2_000, 200, 32, 2_000

_CONDITION_REFRESH = frozenset(
    map(ua.NodeId, (ua.ObjectIds.ConditionType_ConditionRefresh, ua.ObjectIds.ConditionType_ConditionRefresh2))
)
_OPERATION_LIMITS = {
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead: NODES_PER_READ,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse: NODES_PER_BROWSE,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerMethodCall: METHODS_PER_CALL,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall: ITEMS_PER_CALL,
    ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerTranslateBrowsePathsToNodeIds: NODES_PER_BROWSE,
}

log = structlog.get_logger()


ConditionMethod = Callable[[ua.NodeId, Sequence[ua.Variant]], Awaitable[ua.StatusCode]]
"""Takes the ConditionId and the input arguments."""


class ClientSession(InternalSession):
    """A client's session: it uses its own subscriptions, and asks for a bounded amount at a time."""

    iserver: "BoundedServer"
    client_certificate: bytes | None = None
    peer = ""

    def activate_session(
        self, params: ua.ActivateSessionParameters, peer_certificate: bytes | None
    ) -> ua.ActivateSessionResult:
        first = not self.is_activated()
        users = self.iserver.user_list
        with users.checking(params.UserIdentityToken, peer_certificate or b""):
            try:
                result = super().activate_session(params, peer_certificate)
            except (ServiceError, ua.UaStatusCodeError):
                log.warning("opcua_user_refused", peer=self.peer)
                raise
        if first:
            log.info("opcua_session_opened", peer=self.peer, user=self.user.name)
        return result

    async def close_session(self, delete_subs: bool = True) -> None:
        was_open = self.is_activated()
        await super().close_session(delete_subs)
        if was_open:
            log.info("opcua_session_closed", peer=self.peer, user=self.user.name)

    async def read(self, params: ua.ReadParameters) -> list[ua.DataValue]:
        _at_most(params.NodesToRead, NODES_PER_READ)
        return await super().read(params)

    async def write(self, params: ua.WriteParameters) -> list[ua.StatusCode]:
        """Refuse: clients change something by methods only."""
        _at_most(params.NodesToWrite, NODES_PER_READ)
        return [ua.StatusCode(ua.StatusCodes.BadNotWritable) for _ in params.NodesToWrite]

    async def browse(self, params: ua.BrowseParameters) -> list[ua.BrowseResult]:
        _at_most(params.NodesToBrowse, NODES_PER_BROWSE)
        return await super().browse(params)

    async def translate_browsepaths_to_nodeids(self, params: list[ua.BrowsePath]) -> list[ua.BrowsePathResult]:
        _at_most(params, NODES_PER_BROWSE)
        for path in params:
            _at_most(path.RelativePath.Elements, 32)
        return await super().translate_browsepaths_to_nodeids(params)

    async def call(self, params: list[ua.CallMethodRequest]) -> list[ua.CallMethodResult]:
        _at_most(params, METHODS_PER_CALL)
        role = self.user.linewatch_role if isinstance(self.user, ClientUser) else Role.OBSERVER
        CALLER.set(PlantClient(f"opcua {self.user.name} {self.peer}", role))
        return [await self._call(method) for method in params]

    async def _call(self, method: ua.CallMethodRequest) -> ua.CallMethodResult:
        arguments = method.InputArguments or []
        if method.MethodId in _CONDITION_REFRESH and not (arguments and self._owns(arguments[0].Value)):
            return ua.CallMethodResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadSubscriptionIdInvalid))
        if (handler := self.iserver.condition_methods.get(method.MethodId)) is not None:
            return ua.CallMethodResult(StatusCode=await handler(method.ObjectId, arguments))
        return (await super().call([method]))[0]

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        owned = sum(sub.session_id == self.session_id for sub in self.subscription_service.subscriptions.values())
        if owned >= SUBSCRIPTIONS_PER_SESSION:
            raise ServiceError(ua.StatusCodes.BadTooManySubscriptions)
        return await super().create_subscription(params, callback, request_callback)

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        self._check(params.SubscriptionId, params.ItemsToCreate)
        return await super().create_monitored_items(params)

    async def modify_monitored_items(
        self, params: ua.ModifyMonitoredItemsParameters
    ) -> list[ua.MonitoredItemModifyResult]:
        self._check(params.SubscriptionId, params.ItemsToModify)
        return await super().modify_monitored_items(params)

    async def delete_monitored_items(self, params: ua.DeleteMonitoredItemsParameters) -> list[ua.StatusCode]:
        self._check(params.SubscriptionId, params.MonitoredItemIds)
        return await super().delete_monitored_items(params)

    async def set_monitoring_mode(self, params: ua.SetMonitoringModeParameters) -> list[ua.StatusCode]:
        self._check(params.SubscriptionId, params.MonitoredItemIds)
        return await super().set_monitoring_mode(params)

    async def set_publishing_mode(self, params: ua.SetPublishingModeParameters) -> list[ua.StatusCode]:
        for subscription in params.SubscriptionIds:
            self._check(subscription)
        return await super().set_publishing_mode(params)

    def modify_subscription(self, params: ua.ModifySubscriptionParameters) -> ua.ModifySubscriptionResult:
        self._check(params.SubscriptionId)
        return super().modify_subscription(params)

    def republish(self, params: ua.RepublishParameters) -> ua.NotificationMessage:
        self._check(params.SubscriptionId)
        message = super().republish(params)
        if not message.NotificationData:
            raise ServiceError(ua.StatusCodes.BadMessageNotAvailable)
        return message

    async def delete_subscriptions(self, ids: list[int]) -> list[ua.StatusCode]:
        _at_most(ids, self.iserver.limits.subscriptions + SUBSCRIPTIONS_PER_SESSION)
        owned = [one for one in ids if self._owns(one)]
        deleted = dict(zip(owned, await super().delete_subscriptions(owned), strict=True))
        unknown = ua.StatusCode(ua.StatusCodes.BadSubscriptionIdInvalid)
        return [deleted.get(one, unknown) for one in ids]

    async def transfer_subscriptions(
        self, params: ua.TransferSubscriptionsParameters, callback: Callable[..., Any]
    ) -> list[ua.TransferResult]:
        """Refuse: a session that is activated anew on another connection keeps its subscriptions."""
        refused = ua.StatusCode(ua.StatusCodes.BadUserAccessDenied)
        _at_most(params.SubscriptionIds, NODES_PER_BROWSE)
        return [ua.TransferResult(StatusCode=refused) for _ in params.SubscriptionIds]

    def publish(self, acks: Iterable[ua.SubscriptionAcknowledgement] | None = None) -> tuple[int, list[ua.StatusCode]]:
        acks = list(acks or ())
        _at_most(acks, NODES_PER_READ)
        if not any(sub.session_id == self.session_id for sub in self.subscription_service.subscriptions.values()):
            raise ServiceError(ua.StatusCodes.BadNoSubscription)
        _, results = super().publish([ack for ack in acks if self._owns(ack.SubscriptionId)])
        return SUBSCRIPTIONS_PER_SESSION, results if len(results) == len(acks) else []

    def _owns(self, subscription: Any) -> bool:
        found = self.subscription_service.subscriptions.get(subscription) if isinstance(subscription, int) else None
        return found is not None and found.session_id == self.session_id

    def _check(self, subscription: int, asked: Sequence[Any] = ()) -> None:
        if not self._owns(subscription):
            raise ServiceError(ua.StatusCodes.BadSubscriptionIdInvalid)
        _at_most(asked, ITEMS_PER_CALL)


class BoundedServer(InternalServer):
    """asyncua's server without its sockets, with bounded sessions and subscriptions."""

    def __init__(self, limits: OpcuaListenSettings, users: UserList) -> None:
        super().__init__(users)
        self.limits = limits
        self.user_list = users
        self.condition_methods: Mapping[ua.NodeId, ConditionMethod] = {}
        """Methods of conditions, whose objects are not in the address space."""
        self.supported_tokens = users.tokens
        self.allow_remote_admin = False
        self.bind_condition_methods = 1
        self.max_session_timeout_ms = SESSION_TIMEOUT_MS
        self.max_unacked_messages_per_subscription = UNACKNOWLEDGED_MESSAGES
        self.max_monitored_item_queue_size = EVENTS_QUEUED
        self.max_subscriptions = limits.subscriptions
        self.subscription_service = self.isession.subscription_service = _Subscriptions(self.aspace, self)

    def begin_views(self) -> None:
        """Browse fast from now on: the address space has all its reference types."""
        self.view_service = _Views(self.aspace)

    @property
    def sessions(self) -> int:
        """Number of clients' sessions."""
        return len(self._external_sessions)

    async def init(self, shelffile: Any = None) -> None:
        await super().init(shelffile)
        for node, limit in _OPERATION_LIMITS.items():
            value = ua.DataValue(ua.Variant(limit, ua.VariantType.UInt32))
            await self.write_attribute_value(ua.NodeId(node), value)

    def create_session(self, name: str, user: User | None = None, external: bool = False) -> InternalSession:
        """Open a session. Raises ServiceError when there are too many."""
        user = user or User(role=UserRole.Anonymous)
        if not external:
            return super().create_session(name, user, external)
        if self.sessions >= self.limits.sessions:
            log.warning("opcua_sessions_full", sessions=self.sessions)
            raise ServiceError(ua.StatusCodes.BadTooManySessions)
        return ClientSession(self, self.aspace, self.subscription_service, name, user=user, external=True)

    def decrypt_user_token(self, isession: Any, token: ua.UserNameIdentityToken) -> tuple[str, str]:
        """Return name and password. Refuses PKCS#1 v1.5, which tells an attacker too much (Bleichenbacher)."""
        if token.EncryptionAlgorithm and "rsa-oaep" not in token.EncryptionAlgorithm:
            raise ServiceError(ua.StatusCodes.BadIdentityTokenInvalid)
        return super().decrypt_user_token(isession, token)


class _Subscriptions(SubscriptionService):
    iserver: BoundedServer

    @property
    def items(self) -> int:
        """Number of monitored items."""
        return sum(len(sub.monitored_item_srv._monitored_items) for sub in self.subscriptions.values())

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        session_id: ua.NodeId,
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        asked_ms = params.RequestedPublishingInterval
        interval_ms = min(max(asked_ms, PUBLISH_MS[0]), PUBLISH_MS[1]) if math.isfinite(asked_ms) else PUBLISH_MS[0]
        keep_alive = min(max(params.RequestedMaxKeepAliveCount, 1), math.ceil(KEEP_ALIVE_MS / interval_ms))
        longest = max(3 * keep_alive, int(SUBSCRIPTION_LIFETIME_MS / interval_ms))
        params.RequestedPublishingInterval = interval_ms
        params.RequestedMaxKeepAliveCount = keep_alive
        params.RequestedLifetimeCount = min(max(params.RequestedLifetimeCount, 3 * keep_alive), longest)
        result = await super().create_subscription(params, callback, session_id, request_callback)
        subscription = self.subscriptions[result.SubscriptionId]
        subscription.monitored_item_srv = _Items(subscription, self.aspace, self)
        return result


class _SharedValues(MonitoredItemValues):
    """Values as they are written: nobody changes a written value, so no copy is needed."""

    current_dvalue: ua.DataValue | None
    old_dvalue: ua.DataValue | None

    def set_current_datavalue(self, cur_val: ua.DataValue) -> None:
        self.old_dvalue, self.current_dvalue = self.current_dvalue, cur_val


class _Items(MonitoredItemService):
    """The monitored items of one subscription."""

    def __init__(self, subscription: InternalSubscription, space: AddressSpace, service: _Subscriptions) -> None:
        super().__init__(subscription, space)
        self._service = service

    async def create_monitored_items(
        self, params: ua.CreateMonitoredItemsParameters
    ) -> list[ua.MonitoredItemCreateResult]:
        left = self._service.iserver.limits.monitored_items - self._service.items
        asked, refused = params.ItemsToCreate[: max(0, left)], params.ItemsToCreate[max(0, left) :]
        results = []
        for item in asked:
            results.append(await self._create(item, params))
        too_many = ua.StatusCode(ua.StatusCodes.BadTooManyMonitoredItems)
        return results + [ua.MonitoredItemCreateResult(StatusCode=too_many) for _ in refused]

    async def _create(
        self, item: ua.MonitoredItemCreateRequest, params: ua.CreateMonitoredItemsParameters
    ) -> ua.MonitoredItemCreateResult:
        asked = item.RequestedParameters.Filter
        of_events = item.ItemToMonitor.AttributeId == ua.AttributeIds.EventNotifier
        filter_: EventFilter | None = None
        try:
            if of_events:
                filter_ = EventFilter(asked, self.aspace)
            elif isinstance(asked, ua.DataChangeFilter):
                self._check_deadband(item.ItemToMonitor, asked)
        except ValueError:
            return ua.MonitoredItemCreateResult(StatusCode=ua.StatusCode(ua.StatusCodes.BadFilterNotAllowed))
        (result,) = await super().create_monitored_items(
            ua.CreateMonitoredItemsParameters(params.SubscriptionId, params.TimestampsToReturn, [item])
        )
        if filter_ is not None and result.StatusCode.is_good():
            self._monitored_items[result.MonitoredItemId].where_clause_evaluator = filter_
        return result

    def _check_deadband(self, item: ua.ReadValueId, asked: ua.DataChangeFilter) -> None:
        """Raise ValueError for a deadband of a value that is no number."""
        if asked.DeadbandType == ua.DeadbandType.None_:
            return
        value = self.aspace.read_attribute_value(item.NodeId, item.AttributeId).Value
        if asked.DeadbandType != ua.DeadbandType.Absolute or value is None or not isinstance(value.Value, int | float):
            raise ValueError("a deadband needs a number")

    def _make_monitored_item_common(
        self, params: ua.MonitoredItemCreateRequest
    ) -> tuple[ua.MonitoredItemCreateResult, MonitoredItemData]:
        result, data = super()._make_monitored_item_common(params)
        asked = params.RequestedParameters.QueueSize
        data.queue_size = result.RevisedQueueSize = _queue_size(params.ItemToMonitor.AttributeId, asked)
        data.mvalue = _SharedValues()
        return result, data

    def _modify_monitored_item(self, params: ua.MonitoredItemModifyRequest) -> ua.MonitoredItemModifyResult:
        data = self._monitored_items.get(params.MonitoredItemId)
        if data is None or data.read_value_id is None:
            bad = ua.StatusCode(ua.StatusCodes.BadMonitoredItemIdInvalid)
            return ua.MonitoredItemModifyResult(StatusCode=bad)
        data.client_handle = params.RequestedParameters.ClientHandle
        data.queue_size = _queue_size(data.read_value_id.AttributeId, params.RequestedParameters.QueueSize)
        result = ua.MonitoredItemModifyResult()  # the filter stays as it was
        result.RevisedSamplingInterval = self.isub.data.RevisedPublishingInterval
        result.RevisedQueueSize = data.queue_size
        return result

    async def trigger_event(self, event: Any, mid: int | None = None) -> bool:
        """Queue an event for the items of the Server object and of the node that emits it."""
        nodes = dict.fromkeys((ua.NodeId(ua.ObjectIds.Server), event.emitting_node))
        items = [item for node in nodes for item in self._monitored_events.get(node, ()) if mid in (None, item)]
        for item in items:
            await self._trigger_event(event, item)
        return bool(items)


class _Views(ViewService):
    """Browsing, with the subtypes of each reference type found once: reference types do not change."""

    def __init__(self, space: AddressSpace) -> None:
        super().__init__(space)
        self._known: dict[ua.NodeId, frozenset[ua.NodeId]] = {}

    def _suitable_reftype(self, ref1: ua.NodeId, ref2: ua.NodeId, subtypes: bool) -> bool:
        if ref1 == ref2 or ref1 == ua.NodeId(ua.ObjectIds.Null):
            return True
        if not subtypes:
            return False
        if ref1 not in self._known:
            if ref1 not in self._aspace or len(self._known) > 1_000:
                return False
            self._known[ref1] = frozenset(self._get_sub_ref(ref1))
        return ref2 in self._known[ref1]


def _queue_size(attribute: Any, asked: int) -> int:
    if attribute == ua.AttributeIds.EventNotifier:
        return min(asked, EVENTS_QUEUED) if asked > 1 else EVENTS_QUEUED
    return min(max(asked, 1), VALUES_QUEUED)


def _at_most(asked: Sequence[Any] | None, most: int) -> None:
    if asked is not None and len(asked) > most:
        raise ServiceError(ua.StatusCodes.BadTooManyOperations)
