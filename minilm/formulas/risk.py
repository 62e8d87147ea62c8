r"""Empirical risk, the search for its minimum, and when to stop searching.  F01, F02, F03.

Letters:  N examples · n parameters · θ the parameters · P(x; θ) what the model says · ℓ loss of one example · L risk
          η rate of learning
Source:   Vapnik (1991), Principles of Risk Minimization for Learning Theory; Prechelt (1998), Early Stopping – But When?

The small model of this page is the polynomial P(x; θ) = Σₖ θₖ xᵏ: with two parameters one can draw its landscape, with
ten it learns its examples by heart.
"""

from collections.abc import Callable

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_not_empty, check_shape


def empirical_risk(theta: np.ndarray, x: np.ndarray, y: np.ndarray, P: Callable, loss: Callable) -> float:
    r"""L(θ) = 1/N Σᵢ ℓ(yᵢ, P(xᵢ; θ)) for `theta` [n], inputs `x` [N, ...] and answers `y` [N].  F01.

    `P(x, theta)` gives one number (or one row) for each example, `loss(y, p)` a loss [N]: the choice of the two is the
    choice of the task. Raises InputError for an empty batch, or a loss that is not one number for each example.
    """
    losses = _losses(theta, x, y, P, loss)
    return float(losses.sum() / len(y))


def empirical_risk_gradient(
    theta: np.ndarray, x: np.ndarray, y: np.ndarray, P: Callable, dP: Callable, d_loss: Callable
) -> np.ndarray:
    r"""∂L/∂θₖ [n] = 1/N Σᵢ ∂ℓ(yᵢ, pᵢ)/∂p · ∂P(xᵢ; θ)/∂θₖ: the chain rule, for a P of one number.  F01, F03.

    `d_loss(y, p)` gives ∂ℓ/∂p [N] and `dP(x, theta)` gives ∂P/∂θ [N, n]. A sum's gradient is the sum of gradients: each
    example pulls at θ for itself, and L goes where the mean of them pulls. Raises as `empirical_risk`.
    """
    slope = _losses(theta, x, y, P, d_loss)
    jacobian = dP(x, theta)
    check_shape("dP(x, theta)", jacobian, "N n", N=len(y), n=len(theta))
    return slope @ jacobian / len(y)


def squared_error(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    r"""ℓ(y, p) = (p − y)² [N]: with it L is the mean squared error (均方误差), which D0 names beside cross-entropy.  F01."""
    return (p - y) ** 2


def squared_error_gradient(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    r"""∂ℓ/∂p [N] = 2 (p − y).  F01."""
    return 2 * (p - y)


def polynomial(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    r"""P(x; θ) = Σₖ θₖ xᵏ for `x` [N] and `theta` [n], k from 0 to n − 1: degree n − 1.  F01.

    Raises InputError when x or θ is not one row of numbers.
    """
    return polynomial_gradient(x, theta) @ theta


def polynomial_gradient(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    r"""∂P/∂θₖ = xᵏ [N, n]: linear in θ, so that θ itself does not stand in it.  F01."""
    check_shape("x", x, "N")
    check_shape("theta", theta, "n")
    return x[:, None] ** np.arange(len(theta))


def gradient_descent(gradient: Callable, theta: np.ndarray, rate: float, steps: int) -> np.ndarray:
    r"""θ ← θ − η ∇L(θ), `steps` times: the whole path [steps + 1, n], its start included.  F02, F03.

    θ* = argmin L (F02) is sought, not solved: a step downhill from where one stands. `theta` is where the search begins.
    Pretraining and fine-tuning are this one search; fine-tuning begins where pretraining ended.
    Raises InputError unless the rate is above 0, or when a gradient has not the shape of θ.
    """
    if not rate > 0:
        raise InputError(f"the rate is {rate}, but a step of that size goes nowhere or uphill: give a number above 0.")
    path = [np.asarray(theta, dtype=float)]
    for _ in range(steps):
        g = gradient(path[-1])
        if np.shape(g) != np.shape(theta):
            raise InputError(
                f"the gradient has shape {list(np.shape(g))}, but must have that of theta, {list(np.shape(theta))}."
            )
        path.append(path[-1] - rate * g)
    return np.array(path)


def argmin(risk: Callable, thetas: np.ndarray) -> np.ndarray:
    r"""θ* = argmin L(θ) by looking everywhere: the row of `thetas` [candidates, n] with the least risk.  F02.

    The definition, and a referee for the search. A grid of 100 values for each of n parameters has 100ⁿ rows, which
    is why nobody looks everywhere. Raises InputError for no candidates.
    """
    check_not_empty("thetas", thetas)
    return thetas[np.argmin([risk(theta) for theta in thetas])]


def largest_safe_rate(curvature: np.ndarray) -> float:
    r"""η < 2/λ_max, with λ_max the largest eigenvalue of `curvature` = ∂²L/∂θ² [n, n].  F03.

    Along an eigenvector L = ½ λ a², so a step gives a ← (1 − ηλ) a. That shrinks while |1 − ηλ| < 1: above 2/λ each
    step leaps across the valley to a higher place on its other side. Raises InputError unless [n, n], with λ_max > 0.
    """
    check_shape("curvature", curvature, "n n")
    steepest = np.linalg.eigvalsh(curvature)[-1]
    if not steepest > 0:
        raise InputError(
            f"the largest curvature is {steepest:g}: the ground has no valley here, so no rate is the limit."
        )
    return float(2 / steepest)


def l2(theta: np.ndarray, decay: float) -> float:
    r"""λ/2 Σₖ θₖ²: what is added to L so that large parameters cost something.  F03 (L2正则, D0 §3.2).

    Raises InputError for λ = `decay` below 0.
    """
    _check_decay(decay)
    return float(decay / 2 * (theta**2).sum())


def l2_gradient(theta: np.ndarray, decay: float) -> np.ndarray:
    r"""∂/∂θ of λ/2 Σ θ² = λθ, in the shape of θ: the half is there to make it so.  F03. Raises as `l2`."""
    _check_decay(decay)
    return decay * theta


def early_stopping(losses: np.ndarray, patience: int) -> tuple[int, int]:
    r"""(best, last): which evaluation to keep, and which was the last that was made.  F03 (Early Stopping, D0 §3.2).

    `losses` [evaluations] are those on held-out examples, one after each epoch. best = argmin of those seen; the search
    ends at the first t with t − best = `patience`, that is, when so many in a row brought nothing strictly better.
    NaN is never better. Raises InputError for no losses, a patience below 1, or when every loss that was seen is NaN.
    """
    check_not_empty("losses", losses)
    if patience < 1:
        raise InputError(f"patience is {patience}, but at least one evaluation must be waited for: give 1 or more.")
    best, least, last = -1, np.inf, -1
    for last, loss in enumerate(losses):
        if loss < least:  # False for NaN
            best, least = last, loss
        elif last - best >= patience:
            break
    if best < 0:
        raise InputError("none of the losses that were seen is a finite number, so none of them is the best.")
    return best, last


def _losses(theta: np.ndarray, x: np.ndarray, y: np.ndarray, P: Callable, loss: Callable) -> np.ndarray:
    check_not_empty("y", y)
    check_shape("theta", theta, "n")
    losses = loss(y, P(x, theta))
    check_shape("loss(y, P(x, theta))", losses, "N", N=len(y))
    return losses


def _check_decay(decay: float) -> None:
    if not decay >= 0:
        raise InputError(f"decay is {decay}, but below 0 it would reward large parameters: give 0 or more.")
