"""A model's weights by name: read from a model, and copied into one."""

import torch
from torch import Tensor, nn

from minilm.errors import InputError

HEADS = ("pooler.", "mlm_head.", "nsp_head.", "head.")  # one model has these, the next does not


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by name. A tensor that is used twice, such as a tied output matrix, appears once."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


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
