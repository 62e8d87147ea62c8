r"""The likelihood, and which way to go.  F37.  20 minutes, easy."""

from functools import partial

import numpy as np
from scipy.special import log_softmax as scipy_log_softmax

from minilm.exercises.spec import Exercise, Property, listed


def log_p_of(theta):
    return theta - theta.max() - np.log(np.exp(theta - theta.max()).sum())


def flawed_log_likelihood(theta, x, wrong=frozenset()):
    log_p = log_p_of(theta)
    for key, value in {
        "loss": lambda: -log_p[x].sum(),
        "mean": lambda: log_p[x].mean(),
        "no_softmax": lambda: theta[x].sum(),
        "product": lambda: np.exp(log_p[x].sum()),
        "log_of_product": lambda: np.log(np.prod(np.exp(log_p)[x])),
        "bits": lambda: log_p[x].sum() / np.log(2),
        "favourite": lambda: len(x) * log_p.max(),
        "expected": lambda: len(x) * (np.exp(log_p) * log_p).sum(),
        "every_outcome": lambda: log_p.sum(),
        "log_of_softmax": lambda: np.log(np.exp(theta) / np.exp(theta).sum())[x].sum(),
        "once": lambda: log_p[np.unique(x)].sum(),
    }.items():
        if key in wrong:
            return float(value())
    return float(log_p[x].sum())


def flawed_gradient(theta, x, wrong=frozenset()):
    N, K = len(x), len(theta)
    n, p = np.bincount(x, minlength=K), np.exp(log_p_of(theta))
    for key, value in {
        "turned": lambda: N * p - n,
        "gradient_mean": lambda: n / N - p,
        "p_once": lambda: n - p,
        "counts": lambda: n.astype(float),
        "own_only": lambda: n * (1 - p),
        "for_p": lambda: n / p,
        "of_product": lambda: (n - N * p) * np.exp(log_p_of(theta)[x].sum()),
        "repeated_once": lambda: np.eye(K)[np.unique(x)].sum(axis=0) - N * p,
        "theta_as_p": lambda: n - N * theta,
    }.items():
        if key in wrong:
            return value()
    return n - N * p


def flawed_maximise(theta, x, learning_rate, steps, wrong=frozenset()):
    now, path = np.array(theta, dtype=float), [np.array(theta, dtype=float)]
    for _ in range(steps):
        g = flawed_gradient(theta if "frozen" in wrong else now, x, wrong)
        move = learning_rate * g / (1 if "no_mean" in wrong else len(x))
        if "down" in wrong:
            move = -move
        if "signs" in wrong:
            move = learning_rate * np.sign(g)
        if "no_rate" in wrong:
            move = g / len(x)
        now = theta + move if "from_start" in wrong else now + move
        path.append(now)
    if "same_array" in wrong:
        path = [now] * (steps + 1)
    if "no_start" in wrong:
        path = path[1:]
    if "last" in wrong:
        return path[-1]
    return np.array(path)


def having(*wrong):
    wrong = frozenset(wrong)
    return {
        "log_likelihood": partial(flawed_log_likelihood, wrong=wrong),
        "log_likelihood_gradient": partial(flawed_gradient, wrong=wrong),
        "maximise": partial(flawed_maximise, wrong=wrong),
    }


MISTAKES = """  key · what it looks like · a question
loss · log L has a minus sign in front: it is the loss, summed ·
    is the logarithm of a probability positive or negative?
mean · log L is a mean over the examples, not a sum ·
    the likelihood is a product over the examples: what is the logarithm of a product?
no_softmax · the logits are used as log-probabilities ·
    does exp of θ sum to 1?
product · this is L, not log L ·
    what is 0.1 to the power of 400 on a computer?
log_of_product · the probabilities are multiplied first, and then the logarithm is taken ·
    what is 0.1 to the power of 400 on a computer, and what is its logarithm?
bits · log L is in bits ·
    which base does the logarithm have if the unit is the nat?
favourite · every example counts with the most probable outcome, whatever it was ·
    if other outcomes had come, should the likelihood be the same?
expected · the logarithms are weighed with the probabilities of the model, not with the examples ·
    where do the examples enter your log L?
every_outcome · every outcome counts once, whether it occurred or not ·
    how often does an outcome count that occurred three times, and how often one that never occurred?
log_of_softmax · the softmax is computed first, and its 0 has no logarithm ·
    what is exp(1000) on a computer?
once · in log L, an outcome that occurred several times counts once ·
    how many factors does the product over the examples have?
turned · the gradient has the other sign ·
    should the logit of an outcome that occurs often be raised or lowered?
gradient_mean · the gradient is that of the mean, not of the sum ·
    log L is a sum over N examples: how large is its gradient if every example comes twice?
p_once · the probabilities are subtracted once, not once per example ·
    each example adds onehot(x) − p: what do N examples add?
counts · the gradient consists of the counts alone ·
    where the probabilities are n/N already, what should the gradient be?
own_only · an example raises its own logit and does not lower the others ·
    if one logit rises, what happens to the probabilities of all others?
for_p · this is the gradient for the probabilities, not for the logits ·
    with respect to what do you differentiate: p or θ?
of_product · this is the gradient of L, not of log L ·
    by which factor do the gradients of L and of log L differ, and what is left of it for many examples?
repeated_once · in the gradient, an outcome that occurred several times counts once ·
    how do you count an outcome that occurs three times in x?
theta_as_p · the gradient uses θ where the probabilities should be ·
    does exp of θ sum to 1, or does θ?
down · the steps go down: the likelihood is minimised ·
    does log L grow along your path?
no_mean · the steps are not divided by the number of examples ·
    if every example comes twice, should your steps be twice as long?
frozen · the gradient is taken at the start and never again ·
    at which θ do you need the slope for your second step?
from_start · every step sets out from the start ·
    where does the second step begin?
signs · only the sign of the gradient is used ·
    near the top the slope is small: how long are your steps there?
no_rate · the learning rate is not used ·
    where does your code use learning_rate?
same_array · every row of the path is the last one ·
    do you append the array itself, which goes on changing, or a new one?
no_start · the path does not begin with the start ·
    how many rows has a path of no steps?
last · only the end of the path is returned ·
    the path is [steps + 1, K]: which θ do you have to keep?
"""


def example_by_example(theta, x):
    total, largest = 0.0, max(theta)
    for each in x:
        total += theta[each] - largest - np.log(sum(np.exp(theta - largest)))
    return total


def by_counts(theta, x):
    return float(np.bincount(x, minlength=len(theta)) @ scipy_log_softmax(theta))


def by_logaddexp(theta, x):
    return float(theta[x].sum() - len(x) * np.logaddexp.reduce(theta))


def gradient_example_by_example(theta, x):
    e = np.exp(theta - max(theta))
    total = np.zeros(len(theta))
    for each in x:
        total[each] += 1
        total -= e / e.sum()
    return total


def gradient_by_onehot(theta, x):
    rows = np.eye(len(theta))[x] - np.exp(scipy_log_softmax(theta))
    return np.einsum("nk->k", rows)


def gradient_by_add_at(theta, x):
    out = -len(x) * np.exp(theta - np.logaddexp.reduce(theta))
    np.add.at(out, x, 1.0)
    return out


def walk(gradient):
    def maximise(theta, x, learning_rate, steps):
        path = np.empty((steps + 1, len(theta)))
        path[0] = theta
        for i in range(steps):
            path[i + 1] = path[i] + learning_rate * gradient(path[i], x) / len(x)
        return path

    return maximise


def recursive(theta, x, learning_rate, steps):
    if steps == 0:
        return np.array([theta], dtype=float)
    before = recursive(theta, x, learning_rate, steps - 1)
    return np.vstack([before, before[-1] + learning_rate * gradient_by_add_at(before[-1], x) / len(x)])


def run(made, theta, x, learning_rate, steps):
    return {
        "log L": made.log_likelihood(theta, x),
        "gradient": made.log_likelihood_gradient(theta, x),
        "path": made.maximise(theta, x, learning_rate, steps),
    }


def draws(rng, N, K, steps=4, scale=1.0, rate=0.7):
    x = rng.integers(K - 1, size=N)  # the last outcome never occurs
    x[:3] = 1
    return {"theta": scale * rng.normal(size=K), "x": x, "learning_rate": rate, "steps": steps}


def probes(rng):
    return {
        "eleven examples": draws(rng, 11, 4),
        "as many examples as outcomes": draws(rng, 6, 6, steps=3),
        "a large learning rate": draws(rng, 9, 3, rate=3.0),
        "two thousand examples": draws(rng, 2000, 5, steps=2),
    }


def edges(rng):
    return {
        "logits of a thousand": draws(rng, 7, 4, scale=1e3),
        "no step": draws(rng, 7, 4, steps=0),
        "a single example": draws(rng, 4, 3) | {"x": np.array([2])},
        "always the same outcome": draws(rng, 8, 4) | {"x": np.full(8, 2)},
        "two outcomes": draws(rng, 5, 2) | {"x": np.array([0, 1, 1, 0, 1])},
    }


def rises(out):
    path = np.asarray(out[2])
    x = draws(np.random.default_rng(0), 12, 4)["x"]
    values = [log_p_of(theta)[x].sum() for theta in path]
    return bool(np.all(np.diff(values) > 0))


EXERCISE = Exercise(
    target="minilm.formulas.likelihood.log_likelihood",
    also=("minilm.formulas.likelihood.log_likelihood_gradient", "minilm.formulas.likelihood.maximise"),
    section=("20", "Maximised, not minimised"),
    task="A model gives K outcomes the probabilities softmax(θ). Write three functions: log L of N examples, its gradient with "
    "respect to θ, and a walk along this gradient, up or down, whichever training needs. D2 says down.",
    docstring=r"""log L(x; θ) = Σᵢ log softmax(θ)(xᵢ), in nats, for logits `theta` [K] and examples `x` [N] in 0 … K − 1.  F37.""",
    returns={"log L": "", "gradient": "outcome", "path": "step outcome"},
    tiny=lambda: {
        "theta": np.log(np.array([0.25, 0.25, 0.5])),
        "x": np.array([0, 0, 1, 2]),
        "learning_rate": 1.0,
        "steps": 1,
    },
    probes=probes,
    edges=edges,
    run=run,
    properties=(
        Property(
            "the likelihood grows at every step",
            lambda rng: {"twelve examples": draws(np.random.default_rng(0), 12, 4, steps=6)},
            rises,
        ),
    ),
    given=("minilm.formulas.cross_entropy.log_softmax",),
    needs=("log_softmax",),
    forbidden=("log_likelihood", "minimise_as_printed"),
    steps=(
        "the logarithm of a product over the examples is a sum of log-probabilities",
        "the gradient [K]: how often each outcome occurred, minus how often the model expects it among N examples",
        "the path [steps + 1, K] begins with θ; each step adds or subtracts η/N times the gradient at the newest θ",
    ),
    right={
        "example by example": {
            "log_likelihood": example_by_example,
            "log_likelihood_gradient": gradient_example_by_example,
            "maximise": walk(gradient_example_by_example),
        },
        "counts": {
            "log_likelihood": by_counts,
            "log_likelihood_gradient": gradient_by_onehot,
            "maximise": walk(gradient_by_onehot),
        },
        "logaddexp": {
            "log_likelihood": by_logaddexp,
            "log_likelihood_gradient": gradient_by_add_at,
            "maximise": recursive,
        },
    },
    wrong=listed(MISTAKES, having),
    hints=(
        "The likelihood is the probability of what was seen. Training makes what was seen more probable. The logarithm turns the "
        "product over the examples into a sum. For one example, the derivative of log softmax(θ)(x) is onehot(x) − softmax(θ).",
        "log_softmax(θ) [K], looked up at x → [N], summed → log L. Counts n [K] minus N times the probabilities [K] → gradient [K]. "
        "Path: steps + 1 rows of length K, the first of which is θ.",
        "log L = sum of log p at x;  gradient = counts minus N p;  repeat: newest θ plus η over N times the gradient there, and "
        "keep every θ",
    ),
)
