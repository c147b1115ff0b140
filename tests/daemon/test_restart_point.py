"""Which coil goes on, where a disk that failed has taken the notice of its start."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from linewatch.config.journal import JournalSettings
from linewatch.contracts.verdict import CoilState
from linewatch.daemon.restart_point import RestartPoint, _point_of
from linewatch.journal.journal import Journal


@pytest.mark.parametrize("newest", [CoilState.STARTED, CoilState.ENDED])
def test_a_state_newer_than_the_newest_notice_names_the_coil(tmp_path: Path, newest: CoilState) -> None:
    """Beyond its bound in memory, the end of A and the start of B were dropped; the state of B came through."""
    point = RestartPoint(
        coil="B",
        side="top",
        camera="cam1",
        passage=(3, 1),
        begins={"frame": 40},
        source_coil="B",
        head_line=0,
        between=False,
        config="",
    )
    with Journal(JournalSettings(dir=tmp_path)) as journal:
        journal.append([], sync=True, state=point.model_dump_json().encode())
        notice: Any = SimpleNamespace(state=newest, passage=(3, 0), coil="A")
        assert _point_of(journal, [notice]) == point
        notice.passage = (3, 1)
        assert (_point_of(journal, [notice]) is None) == (newest is CoilState.ENDED)
