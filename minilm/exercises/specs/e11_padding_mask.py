r"""The padding mask.  F18.  15 minutes, easy."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed


def padded_weights(scores: Float[Tensor, "B H T S"], attention_mask: Bool[Tensor, "B S"]) -> Float[Tensor, "B H T S"]:
    r"""The softmax of `scores` over the keys that are tokens: `attention_mask` [B, S] is True at tokens, False at padding.

    Padding gets the weight 0, and the weights of the tokens sum to 1. In a sentence of padding only, all weights are 0.
    """
    may_attend = attention_mask[:, None, None, :]  # [B, 1, 1, S]: the same for every head and every query
    weights = scores.masked_fill(~may_attend, -math.inf).softmax(dim=-1)
    return weights.masked_fill(~may_attend, 0.0)  # a row of nothing but −∞ gives 0/0; such a sentence gets zeros


def flawed(scores, attention_mask, wrong=frozenset()):
    if "prefix" in wrong:
        attention_mask = torch.arange(scores.shape[-1]) < attention_mask.sum(1)[:, None]
    if "queries" in wrong:
        may_attend = attention_mask[:, None, :, None]
    elif "no_heads" in wrong:
        may_attend = attention_mask[:, None, :]
    elif "no_axes" in wrong:
        may_attend = attention_mask
    else:
        may_attend = attention_mask[:, None, None, :]
    hidden = may_attend if "inverted" in wrong else ~may_attend
    if "after" in wrong:
        return scores.softmax(-1).masked_fill(hidden, 0.0)
    fill = 0.0 if "zero" in wrong else -1e9 if wrong & {"finite", "finite_zeroed"} else -math.inf
    if "times_infinity" in wrong:
        return (scores + hidden.to(scores.dtype) * -math.inf).softmax(-1)
    if "added" in wrong:
        return (scores + (~hidden).to(scores.dtype)).softmax(-1)
    filled = scores.masked_fill(hidden, fill)
    weights = filled.softmax(-2 if "over_queries" in wrong else -1)
    if "sigmoid" in wrong:
        weights = filled.sigmoid()
    if "no_softmax" in wrong:
        weights = scores
    if "shares" in wrong:
        kept = scores.masked_fill(hidden, 0.0)
        weights = kept / kept.sum(-1, keepdim=True)
    if "renormalised" in wrong:  # right on paper, 0/0 where the padding has all the weight
        weights = scores.softmax(-1).masked_fill(hidden, 0.0)
        weights = weights / weights.sum(-1, keepdim=True)
    if "one_max" in wrong:
        e = (scores - scores.max()).exp().masked_fill(hidden, 0.0)
        weights = e / e.sum(-1, keepdim=True)
    if "max_with_0" in wrong:
        e = (scores - scores.masked_fill(hidden, 0.0).amax(-1, keepdim=True)).exp().masked_fill(hidden, 0.0)
        weights = e / e.sum(-1, keepdim=True)
    if "uniform" in wrong:  # a sentence of padding only shares its attention evenly
        return torch.where((~hidden).any(-1, keepdim=True), weights, 1 / scores.shape[-1])
    if "last_hidden" in wrong:
        weights = scores.masked_fill(hidden | hidden.roll(-1, -1), fill).softmax(-1)
    return weights if wrong & {"zero", "finite", "nan"} else weights.masked_fill(hidden, 0.0)


MORE = """  key · what it looks like · a question
finite_zeroed · padding gets a large negative score instead of −∞: too large once the real scores are lower ·
    if a real score is −1e12 and that of padding is −1e9, which of the two gets the larger weight?
prefix · the first n keys are visible, where n is the number of tokens ·
    where is the padding: always at the end?
times_infinity · the mask is multiplied by −∞, which gives NaN at every token ·
    what is 0 · ∞ on a computer?
added · the mask is added to the scores as 0 and 1 ·
    the score of padding is lower by 1: how much smaller is its weight, and how small should it be?
over_queries · the softmax runs over the queries, not over the keys ·
    which weights must sum to 1: those of one query, or those of one key?
sigmoid · every score goes through a sigmoid instead of the softmax ·
    what does each of your rows sum to?
no_softmax · the scores themselves are used as weights: there is no softmax ·
    what does each of your rows sum to?
shares · the scores are divided by their sum: there is no exp ·
    can a weight be negative?
renormalised · the softmax includes the padding, and what is left is renormalised, which can be 0/0 ·
    padding has the score 1000 and all tokens have 0: what is left of the softmax after the mask?
one_max · one maximum is subtracted from all rows, that of padding included ·
    padding has the score 1000 and all tokens have 0: what is exp(0 − 1000)?
max_with_0 · the maximum that is subtracted includes zeros in place of the padding ·
    all real scores are −1000: what is exp(−1000 − 0)?
uniform · a sentence of padding only shares its attention evenly ·
    what does the docstring say about a sentence of padding only?
last_hidden · the last token before the padding is hidden too ·
    how many keys of a sentence of 3 tokens can be attended to?
"""


def loops(scores, attention_mask):
    rows = []
    for b, sentence in enumerate(scores):
        words = attention_mask[b].nonzero()[:, 0]
        for row in sentence.reshape(-1, scores.shape[-1]):
            shares = row[words].softmax(0) if len(words) else row[:0]
            rows.append(torch.zeros_like(row).index_put((words,), shares))
    return torch.stack(rows).reshape(scores.shape)


def exponentials(scores, attention_mask):
    may = attention_mask.reshape(len(attention_mask), 1, 1, -1).expand_as(scores)
    scores = torch.where(may, scores, torch.finfo(scores.dtype).min)
    e = torch.exp(scores - scores.amax(-1, keepdim=True)) * may
    return e / e.sum(-1, keepdim=True).clamp(min=1e-300)


def einsum(scores, attention_mask):
    words = attention_mask.to(scores.dtype)
    visible = torch.where(attention_mask[:, None, None], scores, -torch.inf)
    largest = visible.amax(-1, keepdim=True).nan_to_num(neginf=0.0)
    e = torch.einsum("bhts,bs->bhts", (visible - largest).exp(), words)
    total = torch.einsum("bhts->bht", e)
    return torch.einsum("bhts,bht->bhts", e, 1 / torch.where(total == 0, 1.0, total))


def batch(rng, H, T, *lengths, S, large=True):
    """Sentences of different lengths. If `large`, the scores of padding are 1e3, so that attending to it shows at once."""
    B = len(lengths)
    attention_mask = torch.arange(S).lt(torch.tensor(lengths)[:, None])
    scores = torch.from_numpy(rng.normal(scale=1.5, size=(B, H, T, S)))
    return {
        "scores": scores.masked_fill(~attention_mask[:, None, None, :], 1e3) if large else scores,
        "attention_mask": attention_mask,
    }


def probes(rng):
    return {
        "sentences of different lengths": batch(rng, 2, 4, 5, 3, 1, S=5, large=False),
        "padding with scores of a thousand": batch(rng, 2, 4, 6, 3, 2, S=6),
        "as many heads as sentences": batch(rng, 3, 5, 4, 2, 1, S=4, large=False),
        "as many queries as keys": batch(rng, 2, 4, 4, 2, 3, S=4, large=False),
        "as many heads as queries and as sentences": batch(rng, 3, 3, 3, 2, 1, S=3, large=False),
        "padding in front": {
            **(b := batch(rng, 2, 3, 4, 2, 3, 1, S=5, large=False)),
            "attention_mask": b["attention_mask"].flip(-1),
        },
    }


def edges(rng):
    return {
        "a sentence of padding only": batch(rng, 2, 3, 4, 0, 2, S=4),
        "a single token": batch(rng, 2, 1, 1, S=1),
        "scores far below zero": {**(b := batch(rng, 2, 3, 4, 2, S=4)), "scores": -1e20 * b["scores"].abs()},
        "padding in the middle": {
            **(b := batch(rng, 2, 3, 5, 5, S=5, large=False)),
            "attention_mask": torch.tensor([[True, False, True, False, True], [False, True, True, False, False]]),
        },
        "one sentence": batch(rng, 1, 2, 3, S=5),
        "no padding, large scores": {**(b := batch(rng, 2, 3, 5, 5, 5, S=5)), "scores": b["scores"] * 1e3},
    }


def hidden_moves(rng):
    a = batch(rng, 2, 3, 5, 2, 4, S=5, large=False)
    return {
        "a batch": a,
        "other scores for the padding": {
            **a,
            "scores": a["scores"].masked_fill(~a["attention_mask"][:, None, None], -7.0),
        },
    }


EXERCISE = Exercise(
    target="minilm.exercises.specs.e11_padding_mask.padded_weights",
    section=("04", "Masks: padding and the future"),
    task="The sentences of a batch are padded to the same length, and padding is not language. From the scores [B, H, T, S], "
    "which are already divided by √D, compute attention weights that are 0 at all padding.",
    returns={"weights": "batch head query key"},
    tiny=lambda: {
        "scores": torch.tensor([[[[0.0, 1.0, 2.0]]], [[[0.0, 1.0, 2.0]]]]).double(),
        "attention_mask": torch.tensor([[True, True, True], [True, True, False]]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "the weights of every query sum to 1",
            lambda rng: {"a batch": batch(rng, 2, 3, 4, 2, S=4)},
            lambda w: abs(w.sum(-1) - 1).max() < 1e-9,
        ),
        Property("the scores of padding have no influence", hidden_moves, lambda a, b: abs(a - b).max() < 1e-12),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"sentences of different lengths": batch(rng, 1, 2, 3, 0, 2, S=3, large=False)},
        wrt=("scores",),
    ),
    needs=("softmax", "attention"),
    forbidden=("padding_mask", "attention", "scaled_dot_product_attention", "padded_weights"),
    steps=(
        "extend the mask from [B, S] to [B, 1, 1, S], so that it holds for every head and every query of its own sentence",
        "set the scores of padding to −∞, then take the softmax over the keys [B, H, T, S]",
        "in a sentence of padding only, every score is −∞, which gives 0/0: set its weights to 0",
    ),
    right={"loops": loops, "exponentials": exponentials, "einsum": einsum},
    wrong={
        "inverted": Wrong("the mask is read the wrong way round", "where is the mask True: at tokens, or at padding?"),
        "queries": Wrong(
            "the mask is applied to the axis of the queries",
            "padding must not receive attention: does it have to be hidden as a query or as a key?",
        ),
        "after": Wrong(
            "the mask is applied after the softmax, and the remaining weights are not normalized again",
            "what does each of your rows sum to?",
        ),
        "zero": Wrong("the scores of padding are set to 0, not to −∞", "what is exp(0)?"),
        "finite": Wrong(
            "padding gets a large negative score, so a sentence of padding only attends to it after all",
            "what is the softmax of a row in which every score is −1e9?",
        ),
        "no_heads": Wrong(
            "the mask [B, 1, S] has no axis for the heads, so its sentences line up with the heads",
            "write [B, 1, S] below [B, H, T, S], aligned on the right: what stands below H?",
        ),
        "no_axes": Wrong(
            "the mask [B, S] has no axes for heads and queries, so its sentences line up with the queries",
            "write [B, S] below [B, H, T, S], aligned on the right: what stands below T, and what below B?",
        ),
        "nan": Wrong(
            "a sentence of padding only gives NaN",
            "what is the softmax of a row in which every score is −∞, and what should come out?",
        ),
        **listed(MORE),
    },
    flawed=flawed,
    hints=(
        "A weight becomes 0 if its score is −∞ before the softmax; the other weights of the row then still sum to 1. The mask "
        "must hold for every head and every query of its own sentence.",
        "attention_mask [B, S] → [B, 1, 1, S], which broadcasts over H and T; masked_fill the scores with −∞ where it is False; "
        "softmax along the last axis; a row of nothing but −∞ gives NaN: masked_fill it with 0.",
        "mask = attention_mask[:, None, None, :];  w = softmax(scores with −inf where not mask, dim=-1);  return w with 0 where "
        "not mask",
    ),
)
