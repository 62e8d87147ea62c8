"""The options of `minilm bench`, and the size of each measurement if no other is given."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from minilm.errors import InputError
from minilm.files.packages import sha256


@dataclass(frozen=True)
class Size:
    """The shape of a model and of its batches; `steps` is the number of batches in one run."""

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
    "crf": Size(steps=10, width=1, layers=1, heads=1, batch=16, length=64),
    "bridge": Size(steps=4, width=384, layers=6, heads=12, batch=16, length=512),
    "generate": Size(steps=1, width=128, layers=2, heads=4, batch=1, length=256),
    "padding": Size(steps=32, width=128, layers=2, heads=4, batch=16, length=128),
    "lighter": Size(steps=1, width=128, layers=3, heads=4, batch=1, length=128),
    "serve": Size(steps=200, width=128, layers=3, heads=4, batch=1, length=128),
    "language-models": Size(steps=1, width=128, layers=2, heads=4, batch=16, length=128),
}  # recipe, race and epochs have the size of the quickstart


def size_of(language: str) -> Size:
    """The size of the quickstart's model."""
    from minilm.experiments import tracks

    track = tracks.track_for(language)
    o = track.pretraining
    return Size(track.steps, o.width, o.depth, o.heads, o.batch, o.length, o.vocab_size)


def mark_of(pretrained: Path) -> str:
    """Eight digits that stand for the weights in a folder, so that figures of other weights are not taken for theirs."""
    weights = pretrained / "model.safetensors"
    if not weights.exists():
        raise InputError(f"--pretrained {pretrained} holds no pretrained model: there is no {weights.name}.")
    return sha256(weights)[:8]


@dataclass(frozen=True)
class BenchOptions:
    """Measure the figures of the README again. They are written to <out>/<what>.json, together with facts about the machine.

    speed: a pretraining step here, in transformers and with PyTorch's own encoder, and eight more rows with their goals ·
    initialisation: pretraining from the published initialisation and from ours · lstm: our recurrence and nn.LSTM · crf: our
    CRF and pytorch-crf · padding: what padding costs · bridge: a published model here, in transformers and in
    sentence-transformers · recipe: a grid of pretraining variants on equal budgets · race: minutes from nothing to a held-out loss,
    here and with the Trainer of transformers · epochs: how often each row of a ladder should see its labels, on a development part ·
    curves: rows of a ladder from a hundred labels to all · generate: tokens per second of a GPT that writes, with and without
    its cache and in transformers · language-models: models that count, LSTMs and a GPT on equal minutes, by their bits per
    character · tuning: the frugal ways of fine-tuning, on our own and on published weights · prompts: a verbaliser on the head
    for masked words, with 0 and 16 labels, against fine-tuned heads · lighter: a fine-tuned model in 8 bits, and without some
    of its weights or heads · little-data: the recipe with one switch changed, from early stopping to a second task ·
    self-training: taggers of names that also learn from lines without tags, where several models agree · faults: runs that are
    killed, damaged, and started ten at a time · scale: what grows with the length of a text, with a corpus, and with the number
    of processes · serve: how soon the server answers each question · fuzz: damaged and hostile
    files for every reader.
    """

    what: tyro.conf.Positional[
        Literal[
            "speed",
            "initialisation",
            "lstm",
            "crf",
            "padding",
            "bridge",
            "recipe",
            "race",
            "epochs",
            "curves",
            "generate",
            "language-models",
            "tuning",
            "prompts",
            "lighter",
            "little-data",
            "self-training",
            "faults",
            "scale",
            "serve",
            "fuzz",
        ]
    ]
    out: Path = Path("runs/bench")
    corpus: str = "imdb"
    """The text of speed, initialisation and race, and of the vocabulary of padding and serve: a corpus by name (see `minilm data`),
    a text file or a folder."""
    texts: str = "rotten-tomatoes"
    """The labelled texts of padding, bridge and serve: a corpus by name, or a CSV, TSV or JSON-lines file."""
    rounds: int = 7
    """How many times every contender runs, in turn: A B C A B C … The result is the median."""
    steps: int | None = None
    """Steps of one run: 2 (speed), 32 (padding), 10 (lstm, crf), 4 (bridge), 200 requests (serve); or of the whole pretraining: 1500
    (initialisation), the quickstart's (recipe, race)."""
    all: bool = False
    """initialisation: also what lies between the two, fan-in with word vectors."""

    model: str = "all-minilm-l6-v2"
    """bridge and lighter: a published model by name, or the folder of a BERT."""
    weights: tuple[Literal["own", "published"], ...] = ()
    """lighter: which weights are fine-tuned and made lighter; both if not given."""
    pretrained: Path | None = None
    """lighter, epochs, curves and self-training: our own pretrained weights; those of the quickstart if not given.
    The models of the table then have their width, and the Transformers their layers and heads."""
    models: Path = Path("runs/trust/models")
    """lighter: where the fine-tuned models are kept, which `minilm trust` uses, too."""
    sentences: int = 1000
    """bridge: how many sentences are turned into vectors."""
    labels: int | None = None
    """bridge and recipe: how many labelled examples to learn from; 500 (bridge) or the
    quickstart's (recipe, epochs, tuning, little-data) if not given."""
    held_out: int = 2000
    """bridge: how many texts to measure on; 2000 are the test set of the ladder."""
    seeds: int | None = None
    """bridge, recipe and epochs: how many times to fine-tune, each time on other labelled examples; 3 if not given.
    little-data: 5 if not given. language-models: how many times to train each model; 1 if not given."""
    rows: tuple[str, ...] = ()
    """epochs, curves, language-models, tuning and little-data: the names of the rows; all, or four of them (curves), if not given.
    scale: attention, corpus, processes or precision; fine-tuning only if it is named, for it needs the quickstart's model.
    speed: pretraining, matrix-rate, quickstart, parts, fine-tuning, lstm, corpus, examples, import or vectors."""
    bases: tuple[Literal["own", "published"], ...] = ("own", "published")
    """tuning: which weights are adapted: those of the quickstart (own), those of --model (published), or both."""
    grid: tuple[int, ...] = (4, 8, 12, 20, 30, 45)
    """epochs: the numbers of epochs that are tried."""
    epochs: int | None = None
    """bridge: how many times to go through these texts; as in the ladder if not given."""

    language: Literal["en", "zh", "tweets"] = "en"
    """recipe, epochs, curves and self-training: the quickstart whose recipe is varied, or whose rows are fitted; tweets is the second
    English task (all but recipe)."""
    variants: tuple[str, ...] = ()
    """recipe: the names of the variants to run; all that are declared if not given. The recipe itself always runs first."""
    again: bool = False
    """recipe, language-models, tuning, prompts, little-data and self-training: run again what an earlier run has finished."""
    workers: int | None = None
    """recipe: how many variants run side by side, with one thread each; one per core, at most four, if not given.
    language-models: how many models are trained side by side; 2 if not given."""

    task: Literal["reviews", "newspaper"] = "reviews"
    """language-models: film reviews in tokens, or a Chinese newspaper in characters."""
    minutes: float = 2.5
    """language-models: how long each model may train, on one core. fuzz: minutes of the processor for all targets together."""
    documents: int = 400
    """language-models: how many held-out documents to measure on."""
    development: bool = False
    """language-models and self-training: measure on other held-out documents or lines, which are there for choosing."""
    learning_rate: float | None = None
    """language-models: of the LSTM of our size and of the GPT; their own if not given."""
    candidates: int | None = None
    """language-models: of the same two, how many tokens beside those of the batch the next token is compared with while
    learning; 0 means all; their own if not given."""
    muon_learning_rate: float | None = None
    """language-models: of the GPT, whose matrices Muon then updates; its own if not given, and 0 means AdamW alone."""

    megabytes: tuple[float, ...] = (25, 100)
    """scale: the sizes of the corpora."""
    kills: int = 50
    """faults: how often a training is killed (kill -9) at a random moment."""
    corruptions: int = 1000
    """faults: how many changes are made to the files of a run."""
    together: int = 10
    """faults: how many trainings start at once on a corpus that is not prepared."""

    targets: tuple[str, ...] = ()
    """fuzz: the names of the readers; all of them if not given."""
    guided: bool = False
    """fuzz: let atheris, which has to be installed, choose inputs by the branches that they reach."""

    target: float = 5.0
    """race: the held-out masked-word loss to reach, in nats."""
    limit_minutes: float = 30.0
    """race: when a contender that has not reached it is stopped."""
    every_seconds: float = 15.0
    """race: how often the held-out loss is measured. The clock stands still meanwhile."""
    tuned: bool = False
    """race: also the Trainer with a tuned learning rate and batch size, which shows how much is due to its defaults."""

    width: int | None = None
    layers: int | None = None
    heads: int | None = None
    batch: int | None = None
    """Examples at once; generate takes 16 and 1 in turn if it is not given."""
    length: int | None = None
    vocab_size: int | None = None
    threads: int | None = None
    """Threads of PyTorch; if not given, one for speed, and PyTorch chooses for the others."""
    seed: int = 0
    cache: Path = Path("runs/cache")
    progress: bool = True

    def __post_init__(self):
        limits = {"rounds": 1000, "threads": 1024, "seeds": 100, "epochs": 1000, "workers": 1024, "documents": 10**9}
        limits |= dict.fromkeys(["sentences", "labels", "held_out", *vars(self.size)], 10**9)
        for name, most in limits.items():
            value = getattr(self, name)
            if value is not None and not 1 <= value <= most:
                raise InputError(f"{name} must be from 1 to {most:,}, not {value:,}.")
        for name in ("kills", "corruptions", "together"):
            if not 0 <= getattr(self, name) <= 10**6:
                raise InputError(f"{name} must be from 0 to 1,000,000, not {getattr(self, name):,}.")
        if not all(0 < size <= 100_000 for size in self.megabytes):
            raise InputError(f"megabytes must be above 0 and at most 100,000, not {min(self.megabytes)}.")
        for name in ("target", "limit_minutes", "every_seconds", "minutes"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} must be above 0, not {getattr(self, name)}.")
        if self.size.width % self.size.heads:
            raise InputError(f"width {self.size.width} is not divisible by {self.size.heads} heads.")

    @property
    def own_threads(self) -> int | None:
        """The threads that were given; otherwise one for speed, whose goals are for one, and None for the others."""
        return self.threads or (1 if self.what == "speed" else None)

    @property
    def repeats(self) -> int:
        """How many seeds."""
        return self.seeds or {"language-models": 1, "little-data": 5}.get(self.what, 3)

    @property
    def name(self) -> str:
        """The name of the file with the figures."""
        if self.what == "language-models":
            return f"{self.what}-{self.task}" + "-development" * self.development
        if self.what not in ("recipe", "epochs", "curves", "self-training"):
            return self.what
        name = f"{self.what}-{self.language}"
        return name if self.pretrained is None or self.what == "recipe" else f"{name}-from-{mark_of(self.pretrained)}"

    @property
    def size(self) -> Size:
        """The sizes that were given, and this measurement's own sizes for the rest."""
        own = SIZES.get(self.what) or size_of(
            "en" if self.what in ("race", "faults", "scale", "fuzz") else self.language
        )
        return replace(own, **{name: value for name in vars(own) if (value := getattr(self, name)) is not None})
