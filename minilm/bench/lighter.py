"""A fine-tuned model made lighter: 8 bits, weights left out, heads left out. Accuracy against bytes and milliseconds.

D1 §7.4 names both ways: computing with low precision, and pruning.
"""

import statistics
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, table
from minilm.experiments.intervals import estimate
from minilm.experiments.subjects import ALL, OWN, PUBLISHED, Subject, subjects
from minilm.files.atomic import write_json
from minilm.files.tensors import read_json, write_tensors
from minilm.layers.eight_bit import in_eight_bits
from minilm.layers.pruning import without_heads, without_smallest
from minilm.pretrained.weights import weights_of
from minilm.training.head_importance import least_important
from minilm.training.inference import predicted_labels
from minilm.viz.lighter import lighter as picture

WHOLE = "32 bits"
TEXTS = 32  # that are timed, one at a time
SHARES, HEADS = (0.3, 0.5, 0.7, 0.9), (0.25, 0.5, 0.75)

Make = Callable[[nn.Module, Subject, int], nn.Module]


class Way(NamedTuple):
    """A way to make a model lighter, for a model, its subject and the seed of its labelled sentences."""

    family: str
    make: Make


def heads_left_out(share: float) -> Make:
    """Leave out this share of the heads, those first that matter least for the labelled sentences."""

    def make(model: nn.Module, subject: Subject, seed: int) -> nn.Module:
        sample = subject.sentences.sample(min(200, len(subject.sentences.examples)), seed)
        return without_heads(model, least_important(model, sample, share))

    return make


WAYS: dict[str, Way] = {
    WHOLE: Way("none", lambda model, subject, seed: model),
    "8-bit layers": Way("8 bits", lambda model, *_: in_eight_bits(model)),
    "8-bit layers, float product": Way("8 bits", lambda model, *_: in_eight_bits(model, integer=False)),
    "8-bit layers and tokens": Way("8 bits", lambda model, *_: in_eight_bits(model, embeddings=True)),
    **{
        f"{share:.0%} of the weights left out": Way(
            "weights", lambda model, *_, share=share: without_smallest(model, share)
        )
        for share in SHARES
    },
    **{f"{share:.0%} of the heads left out": Way("heads", heads_left_out(share)) for share in HEADS},
    "50% of the heads left out, 8-bit layers and tokens": Way(
        "heads, 8 bits", lambda *given: in_eight_bits(heads_left_out(0.5)(*given), embeddings=True)
    ),
}


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Every way, on both kinds of weights and with several seeds. What is measured is kept in `<out>/lighter/`."""
    folder = options.out / "lighter"
    labels = options.labels or 500
    own = options.pretrained or Path("runs/quickstart/pretrained")
    found = subjects(options.weights or (OWN, PUBLISHED), own, options.model, options.cache, options.models, say)
    results: dict[str, Any] = {}
    for subject in found.values():
        seeds = []
        for seed in range(options.repeats):
            path = folder / f"{subject.name}-{labels}-{seed}-{options.held_out}.json"
            if not path.exists():
                folder.mkdir(parents=True, exist_ok=True)
                write_json(path, one_seed(subject, labels, seed, options))
            seeds.append(read_json(path))
        results[subject.name] = rows_of(seeds)
        say(f"\n{subject.name} weights, {len(seeds)} seed(s), one text at a time")
        say(table_of(results[subject.name]))
    path = options.out / "lighter.png"
    picture(results, path)
    say(f"The picture is {path}.")
    return {"rows": results, "labels": labels}


def one_seed(subject: Subject, labels: int, seed: int, options: BenchOptions) -> dict:
    """For each way: which test sentences are right, the bytes of its file, and the seconds of each round."""
    model = subject.fitted(ALL, labels, seed).model
    test = subject.sentences.test.subset(range(min(options.held_out, len(subject.sentences.test))))
    models = {name: way.make(model, subject, seed).eval() for name, way in WAYS.items()}
    seconds = timed(models, subject, options)
    out = {}
    for name, each in models.items():
        right = predicted_labels(each, test) == np.array(test.labels)
        stored, zipped = sizes_of(each)
        facts = {"right": "".join("01"[int(r)] for r in right), "bytes": stored, "zipped": zipped}
        out[name] = facts | {"seconds": seconds[name]}
    return out


def timed(models: dict[str, nn.Module], subject: Subject, options: BenchOptions) -> dict[str, list[float]]:
    """The seconds per text of each round, in turns, one text at a time."""
    rows = subject.sentences.test.rows[:TEXTS]

    def run(name: str) -> Callable[[int], None]:
        def one(number: int) -> None:
            with torch.inference_mode():
                for row in rows:
                    models[name](torch.tensor([row]))

        return one

    clocks = alternate({name: run(name) for name in models}, options.rounds, options.progress)
    return {name: [seconds / len(rows) for seconds in each] for name, each in clocks.cpu.items()}


def sizes_of(model: nn.Module) -> tuple[int, int]:
    """The bytes of the model's file, as it is and compressed (zlib). Zeros only save room in a compressed file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        write_tensors(path, weights_of(model))
        content = path.read_bytes()
    return len(content), len(zlib.compress(content, 6))


def rows_of(seeds: list[dict]) -> list[dict]:
    """One row for each way: the accuracy and what it lost, with intervals; bytes; milliseconds per text."""
    right = {name: np.stack([[digit == "1" for digit in seed[name]["right"]] for seed in seeds]) for name in seeds[0]}
    rows = []
    for name in seeds[0]:
        each = [seed[name] for seed in seeds]
        milliseconds = [1000 * statistics.median(one["seconds"]) for one in each]
        facts = {"way": name, "family": WAYS[name].family, "accuracy": estimate(right[name])._asdict()}
        facts["lost"] = estimate(right[WHOLE].astype(float) - right[name])._asdict()
        facts |= {key: round(statistics.mean(one[key] for one in each)) for key in ("bytes", "zipped")}
        rows.append(facts | {"milliseconds": statistics.mean(milliseconds), "each": milliseconds})
    return rows


def table_of(rows: list[dict]) -> str:
    """The rows as text."""
    return table(
        ("", "accuracy", "lost", "[95 %]", "MB", "MB zipped", "ms per text"),
        [
            (
                row["way"],
                f"{row['accuracy']['mean']:.3f}" + f" ± {row['accuracy']['seeds']:.3f}" * (row["accuracy"]["fits"] > 1),
                f"{row['lost']['mean']:+.3f}",
                f"[{row['lost']['low']:+.3f}, {row['lost']['high']:+.3f}]",
                f"{row['bytes'] / 1e6:.2f}",
                f"{row['zipped'] / 1e6:.2f}",
                f"{row['milliseconds']:.2f}",
            )
            for row in rows
        ],
    )
