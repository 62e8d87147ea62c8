"""Two ways to check a gradient that was derived by hand. They are independent of it and of each other.

`finite_differences` uses only the function's values; `autograd` differentiates a PyTorch version of the function.
"""

from collections.abc import Callable

import numpy as np
import torch


def finite_differences(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """(f(x + h·eᵢ) − f(x − h·eᵢ)) / 2h for each entry of `x`; `f` returns one number. The error is of order h²."""
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        up, down = x.astype(float).copy(), x.astype(float).copy()
        up[i] += h
        down[i] -= h
        gradient[i] = (f(up) - f(down)) / (2 * h)
    return gradient


def autograd(f: Callable[..., torch.Tensor], *arrays: np.ndarray, upstream: np.ndarray | None = None) -> tuple:
    """The value of `f` for float64 tensors and its gradients, as arrays; `upstream` weights the entries of the value."""
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in arrays]
    value = f(*tensors)
    weights = torch.ones_like(value) if upstream is None else torch.as_tensor(upstream, dtype=value.dtype)
    (value * weights).sum().backward()
    gradients = tuple(
        np.zeros(a.shape) if t.grad is None else t.grad.numpy() for a, t in zip(arrays, tensors, strict=True)
    )
    return value.detach().numpy(), *gradients
