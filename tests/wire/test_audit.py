"""Who asked for what, when, from where, with which outcome: kept, bounded, and never lost in silence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from linewatch.cli import main
from linewatch.contracts.access import Caller, Role
from linewatch.contracts.errors import WireError
from linewatch.wire.access import audit
from linewatch.wire.access.audit import AuditTrail, audit_files, facts_of, read_audit
from linewatch.wire.router import refusal
from linewatch.wire.schema import COMMAND, ErrorCode, RulesReply

HMI = Caller("hmi-3", Role.ENGINEER)


def at_once(write: Callable[[], None]) -> None:
    write()


def request(name: str, **more: Any) -> Any:
    return COMMAND.validate_json(json.dumps({"schema_version": 1, "request": name, "id": 1, **more}))


SHELVE = request("alarm", action="shelve", alarm="cluster", minutes=5.0, token="t" * 16, by="ann")
RELOAD = request("rules", action="reload", by="ann")
DONE = RulesReply(schema_version=1, reply="rules", id=1, config="c", gradings=(), left=())
NO = refusal(1, ErrorCode.FORBIDDEN, "the request needs the role engineer")[0]


def commands(folder: Path) -> list[dict[str, Any]]:
    return [line for line in read_audit(folder) if line.get("event") == "command"]


def test_a_command_is_kept_with_all_that_is_known_of_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trail = AuditTrail(tmp_path, at_once)
    trail.take(facts_of(HMI, "10.0.0.7", RELOAD, DONE))
    trail.take(facts_of(Caller("spy", Role.OBSERVER), "10.0.0.9", SHELVE, NO))
    trail.take(facts_of(Caller("spy", Role.OBSERVER), "10.0.0.9", None, NO))
    trail.close()
    reload, shelve, nonsense = commands(tmp_path)
    assert (reload["key"], reload["peer"], reload["what"], reload["outcome"]) == (
        "hmi-3",
        "10.0.0.7",
        "rules reload",
        "accepted",
    )
    assert (shelve["asked"]["alarm"], shelve["outcome"], shelve["why"]) == ("cluster", "forbidden", NO.text)
    assert nonsense["what"] == "no valid command"
    assert main(["audit", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for words in ("hmi-3", "rules reload", "10.0.0.9", "forbidden", "alarm=cluster", "service started"):
        assert words in told
    assert main(["audit", str(tmp_path), "--json", "--last", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["event"] == "ended"


def test_ninety_thousand_repeats_hide_no_other_command(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, at_once)
    for _ in range(90_000):
        trail.take(facts_of(HMI, "10.0.0.7", SHELVE, DONE))
    trail.take(facts_of(HMI, "10.0.0.7", RELOAD, DONE))
    trail.close()
    kept = commands(tmp_path)
    assert len(kept) == audit.ONE_BY_ONE + 2
    assert sum(line.get("more", 1) for line in kept) == 90_001
    assert [line["what"] for line in kept].count("rules reload") == 1


def test_any_number_of_peers_costs_bounded_lines(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, at_once)
    for number in range(5_000):
        trail.take(facts_of(HMI, f"10.0.{number >> 8}.{number & 255}", SHELVE, DONE))
    trail.close()
    assert len(commands(tmp_path)) <= audit.MOST_KINDS + audit.ONE_BY_ONE + 1
    assert sum(line.get("more", 1) for line in commands(tmp_path)) == 5_000


def test_files_are_rotated_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "FILE_BYTES", 2_000)
    monkeypatch.setattr(audit, "ONE_BY_ONE", 10_000)
    trail = AuditTrail(tmp_path, at_once)
    for _ in range(200):
        trail.take(facts_of(HMI, "10.0.0.7", SHELVE, DONE))
    files = audit_files(tmp_path)
    assert len(files) == audit.FILES_KEPT
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert [line for line in read_audit(tmp_path) if "missing" in line] == []
    newest = [line["number"] for line in read_audit(tmp_path)]
    assert newest == list(range(newest[0], 201))


def test_a_line_that_is_gone_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        trail = AuditTrail(tmp_path, at_once)
        for _ in range(5):
            trail.take(facts_of(HMI, "10.0.0.7", SHELVE, DONE))
        trail.close()
    first, second = audit_files(tmp_path)
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join(lines[:2] + lines[4:]))
    second.write_bytes(b"\0\0 torn\n" + second.read_bytes())
    assert [line["missing"] for line in read_audit(tmp_path) if "missing" in line] == [2, None]
    assert main(["audit", str(tmp_path)]) == WireError.exit_code
    assert "2 lines" in capsys.readouterr().out


def test_what_a_full_disk_refuses_comes_later(tmp_path: Path) -> None:
    """The keeper of the journal does a task again until it succeeds; this stands for it."""
    waiting: list[Callable[[], None]] = []
    trail = AuditTrail(tmp_path / "audit", waiting.append)
    trail.take(facts_of(HMI, "10.0.0.7", SHELVE, DONE))
    (tmp_path / "audit").write_text("in the way")
    with pytest.raises(OSError, match="exists"):
        waiting[0]()
    (tmp_path / "audit").unlink()
    for write in waiting:
        write()
    assert len(commands(tmp_path / "audit")) == 1


def test_a_folder_without_a_trail_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WireError, match="expected the folder `audit`"):
        list(read_audit(tmp_path))
