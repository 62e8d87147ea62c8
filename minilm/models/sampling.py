r"""Choosing the next token at random: temperature, top-k and top-p.  F23, generation.

Letters:  V vocabulary · z logits · τ temperature · p probabilities
Sources:  Fan, Lewis and Dauphin (2018), Hierarchical Neural Story Generation, for top-k; Holtzman et al. (2020), The
          Curious Case of Neural Text Degeneration, for top-p.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from minilm.errors import InputError


def sampling_probabilities(
    z: Float[np.ndarray, " V"], temperature: float, top_k: int, top_p: float
) -> Float[np.ndarray, " V"]:
    r"""The probabilities p [V] from which the next token is drawn, for logits `z` [V], no two of which are equal.  F23.

    First comes softmax(z / τ). Then top-k keeps the `top_k` most likely tokens. Of these, top-p keeps as few as possible,
    the most likely first, until their probabilities sum to at least `top_p`; the token that reaches this sum is kept.
    After each of the two cuts the kept probabilities are divided by their sum. Every other token has probability 0.
    Raises InputError if there are no finite logits, or if τ, `top_k` or `top_p` is out of range.
    """
    check_sampling(z, temperature, top_k, top_p)
    order = np.argsort(-z)  # the most likely token first
    p = np.exp((z - z.max()) / temperature)[order]
    p[top_k:] = 0
    p /= p.sum()
    before = np.cumsum(p) - p  # the sum over all more likely tokens: below top_p, this token is still needed
    p[before >= top_p] = 0
    out = np.zeros(len(z))
    out[order] = p / p.sum()
    return out


def sample(
    logits: Float[Tensor, "*batch V"],
    generator: torch.Generator,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> Int[Tensor, "*batch"]:
    """One token id for each row of `logits`, drawn from `sampling_probabilities`.  F23.

    Temperature 0 takes the most likely token; `top_k` None keeps all tokens. Raises InputError as `sampling_probabilities`.
    """
    V = logits.size(-1)
    k = V if top_k is None else top_k
    rows = logits.detach().cpu().double().numpy().reshape(-1, V) if logits.numel() else np.empty((1, 0))
    p = np.stack([sampling_probabilities(z, temperature or 1.0, k, top_p) for z in rows])  # [rows, V]
    if temperature == 0:
        return logits.argmax(dim=-1)
    ids = torch.multinomial(torch.from_numpy(p).to(generator.device), 1, generator=generator)
    return ids.reshape(logits.shape[:-1]).to(logits.device)


def choose(
    logits: Float[Tensor, "B V"],
    generators: Sequence[torch.Generator],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
) -> Int[Tensor, " B"]:
    """As `sample`, for a model that writes: all rows at once, and row b is drawn with `generators[b]` alone.

    So what one text gets does not depend on the texts beside it. Raises InputError for logits that are not finite; check the
    settings once, with `check_choice`.
    """
    largest, ids = most_likely(logits)
    if not all(map(math.isfinite, largest.tolist())):
        raise InputError("the largest logit is not finite (NaN or infinity): the model's weights are broken.")
    if temperature == 0:
        return ids
    p, order = cut_probabilities(logits, temperature, top_k, top_p)
    u = torch.tensor([torch.rand((), generator=g, dtype=torch.float64) for g in generators]).to(p.device)
    # the first place at which the sum of the probabilities exceeds u; never one with probability 0
    places = torch.searchsorted(p.cumsum(dim=-1), u[:, None] * p.sum(dim=-1, keepdim=True), right=True)
    places = torch.minimum(places, (p > 0).sum(dim=-1, keepdim=True) - 1)
    return order.gather(-1, places)[:, 0]


def most_likely(logits: Float[Tensor, "B V"]) -> tuple[Float[Tensor, " B"], Int[Tensor, " B"]]:
    """The largest logit of each row, and where it is. On the processor, NumPy finds it ten times as fast as PyTorch."""
    if logits.device.type != "cpu" or logits.dtype not in (torch.float32, torch.float64):
        largest, ids = logits.max(dim=-1)
        return largest, ids
    ids = torch.from_numpy(logits.detach().numpy().argmax(axis=-1))
    return logits.gather(-1, ids[:, None])[:, 0], ids


def cut_probabilities(
    logits: Float[Tensor, "B V"], temperature: float, top_k: int | None = None, top_p: float = 1.0
) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"]]:
    """`sampling_probabilities` of each row, in float64, for the K most likely tokens, which come second; the rest have 0."""
    V = logits.size(-1)
    z, order = logits.double().topk(V if top_k is None else min(top_k, V), dim=-1)
    p = (z / temperature).softmax(dim=-1)
    if top_p < 1:
        p = p.masked_fill(p.cumsum(dim=-1) - p >= top_p, 0)
        p = p / p.sum(dim=-1, keepdim=True)
    return p, order


def check_choice(temperature: float, top_k: int | None, top_p: float) -> None:
    """Raises InputError for settings out of range. Temperature 0 is greedy, and `top_k` None keeps all tokens."""
    if not 0 <= temperature < math.inf:
        raise InputError(f"temperature {temperature} must be 0 (the most likely token) or above, and finite.")
    check_cut(1 if top_k is None else top_k, top_p)


def check_sampling(z: np.ndarray, temperature: float, top_k: int, top_p: float) -> None:
    if z.ndim != 1 or not len(z):
        raise InputError(f"the logits have the shape {list(z.shape)}: give one row [V], with a logit for each token.")
    if not np.isfinite(z.max()):
        raise InputError(f"the largest logit is {z.max()}: a finite one is needed, and NaN is never allowed.")
    if not 0 < temperature < np.inf:
        raise InputError(
            f"temperature {temperature} must be above 0 and finite: 1 leaves the probabilities as they are."
        )
    check_cut(top_k, top_p)


def check_cut(top_k: int, top_p: float) -> None:
    if top_k < 1:
        raise InputError(f"top_k {top_k} must be at least 1: one token has to be kept.")
    if not 0 < top_p <= 1:
        raise InputError(f"top_p {top_p} must be above 0 and at most 1: 1 keeps all tokens.")
