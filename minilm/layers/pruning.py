r"""Leaving out what matters least: single weights, and whole heads of attention.

Letters:  H heads · D size of a head · C model width
Sources:  Han et al. (2015), Learning both Weights and Connections for Efficient Neural Networks (by magnitude);
          Michel, Levy and Neubig (2019), Are Sixteen Heads Really Better than One? (heads).
"""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.layers.attention import MultiHeadAttention

AnyLinear = TypeVar("AnyLinear", bound=nn.Linear)


def without_smallest(model: nn.Module, share: float) -> nn.Module:
    """A copy of `model` in which each linear layer of the encoder has lost the `share` of its weights nearest to 0.

    They become 0 and keep their place, so the model takes as much room and time as before unless its file is compressed.
    Raises InputError for a share that is not in [0, 1).
    """
    if not 0 <= share < 1:
        raise InputError(f"the share of weights to leave out must be from 0 to less than 1, not {share}.")
    out = copy.deepcopy(model)
    for module in getattr(out, "encoder", out).modules():
        if isinstance(module, nn.Linear):
            zero_smallest(module.weight, share)
    return out.eval()


@torch.no_grad()
def zero_smallest(weight: Tensor, share: float) -> None:
    """Set the `share` of the numbers that are nearest to 0 to 0, in place; of equal ones, those that come first."""
    count = int(share * weight.numel())
    order = weight.abs().flatten().argsort(stable=True)
    weight.view(-1)[order[:count]] = 0


def attention_layers(model: nn.Module) -> list[MultiHeadAttention]:
    """The self-attention of each layer of an encoder, in order. Raises InputError if there is none."""
    stack: Any = getattr(getattr(model, "encoder", model), "stack", None)
    if stack is None:
        raise InputError(f"{type(model).__name__} has no attention heads: use a Transformer.")
    return [block.attention for block in stack.layers]


def kept_rows(attention: MultiHeadAttention, kept: Sequence[int]) -> Tensor:
    """The features of the heads `kept` among the H·D features of all heads."""
    D = attention.output.in_features // attention.heads
    return torch.cat([torch.arange(h * D, (h + 1) * D) for h in kept])


def without_heads(model: nn.Module, pruned: Sequence[tuple[int, int]]) -> nn.Module:
    """A copy of `model` without the heads `pruned`, given as (layer, head), both counted from 0.

    Their rows of W^Q, W^K and W^V and their columns of W^O are really gone, so that the model is smaller and faster. It
    computes what the whole model would compute if these columns of W^O were 0. Raises InputError for a head that does not
    exist, and if a layer would lose all its heads.
    """
    out = copy.deepcopy(model)
    layers = attention_layers(out)
    for layer, head in pruned:
        if not (0 <= layer < len(layers) and 0 <= head < layers[layer].heads):
            raise InputError(f"there is no head {head + 1} in layer {layer + 1}.")
    for number, attention in enumerate(layers):
        lost = {head for layer, head in pruned if layer == number}
        kept = [head for head in range(attention.heads) if head not in lost]
        if not kept:
            raise InputError(f"layer {number + 1} would lose all its {attention.heads} heads: keep at least one.")
        if lost:
            keep_heads(attention, kept)
    return out.eval()


def keep_heads(attention: MultiHeadAttention, kept: list[int]) -> None:
    """Remove all heads of a layer but these, in place. Raises InputError for a layer that is in 8 bits already."""
    output: Any = attention.output
    if not isinstance(output, nn.Linear):
        kind = type(output).__name__
        raise InputError(f"heads are removed from linear layers, and this is a {kind}: remove them first.")
    rows = kept_rows(attention, kept)
    size = attention.output.in_features  # H·D
    attention.to_qkv = part_of(attention.to_qkv, torch.cat([rows, size + rows, 2 * size + rows]), None)
    attention.output = part_of(attention.output, None, rows)
    before = range(attention.heads) if attention.kept is None else attention.kept
    attention.kept = [before[head] for head in kept]
    attention.heads = len(kept)


def part_of(linear: AnyLinear, rows: Tensor | None, columns: Tensor | None) -> AnyLinear:
    """A linear layer with some of the outputs (rows of its weight) or inputs (columns) of another one."""
    weight, bias = linear.weight.detach(), linear.bias.detach()
    weight = weight if rows is None else weight[rows]
    bias = bias if rows is None else bias[rows]
    weight = weight if columns is None else weight[:, columns]
    out: Any = nn.utils.skip_init(type(linear), weight.size(1), weight.size(0), dtype=weight.dtype)
    with torch.no_grad():
        out.weight.copy_(weight)
        out.bias.copy_(bias)
    return out


def with_zeroed_heads(model: nn.Module, pruned: Sequence[tuple[int, int]]) -> nn.Module:
    """A copy of `model` in which the columns of W^O that belong to these heads are 0: what `without_heads` is equal to."""
    out = copy.deepcopy(model)
    layers = attention_layers(out)
    with torch.no_grad():
        for layer, head in pruned:
            layers[layer].output.weight[:, kept_rows(layers[layer], [head])] = 0
    return out.eval()
