r"""The gradient of attention, by hand.  F18."""

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong
from minilm.formulas.attention import attention, attention_weights


def swapped(X):
    return np.swapaxes(X, -1, -2)


def flawed(Q, K, V, may_attend, dY, wrong=frozenset()):
    A, root = attention_weights(Q, K, may_attend), np.sqrt(Q.shape[-1])
    Z = Q @ swapped(K) / root
    used = Z if "scores" in wrong else A
    dV = swapped(used) @ dY
    dA = dY @ swapped(V)
    through = attention_weights(Q, K) if "leak" in wrong else A
    if "no_row_sum" in wrong:
        dZ = through * dA
    elif "column_sum" in wrong:
        dZ = through * (dA - (dA * through).sum(-2, keepdims=True))
    else:
        dZ = through * (dA - (dA * through).sum(-1, keepdims=True))
    if "no_softmax" in wrong:
        dZ = dA
    root_q, root_k = (1.0 if wrong & {"no_scale", key} else root for key in ("no_scale_q", "no_scale_k"))
    return dZ @ K / root_q, (dZ if "not_transposed" in wrong else swapped(dZ)) @ Q / root_k, dV


def loops(Q, K, V, may_attend, dY):
    A, root = attention_weights(Q, K, may_attend), Q.shape[-1] ** 0.5
    dQ, dK, dV = np.zeros(Q.shape), np.zeros(K.shape), np.zeros(V.shape)
    for index in np.ndindex(A.shape[:-1]):
        *b, t = index
        b = tuple(b)
        a, up = A[index], dY[index]
        dA = [up @ V[(*b, s)] for s in range(len(a))]
        r = sum(x * y for x, y in zip(a, dA))
        for s in range(len(a)):
            dZ = a[s] * (dA[s] - r) / root
            dV[(*b, s)] += a[s] * up
            dQ[index] += dZ * K[(*b, s)]
            dK[(*b, s)] += dZ * Q[index]
    return dQ, dK, dV


def einsum(Q, K, V, may_attend, dY):
    A = attention_weights(Q, K, may_attend)
    dA = np.einsum("...td,...sd->...ts", dY, V)
    dZ = (A * dA - A * np.einsum("...ts,...ts->...t", A, dA)[..., None]) / Q.shape[-1] ** 0.5
    return (
        np.einsum("...ts,...sd->...td", dZ, K),
        np.einsum("...ts,...td->...sd", dZ, Q),
        np.einsum("...ts,...td->...sd", A, dY),
    )


def through_the_jacobian(Q, K, V, may_attend, dY):
    A = attention_weights(Q, K, may_attend)
    J = A[..., None] * np.eye(A.shape[-1]) - A[..., :, None] * A[..., None, :]  # [.., T, S, S]
    dZ = ((dY @ swapped(V))[..., None, :] @ J)[..., 0, :] * Q.shape[-1] ** -0.5
    return dZ @ K, swapped(dZ) @ Q, swapped(A) @ dY


def batch(rng, *before, T, S, D, Dv, mask=None):
    shapes = ((*before, T, D), (*before, S, D), (*before, S, Dv), (*before, T, Dv))
    Q, K, V, dY = (rng.normal(size=shape) for shape in shapes)
    return {"Q": Q, "K": K, "V": V, "may_attend": mask, "dY": dY}


def ragged(rng, T, S, hidden_query=None):
    mask = rng.random((T, S)) < 0.6
    mask[:, 0], mask[:, -1] = True, False
    if hidden_query is not None:
        mask[hidden_query] = False
    return mask


def probes(rng):
    return {
        "all sizes different": batch(rng, 2, T=4, S=6, D=3, Dv=5),
        "as many queries as keys": batch(rng, T=4, S=4, D=3, Dv=2),
        "a mask": batch(rng, 2, T=3, S=5, D=4, Dv=2, mask=ragged(rng, 3, 5)),
        "heads": batch(rng, 2, 3, T=4, S=2, D=5, Dv=3, mask=np.array([[[[True, True]]], [[[True, False]]]])),
    }


def edges(rng):
    large = batch(rng, T=3, S=4, D=2, Dv=5)
    large["Q"] = large["Q"] * 1e3
    return {
        "a query that may not attend to any key": batch(
            rng, T=4, S=5, D=3, Dv=2, mask=ragged(rng, 4, 5, hidden_query=1)
        ),
        "scores of several thousand": large,
        "a single key": batch(rng, T=3, S=1, D=2, Dv=4),
    }


def moved_values(rng):
    a = batch(rng, T=3, S=4, D=2, Dv=5)
    return {"V": a, "V with 10 added": {**a, "V": a["V"] + 10}}


EXERCISE = Exercise(
    target="minilm.formulas.attention.attention_gradient",
    section=("04", "The gradient by hand"),
    task="Go backward through three steps: Y = A V, A = softmax(Z), Z = Q Kᵀ / √D. You may call attention_weights to get the "
    "weights A of the forward pass. Return dQ, dK and dV.",
    docstring="""∂L/∂Q, ∂L/∂K and ∂L/∂V, given ∂L/∂Y = `dY` [.., T, Dv].  F18.

    `Q` [.., T, D], `K` [.., S, D], `V` [.., S, Dv]; `may_attend` is None or broadcasts to [.., T, S].""",
    returns={"dQ": "batch query feature", "dK": "batch key feature", "dV": "batch key feature"},
    tiny=lambda: {
        "Q": np.array([[1.0, 0.0, 2.0, 1.0]]),
        "K": np.array([[1.0, 1.0, 0.0, 1.0], [0.0, 0.0, 1.0, 0.0]]),
        "V": np.array([[1.0, 0.0], [0.0, 2.0]]),
        "may_attend": None,
        "dY": np.array([[1.0, -1.0]]),
    },
    probes=probes,
    edges=edges,
    properties=(
        Property(
            "adding 10 to all values does not change dQ and dK",
            moved_values,
            lambda a, b: abs(a[0] - b[0]).max() < 1e-9 and abs(a[1] - b[1]).max() < 1e-9,
        ),
    ),
    gradient=Gradient(
        inputs=lambda rng: {"a mask": batch(rng, T=3, S=4, D=2, Dv=3, mask=ragged(rng, 3, 4, hidden_query=2))},
        wrt=("Q", "K", "V"),
        forward=attention,
        upstream="dY",
    ),
    needs=("softmax", "attention"),
    given=("minilm.formulas.attention.attention_weights",),
    forbidden=("attention_gradient", "softmax_gradient", "backward", "grad"),
    steps=(
        "the weights A [.., T, S] of the forward pass",
        "through Y = A V: dV [.., S, Dv] and dA [.., T, S]",
        "through the softmax: every score is part of the denominator of its whole row [.., T, S]",
        "through Z = Q Kᵀ / √D: dQ [.., T, D] and dK [.., S, D]",
    ),
    right={"loops": loops, "einsum": einsum, "through the Jacobian": through_the_jacobian},
    wrong={
        "no_scale": Wrong(
            "the factor 1/√D is missing in dQ and dK",
            "the forward pass divided the scores by √D: what happens to the gradient on the way back?",
        ),
        "no_scale_q": Wrong(
            "the factor 1/√D is missing in dQ",
            "the forward pass divided the scores by √D: what happens to the gradient on the way back?",
        ),
        "no_scale_k": Wrong(
            "the factor 1/√D is missing in dK",
            "the forward pass divided the scores by √D: what happens to the gradient on the way back?",
        ),
        "no_row_sum": Wrong(
            "the row sum is missing in the gradient of the softmax",
            "when one score rises, what happens to the weights of the others in its row?",
        ),
        "column_sum": Wrong(
            "the sum in the gradient of the softmax runs over the queries instead of the keys",
            "which weights share one denominator?",
        ),
        "no_softmax": Wrong(
            "the gradient skips the softmax as if it were not there",
            "A = softmax(Z): if you know ∂L/∂A, what is ∂L/∂Z?",
        ),
        "not_transposed": Wrong(
            "dK is computed with dZ instead of dZ transposed", "which axis of dZ belongs to the keys?"
        ),
        "leak": Wrong(
            "masked positions get a gradient: the backward pass uses weights that were computed without the mask",
            "can a key that no query could see have influenced the loss?",
            section=("04", "Masks: padding and the future"),
        ),
        "scores": Wrong(
            "dV is computed with the scores instead of the weights", "what was V multiplied by in the forward pass?"
        ),
    },
    flawed=flawed,
    hints=(
        "The gradient of a product is the upstream gradient times the other factor, transposed so that the shapes fit. Only the "
        "softmax needs more than that.",
        "dV = Aᵀ dY; dA = dY Vᵀ; r = Σₛ dA · A in each row [.., T, 1]; dZ = A · (dA − r); dQ = dZ K / √D; dK = dZᵀ Q / √D.",
        "A = attention_weights(Q, K, may_attend);  dA = dY @ V with its last two axes swapped;  dZ = A times (dA minus its row "
        "sums weighted by A);  return dZ @ K / root, dZ swapped @ Q / root, A swapped @ dY",
    ),
)
