r"""The linear-chain CRF: score of a path, log Z, loss, gradients by forward–backward, Viterbi.  F31.

A path y₁ … y_T of tags scores what its tags score at their words, plus what its steps from tag to tag score:

    s(x, y) = start(y₁) + Σₜ E[t, yₜ] + Σₜ A[yₜ, yₜ₊₁] + end(y_T)
    P(y ∣ x) = exp s(x, y) / Z,   Z = Σ over all Kᵀ paths of exp s      loss = −log P = log Z − s(x, y)

Letters:  B sentences · T words of the longest · K tags · E emissions [B, T, K], the score of each tag at each word ·
          A transitions [K, K], A[i, j] from tag i to tag j · start, end [K] · y tags [B, T] · real [B, T], True for
          words, False for padding, which stands at the end of a row (left out: every position is a word)
Source:   D4 §4.3.2 (named there, without formulas); Lafferty, McCallum and Pereira (2001); Rabiner (1989), §III.

A step that must not be (from O to I-PER) may score −inf. Everything raises `InputError` for shapes that do not fit, an
empty batch, a tag outside 0 … K − 1, a sentence without words, or a word after padding.
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_shape
from minilm.formulas.metrics import averages, confusion, counts

IGNORED = -100


def log_sum_exp(scores: np.ndarray, axis: int) -> np.ndarray:
    """log Σ exp along one axis; the larger exponent is taken out first, pair by pair, so that nothing overflows."""
    return np.logaddexp.reduce(scores, axis=axis)


def checked(
    E: np.ndarray,
    A: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    real: np.ndarray | None = None,
    y: np.ndarray | None = None,
) -> np.ndarray:
    """`real` [B, T] as it was given, or all True. Raises `InputError` for all that the module's docstring names."""
    check_shape("E", E, "B T K")
    check_not_empty("E", E)
    B, T, K = E.shape
    check_shape("A", A, "K K", K=K)
    check_shape("start", start, "K", K=K)
    check_shape("end", end, "K", K=K)
    real = np.ones((B, T), dtype=bool) if real is None else np.asarray(real, dtype=bool)
    check_shape("real", real, "B T", B=B, T=T)
    if not real[:, 0].all() or (real[:, 1:] & ~real[:, :-1]).any():
        raise InputError("real has a row without words, or a word after padding: put the words first, at least one.")
    if y is not None:
        check_shape("y", y, "B T", B=B, T=T)
        check_classes("y", np.asarray(y)[real], K)
    return real


def path_score(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, y: np.ndarray, real: np.ndarray | None = None
) -> np.ndarray:
    r"""s(x, y) [B] = start(y₁) + Σₜ E[t, yₜ] + Σₜ A[yₜ, yₜ₊₁] + end(y_last).  F31."""
    real = checked(E, A, start, end, real, y)
    rows, y = np.arange(len(E)), np.where(real, y, 0)
    words = np.take_along_axis(E, y[..., None], axis=2)[..., 0]  # [B, T]
    steps = np.where(real[:, 1:], A[y[:, :-1], y[:, 1:]], 0)  # [B, T−1]
    return start[y[:, 0]] + np.where(real, words, 0).sum(1) + steps.sum(1) + end[y[rows, real.sum(1) - 1]]


def forward(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, real: np.ndarray | None = None
) -> np.ndarray:
    r"""α [B, T, K]: the log of the sum over all paths that stand on tag j at word t.  F31.

    α₁(j) = start(j) + E[1, j],   αₜ(j) = E[t, j] + log Σᵢ exp(αₜ₋₁(i) + A[i, j]);   in padding α stays as it is.
    T·K² sums in place of Kᵀ paths: all paths that reach i share the one number αₜ₋₁(i).
    """
    real = checked(E, A, start, end, real)
    alpha = np.zeros(E.shape)
    alpha[:, 0] = start + E[:, 0]
    for t in range(1, E.shape[1]):
        step = E[:, t] + log_sum_exp(alpha[:, t - 1, :, None] + A, axis=1)  # [B, i, j] → [B, j]
        alpha[:, t] = np.where(real[:, t, None], step, alpha[:, t - 1])
    return alpha


def backward(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, real: np.ndarray | None = None
) -> np.ndarray:
    r"""β [B, T, K]: the log of the sum over all ways to go on from tag i at word t to the end.  F31.

    β_last(i) = end(i),   βₜ(i) = log Σⱼ exp(A[i, j] + E[t+1, j] + βₜ₊₁(j)).
    """
    real = checked(E, A, start, end, real)
    beta = np.broadcast_to(np.asarray(end, dtype=float), E.shape).copy()
    for t in range(E.shape[1] - 2, -1, -1):
        step = log_sum_exp(A + (E[:, t + 1] + beta[:, t + 1])[:, None, :], axis=2)  # [B, i, j] → [B, i]
        beta[:, t] = np.where(real[:, t + 1, None], step, beta[:, t])
    return beta


def log_z(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, real: np.ndarray | None = None
) -> np.ndarray:
    r"""log Z [B] = log Σⱼ exp(α_last(j) + end(j)).  F31.  Raises `InputError` too if no path at all is allowed."""
    Z = log_sum_exp(forward(E, A, start, end, real)[:, -1] + end, axis=1)
    if np.isneginf(Z).any():
        raise InputError(f"sentence {int(np.argmin(Z))} has no path that is allowed: take some −inf out of the scores.")
    return Z


def marginals(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, real: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""p [B, T, K] and q [B, T−1, K, K]: how probable a tag is at a word, and a step at a pair of words.  F31.

    pₜ(j) = exp(αₜ(j) + βₜ(j) − log Z): all paths through j, over all paths. A step takes the two halves either side:
    qₜ(i, j) = exp(αₜ(i) + A[i, j] + E[t+1, j] + βₜ₊₁(j) − log Z). Zero in padding.
    """
    real = checked(E, A, start, end, real)
    alpha, beta, Z = forward(E, A, start, end, real), backward(E, A, start, end, real), log_z(E, A, start, end, real)
    p = np.exp(alpha + beta - Z[:, None, None])
    ahead = np.where(real[..., None], E + beta, -np.inf)[:, 1:, None, :]  # [B, T−1, 1, j]; no step into padding
    return p * real[..., None], np.exp(alpha[:, :-1, :, None] + A + ahead - Z[:, None, None, None])


def crf_loss(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, y: np.ndarray, real: np.ndarray | None = None
) -> float:
    r"""−1/B Σ log P(y ∣ x) = 1/B Σ (log Z − s(x, y)), in nats a sentence.  F31: what a CRF minimises."""
    return float(np.mean(log_z(E, A, start, end, real) - path_score(E, A, start, end, y, real)))


def crf_loss_gradients(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, y: np.ndarray, real: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""∂loss/∂E [B, T, K], ∂A [K, K], ∂start [K], ∂end [K]: expected counts minus counts.  F31.

    ∂s(x, y)/∂E[t, j] = 1[yₜ = j]: the path counts how often it uses a number. For log Z
        ∂ log Z/∂E[t, j] = Σ over paths of (exp s / Z)·1[path has j at t] = pₜ(j),
    the count that the model expects. Hence ∂loss/∂E = (p − onehot(y))/B, the softmax's ŷ − y over again; in the same way
    ∂A = Σₜ (qₜ − steps taken)/B, and start and end get the p − onehot of the first and of the last word.
    """
    real = checked(E, A, start, end, real, y)
    (p, q), (B, _, K), y = marginals(E, A, start, end, real), E.shape, np.where(real, y, 0)
    onehot = np.eye(K)[y] * real[..., None]  # [B, T, K]
    dE = (p - onehot) / B
    taken = np.einsum("bti,btj->ij", onehot[:, :-1], onehot[:, 1:])
    return dE, q.sum((0, 1)) / B - taken / B, dE[:, 0].sum(0), dE[np.arange(B), real.sum(1) - 1].sum(0)


def viterbi(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, real: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""The best path ŷ [B, T] (−100 in padding) and its score [B].  F31.

    `forward` with max in place of log Σ exp: δₜ(j) = E[t, j] + maxᵢ (δₜ₋₁(i) + A[i, j]). Each j remembers its best i, and
    the path is read backwards along these. Of equal scores the lower tag wins.
    """
    real = checked(E, A, start, end, real)
    B, T, K = E.shape
    delta, came_from = start + E[:, 0], np.zeros((B, T, K), dtype=np.int64)
    for t in range(1, T):
        ways = delta[:, :, None] + A  # [B, i, j]
        came_from[:, t] = np.where(real[:, t, None], ways.argmax(1), np.arange(K))  # in padding: from itself
        delta = np.where(real[:, t, None], E[:, t] + ways.max(1), delta)
    y_hat, rows = np.zeros((B, T), dtype=np.int64), np.arange(B)
    y_hat[:, -1] = (delta + end).argmax(1)
    for t in range(T - 1, 0, -1):
        y_hat[:, t - 1] = came_from[rows, t, y_hat[:, t]]
    return np.where(real, y_hat, IGNORED), (delta + end).max(1)


def f1_objective_as_printed(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, y: np.ndarray, real: np.ndarray | None = None
) -> float:
    r"""The F1 of the best path, over all tags but 0 (O): what D4 §4.3.2 says training *minimises*.  F31.

    Wrong twice. It is to be raised: its smallest value, 0, belongs to a tagger that finds nothing. And the best path is
    an argmax: it does not move while the scores move a little, so the gradient is 0 almost everywhere and undefined at
    the jumps between. The loss is `crf_loss`; F1 is what one looks at afterwards.
    """
    real = checked(E, A, start, end, real, y)
    y_hat, _ = viterbi(E, A, start, end, real)
    TP, FP, FN = counts(confusion(np.asarray(y)[real], y_hat[real], E.shape[2]))
    return float(averages(TP[1:], FP[1:], FN[1:])["micro"][2])
