r"""The linear-chain CRF: score of a path, log Z, loss, gradients by forward–backward, Viterbi.  F31.

The score of a path y₁ … y_T of tags is the sum of the scores of its tags and of its steps from tag to tag:

    s(x, y) = start(y₁) + Σₜ E[t, yₜ] + Σₜ A[yₜ, yₜ₊₁] + end(y_T)
    P(y ∣ x) = exp s(x, y) / Z,   Z = Σ over all Kᵀ paths of exp s      loss = −log P = log Z − s(x, y)

Letters:  B sentences · T words of the longest one · K tags · E emissions [B, T, K], the score of each tag at each word ·
          A transitions [K, K], A[i, j] from tag i to tag j · start, end [K] · y tags [B, T] · attention_mask [B, T], True
          for words, False for padding, which comes at the end of a row (None: every position is a word)
Source:   D4 §4.3.2 (named there, without formulas); Lafferty, McCallum and Pereira (2001); Rabiner (1989), §III.

`minilm/layers/crf.py` has the same in PyTorch, which `minilm finetune --crf` trains with.

A forbidden step (such as O to I-PER) may have the score −inf. Every function raises `InputError` for shapes that do not
fit, an empty batch, a tag outside 0 … K − 1, a sentence without words, or a word after padding.
"""

import numpy as np

from minilm.errors import InputError
from minilm.formulas.checks import check_classes, check_not_empty, check_shape
from minilm.formulas.metrics import averages, confusion, counts

IGNORED = -100


def log_sum_exp(scores: np.ndarray, axis: int) -> np.ndarray:
    """log Σ exp along one axis; `logaddexp` subtracts the larger exponent of each pair first, so nothing overflows."""
    return np.logaddexp.reduce(scores, axis=axis)


def checked(
    E: np.ndarray,
    A: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    attention_mask: np.ndarray | None = None,
    y: np.ndarray | None = None,
) -> np.ndarray:
    """Check all arguments as the module docstring says, and return `attention_mask` [B, T], all True if it was None."""
    check_shape("E", E, "B T K")
    check_not_empty("E", E)
    B, T, K = E.shape
    check_shape("A", A, "K K", K=K)
    check_shape("start", start, "K", K=K)
    check_shape("end", end, "K", K=K)
    attention_mask = np.ones((B, T), dtype=bool) if attention_mask is None else np.asarray(attention_mask, dtype=bool)
    check_shape("attention_mask", attention_mask, "B T", B=B, T=T)
    if not attention_mask[:, 0].all() or (attention_mask[:, 1:] & ~attention_mask[:, :-1]).any():
        raise InputError(
            "attention_mask has a row without words, or a word after padding: start each row with at least one word."
        )
    if y is not None:
        check_shape("y", y, "B T", B=B, T=T)
        check_classes("y", np.asarray(y)[attention_mask], K)
    return attention_mask


def path_score(
    E: np.ndarray,
    A: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    y: np.ndarray,
    attention_mask: np.ndarray | None = None,
) -> np.ndarray:
    r"""s(x, y) [B] = start(y₁) + Σₜ E[t, yₜ] + Σₜ A[yₜ, yₜ₊₁] + end(y_last).  F31."""
    attention_mask = checked(E, A, start, end, attention_mask, y)
    rows, y = np.arange(len(E)), np.where(attention_mask, y, 0)
    emissions = np.take_along_axis(E, y[..., None], axis=2)[..., 0]  # [B, T]
    steps = np.where(attention_mask[:, 1:], A[y[:, :-1], y[:, 1:]], 0)  # [B, T−1]
    return (
        start[y[:, 0]]
        + np.where(attention_mask, emissions, 0).sum(1)
        + steps.sum(1)
        + end[y[rows, attention_mask.sum(1) - 1]]
    )


def forward(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, attention_mask: np.ndarray | None = None
) -> np.ndarray:
    r"""α [B, T, K]: the log of the sum of exp(score) over all partial paths that end in tag j at word t.  F31.

    α₁(j) = start(j) + E[1, j],   αₜ(j) = E[t, j] + log Σᵢ exp(αₜ₋₁(i) + A[i, j]);   in padding α does not change.
    This takes T·K² sums instead of Kᵀ paths, because all paths that reach tag i share the number αₜ₋₁(i).
    """
    attention_mask = checked(E, A, start, end, attention_mask)
    alpha = np.zeros(E.shape)
    alpha[:, 0] = start + E[:, 0]
    for t in range(1, E.shape[1]):
        step = E[:, t] + log_sum_exp(alpha[:, t - 1, :, None] + A, axis=1)  # [B, i, j] → [B, j]
        alpha[:, t] = np.where(attention_mask[:, t, None], step, alpha[:, t - 1])
    return alpha


def backward(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, attention_mask: np.ndarray | None = None
) -> np.ndarray:
    r"""β [B, T, K]: the log of the sum of exp(score) over all ways to continue from tag i at word t to the end.  F31.

    β_last(i) = end(i),   βₜ(i) = log Σⱼ exp(A[i, j] + E[t+1, j] + βₜ₊₁(j)).
    """
    attention_mask = checked(E, A, start, end, attention_mask)
    beta = np.broadcast_to(np.asarray(end, dtype=float), E.shape).copy()
    for t in range(E.shape[1] - 2, -1, -1):
        step = log_sum_exp(A + (E[:, t + 1] + beta[:, t + 1])[:, None, :], axis=2)  # [B, i, j] → [B, i]
        beta[:, t] = np.where(attention_mask[:, t + 1, None], step, beta[:, t])
    return beta


def log_z(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, attention_mask: np.ndarray | None = None
) -> np.ndarray:
    r"""log Z [B] = log Σⱼ exp(α_last(j) + end(j)).  F31.  Also raises `InputError` if no path is allowed."""
    Z = log_sum_exp(forward(E, A, start, end, attention_mask)[:, -1] + end, axis=1)
    if np.isneginf(Z).any():
        raise InputError(f"sentence {int(np.argmin(Z))} has no allowed path: remove some −inf from the scores.")
    return Z


def marginals(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, attention_mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""p [B, T, K] and q [B, T−1, K, K]: the probability of each tag at a word, and of each step between two words.  F31.

    pₜ(j) = exp(αₜ(j) + βₜ(j) − log Z): the paths through j, divided by all paths. A step joins the part before it and
    the part after it: qₜ(i, j) = exp(αₜ(i) + A[i, j] + E[t+1, j] + βₜ₊₁(j) − log Z). Both are zero in padding.
    """
    attention_mask = checked(E, A, start, end, attention_mask)
    alpha, beta, Z = (
        forward(E, A, start, end, attention_mask),
        backward(E, A, start, end, attention_mask),
        log_z(E, A, start, end, attention_mask),
    )
    p = np.exp(alpha + beta - Z[:, None, None])
    ahead = np.where(attention_mask[..., None], E + beta, -np.inf)[
        :, 1:, None, :
    ]  # [B, T−1, 1, j]; no step into padding
    return p * attention_mask[..., None], np.exp(alpha[:, :-1, :, None] + A + ahead - Z[:, None, None, None])


def crf_loss(
    E: np.ndarray,
    A: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    y: np.ndarray,
    attention_mask: np.ndarray | None = None,
) -> float:
    r"""−1/B Σ log P(y ∣ x) = 1/B Σ (log Z − s(x, y)), in nats per sentence: the loss that a CRF minimises.  F31."""
    return float(np.mean(log_z(E, A, start, end, attention_mask) - path_score(E, A, start, end, y, attention_mask)))


def crf_loss_gradients(
    E: np.ndarray,
    A: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    y: np.ndarray,
    attention_mask: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    r"""∂loss/∂E [B, T, K], ∂A [K, K], ∂start [K], ∂end [K]: expected counts minus true counts.  F31.

    ∂s(x, y)/∂E[t, j] = 1[yₜ = j], which counts how often the path uses this score. For log Z,
        ∂ log Z/∂E[t, j] = Σ over paths of (exp s / Z)·1[path has j at t] = pₜ(j),
    which is the count that the model expects. Hence ∂loss/∂E = (p − onehot(y))/B, just like the ŷ − y of the softmax.
    Likewise ∂A = Σₜ (qₜ − steps taken)/B; start and end get the p − onehot of the first and of the last word.
    """
    attention_mask = checked(E, A, start, end, attention_mask, y)
    (p, q), (B, _, K), y = marginals(E, A, start, end, attention_mask), E.shape, np.where(attention_mask, y, 0)
    onehot = np.eye(K)[y] * attention_mask[..., None]  # [B, T, K]
    dE = (p - onehot) / B
    taken = np.einsum("bti,btj->ij", onehot[:, :-1], onehot[:, 1:])
    return dE, q.sum((0, 1)) / B - taken / B, dE[:, 0].sum(0), dE[np.arange(B), attention_mask.sum(1) - 1].sum(0)


def viterbi(
    E: np.ndarray, A: np.ndarray, start: np.ndarray, end: np.ndarray, attention_mask: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""The best path ŷ [B, T] (−100 in padding) and its score [B].  F31.

    This is `forward` with max instead of log Σ exp: δₜ(j) = E[t, j] + maxᵢ (δₜ₋₁(i) + A[i, j]). Each j remembers its best
    i, and the path is read backwards along these memories. If scores are equal, the lower tag wins.
    """
    attention_mask = checked(E, A, start, end, attention_mask)
    B, T, K = E.shape
    delta, came_from = start + E[:, 0], np.zeros((B, T, K), dtype=np.int64)
    for t in range(1, T):
        ways = delta[:, :, None] + A  # [B, i, j]
        came_from[:, t] = np.where(attention_mask[:, t, None], ways.argmax(1), np.arange(K))  # in padding, keep the tag
        delta = np.where(attention_mask[:, t, None], E[:, t] + ways.max(1), delta)
    y_hat, rows = np.zeros((B, T), dtype=np.int64), np.arange(B)
    y_hat[:, -1] = (delta + end).argmax(1)
    for t in range(T - 1, 0, -1):
        y_hat[:, t - 1] = came_from[rows, t, y_hat[:, t]]
    return np.where(attention_mask, y_hat, IGNORED), (delta + end).max(1)


def f1_objective_as_printed(
    E: np.ndarray,
    A: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    y: np.ndarray,
    attention_mask: np.ndarray | None = None,
) -> float:
    r"""The F1 of the best path, over all tags except 0 (O), which D4 §4.3.2 says training *minimises*.  F31.

    That is wrong for two reasons. First, F1 should be maximised: its smallest value, 0, belongs to a tagger that finds
    nothing. Second, the best path is an argmax, which does not change when the scores change a little, so the gradient
    is 0 almost everywhere and undefined at the jumps. Train with `crf_loss`, and use F1 to evaluate the result.
    """
    attention_mask = checked(E, A, start, end, attention_mask, y)
    y_hat, _ = viterbi(E, A, start, end, attention_mask)
    TP, FP, FN = counts(confusion(np.asarray(y)[attention_mask], y_hat[attention_mask], E.shape[2]))
    return np.asarray(averages(TP[1:], FP[1:], FN[1:])["micro"][2]).item()
