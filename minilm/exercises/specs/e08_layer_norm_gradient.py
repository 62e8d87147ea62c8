r"""The gradient of layer normalization, by hand.  F20.  40 minutes, hard."""

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed
from minilm.formulas.transformer import layer_norm


def flawed(x, gain, bias, epsilon, dy, wrong=frozenset()):
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    if "unbiased" in wrong:
        variance = variance * x.shape[-1] / (x.shape[-1] - 1)
    if "fixed_epsilon" in wrong:
        epsilon = 1e-5
    s = np.sqrt(variance) + epsilon if "outside" in wrong else np.sqrt(variance + epsilon)
    x_hat = centred / s
    if "no_epsilon" in wrong:
        s = np.sqrt(variance)
    g = dy if "no_gain" in wrong else dy * gain
    dx = g
    if "no_mean" not in wrong:
        dx = dx - g.mean(axis=-1, keepdims=True)
    if "no_variance" not in wrong:
        dx = dx - x_hat * (g * x_hat).mean(axis=-1, keepdims=True)
    if "gain_late" in wrong:
        dx = (dy - dy.mean(-1, keepdims=True) - x_hat * (dy * x_hat).mean(-1, keepdims=True)) * gain
    if "mean_over_rows" in wrong:
        dx = g - g.mean(axis=-2, keepdims=True) - x_hat * (g * x_hat).mean(axis=-2, keepdims=True)
    if "sums" in wrong:
        dx = g - g.sum(axis=-1, keepdims=True) - x_hat * (g * x_hat).sum(axis=-1, keepdims=True)
    if "no_x_hat" in wrong:
        dx = g - g.mean(-1, keepdims=True) - (g * x_hat).mean(-1, keepdims=True)
    if "variance_sign" in wrong:
        dx = g - g.mean(-1, keepdims=True) + x_hat * (g * x_hat).mean(-1, keepdims=True)
    if "mean_sign" in wrong:
        dx = g + g.mean(-1, keepdims=True) - x_hat * (g * x_hat).mean(-1, keepdims=True)
    if "without_half" in wrong:
        dx = g - g.mean(-1, keepdims=True) - 2 * x_hat * (g * x_hat).mean(-1, keepdims=True)
    if "centred_path" in wrong:
        dx = g - g.mean(-1, keepdims=True) - centred * (g * centred).mean(-1, keepdims=True)
    if "variance_dx" in wrong:
        s = s**2
    if "times_s" in wrong:
        s = 1 / s
    axes = -1 if "over_features" in wrong else tuple(range(x.ndim - 1))
    dgain, dbias = (dy * x_hat).sum(axis=axes), dy.sum(axis=axes)
    if "gain_of_x" in wrong:
        dgain = (dy * x).sum(axis=axes)
    if "gain_centred" in wrong:
        dgain = (dy * centred).sum(axis=axes)
    if "gain_of_g" in wrong:
        dgain = (g * x_hat).sum(axis=axes)
    if "bias_of_g" in wrong:
        dbias = g.sum(axis=axes)
    if "gain_is_bias" in wrong:
        dgain = dbias
    if "first_axis" in wrong:
        dgain, dbias = (dy * x_hat).sum(axis=0), dy.sum(axis=0)
    if "exchanged" in wrong:
        dgain, dbias = dbias, dgain
    if "averaged" in wrong:
        positions = x.size // x.shape[-1]
        dgain, dbias = dgain / positions, dbias / positions
    return (dx if "no_root" in wrong else dx / s), dgain, dbias


MORE = """  key · what it looks like · a question
unbiased · the variance is divided by C − 1 ·
    by which number did the forward pass divide the sum of squares?
outside · ε is added to the standard deviation, outside the root ·
    by which s did the forward pass divide?
fixed_epsilon · ε is a constant of your own, not the argument ·
    where does your code use the argument epsilon?
mean_over_rows · the two means run over the positions instead of the features ·
    which numbers does one position's mean contain: its own features, or those of other positions?
sums · sums stand where the two means belong ·
    each feature has the share 1/C in the mean: where is this factor in your code?
no_x_hat · the path through the variance is not multiplied by x̂ ·
    which features feel a change of the variance most: those near the mean, or those far from it?
variance_sign · the path through the variance has the wrong sign ·
    if you stretch a row a little, does the output of the norm change?
mean_sign · the path through the mean has the wrong sign ·
    if you shift a row by 1, does the output change, and what must dx sum to?
without_half · the path through the variance is twice as large as it should be ·
    the root has the slope 1/(2√…): where does the factor ½ cancel the 2 of the square?
centred_path · the path through the variance uses x − mean instead of x̂ ·
    how many factors 1/s does the path through the variance have, and which of them are in your x − mean?
variance_dx · dx is divided by s² instead of s ·
    if x is doubled, its gradient must become about half as large: does yours?
times_s · dx is multiplied by s instead of divided by it ·
    if x is doubled, its gradient must become about half as large: does yours?
gain_centred · dgain is computed with x − mean, which is not divided by s ·
    what is the gain multiplied by in the forward pass?
gain_of_g · dgain contains the gain itself ·
    y = gain · x̂ + bias: does ∂y/∂gain contain the gain?
bias_of_g · dbias contains the gain ·
    y = gain · x̂ + bias: by what is the bias multiplied?
gain_is_bias · dgain lacks the factor x̂, so it equals dbias ·
    y = gain · x̂ + bias: what is the gain multiplied by?
first_axis · dgain and dbias are summed over the first axis only ·
    x is [sentence, position, feature]: how many axes does the gain have, and how many must its gradient have?
exchanged · dgain and dbias are returned in the wrong order ·
    in which order does the task list the gradients?
"""


def loops(x, gain, bias, epsilon, dy):
    dx, dgain, dbias = np.zeros(x.shape), np.zeros(gain.shape), np.zeros(bias.shape)
    C = x.shape[-1]
    for index in np.ndindex(x.shape[:-1]):
        row, up = x[index], dy[index]
        s = (sum((row - row.mean()) ** 2) / C + epsilon) ** 0.5
        x_hat = (row - row.mean()) / s
        for j in range(C):
            for i in range(C):
                dx[index][j] += up[i] * gain[i] * ((i == j) - 1 / C - x_hat[i] * x_hat[j] / C) / s
            dgain[j] += up[j] * x_hat[j]
            dbias[j] += up[j]
    return dx, dgain, dbias


def step_by_step(x, gain, bias, epsilon, dy):
    """Go back through the root, the variance and the mean one after another, as autograd would."""
    C = x.shape[-1]
    centred = x - x.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    d_hat = dy * gain
    d_inverse = (d_hat * centred).sum(-1, keepdims=True)
    d_variance = -0.5 * d_inverse * inverse**3
    d_centred = d_hat * inverse + d_variance * 2 * centred / C
    dx = d_centred - d_centred.sum(-1, keepdims=True) / C
    others = tuple(range(x.ndim - 1))
    return dx, (dy * centred * inverse).sum(others), dy.sum(others)


def einsum(x, gain, bias, epsilon, dy):
    C = x.shape[-1]
    rows, up = x.reshape(-1, C), dy.reshape(-1, C)
    s = np.sqrt(rows.var(axis=1) + epsilon)
    x_hat = np.einsum("nc,n->nc", rows - rows.mean(1)[:, None], 1 / s)
    g = np.einsum("nc,c->nc", up, gain)
    dx = g - np.einsum("nc->n", g)[:, None] / C - np.einsum("nc,nk,nk->nc", x_hat, g, x_hat) / C
    return (dx / s[:, None]).reshape(x.shape), np.einsum("nc,nc->c", up, x_hat), np.einsum("nc->c", up)


def batch(rng, *shape, epsilon=0.1):
    x, dy = rng.normal(size=shape) + rng.normal(size=(*shape[:-1], 1)), rng.normal(size=shape)
    x.reshape(-1, shape[-1])[::2] *= 0.01  # a variance of 1e-4, far below ε
    return {
        "x": x,
        "gain": rng.normal(size=shape[-1]) + 1,
        "bias": rng.normal(size=shape[-1]),
        "epsilon": epsilon,
        "dy": dy,
    }


def probes(rng):
    return {
        "sentences": batch(rng, 2, 4, 5),
        "one row per position": batch(rng, 3, 6),
        "as many positions as features": batch(rng, 4, 4),
        "a tiny epsilon": batch(rng, 4, 5, epsilon=1e-6),
    }


def edges(rng):
    constant = batch(rng, 3, 4)
    constant["x"] = np.ones((3, 4)) * np.array([[2.0], [0.0], [-7.0]])
    return {
        "features that are all equal": constant,
        "a single feature": batch(rng, 3, 1),
        "a single row": batch(rng, 1, 4),
        "a single vector": batch(rng, 5),
        "heads": batch(rng, 2, 3, 2, 4),
        "a gain of zero": {**batch(rng, 3, 4), "gain": np.zeros(4)},
    }


EXERCISE = Exercise(
    target="minilm.formulas.transformer.layer_norm_gradient",
    section=("07", "Layer norm"),
    task="Each feature influences all C outputs of its position, because it is part of the mean and of the variance "
    "of that position. So the gradient reaches it on three paths. Return the gradients of x, gain and bias.",
    returns={"dx": "batch position feature", "dgain": "feature", "dbias": "feature"},
    tiny=lambda: {
        "x": np.array([[1.0, 2.0, 6.0], [0.1, 0.1, 0.4]]),
        "gain": np.array([1.0, 2.0, 0.5]),
        "bias": np.array([0.0, 1.0, -1.0]),
        "epsilon": 0.1,
        "dy": np.array([[1.0, 0.0, 0.0], [0.0, 1.0, -1.0]]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "each row of dx sums to 0",
            lambda rng: {"x": batch(rng, 3, 5)},
            lambda out: abs(out[0].sum(-1)).max() < 1e-9,
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"a batch": batch(rng, 3, 4)}, wrt=("x", "gain", "bias"), forward=layer_norm, upstream="dy"
    ),
    needs=("layer_norm",),
    forbidden=("layer_norm_gradient", "layer_norm", "backward", "grad", "standardised"),
    steps=(
        "x̂ and s = √(σ² + ε) again, as in the forward pass [.., C], [.., 1]",
        "g = the gradient of x̂: dy goes back through the gain first",
        "dx: g itself, minus the path through the mean, minus the path through the variance, all divided by s",
        "dgain [C] and dbias [C]: sums over all positions",
    ),
    right={"loops over the Jacobian": loops, "step by step": step_by_step, "einsum": einsum},
    wrong={
        "no_variance": Wrong(
            "the path through the variance is missing",
            "if you stretch a row a little, does the output of the norm change?",
        ),
        "no_mean": Wrong(
            "the path through the mean is missing",
            "if you shift a row by 1, does the output change, and what must dx sum to?",
        ),
        "over_features": Wrong(
            "dgain and dbias are summed over the features instead of over the positions",
            "what is the shape of the gain, and which axis of dy does it share?",
        ),
        "no_epsilon": Wrong("1/s is computed without ε", "by which s did the forward pass divide?"),
        "no_gain": Wrong("dy is not multiplied by the gain", "y = gain · x̂ + bias: what is the gradient of x̂?"),
        "gain_late": Wrong(
            "dx is multiplied by the gain only at the end, after the means were taken",
            "is the mean of dy · gain the same as the mean of dy, times gain?",
        ),
        "no_root": Wrong(
            "dx is not divided by s", "if x is doubled, its gradient must become about half as large: does yours?"
        ),
        "gain_of_x": Wrong(
            "dgain is computed with x instead of x̂", "what is the gain multiplied by in the forward pass?"
        ),
        "averaged": Wrong(
            "dgain and dbias are averaged, not summed",
            "the same gain is used at every position: how do the contributions of the positions combine?",
        ),
        **listed(MORE),
    },
    flawed=flawed,
    hints=(
        "∂x̂ᵢ/∂xⱼ = (1[i = j] − 1/C − x̂ᵢ x̂ⱼ / C) / s. The three terms are the direct path, the path through the mean, and the "
        "path through the variance.",
        "x̂ [.., C], s [.., 1]; g = dy · gain [.., C]; two means along the last axis, one of g and one of g · x̂, each [.., 1]; "
        "for dgain and dbias, reshape to [positions, C] and sum over the first axis.",
        "dx = (g minus mean(g) minus x̂ times mean(g times x̂)) / s;  dgain = sum over positions of dy times x̂;  dbias = sum "
        "over positions of dy",
    ),
)
