r"""Schematics of the whole pipeline, and of word vectors by counting.  F34."""

import numpy as np

from minilm.formulas.word_vectors import cooccurrences, ppmi, word_vectors as vectors_of
from minilm.viz.schematics.kit import BOLD_LINE, Schematic

RUNGS = ("pretrained, fine-tuned", "Transformer", "LSTM", "word counts", "majority")


def pipeline() -> Schematic:
    r"""From text to the ladder of models: tokenizer, store, pretraining, run folder, fine-tuning, table."""
    picture = Schematic(
        760, 376, "From text to results: tokenizer, store of ids, pretraining, run folder, fine-tuning, ladder."
    )
    top, low = 92, 262
    picture.write(14, 26, "once: plain text", 13, bold=True, align="left")
    picture.write(14, 196, "per task: few labels", 13, bold=True, align="left")
    text = picture.box(64, top, 100, 54, "text", "sentences", kind="text")
    tokens = picture.box(214, top, 100, 54, "tokenizer", "WordPiece", kind="operation")
    store = picture.box(364, top, 100, 54, "store", "ids on disk")
    train = picture.box(526, top, 112, 54, "pretraining", "hidden words,", "next sentence", kind="operation")
    folder = picture.box(690, top, 112, 54, "run folder", "weights, tokenizer,", "config", kind="learned")
    picture.arrow(text.right(), tokens.left(), shape="lines")
    picture.arrow(tokens.right(), store.left(), shape="ids")
    picture.arrow(store.right(), train.left(), shape="[B, T]")
    picture.arrow(train.right(), folder.left(), shape="weights")
    labelled = picture.box(64, low, 100, 54, "examples", "text, label", kind="text")
    again = picture.box(214, low, 100, 54, "tokenizer", "the same one", kind="operation")
    tune = picture.box(420, low, 124, 54, "fine-tuning", "all weights move,", "with a new head", kind="operation")
    picture.arrow(labelled.right(), again.left(), shape="lines")
    picture.arrow(again.right(), tune.left(), shape="[B, T]")
    picture.arrow(tokens.bottom(), again.top(), dashed=True)
    picture.arrow(
        folder.bottom(), (690, 160), (420, 160), tune.top(), shape="the weights to start from", on=1, width=BOLD_LINE
    )
    ladder(picture, 660, 262)
    picture.remark(660, 356, "the ladder: one score for each model")
    picture.arrow(tune.right(), (572, low), shape="score")
    return picture


def ladder(picture: Schematic, x: float, y: float) -> None:
    """The table of models as the rungs of a ladder, the simplest at the bottom."""
    for side in (x - 84, x + 84):
        picture.arrow((side, y - 78), (side, y + 78), width=BOLD_LINE, kind="tensor line", head=False)
    for i, name in enumerate(RUNGS):
        picture.box(x, y - 58 + 29 * i, 168, 20, name, kind="marked" if i == 0 else "tensor", size=9)


def word_vectors() -> Schematic:
    r"""Word vectors by counting: windows, co-occurrences n, PPMI, SVD, and one short vector per word.  F34.

    The numbers are computed by `minilm.formulas.word_vectors` from the sentence in the picture, with a window of 2.
    """
    sentence = "the cat sat the dog sat".split()
    names = list(dict.fromkeys(sentence))
    ids = np.array([names.index(word) for word in sentence])
    n = cooccurrences(ids, len(names), window=2)
    M = ppmi(n)
    E = vectors_of(M, 2)  # [V, C]
    E = E * np.sign(E[np.abs(E).argmax(axis=0), range(2)])  # the signs of the columns are arbitrary: fix them
    picture = Schematic(720, 400, "Word vectors by counting: windows over the text, counts, PPMI, SVD, vectors.")
    picture.write(14, 28, "1 · Windows", 13, bold=True, align="left")
    for t, word in enumerate(sentence):
        kind = "marked" if t == 2 else "tensor" if abs(t - 2) <= 2 else "text"
        picture.box(60 + 78 * t, 64, 66, 28, word, kind=kind)
    for d in (-2, -1, 1, 2):
        at = 60 + 78 * (2 + d)
        picture.write(at, 100, f"+1/{abs(d)}" if abs(d) > 1 else "+1", 9)
    picture.write(216, 100, "the word", 9, colour="soft")
    picture.remark(510, 60, "Two words at the distance d", "add 1/d to their count.", align="left")
    V, cell, top = len(names), 38, 196
    for left, heading, shape, values, most in (
        (52, "2 · Counts n", "[V, V]", n, None),
        (292, "3 · PPMI", "[V, V]", M, None),
    ):
        picture.write(left - 38, 148, heading, 13, bold=True, align="left")
        words = [[f"{value:.1f}" if value else "·" for value in row] for row in values]
        box = picture.cells(left, top, values, cell, words, most=most)
        for i, name in enumerate(names):
            picture.write(left + (i + 0.5) * cell, top - 11, name, 9)
            picture.write(left - 6, top + (i + 0.5) * cell, name, 9, align="right")
        picture.write(box.x, top + V * cell + 14, shape, 9)
        if left == 52:
            picture.arrow(box.right(), (box.right()[0] + 50, box.y), shape="[V, V]")
        else:
            svd = picture.box(518, box.y, 52, 34, "SVD", kind="operation")
            picture.arrow(box.right(), svd.left(), shape="[V, V]")
    picture.write(588, 148, "4 · Vectors", 13, bold=True, align="left")
    vectors = picture.cells(626, top, E, (40, cell), [[minus(f"{value:.1f}") for value in row] for row in E])
    for i, name in enumerate(names):
        picture.write(620, top + (i + 0.5) * cell, name, 9, align="right")
    picture.write(vectors.x, top + V * cell + 14, "[V, C]", 9)
    picture.arrow(svd.right(), vectors.left(), shape="[V, C]")
    return picture


def minus(number: str) -> str:
    """The number with the true minus sign, and without one in front of zero."""
    return "0.0" if number == "-0.0" else number.replace("-", "−")
