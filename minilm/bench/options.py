"""What can be asked of `minilm bench`, and at which size each measurement is taken if nothing else is asked for."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from minilm.errors import InputError


@dataclass(frozen=True)
class Size:
    """The shape of a model and of its batches; `steps` is how many of them make one run."""

    steps: int
    width: int
    layers: int
    heads: int
    batch: int
    length: int
    vocab_size: int = 8192


SIZES = {
    "speed": Size(steps=2, width=256, layers=4, heads=4, batch=32, length=128),
    "initialisation": Size(steps=1500, width=128, layers=2, heads=4, batch=16, length=128),
    "lstm": Size(steps=10, width=256, layers=1, heads=1, batch=32, length=64),
    "bridge": Size(steps=4, width=384, layers=6, heads=12, batch=16, length=512),
    "padding": Size(steps=32, width=128, layers=2, heads=4, batch=16, length=128),
}


@dataclass(frozen=True)
class BenchOptions:
    """Measure again what the README claims. The figures go to <out>/<what>.json, with the machine that gave them.

    speed: a pretraining step beside `transformers` and PyTorch's own encoder · initialisation: pretraining from the
    published start and from ours · lstm: the recurrence by hand beside nn.LSTM · padding: what padding costs · bridge: a
    published model here, in transformers and in sentence-transformers.
    """

    what: tyro.conf.Positional[Literal["speed", "initialisation", "lstm", "padding", "bridge"]]
    out: Path = Path("runs/bench")
    corpus: str = "imdb"
    """The text of speed and initialisation, and of the vocabulary of padding: a corpus by name (see `minilm data`), a text
    file or a folder."""
    texts: str = "rotten-tomatoes"
    """The labelled texts of padding and bridge: a corpus by name, or a CSV, TSV or JSON-lines file."""
    rounds: int = 7
    """How often every contender runs, in turn: A B C A B C … What counts is the median."""
    steps: int | None = None
    """Steps of one run: 2 (speed), 32 (padding), 10 (lstm), 4 (bridge); of the whole pretraining: 1500 (initialisation)."""
    all: bool = False
    """initialisation: also the step between, drawn by fan-in and with word vectors."""

    model: str = "all-minilm-l6-v2"
    """bridge: a published model by name, or the folder of a BERT."""
    sentences: int = 1000
    """bridge: how many are turned into vectors."""
    labels: int = 500
    """bridge: how many labelled texts are learnt from."""
    held_out: int = 2000
    """bridge: how many texts are measured on; 2000 are the ladder's test set."""
    seeds: int = 3
    """bridge: how many times, each time from other labelled texts."""
    epochs: int | None = None
    """bridge: how often each is gone through; as in the ladder if not given."""

    width: int | None = None
    layers: int | None = None
    heads: int | None = None
    batch: int | None = None
    length: int | None = None
    vocab_size: int | None = None
    threads: int | None = None
    """Threads of PyTorch; what it chooses itself if not given."""
    seed: int = 0
    cache: Path = Path("runs/cache")
    progress: bool = True

    def __post_init__(self):
        limits = {"rounds": 1000, "threads": 1024, "seeds": 100, "epochs": 1000}
        limits |= dict.fromkeys(["sentences", "labels", "held_out", *vars(self.size)], 10**9)
        for name, most in limits.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise InputError(f"{name} {value} is not in 1..{most}.")
        if self.size.width % self.size.heads:
            raise InputError(f"width {self.size.width} is not divisible by {self.size.heads} heads.")

    @property
    def size(self) -> Size:
        """What was asked for, and this measurement's own size for the rest."""
        own = SIZES[self.what]
        return replace(own, **{name: value for name in vars(own) if (value := getattr(self, name)) is not None})
