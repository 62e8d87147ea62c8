import math

import numpy as np
import pytest
import torch
from referees import autograd, finite_differences

from minilm.errors import InputError
from minilm.formulas.attention import causal_mask, fused_self_attention, padding_mask
from minilm.formulas.transformer import (
    BLOCK,
    feed_forward,
    feed_forward_gradient,
    gelu,
    gelu_gradient,
    layer_norm,
    layer_norm_gradient,
    post_norm_block,
    post_norm_block_gradient,
    pre_norm_block,
    pre_norm_block_gradient,
)
from minilm.layers import normalization, transformer as layers

B, H, T, D, F = 3, 2, 4, 3, 5
C = H * D
SIZES = {"C": C, "3C": 3 * C, "F": F}


@pytest.fixture
def rng():
    return np.random.default_rng(20)


@pytest.fixture
def normal(rng):
    return lambda *shape: rng.normal(size=shape)


def close(ours, theirs, atol=1e-10):
    np.testing.assert_allclose(ours, theirs, atol=atol, rtol=0)


def check_gradients(forward, gradients, arrays, upstream):
    """Compare each gradient with finite differences of our own forward function."""
    assert len(gradients) == len(arrays)
    for i, gradient in enumerate(gradients):

        def along(x, i=i):
            return float((forward(*arrays[:i], x, *arrays[i + 1 :]) * upstream).sum())

        assert np.abs(gradient).max() > 1e-3
        close(gradient, finite_differences(along, arrays[i]), atol=1e-7)


# ---- layer norm


def rows_of_all_sizes(normal):
    """Some rows vary by 1, some by 0.01, so with ε = 0.1 it matters whether ε is added, and where."""
    x = normal(B, T, C) + 3
    x[1:] = 3 + 0.01 * (x[1:] - 3)
    return [x, normal(C), normal(C)]


@pytest.mark.parametrize("epsilon", [0.1, 1e-12])
def test_F20_layer_norm_and_its_gradient_equal_the_layer(epsilon, normal):
    arrays, dy = rows_of_all_sizes(normal), normal(B, T, C)
    value, *gradients = autograd(lambda *a: normalization.layer_norm(*a, epsilon), *arrays, upstream=dy)
    close(layer_norm(*arrays, epsilon), value)
    for ours, theirs in zip(layer_norm_gradient(*arrays, epsilon, dy), gradients, strict=True):
        close(ours, theirs)


def test_F20_layer_norm_gradient_equals_finite_differences(normal):
    arrays, dy = rows_of_all_sizes(normal), normal(B, T, C)
    check_gradients(lambda *a: layer_norm(*a, 0.1), layer_norm_gradient(*arrays, 0.1, dy), arrays, dy)


def test_F20_layer_norm_is_biased_with_epsilon_inside_the_root():
    x, one, zero = np.array([[1.0, 2.0, 6.0]]), np.ones(3), np.zeros(3)  # μ 3, Σ(x − μ)² = 4 + 1 + 9
    close(layer_norm(x, one, zero, 0.25), (x - 3) / math.sqrt(14 / 3 + 0.25), atol=1e-15)
    close(layer_norm(x, one, zero), layer_norm(100 * x + 7, one, zero), atol=1e-12)  # shift and scale do not matter
    assert (layer_norm(np.full((1, 3), 5.0), one, zero) == 0).all()  # ε saves a constant row from 0/0


def test_F20_layer_norm_takes_shift_and_size_out_of_the_gradient(normal):
    """Hence the gradient of y.sum() is zero: a test that only sums would accept any wrong formula that gives zero."""
    x, gain, bias = normal(B, T, C), np.ones(C), np.zeros(C)
    dx, _, _ = layer_norm_gradient(x, gain, bias, 0.0, normal(B, T, C))
    close(dx.sum(axis=-1), np.zeros((B, T)), atol=1e-12)
    close((dx * x).sum(axis=-1), np.zeros((B, T)), atol=1e-12)
    close(layer_norm_gradient(x, gain, bias, 0.0, np.ones((B, T, C)))[0], np.zeros((B, T, C)), atol=1e-12)


# ---- GELU and the feed-forward network


def test_F20_gelu_and_its_gradient_equal_the_layer(normal):
    x, dy = 3 * normal(B, T, C), normal(B, T, C)
    value, gradient = autograd(layers.gelu, x, upstream=dy)
    close(gelu(x), value, atol=1e-14)
    close(gelu_gradient(x, dy), gradient, atol=1e-14)
    close(gelu_gradient(x, dy), finite_differences(lambda x: float((gelu(x) * dy).sum()), x), atol=1e-7)
    assert np.abs(gelu(x) - layers.gelu_tanh(torch.tensor(x)).numpy()).max() > 1e-5  # the erf form, not the tanh form


def test_F20_gelu_at_known_places():
    assert gelu(np.zeros(1)) == 0 and gelu_gradient(np.zeros(1), np.ones(1)) == 0.5
    close(gelu(np.array([1.0, -1.0, 40.0, -40.0])), [0.8413447460685429, -0.15865525393145707, 40, 0], atol=1e-15)


def test_F20_feed_forward_and_its_gradient_equal_the_layer(normal):
    arrays, dy = [normal(B, T, C), normal(F, C), normal(F), normal(C, F), normal(C)], normal(B, T, C)
    layer, names = layers.FeedForward(C, F).double(), ("inner.weight", "inner.bias", "outer.weight", "outer.bias")
    value, *gradients = autograd(
        lambda x, *weights: torch.func.functional_call(layer, dict(zip(names, weights)), (x,)), *arrays, upstream=dy
    )
    close(feed_forward(*arrays), value)
    for ours, theirs in zip(feed_forward_gradient(*arrays, dy), gradients, strict=True):
        close(ours, theirs)
    check_gradients(feed_forward, feed_forward_gradient(*arrays, dy), arrays, dy)


def test_F20_feed_forward_sees_each_position_alone(normal):
    x, weights = normal(B, T, C), [normal(F, C), normal(F), normal(C, F), normal(C)]
    for t in range(T):
        close(feed_forward(x, *weights)[:, t], feed_forward(x[:, t], *weights), atol=1e-14)


# ---- the block

BLOCKS = {"post": (post_norm_block, post_norm_block_gradient), "pre": (pre_norm_block, pre_norm_block_gradient)}
NAMES = {
    "W": "attention.to_qkv.weight",
    "b": "attention.to_qkv.bias",
    "W_O": "attention.output.weight",
    "b_O": "attention.output.bias",
    "gain_1": "attention_norm.gain",
    "bias_1": "attention_norm.bias",
    "W_1": "feed_forward.inner.weight",
    "b_1": "feed_forward.inner.bias",
    "W_2": "feed_forward.outer.weight",
    "b_2": "feed_forward.outer.bias",
    "gain_2": "feed_forward_norm.gain",
    "bias_2": "feed_forward_norm.bias",
}
both_orders = pytest.mark.parametrize("norm", BLOCKS)


def block_weights(normal):
    return {name: normal(*(SIZES[axis] for axis in letters.split())) / 2 for name, letters in BLOCK.items()}


def library_block(norm, weights, mask):
    """`layers.TransformerBlock` as a function of its input and of each weight."""
    block = layers.TransformerBlock(C, H, F, norm=norm).double()
    assert set(dict(block.named_parameters())) == set(NAMES.values())
    mask = None if mask is None else torch.tensor(np.broadcast_to(mask, (B, T, T)).copy())[:, None]
    names = [NAMES[name] for name in weights]
    return lambda x, *w: torch.func.functional_call(block, dict(zip(names, w)), (x, mask))[0]


@both_orders
@pytest.mark.parametrize("masked", [False, True])
def test_F20_block_and_its_gradient_equal_the_layer(norm, masked, normal):
    forward, gradient = BLOCKS[norm]
    X, weights, dY = normal(B, T, C), block_weights(normal), normal(B, T, C)
    mask = padding_mask(np.arange(T) < np.array([T, 2, 0])[:, None]) & causal_mask(T) if masked else None
    value, dX, *gradients = autograd(library_block(norm, weights, mask), X, *weights.values(), upstream=dY)
    close(forward(X, weights, H, mask), value)
    dX_ours, ours = gradient(X, weights, H, mask, dY)
    close(dX_ours, dX)
    assert list(ours) == list(weights)
    for name, theirs in zip(weights, gradients, strict=True):
        close(ours[name], theirs)


@both_orders
def test_F20_block_gradient_equals_finite_differences(norm, normal):
    forward, gradient = BLOCKS[norm]
    X, weights, dY, mask = normal(T, C), block_weights(normal), normal(T, C), causal_mask(T)
    dX, d_weights = gradient(X, weights, H, mask, dY)
    arrays = [X, *weights.values()]
    check_gradients(lambda x, *w: forward(x, dict(zip(weights, w)), H, mask), [dX, *d_weights.values()], arrays, dY)


def test_F20_pre_norm_leaves_the_residual_path_free_and_post_norm_does_not(normal):
    """If the sublayers output 0, a pre-norm block is the identity for value and gradient; a post-norm block is not."""
    X, weights, dY = normal(B, T, C), block_weights(normal), normal(B, T, C)
    for name in ("W_O", "b_O", "W_2", "b_2"):
        weights[name] = np.zeros_like(weights[name])
    assert np.array_equal(pre_norm_block(X, weights, H), X)
    assert np.array_equal(pre_norm_block_gradient(X, weights, H, None, dY)[0], dY)
    norms = [weights["gain_1"], weights["bias_1"]], [weights["gain_2"], weights["bias_2"]]
    close(post_norm_block(X, weights, H), layer_norm(layer_norm(X, *norms[0]), *norms[1]), atol=1e-14)
    assert np.abs(post_norm_block_gradient(X, weights, H, None, dY)[0] - dY).max() > 0.1


def test_F20_a_pre_norm_block_adds_its_sublayers_to_its_input(normal):
    """If we subtract the outputs of both sublayers from Y of a pre-norm block, X itself remains."""
    X, w = normal(B, T, C), block_weights(normal)
    attended = fused_self_attention(layer_norm(X, w["gain_1"], w["bias_1"]), w["W"], w["b"], w["W_O"], w["b_O"], H)
    U = X + attended
    fed = feed_forward(layer_norm(U, w["gain_2"], w["bias_2"]), w["W_1"], w["b_1"], w["W_2"], w["b_2"])
    close(pre_norm_block(X, w, H) - attended - fed, X, atol=1e-12)


# ---- bad input


def test_F20_shapes_that_do_not_fit_are_named(normal):
    x, gain, bias = normal(T, C), normal(C), normal(C)
    with pytest.raises(InputError, match="gain has shape"):
        layer_norm(x, gain[1:], bias)
    with pytest.raises(InputError, match="bias has shape"):
        layer_norm_gradient(x, gain, bias[None], 0.1, x)
    with pytest.raises(InputError, match="x is empty"):
        layer_norm(x[:0], gain, bias)
    with pytest.raises(InputError, match="x is a single number"):
        layer_norm(np.array(1.0), gain, bias)
    with pytest.raises(InputError, match="epsilon is -0.1"):
        layer_norm(x, gain, bias, -0.1)
    for gradient in (
        lambda: layer_norm_gradient(x, gain, bias, 0.1, x[1:]),
        lambda: gelu_gradient(x, x[1:]),
        lambda: feed_forward_gradient(x, normal(F, C), normal(F), normal(C, F), normal(C), x[1:]),
    ):
        with pytest.raises(InputError, match=r"dy has shape \[3, 6\], but must have the shape of Y, \[4, 6\]"):
            gradient()
    arrays = [normal(F, C), normal(F), normal(C, F), normal(C)]
    for i, name in enumerate(("W_1", "b_1", "W_2", "b_2")):
        wrong = [*arrays[:i], arrays[i][..., 1:], *arrays[i + 1 :]]
        with pytest.raises(InputError, match=f"{name} has shape"):
            feed_forward(x, *wrong)


@both_orders
def test_F20_a_block_names_the_weight_that_is_missing_unknown_or_of_another_shape(norm, normal):
    forward, gradient = BLOCKS[norm]
    X, weights = normal(T, C), block_weights(normal)
    with pytest.raises(InputError, match="'W_1' is missing"):
        forward(X, {name: w for name, w in weights.items() if name != "W_1"}, H)
    with pytest.raises(InputError, match="'W_3' is not one of them"):
        gradient(X, weights | {"W_3": X}, H, None, X)
    with pytest.raises(InputError, match="gain_2|gain has shape"):
        forward(X, weights | {"gain_2": X}, H)
    with pytest.raises(InputError, match="dy has shape"):
        gradient(X, weights, H, None, X[1:])
