"""What the start decides: the same pretraining from BERT's published initialisation and from ours, as two curves."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from minilm.bench.options import BenchOptions
from minilm.bench.report import table
from minilm.examples.batching import Batch
from minilm.experiments.english import English
from minilm.jobs.pretrain import PretrainOptions, held_out_batches, prepare_for, pretrain
from minilm.text.prepare import Prepared
from minilm.training.state import read_metrics
from minilm.viz import plots

# name in the picture, folder, how it starts; all else is the recipe of the English quickstart. The published start gets
# the full rate for its embeddings: a smaller one is there to keep what word vectors know, and it has none.
PUBLISHED = (
    "published: N(0, 0.02²)",
    "published",
    dict(init="published", word_vectors=False, embedding_learning_rate_scale=1.0),
)
BETWEEN = "fan-in, word vectors", "fan-in", dict(init="fan-in", word_vectors=True)
OURS = "ours: neighbours, word vectors", "ours", dict(init="neighbours", word_vectors=True)


def settings(options: BenchOptions, folder: str, start: dict) -> PretrainOptions:
    """The options of one pretraining; one that was begun is gone on with, one that is done is taken as it is."""
    s, out = options.size, options.out / "initialisation" / folder
    return replace(
        English.pretraining,
        corpus=options.corpus,
        out=out,
        resume=(out / "training_state" / "latest.json").exists(),
        steps=s.steps,
        vocab_size=s.vocab_size,
        width=s.width,
        layers=s.layers,
        heads=s.heads,
        length=s.length,
        batch=s.batch,
        seed=options.seed,
        cache=options.cache,
        progress=options.progress,
        **start,
    )


def unigram_loss(prepared: Prepared, batches: list[Batch]) -> float:
    r"""−1/M Σ log p(wᵢ) over the masked words that are measured on: the loss of knowing how common words are, no more.

    p(w) = (n(w) + 1) / (N + V), from the training text; the 1 keeps a word that was never seen there possible.
    """
    V = prepared.tokenizer.size
    counts = np.bincount(prepared.train.ids, minlength=V)
    log_p = np.log(counts + 1) - np.log(counts.sum() + V)
    words = np.concatenate([batch.words[batch.words != -100].numpy() for batch in batches])
    return float(-log_p[words].mean())


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Pretrain from each start, write `initialisation.png`, and give the curves with the loss of guessing by frequency."""
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
