r"""The LSTM, step by step.  F15."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Property, Wrong


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
    for x_t in x:
        a = W_x @ x_t + W_h @ h + b
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
        if "no_f" in wrong:
            c = old + i * g
        if "coupled" in wrong:
            c = f * old + (1 - f) * g
        h = o * (c if "no_tanh" in wrong else np.tanh(old) if "old_c" in wrong else np.tanh(c))
        hs.append(h)
        cs.append(c)
        h, c = (h0 if "no_h" in wrong else h), (c0 if "no_c" in wrong else c)
    return np.stack(hs), np.stack(cs)


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
    return {"inputs of a thousand": large, "a single step": sequence(rng, 1, 3, 2), "an initial state of zero": still}


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


def mistake(name, question, key, code=None):
    bias = code or initial_bias
    return Wrong(name, question, {"lstm": partial(flawed, wrong=frozenset({key})), "initial_bias": bias})


FORGET = "the rows are in the order i, f, g, o: at which row does the second block begin?"
EXERCISE = Exercise(
    target="minilm.formulas.lstm.lstm",
    also=("minilm.exercises.specs.e18_lstm_cell.initial_bias",),
    section=("06", "The LSTM"),
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
        "swapped": mistake(
            "input gate and forget gate are swapped", "in which order are the blocks stored?", "swapped"
        ),
        "g_o": mistake("the candidate and the output gate are swapped", "in which order are the blocks stored?", "g_o"),
        "interleaved": mistake(
            "the rows are given to the four blocks in turn, one at a time",
            "which rows belong to the input gate: 0, 4, 8 … or 0 … H − 1?",
            "interleaved",
        ),
        "sum": mistake("i + g is used instead of i ⊙ g", "i = 0 closes the gate: what enters the memory then?", "sum"),
        "no_i": mistake("the input gate is never used", "how can the cell refuse an input?", "no_i"),
        "no_f": mistake("the forget gate is never used", "how can the cell clear its memory?", "no_f"),
        "coupled": mistake(
            "1 − f is used instead of the input gate", "can a cell keep everything and still take in more?", "coupled"
        ),
        "one_bias": mistake(
            "one bias is used for all four blocks", "b has 4H numbers: how many of them have you used?", "one_bias"
        ),
        "sigmoid_g": mistake(
            "the candidate goes through σ instead of tanh", "can an input still make the memory smaller?", "sigmoid_g"
        ),
        "tanh_o": mistake("the output gate goes through tanh instead of σ", "what would a gate of −0.5 do?", "tanh_o"),
        "no_tanh": mistake(
            "h = o ⊙ c, without the tanh", "the memory may grow to 10: may h grow like that?", "no_tanh"
        ),
        "old_c": mistake(
            "the hidden state is computed from the old memory", "which must be computed first: c or h?", "old_c"
        ),
        "no_h": mistake("h is not passed on to the next step", "what does step 3 know about the h of step 2?", "no_h"),
        "no_c": mistake("c is not passed on to the next step", "what does step 3 know about the c of step 2?", "no_c"),
        "forget_first": mistake(
            "the ones stand in the first block, that of the input gate", FORGET, "", partial(start, block=0)
        ),
        "forget_third": mistake(
            "the ones stand in the third block, that of the candidate", FORGET, "", partial(start, block=2)
        ),
        "forget_last": mistake(
            "the ones stand in the last block, that of the output gate", FORGET, "", partial(start, block=3)
        ),
        "forget_none": mistake(
            "the initial bias is zero everywhere",
            "f = σ(0) = 0.5: how much of the first input is left after ten steps?",
            "",
            partial(start, value=0.0),
        ),
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
