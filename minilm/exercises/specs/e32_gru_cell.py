r"""The GRU, step by step.  F16."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def flawed(x, h0, W_x, W_h, b, b_h, wrong=frozenset()):
    h, out = h0, []
    for x_t in x:
        (a_r, a_z, a_n), (u_r, u_z, u_n) = np.split(W_x @ x_t + b, 3), np.split(W_h @ h + b_h, 3)
        H = len(h)
        if "swapped" in wrong:
            a_r, a_z, u_r, u_z = a_z, a_r, u_z, u_r
        r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
        bias = b_h[2 * H :]
        inside = W_h[2 * H :] @ (r * h) + r * bias if "before" in wrong else r * u_n
        if "one_bias" in wrong:  # the effect of merging the two biases
            inside = inside - r * bias + bias
        if "no_bias" in wrong:
            inside = inside - r * bias
        if "no_reset" in wrong:
            inside = u_n
        n = (sigmoid if "sigmoid_n" in wrong else np.tanh)(a_n + inside)
        z = 1 - z if "update" in wrong else z
        h_new = (1 - z) * n + z * (h0 if "start" in wrong else h)
        out.append(h_new)
        h = h if "no_step" in wrong else h_new
    return np.stack(out)


def loops(x, h0, W_x, W_h, b, b_h):
    (T, I), H = x.shape, len(h0)
    h = np.vstack([h0, np.zeros((T, H))])
    for t in range(T):
        for j in range(H):
            a, u = [], []
            for row in (j, H + j, 2 * H + j):
                a.append(sum(W_x[row, i] * x[t, i] for i in range(I)) + b[row])
                u.append(sum(W_h[row, k] * h[t, k] for k in range(H)) + b_h[row])
            r, z = sigmoid(a[0] + u[0]), sigmoid(a[1] + u[1])
            h[t + 1, j] = z * h[t, j] + (1 - z) * np.tanh(a[2] + r * u[2])
    return h[1:]


def all_inputs_at_once(x, h0, W_x, W_h, b, b_h):
    H = len(h0)
    a = np.einsum("ti,gi->tg", x, W_x) + b
    a[:, : 2 * H] += b_h[: 2 * H]  # the two biases may be merged for the gates, but not for the candidate
    states = [h0]
    for row in a:
        u = np.einsum("h,gh->g", states[-1], W_h)
        gates = sigmoid(row[: 2 * H] + u[: 2 * H])
        n = np.tanh(row[2 * H :] + gates[:H] * (u[2 * H :] + b_h[2 * H :]))
        states.append(n + gates[H:] * (states[-1] - n))
    return np.array(states[1:])


def recursion(x, h0, W_x, W_h, b, b_h):
    if not len(x):
        return np.empty((0, len(h0)))
    W, U, c, d = (np.reshape(w, (3, len(h0), -1)) for w in (W_x, W_h, b, b_h))
    a, u = (W @ x[0][:, None] + c)[..., 0], (U @ h0[:, None] + d)[..., 0]  # [3, H]
    r, keep = 0.5 + 0.5 * np.tanh((a[:2] + u[:2]) / 2)
    h = np.where(True, (1 - keep) * np.tanh(a[2] + r * u[2]) + keep * h0, 0)
    return np.vstack([h, recursion(x[1:], h, W_x, W_h, b, b_h)])


def sequence(rng, T, I, H, scale=0.7):
    weights = {"W_x": (3 * H, I), "W_h": (3 * H, H), "b": 3 * H, "b_h": 3 * H}
    drawn = {name: rng.normal(scale=scale, size=shape) for name, shape in weights.items()}
    return {"x": rng.normal(size=(T, I)), "h0": rng.normal(scale=0.7, size=H), **drawn}


def edges(rng):
    large = sequence(rng, 3, 2, 4)
    large["x"] = large["x"] * 1e3
    still = sequence(rng, 4, 2, 3)
    still["h0"] = still["h0"] * 0
    return {"inputs of a thousand": large, "a single step": sequence(rng, 1, 3, 2), "a start at zero": still}


def closed(rng):
    """The update gate lets almost nothing new in: z = σ(40)."""
    held = sequence(rng, 5, 3, 4)
    held["b"][4:8] = 40.0
    held["W_x"][4:8], held["W_h"][4:8] = 0.0, 0.0
    return {"an update gate of 1": held}


def tiny():
    return {
        "x": np.array([[1.0], [-1.0]]),
        "h0": np.array([0.5]),
        "W_x": np.array([[0.5], [1.0], [1.0]]),
        "W_h": np.array([[1.0], [-0.5], [0.5]]),
        "b": np.array([0.0, 0.2, 0.1]),
        "b_h": np.array([0.3, 0.0, 0.8]),
    }


EXERCISE = Exercise(
    target="minilm.formulas.gru.gru",
    section=("06", "The GRU, in both published forms"),
    task="Write a recurrent cell whose only memory is its state: one gate decides how much of the old state is kept. The weights "
    "hold the rows of r, z and n, in this order. Return the state after each step, without h0.",
    returns={"h": "step unit"},
    tiny=tiny,
    probes=lambda rng: {
        "five steps": sequence(rng, 5, 3, 4),
        "more steps, other sizes": sequence(rng, 8, 5, 2),
        "as many inputs as units": sequence(rng, 4, 3, 3),
    },
    edges=edges,
    properties=(
        Property(
            "an update gate of 1 lets nothing new in: all states are equal",
            closed,
            lambda h: np.allclose(h, h[0], atol=1e-9),
        ),
        Property(
            "if h0 lies within ±1, so do all states",
            lambda rng: {"large weights": {**(s := sequence(rng, 6, 2, 3, 5.0)), "h0": np.tanh(s["h0"])}},
            lambda h: np.abs(h).max() <= 1,
        ),
    ),
    forbidden=("gru", "gru_gradients", "GRU", "GRUCell"),
    steps=(
        "for each step: the products with the input and with the state [3H], each with its own bias, each split into three",
        "the two gates [H]",
        "the candidate [H]: the reset gate multiplies everything that comes from the state, including its bias",
        "the new state [H]: a mean of candidate and old state, weighted by the update gate",
    ),
    right={"loops": loops, "all inputs at once": all_inputs_at_once, "recursion": recursion},
    wrong={
        "update": Wrong(
            "the update gate is used the wrong way round",
            "z = 1 in hₜ = (1 − z) ⊙ n + z ⊙ hₜ₋₁: does that give the old state or the new candidate?",
        ),
        "before": Wrong(
            "the state is reset before the product instead of after it (the other published form)",
            "which of the two is in the formula, r ⊙ (W h) or W (r ⊙ h), and when would they be equal?",
        ),
        "one_bias": Wrong(
            "the candidate's bias b_h is outside the reset gate, as if the two biases were one",
            "if r = 0, how much of u = W_h hₜ₋₁ + b_h may reach n?",
        ),
        "no_bias": Wrong("the candidate's bias b_h is missing", "to how many of the three blocks do you add b_h?"),
        "swapped": Wrong(
            "the reset gate and the update gate are swapped", "in which order are the rows of W_x and W_h?"
        ),
        "no_reset": Wrong("the reset gate is never used", "how can the cell ignore its past while it reads an input?"),
        "sigmoid_n": Wrong(
            "the candidate goes through σ instead of tanh", "can a unit of your cell ever become negative?"
        ),
        "no_step": Wrong(
            "every step starts from h0: the state is not passed on", "what does the third step know about the second?"
        ),
        "start": Wrong(
            "the cell keeps part of h0, not of the state before",
            "what does z multiply, the start or the state of the step before?",
        ),
    },
    flawed=flawed,
    hints=(
        "Both gates are between 0 and 1: the reset gate says how much of the past the candidate may see, the update gate how "
        "much of the old state stays. Both are computed from the input and the state before.",
        "a = W_x xₜ + b [3H] and u = W_h h + b_h [3H], each split into r, z, n of [H] → r, z = σ(a + u) → n = tanh(a_n + r ⊙ "
        "u_n) → the mean of n and h, in which h has the weight z. Collect the states: [T, H].",
        "h = h0;  for each x_t:  a and u, each split in three;  r, z = sigmoid of (a plus u);  n = tanh of (a's third + r times "
        "u's third);  h = the share of n + the share of the old h;  append h;  at the end stack them",
    ),
)
