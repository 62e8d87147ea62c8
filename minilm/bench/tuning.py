"""The frugal ways of fine-tuning in one table: the same labels, the same test set, our own and published weights.  F08, F32, F33.

Each way learns with several learning rates on a development part, with one seed; the best of them is used with every seed and
measured on the test set. Every fit is a JSON file of its own, so that an interrupted run goes on where it was.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from minilm.bench.options import BenchOptions
from minilm.errors import InputError
from minilm.experiments.ladder import DROPOUT, Material
from minilm.experiments.quickstart import QuickstartOptions, pretraining_settings
from minilm.experiments.table import figures_table, mean_of
from minilm.experiments.tracks import track_for
from minilm.files.atomic import write_json
from minilm.jobs.pretrain import prepare_for
from minilm.models.adaptation import Adaptation, adapt
from minilm.models.config import parameter_count
from minilm.models.heads import Classifier
from minilm.models.initialisation import initialise
from minilm.pretrained.adapter import save_adapter
from minilm.pretrained.protocol import encoder_config, load_encoder, save_model
from minilm.pretrained.run_folder import tokenizer_for
from minilm.training.supervised import Recipe, fit

# way → the learning rates that are tried for our own weights and for published ones
WAYS: dict[str, tuple[Adaptation, tuple[float, ...], tuple[float, ...]]] = {
    "all weights": (Adaptation("all"), (2.5e-4, 5e-4, 1e-3), (5e-5, 1e-4, 2e-4)),
    "low-rank": (Adaptation("low-rank"), (1e-3, 3e-3, 1e-2), (5e-4, 1e-3, 2e-3, 5e-3, 1e-2)),
    "low-rank, everywhere": (Adaptation("low-rank", where="everywhere"), (1e-3, 3e-3, 1e-2), (5e-4, 1e-3, 2e-3)),
    "head": (Adaptation("head"), (3e-3, 1e-2, 3e-2), (3e-3, 1e-2, 3e-2)),
    "top layer": (Adaptation("top"), (5e-4, 1e-3, 2e-3), (1e-4, 2e-4, 5e-4)),
    "biases": (Adaptation("biases"), (2e-3, 5e-3, 1e-2), (5e-4, 1e-3, 3e-3, 1e-2)),
    "adapters": (Adaptation("adapters"), (1e-3, 3e-3, 1e-2), (5e-4, 1e-3, 3e-3, 1e-2)),
    "adaptive low-rank": (Adaptation("adaptive"), (1e-3, 3e-3, 1e-2), (5e-4, 1e-3, 2e-3, 5e-3, 1e-2)),
    "learned prompts": (Adaptation("prompts"), (3e-3, 1e-2, 3e-2), (3e-3, 1e-2, 3e-2)),
}
EPOCHS = {"own": 8, "published": 4}  # those of the ladder
CLOSE = 0.01  # a point of accuracy


@dataclass(frozen=True)
class Base:
    """Weights that are adapted: their name in the table, where they lie, and the examples as their tokenizer cuts them."""

    name: str
    path: str
    test: Material
    development: Material


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Fit every way on every base, and report the table. Raises InputError if the pretrained model or a row is missing."""
    if unknown := [name for name in options.rows if name not in WAYS]:
        raise InputError(f"there is no row '{unknown[0]}': choose from {'; '.join(WAYS)}.")
    rows: list[dict] = []
    for base in bases(options, say):
        for way in options.rows or WAYS:
            _, own, published = WAYS[way]
            rates = own if base.name == "own" else published
            tried = {rate: fitted(base, way, rate, 0, True, options)["accuracy"] for rate in rates}
            best = max(rates, key=lambda rate: (tried[rate], -rate))
            say(
                f"{base.name} · {way}: {'  '.join(f'{rate:g}: {score:.3f}' for rate, score in tried.items())} → {best:g}"
            )
            rows += [fitted(base, way, best, seed, False, options) for seed in range(options.repeats)]
            say(table(rows, [way], base.name).splitlines()[-1])
    for name in dict.fromkeys(row["base"] for row in rows):
        say(f"\n{name} weights, {rows[0]['labels']} labels, {options.repeats} seed(s)\n{table(rows, list(WAYS), name)}")
        say(verdict(rows, name))
    return {"rows": rows}


def table(rows: list[dict], ways: list[str], base: str) -> str:
    """The rows of one base as a markdown table."""
    mine = [row for row in rows if row["base"] == base and row["model"] in ways]
    facts = {"rate": "{:g}", "share": "{:.2%}", "bytes": "{:,}"}
    return figures_table(mine, {"accuracy": "{:.3f}"}, facts)


def verdict(rows: list[dict], base: str) -> str:
    """Whether low-rank comes within a point of all weights."""
    mine = [row for row in rows if row["base"] == base]
    models = {row["model"] for row in mine}
    if not {"all weights", "low-rank"} <= models:
        return ""
    whole, low = (mean_of(mine, "accuracy", way, mine[0]["labels"]) for way in ("all weights", "low-rank"))
    share = next(row["share"] for row in mine if row["model"] == "low-rank")
    said = "within a point of" if low >= whole - CLOSE else "more than a point below"
    return f"low-rank, {share:.2%} trained: {low:.3f}, {said} all weights ({whole:.3f})"


def bases(options: BenchOptions, say: Callable[[str], None]) -> list[Base]:
    """Our own pretrained weights, and the published ones, with the test set of the ladder and its development part."""
    quickstart = QuickstartOptions("en", cache=options.cache)
    track = track_for("en")
    settings = pretraining_settings(quickstart, track)
    if not (settings.out / "config.json").exists():
        raise InputError(f"{settings.out} holds no pretrained model: run the quickstart first (make quickstart).")
    prepared = prepare_for(settings, say)
    material = track.material(prepared, settings, torch.device("cpu"), say)
    development = track.development(material, settings)
    out = []
    for name in options.bases:
        path = str(settings.out) if name == "own" else options.model
        config = encoder_config(path)[1]
        cut = [
            Material.encoded(m.task, (m.examples, m.test_examples), tokenizer_for(config, path), limit, m.device)
            for m in (material, development)
            for limit in [settings.length if name == "own" else config.max_length]
        ]
        out.append(Base(name, path, *cut))
    return out


def new_model(base: Base, adaptation: Adaptation, seed: int, dropout: float = DROPOUT) -> Classifier:
    """The base with a fresh head, adapted."""
    architecture, config = encoder_config(base.path)
    generator = torch.Generator().manual_seed(seed)
    model = Classifier(architecture.build_encoder(replace(config, dropout=dropout)), base.test.task.head(dropout))
    initialise(model, generator=generator)
    load_encoder(model, base.path)
    adapt(model, adaptation, generator)
    return model


def fitted(base: Base, way: str, rate: float, seed: int, on_development: bool, options: BenchOptions) -> dict:
    """The row of one fit, from its file if there is one."""
    labels = options.labels or track_for("en").labels[0]
    part = "development" if on_development else "test"
    path = options.out / "tuning" / f"{base.name}-{way.replace(' ', '-')}-{labels}-{rate:g}-{seed}-{part}.json"
    if path.exists() and not options.again:
        return json.loads(path.read_text(encoding="utf-8"))
    adaptation, material = WAYS[way][0], base.development if on_development else base.test
    model = new_model(base, adaptation, seed)
    every = sum(parameter.numel() for parameter in load_size(base))
    recipe = Recipe(epochs=options.epochs or EPOCHS[base.name], learning_rate=rate, head_only=way == "head")
    seconds = fit(model, material.sample(labels, seed), recipe, seed, bar=False)
    accuracy = material.measured(model, labels, seed)[0]
    trained = parameter_count(model)
    row = {
        "model": way,
        "base": base.name,
        "labels": labels,
        "seed": seed,
        "rate": rate,
        "accuracy": round(accuracy, 4),
    }
    row |= {"seconds": round(seconds, 1), "parameters": trained, "share": trained / every}
    row["bytes"] = bytes_on_disk(model, adaptation, base)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, row)
    return row


def load_size(base: Base) -> list[torch.nn.Parameter]:
    """The parameters of the base with its head, none of them adapted."""
    architecture, config = encoder_config(base.path)
    with torch.device("meta"):
        return list(Classifier(architecture.build_encoder(config), base.test.task.head(DROPOUT)).parameters())


def bytes_on_disk(model: Classifier, adaptation: Adaptation, base: Base) -> int:
    """What has to be kept beside the base; for all weights, the weights."""
    with tempfile.TemporaryDirectory() as folder:
        if adaptation.tune == "all":
            save_model(Path(folder), model, base.test.tokenizer)
            return (Path(folder) / "model.safetensors").stat().st_size
        save_adapter(Path(folder), model, adaptation, base.path)
        return sum(file.stat().st_size for file in Path(folder).iterdir())
