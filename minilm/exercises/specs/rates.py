"""What can be said of random draws without knowing their order: rates, rounded or bounded so that chance cannot change them."""

import numpy as np


def near(share, n):
    """The share, rounded to a grid so coarse that chance cannot change it (z > 5 for 0.01 with n of 150,000 and for 0.1 with
    4,000). So the order of draws does not matter."""
    return round(float(share) * 100) / 100 if n > 120_000 else round(float(share) * 10) / 10


def steady(chosen, share):
    """Whether the counts of the rows vary as independent draws do: neither all the same, nor too different."""
    expected = share * (1 - share) * chosen.shape[1]
    return expected < 20 or len(chosen) < 100 or 0.4 < float(chosen.sum(1).double().var()) / expected < 2.2


def apart(chosen, share):
    """Whether neighbours are chosen together as often as independent draws do (z ≤ 6)."""
    both = (chosen[:, ::2] & chosen[:, 1::2]).float()
    return abs(float(both.mean()) - share**2) <= 6 * (share**2 / both.numel()) ** 0.5 + 0.002


def even(counts, enough):
    """Whether all of these counts are about the same; True if they are too small for that to say anything."""
    return bool(counts.mean() < enough or ((counts > 0.2 * counts.mean()) & (counts < 2.2 * counts.mean())).all())


def share(found, p):
    """The measured share; p or 1 − p instead, if the difference can be chance (z ≤ 6)."""
    measured = found.mean()
    for meant in (p, 1 - p):
        if abs(measured - meant) <= 6 * np.sqrt(max(meant * (1 - meant), 1e-12) / found.size):
            return meant
    return round(float(measured), 1)


def spread(found, p):
    """How much the shares of the rows differ: 1 if each number is drawn independently, far from 1 if not."""
    if not 0 < p < 1 or not 0 < found.mean() < 1 or min(found.shape) < 100:
        return 1.0
    expected = found.mean() * (1 - found.mean())
    by_row = found.mean(axis=1).var() * found.shape[1] / expected
    return 1.0 if 0.5 < by_row < 2 else np.sign(by_row - 1) * 10.0


def smallest(factors):
    """The factor nearest to 0 among those that are not 0."""
    return largest(1 / factors[factors != 0]) ** -1 if factors.any() else 0.0


def largest(factors):
    """The factor that is farthest from 0, with its sign."""
    return factors.flat[np.abs(factors).argmax()]


def different(masks):
    """How many different rows there are, as a share of all rows."""
    return len({row.tobytes() for row in masks}) / len(masks)
