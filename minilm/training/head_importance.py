r"""How much each head of attention matters for a loss: what a small change of it would do.

    I_h = 1/N Σᵢ |∂Lᵢ/∂ξ_h|,   ξ_h a factor in front of head h, at ξ_h = 1:   ∂L/∂ξ_h = Σ_t head_h(t) · ∂L/∂head_h(t)

Letters:  N texts · L layers · H heads · T tokens
Source:   Michel, Levy and Neubig (2019), Are Sixteen Heads Really Better than One?, §2.3.
"""

import numpy as np
import torch
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.layers.pruning import attention_layers
from minilm.training.losses import cross_entropy


def head_importance(model: nn.Module, examples: Dataset) -> list[np.ndarray]:
    """I of each head of each layer, [H] for each, in the mean over labelled texts."""
    layers = attention_layers(model)
    model.eval()
    caught: dict[int, Tensor] = {}

    def catch(number: int):
        def hook(module, inputs):
            caught[number] = inputs[0]  # the heads side by side, [1, T, H·D]

        return hook

    hooks = [layer.output.register_forward_pre_hook(catch(i)) for i, layer in enumerate(layers)]
    totals = [np.zeros(layer.heads) for layer in layers]
    try:
        for i in range(len(examples)):  # one text at a time, because the absolute value is taken text by text
            batch = examples.batch([i])
            assert batch.labels is not None
            with torch.enable_grad():
                logits = model(batch.input_ids, batch.token_type_ids)
                loss = cross_entropy(logits, batch.labels).value
                heads = [caught[number] for number in range(len(layers))]
                gradients = torch.autograd.grad(loss, heads)
            for total, layer, x, dx in zip(totals, layers, heads, gradients, strict=True):
                slopes = (x * dx).detach().reshape(-1, layer.heads, x.size(-1) // layer.heads).sum(dim=(0, 2))  # [H]
                total += np.abs(slopes.double().numpy())
    finally:
        for handle in hooks:
            handle.remove()
    return [total / len(examples) for total in totals]


def least_important(model: nn.Module, examples: Dataset, share: float) -> list[tuple[int, int]]:
    """The `share` of all heads that matter least, as (layer, head), both counted from 0; each layer keeps at least one.

    The importance of each layer's heads is divided by its length first, as the source does. Raises InputError for a share
    outside [0, 1).
    """
    if not 0 <= share < 1:
        raise InputError(f"the share of heads to leave out must be from 0 to less than 1, not {share}.")
    scaled = [each / (np.linalg.norm(each) or 1.0) for each in head_importance(model, examples)]
    order = sorted((float(score), layer, head) for layer, each in enumerate(scaled) for head, score in enumerate(each))
    left = [len(each) for each in scaled]
    wanted, chosen = round(share * sum(left)), list[tuple[int, int]]()
    for _, layer, head in order:
        if len(chosen) < wanted and left[layer] > 1:
            chosen.append((layer, head))
            left[layer] -= 1
    return sorted(chosen)
