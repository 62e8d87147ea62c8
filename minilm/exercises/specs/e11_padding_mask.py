r"""The padding mask.  F18."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong


def padded_weights(scores: Float[Tensor, "B H T S"], real: Bool[Tensor, "B S"]) -> Float[Tensor, "B H T S"]:
    r"""softmax of the `scores` over the keys that are words: `real` [B, S] is True for a word and False for padding.

    Padding gets the weight 0, and the words of a sentence share the whole 1. In a sentence of padding only all weights are 0.
    """
    may_attend = real[:, None, None, :]  # [B, 1, 1, S]: the same for every head and every query
    weights = scores.masked_fill(~may_attend, -math.inf).softmax(dim=-1)
    return weights.masked_fill(~may_attend, 0.0)  # a row of −∞ alone is 0/0; such a sentence has nothing to look at


def flawed(scores, real, wrong=frozenset()):
    if "queries" in wrong:
        may_attend = real[:, None, :, None]
    elif "no_heads" in wrong:
        may_attend = real[:, None, :]
    elif "no_axes" in wrong:
        may_attend = real
    else:
        may_attend = real[:, None, None, :]
    hidden = may_attend if "inverted" in wrong else ~may_attend
    if "after" in wrong:
        return scores.softmax(-1).masked_fill(hidden, 0.0)
    fill = 0.0 if "zero" in wrong else -1e9 if "finite" in wrong else -math.inf
    weights = scores.masked_fill(hidden, fill).softmax(-1)
    return weights if wrong & {"zero", "finite", "nan"} else weights.masked_fill(hidden, 0.0)


def loops(scores, real):
    rows = []
    for b, sentence in enumerate(scores):
        words = real[b].nonzero()[:, 0]
        for row in sentence.reshape(-1, scores.shape[-1]):
            shares = row[words].softmax(0) if len(words) else row[:0]
            rows.append(torch.zeros_like(row).index_put((words,), shares))
    return torch.stack(rows).reshape(scores.shape)


def exponentials(scores, real):
    may = real.reshape(len(real), 1, 1, -1).expand_as(scores)
    scores = torch.where(may, scores, torch.finfo(scores.dtype).min)
    e = torch.exp(scores - scores.amax(-1, keepdim=True)) * may
    return e / e.sum(-1, keepdim=True).clamp(min=1e-300)


def einsum(scores, real):
    words = real.to(scores.dtype)
    visible = torch.where(real[:, None, None], scores, 0.0)
    e = torch.einsum("bhts,bs->bhts", (visible - visible.amax(-1, keepdim=True)).exp(), words)
    total = torch.einsum("bhts->bht", e)
    return torch.einsum("bhts,bht->bhts", e, 1 / torch.where(total == 0, 1.0, total))


def batch(rng, H, T, *lengths, S, large=True):
    """Ragged sentences; where there is padding the scores are 1e3, so that whoever looks there is seen."""
    B = len(lengths)
    real = torch.arange(S).lt(torch.tensor(lengths)[:, None])
    scores = torch.from_numpy(rng.normal(scale=1.5, size=(B, H, T, S)))
    return {"scores": scores.masked_fill(~real[:, None, None, :], 1e3) if large else scores, "real": real}


def probes(rng):
    return {
        "ragged sentences": batch(rng, 2, 4, 5, 3, 1, S=5, large=False),
        "padding with scores of a thousand": batch(rng, 2, 4, 6, 3, 2, S=6),
        "as many heads as sentences": batch(rng, 3, 5, 4, 2, 1, S=4, large=False),
        "as many queries as keys": batch(rng, 2, 4, 4, 2, 3, S=4, large=False),
        "heads, queries and sentences alike": batch(rng, 3, 3, 3, 2, 1, S=3, large=False),
        "padding in front": {**(b := batch(rng, 2, 3, 4, 2, 3, 1, S=5, large=False)), "real": b["real"].flip(-1)},
    }


def edges(rng):
    return {
        "a sentence of padding only": batch(rng, 2, 3, 4, 0, 2, S=4),
        "a single word": batch(rng, 2, 1, 1, S=1),
        "no padding, large scores": {**(b := batch(rng, 2, 3, 5, 5, 5, S=5)), "scores": b["scores"] * 1e3},
    }


def hidden_moves(rng):
    a = batch(rng, 2, 3, 5, 2, 4, S=5, large=False)
    return {
        "a batch": a,
        "other scores for the padding": {**a, "scores": a["scores"].masked_fill(~a["real"][:, None, None], -7.0)},
    }


EXERCISE = Exercise(
    target="minilm.exercises.specs.e11_padding_mask.padded_weights",
    section=("04", "Masks: padding and the future"),
    task="Sentences of a batch are filled up to one length, and the filling is not language. From the scores [B, H, T, S], already "
    "divided by √D, make weights that never look at padding.",
    returns={"weights": "batch head query key"},
    tiny=lambda: {
        "scores": torch.tensor([[[[0.0, 1.0, 2.0]]], [[[0.0, 1.0, 2.0]]]]).double(),
        "real": torch.tensor([[True, True, True], [True, True, False]]),
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
        inputs=lambda rng: {"ragged sentences": batch(rng, 1, 2, 3, 0, 2, S=3, large=False)}, wrt=("scores",)
    ),
    needs=("softmax", "attention"),
    forbidden=("padding_mask", "attention", "scaled_dot_product_attention", "padded_weights"),
    steps=(
        "a mask that says it for every head and every query of its own sentence: real [B, S] becomes [B, 1, 1, S]",
        "−∞ for the scores of padding, then the softmax over the keys [B, H, T, S]",
        "a sentence of padding only is a row of −∞, and 0/0: it gets zeros",
    ),
    right={"loops": loops, "exponentials": exponentials, "einsum": einsum},
    wrong={
        "inverted": Wrong("the mask is read the wrong way round", "real is True for what: for words, or for padding?"),
        "queries": Wrong(
            "the mask lies on the axis of the queries",
            "who must not be looked at: the one who asks, or the one who is asked?",
        ),
        "after": Wrong(
            "the mask comes after the softmax, and what is left is not shared out anew",
            "what does each row of yours sum to?",
        ),
        "zero": Wrong("the scores of padding are set to 0, not to −∞", "what is exp(0)?"),
        "finite": Wrong(
            "padding gets a large negative score, and in a sentence of padding only it is looked at after all",
            "what is the softmax of a row of −1e9 alone?",
        ),
        "no_heads": Wrong(
            "the mask [B, 1, S] has no axis for the heads, so its sentences line up with heads",
            "write [B, 1, S] under [B, H, T, S], from the right: what stands under H?",
        ),
        "no_axes": Wrong(
            "the mask [B, S] has no axes for heads and queries, so its sentences line up with queries",
            "write [B, S] under [B, H, T, S], from the right: what stands under B?",
        ),
        "nan": Wrong(
            "a sentence of padding only gives NaN",
            "what is the softmax of a row of −∞ alone, and what should come out?",
        ),
    },
    flawed=flawed,
    hints=(
        "A weight becomes 0 when its score is −∞ before the softmax: then the others still share the whole 1. The mask must "
        "say it for every head and every query of its own sentence.",
        "real [B, S] → [B, 1, 1, S], which broadcasts over H and T; masked_fill the scores with −∞ where it is False; softmax along "
        "the last axis; a row of −∞ only comes out as NaN: masked_fill with 0.",
        "mask = real[:, None, None, :];  w = softmax(scores with −inf where not mask, dim=-1);  return w with 0 where not mask",
    ),
)
