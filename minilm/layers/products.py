r"""y = W x + b, the product that takes most of the time, computed by one of two libraries.

Letters:  N rows · I inputs · O outputs

PyTorch brings both. Usually MKL multiplies matrices of single precision. On a processor that Intel did not make, it uses vectors of 8
numbers even if the processor has vectors of 16; oneDNN uses all 16, and takes about half the time. The sums are the same in
another order, so the last digits differ. Therefore a run keeps to PyTorch's own choice unless oneDNN is asked for, and is not
resumed with another one than it was begun with:

    MINILM_PRODUCTS=onednn minilm pretrain …       in every layer of everything that the command trains or uses
    with products("onednn"): …                     in this block of a program
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError

PRODUCTS = ("torch", "onednn")
VARIABLE = "MINILM_PRODUCTS"
SMALL = 2**20  # multiplications; below this, finding the way to oneDNN takes longer than it saves
WIDE = 16  # times as many outputs as inputs: such a product is wide
ROWS = 64  # the rows of a wide product are filled up to a multiple of this

_chosen: ContextVar[str | None] = ContextVar("products", default=None)


def chosen_products() -> str:
    """Who multiplies here: what the surrounding `products` says, otherwise the environment, otherwise "torch".

    Raises InputError for a name that is not known, and if this PyTorch has no oneDNN that could be used.
    """
    here = _chosen.get()
    return checked(os.environ.get(VARIABLE) or "torch") if here is None else here


@lru_cache
def checked(name: str) -> str:
    """The name. Raises InputError as `chosen_products` does."""
    if name not in PRODUCTS:
        raise InputError(f"products by '{name}' are not known: choose one of {', '.join(PRODUCTS)} ({VARIABLE}).")
    if name == "onednn" and not has_onednn():
        raise InputError(f"this PyTorch has no oneDNN that multiplies here: leave {VARIABLE} out, or set it to torch.")
    return name


@contextmanager
def products(name: str) -> Iterator[None]:
    """Let "torch" or "onednn" compute the products in this block. Raises InputError as `chosen_products` does."""
    before = _chosen.set(checked(name))
    try:
        yield
    finally:
        _chosen.reset(before)


@lru_cache
def has_onednn() -> bool:
    """Whether oneDNN computes a small product here, and rightly. (Some builds have none, or none for this processor.)"""
    x, W = torch.arange(6.0, device="cpu").view(2, 3), torch.arange(12.0, device="cpu").view(4, 3)
    try:
        return torch.backends.mkldnn.is_available() and torch.equal(by_onednn(x, W), x @ W.T)
    except (AttributeError, NotImplementedError, RuntimeError):
        return False


def by_onednn(
    x: Float[Tensor, "N I"],
    W: Float[Tensor, "O I"],
    b: Float[Tensor, " O"] | None = None,
    add: Float[Tensor, "N O"] | None = None,
) -> Float[Tensor, "N O"]:
    """x Wᵀ + b + `add` without a gradient. It is what `torch.compile` makes of a linear layer on a processor."""
    if add is not None:
        return torch.ops.mkldnn._linear_pointwise.binary(x, add, W, b, "add")
    return torch.ops.mkldnn._linear_pointwise(x, W, b, "none", [], "")


def linear(
    x: Float[Tensor, "*any I"], W: Float[Tensor, "O I"], b: Float[Tensor, " O"] | None = None
) -> Float[Tensor, "*any O"]:
    """x Wᵀ + b, by whoever is chosen. oneDNN takes large products in single precision on the processor, and no others."""
    if not takes_onednn(x, W):
        return F.linear(x, W, b)
    return _ByOneDNN.apply(x.reshape(-1, x.size(-1)), W, b).view(*x.shape[:-1], len(W))


def takes_onednn(x: Tensor, W: Tensor) -> bool:
    """Whether oneDNN computes x Wᵀ: it is chosen, the product is large enough, and neither half precision nor another device is
    involved."""
    if chosen_products() == "torch":
        return False
    single = x.dtype == W.dtype == torch.float32 and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")
    return single and x.numel() * len(W) >= SMALL


class _ByOneDNN(torch.autograd.Function):
    r"""Y = X Wᵀ + b, and with δY = ∂L/∂Y:  δX = δY W,  δW = δYᵀ X,  δb = Σₙ δYₙ. Products again, so they can be differentiated."""

    @staticmethod
    def forward(ctx, x, W, b):
        ctx.save_for_backward(x, W)
        if len(W) < WIDE * W.size(1):
            return by_onednn(x, W, b)
        # oneDNN makes a program for every new number of rows, which takes as long as a product with a vocabulary: let them be few
        N = len(x)
        return by_onednn(F.pad(x, (0, 0, 0, -N % ROWS)), W, b)[:N]

    @staticmethod
    def backward(ctx, dy):
        x, W = ctx.saved_tensors
        dx = _ByOneDNN.apply(dy, W.T, None) if ctx.needs_input_grad[0] else None
        dW = None
        if ctx.needs_input_grad[1]:  # oneDNN copies its first factor if that is transposed: let it be the smaller one
            O, I = W.shape
            dW = _ByOneDNN.apply(x.T, dy.T, None).T.contiguous() if O > I else _ByOneDNN.apply(dy.T, x.T, None)
        return dx, dW, dy.sum(dim=0) if ctx.needs_input_grad[2] else None


class Linear(nn.Linear):
    """`nn.Linear`, whose product is `linear`."""

    def forward(self, x: Float[Tensor, "*any I"]) -> Float[Tensor, "*any O"]:
        return linear(x, self.weight, self.bias)
