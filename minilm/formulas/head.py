r"""A classifier head on an encoder, with gradients; training the head alone against fine-tuning everything.  F07, F08, F28.

Letters:  N examples · F features of an input · H hidden units · C width of an encoded example · K classes
          θ the encoder's parameters W₁ [F, H], b₁ [H], W₂ [H, C], b₂ [C] · W⁰ [C, K], b⁰ [K] the head's parameters
Source:   Devlin et al. (2019), BERT, §3.2; Alain and Bengio (2017), Understanding Intermediate Layers Using Linear
          Classifier Probes (the head alone); Srivastava et al. (2014), Dropout.

Where D0 has BERT(x), this file uses a small encoder of two layers; nothing below depends on which encoder it is.
"""

from collections.abc import Callable, Sequence

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_shape
from minilm.formulas.cross_entropy import cross_entropy, cross_entropy_gradient

Parameters = list[np.ndarray]


def head(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    r"""logits [N, K] = x W⁰ + b⁰ for `x` = BERT(x) [N, C], `W` [C, K], `b` [K].  F07.

    Raises InputError if the shapes do not fit.
    """
    _check_head(x, W, b)
    return x @ W + b


def head_gradients(x: np.ndarray, W: np.ndarray, b: np.ndarray, dz: np.ndarray) -> tuple[np.ndarray, ...]:
    r"""∂L/∂x [N, C], ∂L/∂W⁰ [C, K], ∂L/∂b⁰ [K] from `dz` = ∂L/∂logits [N, K].  F07, F08.

    zᵢₖ = Σ_c xᵢ_c W_ck + bₖ, so ∂/∂W_ck = Σᵢ dzᵢₖ xᵢ_c, that is xᵀ dz; ∂/∂bₖ = Σᵢ dzᵢₖ; and ∂/∂xᵢ_c = Σₖ dzᵢₖ W_ck,
    that is dz Wᵀ. Fine-tuning passes this last gradient on to the encoder; F08 as printed throws it away.
    Raises as `head` does.
    """
    _check_head(x, W, b)
    check_shape("dz", dz, "N K", N=len(x), K=W.shape[1])
    return dz @ W.T, x.T @ dz, dz.sum(axis=0)


def dropout(x: np.ndarray, keep: np.ndarray, p: float) -> np.ndarray:
    r"""x ⊙ m/(1 − p); `keep` = m has the shape of x, each entry True with probability 1 − p.  F03 (Dropout, D0 §3.2).

    The entries that are kept grow by 1/(1 − p), so the expected value does not change, and the trained model can be used
    without any correction. Raises InputError unless 0 ≤ p < 1, or if the shapes differ.
    """
    if not 0 <= p < 1:
        raise InputError(f"p is {p}, but it is the share of entries to switch off: give a number from 0 to below 1.")
    if np.shape(keep) != np.shape(x):
        raise InputError(f"keep has shape {list(np.shape(keep))}, but must have the shape of x, {list(np.shape(x))}.")
    return x * keep / (1 - p)


def dropout_gradient(x: np.ndarray, keep: np.ndarray, p: float, dY: np.ndarray) -> np.ndarray:
    r"""∂L/∂x = dY ⊙ m/(1 − p): entries that were switched off get gradient 0.  F03. Raises as `dropout` does."""
    dropout(x, keep, p)
    return dropout(dY, keep, p)


def encoder(x: np.ndarray, W1: np.ndarray, b1: np.ndarray, W2: np.ndarray, b2: np.ndarray) -> np.ndarray:
    r"""tanh(h W₂ + b₂) [N, C] with h = tanh(x W₁ + b₁) [N, H], for `x` [N, F]: a stand-in for BERT.  F07, F28.

    Raises InputError if the shapes do not fit.
    """
    _check_encoder(x, W1, b1, W2, b2)
    return np.tanh(np.tanh(x @ W1 + b1) @ W2 + b2)


def encoder_gradients(
    x: np.ndarray, W1: np.ndarray, b1: np.ndarray, W2: np.ndarray, b2: np.ndarray, dY: np.ndarray
) -> tuple[np.ndarray, ...]:
    r"""∂L/∂x [N, F] and the gradients of W₁, b₁, W₂, b₂, from `dY` = ∂L/∂encoder(x) [N, C].  F28.

    tanh′(a) = 1 − tanh²(a). Inside each tanh is a linear map like the head, so `head_gradients` gives its gradients.
    Raises as `encoder` does.
    """
    _check_encoder(x, W1, b1, W2, b2)
    check_shape("dY", dY, "N C", N=len(x), C=len(b2))
    h = np.tanh(x @ W1 + b1)
    out = np.tanh(h @ W2 + b2)
    dh, dW2, db2 = head_gradients(h, W2, b2, dY * (1 - out**2))
    dx, dW1, db1 = head_gradients(x, W1, b1, dh * (1 - h**2))
    return dx, dW1, db1, dW2, db2


def fine_tuning_risk(theta: Sequence[np.ndarray], W: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    r"""L = 1/N Σᵢ ℓ(h_task(xᵢ), yᵢ), where ℓ is cross-entropy and h_task is encoder plus head.  F28.

    `theta` = [W₁, b₁, W₂, b₂]; `x` [N, F]; classes `y` [N]. Raises InputError for an empty batch, shapes that do not
    fit, or a class outside 0 … K − 1.
    """
    return cross_entropy(head(encoder(x, *theta), W, b), y)


def fine_tuning_gradients(
    theta: Sequence[np.ndarray], W: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray
) -> tuple[Parameters, np.ndarray, np.ndarray]:
    r"""∂L/∂θ (a list like θ), ∂L/∂W⁰, ∂L/∂b⁰: the whole chain, loss → head → encoder.  F28.

    `cross_entropy_gradient` gives (ŷ − y)/N, `head_gradients` takes it back through the head, and `encoder_gradients`
    through the encoder. Raises as `fine_tuning_risk` does.
    """
    encoded = encoder(x, *theta)
    dz = cross_entropy_gradient(head(encoded, W, b), y)
    d_encoded, dW, db = head_gradients(encoded, W, b, dz)
    W1, b1, W2, b2 = theta
    return list(encoder_gradients(x, W1, b1, W2, b2, d_encoded)[1:]), dW, db


def train_head_as_printed(
    theta: Sequence[np.ndarray],
    W: np.ndarray,
    b: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    learning_rate: float,
    steps: int,
) -> tuple[Parameters, np.ndarray, np.ndarray]:
    r"""min over W⁰, b⁰ of H(y, softmax(logits)), by gradient descent.  F08 as D0 §4.3 prints it, without θ under the min.

    This is a linear probe: it can only read what the encoder already represents. It is not the fine-tuning that D0 §3.2
    and D4 §2.1.3 describe; for that use `fine_tune`. Returns (θ, W⁰, b⁰) with θ unchanged. Raises as `fine_tuning_risk`
    does.
    """
    encoded = encoder(x, *theta)  # once is enough: it never changes
    for _ in range(steps):
        dz = cross_entropy_gradient(head(encoded, W, b), y)
        _, dW, db = head_gradients(encoded, W, b, dz)
        W, b = W - learning_rate * dW, b - learning_rate * db
    return list(theta), W, b


def fine_tune(
    theta: Sequence[np.ndarray],
    W: np.ndarray,
    b: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    learning_rate: float,
    steps: int,
    after: Callable | None = None,
) -> tuple[Parameters, np.ndarray, np.ndarray]:
    r"""min over θ, W⁰ and b⁰ of the same loss, starting from the pretrained θ.  F02, F08 corrected, F28.

    `after(theta, W, b)` is called after every step, so that you can watch. Returns (θ, W⁰, b⁰). Raises as
    `fine_tuning_risk` does.
    """
    for _ in range(steps):
        d_theta, dW, db = fine_tuning_gradients(theta, W, b, x, y)
        theta = [p - learning_rate * dp for p, dp in zip(theta, d_theta, strict=True)]
        W, b = W - learning_rate * dW, b - learning_rate * db
        if after:
            after(theta, W, b)
    return list(theta), W, b


def accuracy(theta: Sequence[np.ndarray], W: np.ndarray, b: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """The share of the examples `x` [N, F] whose largest logit belongs to their class `y` [N].  F08, F30."""
    return float((head(encoder(x, *theta), W, b).argmax(axis=1) == y).mean())


def _check_head(x: np.ndarray, W: np.ndarray, b: np.ndarray) -> None:
    check_shape("x", x, "N C")
    check_shape("W", W, "C K", C=x.shape[1])
    check_shape("b", b, "K", K=W.shape[1])


def _check_encoder(x: np.ndarray, W1: np.ndarray, b1: np.ndarray, W2: np.ndarray, b2: np.ndarray) -> None:
    check_shape("x", x, "N F")
    check_shape("W1", W1, "F H", F=x.shape[1])
    check_shape("b1", b1, "H", H=W1.shape[1])
    check_shape("W2", W2, "H C", H=W1.shape[1])
    check_shape("b2", b2, "C", C=W2.shape[1])
