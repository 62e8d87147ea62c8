r"""Empirical risk, gradient descent towards its minimum, and when to stop.  F01, F02, F03.

Letters:  N examples · n parameters · θ the parameters · P(x; θ) the prediction · ℓ loss of one example · L risk
          η learning rate
Source:   Vapnik (1991), Principles of Risk Minimization for Learning Theory; Prechelt (1998), Early Stopping – But When?

The small model of this file is the polynomial P(x; θ) = Σₖ θₖ xᵏ. With two parameters you can draw its loss landscape;
with ten it learns its examples by heart.
"""

from collections.abc import Callable

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_not_empty, check_shape


def empirical_risk(theta: np.ndarray, x: np.ndarray, y: np.ndarray, P: Callable, loss: Callable) -> float:
    r"""L(θ) = 1/N Σᵢ ℓ(yᵢ, P(xᵢ; θ)) for `theta` [n], inputs `x` [N, ...] and labels `y` [N].  F01.

    `P(x, theta)` returns one number (or one row) per example, and `loss(y, p)` returns the losses [N]. By choosing these
    two you choose the task. Raises InputError for an empty batch, or a loss that is not one number per example.
    """
    losses = _losses(theta, x, y, P, loss)
    return float(losses.sum() / len(y))


def empirical_risk_gradient(
    theta: np.ndarray, x: np.ndarray, y: np.ndarray, P: Callable, dP: Callable, d_loss: Callable
) -> np.ndarray:
    r"""∂L/∂θₖ [n] = 1/N Σᵢ ∂ℓ(yᵢ, pᵢ)/∂p · ∂P(xᵢ; θ)/∂θₖ: the chain rule, for one number P per example.  F01, F03.

    `d_loss(y, p)` gives ∂ℓ/∂p [N] and `dP(x, theta)` gives ∂P/∂θ [N, n]. The gradient of a mean is the mean of the
    gradients: each example pulls at θ, and a step follows the mean of all pulls. Raises as `empirical_risk` does.
    """
    slope = _losses(theta, x, y, P, d_loss)
    jacobian = dP(x, theta)
    check_shape("dP(x, theta)", jacobian, "N n", N=len(y), n=len(theta))
    return slope @ jacobian / len(y)


def squared_error(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    r"""ℓ(y, p) = (p − y)² [N]. It makes L the mean squared error (均方误差), which D0 names next to cross-entropy.  F01."""
    return (p - y) ** 2


def squared_error_gradient(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    r"""∂ℓ/∂p [N] = 2 (p − y).  F01."""
    return 2 * (p - y)


def polynomial(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    r"""P(x; θ) = Σₖ θₖ xᵏ for `x` [N] and `theta` [n], k from 0 to n − 1: degree n − 1.  F01.

    Raises InputError unless x and θ have one axis each.
    """
    return polynomial_gradient(x, theta) @ theta


def polynomial_gradient(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    r"""∂P/∂θₖ = xᵏ [N, n]. P is linear in θ, so θ itself does not appear in the gradient.  F01."""
    check_shape("x", x, "N")
    check_shape("theta", theta, "n")
    return x[:, None] ** np.arange(len(theta))


def gradient_descent(gradient: Callable, theta: np.ndarray, learning_rate: float, steps: int) -> np.ndarray:
    r"""Apply θ ← θ − η ∇L(θ) `steps` times; returns the whole path [steps + 1, n], including the start.  F02, F03.

    We cannot solve θ* = argmin L (F02) directly, so we search for it with small steps downhill, starting from `theta`.
    Pretraining and fine-tuning are the same search; fine-tuning starts where pretraining ended.
    Raises InputError unless the learning rate is above 0, or if a gradient does not have the shape of θ.
    """
    if not learning_rate > 0:
        raise InputError(f"learning_rate is {learning_rate}, so a step goes nowhere or uphill: give a number above 0.")
    path = [np.asarray(theta, dtype=float)]
    for _ in range(steps):
        g = gradient(path[-1])
        if np.shape(g) != np.shape(theta):
            raise InputError(
                f"the gradient has shape {list(np.shape(g))}, but must have the shape of theta, {list(np.shape(theta))}."
            )
        path.append(path[-1] - learning_rate * g)
    return np.array(path)


def argmin(risk: Callable, thetas: np.ndarray) -> np.ndarray:
    r"""θ* = argmin L(θ) by trying every candidate: the row of `thetas` [candidates, n] with the smallest risk.  F02.

    This is the definition, and a reference to check the search against. A grid with 100 values for each of n parameters
    has 100ⁿ rows, so nobody does this for real models. Raises InputError for no candidates.
    """
    check_not_empty("thetas", thetas)
    return thetas[np.argmin([risk(theta) for theta in thetas])]


def largest_safe_rate(curvature: np.ndarray) -> float:
    r"""η < 2/λ_max, with λ_max the largest eigenvalue of `curvature` = ∂²L/∂θ² [n, n].  F03.

    Along an eigenvector L = ½ λ a², so a step gives a ← (1 − ηλ) a, which shrinks if |1 − ηλ| < 1. Above 2/λ each step
    jumps across the valley to a higher point on the other side. Raises InputError unless the shape is [n, n] and λ_max > 0.
    """
    check_shape("curvature", curvature, "n n")
    steepest = np.linalg.eigvalsh(curvature)[-1]
    if not steepest > 0:
        raise InputError(
            f"the largest curvature is {steepest:g}: the loss has no valley here, so no learning rate is the limit."
        )
    return float(2 / steepest)


def l2(theta: np.ndarray, decay: float) -> float:
    r"""λ/2 Σₖ θₖ², a penalty that is added to L so that large parameters cost something.  F03 (L2正则, D0 §3.2).

    Raises InputError for λ = `decay` below 0.
    """
    _check_decay(decay)
    return float(decay / 2 * (theta**2).sum())


def l2_gradient(theta: np.ndarray, decay: float) -> np.ndarray:
    r"""∂/∂θ of λ/2 Σ θ² = λθ, in the shape of θ; the ½ cancels the 2 of the square.  F03. Raises as `l2` does."""
    _check_decay(decay)
    return decay * theta


def early_stopping(losses: np.ndarray, patience: int) -> tuple[int, int]:
    r"""(best, last): the evaluation to keep, and the last evaluation that was made.  F03 (Early Stopping, D0 §3.2).

    `losses` [evaluations] are the losses on held-out examples, one per epoch. best is the argmin of those seen. Training
    stops at the first t with t − best = `patience`: that many evaluations in a row brought nothing strictly better.
    NaN is never better. Raises InputError for no losses, a patience below 1, or if no loss seen is finite.
    """
    check_not_empty("losses", losses)
    if patience < 1:
        raise InputError(f"patience is {patience}, but training must wait for at least one evaluation: give 1 or more.")
    best, least, last = -1, np.inf, -1
    for last, loss in enumerate(losses):
        if loss < least:  # False for NaN
            best, least = last, loss
        elif last - best >= patience:
            break
    if best < 0:
        raise InputError("none of the losses seen is a finite number, so none of them is the best.")
    return best, last


def _losses(theta: np.ndarray, x: np.ndarray, y: np.ndarray, P: Callable, loss: Callable) -> np.ndarray:
    check_not_empty("y", y)
    check_shape("theta", theta, "n")
    losses = loss(y, P(x, theta))
    check_shape("loss(y, P(x, theta))", losses, "N", N=len(y))
    return losses


def _check_decay(decay: float) -> None:
    if not decay >= 0:
        raise InputError(f"decay is {decay}, but a negative decay would reward large parameters: give 0 or more.")
