r"""The position of a token as a vector.  F21.

Letters:  T length · C model width
Source:   Vaswani et al. (2017), Attention Is All You Need, §3.5.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def sinusoids(length: int, width: int) -> Float[Tensor, "T C"]:
    r"""PE(pos, 2i) = sin(pos / 10000^{2i/C}),  PE(pos, 2i+1) = cos(pos / 10000^{2i/C}).  F21.

    An odd width simply ends on a sine.
    """
    position = torch.arange(length, dtype=torch.float64)[:, None]  # [T, 1]
    even = torch.arange(0, width, 2, dtype=torch.float64)  # 2i
    angle = position / 10000 ** (even / width)  # [T, ⌈C/2⌉]
    table = torch.empty(length, width, dtype=torch.float64)
    table[:, 0::2] = angle.sin()
    table[:, 1::2] = angle.cos()[:, : width // 2]
    return table.to(torch.get_default_dtype())
