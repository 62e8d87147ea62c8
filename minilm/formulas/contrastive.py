r"""Pictures and texts in one space: the contrastive loss of CLIP, with gradients derived by hand.  F35.

Letters:  N pairs · D size of the vectors · u [N, D] pictures, v [N, D] their texts · s > 0 scale · S [N, N] similarities

    û = u/‖u‖,  v̂ = v/‖v‖        S = s · û v̂ᵀ        L = ½ (CE(S, i) + CE(Sᵀ, i))

Row i of S asks which of the N texts belongs to picture i, column i which of the N pictures belongs to text i; the right answer
is i both times. So the other pairs of the batch serve as wrong answers, and no class and no word has to be predicted.

D2 §4.3.2 says of CLIP that it is pretrained on data without labels by "minimising the likelihood of the language model", and
then fine-tuned. None of this is what CLIP does: its data are pairs, so that every picture has its text; its loss is the one above,
in which no language model occurs; and it is used without fine-tuning, by comparing a picture with sentences that name the
classes.

Sources:  Radford et al. (2021), Learning Transferable Visual Models From Natural Language Supervision, §2.3; van den Oord, Li
          and Vinyals (2018), Representation Learning with Contrastive Predictive Coding, §2.3 (InfoNCE).
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_not_empty, check_shape
from minilm.formulas.cross_entropy import cross_entropy, cross_entropy_gradient


def unit(u: np.ndarray) -> np.ndarray:
    r"""û = u/‖u‖ for every row of `u` [N, D].  F35.

    Raises InputError for no rows or a row of zeros, which has no direction.
    """
    check_shape("u", u, "N D")
    check_not_empty("u", u)
    length = np.linalg.norm(u, axis=1, keepdims=True)
    if not (length > 0).all():
        raise InputError(f"row {int(length.argmin())} is all zeros, so it has no direction: give other vectors.")
    return u / length


def unit_gradient(u: np.ndarray, dU: np.ndarray) -> np.ndarray:
    r"""∂L/∂u [N, D] from `dU` = ∂L/∂û [N, D]:  (dU − û (û · dU)) / ‖u‖.  F35.

    What points along û is taken away, since a longer u has the same direction. Raises InputError as `unit` does.
    """
    check_shape("dU", dU, "N D", N=len(u), D=u.shape[1])
    u_hat = unit(u)
    return (dU - u_hat * (u_hat * dU).sum(axis=1, keepdims=True)) / np.linalg.norm(u, axis=1, keepdims=True)


def similarities(u: np.ndarray, v: np.ndarray, s: float = 1.0) -> np.ndarray:
    r"""S [N, M] = s · û v̂ᵀ: the cosines of all pairs of rows of `u` [N, D] and `v` [M, D], times the scale.  F35.

    Cosines lie between −1 and 1, and a softmax over such numbers is nearly flat; s, which is learned, makes it sharper.
    Raises InputError as `unit` does, and for s ≤ 0.
    """
    check_shape("v", v, "M D", D=u.shape[1])
    if not s > 0:
        raise InputError(f"s is {s}, but it is to make differences larger: give a number above 0.")
    return s * unit(u) @ unit(v).T


def contrastive_loss(S: np.ndarray) -> float:
    r"""L = ½ (CE(S, i) + CE(Sᵀ, i)) for similarities `S` [N, N], in nats.  F35.

    log N if all are alike. Raises InputError for a matrix that is not square or empty.
    """
    check_shape("S", S, "N N")
    check_not_empty("S", S)
    i = np.arange(len(S))
    return (cross_entropy(S, i) + cross_entropy(S.T, i)) / 2


def contrastive_loss_gradient(S: np.ndarray) -> np.ndarray:
    r"""∂L/∂S [N, N] = (softmax over rows + softmax over columns − 2·1) / 2N.  F35.

    Every entry off the diagonal is pushed down twice, once by its row and once by its column. Raises InputError as
    `contrastive_loss` does.
    """
    check_shape("S", S, "N N")
    check_not_empty("S", S)
    i = np.arange(len(S))
    return (cross_entropy_gradient(S, i) + cross_entropy_gradient(S.T, i).T) / 2


def contrastive_gradients(u: np.ndarray, v: np.ndarray, s: float) -> tuple[np.ndarray, np.ndarray, float]:
    r"""∂L/∂u [N, D], ∂L/∂v [N, D] and ∂L/∂s of the whole chain  u, v, s → S → L.  F35.

    With G = ∂L/∂S:  ∂L/∂û = s G v̂,  ∂L/∂v̂ = s Gᵀ û,  ∂L/∂s = Σ G ⊙ û v̂ᵀ. Raises InputError as `similarities` does.
    """
    check_shape("v", v, "N D", N=len(u), D=u.shape[1])
    u_hat, v_hat = unit(u), unit(v)
    G = contrastive_loss_gradient(similarities(u, v, s))
    return unit_gradient(u, s * G @ v_hat), unit_gradient(v, s * G.T @ u_hat), float((G * (u_hat @ v_hat.T)).sum())
