r"""Linear layers and embedding tables in 8 bits: whole numbers from −127 to 127, and one scale for each row.

    q = round(W / s),   s_i = max_j |W_ij| / 127,   W ≈ s q

A layer like this is for using a model, not for training it: rounding has no gradient.

Letters:  out, in sizes of the layer · N rows of the input · V vocabulary · C model width
Sources:  Jacob et al. (2018), Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference;
          Zafrir et al. (2019), Q8BERT.
"""

import copy
from typing import Any

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn
from torch.nn import functional as F

from minilm.errors import InputError

LARGEST = 127  # −128 is not used, so that the range is symmetric and 0 stays 0
EXACT = 2**24 // LARGEST**2  # a sum of so many products is a whole number that float32 can hold


def quantised_rows(W: Float[Tensor, "rows columns"]) -> tuple[Int8[Tensor, "rows columns"], Float[Tensor, " rows"]]:
    """q and s with W ≈ s q: each row has its own scale, so that one large row does not coarsen the others.

    No number is further than s/2 from its own. A row of zeros gets the scale 1.
    """
    s = W.abs().amax(dim=1) / LARGEST  # [rows]
    s = torch.where(s > 0, s, torch.ones_like(s))
    return (W / s[:, None]).round().clamp(-LARGEST, LARGEST).to(torch.int8), s


def integer_product(a: Int8[Tensor, "N size"], b: Int8[Tensor, "out size"]) -> Int[Tensor, "N out"]:
    """a bᵀ in 32-bit integers, exactly.

    On a processor, PyTorch has a kernel for this product (`torch._int_mm`), which is several times as fast as that of float32
    where the processor has instructions for it. Elsewhere the product is done in floating-point numbers that are wide enough.
    (For rows of a single number, the kernel of PyTorch 2.13 returns zeros, so these take the other way.)
    """
    if a.device.type == "cpu" and hasattr(torch, "_int_mm") and len(a) and len(b) and a.size(1) > 1:
        return torch._int_mm(a, b.t())
    wide = torch.float32 if a.size(1) <= EXACT else torch.float64
    return (a.to(wide) @ b.to(wide).t()).round().to(torch.int32)


class Int8Linear(nn.Module):
    r"""y = x Wᵀ + b with W in 8 bits: y ≈ s_x s_W (q_x q_Wᵀ) + b.

    With `integer`, each row of x gets 8 bits and a scale of its own as well, and the product is one of whole numbers. Without
    it, only the weights have 8 bits and the product is the usual one. The bias stays as it was.
    Raises InputError if a gradient is asked for.
    """

    weight_int8: Tensor
    scale: Tensor

    def __init__(self, q: Int8[Tensor, "out size"], scale: Float[Tensor, " out"], bias: Tensor | None, integer=True):
        super().__init__()
        self.register_buffer("weight_int8", q)
        self.register_buffer("scale", scale)
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.integer = integer

    @classmethod
    def of(cls, linear: nn.Linear, integer: bool = True) -> "Int8Linear":
        """The layer that takes the place of `linear`."""
        return cls(*quantised_rows(linear.weight.detach()), linear.bias, integer)

    @property
    def out_features(self) -> int:
        return self.weight_int8.size(0)

    @property
    def weight(self) -> Tensor:
        """s q, for code that reads the weights of a layer."""
        return self.weight_int8 * self.scale[:, None]

    def forward(self, x: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch out"]:
        refuse_gradient(x)
        if not self.integer:
            y = F.linear(x, self.weight_int8.to(x.dtype)) * self.scale
        else:
            q_x, s_x = quantised_rows(x.reshape(-1, x.size(-1)))
            y = integer_product(q_x, self.weight_int8) * (s_x[:, None] * self.scale)
            y = y.view(*x.shape[:-1], self.out_features)
        return y if self.bias is None else y + self.bias


class Int8Embedding(nn.Module):
    """An embedding table in 8 bits: the row of a token is s q."""

    weight_int8: Tensor
    scale: Tensor

    def __init__(self, q: Int8[Tensor, "V C"], scale: Float[Tensor, " V"]):
        super().__init__()
        self.register_buffer("weight_int8", q)
        self.register_buffer("scale", scale)
        self.num_embeddings, self.embedding_dim = q.shape

    @classmethod
    def of(cls, table: nn.Embedding) -> "Int8Embedding":
        """The table that takes the place of `table`."""
        return cls(*quantised_rows(table.weight.detach()))

    @property
    def weight(self) -> Tensor:
        """s q, for code that reads the whole table."""
        return self.weight_int8 * self.scale[:, None]

    def forward(self, ids: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch C"]:
        return self.weight_int8[ids] * self.scale[ids][..., None]


def refuse_gradient(x: Tensor) -> None:
    if torch.is_grad_enabled() and x.requires_grad:
        raise InputError(
            "a model in 8 bits has no gradient, because rounding has none: take the model that it was made from."
        )


def in_eight_bits(model: nn.Module, embeddings: bool = False, integer: bool = True) -> nn.Module:
    """A copy of `model` whose encoder has its linear layers in 8 bits, and with `embeddings` its table of tokens as well.

    Norms, biases and heads are small and stay as they are. Raises InputError if the encoder has no linear layer.
    """
    out = copy.deepcopy(model)
    encoder: Any = getattr(out, "encoder", out)
    found = [name for name, module in encoder.named_modules() if isinstance(module, nn.Linear)]
    if not found:
        raise InputError(f"{type(encoder).__name__} has no linear layers: only such layers are put into 8 bits.")
    for name in found:
        replace_module(encoder, name, Int8Linear.of(encoder.get_submodule(name), integer))
    if embeddings:
        table = encoder.token_table
        for name, module in list(encoder.named_modules()):
            if module is table:
                replace_module(encoder, name, Int8Embedding.of(module))
    return out.eval()


def replace_module(model: nn.Module, name: str, new: nn.Module) -> None:
    """Put `new` where the module `name` stands, such as "stack.layers.0.attention.output"."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, new)
