"""How much the initialisation decides: the same pretraining from BERT's published one and from ours, as two curves.

Both have learned positions, as BERT has, and everything else of the recipe that the English quickstart had with them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from minilm.bench.options import BenchOptions
from minilm.bench.report import table
from minilm.bench.variants import OLD_RECIPE
from minilm.examples.batching import Batch
from minilm.examples.labels import IGNORED
from minilm.experiments.english import English
from minilm.jobs.pretrain import PretrainOptions, held_out_batches, prepare_for, pretrain
from minilm.text.prepare import Prepared
from minilm.training.state import read_metrics
from minilm.viz import plots

# Name in the picture, folder, and how it starts; everything else is the old recipe. With the
# published start the embeddings learn at the full learning rate: a smaller one keeps what word vectors know, and it has none.
PUBLISHED = (
    "published: N(0, 0.02²)",
    "published",
    dict(init="published", word_vectors=False, embedding_learning_rate_scale=1.0),
)
BETWEEN = "fan-in, word vectors", "fan-in", dict(init="fan-in", word_vectors=True)
OURS = "ours: neighbours, word vectors", "ours", dict(init="neighbours", word_vectors=True)


def settings(options: BenchOptions, folder: str, start: dict) -> PretrainOptions:
    """The options of one pretraining. One that was begun is resumed, and one that is complete is used as it is."""
    s, out = options.size, options.out / "initialisation" / folder
    return replace(
        English.pretraining,
        **OLD_RECIPE["en"] | dict(layers=s.layers, heads=s.heads, batch=s.batch) | start,
        evaluations=12,
        corpus=options.corpus,
        out=out,
        resume=(out / "training_state" / "latest.json").exists(),
        steps=s.steps,
        vocab_size=s.vocab_size,
        width=s.width,
        length=s.length,
        seed=options.seed,
        cache=options.cache,
        progress=options.progress,
    )


def unigram_loss(prepared: Prepared, batches: Sequence[Batch]) -> float:
    r"""−1/M Σ log p(wᵢ) over the M masked tokens that are measured on: the loss of a model that knows only frequencies.

    p(w) = (n(w) + 1) / (N + V), counted in the training text; the 1 gives tokens that do not occur there a chance.
    """
    V = prepared.tokenizer.size
    counts = np.bincount(prepared.train.ids, minlength=V)
    log_p = np.log(counts + 1) - np.log(counts.sum() + V)
    labels = (batch.labels for batch in batches if batch.labels is not None)
    masked = np.concatenate([each[each != IGNORED].numpy() for each in labels])
    return float(-log_p[masked].mean())


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Pretrain from each start, write `initialisation.png`, and return the curves and the loss of guessing by frequency."""
    starts = [PUBLISHED, BETWEEN, OURS] if options.all else [PUBLISHED, OURS]
    curves = {}
    for name, folder, start in starts:
        say(f"\n{name}")
        pretrain(run := settings(options, folder, start), say)
        curves[name] = read_metrics(run.out)
    prepared = prepare_for(run, say)
    unigram = unigram_loss(prepared, held_out_batches(prepared, run.length))
    picture = options.out / "initialisation.png"
    plots.pretraining_curves(curves, picture, unigram)
    rows = [
        (name, f"{last['mlm_loss']:.3f}", f"{last['nsp_accuracy']:.1%}", f"{last['seconds'] / 60:.1f}")
        for name, (*_, last) in curves.items()
    ]
    say("\n" + table((f"after {options.size.steps:,} steps", "masked words (nats)", "next sentence", "minutes"), rows))
    say(f"guessing by word frequency alone: {unigram:.3f} nats; the picture: {picture}")
    return {
        "unigram_loss": unigram,
        "picture": str(picture),
        "rows": [{"name": name, "start": start, **curves[name][-1]} for name, _, start in starts],
        "curves": curves,
    }
