r"""Pretraining: masked language modelling, next-sentence prediction, and the sum of their losses.  F25, F26, F27.

Letters:  B batch · T length · V vocabulary · C width · N masked tokens · w token ids · z logits · y labels, −100 where none
Source:   Devlin et al. (2019), BERT, §3.1 and appendix A.1.
"""

from collections.abc import Sequence

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_shape
from minilm.formulas.cross_entropy import log_softmax

IGNORED = -100


def masked_word_context(T: int) -> np.ndarray:
    r"""[T, T] bool: True where the prediction of token i may see token j under P(wᵢ ∣ M(w_{1:T})): everywhere.  F25 corrected.

    Seeing position i itself is fine: if token i is predicted, M has put [MASK] there (or a random token, or sometimes the
    token itself).
    """
    _check_length(T)
    return np.ones((T, T), bool)


def masked_word_context_as_printed(T: int) -> np.ndarray:
    r"""[T, T] bool: True where P(wᵢ ∣ M(w_{1:i−1})) lets the prediction of token i see token j: left of i.  F25, D3 §4.2.1.

    This is a language model (F23) with holes in its context. The first token is predicted from nothing, the right context
    is never used, and masking has no purpose, because nothing to the left of i can reveal wᵢ.
    """
    _check_length(T)
    return np.tril(np.ones((T, T), bool), -1)


def _check_length(T: int) -> None:
    if T < 1:
        raise InputError(f"T is {T}, but a text needs at least one token: give 1 or more.")


def masked_word_loss(z: np.ndarray, y: np.ndarray) -> float:
    r"""L = −1/N Σ_{i masked} log softmax(zᵢ)(yᵢ), `z` [B, T, V], `y` [B, T]: the true token, or −100 if not chosen.  F25.

    The mean runs over the N chosen tokens, not over all B·T. Raises InputError for shapes that do not fit, a label that
    is neither −100 nor in 0 … V − 1, or if no token was chosen.
    """
    b, t = _chosen(z, y)
    return float(-log_softmax(z[b, t])[np.arange(len(b)), y[b, t]].mean())


def masked_word_loss_gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""∂L/∂z [B, T, V] = (ŷᵢ − onehot(yᵢ)) / N where a token was chosen, 0 elsewhere.  F25.

    Only the rows of chosen tokens enter L, each as one cross-entropy with the weight 1/N.
    """
    b, t = _chosen(z, y)
    d = np.exp(log_softmax(z[b, t]))
    d[np.arange(len(b)), y[b, t]] -= 1
    gradient = np.zeros(z.shape)
    gradient[b, t] = d / len(b)
    return gradient


def _chosen(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of each token that counts, both [N]."""
    check_shape("z", z, "B T V")
    B, T, V = z.shape
    check_shape("y", y, "B T", B=B, T=T)
    b, t = np.nonzero(y != IGNORED)
    if not len(b):
        raise InputError("y is −100 everywhere, so no token counts: mask at least one.")
    check_classes("y", y[b, t], V)
    return b, t


def next_sentence_logits(x: np.ndarray, W_p: np.ndarray, b_p: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    r"""s = tanh(x_[CLS] W_p + b_p) W + b [B, 2]: "B follows A" (class 0) or not (class 1).  F26.

    `x` [B, T, C] are the encoder's hidden states, of which only the first, at [CLS], is used. W_p [C, C], b_p [C],
    W [C, 2], b [2]. Raises InputError if the shapes do not fit.
    """
    check_shape("x", x, "B T C")
    check_not_empty("x", x)
    C = x.shape[2]
    check_shape("W_p", W_p, "C C", C=C)
    check_shape("b_p", b_p, "C", C=C)
    check_shape("W", W, "C K", C=C, K=2)
    check_shape("b", b, "K", K=2)
    return np.tanh(x[:, 0] @ W_p + b_p) @ W + b


def next_sentence_loss(
    x: np.ndarray, W_p: np.ndarray, b_p: np.ndarray, W: np.ndarray, b: np.ndarray, y: np.ndarray
) -> float:
    r"""−1/B Σ log P(y ∣ w_A, w_B) with P = softmax(s), `y` [B]: 0 = B follows A, 1 = it does not.  F26.

    Raises InputError for shapes that do not fit or a label other than 0 and 1.
    """
    s = next_sentence_logits(x, W_p, b_p, W, b)
    _check_pairs(s, y)
    return float(-log_softmax(s)[np.arange(len(y)), y].mean())


def next_sentence_loss_gradients(
    x: np.ndarray, W_p: np.ndarray, b_p: np.ndarray, W: np.ndarray, b: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""∂L/∂x, ∂L/∂W_p, ∂L/∂b_p, ∂L/∂W, ∂L/∂b of `next_sentence_loss`.  F26.

    With a = x_[CLS] W_p + b_p and u = tanh a:  ds = (ŷ − onehot(y))/B,  dW = uᵀ ds,  db = Σ ds,
    da = (ds Wᵀ) ⊙ (1 − u²) since tanh′ = 1 − tanh²,  dW_p = x_[CLS]ᵀ da,  db_p = Σ da,  dx_[CLS] = da W_pᵀ.
    All other positions get 0: they matter only through what attention has carried to [CLS] before.
    """
    s = next_sentence_logits(x, W_p, b_p, W, b)
    _check_pairs(s, y)
    u = np.tanh(x[:, 0] @ W_p + b_p)
    ds = np.exp(log_softmax(s)) - np.eye(2)[y]
    ds /= len(y)
    da = ds @ W.T * (1 - u**2)
    dx = np.zeros(x.shape)
    dx[:, 0] = da @ W_p.T
    return dx, x[:, 0].T @ da, da.sum(axis=0), u.T @ ds, ds.sum(axis=0)


def _check_pairs(s: np.ndarray, y: np.ndarray) -> None:
    check_shape("s", s, "B K", K=2)
    check_not_empty("s", s)
    check_shape("y", y, "B", B=len(s))
    check_classes("y", y, 2)


def pretraining_loss(z: np.ndarray, y: np.ndarray, s: np.ndarray, nsp_labels: np.ndarray) -> float:
    r"""L = L_tokens(z, y) + L_next(s, nsp_labels): both objectives, each averaged over its own labels.  F27.

    `z` [B, T, V] and `y` [B, T] as in `masked_word_loss`; `s` [B, 2] and `nsp_labels` [B] as in `next_sentence_loss`. Each loss
    has its own rule for what counts: the label 0 is an ordinary token in the first and "B follows A" in the second.
    """
    _check_pairs(s, nsp_labels)
    check_shape("z", z, "B T V", B=len(s))
    return masked_word_loss(z, y) + float(-log_softmax(s)[np.arange(len(nsp_labels)), nsp_labels].mean())


def pretraining_loss_gradients(
    z: np.ndarray, y: np.ndarray, s: np.ndarray, nsp_labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    r"""∂L/∂z [B, T, V] and ∂L/∂s [B, 2]: each loss reaches its own logits, (ŷ − onehot)/N and (ŷ − onehot)/B.  F27.

    The two gradients meet in the encoder that computed both z and s.
    """
    _check_pairs(s, nsp_labels)
    check_shape("z", z, "B T V", B=len(s))
    return masked_word_loss_gradient(z, y), (np.exp(log_softmax(s)) - np.eye(2)[nsp_labels]) / len(nsp_labels)


def mask_tokens(
    w: np.ndarray, special: Sequence[int], mask: int, V: int, rng: np.random.Generator, mask_rate: float = 0.15
) -> tuple[np.ndarray, np.ndarray]:
    r"""M(w) and the labels y, both of the shape of `w` [B, T]; y is −100 where no token was chosen.  F25.

    Each token is chosen with probability `mask_rate`; special tokens are never chosen. One random number u then decides:
    u < 0.8: [MASK] · 0.8 ≤ u < 0.9: a random token · otherwise: keep it. Raises InputError for an id outside 0 … V − 1 or
    a mask rate that is not between 0 and 1.
    """
    chosen, random_tokens = _drawn(w, special, V, rng, mask_rate)
    u = rng.random(np.shape(w))
    masked = np.where(chosen & (u < 0.8), mask, w)
    masked = np.where(chosen & (u >= 0.8) & (u < 0.9), random_tokens, masked)
    return masked, np.where(chosen, w, IGNORED)


def mask_words_by_two_draws(
    w: np.ndarray, special: Sequence[int], mask: int, V: int, rng: np.random.Generator, mask_rate: float = 0.15
) -> tuple[np.ndarray, np.ndarray]:
    r"""The same with separate draws for "random" and "kept", 10 % each: 81/10/9 instead of 80/10/10.  F25, a common mistake.

    In 1 % of cases both draws say yes. Only one can win, here "random", so "kept" gets 9 %; [MASK] gets 0.9 · 0.9.
    """
    chosen, random_tokens = _drawn(w, special, V, rng, mask_rate)
    random, kept = rng.random(np.shape(w)) < 0.1, rng.random(np.shape(w)) < 0.1
    masked = np.where(chosen & ~random & ~kept, mask, w)
    masked = np.where(chosen & random, random_tokens, masked)
    return masked, np.where(chosen, w, IGNORED)


def _drawn(
    w: np.ndarray, special: Sequence[int], V: int, rng: np.random.Generator, mask_rate: float
) -> tuple[np.ndarray, np.ndarray]:
    """Which tokens are chosen (bool), and a random ordinary token for each position."""
    check_not_empty("w", w)
    check_classes("w", w, V)
    if not 0 < mask_rate < 1:
        raise InputError(
            f"mask_rate is {mask_rate}, but it is a probability: give a number between 0 and 1; BERT's is 0.15."
        )
    ordinary = np.setdiff1d(np.arange(V), special)
    check_not_empty("the vocabulary without its special tokens", ordinary)
    chosen = ~np.isin(w, special) & (rng.random(np.shape(w)) < mask_rate)
    return chosen, rng.choice(ordinary, size=np.shape(w))
