"""Blended defects are where their mask says, and nowhere else."""

import numpy as np

from linewatch.training.samples.blending import Blender, Donor, donors, lay


def picture(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Made-up strip with one dark defect of known place."""
    rng = np.random.default_rng(seed)
    image = (rng.normal(100, 4, (256, 600))).clip(0, 255).astype(np.uint8)
    mask = np.zeros_like(image)
    mask[60:90, 200:260] = 3
    image[mask > 0] = 40
    return image, mask


def test_a_donor_is_relative_to_the_steel_around_it() -> None:
    """Relief is 1 on the surroundings and gray over surroundings on the defect; the mask is cut out with it."""
    (donor,) = donors(*picture())
    assert donor.mask.sum() == 30 * 60
    assert abs(donor.relief[~donor.mask].mean() - 1) < 0.02
    assert abs(donor.relief[donor.mask].mean() - 0.4) < 0.02


def test_the_defect_takes_the_host_s_exposure_and_leaves_the_rest_untouched() -> None:
    """On a host half as bright the same relief shows half the gray; pixels beyond the feather do not change."""
    (donor,) = donors(*picture())
    host, mask = np.full((256, 600), 50, np.uint8), np.zeros((256, 600), np.uint8)
    lay(host, mask, donor, 300, 100)
    assert abs(float(host[mask > 0].mean()) - 20) < 3
    h, w = donor.mask.shape
    outside = np.ones_like(mask, bool)
    outside[100 : 100 + h, 300 : 300 + w] = False
    assert (host[outside] == 50).all()
    assert mask.sum() == donor.mask.sum()


def test_blends_keep_off_the_dark_and_off_known_defects() -> None:
    """Whatever the draw, new defects lie on steel, known ones stay, and the given arrays are not written to."""
    image, mask = picture()
    image[:, 450:] = 2
    blender = Blender.of([picture(1)])
    before = image.copy(), mask.copy()
    grown = 0
    for seed in range(20):
        out, drawn = blender(image, mask, np.random.default_rng(seed))
        assert not drawn[:, 450:].any()
        assert (drawn[mask > 0] == mask[mask > 0]).all()
        grown += int((drawn > 0).sum() > (mask > 0).sum())
        assert (out[:, 450:] == image[:, 450:]).all()
    assert grown > 5
    assert (image == before[0]).all()
    assert (mask == before[1]).all()


def test_the_same_draw_gives_the_same_blend() -> None:
    """Blending is a function of its generator."""
    blender = Blender((Donor(np.full((20, 20), 0.5, np.float32), np.ones((20, 20), bool)),))
    first, second = (blender(*picture(), np.random.default_rng(7)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(first, second, strict=False))
