r"""Binary cross-entropy on probabilities and on logits, and its gradient for the parameters.  F04, F05, F06.

Letters:  N examples · n parameters · z logit · M(x) = ŷ = σ(z) the probability of "yes" · y the label, 1 or 0
          (or any number between, if the label itself is a probability)
Source:   Goodfellow, Bengio and Courville (2016), Deep Learning, §6.2.2.2.
"""

import numpy as np

from minilm.formulas.checks import check_not_empty, check_probabilities, check_shape


def sigmoid(z: np.ndarray) -> np.ndarray:
    r"""σ(z) = 1 / (1 + exp −z) for `z` of any shape.  F04, F15, F16.

    For z < 0 the code uses the equal form exp z / (1 + exp z), so that exp never gets a positive argument and cannot
    overflow.
    """
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def sigmoid_gradient(z: np.ndarray, dY: np.ndarray) -> np.ndarray:
    r"""∂L/∂z = dY · σ(z)(1 − σ(z)), for `dY` = ∂L/∂ŷ of the same shape.  F04, F15, F16.

    σ′ = exp −z / (1 + exp −z)² = σ · (1 − σ). The code writes 1 − σ(z) as σ(−z), which does not round to 0.
    """
    return dY * sigmoid(z) * sigmoid(-z)


def loss(y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""ℓ = −[y log ŷ + (1 − y) log(1 − ŷ)] for each of `y_hat` [N] and `y` [N], in nats.  F04.

    A term with the factor 0 counts as 0: the computer makes 0 · log 0 NaN, but its limit is 0. The loss is infinite where
    the model was certain and wrong. Raises InputError for an empty batch, wrong shapes, or numbers outside [0, 1].
    """
    _check(y_hat, y)
    return -(_times_log(y, y_hat) + _times_log(1 - y, 1 - y_hat))


def binary_cross_entropy(y_hat: np.ndarray, y: np.ndarray) -> float:
    r"""L = −1/N Σᵢ [yᵢ log M(xᵢ) + (1 − yᵢ) log(1 − M(xᵢ))] for `y_hat` = M(x) [N] and `y` [N], in nats.  F05.

    If you have logits, use `binary_cross_entropy_with_logits` instead: it is numerically safe. Raises as `loss` does.
    """
    return float(loss(y_hat, y).mean())


def binary_cross_entropy_gradient(y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""∂L/∂ŷᵢ [N] = −1/N (yᵢ/ŷᵢ − (1 − yᵢ)/(1 − ŷᵢ)): the first factor of F06.  F05, F06.

    This follows from (log ŷ)′ = 1/ŷ and (log(1 − ŷ))′ = −1/(1 − ŷ). It is infinite where the model was certain and
    wrong. Raises as `loss` does.
    """
    _check(y_hat, y)
    return -(_over(y, y_hat) - _over(1 - y, 1 - y_hat)) / len(y)


def parameter_gradient(y_hat: np.ndarray, y: np.ndarray, dM: np.ndarray) -> np.ndarray:
    r"""∂L/∂θₖ [n] = −1/N Σᵢ (yᵢ/M(xᵢ) − (1 − yᵢ)/(1 − M(xᵢ))) ∂M(xᵢ)/∂θₖ, with `dM` = ∂M/∂θ [N, n].  F06.

    D0 and D4 print this correctly: it is the chain rule, and it holds for any model M. But if M is certain (0 or 1), the
    product becomes ∞ · 0 = NaN; `parameter_gradient_from_logits` avoids that. Raises as `loss` does.
    """
    slope = binary_cross_entropy_gradient(y_hat, y)
    check_shape("dM", dM, "N n", N=len(y))
    with np.errstate(invalid="ignore"):
        return slope @ dM


def parameter_gradient_from_logits(z: np.ndarray, y: np.ndarray, dz: np.ndarray) -> np.ndarray:
    r"""∂L/∂θₖ [n] = 1/N Σᵢ (ŷᵢ − yᵢ) ∂zᵢ/∂θₖ, with `dz` = ∂z/∂θ [N, n]: F06 simplified for ŷ = σ(z).  F06.

    ∂M/∂θ = ŷ(1 − ŷ) ∂z/∂θ, and −(y/ŷ − (1 − y)/(1 − ŷ)) · ŷ(1 − ŷ) = −(y(1 − ŷ) − (1 − y)ŷ) = ŷ − y: the dangerous
    denominators cancel. Raises as `binary_cross_entropy_with_logits` does.
    """
    slope = binary_cross_entropy_with_logits_gradient(z, y)
    check_shape("dz", dz, "N n", N=len(y))
    return slope @ dz


def binary_cross_entropy_with_logits(z: np.ndarray, y: np.ndarray) -> float:
    r"""L = 1/N Σᵢ [log(1 + exp zᵢ) − yᵢ zᵢ] for logits `z` [N] and `y` [N], in nats.  F05 without overflow.

    −log σ(z) = log(1 + exp −z) = log(1 + exp z) − z and −log(1 − σ(z)) = log(1 + exp z); weight them by y and 1 − y.
    `logaddexp` subtracts the larger exponent before it adds. Raises InputError for an empty batch, wrong shapes, or
    labels outside [0, 1].
    """
    _check_logits(z, y)
    return float((np.logaddexp(0, z) - y * z).mean())


def binary_cross_entropy_with_logits_gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""∂L/∂zᵢ [N] = (σ(zᵢ) − yᵢ)/N.  F06, simplified.

    (log(1 + exp z))′ = exp z / (1 + exp z) = σ(z). Raises as `binary_cross_entropy_with_logits` does.
    """
    _check_logits(z, y)
    return (sigmoid(z) - y) / len(y)


def _times_log(a: np.ndarray, p: np.ndarray) -> np.ndarray:
    """a log p, and 0 where a is 0."""
    with np.errstate(divide="ignore"):
        return a * np.log(p, where=a > 0, out=np.zeros(np.shape(a)))


def _over(a: np.ndarray, p: np.ndarray) -> np.ndarray:
    """a / p, and 0 where a is 0."""
    with np.errstate(divide="ignore"):
        return np.divide(a, p, where=a > 0, out=np.zeros(np.shape(a)))


def _check(y_hat: np.ndarray, y: np.ndarray) -> None:
    check_not_empty("y_hat", y_hat)
    check_shape("y_hat", y_hat, "N")
    check_probabilities("y_hat", y_hat)
    _check_answers(y, len(y_hat))


def _check_logits(z: np.ndarray, y: np.ndarray) -> None:
    check_not_empty("z", z)
    check_shape("z", z, "N")
    _check_answers(y, len(z))


def _check_answers(y: np.ndarray, N: int) -> None:
    check_shape("y", y, "N", N=N)
    check_probabilities("y", y)
