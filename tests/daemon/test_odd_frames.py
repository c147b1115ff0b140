"""What is raised over one frame in the cascade's stage costs that frame; the service goes on and ends in good order."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from linewatch.daemon.coils.coil_data import KnownCoilData
from linewatch.daemon.replay import replay
from linewatch.daemon.stages import cascade as stage
from linewatch.inference.cascade import Cascade
from linewatch.service_settings import ServiceSettings

pytestmark = pytest.mark.service


@pytest.mark.parametrize(
    ("owner", "name"),
    [(stage, "find_edges"), (KnownCoilData, "attach"), (Cascade, "feed"), (Cascade, "_look"), (Cascade, "_take")],
    ids=str,
)
def test_a_frame_over_which_the_cascade_raises_is_missed(
    owner: object, name: str, settings: ServiceSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    true: Callable[..., object] = getattr(owner, name)
    calls = iter(range(10_000))

    def sometimes(*args: object) -> object:
        if next(calls) % 20 == 7:
            raise RuntimeError("unheard of")
        return true(*args)

    monkeypatch.setattr(owner, name, sometimes)
    assert settings.source is not None
    source = settings.source.model_copy(update={"length_m": 15.36})
    summary = replay(settings.model_copy(update={"source": source}), out=tmp_path / "verdicts.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    verdicts = [line for line in lines if line["kind"] == "verdict"]
    assert len(verdicts) == 60  # more than the ring has slots
    lost = [verdict for verdict in verdicts if {span["cause"] for span in verdict["spans"]} == {"untold"}]
    assert 3 <= len(lost) < 30
    assert all(span["quality"] == "missed" for verdict in lost for span in verdict["spans"])
    assert summary.coverage < 1 - len(lost) / 70
