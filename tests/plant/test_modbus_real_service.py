"""End to end: simulated strip, shipped engines, the service with CURVE keys, the bridge, a PLC."""

import os
import subprocess
import sys

import pytest
from bridge_and_plc import ROOT, ModbusBridge

from linewatch.contracts.access import Role
from linewatch.contracts.verdict import CoilState, DefectState
from linewatch.wire.access.keyring import make_pair
from linewatch.wire.schema import CoilLine
from linewatch.wire.verdict_file import read_verdicts

pytestmark = pytest.mark.service


def test_a_plc_reads_at_the_end_of_a_coil_what_the_verdicts_say(tmp_path, connect):
    service_secret, service_public = make_pair(tmp_path, "server")
    bridge_secret, _ = make_pair(tmp_path, "bridge", Role.OBSERVER)
    publish, serve = f"ipc://{tmp_path}/pub", f"ipc://{tmp_path}/rep"
    config = tmp_path / "service.toml"
    config.write_text(
        f'taxonomy = "{ROOT}/configs/taxonomy.toml"\n[line]\nline_rate_hz = 4000.0\n'
        '[source]\ntype = "simulator"\nlength_m = 8.0\ndefects_per_m = 5.0\nseed = 5\ncoil = "SIM-5"\n'
        "[decision]\ncall_probability = 0.0\n"  # many defects on little strip
        f'[inference]\nengines_dir = "{ROOT}/engines"\nworkers = 2\n[journal]\ndir = "{tmp_path}/journal"\n'
        f'[wire]\npublish = "{publish}"\nserve = "{serve}"\n'
        f'[wire.keys]\nserver_secret_file = "{service_secret}"\nclients_dir = "{tmp_path}/clients"\n'
    )
    bridging = tmp_path / "modbus.toml"
    bridging.write_text(
        f'[service]\npublish = "{publish}"\nserve = "{serve}"\n'
        f'keys = {{ secret_file = "{bridge_secret}", server_public_file = "{service_public}" }}\n'
        "[listen]\nport = 0\n"
    )
    out = tmp_path / "v.jsonl"
    replay = [sys.executable, "-m", "linewatch.cli", "replay", "simulator", "--config", config, "--out", out]
    bridge = ModbusBridge(bridging)
    service = subprocess.Popen(
        [*replay, "--pace", "line-rate", "--hold-s", "60"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    try:
        plc = connect(bridge)
        plc.wait_for(coil_state=2, state=3)  # draining: all of it is out, questions are answered for a minute
        plc.wait_for(**expected_at_the_end(out))
    finally:
        service.terminate()
        service.wait(60)
        bridge.end()


def expected_at_the_end(verdicts):
    lines = list(read_verdicts(verdicts))
    coil = next(line for line in lines if isinstance(line, CoilLine) and line.state is CoilState.ENDED)
    sums_mm = {"inspected": coil.inspected_mm, "degraded": coil.degraded_mm, "missed": coil.missed_mm}
    assert sum(sums_mm.values()) == pytest.approx(8_000)
    expected = {f"coil_{name}": round(mm) for name, mm in sums_mm.items()}
    expected |= {"coil_id": "SIM-5", "along": 8_000, "messages_lost": 0, "alarms_standing": 0}
    opened = [defect for line in lines for defect in line.defects if defect.state is DefectState.OPENED]
    last = {defect.id: defect for line in lines for defect in line.defects}
    assert len(opened) > 6
    for slot, defect in enumerate((last[defect.id] for defect in reversed(opened[-6:])), 1):
        expected |= {
            f"defect_{slot}_along_end": round(10 * defect.along_mm[1]),
            f"defect_{slot}_across_begin": round(10 * defect.across_mm[0]),
            f"defect_{slot}_area": round(10 * defect.area_mm2),
            f"defect_{slot}_confidence": round(10_000 * defect.confidence),
            f"defect_{slot}_state": 3 if defect.merged_into else 2,
        }
    return expected
