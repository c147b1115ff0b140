"""Results after OPC 40100-1, clause 7.10 and 9.1: one a coil, listed, paged, and told by a ResultReady event."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from asyncua import ua

from linewatch.plant.opcua.events import make_event
from linewatch.plant.opcua.model import RESULT_READY_EVENT, SYSTEM, Model, add_result_slot
from linewatch.wire.schema import CoilMessage

COMPLETED, ABORTED = 1, 3  # ResultStateDataType, clause 12.19
MAX_PAGE = 100
BROWSABLE = 16
"""Variables in the folder of results. A coil keeps its own until so many more have passed."""
DEFAULT_RECIPE: Final = "default"
_SEVERITY = 1
_MANAGEMENT = f"{SYSTEM}.ResultManagement"


@dataclass(frozen=True, slots=True)
class CoilResult:
    """One coil's result. value: a ua.ResultDataType. key: orders results by age."""

    id: str
    key: tuple[int, int]
    value: Any


def result_id(message: CoilMessage, journal: str | None) -> str:
    """Return the id of a coil's result, and of its job: unique over restarts, journals and repeated coil names."""
    epoch, ordinal = message.passage
    passage = f"{epoch}-{message.sequence if ordinal is None else ordinal}"
    return f"{journal[:8]}-{passage}" if journal else passage


def coil_result(
    message: CoilMessage, journal: str | None, simulated: bool, aborted: bool, began: datetime | None
) -> CoilResult:
    """Return the result of a coil that has ended. began: when it started, UTC; None: not known."""
    id_ = result_id(message, journal)
    ended, data = when(message), message.data
    value = ua.ResultDataType(
        ResultId=ua.ResultIdDataType(Id=id_),
        HasTransferableDataOnFile=False,
        IsPartial=False,
        IsSimulated=simulated,
        ResultState=ABORTED if aborted else COMPLETED,
        PartId=ua.PartIdDataType(Id=message.coil),
        InternalRecipeId=ua.RecipeIdInternalDataType(Id=message.recipe or DEFAULT_RECIPE),
        ProductId=ua.ProductIdDataType(Id=data.product) if data and data.product else None,
        InternalConfigurationId=ua.ConfigurationIdDataType(Id=message.config or DEFAULT_RECIPE),
        JobId=ua.JobIdDataType(Id=id_),
        CreationTime=ended,
        ProcessingTimes=ua.ProcessingTimesDataType(StartTime=began, EndTime=ended) if began else None,
        ResultContent=[ua.Variant(_content(message), ua.VariantType.ExtensionObject)],
    )
    return CoilResult(id_, (message.epoch, message.sequence), value)


def when(message: CoilMessage) -> datetime:
    """Return when the service published it, UTC; now where it does not say."""
    at_ns = message.timing.published_unix_ns
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at_ns // 1_000) if at_ns else datetime.now(UTC)


def _content(message: CoilMessage) -> Any:
    grade, data, area = message.grade, message.data, message.area
    return ua.CoilResultDataType(
        Coil=message.coil,
        Side=message.side,
        Camera=message.camera,
        LengthMm=message.inspected_mm + message.degraded_mm + message.missed_mm,
        InspectedMm=message.inspected_mm,
        DegradedMm=message.degraded_mm,
        MissedMm=message.missed_mm,
        Coverage=area.inspected_mm2 / area.passed_mm2 if area and area.passed_mm2 else 0.0,
        Grade=grade.grade if grade else "",
        GradeText=grade.text if grade else "",
        GradeRules=grade.rules if grade else "",
        SteelGrade=(data.steel_grade or "") if data else "",
        Customer=(data.customer or "") if data else "",
        Defects=sum(message.defects_by_class.values()),
        DefectsByClass=[
            ua.DefectCountDataType(DefectClass=name, Count=count)
            for name, count in sorted(message.defects_by_class.items())
        ],
    )


class Results:
    """The newest results, by methods, by browsing and by events."""

    def __init__(self, model: Model, kept: int) -> None:
        self._model = model
        self._kept = kept
        self._results: list[CoilResult] = []  # oldest first
        self._slots = 0
        self._handles = 0

    async def link(self) -> None:
        """Answer the methods of ResultManagement."""
        for name, call in (
            ("GetResultById", self._by_id),
            ("GetResultComponentsById", self._components_by_id),
            ("GetResultListFiltered", self._filtered),
        ):
            await self._model.link(_MANAGEMENT, name, call)

    async def add(self, result: CoilResult, tell: bool) -> None:
        """Keep a result unless it is known already. tell: also by a ResultReady event."""
        if any(known.id == result.id for known in self._results):
            return
        self._results.append(result)
        self._results.sort(key=lambda one: one.key)
        del self._results[: -self._kept]
        await self._show(result)
        if tell:
            await self._tell(result.value)

    async def _show(self, result: CoilResult) -> None:
        number = self._slots % BROWSABLE + 1
        self._slots += 1
        if self._slots <= BROWSABLE:
            identifier = await add_result_slot(self._model, number)
        else:
            identifier = f"{_MANAGEMENT}.Results.Result{number}"
        write = self._model.server.iserver.write_attribute_value
        await write(self._model.at(identifier), ua.DataValue(_structure(result.value)))
        for name, value in _mandatory(result.value).items():
            await write(self._model.at(f"{identifier}.{name}"), ua.DataValue(value))

    async def _tell(self, value: Any) -> None:
        optional = {
            "IsSimulated": ua.Variant(value.IsSimulated, ua.VariantType.Boolean),
            "PartId": _structure(value.PartId),
            "ResultContent": ua.Variant(value.ResultContent, ua.VariantType.Variant, is_array=True),
        }
        for name in ("ProductId", "ProcessingTimes"):
            if getattr(value, name) is not None:
                optional[name] = _structure(getattr(value, name))
        coil = value.PartId.Id
        event = make_event(
            self._model.kind(RESULT_READY_EVENT), f"coil {coil} has ended", _SEVERITY, _mandatory(value) | optional
        )
        await self._model.server.iserver.subscription_service.trigger_event(event)

    async def _by_id(self, _parent: ua.NodeId, *arguments: ua.Variant) -> Any:
        found = self._found(arguments)
        if found is None:
            return ua.StatusCode(ua.StatusCodes.BadNotFound)
        return [self._handle(), _structure(found), _no_error()]

    async def _components_by_id(self, _parent: ua.NodeId, *arguments: ua.Variant) -> Any:
        found = self._found(arguments)
        if found is None:
            return ua.StatusCode(ua.StatusCodes.BadNotFound)
        return [
            ua.Variant(False, ua.VariantType.Boolean),
            self._handle(),
            ua.Variant(found.IsPartial, ua.VariantType.Boolean),
            ua.Variant(found.IsSimulated, ua.VariantType.Boolean),
            ua.Variant(found.ResultState, ua.VariantType.Int32),
            *(
                _structure(getattr(found, name) or empty())
                for name, empty in (
                    ("MeasId", ua.MeasIdDataType),
                    ("PartId", ua.PartIdDataType),
                    ("ExternalRecipeId", ua.RecipeIdExternalDataType),
                    ("InternalRecipeId", ua.RecipeIdInternalDataType),
                    ("ProductId", ua.ProductIdDataType),
                    ("ExternalConfigurationId", ua.ConfigurationIdDataType),
                    ("InternalConfigurationId", ua.ConfigurationIdDataType),
                    ("JobId", ua.JobIdDataType),
                )
            ),
            ua.Variant(found.CreationTime, ua.VariantType.DateTime),
            _structure(found.ProcessingTimes or ua.ProcessingTimesDataType()),
            ua.Variant(found.ResultContent, ua.VariantType.Variant, is_array=True),
            _no_error(),
        ]

    async def _filtered(self, _parent: ua.NodeId, *arguments: ua.Variant) -> Any:
        """Newest first. An id that is empty selects all; so does the state 0."""
        if len(arguments) != 12:
            return ua.StatusCode(ua.StatusCodes.BadArgumentsMissing)
        state, most, start = arguments[0].Value, arguments[9].Value, arguments[10].Value
        if not all(isinstance(number, int) and number >= 0 for number in (state, most, start)):
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        wanted = dict(zip(_IDS, (_id_of(argument) for argument in arguments[1:9]), strict=True))
        matching = [one.value for one in reversed(self._results) if _matches(one.value, state, wanted)]
        page = matching[start : start + min(most or MAX_PAGE, MAX_PAGE)]
        return [
            ua.Variant(start + len(page) >= len(matching), ua.VariantType.Boolean),
            ua.Variant(len(page), ua.VariantType.UInt32),
            self._handle(),
            ua.Variant(page, ua.VariantType.ExtensionObject, is_array=True),
            _no_error(),
        ]

    def _found(self, arguments: tuple[ua.Variant, ...]) -> Any:
        wanted = _id_of(arguments[0]) if arguments else ""
        return next((one.value for one in self._results if one.id == wanted), None)

    def _handle(self) -> ua.Variant:
        """Return a handle; nothing is held for it."""
        self._handles = self._handles % 0xFFFF_FFFF + 1
        return ua.Variant(self._handles, ua.VariantType.UInt32)


_IDS: Final = (
    "MeasId",
    "PartId",
    "ExternalRecipeId",
    "InternalRecipeId",
    "ExternalConfigurationId",
    "InternalConfigurationId",
    "ProductId",
    "JobId",
)


def _matches(value: Any, state: int, wanted: dict[str, str]) -> bool:
    if state not in (0, value.ResultState):
        return False
    for name, id_ in wanted.items():
        structure = getattr(value, name)
        if id_ and (structure is None or structure.Id != id_):
            return False
    return True


def _id_of(argument: ua.Variant) -> str:
    return str(getattr(argument.Value, "Id", None) or "")


def _mandatory(value: Any) -> dict[str, ua.Variant]:
    """Return the mandatory fields, which an event and a variable of a result share."""
    return {
        "ResultId": _structure(value.ResultId),
        "IsPartial": ua.Variant(value.IsPartial, ua.VariantType.Boolean),
        "ResultState": ua.Variant(value.ResultState, ua.VariantType.Int32),
        "InternalRecipeId": _structure(value.InternalRecipeId),
        "InternalConfigurationId": _structure(value.InternalConfigurationId),
        "JobId": _structure(value.JobId),
        "CreationTime": ua.Variant(value.CreationTime, ua.VariantType.DateTime),
    }


def _structure(value: Any) -> ua.Variant:
    return ua.Variant(value, ua.VariantType.ExtensionObject)


def _no_error() -> ua.Variant:
    return ua.Variant(0, ua.VariantType.Int32)
