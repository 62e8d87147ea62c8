r"""The causal mask.  F18."""

import numpy as np
import torch

from minilm.exercises.spec import Exercise, Property, Wrong


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


def loops(T, S=None, device=None):
    S = S or T
    return torch.tensor([[s <= t + S - T for s in range(S)] for t in range(T)], device=device)


def comparison(T, S=None, device=None):
    S = T if S is None else S
    return torch.arange(S, device=device)[None, :] <= torch.arange(S - T, S, device=device)[:, None]


def running_sum(T, S=None, device=None):
    S = T if S is None else S
    last = torch.eye(S, dtype=torch.long, device=device)[S - T :]  # 1 where query t stands itself
    return last.flip(-1).cumsum(-1).flip(-1).bool()


def upper_triangle(T, S=None, device=None):
    S = T if S is None else S
    return torch.triu(torch.ones(T, S, device=device), diagonal=S - T + 1) == 0


def counts_up(mask):
    return bool((np.diff(mask.sum(-1)) == 1).all() and mask[-1].all())


EXERCISE = Exercise(
    target="minilm.layers.attention.causal_mask",
    section=("04", "Masks: padding and the future"),
    task="A model that is to predict the next word must not see it. True where the query may look: at itself and at what "
    "came before. With more keys than queries, the queries are the last of the words. (device may be handed on or ignored.)",
    returns={"mask": "query key"},
    tiny=lambda: {"T": 3, "S": None},
    probes=lambda rng: {
        "as many queries as keys": {"T": int(rng.integers(4, 8))},
        "the last queries of many keys": {"T": (T := int(rng.integers(2, 5))), "S": T + int(rng.integers(2, 5))},
        "S given, and equal to T": {"T": 5, "S": 5},
    },
    edges=lambda rng: {"a single word": {"T": 1, "S": 1}, "one query, many keys": {"T": 1, "S": 6}},
    properties=(
        Property(
            "every query sees one key more than the one before it, and the last sees all",
            lambda rng: {"T = 4, S = 7": {"T": 4, "S": 7}},
            counts_up,
        ),
    ),
    needs=("attention", "padding_mask"),
    forbidden=("causal_mask", "generate_square_subsequent_mask"),
    steps=(
        "S is T when it is not given",
        "query t is word t + S − T of all words: it sees the keys up to that one, itself included [T, S]",
    ),
    right={
        "loops": loops,
        "a comparison": comparison,
        "a running sum": running_sum,
        "the upper triangle": upper_triangle,
    },
    wrong={
        "diagonal": Wrong("the diagonal is hidden: no word sees itself", "what can the first word look at in yours?"),
        "triangle": Wrong(
            "it is the wrong triangle: each word sees itself and the future",
            "which keys may the first word see, which the last?",
        ),
        "next": Wrong("each word sees the next one too", "the model is asked for word t + 1: may it see it?"),
        "padding": Wrong(
            "all queries see the same keys, as with a padding mask",
            "what may the second word see that the first may not?",
        ),
        "offset": Wrong(
            "with more keys than queries the queries are taken for the first words, not for the last",
            "the last query stands at the end of the text: how many keys must it see?",
        ),
        "inverted": Wrong("True and False are exchanged", "True means what here: may be looked at, or hidden?"),
    },
    flawed=flawed,
    hints=(
        "A lower triangle: row t says what word t may see. With S > T the first S − T words have been dealt with before, and every "
        "query sees them.",
        "Booleans [T, S], True where s ≤ t + (S − T). `tril` has a `diagonal` for just that, or compare two aranges, "
        "a column and a row.",
        "S = T if none is given;  return ones of bool [T, S], lower triangle, diagonal = S minus T",
    ),
)
