"""A small world of conversations in which the answers depend on what was said before. Not a test file."""

from pathlib import Path

import numpy as np

NAMES = "anna ben carla david emma finn greta henry".split()
DRINKS = "tea coffee milk juice water cocoa".split()


def conversation(rng: np.random.Generator) -> list[str]:
    """Six turns. The last two answers repeat a name and a drink, which only a model that reads the history can know."""
    name, drink = rng.choice(NAMES), rng.choice(DRINKS)
    return [
        f"hello, i am {name}",
        "hi! what do you like?",
        f"i like {drink}",
        f"{drink} is fine",
        "who am i?",
        f"you are {name}",
        "what do i like?",
        f"you like {drink}",
    ]


def write(path: Path, conversations: int = 300, seed: int = 0) -> Path:
    """A text file of conversations: one turn per line, a blank line between two."""
    rng = np.random.default_rng(seed)
    path.write_text("\n\n".join("\n".join(conversation(rng)) for _ in range(conversations)) + "\n", encoding="utf-8")
    return path
