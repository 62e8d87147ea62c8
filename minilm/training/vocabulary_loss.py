r"""The cross-entropy over a whole vocabulary with its gradient written by hand, for where speed may change the last digits.

Letters:  N positions that count · V vocabulary

`cross_entropy` is the function to read; this one equals it but for rounding, and only large tables of logits come here. In a small
model half of a step's work is done on them. Autograd computes their exponentials twice, for the loss and again for the gradient, and
needs three more tables of their size; here the exponentials are computed once, and their table becomes the gradient. Tables of ever
new sizes are expensive in themselves, because the system has to find and to clear memory for them. Therefore an objective that needs
its logits for nothing else lets the gradient take their place.

It is taken where `MINILM_PRODUCTS=onednn` has said already that digits are not compared (`layers/products.py`).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from minilm.layers.products import chosen_products
from minilm.training.losses import Loss, cross_entropy

MANY = 2**20  # logits; below this, nothing is gained
PART = 64  # rows that are computed at a time, so that their table fits the cache
SMALLEST = 1e-30  # a probability that may have lost digits; float32 ends at 1e-38


def vocabulary_loss(
    logits: Float[Tensor, "*batch V"],
    labels: Int[Tensor, "*batch"],
    label_smoothing: float = 0.0,
    overwrite: bool = False,
) -> Loss:
    r"""−1/N Σᵢ log softmax(zᵢ)(yᵢ), as `cross_entropy` computes it, or faster by `_SoftmaxLoss`.  F08, F23, F25.

    Smoothing, labels of −100, shapes that do not fit and everything that `takes_shortcut` leaves out go to `cross_entropy`. With
    `overwrite`, the memory of the logits may be used for their gradient: they must not be looked at any more.

    Raises:
        InputError: as `cross_entropy` does.
    """
    z, y = logits.flatten(0, -2), labels.flatten().long()
    if label_smoothing or logits.shape[:-1] != labels.shape or not takes_shortcut(z, y):
        return cross_entropy(logits, labels, label_smoothing)
    return Loss(_SoftmaxLoss.apply(z, y, overwrite), len(y))


def takes_shortcut(z: Float[Tensor, "N V"], y: Int[Tensor, " N"]) -> bool:
    """Whether the gradient is written by hand: for many logits in single precision, where digits may change and every label counts."""
    if chosen_products() != "onednn" or z.device.type != "cpu" or z.numel() < MANY or z.dtype != torch.float32:
        return False
    low, high = (int(bound) for bound in y.aminmax())
    return low >= 0 and high < z.size(-1)


class _SoftmaxLoss(torch.autograd.Function):
    r"""ℓ = −1/N Σᵢ log pᵢ(yᵢ) with pᵢ = softmax(zᵢ), and with δ = ∂L/∂ℓ:  ∂L/∂zᵢₖ = δ (pᵢₖ − 1[k = yᵢ]) / N.  F08."""

    @staticmethod
    def forward(ctx, z, y, overwrite):
        N = len(y)
        losses, dz = z.new_empty(N), z.detach() if overwrite else torch.empty_like(z)
        table = z.new_empty(min(PART, N), z.size(1))
        for start in range(0, N, PART):
            rows = slice(start, start + PART)
            labels = y[rows, None]
            p = torch.softmax(z[rows], dim=-1, out=table[: len(labels)])
            losses[rows] = minus_log(p.gather(-1, labels), z[rows], labels)
            p.scatter_add_(-1, labels, p.new_full(labels.shape, -1.0))
            torch.mul(p, 1 / N, out=dz[rows])
        ctx.save_for_backward(dz)
        return losses.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx, d_loss):
        (dz,) = ctx.saved_tensors
        return (dz if d_loss == 1 else dz * d_loss), None, None


def minus_log(p_y: Float[Tensor, "N 1"], z: Float[Tensor, "N V"], y: Int[Tensor, "N 1"]) -> Float[Tensor, " N"]:
    """−log p(y). Probabilities that have lost digits, few if any, get it from the logits: log softmax cannot round to log 0."""
    losses, rounded = -p_y[:, 0].log(), p_y[:, 0] < SMALLEST
    if rounded.any():
        losses[rounded] = -z[rounded].log_softmax(dim=-1).gather(-1, y[rounded])[:, 0]
    return losses
