r"""The causal mask.  F18.  10 minutes, easy."""

import numpy as np
import torch

from minilm.exercises.spec import Exercise, Property, Wrong, listed


def flawed(T, S=None, device=None, wrong=frozenset()):
    S = T if S is None else S
    offset = 0 if "offset" in wrong else S - T
    offset += ("next" in wrong) - ("diagonal" in wrong)
    if "padding" in wrong:
        return (torch.arange(S) < T).expand(T, S)
    everything = torch.ones(T, S, dtype=torch.bool)
    if "triangle" in wrong:
        return everything.triu(diagonal=offset)
    mask = everything.tril(diagonal=offset)
    return ~mask if "inverted" in wrong else mask.T.reshape(T, S) if "transposed" in wrong else mask


def grid(T, S):
    S = T if S is None else S
    return torch.arange(S - T, S)[:, None], torch.arange(S)  # the positions of the queries, and those of the keys


def basic(compare):
    return lambda T, S=None, device=None: compare(*grid(T, S))


BASIC = {
    "all": basic(lambda t, s: (s >= 0) & (t >= 0)),
    "itself": basic(lambda t, s: s == t),
    "one_before": basic(lambda t, s: (s == t) | (s == t - 1)),
    "not_first": basic(lambda t, s: (s <= t) & ((s > 0) | (t == 0))),
    "last_sees_all": basic(lambda t, s: (s == t) | (t == t.max()) & (s >= 0)),
    "mirrored": basic(lambda t, s: (s <= t).flip(-1)),
    "backwards": basic(lambda t, s: (s <= t).flip(0)),
    "window": basic(lambda t, s: (s <= t) & (s > t - 8)),
    "S_ignored": lambda T, S=None, device=None: torch.ones(T, T, dtype=torch.bool).tril(),
}
MORE = """  key · what it looks like · a question
all · every query sees every key: nothing is hidden ·
    the model has to predict token t + 1: may it see that token?
itself · each token sees only itself ·
    which keys may the third token see?
one_before · each token sees only itself and the one before it ·
    which keys may the last token see?
not_first · the first key is hidden from all queries but the first ·
    may the third token see the first one?
last_sees_all · only the last query sees the keys before it ·
    which keys may the second token see?
mirrored · the columns are in reverse order ·
    which key is at the left, the first or the last?
backwards · the rows are in reverse order ·
    which query is at the top, the first or the last?
window · only the last eight keys are visible ·
    does the task set a limit to how far back a token may look?
S_ignored · the number of keys is ignored: the mask is [T, T] ·
    which argument says how many keys there are?
"""


def loops(T, S=None, device=None):
    S = S or T
    return torch.tensor([[s <= t + S - T for s in range(S)] for t in range(T)], device=device)


def comparison(T, S=None, device=None):
    S = T if S is None else S
    return torch.arange(S, device=device)[None, :] <= torch.arange(S - T, S, device=device)[:, None]


def running_sum(T, S=None, device=None):
    S = T if S is None else S
    last = torch.eye(S, dtype=torch.long, device=device)[S - T :]  # 1 at the position of query t itself
    return last.flip(-1).cumsum(-1).flip(-1).bool()


def upper_triangle(T, S=None, device=None):
    S = T if S is None else S
    return torch.triu(torch.ones(T, S, device=device), diagonal=S - T + 1) == 0


def counts_up(mask):
    return bool((np.diff(mask.sum(-1)) == 1).all() and mask[-1].all())


EXERCISE = Exercise(
    target="minilm.layers.attention.causal_mask",
    section=("04", "Masks: padding and the future"),
    task="A model that predicts the next token must not see it. Write the mask that hides the future: it is True "
    "where a query may attend to a key, that is, at its own position and at all positions before it. If there are "
    "more keys than queries, the queries are the last of the tokens. (You may pass device on or ignore it.)",
    returns={"mask": "query key"},
    tiny=lambda: {"T": 3, "S": None},
    probes=lambda rng: {
        "as many queries as keys": {"T": int(rng.integers(4, 8))},
        "the last queries of many keys": {"T": (T := int(rng.integers(2, 5))), "S": T + int(rng.integers(2, 5))},
        "S given, and equal to T": {"T": 5, "S": 5},
    },
    edges=lambda rng: {
        "a single token": {"T": 1, "S": 1},
        "a single token, S not given": {"T": 1},
        "one query, many keys": {"T": 1, "S": 6},
        "long texts": {"T": 30, "S": 70},
        "the end of a very long text": {"T": 12, "S": 2100},
        "two tokens": {"T": 2, "S": None},
    },
    properties=(
        Property(
            "every query sees one key more than the query before it, and the last query sees all keys",
            lambda rng: {"T = 4, S = 7": {"T": 4, "S": 7}},
            counts_up,
        ),
    ),
    needs=("attention", "padding_mask"),
    forbidden=("causal_mask", "generate_square_subsequent_mask"),
    steps=(
        "if S is not given, it is T",
        "query t is token t + S − T of all tokens: it may attend to all keys up to that one, itself included [T, S]",
    ),
    right={
        "loops": loops,
        "a comparison": comparison,
        "a running sum": running_sum,
        "the upper triangle": upper_triangle,
    },
    wrong={
        "diagonal": Wrong(
            "the diagonal is hidden: no token sees itself", "what can the first token attend to with your mask?"
        ),
        "triangle": Wrong(
            "this is the wrong triangle: each token sees itself and the future",
            "which keys may the first token see, and which keys the last?",
        ),
        "next": Wrong(
            "each token also sees the next one", "the model has to predict token t + 1: may it see that token?"
        ),
        "padding": Wrong(
            "all queries see the same keys, as with a padding mask",
            "which key may the second token see that the first may not?",
        ),
        "offset": Wrong(
            "if there are more keys than queries, the queries are treated as the first tokens, not as the last",
            "the last query is the last token of the text: how many keys must it see?",
        ),
        "inverted": Wrong("True and False are swapped", "what does True mean here: may be attended to, or hidden?"),
        **listed(MORE, BASIC.get),
    },
    flawed=flawed,
    hints=(
        "The mask is a lower triangle: row t says what token t may see. If S > T, the first S − T tokens were processed "
        "earlier, and every query sees them.",
        "Booleans [T, S], True where s ≤ t + (S − T). `tril` has the argument `diagonal` for exactly this; or compare two "
        "aranges, one as a column and one as a row.",
        "S = T if S is not given;  return the lower triangle of ones (bool) [T, S], with diagonal = S minus T",
    ),
)
