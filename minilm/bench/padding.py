"""What padding costs: an epoch of fine-tuning in batches of similar lengths, and with more padding."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, table_of
from minilm.errors import InputError
from minilm.examples.batching import Batch, Dataset, batches_of_like_length
from minilm.examples.labelled import encode_texts, label_names
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.initialisation import initialise
from minilm.text import corpus
from minilm.text.prepare import prepare
from minilm.training.objectives import Classification
from minilm.training.optimizer import AdamW, clip_gradients, parameter_groups

OURS, LONGEST, MAXIMUM = "batches of similar lengths", "padded to the batch's longest", "padded to the model's length"
AGREE = 1e-4  # the largest difference that padding may make to a logit


def padded(batch: Batch, length: int) -> Batch:
    """The same batch with more padding after every text, up to `length` tokens."""
    more = (0, length - batch.input_ids.size(1))
    assert batch.token_type_ids is not None and batch.attention_mask is not None
    ids, types, mask = (F.pad(each, more) for each in (batch.input_ids, batch.token_type_ids, batch.attention_mask))
    return Batch(ids, types, mask, batch.labels)


def layouts(examples: Dataset, chosen: np.ndarray, batch: int, length: int, rng) -> dict[str, list[Batch]]:
    """The same texts, divided into batches in three ways."""
    alike = batches_of_like_length(examples.lengths[chosen], batch, rng)
    as_drawn = [examples.batch(chosen[i : i + batch].tolist()) for i in range(0, len(chosen), batch)]
    return {
        OURS: [examples.batch(chosen[some].tolist()) for some in alike],
        LONGEST: as_drawn,
        MAXIMUM: [padded(each, length) for each in as_drawn],
    }


def trainer(model: nn.Module) -> Callable[[Batch], None]:
    """A function that takes a training step on a batch: forward, loss, backward, clip, AdamW."""
    optimizer, objective = AdamW(parameter_groups(model, 0.01)), Classification()

    def step(batch: Batch) -> None:
        objective.loss(model, batch).value.backward()
        clip_gradients(model.parameters(), 1.0)
        optimizer.step(1e-4)
        optimizer.zero_grad()

    return step


@torch.no_grad()
def difference(model: nn.Module, one: list[Batch], other: list[Batch]) -> float:
    """The largest difference of the logits for the same texts in the same batches, padded in two ways."""
    model.eval()
    logits = [
        torch.cat([model(b.input_ids, b.token_type_ids, b.attention_mask) for b in batches]) for batches in (one, other)
    ]
    return float((logits[0] - logits[1]).abs().max())


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Tokens per second without padding, in turns. Raises RuntimeError if padding changes the logits."""
    s = options.size
    texts = corpus.labelled(options.texts)
    labels = [text.label for text in texts if text.label is not None]
    if len(labels) < len(texts):
        raise InputError(f"{options.texts} has texts without a label: fine-tuning needs one for each text.")
    names = label_names(labels, options.texts)
    tokenizer = prepare(options.corpus, options.cache, s.vocab_size, say=say).tokenizer
    examples = encode_texts(texts, names, tokenizer, s.length, truncate=True, where=options.texts)
    rng = np.random.default_rng(options.seed)
    rounds = []
    for _ in range(options.rounds + 1):
        chosen = rng.permutation(len(examples))[: s.steps * s.batch]
        rounds.append(layouts(examples, chosen, s.batch, s.length, rng))

    shape: dict[str, Any] = dict(
        width=s.width, layers=s.layers, heads=s.heads, feed_forward=4 * s.width, max_length=s.length
    )
    model = Classifier(Bert(TransformerConfig(vocab_size=tokenizer.size, **shape)), TextHeadConfig(names))
    initialise(model, generator=torch.Generator().manual_seed(options.seed))
    apart = difference(model, rounds[0][LONGEST], rounds[0][MAXIMUM])
    if not apart <= AGREE:
        raise RuntimeError(f"padding changes the logits by {apart:.1e}: the mask lets something through")

    def run(name: str) -> Callable[[int], None]:
        step = trainer(copy.deepcopy(model).train())

        def epoch(number: int) -> None:
            for batch in rounds[number][name]:
                step(batch)

        return epoch

    clocks = alternate({name: run(name) for name in rounds[0]}, options.rounds, options.progress)
    tokens = [sum(batch.tokens for batch in each[OURS]) for each in rounds[1:]]
    share = {name: tokens[0] / sum(batch.input_ids.numel() for batch in batches) for name, batches in rounds[1].items()}
    race = compared(clocks, tokens, "tokens", OURS)
    longest, mean = int(examples.lengths.max()), float(examples.lengths.mean())
    say(f"{options.texts}: texts of {mean:.0f} tokens on average, at most {longest}; the model takes {s.length}")
    say(table_of(race, "tokens"))
    say("share of tokens that are not padding: " + ", ".join(f"{share[name]:.0%} {name}" for name in share))
    lengths = {"mean_length": mean, "longest": longest}
    return {**race, "share_without_padding": share, **lengths, "logits_apart": apart}
