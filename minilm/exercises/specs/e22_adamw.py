r"""One step of AdamW.  F03.  30 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong, listed


def flawed(theta, g, m, v, t, learning_rate, decay, betas=(0.9, 0.999), eps=1e-8, wrong=frozenset()):
    b1, b2 = betas[::-1] if "betas" in wrong else betas
    before = theta
    if wrong & {"own_constants", "own_betas"}:
        b1, b2, eps = 0.9, 0.999, 1e-8 if "own_constants" in wrong else eps
    if "forgets" in wrong:
        m, v = 0 * m, 0 * v
    gain = (1.0, 1.0) if "sums" in wrong else (b1, b2) if "weights_turned" in wrong else (1 - b1, 1 - b2)
    b1, b2 = (1 - b1, 1 - b2) if "weights_turned" in wrong else (b1, b2)
    if "l2" in wrong:
        g = g + decay * theta
    old_m, old_v = m, v
    m = b1 * m + gain[0] * (g**2 if "squared_m" in wrong else g)
    v = b2 * v + gain[1] * (np.abs(g) if "abs_v" in wrong else g if "plain_v" in wrong else g**2)
    if "largest_v" in wrong:
        v = np.maximum(v, old_v)
    if "v_of_m" in wrong:
        v = b2 * old_v + gain[1] * m**2
    power = t - 1 if "from_0" in wrong else t + 1 if "t_plus_1" in wrong else 1 if "always_1" in wrong else t
    m_hat = m if wrong & {"no_bias", "no_bias_m"} else m / (1 - b1**power)
    v_hat = v if wrong & {"no_bias", "no_bias_v"} else v / (1 - b2**power)
    if "times_t" in wrong:
        m_hat, v_hat = m / (1 - b1 * t), v / (1 - b2 * t)
    if "corrected_twice" in wrong:
        m_hat, v_hat = m * (1 - b1**power), v * (1 - b2**power)
    if "written_back" in wrong:
        m, v = m_hat, v_hat
    if "plain_g" in wrong:
        m_hat = g / (1 - b1**power)
    if "signs" in wrong:
        m_hat, v_hat = np.sign(m_hat), np.ones_like(v_hat)
    if "before" in wrong:  # the means of before this step
        m_hat, v_hat = old_m / (1 - b1**power), old_v / (1 - b2**power)
    if "eps_inside" in wrong:
        root = np.sqrt(v_hat + eps)
    elif "eps_scaled" in wrong:
        root = (np.sqrt(v) + eps) / np.sqrt(1 - b2**power)
    else:
        root = np.sqrt(v_hat) + eps
    if "no_root" in wrong:
        root = v_hat + eps
    if "no_epsilon" in wrong:
        root = np.sqrt(v_hat) + (v_hat == 0)
    if "at_least_eps" in wrong:
        root = np.maximum(np.sqrt(v_hat), eps)
    theta = theta - learning_rate * (m_hat * root if "times_root" in wrong else m_hat / root)
    if "uphill" in wrong:
        theta = before + learning_rate * m_hat / root
    if "no_rate_step" in wrong:
        theta = before - m_hat / root
    if wrong & {"l2", "no_decay"}:
        return theta, m, v
    return theta - shrinking(theta if "updated" in wrong else before, learning_rate, decay, wrong), m, v


def shrinking(theta, learning_rate, decay, wrong):
    """What the decay subtracts."""
    rate = 1.0 if "no_rate" in wrong else learning_rate**2 if "rate_twice" in wrong else learning_rate
    return rate * decay * theta * (-1 if "decay_plus" in wrong else 1)


MORE = """  key · what it looks like · a question
betas · the two betas are exchanged ·
    which of the two, 0.9 or 0.999, belongs to the mean of the gradients?
written_back · the corrected m and v are kept for the next step ·
    which m does the next step start from, m or m̂, and how often is it corrected then?
sums · the factors 1 − β are missing: m and v are sums, not means ·
    with a constant gradient g, towards which number should m go?
weights_turned · β and 1 − β are exchanged ·
    with β = 0.9, how much of the old mean should stay?
own_constants · the betas and ε are constants of your own, not the arguments ·
    where does your code use the arguments betas and eps?
forgets · the m and v that are passed in are not used ·
    where does your code use the arguments m and v?
squared_m · m is the running mean of g² ·
    m must say in which direction to go: can a square do that?
own_betas · the betas are constants of your own, not the argument ·
    where does your code use the argument betas?
plain_v · v is the running mean of g instead of g² ·
    can you take the root of a gradient?
abs_v · v is the running mean of |g| ·
    what is the root taken of in the formula?
v_of_m · v is made from m² instead of g² ·
    what is squared in the formula, this step's gradient or its running mean?
largest_v · v never falls (that is AMSGrad) ·
    after one very large gradient, should the steps stay short for ever?
t_plus_1 · t is counted one too high in the correction ·
    t counts from 1: how much is 1 − β at the first step, and what do you divide by?
always_1 · the correction is that of the first step at every step ·
    how large is 1 − βᵗ after a thousand steps?
times_t · the correction uses β · t instead of β to the power of t ·
    after a thousand steps, should m still be corrected?
corrected_twice · m and v are multiplied by the correction instead of divided by it ·
    both start at 0 and are too small at first: does your correction make them larger?
plain_g · the step uses the gradient itself instead of its running mean ·
    what is m for?
before · the step uses the m and v from before this step ·
    which is computed first in the docstring, the new m or the step?
signs · only the sign of m is used, without its size ·
    what is m̂/√v̂ if the gradients change their sign at every step?
no_epsilon · ε is not used ·
    if v̂ is 1e-12 and ε is 0.01, how long is the step?
at_least_eps · ε is used as a lower limit of the root instead of being added ·
    if √v̂ is 1 and ε is 0.1, by what do you divide?
times_root · the step is multiplied by the root of v̂ instead of divided by it ·
    if all gradients were a hundred times as large, how long should the step be?
uphill · the step goes in the direction of the gradient ·
    does the loss rise or fall in the direction of its gradient?
no_rate_step · the step is not multiplied by the learning rate ·
    where does your code use learning_rate?
rate_twice · the decay is multiplied by the learning rate twice ·
    how many times does η stand in front of λθ?
decay_plus · the decay makes the weights larger ·
    if the gradient is 0, should the weights grow or shrink?
"""


def loops(theta, g, m, v, t, learning_rate, decay, betas=(0.9, 0.999), eps=1e-8):
    out = [np.zeros(theta.shape) for _ in range(3)]
    for i in np.ndindex(theta.shape):
        out[1][i] = betas[0] * m[i] + (1 - betas[0]) * g[i]
        out[2][i] = betas[1] * v[i] + (1 - betas[1]) * g[i] * g[i]
        m_hat, v_hat = out[1][i] / (1 - betas[0] ** t), out[2][i] / (1 - betas[1] ** t)
        out[0][i] = theta[i] * (1 - learning_rate * decay) - learning_rate * m_hat / (v_hat**0.5 + eps)
    return tuple(out)


def corrected_rate(theta, g, m, v, t, learning_rate, decay, betas=(0.9, 0.999), eps=1e-8):
    """The bias corrections are moved into the learning rate and ε."""
    (b1, b2), root = betas, np.sqrt(1 - betas[1] ** t)
    m, v = m + (1 - b1) * (g - m), v + (1 - b2) * (g * g - v)
    return (
        theta - learning_rate * decay * theta - learning_rate * root / (1 - b1**t) * m / (np.sqrt(v) + eps * root),
        m,
        v,
    )


def decay_last(theta, g, m, v, t, learning_rate, decay, betas=(0.9, 0.999), eps=1e-8):
    """The decay comes after the step but uses the old weights: the result is the same."""
    new = {"m": np.average([m, g], axis=0, weights=[betas[0], 1 - betas[0]])}
    new["v"] = np.einsum("k,k...->...", np.array([betas[1], 1 - betas[1]]), np.stack([v, np.square(g)]))
    hat = {name: mean / (1 - beta**t) for (name, mean), beta in zip(new.items(), betas)}
    moved = theta - learning_rate * np.divide(hat["m"], np.sqrt(hat["v"]) + eps)
    return moved - learning_rate * decay * theta, new["m"], new["v"]


def several_steps(step, theta, gradients, m, v, rates, decay, betas, eps, first=1):
    """Make one step for each of `gradients`, the first of them number `first`; return θ, m and v after each of them."""
    history = {"theta": [], "m": [], "v": []}
    for t, (g, learning_rate) in enumerate(zip(gradients, rates), first):
        made = step(theta, g, m, v, t, learning_rate, decay, betas, eps)
        theta, m, v = made  # raises ValueError unless there are three
        for name, array in zip(history, made):
            history[name].append(np.array(array))
    return {name: np.array(arrays) for name, arrays in history.items()}


def run_of(rng, *shape, steps=5, decay=0.1, betas=(0.8, 0.95), eps=1e-2):
    gradients = rng.normal(size=(steps, *shape)) * rng.uniform(0.5, 2, size=(steps, *[1] * len(shape)))
    gradients[2 % steps] = 0  # one gradient is zero
    rates = [0.1] * 3 + [0.03] * (steps - 3)  # the learning rate changes midway
    zeros = np.zeros(shape)
    theta = 2 * rng.normal(size=shape)
    return {
        "theta": theta,
        "gradients": gradients,
        "m": zeros,
        "v": zeros.copy(),
        "rates": rates[:steps],
        "decay": decay,
        "betas": betas,
        "eps": eps,
    }


def edges(rng):
    still = run_of(rng, 4)
    still["gradients"] = still["gradients"] * 0
    tall = run_of(rng, 3, eps=1e-8)
    tall["gradients"] = tall["gradients"] * 1e3
    return {
        "no gradient at all": still,
        "gradients of a thousand": tall,
        "a single number": run_of(rng, 1),
        "no decay": run_of(rng, 3, decay=0.0),
        "many steps": run_of(rng, 2, steps=30),
        "three axes": run_of(rng, 2, 1, 3),
    }


def scaled(rng):
    a = {**run_of(rng, 4, decay=0.0, eps=0.0), "gradients": rng.normal(size=(5, 4))}
    return {"gradients": a, "gradients a hundred times as large": {**a, "gradients": 100 * a["gradients"]}}


EXERCISE = Exercise(
    target="minilm.formulas.optimizers.adamw_step",
    section=("01", "Keeping the parameters small: L2, and why AdamW"),
    task="Write one step of AdamW, the optimizer of nearly every language model, and return the new θ, m and v. The "
    "check makes several steps, with t = 1, 2, 3 … and a learning rate that changes.",
    docstring="""m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  m̂ = m/(1 − β₁ᵗ);  v̂ = v/(1 − β₂ᵗ);
    θ ← θ − ηλθ − η m̂/(√v̂ + ε). Returns (θ, m, v).  F03.

    η is `learning_rate`, λ is `decay`; t counts from 1. The decay does not enter m and v, and it uses the θ from before the step.""",
    returns={"theta": "step parameter", "m": "step parameter", "v": "step parameter"},
    tiny=lambda: {
        "theta": np.array([1.0, -2.0]),
        "gradients": np.array([[1.0, 0.0], [0.5, 2.0]]),
        "m": np.zeros(2),
        "v": np.zeros(2),
        "rates": [0.1, 0.1],
        "decay": 0.1,
        "betas": (0.9, 0.99),
        "eps": 0.01,
    },
    probes=lambda rng: {
        "five steps": run_of(rng, 4),
        "a matrix": run_of(rng, 2, 3, decay=0.3, betas=(0.9, 0.99), eps=0.1),
        "a run that goes on": {
            **run_of(rng, 4, decay=0.2),
            **{"m": rng.normal(size=4), "v": rng.uniform(0.5, 2, size=4), "first": 7},
        },
        "gradients far below epsilon": {**(r := run_of(rng, 3)), "gradients": r["gradients"] * 1e-3},
    },
    edges=edges,
    properties=(
        Property(
            "without decay and ε, the size of the gradients does not matter",
            scaled,
            lambda a, b: np.allclose(a[0], b[0]),
        ),
    ),
    run=several_steps,
    shown_first=("m", "v"),
    forbidden=("adam_step", "adamw_step", "AdamW", "Adam"),
    steps=(
        "the running means of g and of g²",
        "both start at 0 and are too small at first: correct them with β to the power of t",
        "the step: the corrected mean of g, divided by the root of the corrected mean of g²; add ε to the root, not under it",
        "the decay: a share of θ as it was before the step, times the learning rate",
    ),
    right={"loops": loops, "corrections in the rate": corrected_rate, "decay last, of the old weights": decay_last},
    wrong={
        "l2": Wrong(
            "the decay is added to the gradient (that is Adam with L2)",
            "if the decay passes through v, what is it divided by?",
        ),
        "no_bias": Wrong(
            "m and v are not corrected for their start at 0",
            "with a constant gradient g, what is m after the first step?",
        ),
        "no_bias_m": Wrong(
            "m is not corrected for its start at 0", "with a constant gradient g, what is m after the first step?"
        ),
        "no_bias_v": Wrong(
            "v is not corrected for its start at 0", "with a constant gradient g, what is v after the first step?"
        ),
        "updated": Wrong(
            "the decay uses the θ from after the step",
            "which θ is meant on the right of θ ← θ − ηλθ − …, the one before or the one after the step?",
        ),
        "eps_inside": Wrong("ε is under the root", "if v̂ is 0, how much is √(0 + ε), and how much is √0 + ε?"),
        "eps_scaled": Wrong(
            "ε is divided by √(1 − β₂ᵗ) together with the root of v",
            "which one goes under the root before you add ε, v or v̂?",
        ),
        "from_0": Wrong(
            "t is counted from 0, so the correction divides by 1 − β⁰ = 0", "how much is 1 − β to the power of 0?"
        ),
        "no_rate": Wrong(
            "the decay is not multiplied by the learning rate",
            "the learning rate goes to 0 at the end of a run: what does your decay do then?",
        ),
        "no_decay": Wrong("there is no decay", "if the gradient is 0, what should happen to the weights?"),
        "no_root": Wrong(
            "the step is divided by v̂ instead of its root",
            "if all gradients were a hundred times as large, how long should the step be?",
        ),
        **listed(MORE),
    },
    flawed=flawed,
    hints=(
        "You need two running means: m says in which direction to go, and v how large the gradients usually are. Their quotient "
        "m̂/√v̂ is about ±1, whatever the scale of the gradient. The decay is a separate matter.",
        "All arrays have the shape of θ. New m and v → m̂ = m / (1 − β₁ᵗ), v̂ = v / (1 − β₂ᵗ) → θ − η m̂ / (√v̂ + ε) − ηλθ, "
        "with the old θ.",
        "m = b1 * m + (1 minus b1) * g;  v likewise with g squared;  theta = theta * (1 minus learning_rate * decay) minus "
        "learning_rate * m_hat / (sqrt(v_hat) + eps);  return theta, m, v",
    ),
)
