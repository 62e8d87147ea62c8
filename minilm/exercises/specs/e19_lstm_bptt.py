r"""The LSTM's gradient through time, by hand.  F15.  60 minutes, hard."""

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, listed
from minilm.formulas.lstm import lstm, lstm_gates


def lstm_gradients(x, h0, c0, W_x, W_h, b, length: int, dh: np.ndarray) -> tuple[np.ndarray, ...]:
    r"""δx, δh0, δc0, δW_x, δW_h and δb from `dh` [T, H], the direct gradient of the loss for each hₜ.  F15.

    Only the first `length` of the T steps are tokens; the others are padding. Nothing is computed at padding: the hidden
    state there is a copy of the last token's, so the gradient in `dh` at a padded step belongs to that state.
    `x` [T, I], `h0` and `c0` [H], `W_x` [4H, I], `W_h` [4H, H], `b` [4H]; their rows are in the order i, f, g, o.
    """
    x_real = x[:length]
    h, c = lstm(x_real, h0, c0, W_x, W_h, b)
    gates = lstm_gates(x_real, h0, c0, W_x, W_h, b)
    h_before, c_before = np.vstack([h0, h[:-1]]), np.vstack([c0, c[:-1]])
    da = np.zeros((len(x), 4 * len(h0)))  # 0 at padding
    dh_later, dc_later = dh[length:].sum(axis=0), np.zeros(len(h0))
    for t in reversed(range(length)):
        (i, f, g, o), tanh_c = gates[t], np.tanh(c[t])
        dh_t = dh[t] + dh_later
        dc_t = dc_later + dh_t * o * (1 - tanh_c**2)  # through the next memory, and through this step's hidden state
        da_i, da_f = dc_t * g * i * (1 - i), dc_t * c_before[t] * f * (1 - f)
        da_g, da_o = dc_t * i * (1 - g**2), dh_t * tanh_c * o * (1 - o)
        da[t] = np.concatenate([da_i, da_f, da_g, da_o])
        dh_later, dc_later = W_h.T @ da[t], dc_t * f
    return da @ W_x, dh_later, dc_later, da[:length].T @ x_real, da[:length].T @ h_before, da.sum(axis=0)


def padded_lstm(x, h0, c0, W_x, W_h, b, length):
    """The hidden states [T, H]; at padding, the one of the last token."""
    h, _ = lstm(x[:length], h0, c0, W_x, W_h, b)
    return h[np.minimum(np.arange(len(x)), length - 1)]


def flawed(x, h0, c0, W_x, W_h, b, length, dh, wrong=frozenset()):
    T = length
    if "pads_lost" in wrong:
        dh = dh * (np.arange(len(x)) < T)[:, None]
    elif "pads_run" in wrong:  # padding is processed like tokens
        T = len(x)
    elif "last_pad_only" in wrong and T < len(x):
        dh = np.vstack([dh[:T], 0 * dh[T:-1], dh[-1:]])
    elif "one_pad_too_few" in wrong:
        dh = dh * (np.arange(len(x)) != T)[:, None]
    x_real = x[:T]
    h, c = lstm(x_real, h0, c0, W_x, W_h, b)
    gates = lstm_gates(x_real, h0, c0, W_x, W_h, b)
    h_before, c_before = np.vstack([h0, h[:-1]]), np.vstack([c0, c[:-1]])
    da = np.zeros((len(x), 4 * len(h0)))
    dh_later, dc_later = dh[T:].sum(axis=0), np.zeros(len(h0))
    for t in reversed(range(T)):
        (i, f, g, o), tanh_c = gates[t], np.tanh(c[t])
        dh_t = dh[t] + (0 if "no_dh_later" in wrong else dh_later)
        slope = 1 - h[t] ** 2 if "slope_of_h" in wrong else 1 - c[t] ** 2 if "slope_of_c" in wrong else 1 - tanh_c**2
        if "no_slope" in wrong:
            slope = 1.0
        dc_t = (0 if "no_dc_later" in wrong else dc_later) + dh_t * slope * (1 if "no_o" in wrong else o)
        if "no_h_path" in wrong:
            dc_t = dc_later + (dh_t * o * slope if t == T - 1 else 0)
        before = c[t] if "c_after" in wrong else c_before[t]
        gate_slope = (lambda y: y) if "gate_slope" in wrong else (lambda y: y * (1 - y))
        da_g = dc_t * i * (g * (1 - g) if "sigmoid_g" in wrong else 1 - g**2)
        da_o = dh_t * (c[t] if "c_for_tanh" in wrong else tanh_c) * gate_slope(o)
        da[t] = np.concatenate([dc_t * g * gate_slope(i), dc_t * before * gate_slope(f), da_g, da_o])
        if "no_gate_slope" in wrong:
            da[t] = np.concatenate([dc_t * g, dc_t * before, dc_t * i, dh_t * tanh_c])
        if "g_and_i" in wrong:  # each gate gets its own value instead of its partner's
            da[t, : len(h0)] = dc_t * i * i * (1 - i)
        if "blocks" in wrong:
            da[t] = np.concatenate([*np.split(da[t], 4)[1::-1], *np.split(da[t], 4)[2:]])
        dh_later, dc_later = W_h.T @ da[t], dc_t if "no_f" in wrong else dc_t * f
        if "dc_times_i" in wrong:
            dc_later = dc_t * i
        if "no_dh0" in wrong and t == 0:
            dh_later = np.zeros(len(h0))
        if "no_dc0" in wrong and t == 0:
            dc_later = np.zeros(len(h0))
        if "later_added" in wrong:
            dc_later = dc_later + dh_later
    dW_x, dW_h, db = da[:T].T @ x_real, da[:T].T @ (h if "h_after" in wrong else h_before), da.sum(axis=0)
    if "overwritten" in wrong:
        dW_x, dW_h, db = np.outer(da[0], x[0]), np.outer(da[0], h0), da[0]
    if "averaged" in wrong:
        dW_x, dW_h, db = dW_x / T, dW_h / T, db / T
    dx = da @ W_x
    if "dx_of_h" in wrong and W_x.shape == W_h.shape:
        dx = da @ W_h
    if "sign" in wrong:
        return tuple(-each for each in (dx, dh_later, dc_later, dW_x, dW_h, db))
    if "exchanged" in wrong:
        dh_later, dc_later = dc_later, dh_later
    return dx, dh_later, dc_later, dW_x, dW_h, db


def factors_first(x, h0, c0, W_x, W_h, b, length, dh):
    """Compute all slopes first, then run a loop that only multiplies and adds."""
    h, c = lstm(x[:length], h0, c0, W_x, W_h, b)
    i, f, g, o = lstm_gates(x[:length], h0, c0, W_x, W_h, b).swapaxes(0, 1)  # each [length, H]
    by_memory = np.stack([g * (i - i * i), np.vstack([c0, c])[:-1] * (f - f * f), i * (1 - g * g)], axis=1)
    by_state, to_memory = np.tanh(c) * (o - o * o), o / np.cosh(c) ** 2
    up, memory, da = dh[length:].sum(axis=0), np.zeros(len(h0)), np.zeros((length, len(b)))
    for t in range(length)[::-1]:
        up = dh[t] + up
        memory = memory + up * to_memory[t]
        da[t] = np.vstack([by_memory[t] * memory, by_state[t] * up]).ravel()
        up, memory = da[t] @ W_h, memory * f[t]
    dW_x, dW_h = np.einsum("tg,ti->gi", da, x[:length]), np.einsum("tg,th->gh", da, np.vstack([h0, h])[:-1])
    return np.vstack([da @ W_x, 0 * x[length:]]), up, memory, dW_x, dW_h, np.ones(length) @ da


def gate_by_gate(x, h0, c0, W_x, W_h, b, length, dh):
    """Add to the sums at each step, gate by gate."""
    H, (h, c) = len(h0), lstm(x[:length], h0, c0, W_x, W_h, b)
    gates = lstm_gates(x[:length], h0, c0, W_x, W_h, b)
    dx, dW_x, dW_h, db = np.zeros(x.shape), np.zeros(W_x.shape), np.zeros(W_h.shape), np.zeros(b.shape)
    up, memory = np.zeros(H), np.zeros(H)
    for t in range(len(x) - 1, -1, -1):
        up = up + dh[t]
        if t >= length:
            continue  # padding only passes the state on
        i, f, g, o = gates[t]
        memory = memory + up * o * (1 - np.tanh(c[t]) ** 2)
        c_old, h_old = (c[t - 1], h[t - 1]) if t else (c0, h0)
        parts = {0: memory * g * i * (1 - i), 1: memory * c_old * f * (1 - f), 2: memory * i * (1 - g) * (1 + g)}
        parts[3] = up * np.tanh(c[t]) * o * (1 - o)
        up = np.zeros(H)
        for k, da in parts.items():
            block = slice(k * H, (k + 1) * H)
            dW_x[block] += np.outer(da, x[t])
            dW_h[block] += np.outer(da, h_old)
            db[block] += da
            dx[t] += da @ W_x[block]
            up = up + da @ W_h[block]
        memory = memory * f
    return dx, up, memory, dW_x, dW_h, db


def autograd(x, h0, c0, W_x, W_h, b, length, dh):
    """What a library does: record the forward pass, then differentiate it automatically."""
    import torch

    leaves = [torch.tensor(each, requires_grad=True) for each in (x, h0, c0, W_x, W_h, b)]
    x, h, c, W_x, W_h, b = leaves
    total = torch.zeros((), dtype=torch.float64)
    for t in range(len(x)):
        if t < length:
            i, f, g, o = (W_x @ x[t] + W_h @ h + b).chunk(4)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        total = total + h @ torch.from_numpy(dh[t])
    total.backward()
    return tuple(leaf.grad.numpy() for leaf in leaves)


def sequence(rng, T, I, H, length=None, scale=0.7):
    shapes = {"x": (T, I), "h0": H, "c0": H, "W_x": (4 * H, I), "W_h": (4 * H, H), "b": 4 * H}
    drawn = {name: rng.normal(scale=scale if name[0] in "Wb" else 0.9, size=shape) for name, shape in shapes.items()}
    return {**drawn, "length": length or T, "dh": rng.normal(size=(T, H))}


def edges(rng):
    large = sequence(rng, 4, 2, 3)
    large["x"] = large["x"] * 1e3
    return {
        "a single step": sequence(rng, 1, 3, 2),
        "one token, then padding": sequence(rng, 4, 2, 3, 1),
        "inputs of 1e3": large,
        "much padding": sequence(rng, 9, 2, 3, 3),
        "a long sentence": sequence(rng, 24, 2, 3, 22),
        "one unit": sequence(rng, 4, 3, 1, 3),
    }


def twice(rng):
    first = sequence(rng, 5, 2, 3, 4)
    return {"dh": first, "dh doubled": {**first, "dh": 2 * first["dh"]}}


def tiny():
    fixed = sequence(np.random.default_rng(0), 3, 1, 1, 2)
    return {name: value if name == "length" else np.round(value, 1) for name, value in fixed.items()}


MISTAKES = """  key · what it looks like · a question
no_h_path · the gradient of c lacks the path through h of the same step (except at the last step) ·
    hₜ = o ⊙ tanh cₜ and cₜ₊₁ = f ⊙ cₜ + …: on how many paths does cₜ reach the loss?
no_dc_later · the gradient of c lacks the path through c of the next step ·
    hₜ = o ⊙ tanh cₜ and cₜ₊₁ = f ⊙ cₜ + …: on how many paths does cₜ reach the loss?
no_dh_later · the gradient of h lacks the path through the gates of the next step ·
    the loss uses hₜ: what else uses it?
no_f · the gradient of c is passed back without the factor f ·
    what was cₜ₋₁ multiplied by on its way into cₜ?
slope_of_h · tanh′ is computed from h instead of tanh c ·
    the slope of the tanh is 1 − y² with y = tanh(c): is h equal to this y?
slope_of_c · tanh′ is computed as 1 − c² ·
    tanh′ is 1 − tanh²: which number has to be squared?
no_slope · the slope of the tanh around c is missing ·
    hₜ = o ⊙ tanh cₜ: which factor is missing on your way back?
no_o · the path from h back to c lacks the output gate ·
    hₜ = o ⊙ tanh cₜ: which factor is missing on your way back?
c_after · the gradient of the forget gate uses cₜ instead of cₜ₋₁ ·
    what is f multiplied by in cₜ = f ⊙ … ?
gate_slope · the slope of σ is computed as y instead of y(1 − y) ·
    where σ is nearly 1, its curve is flat: what is its slope there?
sigmoid_g · the candidate gets the slope of σ instead of the slope of tanh ·
    which function was applied to the candidate?
c_for_tanh · the gradient of the output gate uses c instead of tanh c ·
    what is o multiplied by in hₜ = o ⊙ … ?
h_after · the gradient of W_h uses hₜ instead of hₜ₋₁ ·
    what was W_h multiplied by at step t?
overwritten · the gradients of the weights are overwritten at each step, not summed ·
    how many steps used the same W_h?
averaged · the gradients of the weights are divided by the number of steps ·
    does the task ask for a mean over the steps, or is dh used as it is?
pads_run · padded steps are processed like tokens: they update the state and the weights ·
    should a weight learn anything from padding?
pads_lost · the gradients in dh at padded steps are thrown away ·
    a padded step has a gradient in dh: which token's hidden state stands there?
last_pad_only · of the gradients in dh at padded steps, only the last one is used ·
    several padded steps hold copies of one hidden state: how do their gradients combine?
one_pad_too_few · the gradient in dh at the first padded step is lost ·
    `length` is the number of tokens: which index has the first padded step?
no_gate_slope · the slopes of σ and tanh are missing in all four blocks ·
    i = σ(a): what do you multiply by on the way back from i to a?
g_and_i · the gradient of the input gate contains the gate itself instead of the candidate ·
    what is i multiplied by in cₜ = … + i ⊙ … ?
blocks · the blocks of i and f are in the wrong order ·
    in which order are the rows of the weights stored?
dc_times_i · the gradient of c is passed back with the input gate instead of the forget gate ·
    what was cₜ₋₁ multiplied by on its way into cₜ?
no_dh0 · the gradient of h0 is 0 ·
    does the first step not use h0?
no_dc0 · the gradient of c0 is 0 ·
    does the first step not use c0?
later_added · what goes back to h is added to what goes back to c ·
    does hₜ₋₁ reach the loss through cₜ₋₁, or through the gates of step t?
dx_of_h · the gradient of x is computed with W_h, where both matrices have the same shape ·
    which matrix was x multiplied by?
sign · the sign of all gradients is reversed ·
    dh is the gradient of the loss: where would another minus sign come from?
exchanged · the gradients of h0 and c0 are returned in the wrong order ·
    in which order does the docstring list them?
"""
EXERCISE = Exercise(
    target="minilm.exercises.specs.e19_lstm_bptt.lstm_gradients",
    section=("09", "The LSTM"),
    task="Go backward through an LSTM, from the last token to the first. You may call lstm and lstm_gates to get the hidden "
    "states, memories and gates of the forward pass. hₜ reaches the loss directly and through step t + 1; cₜ reaches it "
    "through hₜ and through cₜ₊₁.",
    returns={"dx": "step input", "dh0": "unit", "dc0": "unit", "dW_x": "row input", "dW_h": "row unit", "db": "row"},
    tiny=tiny,
    probes=lambda rng: {
        "five steps": sequence(rng, 5, 3, 4),
        "seven steps, two of them padding": sequence(rng, 7, 2, 3, 5),
        "as many inputs as units": sequence(rng, 4, 3, 3, 3),
    },
    edges=edges,
    properties=(
        Property(
            "doubling the upstream gradient doubles every gradient",
            twice,
            lambda a, b: all(np.allclose(2 * x, y) for x, y in zip(a, b)),
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"four steps, one of them padding": sequence(rng, 4, 2, 2, 3)},
        wrt=("x", "h0", "c0", "W_x", "W_h", "b"),
        forward=padded_lstm,
        upstream="dh",
    ),
    needs=("lstm_cell",),
    given=("minilm.formulas.lstm.lstm", "minilm.formulas.lstm.lstm_gates"),
    forbidden=("lstm.lstm_gradients", "backward", "grad"),
    steps=(
        "the forward pass over the tokens alone: hidden states, memories, gates, and the h and c that each step started from",
        "from the last token to the first: the gradient of its hidden state, then that of its memory [H each]",
        "the gradient of the four blocks before σ and tanh [4H]; 0 at padding",
        "pass gradients back to the step before: through the product with W_h, and through the memory",
        "all steps use the same weights: sum over the steps",
    ),
    right={"factors first": factors_first, "gate by gate": gate_by_gate, "autograd": autograd},
    wrong=listed(MISTAKES),
    flawed=flawed,
    hints=(
        "Each line of the forward pass is a product or a function of one number: its gradient is the upstream gradient times "
        "the other factor, or times the slope. A number that is used twice gets the sum of both gradients.",
        "At step t: δh = dhₜ + what came back from step t + 1 [H]; δc = what came back + δh ⊙ o ⊙ tanh′ [H]; δa = four blocks "
        "of [H]; pass back the transpose of W_h times δa, and δc ⊙ f. The weights get sums over t of the outer products of δa "
        "with xₜ and with hₜ₋₁.",
        "for t from length − 1 down to 0:  dh_t = dh[t] + later;  dc_t = later + dh_t times o times tanh's slope;  the four "
        "parts of da[t];  new laters;  after the loop: da @ W_x, the laters, sums of outer products, sum of da",
    ),
)
