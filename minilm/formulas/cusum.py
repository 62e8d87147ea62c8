r"""The alarm that adds up: CUSUM, the cumulative sum of what speaks for a change.

Letters:  xₜ an observation, 0 or 1 · p₀ its probability while all is calm · p₁ its probability after the change
          zₜ what xₜ says for the change · Sₜ the statistic · h the threshold

    zₜ = log (P₁(xₜ) / P₀(xₜ)) = xₜ log(p₁/p₀) + (1 − xₜ) log((1 − p₁)/(1 − p₀))
    S₀ = 0,  Sₜ = max(0, Sₜ₋₁ + zₜ),  alarm at the first t with Sₜ > h

Sₜ is the largest log likelihood ratio of a change that began at any time up to t, or 0 if none is more likely than no change:
Sₜ = max(0, max over s ≤ t of zₛ + … + zₜ). It takes one addition per observation instead of t.

Source:  Page (1954), Continuous Inspection Schemes; Moustakides (1986) proves that no alarm with as few false alarms is quicker in the
         worst case.
"""

import numpy as np
from jaxtyping import Bool, Float


def evidence(p0: float, p1: float) -> Float[np.ndarray, "2"]:
    """z of x = 0 and of x = 1. Raises ValueError if p₀ or p₁ is not between 0 and 1."""
    if not (0 < p0 < 1 and 0 < p1 < 1):
        raise ValueError(f"p0 and p1 must be above 0 and below 1, not {p0} and {p1}.")
    return np.log([(1 - p1) / (1 - p0), p1 / p0])


def cusum(z: Float[np.ndarray, "... T"], start: Float[np.ndarray, "..."] | float = 0.0) -> Float[np.ndarray, "... T"]:
    """S₁ … S_T along the last axis, from S₀ = `start`."""
    S = np.empty_like(z)
    before = np.broadcast_to(np.asarray(start, dtype=z.dtype), z.shape[:-1])
    for t in range(z.shape[-1]):
        before = S[..., t] = np.maximum(0, before + z[..., t])
    return S


def alarms(z: Float[np.ndarray, "... T"], h: float) -> Bool[np.ndarray, "... T"]:
    """Where S exceeds h, if it begins at 0 again after every alarm. (Without that, one alarm would ring until S has fallen.)"""
    out = np.zeros(z.shape, dtype=bool)
    S = np.zeros(z.shape[:-1], dtype=z.dtype)
    for t in range(z.shape[-1]):
        S = np.maximum(0, S + z[..., t])
        out[..., t] = S > h
        S = np.where(out[..., t], 0, S)
    return out
