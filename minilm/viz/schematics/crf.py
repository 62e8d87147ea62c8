r"""The schematic of the linear-chain CRF: all paths of tags through a sentence, the forward sums and the best path.  F31."""

import numpy as np

from minilm.formulas.crf import forward, log_z, viterbi
from minilm.viz.schematics.kit import BOLD_LINE, Schematic

WORDS, TAGS = ("Ada", "Lovelace", "wrote"), ("O", "B-PER", "I-PER")
E = np.array([[[0.2, 1.6, 0.4], [0.6, 0.9, 1.3], [1.8, 0.1, 0.2]]])  # emissions [B, T, K] of one sentence
A = np.array([[0.5, 0.2, -np.inf], [0.1, -0.5, 1.2], [0.4, -0.3, 0.6]])  # transitions [K, K]; no step from O to I-PER
START, END = np.array([0.3, 0.2, -np.inf]), np.array([0.2, 0.0, 0.0])  # [K]; a sentence cannot start with I-PER


def crf_lattice() -> Schematic:
    r"""The lattice of tags: αₜ(j) at each node, the Viterbi path thick, and the probability of that path.  F31.

    Each node shows its emission E and α, the log of the sum over all partial paths that end there; forbidden steps have the
    score −∞ and no line. All numbers are computed by `minilm.formulas.crf`.
    """
    alpha, Z = forward(E, A, START, END)[0], float(log_z(E, A, START, END)[0])
    (path,), (score,) = viterbi(E, A, START, END)
    T, K = alpha.shape
    picture = Schematic(720, 470, "A lattice of three tags and three words, with forward sums and the best path.")
    x, y = [196, 356, 516], [110, 214, 318]
    start = picture.box(48, y[1], 60, 34, "start", kind="operation")
    end = picture.box(660, y[1], 60, 34, "end", kind="operation")
    for t, word in enumerate(WORDS):
        picture.write(x[t], 36, word, 13, bold=True)
        picture.write(x[t], 54, f"word {t + 1}", 9, colour="soft")
    best = [int(tag) for tag in path]
    for j in range(K):
        if np.isfinite(START[j]):
            line(picture, start.right(), (x[0] - 46, y[j]), j == best[0])
        if np.isfinite(END[j]):
            line(picture, (x[-1] + 46, y[j]), end.left(), j == best[-1])
    for t in range(T - 1):
        for i in range(K):
            for j in range(K):
                if np.isfinite(A[i, j]) and np.isfinite(alpha[t, i]):
                    line(picture, (x[t] + 46, y[i]), (x[t + 1] - 46, y[j]), (i, j) == (best[t], best[t + 1]))
    for t in range(T):
        for j in range(K):
            sums = f"α = {alpha[t, j]:.2f}" if np.isfinite(alpha[t, j]) else "α = −∞"
            kind = "marked" if best[t] == j else "muted" if not np.isfinite(alpha[t, j]) else "tensor"
            picture.box(x[t], y[j], 92, 50, TAGS[j], f"E = {E[0, t, j]:.1f}", sums, kind=kind)
    picture.remark(
        356,
        362,
        "E: the score of the tag at this word · α: log of the sum over all partial paths that end here",
        "A line adds the score A of its step. A step without a line is forbidden: its score is −∞.",
    )
    picture.write(356, 402, f"log Z = log Σⱼ exp(α(j) + end(j)) = {Z:.2f}: all paths", 10.5)
    picture.write(356, 426, f"best path (Viterbi): {' → '.join(TAGS[j] for j in best)}, score {score:.2f}", 10.5)
    picture.write(356, 450, f"P(best path) = exp({score:.2f} − {Z:.2f}) = {np.exp(score - Z):.2f}", 10.5)
    return picture


def line(picture: Schematic, start: tuple[float, float], end: tuple[float, float], best: bool) -> None:
    """One step of a path."""
    if best:
        picture.arrow(start, end, width=BOLD_LINE + 0.6, kind="marked line")
    else:
        picture.arrow(start, end, width=0.9, kind="soft")
