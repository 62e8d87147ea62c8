r"""One step of SGD, momentum, Adam, AdamW and Muon on one array; gradient clipping; learning rate schedules.  F03.

Letters:  θ parameters · g their gradient, of the same shape · η learning rate · λ decay · μ momentum · m, v running means
          of g and g² · β₁, β₂ the share of m, v that a step keeps · t the step, counted from 1 · p progress of the run
Source:   Sutskever et al. (2013), On the Importance of Initialization and Momentum; Kingma and Ba (2015), Adam;
          Loshchilov and Hutter (2019), Decoupled Weight Decay Regularization; Jordan et al. (2024), Muon: An optimizer for
          hidden layers in neural networks; Pascanu et al. (2013) for the clipping.

D0 §4.1 prints the formula of SGD and names SGD and Adam; §3.2 names AdamW. No function changes its arguments in place:
each step returns new arrays. L2 regularization is not an optimizer; to use it, add `risk.l2_gradient` to g.
"""

import math
from collections.abc import Sequence

import numpy as np

from minilm.errors import InputError


def sgd_step(theta: np.ndarray, g: np.ndarray, learning_rate: float) -> np.ndarray:
    r"""θ ← θ − η g.  F03 as printed, which is correct.

    The "stochastic" (随机) part is not the step but g: it is the gradient of a few randomly drawn examples.
    Raises InputError if the shapes differ or the learning rate is negative.
    """
    _check(learning_rate, theta=theta, g=g)
    return theta - learning_rate * g


def momentum_step(
    theta: np.ndarray, g: np.ndarray, m: np.ndarray, learning_rate: float, momentum: float = 0.9
) -> tuple[np.ndarray, np.ndarray]:
    r"""m ← μ m + g;  θ ← θ − η m. Returns (θ, m); m starts at 0.  F03.

    Gradients that agree add up to g/(1 − μ), and gradients that change their sign cancel. So the search moves faster along
    a valley and more calmly across it. Raises as `sgd_step` does, and also unless 0 ≤ μ < 1.
    """
    _check(learning_rate, theta=theta, g=g, m=m)
    _check_share("momentum", momentum)
    m = momentum * m + g
    return theta - learning_rate * m, m


def adam_step(
    theta: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    t: int,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""m ← β₁m + (1 − β₁)g;  v ← β₂v + (1 − β₂)g²;  m̂ = m/(1 − β₁ᵗ);  v̂ = v/(1 − β₂ᵗ);  θ ← θ − η m̂/(√v̂ + ε).  F03.

    Returns (θ, m, v). Each parameter's step is divided by the size of its own gradient, so it moves by about η whether the
    gradient is large or small. m and v start at 0 and are too small at first (with a constant g, m = (1 − β₁ᵗ) g); m̂ and
    v̂ correct that. Raises as `sgd_step` does, and also unless t ≥ 1 and 0 ≤ β < 1.
    """
    _check(learning_rate, theta=theta, g=g, m=m, v=v)
    b1, b2 = betas
    _check_share("beta 1", b1)
    _check_share("beta 2", b2)
    if t < 1:
        raise InputError(f"t is {t}, but steps are counted from 1: at t = 0 the correction 1 - beta**t divides by 0.")
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    return theta - learning_rate * m_hat / (np.sqrt(v_hat) + eps), m, v


def adamw_step(
    theta: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    v: np.ndarray,
    t: int,
    learning_rate: float,
    decay: float,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""θ ← θ − ηλθ, followed by the step of `adam_step`. Returns (θ, m, v).  F03.

    Adam with L2 adds λθ to g, so λθ is divided by √v̂ too: where gradients are large, hardly anything decays. AdamW keeps
    the decay out of m and v, so every parameter shrinks by the same share.
    Raises as `adam_step` does, and also for λ = `decay` below 0.
    """
    if not decay >= 0:
        raise InputError(f"decay is {decay}, but a negative decay would make parameters grow: give 0 or more.")
    _check(learning_rate, theta=theta)
    return adam_step(theta - learning_rate * decay * theta, g, m, v, t, learning_rate, betas, eps)


def orthogonalised(G: np.ndarray, steps: int = 5) -> np.ndarray:
    r"""X ← aX + b(XXᵀ)X + c(XXᵀ)²X from X = G/‖G‖: roughly U Vᵀ of G = U S Vᵀ, without computing U, S and V.  F03.

    Each step turns every singular value s into as + bs³ + cs⁵ and leaves U and V alone. After five steps, whatever was
    between 0.01 and 1 lies between 0.68 and 1.14. Raises InputError if G is not a matrix.
    """
    if np.ndim(G) != 2:
        raise InputError(f"G has shape {list(np.shape(G))}, but only a matrix has directions that can be made equal.")
    a, b, c = 3.4445, -4.7750, 2.0315
    X = G / (np.linalg.norm(G) + 1e-7)
    for _ in range(steps):
        A = X @ X.T
        X = a * X + (b * A + c * A @ A) @ X
    return X


def muon_step(
    theta: np.ndarray,
    g: np.ndarray,
    m: np.ndarray,
    learning_rate: float,
    decay: float = 0.0,
    momentum: float = 0.95,
) -> tuple[np.ndarray, np.ndarray]:
    r"""m ← μm + g;  θ ← θ − ηλθ − η √max(1, R/C) · orthogonalised(g + μm) for a matrix θ [R, C]. Returns (θ, m).  F03.

    A step along g moves far in its few strong directions and hardly at all in the weak ones. Here every direction moves
    equally far. g + μm is the momentum as it will be one step later (Nesterov's). Raises as `momentum_step` does, for
    λ = `decay` below 0, and unless θ is a matrix.
    """
    if not decay >= 0:
        raise InputError(f"decay is {decay}, but a negative decay would make parameters grow: give 0 or more.")
    _check(learning_rate, theta=theta, g=g, m=m)
    _check_share("momentum", momentum)
    m = momentum * m + g
    step = orthogonalised(g + momentum * m)
    R, C = theta.shape
    return theta - learning_rate * decay * theta - learning_rate * math.sqrt(max(1, R / C)) * step, m


def clip_by_global_norm(gradients: Sequence[np.ndarray], max_norm: float) -> tuple[list[np.ndarray], float]:
    r"""g ← g · min(1, c/(‖g‖ + 10⁻⁶)) with ‖g‖ = √Σ g² over all arrays together. Returns (gradients, ‖g‖ before).  F03.

    One common factor makes the step shorter but keeps its direction; clipping each number separately would change the
    direction. The 10⁻⁶ prevents c/0. Raises InputError for no gradients, or unless c = `max_norm` is above 0.
    """
    if not max_norm > 0:
        raise InputError(f"max_norm is {max_norm}, which would leave nothing of the gradient: give a number above 0.")
    if not len(gradients):
        raise InputError("there are no gradients to clip: give at least one array.")
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    factor = min(1.0, max_norm / (norm + 1e-6))
    return [factor * g for g in gradients], norm


def warmup_linear(p: float, w: float = 0.05) -> float:
    r"""p/w up to p = w, then (1 − p)/(1 − w): the share of the peak learning rate at progress p.  F03.

    At the first step Adam's m̂/√v̂ is ±1 for any g: a full step in the direction of a single batch. The warm-up keeps the
    steps short until the running means are reliable. Progress p goes from 0 to 1; step n of N has p = (n − ½)/N, its
    middle. Raises InputError unless 0 ≤ p ≤ 1 and 0 ≤ w < 1.
    """
    _check_progress(p, w)
    return p / w if p < w else (1 - p) / (1 - w)


def warmup_cosine(p: float, w: float = 0.05, floor: float = 0.0) -> float:
    r"""p/w up to p = w, then f + (1 − f)·½(1 + cos πu) with u = (p − w)/(1 − w): a cosine down to the floor f.  F03.

    Raises as `warmup_linear` does, and also unless 0 ≤ f ≤ 1.
    """
    _check_progress(p, w)
    if not 0 <= floor <= 1:
        raise InputError(f"floor is {floor}, but it is a share of the peak: give a number from 0 to 1.")
    if p < w:
        return p / w
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (p - w) / (1 - w)))


def _check(learning_rate: float, theta: np.ndarray, **arrays: np.ndarray) -> None:
    if not learning_rate >= 0:
        raise InputError(f"learning_rate is {learning_rate}, but a negative one steps uphill: give 0 or more.")
    for name, array in arrays.items():
        if np.shape(array) != np.shape(theta):
            raise InputError(
                f"{name} has shape {list(np.shape(array))}, but must have the shape of theta, {list(np.shape(theta))}."
            )


def _check_share(name: str, share: float) -> None:
    if not 0 <= share < 1:
        raise InputError(
            f"{name} is {share}, but it is the share of a running mean that a step keeps: give a number from 0 to below 1."
        )


def _check_progress(p: float, w: float) -> None:
    if not 0 <= p <= 1:
        raise InputError(f"p is {p}, but it is the progress of the run: give a number from 0 to 1.")
    if not 0 <= w < 1:
        raise InputError(f"w is {w}, but it is the share of the run used for warm-up: give a number from 0 to below 1.")
