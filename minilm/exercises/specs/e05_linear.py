r"""A linear map, forwards and backwards.  F07, F08."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong


def linear(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    r"""Y = x Wᵀ + b [.., K] for `x` [.., C], `W` [K, C] (its rows as in `nn.Linear`), `b` [K].  F07."""
    return x @ W.T + b


def linear_gradients(x: np.ndarray, W: np.ndarray, b: np.ndarray, dY: np.ndarray) -> tuple[np.ndarray, ...]:
    r"""∂L/∂x [.., C], ∂L/∂W [K, C], ∂L/∂b [K] for ∂L/∂Y = `dY` [.., K], whatever axes come first.  F07, F08."""
    # every position of every sentence is one row: all but the last axis become one
    rows, d_rows = x.reshape(-1, x.shape[-1]), dY.reshape(-1, dY.shape[-1])
    dx = dY @ W  # each x met all rows of W [.., C]
    dW = d_rows.T @ rows  # W met all rows: their outer products are summed [K, C]
    return dx, dW, d_rows.sum(axis=0)


def flawed_linear(x, W, b, wrong=frozenset()):
    if "not_transposed" in wrong:
        return x @ W + b
    return x @ W.T + (0 if "no_bias" in wrong else b)


def flawed(x, W, b, dY, wrong=frozenset()):
    rows, d_rows = x.reshape(-1, x.shape[-1]), dY.reshape(-1, dY.shape[-1])
    dx, dW, db, N = dY @ W, d_rows.T @ rows, d_rows.sum(0), len(rows)
    if "dx_transposed" in wrong:
        dx = dY @ W.T
    if "dW_transposed" in wrong:
        dW = dW.T
    if "dW_averaged" in wrong:
        dW = dW / N
    if "averaged" in wrong:
        dW, db = dW / N, db / N
    if "db_averaged" in wrong:
        db = db / N
    if "db_axis" in wrong:
        db = d_rows.sum(axis=1)
    if "db_not_summed" in wrong:
        db = dY
    if "db_first_axis" in wrong:
        db = dY.sum(axis=0)
    if "batch_left" in wrong:  # a product for each sentence, and nothing adds them up
        dW, db = np.swapaxes(dY, -1, -2) @ x, dY.sum(axis=-2)
    if "all_axes" in wrong:  # .T turns all three axes round
        dW, db = dY.T @ x, dY.sum(axis=0)
    if "sign" in wrong:
        dx, dW, db = -dx, -dW, -db
    return dx, dW, db


def by_loops(x, W, b):
    Y = np.zeros((*x.shape[:-1], len(b)))
    for index in np.ndindex(Y.shape):
        Y[index] = sum(w * a for w, a in zip(W[index[-1]], x[index[:-1]])) + b[index[-1]]
    return Y


def loops(x, W, b, dY):
    dx, dW, db = np.zeros(x.shape), np.zeros(W.shape), np.zeros(b.shape)
    for index in np.ndindex(x.shape[:-1]):
        for k, d in enumerate(dY[index]):
            db[k] += d
            for c in range(W.shape[1]):
                dW[k, c] += d * x[index][c]
                dx[index][c] += d * W[k, c]
    return dx, dW, db


def by_einsum(x, W, b):
    return np.einsum("...c,kc->...k", x, W) + b


def einsum(x, W, b, dY):
    dx = np.einsum("...k,kc->...c", dY, W)
    x, dY = x.reshape(-1, W.shape[1]), dY.reshape(-1, W.shape[0])
    return dx, np.einsum("nk,nc->kc", dY, x), np.einsum("nk->k", dY)


def by_tensordot(x, W, b):
    return np.add(np.tensordot(x, W, axes=(-1, 1)), b)


def tensordot(x, W, b, dY):
    others = tuple(range(x.ndim - 1))
    dW = np.tensordot(dY, x, axes=(others, others)) if others else np.outer(dY, x)
    return (W.T @ dY[..., None])[..., 0], dW, dY.sum(axis=others)


def there_or_back(made, x, W, b, dY):
    """Without an upstream gradient the output is asked for, with one the gradients."""
    if dY is None:
        return {"Y": made.linear(x, W, b)}
    return made.linear_gradients(x, W, b, dY)


def layer(rng, *shape, K, back=True):
    C = shape[-1]
    drawn = {"x": rng.normal(size=shape), "W": rng.normal(size=(K, C)), "b": rng.normal(size=K) + 1}
    return {**drawn, "dY": rng.normal(size=(*shape[:-1], K)) if back else None}


def both(rng, name, *shape, K):
    gradients = layer(rng, *shape, K=K)
    return {f"the gradients, {name}": gradients, f"the output, {name}": {**gradients, "dY": None}}


def probes(rng):
    return {
        **both(rng, "rows", 6, 3, K=4),
        **both(rng, "as many rows as features and outputs", 4, 4, K=4),
        **both(rng, "sentences", 2, 3, 5, K=4),
        **both(rng, "sentences, all sizes the same", 3, 3, 3, K=3),
    }


def edges(rng):
    return {
        **both(rng, "a single vector", 4, K=3),
        **both(rng, "one output", 5, 3, K=1),
        **both(rng, "one row", 1, 3, K=4),
    }


def twice(rng):
    once = layer(rng, 3, 4, K=2)
    again = {**once, "x": np.concatenate([once["x"]] * 2), "dY": np.concatenate([once["dY"]] * 2)}
    return {"a batch": once, "the batch, and the same again": again}


def mistake(key, name, question):
    """In the output or in the gradients, and the other one right."""
    wrong, forward = frozenset({key}), key in ("not_transposed", "no_bias")
    code = {"linear": partial(flawed_linear, wrong=wrong)} if forward else {"linear": linear}
    code["linear_gradients"] = linear_gradients if forward else partial(flawed, wrong=wrong)
    return Wrong(name, question, code)


BIAS = "b was added to every row: whose upstream gradients does it get?"
LEADING = "x may be [sentence, word, C]: how many axes has W, and so its gradient?"
MEAN = "if the loss is a mean, where has its 1/N gone: is it not in dY already?"
WRONG = {
    "not_transposed": ("W is not transposed", "W has a row for each output: by which axis do x and W meet?"),
    "no_bias": ("the bias is not added", "how many of the three inputs have you used?"),
    "dx_transposed": (
        "dx takes Wᵀ where W belongs (nobody sees it when W is square)",
        "dY is [.., K], dx must be [.., C]: what shape must stand between?",
    ),
    "dW_transposed": ("dW is transposed", "a gradient has the shape of what it is the gradient of: what is that of W?"),
    "dW_averaged": ("dW is divided by the number of rows once more", MEAN),
    "db_averaged": ("db is averaged instead of summed", BIAS),
    "averaged": ("dW and db are divided by the number of rows once more", MEAN),
    "db_axis": ("db is summed over the outputs instead of the rows", BIAS),
    "db_not_summed": ("db is dY itself: nothing is summed", BIAS),
    "db_first_axis": ("db is summed over the first axis alone", LEADING),
    "batch_left": ("there is one dW and db for each sentence: they are not added up", LEADING),
    "all_axes": ("dY.T turns all axes round, not the last two; the leading axes must become one first", LEADING),
    "sign": ("the sign of the gradients is turned round", "where does a minus come from in Y = x Wᵀ + b?"),
}
EXERCISE = Exercise(
    target="minilm.exercises.specs.e05_linear.linear_gradients",
    also=("minilm.exercises.specs.e05_linear.linear",),
    section=("10", "The head"),
    task="The most used layer of all, Y = x Wᵀ + b, with W [K, C] as torch keeps it: first the output, then, from the upstream "
    "gradient dY, those of x, W and b. There may be any number of axes before the last: sentences, words, heads.",
    returns={"dx": "sentence word feature", "dW": "output feature", "db": "output"},
    tiny=lambda: {
        "x": np.array([[1.0, 2.0], [0.0, -1.0], [3.0, 1.0]]),
        "W": np.array([[1.0, 0.5]]),
        "b": np.array([0.1]),
        "dY": np.array([[1.0], [-2.0], [0.5]]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "the same batch twice gives dW and db twice",
            twice,
            lambda a, b: np.allclose(2 * a[1], b[1]) and np.allclose(2 * a[2], b[2]),
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"two sentences": layer(rng, 2, 3, 2, K=4)},
        wrt=("x", "W", "b"),
        forward=linear,
        upstream="dY",
    ),
    run=there_or_back,
    forbidden=("functional.linear", "F.linear", "nn.Linear", "head", "head_gradients", "backward", "grad"),
    right={
        "loops": {"linear": by_loops, "linear_gradients": loops},
        "einsum": {"linear": by_einsum, "linear_gradients": einsum},
        "tensordot": {"linear": by_tensordot, "linear_gradients": tensordot},
    },
    wrong={key: mistake(key, *said) for key, said in WRONG.items()},
    hints=(
        "Yₙₖ = Σ_c xₙ_c Wₖ_c + bₖ. Each number that stands in a product gets the upstream gradient times the other factor, summed "
        "over all places where it stands. A gradient has the shape of its own thing.",
        "dx: dY [.., K] with W [K, C] → [.., C]. For the other two, all axes but the last become one, N: dYᵀ [K, N] with x [N, C] → "
        "dW [K, C]; dY summed over N → db [K].",
        "Y = x @ (W transposed) + b;  dx = dY times W;  flatten x and dY to two axes;  dW = flat dY, transposed, @ flat x;  db = sum "
        "of flat dY along axis 0",
    ),
)
