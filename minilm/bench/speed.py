"""How fast a pretraining step is: forward, both losses, backward, clipping and AdamW on the same batches of real text."""

from collections.abc import Callable
from itertools import count, islice

import torch

from minilm.bench.contenders import EAGER, OURS, READABLE, SDPA, TORCH, contenders
from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, table_of
from minilm.examples.batching import Batch
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.examples.labels import IGNORED
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.initialisation import initialise
from minilm.text.prepare import Prepared, prepare

AGREE = 1e-5  # relative: with the same weights and the same batch, the same model must give the same loss
NOTE = (
    "Same weights, same batches, dropout 0. Ours uses our AdamW, the referees use torch.optim.AdamW(fused=True). "
    "transformers computes logits at every position, all others only at the masked ones."
)


def new_model(options: BenchOptions, vocab_size: int) -> BertForPretraining:
    """A model of the size that is measured, before its first step."""
    s = options.size
    config = TransformerConfig(
        vocab_size=vocab_size,
        width=s.width,
        layers=s.layers,
        heads=s.heads,
        feed_forward=4 * s.width,
        max_length=s.length,
    )
    model = BertForPretraining(config)
    initialise(model, generator=torch.Generator().manual_seed(options.seed))
    return model


def batches_for(options: BenchOptions, prepared: Prepared, number: int) -> list[Batch]:
    """The first `number` batches of pretraining that hold pairs alone, made before any clock is started.

    Text without a second part has no next-sentence label, and a contender's mean over no label would be NaN.
    """
    s = options.size
    drawn = PretrainingBatches(prepared.train, prepared.tokenizer, s.length, s.batch, options.seed)
    pairs = (batch for batch in map(drawn.__getitem__, count()) if all_pairs(batch))
    return list(islice(pairs, number))


def all_pairs(batch: Batch) -> bool:
    """Whether every row is a pair of texts."""
    return batch.nsp_labels is not None and bool((batch.nsp_labels != IGNORED).all())


def measure(options: BenchOptions, say: Callable[[str], None]) -> dict:
    """Tokens per second of every contender, in turns. Raises RuntimeError if their first losses are not the same."""
    prepared = prepare(options.corpus, options.cache, options.size.vocab_size, say=say)
    model = new_model(options, prepared.tokenizer.size)
    k = options.size.steps
    batches = batches_for(options, prepared, k * (options.rounds + 1))
    rivals = contenders(model)

    def run(name: str) -> Callable[[int], None]:
        def one(number: int) -> None:
            for batch in batches[number * k : (number + 1) * k]:
                rivals[name].step(batch)

        return one

    clocks = alternate({name: run(name) for name in rivals}, options.rounds, options.progress)
    first = {name: rival.losses[0] for name, rival in rivals.items()}
    last = {name: rival.losses[-1] for name, rival in rivals.items()}
    apart = max(abs(loss / first[OURS] - 1) for loss in first.values())
    if not apart <= AGREE:
        raise RuntimeError(f"the contenders are not the same model: their first losses are {first}")
    tokens = [sum(batch.tokens for batch in batches[i * k : (i + 1) * k]) for i in range(1, options.rounds + 1)]
    race = compared(clocks, tokens, "tokens", OURS)
    say(f"{parameter_count(model):,} parameters, batches of {options.size.batch} × {options.size.length}. {NOTE}")
    say(table_of(race, "tokens"))
    steps = len(batches)
    say(
        f"first loss of all {first[OURS]:.6f}, at most {apart:.1e} apart (relative); after {steps} steps {last[OURS]:.6f}"
    )
    return {
        "parameters": parameter_count(model),
        "note": NOTE,
        **race,
        "first_loss": first,
        "first_loss_apart": apart,
        "last_loss": last,
    }


__all__ = ["EAGER", "OURS", "READABLE", "SDPA", "TORCH", "measure"]
