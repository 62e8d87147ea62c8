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
WORDS, PLACES = 0.08, 0.16  # standard deviation of a word's entries, amplitude of a position's waves
OFFSETS = (-1, 1, -2, 2)  # where the first heads look
PEAK = 30.0  # the score of a neighbour over that of a place far away: exp(30) leaves nothing to the others


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


def place_width(width: int, heads: int) -> int:
    """How many of the first features "neighbours" keeps for positions: the size of a head, rounded down to pairs."""
    return width // heads // 2 * 2


def look_at_neighbours(bert: Bert) -> None:
    r"""Let the first heads of the first layer look `OFFSETS` words away, and every other head there at words like its own.

    A pair of waves at frequency ω is a point on a circle, and moving by δ words turns it by the angle ωδ (F21):
        sin ω(t+δ) = sin ωt · cos ωδ + cos ωt · sin ωδ,      cos ω(t+δ) = cos ωt · cos ωδ − sin ωt · sin ωδ.
    So let K read the waves off as they are and Q read them off turned by δ: then q_t · k_s = Σ cos ω(t + δ − s), which is
    largest where s = t + δ. For this the waves must not be drowned by the words: positions get the first features of the
    embedding to themselves, at first, and words and segments the rest.
    """
    embeddings, attention = bert.embeddings, bert.encoder.layers[0].attention
    C, heads = bert.config.width, bert.config.heads
    D, n = C // heads, place_width(C, heads)
    table = embeddings.positions.weight
    if n == 0 or n >= C or not table.requires_grad:
        return  # heads of one feature hold no wave; a single head leaves the words no room
    table.zero_()
    table[:, :n] = PLACES * sinusoids(len(table), C)[:, :n]  # the fastest waves: they tell neighbours apart
    embeddings.words.weight[:, :n] = 0
    embeddings.types.weight[:, :n] = 0
    size = math.sqrt(n / C * PLACES**2 / 2 + 2 * (1 - n / C) * WORDS**2)  # what the embeddings' norm divides by
    strength = math.sqrt(PEAK * math.sqrt(D) / (n / 2)) * size / PLACES
    frequency = 10000 ** (-torch.arange(0, n, 2) / C)  # [n/2]
    query, key, _ = attention.to_qkv.weight.view(3, heads, D, C)
    for head in range(heads):
        if head < len(OFFSETS) and head < heads - 1:
            query[head], key[head] = 0, 0
            key[head, :n, :n] = strength * torch.eye(n)
            query[head, :n, :n] = strength * turn(frequency * OFFSETS[head])
        else:
            key[head] = query[head]  # q_t · k_s is then largest for words that are alike


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
        room[seen] = vectors[seen] * (room.std() / vectors[seen].std())
