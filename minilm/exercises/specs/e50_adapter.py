r"""An adapter: a bottleneck behind a frozen layer.  F32.  25 minutes, medium."""

import math

import numpy as np
from scipy.special import erf, ndtr
from scipy.stats import norm

from minilm.exercises.spec import Exercise, Property, listed


def gelu(a):
    return a * ndtr(a)


def flawed(h, W_down, b_down, W_up, b_up, wrong=frozenset()):
    source = h
    if "normed" in wrong:
        source = (h - h.mean(1, keepdims=True)) / np.sqrt(h.var(1, keepdims=True) + 1e-12)
    down = b_down
    if "no_b_down" in wrong:
        down = np.zeros(len(b_down))
    if "b_down_after" in wrong:
        a, late = source @ W_down.T, b_down
    else:
        a, late = source @ W_down.T + down, 0.0
    if "minus_b_down" in wrong:
        a = a - 2 * b_down
    if "no_activation" in wrong:
        g = a
    elif "relu" in wrong:
        g = np.maximum(a, 0)
    elif "tanh" in wrong:
        g = np.tanh(a)
    elif "sigmoid" in wrong:
        g = 1 / (1 + np.exp(-np.clip(a, -500, 500)))
    elif "silu" in wrong:
        g = a / (1 + np.exp(-np.clip(a, -500, 500)))
    elif "tanh_gelu" in wrong:
        g = 0.5 * a * (1 + np.tanh(np.sqrt(2 / np.pi) * (a + 0.044715 * a**3)))
    elif "no_root" in wrong:
        g = a * 0.5 * (1 + erf(a))
    elif "no_half" in wrong:
        g = a * (1 + erf(a / np.sqrt(2)))
    elif "phi_alone" in wrong:
        g = ndtr(a)
    elif "density" in wrong:
        g = a * norm.pdf(a)
    elif "mirrored" in wrong:
        g = a * ndtr(-a)
    elif "twice" in wrong:
        g = gelu(gelu(a))
    else:
        g = gelu(a)
    g = g + late
    y = g @ W_up.T
    if "no_b_up" not in wrong:
        y = y + b_up
    if "activated_up" in wrong:
        y = gelu(y)
    if "scaled" in wrong:
        y = y / len(b_down)
    if "no_residual" in wrong:
        return y
    if "minus" in wrong:
        return h - y
    if "product" in wrong:
        return h * y
    if "mean" in wrong:
        return (h + y) / 2
    if "residual_twice" in wrong:
        return 2 * h + y
    if "residual_gelu" in wrong:
        return gelu(h) + y
    if "residual_mean" in wrong:
        return h.mean(0) + y
    return h + y


MISTAKES = """  key · what it looks like · a question
normed · h is normalised before it goes down ·
    is there a layer norm in the formula of the adapter?
no_b_down · the bias b↓ is missing ·
    what does the bottleneck receive if h is 0?
b_down_after · the bias b↓ is added behind the activation ·
    what exactly goes into gelu?
minus_b_down · the bias b↓ is subtracted ·
    which sign does the bias have in the formula?
no_activation · there is no activation between the two maps ·
    what do two linear maps in a row make, and could it be merged into the layer?
relu · the activation is ReLU, not GELU ·
    what does your activation make of −1?
tanh · the activation is tanh, not GELU ·
    what does your activation make of 5?
sigmoid · the activation is a sigmoid, not GELU ·
    what does your activation make of 0?
silu · the activation is a times the logistic sigmoid, not GELU ·
    which distribution's Φ does gelu(a) = a Φ(a) use?
tanh_gelu · the tanh approximation of GELU is used ·
    how large is the difference to a Φ(a) at a = 2, and is it rounding?
no_root · erf gets a instead of a/√2 ·
    how do Φ and erf belong together?
no_half · GELU lacks the factor ½ ·
    what is Φ(a) for a very large a?
phi_alone · the activation is Φ(a), without the factor a ·
    what should gelu(0) be?
density · a is multiplied by the density φ(a), not by Φ(a) ·
    what is gelu(a) for a very large a?
mirrored · the activation is a Φ(−a) ·
    should large numbers pass the activation, or small ones?
twice · the activation is applied twice ·
    how often does gelu stand in the formula?
no_b_up · the bias b↑ is missing ·
    what does the adapter add if the bottleneck is 0?
activated_up · an activation stands behind the second map, too ·
    may an adapter subtract a large number from a feature?
scaled · what is added is divided by the size of the bottleneck ·
    is there a factor in the formula?
no_residual · h itself is not added ·
    what should come out if W↑ and b↑ are 0?
minus · what comes up is subtracted from h ·
    which sign stands between h and the way through the bottleneck?
product · h is multiplied by what comes up ·
    what should come out if W↑ and b↑ are 0?
mean · the mean of h and of what comes up is taken ·
    what should come out if W↑ and b↑ are 0?
residual_twice · h is added twice ·
    what should come out if W↑ and b↑ are 0?
residual_gelu · the way past the adapter has an activation ·
    what should come out if W↑ and b↑ are 0?
residual_mean · the way past the adapter carries the mean of all examples ·
    should one example change what another one gets?
"""


def loops(h, W_down, b_down, W_up, b_up):
    out = np.array(h, dtype=float)
    for n, row in enumerate(h):
        for j in range(len(b_down)):
            a = sum(w * x for w, x in zip(W_down[j], row)) + b_down[j]
            out[n] += a * (1 + math.erf(a / math.sqrt(2))) / 2 * W_up[:, j]
        out[n] += b_up
    return out


def einsums(h, W_down, b_down, W_up, b_up):
    inner = np.einsum("no,mo->nm", h, W_down) + b_down
    return np.einsum("nm,om->no", norm.cdf(inner) * inner, W_up) + h + b_up


def one_column(h, W_down, b_down, W_up, b_up):
    """The biases as one more column of the matrices."""
    ones = np.ones((len(h), 1))
    inner = np.hstack([h, ones]) @ np.vstack([W_down.T, b_down])
    return np.hstack([inner * ndtr(inner), ones]) @ np.vstack([W_up.T, b_up]) + h


def in_torch(h, W_down, b_down, W_up, b_up):
    import torch
    from torch.nn import functional as F

    x, D, d, U, u = (torch.as_tensor(part) for part in (h, W_down, b_down, W_up, b_up))
    return (x + F.linear(F.gelu(F.linear(x, D, d)), U, u)).numpy()


def made(rng, N, out, m, scale=1.0):
    return {
        "h": scale * rng.normal(size=(N, out)),
        "W_down": rng.normal(size=(m, out)) / np.sqrt(out),
        "b_down": rng.normal(size=m),
        "W_up": rng.normal(size=(out, m)),
        "b_up": rng.normal(size=out),
    }


def probes(rng):
    return {
        "a narrow bottleneck": made(rng, 4, 7, 2),
        "a bottleneck that is wider than the layer": made(rng, 3, 5, 8),
        "large numbers": made(rng, 5, 6, 3, scale=4.0),
        "a square": made(rng, 4, 4, 4),
    }


def edges(rng):
    return {
        "a single example": made(rng, 1, 5, 3),
        "a bottleneck of one number": made(rng, 3, 4, 1),
        "numbers of thousands": made(rng, 3, 5, 2, scale=1e3),
        "no example": made(rng, 0, 4, 2),
    }


EXERCISE = Exercise(
    target="minilm.formulas.adaptation.adapter",
    section=("22", "A bottleneck behind a frozen layer"),
    task="An adapter stands behind a layer whose weights stay as they are: it takes the layer's output h down to m numbers, "
    "applies GELU, goes up again, and adds the result to h. Only its own two matrices and two biases are trained.",
    returns={"y": "example feature"},
    tiny=lambda: {
        "h": np.array([[1.0, -1.0]]),
        "W_down": np.array([[1.0, 0.5]]),
        "b_down": np.array([0.5]),
        "W_up": np.array([[1.0], [-2.0]]),
        "b_up": np.array([0.25, 0.0]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "with W↑ = 0 and b↑ = 0, h comes out",
            lambda rng: {
                "as at the start": made(np.random.default_rng(0), 4, 5, 3)
                | {"W_up": np.zeros((5, 3)), "b_up": np.zeros(5)}
            },
            lambda y: bool(np.array_equal(y, made(np.random.default_rng(0), 4, 5, 3)["h"])),
        ),
    ),
    needs=("linear",),
    forbidden=("adapter", "BottleneckLinear"),
    right={"loops": loops, "einsum": einsums, "one column more": one_column, "torch": in_torch},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "There are two ways through an adapter: past it, unchanged, and through the bottleneck. What comes out is their sum. "
        "Nothing is lost if the second way carries nothing.",
        "h [N, out] → a [N, m] by W↓ and b↓ → gelu, entry by entry → [N, out] by W↑ and b↑; then h is added. "
        "gelu(a) = a Φ(a), and Φ(a) = ½ (1 + erf(a/√2)); erf is in scipy.special.",
        "inner = h times W↓ transposed, plus b↓;  squashed = inner times Φ(inner);  answer = h, plus squashed times W↑ "
        "transposed, plus b↑",
    ),
)
