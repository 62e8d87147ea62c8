r"""Pictures with captions: what the caption of a digit says is measured in its pixels.  F35.

Letters:  N pictures · m pixels · B batch

A caption names the digit and, if it stands out among those of its kind, how it is written: "a bold seven that leans to the
right". The ink is the sum of the pixels, and the lean the slope of its axis; the quarter with the least or the most of each is
called thin or bold, and leaning to the left or to the right. Each caption is worded at random. People wrote the digits, and
our program the captions: nobody has described these pictures.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from tokenizers import decoders, pre_tokenizers

from minilm.errors import InputError
from minilm.examples.batching import Batch, pad
from minilm.examples.pixels import Pictures
from minilm.text.tokenizer import Tokenizer, bert_normalizer, wordpiece
from minilm.text.vocabulary import SPECIAL_TOKENS

NUMBERS = "zero one two three four five six seven eight nine".split()
STROKES, LEANS = ("thin", "", "bold"), ("left", "", "right")
LEARNED = (
    "a {stroke} {number} {lean}",
    "the number {number} {rest}",
    "this is a {number} {rest}",
    "{number} {stroke} {lean}",
    "a handwritten {number} {rest}",
)
UNSEEN = ("this is the {stroke} number {number} {lean}", "the handwritten {stroke} {number} {lean}")


class Meaning(NamedTuple):
    """What a caption says: the digit, and the places in STROKES and LEANS."""

    digit: int
    stroke: int = 1
    lean: int = 1


def ink_and_lean(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sum of the pixels of each picture `x` [N, m], and how far its top lies to the right per row: −Σ w x y / Σ w y², x
    and y from the centre of the ink, y downwards."""
    side = round(x.shape[1] ** 0.5)
    w = x.reshape(len(x), side, side).astype(float)
    ink = w.sum(axis=(1, 2))
    total = np.maximum(ink, 1e-9)
    rows, columns = np.arange(side), np.arange(side)
    y = rows[None] - (w.sum(axis=2) @ rows / total)[:, None]  # [N, rows]
    c = columns[None] - (w.sum(axis=1) @ columns / total)[:, None]  # [N, columns]
    return ink, -np.einsum("nrc,nr,nc->n", w, y, c) / np.maximum(np.einsum("nrc,nr->n", w, y**2), 1e-9)


def borders(pictures: Pictures) -> np.ndarray:
    """[K, 2, 2]: for each class, where the lowest and the highest quarter of the ink and of the lean begin."""
    measures = np.stack(ink_and_lean(pictures.x))  # [2, N]
    each = [np.quantile(measures[:, pictures.y == k], [0.25, 0.75], axis=1).T for k in range(pictures.classes)]
    return np.stack(each)


def meanings(pictures: Pictures, border: np.ndarray) -> list[Meaning]:
    """What is to be said about each picture, with the `borders` of those to learn from."""
    measures = np.stack(ink_and_lean(pictures.x), axis=1)  # [N, 2]
    low, high = border[pictures.y, :, 0], border[pictures.y, :, 1]  # each [N, 2]
    place = 1 + (measures > high).astype(int) - (measures < low).astype(int)
    return [Meaning(int(k), int(a), int(b)) for k, (a, b) in zip(pictures.y, place, strict=True)]


def caption(meaning: Meaning, template: str) -> str:
    """The meaning in the words of a template; what is not said leaves no gap."""
    stroke, lean = STROKES[meaning.stroke], LEANS[meaning.lean]
    leans = f"leans to the {lean}" if lean else ""
    said = " and ".join(part for part in (f"is {stroke}" if stroke else "", leans) if part)
    words = {"number": NUMBERS[meaning.digit], "stroke": stroke, "lean": f"that {leans}" if leans else ""}
    text = " ".join(template.format(**words, rest=f", it {said}" if said else "").split())
    return text.replace(" ,", ",").replace("a eight", "an eight")


def caption_tokenizer() -> Tokenizer:
    """A tokenizer with the words of all captions."""
    said = [
        caption(Meaning(d, a, b), t) for d in range(10) for a in range(3) for b in range(3) for t in LEARNED + UNSEEN
    ]
    words = sorted({word for text in said for word in re.findall(r"\w+|,", text)})
    vocabulary = {token: number for number, token in enumerate([*SPECIAL_TOKENS, *words])}
    return wordpiece(vocabulary, bert_normalizer(True), pre_tokenizers.BertPreTokenizer(), decoders.WordPiece())


def as_batch(tokenizer: Tokenizer, texts: Sequence[str], x: np.ndarray | None = None) -> Batch:
    """Captions as `input_ids`, and the pixels of their pictures, if they are given, as `source_ids`."""
    rows = [tokenizer.pair(ids)[0] for ids in tokenizer.ids(list(texts))]
    mask = pad([[1] * len(row) for row in rows], 0).bool()
    return Batch(pad(rows, 0), attention_mask=mask, source_ids=None if x is None else torch.from_numpy(x))


class CaptionBatches:
    """Batches of pictures and captions in which no two captions mean the same: a wrong answer of the loss is then really wrong.

    Batch i depends on i and the seed alone. With `apart` False the pictures are drawn as they come, and a batch holds pictures
    with the same meaning, of which all but one count as wrong. With `shuffled`, every picture has the caption of another one.
    Raises InputError if there are fewer meanings than a batch needs.
    """

    def __init__(
        self,
        pictures: Pictures,
        said: Sequence[Meaning],
        tokenizer: Tokenizer,
        size: int,
        seed: int = 0,
        apart: bool = True,
        shuffled: bool = False,
    ):
        self.pictures, self.tokenizer, self.size, self.seed, self.apart = pictures, tokenizer, size, seed, apart
        order = np.random.default_rng([seed, 1]).permutation(len(said)) if shuffled else range(len(said))
        self.said = [said[i] for i in order]
        self.groups: dict[Meaning, list[int]] = {}
        for i, meaning in enumerate(self.said):
            self.groups.setdefault(meaning, []).append(i)
        if not 2 <= size <= len(self.groups):
            raise InputError(
                f"a batch of {size} needs as many captions that differ in meaning, and there are {len(self.groups)}: give 2 to "
                f"{len(self.groups)}."
            )

    def __getitem__(self, step: int) -> Batch:
        rng = np.random.default_rng([self.seed, 2, step])
        if self.apart:
            kinds = list(self.groups.values())
            chosen = [int(rng.choice(kinds[k])) for k in rng.permutation(len(kinds))[: self.size]]
        else:
            chosen = rng.permutation(len(self.said))[: self.size].tolist()
        texts = [caption(self.said[i], LEARNED[rng.integers(len(LEARNED))]) for i in chosen]
        return as_batch(self.tokenizer, texts, self.pictures.x[chosen])
