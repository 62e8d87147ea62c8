r"""Scaled dot-product attention.  F18."""

import math

import torch
from torch import nn

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong


def flawed(q, k, v, may_attend=None, dropout=None, wrong=frozenset()):
    D, S = q.shape[-1], k.shape[-2]
    H = q.shape[-3] if q.ndim > 2 else 1
    scale = math.sqrt(D)
    for key, other in {
        "no_scale": 1.0,
        "model": math.sqrt(H * D),
        "heads": math.sqrt(H),
        "keys": math.sqrt(S),
        "no_root": D,
    }.items():
        scale = other if key in wrong else scale
    scores = q @ k.transpose(-2, -1) * (scale if "inverse" in wrong else 1 / scale)
    hidden = None if may_attend is None else may_attend if "inverted" in wrong else ~may_attend
    if hidden is not None and "after" not in wrong:
        fill = 0.0 if "zero" in wrong else -1e9 if "finite" in wrong else -math.inf
        scores = scores.masked_fill(hidden, fill)
    weights = scores.softmax(dim=-2 if "queries" in wrong else -1)
    if hidden is not None and not wrong & {"nan", "zero", "finite"}:
        weights = weights.masked_fill(hidden, 0.0)
    used = weights if dropout is None or "no_dropout" in wrong else dropout(weights)
    return used @ v, used if "dropped_weights" in wrong else weights


def einsum(q, k, v, may_attend=None, dropout=None):
    e = torch.einsum("...td,...sd->...ts", q, k) * q.shape[-1] ** -0.5
    may = torch.ones_like(e, dtype=torch.bool) if may_attend is None else may_attend.expand(e.shape)
    e = torch.where(may, e, -math.inf)
    largest = e.amax(-1, keepdim=True).detach()
    e = torch.where(may, torch.exp(e - torch.where(largest.isfinite(), largest, 0.0)), 0.0)
    weights = e / e.sum(-1, keepdim=True).clamp(min=1e-300)
    return torch.einsum("...ts,...sd->...td", weights if dropout is None else dropout(weights), v), weights


def additive(q, k, v, may_attend=None, dropout=None):
    scores = torch.matmul(q / math.sqrt(q.size(-1)), k.mT)
    if may_attend is not None:
        sees = may_attend.any(-1, keepdim=True)
        mask = torch.zeros(may_attend.shape, dtype=q.dtype).masked_fill(~may_attend & sees, -math.inf)
        weights = torch.softmax(scores + mask, -1) * sees
    else:
        weights = torch.softmax(scores, -1)
    return torch.matmul(weights if dropout is None else dropout(weights), v), weights


def loops(q, k, v, may_attend=None, dropout=None):
    *batch, T, D = q.shape
    S = k.shape[-2]
    may = torch.ones(*batch, T, S, dtype=torch.bool) if may_attend is None else may_attend.expand(*batch, T, S)
    Q, K, M = q.reshape(-1, T, D), k.reshape(-1, S, D), may.reshape(-1, T, S)
    rows = []
    for b in range(len(Q)):
        for t in range(T):
            seen = M[b, t].nonzero()[:, 0]
            row = torch.zeros(S, dtype=q.dtype)
            if len(seen):
                row = row.index_put((seen,), torch.stack([Q[b, t] @ K[b, s] for s in seen]).div(D**0.5).softmax(0))
            rows.append(row)
    weights = torch.stack(rows).reshape(*batch, T, S)
    return (weights if dropout is None else dropout(weights)) @ v, weights


class Halved(nn.Module):
    """A predictable dropout: it halves every weight."""

    def forward(self, x):
        return x / 2


def batch(rng, *before, T, S, D, Dv=None, mask=None, dropout=None):
    shapes = ((*before, T, D), (*before, S, D), (*before, S, Dv or D))
    q, k, v = (torch.from_numpy(rng.normal(size=shape)) for shape in shapes)
    return {"q": 1.5 * q, "k": 1.5 * k, "v": v, "may_attend": mask, "dropout": dropout}


def ragged(rng, B, S, *lengths):
    """A mask [B, 1, 1, S]: sentence b has `lengths[b]` tokens, and the rest is padding."""
    return torch.arange(S).lt(torch.tensor(lengths)[:, None])[:, None, None, :]


def padded(rng):
    inputs = batch(rng, 3, 2, T=4, S=6, D=5, mask=ragged(rng, 3, 6, 6, 4, 2))
    hidden = ~inputs["may_attend"].squeeze()[:, None, :, None]
    inputs["k"], inputs["v"] = (x.masked_fill(hidden, 1e3) for x in (inputs["k"], inputs["v"]))
    return inputs


def probes(rng):
    return {
        "all sizes different": batch(rng, 2, 3, T=5, S=7, D=4, Dv=6),
        "no heads": batch(rng, 3, T=4, S=4, D=6),
        "padding with keys of a thousand": padded(rng),
        "a mask for each query": batch(rng, 2, 3, T=4, S=4, D=5, mask=torch.ones(4, 4, dtype=torch.bool).tril()),
        "a dropout that halves": batch(rng, 2, 3, T=2, S=4, D=5, dropout=Halved()),
    }


def edges(rng):
    large = batch(rng, 1, 2, T=3, S=4, D=5)
    large["q"] = large["q"] * 1e3
    return {
        "a sentence of padding only": batch(rng, 2, 3, T=3, S=4, D=5, mask=ragged(rng, 2, 4, 4, 0)),
        "scores of several thousand": large,
        "one query, one key": batch(rng, 2, 3, T=1, S=1, D=4),
    }


def hidden_moves(rng):
    a = padded(rng)
    b = {**a, "k": a["k"].clone(), "v": a["v"].clone()}
    b["k"][2, :, 2:], b["v"][2, :, 2:] = 7.0, -5.0
    return {"a batch": a, "other keys and values where the mask hides them": b}


def tiny():
    q, k = (
        torch.tensor([[1.0, 0.0, 2.0, 1.0]]).double(),
        torch.tensor([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 2.0, 0.0]]).double(),
    )
    return {"q": q, "k": k, "v": torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double(), "may_attend": None, "dropout": None}


SQUARE = "what happens to the variance of q · k when D grows, and what does that do to the softmax?"
EXERCISE = Exercise(
    target="minilm.layers.attention.attention",
    section=("04", "Why √D?"),
    task="Write the heart of the Transformer: return the attended values and the attention weights for queries [.., "
    "T, D] and keys [.., S, D]. The mask is True where a query may attend to a key. If `dropout` is given, call it "
    "with the weights, but return the weights from before the dropout.",
    returns={"y": "batch head query feature", "weights": "batch head query key"},
    tiny=tiny,
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "the weights of every query sum to 1",
            lambda rng: {"a batch": batch(rng, 2, 3, T=4, S=5, D=6)},
            lambda out: abs(out[1].sum(-1) - 1).max() < 1e-9,
        ),
        Property("what the mask hides has no influence", hidden_moves, lambda a, b: abs(a[0] - b[0]).max() < 1e-9),
    ),
    gradient=Gradient(
        inputs=lambda rng: {
            "one query that may not attend to any key": batch(
                rng, 2, T=2, S=3, D=2, mask=torch.tensor([[True, False, True], [False] * 3])
            )
        },
        wrt=("q", "k", "v"),
    ),
    needs=("softmax",),
    forbidden=("scaled_dot_product_attention", "MultiheadAttention", "fused_attention", "attention_weights"),
    steps=(
        "scores [.., T, S]: the dot product of each query with each key, divided by √D, the root of the head size",
        "−∞ where the mask is False, before the softmax",
        "the softmax over the keys [.., T, S]; a query that may not attend to any key (0/0) gets zeros",
        "dropout on the weights, if there is any; then the product with the values [.., T, Dv]",
    ),
    right={"einsum": einsum, "an additive mask": additive, "loops": loops},
    wrong={
        "no_scale": Wrong("the scores are not divided by √D", SQUARE),
        "model": Wrong(
            "the scores are divided by the root of the whole width, √(H·D)",
            "how many products are added up in one score?",
        ),
        "heads": Wrong(
            "the scores are divided by the root of the number of heads", "how many products are added up in one score?"
        ),
        "keys": Wrong(
            "the scores are divided by the root of the number of keys", "how many products are added up in one score?"
        ),
        "no_root": Wrong("the scores are divided by D, not by its root", SQUARE),
        "inverse": Wrong("the scores are multiplied by √D instead of divided by it", SQUARE),
        "queries": Wrong(
            "the softmax runs over the queries, not over the keys",
            "which weights must sum to 1: those of one query, or those of one key?",
        ),
        "inverted": Wrong(
            "the mask is read the wrong way round",
            "what does True mean here: may be attended to, or hidden?",
            section=("04", "Masks: padding and the future"),
        ),
        "after": Wrong(
            "the mask is applied after the softmax, so the remaining weights no longer sum to 1",
            "when a key is hidden, what does a row of your weights sum to?",
            section=("04", "Masks: padding and the future"),
        ),
        "zero": Wrong(
            "hidden scores are set to 0, not to −∞", "what is exp(0)?", section=("04", "Masks: padding and the future")
        ),
        "finite": Wrong(
            "hidden scores become a large negative number, so a query that may not attend to any key attends to all of them",
            "what is the softmax of a row in which every score is −1e9?",
            section=("04", "Masks: padding and the future"),
        ),
        "nan": Wrong(
            "a query that may not attend to any key gives NaN",
            "what is the softmax of a row in which every score is −∞, and what should come out?",
            section=("04", "Masks: padding and the future"),
        ),
        "no_dropout": Wrong(
            "dropout is never called", "`dropout` is a module that you are given: where do you have to call it?"
        ),
        "dropped_weights": Wrong(
            "the returned weights are those from after the dropout",
            "which weights would you plot: those before or those after the dropout?",
        ),
    },
    flawed=flawed,
    hints=(
        "Attention is a soft dictionary: a dot product compares each query with every key, a softmax turns the scores into "
        "shares, and the values are mixed in these shares.",
        "q [.., T, D] times k transposed [.., D, S] → scores [.., T, S] / √D → masked_fill with −∞ where not may_attend → "
        "softmax along the last axis → set rows without any visible key to 0 → [.., T, S] times v [.., S, Dv].",
        "scores = q @ (k with its last two axes swapped) / sqrt(size of q's last axis);  if there is a mask: fill;  weights = "
        "softmax(scores, last axis);  if there is a mask: fill with 0;  return (weights or their dropout) @ v, weights",
    ),
)
