"""The address space: the companion specification's types, and one vision system with what linewatch shows of itself.

The model of OPC 40100-1 is read from its own NodeSet, in the folder `nodeset`. Nodes of linewatch have names as
identifiers (`ns=...;s=Health.State`), which stay the same.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncua import Node, Server, ua
from asyncua.common.instantiate_util import instantiate
from asyncua.common.structures104 import new_struct, new_struct_field

from linewatch.plant.opcua.events import EventKind

NODE_SET = Path(__file__).with_name("nodeset") / "Opc.Ua.MachineVision.NodeSet2.xml"
VISION_URI: Final = "http://opcfoundation.org/UA/MachineVision"
OWN_URI: Final = "urn:linewatch:opcua"
SYSTEM: Final = "VisionSystem"

VISION_SYSTEM_TYPE, CONFIGURATION_MANAGEMENT_TYPE, RECIPE_MANAGEMENT_TYPE = 1003, 1006, 1004
RESULT_MANAGEMENT_TYPE, AUTOMATIC_MODE_TYPE, RESULT_FOLDER_TYPE, RESULT_TYPE = 1007, 1021, 1016, 2002
RECIPE_FOLDER_TYPE, RECIPE_TYPE = 1008, 1002
RESULT_READY_EVENT, JOB_STARTED_EVENT, STATE_CHANGED_EVENT = 1024, 1013, 1018
SELECT_MODE_AUTOMATIC, CONFIRM_ALL = 7095, 7066
SYSTEM_STATE_TYPE = 3024
BINARY_ID_BASE_TYPE: Final = 3019
ID_TYPES: Final = {
    "ConfigurationIdDataType": 3008,
    "RecipeIdExternalDataType": 3002,
    "RecipeIdInternalDataType": 3013,
}

_COIL_RESULT_FIELDS = (
    ("Coil", ua.VariantType.String, "the coil's id"),
    ("Side", ua.VariantType.String, ""),
    ("Camera", ua.VariantType.String, ""),
    ("LengthMm", ua.VariantType.Double, "length that passed"),
    ("InspectedMm", ua.VariantType.Double, "length whose pixels were scored, in full"),
    ("DegradedMm", ua.VariantType.Double, "length that was screened only"),
    ("MissedMm", ua.VariantType.Double, "length that nobody looked at"),
    ("Coverage", ua.VariantType.Double, "inspected share of the area that passed, 0 to 1"),
    ("Grade", ua.VariantType.String, "empty: the service has no grading rules"),
    ("GradeText", ua.VariantType.String, ""),
    ("GradeRules", ua.VariantType.String, "name@digest of the rules"),
    ("SteelGrade", ua.VariantType.String, "from the mill; empty: not known"),
    ("Customer", ua.VariantType.String, "from the mill; empty: not known"),
    ("Defects", ua.VariantType.UInt32, "number of defects of all classes"),
)


@dataclass(frozen=True, slots=True)
class Model:
    """The address space after it was built. vision, own: the indexes of the two namespaces."""

    server: Server
    vision: int
    own: int
    alarm_type: ua.NodeId
    system_name: str

    def at(self, name: str) -> ua.NodeId:
        """Return the id of a node of linewatch."""
        return ua.NodeId(name, self.own)

    def kind(self, event_type: int | ua.NodeId) -> EventKind:
        """Return a type of event that the vision system emits; a number is one of the companion specification."""
        node = ua.NodeId(event_type, self.vision) if isinstance(event_type, int) else event_type
        return EventKind(node, self.at(SYSTEM), self.system_name)

    def node(self, name: str) -> Node:
        """Return a node of linewatch."""
        return self.server.get_node(self.at(name))

    async def link(self, parent: str, method: str, call: object) -> None:
        """Let a method of an object be answered by `call`, a coroutine function of (ObjectId, *Variant)."""
        found = await self.node(parent).get_child(f"{self.vision}:{method}")
        self.server.iserver.isession.add_method_callback(found.nodeid, call)


async def build_model(server: Server, system_name: str) -> Model:
    """Build the address space of one vision system in a server that `init` has been called of."""
    await server.import_xml(NODE_SET)
    vision = await server.get_namespace_index(VISION_URI)
    own = await server.register_namespace(OWN_URI)
    await _define_ids(server, vision)
    await _coil_result_types(server, own)
    model = Model(server, vision, own, await _alarm_type(server, own), system_name)
    await _system(model)
    return model


async def _define_ids(server: Server, vision: int) -> None:
    """Add the definitions of id types that the NodeSet leaves to their base type: some clients cannot do without."""
    base = server.get_node(ua.NodeId(BINARY_ID_BASE_TYPE, vision))
    inherited = await base.read_data_type_definition()
    for number in ID_TYPES.values():
        node = server.get_node(ua.NodeId(number, vision))
        definition = ua.StructureDefinition(
            BaseDataType=base.nodeid, StructureType=inherited.StructureType, Fields=inherited.Fields
        )
        for encoding in await node.get_referenced_nodes(ua.ObjectIds.HasEncoding):
            if (await encoding.read_browse_name()).Name == "Default Binary":
                definition.DefaultEncodingId = encoding.nodeid
        await node.write_data_type_definition(definition)
    await server.load_data_type_definitions()
    for name, number in ID_TYPES.items():  # until now, asyncua takes these names for the base type
        setattr(ua, name, ua.get_type(ua.NodeId(number, vision)))


async def _coil_result_types(server: Server, own: int) -> None:
    count = [
        new_struct_field("DefectClass", ua.VariantType.String),
        new_struct_field("Count", ua.VariantType.UInt32),
    ]
    counted, _ = await new_struct(server, ua.NodeId("DefectCountDataType", own), f"{own}:DefectCountDataType", count)
    fields = [new_struct_field(name, kind, description=about) for name, kind, about in _COIL_RESULT_FIELDS]
    fields.append(new_struct_field("DefectsByClass", counted, array=True))
    await new_struct(server, ua.NodeId("CoilResultDataType", own), f"{own}:CoilResultDataType", fields)
    await server.load_data_type_definitions()


async def _alarm_type(server: Server, own: int) -> ua.NodeId:
    """Add the type of linewatch's alarms: an AlarmConditionType that says where on which coil."""
    base = server.get_node(ua.ObjectIds.AlarmConditionType)
    node = await base.add_object_type(ua.NodeId("StripAlarmType", own), f"{own}:StripAlarmType")
    for name, kind, value in (
        ("Rule", ua.VariantType.String, ""),
        ("Coil", ua.VariantType.String, ""),
        ("AlongMm", ua.VariantType.Double, 0.0),
        ("DefectIds", ua.VariantType.String, [""]),
    ):
        added = await node.add_property(ua.NodeId(f"StripAlarmType.{name}", own), f"{own}:{name}", value, kind)
        await added.add_reference(
            ua.ObjectIds.ModellingRule_Mandatory, ua.ObjectIds.HasModellingRule, bidirectional=False
        )
    return node.nodeid


async def _system(model: Model) -> None:
    """Instantiate the vision system: what is mandatory, and of the rest what linewatch fills."""
    server, vision = model.server, model.vision
    await _instance(model, server.nodes.objects, VISION_SYSTEM_TYPE, SYSTEM, model.system_name, model.own)
    system, machine = model.node(SYSTEM), model.node(f"{SYSTEM}.VisionStateMachine")
    parts = (
        (system, CONFIGURATION_MANAGEMENT_TYPE, "ConfigurationManagement"),
        (system, RECIPE_MANAGEMENT_TYPE, "RecipeManagement"),
        (system, RESULT_MANAGEMENT_TYPE, "ResultManagement"),
        (machine, AUTOMATIC_MODE_TYPE, "AutomaticModeStateMachine"),
        (model.node(f"{SYSTEM}.ResultManagement"), RESULT_FOLDER_TYPE, "Results"),
        (model.node(f"{SYSTEM}.RecipeManagement"), RECIPE_FOLDER_TYPE, "Recipes"),
    )
    for parent, kind, name in parts:
        await _instance(model, parent, kind, f"{parent.nodeid.Identifier}.{name}", name, vision)
    for method in (SELECT_MODE_AUTOMATIC, CONFIRM_ALL):  # optional; the instance shares the type's method
        await machine.add_reference(ua.NodeId(method, vision), ua.ObjectIds.HasComponent, bidirectional=False)
    state = ua.SystemStateDescriptionDataType(State=ua.SystemStateDataType.NST_6)
    await system.add_variable(
        model.at(f"{SYSTEM}.SystemState"),
        f"{vision}:SystemState",
        state,
        datatype=ua.NodeId(SYSTEM_STATE_TYPE, vision),
    )
    await system.set_event_notifier([ua.EventNotifier.SubscribeToEvents])
    await server.nodes.server.add_reference(system.nodeid, ua.ObjectIds.HasNotifier)
    await server.nodes.server.set_event_notifier([ua.EventNotifier.SubscribeToEvents])
    events = (*(ua.NodeId(kind, vision) for kind in (RESULT_READY_EVENT, JOB_STARTED_EVENT, STATE_CHANGED_EVENT)),)
    for event in (*events, model.alarm_type):
        await system.add_reference(event, ua.ObjectIds.GeneratesEvent, bidirectional=False)


async def _instance(model: Model, parent: Node, kind: int, identifier: str, name: str, namespace: int) -> None:
    await instantiate(
        parent,
        model.server.get_node(ua.NodeId(kind, model.vision)),
        nodeid=model.at(identifier),
        bname=ua.QualifiedName(name, namespace),
        dname=ua.LocalizedText(name),
        instantiate_optional=False,
    )


async def add_result_slot(model: Model, number: int) -> str:
    """Add a variable of ResultType to the folder of results; return its identifier."""
    identifier = f"{SYSTEM}.ResultManagement.Results.Result{number}"
    await _instance(
        model, model.node(f"{SYSTEM}.ResultManagement.Results"), RESULT_TYPE, identifier, f"Result{number}", model.own
    )
    return identifier


async def add_recipe(model: Model, number: int, name: str) -> str:
    """Add an object of RecipeType to the folder of recipes; return its identifier."""
    identifier = f"{SYSTEM}.RecipeManagement.Recipes.Recipe{number}"
    await _instance(model, model.node(f"{SYSTEM}.RecipeManagement.Recipes"), RECIPE_TYPE, identifier, name, model.own)
    return identifier


async def add_group(
    model: Model, parent: Node, name: str, values: Iterable[tuple[str, object, ua.VariantType]]
) -> None:
    """Add an object with a variable for each (name, first value, type); identifiers are `NAME` and `NAME.VARIABLE`."""
    group = await parent.add_object(model.at(name), ua.QualifiedName(name.rpartition(".")[2], model.own))
    for value_name, first, kind in values:
        await group.add_variable(
            model.at(f"{name}.{value_name}"), ua.QualifiedName(value_name, model.own), first, varianttype=kind
        )
