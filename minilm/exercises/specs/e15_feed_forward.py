r"""The feed-forward network with GELU.  F20.  15 minutes, easy."""

import math

import numpy as np
from scipy.special import erf, ndtr

from minilm.exercises.spec import Exercise, Property, Wrong, listed


def flawed(x, W_1, b_1, W_2, b_2, wrong=frozenset()):
    def activation(z):
        if "tanh" in wrong:
            return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        if "sigmoid_form" in wrong:
            return z / (1 + np.exp(-1.702 * z))
        if "relu" in wrong:
            return np.maximum(z, 0)
        if "tanh_alone" in wrong:
            return np.tanh(z)
        if "sigmoid" in wrong:
            return 1 / (1 + np.exp(-z))
        if "silu" in wrong:
            return z / (1 + np.exp(-z))
        if "softplus" in wrong:
            return np.logaddexp(0, z)
        if "erf_alone" in wrong:
            return erf(z / np.sqrt(2))
        if "leaky" in wrong:
            return np.where(z > 0, z, 0.01 * z)
        if "by_2" in wrong:
            return z * 0.5 * (1 + erf(z / 2))
        if "times_root" in wrong:
            return z * 0.5 * (1 + erf(z * np.sqrt(2)))
        if "root_outside" in wrong:
            return z * 0.5 * (1 + erf(z) / np.sqrt(2))
        if "minus_erf" in wrong:
            return z * 0.5 * (1 - erf(z / np.sqrt(2)))
        if "density" in wrong:
            return z * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        if "squared" in wrong:
            return z * z * 0.5 * (1 + erf(z / np.sqrt(2)))
        share = 0.5 * (1 + erf(z if "no_root" in wrong else z / np.sqrt(2)))
        if "no_one" in wrong:
            share = 0.5 * erf(z / np.sqrt(2))
        if "no_half" in wrong:
            share = 1 + erf(z / np.sqrt(2))
        return share if "no_x" in wrong else z * share

    if "biases_exchanged" in wrong and len(b_1) == len(b_2):
        b_1, b_2 = b_2, b_1
    inner = x @ W_1.T + (0 if wrong & {"no_b_1", "b_1_late"} else b_1)
    if not wrong & {"after", "none"}:
        inner = activation(inner)
    if "b_1_late" in wrong:
        inner = inner + b_1
    if "first_twice" in wrong and W_1.shape == W_2.T.shape:
        W_2 = W_1.T
    y = inner @ W_2.T + (0 if "no_b_2" in wrong else b_2)
    if wrong & {"after", "twice"}:
        y = activation(y)
    return x + y if "residual" in wrong else y


MORE = """  key · what it looks like · a question
b_1_late · the first bias is added after the activation ·
    gelu(W₁ x + b₁): does the bias stand inside or outside?
biases_exchanged · the two biases are exchanged, where they have the same size ·
    which of them has F numbers, and which has C?
first_twice · W₁ transposed is used again in place of W₂ ·
    how many of the four parameters have you used?
tanh_alone · the activation is tanh ·
    what is gelu(100): 1, or about 100?
sigmoid · the activation is the sigmoid ·
    what is gelu(100): 1, or about 100?
silu · the activation is x · σ(x), which is called SiLU or swish ·
    gelu(1) is 0.8413: what does your formula give?
softplus · the activation is log(1 + exp x) ·
    what is gelu(0)?
leaky · the activation is a leaky ReLU ·
    what is gelu(−0.5), and what does yours give?
erf_alone · the activation is erf(x/√2) alone ·
    what is gelu(100): 1, or about 100?
by_2 · x is divided by 2 instead of √2 inside erf ·
    gelu(1) is 0.8413: what does your formula give?
times_root · x is multiplied by √2 inside erf instead of divided by it ·
    gelu(1) is 0.8413: what does your formula give?
root_outside · √2 divides the result of erf instead of its argument ·
    Φ(x) is the share of a normal distribution below x: what is Φ(∞)?
minus_erf · 1 − erf stands where 1 + erf belongs ·
    what is gelu(100), and what is gelu(−100)?
density · the density of the normal distribution is used instead of the share below x ·
    Φ(x) is the share of a normal distribution below x: what is Φ(∞)?
squared · the factor x occurs twice ·
    what is gelu(100): about 100, or about 10,000?
"""


def loops(x, W_1, b_1, W_2, b_2):
    y = np.zeros(x.shape)
    for index in np.ndindex(x.shape[:-1]):
        y[index] = b_2
        for row, bias, out in zip(W_1, b_1, W_2.T):
            z = sum(w * a for w, a in zip(row, x[index])) + bias
            y[index] += out * z * 0.5 * math.erfc(-z / math.sqrt(2))
    return y


def einsum(x, W_1, b_1, W_2, b_2):
    z = np.einsum("...c,fc->...f", x, W_1) + b_1
    return np.einsum("...f,...f,cf->...c", z, ndtr(z), W_2) + b_2


def bias_as_a_column(x, W_1, b_1, W_2, b_2):
    """A feature that is always 1 carries the bias."""
    rows = np.hstack([x.reshape(-1, x.shape[-1]), np.ones((x.size // x.shape[-1], 1))])
    z = rows @ np.column_stack([W_1, b_1]).T
    a = (z + z * erf(z * 0.5**0.5)) / 2
    return (np.hstack([a, np.ones((len(a), 1))]) @ np.column_stack([W_2, b_2]).T).reshape(x.shape)


def network(rng, *shape, F, scale=1.0):
    C = shape[-1]
    return {
        "x": scale * rng.normal(size=shape),
        "W_1": rng.normal(size=(F, C)),
        "b_1": rng.normal(size=F),
        "W_2": rng.normal(size=(C, F)),
        "b_2": rng.normal(size=C) + 1,
    }


def probes(rng):
    return {
        "sentences": network(rng, 2, 3, 4, F=7),
        "one row per position": network(rng, 5, 3, F=6),
        "a narrow hidden layer": network(rng, 3, 5, F=2),
        "all sizes the same": network(rng, 4, 4, F=4),
    }


def edges(rng):
    return {
        "features of a thousand": network(rng, 3, 4, F=5, scale=1e3),
        "a single vector": network(rng, 4, F=6),
        "one feature": network(rng, 3, 1, F=4),
        "one hidden unit": network(rng, 4, 3, F=1),
        "heads": network(rng, 2, 3, 2, 4, F=5),
        "as many hidden units as features": network(rng, 2, 3, 5, F=5),
    }


def reversed_positions(rng):
    first = network(rng, 5, 4, F=6)
    return {"positions": first, "the same positions in reverse order": {**first, "x": first["x"][::-1].copy()}}


def identity(rng):
    """W₁ and W₂ are 1, so the output is GELU itself, at −1, 0 and 1."""
    one = np.eye(1)
    return {
        "numbers": {
            "x": np.array([[-1.0], [0.0], [1.0]]),
            "W_1": one,
            "b_1": np.zeros(1),
            "W_2": one,
            "b_2": np.zeros(1),
        }
    }


SHARE = "gelu(x) = x · Φ(x), and Φ(x) is the share of a normal distribution below x: what are Φ(0) and Φ(∞)?"
CONVENTION = "gelu(1) is 0.8413 with erf: what does your formula give, and is it the one that the task names?"
EXERCISE = Exercise(
    target="minilm.formulas.transformer.feed_forward",
    section=("07", "GELU and the feed-forward network"),
    task="Compute what a Transformer does at each position between two attention layers: FFN(x) = W₂ gelu(W₁ x + b₁) "
    "+ b₂. Use the exact GELU, x · ½(1 + erf(x/√2)), not one of its approximations.",
    docstring="""FFN(x) = W₂ gelu(W₁ x + b₁) + b₂, for each position of `x` [.., C] separately.  F20.

    `W_1` [F, C], `b_1` [F], `W_2` [C, F], `b_2` [C]. Positions are rows here, so W x becomes x times the transpose of W.""",
    returns={"y": "batch position feature"},
    tiny=lambda: {
        "x": np.array([[1.0, -1.0], [0.5, 2.0]]),
        "W_1": np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),
        "b_1": np.array([0.0, 0.5, -1.0]),
        "W_2": np.array([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]),
        "b_2": np.array([0.1, -0.3]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "positions do not see each other: reversing the input only reverses the output",
            reversed_positions,
            lambda y, backwards: np.allclose(y, backwards[::-1]),
        ),
        Property(
            "gelu(x) − gelu(−x) = x, and gelu(0) = 0",
            identity,
            lambda y: abs(y[2, 0] - y[0, 0] - 1) < 1e-9 and abs(y[1, 0]) < 1e-12,
        ),
    ),
    given=("scipy.special.erf",),
    forbidden=("feed_forward", "formulas.transformer.gelu", "functional.gelu", "GELU"),
    steps=(
        "the first linear map with its bias [.., F]",
        "GELU at each entry [.., F]",
        "the second linear map with its bias [.., C]",
    ),
    right={"loops": loops, "einsum": einsum, "the bias as a column": bias_as_a_column},
    wrong={
        "after": Wrong(
            "the activation comes after the second linear map",
            "two linear maps with nothing between them: how many linear maps could replace them?",
        ),
        "twice": Wrong(
            "there is an activation after the second linear map as well",
            "should the network be able to return large negative numbers?",
        ),
        "none": Wrong(
            "there is no activation",
            "two linear maps with nothing between them: how many linear maps could replace them?",
        ),
        "tanh": Wrong("GELU is approximated with tanh (the other convention)", CONVENTION),
        "sigmoid_form": Wrong("GELU is approximated with x · σ(1.702 x) (the other convention)", CONVENTION),
        "no_x": Wrong("Φ(x) is used alone, without the factor x", "what is gelu(100): 1, or about 100?"),
        "no_b_1": Wrong(
            "the bias of the first linear map is missing", "how many of the four parameters have you used?"
        ),
        "no_b_2": Wrong("the bias of the second linear map is missing", "if W₂ = 0, what should come out?"),
        "relu": Wrong("the activation is ReLU", "what is gelu(−0.5), and what is relu(−0.5)?"),
        "no_root": Wrong("x is not divided by √2 inside erf", SHARE),
        "no_one": Wrong("the 1 + before erf is missing", SHARE),
        "no_half": Wrong("the factor ½ is missing", SHARE),
        "residual": Wrong(
            "x itself is added to the output", "what adds the residual: this network, or the block around it?"
        ),
        **listed(MORE),
    },
    flawed=flawed,
    hints=(
        "There is one hidden layer, the same for every position. GELU is a soft switch that lets the share Φ(x) of x through: "
        "almost nothing of a large negative x, half of an x near 0, and almost all of a large positive x.",
        "x [.., C] times the transpose of W₁ [C, F], plus b₁ → z [.., F] → z · ½(1 + erf(z/√2)) [.., F] → times the transpose "
        "of W₂ [F, C], plus b₂ → [.., C].",
        "z = x @ (W_1 transposed) + b_1;  a = z * 0.5 * (1 + erf(z over the root of 2));  return a @ (W_2 transposed) + b_2",
    ),
)
