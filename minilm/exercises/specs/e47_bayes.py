r"""Bayes' rule for a model of pictures, and bits per pixel.  F24.  25 minutes, medium."""

from functools import partial

import numpy as np
from scipy.special import logsumexp, softmax

from minilm.exercises.spec import Exercise, Property, listed


def flawed_probabilities(log_p, prior, wrong=frozenset()):
    log_prior = np.log(prior)
    joint = log_p + log_prior
    if "no_prior" in wrong:
        joint = log_p
    if "prior_as_it_is" in wrong:
        joint = log_p + prior
    if "divided" in wrong:
        joint = log_p - log_prior
    if "prior_twice" in wrong:
        joint = log_p + 2 * log_prior
    if "times_log" in wrong:
        joint = log_p * prior
    if "logs" in wrong:
        return joint - logsumexp(joint, axis=1, keepdims=True)
    if "joint" in wrong:
        return np.exp(joint)
    if "joint_logs" in wrong:
        return joint
    if "certain" in wrong:
        return np.eye(log_p.shape[1])[joint.argmax(axis=1)]
    if "pictures" in wrong:
        return softmax(joint, axis=0)
    if "everything" in wrong:
        return np.exp(joint - logsumexp(joint))
    if "prior_last" in wrong:
        return softmax(log_p, axis=1) * prior
    if "underflow" in wrong:
        return np.exp(joint) / np.exp(joint).sum(axis=1, keepdims=True)
    if "one_max" in wrong:
        e = np.exp(joint - joint.max())
        return e / e.sum(axis=1, keepdims=True)
    if "epsilon" in wrong:
        e = np.exp(joint)
        return (e + 1e-12) / (e + 1e-12).sum(axis=1, keepdims=True)
    if "base_2" in wrong:
        return softmax(joint * np.log(2), axis=1)
    if "linear" in wrong:
        return joint / joint.sum(axis=1, keepdims=True)
    return softmax(joint, axis=1)


def flawed_bits(log_p, m, wrong=frozenset()):
    log_2 = np.log(2)
    for key, value in {
        "nats": -log_p.mean() / m,
        "minus": log_p.mean() / m / log_2,
        "per_picture": -log_p.mean() / log_2,
        "sum": -log_p.sum() / m / log_2,
        "times": -log_p.mean() / m * log_2,
        "powers": 2 ** (-log_p.mean() / m / log_2),
        "class_too": -log_p.mean() / (m + 1) / log_2,
        "log_10": -log_p.mean() / m / np.log(10),
        "log_of_mean": -np.log2(np.exp(log_p).mean()) / m,
        "log_again": -np.log2(np.abs(log_p)).mean() / m,
        "one_less": -log_p.sum() / max(len(log_p) - 1, 1) / m / log_2,
        "largest": -log_p.max() / m / log_2,
    }.items():
        if key in wrong:
            return float(value)
    return float(-log_p.mean() / m / log_2)


def having(*wrong):
    wrong = frozenset(wrong)
    return {
        "class_probabilities": partial(flawed_probabilities, wrong=wrong),
        "bits_per_pixel": partial(flawed_bits, wrong=wrong),
    }


MISTAKES = """  key · what it looks like · a question
no_prior · the shares of the classes are ignored ·
    a picture fits two classes equally well, and one of them is ten times as common: which is it, more probably?
prior_as_it_is · P(y) is added to log P(x | y), without its logarithm ·
    which product does a sum of logarithms stand for?
divided · the shares of the classes are divided by, not multiplied with ·
    should a rare class become more probable because it is rare?
prior_twice · the shares of the classes count twice ·
    how often does P(y) stand in the numerator of Bayes' rule?
times_log · log P(x | y) is multiplied with P(y) ·
    which of the two is a logarithm here, and what does the product become?
logs · these are the logarithms of the probabilities ·
    can a probability be negative?
joint · these are P(x, y), not divided by their sum ·
    what does each row of P(y | x) sum to?
joint_logs · these are log P(x, y) ·
    what does each row of P(y | x) sum to?
certain · the most probable class gets 1 and all others 0 ·
    Bayes' rule gives probabilities: where does your code make them 0 and 1?
pictures · the sum runs over the pictures, not over the classes ·
    over which of the two axes does the denominator of Bayes' rule sum?
everything · the sum runs over all pictures and classes ·
    what does each row of P(y | x) sum to?
prior_last · P(y) is multiplied after the division, so that the rows no longer sum to 1 ·
    what stands in the denominator of Bayes' rule: with or without P(y)?
underflow · exp is taken of log P(x | y) as it is, and becomes 0 for every class ·
    what is exp(−1000) on a computer, and what is 0/0?
one_max · one maximum is subtracted everywhere, so that other rows become 0 ·
    a picture that is far less probable than the best one: what is left of its row?
epsilon · a small number is added to every probability ·
    if all of P(x | y) are smaller than your small number, what does your row say?
base_2 · powers of 2 are taken instead of powers of e ·
    which base do the logarithms in `log_p` have?
linear · the logarithms are divided by their sum ·
    which function turns logarithms back into probabilities?
nats · bits: these are nats per pixel ·
    which base does the logarithm have if the unit is the bit?
minus · bits: the minus sign is missing ·
    can a file take fewer than 0 bits?
per_picture · bits: these are bits per picture, not per pixel ·
    a larger picture needs more bits: is the model worse?
sum · bits: the pictures are summed, not averaged ·
    twice as many pictures: is the model twice as bad?
times · bits: it is multiplied with log 2 where it should be divided ·
    is a nat more or less than a bit?
powers · bits: this is 2 to the power of the bits ·
    a model that knows nothing about 16 grey levels: how many bits does it need per pixel?
class_too · bits: it is divided by one more than the number of pixels ·
    the class is given: is it predicted, too?
log_10 · bits: the logarithm has the base 10 ·
    which base does the logarithm have if the unit is the bit?
log_of_mean · bits: the mean is taken of the probabilities, and then the logarithm ·
    if one picture of ten is easy, may the others cost what they like?
log_again · bits: the logarithm is taken of something that is a logarithm already ·
    what does the name `log_p` say?
one_less · bits: it is divided by one picture less than there are ·
    how many pictures are in log_p?
largest · bits: only the most probable picture counts ·
    how many pictures are in log_p, and how many of them do you look at?
"""


def loops(log_p, prior):
    out = np.zeros(log_p.shape)
    for i, row in enumerate(log_p):
        for k in range(len(prior)):  # 1 / Σ of the ratios to class k
            ratios = [np.exp(min(row[j] - row[k], 700.0)) * prior[j] / prior[k] for j in range(len(prior))]
            out[i, k] = 1 / sum(ratios)
    return out


def by_logsumexp(log_p, prior):
    joint = log_p + np.log(prior)[None]
    return np.exp(joint - logsumexp(joint, axis=-1)[:, None])


def best_first(log_p, prior):
    weight = np.exp(log_p - np.max(log_p, axis=1)[:, None]) * prior
    return weight / np.einsum("nk->n", weight)[:, None]


def one_by_one(log_p, m):
    total = 0.0
    for each in log_p:
        total -= each / np.log(2) / m
    return total / len(log_p)


def pixels_in_one(log_p, m):
    return -np.sum(log_p) * np.log2(np.e) / (len(log_p) * m)


def per_pixel_first(log_p, m):
    return np.average(np.asarray(log_p) / m / -np.log(2))


def run(made, log_p, prior, own, m):
    return {"p": made.class_probabilities(log_p, prior), "bits": made.bits_per_pixel(own, m)}


def pictures(rng, N, K, m, surprise=1.5, scale=1.0):
    """log P(x | y) of N pictures of m pixels; `surprise` is what a pixel costs, in nats."""
    prior = rng.dirichlet(np.full(K, 3.0)) * 0.9 + 0.1 / K
    log_p = -surprise * m + scale * rng.normal(size=(N, K))
    return {"log_p": log_p, "prior": prior, "own": -surprise * m * rng.uniform(0.7, 1.3, size=N), "m": m}


def probes(rng):
    return {
        "small pictures": pictures(rng, 5, 3, 4),
        "as many pictures as classes": pictures(rng, 4, 4, 6),
        "digits": pictures(rng, 6, 10, 64, scale=4.0),
        "large pictures": pictures(rng, 3, 5, 1000, scale=3.0),
    }


def edges(rng):
    apart = pictures(rng, 3, 4, 50)
    apart["log_p"] = apart["log_p"] - np.array([0.0, 900.0, 2000.0])[:, None]
    return {
        "one picture": pictures(rng, 1, 3, 9),
        "one class": pictures(rng, 4, 1, 9) | {"prior": np.ones(1)},
        "pictures that differ by a thousand nats": apart,
        "classes that differ by a hundred nats": pictures(rng, 4, 3, 100, scale=100.0),
        "a class that is rare": pictures(rng, 4, 2, 16) | {"prior": np.array([1 - 1e-6, 1e-6])},
        "one pixel": pictures(rng, 4, 3, 1),
    }


EXERCISE = Exercise(
    target="minilm.formulas.pixels.class_probabilities",
    also=("minilm.formulas.pixels.bits_per_pixel",),
    section=("20", "Recognising: Bayes' rule"),
    task="A model gave log P(x | y), in nats, to every picture in every class. Write two functions: P(y | x) by Bayes' rule, and "
    "how many bits per pixel the pictures take. The logarithms may be −1000 and less. Each function is checked on its own.",
    returns={"p": "picture class", "bits": ""},
    tiny=lambda: {
        "log_p": np.log(np.array([[0.2, 0.1], [0.1, 0.1]])),
        "prior": np.array([0.25, 0.75]),
        "own": np.log(np.array([0.25, 0.0625])),
        "m": 3,
    },
    probes=probes,
    edges=edges,
    run=run,
    properties=(
        Property(
            "the probabilities of the classes sum to 1 for every picture",
            lambda rng: {"digits": pictures(rng, 7, 10, 64)},
            lambda out: np.allclose(out[0].sum(axis=1), 1, atol=1e-9),
        ),
    ),
    given=("minilm.formulas.cross_entropy.log_softmax",),
    needs=("log_softmax", "perplexity"),
    forbidden=("class_probabilities", "bits_per_pixel"),
    steps=(
        "the logarithm of the numerator of Bayes' rule [N, K]: a product becomes a sum",
        "divide by the sum over the classes, in such a way that exp never makes a whole row 0",
        "bits: the mean over the pictures, per pixel, with the base 2",
    ),
    right={
        "loops": {"class_probabilities": loops, "bits_per_pixel": one_by_one},
        "logsumexp": {"class_probabilities": by_logsumexp, "bits_per_pixel": pixels_in_one},
        "the best class first": {"class_probabilities": best_first, "bits_per_pixel": per_pixel_first},
    },
    wrong=listed(MISTAKES, having),
    hints=(
        "Bayes' rule divides P(x | y) P(y) by its sum over the classes. A softmax does just that with logarithms: it divides exp of "
        "each entry by the sum of exp over the row. And a bit is a nat divided by log 2.",
        "log_p [N, K] plus the logarithm of prior [K], which fits on the last axis → [N, K]; softmax over the classes → [N, K]. "
        "Bits: log_p [N] → one number, its mean over N, divided by m and by log 2, with the sign changed.",
        "z = log_p + log of prior;  subtract each row's largest;  e = exp of that;  e over its sum along the last axis.  "
        "bits: minus mean of log_p, over (m times log 2)",
    ),
)
