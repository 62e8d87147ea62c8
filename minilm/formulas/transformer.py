r"""Layer norm, GELU, feed-forward network and the Transformer block in both orders, with gradients by hand.  F20.

Letters:  B batch · T length · H heads · C model width · F feed-forward width
Sources:  Vaswani et al. (2017), Attention Is All You Need, §3.1, §3.3; Ba, Kiros and Hinton (2016), Layer Normalization;
          Hendrycks and Gimpel (2016), GELU; Xiong et al. (2020), On Layer Normalization in the Transformer Architecture.

"[.., C]" means any number of axes before C; attention, and therefore the blocks, take [T, C] or [B, T, C].
"""

import numpy as np
from numpy import ndarray as Array
from scipy.special import erf

from minilm.errors import InputError
from minilm.formulas.attention import check_like, fused_self_attention, fused_self_attention_gradient, rows
from minilm.formulas.checks import check_not_empty, check_shape

EPSILON = 1e-12  # as in BERT

# The weights of a block and their shapes, in the order in which the data meets them.
BLOCK = {
    "W": "3C C",  # Q, K and V of all heads (`fused_self_attention`)
    "b": "3C",
    "W_O": "C C",
    "b_O": "C",
    "gain_1": "C",  # the norm of the attention sublayer
    "bias_1": "C",
    "W_1": "F C",
    "b_1": "F",
    "W_2": "C F",
    "b_2": "C",
    "gain_2": "C",  # the norm of the feed-forward sublayer
    "bias_2": "C",
}
ATTENTION, NORM_1, FEED_FORWARD, NORM_2 = (tuple(BLOCK)[i:j] for i, j in ((0, 4), (4, 6), (6, 10), (10, 12)))
Weights = dict[str, Array]
Two = tuple[Array, Array]
Four = tuple[Array, Array, Array, Array]


def layer_norm(x: Array, gain: Array, bias: Array, epsilon: int | float = EPSILON) -> Array:
    r"""y = γ ⊙ x̂ + β,  x̂ = (x − μ) / √(σ² + ε), for `x` [.., C], γ `gain` [C], β `bias` [C].  F20.

    μ and σ² are computed over the C features of each position separately. The variance is the biased one, Σ(x − μ)²/C,
    and ε is added inside the root. Raises InputError for shapes that do not fit, or ε < 0.
    """
    check_norm(x, gain, bias, epsilon)
    return gain * standardised(x, epsilon)[0] + bias


def layer_norm_gradient(
    x: Array, gain: Array, bias: Array, epsilon: int | float, dy: Array
) -> tuple[Array, Array, Array]:
    r"""∂L/∂x [.., C], ∂L/∂γ [C], ∂L/∂β [C] for ∂L/∂y = `dy` [.., C].  F20.

    dγ = Σ dy ⊙ x̂ and dβ = Σ dy over all positions. For x, with s = √(σ² + ε) and g = dy ⊙ γ the gradient of x̂:
    ∂μ/∂xⱼ = 1/C and ∂s/∂xⱼ = (xⱼ − μ)/(C s) = x̂ⱼ/C, so x̂ᵢ = (xᵢ − μ)/s has ∂x̂ᵢ/∂xⱼ = (1[i = j] − 1/C − x̂ᵢ x̂ⱼ/C)/s and
        dx = (g − mean(g) − x̂ ⊙ mean(g ⊙ x̂)) / s.
    This removes the parts of the gradient that would only shift x or (apart from ε) only stretch it, because the norm
    undoes any shift or stretch. Raises InputError as `layer_norm` does, and also if `dy` does not have the shape of y.
    """
    check_norm(x, gain, bias, epsilon)
    check_like("dy", dy, x)
    x_hat, s = standardised(x, epsilon)
    g = dy * gain
    dx = (g - g.mean(axis=-1, keepdims=True) - x_hat * (g * x_hat).mean(axis=-1, keepdims=True)) / s
    return dx, rows(dy * x_hat).sum(axis=0), rows(dy).sum(axis=0)


def standardised(x: Array, epsilon: int | float) -> tuple[Array, Array]:
    """x̂ [.., C] and s = √(σ² + ε) [.., 1]."""
    centred = x - x.mean(axis=-1, keepdims=True)
    s = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + epsilon)
    return centred / s, s


def gelu(x: Array) -> Array:
    r"""x Φ(x) = x · ½ (1 + erf(x/√2)) for each entry; Φ(x) is the probability that a normal variable is below x.  F20."""
    return x * normal_share(x)


def gelu_gradient(x: Array, dy: Array) -> Array:
    r"""∂L/∂x = dy ⊙ (Φ(x) + x φ(x)), by the product rule, with Φ′ = φ = exp(−x²/2)/√(2π).  F20.

    Raises InputError if `dy` does not have the shape of x.
    """
    check_like("dy", dy, np.asarray(x))
    density = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi)
    return dy * (normal_share(x) + x * density)


def normal_share(x: Array) -> Array:
    return 0.5 * (1 + erf(x / np.sqrt(2)))


def feed_forward(x: Array, W_1: Array, b_1: Array, W_2: Array, b_2: Array) -> Array:
    r"""FFN(x) = W₂ gelu(W₁ x + b₁) + b₂, for each position of `x` [.., C] separately; `W_1` [F, C], `W_2` [C, F].  F20.

    Raises InputError if the shapes do not fit.
    """
    check_feed_forward(x, W_1, b_1, W_2, b_2)
    return gelu(x @ W_1.T + b_1) @ W_2.T + b_2  # [.., C] → [.., F] → [.., C]


def feed_forward_gradient(x: Array, W_1: Array, b_1: Array, W_2: Array, b_2: Array, dy: Array) -> tuple[Array, ...]:
    r"""∂L/∂ of x, W₁, b₁, W₂, b₂ for ∂L/∂y = `dy` [.., C].  F20.

    y = W₂ a + b₂ gives da = W₂ᵀ dy, dW₂ = Σ dy aᵀ, db₂ = Σ dy. `gelu_gradient` gives dz, and z = W₁ x + b₁ works like y.
    In the code positions are rows, so W₂ᵀ dy becomes dy @ W_2.
    Raises InputError as `feed_forward` does, and also if `dy` does not have the shape of y.
    """
    check_feed_forward(x, W_1, b_1, W_2, b_2)
    check_like("dy", dy, x)
    z = x @ W_1.T + b_1  # [.., F]
    dz = gelu_gradient(z, dy @ W_2)
    dW_1, db_1 = rows(dz).T @ rows(x), rows(dz).sum(axis=0)
    dW_2, db_2 = rows(dy).T @ rows(gelu(z)), rows(dy).sum(axis=0)
    return dz @ W_1, dW_1, db_1, dW_2, db_2


def post_norm_block(X: Array, weights: Weights, H: int, may_attend: Array | None = None) -> Array:
    r"""U = Norm₁(X + Attention(X)),  Y = Norm₂(U + FFN(U)), [.., T, C]: the order of 2017 and of BERT.  F20.

    `weights` is a dict with the names of `BLOCK`. Raises InputError for wrong shapes, or a missing or unknown weight.
    """
    attention, norm_1, ffn, norm_2 = parts(weights)
    U = layer_norm(X + fused_self_attention(X, *attention, H, may_attend), *norm_1)
    return layer_norm(U + feed_forward(U, *ffn), *norm_2)


def post_norm_block_gradient(
    X: Array, weights: Weights, H: int, may_attend: Array | None, dY: Array
) -> tuple[Array, Weights]:
    r"""∂L/∂X and ∂L/∂ of each weight, by name, for ∂L/∂Y = `dY` [.., T, C].  F20.

    The forward steps are undone in reverse order. A residual u + f(u) passes the gradient on twice: unchanged, and
    through f. In the post-norm order both paths then go through a norm in every block. Raises as `post_norm_block` does.
    """
    attention, norm_1, ffn, norm_2 = parts(weights)
    R = X + fused_self_attention(X, *attention, H, may_attend)
    U = layer_norm(R, *norm_1)
    dS, *d_norm_2 = layer_norm_gradient(U + feed_forward(U, *ffn), *norm_2, EPSILON, dY)
    dU, *d_ffn = feed_forward_gradient(U, *ffn, dS)
    dR, *d_norm_1 = layer_norm_gradient(R, *norm_1, EPSILON, dS + dU)
    dX, *d_attention = fused_self_attention_gradient(X, *attention, H, may_attend, dR)
    return dR + dX, dict(zip(BLOCK, [*d_attention, *d_norm_1, *d_ffn, *d_norm_2]))


def pre_norm_block(X: Array, weights: Weights, H: int, may_attend: Array | None = None) -> Array:
    r"""U = X + Attention(Norm₁(X)),  Y = U + FFN(Norm₂(U)), [.., T, C]: the residual path is free of norms.  F20.

    `weights` is a dict with the names of `BLOCK`. Raises InputError for wrong shapes, or a missing or unknown weight.
    """
    attention, norm_1, ffn, norm_2 = parts(weights)
    U = X + fused_self_attention(layer_norm(X, *norm_1), *attention, H, may_attend)
    return U + feed_forward(layer_norm(U, *norm_2), *ffn)


def pre_norm_block_gradient(
    X: Array, weights: Weights, H: int, may_attend: Array | None, dY: Array
) -> tuple[Array, Weights]:
    r"""∂L/∂X and ∂L/∂ of each weight, by name, for ∂L/∂Y = `dY` [.., T, C].  F20.

    dU = dY + (gradient through Norm₂ and FFN), dX = dU + (gradient through Norm₁ and attention). So `dY` itself reaches X
    unchanged, however deep the stack is. Raises InputError as `pre_norm_block` does.
    """
    attention, norm_1, ffn, norm_2 = parts(weights)
    N = layer_norm(X, *norm_1)
    U = X + fused_self_attention(N, *attention, H, may_attend)
    dM, *d_ffn = feed_forward_gradient(layer_norm(U, *norm_2), *ffn, dY)
    d_through, *d_norm_2 = layer_norm_gradient(U, *norm_2, EPSILON, dM)
    dU = dY + d_through
    dN, *d_attention = fused_self_attention_gradient(N, *attention, H, may_attend, dU)
    d_through, *d_norm_1 = layer_norm_gradient(X, *norm_1, EPSILON, dN)
    return dU + d_through, dict(zip(BLOCK, [*d_attention, *d_norm_1, *d_ffn, *d_norm_2]))


def parts(weights: Weights) -> tuple[Four, Two, Four, Two]:
    """Split the weights into those of attention, norm 1, the feed-forward network and norm 2."""
    if different := sorted(weights.keys() ^ BLOCK.keys()):
        raise InputError(
            f"the weights of a block are {', '.join(BLOCK)}; {different[0]!r} is "
            + ("missing." if different[0] in BLOCK else "not one of them.")
        )
    W, b, W_O, b_O, gain_1, bias_1, W_1, b_1, W_2, b_2, gain_2, bias_2 = (weights[name] for name in BLOCK)
    return (W, b, W_O, b_O), (gain_1, bias_1), (W_1, b_1, W_2, b_2), (gain_2, bias_2)


def check_norm(x: Array, gain: Array, bias: Array, epsilon: int | float) -> None:
    check_not_empty("x", x)
    for name, array in (("gain", gain), ("bias", bias)):
        check_shape(name, array, "C", C=width_of(x))
    if not epsilon >= 0:
        raise InputError(f"epsilon is {epsilon}, but it is added to a variance: give a small number of at least 0.")


def check_feed_forward(x: Array, W_1: Array, b_1: Array, W_2: Array, b_2: Array) -> None:
    check_shape("W_1", W_1, "F C", C=width_of(x))
    F, C = W_1.shape
    for name, array, letters in (("b_1", b_1, "F"), ("W_2", W_2, "C F"), ("b_2", b_2, "C")):
        check_shape(name, array, letters, C=C, F=F)


def width_of(x: Array) -> int:
    if np.ndim(x) < 1:
        raise InputError("x is a single number, but it needs an axis of features, [.., C]: reshape it.")
    return np.shape(x)[-1]
