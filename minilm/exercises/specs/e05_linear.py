r"""A linear map, forwards and backwards.  F07, F08.  20 minutes, easy."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed


def linear(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    r"""Y = x Wᵀ + b [.., K] for `x` [.., C], `W` [K, C] (one row per output, as in `nn.Linear`) and `b` [K].  F07."""
    return x @ W.T + b


def linear_gradients(x: np.ndarray, W: np.ndarray, b: np.ndarray, dY: np.ndarray) -> tuple[np.ndarray, ...]:
    r"""∂L/∂x [.., C], ∂L/∂W [K, C] and ∂L/∂b [K], given ∂L/∂Y = `dY` [.., K], with any leading axes.  F07, F08."""
    # merge all axes but the last, so that every position of every sentence is one row
    rows, d_rows = x.reshape(-1, x.shape[-1]), dY.reshape(-1, dY.shape[-1])
    dx = dY @ W  # each x was multiplied by every row of W [.., C]
    dW = d_rows.T @ rows  # every row used the same W: sum their outer products [K, C]
    return dx, dW, d_rows.sum(axis=0)


def flawed_linear(x, W, b, wrong=frozenset()):
    if "not_transposed" in wrong:
        return x @ W + b
    if "bias_twice" in wrong:
        b = 2 * b
    if "bias_minus" in wrong:
        b = -b
    if "bias_first" in wrong:  # (x + mean b) Wᵀ: the bias goes through the weights
        return (x + b.mean()) @ W.T
    return x @ W.T + (0 if "no_bias" in wrong else b)


def flawed(x, W, b, dY, wrong=frozenset()):
    rows, d_rows = x.reshape(-1, x.shape[-1]), dY.reshape(-1, dY.shape[-1])
    dx, dW, db, N = dY @ W, d_rows.T @ rows, d_rows.sum(0), len(rows)
    if "dx_transposed" in wrong:
        dx = dY @ W.T
    if "dW_transposed" in wrong:
        dW = dW.T
    if "reshaped" in wrong:  # [N, K] to [K, N] by a reshape instead of a transpose
        dW, db = dY.reshape(dY.shape[-1], -1) @ rows, dY.reshape(dY.shape[-1], -1).sum(axis=1)
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
    if "batch_left" in wrong:  # one product per sentence, and nothing sums them
        dW, db = np.swapaxes(dY, -1, -2) @ x, dY.sum(axis=-2)
    if "all_axes" in wrong:  # .T reverses all three axes
        dW, db = dY.T @ x, dY.sum(axis=0)
    if "dx_with_bias" in wrong:
        dx = (dY + b) @ W
    if "dx_elementwise" in wrong:
        dx = dY.sum(-1, keepdims=True) * W.mean(0)
    if "dx_of_x" in wrong:
        dx = dx * x
    if "db_of_b" in wrong:
        db = db * b
    if "db_weighted" in wrong:
        db = d_rows.sum(0) * rows.sum()
    if "last_row" in wrong:
        dW, db = np.outer(d_rows[-1], rows[-1]), d_rows[-1]
    if "ones_db" in wrong:
        db = np.full(len(b), float(N))
    if "mean_outer" in wrong:
        dW = np.outer(d_rows.sum(0), rows.mean(0))
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
    """Return the output if there is no upstream gradient, and the gradients if there is one."""
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
        **both(rng, "one feature", 4, 1, K=3),
        **both(rng, "sentences, tokens and heads", 2, 3, 2, 4, K=5),
        **both(rng, "one sentence", 1, 3, 4, K=2),
        **both(rng, "sentences of one token", 3, 1, 4, K=2),
    }


def twice(rng):
    once = layer(rng, 3, 4, K=2)
    again = {**once, "x": np.concatenate([once["x"]] * 2), "dY": np.concatenate([once["dY"]] * 2)}
    return {"a batch": once, "the batch twice": again}


def mistake(key, name, question):
    """A mistake in the output or in the gradients; the other function is right."""
    wrong, forward = frozenset({key}), key in FORWARD
    code = {"linear": partial(flawed_linear, wrong=wrong)} if forward else {"linear": linear}
    code["linear_gradients"] = linear_gradients if forward else partial(flawed, wrong=wrong)
    return Wrong(name, question, code)


FORWARD = ("not_transposed", "no_bias", "bias_twice", "bias_minus", "bias_first")
MORE = """  key · what it looks like · a question
bias_twice · the bias is added twice ·
    if x is 0, what should come out?
bias_minus · the bias is subtracted ·
    if x is 0, what should come out?
bias_first · the bias is added before the product instead of after it ·
    b has one number per output: on which side of the product does it belong?
dx_with_bias · the bias enters the gradient of x ·
    Y = x Wᵀ + b: does ∂Y/∂x contain b?
dx_elementwise · the gradient of x uses the sum of dY instead of the product with W ·
    which row of W belongs to which entry of dY?
dx_of_x · the gradient of x is multiplied by x once more ·
    Y is linear in x: does its derivative contain x?
db_of_b · the gradient of b is multiplied by b ·
    Y = x Wᵀ + b: by what is b multiplied?
db_weighted · the gradient of b is multiplied by the sum of x ·
    Y = x Wᵀ + b: by what is b multiplied?
last_row · only the last row contributes to dW and db ·
    how many rows were multiplied by the same W?
ones_db · the gradient of b counts the rows, without dY ·
    if the upstream gradient is 0, what should db be?
mean_outer · dW is made from the sum of dY and the mean of x: they were reduced before they were multiplied ·
    is the mean of products the product of the means?
"""
BIAS = "b was added to every row: which upstream gradients flow back to it?"
LEADING = "x may be [sentence, token, C]: how many axes does W have, and how many must its gradient have?"
MEAN = "if the loss is a mean, its gradient contains 1/N: is this factor not in dY already?"
WRONG = {
    "not_transposed": (
        "W is not transposed",
        "W has one row per output: which axis of x and which axis of W must meet in the product?",
    ),
    "no_bias": ("the bias is not added", "how many of the three inputs have you used?"),
    "dx_transposed": (
        "dx is computed with Wᵀ instead of W (if W is square, the shapes do not show this)",
        "dY is [.., K] and dx must be [.., C]: what shape must the matrix between them have?",
    ),
    "dW_transposed": (
        "dW is transposed",
        "a gradient has the same shape as the array it belongs to: what is the shape of W?",
    ),
    "dW_averaged": ("dW is averaged over the rows instead of summed", MEAN),
    "reshaped": (
        "dY is brought to [K, N] by a reshape instead of a transpose, so its numbers are in the wrong order",
        "[[1, 2, 3], [4, 5, 6]] reshaped to three rows: is that its transpose?",
    ),
    "db_averaged": ("db is averaged over the rows instead of summed", BIAS),
    "averaged": ("dW and db are averaged over the rows instead of summed", MEAN),
    "db_axis": ("db is summed over the outputs instead of over the rows", BIAS),
    "db_not_summed": ("db is dY itself: nothing is summed", BIAS),
    "db_first_axis": ("db is summed over the first axis only", LEADING),
    "batch_left": ("there is one dW and one db per sentence: they are not summed over the sentences", LEADING),
    "all_axes": ("dY.T reverses all axes, not only the last two; the leading axes must be merged first", LEADING),
    "sign": ("the sign of the gradients is reversed", "where would a minus sign come from in Y = x Wᵀ + b?"),
}
EXERCISE = Exercise(
    target="minilm.exercises.specs.e05_linear.linear_gradients",
    also=("minilm.exercises.specs.e05_linear.linear",),
    section=("13", "The head"),
    task="Write the most used layer of all: Y = x Wᵀ + b, with W [K, C] stored as in torch. First compute the "
    "output, then use the upstream gradient dY to compute the gradients of x, W and b. There may be any number of "
    "axes before the last one: sentences, tokens, heads.",
    returns={"dx": "sentence token feature", "dW": "output feature", "db": "output"},
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
            "repeating the batch doubles dW and db",
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
    wrong={key: mistake(key, *said) for key, said in WRONG.items()}
    | {key: mistake(key, known.name, known.question) for key, known in listed(MORE).items()},
    hints=(
        "Yₙₖ = Σ_c xₙ_c Wₖ_c + bₖ. Each number in a product gets the upstream gradient times the other factor, summed over all "
        "the places where the number is used. A gradient has the same shape as the array it belongs to.",
        "dx: dY [.., K] times W [K, C] → [.., C]. For the other two, merge all axes but the last into one, N: dYᵀ [K, N] times "
        "x [N, C] → dW [K, C]; dY summed over N → db [K].",
        "Y = x @ (W transposed) + b;  dx = dY times W;  flatten x and dY to two axes;  dW = flat dY, transposed, @ flat x;  db "
        "= sum of flat dY along axis 0",
    ),
)
