"""The commands as a user types them: what they print, how they end, and no traceback for a user's mistake."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
from typed_commands import typed

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
LINES = 4000
RULES = "configs/grading/example.toml"


def linewatch(*arguments: str | Path, timeout_s: float = 120.0, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "linewatch.cli", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        **options,  # type: ignore[call-overload]
    )


def refused(ended: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    """It ended with that code and a line that says what is wrong; no traceback."""
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("linewatch: "), ended.stderr
    for words in said:
        assert words in last


@pytest.fixture(scope="module")
def coil(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A short simulated recording and its truth."""
    folder = tmp_path_factory.mktemp("coil")
    made = linewatch(
        "simulate", "--out", folder / "c.avi", "--truth", folder / "c.json", "--length-m", "4", "--seed", "3", "--json"
    )
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["lines"] == LINES
    return folder / "c.avi", folder / "c.json"


class Replayed(NamedTuple):
    config: Path
    verdicts: Path
    ended: subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def replayed(coil: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """The recording, inspected by the cascade and graded."""
    folder = tmp_path_factory.mktemp("replayed")
    config, out = folder / "c.toml", folder / "v.jsonl"
    config.write_text(
        f'taxonomy = "configs/taxonomy.toml"\n[decision]\ngrading = "{RULES}"\ncall_probability = 0.0\n'
        '[inference]\nchain = "cascade"\n'
    )
    ended = linewatch("replay", coil[0], "--config", config, "--out", out, "--workers", "2", "--json")
    assert ended.returncode == 0, ended.stderr
    return Replayed(config, out, ended)


def test_simulate_replay_and_picture_make_what_they_promise(
    coil: tuple[Path, Path], replayed: Replayed, tmp_path: Path
) -> None:
    video, truth = coil
    out = replayed.verdicts
    summary = json.loads(replayed.ended.stdout)
    assert (summary["frames"], summary["coverage"], summary["coil"]) == (16, 1.0, "SIM-3")
    assert all(json.loads(line) for line in replayed.ended.stderr.splitlines())  # logs are JSON when nobody watches
    drawn = linewatch("picture", out, "--source", video, "--truth", truth, "--out", tmp_path / "coil.png")
    assert drawn.returncode == 0, drawn.stderr
    assert cv2.imread(str(tmp_path / "coil.png")).std() > 10


def test_report_makes_a_page_with_pictures_and_tables(
    coil: tuple[Path, Path], replayed: Replayed, tmp_path: Path
) -> None:
    out, page = replayed.verdicts, tmp_path / "new" / "coil.html"
    made = typed("report", "--verdicts", out, "--source", coil[0], "--html", page, "--csv", tmp_path / "csv")
    assert made.returncode == 0, made.stderr
    text = page.read_text()
    assert "Coil SIM-3" in text
    assert text.count("data:image/jpeg;base64,") == text.count('<tr id="d') > 0
    assert (tmp_path / "csv" / "spans.csv").is_file()
    refused(typed("report", "--verdicts", out), 2, "nothing to write", "--html FILE")
    refused(typed("report", "X", "--verdicts", out, "--html", page), 2, "'X'", "'SIM-3'")
    refused(typed("report", "--verdicts", coil[1], "--html", page), 6, "expected a line of a verdict file")
    bare = "import sys; sys.modules['jinja2'] = None; from linewatch.cli import main; sys.exit(main(sys.argv[1:]))"
    ended = subprocess.run(
        [sys.executable, "-c", bare, "report", "--verdicts", str(out), "--html", str(page)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    refused(ended, 2, "jinja2", "pip install 'linewatch[history]'")


def test_two_replays_are_compared_and_a_limit_ends_it_with_its_own_code(
    coil: tuple[Path, Path], replayed: Replayed, tmp_path: Path
) -> None:
    video, truth = coil
    usual, strict = replayed.config, tmp_path / "strict.toml"
    strict.write_text(usual.read_text() + "workers = 2\nscreen_threshold = 1.0\n")
    a, again, b = replayed.verdicts, tmp_path / "again.jsonl", tmp_path / "b.jsonl"
    for out, more in ((again, ("--config", usual, "--workers", "1")), (b, ("--config", strict))):
        ended = linewatch("replay", video, "--out", out, *more, "--json")
        assert ended.returncode == 0, ended.stderr

    same = typed("compare", a, again, "--fail-lost", "0", "--fail-new", "0")
    assert same.returncode == 0, same.stderr
    assert same.stdout.startswith("A and B are the same verdicts, byte for byte but for the timing\n")

    pictures = ("--source", video, "--out", tmp_path / "out")
    differ = linewatch("compare", a, b, *pictures, "--truth", truth, "--fail-lost", "0.5", "--json")
    assert differ.returncode == 9, differ.stderr
    facts = json.loads(differ.stdout)
    assert facts["total"]["in_a"] == facts["total"]["lost"] == len(facts["lost"]) > 0
    assert facts["truth"]["a"]["recall"] > facts["truth"]["b"]["recall"] == 0.0
    assert facts["compared_mm"] == float(LINES)
    assert "lost: " in differ.stderr
    for path in facts["pictures"]:
        assert cv2.imread(path).std() > 10


def test_compare_says_what_it_cannot_compare(tmp_path: Path) -> None:
    file, folder = tmp_path / "v.jsonl", tmp_path / "run"
    file.write_text("{}\n")
    folder.mkdir()
    (folder / "verdicts.jsonl").touch()
    refused(typed("compare", file, folder), 2, "is a folder", "name the file in it", "verdicts.jsonl")
    refused(typed("compare", file, tmp_path / "absent"), 2, "no such file or folder")
    refused(typed("compare", file), 2, "expected two")
    refused(typed("compare", file, file), 6, "expected a line of a verdict file")
    refused(typed("compare", file, file, "--out", tmp_path), 2, "--source")
    refused(typed("compare", file, file, "--fail-lost", "5"), 2, "--fail-lost is 5.0, expected 0 to 1")
    refused(typed("compare", folder, folder), 2, "--out DIR")
    refused(typed("compare", folder, folder, "--out", tmp_path, "--fail-new", "0"), 2, "--fail-new applies to verdict")
    refused(typed("compare", folder, folder, "--out", tmp_path / "o"), 2, "only runs of tlu_net")


def test_simulating_twice_gives_the_same_truth_and_pixels(coil: tuple[Path, Path], tmp_path: Path) -> None:
    again = tmp_path / "again.avi"
    linewatch("simulate", "--out", again, "--truth", tmp_path / "t.json", "--length-m", "4", "--seed", "3")
    assert (tmp_path / "t.json").read_text() == coil[1].read_text()
    one, other = cv2.VideoCapture(str(coil[0])), cv2.VideoCapture(str(again))
    for _ in range(16):
        assert np.array_equal(one.read()[1], other.read()[1])


def test_a_recording_of_a_source_replays_as_the_source_does(tmp_path: Path) -> None:
    """`record`, then `replay`, gives the verdicts of replaying the source itself, byte for byte but for timing."""
    config = tmp_path / "c.toml"
    config.write_text(
        '[source]\ntype = "simulator"\nlength_m = 2.0\nseed = 11\ncoil = "REC-11"\n[inference]\nworkers = 2\n'
    )
    recorded = linewatch("record", config, "--out", tmp_path / "r.avi", "--json")
    assert recorded.returncode == 0, recorded.stderr
    assert json.loads(recorded.stdout)["lines"] == 2000
    for source, out in (("simulator", "a.jsonl"), (tmp_path / "r.avi", "b.jsonl")):
        ended = linewatch("replay", source, "--config", config, "--out", tmp_path / out)
        assert ended.returncode == 0, ended.stderr

    def timeless(name: str) -> list[dict[str, object]]:
        return [
            {key: value for key, value in json.loads(line).items() if key != "timing"}
            for line in (tmp_path / name).read_text().splitlines()
        ]

    assert timeless("a.jsonl") == timeless("b.jsonl")


def test_recording_stops_at_its_size_bound(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('[source]\ntype = "simulator"\nlength_m = 500.0\n')
    ended = linewatch("record", config, "--out", tmp_path / "r.avi", "--max-mb", "3", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["ended"] == "size"
    assert sum(path.stat().st_size for path in tmp_path.glob("r.*")) <= 3_000_000


def test_a_roll_mark_that_cannot_be_simulated_is_refused(tmp_path: Path) -> None:
    files = "--out", tmp_path / "s.avi", "--truth", tmp_path / "t.json"
    refused(typed("simulate", *files, "--roll-mark", "pitch=3"), 2, "'pitch=3' is not NAME=VALUE", "pitch_mm")
    refused(typed("simulate", *files, "--roll-mark", "pitch_mm=2m"), 2, "pitch_mm is '2m', expected a number")
    refused(typed("simulate", *files, "--roll-mark", "pitch_mm=10,across_mm=4"), 2, "pitch_mm")


def test_a_coil_is_graded_and_graded_again_by_other_rules(
    coil: tuple[Path, Path], replayed: Replayed, tmp_path: Path
) -> None:
    out = replayed.verdicts
    grade = json.loads(replayed.ended.stdout)["grade"]
    same = typed("regrade", out, "--rules", RULES, "--json")
    assert same.returncode == 0, same.stderr
    told = json.loads(same.stdout)
    assert (told["changed"], told["now"], told["before"]) == (False, grade, grade)
    other = tmp_path / "strict.toml"
    other.write_text(
        'name = "strict"\nproduct = "p"\ngrades = ["good", "bad"]\n'
        '[[limit]]\nname = "none"\nmore_than = 0\ngrade = "bad"\n'
    )
    shown = typed("regrade", out, "--rules", other)
    assert shown.returncode == 0, shown.stderr
    assert "bad, of 100.0 % inspected" in shown.stdout
    assert grade["text"] in shown.stdout
    refused(typed("regrade", coil[0], "--rules", other), 6, "expected a line of a verdict file")
    refused(typed("regrade", out, "--rules", tmp_path / "none.toml"), 2, "cannot be read")


def test_engines_are_verified(tmp_path: Path) -> None:
    shipped = linewatch("engines", "--json")
    assert shipped.returncode == 0, shipped.stdout
    assert {row["name"] for row in json.loads(shipped.stdout)} >= {"classify", "screen", "segment"}
    assert all(row["fault"] is None and row["model_bytes"] <= 20_000_000 for row in json.loads(shipped.stdout))
    for name in ("screen", "classify", "segment"):
        shutil.copytree(ROOT / "engines" / name, tmp_path / "engines" / name)
    model = tmp_path / "engines" / "screen" / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    tampered = typed("engines", "--dir", tmp_path / "engines", "--json")
    assert tampered.returncode == 4
    (fault,) = [row["fault"] for row in json.loads(tampered.stdout) if row["name"] == "screen"]
    assert "sha256" in fault
    config = tmp_path / "c.toml"
    config.write_text(
        f'[source]\ntype = "simulator"\n[inference]\nchain = "cascade"\nengines_dir = "{tmp_path}/engines"\n'
    )
    refused(linewatch("run", config), 4, "sha256", "export or copy the engine again")


def test_the_schema_command_prints_the_documented_schema() -> None:
    assert typed("schema").stdout == (ROOT / "docs" / "wire.schema.json").read_text()


def test_watch_prints_what_a_service_says_as_json_lines(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text(
        f'[source]\ntype = "simulator"\nlength_m = 500.0\n[inference]\nworkers = 2\n[journal]\ndir = "{tmp_path}/j"\n'
        f'[wire]\npublish = "ipc://{tmp_path}/pub"\nserve = "ipc://{tmp_path}/rep"\n'
    )
    running = subprocess.Popen(
        [sys.executable, "-m", "linewatch.cli", "run", str(config)],
        cwd=ROOT,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    watch = [
        sys.executable,
        "-m",
        "linewatch.cli",
        "watch",
        f"ipc://{tmp_path}/pub",
        "--serve",
        f"ipc://{tmp_path}/rep",
    ]
    try:
        with subprocess.Popen([*watch, "--json"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as watched:
            assert watched.stdout is not None
            topics: set[str] = set()
            while not topics >= {"frame", "status"}:  # however long the service takes to start
                topics.add(json.loads(watched.stdout.readline())["topic"])
            watched.send_signal(signal.SIGINT)
        table = linewatch(*watch[3:], "--for-s", "1")
    finally:
        running.terminate()
        running.wait(60)
    assert "newest defects" in table.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["replay", "/nowhere/at/all.avi"], 3, "no such file or folder"),
        (["replay", "{empty}"], 3, "{empty}"),
        (["replay", "{text}"], 3, "{text}"),
        (["replay", "simulator"], 2, "has no simulator"),
        (["replay", "{video}", "--fault", "explode=1"], 2, "expected names: drop"),
        (["replay", "{video}", "--workers", "0"], 2, "expected 1 to 64"),
        (["replay", "{video}", "--out", "/proc/nothing/v.jsonl"], 6, "cannot"),
        (["simulate", "--out", "{tmp}/x.avi", "--truth", "{tmp}/x.json", "--length-m", "-1"], 2, "length_m"),
        (["picture", "{text}", "--source", "{video}", "--out", "{tmp}/p.png"], 6, "expected a line of a verdict file"),
        (["watch", "nonsense"], 5, "nonsense"),
        (["run", "{nosource}"], 2, "no [source]"),
        (["run", "{open}"], 5, "keys"),
    ],
)
def test_a_users_mistake_is_one_line_that_says_what_to_do(
    arguments: list[str], code: int, said: str, coil: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.avi").write_text("not a video\n")
    (tmp_path / "nosource.toml").write_text("")
    (tmp_path / "open.toml").write_text('[source]\ntype = "simulator"\n[wire]\npublish = "tcp://0.0.0.0:5599"\n')
    places = {
        "tmp": str(tmp_path),
        "empty": str(tmp_path / "empty"),
        "text": str(tmp_path / "text.avi"),
        "nosource": str(tmp_path / "nosource.toml"),
        "open": str(tmp_path / "open.toml"),
        "video": str(coil[0]),
    }
    starts_much = arguments[0] == "run" or "--out" in arguments
    command = linewatch if starts_much else typed
    refused(command(*(word.format(**places) for word in arguments)), code, said.format(**places))


def test_an_unknown_command_is_told_the_known_ones() -> None:
    ended = typed("inspect")
    assert ended.returncode == 2
    assert "replay" in ended.stderr


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = tmp_path / "c.toml"
        config.write_text(
            f'[source]\ntype = "simulator"\n[journal]\ndir = "{tmp_path}/j"\n'
            f'[wire]\npublish = "tcp://127.0.0.1:{port}"\nserve = "tcp://127.0.0.1:*"\n'
        )
        refused(linewatch("run", config), 5, str(port))


def test_a_corrupt_video_costs_the_damaged_frames_and_no_more(coil: tuple[Path, Path], tmp_path: Path) -> None:
    """Bytes in the middle are overwritten: some lines are missed for a cause, all are accounted for, it ends well."""
    for path in coil[0].parent.iterdir():
        shutil.copy(path, tmp_path / path.name)
    video = tmp_path / coil[0].name
    data = bytearray(video.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    video.write_bytes(data)
    ended = linewatch("replay", video, "--json", "--out", tmp_path / "v.jsonl")
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert 0 < sum(summary["lines_missed_by_cause"].values()) < LINES
    assert set(summary["lines_missed_by_cause"]) <= {"corrupt", "lost"}
    spans = [s for line in (tmp_path / "v.jsonl").read_text().splitlines() for s in json.loads(line).get("spans", ())]
    assert sum(span["lines"] for span in spans) == LINES


def test_a_stray_text_file_in_a_folder_of_frames_does_no_harm(tmp_path: Path) -> None:
    frames = tmp_path / "frames"
    frames.mkdir()
    rng = np.random.default_rng(1)
    for number in (8, 9, 10):  # in their natural order none is missing
        cv2.imwrite(str(frames / f"{number}.png"), rng.integers(60, 120, (256, 1600), dtype=np.uint8))
    (frames / "notes.txt").write_text("shift B\n")
    (frames / "11.png").write_bytes(b"not a picture")
    ended = linewatch("replay", frames, "--json", "--out", tmp_path / "v.jsonl")
    assert ended.returncode == 0, ended.stderr
    summary = json.loads(ended.stdout)
    assert summary["frames"] == 4
    assert summary["lines_missed_by_cause"] == {"corrupt": 256}


def test_a_full_disk_ends_a_replay_with_what_was_decided(coil: tuple[Path, Path], tmp_path: Path) -> None:
    """The verdict file may not grow past a bound: exit 7 names the disk, and the file holds whole lines."""
    out = tmp_path / "v.jsonl"

    def small_files_only() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))

    ended = linewatch("replay", coil[0], "--out", out, preexec_fn=small_files_only)
    refused(ended, 7, "disk is full")
    lines = out.read_bytes()
    assert lines.endswith(b"\n")
    assert all(json.loads(line) for line in lines.splitlines())
