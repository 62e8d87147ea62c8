r"""Activations of one text put into the run on another one: which positions, at which level, carry what differs?

    h_ℓ(t) ← h′_ℓ(t) for the positions t of a group,   share = (f(patched) − f(x)) / (f(x′) − f(x))

Level 0 is what enters the first block, level ℓ what leaves block ℓ. f is the difference of two logits. A share of 1 says that
the group carries everything, 0 that it carries nothing; with all positions in the group it is 1, whatever the level.

Letters:  B texts · T tokens of each, all equally many · L blocks · C model width · K classes
Source:   Vig et al. (2020), Causal Mediation Analysis for Interpreting Neural NLP; Meng et al. (2022), Locating and Editing
          Factual Associations in GPT, §2.
"""

from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from minilm.errors import InputError
from minilm.training.ablation import blocks_of


class Texts(NamedTuple):
    """Texts of one length, without padding."""

    input_ids: Int[Tensor, "B T"]
    token_type_ids: Int[Tensor, "B T"]


@torch.no_grad()
def levels_of(model: nn.Module, texts: Texts) -> list[Float[Tensor, "B _ C"]]:
    """The hidden states at every level, L + 1 of them. The last has [CLS] alone if the head reads nothing else."""
    found: list[Tensor] = []
    blocks = blocks_of(model.eval())
    with ExitStack() as hooks:
        for block in blocks:
            hooks.callback(block.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0])).remove)
        hooks.callback(blocks[-1].register_forward_hook(lambda module, inputs, output: found.append(output[0])).remove)
        model(*texts)
    return found


@contextmanager
def patching(model: nn.Module, level: int, there: Float[Tensor, "B _ C"], where: Bool[Tensor, "B T"]):
    """The model that finds the states `there` at a level, at the positions `where`, while the block runs.

    Raises InputError for a level that does not exist.
    """
    blocks = blocks_of(model)
    if not 0 <= level <= len(blocks):
        raise InputError(f"there is no level {level}: the model has the levels 0 to {len(blocks)}.")

    def put(x: Tensor) -> Tensor:
        return torch.where(where[:, : x.size(1), None], there, x)  # [CLS] comes first, so it is there in any case

    if level < len(blocks):
        handle = blocks[level].register_forward_pre_hook(lambda module, inputs: (put(inputs[0]), *inputs[1:]))
    else:
        handle = blocks[-1].register_forward_hook(lambda module, inputs, output: (put(output[0]), output[1]))
    try:
        yield model
    finally:
        handle.remove()


class Swap(NamedTuple):
    """Texts x and x′ of one length, the classes whose logits are compared, and the place where they are read (None: the text)."""

    x: Texts
    other: Texts
    classes: Int[Tensor, "B 2"]  # what is said of x′, and of x
    place: Int[Tensor, " B"] | None = None


def difference(logits: Tensor, swap: Swap) -> np.ndarray:
    """f = the logit of what is said of x′ minus the logit of what is said of x, [B]."""
    if swap.place is not None:
        logits = logits[torch.arange(len(logits)), swap.place]
    z = logits.gather(1, swap.classes)  # [B, 2]
    return (z[:, 0] - z[:, 1]).double().numpy()


@torch.no_grad()
def moved(model: nn.Module, swap: Swap, groups: Sequence[Bool[Tensor, "B T"]]) -> tuple[np.ndarray, np.ndarray]:
    """f(patched) − f(x) for each level and group [L + 1, groups, B], and f(x′) − f(x) [B]."""
    model.eval()
    there = levels_of(model, swap.other)
    f, other = (difference(model(*texts), swap) for texts in (swap.x, swap.other))
    out = np.empty((len(there), len(groups), len(f)))
    for level, states in enumerate(there):
        for number, where in enumerate(groups):
            with patching(model, level, states, where) as patched:
                run: Any = patched(*swap.x)
            out[level, number] = difference(run, swap) - f
    return out, other - f
