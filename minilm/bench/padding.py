"""What padding costs: an epoch of fine-tuning with every text padded to the model's length, and with like beside like."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, table_of
from minilm.errors import InputError
from minilm.examples.batching import batches_of_like_length
from minilm.examples.labelled import Batch, Dataset, encode_texts, label_names
from minilm.models.config import TransformerConfig
from minilm.models.heads import BertClassifier, HeadConfig
from minilm.models.initialisation import initialise
from minilm.text import corpus
from minilm.text.prepare import prepare
from minilm.training.losses import cross_entropy
from minilm.training.optimizer import AdamW, clip_gradients, parameter_groups

OURS, LONGEST, MAXIMUM = "batches of like lengths", "padded to the batch's longest", "padded to the model's length"
AGREE = 1e-4  # the largest difference that padding may make to a score


def padded(batch: Batch, length: int) -> Batch:
    """The same batch with more padding behind every text."""
    more = (0, length - batch.ids.size(1))
    parts = (F.pad(each, more) for each in (batch.ids, batch.token_type_ids, batch.real))
    return Batch(*parts, batch.labels)


def layouts(examples: Dataset, chosen: np.ndarray, batch: int, length: int, rng) -> dict[str, list[Batch]]:
    """The same texts, put into batches in three ways."""
    alike = batches_of_like_length(examples.lengths[chosen], batch, rng)
    as_drawn = [examples.batch(chosen[i : i + batch].tolist()) for i in range(0, len(chosen), batch)]
    return {
        OURS: [examples.batch(chosen[some].tolist()) for some in alike],
        LONGEST: as_drawn,
        MAXIMUM: [padded(each, length) for each in as_drawn],
    }


def trainer(model: nn.Module) -> Callable[[Batch], None]:
    """Forward, loss, backward, clip, AdamW."""
    optimizer = AdamW(parameter_groups(model, 0.01))

    def step(batch: Batch) -> None:
        cross_entropy(model(batch.ids, batch.token_type_ids, batch.real), batch.labels).value.backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step(1e-4)
        optimizer.zero_grad()

    return step


@torch.no_grad()
def difference(model: nn.Module, one: list[Batch], other: list[Batch]) -> float:
    """How far apart the scores are for the same texts in the same batches, padded in two ways."""
    model.eval()
    scores = [torch.cat([model(b.ids, b.token_type_ids, b.real) for b in batches]) for batches in (one, other)]
    return float((scores[0] - scores[1]).abs().max())


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Real tokens a second, in turns. Raises RuntimeError if padding changes what the model says."""
    s = options.size
    texts = corpus.labelled(options.texts)
    if any(text.label is None for text in texts):
        raise InputError(f"{options.texts} has texts without a label: a step of fine-tuning needs one for each.")
    names = label_names([text.label for text in texts], options.texts)
    tokenizer = prepare(options.corpus, options.cache, s.vocab_size, say=say).tokenizer
    examples = encode_texts(texts, names, tokenizer, s.length, truncate=True, where=options.texts)
    rng = np.random.default_rng(options.seed)
    rounds = []
    for _ in range(options.rounds + 1):
        chosen = rng.permutation(len(examples))[: s.steps * s.batch]
        rounds.append(layouts(examples, chosen, s.batch, s.length, rng))

    shape = dict(width=s.width, layers=s.layers, heads=s.heads, feed_forward=4 * s.width, max_length=s.length)
    model = BertClassifier(TransformerConfig(vocab_size=tokenizer.size, **shape), HeadConfig(names))
    initialise(model, generator=torch.Generator().manual_seed(options.seed))
    apart = difference(model, rounds[0][LONGEST], rounds[0][MAXIMUM])
    if not apart <= AGREE:
        raise RuntimeError(f"padding changes the scores by {apart:.1e}: the mask leaks")

    def run(name: str) -> Callable[[int], None]:
        step = trainer(copy.deepcopy(model).train())

        def epoch(number: int) -> None:
            for batch in rounds[number][name]:
                step(batch)

        return epoch

    clocks = alternate({name: run(name) for name in rounds[0]}, options.rounds, options.progress)
    real = [sum(int(batch.real.sum()) for batch in each[OURS]) for each in rounds[1:]]
    share = {name: real[0] / sum(batch.ids.numel() for batch in batches) for name, batches in rounds[1].items()}
    race = compared(clocks, real, "tokens", OURS)
    longest, mean = int(examples.lengths.max()), float(examples.lengths.mean())
    say(
        f"{options.texts}: texts of {mean:.0f} tokens on average, the longest has {longest}; the model takes {s.length}"
    )
    say(table_of(race, "tokens"))
    say("of what is computed, real words are: " + ", ".join(f"{share[name]:.0%} {name}" for name in share))
    return {
        **race,
        "share_of_real_tokens": share,
        "mean_length": mean,
        "longest": longest,
        "scores_apart": apart,
    }
