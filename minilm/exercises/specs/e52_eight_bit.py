r"""A linear layer in 8 bits.  30 minutes, medium."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def flawed_rows(W, wrong=frozenset()):
    largest = np.abs(W).max(axis=1)
    if "signed" in wrong:
        largest = W.max(axis=1)
    if "one_scale" in wrong:
        largest = np.full(len(W), np.abs(W).max())
    if "mean" in wrong:
        largest = np.abs(W).mean(axis=1)
    if "spread" in wrong:
        largest = W.std(axis=1)
    steps = 128 if "by_128" in wrong else 255 / 2 if "by_255" in wrong else 100 if "hundred" in wrong else 127
    with np.errstate(divide="ignore", invalid="ignore"):
        s = largest / steps
        if "no_guard" not in wrong:
            s = np.where(largest == 0, 1.0, s)
        ratio = W / s[:, None]
        if "times" in wrong:
            ratio = W * s[:, None]
        if "truncated" in wrong:
            ratio = np.trunc(ratio)
        elif "floor" in wrong:
            ratio = np.floor(ratio)
        elif "up" in wrong:
            ratio = np.ceil(ratio)
        ratio = np.rint(ratio)
        ratio = np.where(np.isfinite(ratio), ratio, 0)
        q = ((ratio.astype(np.int64) + 128) % 256 - 128).astype(np.int8)  # what does not fit wraps round
    if "inverse" in wrong:
        s = 1 / s
    return q, s


def flawed_linear(x, W, b, wrong=frozenset()):
    (q_x, s_x), (q_W, s_W) = flawed_rows(x, wrong), flawed_rows(W, wrong)
    if "x_one_scale" in wrong:
        s_x = np.full(len(x), np.abs(x).max() / 127)
        q_x = np.rint(x / s_x[:, None]).astype(np.int8)
    kind = np.int8 if "in_8" in wrong else np.int16 if "in_16" in wrong else np.int64
    product = q_x.astype(kind) @ q_W.astype(kind).T
    product = product.astype(float)
    if "not_at_all" in wrong:
        return x @ W.T + b
    if "weights_only" in wrong:
        return x @ (q_W * s_W[:, None]).T + b
    if "x_only" in wrong:
        return (q_x * s_x[:, None]) @ W.T + b
    scale = s_x[:, None] * s_W
    for key, value in {
        "no_s_x": np.broadcast_to(s_W, product.shape),
        "no_s_W": np.broadcast_to(s_x[:, None], product.shape),
        "sum": s_x[:, None] + s_W,
        "squared": scale**2,
        "no_scale": np.ones_like(product),
        "mean_s_x": s_x.mean() * np.broadcast_to(s_W, product.shape),
        "mean_s_W": s_x[:, None] * np.full_like(product, s_W.mean()),
    }.items():
        scale = value if key in wrong else scale
    if "divided" in wrong:
        return product / scale + b
    if "bias_scaled" in wrong:
        return (product + b) * scale
    if "bias_rounded" in wrong:
        return product * scale + np.rint(b)
    return product * scale + (0 if "no_bias" in wrong else b)


def having(*wrong):
    wrong = frozenset(wrong)
    return {
        "quantised_rows": partial(flawed_rows, wrong=wrong),
        "eight_bit_linear": partial(flawed_linear, wrong=wrong),
    }


MISTAKES = """  key · what it looks like · a question
signed · the scale comes from the largest number of a row, not from the largest size ·
    what becomes of −3 in a row whose largest number is 1?
one_scale · all rows of a matrix share one scale ·
    if one row is a hundred times as large as the others, how many steps are left for these?
mean · the scale comes from the mean size of a row ·
    does the largest number of the row still fit between −127 and 127?
spread · the scale comes from the standard deviation of a row ·
    does the largest number of the row still fit between −127 and 127?
by_128 · the largest number becomes 128 ·
    which is the largest whole number that int8 holds?
by_255 · the range is divided into 255 steps, and the largest number becomes 127.5 ·
    which whole number should the largest number of a row become?
hundred · the largest number becomes 100 ·
    which whole number should the largest number of a row become?
no_guard · the scale of a row of zeros is 0, by which the row is divided ·
    what is 0/0, and what should a row of zeros become?
times · the numbers are multiplied by the scale, not divided by it ·
    if W is close to s q, what is q?
truncated · the digits behind the point are cut off, not rounded ·
    what should 2.9 become, and how far is that from what you have?
floor · the numbers are rounded down ·
    what should 2.9 become, and how far is that from what you have?
up · the numbers are rounded up ·
    what should 2.1 become, and how far is that from what you have?
inverse · the scale is turned over ·
    by what do you have to multiply q to get back to W?
x_one_scale · all rows of x share one scale ·
    does a text with small numbers need the coarse steps of its neighbour in the batch?
in_8 · the product is computed in 8 bits, which overflow ·
    what is 127 · 127, and how many bits does it need?
in_16 · the product is computed in 16 bits, which overflow ·
    how many products of 127 · 127 fit into 32,767?
not_at_all · nothing is rounded in the product ·
    which two matrices of whole numbers does the docstring multiply?
weights_only · the weights have 8 bits and x is not rounded ·
    can two matrices be multiplied in whole numbers if one of them has none?
x_only · x has 8 bits and the weights are not rounded ·
    can two matrices be multiplied in whole numbers if one of them has none?
no_s_x · the scales of x are missing ·
    q_x is not x: what was it divided by?
no_s_W · the scales of W are missing ·
    q_W is not W: what was it divided by?
sum · the two scales are added ·
    (s_x q_x)(s_W q_W): what stands in front of the product of the two q?
squared · the scales are applied twice ·
    (s_x q_x)(s_W q_W): how often does each scale occur?
no_scale · the product of the whole numbers has no scale ·
    in which units is your result?
mean_s_x · all rows of the result use the mean scale of x ·
    which scale belongs to row n of the result?
mean_s_W · all columns of the result use the mean scale of W ·
    which scale belongs to column i of the result?
divided · the product is divided by the scales ·
    W is s times q: does the result grow or shrink with s?
bias_scaled · the bias is multiplied by the scales as well ·
    was the bias ever divided by a scale?
bias_rounded · the bias is rounded to a whole number ·
    which of the numbers of the formula have 8 bits?
no_bias · the bias is missing ·
    what stands behind the product?
"""


def by_loops(W):
    q, s = np.zeros(W.shape, dtype=np.int8), np.ones(len(W))
    for i, row in enumerate(W):
        if row.any():
            s[i] = max(abs(row)) / 127
            for j, number in enumerate(row):
                q[i, j] = round(number / s[i])
    return q, s


def linear_by_loops(x, W, b):
    (q_x, s_x), (q_W, s_W) = by_loops(x), by_loops(W)
    out = np.empty((len(x), len(W)))
    for n in range(len(x)):
        for i in range(len(W)):
            out[n, i] = s_x[n] * s_W[i] * sum(int(a) * int(c) for a, c in zip(q_x[n], q_W[i])) + b[i]
    return out


def by_norm(W):
    s = np.maximum(W.max(axis=1), -W.min(axis=1)) / 127
    s[s == 0] = 1
    return np.round(np.einsum("ij,i->ij", W, 1 / s)).astype(np.int8), s


def linear_by_einsum(x, W, b):
    (a, s), (c, t) = by_norm(x), by_norm(W)
    return np.einsum("nj,ij,n,i->ni", a.astype(np.int64), c.astype(np.int64), s, t) + b


def by_masked(W):
    largest = np.linalg.norm(W, np.inf, axis=1, keepdims=True)
    s = np.divide(largest, 127, out=np.ones_like(largest), where=largest > 0)
    return np.clip(np.rint(W / s), -127, 127).astype("int8"), s[:, 0]


def linear_in_floats(x, W, b):
    (a, s), (c, t) = by_masked(x), by_masked(W)
    return np.outer(s, t) * (a.astype(float) @ c.astype(float).T) + b


def run(made, x, W, b):
    q, s = made.quantised_rows(W)
    return {"q": q, "s": s, "y": made.eight_bit_linear(x, W, b)}


def case(rng, N, size, out, scale=1.0):
    W = rng.normal(size=(out, size)) * np.exp(rng.normal(size=(out, 1)))
    W[0, 0] = -3 * np.abs(W[0]).max()  # the largest of its row is negative
    x = rng.normal(size=(N, size)) * np.exp(rng.normal(size=(N, 1)))
    return {"x": scale * x, "W": W, "b": rng.normal(size=out)}


def probes(rng):
    many = case(rng, 2, 300, 4)
    many["x"][0] = 2 * many["W"][1]  # 300 squares, whose sum does not fit into 16 bits
    return {
        "four texts": case(rng, 4, 9, 5),
        "more outputs than inputs": case(rng, 3, 6, 11),
        "many inputs": many,
    }


def edges(rng):
    zeros, nothing = case(rng, 3, 5, 4), case(rng, 3, 5, 4)
    zeros["W"][2] = 0
    nothing["x"][1] = 0
    return {
        "a row of zeros in W": zeros,
        "a text of zeros": nothing,
        "one input": case(rng, 2, 1, 3),
        "tiny numbers": case(rng, 3, 7, 4, scale=1e-6),
    }


EXERCISE = Exercise(
    target="minilm.formulas.eight_bit.quantised_rows",
    also=("minilm.formulas.eight_bit.eight_bit_linear",),
    section=("24", "Eight bits"),
    task="A weight of 32 bits is more than a model needs. Put each row of a matrix into whole numbers from −127 to 127, with one "
    "scale for the row; then compute a linear layer with them.",
    returns={"q": "output input", "s": "output", "y": "text output"},
    tiny=lambda: {
        "x": np.array([[1.0, -0.5]]),
        "W": np.array([[2.0, -4.0], [0.3, 0.1]]),
        "b": np.array([0.5, 0.0]),
    },
    probes=probes,
    edges=edges,
    run=run,
    properties=(
        Property(
            "no number is further than half a step from its own: |W − s q| ≤ s / 2",
            lambda rng: {"six outputs": case(np.random.default_rng(0), 2, 8, 6)},
            lambda out: bool(
                np.all(
                    np.abs(case(np.random.default_rng(0), 2, 8, 6)["W"] - out[1][:, None] * out[0])
                    <= 0.5001 * np.abs(out[1])[:, None]
                )
            ),
        ),
    ),
    needs=("linear",),
    steps=(
        "the largest size in each row, divided by 127, is its scale; a row of zeros gets the scale 1",
        "each number divided by the scale of its row, rounded, as int8",
        "the linear layer: both matrices in whole numbers, their product in wider integers, times both scales, plus b",
    ),
    right={
        "loops": {"quantised_rows": by_loops, "eight_bit_linear": linear_by_loops},
        "einsum": {"quantised_rows": by_norm, "eight_bit_linear": linear_by_einsum},
        "exact floats": {"quantised_rows": by_masked, "eight_bit_linear": linear_in_floats},
    },
    wrong=listed(MISTAKES, having),
    hints=(
        "A row of numbers between −m and m is laid on a ruler with 255 marks, from −127 to 127. What is kept is the number of the "
        "mark, and once for the row the distance between two marks.",
        "s [out] = largest size of each row / 127 (1 where it is 0);  q [out, in] = W / s, rounded;  q_x [N, in] and s_x [N] from "
        "x in the same way;  q_x q_Wᵀ [N, out] in int32 or wider;  times s_x [N, 1] times s_W [out], plus b [out].",
        "s = row-wise max of abs W, over 127, 1 where it is 0;  q = int8 of rint of W over s;  y = (wide q_x times wide q_W "
        "transposed) times s_x as a column times s_W, plus b",
    ),
)
