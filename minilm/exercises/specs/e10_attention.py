r"""Scaled dot-product attention.  F18.  30 minutes, medium."""

import math

import torch

from minilm.exercises.spec import Exercise, Gradient, Property, listed
from minilm.exercises.specs.attention_inputs import EverySecond, any_mask, batch, far_below, padded, ragged


def flawed(q, k, v, may_attend=None, dropout=None, bias=None, wrong=frozenset()):
    D, S = q.shape[-1], k.shape[-2]
    H = q.shape[-3] if q.ndim > 2 else 1
    scale = math.sqrt(D)
    for key, other in {
        "no_scale": 1.0,
        "model": math.sqrt(H * D),
        "heads": math.sqrt(H),
        "keys": math.sqrt(S),
        "no_root": D,
        "values": math.sqrt(v.shape[-1]),
        "queries_root": math.sqrt(q.shape[-2]),
    }.items():
        scale = other if key in wrong else scale
    scores = q @ k.transpose(-2, -1) * (scale if "inverse" in wrong else 1 / scale)
    hidden = None if may_attend is None else may_attend if "inverted" in wrong else ~may_attend
    if "minus_distance" in wrong:
        scores = -torch.cdist(q, k)
    if "cosine" in wrong:
        scores = torch.nn.functional.normalize(q, dim=-1) @ torch.nn.functional.normalize(k, dim=-1).mT
    if bias is not None and "bias_times" in wrong:
        scores = scores * bias
    elif bias is not None and not wrong & {"no_bias", "bias_after"}:
        scores = scores + bias * (1 / scale if "bias_scaled" in wrong else -1 if "bias_sign" in wrong else 1)
    if "added" in wrong and hidden is not None:
        scores, hidden = scores + (~hidden).to(q.dtype), None
    if hidden is not None and "after" not in wrong:
        fill = 0.0 if "zero" in wrong else -1e9 if wrong & {"finite", "finite_zeroed"} else -math.inf
        scores = scores.masked_fill(hidden, fill)
    if "dropped_scores" in wrong and dropout is not None:
        scores = dropout(scores)
    weights = scores.softmax(dim=-2 if "queries" in wrong else -1)
    if "overflow" in wrong:
        weights = (e := scores.exp()) / e.sum(-1, keepdim=True).masked_fill(e.sum(-1, keepdim=True) == 0, 1.0)
    if "no_softmax" in wrong:
        weights = scores
    if "sigmoid" in wrong:
        weights = scores.sigmoid()
    if "whole" in wrong:
        weights = scores.flatten(-2).softmax(-1).reshape(scores.shape)
    if "shares" in wrong:
        weights = scores / scores.masked_fill(scores.isinf(), 0.0).sum(-1, keepdim=True)
    if "mean_shift" in wrong:
        e = (scores - scores.masked_fill(scores.isinf(), 0.0).mean(-1, keepdim=True)).exp()
        weights = e / e.sum(-1, keepdim=True)
    if hidden is not None and not wrong & {"nan", "zero", "finite"}:
        weights = weights.masked_fill(hidden, 0.0)
    if bias is not None and "bias_after" in wrong:
        weights = weights + bias
    used = weights if dropout is None or "no_dropout" in wrong else dropout(weights)
    if "dropped_output" in wrong:
        return weights @ v if dropout is None else dropout(weights @ v), weights
    if "dropped_sum" in wrong:  # renormalised after the dropout
        used = used / used.sum(-1, keepdim=True).clamp(min=1e-300)
    if "scores_returned" in wrong:
        return used @ v, scores
    if "keys_mixed" in wrong and k.shape == v.shape:
        v = k
    y = used @ v
    if "mean_values" in wrong:
        y = y / S
    return y + (q if "residual" in wrong and q.shape == y.shape else 0), used if "dropped_weights" in wrong else weights


MISTAKES = """  key · what it looks like · a question
no_scale · the scores are not divided by √D ·
    what happens to the variance of q · k when D grows, and what does that do to the softmax?
model · the scores are divided by the root of the whole width, √(H·D) ·
    how many products are added up in one score?
heads · the scores are divided by the root of the number of heads ·
    how many products are added up in one score?
keys · the scores are divided by the root of the number of keys ·
    how many products are added up in one score?
no_root · the scores are divided by D, not by its root ·
    what happens to the variance of q · k when D grows, and what does that do to the softmax?
inverse · the scores are multiplied by √D instead of divided by it ·
    what happens to the variance of q · k when D grows, and what does that do to the softmax?
queries · the softmax runs over the queries, not over the keys ·
    which weights must sum to 1: those of one query, or those of one key?
no_dropout · dropout is never called ·
    `dropout` is a module that you are given: where do you have to call it?
dropped_weights · the returned weights are those from after the dropout ·
    which weights would you plot: those before or those after the dropout?
values · the scores are divided by the root of the size of the values, √Dv ·
    how many products are added up in one score?
queries_root · the scores are divided by the root of the number of queries ·
    how many products are added up in one score?
no_softmax · the scores themselves are used as weights: there is no softmax ·
    what do your weights of one query sum to?
sigmoid · every score goes through a sigmoid instead of the softmax ·
    what do your weights of one query sum to?
shares · the scores are divided by their sum: there is no exp ·
    can a weight be negative?
whole · one softmax runs over all queries and keys together ·
    which weights must sum to 1: those of one query, or those of all?
mean_shift · the scores are shifted by their mean before exp, which can still overflow ·
    what is exp of a score that is 1000 above the mean of its row?
overflow · exp is applied to the scores as they are ·
    what does a computer return for exp(1000)?
minus_distance · distances are compared instead of dot products ·
    which product of Q and K stands in the formula?
cosine · queries and keys are brought to length 1 first ·
    what should happen to the scores when a query is twice as long?
dropped_scores · the dropout is applied to the scores, before the softmax ·
    a score of 0 does not mean a weight of 0: where must a dropout stand that removes weights?
dropped_output · the dropout is applied to the output instead of the weights ·
    what does the task say that `dropout` is called with?
dropped_sum · the weights are brought back to the sum 1 after the dropout ·
    a dropout that halves every weight: would it still have an effect in your code?
scores_returned · the scores are returned instead of the weights ·
    what do the weights of one query sum to?
keys_mixed · the keys are mixed instead of the values, where both have the same size ·
    which of the three inputs holds what is passed on?
mean_values · the output is divided by the number of keys ·
    the weights sum to 1 already: is another mean needed?
residual · the queries are added to the output ·
    what adds the residual: attention, or the block around it?
no_bias · the bias is never added ·
    `bias` is given to you: where does it stand in the formula?
bias_scaled · the bias is divided by √D, too ·
    what stands below the line in the formula: the product alone, or the bias as well?
bias_after · the bias is added to the weights, after the softmax ·
    what do your weights of one query sum to when there is a bias?
bias_times · the scores are multiplied by the bias ·
    a bias of 0 is no preference: should it make all keys equal?
bias_sign · the bias is subtracted ·
    should a key with a larger bias get more weight or less?
"""
MASKS = """  key · what it looks like · a question
inverted · the mask is read the wrong way round ·
    what does True mean here: may be attended to, or hidden?
after · the mask is applied after the softmax, so the remaining weights no longer sum to 1 ·
    when a key is hidden, what does a row of your weights sum to?
zero · hidden scores are set to 0, not to −∞ ·
    what is exp(0)?
finite · hidden scores become a large negative number, so a query that may not attend to any key attends to all of them ·
    what is the softmax of a row in which every score is −1e9?
nan · a query that may not attend to any key gives NaN ·
    what is the softmax of a row in which every score is −∞, and what should come out?
finite_zeroed · hidden scores become a large negative number instead of −∞: too large once the real scores are lower ·
    if a real score is −1e12 and a hidden one is −1e9, which of the two gets the larger weight?
added · the mask is added to the scores as 0 and 1 ·
    a hidden score is lower by 1: how much smaller is its weight, and how small should it be?
"""


def einsum(q, k, v, may_attend=None, dropout=None, bias=None):
    e = torch.einsum("...td,...sd->...ts", q, k) * q.shape[-1] ** -0.5 + (0.0 if bias is None else bias)
    may = torch.ones_like(e, dtype=torch.bool) if may_attend is None else may_attend.expand(e.shape)
    e = torch.where(may, e, -math.inf)
    largest = e.amax(-1, keepdim=True).detach()
    e = torch.where(may, torch.exp(e - torch.where(largest.isfinite(), largest, 0.0)), 0.0)
    weights = e / e.sum(-1, keepdim=True).clamp(min=1e-300)
    return torch.einsum("...ts,...sd->...td", weights if dropout is None else dropout(weights), v), weights


def additive(q, k, v, may_attend=None, dropout=None, bias=None):
    scores = torch.matmul(q / math.sqrt(q.size(-1)), k.mT)
    if bias is not None:
        scores += bias
    if may_attend is not None:
        sees = may_attend.any(-1, keepdim=True)
        mask = torch.zeros(may_attend.shape, dtype=q.dtype).masked_fill(~may_attend & sees, -math.inf)
        weights = torch.softmax(scores + mask, -1) * sees
    else:
        weights = torch.softmax(scores, -1)
    return torch.matmul(weights if dropout is None else dropout(weights), v), weights


def loops(q, k, v, may_attend=None, dropout=None, bias=None):
    *batch, T, D = q.shape
    S = k.shape[-2]
    may = torch.ones(*batch, T, S, dtype=torch.bool) if may_attend is None else may_attend.expand(*batch, T, S)
    extra = torch.zeros(*batch, T, S, dtype=q.dtype) if bias is None else bias.expand(*batch, T, S)
    Q, K, M, X = q.reshape(-1, T, D), k.reshape(-1, S, D), may.reshape(-1, T, S), extra.reshape(-1, T, S)
    rows = []
    for b in range(len(Q)):
        for t in range(T):
            seen = M[b, t].nonzero()[:, 0]
            row = torch.zeros(S, dtype=q.dtype)
            if len(seen):
                row = row.index_put(
                    (seen,), torch.stack([Q[b, t] @ K[b, s] / D**0.5 + X[b, t, s] for s in seen]).softmax(0)
                )
            rows.append(row)
    weights = torch.stack(rows).reshape(*batch, T, S)
    return (weights if dropout is None else dropout(weights)) @ v, weights


def probes(rng):
    return {
        "all sizes different": batch(rng, 2, 3, T=5, S=7, D=4, Dv=6),
        "no heads": batch(rng, 3, T=4, S=4, D=6),
        "padding with keys of a thousand": padded(rng),
        "a mask for each query": batch(rng, 2, 3, T=4, S=4, D=5, mask=torch.ones(4, 4, dtype=torch.bool).tril()),
        "a mask for each head": batch(rng, 2, 3, T=4, S=5, D=3, mask=any_mask(rng, 2, 3, 4, 5)),
        "sentences without heads, a mask for each": batch(rng, 3, T=4, S=5, D=2, Dv=3, mask=any_mask(rng, 3, 4, 5)),
        "a dropout of every second weight": batch(rng, 2, 3, T=2, S=4, D=5, dropout=EverySecond()),
        "a bias for each head": batch(rng, 2, 3, T=4, S=6, D=5, bias=(1, 3, 4, 6)),
    }


def edges(rng):
    large = batch(rng, 1, 2, T=3, S=4, D=5)
    large["q"] = large["q"] * 1e3
    return {
        "a sentence of padding only": batch(rng, 2, 3, T=3, S=4, D=5, mask=ragged(rng, 2, 4, 4, 0)),
        "scores of several thousand": large,
        "a mask, and scores far below zero": far_below(rng),
        "a mask, a dropout and no batch": batch(rng, T=3, S=4, D=2, mask=any_mask(rng, 3, 4), dropout=EverySecond()),
        "one query, one key": batch(rng, 2, 3, T=1, S=1, D=4),
        "a bias, a mask and a dropout": batch(
            rng, 2, 3, T=3, S=5, D=2, mask=ragged(rng, 2, 5, 4, 0), dropout=EverySecond(), bias=(1, 3, 3, 5)
        ),
    }


def hidden_moves(rng):
    a = padded(rng)
    b = {**a, "k": a["k"].clone(), "v": a["v"].clone()}
    b["k"][2, :, 2:], b["v"][2, :, 2:] = 7.0, -5.0
    return {"a batch": a, "other keys and values where the mask hides them": b}


def tiny():
    pair = [[1.0, 0.0, 2.0, 1.0]], [[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 2.0, 0.0]]
    q, k = (torch.tensor(rows).double() for rows in pair)
    return {"q": q, "k": k, "v": torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double(), "may_attend": None, "dropout": None}


EXERCISE = Exercise(
    target="minilm.layers.attention.attention",
    section=("04", "Why √D?"),
    task="Write the heart of the Transformer: return the attended values and the attention weights for queries [.., "
    "T, D] and keys [.., S, D]. The mask is True where a query may attend to a key. If `bias` is given, add it to the "
    "scores. If `dropout` is given, call it with the weights, but return the weights from before the dropout.",
    returns={"y": "batch head query feature", "weights": "batch head query key"},
    shown_first=("weights",),
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
        "scores [.., T, S]: the dot product of each query with each key, divided by √D, the root of the head size; plus the "
        "bias, if there is any",
        "−∞ where the mask is False, before the softmax",
        "the softmax over the keys [.., T, S]; a query that may not attend to any key (0/0) gets zeros",
        "dropout on the weights, if there is any; then the product with the values [.., T, Dv]",
    ),
    right={"einsum": einsum, "an additive mask": additive, "loops": loops},
    wrong=listed(MISTAKES) | listed(MASKS, section=("04", "Masks: padding and the future")),
    flawed=flawed,
    hints=(
        "Attention is a soft dictionary: a dot product compares each query with every key, a softmax turns the scores into "
        "shares, and the values are mixed in these shares.",
        "q [.., T, D] times k transposed [.., D, S] → scores [.., T, S] / √D, plus bias → masked_fill with −∞ where not "
        "may_attend → softmax along the last axis → set rows without any visible key to 0 → [.., T, S] times v [.., S, Dv].",
        "scores = q @ (k with its last two axes swapped) / sqrt(size of q's last axis), plus any bias;  if there is a mask: "
        "fill;  weights = softmax(scores, last axis);  if there is a mask: fill with 0;  return (weights or their dropout) @ v, "
        "weights",
    ),
)
