"""`linewatch check` tries what a configuration names as the service will, says where it stands, and leaves no trace."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from references import keep_flat_field
from waiting import wait_until

from linewatch import cli
from linewatch.check import units
from linewatch.check.packages import shared_cv2
from linewatch.config.places import line_of

ROOT = Path(__file__).parents[2]
KEYS = "[wire.keys] server_secret_file"


def test_an_engine_that_the_service_would_refuse_fails(check, tmp_path):
    """Its model can be opened, but its answers are not those of its reference tiles."""
    shutil.copytree(ROOT / "engines", tmp_path / "engines")
    (manifest := tmp_path / "engines" / "classify-uint8" / "manifest.json").write_text(
        manifest.read_text()
        .replace('"crazing"', '"c"')
        .replace('"inclusion"', '"crazing"')
        .replace('"c"', '"inclusion"')
    )
    code, said = check(FREE + ENGINES.replace(f"{ROOT}/engines", f"{tmp_path}/engines"))
    assert (code, row(said, "[inference] engines_dir")[0]) == (3, "FAILS")
    assert "looks like class order changed" in said


def test_a_configuration_without_a_source_is_said_to_have_none(check):
    assert "no [source], which `linewatch run` and `record` need" in check(FREE + NO_ENGINES)[1]


RECIPES = (
    '[[recipe]]\nname = "a"\nproduct = "a"\n[[recipe]]\nname = "b"\nproduct = "b"\nengines = { screen = "none" }\n'
)
OTHER_CHAIN = '[[recipe]]\nname = "a"\nproduct = "a"\nengines = { inspect = "inspect" }\n'
FREE = '[wire]\npublish = "tcp://127.0.0.1:*"\nserve = "tcp://127.0.0.1:*"\n'
ENGINES = f'[inference]\nchain = "cascade"\nengines_dir = "{ROOT}/engines"\n'
NO_ENGINES = '[inference]\nengines_dir = "/nonexistent"\n'
"""Where engines are not the point: trying them takes a second."""


@pytest.fixture
def check(tmp_path, capsys, monkeypatch):
    """`linewatch check` on a text, in a folder of its own: exit code, and what it said."""
    monkeypatch.setattr(units, "UNIT_FOLDERS", (tmp_path / "units",))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def typed(text: str, *words: str | Path) -> tuple[int, str]:
        config = tmp_path / "c.toml"
        config.write_text(text)
        code = cli.main(["check", str(config), *map(str, words)])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return typed


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def row(said: str, setting: str) -> list[str]:
    """The words of a setting's row."""
    return next(line for line in said.splitlines() if f" {setting} " in line).split()


def test_a_folder_of_engines_that_is_not_there_fails_with_its_line(check):
    code, said = check(FREE + '[inference]\nengines_dir = "/nonexistent"\n')
    assert code == 3
    assert row(said, "[inference] engines_dir")[:2] == ["FAILS", "5"]
    assert "/nonexistent: no such folder, expected one with engines" in said
    assert said.endswith("c.toml: 1 of 6 cannot be used as they are\n")


def test_the_age_and_the_figures_of_a_calibration_are_told(check, tmp_path):
    path = keep_flat_field(tmp_path / "calibrations")
    engines = '[inference]\nengines_dir = "/nonexistent"\n'
    line = '[line]\nwidth_px = 200\nframe_lines = 64\n[source]\ntype = "simulator"\n'
    calibration = f'[calibration]\nfolder = "{path.parent}"\nserial = "17-4711"\n'
    _, said = check(FREE + engines + line + calibration)
    told = " ".join(row(said, "[calibration] folder"))
    assert told.startswith("good ")
    assert "of camera '17-4711'; flat field 0 days old, by tester, unevenness 0." in told
    _, said = check(FREE + engines + line.replace("200", "240") + calibration)
    assert "flat_field was made at 200 px, [line] width_px is 240" in " ".join(row(said, "[calibration] folder"))


def test_what_an_earlier_version_had_is_ignored_with_one_line(check):
    _, said = check(FREE + '[inference]\nengines_dir = "/nonexistent"\n[decision]\noperating_point = "quiet"\n')
    (line,) = (line for line in said.splitlines() if "operating_point" in line)
    assert line.startswith("linewatch: [decision] operating_point is ignored: a defect is called by its probability;")


def test_what_is_good_is_said_to_be_and_nothing_is_left_behind(check, tmp_path):
    text = FREE + ENGINES + f'[source]\ntype = "simulator"\n[journal]\ndir = "{tmp_path}/j/k"\n'
    check(text)
    before = everything(tmp_path)
    code, said = check(text)
    assert (code, everything(tmp_path)) == (0, before)
    assert "screen-uint8, classify-uint8, segment-uint8 can be run" in said
    assert "opens; first frame: 1600 px x 256 lines" in said
    assert f"will be made in {tmp_path}; can be written" in said
    assert said.endswith("c.toml: good\n")
    code, said = check(text, "--json")
    assert json.loads(said)["source"]["type"] == "simulator"


def test_relative_paths_count_from_the_working_directory_of_the_unit(check, tmp_path):
    """As typed beside its engines it is good; as the installed unit runs it, it is not."""
    (tmp_path / "work" / "engines").symlink_to(ROOT / "engines")
    text = FREE + '[inference]\nengines_dir = "engines"\n'
    assert check(text)[0] == 0
    (tmp_path / "units").mkdir()
    (tmp_path / "var").mkdir()
    unit = (ROOT / "systemd" / "linewatch.service").read_text()
    unit = unit.replace("/etc/linewatch/linewatch.toml", f"{tmp_path}/c.toml").replace("PrivateTmp=yes", "")
    unit = unit.replace("/var/lib/linewatch", f"{tmp_path}/var").replace(
        "StateDirectory", f"ReadWritePaths={tmp_path}\n#"
    )
    (tmp_path / "units" / "linewatch.service").write_text(unit)
    code, said = check(text)
    assert code == 3
    assert f"{tmp_path}/var/engines: no such folder, expected one with engines; give the absolute path" in said
    assert f"relative paths count from {tmp_path}/var, the WorkingDirectory of linewatch.service" in said
    assert "but linewatch.service runs as linewatch, who may read and write other files: sudo -u linewatch " in said
    assert check(text, "--working-dir", tmp_path / "work")[0] == 0
    assert check(text, "--working-dir", tmp_path / "none")[0] == 2


def test_what_the_protection_of_the_unit_keeps_from_the_service_fails(check, tmp_path):
    """The user may read and write these places, the unit's process may not."""
    (tmp_path / "units").mkdir()
    unit = (ROOT / "systemd" / "linewatch.service").read_text()
    unit = unit.replace("/etc/linewatch/linewatch.toml", f"{tmp_path}/c.toml").replace("WorkingDirectory", "#")
    (tmp_path / "units" / "linewatch.service").write_text(unit)
    frames = '[source]\ntype = "folder"\npath = "/home/ann/frames"\n[journal]\ndir = "/srv/journal"\n'
    code, said = check(FREE + NO_ENGINES + frames)
    assert code == 3
    assert "/home/ann/frames: linewatch.service hides it from its process (ProtectHome, PrivateTmp)" in said
    assert (
        "/srv/journal: linewatch.service lets its process write /var/lib/linewatch only (ProtectSystem=strict)" in said
    )
    assert "add ReadWritePaths=/srv/journal to the unit" in said


def test_two_sockets_of_one_address_fail(check):
    code, said = check(NO_ENGINES + '[wire]\npublish = "tcp://127.0.0.1:45571"\nserve = "tcp://127.0.0.1:45571"\n')
    assert (code, "tcp://127.0.0.1:45571 is another socket of [wire] as well" in said) == (3, True)


@pytest.mark.parametrize(
    ("text", "setting", "said"),
    [
        ('taxonomy = "none.toml"\n', "taxonomy", "none.toml: cannot be read (No such file or directory)"),
        (f'[decision]\ngrading = "{ROOT}/configs/grading/example.toml"\n', "[decision] grading", "write taxonomy ="),
        (
            f'taxonomy = "{ROOT}/configs/taxonomy.toml"\n[decision]\nproduct = "x"\n'
            f'grading = "{ROOT}/configs/grading/example.toml"\n',
            "[decision] grading",
            "is for product 'cold rolled strip, unexposed', [decision] product is 'x'",
        ),
        (
            '[journal]\ndir = "/proc/journal"\n',
            "[journal] dir",
            "/proc, in which /proc/journal would be made",
        ),
        ('[journal]\ndir = "/dev/null"\n', "[journal] dir", "/dev/null is a file, expected a folder"),
        ("[journal]\nmax_mb = 900000000\n", "[journal] dir", "expected 900000000 MB; make room, or allow less"),
        (
            '[coil_data]\nfolder = "level2"\n',
            "[coil_data] folder",
            "level2: cannot be read (No such",
        ),
        ('[source]\ntype = "folder"\npath = "frames"\n', "[source] path", "frames"),
        ('[source]\ntype = "recording"\npath = "none.avi"\n', "[source] path", "none.avi"),
        ('[inference]\nscreen = "none"\n', "[inference] engines_dir", "none: no such engine, expected one of"),
        ('[inference]\nbackend = "tensorrt"\n', "[inference] backend", "tensorrt"),
        (
            '[wire.keys]\nserver_secret_file = "k"\nclients_dir = "c"\n',
            "[wire.keys] server_secret_file",
            "no such file",
        ),
        (RECIPES, "[recipe] engines", "none: no such engine"),
        (OTHER_CHAIN, "[recipe] engines", "inspect is no task of [inference] chain = 'cascade'"),
        ('[[alarm]]\nname = "a"\nclasses = ["skratch"]\n', "rules", "[[alarm]] 'a': class 'skratch' is unknown"),
        ("[line]\nwidth_px = 128\n", "[inference] engines_dir", "does not fit a frame"),
    ],
)
def test_each_thing_that_cannot_be_used_fails_with_its_reason(check, text, setting, said):
    text = text if "[wire" in text else text + FREE
    if "[inference]" in text:
        text = text.replace("[inference]\n", ENGINES)
    else:
        text += ENGINES if setting.endswith(("engines", "engines_dir", "rules")) else NO_ENGINES
    code, answer = check(text)
    assert code == 3, answer
    assert row(answer, setting)[0] == "FAILS"
    assert said in answer


def test_a_port_of_another_process_fails_and_a_wrong_address_too(check):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, said = check(f'{NO_ENGINES}[wire]\npublish = "tcp://127.0.0.1:{port}"\nserve = "tcp://127.0.0.1:*"\n')
        assert code == 3
        assert f"port {port} is in use by another process (`sudo ss -ltnp` names it)" in said
        code, said = check(f"[listen]\nport = {port}\n")
        assert (code, f"port {port} is in use by another process" in said) == (3, True)
    code, said = check('[listen]\naddress = "192.0.2.9"\nopen_to_network = true\nclients = ["192.0.2.7"]\nport = 0\n')
    assert (code, "192.0.2.9 is no address of this host" in said) == (3, True)


@pytest.mark.service
@pytest.mark.slow
def test_a_running_service_of_the_same_configuration_is_told_and_not_disturbed(check, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free, socket.create_server(("127.0.0.1", 0)) as other:
        ports = free.getsockname()[1], other.getsockname()[1]
    text = (
        f'{ENGINES}workers = 1\n[source]\ntype = "simulator"\nlength_m = 1000.0\n[journal]\ndir = "{tmp_path}/j"\n'
        f'[wire]\npublish = "tcp://127.0.0.1:{ports[0]}"\nserve = "tcp://127.0.0.1:{ports[1]}"\n'
    )
    (tmp_path / "c.toml").write_text(text)
    log = tmp_path / "log"
    with log.open("wb") as out:
        service = subprocess.Popen(
            [sys.executable, "-m", "linewatch.cli", "run", "../c.toml"],
            stderr=out,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    try:
        wait_until(lambda: '"running"' in log.read_text(), 60)
        code, said = check(text)
        assert (code, service.poll()) == (0, None), said
        assert said.count(f"bound by the running linewatch of this configuration, process {service.pid}") == 2
        assert f"process {service.pid} runs this configuration now; it is not disturbed" in said
    finally:
        service.terminate()
        assert service.wait(60) == 0
    assert "FAILS" not in check(text)[1]


def test_a_history_and_its_images_are_tried(check, tmp_path):
    service = '[[service]]\nname = "a"\n'
    code, said = check(f'database = "sqlite:///{tmp_path}/h/h.sqlite"\n{service}[images]\ndir = "{tmp_path}/i"\n')
    assert (code, f"{tmp_path}/h/h.sqlite is new; will be made in {tmp_path}" in said) == (0, True), said
    (tmp_path / "note.sqlite").write_text("not a database, but a text that is long enough to be read as one" * 20)
    code, said = check(f'database = "sqlite:///{tmp_path}/note.sqlite"\n{service}')
    assert (code, "cannot be written as a history (file is not a database)" in said) == (3, True), said
    code, said = check(f'database = "sqlite:////proc/h.sqlite"\n{service}[images]\ndir = "/proc/i"\n')
    assert (code, said.count("FAILS")) == (3, 2)
    keys = 'keys = { secret_file = "k", server_public_file = "s" }\n'
    code, said = check(f'database = "sqlite:///{tmp_path}/h.sqlite"\n{service}{keys}')
    assert (code, row(said, "[service] keys")[:2]) == (3, ["FAILS", "4"])
    assert not (tmp_path / "h").exists()


def test_faults_of_the_file_itself_are_told_with_exit_code_2(check, tmp_path, capsys):
    code, said = check("[wire]\npublsh = 1\n")
    assert (code, "did you mean publish?" in said) == (2, True)
    assert cli.main(["check", str(tmp_path / "none.toml")]) == 2
    assert "none.toml: cannot be read (No such file or directory)" in capsys.readouterr().err
    grading = (ROOT / "configs" / "grading" / "example.toml").read_text()
    assert check(grading, "--taxonomy", ROOT / "configs" / "taxonomy.toml") == (0, f"{tmp_path}/c.toml: good\n")
    bad = grading.replace('["scratch"]', '["scrach"]').replace("min_length_mm", "min_length_cm")
    code, said = check(bad, "--taxonomy", ROOT / "configs" / "taxonomy.toml")
    assert code == 2
    unit, unknown = said.splitlines()
    assert unit.startswith(f"linewatch: {tmp_path}/c.toml: [[severity]] 'long-scratch': min_length_cm: unknown key;")
    assert unknown.startswith(f"{tmp_path}/c.toml: [[severity]] 'long-scratch': class 'scrach' is unknown")


def test_the_shipped_configurations_are_good_where_they_are_tried(check, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    for name in ("history.toml", "plant/modbus.toml", "taxonomy.toml"):
        assert cli.main(["check", f"configs/{name}"]) == 0, capsys.readouterr().out


def test_the_pitch_that_each_roll_would_leave_is_shown(check):
    roll = (
        '[[roll]]\nname = "F7 top"\nstand = "F7"\ndiameter_min_mm = 600.0\ndiameter_max_mm = 680.0\n'
        "forward_slip = 0.04\nh_stand_mm = 2.5\nh_exit_mm = 2.5\n"
    )
    assert "roll F7 top, stand F7: marks every 1923 to 2264 mm" in check(FREE + NO_ENGINES + roll)[1]


def test_two_distributions_that_provide_cv2_are_named_with_the_remedy():
    said = shared_cv2({"cv2": ["opencv-python", "opencv-python-headless"]})
    assert said is not None
    assert said.startswith("cv2 is provided by opencv-python and opencv-python-headless, which overwrite")
    assert "pip uninstall opencv-python, then pip install --force-reinstall" in said
    assert shared_cv2({"cv2": ["opencv-python-headless"]}) is None


def test_the_line_of_a_setting_is_found():
    text = 'a = 1\n[wire] # x\npublish = "p"\n\n[[recipe]]\nname = "a"\n[[recipe]]\n# name\nname = "b"\n'
    text += "[wire.keys]\nx = 1\n"
    assert line_of(text, "", "a") == 1
    assert line_of(text, "wire", "publish") == 3
    assert line_of(text, "recipe", "name", 1) == 9
    assert line_of(text, "wire.keys", "x") == 11
    assert line_of(text, "wire", "x") is None
    assert line_of(text, "recipe", "", 1) == 7
