import inspect
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from minilm.errors import InputError
from minilm.examples.labels import IGNORED
from minilm.layers.crf import CRF
from minilm.training.losses import binary_cross_entropy, crf_loss, cross_entropy, l2, squared_error

B, T, K = 3, 5, 7


def draw(*shape, scale=3.0, seed=0):
    z = scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return z.requires_grad_()


def labels(*shape, classes=K, seed=1):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def gradients(*values_and_inputs):
    """The gradient of each value times the same random number."""
    return [torch.autograd.grad(0.731 * value, z)[0] for value, z in values_and_inputs]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32])
def test_F08_F25_cross_entropy_equals_pytorch_in_value_and_gradient(smoothing, dtype):
    z, y = draw(B, T, K), labels(B, T).to(dtype)
    y[0, 1:4] = y[2, 4] = IGNORED
    value, count = cross_entropy(z, y, smoothing)
    theirs = F.cross_entropy(z.flatten(0, 1), y.flatten().long(), ignore_index=-100, label_smoothing=smoothing)
    assert count == B * T - 4
    torch.testing.assert_close(value, theirs, atol=1e-12, rtol=0)
    torch.testing.assert_close(*gradients((value, z), (theirs, z)), atol=1e-12, rtol=0)


def test_F08_is_minus_the_log_of_the_softmax_by_logsumexp():
    z, y = draw(B, K), labels(B)
    by_hand = sum(math.log(sum(math.exp(z_k) for z_k in row)) - row[k] for row, k in zip(z.tolist(), y, strict=True))
    assert cross_entropy(z, y).value.item() == pytest.approx(by_hand / B, abs=1e-12)


def test_F11_the_loss_sees_the_answer():
    sure_and_wrong, unsure_and_right = torch.tensor([[0.98, 0.02]]).log(), torch.tensor([[0.4, 0.6]]).log()
    answer = torch.tensor([1])
    assert cross_entropy(sure_and_wrong, answer).value > cross_entropy(unsure_and_right, answer).value
    assert cross_entropy(unsure_and_right, answer).value.item() == pytest.approx(-math.log(0.6), abs=1e-6)


def test_F26_class_0_counts_like_any_other():
    z, y = draw(4, 2), torch.tensor([0, 1, 0, 0])
    loss = cross_entropy(z, y)
    assert loss.count == 4
    (gradient,) = torch.autograd.grad(loss.value, z)
    assert (gradient.abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("shape", [(B, T), (0,)])
def test_F25_nothing_counted_is_zero_with_zero_gradient(smoothing, shape):
    z = draw(*shape, K)
    value, count = cross_entropy(z, torch.full(shape, IGNORED), smoothing)
    assert (value.item(), count) == (0, 0)
    assert not torch.autograd.grad(value, z)[0].any()  # zeros, so not NaN
    assert F.cross_entropy(z.flatten(0, -2), torch.full(shape, IGNORED).flatten()).isnan()  # ours avoids this NaN


def test_F25_what_does_not_count_may_be_anything():
    z, y = draw(4, K).detach(), labels(4)
    z[1], y[1] = math.inf, IGNORED
    z.requires_grad_()
    loss = cross_entropy(z, y)
    (gradient,) = torch.autograd.grad(loss.value, z)
    assert loss.value.isfinite() and gradient.isfinite().all() and not gradient[1].any()


def test_F08_survives_logits_of_a_thousand():
    assert cross_entropy(torch.tensor([[1000.0, -1000.0]]), torch.tensor([1])).value.item() == 2000


def test_F08_half_precision_logits_give_a_loss_in_full_precision():
    z, y = draw(B, K).detach().bfloat16(), labels(B)
    value = cross_entropy(z, y).value
    assert value.dtype == torch.float32
    assert value == cross_entropy(z.float(), y).value


@pytest.mark.parametrize(("wrong", "named"), [(K, f"label {K} "), (-1, "label -1 "), (IGNORED - 1, "label -101 ")])
def test_a_label_outside_the_classes_is_named(wrong, named):
    y = labels(B, T)
    y[1, 2] = wrong
    with pytest.raises(InputError, match=rf"{named}is outside 0\.\.{K - 1}.*{K} classes"):
        cross_entropy(draw(B, T, K), y)


@pytest.mark.parametrize("shape", [(B, T - 1), (B - 1, T), (B + 1, T), (T, B), (B * T,), (B, T, 1)])
def test_one_label_for_each_prediction_is_asked_for(shape):
    """(Called without the tests' check of shapes, as a user's program calls them: some would be broadcast, some cut short.)"""
    y, crf = labels(*shape, classes=2), CRF(K)
    losses = {
        inspect.unwrap(cross_entropy): (draw(B, T, K), y),
        inspect.unwrap(binary_cross_entropy): (draw(B, T), y.double()),
        inspect.unwrap(squared_error): (draw(B, T), y.double()),
        partial(inspect.unwrap(crf_loss), crf): (draw(B, T, K), y),
    }
    for loss, given in losses.items():
        with pytest.raises(
            InputError, match=rf"the labels have the shape \[.*and what is predicted \[{B}, {T}\]: give one"
        ):
            loss(*given)


def test_the_smoothing_is_a_probability():
    with pytest.raises(InputError, match="label_smoothing is 1.5"):
        cross_entropy(draw(B, K), labels(B), 1.5)


def test_F05_binary_cross_entropy_equals_pytorch_in_value_and_gradient():
    z = draw(B, T)
    y = torch.rand(B, T, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    y[0] = torch.tensor([0, 1, 0, 1, 1])
    value, count = binary_cross_entropy(z, y)
    theirs = F.binary_cross_entropy_with_logits(z, y)
    assert count == B * T
    torch.testing.assert_close(value, theirs, atol=1e-12, rtol=0)
    torch.testing.assert_close(*gradients((value, z), (theirs, z)), atol=1e-12, rtol=0)


def test_F04_the_printed_form_breaks_where_the_form_on_logits_holds():
    z, y = torch.tensor([200.0, -200.0]), torch.tensor([0.0, 1.0])  # confident but wrong
    y_hat = z.sigmoid()
    assert (-(y * y_hat.log() + (1 - y) * (1 - y_hat).log())).isinf().all()
    assert binary_cross_entropy(z, y).value.item() == 200


def test_F06_the_gradient_collapses_to_prediction_minus_target():
    z = torch.tensor([-1000.0, -2.0, 0.0, 0.5, 1000.0], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(binary_cross_entropy(z, y).value, z)
    torch.testing.assert_close(gradient, (z.sigmoid() - y) / 5, atol=1e-15, rtol=0)
    textbook = z.clamp(min=0) - y * z + (-z.abs()).exp().log1p()  # the same loss, but
    (slope,) = torch.autograd.grad(textbook.mean(), z)
    assert slope[2] == pytest.approx(2 * gradient[2])  # at z = 0 autograd's slope is 1, where σ(0) is ½


def test_F06_the_gradient_equals_finite_differences():
    z, y, h = draw(T).detach(), labels(T, classes=2).double(), 1e-5
    gradient = torch.autograd.grad(binary_cross_entropy(z.requires_grad_(), y).value, z)[0]
    for i, unit in enumerate(torch.eye(T, dtype=torch.float64)):
        difference = binary_cross_entropy(z + h * unit, y).value - binary_cross_entropy(z - h * unit, y).value
        assert gradient[i].item() == pytest.approx(difference.item() / (2 * h), abs=1e-9)


def test_F05_of_one_logit_is_F08_of_two():
    z, y = draw(T), labels(T, classes=2)
    two = torch.stack([torch.zeros_like(z), z], dim=-1)
    torch.testing.assert_close(
        binary_cross_entropy(z, y.double()).value, cross_entropy(two, y).value, atol=1e-12, rtol=0
    )


def test_F05_leaves_out_what_does_not_count_and_refuses_what_is_no_probability():
    z, y = draw(4), torch.tensor([1.0, IGNORED, 0.0, 1.0], dtype=torch.float64)
    loss, three = binary_cross_entropy(z, y), [0, 2, 3]
    assert loss.count == 3
    torch.testing.assert_close(loss.value, F.binary_cross_entropy_with_logits(z[three], y[three]), atol=1e-12, rtol=0)
    assert binary_cross_entropy(z, torch.full_like(y, IGNORED)).value == 0
    for wrong in (1.5, -0.5, math.nan):
        with pytest.raises(InputError, match=f"target {wrong:g} is not a probability"):
            binary_cross_entropy(z, y.where(y != 0, wrong))


def test_F01_the_mean_is_over_positions_and_not_over_rows():
    """With one position in the first row and four in the second, each of the five has the same weight."""
    z, y = draw(2, 4, K), labels(2, 4)
    y[0, 1:] = IGNORED
    by_position = (4 * cross_entropy(z[1], y[1]).value + cross_entropy(z[0], y[0]).value) / 5
    by_row = (cross_entropy(z[1], y[1]).value + cross_entropy(z[0], y[0]).value) / 2
    torch.testing.assert_close(cross_entropy(z, y).value, by_position, atol=1e-12, rtol=0)
    assert abs(by_position - by_row) > 1e-3


def test_l2_has_the_parameter_itself_for_gradient():
    a, b = draw(3, 4), draw(5, seed=9)
    value = l2([a, b])
    assert value.item() == pytest.approx(0.5 * (np.square(a.tolist()).sum() + np.square(b.tolist()).sum()), abs=1e-12)
    for parameter, gradient in zip((a, b), torch.autograd.grad(value, (a, b)), strict=True):
        torch.testing.assert_close(gradient, parameter.detach(), atol=1e-12, rtol=0)
    with pytest.raises(InputError, match="no parameters"):
        l2([])
