"""How fast a pretraining step is: forward, both losses, backward, clipping and AdamW on the same batches of real text."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import count, islice
from typing import Any

import torch

from minilm.bench.bars import Bar
from minilm.bench.contenders import ONEDNN, OURS, SDPA, TORCH, Contender, contenders, ours
from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, table_of
from minilm.examples.batching import Batch
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.examples.labels import IGNORED
from minilm.experiments.tracks import track_for
from minilm.jobs.pretrain import PretrainOptions
from minilm.jobs.pretraining_data import batches_for as batches_of
from minilm.models.bert import BertForPretraining
from minilm.models.config import TransformerConfig, parameter_count
from minilm.models.initialisation import initialise
from minilm.text.prepare import Prepared, prepare

STEPS_OF_QUICKSTART = 4
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


def in_turns(rivals: Mapping[str, Contender], batches: list[Batch], k: int, options: BenchOptions) -> tuple[dict, dict]:
    """The race of these contenders, k batches at a time, and their first losses.

    Raises RuntimeError if their first losses are not the same.
    """

    def run(rival: Contender) -> Callable[[int], None]:
        return lambda number: rival.learn(batches[number * k : (number + 1) * k])

    clocks = alternate({name: run(rival) for name, rival in rivals.items()}, options.rounds, options.progress)
    first = {name: rival.losses[0] for name, rival in rivals.items()}
    apart = max(abs(loss / first[OURS] - 1) for loss in first.values())
    if not apart <= AGREE:
        raise RuntimeError(f"the contenders are not the same model: their first losses are {first}")
    tokens = [sum(batch.tokens for batch in batches[i * k : (i + 1) * k]) for i in range(1, options.rounds + 1)]
    losses = {
        "first_loss": first,
        "first_loss_apart": apart,
        "last_loss": {name: rival.losses[-1] for name, rival in rivals.items()},
    }
    return compared(clocks, tokens, "tokens", OURS), losses


def times_of(race: dict, name: str, ours: str) -> list[float]:
    """How many times the processor's seconds of `ours` another one took, round by round."""
    seconds = {row["name"]: row["cpu_seconds"] for row in race["rows"]}
    return [theirs / mine for theirs, mine in zip(seconds[name], seconds[ours], strict=True)]


def pretraining(options: BenchOptions, say: Callable[[str], None]) -> tuple[dict, list[Bar]]:
    """A step of every contender. Raises RuntimeError if their first losses are not the same."""
    prepared = prepare(options.corpus, options.cache, options.size.vocab_size, say=say)
    model = new_model(options, prepared.tokenizer.size)
    k = options.size.steps
    batches = batches_for(options, prepared, k * (options.rounds + 1))
    race, losses = in_turns(contenders(model), batches, k, options)
    first = losses["first_loss"]
    say(f"{parameter_count(model):,} parameters, batches of {options.size.batch} × {options.size.length}. {NOTE}")
    say(table_of(race, "tokens"))
    say(
        f"first loss of all {first[OURS]:.6f}, at most {losses['first_loss_apart']:.1e} apart (relative); after "
        f"{len(batches)} steps {losses['last_loss'][OURS]:.6f}"
    )
    bars = [
        Bar(f"pretraining step, {name}", rival, goal, times_of(race, rival, name))
        for rival, goal in {SDPA: 2.5, TORCH: 1.3}.items()
        for name in (OURS, ONEDNN)
        if name in first
    ]
    return {"parameters": parameter_count(model), "note": NOTE, **race, **losses}, bars


# ---- the quickstart's own step, and its batches


def quickstart_settings(options: BenchOptions) -> PretrainOptions:
    """The quickstart's pretraining, with the sizes and places that were given."""
    own = track_for("en").pretraining
    sizes = ("width", "layers", "heads", "batch", "length", "vocab_size")
    given = {name: value for name in sizes if (value := getattr(options, name)) is not None}
    return replace(own, corpus=options.corpus, cache=options.cache, seed=options.seed, progress=False, **given)


def quickstart(options: BenchOptions, say: Callable[[str], None]) -> tuple[BertForPretraining, Any, int]:
    """The quickstart's model before its first step, its batches, and how many of them make one run."""
    settings = quickstart_settings(options)
    prepared = prepare(options.corpus, options.cache, settings.vocab_size, say=say)
    model = BertForPretraining(settings.model_config(prepared.tokenizer.size))
    initialise(model, generator=torch.Generator().manual_seed(options.seed))
    return model, batches_of(settings, prepared), options.steps or STEPS_OF_QUICKSTART


def quickstart_step(options: BenchOptions, say: Callable[[str], None]) -> tuple[dict, list[Bar]]:
    """The quickstart's own step with the products of either library."""
    model, drawn, k = quickstart(options, say)
    batches = [drawn[i] for i in range(k * (options.rounds + 1))]
    race, losses = in_turns(ours(model), batches, k, options)
    say(f"{parameter_count(model):,} parameters, at most {model.config.max_length} tokens per row")
    say(table_of(race, "tokens"))
    bars = [Bar("the quickstart's step, products by oneDNN", "the same as it is", 1.5, times_of(race, OURS, ONEDNN))]
    return {"parameters": parameter_count(model), **race, **losses}, bars if ONEDNN in losses["first_loss"] else []


def examples(options: BenchOptions, say: Callable[[str], None]) -> tuple[dict, list[Bar]]:
    """Making a batch of the quickstart, its share of the drawing of a round included, beside the step that learns from it."""
    model, drawn, k = quickstart(options, say)
    rivals = ours(model)
    made: list[Batch] = []

    def build(number: int) -> None:
        made[:] = [drawn[i] for i in range(number * k, (number + 1) * k)]

    def learn(rival: Contender) -> Callable[[int], None]:
        return lambda number: rival.learn(made)

    runs = {"making batches": build} | {name: learn(rival) for name, rival in rivals.items()}
    rounds = alternate({"drawing": lambda number: drawn.open_round(0)}, options.rounds, options.progress).cpu["drawing"]
    drawn[0]
    for_one = statistics.median(rounds) / len(drawn.batches)  # of a batch, in the drawing of its round
    clocks = alternate(runs, options.rounds, options.progress)
    making = [seconds / k + for_one for seconds in clocks.cpu["making batches"]]
    shares = {
        name: [batch / (step / k) for batch, step in zip(making, clocks.cpu[name], strict=True)] for name in rivals
    }
    say(f"{1000 * statistics.median(making):.2f} ms for a batch, {1000 * for_one:.3f} of them for drawing its rows")
    bars = [Bar("making a batch", f"a step, {name}", 0.03, each, True, "%") for name, each in shares.items()]
    return {"seconds_per_batch": making, "drawing_seconds_per_batch": for_one, "shares": shares}, bars
