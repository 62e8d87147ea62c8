r"""Pictures as texts: the probability of the pixels of a picture, one after another, given its class.  F24.

Letters:  N pictures · m pixels · G grey levels · K classes · x [N, m] the pixels · y [N] the classes · z logits
Sources:  van den Oord, Kalchbrenner and Kavukcuoglu (2016), Pixel Recurrent Neural Networks, §2 (a picture is read row by
          row, and every pixel is a softmax over its values); Ng and Jordan (2001), On Discriminative vs. Generative
          Classifiers (p(x ∣ y) and Bayes' rule against logistic regression).
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_shape
from minilm.formulas.cross_entropy import log_softmax


def log_probability(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    r"""log P(x₁ … x_m ∣ y) [N] = Σᵢ log softmax(zᵢ)(xᵢ), in nats, for `z` [N, m, G] and `x` [N, m].  F24.

    zᵢ are the logits that a model gave to pixel i, after the class y and the pixels x₁ … xᵢ₋₁. The product of F24 is a sum
    of logarithms, because a product of 64 small numbers soon underflows. Raises InputError for shapes that do not fit or a
    pixel outside 0 … G − 1.
    """
    _check_pictures(z, x)
    return np.take_along_axis(log_softmax(z), x[..., None], axis=-1)[..., 0].sum(axis=1)


def log_probability_gradient(z: np.ndarray, x: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    r"""∂/∂z [N, m, G] of Σ_n u_n log P(xₙ ∣ yₙ): u_n (onehot(xᵢ) − softmax(zᵢ)), with `upstream` u [N].  F24.

    Raises InputError as `log_probability` does.
    """
    _check_pictures(z, x)
    check_shape("upstream", upstream, "N", N=len(x))
    return upstream[:, None, None] * (np.eye(z.shape[2])[x] - np.exp(log_softmax(z)))


def bits_per_pixel(log_p: np.ndarray, m: int) -> float:
    r"""−1/(N m) Σ log₂ P(x ∣ y) for `log_p` [N] in nats, and m pixels per picture.  F24.

    This is how many bits per pixel a file of the pictures would take if the model compressed it; log₂ G for a model that
    knows nothing. Raises InputError for no pictures or m below 1.
    """
    check_shape("log_p", log_p, "N")
    check_not_empty("log_p", log_p)
    if m < 1:
        raise InputError(f"m is {m}, but a picture has at least one pixel: give 1 or more.")
    return float(-np.mean(log_p) / m / np.log(2))


def class_probabilities(log_p: np.ndarray, prior: np.ndarray) -> np.ndarray:
    r"""P(y ∣ x) [N, K] = P(x ∣ y) P(y) / Σ_y' P(x ∣ y') P(y'), Bayes' rule.  F24.

    `log_p` [N, K] are log P(xₙ ∣ y) in nats, for every class y, and `prior` [K] is P(y). So a model of pictures given
    their class is a classifier, too. The logarithms are about −100, and exp(−100) is nearly 0: the largest one of each row
    is subtracted first. Raises InputError for shapes that do not fit or a prior that is not positive and does not sum to 1.
    """
    check_shape("log_p", log_p, "N K")
    check_shape("prior", prior, "K", K=log_p.shape[1])
    if not (np.all(np.asarray(prior) > 0) and np.isclose(np.sum(prior), 1)):
        raise InputError("prior must hold numbers above 0 that sum to 1: give the share of each class.")
    return np.exp(log_softmax(log_p + np.log(prior)))


def pixel_histograms(x: np.ndarray, y: np.ndarray, G: int, K: int, s: float = 1.0) -> np.ndarray:
    r"""P(xᵢ = v ∣ y) [K, m, G] = (n_yiv + s) / (Σ_v' n_yiv' + s G), by counting in `x` [N, m] and `y` [N].  F24.

    One histogram for every pixel of every class: the model that F24 becomes if the pixels before are forgotten. With K = 1
    and y = 0 it forgets the class, too. s > 0 leaves probability for the grey levels that a pixel never had. Raises
    InputError for shapes that do not fit, a pixel or a class out of range, or s ≤ 0.
    """
    check_shape("x", x, "N m")
    check_not_empty("x", x)
    check_shape("y", y, "N", N=len(x))
    check_classes("x", x, G)
    check_classes("y", y, K)
    if not s > 0:
        raise InputError(f"s is {s}, but grey levels that never occurred need some probability: give a number above 0.")
    m = x.shape[1]
    n = np.zeros((K, m, G))
    np.add.at(n, (y[:, None], np.arange(m), x), 1)
    return (n + s) / (n + s).sum(axis=-1, keepdims=True)


def histogram_log_probabilities(P: np.ndarray, x: np.ndarray) -> np.ndarray:
    r"""log P(x ∣ y) [N, K] = Σᵢ log P(xᵢ ∣ y) for every class, from `pixel_histograms` `P` [K, m, G] and `x` [N, m].  F24.

    The sum is that of naive Bayes: given the class, every pixel is taken to be independent of all others. Raises InputError
    for shapes that do not fit or a pixel outside 0 … G − 1.
    """
    check_shape("P", P, "K m G")
    check_shape("x", x, "N m", m=P.shape[1])
    check_classes("x", x, P.shape[2])
    return np.log(P)[:, np.arange(P.shape[1]), x].sum(axis=-1).T  # [K, N, m] → [N, K]


def _check_pictures(z: np.ndarray, x: np.ndarray) -> None:
    check_shape("z", z, "N m G")
    check_shape("x", x, "N m", N=z.shape[0], m=z.shape[1])
    check_not_empty("x", x)
    check_classes("x", x, z.shape[2])
