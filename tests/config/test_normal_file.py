"""A file of what is normal is read whole, and refused where it does not fit the line or the engine."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from linewatch.config.line import LineSettings
from linewatch.config.normal import check_normal, line_of, read_normal
from linewatch.contracts.errors import ConfigError
from linewatch.contracts.manifest import EngineManifest
from linewatch.contracts.normal import TRAITS, LearnedStrip, NormalModel, NormalReference, NormalStrip
from linewatch.contracts.probability import EvidenceWeight, ProbabilityModel

LINE = LineSettings()
STRIP = NormalStrip(frames=5.0)
REFERENCE = NormalReference(probability="3", spreads=dict.fromkeys(TRAITS, 1.0), strip=STRIP)
MODEL = NormalModel(
    line=line_of(LINE),
    engine="classify",
    reference=REFERENCE,
    strip=STRIP,
    learned=(LearnedStrip(learned_unix_ns=1, source="a", m2=2.0, told=0, told_still=0),),
)


def _engine(version: str | None) -> EngineManifest:
    manifest = EngineManifest.parse(Path("engines/classify/manifest.json").read_bytes())
    model = version and ProbabilityModel(
        intercept=0.0,
        evidence={"peak": EvidenceWeight(mean=0.0, spread=1.0, weight=1.0)},
        tell_probability=0.3,
        call_probability=0.5,
        fitted_on="nothing",
        version=version,
    )
    return manifest.model_copy(update={"probability": model})


def test_a_model_is_read_and_fits(tmp_path):
    (tmp_path / "normal.json").write_text(MODEL.model_dump_json())
    model = read_normal(tmp_path / "normal.json")
    assert model == MODEL
    check_normal(model, tmp_path / "normal.json", LINE, _engine("3"))


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"version": 1}), '{"schema_version": 2}'])
def test_what_is_no_model_is_refused(tmp_path, text):
    (tmp_path / "normal.json").write_text(text)
    with pytest.raises(ConfigError, match="learn-normal"):
        read_normal(tmp_path / "normal.json")


def test_a_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(ConfigError, match="learn-normal"):
        read_normal(tmp_path / "normal.json")


@dataclass(frozen=True)
class _Unfit:
    line: LineSettings
    version: str | None
    says: str


@pytest.mark.parametrize(
    "unfit",
    [
        _Unfit(LineSettings(camera="cam2"), "3", "camera cam1, this line's is cam2"),
        _Unfit(LineSettings(side="bottom"), "3", "side top"),
        _Unfit(LineSettings(mm_per_px=0.25), "3", "mm_per_px 0.5"),
        _Unfit(LineSettings(width_px=1024), "3", "width_px 1600"),
        _Unfit(LINE, "4", "has version 4; learn it again"),
        _Unfit(LINE, None, "no probability model"),
    ],
    ids=lambda unfit: unfit.says,
)
def test_another_line_or_engine_is_refused(unfit):
    with pytest.raises(ConfigError, match=unfit.says):
        check_normal(MODEL, Path("normal.json"), unfit.line, _engine(unfit.version))


def test_the_line_may_be_measured_a_little_better():
    check_normal(MODEL, Path("normal.json"), LineSettings(mm_per_px=0.502), _engine("3"))
