"""`linewatch compare`: runs side by side, picture by picture, whether of one split or of several folds."""

from pathlib import Path

import pytest

from linewatch.contracts.errors import ConfigError
from linewatch.evaluation.run_comparison import compare

HISTORY = "phase,epoch,step,seconds,val_dice\nfit,0,1,1.0,0.1\nfit,1,2,1.0,{last}\n"


def made_run(folder: Path, dice: float, folds: int = 0) -> Path:
    """What a run of tlu_net leaves: Dice by picture, and the history of the run or of each of its folds."""
    folder.mkdir()
    rows = "".join(f"picture{i}.png,{dice + i / 100:.3f},{dice / 2:.3f}\n" for i in range(8))
    (folder / "per_image.csv").write_text(f"file,dice,iou\n{rows}clean.png,,\n")
    for part in [folder / f"fold-{k}" for k in range(folds)] or [folder]:
        part.mkdir(exist_ok=True)
        (part / "history.csv").write_text(HISTORY.format(last=dice))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("folds", [0, 3])
def test_runs_are_compared_picture_by_picture_and_drawn(folds: int, tmp_path: Path) -> None:
    runs = [made_run(tmp_path / "random", 0.2, folds), made_run(tmp_path / "pretrained", 0.5, folds)]
    (found,) = compare(runs, tmp_path / "out").values()
    assert found.difference == pytest.approx(0.3)
    assert found.improved == 1.0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"boxes.png", "convergence.png", "differences.png"}


def test_runs_that_cannot_be_compared_are_named(tmp_path: Path) -> None:
    one = made_run(tmp_path / "one", 0.2)
    with pytest.raises(ConfigError, match="expected two or more"):
        compare([one], tmp_path / "out")
    with pytest.raises(ConfigError, match=r"only runs of tlu_net keep Dice by image"):
        compare([one, tmp_path], tmp_path / "out")
    other = made_run(tmp_path / "other", 0.3)
    (other / "per_image.csv").write_text("file,dice,iou\nelsewhere.png,0.1,0.1\n")
    with pytest.raises(ConfigError, match="evaluated on other images"):
        compare([one, other], tmp_path / "out")
