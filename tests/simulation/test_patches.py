"""Real defects blended into the rendered strip."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from linewatch.config.line import LineSettings
from linewatch.contracts.errors import SourceError
from linewatch.simulation.patches import real_patches
from linewatch.simulation.strip import SimulatedStrip


def put(neu: Path, name: str, image: np.ndarray, mask: np.ndarray | None) -> None:
    for folder in ("images", "masks"):
        (neu / folder).mkdir(exist_ok=True)
    cv2.imwrite(str(neu / "images" / f"{name}.jpg"), image)
    if mask is not None:
        cv2.imwrite(str(neu / "masks" / f"{name}.png"), mask)


@pytest.fixture
def neu(tmp_path: Path) -> Path:
    """Write a scratch inside its image, and one that the border cuts."""
    image, mask = np.full((200, 200), 100, np.uint8), np.zeros((200, 200), np.uint8)
    mask[40:120, 60:70] = 255
    mask[150:, 150:160] = 255
    image[mask > 0] = 200
    put(tmp_path, "scratches_1", image, mask)
    put(tmp_path, "crazing_1", image, None)
    return tmp_path


def test_piece_within_its_image_is_cut_out_with_its_outline(neu: Path) -> None:
    (patch,) = real_patches(neu)
    assert patch.defect_class == "scratch"
    assert patch.stamp.mask.sum() == 80 * 10
    assert patch.stamp.gain[46, 11] == pytest.approx(2.0, abs=0.05)
    assert patch.stamp.gain[0, 0] == pytest.approx(1.0, abs=0.01)


@pytest.mark.slow
def test_patches_appear_on_the_strip_and_in_the_truth(neu: Path) -> None:
    patches = real_patches(neu)
    line = LineSettings(width_px=640, mm_per_px=1.0)
    areas = [defect.area_mm2 for defect in SimulatedStrip(5, 20, 4, line, patches).truth("A").defects]
    assert areas.count(800.0) >= 2
    assert 800.0 not in [defect.area_mm2 for defect in SimulatedStrip(5, 20, 4, line).truth("A").defects]


def test_only_named_patches_are_used(neu: Path) -> None:
    assert len(real_patches(neu, {"scratches_1"})) == 1
    with pytest.raises(SourceError, match="contains no defects"):
        real_patches(neu, {"scratches_2"})


def test_missing_folder_or_image_is_one_clear_error(neu: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"0 masks found\), expected NEU"):
        real_patches(tmp_path / "absent")
    (neu / "images" / "scratches_1.jpg").unlink()
    with pytest.raises(SourceError, match=r"scratches_1\.png has no image"):
        real_patches(neu)


@pytest.mark.data
@pytest.mark.skipif("LINEWATCH_DATA" not in os.environ, reason="LINEWATCH_DATA is not set")
def test_real_images_give_patches_of_three_classes() -> None:
    patches = real_patches(Path(os.environ["LINEWATCH_DATA"]) / "neu")
    assert {patch.defect_class for patch in patches} == {"inclusion", "patches", "scratch"}
    assert len(patches) > 300
