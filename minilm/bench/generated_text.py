"""Text of any size, so that the size of a corpus can be varied and nothing else."""

from pathlib import Path

import numpy as np

WORDS, SENTENCE = 30_000, 12  # different words of the text, and words of a sentence


def write_text_of_size(path: Path, megabytes: float, seed: int) -> None:
    """Documents of ten sentences whose words are drawn with the frequencies 1/r, so that a vocabulary can be learned."""
    rng = np.random.default_rng(seed)
    syllables = np.array([consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"])
    words = np.array(["".join(parts) for parts in rng.choice(syllables, size=(WORDS, 4))])
    chances = 1 / np.arange(1, WORDS + 1)
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        while file.tell() < megabytes * 1e6:
            drawn = words[rng.choice(WORDS, size=(1000, SENTENCE), p=chances / chances.sum())]
            lines = [" ".join(row) + "\n" + "\n" * (number % 10 == 9) for number, row in enumerate(drawn.tolist())]
            file.writelines(lines)
