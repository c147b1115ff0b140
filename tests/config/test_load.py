"""A configuration that cannot be meant is refused with what was found, what was expected and the remedy."""

from pathlib import Path

import pytest

from linewatch.config.history import HistorySettings
from linewatch.config.load import load
from linewatch.contracts.errors import ConfigError
from linewatch.hmi.settings import HmiSettings
from linewatch.service_settings import load_settings, settings_from


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"wire": {"publsh": 1}}, "[wire] publsh: unknown key; did you mean publish?"),
        ({"lin": {}}, "lin: unknown key; did you mean line?"),
        ({"line": {"line_rate_khz": 20}}, "the unit here is hertz: write line_rate_hz"),
        ({"source": {"type": "simulator", "length_km": 3}}, "the unit here is metres: write length_m"),
        ({"line": {"mm_per_px": "0.5 mm"}}, "found '0.5 mm', expected a valid number without quotes or unit, in mill"),
        ({"line": {"width_px": -3}}, "[line] width_px: found -3, expected greater than or equal to 32, in pixels"),
        ({"line": {"mm_per_line": float("nan")}}, "expected a finite number"),
        ({"line": 3}, "line: found 3, expected"),
        ({"inference": {"ladder": [2, 4]}}, "must start at 1 and ascend, for example [1, 2, 4, 8]"),
        (
            {"inference": {"segment": "own", "screen_threshold": 0.5}},
            "segment, screen_threshold, which the default chain inspect does not use, expected a chain; say chain",
        ),
        ({"source": {"type": "sim"}}, "type 'sim' is unknown, expected one of 'recording', 'folder', 'simulator'"),
        ({"source": {"type": "folder"}}, "[source] path: is missing"),
        ({"wire": {"publish": "5570"}}, "'5570' is not an endpoint; write tcp://HOST:PORT"),
        (
            {"alarm": [{"name": "a", "min_count": 2, "deadband_count": 2}]},
            "deadband_count 2 with min_count 2: the alarm would never be over; expected at most 1",
        ),
        ({"alarm": [{"name": "a", "priority": "hgih"}]}, "found 'hgih', expected 'low', 'medium', 'high' or 'urgent'"),
        ({"alarm": [{"name": "a", "on_delay_s": 2.0}]}, "the unit here is metres: write on_delay_m"),
        ({"system_alarms": {"disk_free_below_gb": 1}}, "the unit here is megabytes: write disk_free_below_mb"),
        (
            {"alarm": [{"name": "ok"}, {"name": "b", "class": "x"}]},
            "[alarm.1] class: unknown key; did you mean classes?",
        ),
    ],
)
def test_refused_with_found_expected_and_remedy(tree: dict, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_from(tree, "c.toml")
    assert said in str(refused.value)
    assert str(refused.value).startswith("c.toml: ")


ROLL = {
    "name": "F7 top",
    "stand": "F7",
    "diameter_min_mm": 600.0,
    "diameter_max_mm": 680.0,
    "h_stand_mm": 2.5,
    "h_exit_mm": 2.5,
}


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({"roll": [ROLL | {"diameter_min_mm": 700.0}]}, "diameter_min_mm 700 is above diameter_max_mm 680"),
        (
            {"roll": [ROLL | {"h_stand_mm": 2.0}]},
            "h_stand_mm 2 is below h_exit_mm 2.5, but strip is never rolled thicker",
        ),
        ({"roll": [ROLL | {"diameter_max_m": 0.68}]}, "the unit here is millimetres: write diameter_max_mm"),
        ({"roll": [ROLL | {"forward_slip": 4.0}]}, "forward_slip: found 4.0, expected less than or equal to 0.3"),
        ({"roll": [ROLL, ROLL]}, "two [[roll]] are named 'F7 top'"),
        (
            {"roll": [ROLL | {"h_stand_mm": 25.0}]},
            "'F7 top' leaves marks every 18473 to 21790 mm, but [periodic] looks for",
        ),
        ({"periodic": {"min_pitch_mm": 9000.0, "max_pitch_mm": 800.0}}, "min_pitch_mm 9000 must be below max_pitch_mm"),
        ({"periodic": {"min_pitch_mm": 50.0, "along_tolerance_mm": 20.0}}, "cannot be told apart"),
    ],
)
def test_rolls_that_cannot_be_are_refused(tree: dict, said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        settings_from(tree, "c.toml")
    assert said in str(refused.value)


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as refused:
        settings_from({"wire": {"publsh": 1}, "line": {"widht_px": 1}}, "c.toml")
    assert len(str(refused.value).splitlines()) == 2


def test_a_file_that_is_missing_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path / "none.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("[line\n")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_settings(bad)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is UTF-16"):
        load_settings(bad)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[wire]\n\npublsh = 1\n", ", line 3: [wire] publsh: unknown key; did you mean publish?"),
        ("lin = 3\n", ", line 1: lin: unknown key"),
        ('[[alarm]]\nname = "a"\n[[alarm]]\n', ", line 3: [alarm.1] name: is missing and has no default; add it"),
        ('[source]\ntype = "folder"\n', ", line 1: [source] path: is missing"),
        ('[alarm]\nname = "a"\n', ", line 1: alarm: found {'name': 'a'}, expected several: write [[alarm]], in double"),
        (
            '[source]\ntype = "folder"\npath = "C:\\data"\n',
            """: `path = "C:\\data"`; a path with backslashes stands in single quotes: 'C:\\data'""",
        ),
        ("[line]\nmm_per_px = 0,5\n", "`mm_per_px = 0,5`; write decimals with a point: 0.5"),
        ("[alarms]\nlatch = True # yes\n", ", line 2: is not TOML: Invalid value: `latch = True # yes`; write true or"),
        ("[source]\npath = /data/strip\n", "`path = /data/strip`; text and paths stand in quotes"),
    ],
)
def test_a_fault_is_told_with_its_line_and_what_to_write(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_settings(tmp_path / "c.toml")
    assert said in str(refused.value)


def test_every_shipped_configuration_is_accepted() -> None:
    shipped = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
    services = [path for path in shipped if path.name not in ("taxonomy.toml", "history.toml", "hmi.toml")]
    assert services, "configs/ holds no service configuration"
    for path in services:
        load_settings(path)
    load(shipped[0].with_name("history.toml"), HistorySettings)
    load(shipped[0].with_name("hmi.toml"), HmiSettings)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "service: is missing"),
        ('[[service]]\nname = "a"\npublsh = "x"', "[service.0] publsh: unknown key; did you mean publish?"),
        ('[[service]]\nname = "a"\n[[service]]\nname = "a"', "two [[service]] are named a"),
        (
            'database = "mysql://x"\n[[service]]\nname = "a"',
            "database: found 'mysql://x', expected string should match",
        ),
        ('[[service]]\nname = "a"\n[keep]\nmax_gb = 3', "the unit here is megabytes: write max_mb"),
        (
            'database = "postgresql+psycopg://h/d"\n[[service]]\nname = "a"\n[keep]\nmax_mb = 30',
            "PostgreSQL frees space at its own times",
        ),
    ],
)
def test_a_history_configuration_is_refused_alike(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "h.toml").write_text(text)
    with pytest.raises(ConfigError) as refused:
        load(tmp_path / "h.toml", HistorySettings)
    assert said.lower() in str(refused.value).lower()


def test_the_identity_of_settings_changes_with_what_decides_and_with_nothing_else(tmp_path: Path) -> None:
    plain = settings_from({}, "c.toml").identity()
    assert settings_from({"wire": {"heartbeat_hz": 5.0}, "inference": {"workers": 3}}, "c").identity() == plain
    for tree in (
        {"alarm": [{"name": "a"}]},
        {"line": {"mm_per_px": 0.25}},
        {"inference": {"chain": "cascade", "claim_share": 0.1}},
    ):
        assert settings_from(tree, "c.toml").identity() != plain


def test_settings_are_frozen() -> None:
    settings = settings_from({}, "c.toml")
    with pytest.raises(ValueError, match="frozen"):
        settings.line.width_px = 3  # type: ignore[misc]


@pytest.mark.parametrize("value", ["[" * 100_000, "{a=" * 100_000, "9" * 5000])
def test_values_that_are_too_deep_or_too_long_are_refused(tmp_path: Path, value: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(f"a = {value}")
    with pytest.raises(ConfigError, match="is not TOML"):
        load(path, HistorySettings)
