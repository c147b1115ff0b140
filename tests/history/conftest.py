"""The client tests' small service: a real journal and real sockets, told what to decide."""

import pytest
from history_process import STARTED
from small_services import SmallService

from linewatch.config.history import HistoryServiceSettings, HistorySettings


@pytest.fixture(autouse=True)
def _no_process_is_left():
    """Also when a test fails."""
    yield
    while STARTED:
        STARTED[-1].kill()
        STARTED.pop().wait()


@pytest.fixture
def history_of(tmp_path):
    """The settings of a history of that service, and its file."""

    def make(service: SmallService, **more) -> HistorySettings:
        heard = HistoryServiceSettings(name="top-cam1", publish=service.publish, serve=service.serve)
        return HistorySettings(
            **{"database": f"sqlite:///{tmp_path / 'history.sqlite'}", "commit_ms": 20.0, "service": (heard,)} | more
        )

    return make
