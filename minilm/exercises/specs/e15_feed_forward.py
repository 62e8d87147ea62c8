r"""The feed-forward network with GELU.  F20."""

import math

import numpy as np
from scipy.special import erf, ndtr

from minilm.exercises.spec import Exercise, Property, Wrong


def flawed(x, W_1, b_1, W_2, b_2, wrong=frozenset()):
    def activation(z):
        if "tanh" in wrong:
            return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))
        if "sigmoid_form" in wrong:
            return z / (1 + np.exp(-1.702 * z))
        if "relu" in wrong:
            return np.maximum(z, 0)
        share = 0.5 * (1 + erf(z if "no_root" in wrong else z / np.sqrt(2)))
        if "no_one" in wrong:
            share = 0.5 * erf(z / np.sqrt(2))
        if "no_half" in wrong:
            share = 1 + erf(z / np.sqrt(2))
        return share if "no_x" in wrong else z * share

    inner = x @ W_1.T + (0 if "no_b_1" in wrong else b_1)
    if not wrong & {"after", "none"}:
        inner = activation(inner)
    y = inner @ W_2.T + (0 if "no_b_2" in wrong else b_2)
    if wrong & {"after", "twice"}:
        y = activation(y)
    return x + y if "residual" in wrong else y


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
    section=("05", "GELU and the feed-forward network"),
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
