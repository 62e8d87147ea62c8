r"""Yes or no: binary cross-entropy and its gradient.  F04, F05, F06.  25 minutes, medium."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed
from minilm.formulas.binary_cross_entropy import binary_cross_entropy_with_logits, parameter_gradient_from_logits


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def flawed_loss(z, y, wrong=frozenset()):
    if "overflow" in wrong:
        return (np.log(1 + np.exp(z)) - y * z).mean()
    if wrong & {"log_0", "clipped", "epsilon"}:
        y_hat = sigmoid(z)
        if "clipped" in wrong:
            y_hat = np.clip(y_hat, 1e-12, 1 - 1e-12)
        tiny = 1e-8 if "epsilon" in wrong else 0.0
        return -(y * np.log(y_hat + tiny) + (1 - y) * np.log(1 - y_hat + tiny)).mean()
    if "twice" in wrong:
        z = sigmoid(z)
    if "no_sigmoid" in wrong:
        return -(y * np.log(np.abs(z)) + (1 - y) * np.log(np.abs(1 - z))).mean()
    if "cut_off" in wrong:
        z = np.clip(z, -30, 30)
    loss = np.logaddexp(0, z) - y * z
    if "turned" in wrong:
        loss = np.logaddexp(0, z) - (1 - y) * z
    if "plus" in wrong:
        loss = np.logaddexp(0, z) + y * z
    if "no_product" in wrong:
        loss = np.logaddexp(0, z) - z
    if "squared_loss" in wrong:
        loss = (sigmoid(z) - y) ** 2
    if "rounded" in wrong:
        loss = np.where(y > 0.5, np.logaddexp(0, -z), np.logaddexp(0, z))
    if "double" in wrong:
        loss = 2 * loss
    if "half" in wrong:  # the answer "no" costs nothing
        loss = y * np.logaddexp(0, -z)
    if "bits" in wrong:
        loss = loss / np.log(2)
    return (loss.sum() if "sum" in wrong else loss.mean()) * (-1 if "sign_loss" in wrong else 1)


def flawed(z, y, dz, wrong=frozenset()):
    N, n = dz.shape
    y_hat = sigmoid(sigmoid(z)) if "twice" in wrong else sigmoid(z)
    error = y_hat - y
    if "by_p" in wrong:
        error = -(y / y_hat - (1 - y) / (1 - y_hat))
    if "quotient" in wrong:  # right on paper, 0/0 where the model is certain
        error = -(y / y_hat - (1 - y) / (1 - y_hat)) * y_hat * (1 - y_hat)
    if "no_sigmoid" in wrong:
        error = z - y
    if "turned" in wrong:
        error = y_hat - (1 - y)
    if "plus" in wrong:
        error = y_hat + y
    if "no_answer" in wrong:
        error = y_hat
    if "rounded" in wrong:
        error = y_hat - (y > 0.5)
    if "slope_only" in wrong:
        error = y_hat * (1 - y_hat)
    if "double" in wrong:
        error = 2 * error
    if "slope_again" in wrong:
        error = error * y_hat * (1 - y_hat)
    if "half" in wrong:
        error = y * error
    if "sign" in wrong:
        error = -error
    if "axis" in wrong:
        return (error[:, None] * dz).mean(axis=1)
    if "wrong_mean" in wrong:
        return error @ dz / n
    if "error_mean" in wrong:
        return error.mean() * dz.mean(axis=0)
    return error @ dz / (1 if "sum" in wrong else N)


def loss_by_softplus(z, y):
    return np.mean(np.maximum(z, 0) - y * z + np.log1p(np.exp(-np.abs(z))))


def loss_in_a_loop(z, y):
    total = 0.0
    for a, answer in zip(z, y):
        yes = np.log1p(np.exp(-a)) if a > 0 else np.log1p(np.exp(a)) - a  # −log σ(a)
        total += answer * yes + (1 - answer) * (yes + a)
    return total / len(z)


def loss_of_two_classes(z, y):
    """Softmax over the logits 0 and z."""
    both = np.stack([np.zeros(len(z)), z])
    log_y_hat = both - np.logaddexp(*both)
    return -np.einsum("kn,kn->", np.stack([1 - y, y]), log_y_hat) / len(y)


def gradient_in_a_loop(z, y, dz):
    total = np.zeros(dz.shape[1])
    for a, answer, row in zip(z, y, dz):
        total += (0.5 + 0.5 * np.tanh(a / 2) - answer) * row
    return total / len(z)


def gradient_by_einsum(z, y, dz):
    return np.einsum("n,nk->k", np.exp(-np.logaddexp(0, -z)) - y, dz) / len(y)


def gradient_by_average(z, y, dz):
    from scipy.special import expit

    return np.mean((expit(z) - y)[:, None] * dz, axis=0)


def loss_or_gradient(made, X, theta, y, loss):
    """Logistic regression: z = X θ, so ∂z/∂θ is X. If `loss` is true, return the loss, otherwise the gradient."""
    z = X @ theta
    if loss:
        return {"L": made.binary_cross_entropy_with_logits(z, y)}
    return {"dtheta": made.parameter_gradient_from_logits(z, y, X)}


def regression(rng, N, n, scale=1.0, loss=False, soft=False):
    y = rng.random(N) if soft else rng.integers(2, size=N).astype(float)
    if not soft:
        y[:2] = 0.0, 1.0
    return {"X": rng.normal(size=(N, n)), "theta": scale * rng.normal(size=n), "y": y, "loss": loss}


def both(name, inputs):
    return {f"the loss, {name}": {**inputs, "loss": True}, f"the gradient, {name}": inputs}


def probes(rng):
    return {
        **both("six examples", regression(rng, 6, 4)),
        **both("as many parameters as examples", regression(rng, 4, 4)),
        **both("only the answer no", {**regression(rng, 5, 3), "y": np.zeros(5)}),
        **both("only the answer yes", {**regression(rng, 3, 5), "y": np.ones(3)}),
        **both("answers that are probabilities", regression(rng, 7, 3, soft=True)),
    }


def certain(rng, N, n, right):
    """Logits beyond ±800, the first positive and the second negative, so that exp of one of them always overflows."""
    inputs = regression(rng, N, n)
    z = inputs["X"] @ inputs["theta"]
    yes = z > 0
    yes[:2] = True, False
    inputs["X"] *= (np.where(yes, 1, -1) * rng.uniform(800, 2000, size=N) / z)[:, None]
    return {**inputs, "y": (yes == right).astype(float)}


def edges(rng):
    return {
        **both("certain and right", certain(rng, 6, 3, True)),
        **both("certain and wrong", certain(rng, 4, 2, False)),
        **both("nearly certain", regression(rng, 6, 2, scale=25.0)),
        **both("logits of zero", {**regression(rng, 4, 2), "theta": np.zeros(2)}),
        **both("a single example", {**regression(rng, 2, 3), "X": rng.normal(size=(1, 3)), "y": np.array([1.0])}),
    }


def mirrored(rng):
    first = regression(rng, 6, 3)
    other = {**first, "theta": -first["theta"], "y": 1 - first["y"]}
    return {"yes and no": first, "no and yes, the sign of θ reversed": other}


def tiny():
    X = np.array([[1.0, 2.0], [0.0, -1.0], [-3.0, 1.0]])
    return {"X": X, "theta": np.array([1.0, 0.5]), "y": np.array([1.0, 0.0, 1.0]), "loss": False}


def mistake(key, each):
    where, _, name = each.name.partition(": ")
    wrong = frozenset({key})
    loss = partial(flawed_loss, wrong=wrong) if "loss" in where else binary_cross_entropy_with_logits
    gradient = partial(flawed, wrong=wrong) if "gradient" in where else parameter_gradient_from_logits
    return Wrong(name, each.question, pair(gradient, loss))


def pair(gradient, loss):
    return {"parameter_gradient_from_logits": gradient, "binary_cross_entropy_with_logits": loss}


MISTAKES = """  key · where: what it looks like · a question
log_0 · loss: the logarithm is taken of a ŷ that was rounded to 0 or 1 ·
    to a computer, σ(1000) is 1: what does log(1 − σ(1000)) give, and what should it be?
clipped · loss: ŷ is clipped before the logarithm, so being certain and wrong costs too little ·
    to a computer, σ(1000) is 1: what does log(1 − σ(1000)) give, and what should it be?
epsilon · loss: a small number is added inside the logarithm ·
    to a computer, σ(1000) is 1: what does log(1 − σ(1000)) give, and what should it be?
overflow · loss: exp is applied to the logits as they are, and overflows ·
    how large is exp(1000), and how large is log(1 + exp(1000))?
by_p · gradient: it is the gradient with respect to ŷ, not with respect to the logit ·
    the chain is θ → z → ŷ → L: which of its three steps does your formula leave out?
slope_again · gradient: it is multiplied by ŷ(1 − ŷ) once too often ·
    does ŷ − y not already contain the slope of σ?
quotient · gradient: it divides by ŷ or 1 − ŷ, which may be 0 ·
    multiply out −(y/ŷ − (1 − y)/(1 − ŷ)) · ŷ(1 − ŷ): what is left?
axis · gradient: the mean runs over the parameters, not over the examples ·
    how many numbers should come out, N or n?
wrong_mean · gradient: the sum is divided by the number of parameters ·
    what is L averaged over, and what does that mean for its gradient?
error_mean · gradient: error and input are averaged before they are multiplied ·
    is the mean of a product the product of the means?
sum · loss gradient: it is the sum over the examples instead of the mean ·
    what is L averaged over, and what does that mean for its gradient?
sign · gradient: the sign of the gradient is reversed ·
    if y = 1 and ŷ = 0, should z rise or fall?
sign_loss · loss: the minus sign of the loss is missing ·
    log ŷ is negative: should a loss be negative?
half · loss gradient: examples with the answer no are not counted ·
    what is your loss for a model that says yes to everything?
twice · loss gradient: σ is applied twice ·
    if 0.7 is already a probability, what is σ(0.7)?
bits · loss: the loss is measured in bits ·
    which base does the logarithm have whose slope is 1/x?
no_sigmoid · loss gradient: the logits are used as if they were probabilities ·
    can a probability be 3, or −1?
turned · loss gradient: yes and no are exchanged ·
    if y = 1, which of the two terms of the loss is left?
plus · loss gradient: y is added where it should be subtracted ·
    if the model is certain and right, how large should its loss be?
rounded · loss gradient: answers between 0 and 1 are rounded ·
    an answer of 0.6: is that a yes?
double · loss gradient: it is twice as large as it should be ·
    where would a factor 2 come from?
no_product · loss: z is subtracted whatever the answer is ·
    what is your loss if the answer is no?
squared_loss · loss: it is the squared difference of ŷ and y ·
    the task asks for a cross-entropy: where is its logarithm?
cut_off · loss: large logits are cut off, so being certain and wrong costs too little ·
    what should the loss be for z = 1000 and y = 0?
no_answer · gradient: the answer is not subtracted ·
    if the model is certain and right, how large should its gradient be?
slope_only · gradient: it is the slope of σ alone ·
    if the model is certain and wrong, should its gradient be near 0?
"""
EXERCISE = Exercise(
    target="minilm.formulas.binary_cross_entropy.parameter_gradient_from_logits",
    also=("minilm.formulas.binary_cross_entropy.binary_cross_entropy_with_logits",),
    section=("02", "The same gradient, simpler and safe"),
    task="Compute the loss of a yes-or-no question from the logits z, and its gradient with respect to the parameters θ behind "
    "them (ŷ = σ(z)). The check uses logistic regression, z = X θ. No logit, however large, may give NaN or infinity.",
    docstring="""∂L/∂θₖ [n] for L = `binary_cross_entropy_with_logits(z, y)`, with `dz` = ∂z/∂θ [N, n].  F06.

    D0 and D4 print −1/N Σᵢ (yᵢ/ŷᵢ − (1 − yᵢ)/(1 − ŷᵢ)) ∂ŷᵢ/∂θₖ. With ŷ = σ(z) this becomes shorter, and never divides by 0.""",
    returns={"dtheta": "parameter", "L": ""},
    tiny=tiny,
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "swapping yes and no and reversing the sign of θ reverses the sign of the gradient",
            mirrored,
            lambda a, b: np.allclose(a, -b),
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"five examples": regression(rng, 5, 3, soft=True)},
        wrt=("theta",),
        forward=lambda X, theta, y, loss: binary_cross_entropy_with_logits(X @ theta, y),
    ),
    run=loss_or_gradient,
    forbidden=(
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits_gradient",
        "parameter_gradient",
        "BCEWithLogitsLoss",
        "log_expit",
    ),
    steps=(
        "the derivative of the loss by each example's logit [N]: the prediction minus the answer, over N",
        "times the derivative of each logit by each parameter [N, n], summed over the examples [n]",
    ),
    right={
        "loops": pair(gradient_in_a_loop, loss_in_a_loop),
        "softplus": pair(gradient_by_average, loss_by_softplus),
        "as two classes": pair(gradient_by_einsum, loss_of_two_classes),
    },
    wrong={key: mistake(key, each) for key, each in listed(MISTAKES).items()},
    hints=(
        "−log σ(z) = log(1 + exp −z) and −log(1 − σ(z)) = log(1 + exp z), so you do not need ŷ for the loss. np.logaddexp(a, b) "
        "is log(exp a + exp b), without overflow. For the gradient: what is the derivative of log(1 + exp z)?",
        "loss: mean over N of log(1 + exp z) − y z. Gradient: (σ(z) − y) [N], divided by N, times dz [N, n] → [n].",
        "L = mean of (logaddexp of 0 and z, minus y times z);  error = (sigma of z, minus y) over N;  return error @ dz",
    ),
)
