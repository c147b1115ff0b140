"""A service takes coils' data over its socket and from files; a replay with the same data decides the same."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq
from bright_strip import write_service
from waiting import wait_until

from linewatch import cli
from linewatch.capture.cameras.registry import open_camera
from linewatch.capture.clock import MonotonicClock, PacedCamera
from linewatch.client import Commander, Subscriber
from linewatch.client.requests import RefusedError
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.verdict import CoilState, DefectState
from linewatch.daemon.recipes import RuleFiles
from linewatch.daemon.replay import replay
from linewatch.daemon.service import open_service
from linewatch.review.from_verdicts import read_coils
from linewatch.review.regrade import regrade
from linewatch.review.strips import same_verdicts
from linewatch.service_settings import load_settings
from linewatch.wire.schema import (
    REPLY,
    BesideState,
    CoilDataBody,
    CoilLine,
    CoilMessage,
    CoilReply,
    EngineAction,
    ErrorReply,
    FrameMessage,
    StatusMessage,
    VerdictLine,
)
from linewatch.wire.verdict_file import read_strip

pytestmark = pytest.mark.service

PATIENCE_S = 60.0
FRAME_MM = 64.0

TAXONOMY = """
[sets]
[classes]
""" + "\n".join(
    f'{name} = {{ meaning = "m", severity = "minor" }}'
    for name in ("scratch", "inclusion", "patches", "crazing", "pitted_surface")
)

GRADING = """
name = "{name}"
product = "{product}"
grades = ["A", "B"]
[[limit]]
name = "any"
more_than = {more_than}
grade = "B"
"""

RECIPES = """
[coil_data]
folder = "{folder}/level2"
look_s = 0.05

[[recipe]]
name = "exposed"
product = "exposed"
grading = "{folder}/exposed.toml"
head_excluded_m = 0.5
[[recipe.sensitivity]]
min_area_mm2 = 40.0

[[recipe]]
name = "strict"
product = "strict"
tail_excluded_m = 0.5
[recipe.engines]
segment = "segment-b"

[[recipe]]
name = "lacking"
product = "lacking"
[recipe.engines]
segment = "segment-z"
"""


def write_mill(folder: Path, frames: int = 1500, frames_per_s: float = 100) -> Path:
    """Write a service with recipes, grading rules, a folder for Level 2 and a second engine."""
    path = write_service(folder, frames, frames_per_s)
    (folder / "taxonomy.toml").write_text(TAXONOMY)
    (folder / "level2").mkdir()
    for name, product, more_than in (("default", "any", 100_000), ("exposed", "exposed", 0)):
        text = GRADING.format(name=name, product=product, more_than=more_than)
        (folder / f"{name}.toml").write_text(text)
    engine = folder / "engines" / "segment-b"
    shutil.copytree(folder / "engines" / "segment", engine)
    manifest = json.loads((engine / "manifest.json").read_text())
    (engine / "manifest.json").write_text(json.dumps({**manifest, "name": "segment-b"}))
    head = f'taxonomy = "{folder}/taxonomy.toml"\n[decision]\ngrading = "{folder}/default.toml"\n'
    path.write_text(head + path.read_text() + RECIPES.format(folder=folder))
    return path


class Running:
    """A service at line rate in a thread of its own; it writes its verdicts to `out`."""

    def __init__(self, config: Path, out: Path) -> None:
        self.settings, self.ready, self.out = load_settings(config), threading.Event(), out
        self.publish, self.serve, self.commands = (f"ipc://{config.parent}/{name}" for name in ("pub", "rep", "cmd"))
        self.config, self.found = config, SimpleNamespace()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.ready.wait(PATIENCE_S)

    def _run(self) -> None:
        clock = MonotonicClock()
        assert self.settings.source is not None
        camera = open_camera(self.settings.source, self.settings.line, clock, live=False)
        with (
            PacedCamera(camera, clock, "line-rate") as paced,
            open_service(
                self.settings, paced, clock, verdicts=self.out, reread=lambda: load_settings(self.config)
            ) as self.found.service,
        ):
            self.found.service.run(self.ready.set)

    def stop(self) -> None:
        self.found.service.stop()
        self.thread.join(PATIENCE_S)
        assert not self.thread.is_alive()

    def status(self, enough: Callable[[StatusMessage], bool]) -> StatusMessage:
        """Return the first status that fulfils the condition."""
        message = None
        with Subscriber(self.publish, self.serve, ["status"]) as listening:
            deadline = time.monotonic() + PATIENCE_S
            while time.monotonic() < deadline:
                message = listening.poll(0.5)
                if isinstance(message, StatusMessage) and enough(message):
                    return message
        raise AssertionError(f"never; last {message}")

    def under_the_camera(self, coil: str) -> StatusMessage:
        return self.status(lambda found: found.coil_status is not None and found.coil_status.coil == coil)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_mill(tmp_path)


@pytest.fixture
def service(config: Path) -> Iterator[Running]:
    running = Running(config, config.parent / "live.jsonl")
    yield running
    running.stop()


def test_a_replay_that_knows_what_the_service_knew_decides_the_same(config: Path) -> None:
    folder = config.parent
    service = Running(config, folder / "live.jsonl")
    with Commander(service.commands) as commander:
        told = commander.tell_coil(CoilDataBody(coil="C-1", product="exposed", thickness_mm=0.8, width_mm=900.0))
        assert (told.recipe, told.notes) == ("exposed", ())
        service.under_the_camera("strip")
        commander.start_coil("C-1")
        service.under_the_camera("C-1")
        commander.start_coil("C-2", at_mm=20 * FRAME_MM + 11.0)
        service.under_the_camera("C-2")
        commander.tell_coil(CoilDataBody(coil="C-2", product="exposed"))  # while it runs
        service.status(lambda found: found.coil_status is not None and found.coil_status.recipe == "exposed")
        commander.end_coil("C-2")
        service.status(lambda found: found.coil_status is not None and found.coil_status.between_coils)
        commander.tell_coil(CoilDataBody(coil="C-3", product="strict", length_mm=1e5))
        commander.start_coil("C-3")
        service.under_the_camera("C-3")
    service.stop()
    script = folder / "journal" / "coils-0000000001.jsonl"
    seen = [line for line in read_strip(service.out) if isinstance(line, VerdictLine)]
    frames = round(sum(line.lines for line in seen) / FRAME_MM)
    again = load_settings(write_mill(_fresh(folder / "again"), frames=frames))
    settings = load_settings(config).model_copy(update={"source": again.source})  # as far as the service came
    for source, out in ((script, "by_script.jsonl"), (service.out, "by_verdicts.jsonl")):
        workers = {"workers": 1 if source is script else 3}
        settings = settings.model_copy(update={"inference": settings.inference.model_copy(update=workers)})
        replay(settings, out=folder / out, coil_data=source)
        assert same_verdicts(service.out, folder / out)
    coils = [line for line in read_strip(service.out) if isinstance(line, CoilLine)]
    starts = [line for line in coils if line.state is CoilState.STARTED]
    assert [(line.coil, line.recipe) for line in starts] == [
        ("strip", None),
        ("C-1", "exposed"),
        ("C-2", None),
        ("strip.2", None),
        ("C-3", "strict"),
    ]
    ends = {line.coil: line for line in coils if line.state is CoilState.ENDED}
    assert ends["C-1"].along_mm == 20 * FRAME_MM + 11.0
    assert ends["C-2"].recipe == "exposed"
    assert [line.coil_data.product for line in seen if line.coil_data] == ["exposed"]
    assert ends["strip.2"].between_coils
    grades = {name: line.grade for name, line in ends.items() if line.grade}
    assert grades["C-1"].rules.startswith("exposed@")
    assert grades["C-2"].rules.startswith("exposed@")
    assert grades["strip"].rules.startswith("default@")
    assert "no data of this coil: it is inspected by the default" in grades["strip"].text
    looked = {coil: segmenters(line for line in seen if line.coil == coil) for coil in ends}
    assert looked["C-3"] == {"segment-b"}
    assert looked["C-1"] == looked["C-2"] == {"segment"}
    files = RuleFiles.read(settings, Taxonomy.read(folder / "taxonomy.toml"))
    for coil in read_coils(service.out):
        assert coil.grade is not None
        name = coil.grade.rules.split("@")[0]
        again_graded = regrade(coil, files.gradings["exposed" if name == "exposed" else ""])
        assert (again_graded.now.grade, again_graded.now.graded_mm) == (coil.grade.grade, coil.grade.graded_mm)


def segmenters(lines: Iterable[VerdictLine]) -> set[str]:
    """Return the engines that outlined something."""
    names = {identity.split("@")[0] for line in lines for identity in line.engines}
    return {name for name in names if name.startswith("segment")}


def _fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_the_ends_of_a_coil_neither_grade_nor_alarm_but_are_told(config: Path) -> None:
    """Head by the recipe, tail by the data; the sensitivity is the recipe's."""
    folder = config.parent
    (folder / "coil.json").write_text(
        json.dumps({"coil": "strip", "product": "exposed", "length_mm": 300 * FRAME_MM, "tail_crop_mm": 10 * FRAME_MM})
    )
    settings = load_settings(write_mill(_fresh(folder / "short"), frames=300))
    replay(settings, out=folder / "v.jsonl", coil_data=folder / "coil.json")
    lines = list(read_strip(folder / "v.jsonl"))
    closed = [event for line in lines for event in line.defects if event.state is DefectState.CLOSED]
    head_mm, tail_mm = 500.0, 290 * FRAME_MM
    for event in closed:
        assert event.excluded == (event.along_mm[1] <= head_mm or event.along_mm[0] >= tail_mm)
        assert event.area_mm2 >= 40.0
    assert sum(event.excluded for event in closed) >= 2
    raised = [alarm for line in lines for alarm in line.alarms if alarm.state == "raised"]
    assert raised
    excluded = {event.id for event in closed if event.excluded}
    assert not excluded & {name for alarm in raised for name in alarm.defect_ids}
    end = lines[-1]
    assert isinstance(end, CoilLine)
    assert end.grade is not None
    assert (end.head_excluded_mm, end.tail_excluded_mm) == (head_mm, 10 * FRAME_MM)
    assert end.grade.graded_mm == (head_mm, tail_mm)
    assert sum(end.grade.defects_by_severity.values()) == sum(not event.excluded for event in closed)
    assert end.inspected_mm == 300 * FRAME_MM, "coverage is told as it is"


def test_commands_are_taken_once_and_known_over_a_restart(config: Path) -> None:
    service = Running(config, config.parent / "one.jsonl")
    data = CoilDataBody(coil="C-9", product="exposed", steel_grade="DC04")
    with Commander(service.commands) as commander:
        first = commander.tell_coil(data, token="the-data-of-it")
        assert commander.tell_coil(data, token="the-data-of-it").recipe == first.recipe == "exposed"
        with pytest.raises(RefusedError, match="its token names another request"):
            commander.tell_coil(data.model_copy(update={"product": "strict"}), token="the-data-of-it")
        commander.start_coil("C-8", token="the-start-of-it")
        commander.start_coil("C-8", token="the-start-of-it")  # again: it is not ordered twice
        with pytest.raises(RefusedError, match="has passed or is ordered already"):
            commander.start_coil("C-8")
    service.under_the_camera("C-8")
    service.stop()
    orders = config.parent / "journal" / "coil-orders.jsonl"
    assert [json.loads(line)["token"] for line in orders.read_text().splitlines()] == [
        "the-data-of-it",
        "the-start-of-it",
    ]
    with orders.open("a") as file:
        file.write('{"epoch": 1, "token": "torn')  # by a kill
    service = Running(config, config.parent / "two.jsonl")
    try:
        with Commander(service.commands) as commander:
            assert commander.tell_coil(data, token="the-data-of-it").recipe == "exposed"
            with pytest.raises(RefusedError, match="taken before a restart"):
                commander.start_coil("C-8", token="the-start-of-it")
            commander.start_coil("C-9")
        assert service.under_the_camera("C-9").coil_status.data == data
    finally:
        service.stop()


def test_what_is_no_command_is_refused(service: Running) -> None:
    good = {"schema_version": 1, "request": "coil", "id": 3, "token": "abcdefgh", "action": "data"}
    body = {"coil": "C-1", "product": "exposed"}
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 0
        dealer.connect(service.commands)

        def ask(changes: dict) -> CoilReply | ErrorReply:
            dealer.send(json.dumps({**good, **changes}).encode())
            assert dealer.poll(10_000)
            return REPLY.validate_json(dealer.recv())

        for changes, said in [
            ({"data": None}, "data needs data"),
            ({"data": {"coil": "C-1"}}, "there are no data"),
            ({"data": {**body, "coil": "a\tb"}}, "coil"),
            ({"data": {**body, "width_mm": 9e9}}, "width_mm"),
            ({"data": {**body, "width_mm": -1}}, "width_mm"),
            ({"data": {**body, "width_mm": "900"}}, "width_mm"),
            ({"data": {**body, "width": 900}}, "width"),
            ({"data": {**body, "thickness_mm": 0}}, "thickness_mm"),
            ({"data": {**body, "length_mm": 100.0, "head_crop_mm": 100.0}}, "nothing would be left"),
            ({"data": {**body, "product": "x" * 65}}, "product"),
            ({"data": {**body, "product": ""}}, "product"),
            ({"data": body, "token": None}, "needs a token"),
            ({"data": body, "coil": "C-1"}, "no coil beside"),
            ({"data": body, "at_mm": 1.0}, "no at_mm"),
            ({"action": "start"}, "needs a coil"),
            ({"action": "start", "coil": "C\n1"}, "coil"),
            ({"action": "start", "coil": "C-1", "at_mm": -1}, "at_mm"),
            ({"action": "end", "coil": "C-1", "token": "it-never-began"}, "under the camera"),
            ({"action": "begin", "coil": "C-1"}, "action"),
            ({"action": "show"}, "has no token"),
            ({"action": "show", "token": None, "data": body}, "has no data"),
            ({"schema_version": 2, "data": body}, "schema version 2"),
            ({"request": "rules", "action": "reload"}, "token"),
            ({"data": {**body, "customer": "x" * 5000}}, "at most 4096"),
        ]:
            reply = ask(changes)
            assert isinstance(reply, ErrorReply), changes
            assert said in reply.text, changes
        service.under_the_camera("strip")
        assert isinstance(ask({"action": "end", "token": "the-end-of-it"}), CoilReply)
        service.status(lambda found: found.coil_status is not None and found.coil_status.between_coils)
        refused = ask({"action": "end", "token": "a-second-end"})
        assert isinstance(refused, ErrorReply)
        assert "no coil is under the camera" in refused.text
        unknown = ask({"data": {**body, "product": "expsed"}, "token": "with-a-typo"})
        assert isinstance(unknown, CoilReply)
        assert unknown.recipe is None
        assert unknown.notes == (
            "no recipe is for product 'expsed' (exposed, lacking, strict): it is inspected by the default",
        )


def test_files_of_level_2_are_taken_or_refused_with_a_reason(service: Running) -> None:
    folder = service.config.parent / "level2"

    def drop(name: str, text: str) -> None:
        (folder / f".{name}").write_text(text)
        (folder / f".{name}").rename(folder / name)

    drop("later.toml", 'coil = "C-5"\nproduct = "exposed"\nthickness_mm = 1.5\n')
    drop("unit.json", '{"coil": "C-6", "width": 900}')
    drop("torn.json", '{"coil": "C-6", ')
    drop("deep.json", "[" * 50_000)
    drop("large.json", '"' + "x" * 70_000 + '"')
    drop("nul.json", '{"coil": "C\\u0000-6", "width_mm": 900}')
    drop("half.json", '{"coil": "C\\ud800", "width_mm": 900}')
    drop("turned.json", '{"coil": "C-6", "customer": "a\\u202eb"}')
    (folder / ".odd").write_text('{"coil": " 123/4 ä ", "width_mm": 900}', encoding="utf-8")
    os.rename(folder / ".odd", os.fsencode(folder / "odd") + b"\xff.json")
    drop("notes.txt", "not ours")
    wanted = {"unit.json": "its unit is missing: write width_mm, in millimetres", "torn.json": "is not JSON"}
    wanted |= {"deep.json": "", "large.json": "larger than 65536 bytes"}
    wanted |= {"nul.json": "the character U+0000", "half.json": "U+D800", "turned.json": "U+202E"}
    for name, reason in wanted.items():
        rejected = folder / "rejected" / f"{name}.reason"
        wait_until(lambda file=folder / name, reason=rejected: reason.exists() and not file.exists(), PATIENCE_S)
        assert reason in rejected.read_text()
    wait_until((folder / "taken" / "later.toml").exists, PATIENCE_S)
    assert (folder / "notes.txt").exists()
    with Commander(service.commands) as commander:
        wait_until(lambda: commander.show_coil().now.known == 2, PATIENCE_S)
        commander.start_coil("C-5")
    status = service.under_the_camera("C-5").coil_status
    assert status is not None
    assert (status.recipe, status.data) == ("exposed", CoilDataBody(coil="C-5", product="exposed", thickness_mm=1.5))
    shutil.rmtree(folder)
    gone = service.status(lambda found: found.coil_status is not None and found.coil_status.trouble is not None)
    assert gone.coil_status is not None
    assert gone.healthy


def test_rules_are_read_again_and_bad_ones_refused(service: Running) -> None:
    grading = service.config.parent / "default.toml"
    with Commander(service.commands) as commander:
        before = service.under_the_camera("strip")
        commander.start_coil("C-1")
        service.under_the_camera("C-1")
        grading.write_text("grades = 3")
        with pytest.raises(RefusedError, match="the rules are as they were"):
            commander.reload_rules()
        grading.write_text(GRADING.format(name="newer", product="any", more_than=0))
        text = service.config.read_text().replace("min_area_mm2 = 40.0", "min_area_mm2 = 50.0")
        text = text.replace("[decision]\n", "[decision]\ncall_probability = 0.9\ntell_probability = 0.1\n")
        service.config.write_text(text.replace("min_area_mm2 = 20.0", "min_area_mm2 = 30.0"))
        assert "call_probability" in service.config.read_text()
        reply = commander.reload_rules(by="ann")
        assert reply.gradings[0].startswith("newer@")
        assert reply.left == ("alarm",)
        with Subscriber(service.publish, service.serve, ["frame"], since="epoch") as listening:
            frame = listening.poll(PATIENCE_S)
            while isinstance(frame, FrameMessage) and not frame.config:
                frame = listening.poll(PATIENCE_S)
        assert isinstance(frame, FrameMessage)
        assert (frame.coil, frame.config) == ("C-1", reply.config)
        with Subscriber(service.publish, service.serve, ["coil"], since="epoch") as listening:
            commander.start_coil("C-2")
            service.under_the_camera("C-2")
            commander.start_coil("C-3")
            ends: dict[str, CoilMessage] = {}
            while "C-2" not in ends:
                message = listening.poll(PATIENCE_S)
                if isinstance(message, CoilMessage) and message.state is CoilState.ENDED:
                    ends[message.coil] = message
        assert ends["C-1"].grade is not None
        assert ends["C-2"].grade is not None
        assert ends["C-1"].grade.rules.startswith("default@"), "the coil under the camera is graded as it began"
        assert ends["C-2"].grade.rules.startswith("newer@")
        assert ends["C-2"].config == reply.config != ends["strip"].config
    assert before.healthy


def test_an_engine_that_a_recipe_lacks_is_told_and_the_running_one_stays(config: Path) -> None:
    folder = config.parent
    (folder / "coil.toml").write_text('coil = "strip"\nproduct = "lacking"\n')
    settings = load_settings(write_mill(_fresh(folder / "short"), frames=150))
    troubles: list[str | None] = []
    replay(
        settings,
        pace="line-rate",
        out=folder / "v.jsonl",
        coil_data=folder / "coil.toml",
        watch=lambda service: troubles.append(service.exchange.trouble),
    )
    lines = list(read_strip(folder / "v.jsonl"))
    assert lines[0].recipe == "lacking"
    assert segmenters(line for line in lines if isinstance(line, VerdictLine)) == {"segment"}
    assert troubles
    assert "no such engine" in str(troubles[-1])


def test_what_an_operator_promotes_stays_the_default_and_a_recipe_still_has_its_own(config: Path) -> None:
    engine = config.parent / "engines" / "screen-b"
    shutil.copytree(config.parent / "engines" / "screen", engine)
    manifest = json.loads((engine / "manifest.json").read_text())
    (engine / "manifest.json").write_text(json.dumps({**manifest, "name": "screen-b"}))
    service = Running(config, config.parent / "v.jsonl")
    with Commander(service.commands) as commander:
        commander.tell_coil(CoilDataBody(coil="C-1", product="strict"))
        commander.start_coil("C-1")
        service.under_the_camera("C-1")
        commander.engine(EngineAction.LOAD, "screen-b", shadow=True)
        service.status(lambda found: found.beside is not None and found.beside.state is BesideState.COMPARED)
        commander.start_coil("C-2")
        service.under_the_camera("C-2")  # the engine beside them is compared with whatever runs
        commander.engine(EngineAction.PROMOTE)
        service.status(lambda found: found.beside is None)
        commander.tell_coil(CoilDataBody(coil="C-3", product="strict"))
        commander.start_coil("C-3")
        service.under_the_camera("C-3")
        commander.start_coil("C-4")
        service.under_the_camera("C-4")
        status = service.status(lambda found: found.coil == "C-4")
    service.stop()
    assert [one.identity.split("@")[0] for one in status.engines] == ["screen-b", "classify", "segment"]
    lines = [line for line in read_strip(service.out) if isinstance(line, VerdictLine)]
    names = {
        coil: [{identity.split("@")[0] for identity in line.engines} for line in lines if line.coil == coil]
        for coil in ("C-1", "C-3", "C-4")
    }
    assert set().union(*names["C-1"]) <= {"screen", "classify", "segment-b"}
    assert set().union(*names["C-3"]) <= {"screen-b", "classify", "segment-b"}
    assert set().union(*names["C-4"]) <= {"screen-b", "classify", "segment"}


def test_the_command_line(service: Running, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = ["--commands", service.commands]

    def said(*arguments: str) -> str:
        assert cli.main([*arguments, *to]) == 0
        return capsys.readouterr().out

    assert "recipe exposed" in said(
        "coil", "data", "C-1", "--product", "exposed", "--thickness-mm", "0.7", "--by", "ann"
    )
    assert "inspected by the default" in said("coil", "data", "C-2", "--product", "other")
    said("coil", "start", "C-1", "--at-mm", "100")
    service.under_the_camera("C-1")
    shown = said("coil", "show")
    assert "exposed" in shown
    assert "thickness_mm 0.7" in shown
    (tmp_path / "c.toml").write_text('coil = "C-3"\nproduct = "strict"\n')
    assert (
        json.loads(said("coil", "data", "--file", str(tmp_path / "c.toml"), "--json").splitlines()[-1])["recipe"]
        == "strict"
    )
    said("coil", "end", "C-1")
    assert "rules reloaded" in said("reload", "rules")
    for wrong, why in [
        (("data", "C-1"), "there are no data"),
        (("data", "C-1", "--width-mm", "90000"), "width_mm"),
        (("data", "--product", "x"), "ID"),
        (("start",), "ID"),
        (("start", "C-9", "--product", "x"), "no --product"),
        (("data", "C-9", "--product", "x", "--at-mm", "3"), "no --at-mm"),
        (("show", "C-9"), "no ID"),
    ]:
        assert cli.main(["coil", *wrong, *to]) == 2, wrong
        assert why in capsys.readouterr().err
