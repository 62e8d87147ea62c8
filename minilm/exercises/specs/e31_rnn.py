r"""The simple recurrent network: loss and back-propagation through time.  F09, F10, F11, F12, F13, F14.  60 minutes, hard."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed
from minilm.formulas.cross_entropy import log_softmax, softmax
from minilm.formulas.rnn import rnn_loss, rnn_loss_gradients

SIGMA = {"tanh": (np.tanh, lambda h: 1 - h**2), "relu": (lambda a: np.maximum(a, 0.0), lambda h: 1.0 * (h > 0))}


def states(x, h0, W_h, W_x, b_h, activation="tanh"):
    """h₀ … h_T, [T + 1, H]."""
    h = [h0]
    for x_t in x:
        h.append(SIGMA[activation][0](W_h @ h[-1] + W_x @ x_t + b_h))
    return np.array(h)


def flawed_loss(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation="tanh", wrong=frozenset()):
    h = states(x, h0, W_h, W_x, b_h, "tanh" if "always_tanh" in wrong else activation)
    if "not_handed_on" in wrong:
        h[1:] = SIGMA[activation][0](W_h @ h0 + x @ W_x.T + b_h)
    z = (h[:-1] if "before" in wrong else h[1:]) @ W_y.T + b_y
    if "sigma_out" in wrong:  # F10 read literally: the σ of F09
        p = np.tanh(z) if activation == "tanh" else np.maximum(z, 0)
        return float(-np.log(p[np.arange(len(y)), y]).sum())
    log_y_hat = log_softmax(z)
    if "entropy" in wrong:
        return float(-(np.exp(log_y_hat) * log_y_hat).sum())
    losses = -log_y_hat[np.arange(len(y)), y]
    if "bits" in wrong:
        losses = losses / np.log(2)
    if "minus" in wrong:
        losses = -losses
    if "own_answer" in wrong:
        losses = -log_y_hat.max(-1)
    if "zero_word" in wrong:
        losses = losses[y > 0]
    return float(losses.mean() if "mean" in wrong else losses[-1] if "last" in wrong else losses.sum())


def flawed(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation="tanh", wrong=frozenset()):
    h = states(x, h0, W_h, W_x, b_h, activation)
    dz = softmax(h[1:] @ W_y.T + b_y)
    if "entropy" in wrong:  # the gradient of −Σ ŷ log ŷ
        dz = -dz * (np.log(dz) - (dz * np.log(dz)).sum(-1, keepdims=True))
    else:
        dz[np.arange(len(y)), y] -= 1
    if "mean" in wrong:
        dz = dz / len(x)
    dh, da, later = dz @ W_y, np.zeros((len(x), len(h0))), np.zeros(len(h0))
    for t in reversed(range(len(x))):
        up = dh[t] + (0 if "single" in wrong else later)
        if "last_only" in wrong:
            up = later if t < len(x) - 1 else up
        slope_at = h[t] if "slope_before" in wrong else h[t + 1]
        slope = SIGMA["tanh" if "always_tanh" in wrong else activation][1](slope_at)
        if "sigmoid_slope" in wrong and activation == "tanh":
            slope = slope_at * (1 - slope_at)
        da[t] = up * (1 if "no_slope" in wrong else slope)
        later = (W_h if "not_transposed" in wrong else W_h.T) @ da[t]
    before = h[1:] if "h_after" in wrong else h[:-1]
    if "minus" in wrong:
        da, dz, later = -da, -dz, -later
    dW_h, dW_x, db = da.T @ before, da.T @ x, da.sum(0)
    if "overwritten" in wrong:
        dW_h, dW_x, db = np.outer(da[0], h0), np.outer(da[0], x[0]), da[0]
    if "no_dh0" in wrong:
        later = 0 * later
    if "out_before" in wrong:
        return da @ W_x, later, dW_h, dW_x, db, dz.T @ h[:-1], dz.sum(0)
    if "zero" in wrong:
        dW_h, dW_x, db = 0 * dW_h, 0 * dW_x, 0 * db
    if "printed" in wrong:
        dW_h, dW_x, db = dW_h.sum(0) * 0, dW_x.sum(0) * 0, 0.0
    if "repaired" in wrong:
        dW_h, dW_x, db = dz.T @ before, dz.T @ x, dz.sum(0)
    return da @ W_x, later, dW_h, dW_x, db, dz.T @ h[1:], dz.sum(0)


def loss_in_a_loop(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation="tanh"):
    total = 0.0
    for x_t, word in zip(x, y):
        h0 = SIGMA[activation][0](np.hstack([W_h, W_x]) @ np.hstack([h0, x_t]) + b_h)
        z = [row @ h0 + bias for row, bias in zip(W_y, b_y)]
        total += max(z) - z[word] + np.log(sum(np.exp(each - max(z)) for each in z))
    return total


def loss_by_logaddexp(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation="tanh"):
    z = np.einsum("vh,th->tv", W_y, states(x, h0, W_h, W_x, b_h, activation)[1:]) + b_y
    return np.logaddexp.reduce(z, axis=1).sum() - np.take_along_axis(z, y[:, None], 1).sum()


def gradients_in_a_loop(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation="tanh"):
    h = states(x, h0, W_h, W_x, b_h, activation)
    dx, dW_h, dW_x, db_h, dW_y, db_y = (np.zeros(a.shape) for a in (x, W_h, W_x, b_h, W_y, b_y))
    up = np.zeros(len(h0))
    for t in range(len(x), 0, -1):
        dz = softmax(W_y @ h[t] + b_y) - np.eye(len(b_y))[y[t - 1]]
        da = (up + dz @ W_y) * SIGMA[activation][1](h[t])
        dW_y, db_y, db_h = dW_y + np.outer(dz, h[t]), db_y + dz, db_h + da
        dW_h, dW_x = dW_h + np.outer(da, h[t - 1]), dW_x + np.outer(da, x[t - 1])
        dx[t - 1], up = da @ W_x, da @ W_h
    return dx, up, dW_h, dW_x, db_h, dW_y, db_y


def through_one_matrix(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation="tanh"):
    """All steps form one linear system, (1 − N) δa = slope ⊙ dh, where N is what each step passes back to the one before."""
    h, (T, H) = states(x, h0, W_h, W_x, b_h, activation), (len(x), len(h0))
    slope = SIGMA[activation][1](h[1:])
    dz = softmax(h[1:] @ W_y.T + b_y) - np.eye(len(b_y))[y]
    N = np.zeros((T, H, T, H))
    for t in range(T - 1):
        N[t, :, t + 1] = slope[t][:, None] * W_h.T
    da = np.linalg.solve(np.eye(T * H) - N.reshape(T * H, T * H), (slope * (dz @ W_y)).ravel()).reshape(T, H)
    sums = np.einsum("ta,th->ah", da, h[:-1]), np.einsum("ta,ti->ai", da, x), da.sum(0)
    return da @ W_x, W_h.T @ da[0], *sums, np.einsum("tv,th->vh", dz, h[1:]), dz.sum(0)


def autograd(x, y, h0, W_h, W_x, b_h, W_y, b_y, activation="tanh"):
    import torch

    x, h, W_h, W_x, b_h, W_y, b_y = kept = [
        torch.tensor(a, requires_grad=True) for a in (x, h0, W_h, W_x, b_h, W_y, b_y)
    ]
    loss = torch.zeros((), dtype=torch.float64)
    for t, word in enumerate(y.tolist()):
        h = getattr(torch, activation)(W_h @ h + W_x @ x[t] + b_h)
        loss = loss - (W_y @ h + b_y).log_softmax(0)[word]
    loss.backward()
    return tuple(leaf.grad.numpy() for leaf in kept)


def loss_or_gradients(made, loss, **inputs):
    """Only the loss if `loss` is true, otherwise only the gradients."""
    if loss:
        return {"L": made.rnn_loss(**inputs)}
    return made.rnn_loss_gradients(**inputs)


def sequence(rng, T, I, H, V, activation="tanh", loss=False):
    shapes = {"h0": H, "W_h": (H, H), "W_x": (H, I), "b_h": H, "W_y": (V, H), "b_y": V}
    drawn = {name: rng.normal(scale=0.7, size=shape) for name, shape in shapes.items()}
    y = rng.integers(V, size=T)
    y[-1] = y[0]  # one word occurs twice
    return {"loss": loss, "x": rng.normal(size=(T, I)), "y": y, **drawn, "activation": activation}


def probes(rng):
    sizes = {"five steps": (5, 3, 4, 6), "other sizes": (7, 2, 3, 5), "all sizes the same": (4, 4, 4, 4)}
    out = {}
    for (name, size), activation in zip(sizes.items(), ("tanh", "relu", "tanh")):
        out[f"the loss, {name}"] = sequence(rng, *size, activation, True)
        out[f"the gradients, {name}"] = {**out[f"the loss, {name}"], "loss": False}
    return out


def edges(rng):
    sure = sequence(rng, 4, 2, 3, 5, loss=True)
    sure["b_y"] = sure["b_y"] + 1e3 * np.arange(5)
    return {
        "the loss, logits of thousands": sure,
        "the gradients, logits of thousands": {**sure, "loss": False},
        "the loss, word 0": {**(zero := sequence(rng, 4, 2, 3, 4, loss=True)), "y": np.array([0, 2, 0, 3])},
        "the gradients, word 0": {**zero, "y": np.array([0, 2, 0, 3]), "loss": False},
        "the gradients, a long sentence": sequence(rng, 24, 2, 3, 4),
        "the loss, a single step": (one := sequence(rng, 1, 2, 3, 4, loss=True)),
        "the gradients, a single step": {**one, "loss": False},
    }


def tiny():
    fixed = sequence(np.random.default_rng(3), 2, 1, 1, 2)
    return {name: np.round(a, 1) if isinstance(a, np.ndarray) and name != "y" else a for name, a in fixed.items()}


MISTAKES = """  key · what it looks like · a question
entropy · it is the entropy of ŷ, as printed: y is never used ·
    which word really came next, and where do you use it?
zero · the gradients through time are zero, as printed: y − y ·
    what is a number minus itself, whatever W_h is?
printed · the gradients through time are the printed sums, vectors of zeros ·
    which shape must the gradient of W_h [H, H] have?
repaired · W_yᵀ, σ′ and the path through time are missing, as printed ·
    what lies between W_h and ŷₜ − yₜ?
no_slope · the slope σ′ is missing ·
    hₜ = σ(aₜ): what do you multiply by on the way back from h to a?
single · it stops after a single step: no gradient goes back in time ·
    does hₜ affect the loss only through ŷₜ?
last_only · only the loss of the last step sends a gradient back ·
    L is a sum Σₜ: how many steps have a loss of their own?
not_transposed · W_h is not transposed on the way back ·
    with H = 2, by hand: which entry of h does W_h[0, 1] multiply?
h_after · the gradient of W_h uses hₜ instead of hₜ₋₁ ·
    what is W_h multiplied by at step t?
overwritten · the gradients are overwritten at each step, not summed ·
    how many steps use the same W_h?
mean · it is the mean over the steps instead of the sum ·
    L = −Σₜ …: is anything divided here?
entropy_loss · the loss alone is the entropy of ŷ, as printed ·
    if another word had come, should the loss be the same?
last · only the loss of the last step is counted ·
    L is a sum Σₜ: how many words were predicted?
before · ŷₜ is computed from hₜ₋₁ ·
    has this state already read xₜ?
not_handed_on · every step starts from h0 ·
    what does the third step know about the second?
sigma_out · the output goes through σ, as printed, not through softmax ·
    what must the numbers of ŷₜ sum to?
always_tanh · tanh is used, whatever `activation` says ·
    what is σ when activation is relu, and what is its slope?
bits_loss · the loss is in bits: its logarithm has base 2 ·
    which base does the logarithm have that undoes exp?
minus · the sign is reversed ·
    the logarithm of a probability is negative: should a loss be negative?
own_answer_loss · the loss is taken at the word that the model finds most likely ·
    if another word had come, should the loss be the same?
zero_word_loss · the words with the id 0 are left out of the loss ·
    is 0 an id like any other?
slope_before · the slope is taken at hₜ₋₁ instead of hₜ ·
    hₜ = σ(aₜ): at which of the two states does 1 − h² give the slope at aₜ?
sigmoid_slope · the slope of the sigmoid, h(1 − h), is used for tanh ·
    what is the slope of tanh at 0, and what does your formula give there?
no_dh0 · the gradient of h0 is 0 ·
    does the first step not use h0?
out_before · the gradient of W_y uses hₜ₋₁ instead of hₜ ·
    what was W_y multiplied by at step t?
"""
RETURNS = {"dx": "step input", "dh0": "unit", "dW_h": "unit unit", "dW_x": "unit input", "db_h": "unit"}
RETURNS |= {"dW_y": "word unit", "db_y": "word"}
IN_BOTH = ("entropy", "mean", "always_tanh", "minus")
IN_LOSS = ("entropy_loss", "last", "before", "not_handed_on", "sigma_out")


def mistake(key, name, question):
    wrong = frozenset({key.removesuffix("_loss")})
    loss_only = key in IN_LOSS or key.endswith("_loss")
    loss = partial(flawed_loss, wrong=wrong) if key in IN_BOTH or loss_only else rnn_loss
    gradients = rnn_loss_gradients if loss_only else partial(flawed, wrong=wrong)
    return Wrong(name, question, {"rnn_loss_gradients": gradients, "rnn_loss": loss})


EXERCISE = Exercise(
    target="minilm.formulas.rnn.rnn_loss_gradients",
    also=("minilm.formulas.rnn.rnn_loss",),
    section=("08", "Back through time, with a pencil"),
    task="Write the loss of a network that reads word by word, and its gradients. Document D1 prints the gradients, "
    "but not one of them is right: derive them yourself. σ is tanh or ReLU; you can compute the slope of both from h.",
    docstring="""δx, δh0, δW_h, δW_x, δb_h, δW_y, δb_y: the gradients of `rnn_loss`, derived by hand.  F12, F13, F14, corrected.

    hₜ = σ(W_h hₜ₋₁ + W_x xₜ + b_h), ŷₜ = softmax(W_y hₜ + b_y), L = −Σₜ log ŷₜ(yₜ): a sum over the steps, not a mean.
    `x` [T, I], `y` [T], `h0` [H], `W_h` [H, H], `W_x` [H, I], `b_h` [H], `W_y` [V, H], `b_y` [V].""",
    returns=RETURNS,
    tiny=tiny,
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "the gradient of the output bias b_y sums to 0",
            lambda rng: {"gradients": sequence(rng, 4, 2, 3, 5)},
            lambda out: abs(out[6].sum()) < 1e-9,
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"four steps": sequence(rng, 4, 2, 3, 4)},
        wrt=("x", "h0", "W_h", "W_x", "b_h", "W_y", "b_y"),
        forward=lambda loss, **inputs: rnn_loss(**inputs),
    ),
    run=loss_or_gradients,
    needs=("softmax", "log_softmax", "cross_entropy_gradient"),
    given=("minilm.formulas.cross_entropy.softmax", "minilm.formulas.cross_entropy.log_softmax"),
    forbidden=("rnn", "rnn_output", "rnn_gradients", "rnn.rnn_loss", "backward", "grad"),
    steps=(
        "all states h [T, H] and their predictions ŷ [T, V]",
        "the gradient of the logits, through softmax and cross-entropy together [T, V]; from it δW_y, δb_y and the gradient of "
        "each state",
        "from the last step to the first: add the gradient from this step's loss and the gradient from the step after it; then "
        "go through σ",
        "every step uses the same weights: sum over the steps",
    ),
    right={
        "loops": {"rnn_loss_gradients": gradients_in_a_loop, "rnn_loss": loss_in_a_loop},
        "through one matrix": {"rnn_loss_gradients": through_one_matrix, "rnn_loss": loss_by_logaddexp},
        "autograd": {"rnn_loss_gradients": autograd, "rnn_loss": loss_in_a_loop},
    },
    wrong={key: mistake(key, each.name, each.question) for key, each in listed(MISTAKES).items()},
    hints=(
        "The loss of every step is the cross-entropy of exercise 4: the gradient of its logits is ŷₜ minus the one-hot answer. "
        "Each state affects the loss in two ways: through its own ŷₜ, and through the state after it.",
        "δz = ŷ − onehot(y) [T, V]; δhₜ = W_yᵀ δzₜ + W_hᵀ δaₜ₊₁ [H]; δaₜ = δhₜ ⊙ σ′ [H] (1 − h² for tanh; 1 where h > 0 for "
        "ReLU); δW_h is the sum of the outer products of δaₜ and hₜ₋₁, δW_x that of δaₜ and xₜ, δW_y that of δzₜ and hₜ.",
        "run forward and keep h;  dz = softmax of the logits, minus 1 at the words;  for t from the last down:  da[t] = (dz[t] "
        "@ W_y + later) times slope;  later = W_h transposed @ da[t];  return the seven sums and products",
    ),
)
