r"""Pixels by class: a causal Transformer reads and draws digits, and becomes a classifier by Bayes' rule.  F24, F37.

The table compares it with histograms, in bits per pixel, and with logistic regression, by the share of digits that are
recognised. Everything that is chosen (the smoothing of a histogram, the strength of logistic regression) is chosen on the
development part of the same seed; the steps and the size of the Transformer were chosen on development parts, too.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import CategoricalNB

from minilm.errors import check_least, check_most
from minilm.examples.pixels import PictureBatches, Pictures, digits, split
from minilm.experiments.ladder import with_every_seed, workers_for
from minilm.experiments.table import figures_table
from minilm.files.atomic import write_json, write_text
from minilm.models.config import parameter_count
from minilm.models.gpt import GPT, GPTConfig, learning_rate_scales
from minilm.models.initialisation import initialise
from minilm.models.sampling import check_choice
from minilm.training.loop import LearningRate, choose_device
from minilm.training.memory import cost, cost_in_words
from minilm.training.objectives import CausalLM
from minilm.training.picturing import class_log_probabilities, draw_pictures
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.training.state import plain
from minilm.viz.pixels import image_rows

NOTHING, ONE, PER_PIXEL, PER_CLASS = "nothing", "one histogram", "histogram per pixel", "histogram per pixel and class"
TRANSFORMER, REGRESSION = "Transformer", "logistic regression"
SMOOTHING = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
STRENGTH = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # C of logistic regression, for pixels from 0 to 1
BITS, RIGHT = "bits per pixel", "accuracy"
FIGURES = {BITS: "{:.3f}", RIGHT: "{:.3f}"}


@dataclass(frozen=True)
class PixelsOptions:
    """Train a causal Transformer on handwritten digits, pixel by pixel, given the class; compare its bits per pixel with
    histograms; let it draw digits; and use it as a classifier by Bayes' rule. Needs no download."""

    seeds: int = 3
    """How many times everything is done, each time with other parts of the pictures and another start."""
    steps: int = 2000
    batch: int = 32
    width: int = 64
    depth: int = 2
    heads: int = 4
    dropout: float = 0.1
    learning_rate: float = 6e-3
    development: int = 300
    """The number of pictures on which choices are made."""
    test: int = 300
    other_writers: bool = False
    """The last pictures of the collection are the test part, and those before them the development part: most of them were
    written by people who wrote none of those to learn from. Otherwise both parts are drawn at random."""
    classes: tuple[int, ...] = ()
    """The classes to draw pictures of; all of them if you name none."""
    each: int = 10
    """How many pictures to draw of each class."""
    temperature: float = 1.0
    """How pixels are drawn: 1 from the model's own probabilities, less than 1 from sharper ones, 0 always the most likely."""
    out: Path = Path("runs/pixels")
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds", "steps", "batch", "development", "test", "each")
        check_most(self, {"seeds": 1_000, "steps": 10_000_000, "each": 1_000})
        check_choice(self.temperature, None, 1.0)
        pictures = digits()  # what follows complains before the long part
        learn, _, _ = split(pictures, self.development, self.test, 0)
        PictureBatches(learn, self.batch)
        self.optimisation(pictures)
        for y in self.classes:
            pictures.check_class(y)

    def config(self, pictures: Pictures) -> GPTConfig:
        """A causal Transformer with room for one picture; every pixel has a vector for its place."""
        return GPTConfig(
            pictures.vocab_size,
            width=self.width,
            layers=self.depth,
            heads=self.heads,
            feed_forward=4 * self.width,
            max_length=1 + pictures.pixels,
            dropout=self.dropout,
            positions="learned",
        )

    def optimisation(self, pictures: Pictures) -> Optimisation:
        """How the weights are updated."""
        return Optimisation(LearningRate(self.learning_rate), scales=learning_rate_scales(self.config(pictures)))


class Found(NamedTuple):
    """What one seed gives: its rows of the table, and the pictures that its Transformer drew."""

    rows: list[dict]
    drawn: np.ndarray


def pixels(options: PixelsOptions, say: Callable[[str], None] = print) -> list[dict]:
    """Run everything, write `pixels.json`, `report.md` and `drawn.png`, and return the rows of the table."""
    o, started = options, time.perf_counter()
    o.out.mkdir(parents=True, exist_ok=True)
    device = choose_device(o.device)
    workers = min(o.seeds, workers_for(device))
    say(f"{len(digits()):,} digits of 8 × 8 pixels in 17 levels of grey; {o.seeds} seeds, {workers} at a time.")
    found: list[Found] = with_every_seed(one_seed, o, "digits", workers)
    rows = [row for each in found for row in each.rows]
    shown = o.classes or tuple(range(digits().classes))
    image_rows(found[0].drawn.reshape(len(shown), o.each, -1), [str(y) for y in shown], o.out / "drawn.png")
    report = "\n\n".join(["# Pixels by class", figures_table(rows, FIGURES), remarks(rows)])
    needed = cost(started)
    write_json(o.out / "pixels.json", {"cost": needed, "options": plain(o), "rows": rows})
    write_text(o.out / "report.md", report + "\n")
    say("\n" + report)
    say(f"\n{cost_in_words(needed)}. The results are in {o.out}: drawn.png, report.md, pixels.json.")
    return rows


def one_seed(options: PixelsOptions, seed: int) -> Found:
    """Fit every model with one seed, and measure it on the test part. `seconds` are those of the processor, which other programs
    beside it do not lengthen."""
    pictures = digits()
    parts = split(pictures, options.development, options.test, None if options.other_writers else seed)
    learn, tune, test = parts
    rows = []

    def add(
        model: str, log_p: np.ndarray | None, accuracy: float | None, seconds: float, parameters: int, **more
    ) -> None:
        row = {"model": model, "seed": seed}
        if log_p is not None:
            row[BITS] = bits_per_pixel(log_p, test)
        if accuracy is not None:
            row[RIGHT] = accuracy
        rows.append(row | {"seconds": round(seconds, 2), "parameters": parameters} | more)

    add(NOTHING, np.full((len(test), 1), -test.pixels * np.log(test.levels)), None, 0.0, 0)
    for name in (ONE, PER_PIXEL, PER_CLASS):
        began = time.process_time()
        s, log_p = histogram(name, *parts)
        right = accuracy_of(log_p, learn, test) if name == PER_CLASS else None
        counts = test.levels * (1 if name == ONE else test.pixels) * (test.classes if name == PER_CLASS else 1)
        add(name, log_p, right, time.process_time() - began, counts, smoothing=s)
    began = time.process_time()
    model = fit(options, learn, seed)
    seconds = time.process_time() - began
    log_p, tuned = class_log_probabilities(model, test), class_log_probabilities(model, tune)
    more = {
        "development bits per pixel": bits_per_pixel(tuned, tune),
        "development accuracy": accuracy_of(tuned, learn, tune),
    }
    add(TRANSFORMER, log_p, accuracy_of(log_p, learn, test), seconds, parameter_count(model), **more)
    began = time.process_time()
    best = regression(learn, tune)
    add(
        REGRESSION,
        None,
        best.score(ink(test), test.y),
        time.process_time() - began,
        best.coef_.size + best.intercept_.size,
        C=best.C,
    )
    classes = np.repeat(options.classes or range(pictures.classes), options.each)
    return Found(rows, draw_pictures(model, pictures, classes.tolist(), seed, options.temperature))


def ink(pictures: Pictures) -> np.ndarray:
    """The pixels from 0 (paper) to 1."""
    return pictures.x / (pictures.levels - 1)


def regression(learn: Pictures, tune: Pictures) -> LogisticRegression:
    """Logistic regression on the classes, as strong as is best on the development part."""
    candidates = [LogisticRegression(C=C, max_iter=10_000).fit(ink(learn), learn.y) for C in STRENGTH]
    return max(candidates, key=lambda each: each.score(ink(tune), tune.y))


def fit(options: PixelsOptions, learn: Pictures, seed: int) -> GPT:
    """A causal Transformer, trained on pictures given their class."""
    model = GPT(options.config(learn))
    initialise(model, generator=torch.Generator().manual_seed(seed))
    batches = PictureBatches(learn, options.batch, seed)
    optimisation, budget = options.optimisation(learn), Budget(steps=options.steps)
    run = TrainingRun(model, CausalLM(), batches.__getitem__, budget, optimisation, seed, choose_device(options.device))
    run.train(bar=options.progress)
    if not run.done:
        raise KeyboardInterrupt
    return model


def histogram(name: str, learn: Pictures, tune: Pictures, test: Pictures) -> tuple[float, np.ndarray]:
    """The smoothing with the fewest bits on the development part, and log P(x ∣ y) of the test part, [N, K] or [N, 1].

    Naive Bayes of scikit-learn counts one histogram for each pixel of each class (`formulas/pixels.py` has it by hand).
    """

    def log_probabilities(s: float, pictures: Pictures) -> np.ndarray:
        x, y, asked = learn.x, learn.y if name == PER_CLASS else np.zeros(len(learn), int), pictures.x
        if name == ONE:  # every pixel is an example of the same pixel
            x, y, asked = x.reshape(-1, 1), np.zeros(x.size, int), asked.reshape(-1, 1)
        counted = CategoricalNB(alpha=s, min_categories=learn.levels).fit(x, y)
        log_p = counted.predict_joint_log_proba(asked) - counted.class_log_prior_
        return log_p.reshape(len(pictures), -1).sum(axis=1, keepdims=True) if name == ONE else log_p

    best = min(SMOOTHING, key=lambda s: bits_per_pixel(log_probabilities(s, tune), tune))
    return best, log_probabilities(best, test)


def bits_per_pixel(log_p: np.ndarray, pictures: Pictures) -> float:
    """−1/(N m) Σ log₂ P(x ∣ y) with the true class, from `log_p` [N, K]; [N, 1] for a model that knows no class."""
    own = log_p[np.arange(len(pictures)), pictures.y if log_p.shape[1] > 1 else 0]
    return float(-own.mean() / pictures.pixels / np.log(2))


def accuracy_of(log_p: np.ndarray, learn: Pictures, pictures: Pictures) -> float:
    """The share of pictures whose class is the one with the largest P(x ∣ y) P(y), Bayes' rule."""
    return float(((log_p + np.log(learn.prior())).argmax(axis=1) == pictures.y).mean())


def remarks(rows: list[dict]) -> str:
    """What the table says, in sentences."""

    def mean(model: str, figure: str) -> float:
        return float(np.mean([row[figure] for row in rows if row["model"] == model]))

    fewer = {name: 1 - mean(TRANSFORMER, BITS) / mean(name, BITS) for name in (PER_PIXEL, PER_CLASS)}
    said = {name: f"{abs(share):.1%} {'fewer' if share >= 0 else 'more'}" for name, share in fewer.items()}
    return (
        f"* The Transformer needs {said[PER_PIXEL]} bits per pixel than a histogram of each pixel, and {said[PER_CLASS]} than "
        "one of each pixel and class.\n"
        f"* By Bayes' rule it recognises {mean(TRANSFORMER, RIGHT):.1%} of the digits and the histograms "
        f"{mean(PER_CLASS, RIGHT):.1%}. Logistic regression, which was trained to recognise them, reaches "
        f"{mean(REGRESSION, RIGHT):.1%}."
    )
