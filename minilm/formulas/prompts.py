r"""Prompts: a verbaliser that turns guessed words into labels, and learned vectors before a text, with gradients by hand.  F33.

Letters:  N texts · V vocabulary · K labels · B batch · T length · P prompts · C model width
Sources:  Schick and Schütze (2021), Exploiting Cloze Questions for Few-Shot Text Classification, §3.1; Lester et al. (2021),
          The Power of Scale for Parameter-Efficient Prompt Tuning, §2.
"""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray as Array

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_shape
from minilm.formulas.cross_entropy import cross_entropy, cross_entropy_gradient

Words = Sequence[Sequence[int]]  # for each label, the tokens of its words


def verbaliser_logits(z: Array, words: Words, prior: Array | None = None) -> Array:
    r"""[N, K]: the mean over the words of a label of their logits `z` [N, V] at [MASK], less the label's `prior` [K].  F33.

    Softmax over the K labels then gives probabilities; the other V tokens play no part in it. Raises InputError for a label
    without words, a word of two labels, a token outside the vocabulary, and a prior that does not fit.
    """
    _check_words(z, words)
    logits = np.stack([z[:, list(w)].mean(axis=1) for w in words], axis=1)
    if prior is None:
        return logits
    check_shape("prior", prior, "K", K=len(words))
    return logits - prior


def verbaliser_logits_gradient(z: Array, words: Words, dlogits: Array) -> Array:
    r"""∂L/∂z [N, V] from `dlogits` [N, K]: a word of label k gets dlogitsₖ / (number of words of k), every other token 0.  F33.

    Raises InputError as `verbaliser_logits` does, and if dlogits does not fit.
    """
    _check_words(z, words)
    check_shape("dlogits", dlogits, "N K", N=len(z), K=len(words))
    dz = np.zeros(z.shape)
    for k, w in enumerate(words):
        dz[:, list(w)] = dlogits[:, k : k + 1] / len(w)
    return dz


def verbaliser_loss(z: Array, words: Words, y: Array, prior: Array | None = None) -> float:
    r"""−1/N Σ log softmax(logits)(y): what few-shot training minimises, for classes `y` [N].  F33.

    Raises InputError as `verbaliser_logits` does, and for a class that is none.
    """
    return cross_entropy(verbaliser_logits(z, words, prior), y)


def verbaliser_loss_gradient(z: Array, words: Words, y: Array, prior: Array | None = None) -> Array:
    r"""∂L/∂z [N, V]: (ŷ − onehot(y))/N, shared out among the words of each label.  F33. Raises as `verbaliser_loss` does."""
    return verbaliser_logits_gradient(z, words, cross_entropy_gradient(verbaliser_logits(z, words, prior), y))


def prior_of(z: Array, words: Words) -> Array:
    r"""[K]: the mean logit of each label over texts without labels, `z` [N, V], to be taken off.  F33.

    A model may find "great" likelier than "terrible" in every text. Source: Zhao et al. (2021), Calibrate Before Use (who use
    texts without content). Raises InputError as `verbaliser_logits` does, and if there is no text.
    """
    if not len(z):
        raise InputError("z has no rows: a prior needs at least one text.")
    return verbaliser_logits(z, words).mean(axis=0)


def with_prompts(prompts: Array, x: Array) -> Array:
    r"""[B, P + T, C]: the same P learned vectors before the T embedded tokens `x` [B, T, C] of every text.  F33.

    Nothing else of the model changes. Raises InputError if the widths differ.
    """
    check_shape("x", x, "B T C")
    check_shape("prompts", prompts, "P C", C=x.shape[2])
    return np.concatenate([np.broadcast_to(prompts, (len(x), *prompts.shape)), x], axis=1)


def with_prompts_gradients(prompts: Array, x: Array, dY: Array) -> tuple[Array, Array]:
    r"""∂L/∂prompts [P, C], summed over the texts because all share the prompts, and ∂L/∂x [B, T, C], from `dY`.  F33.

    Raises InputError as `with_prompts` does, and if dY does not fit.
    """
    with_prompts(prompts, x)
    P = len(prompts)
    check_shape("dY", dY, "B PT C", B=len(x), PT=P + x.shape[1], C=x.shape[2])
    return dY[:, :P].sum(axis=0), dY[:, P:]


def _check_words(z: Array, words: Words) -> None:
    check_shape("z", z, "N V")
    if len(words) < 2 or not all(len(w) for w in words):
        raise InputError(
            f"the verbaliser has {[len(w) for w in words]} words: give at least two labels, each with a word."
        )
    every = [token for w in words for token in w]
    check_classes("words", np.array(every), z.shape[1])
    if len(set(every)) < len(every):
        raise InputError("a word of the verbaliser belongs to two labels, or occurs twice: give different words.")
