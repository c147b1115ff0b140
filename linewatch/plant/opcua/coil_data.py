"""The data of a coil from the plant, by a method of linewatch's own: OPC 40100-1 has none for them."""

from typing import Any, Final

from asyncua import ua
from pydantic import ValidationError

from linewatch.plant.opcua.commands import OpcuaCommands
from linewatch.plant.opcua.model import SYSTEM, Model
from linewatch.wire.schema import CoilDataBody

METHOD: Final = "SetCoilData"
_STRING, _DOUBLE = ua.VariantType.String, ua.VariantType.Double
_ARGUMENTS: Final = (  # with the field of `CoilDataBody` that each one is
    ("Coil", _STRING, "coil", "the coil, before it comes or while it passes"),
    ("SteelGrade", _STRING, "steel_grade", "empty: not known"),
    ("Product", _STRING, "product", "empty: not known"),
    ("Customer", _STRING, "customer", "empty: not known"),
    ("ThicknessMm", _DOUBLE, "thickness_mm", "0: not known"),
    ("WidthMm", _DOUBLE, "width_mm", "0: not known"),
    ("LengthMm", _DOUBLE, "length_mm", "of the strip that will pass; 0: not known"),
    ("HeadCropMm", _DOUBLE, "head_crop_mm", "length cut off the head before delivery; 0: not known"),
    ("TailCropMm", _DOUBLE, "tail_crop_mm", "length cut off the tail before delivery; 0: not known"),
)


async def add_coil_data_method(model: Model, commands: OpcuaCommands) -> None:
    """Add the method to the vision system."""

    async def call(_parent: ua.NodeId, *arguments: ua.Variant) -> Any:
        if len(arguments) < len(_ARGUMENTS):
            return ua.StatusCode(ua.StatusCodes.BadArgumentsMissing)
        if len(arguments) > len(_ARGUMENTS):
            return ua.StatusCode(ua.StatusCodes.BadTooManyArguments)
        told = zip((field for _, _, field, _ in _ARGUMENTS), (one.Value for one in arguments), strict=True)
        try:
            data = CoilDataBody.model_validate({field: value for field, value in told if value})
        except ValidationError:
            return ua.StatusCode(ua.StatusCodes.BadInvalidArgument)
        status = await commands.tell_coil(data)
        return [] if status.is_good() else status

    described = [
        ua.Argument(Name=name, DataType=ua.NodeId(kind.value), ValueRank=-1, Description=ua.LocalizedText(meaning))
        for name, kind, _, meaning in _ARGUMENTS
    ]
    await model.node(SYSTEM).add_method(
        model.at(f"{SYSTEM}.{METHOD}"), ua.QualifiedName(METHOD, model.own), call, described, []
    )
