r"""Labels for the pieces of words that the tokenizer has split.  F30, F31.

Letters:  B batch · T pieces of the longest sentence
Source:   Devlin et al. (2019), BERT, §5.3: the first piece of a word stands for the whole word.
"""

import numpy as np
from jaxtyping import Int

from minilm.errors import InputError


def subword_labels(tags: list[list[int]], words: list[list[int | None]]) -> Int[np.ndarray, "B T"]:
    r"""Labels [B, T] (int64) for the pieces of B sentences, where T is the length of the longest.  F30, F31.

    `tags[b]` has one tag for each *word* of sentence b; tag 0 is O. `words[b]` says for each *piece* which word it belongs
    to, counted from 0, or None for [CLS], [SEP] and padding. The first piece of a word gets the tag of its word. Every
    other position gets −100, so that it does not count: the further pieces of a word, pieces that belong to no word, and
    the filling behind short rows. Words that were cut off have no pieces.
    Raises InputError if `tags` and `words` do not match.
    """
    check_words(tags, words)
    y = np.full((len(words), max(len(row) for row in words)), -100)
    for b, row in enumerate(words):
        for t, word in enumerate(row):
            if word is not None and (t == 0 or word != row[t - 1]):  # the first piece of its word
                y[b, t] = tags[b][word]
    return y


def check_words(tags: list[list[int]], words: list[list[int | None]]) -> None:
    """Raises InputError if there are not as many sentences in both, or a piece belongs to a word that has no tag."""
    if not words or len(tags) != len(words):
        raise InputError(f"{len(tags)} sentences have tags and {len(words)} have pieces: give both for each sentence.")
    for b, row in enumerate(words):
        if wrong := [word for word in row if word is not None and not 0 <= word < len(tags[b])]:
            raise InputError(f"sentence {b} has {len(tags[b])} tags, but a piece of word {wrong[0]} (counted from 0).")
