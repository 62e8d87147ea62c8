r"""The cross-entropy over a whole vocabulary with its gradient written by hand, for where speed may change the last digits.

Letters:  N positions that count · V vocabulary

`cross_entropy` is the function to read; this one equals it but for rounding, and only large tables of logits come here. In a small
model half of a step's work is done on them. Autograd computes their exponentials twice, for the loss and again for the gradient, and
fills a table of zeros with one number a row; here the exponentials are computed once, and the table of probabilities becomes the
gradient. It is taken where `MINILM_PRODUCTS=onednn` has said already that digits are not compared (`layers/products.py`).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from minilm.layers.products import chosen_products
from minilm.training.losses import Loss, cross_entropy

MANY = 2**20  # logits; below this, nothing is gained
SMALLEST = 1e-30  # a probability that may have lost digits; float32 ends at 1e-38


def vocabulary_loss(
    logits: Float[Tensor, "*batch V"], labels: Int[Tensor, "*batch"], label_smoothing: float = 0.0
) -> Loss:
    r"""−1/N Σᵢ log softmax(zᵢ)(yᵢ), as `cross_entropy` computes it, or faster by `_SoftmaxLoss`.  F08, F23, F25.

    Smoothing, labels of −100 and everything that `takes_shortcut` leaves out go to `cross_entropy`.

    Raises:
        InputError: as `cross_entropy` does.
    """
    z, y = logits.flatten(0, -2), labels.flatten().long()
    if label_smoothing or not takes_shortcut(z, y):
        return cross_entropy(logits, labels, label_smoothing)
    return Loss(_SoftmaxLoss.apply(z, y).mean(), len(y))


def takes_shortcut(z: Float[Tensor, "N V"], y: Int[Tensor, " N"]) -> bool:
    """Whether the gradient is written by hand: for many logits in single precision, where digits may change and every label counts."""
    if chosen_products() != "onednn" or z.numel() < MANY or z.dtype != torch.float32:
        return False
    low, high = (int(bound) for bound in y.aminmax())
    return low >= 0 and high < z.size(-1)


class _SoftmaxLoss(torch.autograd.Function):
    r"""ℓᵢ = −log pᵢ(yᵢ) with pᵢ = softmax(zᵢ), and with δᵢ = ∂L/∂ℓᵢ:  ∂L/∂zᵢₖ = δᵢ (pᵢₖ − 1[k = yᵢ]).  F08."""

    @staticmethod
    def forward(ctx, z, y):
        p = z.softmax(dim=-1)
        p_y = p.gather(-1, y[:, None])[:, 0]
        losses = -p_y.log()
        rounded = p_y < SMALLEST
        if rounded.any():  # few rows if any: they get the logarithm that cannot round to that of 0
            losses[rounded] = -z[rounded].log_softmax(dim=-1).gather(-1, y[rounded, None])[:, 0]
        ctx.save_for_backward(p, y)
        return losses

    @staticmethod
    @once_differentiable
    def backward(ctx, d_losses):
        p, y = ctx.saved_tensors
        return (p * d_losses[:, None]).scatter_add_(-1, y[:, None], -d_losses[:, None]), None
