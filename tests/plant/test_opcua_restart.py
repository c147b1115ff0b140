"""A restarted OPC UA bridge knows the coils of before, and one whose service is killed says so and comes back."""

import asyncio
from pathlib import Path

import pytest
from asyncua import ua
from opcua_plant import OpcuaBridge, Plant, ids_of
from real_service import RealService
from test_opcua_bridge import AUTOMATIC, CAUSE, RESULT_READY, RESULTS, list_arguments, start_arguments, until

pytestmark = [pytest.mark.service, pytest.mark.heavy]


def test_results_outlive_the_bridge_and_values_say_when_the_service_is_gone(tmp_path: Path) -> None:
    service = RealService(tmp_path / "service", frames=8000)
    first = OpcuaBridge(tmp_path / "first", service)
    first.wait_for("service_state", state="running")

    async def runs_a_coil() -> str:
        async with first.connected() as plant:
            heard = await plant.events(plant.node(RESULT_READY))
            job, _ = await plant.call(AUTOMATIC, "StartContinuous", *start_arguments("R1"))
            await until(lambda: _shows(plant, "Coil.Id", "R1"))
            await plant.call(AUTOMATIC, "Stop", *CAUSE)
            await until(lambda: any(event["PartId"].Id == "R1" for event in heard.events))
            return str(job.Id)

    async def lists_it(second: OpcuaBridge, job: str) -> None:
        async with second.connected("observer") as plant:

            async def listed() -> bool:
                found = await plant.call(RESULTS, "GetResultListFiltered", *list_arguments(0, 0, "R1"))
                return ids_of(found[3] or ()) == [job]

            await until(listed)
            state = plant.node("Health.State")
            service.kill()
            await until(lambda: _shows(plant, "Health.StateText", "silent"))
            value = await plant.node("Coil.AlongMm").read_data_value(raise_on_bad_status=False)
            assert value.StatusCode is not None
            assert value.StatusCode.value == ua.StatusCodes.UncertainNoCommunicationLastUsableValue
            assert (await state.read_data_value()).StatusCode.is_good()
            assert not await plant.value("Health.Inspecting")
            mode = await plant.node(f"{AUTOMATIC}.CurrentState").read_data_value(raise_on_bad_status=False)
            assert mode.StatusCode is not None
            assert mode.StatusCode.value == ua.StatusCodes.BadStateNotActive
            service.start()
            await until(lambda: _shows(plant, "Health.StateText", "running"))

    try:
        job = asyncio.run(runs_a_coil())
        assert first.end() == 0
        second = OpcuaBridge(tmp_path / "second", service)
        try:
            asyncio.run(lists_it(second, job))
        finally:
            second.process.kill()
            second.join()
    finally:
        first.process.kill()
        service.kill()


async def _shows(plant: Plant, name: str, wanted: str) -> bool:
    return bool(await plant.value(name) == wanted)
