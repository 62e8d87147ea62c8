"""What the attention exercise is tried on: queries, keys and values of all shapes, with masks, a dropout and a bias."""

import torch
from torch import nn


class EverySecond(nn.Module):
    """A predictable dropout: of the numbers in each row it drops every second one, and doubles the others."""

    def forward(self, x):
        return x * (2.0 * (torch.arange(x.shape[-1]) % 2))


def batch(rng, *before, T, S, D, Dv=None, mask=None, dropout=None, bias=None):
    """`bias` is the shape of a random bias; None means that the call has no such argument."""
    shapes = ((*before, T, D), (*before, S, D), (*before, S, Dv or D))
    q, k, v = (torch.from_numpy(rng.normal(size=shape)) for shape in shapes)
    inputs = {"q": 1.5 * q, "k": 1.5 * k, "v": v, "may_attend": mask, "dropout": dropout}
    return inputs if bias is None else inputs | {"bias": torch.from_numpy(rng.normal(size=bias))}


def ragged(rng, B, S, *lengths):
    """A mask [B, 1, 1, S]: sentence b has `lengths[b]` tokens, and the rest is padding."""
    return torch.arange(S).lt(torch.tensor(lengths)[:, None])[:, None, None, :]


def any_mask(rng, *shape):
    """A random mask in which every query sees its first key."""
    mask = torch.from_numpy(rng.random(shape) < 0.5)
    mask[..., 0] = True
    return mask


def far_below(rng):
    """The scores that count are about −1e20: far below −1e9, and far above −1e30."""
    inputs = batch(rng, 2, 2, T=3, S=4, D=5, mask=ragged(rng, 2, 4, 3, 2))
    return {**inputs, "q": inputs["q"].abs() * 1e10, "k": -inputs["k"].abs() * 1e10}


def padded(rng):
    inputs = batch(rng, 3, 2, T=4, S=6, D=5, mask=ragged(rng, 3, 6, 6, 4, 2))
    hidden = ~inputs["may_attend"].squeeze()[:, None, :, None]
    inputs["k"], inputs["v"] = (x.masked_fill(hidden, 1e3) for x in (inputs["k"], inputs["v"]))
    return inputs
