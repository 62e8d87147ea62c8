r"""What a causal model of pictures is good for: the probability of a picture in every class, and new pictures.  F24.

Letters:  N pictures · m pixels · K classes · x the pixels · y the class
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int

from minilm.errors import InputError
from minilm.examples.pixels import Pictures
from minilm.models.generation import generate
from minilm.models.gpt import GPT

AT_ONCE = 200  # pictures per batch when nothing is trained


@torch.no_grad()
def log_probabilities(model: GPT, pictures: Pictures) -> Float[np.ndarray, " N"]:
    r"""log P(x ∣ y) = Σᵢ log P(xᵢ ∣ xᵢ₋₁ … x₁, y) in nats, of every picture in its own class.  F24.

    The model is left in evaluation mode. Raises InputError if it does not fit the pictures.
    """
    check_fits(model, pictures)
    model.eval()
    device = next(model.parameters()).device
    sums = []
    for ids in pictures.rows().to(device).split(AT_ONCE):
        log_p = model(ids[:, :-1]).double().log_softmax(dim=-1)  # row i gives pixel i + 1
        sums.append(log_p.gather(-1, ids[:, 1:, None])[..., 0].sum(dim=1))
    return torch.cat(sums).cpu().numpy()


def class_log_probabilities(model: GPT, pictures: Pictures) -> Float[np.ndarray, "N K"]:
    r"""log P(x ∣ y) in nats, of every picture in every class.  F24.

    With P(y) and Bayes' rule this is a classifier: the class whose token in front makes the picture most probable. A picture is
    read K times, once in each class. The model is left in evaluation mode. Raises InputError if it does not fit the pictures.
    """
    classes = (np.full_like(pictures.y, y) for y in range(pictures.classes))
    return np.stack([log_probabilities(model, replace(pictures, y=y)) for y in classes], axis=1)


def draw_pictures(
    model: GPT,
    like: Pictures,
    classes: Sequence[int],
    seed: int = 0,
    temperature: float = 1.0,
    begun: Int[np.ndarray, "N a"] | None = None,
) -> Int[np.ndarray, "N m"]:
    r"""One new picture for each entry of `classes`, drawn pixel by pixel from P(xᵢ ∣ xᵢ₋₁ … x₁, y).  F24.

    `begun` holds the first a pixels of each picture; the model draws the rest. `like` says how many pixels, grey levels and
    classes there are. A pixel is never a class. Raises InputError for a class that is not known, for pictures that are
    already complete, or if the model does not fit.
    """
    check_fits(model, like)
    for y in classes:
        like.check_class(y)
    a = 0 if begun is None else begun.shape[1]
    if a >= like.pixels:
        raise InputError(f"a picture has {like.pixels} pixels, and {a} are given: there is nothing left to draw.")
    first = [[] for _ in classes] if begun is None else begun.tolist()
    prompts = [[like.levels + y, *pixels] for y, pixels in zip(classes, first, strict=True)]
    banned = like.class_tokens
    written = generate(model, prompts, like.pixels - a, temperature, seed=seed, banned=banned)
    return np.array([[*pixels, *text.ids] for pixels, text in zip(first, written, strict=True)])


def check_fits(model: GPT, pictures: Pictures) -> None:
    """Raises InputError unless the model has a token for every grey level and class, and room for a whole picture."""
    c = model.config
    if c.vocab_size != pictures.vocab_size or c.max_length < 1 + pictures.pixels:
        raise InputError(
            f"the model has {c.vocab_size} tokens and reads {c.max_length}, but these pictures need {pictures.vocab_size} "
            f"tokens and a length of {1 + pictures.pixels}: train one for them."
        )
