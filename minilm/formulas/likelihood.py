r"""The likelihood: the probability that a model gives to the examples, as a function of its parameters.  F37, F25, F26.

Letters:  N examples · K outcomes · n [K] how often each outcome occurred · θ [K] parameters · p = softmax(θ) · η learning rate
          z [N, K] logits of N examples
Source:   Fisher (1922), On the Mathematical Foundations of Theoretical Statistics, §6.

The model of this file is the smallest that has a softmax: one row of K logits, P(x; θ) = softmax(θ)(x). A language model has
such a row for every context, so what holds here holds in each of its rows. The likelihood of the examples is to be
*maximised*. That is the same as minimising −log L, the cross-entropy loss (F01, F08), of which people think when they say
"minimise".
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_shape
from minilm.formulas.cross_entropy import log_softmax


def likelihood(theta: np.ndarray, x: np.ndarray) -> float:
    r"""L(x; θ) = Πᵢ P(xᵢ; θ) for logits `theta` [K] and examples `x` [N] in 0 … K − 1.  F37.

    For many examples the product underflows to 0, which is why everyone computes its logarithm. Raises InputError as
    `log_likelihood` does.
    """
    return float(np.exp(log_likelihood(theta, x)))


def log_likelihood(theta: np.ndarray, x: np.ndarray) -> float:
    r"""log L(x; θ) = Σᵢ log softmax(θ)(xᵢ), in nats: at most 0.  F37.

    The loss of training is −1/N log L. Raises InputError for shapes that do not fit, no examples, or an example outside
    0 … K − 1.
    """
    _check(theta, x)
    return float(log_softmax(theta)[x].sum())


def log_likelihood_gradient(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    r"""∂ log L/∂θ [K] = n − N softmax(θ).  F37.

    Each example adds onehot(xᵢ) − p: it pulls its own logit up, and all logits down by the probabilities that they have
    already. The pulls cancel where p = n/N. Raises InputError as `log_likelihood` does.
    """
    _check(theta, x)
    n = np.bincount(x, minlength=len(theta))
    return n - len(x) * np.exp(log_softmax(theta))


def most_likely(x: np.ndarray, K: int) -> np.ndarray:
    r"""p̂ [K] = n / N, which has the largest likelihood of all p: counting is maximum likelihood.  F37.

    Where the gradient n − N p is 0, log L is largest, because it is concave in θ. An outcome that never occurred gets
    probability 0 (its logit would be −∞), which is why the models that count (F23, F24) add something to n.
    Raises InputError for no examples or an example outside 0 … K − 1.
    """
    check_shape("x", x, "N")
    check_not_empty("x", x)
    check_classes("x", x, K)
    return np.bincount(x, minlength=K) / len(x)


def maximise(theta: np.ndarray, x: np.ndarray, learning_rate: float, steps: int) -> np.ndarray:
    r"""θ ← θ + η/N ∂ log L/∂θ, `steps` times: the path [steps + 1, K], with the start.  F37, corrected.

    A step up the likelihood is a step down the loss −1/N log L: it is the training of F03. Raises InputError as
    `log_likelihood` does, and unless η is above 0.
    """
    _check_rate(learning_rate)
    _check(theta, x)
    path = [np.asarray(theta, dtype=float)]
    for _ in range(steps):
        path.append(path[-1] + learning_rate / len(x) * log_likelihood_gradient(path[-1], x))
    return np.array(path)


def minimise_as_printed(theta: np.ndarray, x: np.ndarray, learning_rate: float, steps: int) -> np.ndarray:
    r"""θ ← θ − η/N ∂ log L/∂θ, `steps` times: the path [steps + 1, K] of θ that D2 asks for.  F37 as printed.

    D2 §4.1, §4.3.1 and §4.3.2: “最小化语言模型的似然函数” (minimise the likelihood of the language model). There is no
    minimum. The most frequent outcome loses its probability first, then the likelihood goes to 0 and the loss to infinity:
    in the end, every step makes it larger by about the same amount. Raises InputError as `maximise` does.
    """
    _check_rate(learning_rate)
    _check(theta, x)
    path = [np.asarray(theta, dtype=float)]
    for _ in range(steps):
        path.append(path[-1] - learning_rate / len(x) * log_likelihood_gradient(path[-1], x))
    return np.array(path)


def _check_rate(learning_rate: float) -> None:
    if not learning_rate > 0:
        raise InputError(
            f"learning_rate is {learning_rate}, but the sign belongs to the formula: give a number above 0."
        )


def _check(theta: np.ndarray, x: np.ndarray) -> None:
    check_shape("theta", theta, "K")
    check_shape("x", x, "N")
    check_not_empty("x", x)
    check_classes("x", x, len(theta))


def largest_probability_as_printed(z: np.ndarray) -> float:
    r"""1/N Σₙ max_k softmax(zₙ)(k) for logits `z` [N, K]: what D3 §4.2.1 and §4.2.2 maximise.  F25 and F26 as printed.

    “max over wᵢ of P(wᵢ ∣ …)” and “max over y of P(y ∣ w_A, w_B)” take the most probable answer, whatever the true one is.
    That is *prediction*. As an aim of training it is reached by any model that is certain, right or wrong: the labels do not
    occur in it. Training maximises over θ the probability of the *true* answer, which is the likelihood. Raises InputError
    for a shape other than [N, K] or no rows.
    """
    check_shape("z", z, "N K")
    check_not_empty("z", z)
    return float(np.exp(log_softmax(z)).max(axis=1).mean())


def largest_probability_as_printed_gradient(z: np.ndarray) -> np.ndarray:
    r"""∂/∂z [N, K] of it: p_k* (onehot(k*) − p) / N in each row, k* the most probable answer.  F25 and F26 as printed.

    Every row pulls its own favourite up. Raises InputError as `largest_probability_as_printed` does.
    """
    check_shape("z", z, "N K")
    check_not_empty("z", z)
    p = np.exp(log_softmax(z))
    best = p.argmax(axis=1)
    return p.max(axis=1, keepdims=True) * (np.eye(z.shape[1])[best] - p) / len(z)
