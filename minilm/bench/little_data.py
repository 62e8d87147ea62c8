"""What helps with little data, in one table: the recipe with one switch changed, on the same labelled texts and seeds.  F01, F25, F28.

The settings of a switch are compared on a development part, with one seed; the best of them is used with every seed and
measured on the test set. Every fit is a JSON file of its own, so that an interrupted run goes on where it was.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from minilm.bench.options import BenchOptions
from minilm.bench.tuning import Base, bases, new_model
from minilm.errors import InputError
from minilm.examples.batching import Batch, Dataset
from minilm.examples.labels import IGNORED
from minilm.examples.masked_lm import mask_tokens
from minilm.experiments.english import English
from minilm.experiments.intervals import student
from minilm.experiments.ladder import DROPOUT, Material
from minilm.experiments.table import figures_table
from minilm.experiments.tweets import TASK as TWEETS
from minilm.files.atomic import write_json
from minilm.files.tensors import read_json
from minilm.jobs.augmenting import Way, augmenter
from minilm.models.adaptation import Adaptation
from minilm.models.config import parameter_count
from minilm.models.heads import Classifier
from minilm.pretrained.protocol import open_pretraining
from minilm.text import corpus
from minilm.training.multi_task import SecondTask, endless
from minilm.training.objectives import BertPretraining
from minilm.training.self_training import sure_of, together
from minilm.training.supervised import fit

PLAIN = "the recipe"
RECIPE = English.recipes["pretrained"]
UNLABELLED = 1_500  # texts whose labels are not looked at
RARE = 0.1  # the share of the rare class where the classes are not balanced


@dataclass(frozen=True)
class Setting:
    """What is changed: fields of the recipe, the dropout, or what a fit is given besides. `name` says so in the table."""

    name: str = "–"
    recipe: Mapping[str, Any] = field(default_factory=dict)
    dropout: float = DROPOUT
    augment: Way = ""
    share: float = 0.0
    confidence: float = 0.0
    second: str = ""
    weight: float = 0.0


def augmented(way: Way, *shares: float) -> tuple[Setting, ...]:
    return tuple(Setting(f"{share:.0%} of the tokens", augment=way, share=share) for share in shares)


def second_task(name: str, *weights: float) -> tuple[Setting, ...]:
    return tuple(Setting(f"w = {weight:g}", second=name, weight=weight) for weight in weights)


def changed(name: str, field: str, *values: Any) -> tuple[Setting, ...]:
    return tuple(Setting(name.format(value), {field: value}) for value in values)


SWITCHES: dict[str, tuple[Setting, ...]] = {
    PLAIN: (Setting(),),
    "early stopping": (
        Setting("patience 2", {"patience": 2}),
        Setting("patience 3, up to 16 epochs", {"patience": 3, "epochs": 16}),
    ),
    "L2": changed("λ = {:g}", "l2", 1e-4, 1e-3),
    "L2 from the start": changed("α = {:g}", "l2_start", 1e-2, 1e-1),
    "dropout": (Setting("none", dropout=0.0), Setting("0.2", dropout=0.2)),
    "layer-wise rates": changed("{:g} per layer", "layer_decay", 0.7, 0.85),
    "gradual unfreezing": changed("a layer every {} epoch(s)", "unfreeze_every", 1, 2),
    "label smoothing": changed("ε = {:g}", "label_smoothing", 0.1, 0.2),
    "class weights": (Setting("balanced", {"class_weights": True}),),
    "word dropout": augmented("word-dropout", 0.1, 0.2),
    "neighbours": augmented("neighbours", 0.1, 0.2),
    "masked language model": augmented("masked-lm", 0.15, 0.3),
    "self-training": tuple(Setting(f"confidence {c:g}", confidence=c) for c in (0.9, 0.98)),
    "second task: names in tweets": second_task("tweets", 0.3, 1.0),
    "second task: masked words": second_task("masked words", 0.1, 0.3),
}
SKEWED = (
    "the recipe, one class rare",
    "class weights, one class rare",
)  # the same two on a sample that is not balanced
ROWS = (*SWITCHES, *SKEWED)


def settings_of(row: str) -> tuple[Setting, ...]:
    """The settings of a row that are tried."""
    return SWITCHES[row] if row in SWITCHES else SWITCHES[PLAIN if row == SKEWED[0] else "class weights"]


def plain_of(row: str) -> str:
    """The row that a row is compared with."""
    return SKEWED[0] if row in SKEWED else PLAIN


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Fit every row, and report the table. Raises InputError if the pretrained model or a row is missing."""
    if unknown := [name for name in options.rows if name not in ROWS]:
        raise InputError(f"there is no row '{unknown[0]}': choose from {'; '.join(ROWS)}.")
    (base,) = bases(replace(options, bases=("own",)), say)
    chosen = options.rows or ROWS
    needed = {*chosen, *map(plain_of, chosen)}  # a row needs what it is compared with
    rows: list[dict] = []
    for name in (name for name in ROWS if name in needed):
        tried = settings_of(name)
        scores = [fitted(base, name, s, 0, True, options)["accuracy"] if len(tried) > 1 else 0.0 for s in tried]
        best = tried[int(np.argmax(scores))]
        if len(tried) > 1:
            shown = "  ".join(f"{s.name}: {score:.3f}" for s, score in zip(tried, scores, strict=True))
            say(f"{name}, on the development part: {shown} → {best.name}")
        rows += [fitted(base, name, best, seed, False, options) for seed in range(options.repeats)]
        say(table(rows, name).splitlines()[-1])
    say(f"\n{rows[0]['labels']} labels, {options.repeats} seed(s)\n{table(rows)}\n{verdict(rows)}")
    return {"rows": rows}


def scores_of(rows: list[dict], name: str) -> list[float]:
    """The accuracy of a row with each seed."""
    return [row["accuracy"] for row in rows if row["model"] == name]


def difference(rows: list[dict], name: str) -> tuple[float, float, float]:
    """The mean difference to the recipe in points, seed by seed on the same labelled texts, with its 95 % interval."""
    pairs = zip(scores_of(rows, name), scores_of(rows, plain_of(name)), strict=True)
    return student([100 * (a - b) for a, b in pairs])


def table(rows: list[dict], only: str | None = None) -> str:
    """All rows as a markdown table, or one of them."""
    out = []
    for row in rows:
        if only is None or row["model"] == only:
            score, plain = student(scores_of(rows, row["model"])), plain_of(row["model"]) == row["model"]
            gain = "–" if plain else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*difference(rows, row["model"]))
            out.append(row | {"accuracy": "{:.3f} [{:.3f}, {:.3f}]".format(*score), "points": gain})
    return figures_table(out, {}, {"setting": "{}", "accuracy": "{}", "points": "{}"})


def verdict(rows: list[dict]) -> str:
    """Which switches help or harm beyond what the seeds alone would do."""
    found: dict[str, list[str]] = {"higher": [], "lower": []}
    compared = [name for name in dict.fromkeys(row["model"] for row in rows) if plain_of(name) != name]
    for name in compared:
        _, low, high = difference(rows, name)
        if low > 0 or high < 0:
            found["higher" if low > 0 else "lower"].append(name)
    said = "; ".join(f"{way}: {', '.join(names) or 'none'}" for way, names in found.items())
    return (
        f"Of {len(compared)} intervals, these do not contain 0 – {said}. If no switch did anything, about "
        f"{0.05 * len(compared):.1f} of them would not contain it, either."
    )


def fitted(base: Base, name: str, setting: Setting, seed: int, on_development: bool, options: BenchOptions) -> dict:
    """The row of one fit, from its file if there is one."""
    labels = options.labels or 500
    material, part = (base.development, "development") if on_development else (base.test, "test")
    words = f"{name} {setting.name} {labels} {seed} {part}"
    path = options.out / "little-data" / ("-".join(words.replace(",", "").replace(":", "").split()) + ".json")
    if path.exists() and not options.again:
        return read_json(path)
    drawn = skewed(material, labels, seed) if name in SKEWED else material.drawn(labels, seed)
    model, facts = fit_with(setting, base, material, drawn, seed)
    accuracy = material.measured(model, labels, seed)[0]
    row = {"model": name, "setting": setting.name, "labels": labels, "seed": seed, "accuracy": round(accuracy, 4)}
    row |= facts | {"parameters": parameter_count(model)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, row)
    return row


def skewed(material: Material, labels: int, seed: int) -> list[int]:
    """The numbers of `labels` examples of which a share of `RARE` are of the second class, drawn with the seed."""
    order = np.random.default_rng(seed).permutation(len(material.examples)).tolist()
    rare = round(RARE * labels)
    of = [[i for i in order if material.examples[i].label == label] for label in material.task.labels]
    return sorted(of[0][: labels - rare] + of[1][:rare])


def fit_with(setting: Setting, base: Base, material: Material, drawn: list[int], seed: int) -> tuple[Classifier, dict]:
    """The recipe with this setting, fitted to the examples with the numbers `drawn`: the model, and facts about the fit."""
    recipe, tokenizer = replace(RECIPE, **setting.recipe), material.tokenizer
    train = rows_of(material, drawn)
    unlabelled = without_labels(material, drawn, seed)
    model = new_model(base, Adaptation("all"), seed, setting.dropout)
    second = second_for(setting, base, model, unlabelled, seed)
    facts: dict[str, Any] = {}
    started = time.process_time()  # of the processor: other programs do not change it
    if setting.confidence:
        fit(model, train, recipe, seed, bar=False)  # the teacher
        added = sure_of(model, unlabelled, setting.confidence)
        truth = [material.task.labels.index(material.examples[i].label) for i in added.owner]
        right = sum(a == b for a, b in zip(added.labels, truth, strict=True))
        facts = {
            "added": len(added),
            "right": round(right / max(1, len(added)), 4),
        }  # how good the teacher's labels are
        train, model = together(train, added), new_model(base, Adaptation("all"), seed, setting.dropout)
    augment = augmenter(setting.augment, setting.share, seed, tokenizer, model, base.path)
    fit(model, train, recipe, seed, bar=False, augment=augment, second=second)
    return model, facts | {"seconds": round(time.process_time() - started, 1)}


def rows_of(material: Material, numbers: list[int]) -> Dataset:
    """The encoded rows of these examples."""
    chosen = set(numbers)
    return material.pool.subset([i for i, owner in enumerate(material.pool.owner) if owner in chosen])


def without_labels(material: Material, drawn: list[int], seed: int) -> Dataset:
    """Other texts to learn from, with −100 for labels. None of them is in the test set or among the labelled ones."""
    others = sorted({*range(len(material.examples))} - {*drawn})
    rng = np.random.default_rng((seed, 1))
    found = rows_of(material, rng.permutation(others)[:UNLABELLED].tolist())
    return Dataset({**found.columns, "labels": [IGNORED] * len(found)}, found.pad_values, found.owner)


def second_for(setting: Setting, base: Base, model: Classifier, unlabelled: Dataset, seed: int) -> SecondTask | None:
    """The second task of a setting, with a head on the encoder of `model`."""
    tokenizer = base.test.tokenizer
    if setting.second == "tweets":
        lines = TWEETS.encode(corpus.tagged("tweets"), tokenizer, model.config.max_length)
        head = TWEETS.head(setting.dropout)
        tagger = Classifier(model.encoder, head, torch.Generator().manual_seed(seed))
        return SecondTask(tagger, endless(lines, RECIPE.batch, seed), weight=setting.weight)
    if setting.second == "masked words":
        pretraining: Any = open_pretraining(base.path).model
        pretraining.encoder = model.encoder
        batches, generator = endless(unlabelled, RECIPE.batch, seed), torch.Generator().manual_seed(seed)

        def masked(step: int) -> Batch:
            batch = batches(step)
            ids, special = batch.input_ids, tokenizer.special_ids
            ids, labels = mask_tokens(ids, special, tokenizer.mask, tokenizer.size, generator)
            none = torch.full((len(ids),), IGNORED)
            return replace(batch, input_ids=ids, labels=labels, nsp_labels=none)

        return SecondTask(pretraining, masked, BertPretraining(next_sentence_weight=0.0), setting.weight)
    return None
