r"""The gradient of attention, by hand.  F18.  45 minutes, hard."""

import numpy as np

from minilm.exercises.spec import Exercise, Gradient, Property, Wrong, listed
from minilm.formulas.attention import attention, attention_weights


def swapped(X):
    return np.swapaxes(X, -1, -2)


def flawed(Q, K, V, may_attend, dY, wrong=frozenset()):
    A, root = attention_weights(Q, K, may_attend), np.sqrt(Q.shape[-1])
    Z = Q @ swapped(K) / root
    used = Z if "scores" in wrong else A
    dV = swapped(used) @ dY
    dA = dY @ swapped(V)
    if "dv_scaled" in wrong:
        dV = dV / root
    if "mask_lost" in wrong:
        dV = swapped(attention_weights(Q, K)) @ dY
    if "dv_softmax" in wrong:
        dV = swapped(A * (1 - A)) @ dY
    for key, other in {
        "d_squared": Q.shape[-1],
        "d_values": np.sqrt(V.shape[-1]),
        "inverse": 1 / root,
        "keys": np.sqrt(K.shape[-2]),
    }.items():
        root = other if key in wrong else root
    through = attention_weights(Q, K) if "leak" in wrong else A
    if "no_row_sum" in wrong:
        dZ = through * dA
    elif "column_sum" in wrong:
        dZ = through * (dA - (dA * through).sum(-2, keepdims=True))
    else:
        dZ = through * (dA - (dA * through).sum(-1, keepdims=True))
    if "no_softmax" in wrong:
        dZ = dA
    if "sigmoid" in wrong:
        dZ = A * (1 - A) * dA
    if "no_weights" in wrong:
        dZ = dA - (dA * A).sum(-1, keepdims=True)
    if "plus_row_sum" in wrong:
        dZ = A * (dA + (dA * A).sum(-1, keepdims=True))
    if "plain_sum" in wrong:
        dZ = A * (dA - dA.sum(-1, keepdims=True))
    if "plain_mean" in wrong:
        dZ = A * (dA - dA.mean(-1, keepdims=True))
    if "squared" in wrong:
        dZ = A * A * (dA - (dA * A).sum(-1, keepdims=True))
    if "whole_sum" in wrong:
        dZ = A * (dA - (dA * A).sum((-1, -2), keepdims=True))
    if "sign" in wrong:
        dZ = -dZ
    if "averaged" in wrong and Q.ndim > 2:
        dZ, dV = dZ / len(Q), dV / len(Q)
    if "of_itself" in wrong:
        return dZ.sum(-1, keepdims=True) * Q / root, swapped(dZ).sum(-1, keepdims=True) * K / root, dV
    if "exchanged" in wrong:
        return swapped(dZ) @ Q / root, dZ @ K / root, dV
    root_q, root_k = (1.0 if wrong & {"no_scale", key} else root for key in ("no_scale_q", "no_scale_k"))
    return dZ @ K / root_q, (dZ if "not_transposed" in wrong else swapped(dZ)) @ Q / root_k, dV


MORE = """  key · what it looks like · a question
d_squared · the gradient is divided by D instead of √D ·
    the forward pass divided the scores by √D: how often does this factor occur on the way back?
d_values · it is divided by the root of the size of the values, √Dv ·
    by which number did the forward pass divide the scores?
keys · it is divided by the root of the number of keys ·
    by which number did the forward pass divide the scores?
inverse · dQ and dK are multiplied by √D instead of divided by it ·
    the forward pass divided the scores by √D: what happens to the gradient on the way back?
dv_scaled · dV is divided by √D as well ·
    Y = A V: on the way from V to Y, is there a division by √D?
mask_lost · dV is computed with weights that know nothing of the mask ·
    what was V multiplied by in the forward pass?
dv_softmax · dV goes through the derivative of the softmax ·
    Y = A V: does the softmax lie between V and Y?
sigmoid · the derivative of the sigmoid, a(1 − a), is used for the softmax ·
    when one score rises, what happens to the weights of the others in its row?
no_weights · the gradient of the scores lacks the factor A in front ·
    what is the gradient of a score whose weight is 0?
plus_row_sum · the row sum is added instead of subtracted ·
    if dA is the same for all keys of a row, what is the gradient of its scores?
plain_sum · the row sum is that of dA alone, without the weights ·
    if dA is the same for all keys of a row, what is the gradient of its scores?
plain_mean · the plain mean of dA is subtracted instead of its mean weighted by A ·
    which keys should count most in this mean?
squared · the weights stand in the gradient of the scores squared ·
    ∂aᵢ/∂zⱼ = aᵢ(1[i = j] − aⱼ): how many factors a stand in front?
whole_sum · one sum runs over all queries and keys ·
    which weights share one denominator?
averaged · the gradients are divided by the number of sentences ·
    is there a mean over the sentences in Y = A V?
sign · the sign of dQ and dK is reversed ·
    the diagonal of the softmax's Jacobian is a(1 − a): positive or negative?
of_itself · dQ is made from Q and dK from K ·
    z = q · k: what is the derivative with respect to q?
exchanged · dQ and dK are returned in the wrong order ·
    in which order does the task list the gradients?
"""


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
        "a mask for each head": batch(
            rng, 2, 3, T=3, S=4, D=2, Dv=3, mask=ragged(rng, 3, 4)[None, None] | (rng.random((2, 3, 3, 4)) < 0.3)
        ),
        "a single query": batch(rng, 2, T=1, S=4, D=3, Dv=2),
        "all sizes the same": batch(rng, 3, T=3, S=3, D=3, Dv=3),
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
        **listed(MORE),
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
