r"""The LSTM, step by step.  F15.  30 minutes, medium."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Property, listed


def initial_bias(H: int) -> np.ndarray:
    r"""The bias [4H] of a new LSTM: zero, but 1 for the forget gate, so that the cell remembers at first.  F15.

    Source: Gers, Schmidhuber and Cummins (2000), Learning to Forget; Jozefowicz et al. (2015).
    """
    b = np.zeros(4 * H)
    b[H : 2 * H] = 1.0  # the second of the blocks i, f, g, o
    return b


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def flawed(x, h0, c0, W_x, W_h, b, wrong=frozenset()):
    h, c, hs, cs = h0, c0, [], []
    if "one_bias" in wrong:
        b = np.tile(b[: len(h0)], 4)
    b = 0 * b if "no_bias" in wrong else b
    b = b + initial_bias(len(h0)) if "forget_plus_1" in wrong else b
    for x_t in x:
        a = W_x @ x_t + W_h @ h + b
        a = a - W_h @ h if "no_recurrence" in wrong else a
        if "interleaved" in wrong:
            i, f, g, o = a.reshape(-1, 4).T
        else:
            i, f, g, o = np.split(a, 4)
        if "swapped" in wrong:
            i, f = f, i
        if "g_o" in wrong:
            g, o = o, g
        i, f, o = sigmoid(i), sigmoid(f), np.tanh(o) if "tanh_o" in wrong else sigmoid(o)
        g = sigmoid(g) if "sigmoid_g" in wrong else np.tanh(g)
        old = c
        c = (f * c + i + g) if "sum" in wrong else f * c + (g if "no_i" in wrong else i * g)
        if "minus" in wrong:
            c = f * old - i * g
        if "tanh_c" in wrong:
            c = np.tanh(c)
        if "no_f" in wrong:
            c = old + i * g
        if "coupled" in wrong:
            c = f * old + (1 - f) * g
        h = o * (c if "no_tanh" in wrong else np.tanh(old) if "old_c" in wrong else np.tanh(c))
        if "tanh_outside" in wrong:
            h = np.tanh(o * c)
        if "sigmoid_c" in wrong:
            h = o * sigmoid(c)
        h = np.tanh(c) if "no_o" in wrong else c if "state_is_c" in wrong else h
        hs.append(h)
        cs.append(c)
        h, c = (h0 if "no_h" in wrong else h), (c0 if "no_c" in wrong else c)
    if "started" in wrong:  # h0 and c0 stand in front, and the last step is missing
        return np.stack([h0, *hs[:-1]]), np.stack([c0, *cs[:-1]])
    if "turned" in wrong:
        return np.stack(cs), np.stack(hs)
    return np.stack(hs), np.stack(cs)


MISTAKES = """  key · what it looks like · a question
swapped · input gate and forget gate are swapped ·
    in which order are the blocks stored?
g_o · the candidate and the output gate are swapped ·
    in which order are the blocks stored?
interleaved · the rows are given to the four blocks in turn, one at a time ·
    which rows belong to the input gate: 0, 4, 8 … or 0 … H − 1?
sum · i + g is used instead of i ⊙ g ·
    i = 0 closes the gate: what enters the memory then?
no_i · the input gate is never used ·
    how can the cell refuse an input?
no_f · the forget gate is never used ·
    how can the cell clear its memory?
coupled · 1 − f is used instead of the input gate ·
    can a cell keep everything and still take in more?
one_bias · one bias is used for all four blocks ·
    b has 4H numbers: how many of them have you used?
sigmoid_g · the candidate goes through σ instead of tanh ·
    can an input still make the memory smaller?
tanh_o · the output gate goes through tanh instead of σ ·
    what would a gate of −0.5 do?
no_tanh · h = o ⊙ c, without the tanh ·
    the memory may grow to 10: may h grow like that?
old_c · the hidden state is computed from the old memory ·
    which must be computed first: c or h?
no_h · h is not passed on to the next step ·
    what does step 3 know about the h of step 2?
no_c · c is not passed on to the next step ·
    what does step 3 know about the c of step 2?
no_bias · the bias is not added ·
    how many of the three parameters have you used?
no_recurrence · the product with the hidden state is missing ·
    what can the gates of step 3 know about step 2?
forget_plus_1 · 1 is added to the forget gate at every call, not only in the initial bias ·
    the initial bias is the value at the start of training: should it be added again later?
minus · the new part is subtracted from the memory ·
    c = f ⊙ c plus or minus i ⊙ g?
tanh_c · the memory itself goes through tanh at every step ·
    what happens to a large memory over many steps if it is squeezed each time?
tanh_outside · tanh is applied to o ⊙ c instead of to c ·
    h = o ⊙ tanh c: what exactly is inside the tanh?
sigmoid_c · the memory goes through σ instead of tanh before the output gate ·
    can a hidden unit of yours be negative?
no_o · the output gate is never used ·
    how can the cell keep something in memory without showing it?
state_is_c · h is the memory itself ·
    how can the cell keep something in memory without showing it?
started · h0 and c0 stand in front of the results, and the last step is missing ·
    the task says what to return after each step: which state belongs to the first step?
turned · h and c are returned in the wrong order ·
    which of the two does the docstring name first?
"""
CODES = {
    "forget_first": lambda H: start(H, 0),
    "forget_third": lambda H: start(H, 2),
    "forget_last": lambda H: start(H, 3),
    "forget_none": lambda H: start(H, value=0.0),
    "bias_all": lambda H: np.ones(4 * H),
    "bias_every_fourth": lambda H: np.tile([0.0, 1.0, 0.0, 0.0], H),
}
BIAS = """  key · what it looks like · a question
forget_first · the ones stand in the first block, that of the input gate ·
    the rows are in the order i, f, g, o: at which row does the second block begin?
forget_third · the ones stand in the third block, that of the candidate ·
    the rows are in the order i, f, g, o: at which row does the second block begin?
forget_last · the ones stand in the last block, that of the output gate ·
    the rows are in the order i, f, g, o: at which row does the second block begin?
forget_none · the initial bias is zero everywhere ·
    f = σ(0) = 0.5: how much of the first input is left after ten steps?
bias_all · the initial bias is 1 everywhere ·
    which of the four blocks should start open?
bias_every_fourth · every fourth number of the initial bias is 1, not one whole block ·
    which rows belong to the forget gate: 1, 5, 9 … or H … 2H − 1?
"""


def loops(x, h0, c0, W_x, W_h, b):
    (T, I), H = x.shape, len(h0)
    h, c = np.vstack([h0, np.zeros((T, H))]), np.vstack([c0, np.zeros((T, H))])
    for t in range(T):
        for j in range(H):
            a = [
                sum(W_x[row, k] * x[t, k] for k in range(I)) + sum(W_h[row, k] * h[t, k] for k in range(H)) + b[row]
                for row in (j, H + j, 2 * H + j, 3 * H + j)
            ]
            c[t + 1, j] = sigmoid(a[1]) * c[t, j] + sigmoid(a[0]) * np.tanh(a[2])
            h[t + 1, j] = sigmoid(a[3]) * np.tanh(c[t + 1, j])
    return h[1:], c[1:]


def tanh_alone(x, h0, c0, W_x, W_h, b):
    """σ(a) = ½(1 + tanh ½a): one tanh for all four blocks, which are stacked [4, H]."""
    half = np.array([0.5, 0.5, 1.0, 0.5])[:, None]
    a, states = (np.einsum("ti,gi->tg", x, W_x) + b).reshape(len(x), 4, -1), [(h0, c0)]
    for a_t in a:
        h, c = states[-1]
        y = np.tanh(half * (a_t + np.einsum("gjk,k->gj", W_h.reshape(4, len(h), -1), h)))
        i, f, o = (y[[0, 1, 3]] + 1) / 2
        c = np.einsum("kh,kh->h", np.stack([f, i]), np.stack([c, y[2]]))
        states.append((np.tanh(c) * o, c))
    return tuple(np.array(each) for each in zip(*states[1:]))


def one_wide_product(x, h0, c0, W_x, W_h, b):
    W, states = np.hstack([W_x, W_h, b[:, None]]), np.empty((2, len(x), len(h0)))
    blocks = np.split(W, 4)
    for t, x_t in enumerate(x):
        entry = np.concatenate([x_t, h0, [1.0]])
        i, f, g, o = (block @ entry for block in blocks)
        c0 = c0 / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h0 = np.tanh(c0) / (1 + np.exp(-o))
        states[:, t] = h0, c0
    return states[0], states[1]


def start(H, block=1, value=1.0):
    b = np.zeros(4 * H)
    b[block * H : (block + 1) * H] = value
    return b


def by_kron(H):
    return np.kron(np.array([0.0, 1.0, 0.0, 0.0]), np.ones(H))


def by_list(H):
    return np.array([0.0] * H + [1.0] * H + [0.0] * (2 * H))


def by_repeat(H):
    return np.repeat([0, 1, 0, 0], H).astype(float)


def walk(made, x, h0, c0, W_x, W_h, b):
    """The hidden states, the memories, and the initial bias."""
    h, c = made.lstm(x, h0, c0, W_x, W_h, b)  # a ValueError if there are not two outputs
    return {"h": h, "c": c, "initial_bias": made.initial_bias(len(h0))}


def sequence(rng, T, I, H, scale=0.7):
    weights = {"W_x": (4 * H, I), "W_h": (4 * H, H), "b": 4 * H}
    states = {name: rng.normal(scale=0.7, size=H) for name in ("h0", "c0")}
    drawn = {name: rng.normal(scale=scale, size=shape) for name, shape in weights.items()}
    return {"x": rng.normal(size=(T, I)), **states, **drawn}


def edges(rng):
    large, still = sequence(rng, 3, 2, 4), sequence(rng, 4, 2, 3)
    large["x"] = large["x"] * 1e3
    still["h0"], still["c0"] = still["h0"] * 0, still["c0"] * 0
    return {
        "as many inputs as 4 units": sequence(rng, 3, 4, 1),
        "many steps": sequence(rng, 40, 2, 3),
        "inputs of a thousand": large,
        "a single step": sequence(rng, 1, 3, 2),
        "an initial state of zero": still,
    }


def shut(rng):
    held = sequence(rng, 5, 3, 2)
    held["W_x"], held["W_h"] = held["W_x"] * 0.01, held["W_h"] * 0.01
    held["b"] = np.concatenate([np.full(2, -60.0), np.full(2, 60.0), held["b"][4:]])
    return {"no input, nothing forgotten": held}


def tiny():
    return {
        "x": np.array([[1.0], [-1.0]]),
        "h0": np.array([0.5]),
        "c0": np.array([1.0]),
        "W_x": np.array([[0.5], [1.0], [-1.0], [0.3]]),
        "W_h": np.array([[1.0], [-0.5], [0.5], [0.2]]),
        "b": np.array([0.0, 1.0, 0.2, -0.1]),
    }


EXERCISE = Exercise(
    target="minilm.formulas.lstm.lstm",
    also=("minilm.exercises.specs.e18_lstm_cell.initial_bias",),
    section=("09", "The LSTM"),
    task="Write a recurrent cell whose memory c (the cell state) is updated by addition. The rows of the weights are "
    "in the order i, f, g, o. Return the hidden states h and the memories c after each step, without h0 and c0. Also "
    "write initial_bias, the bias of a new cell.",
    returns={"h": "step unit", "c": "step unit", "initial_bias": "row"},
    tiny=tiny,
    probes=lambda rng: {
        "five steps": sequence(rng, 5, 3, 4),
        "more steps, other sizes": sequence(rng, 8, 5, 2),
        "as many inputs as units": sequence(rng, 4, 3, 3),
    },
    edges=edges,
    properties=(
        Property(
            "with the input gate closed and the forget gate open, the memory stays the same",
            shut,
            lambda out: np.allclose(out[1], out[1][0], atol=1e-9),
        ),
        Property(
            "every hidden state stays between −1 and 1",
            lambda rng: {"large weights": sequence(rng, 6, 2, 3, scale=5.0)},
            lambda out: np.abs(out[0]).max() <= 1,
        ),
    ),
    run=walk,
    shown_first=("c",),
    forbidden=("lstm_gates", "lstm_gradients", "LSTM", "LSTMCell"),
    steps=(
        "for each step: the product with the input plus the product with the hidden state plus the bias [4H], split into four "
        "blocks",
        "σ for the three gates, tanh for the candidate [H each]",
        "the new memory, then the new hidden state from it [H each]",
        "all hidden states [T, H] and all memories [T, H]",
    ),
    right={
        "loops": {"lstm": loops, "initial_bias": by_list},
        "tanh alone": {"lstm": tanh_alone, "initial_bias": by_kron},
        "one wide product": {"lstm": one_wide_product, "initial_bias": by_repeat},
    },
    wrong={
        **listed(MISTAKES, lambda key: {"lstm": partial(flawed, wrong=frozenset({key})), "initial_bias": initial_bias}),
        **listed(BIAS, lambda key: {"lstm": flawed, "initial_bias": CODES[key]}),
    },
    hints=(
        "There are three gates between 0 and 1 and one candidate between −1 and 1. The memory is a sum of what the forget gate "
        "keeps and what the input gate lets in. The hidden state is what the output gate shows of the memory.",
        "W_x xₜ + W_h h + b [4H] → i, f, g, o, each [H] → c = f ⊙ c + i ⊙ g → h = o ⊙ tanh c. Collect both: [T, H] and [T, H]. "
        "The initial bias: zeros [4H] with ones in the block of f.",
        "for each x_t:  a = both products + b;  split a in four;  sigmoid of i, f, o, tanh of g;  c from the old c and g;  h "
        "from c;  append both;  return them stacked",
    ),
)
