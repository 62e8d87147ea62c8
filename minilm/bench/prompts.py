"""A verbaliser on the head for masked words: how it reacts to its wording, and whether it beats a fine-tuned head.  F33.

Zero labels: every template with every pair of words, as it is and calibrated. 16 labels: the verbaliser and the fine-tuned
head, each with the best of its learning rates on a development part. Every fit is a JSON file of its own.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from minilm.bench.options import BenchOptions
from minilm.bench.tuning import Base, bases, new_model
from minilm.experiments.ladder import Material
from minilm.experiments.table import deviation, figures_table
from minilm.files.atomic import write_json
from minilm.jobs.prompt import prompted
from minilm.models.adaptation import Adaptation, adapt
from minilm.models.config import parameter_count
from minilm.models.verbaliser import VerbaliserConfig
from minilm.pretrained.protocol import open_pretraining
from minilm.training.prompt_task import PromptTask
from minilm.training.supervised import Recipe, fit

LABELS = ("negative", "positive")
TEMPLATES = (
    "{text} It was [MASK].",
    "{text} This film is [MASK].",
    "{text} A [MASK] film.",
    "{text} All in all, it was [MASK].",
    "It was [MASK]. {text}",
    "{text} [MASK]",
)
WORDS = (("terrible", "great"), ("bad", "good"), ("awful", "wonderful"), ("terrible,bad,awful", "great,good,wonderful"))
FEW = 16
RATES = {"verbaliser": (1e-4, 3e-4, 1e-3), "fine-tuned head": (3e-4, 1e-3, 3e-3), "head alone": (1e-2, 3e-2, 1e-1)}
RECIPE = Recipe(epochs=20, batch=8)


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Both tables. Raises InputError if there is no pretrained model."""
    (base,) = bases(replace(options, bases=("own",)), say)
    wording = [kept(f"0-{i}-{j}", options, partial(zero_shot, base, i, j)) for i, j in places()]
    say(f"\n0 labels, {len(base.test.test_examples):,} sentences\n{wording_table(wording)}")
    raw, calibrated = ([row[name] for row in wording] for name in ("accuracy", "calibrated"))
    for name, scores in (("as it is", raw), ("calibrated", calibrated)):
        said = f"{min(scores):.3f} to {max(scores):.3f}, mean {np.mean(scores):.3f} ± {deviation(scores):.3f}"
        say(f"{len(scores)} wordings, {name}: {said}")
    rows = []
    for way, rates in RATES.items():
        tried = {
            rate: np.mean([few(base, way, rate, s, True, options)["accuracy"] for s in range(3)]) for rate in rates
        }
        best = max(rates, key=lambda rate: tried[rate])
        say(f"{FEW} labels, {way}: {'  '.join(f'{rate:g}: {score:.3f}' for rate, score in tried.items())} → {best:g}")
        rows += [few(base, way, best, seed, False, options) for seed in range(options.seeds or 5)]
    say(f"\n{FEW} labels, {options.seeds or 5} seeds\n{figures_table(rows, {'accuracy': '{:.3f}'}, {'rate': '{:g}'})}")
    return {"wording": wording, "few": rows}


def places() -> list[tuple[int, int]]:
    """Every template with every pair of words, by their numbers."""
    return [(i, j) for i in range(len(TEMPLATES)) for j in range(len(WORDS))]


def kept(name: str, options: BenchOptions, work: Callable[[], dict]) -> dict:
    """The figures in the file of this name, or those of `work`, which are then written there."""
    path = options.out / "prompts" / f"{name}.json"
    if path.exists() and not options.again:
        return json.loads(path.read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    found = work()
    write_json(path, found)
    return found


def score(model: Any, material: Material, task: PromptTask) -> float:
    """The accuracy on the material's test examples."""
    examples = task.encode(material.test_examples, material.tokenizer, model.config.max_length, truncate=True)
    accuracy = task.measure(model, examples, material.device)["accuracy"]
    assert accuracy is not None
    return round(accuracy, 4)


def zero_shot(base: Base, template: int, words: int) -> dict:
    """One wording with no labels, as it is and calibrated on 500 texts to learn from, without their labels."""
    head = VerbaliserConfig(LABELS, template=TEMPLATES[template], words=WORDS[words])
    task, loaded = PromptTask(LABELS, template=head.template), open_pretraining(base.path)
    plain = score(prompted(loaded, head), base.test, task)
    texts = [base.test.examples[i] for i in base.test.drawn(500, 0)]
    model = prompted(loaded, head, texts)
    facts = {"template": head.template, "words": " / ".join(head.words), "accuracy": plain}
    return facts | {"calibrated": score(model, base.test, task), "prior": list(model.head_config.prior)}


def wording_table(rows: list[dict]) -> str:
    """A row per template and a column per pair of words: the accuracy as it is → calibrated."""
    lines = [f"| template | {' | '.join(' / '.join(words) for words in WORDS)} |", "|---|" + "---:|" * len(WORDS)]
    for template in TEMPLATES:
        cells = [f"{row['accuracy']:.3f} → {row['calibrated']:.3f}" for row in rows if row["template"] == template]
        lines.append(f"| {template} | {' | '.join(cells)} |")
    return "\n".join(lines)


def few(base: Base, way: str, rate: float, seed: int, on_development: bool, options: BenchOptions) -> dict:
    """One fit to 16 labels. The template and the words of the verbaliser are the first ones: they were not chosen by figures."""
    material = base.development if on_development else base.test
    part = "development" if on_development else "test"

    def work() -> dict:
        recipe = replace(RECIPE, learning_rate=rate, head_only=way == "head alone")
        generator = torch.Generator().manual_seed(seed)
        if way == "verbaliser":
            head = VerbaliserConfig(LABELS, template=TEMPLATES[0], words=WORDS[0])
            task, loaded = PromptTask(LABELS, template=head.template), open_pretraining(base.path)
            chosen = [material.examples[i] for i in material.drawn(FEW, seed)]
            texts = [material.examples[i] for i in material.drawn(500, seed)]
            model: Any = prompted(loaded, head, texts)
            adapt(model, Adaptation("all"), generator)
            rows = task.encode(chosen, material.tokenizer, loaded.max_length, truncate=True)
            seconds = fit(model, rows, recipe, seed, bar=False)
            accuracy = score(model, material, task)
        else:
            model = new_model(base, Adaptation("head" if way == "head alone" else "all"), seed)
            seconds = fit(model, material.sample(FEW, seed), recipe, seed, bar=False)
            accuracy = round(material.measured(model, FEW, seed)[0], 4)
        facts = {"model": way, "labels": FEW, "seed": seed, "rate": rate, "accuracy": accuracy}
        return facts | {"seconds": round(seconds, 1), "parameters": parameter_count(model)}

    return kept(f"{FEW}-{way.replace(' ', '-')}-{rate:g}-{seed}-{part}", options, work)
