r"""The contrastive loss: which picture and which caption belong together.  F35.  25 minutes, medium."""

from functools import partial

import numpy as np
from scipy.special import log_softmax as scipy_log_softmax, softmax as scipy_softmax

from minilm.exercises.spec import Exercise, Property, listed


def flawed_similarities(u, v, s=1.0, wrong=frozenset()):
    length_u, length_v = (np.linalg.norm(x, axis=1, keepdims=True) for x in (u, v))
    if "squared_length" in wrong:
        length_u, length_v = length_u**2, length_v**2
    if "columns" in wrong:
        length_u, length_v = np.linalg.norm(u, axis=0, keepdims=True), np.linalg.norm(v, axis=0, keepdims=True)
    if "one_length" in wrong:
        length_u, length_v = np.linalg.norm(u), np.linalg.norm(v)
    if "dot" in wrong:
        length_u, length_v = np.ones((len(u), 1)), np.ones((len(v), 1))
    if "pictures_only" in wrong:
        length_v = np.ones((len(v), 1))
    S = (u / length_u) @ (v / length_v).T
    if "captions_first" in wrong:
        S = S.T
    if "no_scale" in wrong:
        return S
    if "divided" in wrong:
        return S / s
    if "exponential" in wrong:
        return np.exp(s) * S
    return s * S


def flawed_loss(S, wrong=frozenset()):
    i, N = np.arange(len(S)), len(S)
    rows, columns = -scipy_log_softmax(S, axis=1)[i, i], -scipy_log_softmax(S, axis=0)[i, i]
    if "rows_only" in wrong:
        return rows.mean()
    if "columns_only" in wrong:
        return columns.mean()
    if "both_added" in wrong:
        return rows.mean() + columns.mean()
    if "summed" in wrong:
        return (rows + columns).sum() / 2
    if "not_negative" in wrong:
        return -(rows + columns).mean() / 2
    if "whole_matrix" in wrong:
        return -(S - np.log(np.exp(S - S.max()).sum()) - S.max())[i, i].mean()
    if "diagonal" in wrong:
        return -S[i, i].mean()
    if "others_only" in wrong:
        hidden = np.where(np.eye(N, dtype=bool), -np.inf, S)
        return -(2 * S[i, i] - np.logaddexp.reduce(hidden, axis=1) - np.logaddexp.reduce(hidden, axis=0)).mean() / 2
    if "unstable" in wrong:
        e = np.exp(S)
        return -(np.log(e[i, i] / e.sum(axis=1)) + np.log(e[i, i] / e.sum(axis=0))).mean() / 2
    if "all_entries" in wrong:
        return -(scipy_log_softmax(S, axis=1).mean() + scipy_log_softmax(S, axis=0).mean()) / 2
    return (rows + columns).mean() / 2


def flawed_gradient(S, wrong=frozenset()):
    N, one = len(S), np.eye(len(S))
    rows, columns = scipy_softmax(S, axis=1), scipy_softmax(S, axis=0)
    if "gradient_rows" in wrong:
        return (rows - one) / N
    if "gradient_sum" in wrong:
        return (rows + columns - 2 * one) / 2
    if "gradient_twice" in wrong:
        return (rows + columns - 2 * one) / N
    if "one_diagonal" in wrong:
        return (rows + columns - one) / (2 * N)
    if "gradient_turned" in wrong:
        return (2 * one - rows - columns) / (2 * N)
    if "no_diagonal" in wrong:
        return (rows + columns) / (2 * N)
    if "turned_columns" in wrong:
        return (rows + columns.T - 2 * one) / (2 * N)
    return (rows + columns - 2 * one) / (2 * N)


def having(*wrong):
    wrong = frozenset(wrong)
    return {
        "similarities": partial(flawed_similarities, wrong=wrong),
        "contrastive_loss": partial(flawed_loss, wrong=wrong),
        "contrastive_loss_gradient": partial(flawed_gradient, wrong=wrong),
    }


MISTAKES = """  key · what it looks like · a question
squared_length · the vectors are divided by the square of their length ·
    how long is your û?
columns · the columns are brought to length 1, not the rows ·
    which axis is one picture?
one_length · all vectors are divided by the same number ·
    are two vectors that point the same way, one of them longer, equally similar to a third in your code?
dot · the vectors keep their lengths ·
    if a picture's vector is made twice as long, should its similarities change?
pictures_only · only the pictures' vectors are brought to length 1 ·
    if a caption's vector is made twice as long, should its similarities change?
captions_first · the rows of S are the captions ·
    S is [pictures, captions]: which product has that shape?
no_scale · s is not used ·
    where does your code use s?
divided · the cosines are divided by s ·
    should a larger s make the differences larger or smaller?
exponential · the cosines are multiplied by exp(s) ·
    is s the scale, or its logarithm?
rows_only · only the captions of a picture compete, not the pictures of a caption ·
    if one caption fits all pictures best, which half of the loss notices?
columns_only · only the pictures of a caption compete, not the captions of a picture ·
    if one picture fits all captions best, which half of the loss notices?
both_added · the two halves are added, not averaged ·
    what is the loss of N equal similarities: log N, or twice that?
summed · the loss is a sum over the pairs, not a mean ·
    what is the loss of N equal similarities?
not_negative · the loss has the other sign ·
    should a probability near 1 give a loss near 0 from above or from below?
whole_matrix · one softmax runs over the whole matrix ·
    how many answers has the question about one picture?
diagonal · only the diagonal counts ·
    what does the loss do if all entries of S grow by 1?
others_only · the right answer is missing in the sum below the fraction ·
    can your loss become negative?
unstable · the exponentials overflow ·
    what is exp(1000) on a computer?
all_entries · every pair counts as a right answer ·
    which caption belongs to picture 3?
gradient_rows · the gradient is that of the rows alone ·
    by how many softmaxes is one entry of S pushed?
gradient_sum · the gradient is that of a sum, not of a mean over the pairs ·
    the loss is a mean over N pairs: how large is its gradient?
gradient_twice · the gradient is twice as large as it should be ·
    the loss is half of a sum: what is the derivative of that half?
one_diagonal · the ones on the diagonal are subtracted once, not twice ·
    each of the two cross-entropies has its own right answer: how many ones are there?
gradient_turned · the gradient has the other sign ·
    if S on the diagonal grows, does the loss fall?
no_diagonal · the right answers are not subtracted ·
    where is the gradient negative?
turned_columns · the gradient of the columns is transposed once too often ·
    entry (1, 2) of Sᵀ is which entry of S?
"""


def by_loops(u, v, s=1.0):
    out = np.zeros((len(u), len(v)))
    for i, a in enumerate(u):
        for j, b in enumerate(v):
            out[i, j] = s * sum(a * b) / (np.sqrt(sum(a * a)) * np.sqrt(sum(b * b)))
    return out


def by_outer_product(u, v, s=1.0):
    lengths = np.outer(np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1))
    return s * np.einsum("id,jd->ij", u, v) / lengths


def loss_by_loops(S):
    total = 0.0
    for i in range(len(S)):
        for scores in (S[i], S[:, i]):
            largest = max(scores)
            total += largest + np.log(sum(np.exp(scores - largest))) - S[i, i]
    return total / (2 * len(S))


def loss_by_logaddexp(S):
    both = np.logaddexp.reduce(S, axis=0) + np.logaddexp.reduce(S, axis=1)
    return float(both.mean() / 2 - np.trace(S) / len(S))


def gradient_by_loops(S):
    out = np.zeros(S.shape)
    for i in range(len(S)):
        for scores, place in ((S[i], np.s_[i]), (S[:, i], np.s_[:, i])):
            e = np.exp(scores - max(scores))
            out[place] += e / e.sum()
            out[i, i] -= 1
    return out / (2 * len(S))


def gradient_by_logsoftmax(S):
    p = np.exp(scipy_log_softmax(S, axis=0)) + np.exp(scipy_log_softmax(S, axis=1))
    p.flat[:: len(S) + 1] -= 2
    return p / len(S) / 2


def by_units(u, v, s=1.0):
    return s * (u / np.sqrt(np.einsum("nd,nd->n", u, u))[:, None]) @ (v.T / np.sqrt(np.einsum("md,md->m", v, v)))


def loss_by_trace(S):
    return -sum(np.trace(scipy_log_softmax(S, axis=axis)) for axis in (0, 1)) / (2 * len(S))


def gradient_by_transposes(S):
    both = [scipy_softmax(A, axis=1) / len(S) - np.eye(len(S)) / len(S) for A in (S, S.T)]
    return both[0] / 2 + both[1].T / 2


def run(made, u, v, s, S):
    return {
        "S": made.similarities(u, v, s),
        "loss": float(made.contrastive_loss(S)),
        "gradient": made.contrastive_loss_gradient(S),
    }


def made(rng, N, M, D, s=2.5, size=None, scale=1.0):
    size = N if size is None else size
    return {
        "u": 2 * rng.normal(size=(N, D)),
        "v": rng.normal(size=(M, D)),
        "s": s,
        "S": scale * rng.normal(size=(size, size)),
    }


def probes(rng):
    return {
        "five pictures and five captions": made(rng, 5, 5, 3),
        "more captions than pictures": made(rng, 3, 6, 4, s=0.5, size=4),
        "as many pairs as numbers in a vector": made(rng, 4, 4, 4, s=7.0),
        "sure answers": made(rng, 2, 3, 5, size=6, scale=4.0),
    }


def edges(rng):
    return {
        "similarities of a thousand": made(rng, 3, 3, 2, size=5, scale=1e3),
        "a single pair": made(rng, 1, 1, 3, size=1),
        "vectors of one number": made(rng, 3, 4, 1, size=3),
        "all alike": made(rng, 4, 4, 3, size=4, scale=0.0),
    }


EXERCISE = Exercise(
    target="minilm.formulas.contrastive.similarities",
    also=("minilm.formulas.contrastive.contrastive_loss", "minilm.formulas.contrastive.contrastive_loss_gradient"),
    section=("25", "Which belong together?"),
    task="Two models have turned pictures into vectors u and captions into vectors v. Write three functions: S, the cosines of all "
    "pairs times the scale s; the contrastive loss of a square S, whose diagonal belongs together; and its gradient.",
    docstring=r"""S [N, M] = s · û v̂ᵀ, the cosines of all pairs of rows of `u` [N, D] and `v` [M, D], times the scale.  F35.""",
    returns={"S": "picture caption", "loss": "", "gradient": "picture caption"},
    tiny=lambda: {
        "u": np.array([[3.0, 4.0], [0.0, 2.0]]),
        "v": np.array([[1.0, 0.0], [0.0, 5.0]]),
        "s": 10.0,
        "S": np.array([[2.0, 0.0], [1.0, 1.0]]),
    },
    probes=probes,
    edges=edges,
    run=run,
    properties=(
        Property(
            "the gradient of every row and column together is 0: what one answer gains, the others lose",
            lambda rng: {"six pairs": made(rng, 2, 2, 2, size=6)},
            lambda out: bool(abs(np.asarray(out[2]).sum()) < 1e-12),
        ),
    ),
    given=("minilm.formulas.cross_entropy.log_softmax", "minilm.formulas.cross_entropy.softmax"),
    needs=("log_softmax", "softmax"),
    forbidden=("contrastive_gradients",),
    steps=(
        "û [N, D] and v̂ [M, D]: every row divided by its own length; then all products, times s",
        "row i asks which caption belongs to picture i, column i which picture to caption i; the answer is i both times",
        "∂L/∂S: softmax minus one-hot, once for the rows and once for the columns; the loss is a mean over 2N questions",
    ),
    right={
        "traces": {
            "similarities": by_units,
            "contrastive_loss": loss_by_trace,
            "contrastive_loss_gradient": gradient_by_transposes,
        },
        "loops": {
            "similarities": by_loops,
            "contrastive_loss": loss_by_loops,
            "contrastive_loss_gradient": gradient_by_loops,
        },
        "logaddexp": {
            "similarities": by_outer_product,
            "contrastive_loss": loss_by_logaddexp,
            "contrastive_loss_gradient": gradient_by_logsoftmax,
        },
    },
    wrong=listed(MISTAKES, having),
    hints=(
        "A cosine does not depend on how long the vectors are: divide every row by its length first. The loss is a cross-entropy "
        "that you know, with N classes and the label i for row i; do the same with S transposed.",
        "u [N, D] → lengths [N, 1] → û [N, D]; the same for v; û v̂ᵀ → [N, M]. Loss: log_softmax over the rows [N, N], its "
        "diagonal [N], the mean; the same over the columns; half of both, with a minus sign.",
        "S = s times û times v̂ transposed;  L = minus half of (mean of the diagonal of log softmax by rows, plus that by columns); "
        " gradient = (softmax by rows + softmax by columns − 2 on the diagonal) / 2N",
    ),
)
