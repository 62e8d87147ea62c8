"""How varied a model's answers are.  Generation.

Source:  Li, Galley, Brockett, Gao and Dolan (2016), A Diversity-Promoting Objective Function for Neural Conversation Models.
"""

from collections.abc import Sequence

import numpy as np

from minilm.errors import InputError


def distinct_n(texts: Sequence[Sequence[int]], n: int) -> float:
    r"""distinct-n = number of different n-grams / number of n-grams, over all texts together.

    An n-gram is a run of n tokens inside one text. A model that always says "i don't know" has a value near 0, whatever its
    perplexity. The value falls as there are more texts, so compare it only between equally many texts of similar lengths. NaN
    where no text has n tokens. Raises InputError for n below 1.
    """
    if n < 1:
        raise InputError(f"n is {n}, but a run of tokens has at least 1: give 1 for words, 2 for pairs.")
    runs = [tuple(int(i) for i in text[i : i + n]) for text in texts for i in range(len(text) - n + 1)]
    return len(set(runs)) / len(runs) if runs else float(np.nan)
