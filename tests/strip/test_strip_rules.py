"""The rules of a joined record are read again for the next coil, and chosen by the coil's data."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from wide_strip import WIDTH_PX, by_cameras, settings

from linewatch.contracts.access import Caller, Role
from linewatch.contracts.coil import CoilData
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.verdict import CoilNotice, CoilState
from linewatch.strip.coil_commands import CoilCommands, StripPlace
from linewatch.strip.join import Joiner
from linewatch.strip.rules import StripRules
from linewatch.strip.settings import StripSettings
from linewatch.wire.schema import RulesReply, RulesRequest

OPERATOR = Caller(key=None, role=Role.OPERATOR)
RELOAD = RulesRequest(schema_version=1, request="rules", action="reload")


def commands(
    settings_: StripSettings, reread: Callable[[], StripSettings] | None, follow: Callable[[StripRules], None]
) -> CoilCommands:
    return CoilCommands(settings_.camera, StripPlace, lambda: None, StripRules(settings_), reread, follow)


def test_rules_that_are_read_again_hold_from_the_next_coil_on() -> None:
    before, after = settings(), settings(decision={"head_excluded_m": 0.05})
    joiner = Joiner(before)
    coils = commands(before, lambda: after, lambda rules: setattr(joiner, "following_rules", rules))
    mask = np.zeros((64, WIDTH_PX), np.uint8)
    decided = []
    for number, coil in enumerate(("C1", "C2")):
        seen = by_cameras(mask, before, coil=coil)
        for at in range(max(len(one.decided) for one in seen)):
            for one in seen:
                decided += joiner.take(one.key, one.decided[at])
            if number == 0 and at == 1:
                reply = coils.reload(RELOAD, OPERATOR)
                assert isinstance(reply, RulesReply)
                assert (reply.config, reply.left) == (after.identity(), ())
    ends = [one for one in decided if isinstance(one, CoilNotice) and one.state is CoilState.ENDED]
    assert [(one.coil, one.conditions.head_mm, one.config) for one in ends] == [
        ("C1", 0.0, before.identity()),
        ("C2", 50.0, after.identity()),
    ]


def test_what_cannot_be_read_again_is_refused_and_what_waits_for_a_restart_is_named() -> None:
    before, followed = settings(), []
    assert "without a configuration file" in commands(before, None, followed.append).reload(RELOAD, OPERATOR)

    def broken() -> StripSettings:
        raise ConfigError("strip.toml: line 3 is no TOML")

    refused = commands(before, broken, followed.append).reload(RELOAD, OPERATOR)
    assert refused == "strip.toml: line 3 is no TOML\nthe rules are as they were"
    assert not followed
    other = settings(wire={"publish": "tcp://127.0.0.1:5999"}, decision={"tail_excluded_m": 1.0})
    reply = commands(before, lambda: other, followed.append).reload(RELOAD, OPERATOR)
    assert (reply.left, len(followed)) == (("wire",), 1)


def test_the_data_of_a_coil_choose_its_grading_and_ends(tmp_path: Path) -> None:
    rules = Path("configs/grading/example.toml").read_text()
    for name in ("default", "thin"):
        (tmp_path / f"{name}.toml").write_text(rules)
    (tmp_path / "thin.toml").write_text(rules.replace("excluded_m = 1.0", "excluded_m = 0.0"))
    found = StripRules(
        settings(
            taxonomy="configs/taxonomy.toml",
            decision={"grading": str(tmp_path / "default.toml"), "tail_excluded_m": 2.0},
            recipe=[{"name": "thin", "product": "P", "grading": str(tmp_path / "thin.toml"), "head_excluded_m": 3.0}],
        )
    )
    assert len(set(found.gradings)) == 2
    data = CoilData("A", product="P")
    thin, other = (found.conditions(one, between=False) for one in (data, CoilData("B", product="Q")))
    assert (thin.recipe, thin.head_mm, thin.tail_mm) == ("thin", 3000.0, 2000.0)
    assert (other.recipe, other.head_mm) == (None, 0.0)
    named = [found.of(one).grading.identity for one in (other, thin)]
    assert named == list(found.gradings)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"recipe": [{"name": "a", "product": "P", "engines": {"screen": "x"}}]}, "belong to the cameras"),
        ({"recipe": [{"name": "a", "product": "P"}, {"name": "a", "product": "Q"}]}, "two [[recipe]]"),
        ({"coil_data": {"folder": "level2"}}, "give each [[camera]] its `commands`"),
    ],
)
def test_what_a_strip_cannot_do_is_refused(more: dict, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        settings(**more)
