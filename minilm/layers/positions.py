r"""Where a token stands: waves, a bias by relative position, and rotary positions. (Learned positions are a table.)  F21.

Letters:  B batch · H heads · T query length · S key length · D size of a head · C model width
Sources:  Vaswani et al. (2017), Attention Is All You Need, §3.5 (waves); Raffel et al. (2020), Exploring the Limits of
          Transfer Learning, §2.1 (the bias in buckets, which MPNet took over); Su et al. (2021), RoFormer (rotary).
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError

POSITIONS = (
    "relative",
    "learned",
    "sinusoidal",
    "rotary",
    "mpnet",
)  # the last: a table and a bias, as published MPNets
BUCKETS, FARTHEST = 32, 128
ROTARY_BASE = 10000.0


def check_positions(positions: str) -> None:
    """Raises InputError for a kind of positions that is not known."""
    if positions not in POSITIONS:
        raise InputError(f"positions '{positions}' are not known: choose one of {', '.join(POSITIONS)}.")


def check_pairs(D: int) -> None:
    """Raises InputError for a head of an odd size D, which rotary positions cannot turn."""
    if D % 2:
        raise InputError(
            f"rotary positions turn pairs of features, and a head has {D}: choose a width and heads that give an even number."
        )


def sinusoids(length: int, width: int) -> Float[Tensor, "T C"]:
    r"""PE(pos, 2i) = sin(pos / 10000^{2i/C}),  PE(pos, 2i+1) = cos(pos / 10000^{2i/C}).  F21.

    An odd width simply ends on a sine.
    """
    position = torch.arange(length, dtype=torch.float64)[:, None]  # [T, 1]
    even = torch.arange(0, width, 2, dtype=torch.float64)  # 2i
    angle = position / 10000 ** (even / width)  # [T, ⌈C/2⌉]
    table = torch.empty(length, width, dtype=torch.float64)
    table[:, 0::2] = angle.sin()
    table[:, 1::2] = angle.cos()[:, : width // 2]
    return table.to(torch.get_default_dtype())


def bucket(offset: Int[Tensor, "*any"], buckets: int = BUCKETS, farthest: int = FARTHEST) -> Int[Tensor, "*any"]:
    r"""The bucket of each offset s − t, from 0 to `buckets` − 1: half of them for keys before the query, half for those after.

    With n = |s − t| and E = `buckets` / 4, the first E distances have a bucket each, and from there on the buckets grow:

        n if n < E,   otherwise E + ⌊E · log(n / E) / log(farthest / E)⌋, and never more than 2E − 1.

    With 32 buckets, the distances 0 to 7 stand alone, 8 to 11 share one, 12 to 15 the next, and everything beyond 90 shares
    the last. For a key after the query, 2E is added.  F21.
    """
    n, E = offset.abs(), buckets // 4
    growth = E * (n.clamp(min=1).double() / E).log() / math.log(farthest / E)
    # A distance at which a bucket begins, such as 16 or 32, may come out a hair below it: 1e-9 is more than that hair.
    far = (E + (growth + 1e-9).floor().long()).clamp(max=2 * E - 1)
    return torch.where(n < E, n, far) + 2 * E * (offset > 0)


@lru_cache(maxsize=32)
def buckets_around(bits: int, buckets: int, farthest: int) -> Int[Tensor, " N"]:
    """The buckets of all offsets from −2^bits to 2^bits, computed once: a model that writes asks for some at every token.

    They are worked out in double precision, which Apple's MPS does not have: so on the CPU. A tensor that is made in
    inference mode could not be used for training afterwards: so outside of it.
    """
    with torch.inference_mode(False):
        return bucket(torch.arange(-(2**bits), 2**bits + 1, device="cpu"), buckets, farthest)


class RelativeBias(nn.Module):
    r"""b[h, s − t], which head h adds to the score of query t and key s: one learned number per head and bucket.  F21.

    It says nothing about where in the text a token stands, only how far before or after another one. So a text that is
    moved has the same scores (shift invariance), and a head can prefer a neighbour from the first step of training: it has
    to learn one number for that, where a table of positions has to learn which pairs of its vectors are neighbours.
    Raises InputError for fewer than 4 buckets or a number that is not divisible by 4, and if the last bucket begins where
    each distance still has its own.
    """

    def __init__(self, heads: int, buckets: int = BUCKETS, farthest: int = FARTHEST):
        super().__init__()
        if buckets < 4 or buckets % 4:
            raise InputError(f"buckets must be a multiple of 4, not {buckets}: two directions, each near and far.")
        if farthest <= buckets // 4:
            raise InputError(f"farthest must be above {buckets // 4} with {buckets} buckets, not {farthest}.")
        self.buckets, self.farthest = buckets, farthest
        self.table = nn.Parameter(torch.zeros(buckets, heads))

    def forward(self, T: int, S: int, start: int = 0) -> Float[Tensor, "1 H T S"]:
        """The bias of T queries, the first of which stands at position `start`, for the keys at the positions 0 to S − 1."""
        # every s − t, in rising order: from 1 − T − start to S − start − 1
        buckets = buckets_around(max(T + start, S - start).bit_length(), self.buckets, self.farthest)
        middle = len(buckets) // 2
        buckets = buckets[middle + 1 - T - start : middle + S - start].to(self.table.device)
        b = F.embedding(buckets, self.table)  # [T+S−1, H]; unlike an index, its gradient has the same bits every time
        # Row t reads S neighbouring entries of b, and begins one entry earlier than the row above it.
        return b.T.unfold(1, S, 1).flip(1)[None]  # [H, T, S] → [1, H, T, S]


def rotate(x: Float[Tensor, "B H T D"], position: Int[Tensor, "#B T"], base: float = ROTARY_BASE) -> Tensor:
    r"""Turn the pair (xᵢ, xᵢ₊D/₂) of features by the angle m ωᵢ, where m is the `position` of the vector.  F21.

        x'ᵢ = xᵢ cos mωᵢ − xᵢ₊D/₂ sin mωᵢ,   x'ᵢ₊D/₂ = xᵢ₊D/₂ cos mωᵢ + xᵢ sin mωᵢ,   ωᵢ = base^{−2i/D}

    If queries and keys are both turned, their product depends on s − t alone, because turning one by tω and the other by sω
    leaves the angle (s − t)ω between them. Raises InputError if D is odd.
    """
    D = x.size(-1)
    check_pairs(D)
    # in double precision, which Apple's MPS does not have: so on the CPU
    frequency = (base ** (-torch.arange(0, D, 2, dtype=torch.float64) / D)).to(x)  # ω [D/2]
    angle = position[:, None, :, None] * frequency  # [B, 1, T, D/2]
    first, second = x.chunk(2, dim=-1)  # each [B, H, T, D/2]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
