r"""An embedding table, looked up and trained.  F21.  25 minutes, medium."""

from functools import partial

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed


def embedding(table: np.ndarray, ids: np.ndarray, pad: int) -> np.ndarray:
    r"""Y = √C · table[ids] [.., C] for a `table` [V, C] and token ids `ids` [..].  F21.

    The factor √C gives the vectors the size of the position vectors that are added to them (Vaswani et al. 2017, §3.4).
    Row `pad`, the one for padding, is looked up like any other.
    """
    C = table.shape[1]
    return np.sqrt(C) * table[ids]


def embedding_gradient(table: np.ndarray, ids: np.ndarray, pad: int, dY: np.ndarray) -> np.ndarray:
    r"""∂L/∂table [V, C], given ∂L/∂Y = `dY` [.., C]. Row `pad`, the one for padding, is never trained: it gets 0.  F21."""
    gradient = np.zeros(table.shape)
    np.add.at(gradient, ids, dY)  # a token that occurs twice gets both gradients
    gradient[pad] = 0
    return gradient * np.sqrt(table.shape[1])  # the same factor as in the output


def flawed_output(table, ids, pad, wrong=frozenset()):
    V, C = table.shape
    if "width" in wrong:  # only as many columns as the largest id in this batch needs
        return np.sqrt(C) * (np.eye(ids.max() + 1)[ids] @ table)
    Y = table[ids] * (
        1 if wrong & {"no_root", "no_root_there"} else 1 / np.sqrt(C) if "divided" in wrong else np.sqrt(C)
    )
    if "root_v" in wrong:
        Y = table[ids] * np.sqrt(V)
    if wrong & {"times_c", "floor_root"}:
        Y = (C if "times_c" in wrong else int(np.sqrt(C))) * table[ids]
    if "normed" in wrong:
        Y = table[ids] / np.linalg.norm(table[ids], axis=-1, keepdims=True) * np.sqrt(C)
    if "shifted" in wrong:
        Y = np.sqrt(C) * table[ids - 1]
    if "root_added" in wrong:
        Y = table[ids] + np.sqrt(C)
    if "hidden_pad" in wrong:
        Y = Y * (ids != pad)[..., None]
    return Y


def flawed(table, ids, pad, dY, wrong=frozenset()):
    V, C = table.shape
    gradient = np.zeros((ids.max() + 1, C) if "width" in wrong else table.shape)
    if "lost" in wrong:
        gradient[ids] += dY
    elif "per_sentence" in wrong:  # right within a sentence, but every sentence overwrites the one before
        for row, d in zip(np.atleast_2d(ids.reshape(-1, ids.shape[-1])), dY.reshape(-1, ids.shape[-1], C)):
            part = np.zeros(table.shape)
            np.add.at(part, row, d)
            gradient = np.where(np.isin(np.arange(V), row)[:, None], part, gradient)
    elif "first" in wrong:
        gradient[ids.ravel()[::-1]] = dY.reshape(-1, C)[::-1]
    else:
        np.add.at(gradient, ids, dY)
    if "mean" in wrong:
        gradient /= np.maximum(np.bincount(ids.ravel(), minlength=V), 1)[:, None]
    if "shifted" in wrong:
        gradient = np.roll(gradient, -1, axis=0)
    if "of_table" in wrong:
        gradient *= table
    if "times_c" in wrong:
        gradient *= np.sqrt(C)
    if "sign" in wrong:
        gradient *= -1
    if "unused_too" in wrong:
        gradient[np.bincount(ids.ravel(), minlength=V) == 0] = dY.mean()
    if "pad_one" in wrong:
        gradient[pad] = 1
    elif "pad" not in wrong and pad < len(gradient):
        gradient[0 if "pad_0" in wrong else pad] = 0
    if "below_pad" in wrong:
        gradient[: pad + 1] = 0
    if wrong & {"root_v", "floor_root"}:
        return gradient * (np.sqrt(V) if "root_v" in wrong else int(np.sqrt(C)))
    return gradient * (
        1 if wrong & {"no_root", "no_root_back"} else 1 / np.sqrt(C) if "divided" in wrong else np.sqrt(C)
    )


def one_hot_output(table, ids, pad):
    return (np.eye(len(table))[ids] @ table) * table.shape[1] ** 0.5


def one_hot(table, ids, pad, dY):
    rows = np.eye(len(table))[ids.ravel()]
    rows[:, pad] = 0
    return rows.T @ dY.reshape(-1, table.shape[1]) * table.shape[1] ** 0.5


def loop_output(table, ids, pad):
    Y = np.zeros((*ids.shape, table.shape[1]))
    for place in np.ndindex(ids.shape):
        Y[place] = [x * table.shape[1] ** 0.5 for x in table[ids[place]]]
    return Y


def loop(table, ids, pad, dY):
    gradient = 0 * table
    for place in np.ndindex(ids.shape):
        if ids[place] != pad:
            gradient[ids[place]] += dY[place] * np.sqrt(len(table[0]))
    return gradient


def take(table, ids, pad):
    return np.take(table * np.sqrt(table.shape[1]), ids, axis=0)


def word_by_word(table, ids, pad, dY):
    sums = [dY[ids == v].sum(axis=0) if v != pad else np.zeros(table.shape[1]) for v in range(len(table))]
    return np.stack(sums) * np.sqrt(table.shape[1])


def there_or_back(made, table, ids, pad, dY):
    """Return the output if there is no upstream gradient, and the gradient if there is one."""
    if dY is None:
        return {"Y": made.embedding(table, ids, pad)}
    return {"dtable": made.embedding_gradient(table, ids, pad, dY)}


def text(rng, *shape, V, C, pad=0, largest=None):
    """Ids with repeats and with padding among them; the last row of the table is not used."""
    ids = rng.integers(largest or V - 1, size=shape)
    ids.flat[:3] = 1, pad, 1
    return {"table": rng.normal(size=(V, C)), "ids": ids, "pad": pad, "dY": rng.normal(size=(*shape, C))}


def both(name, inputs):
    return {f"the gradient, {name}": inputs, f"the output, {name}": {**inputs, "dY": None}}


def probes(rng):
    whole = text(rng, 3, 4, V=6, C=5, pad=2)
    whole["ids"][-1, -1] = 5  # the last row of the table
    return {
        **both("sentences", text(rng, 2, 5, V=7, C=3)),
        **both("padding whose id is not 0", whole),
        **both("one sentence", text(rng, 6, V=9, C=4, pad=3)),
        **both("all sizes the same", text(rng, 4, V=4, C=4, pad=3)),
    }


def edges(rng):
    pads, same = text(rng, 2, 3, V=5, C=2, pad=4), text(rng, 2, 4, V=5, C=3)
    pads["ids"][:], same["ids"][:] = 4, 2
    short = text(rng, 2, 6, V=700, C=60, pad=299)
    short["ids"][0, 3] = 699  # 699 · 60 does not fit into 16 bits
    short["ids"] = short["ids"].astype(np.int16)
    return {
        **both("padding only", pads),
        **both("the same token everywhere", same),
        **both("ids with three axes", text(rng, 2, 3, 4, V=6, C=5, pad=2)),
        **both(
            "a single token", {**text(rng, 3, V=5, C=4, pad=3), "ids": np.array([2]), "dY": rng.normal(size=(1, 4))}
        ),
        **both("vectors of one number", text(rng, 2, 4, V=6, C=1, pad=1)),
        **both("a large vocabulary", text(rng, 2, 6, V=300, C=3, pad=299)),
        **both("ids of 16 bits", short),
    }


def one_more_word(rng):
    first = text(rng, 5, V=8, C=3)
    longer = {**first, "table": np.vstack([first["table"], rng.normal(size=(1, 3))])}
    return {"a table": first, "a table with one more row": longer}


def mistake(key, where, name, question):
    forward = partial(flawed_output, wrong=frozenset({key})) if "there" in where else embedding
    back = partial(flawed, wrong=frozenset({key})) if "back" in where else embedding_gradient
    return Wrong(name, question, {"embedding": forward, "embedding_gradient": back})


MORE = """  key · what it looks like · a question
times_c · the factor is C instead of √C ·
    √C · √C = C: how many times do you multiply by the root?
normed · every vector is brought to the length √C ·
    should a vector that is twice as long be looked up twice as long?
shifted · every token gets the row of another token, one further ·
    ids are counted from 0: which row belongs to id 0?
root_added · √C is added instead of multiplied ·
    if a row of the table is 0, what should be looked up?
per_sentence · for a token that occurs in two sentences, only the gradient from the last one is kept ·
    the same token stands in two sentences: what does each of them contribute to the gradient of its row?
of_table · the gradient is multiplied by the table ·
    Y is a multiple of the row: does its derivative contain the row?
sign · the sign of the gradient is reversed ·
    where would a minus sign come from in Y = √C · table[ids]?
unused_too · rows of tokens that do not occur get a gradient too ·
    if a token does not occur in the batch, can its row have influenced the loss?
below_pad · all rows below that for padding get no gradient either: `ids > pad` ·
    pad is 3: is a token with the id 1 padding?
floor_root · the root of C is rounded to a whole number ·
    how large is the root of 5?
pad_one · the row for padding gets ones instead of zeros ·
    padding stands for nothing: should the loss change its row?
"""
WHERE = {
    "times_c": "there back",
    "floor_root": "there back",
    "shifted": "there back",
    "normed": "there",
    "root_added": "there",
}
REPEATED = "the same token stands at two places: what does each place contribute to the gradient of its row?"
ROOT = "the output should be √C times the row: what does that mean for the row's gradient?"
WRONG = {
    "lost": (
        "back",
        "for a token that occurs twice, one gradient is lost: gradient[ids] += d adds only one of them",
        REPEATED,
    ),
    "first": ("back", "for a token that occurs twice, only the gradient of its first place is kept", REPEATED),
    "mean": ("back", "the gradients of a repeated token are averaged, not summed", REPEATED),
    "no_root": ("there back", "the factor √C is missing in both the output and the gradient", ROOT),
    "no_root_there": ("there", "the factor √C is missing in the output (the gradient has it)", ROOT),
    "no_root_back": ("back", "the factor √C is missing in the gradient (the output has it)", ROOT),
    "divided": (
        "there back",
        "the vectors are divided by √C instead of multiplied by it",
        "should the vectors get longer or shorter?",
    ),
    "root_v": (
        "there back",
        "the factor is √V, the root of the vocabulary size",
        "how many numbers does one vector hold?",
    ),
    "pad": ("back", "the row for padding is trained", "padding stands for nothing: should the loss change its row?"),
    "pad_0": (
        "back",
        "row 0 is treated as padding, whatever `pad` says",
        "which row belongs to padding, and which argument tells you so?",
    ),
    "hidden_pad": (
        "there",
        "the vectors of padding are set to 0 in the output",
        "what hides padding in a model: the embedding table or the attention mask?",
    ),
    "width": (
        "there back",
        "the one-hot rows are only as wide as the largest id",
        "how many rows does the table have, and does every batch use all of them?",
    ),
}
EXERCISE = Exercise(
    target="minilm.exercises.specs.e06_embedding.embedding_gradient",
    also=("minilm.exercises.specs.e06_embedding.embedding",),
    section=("06", "A table that is learned"),
    task="Write the first layer of every language model: look up one row of a table for each token, and multiply it "
    "by √C. Then write the backward pass, from the upstream gradient to the gradient of the table. The ids may have "
    "any number of axes, and a token may occur more than once.",
    returns={"dtable": "token feature"},
    tiny=lambda: {
        "table": np.array([[0.0], [1.0], [2.0]]),
        "ids": np.array([1, 0, 1]),
        "pad": 0,
        "dY": np.array([[1.0], [5.0], [2.0]]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "a token that does not occur gets no gradient",
            one_more_word,
            lambda a, b: np.allclose(a, b[:-1]) and not b[-1].any(),
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"no padding": {**text(rng, 5, V=6, C=3, pad=5), "ids": np.array([1, 0, 3, 1, 0])}},
        wrt=("table",),
        forward=embedding,
        upstream="dY",
    ),
    run=there_or_back,
    forbidden=("look_up", "look_up_gradient", "functional.embedding", "nn.Embedding", "backward", "grad"),
    right={
        "one-hot": {"embedding": one_hot_output, "embedding_gradient": one_hot},
        "loops": {"embedding": loop_output, "embedding_gradient": loop},
        "word by word": {"embedding": take, "embedding_gradient": word_by_word},
    },
    wrong={key: mistake(key, *said) for key, said in WRONG.items()}
    | {key: mistake(key, WHERE.get(key, "back"), each.name, each.question) for key, each in listed(MORE).items()},
    hints=(
        "Looking up row v gives the same as multiplying a one-hot row by the table: it is a linear layer without the product. "
        "Its gradient needs no product either: each place adds its upstream gradient to its own row.",
        "ids [..] pick rows [.., C], times √C. Backward: start from zeros [V, C]; add dY[place] to row ids[place], "
        "for ALL places (np.add.at adds repeated rows, += on picked rows does not); multiply by √C; set row pad to 0.",
        "Y = table at ids, times root of C;  gradient = zeros;  np.add.at with ids and dY;  pad's row = 0;  times root of C",
    ),
)
