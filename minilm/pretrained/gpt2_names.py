"""GPT-2's weights by name: ours under the names that `transformers` uses, and theirs under ours.

Read `NAMES` from top to bottom: it is GPT-2, part by part. There, the matrices of a block are stored as [in, out] ("Conv1D"),
ours as [out, in], so they are transposed on the way. Query, key and value are one product on both sides, in the same order.
"""

import re

import torch
from torch import Tensor

from minilm.errors import InputError
from minilm.pretrained.bert_names import translate

PREFIX = "transformer."
# theirs → ours; {n} is the number of a layer, {p} is weight or bias
NAMES = {
    "transformer.wte.weight": "encoder.tokens.weight",
    "transformer.wpe.weight": "encoder.positions.weight",
    "transformer.h.{n}.ln_1.weight": "encoder.stack.layers.{n}.attention_norm.gain",
    "transformer.h.{n}.ln_1.bias": "encoder.stack.layers.{n}.attention_norm.bias",
    "transformer.h.{n}.attn.c_attn.{p}": "encoder.stack.layers.{n}.attention.to_qkv.{p}",
    "transformer.h.{n}.attn.c_proj.{p}": "encoder.stack.layers.{n}.attention.output.{p}",
    "transformer.h.{n}.ln_2.weight": "encoder.stack.layers.{n}.feed_forward_norm.gain",
    "transformer.h.{n}.ln_2.bias": "encoder.stack.layers.{n}.feed_forward_norm.bias",
    "transformer.h.{n}.mlp.c_fc.{p}": "encoder.stack.layers.{n}.feed_forward.inner.{p}",
    "transformer.h.{n}.mlp.c_proj.{p}": "encoder.stack.layers.{n}.feed_forward.outer.{p}",
    "transformer.ln_f.weight": "encoder.stack.final_norm.gain",
    "transformer.ln_f.bias": "encoder.stack.final_norm.bias",
}
OURS = {ours: theirs for theirs, ours in NAMES.items()}
TRANSPOSED = re.compile(r"transformer\.h\.\d+\.(attn|mlp)\.c_\w+\.weight")
BUFFERS = re.compile(r"transformer\.h\.\d+\.attn\.(masked_)?bias")  # older files store the causal mask
OUTPUT, TABLE = "lm_head.weight", "transformer.wte.weight"  # one matrix, which a file may name twice
PARTS = ("wte.", "wpe.", "h.", "ln_f.")  # how names begin if the model was published without its head


def modern(name: str) -> str:
    """A name of `transformers` as it is today, with `transformer.` in front."""
    return f"{PREFIX}{name}" if name.startswith(PARTS) else name


def renamed(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors under today's names, without what nobody learned. Raises InputError for a tensor that is there twice."""
    out = {modern(name): tensor for name, tensor in weights.items()}
    if len(out) < len(weights):
        twice = sorted(name for name in weights if name != modern(name) and modern(name) in weights)
        raise InputError(f"the weights hold one tensor under two names: {', '.join(twice)}.")
    if OUTPUT in out and TABLE not in out:
        out[TABLE] = out.pop(OUTPUT)
    return {name: tensor for name, tensor in out.items() if not BUFFERS.fullmatch(name)}


def to_gpt2(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our weights under the names of `transformers`. A tensor without a name there gets "minilm." in front of ours."""
    named = {translate(name, OURS) or f"minilm.{name}": tensor for name, tensor in weights.items()}
    return {name: turned(name, tensor) for name, tensor in named.items()}


def from_gpt2(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, under today's names, under ours.

    Raises InputError for tensors that have no counterpart here (one message names them all), and for an output matrix that
    is not the embedding table.
    """
    out, unknown = {}, []
    for name, tensor in weights.items():
        if name == OUTPUT:
            if not torch.equal(tensor, weights.get(TABLE, tensor)):
                raise InputError(f"{OUTPUT} is a tensor of its own; a model of minilm shares it with {TABLE}.")
            continue
        ours = name.removeprefix("minilm.") if name.startswith("minilm.") else translate(name, NAMES)
        if ours is None:
            unknown.append(name)
        else:
            out[ours] = turned(name, tensor)
    if unknown:
        raise InputError(f"the weights hold tensors that minilm does not know: {', '.join(sorted(unknown))}.")
    return out


def turned(name: str, tensor: Tensor) -> Tensor:
    """The matrix of a block with its axes exchanged; any other tensor as it is."""
    return tensor.T.contiguous() if TRANSPOSED.fullmatch(name) else tensor
