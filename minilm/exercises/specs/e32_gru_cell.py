r"""The GRU, step by step.  F16.  25 minutes, medium."""

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong, listed


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def flawed(x, h0, W_x, W_h, b, b_h, wrong=frozenset()):
    h, out = h0, []
    b = 0 * b if "no_b" in wrong else b
    b_h = 0 * b_h if "no_b_h" in wrong else b_h
    b_h = np.where(np.arange(len(b_h)) < 2 * len(h0), 0, b_h) if "no_b_h_gates" in wrong else b_h
    W_x = 0 * W_x if "no_x" in wrong else W_x
    for x_t in x:
        (a_r, a_z, a_n), (u_r, u_z, u_n) = np.split(W_x @ x_t + b, 3), np.split(W_h @ h + b_h, 3)
        H = len(h)
        if "swapped" in wrong:
            a_r, a_z, u_r, u_z = a_z, a_r, u_z, u_r
        if "z_first" in wrong:  # n, r, z
            a_n, a_r, a_z, u_n, u_r, u_z = a_r, a_z, a_n, u_r, u_z, u_n
        r, z = sigmoid(a_r + u_r), sigmoid(a_z + u_z)
        if "tanh_gates" in wrong:
            r, z = np.tanh(a_r + u_r), np.tanh(a_z + u_z)
        if "reset_turned" in wrong:
            r = 1 - r
        if "one_gate" in wrong:
            r = z
        bias = b_h[2 * H :]
        inside = W_h[2 * H :] @ (r * h) + r * bias if "before" in wrong else r * u_n
        if "one_bias" in wrong:  # the effect of merging the two biases
            inside = inside - r * bias + bias
        if "no_bias" in wrong:
            inside = inside - r * bias
        if "no_reset" in wrong:
            inside = u_n
        n = (sigmoid if "sigmoid_n" in wrong else np.tanh)(a_n + inside)
        if "relu_n" in wrong:
            n = np.maximum(a_n + inside, 0)
        if "linear_n" in wrong:
            n = a_n + inside
        if "reset_all" in wrong:
            n = np.tanh(r * (a_n + u_n))
        if "no_recurrence" in wrong:
            n = np.tanh(a_n)
        if "tanh_again" in wrong:
            n = np.tanh(n)
        z = 1 - z if "update" in wrong else z
        h_new = (1 - z) * n + z * (h0 if "start" in wrong else h)
        for key, other in {
            "sum": n + z * h,
            "no_old": (1 - z) * n,
            "candidate": n,
            "both_gates": (1 - z) * n + r * h,
            "half": (n + h) / 2,
            "squeezed": np.tanh((1 - z) * n + z * h),
        }.items():
            h_new = other if key in wrong else h_new
        out.append(h_new)
        h = h if "no_step" in wrong else h_new
    return np.stack([h0, *out[:-1]] if "started" in wrong else out)


MORE = """  key · what it looks like · a question
no_b · the bias b is missing ·
    how many of the four parameters have you used?
no_b_h · the bias b_h is missing everywhere ·
    how many of the four parameters have you used?
no_b_h_gates · the two gates lack the bias b_h ·
    to how many of the three blocks do you add b_h?
no_x · the input is never used ·
    if another word comes in, does your state change?
z_first · the rows are read as n, r, z ·
    in which order are the rows of W_x and W_h?
tanh_gates · the gates go through tanh instead of σ ·
    between which two numbers must a gate lie?
reset_turned · the reset gate is used the wrong way round ·
    r = 0 should let the candidate forget the past: does yours?
one_gate · one gate is used as reset and as update gate ·
    the weights hold three blocks: how many of them have you used?
relu_n · the candidate goes through ReLU instead of tanh ·
    can a unit of your cell ever become negative?
linear_n · the candidate goes through no function at all ·
    if h0 lies within ±1, can your state leave this range?
reset_all · the reset gate multiplies the input's part as well ·
    r = 0 means that the past is ignored: what about the input?
no_recurrence · the candidate does not see the state at all ·
    what does the reset gate multiply?
tanh_again · the candidate goes through tanh twice ·
    how many times does tanh stand in the formula?
sum · the candidate is added in full, without the factor 1 − z ·
    the new state is a mean: what must its two weights sum to?
no_old · the old state is not added ·
    how does the cell keep something for many steps?
candidate · the new state is the candidate: the update gate is never used ·
    how does the cell keep something for many steps?
both_gates · the old state is multiplied by the reset gate ·
    which of the two gates says how much of the old state stays?
half · candidate and old state have the weight ½ each ·
    which gate says how much of the old state stays?
squeezed · the new state goes through another tanh ·
    z = 1 means that the state stays as it is: does yours?
started · h0 stands in front of the results, and the last step is missing ·
    the task says what to return: which state belongs to the first step?
"""


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
    return {
        "inputs of a thousand": large,
        "a single step": sequence(rng, 1, 3, 2),
        "a start at zero": still,
        "many steps": sequence(rng, 40, 2, 3),
        "one unit": sequence(rng, 4, 3, 1),
    }


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
    section=("09", "The GRU, in both published forms"),
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
        **listed(MORE),
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
