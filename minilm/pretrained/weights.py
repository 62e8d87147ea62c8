"""A model's weights by name: read from a model, and copied into one."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from minilm.errors import InputError

HEADS = ("pooler.", "mlm_head.", "nsp_head.", "head.", "crf.")  # one model has these, the next does not


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name. A tensor that is used twice, such as a tied output matrix, appears once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def refuse_broken_numbers(weights: dict[str, Tensor], where: str) -> None:
    """Raise InputError, with their names, for tensors that hold NaN or infinity, or whole numbers (as quantised ones do).

    A model with such a weight gives every text the same label or none at all, which looks like a result.
    """
    broken = [name for name, tensor in weights.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise InputError(f"{where}: the weights hold NaN or infinity in {listed(broken)}; they cannot be used.")
    if whole := [f"{name} ({tensor.dtype})" for name, tensor in weights.items() if not tensor.is_floating_point()]:
        raise InputError(f"{where}: the weights are not floating-point numbers in {listed(whole)}.")


def listed(names: Sequence[str], most: int = 5) -> str:
    """The names in one line; of many, the first few and how many more there are."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def load_weights(model: nn.Module, weights: dict[str, Tensor], where: str, may_lack: tuple[str, ...] = ()) -> list[str]:
    """Copy `weights` into `model`. Returns the names that kept their own values (all of them begin with one of `may_lack`).

    Raises InputError if anything does not fit. One message lists everything that is unknown, missing or of another shape.
    """
    own = weights_of(model)
    missing = [name for name in own if name not in weights]
    wrong = [
        f"{name} is {list(weights[name].shape)}, the model's {list(own[name].shape)}"
        for name in own
        if name in weights and weights[name].shape != own[name].shape
    ]
    lacking = [name for name in missing if not name.startswith(may_lack)] if may_lack else missing
    unknown = [name for name in weights if name not in own and not name.startswith(HEADS)]
    problems = [f"missing {', '.join(lacking)}"] * bool(lacking) + wrong
    problems += [f"unknown {', '.join(unknown)}"] * bool(unknown)
    if problems:
        raise InputError(f"the weights of {where} do not fit: {'; '.join(problems)}.")
    with torch.no_grad():
        for name, tensor in own.items():
            if name in weights:
                tensor.copy_(weights[name])
    return missing
