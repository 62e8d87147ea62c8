r"""Softmax and cross-entropy over K classes, with gradients derived by hand.  F08, F11.

Letters:  N examples · K classes · T tokens of a text, V tokens of the vocabulary (in F11, K is V)
          z logits · ŷ = softmax(z) · y the label: a class, or a row of probabilities over the classes
Source:   Goodfellow, Bengio and Courville (2016), Deep Learning, §6.2.2; for the smoothing Szegedy et al. (2016),
          Rethinking the Inception Architecture, §7.
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_probabilities, check_shape


def softmax(z: np.ndarray) -> np.ndarray:
    r"""ŷₖ = exp zₖ / Σⱼ exp zⱼ over the last axis of `z` [..., K].  F08, F10, F18.

    The largest logit is subtracted first: this divides numerator and denominator by the same factor, and exp cannot
    overflow. Raises InputError if there are no classes.
    """
    check_not_empty("z", z)
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def softmax_gradient(z: np.ndarray, dY: np.ndarray) -> np.ndarray:
    r"""∂L/∂z [..., K] from `dY` = ∂L/∂ŷ [..., K]:  ŷ ⊙ (dY − Σₖ dYₖ ŷₖ).  F08, F10, F18.

    ∂ŷₖ/∂zⱼ = ŷₖ (1[j = k] − ŷⱼ), so Σₖ dYₖ ∂ŷₖ/∂zⱼ = dYⱼ ŷⱼ − ŷⱼ Σₖ dYₖ ŷₖ. The K × K Jacobian is never built.
    Raises InputError if the shapes differ.
    """
    y_hat = softmax(z)
    _check_same_shape(dY, z)
    return y_hat * (dY - (dY * y_hat).sum(axis=-1, keepdims=True))


def log_softmax(z: np.ndarray) -> np.ndarray:
    r"""log softmax(z)ₖ = zₖ − log Σⱼ exp zⱼ over the last axis of `z` [..., K].  F08, F11.

    Do not compute log(softmax(z)): it becomes log 0 as soon as some ŷₖ rounds to 0. Here the sum contains exp 0 = 1, so
    its logarithm is safe. Raises InputError if there are no classes.
    """
    check_not_empty("z", z)
    z = z - z.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def log_softmax_gradient(z: np.ndarray, dY: np.ndarray) -> np.ndarray:
    r"""∂L/∂z [..., K] from `dY` = ∂L/∂ log ŷ [..., K]:  dY − ŷ Σₖ dYₖ.  F08, F11.

    This follows from ∂ log ŷₖ/∂zⱼ = 1[j = k] − ŷⱼ. Raises InputError if the shapes differ.
    """
    y_hat = softmax(z)
    _check_same_shape(dY, z)
    return dY - y_hat * dY.sum(axis=-1, keepdims=True)


def smoothed(y: np.ndarray, K: int, smoothing: float = 0.0) -> np.ndarray:
    r"""The labels `y` [N] as rows of probabilities [N, K]:  (1 − ε)·onehot(y) + ε/K.  F08.

    With ε = `smoothing`, the label keeps 1 − ε and all K classes share ε. The model then no longer has to be certain,
    which would need an infinite logit. Raises InputError for a class outside 0 … K − 1, or ε outside [0, 1].
    """
    check_shape("y", y, "N")
    check_classes("y", y, K)
    if not 0 <= smoothing <= 1:
        raise InputError(
            f"smoothing is {smoothing}, but it is a share of the label's probability: give a number from 0 to 1."
        )
    return (1 - smoothing) * np.eye(K)[y] + smoothing / K


def cross_entropy(z: np.ndarray, y: np.ndarray, smoothing: float = 0.0) -> float:
    r"""H = −1/N Σᵢ Σₖ yᵢ(k) log ŷᵢ(k) for logits `z` [N, K] and classes `y` [N], in nats.  F08; F11 as it should read.

    yᵢ(k) is 1 for the label and 0 elsewhere, so only −log ŷᵢ(yᵢ) remains of the inner sum; for ε > 0 see `smoothed`.
    Raises InputError for an empty batch, shapes that do not fit, or a class outside 0 … K − 1.
    """
    y = _targets(z, y, smoothing)
    return float(-(y * log_softmax(z)).sum() / len(z))


def cross_entropy_gradient(z: np.ndarray, y: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    r"""∂H/∂z [N, K] = (ŷ − y) / N: the prediction minus the truth.  F08, F11.

    `log_softmax_gradient` with dY = −y/N gives −y/N + ŷ Σₖ yₖ/N, and a row of y sums to 1. Raises as `cross_entropy` does.
    """
    y = _targets(z, y, smoothing)
    return (softmax(z) - y) / len(z)


def sequence_cross_entropy(y_hat: np.ndarray, y: np.ndarray) -> float:
    r"""L = −Σₜ Σᵢ yₜ(i) log ŷₜ(i) for probabilities `y_hat` [T, V] and labels `y` [T, V], in nats.  F11 corrected.

    It needs two letters: yₜ is the actual token (one-hot), and ŷₜ is the prediction. The loss is infinite if the model
    gave the actual token probability 0. Raises InputError for an empty text, wrong shapes, or numbers outside [0, 1].
    """
    _check_rows(y_hat, y)
    with np.errstate(divide="ignore"):
        log_y_hat = np.log(y_hat, where=y > 0, out=np.zeros(y.shape))  # where y is 0, the term is 0 for any ŷ
    return float(-(y * log_y_hat).sum())


def sequence_cross_entropy_gradient(y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""∂L/∂ŷₜ(i) = −yₜ(i)/ŷₜ(i) [T, V]: it is 0 except at the actual token.  F11 corrected.

    `softmax_gradient` turns it into ŷ − y, because Σᵢ yₜ(i) = 1. Raises as `sequence_cross_entropy` does.
    """
    _check_rows(y_hat, y)
    with np.errstate(divide="ignore"):
        return -np.divide(y, y_hat, where=y > 0, out=np.zeros(y.shape))


def cross_entropy_as_printed(y_hat: np.ndarray) -> float:
    r"""−Σₜ Σᵢ ŷₜ(i) log ŷₜ(i) for `y_hat` [T, V], as D1 §4.2 prints it: one y for label and prediction.  F11, wrong.

    This is the entropy of the prediction. It never sees the label, and any confident guess, right or wrong, minimises it.
    Raises InputError for an empty text or numbers outside [0, 1].
    """
    check_not_empty("y_hat", y_hat)
    check_shape("y_hat", y_hat, "T V")
    check_probabilities("y_hat", y_hat)
    return float(-(y_hat * np.log(np.where(y_hat > 0, y_hat, 1))).sum())  # 0 · log 0 = 0, its limit


def cross_entropy_as_printed_gradient(z: np.ndarray) -> np.ndarray:
    r"""Gradient of the printed loss for the logits `z` [T, V]:  −ŷ ⊙ (log ŷ − Σᵢ ŷ(i) log ŷ(i)).  F11, wrong.

    ∂/∂ŷ of −ŷ log ŷ is −(log ŷ + 1), which then goes through `softmax_gradient`. A step against this gradient raises
    every logit that is already above the average, so the model only becomes surer of what it happens to believe. The
    label does not appear in it. Raises InputError for an empty text.
    """
    check_not_empty("z", z)
    check_shape("z", z, "T V")
    return softmax_gradient(z, -(log_softmax(z) + 1))


def _targets(z: np.ndarray, y: np.ndarray, smoothing: float) -> np.ndarray:
    check_not_empty("z", z)
    check_shape("z", z, "N K")
    N, K = z.shape
    check_shape("y", y, "N", N=N)
    return smoothed(y, K, smoothing)


def _check_rows(y_hat: np.ndarray, y: np.ndarray) -> None:
    check_not_empty("y_hat", y_hat)
    check_shape("y_hat", y_hat, "T V")
    check_shape("y", y, "T V", T=y_hat.shape[0], V=y_hat.shape[1])
    check_probabilities("y_hat", y_hat)
    check_probabilities("y", y)


def _check_same_shape(dY: np.ndarray, z: np.ndarray) -> None:
    if np.shape(dY) != np.shape(z):
        raise InputError(f"dY has shape {list(np.shape(dY))}, but must have the shape of z, {list(np.shape(z))}.")
