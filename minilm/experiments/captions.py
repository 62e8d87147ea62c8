r"""Pictures and captions: two towers learn which belong together, and name digits that nobody labelled for them.  F35.

The table compares what they find with logistic regression, which is trained on the classes, and with two controls. All figures are
of a test part, with captions in words that no caption to learn from had; choices were made on the development part.
"""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from minilm.errors import InputError, check_least, check_most
from minilm.examples.captions import (
    LEANS,
    LEARNED,
    NUMBERS,
    STROKES,
    UNSEEN,
    CaptionBatches,
    Meaning,
    as_batch,
    borders,
    caption,
    caption_tokenizer,
    meanings,
)
from minilm.examples.pixels import Pictures, digits, split
from minilm.experiments.intervals import estimate
from minilm.experiments.ladder import with_every_seed, workers_for
from minilm.experiments.pixels import ink, regression
from minilm.experiments.table import figures_table
from minilm.files.atomic import write_json, write_text
from minilm.formulas.cross_entropy import log_softmax
from minilm.models.config import parameter_count
from minilm.models.initialisation import initialise
from minilm.models.picture_text import PictureText, PictureTextConfig
from minilm.training.loop import LearningRate
from minilm.training.memory import cost, cost_in_words
from minilm.training.picture_text import Contrastive, compare
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.training.state import plain
from minilm.viz.pixels import image_rows

TOWERS, ALIKE, SHUFFLED = "two towers", "the same, meanings may meet in a batch", "the same, captions shuffled"
TRAINED = (TOWERS, ALIKE, SHUFFLED)
REGRESSION = "logistic regression on the classes"
NAMED, TO_TEXT, TO_PICTURE, EXACT = "named by sentences", "picture → caption", "caption → picture", "whole meaning"
FIGURES = dict.fromkeys((NAMED, TO_TEXT, TO_PICTURE, EXACT), "{:.3f}")
SHOWN = (Meaning(7, 0, 2), Meaning(3, 2, 1), Meaning(1, 2, 0), Meaning(0, 0, 1), Meaning(8, 1, 2))


@dataclass(frozen=True)
class CaptionsOptions:
    """Train two towers on handwritten digits and their captions by the contrastive loss; then find pictures by their captions and
    captions by their pictures, and name digits by sentences. Needs no download."""

    seeds: int = 3
    """How many times everything is done, each time with other parts of the pictures and another start."""
    steps: int = 2000
    batch: int = 24
    """Pairs per step; all others of a batch are the wrong answers of each."""
    width: int = 32
    layers: int = 1
    heads: int = 4
    dropout: float = 0.1
    learning_rate: float = 5e-3
    development: int = 300
    test: int = 300
    measure_on_development: bool = False
    """Measure on the part that is there for choices."""
    rows: tuple[str, ...] = ()
    """Which rows to train; all if you name none."""
    out: Path = Path("runs/captions")
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds", "steps", "development", "test")
        check_least(self, 2, "batch")
        if unknown := [name for name in self.rows if name not in TRAINED]:
            raise InputError(f"there is no row '{unknown[0]}': choose from {'; '.join(TRAINED)}.")
        check_most(self, {"seeds": 1_000, "steps": 10_000_000})
        split(digits(), self.development, self.test, 0)  # complains before the long part
        self.config(100)

    def config(self, vocab_size: int) -> PictureTextConfig:
        """The shape of the towers."""
        return PictureTextConfig(
            vocab_size, width=self.width, layers=self.layers, heads=self.heads, dropout=self.dropout
        )


class Found(NamedTuple):
    """What one seed gives: its rows of the table, and the pictures that fit the captions of SHOWN best."""

    rows: list[dict]
    fitting: np.ndarray | None  # [captions, pictures, m]; None if these towers were not trained


def captions(options: CaptionsOptions, say: Callable[[str], None] = print) -> list[dict]:
    """Run everything, write `captions.json`, `report.md` and (of the two towers) `found.png`, and return the rows of the table."""
    o, started = options, time.perf_counter()
    o.out.mkdir(parents=True, exist_ok=True)
    workers = min(o.seeds, workers_for(torch.device("cpu")))
    say(f"{len(digits()):,} digits of 8 × 8 pixels; {o.seeds} seed(s), {workers} at a time.")
    found: list[Found] = with_every_seed(one_seed, o, "captions", workers)
    rows = [row for each in found for row in each.rows]
    if found[0].fitting is not None:
        image_rows(found[0].fitting, [caption(meaning, LEARNED[0]) for meaning in SHOWN], o.out / "found.png")
    report = "\n\n".join(["# Pictures and captions", figures_table(rows, FIGURES), remarks(rows)])
    needed = cost(started)
    write_json(o.out / "captions.json", {"cost": needed, "options": plain(o), "rows": rows})
    write_text(o.out / "report.md", report + "\n")
    say("\n" + report)
    say(
        f"\n{cost_in_words(needed)}. The results are in {o.out}: {', '.join(sorted(path.name for path in o.out.iterdir()))}."
    )
    return rows


def one_seed(options: CaptionsOptions, seed: int) -> Found:
    """Train every row with one seed, and measure it. `seconds` are those of the processor."""
    learn, tune, test = split(digits(), options.development, options.test, seed)
    test = tune if options.measure_on_development else test
    rows, fitting = list[dict](), None
    for name in options.rows or TRAINED:
        began = time.process_time()
        model = fit(options, learn, seed, apart=name != ALIKE, shuffled=name == SHUFFLED)
        seconds = time.process_time() - began
        row = {"model": name, "seed": seed} | measured(model, learn, test, seed)
        rows.append(row | {"seconds": round(seconds, 2), "parameters": parameter_count(model)})
        if name == TOWERS:
            cosines = compare(model, as_batch(caption_tokenizer(), [caption(m, LEARNED[0]) for m in SHOWN]), test.x)
            fitting = test.x[np.argsort(-cosines, axis=0, kind="stable")[:8].T]
    began = time.process_time()
    best = regression(learn, tune)
    right = (best.predict(ink(test)) == test.y).tolist()
    row = {"model": REGRESSION, "seed": seed, NAMED: float(np.mean(right)), "right": right}
    rows.append(
        row | {"seconds": round(time.process_time() - began, 2), "parameters": best.coef_.size + best.intercept_.size}
    )
    return Found(rows, fitting)


def fit(
    options: CaptionsOptions, learn: Pictures, seed: int, apart: bool = True, shuffled: bool = False
) -> PictureText:
    """Two towers, trained on pictures and their captions."""
    tokenizer = caption_tokenizer()
    model = PictureText(options.config(tokenizer.size))
    initialise(model, "fan-in", torch.Generator().manual_seed(seed))
    said = meanings(learn, borders(learn))
    batches = CaptionBatches(learn, said, tokenizer, options.batch, seed, apart, shuffled)
    optimisation = Optimisation(LearningRate(options.learning_rate, 0.1))
    run = TrainingRun(model, Contrastive(), batches.__getitem__, Budget(steps=options.steps), optimisation, seed)
    run.train(bar=options.progress)
    if not run.done:
        raise KeyboardInterrupt
    return model


def measured(model: PictureText, learn: Pictures, test: Pictures, seed: int) -> dict:
    """The figures of the table: of classes that sentences name, and of captions in unseen words."""
    tokenizer = caption_tokenizer()
    ways = list(itertools.product(range(len(STROKES)), range(len(LEANS)), LEARNED))
    sentences = [caption(Meaning(k, a, b), template) for k in range(len(NUMBERS)) for a, b, template in ways]
    S = float(model.scale.detach()) * compare(
        model, as_batch(tokenizer, sentences), test.x
    )  # [pictures, digits · ways]
    p = np.exp(log_softmax(S)).reshape(len(test), len(NUMBERS), -1).sum(axis=2)  # of all sentences about a digit
    right = p.argmax(axis=1) == test.y
    said = meanings(test, borders(learn))
    rng = np.random.default_rng([seed, 3])
    kinds = sorted(set(said))
    texts = [caption(meaning, UNSEEN[rng.integers(len(UNSEEN))]) for meaning in kinds]
    cosines = compare(model, as_batch(tokenizer, texts), test.x)  # [pictures, captions]
    chosen = [kinds[k] for k in cosines.argmax(axis=1)]
    found = [said[i] for i in cosines.argmax(axis=0)]
    return {
        NAMED: float(right.mean()),
        TO_TEXT: float(np.mean([a.digit == b.digit for a, b in zip(chosen, said, strict=True)])),
        TO_PICTURE: float(np.mean([a.digit == b.digit for a, b in zip(found, kinds, strict=True)])),
        EXACT: float(np.mean([a == b for a, b in zip(chosen, said, strict=True)])),
        "captions": len(kinds),
        "right": right.tolist(),
    }


def remarks(rows: list[dict]) -> str:
    """How to read the table, and what it says."""
    by = {name: [row for row in rows if row["model"] == name] for name in dict.fromkeys(row["model"] for row in rows)}
    lines = [
        f"* *{NAMED}*: a softmax over sentences about all digits (“a seven”, “a bold seven that leans to the left” …), in which the "
        f"probabilities of those about the same digit are added. *{TO_TEXT}* and *{TO_PICTURE}*: the nearest caption, or picture, "
        f"of the test part is about the right digit. *{EXACT}*: the caption that is nearest to a picture is right about its stroke "
        "and its lean, too."
    ]
    for name in (TOWERS, REGRESSION):
        if name in by:
            interval = estimate(np.array([row["right"] for row in by[name]]))
            lines.append(
                f"* {name}: {interval.written()} of the pictures are named correctly (95 % interval over pictures)."
            )
    return "\n".join(lines)
