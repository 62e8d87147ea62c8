"""Run folders with a model in 8 bits: the whole numbers under the names of the weights, and beside each its scales.

    model.int8.safetensors    X.weight [out, in] of 8-bit integers, X.weight_scale [out], and all that is not in 8 bits

The file has a name of its own. So a program that does not know this layout (`transformers`, or an older minilm) says that
there are no weights, instead of reading the whole numbers as if they were the weights.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.files.tensors import read_safetensors
from minilm.layers.eight_bit import Int8Embedding, Int8Linear, replace_module
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.weights import HEADS, listed, load_weights, refuse_broken_numbers

SCALE = "_scale"  # behind the name of a weight
SMALLEST = -127  # −128 stands in no file of ours


def separated(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A model's weights by our names: with the whole numbers under `X.weight`; and the scales, under the same names."""
    layers = [name.removesuffix(".weight_int8") for name in weights if name.endswith(".weight_int8")]
    numbers = {f"{layer}.weight": weights[f"{layer}.weight_int8"] for layer in layers}
    scales = {f"{layer}.weight": weights[f"{layer}.scale"] for layer in layers}
    parts = {f"{layer}.{part}" for layer in layers for part in ("weight_int8", "scale")}
    return {name: tensor for name, tensor in weights.items() if name not in parts} | numbers, scales


def named_with_scales(
    architecture: Architecture, model: nn.Module, weights: dict[str, Tensor], scales: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The tensors for the file: `weights` and, beside those that are whole numbers, their `scales` with "_scale"."""
    named = architecture.as_file(architecture.write_names(weights), model)
    if not scales:
        return named
    other = architecture.as_file(
        architecture.write_names(weights | scales), model
    )  # the scales in the places of theirs
    return named | {f"{name}{SCALE}": other[name] for name, tensor in named.items() if tensor.dtype == torch.int8}


def without_scales(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file by name, without the scales of those that are in 8 bits."""
    scales = {f"{name}{SCALE}" for name, tensor in found.items() if tensor.dtype == torch.int8}
    return {name: tensor for name, tensor in found.items() if name not in scales}


def fill_eight_bit(
    model: nn.Module, path: Path, architecture: Architecture, file: Path, used: list[str], may_lack: tuple[str, ...]
) -> list[str]:
    """Fill a model with the tensors `used` of a file of this layout, in place: its layers in 8 bits take the places of those
    that it was built with. Returns the names that kept their own values.

    Raises InputError for a weight without scales or with scales of another length, and for numbers that are not finite.
    """
    found = architecture.renamed(read_safetensors(file))
    numbers = {name: found[name] for name in used}
    scales = {name: found[f"{name}{SCALE}"] for name in used if f"{name}{SCALE}" in found}
    whole = {name for name, tensor in numbers.items() if tensor.dtype == torch.int8}
    if unlike := sorted(whole ^ scales.keys()):
        raise InputError(
            f"{path}: an 8-bit weight and its scales belong together; one is missing for {listed(unlike)}."
        )
    for name in sorted(whole):
        if scales[name].shape != numbers[name].shape[:1] or numbers[name].dim() != 2:
            raise InputError(f"{path}: {name} has {len(numbers[name])} rows and {len(scales[name])} scales.")
        if numbers[name].min() < SMALLEST or not (scales[name] > 0).all():
            raise InputError(f"{path}: {name} holds −128 or a scale that is not above 0, which no 8-bit weight has.")
    refuse_broken_numbers({name: tensor for name, tensor in numbers.items() if name not in whole} | scales, str(path))
    approximate = {name: w * scales[name][:, None] if name in whole else w for name, w in numbers.items()}
    lacking = load_weights(model, architecture.read_names(approximate), str(path), HEADS if may_lack else ())
    q = architecture.read_names(numbers)
    s = architecture.read_names({name: scales.get(name, w) for name, w in numbers.items()})
    for name, tensor in q.items():
        if tensor.dtype == torch.int8:
            put_in(model, name.removesuffix(".weight"), tensor, s[name])
    return lacking


def put_in(model: nn.Module, place: str, q: Tensor, scale: Tensor) -> None:
    """Put a layer in 8 bits where the module `place` stands."""
    old = model.get_submodule(place)
    if isinstance(old, nn.Linear):
        replace_module(model, place, Int8Linear(q, scale, old.bias))
    elif isinstance(old, nn.Embedding):
        replace_module(model, place, Int8Embedding(q, scale))
    else:
        raise InputError(f"{place} is a {type(old).__name__}: only linear layers and tables can be in 8 bits.")
