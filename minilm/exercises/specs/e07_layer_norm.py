r"""Layer normalization.  F20.  15 minutes, easy."""

import torch

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed


def flawed(x, gain, bias, epsilon, wrong=frozenset()):
    axes = (0,) if "batch" in wrong else tuple(range(x.ndim)) if "whole" in wrong else (-1,)
    axes = (1,) if "dim_1" in wrong else tuple(range(x.ndim))[-2:] if "last_two" in wrong else axes
    mean = x.mean(dim=axes, keepdim=True)
    variance = x.var(dim=axes, keepdim=True, unbiased="unbiased" in wrong)
    epsilon = 0.0 if "no_epsilon" in wrong else epsilon
    if "rms" in wrong:
        mean, variance = 0 * mean, x.square().mean(dim=axes, keepdim=True)
    if "squares_of_x" in wrong:
        variance = x.square().mean(dim=axes, keepdim=True)
    if "sum_of_squares" in wrong:
        variance = variance * x.shape[-1]
    if "absolute" in wrong:
        variance = (x - mean).abs().mean(dim=axes, keepdim=True) ** 2
    if "fixed_epsilon" in wrong:
        epsilon = 1e-5
    if "epsilon_squared" in wrong:
        epsilon = epsilon**2
    if "at_least_epsilon" in wrong:
        variance, epsilon = variance.clamp(min=epsilon), 0.0
    if "epsilon_subtracted" in wrong:
        epsilon = -epsilon
    if "range" in wrong:
        variance = (x.amax(dim=axes, keepdim=True) - x.amin(dim=axes, keepdim=True)) ** 2
    if "softmax" in wrong:
        return gain * x.softmax(-1) + bias
    if "squared" in wrong:
        s = (variance + epsilon) ** 2
    elif "variance" in wrong:
        s = variance + epsilon
    else:
        s = variance.sqrt() + epsilon if "outside" in wrong else (variance + epsilon).sqrt()
    x_hat = (x if "no_mean" in wrong else x - mean) / s
    if "not_divided" in wrong:
        x_hat = x - mean
    if "times" in wrong:
        x_hat = (x - mean) * s
    if "reversed" in wrong:
        x_hat = -x_hat
    if "one_plus" in wrong:
        gain = 1 + gain
    if "residual" in wrong:
        bias = bias + x
    if "bias_inside" in wrong:
        return gain * (x_hat + bias)
    if "exchanged" in wrong:
        gain, bias = bias, gain
    if "bias_minus" in wrong:
        bias = -bias
    if "gain_divides" in wrong:
        gain = 1 / gain
    y = x_hat if "no_gain" in wrong else gain * x_hat
    return y if "no_bias" in wrong else y + bias


MORE = """  key · what it looks like · a question
rms · the mean is not subtracted, and the root is that of the mean of x²: this is RMSNorm, not layer norm ·
    if you add 5 to all features, does your output stay the same?
squares_of_x · the variance is the mean of x², without subtracting the mean first ·
    if you add 5 to all features, does their spread change?
dim_1 · the mean and the variance are taken over dim 1, which in [batch, position, feature] is the positions ·
    should the output at one position change when another position does?
last_two · the mean and the variance are taken over the positions of a sentence as well ·
    should the output at one position change when another position does?
bias_inside · the bias is added before the multiplication: gain · (x̂ + bias) ·
    if a gain is 0, what should come out: 0, or the bias?
exchanged · gain and bias are exchanged ·
    which of the two stands in front of x̂, and which is added?
bias_minus · the bias is subtracted ·
    what should happen to the output when the bias grows by 1?
gain_divides · x̂ is divided by the gain instead of multiplied by it ·
    what should happen to the output when the gain is doubled?
one_plus · the gain is 1 + gain ·
    if the gain is 0, what should be left of x̂?
sum_of_squares · the squared differences are summed, not averaged ·
    if every feature occurred twice, would their variance change?
absolute · the mean absolute difference is used instead of the root of the mean square ·
    the task asks for a square and a square root: where are they?
range · the features are divided by largest minus smallest ·
    which number says how wide the features are spread: the variance, or the distance of the extremes?
fixed_epsilon · ε is a constant of your own, not the argument ·
    where does your code use the argument epsilon?
epsilon_squared · ε is squared before it is added ·
    in σ² + ε, what exactly is squared?
at_least_epsilon · ε is used as a lower limit of the variance instead of being added ·
    if the variance is 1 and ε is 0.1, what stands under the root?
epsilon_subtracted · ε is subtracted from the variance ·
    if all features are equal, what do you take the root of?
not_divided · the features are not divided by anything ·
    if you double all features, does your output stay the same?
times · the features are multiplied by the standard deviation instead of divided by it ·
    if you double all features, does your output stay the same?
reversed · the sign is reversed: it is the mean minus x ·
    should the largest feature stay the largest?
residual · x itself is added to the output ·
    what adds the residual: this norm, or the block around it?
softmax · the features go through a softmax ·
    what should the mean of the normalized features be?
"""


def loops(x, gain, bias, epsilon):
    out = []
    for row in x.reshape(-1, x.shape[-1]):
        C = len(row)
        mean = sum(row) / C
        variance = sum((a - mean) ** 2 for a in row) / C
        out.append(torch.stack([g * (a - mean) / (variance + epsilon) ** 0.5 + b for a, g, b in zip(row, gain, bias)]))
    return torch.stack(out).reshape(x.shape)


def einsum(x, gain, bias, epsilon):
    C = x.shape[-1]
    centred = x - torch.einsum("...c->...", x)[..., None] / C
    variance = torch.einsum("...c,...c->...", centred, centred)[..., None] / C
    return torch.einsum("...c,c->...c", centred * torch.rsqrt(variance + epsilon), gain) + bias


def torchs_variance(x, gain, bias, epsilon):
    variance, mean = torch.var_mean(x, dim=-1, correction=0, keepdim=True)
    return torch.addcmul(bias, (x - mean) * (variance + epsilon).pow(-0.5), gain)


def mean_of_squares(x, gain, bias, epsilon):
    mean = x.mean(-1, keepdim=True)
    variance = (x * x).mean(-1, keepdim=True) - mean**2
    return (x - mean) / (variance + epsilon).sqrt() * gain + bias


def batch(rng, *shape, epsilon=0.1, scale=1.0):
    """Rows with different means; in every second row the variance is only 1e-4, far below ε."""
    x = rng.normal(size=shape) * scale + rng.normal(size=(*shape[:-1], 1))
    x.reshape(-1, shape[-1])[::2] *= 0.01
    gain, bias = rng.normal(size=shape[-1]) + 1, rng.normal(size=shape[-1])
    return {
        "x": torch.from_numpy(x),
        "gain": torch.from_numpy(gain),
        "bias": torch.from_numpy(bias),
        "epsilon": epsilon,
    }


def probes(rng):
    return {
        "sentences": batch(rng, 3, 4, 6),
        "one row per position": batch(rng, 5, 7),
        "as many positions as features": batch(rng, 4, 4),
        "a tiny epsilon": batch(rng, 4, 5, epsilon=1e-12),
    }


def edges(rng):
    constant = batch(rng, 3, 4)
    constant["x"] = torch.ones(3, 4, dtype=torch.float64) * torch.tensor([[2.0], [0.0], [-7.0]], dtype=torch.float64)
    return {
        "features that are all equal": constant,
        "features of a thousand": batch(rng, 3, 5, scale=1e3),
        "a single feature": batch(rng, 3, 1),
        "a single position": batch(rng, 1, 1, 6),
        "a single vector": batch(rng, 6),
        "heads": batch(rng, 2, 3, 2, 5),
        "a gain of zero": {**batch(rng, 3, 4), "gain": torch.zeros(4).double()},
        "two features": batch(rng, 4, 2, epsilon=1e-3),
    }


def plain(rng):
    return {"x": {**batch(rng, 4, 6, epsilon=0.0), "gain": torch.ones(6).double(), "bias": torch.zeros(6).double()}}


def beside(rng):
    a = batch(rng, 3, 5)
    b = {**a, "x": a["x"].clone()}
    b["x"][1] += torch.arange(5).double()
    return {"x": a, "x with another row 1": b}


EXERCISE = Exercise(
    target="minilm.layers.normalization.layer_norm",
    section=("07", "Layer norm"),
    task="Treat each position of [.., C] separately: bring its C features to mean 0 and variance 1, then scale them "
    "by the learned gain and shift them by the learned bias. Write it out yourself, with a mean, a square and a "
    "square root.",
    returns={"y": "batch position feature"},
    tiny=lambda: {
        "x": torch.tensor([[1.0, 2.0, 6.0], [0.1, 0.1, 0.4]]).double(),
        "gain": torch.tensor([1.0, 2.0, 0.5]).double(),
        "bias": torch.tensor([0.0, 1.0, -1.0]).double(),
        "epsilon": 0.1,
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "with gain 1, bias 0 and ε = 0 every position has mean 0 and variance 1",
            plain,
            lambda y: abs(y.mean(-1)).max() < 1e-9 and abs(y.var(-1) - 1).max() < 1e-9,
        ),
        Property(
            "a position does not depend on the others", beside, lambda a, b: abs(a[[0, 2]] - b[[0, 2]]).max() < 1e-12
        ),
    ),
    gradient=Gradient(inputs=lambda rng: {"a batch": batch(rng, 3, 4)}, wrt=("x", "gain", "bias")),
    forbidden=("layer_norm", "LayerNorm", "native_layer_norm", "batch_norm", "standardised"),
    steps=(
        "the mean of each position's features [.., 1]",
        "their variance [.., 1]: the mean of the squared differences from the mean, divided by C, not by C − 1",
        "add ε to the variance, under the root",
        "scale by the gain [C], then shift by the bias [C]",
    ),
    right={
        "loops": loops,
        "einsum": einsum,
        "torch's variance": torchs_variance,
        "mean of the squares": mean_of_squares,
    },
    wrong={
        "unbiased": Wrong(
            "the variance is divided by C − 1 (torch's var and std do that unless told otherwise)",
            "by which number is your sum of squares divided?",
        ),
        "outside": Wrong(
            "ε is added to the standard deviation, outside the root", "what is √(0 + ε), and what is √0 + ε?"
        ),
        "squared": Wrong(
            "** 2 stands where ** 0.5 belongs", "if you double all features, does your output stay the same?"
        ),
        "variance": Wrong(
            "the features are divided by the variance, not by its root",
            "if you double all features, does your output stay the same?",
        ),
        "batch": Wrong(
            "the mean and the variance are taken over the first axis: that is batch normalization",
            "should the output for a sentence depend on the other sentences of the batch?",
        ),
        "whole": Wrong(
            "the mean and the variance are taken over the whole array",
            "should the output at one position change when another position does?",
        ),
        "no_gain": Wrong("the gain is not used", "what should happen to the output when the gain is doubled?"),
        "no_bias": Wrong("the bias is not used", "what should happen to the output when the bias grows by 1?"),
        "no_mean": Wrong("the mean is not subtracted", "if you add 5 to all features, does your output stay the same?"),
        "no_epsilon": Wrong("ε is not used", "what happens to a row whose features are all equal?"),
        **listed(MORE),
    },
    flawed=flawed,
    hints=(
        "Each position has a mean and a spread. Subtract the first and divide by the second, and all positions are on one "
        "scale; gain and bias then bring the features to the scale that the model has learned.",
        "mean = x.mean(-1, keepdim=True) [.., 1]; variance = mean of (x − mean)² along the last axis [.., 1]; normalized = (x − "
        "mean) / √(variance + ε) [.., C]; gain and bias [C] broadcast along the last axis by themselves.",
        "mean = …;  variance = ((x minus mean) squared).mean(-1, keepdim=True);  return gain * (x minus mean) / "
        "torch.sqrt(variance + epsilon) + bias",
    ),
)
