r"""How the heads of a model with learned positions start: some attend to neighbouring tokens, the others to tokens like
their own.  F18, F21.

Letters:  D size of a head · C model width · p features kept for positions · s for each half of the segments
Source:   Clark et al. (2019), What Does BERT Look At?, found such heads after training. Here training starts from them.
"""

import math

import torch

from minilm.layers.attention import MultiHeadAttention
from minilm.layers.embeddings import Embeddings
from minilm.layers.positions import sinusoids
from minilm.layers.transformer import TransformerStack
from minilm.models.config import TransformerConfig

TOKENS = 0.08  # standard deviation of an entry of a token's embedding
PLACES, SEGMENTS = 0.16, 0.24  # amplitude of the position waves and of the segment features
OFFSETS = (-1, 1)  # where the first heads look; all other heads of the first layer look for tokens like their own
PEAK = 30.0  # the score of the token at that offset over one far away: exp(30) leaves nothing to the others
ALIKE = 12.0  # the score of the same token over one that has nothing to do with it
SAME = 1.5  # the size of Q and K in a head that compares segments: to prefer one segment, not exclude the other
GAIN = 3.0  # what such a head brings back is a small difference of two weights; this lifts it to the size of a token


def positions_from_sinusoids(embeddings: Embeddings) -> None:
    """Learned positions start as the waves of F21, at the size of a token's embedding."""
    if embeddings.positions is not None and embeddings.positions.weight.requires_grad:
        table = embeddings.positions.weight
        table.copy_(sinusoids(*table.shape) * TOKENS)


def reserved(width: int, heads: int) -> tuple[int, int]:
    """How many features "neighbours" keeps for positions and for segments; tokens have the rest.

    Positions get the size of a head (whole pairs of waves). Segments get two equal halves. (0, 0) if there is no room.
    """
    places = width // heads // 2 * 2
    segments = 2 * max(1, min(places, width // 32))  # no more than a head can carry
    return (places, segments) if heads > 2 and places else (0, 0)


def look_at_neighbours(config: TransformerConfig, embeddings: Embeddings, stack: TransformerStack) -> None:
    r"""Let two heads of the first layer attend to the tokens next door, and the others to tokens like their own.

    *Next door.* A pair of waves at frequency ω is a point on a circle, and moving by δ tokens turns it by ωδ (F21):
        sin ω(t+δ) = sin ωt · cos ωδ + cos ωt · sin ωδ,      cos ω(t+δ) = cos ωt · cos ωδ − sin ωt · sin ωδ.
    So let K read the waves as they are, and let Q read them turned by δ: then q_t · k_s = Σ cos ω(t + δ − s), which is
    largest where s = t + δ. This tells a masked token what stands beside it.

    *Alike.* With Q = K the score q_t · k_s is largest where the tokens t and s are the same. One such head brings back, into
    features of its own, in which segment the token occurs again: that is what tells a next sentence from another one.

    For both to work, positions, segments and tokens must not drown one another, so each starts with features of its own.
    """
    attention = stack.layers[0].attention
    C, heads = config.width, config.heads
    D, (p, s) = C // heads, reserved(C, heads)
    s //= 2  # one half for the segment of a token, the other for the segments in which it occurs again
    if not p or embeddings.positions is None or not embeddings.positions.weight.requires_grad:
        return
    for table in (embeddings.tokens, embeddings.positions, embeddings.token_types):
        table.weight[:, : p + 2 * s] = 0
    rows = embeddings.positions.num_embeddings  # MPNet's table has two more than a text has places
    embeddings.positions.weight.zero_()[:, :p] = PLACES * sinusoids(rows, C)[:, :p]  # the fast waves
    embeddings.token_types.weight.zero_()[:, p : p + s] = SEGMENTS * sign(config.token_types)

    # the variance by which the norm of the embeddings divides
    variance = (p * PLACES**2 / 2 + s * SEGMENTS**2 + (C - p - 2 * s) * TOKENS**2) / C
    frequency = 10000 ** (-torch.arange(0, p, 2) / C)  # [p/2]
    query, key, value = attention.to_qkv.weight.view(3, heads, D, C)
    next_door = (PEAK * math.sqrt(D) / (p / 2) * variance / PLACES**2) ** 0.5
    for head, offset in enumerate(OFFSETS):
        query[head], key[head] = 0, 0
        key[head, :p, :p] = next_door * torch.eye(p)
        query[head, :p, :p] = next_door * turn(frequency * offset)
    tokens_share = (C - p - 2 * s) * TOKENS**2 / variance / C
    first = len(OFFSETS)
    query[first:, :, : p + 2 * s] = 0
    query[first:] *= (ALIKE / math.sqrt(D) / tokens_share) ** 0.5
    key[first:] = query[first:]
    value[first, :s] = 0
    value[first, :s, p : p + s] = torch.eye(s)
    attention.output.weight[p + s : p + 2 * s] = 0
    attention.output.weight[p + s : p + 2 * s, first * D : first * D + s] = torch.eye(s)
    if config.layers > 1:
        compare_segments(config, stack.layers[-1].attention, p, s)


def compare_segments(
    config: TransformerConfig, attention: MultiHeadAttention, p: int, s: int, which: tuple[int, int] = (0, 1)
) -> None:
    """Let two heads of the last layer attend to a token's own segment and to the other one, and bring back, into features
    of their own, how much of it occurs again: at [CLS] these are the two numbers that decide next sentence (F26)."""
    C, heads = config.width, config.heads
    D = C // heads
    query, key, value = attention.to_qkv.weight.view(3, heads, D, C)
    for i, (head, own) in enumerate(zip(which, (1, -1), strict=True)):
        query[head], key[head], value[head, :s] = 0, 0, 0
        query[head, :s, p : p + s] = SAME * torch.eye(s)
        key[head, :s, p : p + s] = own * SAME * torch.eye(s)
        value[head, :s, p + s : p + 2 * s] = torch.eye(s)
        target = slice(i * s, (i + 1) * s)
        attention.output.weight[target] = 0
        attention.output.weight[target, head * D : head * D + s] = GAIN * torch.eye(s)


def sign(token_types: int) -> torch.Tensor:
    """+1, −1, +1 …: a column that tells the segments apart."""
    return 1 - 2 * (torch.arange(token_types)[:, None] % 2).float()


def turn(angle: torch.Tensor) -> torch.Tensor:
    """The matrix that rotates pair i of (sin, cos) by angle[i]."""
    out = torch.zeros(2 * len(angle), 2 * len(angle))
    even, odd = torch.arange(0, len(out), 2), torch.arange(1, len(out), 2)
    out[even, even], out[even, odd] = angle.cos(), angle.sin()
    out[odd, odd], out[odd, even] = angle.cos(), -angle.sin()
    return out
