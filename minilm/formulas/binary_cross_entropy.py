r"""Yes or no: binary cross-entropy on probabilities and on logits, and its gradient for the parameters.  F04, F05, F06.

Letters:  N examples · n parameters · z logit · M(x) = ŷ = σ(z) the probability of "yes" · y the answer, 1 or 0
          (anything between, where the answer itself is a probability)
Source:   Goodfellow, Bengio and Courville (2016), Deep Learning, §6.2.2.2.
"""

import numpy as np

from minilm.formulas.checks import check_not_empty, check_probabilities, check_shape


def sigmoid(z: np.ndarray) -> np.ndarray:
    r"""σ(z) = 1 / (1 + exp −z) for `z` of any shape.  F04, F15, F16.

    Where z < 0 it is written exp z / (1 + exp z): the same number, and exp only ever sees what is not positive.
    """
    e = np.exp(-np.abs(z))
    return np.where(z >= 0, 1, e) / (1 + e)


def sigmoid_gradient(z: np.ndarray, dY: np.ndarray) -> np.ndarray:
    r"""∂L/∂z = dY · σ(z)(1 − σ(z)), for `dY` = ∂L/∂ŷ of the same shape.  F04, F15, F16.

    σ′ = exp −z / (1 + exp −z)² = σ · (1 − σ), and 1 − σ(z) = σ(−z), which does not round to 0.
    """
    return dY * sigmoid(z) * sigmoid(-z)


def loss(y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""ℓ = −[y log ŷ + (1 − y) log(1 − ŷ)] for each of `y_hat` [N] and `y` [N], in nats.  F04.

    A term whose factor is 0 is 0: 0 · log 0, NaN to the computer, has the limit 0. Infinite where the model was certain
    and wrong. Raises InputError for an empty batch, shapes that do not fit, or numbers outside [0, 1].
    """
    _check(y_hat, y)
    return -(_times_log(y, y_hat) + _times_log(1 - y, 1 - y_hat))


def binary_cross_entropy(y_hat: np.ndarray, y: np.ndarray) -> float:
    r"""L = −1/N Σᵢ [yᵢ log M(xᵢ) + (1 − yᵢ) log(1 − M(xᵢ))] for `y_hat` = M(x) [N] and `y` [N], in nats.  F05.

    Raises as `loss`. Where logits are at hand, `binary_cross_entropy_with_logits` is the safe one.
    """
    return float(loss(y_hat, y).mean())


def binary_cross_entropy_gradient(y_hat: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""∂L/∂ŷᵢ [N] = −1/N (yᵢ/ŷᵢ − (1 − yᵢ)/(1 − ŷᵢ)): the first factor of F06.  F05, F06.

    From (log ŷ)′ = 1/ŷ and (log(1 − ŷ))′ = −1/(1 − ŷ). Infinite where the model was certain and wrong. Raises as `loss`.
    """
    _check(y_hat, y)
    return -(_over(y, y_hat) - _over(1 - y, 1 - y_hat)) / len(y)


def parameter_gradient(y_hat: np.ndarray, y: np.ndarray, dM: np.ndarray) -> np.ndarray:
    r"""∂L/∂θₖ [n] = −1/N Σᵢ (yᵢ/M(xᵢ) − (1 − yᵢ)/(1 − M(xᵢ))) ∂M(xᵢ)/∂θₖ, with `dM` = ∂M/∂θ [N, n].  F06.

    Right as D0 and D4 print it: the chain rule, whatever M is. But a certain M makes it ∞ · 0, which is NaN: see
    `parameter_gradient_from_logits`. Raises as `loss`.
    """
    slope = binary_cross_entropy_gradient(y_hat, y)
    check_shape("dM", dM, "N n", N=len(y))
    with np.errstate(invalid="ignore"):
        return slope @ dM


def parameter_gradient_from_logits(z: np.ndarray, y: np.ndarray, dz: np.ndarray) -> np.ndarray:
    r"""∂L/∂θₖ [n] = 1/N Σᵢ (ŷᵢ − yᵢ) ∂zᵢ/∂θₖ, with `dz` = ∂z/∂θ [N, n]: what F06 collapses to for ŷ = σ(z).  F06.

    ∂M/∂θ = ŷ(1 − ŷ) ∂z/∂θ, and −(y/ŷ − (1 − y)/(1 − ŷ)) · ŷ(1 − ŷ) = −(y(1 − ŷ) − (1 − y)ŷ) = ŷ − y: the denominators,
    which were the danger, are gone. Raises as `binary_cross_entropy_with_logits`.
    """
    slope = binary_cross_entropy_with_logits_gradient(z, y)
    check_shape("dz", dz, "N n", N=len(y))
    return slope @ dz


def binary_cross_entropy_with_logits(z: np.ndarray, y: np.ndarray) -> float:
    r"""L = 1/N Σᵢ [log(1 + exp zᵢ) − yᵢ zᵢ] for logits `z` [N] and `y` [N], in nats.  F05 that cannot overflow.

    −log σ(z) = log(1 + exp −z) = log(1 + exp z) − z and −log(1 − σ(z)) = log(1 + exp z); weigh them by y and 1 − y.
    `logaddexp` takes the larger exponent out before it adds. Raises InputError for an empty batch, shapes that do not
    fit, or answers outside [0, 1].
    """
    _check_logits(z, y)
    return float((np.logaddexp(0, z) - y * z).mean())


def binary_cross_entropy_with_logits_gradient(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""∂L/∂zᵢ [N] = (σ(zᵢ) − yᵢ)/N.  F06, collapsed.

    (log(1 + exp z))′ = exp z / (1 + exp z) = σ(z). Raises as `binary_cross_entropy_with_logits`.
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
