"""A simulated coil, graded as it is inspected and again from its verdict file: the same grade, by the same code."""

import json
from pathlib import Path

import pytest

from linewatch.config.grading_file import load_grading
from linewatch.config.taxonomy import Taxonomy
from linewatch.contracts.errors import JournalError
from linewatch.daemon.replay import replay
from linewatch.decision.grading.severity import GradingRules
from linewatch.review.from_verdicts import read_coil, read_coils
from linewatch.review.regrade import regrade
from linewatch.service_settings import ServiceSettings

pytestmark = pytest.mark.service

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "configs" / "grading" / "example.toml"


def rules_in(path: Path) -> GradingRules:
    taxonomy = Taxonomy.read(ROOT / "configs" / "taxonomy.toml")
    return GradingRules.of(load_grading(path, taxonomy), taxonomy)


@pytest.fixture
def graded(settings: ServiceSettings, tmp_path: Path) -> Path:
    """The verdict file of a coil with faults, graded by the example's rules as it was inspected."""
    decision = settings.decision.model_copy(update={"grading": EXAMPLE})
    out = tmp_path / "v.jsonl"
    summary = replay(settings.model_copy(update={"decision": decision}), fault="drop=2,truncate=2,black=1", out=out)
    assert summary.grade is not None
    assert summary.coverage < 1
    return out


def test_a_stored_coil_regrades_as_it_was_graded_and_otherwise_by_other_rules(graded: Path, tmp_path: Path) -> None:
    coil = read_coil(graded)
    assert len(coil.defects) > 5
    assert coil.grade is not None
    assert 0 < coil.grade.inspected_share < 1
    assert coil.grade.reasons, "nothing exceeded: the coil says too little"
    again = regrade(coil, rules_in(EXAMPLE))
    assert again.now == coil.grade
    assert (again.changed, again.changed_severities, again.added, again.dropped) == (False, 0, (), ())

    lenient = tmp_path / "lenient.toml"
    lenient.write_text(
        'name = "lenient"\nproduct = "p"\ngrades = ["fine", "poor"]\nmin_inspected_share = 0.01\n'
        '[[severity]]\nname = "all"\nseverity = 1\n'
        '[[limit]]\nname = "flood"\nmore_than = 100000\ngrade = "poor"\n'
    )
    other = regrade(coil, rules_in(lenient))
    assert (other.now.grade, other.changed) == ("fine", True)
    assert other.changed_severities == len(coil.defects)
    assert other.dropped == tuple(reason.rule for reason in coil.grade.reasons)


def test_a_coil_whose_end_is_not_on_file_is_graded_as_far_as_it_goes(graded: Path, tmp_path: Path) -> None:
    lines = graded.read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut.jsonl"
    cut.write_bytes(b"".join(lines[: len(lines) // 2]))
    coil = read_coil(cut)
    assert (coil.complete, coil.grade) == (False, None)
    found = regrade(coil, rules_in(EXAMPLE))
    assert found.changed
    assert found.now.graded_mm[1] == coil.length_mm - 1000.0


def test_the_coils_of_a_file_are_told_apart(graded: Path, tmp_path: Path) -> None:
    twice = tmp_path / "twice.jsonl"
    twice.write_bytes(graded.read_bytes() * 2)
    one, other = (regrade(coil, rules_in(EXAMPLE)) for coil in read_coils(twice))
    assert one == other
    (tmp_path / "empty.jsonl").write_bytes(b"")
    with pytest.raises(JournalError, match="holds no coil; expected what"):
        list(read_coils(tmp_path / "empty.jsonl"))


def test_without_rules_verdicts_are_those_of_a_service_with_rules_but_for_grade_and_severity(
    graded: Path, settings: ServiceSettings, tmp_path: Path
) -> None:
    plain = tmp_path / "plain.jsonl"
    assert replay(settings, fault="drop=2,truncate=2,black=1", out=plain).grade is None

    def ungraded(path: Path) -> list[object]:
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        for line in lines:
            line.pop("timing")
            line.pop("grade", None)
            for event in line["defects"]:
                event.pop("severity")
        return lines

    assert ungraded(plain) == ungraded(graded)
