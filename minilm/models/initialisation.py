r"""How a model starts: three ways to draw the weights, and what the start decides.  F18, F21, F34.

Letters:  D size of a head · C model width · V vocabulary

"published"   N(0, 0.02²), BERT's. Right for a width of 768; at 128 it makes Q Kᵀ some twenty times too small, attention
              starts out uniform, and a laptop's minutes end before it leaves that plateau.
"fan-in"      N(0, 1/fan-in), so that every product keeps the size of what enters it.
"neighbours"  "fan-in", and the heads of the first layer start out looking at the words next door, or at words like
              their own. A masked word is guessed from its neighbours; heads that must first find them learn nothing else
              meanwhile. In published models such heads are found after training (Clark et al., 2019, What Does BERT
              Look At?): here training starts from them, and may leave them.

Sources:  Devlin et al. (2019), BERT, A.2; Trockman and Kolter (2023), Mimetic Initialization of Self-Attention Layers (a
          start that copies what trained heads look like).
"""

import math

import numpy as np
import torch
from torch import nn

from minilm.errors import InputError
from minilm.layers.embeddings import sinusoids
from minilm.models.bert import Bert

SCHEMES = ("neighbours", "fan-in", "published")
WORDS, PLACES, SEGMENTS = 0.08, 0.16, 0.24  # deviation of a word's entries, amplitude of the waves, of the segments
OFFSETS = (-1, 1)  # where the first heads look; all other heads of the first layer look for words like their own
PEAK = 30.0  # the score of the word at that offset over one far away: exp(30) leaves nothing to the others
SAME = 1.5  # a head of the last layer that compares segments: size of its Q and K, so that it prefers one, not excludes the other
GAIN = 3.0  # what it brings back is small (a difference of two attention weights); this lifts it to the size of a word
ALIKE = 12.0  # the score of the same word over one that has nothing to do with it


def initialise(model: nn.Module, scheme: str = "neighbours", generator: torch.Generator | None = None) -> None:
    """Draw every weight matrix and table of `model`; biases become 0, norms stay 1. See the top of the file."""
    if scheme not in SCHEMES:
        raise InputError(f"initialisation '{scheme}' is not known: choose one of {', '.join(SCHEMES)}.")
    published = scheme == "published"
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.Linear):
                module.weight.normal_(0, 0.02 if published else module.in_features**-0.5, generator=generator)
                module.bias.zero_()
            elif isinstance(module, nn.Embedding) and module.weight.requires_grad:
                module.weight.normal_(0, 0.02 if published else WORDS, generator=generator)
        for module in model.modules() if not published else ():
            if isinstance(module, Bert):
                places_from_sinusoids(module)
                if scheme == "neighbours":
                    look_at_neighbours(module)


def places_from_sinusoids(bert: Bert) -> None:
    """Learned positions start as the waves of F21, at the size of a word."""
    table = bert.embeddings.positions.weight
    if table.requires_grad:
        table.copy_(sinusoids(*table.shape) * WORDS)


def reserved(width: int, heads: int) -> tuple[int, int]:
    """How many features "neighbours" keeps for positions and for segments; words have the rest.

    Positions get the size of a head (whole pairs of waves). Segments get two equal halves. (0, 0) where there is no room.
    """
    places = width // heads // 2 * 2
    segments = 2 * max(1, min(places, width // 32))  # no more than a head can carry
    return (places, segments) if heads > 2 and places else (0, 0)


def look_at_neighbours(bert: Bert) -> None:
    r"""Let two heads of the first layer look at the words next door, and the others at words like their own.

    *Next door.* A pair of waves at frequency ω is a point on a circle, and moving by δ words turns it by ωδ (F21):
        sin ω(t+δ) = sin ωt · cos ωδ + cos ωt · sin ωδ,      cos ω(t+δ) = cos ωt · cos ωδ − sin ωt · sin ωδ.
    So let K read the waves off as they are and Q read them off turned by δ: then q_t · k_s = Σ cos ω(t + δ − s), which is
    largest where s = t + δ. It says what stands beside a masked word.

    *Alike.* With Q = K the score q_t · k_s is largest where the words t and s are the same. One such head brings back, into
    features of its own, in which segment the word stands again: that is what tells a next sentence from another one.

    For both, positions, segments and words must not drown one another: each starts with features of its own.
    """
    embeddings, attention = bert.embeddings, bert.encoder.layers[0].attention
    C, heads = bert.config.width, bert.config.heads
    D, (p, s) = C // heads, reserved(C, heads)
    s //= 2  # one half for the segment of a word, the other for the segments where it stands again
    if not p or not embeddings.positions.weight.requires_grad:
        return
    for table in (embeddings.words, embeddings.positions, embeddings.types):
        table.weight[:, : p + 2 * s] = 0
    embeddings.positions.weight.zero_()[:, :p] = PLACES * sinusoids(bert.config.max_length, C)[:, :p]  # the fast waves
    embeddings.types.weight.zero_()[:, p : p + s] = SEGMENTS * sign(bert.config.types)

    variance = (
        p * PLACES**2 / 2 + s * SEGMENTS**2 + (C - p - 2 * s) * WORDS**2
    ) / C  # what the embeddings' norm divides by
    frequency = 10000 ** (-torch.arange(0, p, 2) / C)  # [p/2]
    query, key, value = attention.to_qkv.weight.view(3, heads, D, C)
    next_door = (PEAK * math.sqrt(D) / (p / 2) * variance / PLACES**2) ** 0.5
    for head, offset in enumerate(OFFSETS):
        query[head], key[head] = 0, 0
        key[head, :p, :p] = next_door * torch.eye(p)
        query[head, :p, :p] = next_door * turn(frequency * offset)
    words_share = (C - p - 2 * s) * WORDS**2 / variance / C
    first = len(OFFSETS)
    query[first:, :, : p + 2 * s] = 0
    query[first:] *= (ALIKE / math.sqrt(D) / words_share) ** 0.5
    key[first:] = query[first:]
    value[first, :s] = 0
    value[first, :s, p : p + s] = torch.eye(s)
    attention.output.weight[p + s : p + 2 * s] = 0
    attention.output.weight[p + s : p + 2 * s, first * D : first * D + s] = torch.eye(s)
    if bert.config.layers > 1:
        compare_segments(bert, p, s)


def compare_segments(bert: Bert, p: int, s: int) -> None:
    """Let two heads of the last layer look at a word's own segment and at the other one, and bring back, into features of
    their own, how much of it stands again: at [CLS] these are the two numbers that next sentence (F26) turns on."""
    attention = bert.encoder.layers[-1].attention
    C, heads = bert.config.width, bert.config.heads
    D = C // heads
    query, key, value = attention.to_qkv.weight.view(3, heads, D, C)
    for head, own in enumerate((1, -1)):
        query[head], key[head], value[head, :s] = 0, 0, 0
        query[head, :s, p : p + s] = SAME * torch.eye(s)
        key[head, :s, p : p + s] = own * SAME * torch.eye(s)
        value[head, :s, p + s : p + 2 * s] = torch.eye(s)
        target = slice(head * s, (head + 1) * s)
        attention.output.weight[target] = 0
        attention.output.weight[target, head * D : head * D + s] = GAIN * torch.eye(s)


def sign(types: int) -> torch.Tensor:
    """+1, −1, +1 …: a column that tells the segments apart."""
    return 1 - 2 * (torch.arange(types)[:, None] % 2).float()


def turn(angle: torch.Tensor) -> torch.Tensor:
    """The matrix that turns pair i of (sin, cos) on by angle[i]."""
    out = torch.zeros(2 * len(angle), 2 * len(angle))
    even, odd = torch.arange(0, len(out), 2), torch.arange(1, len(out), 2)
    out[even, even], out[even, odd] = angle.cos(), angle.sin()
    out[odd, odd], out[odd, even] = angle.cos(), -angle.sin()
    return out


def warm_start(table: nn.Embedding, vectors: np.ndarray) -> None:
    """Start an embedding table from word vectors [V, n], n ≤ C, in its last n features; those before them stay as drawn.

    The vectors come in at the size that the table's own entries have there; words without a vector stay as drawn.
    """
    vectors = torch.from_numpy(vectors).to(table.weight)
    with torch.no_grad():
        room = table.weight[:, -vectors.size(1) :]  # a view
        seen = vectors.any(dim=1)
        if vectors[seen].unique().numel() > 1:  # no words, or words that are all alike, have no size to be measured by
            room[seen] = vectors[seen] * (room.std() / vectors[seen].std())
