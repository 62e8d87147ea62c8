import numpy as np
import pytest
import torch
from referees import autograd, finite_differences
from sklearn.datasets import load_digits

from minilm.errors import InputError
from minilm.formulas.head import (
    accuracy,
    dropout,
    dropout_gradient,
    encoder,
    encoder_gradients,
    fine_tune,
    fine_tuning_gradients,
    fine_tuning_risk,
    head,
    head_gradients,
    train_head_as_printed,
)
from minilm.layers import dropout as layer
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.training import losses

N, F, H, C, K = 7, 3, 6, 5, 4


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def arrays(rng):
    """x, W₁, b₁, W₂, b₂, W⁰, b⁰."""
    return [rng.normal(size=shape) for shape in [(N, F), (F, H), (H,), (H, C), (C,), (C, K), (K,)]]


def both_judges(ours, gradients, theirs, arrays, upstream):
    value, *by_autograd = autograd(theirs, *arrays, upstream=upstream)
    np.testing.assert_allclose(ours(*arrays), value, atol=1e-12)
    for i, (gradient, expected) in enumerate(zip(gradients, by_autograd, strict=True)):
        np.testing.assert_allclose(gradient, expected, atol=1e-10)
        rest = [a.copy() for a in arrays]

        def f(a, i=i, rest=rest):
            return (ours(*rest[:i], a, *rest[i + 1 :]) * upstream).sum()

        np.testing.assert_allclose(gradient, finite_differences(f, arrays[i]), atol=1e-7)


def test_F07_head_equals_autograd_and_finite_differences(rng):
    x, W, b, dz = (rng.normal(size=shape) for shape in [(N, C), (C, K), (K,), (N, K)])
    both_judges(head, head_gradients(x, W, b, dz), lambda x, W, b: x @ W + b, [x, W, b], dz)


def test_F07_F08_head_equals_that_of_the_classifier(rng):
    """Compare with the classifier's own head on its encoder's hidden states, under the loss that minilm trains with."""
    names = ("a", "b", "c")
    torch.manual_seed(0)
    model = Classifier(Bert(TransformerConfig(30, 8, 1, 2, 10, 6)), TextHeadConfig(names, dropout=0.0)).double()
    ids, labels = torch.tensor(rng.integers(30, size=(5, 6))), torch.tensor(rng.integers(3, size=5))
    kept = {}
    model.head.register_forward_hook(lambda module, given, logits: kept.update(x=given[0], logits=logits))
    logits = model(ids)
    kept["x"].retain_grad()
    kept["logits"].retain_grad()
    losses.cross_entropy(logits, labels).value.backward()
    x, W, b = (t.detach().numpy() for t in (kept["x"], model.head.weight.T, model.head.bias))
    np.testing.assert_allclose(head(x, W, b), logits.detach(), atol=1e-12)
    dx, dW, db = head_gradients(x, W, b, kept["logits"].grad.numpy())
    np.testing.assert_allclose(dx, kept["x"].grad, atol=1e-10)
    np.testing.assert_allclose(dW, model.head.weight.grad.T, atol=1e-10)
    np.testing.assert_allclose(db, model.head.bias.grad, atol=1e-10)


def test_F03_dropout_equals_minilms_layer_and_finite_differences(rng):
    x, dY = rng.normal(size=(4, 3)), rng.normal(size=(4, 3))
    generator = torch.Generator().manual_seed(0)
    keep = (torch.rand(x.shape, generator=generator, dtype=torch.float32) >= 0.4).numpy()
    theirs, expected = autograd(lambda x: layer.dropout(x, 0.4, torch.Generator().manual_seed(0)), x, upstream=dY)
    np.testing.assert_allclose(dropout(x, keep, 0.4), theirs, atol=1e-12)
    gradient = dropout_gradient(x, keep, 0.4, dY)
    np.testing.assert_allclose(gradient, expected, atol=1e-10)
    by_differences = finite_differences(lambda x: (dropout(x, keep, 0.4) * dY).sum(), x)
    np.testing.assert_allclose(gradient, by_differences, atol=1e-7)
    assert 0 < keep.sum() < keep.size


def test_F03_dropout_keeps_the_expected_value():
    rng = np.random.default_rng(0)
    means = np.mean([dropout(np.array([2.0]), rng.random(1) >= 0.3, 0.3) for _ in range(20_000)])
    assert means == pytest.approx(2, abs=0.05)


def test_F07_F28_encoder_equals_autograd_and_finite_differences(arrays, rng):
    dY = rng.normal(size=(N, C))

    def theirs(x, W1, b1, W2, b2):
        return torch.tanh(torch.tanh(x @ W1 + b1) @ W2 + b2)

    both_judges(encoder, encoder_gradients(*arrays[:5], dY), theirs, arrays[:5], dY)


def test_F28_fine_tuning_reaches_every_parameter(arrays, rng):
    """Loss → head → encoder: the gradients of all six arrays, against autograd through minilm's loss."""
    (x, *theta, W, b), y = arrays, rng.integers(K, size=N)

    def theirs(W1, b1, W2, b2, W, b):
        z = torch.tanh(torch.tanh(torch.tensor(x) @ W1 + b1) @ W2 + b2) @ W + b
        return losses.cross_entropy(z, torch.tensor(y)).value

    value, *expected = autograd(theirs, *theta, W, b)
    assert fine_tuning_risk(theta, W, b, x, y) == pytest.approx(float(value), abs=1e-12)
    d_theta, dW, db = fine_tuning_gradients(theta, W, b, x, y)
    everything = [*theta, W, b]
    for i, (gradient, by_autograd) in enumerate(zip([*d_theta, dW, db], expected, strict=True)):
        np.testing.assert_allclose(gradient, by_autograd, atol=1e-10)

        def risk(a, i=i):
            *theta, W, b = [*everything[:i], a, *everything[i + 1 :]]
            return fine_tuning_risk(theta, W, b, x, y)

        np.testing.assert_allclose(gradient, finite_differences(risk, everything[i]), atol=1e-7)
        assert np.abs(gradient).max() > 1e-3


@pytest.fixture(scope="module")
def digits():
    """An encoder that has learned to distinguish the digits 0 to 4, and examples of 5 to 9: 100 to train on, 796 to test."""
    x, y = load_digits(return_X_y=True)
    x, rng = x / 16, np.random.default_rng(0)

    def drawn(rows, columns):
        return rng.normal(size=(rows, columns)) / np.sqrt(rows)

    old, new = np.flatnonzero(y < 5)[:300], rng.permutation(np.flatnonzero(y >= 5))
    theta = [drawn(64, 24), np.zeros(24), drawn(24, 8), np.zeros(8)]
    theta, W, b = fine_tune(theta, drawn(8, 5), np.zeros(5), x[old], y[old], 0.5, 200)
    assert accuracy(theta, W, b, x[old], y[old]) > 0.98
    return theta, (x[new[:100]], y[new[:100]] - 5), (x[new[100:]], y[new[100:]] - 5)


def test_F08_as_printed_trains_the_head_alone_and_falls_far_behind(digits):
    """Learn the digits 5 to 9 with an encoder that knows 0 to 4: 100 labels to train on, 796 to test on."""
    theta, train, test = digits
    fresh = np.zeros((8, 5)), np.zeros(5)
    as_printed = train_head_as_printed(theta, *fresh, *train, 0.5, 300)
    whole = fine_tune(theta, *fresh, *train, 0.5, 300)
    for before, after in zip(theta, as_printed[0], strict=True):
        np.testing.assert_array_equal(before, after)  # θ is not under the printed min
    assert not np.allclose(theta[0], whole[0][0])
    assert accuracy(*as_printed, *test) == pytest.approx(0.67, abs=0.04)
    assert accuracy(*whole, *test) == pytest.approx(0.93, abs=0.03)
    assert accuracy(*whole, *test) > accuracy(*as_printed, *test) + 0.2


def test_F08_as_printed_is_not_saved_by_training_longer(digits):
    """Forty times the work on the head: its training loss still stays above that of fine-tuning after 300 steps."""
    theta, train, test = digits
    fresh = np.zeros((8, 5)), np.zeros(5)
    long = train_head_as_printed(theta, *fresh, *train, 2.0, 3000)
    whole = fine_tune(theta, *fresh, *train, 0.5, 300)
    assert fine_tuning_risk(*long, *train) > 10 * fine_tuning_risk(*whole, *train)
    assert accuracy(*long, *test) < accuracy(*whole, *test) - 0.2


def test_F02_fine_tuning_takes_the_head_alones_first_step_and_more(arrays, rng):
    (x, *theta, W, b), y = arrays, rng.integers(K, size=N)
    printed, whole = (train(theta, W, b, x, y, 0.1, 1) for train in (train_head_as_printed, fine_tune))
    np.testing.assert_allclose(printed[1], whole[1], atol=1e-15)  # the same W⁰ after one step
    seen = []
    fine_tune(theta, W, b, x, y, 0.1, 3, after=lambda theta, W, b: seen.append(W))
    assert len(seen) == 3
    np.testing.assert_array_equal(seen[0], whole[1])


def bad(i, *shape):
    arrays = [np.zeros(s) for s in [(N, F), (F, H), (H,), (H, C), (C,), (C, K), (K,)]]
    arrays[i] = np.zeros(shape)
    return arrays


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: head(np.zeros((2, 3)), np.zeros((4, 5)), np.zeros(5)), "W has shape"),
        (lambda: head(np.zeros(3), np.zeros((3, 5)), np.zeros(5)), "x has shape"),
        (lambda: head(np.zeros((2, 3)), np.zeros((3, 5)), np.zeros(4)), "b has shape"),
        (lambda: head_gradients(np.zeros((2, 3)), np.zeros((3, 5)), np.zeros(5), np.zeros((5, 2))), "dz has shape"),
        (lambda: dropout(np.zeros(3), np.ones(2, bool), 0.5), "keep has shape"),
        (lambda: dropout(np.zeros(3), np.ones(3, bool), 1.0), "p is 1"),
        (lambda: dropout_gradient(np.zeros(3), np.ones(3, bool), 0.5, np.zeros(2)), "keep has shape"),
        (lambda: encoder(*bad(1, F + 1, H)[:5]), "W1 has shape"),
        (lambda: encoder(*bad(2, C)[:5]), "b1 has shape"),
        (lambda: encoder(*bad(3, F, C)[:5]), "W2 has shape"),
        (lambda: encoder(*bad(4, H)[:5]), "b2 has shape"),
        (lambda: encoder_gradients(*bad(0, N, F)[:5], np.zeros((N, H))), "dY has shape"),
        (lambda: fine_tuning_risk(bad(0, N, F)[1:5], *bad(0, N, F)[5:], np.zeros((0, F)), np.zeros(0, int)), "empty"),
        (
            lambda: fine_tuning_gradients(bad(0, 1)[1:5], *bad(0, 1)[5:], np.zeros((2, F)), np.array([0, K])),
            f"the class {K}",
        ),
    ],
)
def test_F07_F08_F28_bad_input_is_named(call, says):
    with pytest.raises(InputError, match=says):
        call()
