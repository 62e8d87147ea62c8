r"""The best answer that a prompt of examples allows, when the task is a linear map: least squares and ridge regression.  F36.

Letters:  k examples in the prompt · D size of x · λ penalty · σ² variance of the noise · τ² variance of the entries of w

    E(w) = ½ ‖Xw − y‖² + ½ λ ‖w‖²,     ∂E/∂w = Xᵀ(Xw − y) + λw = 0   ⟹   ŵ = (XᵀX + λI)⁻¹ Xᵀy

If w ~ N(0, τ²I) and y = Xw + ε with ε ~ N(0, σ²I), then −log P(w ∣ X, y) is E(w)/σ² with λ = σ²/τ², up to a constant. So ŵ is
the mean of the posterior, and no other function of the prompt has a smaller expected square of its error.

Source: Garg et al. (2022), What Can Transformers Learn In-Context?
"""

import numpy as np


def penalised_error(w: np.ndarray, X: np.ndarray, y: np.ndarray, penalty: float) -> float:
    r"""E(w) = ½ ‖Xw − y‖² + ½ λ ‖w‖² for `w` [D], `X` [k, D] and `y` [k].  F36."""
    return float(0.5 * ((X @ w - y) ** 2).sum() + 0.5 * penalty * (w**2).sum())


def penalised_error_gradient(w: np.ndarray, X: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    r"""∂E/∂w [D] = Xᵀ(Xw − y) + λw.  F36."""
    return X.T @ (X @ w - y) + penalty * w


def ridge(X: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    r"""ŵ [*, D] = (XᵀX + λI)⁻¹ Xᵀy for `X` [*, k, D], `y` [*, k] and λ > 0, where ∂E/∂w is zero.  F36."""
    Xt = X.swapaxes(-1, -2)
    return np.linalg.solve(Xt @ X + penalty * np.eye(X.shape[-1]), Xt @ y[..., None])[..., 0]


def least_squares(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    r"""ŵ [*, D], the limit of `ridge` for λ → 0: with fewer examples than D, the shortest of all w that fit.  F36."""
    return (np.linalg.pinv(X) @ y[..., None])[..., 0]
