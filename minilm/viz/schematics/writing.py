r"""Schematics of writing with a language model: the key/value cache, and how the next token is chosen.  F18, F23.

In `kv_cache`, t is the number of tokens that were read before the new one.
"""

import numpy as np

from minilm.formulas.generation import beam_search
from minilm.viz.schematics.kit import BOLD_LINE, Schematic

BEFORE = 4  # tokens that were read before the new one
NEXT = ("good", "a", "very", "not", "so")  # what may follow "the film was"
P = np.array([0.40, 0.25, 0.16, 0.12, 0.07])  # [V]
RULES = (  # name, temperature, top-k, top-p
    ("as it is", 1.0, 5, 1.0),
    ("temperature 0.5", 0.5, 5, 1.0),
    ("top-k, k = 3", 1.0, 3, 1.0),
    ("top-p, p = 0.6", 1.0, 5, 0.6),
    ("greedy", 1.0, 1, 1.0),
)
TREE = {  # text so far → the probabilities of what may follow
    (): {"good": 0.40, "a": 0.35, "not": 0.25},
    ("good",): {"and": 0.45, "fun": 0.30, ".": 0.25},
    ("a",): {"joy": 0.80, "mess": 0.20},
    ("not",): {"bad": 0.70, "good": 0.30},
}
WORDS = tuple(dict.fromkeys(word for after in TREE.values() for word in after))


def kv_cache() -> Schematic:
    r"""Without a cache every step computes all scores again; with one, a single row: softmax(q K'ᵀ / √D) V'.  F18."""
    picture = Schematic(
        720, 356, "Attention for one new token: without a cache all rows are computed again, with one a single row."
    )
    T = BEFORE + 1
    picture.frame(12, 12, 250, 332, "without a cache")
    picture.remark(24, 48, "reads the whole text again", align="left")
    causal = np.tril(np.ones((T, T)))
    causal[:-1] *= 0.35
    grid = picture.cells(82, 96, causal, 32, colour="marked line")
    picture.write(grid.x, 82, "scores  [t+1, t+1]", 9)
    picture.write(24, grid.y, "queries", 9, align="left", colour="soft")
    picture.remark(
        24, 290, "Only the last row is new and needed:", "the rows above were computed before,", "and have not changed.",
        align="left",
    )  # fmt: skip
    picture.frame(274, 12, 434, 332, "with a cache")
    picture.remark(286, 48, "reads the new token alone", align="left")
    token = picture.box(330, 168, 84, 36, "new token", "[1, C]", kind="text")
    rows = {}
    for name, x, y in (("K", 478, 96), ("V", 478, 216)):
        rows[name] = picture.box(x, y, 110, 44, f"{name}, stored", "[t, D]")
    new = {}
    for name, x, y in (("k", 478, 136), ("v", 478, 256), ("q", 478, 176)):
        new[name] = picture.box(x, y, 110, 26, f"{name}  [1, D]", kind="marked", size=9)
    for name in ("k", "q", "v"):
        picture.arrow(token.right(), (400, token.y), (400, new[name].y), new[name].left())
    scores = picture.box(626, 136, 118, 42, "scores", "[1, t+1]")
    picture.arrow((533, 96), (552, 96), (552, 127), (567, 127))
    picture.arrow((533, 136), (567, 136), head=True)
    picture.arrow((533, 176), (552, 176), (552, 145), (567, 145))
    y_out = picture.box(626, 236, 118, 42, "y", "softmax(scores) V'", kind="operation")
    picture.arrow(scores.bottom(), y_out.top(), shape="softmax")
    picture.arrow((533, 216), (552, 216), (552, 230), (567, 230))
    picture.arrow((533, 256), (552, 256), (552, 242), (567, 242))
    picture.remark(
        286, 300, "k and v stay in the cache for the next step: K' is K with k below it, V' is V with v.",
        "A step costs t + 1 products of two vectors instead of (t + 1)².", align="left",
    )  # fmt: skip
    return picture


def decoding() -> Schematic:
    r"""How the next token is chosen: the same probabilities under five rules, and a search with two beams.  F23.

    The numbers are those of `models.sampling.sampling_probabilities` and of `formulas.generation.beam_search`.
    """
    picture = Schematic(720, 452, "Choosing the next token by temperature, top-k, top-p and greedily; and two beams.")
    picture.frame(12, 12, 696, 208, "draw one token at a time")
    picture.write(232, 29, "after: the film was …", 9, align="left", colour="soft")
    for j, word in enumerate(NEXT):
        picture.write(230 + 96 * j, 56, word, bold=True)
    for i, (name, temperature, top_k, top_p) in enumerate(RULES):
        p = kept_of(temperature, top_k, top_p)
        words = [f"{each:.2f}" if each else "–" for each in p]
        picture.write(24, 82 + 27 * i, name, align="left")
        picture.cells(182, 70 + 27 * i, p[None], (96, 24), [words], size=9.5, most=1.0)
    picture.frame(12, 232, 696, 208, "search for the most probable text")
    picture.write(290, 249, "two beams: the thick lines", 9, align="left", colour="soft")
    kept = [tuple(text) for n in (1, 2) for text in beams(2, n)]
    start = picture.box(76, 340, 96, 28, "the film was", kind="text", size=9)
    y = {"good": 284, "a": 346, "not": 402}
    first = {}
    for word, share in TREE[()].items():
        first[word] = picture.box(226, y[word], 84, 28, f"{word}  {share:.2f}", kind=kind((word,), kept), size=9)
        arrow(picture, start.right(), first[word].left(), (word,) in kept)
    leaves = [(a, b) for a in TREE[()] for b in list(TREE[(a,)])[:2]]
    for (a, b), height in zip(leaves, (270, 298, 332, 360, 390, 418), strict=True):
        share, total = TREE[(a,)][b], TREE[()][a] * TREE[(a,)][b]
        leaf = picture.box(392, height, 100, 24, f"{b}  {share:.2f}", kind=kind((a, b), kept), size=9)
        arrow(picture, first[a].right(), leaf.left(), (a, b) in kept)
        picture.write(452, height, f"{total:.2f}", 9, align="left")
    best, greedy = (beams(K, 2)[0] for K in (2, 1))
    picture.remark(
        506, 300, f"Greedy begins with “{greedy[0]}”,", "the most probable word,", f"and ends at {chance(greedy):.2f}.",
        f"Two beams keep “{best[0]}” as well,", f"and find “{' '.join(best)}” with {chance(best):.2f}.", align="left",
    )  # fmt: skip
    return picture


def kept_of(temperature: float, top_k: int, top_p: float) -> np.ndarray:
    """`P`, the largest first, after the temperature and the two cuts."""
    p = P ** (1 / temperature)
    p = np.where(np.arange(len(p)) < top_k, p, 0) / p[:top_k].sum()
    p = np.where(np.cumsum(p) - p < top_p, p, 0)
    return p / p.sum()


def log_p(text: tuple[int, ...]) -> np.ndarray:
    """log P(next word ∣ text) of the toy, for `beam_search`."""
    after = TREE[tuple(WORDS[i] for i in text)]
    with np.errstate(divide="ignore"):
        return np.log([after.get(word, 0.0) for word in WORDS])


def beams(K: int, N: int) -> list[tuple[str, ...]]:
    """The texts of N words that a search with K beams keeps, the best first."""
    return [tuple(WORDS[i] for i in text) for text, _ in beam_search(log_p, K, N, 0.0)]


def chance(text: tuple[str, ...]) -> float:
    """P of a text of the toy."""
    return float(np.prod([TREE[text[:i]][word] for i, word in enumerate(text)]))


def kind(text: tuple[str, ...], kept: list[tuple[str, ...]]) -> str:
    return "marked" if text in kept else "muted"


def arrow(picture: Schematic, start: tuple[float, float], end: tuple[float, float], thick: bool) -> None:
    picture.arrow(start, end, width=BOLD_LINE if thick else 0.9, kind="marked line" if thick else "soft")
