r"""The model of document D1, Embedding → LSTM → LSTM → Dense with softmax, and its gradient by composition.  F17.

Letters:  T length · V vocabulary · E embedding size · H hidden size · wₜ token id, a number below V
Source:   D1 §5.2, with V = 1000, E = 64, H = 128; `minilm/models/lstm.py` is the same model in PyTorch.

Nothing new is derived here: the gradient of a layer's input is the upstream gradient of the layer below.
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_shape
from minilm.formulas.cross_entropy import cross_entropy, cross_entropy_gradient
from minilm.formulas.lstm import lstm, lstm_gradients

IGNORED = -100
Theta = dict[str, np.ndarray]


def lstm_model_shapes(V: int = 1000, E: int = 64, H: int = 128) -> dict[str, tuple[int, ...]]:
    r"""The name and shape of each of the model's nine arrays; the default sizes are those of D1 §5.2.  F17.

    The model has V·E + 4H(E + H + 1) + 4H(2H + 1) + V(H + 1) parameters. Raises `InputError` for sizes below 1.
    """
    if min(V, E, H) < 1:
        raise InputError(f"the sizes V = {V}, E = {E} and H = {H} must all be at least 1.")
    shapes: dict[str, tuple[int, ...]] = {"embedding": (V, E)}
    for layer, I in (1, E), (2, H):  # the second layer reads the states of the first
        shapes |= {f"W_x{layer}": (4 * H, I), f"W_h{layer}": (4 * H, H), f"b_{layer}": (4 * H,)}
    return shapes | {"W_y": (V, H), "b_y": (V,)}


def lstm_model(theta: Theta, w: np.ndarray) -> np.ndarray:
    r"""Logits z [T, V]: zₜ predicts the token after w₁ … wₜ, for token ids `w` [T]; softmax(z) is the output of F17.

    xₜ = embedding[wₜ];  h¹ = LSTM₁(x);  h² = LSTM₂(h¹);  zₜ = W_y h²ₜ + b_y.  Initial states and memories are zero.
    Raises `InputError` for arrays that are missing or do not fit, an empty text, or ids outside the vocabulary.
    """
    _, _, h2 = _states(theta, w)
    return h2 @ theta["W_y"].T + theta["b_y"]


def lstm_model_loss(theta: Theta, w: np.ndarray, y: np.ndarray) -> float:
    r"""−1/N Σₜ log softmax(zₜ)(yₜ) in nats, over the N steps whose label `yₜ` is not −100.  F17, F11.

    A language model learns at every step: y is w shifted one to the left. D1's program keeps only the last state (its
    second LSTM returns no sequence), which means that all labels but the last are −100.
    Raises `InputError` as `lstm_model` does, for labels outside the vocabulary, and if no label counts.
    """
    z = lstm_model(theta, w)
    mask = _counted(y, *z.shape)
    return cross_entropy(z[mask], y[mask])


def lstm_model_loss_gradients(theta: Theta, w: np.ndarray, y: np.ndarray) -> Theta:
    r"""∂L/∂θ as a dict with the names of θ.  F17.

    δz = (ŷ − onehot(y))/N where y counts, else 0;  δW_y = Σₜ δzₜ h²ₜᵀ;  δb_y = Σₜ δzₜ;  δh²ₜ = W_yᵀ δzₜ;  then F15 twice,
    where the second layer's δx is the first layer's δh. The embedding row of a token gets the sum of its δxₜ over all t.
    Raises `InputError` as `lstm_model_loss` does.
    """
    x, h1, h2 = _states(theta, w)
    z = h2 @ theta["W_y"].T + theta["b_y"]
    mask = _counted(y, *z.shape)
    dz, gradients = np.zeros(z.shape), {}
    dz[mask] = cross_entropy_gradient(z[mask], y[mask])
    gradients["W_y"], gradients["b_y"], dh = dz.T @ h2, dz.sum(axis=0), dz @ theta["W_y"]
    for layer, below in (2, h1), (1, x):
        dh, _, _, dW_x, dW_h, db = lstm_gradients(below, *_layer(theta, layer), dh)
        gradients |= {f"W_x{layer}": dW_x, f"W_h{layer}": dW_h, f"b_{layer}": db}
    gradients["embedding"] = np.zeros(theta["embedding"].shape)
    np.add.at(gradients["embedding"], w, dh)  # `[w] += dh` would count a repeated token only once
    return {name: gradients[name] for name in theta}


def _states(theta: Theta, w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    _check(theta, w)
    x = theta["embedding"][w]
    h1, _ = lstm(x, *_layer(theta, 1))
    h2, _ = lstm(h1, *_layer(theta, 2))
    return x, h1, h2


def _layer(theta: Theta, layer: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """h0, c0, W_x, W_h, b of a layer, in the order of `lstm`."""
    zeros = np.zeros(theta[f"W_h{layer}"].shape[1])
    return zeros, zeros, theta[f"W_x{layer}"], theta[f"W_h{layer}"], theta[f"b_{layer}"]


def _counted(y: np.ndarray, T: int, V: int) -> np.ndarray:
    """True where a label counts, [T]."""
    check_shape("y", y, "T", T=T)
    mask = y != IGNORED
    if not mask.any():
        raise InputError(f"y holds only {IGNORED}, and a mean over nothing has no value: give at least one label.")
    check_classes("y", y[mask], V)
    return mask


def _check(theta: Theta, w: np.ndarray) -> None:
    if different := sorted(lstm_model_shapes().keys() ^ theta.keys()):
        what = "does not know" if different[0] in theta else "lacks"
        raise InputError(f"theta {what} {different[0]!r}: its arrays are {', '.join(lstm_model_shapes())}.")
    check_shape("embedding", theta["embedding"], "V E")
    check_shape("W_h1", theta["W_h1"], "4H H")
    (V, E), H = theta["embedding"].shape, theta["W_h1"].shape[1]
    for name, shape in lstm_model_shapes(V, E, H).items():
        if theta[name].shape != shape:
            raise InputError(
                f"{name} has shape {list(theta[name].shape)}, but must be {list(shape)} with V = {V}, E = {E}, H = {H}."
            )
    check_shape("w", w, "T")
    check_not_empty("w", w)
    check_classes("w", w, V)
