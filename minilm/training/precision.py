r"""Products of matrices in bf16, and everything else in float32: `--precision bf16` of `minilm pretrain` and `finetune`.  F03.

A bf16 number is a float32 with 8 of its 24 binary digits: the range is the same, and it is rounded by up to 2⁻⁹ of its value. It takes
half the room, and a processor that has a unit for it multiplies twice as many of them at once. PyTorch's autocast rounds what
enters a product and leaves the sum inside it in float32.

* Weights, gradients and the optimizer stay in float32. An update is often smaller than 2⁻⁹ of its weight, so a weight in bf16 would
  never move.
* Logits are turned back into float32 before a loss is made of them: a sum over a vocabulary loses the small ones in bf16.
* A model is measured and saved in float32, as it is used afterwards.
"""

from typing import Any

import torch
from torch import Tensor, nn

from minilm.errors import InputError

PRECISIONS = ("float32", "bf16")


def bf16_units() -> list[str]:
    """What this processor has to multiply bf16 numbers, by the names that it gives them, such as avx512_bf16 and amx_bf16."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    if capabilities is None:  # an older PyTorch, which says no names
        return ["bf16"] if torch.ops.mkldnn._is_mkldnn_bf16_supported() else []
    return sorted(name for name, there in capabilities().items() if "bf16" in name and there)


def refuse_unknown(precision: str) -> None:
    """Raises InputError for a precision that is none of `PRECISIONS`."""
    if precision not in PRECISIONS:
        raise InputError(f"precision '{precision}' is not known: choose {' or '.join(PRECISIONS)}.")


def check_precision(precision: str, device: torch.device) -> None:
    """Raises InputError if the device or its processor cannot compute in this precision."""
    able = {"cpu": lambda: bool(bf16_units()), "cuda": torch.cuda.is_bf16_supported}
    if precision == "bf16" and not (device.type in able and able[device.type]()):
        what = "this processor has no unit for bf16" if device.type == "cpu" else f"{device} cannot compute in bf16"
        raise InputError(f"{what}: leave --precision out.")


def in_precision(model: nn.Module, precision: str, device: torch.device) -> nn.Module:
    """The model, called in this precision. Raises InputError if the device cannot."""
    check_precision(precision, device)
    return model if precision == "float32" else InBf16(model, device.type)


class InBf16(nn.Module):
    """A model whose products are computed in bf16 when it is called, and which answers in float32. It has the attributes of
    the model inside, whose weights it uses."""

    def __init__(self, inside: nn.Module, device_type: str):
        super().__init__()
        self.inside, self.device_type = inside, device_type

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.autocast(self.device_type, dtype=torch.bfloat16):
            out = self.inside(*args, **kwargs)
        return in_float32(out)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inside"), name)


def in_float32(out: Any) -> Any:
    """A tensor, or all tensors of a named tuple or a list, with bf16 numbers turned into float32."""
    if isinstance(out, Tensor):
        return out.float() if out.dtype == torch.bfloat16 else out
    if isinstance(out, list):
        return [in_float32(one) for one in out]
    return type(out)(*map(in_float32, out)) if isinstance(out, tuple) else out
