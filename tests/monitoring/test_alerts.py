"""The rules for Prometheus, the dashboard for Grafana and docs/monitoring.md name figures that there are."""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RULES = ROOT / "configs" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "configs" / "grafana" / "linewatch.json"
PAGE = ROOT / "docs" / "monitoring.md"
FAMILY = re.compile(r"linewatch_[a-z_]+")
MAKERS = {"gauge": "", "gauges": "", "counter": "_total", "counters": "_total", "histograms": "_seconds"}

Series = dict[str, str]

HANGS: Series = {
    'linewatch_healthy{instance="a"}': "1x100",
    'linewatch_status_age_seconds{instance="a"}': "0+60x100",
}
"""An outlet that hangs: the newest status says that all is well, and gets old."""

TROUBLES: dict[str, Series] = {
    "LinewatchProcessDown": {'up{job="linewatch", instance="a"}': "0x100"},
    "LinewatchUnhealthy": {'linewatch_healthy{instance="a"}': "0x100"},
    "LinewatchMissesStrip": {
        'linewatch_lines_total{instance="a", quality="missed", cause="overload"}': "0+2x100",
        'linewatch_lines_total{instance="a", quality="inspected", cause=""}': "0+98x100",
    },
    "LinewatchSheds": {'linewatch_shed_tasks{instance="a", task="segment"}': "1x100"},
    "LinewatchSlow": {
        'linewatch_frame_deadline_seconds{instance="a"}': "0.2x100",
        'linewatch_frame_step_seconds_bucket{instance="a", step="whole", le="0.1"}': "0+50x100",
        'linewatch_frame_step_seconds_bucket{instance="a", step="whole", le="0.2"}': "0+100x100",
        'linewatch_frame_step_seconds_bucket{instance="a", step="whole", le="+Inf"}': "0+100x100",
    },
    "LinewatchCameraLost": {'linewatch_joined_camera_inspecting{instance="a", camera="top/cam1"}': "0x100"},
    "LinewatchEncoderNotTrusted": {
        'linewatch_position_has_encoder{instance="a"}': "1x100",
        'linewatch_position_encoded{instance="a"}': "0x100",
    },
    "LinewatchPictureBad": {'linewatch_picture_bad{instance="a", quantity="light"}': "1x100"},
    "LinewatchCalibrationOld": {'linewatch_calibration_age_seconds{instance="a", part="geometry"}': "20000000x100"},
    "LinewatchBackendLost": {'linewatch_backend_serving{instance="a", backend="onnxruntime"}': "0x100"},
    "LinewatchJournalNotKept": {'linewatch_journal_kept{instance="a"}': "0x100"},
    "LinewatchJournalSlow": {
        'linewatch_journal_sync_seconds_bucket{instance="a", le="0.5"}': "0+50x100",
        'linewatch_journal_sync_seconds_bucket{instance="a", le="1.0"}': "0+100x100",
        'linewatch_journal_sync_seconds_bucket{instance="a", le="+Inf"}': "0+100x100",
    },
    "LinewatchDiskFillsUp": {
        'linewatch_disk_free_bytes{instance="a", disk="/var"}': "9e10-1e9x80",
        'linewatch_disk_size_bytes{instance="a", disk="/var"}': "1e11x100",
    },
    "LinewatchClockNotSynchronised": {'linewatch_clock_synchronised{instance="a"}': "0x100"},
    "LinewatchAlarmFlood": {'linewatch_alarms_raised_total{instance="a"}': "0+5x100"},
    "LinewatchUrgentAlarmUnacknowledged": {
        'linewatch_alarms{instance="a", priority="urgent", state="unacknowledged"}': "1x100"
    },
    "LinewatchBridgeDown": {'linewatch_bridge_serving{instance="a", bridge="line1", protocol="opcua"}': "0x100"},
    "LinewatchBridgeDrops": {'linewatch_link_dropped_messages_total{instance="a"}': "0+1x100"},
    "LinewatchHistoryNotWritten": {'linewatch_history_writes{instance="a"}': "0x100"},
}
"""A minute from value to value; what each trouble looks like."""

WELL: Series = {
    'up{job="linewatch", instance="a"}': "1x100",
    'linewatch_healthy{instance="a"}': "1x100",
    'linewatch_status_age_seconds{instance="a"}': "0.1x100",
    'linewatch_lines_total{instance="a", quality="inspected", cause=""}': "0+10000x100",
    'linewatch_lines_total{instance="a", quality="missed", cause="no_strip"}': "0+5000x100",
    'linewatch_lines_total{instance="a", quality="missed", cause="lost"}': "0+1x100",
    'linewatch_frame_deadline_seconds{instance="a"}': "0.2x100",
    'linewatch_frame_step_seconds_bucket{instance="a", step="whole", le="0.05"}': "0+100x100",
    'linewatch_frame_step_seconds_bucket{instance="a", step="whole", le="+Inf"}': "0+100x100",
    'linewatch_camera_open{instance="a"}': "1x100",
    'linewatch_position_has_encoder{instance="a"}': "0x100",
    'linewatch_position_encoded{instance="a"}': "0x100",
    'linewatch_picture_bad{instance="a", quantity="light"}': "0x100",
    'linewatch_calibration_age_seconds{instance="a", part="geometry"}': "86400x100",
    'linewatch_calibration_in_trouble{instance="a"}': "0x100",
    'linewatch_backend_serving{instance="a", backend="onnxruntime"}': "1x100",
    'linewatch_journal_kept{instance="a"}': "1x100",
    'linewatch_journal_sync_seconds_bucket{instance="a", le="0.01"}': "0+100x100",
    'linewatch_journal_sync_seconds_bucket{instance="a", le="+Inf"}': "0+100x100",
    'linewatch_disk_free_bytes{instance="a", disk="/var"}': "5e10x100",
    'linewatch_disk_size_bytes{instance="a", disk="/var"}': "1e11x100",
    'linewatch_clock_synchronised{instance="a"}': "1x100",
    'linewatch_alarms_raised_total{instance="a"}': "0+1x100",
    'linewatch_alarms{instance="a", priority="urgent", state="acknowledged"}': "1x100",
    'linewatch_bridge_serving{instance="a", bridge="line1", protocol="opcua"}': "1x100",
    'linewatch_link_serving{instance="a"}': "1x100",
    'linewatch_link_dropped_messages_total{instance="a"}': "3x100",
    'linewatch_history_writes{instance="a"}': "1x100",
}


def families() -> Iterator[str]:
    """Yield every name that the code gives a family."""
    for path in (ROOT / "linewatch").rglob("*.py"):
        if path.name not in {"figures.py", "families.py"}:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                name = node.args[0]
                if isinstance(name, ast.Constant):
                    yield f"linewatch_{name.value}" + ("_total" if "counter" in node.func.id else "")
    yield "linewatch_build_info"


def family_of(name: str) -> str:
    return re.sub(r"_seconds_(bucket|count|sum)$", "_seconds", name)


def test_rules_fire_when_they_should_and_at_no_other_time(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here (Debian: prometheus)")
    assert set(TROUBLES) == set(re.findall(r"- alert: (\w+)", RULES.read_text()))

    def case(series: Series, alert: str | None) -> dict[str, object]:
        expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if alert else []
        firing = 'count by (alertname) (ALERTS{alertstate="firing"})'
        return {
            "interval": "1m",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": firing, "eval_time": "85m", "exp_samples": expected}],
        }

    tests = [case(WELL, None), case(HANGS, "LinewatchUnhealthy")]
    tests += [case(series, alert) for alert, series in TROUBLES.items()]
    file = tmp_path / "tests.yml"  # JSON is YAML
    file.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    told = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr


def test_rules_and_dashboard_name_figures_that_there_are() -> None:
    known = set(families())
    for path in (RULES, DASHBOARD):
        named = {family_of(name) for name in FAMILY.findall(path.read_text())}
        assert named
        assert named <= known, path.name


def test_the_page_lists_every_figure_and_every_alert() -> None:
    page = PAGE.read_text()
    listed = set(re.findall(r"^\| `(linewatch_[a-z_]+)` \|", page, re.MULTILINE))
    assert listed == set(families())
    headings = {one.lower() for one in re.findall(r"^### (\w+)$", page, re.MULTILINE)}
    runbooks = set(re.findall(r"runbook: docs/monitoring\.md#(\w+)", RULES.read_text()))
    assert runbooks == {alert.lower() for alert in TROUBLES} <= headings
