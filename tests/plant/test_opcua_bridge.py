"""An OPC UA bridge over a running service: what clients browse, hear and ask for, and who is refused."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, ua
from bridge_and_plc import ROOT
from opcua_plant import PATIENCE_S, ClientCertificate, OpcuaBridge, Plant, ids_of
from real_service import RealService

from linewatch.plant.opcua.cli import opcua_trust

pytestmark = [pytest.mark.service, pytest.mark.slow]

NODE_SET = ROOT / "linewatch" / "plant" / "opcua" / "nodeset" / "Opc.Ua.MachineVision.NodeSet2.xml"
UA = "{http://opcfoundation.org/UA/2011/03/UANodeSet.xsd}"
SYSTEM = "VisionSystem"
AUTOMATIC = f"{SYSTEM}.VisionStateMachine.AutomaticModeStateMachine"
RESULTS = f"{SYSTEM}.ResultManagement"
ACKNOWLEDGE, CONFIRM, TIMED_SHELVE, UNSHELVE = 9111, 9113, 2949, 2947
ANY_ID = ("MeasIdDataType", "PartIdDataType", "RecipeIdExternalDataType", "RecipeIdInternalDataType")
RESULT_READY, ALARM = 1024, "StripAlarmType"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealService]:
    running = RealService(tmp_path_factory.mktemp("service"), frames=4000)
    yield running
    running.kill()


@pytest.fixture(scope="module")
def bridge(service: RealService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpcuaBridge]:
    running = OpcuaBridge(tmp_path_factory.mktemp("bridge"), service, "sessions = 4")
    running.wait_for("service_state", state="running")
    yield running
    running.process.kill()
    running.join()


async def until(seen: Any) -> Any:
    """Return what `seen` returns, once that is true; it may be a coroutine function."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = seen()
            if found := (await found if asyncio.iscoroutine(found) else found):
                return found
            await asyncio.sleep(0.05)


def start_arguments(coil: str) -> list[ua.Variant]:
    parts = ua.MeasIdDataType(), ua.PartIdDataType(Id=coil), ua.RecipeIdExternalDataType(), ua.ProductIdDataType()
    return [*(ua.Variant(part) for part in parts), ua.Variant([], ua.VariantType.Variant, is_array=True)]


def list_arguments(most: int, start: int, coil: str = "") -> list[ua.Variant]:
    ids = (
        ua.MeasIdDataType(),
        ua.PartIdDataType(Id=coil),
        ua.RecipeIdExternalDataType(),
        ua.RecipeIdInternalDataType(),
        ua.ConfigurationIdDataType(),
        ua.ConfigurationIdDataType(),
        ua.ProductIdDataType(),
        ua.JobIdDataType(),
    )
    return [
        ua.Variant(0, ua.VariantType.Int32),
        *(ua.Variant(one) for one in ids),
        ua.Variant(most, ua.VariantType.UInt32),
        ua.Variant(start, ua.VariantType.UInt32),
        ua.Variant(0, ua.VariantType.Int32),
    ]


CAUSE = ua.Variant(0, ua.VariantType.Int32), ua.Variant("", ua.VariantType.String)


def test_coils_that_a_client_starts_and_stops_become_results_that_it_hears_of_and_lists(bridge: OpcuaBridge) -> None:
    async def story(plant: Plant) -> None:
        heard = await plant.events(plant.node(RESULT_READY))
        await plant.set_coil_data("A1", product="exposed", thickness_mm=0.8)
        with pytest.raises(ua.UaStatusCodeError, match="BadInvalidArgument"):
            await plant.set_coil_data("A1")  # there are none
        async with bridge.connected("observer") as other:
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await other.set_coil_data("A1", product="exposed")
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await other.call(AUTOMATIC, "Stop", *CAUSE)
        jobs = []
        for coil in ("A1", "A2"):
            job, error = await plant.call(AUTOMATIC, "StartContinuous", *start_arguments(coil))
            assert error == 0
            jobs.append(job.Id)

            async def inspects(coil: str = coil) -> bool:
                state = (await plant.value(f"{AUTOMATIC}.CurrentState")).Text
                return state == "ContinuousExecution" and await plant.value("Coil.Id") == coil

            await until(inspects)
        assert await plant.call(AUTOMATIC, "Abort", *CAUSE) == 0
        await until(lambda: {"A1", "A2"} <= {event["PartId"].Id for event in heard.events})
        first, second = (next(one for one in heard.events if one["PartId"].Id == coil) for coil in ("A1", "A2"))
        assert [first["ResultState"], second["ResultState"]] == [1, 3]  # completed, aborted
        assert [first["ResultId"].Id, second["ResultId"].Id] == jobs == [first["JobId"].Id, second["JobId"].Id]
        assert (first["IsPartial"], first["IsSimulated"]) == (False, True)  # the strip is a recording
        assert first["InternalRecipeId"].Id == "default"
        assert type(first["InternalRecipeId"]).__name__ == "RecipeIdInternalDataType"  # not its base type
        assert first["InternalConfigurationId"].Id
        assert first["ProductId"].Id == "exposed"  # as told before the coil came
        assert first["CreationTime"] <= second["CreationTime"]
        content = first["ResultContent"][0].Value
        assert content.Coil == "A1"
        assert 0 < content.LengthMm == pytest.approx(content.InspectedMm + content.DegradedMm + content.MissedMm)
        assert content.Defects == sum(one.Count for one in content.DefectsByClass)
        # in pages, the newest first
        complete, count, _, (newest,), error = await plant.call(RESULTS, "GetResultListFiltered", *list_arguments(1, 0))
        assert (complete, count, newest.ResultId.Id, error) == (False, 1, jobs[1], 0)
        _, _, _, (next_one,), _ = await plant.call(RESULTS, "GetResultListFiltered", *list_arguments(1, 1))
        assert next_one.ResultId.Id == jobs[0]
        filtered = await plant.call(RESULTS, "GetResultListFiltered", *list_arguments(0, 0, "A1"))
        assert (filtered[0], ids_of(filtered[3])) == (True, [jobs[0]])
        _, result, _ = await plant.call(RESULTS, "GetResultById", ua.Variant(ua.ResultIdDataType(Id=jobs[0])))
        assert result.ResultContent[0].Value == content
        parts = await plant.call(RESULTS, "GetResultComponentsById", ua.Variant(ua.ResultIdDataType(Id=jobs[1])))
        assert (parts[4], parts[6].Id, parts[12].Id) == (3, "A2", jobs[1])
        with pytest.raises(ua.UaStatusCodeError, match="BadNotFound"):
            await plant.call(RESULTS, "GetResultById", ua.Variant(ua.ResultIdDataType(Id="nothing")))
        # browsed
        shown = [await one.read_value() for one in await plant.node(f"{RESULTS}.Results").get_children()]
        assert set(jobs) <= set(ids_of(shown))

    asyncio.run(_as("operator", bridge, story))


def test_an_operator_handles_alarms_in_the_own_name_and_an_observer_cannot(bridge: OpcuaBridge, service: RealService):
    async def story(plant: Plant) -> None:
        heard = await plant.events(plant.node(ALARM))
        await plant.call(AUTOMATIC, "StartContinuous", *start_arguments("B1"))  # strip between coils raises no alarms

        def newest(condition: str = "", **fields: Any) -> dict[str, Any] | None:
            for event in reversed(heard.events):
                if condition in ("", event["NodeId"].to_string()) and fields.items() <= event.items():
                    return event
            return None

        raised = await until(
            lambda: newest(Coil="B1", ConditionName="latched", **{"AckedState/Id": False, "ActiveState/Id": True})
        )
        condition = raised["NodeId"]
        assert (raised["Retain"], raised["Severity"], raised["ConfirmedState/Id"]) == (True, 400, None)
        with pytest.raises(ua.UaStatusCodeError, match="BadNotSupported"):  # an alarm is handled in one step
            await plant.call_type(condition, CONFIRM, raised["EventId"], ua.Variant(ua.LocalizedText("seen")))
        assert raised["AlongMm"] > 0
        comment = ua.Variant(ua.LocalizedText("seen"))
        async with bridge.connected("observer") as other:
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await other.call_type(condition, ACKNOWLEDGE, raised["EventId"], comment)
        with pytest.raises(ua.UaStatusCodeError, match="BadEventIdUnknown"):
            await plant.call_type(condition, ACKNOWLEDGE, b"another", comment)
        await plant.call_type(condition, ACKNOWLEDGE, raised["EventId"], comment)
        acked = await until(lambda: newest(condition.to_string(), **{"AckedState/Id": True}))
        assert acked["ClientUserId"] == "opcua operator 127.0.0.1"
        # shelved for a while, and a client that joins later is told by a refresh

        def another() -> dict[str, Any] | None:
            latched = [one for one in heard.events if one["ConditionName"] == "latched" and one["NodeId"] != condition]
            return latched[-1] if latched and latched[-1]["Retain"] else None

        again = await until(another)
        await plant.call_type(again["NodeId"], TIMED_SHELVE, ua.Variant(60_000.0, ua.VariantType.Double))
        shelved = await until(lambda: newest(**{"ShelvingState/CurrentState": ua.LocalizedText("Timed Shelved")}))
        assert 0 < shelved["ShelvingState/UnshelveTime"] <= 60_000
        assert shelved["SuppressedOrShelved"]
        later = await plant.events(plant.node(ALARM))
        assert later.subscription is not None
        refresh = ua.NodeId(ua.ObjectIds.ConditionType), ua.NodeId(ua.ObjectIds.ConditionType_ConditionRefresh)
        request = ua.CallMethodRequest(*refresh)
        request.InputArguments = [ua.Variant(later.subscription.subscription_id, ua.VariantType.UInt32)]
        (result,) = await plant.client.uaclient.call([request])
        result.StatusCode.check()
        await until(lambda: any(one["ConditionName"] == "latched" for one in later.events))
        await plant.call_type(ua.NodeId("Alarm/latched", plant.own), UNSHELVE)  # a shelved rule is a condition, too
        with pytest.raises(ua.UaStatusCodeError, match="BadNotSupported"):
            await plant.call_type(condition, ua.ObjectIds.ConditionType_Disable)

    asyncio.run(_as("operator", bridge, story))


def test_the_address_space_has_every_mandatory_node_of_the_types_that_it_instantiates(bridge: OpcuaBridge) -> None:
    nodes = {node.get("NodeId"): node for node in ET.parse(NODE_SET).getroot() if node.get("NodeId")}

    def targets(node: ET.Element, kind: str, forward: bool = True) -> list[str]:
        return [
            (one.text or "").strip()
            for one in node.iter(f"{UA}Reference")
            if one.get("ReferenceType") == kind and (one.get("IsForward") != "false") == forward
        ]

    def mandatory(id_: str) -> dict[str, tuple[str, str, str]]:
        """Return the mandatory children of a type or of one of its nodes: name -> (kind, data type, id)."""
        found = {}
        for kind in ("HasComponent", "HasProperty", "HasSubStateMachine"):
            for child in filter(nodes.__contains__, targets(nodes[id_], kind)):
                node = nodes[child]
                if targets(node, "HasModellingRule") == ["i=78"]:
                    name = (node.get("BrowseName") or "").removeprefix("1:")
                    found[name] = (node.tag.removeprefix(f"{UA}UA"), node.get("DataType") or "", child)
        return found

    def number(id_: str) -> int:
        return int(id_.rpartition("=")[2])

    async def check(plant: Plant, node: Any, id_: str, checked: list[str]) -> None:
        children = {(await child.read_browse_name()).Name: child for child in await node.get_children()}
        for name, (kind, _, child_id) in mandatory(id_).items():
            assert name in children, f"{name} of {node} is mandatory"
            child = children[name]
            assert (await child.read_node_class()).name == kind, name
            checked.append(name)
            if kind == "Variable":
                wanted = await plant.node(number(child_id)).read_data_type()
                assert await child.read_data_type() == wanted, name
            await check(plant, child, child_id, checked)

    async def story(plant: Plant) -> None:
        checked: list[str] = []
        instances = {
            SYSTEM: 1003,
            f"{SYSTEM}.VisionStateMachine": 1017,
            AUTOMATIC: 1021,
            f"{SYSTEM}.ConfigurationManagement": 1006,
            f"{SYSTEM}.RecipeManagement": 1004,
            RESULTS: 1007,
            f"{SYSTEM}.RecipeManagement.Recipes.Recipe1": 1002,
            f"{RESULTS}.Results.Result1": 2002,
        }
        for name, kind in instances.items():
            node = plant.node(name)
            assert await node.read_type_definition() == ua.NodeId(kind, plant.vision), name
            await check(plant, node, f"ns=1;i={kind}", checked)
        assert len(checked) > 60
        # every node of the specification is there, by its name
        for id_, specified in nodes.items():
            name = await plant.node(number(id_)).read_browse_name()
            assert name.Name == (specified.get("BrowseName") or "").removeprefix("1:")

    asyncio.run(_as("observer", bridge, story))


def test_who_is_not_trusted_or_not_known_is_refused_and_a_command_lets_a_client_in(
    bridge: OpcuaBridge, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stranger = ClientCertificate.made(tmp_path, "stranger")
    expired = ClientCertificate.made(tmp_path, "expired", -30, -1)
    expired.trust(bridge.pki)
    guest = ClientCertificate.made(tmp_path, "guest")
    guest.trust(bridge.pki)

    async def refused(user: str | None, password: str = "", own: ClientCertificate | None = None) -> str:
        client = await bridge.client_of(user, password, own)
        client.uaclient._timeout = 5.0  # type: ignore[attr-defined]
        with pytest.raises((ua.UaError, ConnectionError, TimeoutError, asyncio.CancelledError)) as told:
            async with asyncio.timeout(10):
                await client.connect()
        return f"{told.type.__name__} {told.value}"

    async def story() -> None:
        for own in (stranger, expired):
            await refused("operator", own=own)
        assert "BadUserAccessDenied" in await refused("operator", "wrong", guest)
        await asyncio.sleep(1.1)  # a client that failed waits
        assert "BadUserAccessDenied" in await refused("nobody", own=guest)
        assert "BadIdentityTokenRejected" in await refused(None, own=guest)
        plain = Client(bridge.url)
        plain.application_uri = bridge.client.uri
        with pytest.raises(ua.UaError, match="BadSecurityPolicyRejected"):
            await plain.connect()  # without encryption there is no session, whoever asks

    asyncio.run(story())
    why = [event["why"] for event in bridge.events if event["event"] == "opcua_client_refused"]
    assert any("not in the trust list" in one for one in why)
    assert any("it is valid from" in one for one in why)
    opcua_trust(bridge.config)
    (row,) = (line for line in capsys.readouterr().out.splitlines() if "urn:test:stranger" in line)
    assert "refused" in row
    opcua_trust(bridge.config, row.split()[-1][:12])  # by the begin of its fingerprint
    assert "trusted: stranger" in capsys.readouterr().out

    async def lets_in() -> None:
        client = await bridge.client_of("observer", own=stranger)
        async with client:
            assert await client.nodes.server_state.read_value() == 0

    asyncio.run(lets_in())


def test_sessions_are_bounded_and_each_uses_its_own_subscriptions(bridge: OpcuaBridge) -> None:
    async def story(plant: Plant) -> None:
        heard = await plant.events(plant.node(ALARM))
        assert heard.subscription is not None
        async with bridge.connected("observer") as other:
            stolen = await other.client.uaclient.delete_subscriptions([heard.subscription.subscription_id])
            assert stolen[0].name == "BadSubscriptionIdInvalid"
            written = await other.client.uaclient.write_attributes(
                [other.node("Coil.Id").nodeid], [ua.DataValue("mine")], ua.AttributeIds.Value
            )
            assert written[0].name == "BadNotWritable"
            more = [await bridge.client_of("observer") for _ in range(3)]
            for client in more[:2]:
                await client.connect()
            with pytest.raises(ua.UaError, match="BadTooManySessions"):
                await more[2].connect()
            for client in more[:2]:
                await client.disconnect()
        # the first session was not disturbed
        await plant.node("Health.State").read_value()
        result = await plant.client.uaclient.create_subscription(ua.CreateSubscriptionParameters(), None)
        assert result.RevisedPublishingInterval >= 20
        assert result.RevisedLifetimeCount * result.RevisedPublishingInterval <= 125_000

    asyncio.run(_as("operator", bridge, story))


async def _as(user: str, bridge: OpcuaBridge, story: Any) -> None:
    async with bridge.connected(user) as plant:
        await story(plant)
