"""The weights of PyTorch's `nn.LSTM`, `nn.GRU` and `nn.RNN` in our recurrent layers, and ours in theirs.  F09, F15, F16.

    theirs               ours                     what it multiplies or is added to
    weight_ih_l0         cells.0.W_x  [G, I]      the input of the first layer
    weight_hh_l0         cells.0.W_h  [G, H]      its state
    bias_ih_l0           cells.0.b    [G]         both: b = bias_ih + bias_hh, as they are only ever added,
    bias_hh_l0                                    except in the GRU, whose second bias stands inside r ⊙ (…): cells.0.b_h
    weight_ih_l0_reverse cells.1.W_x              the same layer read backwards
    weight_ih_l1         cells.2.W_x  [G, 2H]     the next layer, and so on

Letters:  G = gates·H rows, in their order: i, f, g, o (LSTM), r, z, n (GRU) · I input size · H hidden size
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from minilm.errors import InputError
from minilm.layers.recurrent import GRUCell, Recurrent


def named_cells(stack: Recurrent) -> Iterator[tuple[str, Any]]:
    """Each cell with the end of its names there: l0, l0_reverse, l1 …"""
    for i, cell in enumerate(stack.cells):
        layer, backwards = divmod(i, stack.directions)
        yield f"l{layer}{'_reverse' if backwards else ''}", cell


def to_torch(stack: Recurrent) -> dict[str, Tensor]:
    """A state dict for PyTorch's layer of the same kind and sizes. Where its two biases are one here, the second is 0."""
    out = {}
    for end, cell in named_cells(stack):
        second = cell.b_h if isinstance(cell, GRUCell) else torch.zeros_like(cell.b)
        for name, tensor in {
            "weight_ih": cell.W_x,
            "weight_hh": cell.W_h,
            "bias_ih": cell.b,
            "bias_hh": second,
        }.items():
            out[f"{name}_{end}"] = tensor.detach().clone()
    return out


def from_torch(weights: dict[str, Tensor], stack: Recurrent) -> None:
    """Fill `stack` from a state dict of PyTorch's layer. If that was made without biases, the biases become 0 here.

    Raises InputError, and changes nothing, if a tensor is unknown (as those of `proj_size` are), missing or misshapen. One
    message lists everything that is wrong.
    """
    own = to_torch(stack)
    if not any(name.startswith("bias") for name in weights):
        weights = weights | {name: torch.zeros_like(bias) for name, bias in own.items() if name.startswith("bias")}
    problems = [f"missing {name}" for name in own if name not in weights]
    problems += [f"unknown {name}" for name in weights if name not in own]
    problems += [
        f"{name} is {list(weights[name].shape)} and should be {list(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    if problems:
        raise InputError(f"these weights do not fit the recurrent layers: {'; '.join(problems)}.")
    with torch.no_grad():
        for end, cell in named_cells(stack):
            cell.W_x.copy_(weights[f"weight_ih_{end}"])
            cell.W_h.copy_(weights[f"weight_hh_{end}"])
            if isinstance(cell, GRUCell):
                cell.b.copy_(weights[f"bias_ih_{end}"])
                cell.b_h.copy_(weights[f"bias_hh_{end}"])
            else:
                cell.b.copy_(weights[f"bias_ih_{end}"] + weights[f"bias_hh_{end}"])
