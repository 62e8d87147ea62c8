r"""A model with parts taken out for a while: heads of attention, and whole blocks.

    head_h(t) ← 0                                  by zero
    head_h(t) ← m_h,   m_h = 1/N Σₜ head_h(t)      by mean: what the head says on average, which is the same for every text
    block_ℓ(x) ← x                                 a block that is skipped

Letters:  L layers · H heads · D size of a head · T tokens · N tokens that a mean is taken over
Sources:  Michel, Levy and Neubig (2019), Are Sixteen Heads Really Better than One? (by zero); Wang et al. (2023),
          Interpretability in the Wild, §2.1 (by mean); Veit, Wilber and Belongie (2016), Residual Networks Behave Like
          Ensembles of Relatively Shallow Networks (skipped).
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.layers.pruning import attention_layers, kept_rows
from minilm.layers.transformer import TransformerBlock

Head = tuple[int, int]  # (layer, head), both counted from 0


def blocks_of(model: nn.Module) -> list[TransformerBlock]:
    """The blocks of an encoder, in order. Raises InputError if there are none."""
    attention_layers(model)
    stack: Any = getattr(model, "encoder", model).stack
    return list(stack.layers)


def every_head(model: nn.Module) -> list[Head]:
    """All heads of a model, layer by layer."""
    return [(i, head) for i, layer in enumerate(attention_layers(model)) for head in range(layer.heads)]


@torch.no_grad()
def head_means(model: nn.Module, examples: Dataset) -> list[Tensor]:
    """The mean of each layer's heads over all tokens of the examples, side by side: [H·D] for each layer."""
    layers = attention_layers(model)
    model.eval()
    totals = [torch.zeros(layer.output.in_features, dtype=torch.double) for layer in layers]
    count = 0
    for chosen in examples.in_order():
        batch = examples.batch(chosen)
        tokens = batch.attention_mask if batch.attention_mask is not None else torch.ones_like(batch.input_ids).bool()
        with ExitStack() as hooks:
            for layer, total in zip(layers, totals, strict=True):

                def add(module, inputs, total=total, tokens=tokens):
                    total += inputs[0][tokens].double().sum(dim=0)

                hooks.callback(layer.output.register_forward_pre_hook(add).remove)
            getattr(model, "encoder", model)(batch.input_ids, batch.token_type_ids, batch.attention_mask)
        count += int(tokens.sum())
    return [(total / count).to(next(model.parameters()).dtype) for total in totals]


@contextmanager
def without(model: nn.Module, heads: Collection[Head], means: Sequence[Tensor] | None = None) -> Iterator[nn.Module]:
    """The model whose `heads` say the same for every text while the block runs: 0, or their `means` from `head_means`.

    Raises InputError for a head that does not exist.
    """
    layers = attention_layers(model)
    for layer, head in heads:
        if not (0 <= layer < len(layers) and 0 <= head < layers[layer].heads):
            raise InputError(f"there is no head {head + 1} in layer {layer + 1}.")
    with ExitStack() as hooks:
        for number, attention in enumerate(layers):
            lost = sorted({head for layer, head in heads if layer == number})
            if not lost:
                continue
            rows = kept_rows(attention, lost)
            value = torch.zeros(len(rows)) if means is None else means[number][rows]

            def replace(module, inputs, rows=rows, value=value):
                side_by_side = inputs[0].clone()  # [B, T, H·D]
                side_by_side[..., rows] = value.to(side_by_side)
                return (side_by_side,)

            hooks.callback(attention.output.register_forward_pre_hook(replace).remove)
        yield model


@contextmanager
def skipping(model: nn.Module, blocks: Collection[int]) -> Iterator[nn.Module]:
    """The model whose `blocks`, counted from 0, hand on what they are given, while the block runs.

    Raises InputError for a block that does not exist.
    """
    every = blocks_of(model)
    if wrong := [i for i in blocks if not 0 <= i < len(every)]:
        raise InputError(f"there is no block {wrong[0] + 1}: the model has {len(every)}.")

    def hand_on(module, inputs, output):
        x, weights = output
        queries = inputs[3] if len(inputs) > 3 else None  # the last block may compute some positions alone
        given = inputs[0] if queries is None else inputs[0].gather(1, queries[:, :, None].expand_as(x))
        return given, weights

    with ExitStack() as hooks:
        for i in blocks:
            hooks.callback(every[i].register_forward_hook(hand_on).remove)
        yield model
