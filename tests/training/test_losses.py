"""The papers' losses are their formulas, with the gradients of their formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from linewatch.training.losses import counts_loss, focal_loss, joint_loss

logit = st.floats(-15, 15)


def entropy(logit: float, truth: int) -> float:
    p = 1 / (1 + math.exp(-logit))
    return -math.log(p if truth else 1 - p)


@given(st.lists(st.tuples(logit, st.integers(0, 1)), min_size=1), st.floats(0, 5), st.none() | st.floats(0, 1))
def test_focal_loss_is_lins_equation(cases: list[tuple[float, int]], gamma: float, alpha: float | None) -> None:
    """-alpha_t (1 - p_t)^gamma log p_t, written out per entry."""
    want = 0.0
    for x, y in cases:
        p = 1 / (1 + math.exp(-x))
        p_t, alpha_t = (p, alpha) if y else (1 - p, None if alpha is None else 1 - alpha)
        want += -(1 if alpha_t is None else alpha_t) * (1 - p_t) ** gamma * math.log(p_t)
    logits, truth = torch.tensor(cases, dtype=torch.float64).T
    found = focal_loss(logits[:, None], truth[:, None].bool(), gamma, alpha)
    assert float(found) == pytest.approx(want / len(cases), rel=1e-6, abs=1e-12)


def test_focal_loss_without_focus_is_cross_entropy() -> None:
    """gamma = 0, alpha None."""
    logits, truth = torch.randn(7, 3, generator=torch.manual_seed(0)), torch.eye(7)[:, :3]
    want = torch.nn.functional.binary_cross_entropy_with_logits(logits, truth)
    torch.testing.assert_close(focal_loss(logits, truth, gamma=0, alpha=None), want)


def test_focal_loss_has_the_gradient_of_its_formula() -> None:
    """By finite differences; and finite where the network is as sure as float32 goes."""
    truth = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    logits = torch.randn(2, 3, dtype=torch.float64, generator=torch.manual_seed(1), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: focal_loss(x, truth), (logits,))
    sure = torch.tensor([[80.0, -80.0, -80.0]], requires_grad=True)
    focal_loss(sure, truth[:1]).backward()
    assert torch.isfinite(sure.grad).all()
    assert sure.grad[0, 2] < 0


def made() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.manual_seed(2)
    pixels = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=generator)
    labels = torch.randn(2, 3, dtype=torch.float64, generator=generator)
    true_pixels = torch.rand(2, 3, 4, 5, generator=generator) < 0.3
    return pixels, labels, true_pixels, true_pixels.any(3).any(2)


def test_joint_loss_is_equation_1_at_the_weight_of_the_area() -> None:
    """pixel_weight = h * w gives eq. 1 of Damacharla et al. term by term, over the number of images."""
    pixels, labels, true_pixels, true_labels = made()
    want = 0.0
    for k in range(2):
        for m in range(3):
            want += entropy(float(labels[k, m]), int(true_labels[k, m]))
            for j in range(4):
                for i in range(5):
                    want += entropy(float(pixels[k, m, j, i]), int(true_pixels[k, m, j, i]))
    assert float(joint_loss(*made(), pixel_weight=4 * 5)) == pytest.approx(want / 2)


def test_joint_loss_can_let_either_head_rest() -> None:
    """Weight 0 leaves the labels' cross-entropy alone; the weight scales the pixels' share only."""
    pixels, labels, true_pixels, true_labels = made()
    alone = joint_loss(pixels, labels, true_pixels, true_labels, pixel_weight=0)
    want = 3 * torch.nn.functional.binary_cross_entropy_with_logits(labels, true_labels.double())
    torch.testing.assert_close(alone, want)
    one, two = (joint_loss(pixels, labels, true_pixels, true_labels, pixel_weight=w) for w in (1.0, 2.0))
    torch.testing.assert_close(two - one, one - alone)
    pixels.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: joint_loss(x, labels, true_pixels, true_labels), (pixels,))


def test_counts_loss_is_the_mean_square() -> None:
    """Whole counts of any integer type."""
    assert float(counts_loss(torch.tensor([[1.5, 0.0]]), torch.tensor([[2, 1]]))) == pytest.approx(0.625)
