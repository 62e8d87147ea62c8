"""The rows of `minilm bench speed` that are not about a pretraining step: fine-tuning, LSTM, corpus, imports, sentence vectors."""

import copy
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from minilm.bench import lstm as recurrence, padding
from minilm.bench.bars import Bar
from minilm.bench.bridge import (
    ONEDNN as VECTORS_ONEDNN,
    OURS as VECTORS_OURS,
    SENTENCES,
    THEIRS,
    inference,
    referee_library,
)
from minilm.bench.bridge_training import their_step
from minilm.bench.contenders import DECAY
from minilm.bench.options import BenchOptions
from minilm.bench.report import alternate, compared, ratios, table_of
from minilm.examples.batching import Batch
from minilm.examples.labelled import encode_texts, label_names
from minilm.files.notes import unheard
from minilm.layers.products import has_onednn, products
from minilm.models.bert import Bert
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.models.initialisation import initialise
from minilm.pretrained.protocol import open_encoder, save_model
from minilm.text import corpus
from minilm.text.prepare import prepare, read_documents
from minilm.text.store import BATCH
from minilm.training.optimizer import parameter_groups
from minilm.training.tasks import TextTask

OURS, ONEDNN, PADDED = "minilm", "minilm, products by oneDNN", "transformers, padded to the model's length"
AGREE = 1e-4  # the largest difference of two logits
STORE, ENCODING = "minilm, from text to store", "tokenizers, encoding alone"

Say = Callable[[str], None]


def for_what(options: BenchOptions, what: Any) -> BenchOptions:
    """The same options with the sizes of another measurement, where no others were given."""
    return replace(options, what=what, rows=())


# ---- fine-tuning


def finetuning(options: BenchOptions, say: Say) -> tuple[dict, list[Bar]]:
    """The same short texts and weights, in batches of similar lengths here, and padded to the model's length in `transformers`.

    Raises RuntimeError if the two give different logits.
    """
    transformers, s = referee_library(), for_what(options, "padding").size
    texts = [text for text in corpus.labelled(options.texts) if text.label is not None]
    names = label_names(TextTask.labels_of(texts), options.texts)
    tokenizer = prepare(options.corpus, options.cache, s.vocab_size, say=say).tokenizer
    data = encode_texts(texts, names, tokenizer, s.length, truncate=True, where=options.texts)
    rng = np.random.default_rng(options.seed)
    rounds = [
        padding.layouts(data, rng.permutation(len(data))[: s.steps * s.batch], s.batch, s.length, rng)
        for _ in range(options.rounds + 1)
    ]
    sizes: dict[str, Any] = dict(
        width=s.width, layers=s.layers, heads=s.heads, feed_forward=4 * s.width, max_length=s.length
    )
    model = Classifier(Bert(TransformerConfig(tokenizer.size, **sizes)), TextHeadConfig(names, 0.0, "cls"))
    initialise(model, generator=torch.Generator().manual_seed(options.seed))
    with tempfile.TemporaryDirectory() as folder:
        save_model(Path(folder), model, tokenizer)
        theirs = transformers.BertForSequenceClassification.from_pretrained(folder).train()
    apart = logits_apart(model, theirs, rounds[0][padding.OURS][0], rounds[0][padding.MAXIMUM][0])
    if not apart <= AGREE:
        raise RuntimeError(f"the models are not the same: their logits are {apart:.1e} apart")
    steps = {name: padding.trainer(copy.deepcopy(model).train()) for name in (OURS, ONEDNN)[: 1 + has_onednn()]}
    groups = [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in parameter_groups(theirs, DECAY)]
    optimizer = torch.optim.AdamW(groups, lr=1e-4, fused=True)

    def epoch(name: str) -> Callable[[int], None]:
        def run(number: int) -> None:
            with products("onednn" if name == ONEDNN else "torch"):
                for batch in rounds[number][padding.OURS]:
                    steps[name](batch)

        return run

    def padded(number: int) -> None:
        for batch in rounds[number][padding.MAXIMUM]:
            their_step(theirs, optimizer, as_they_take_it(batch), 1.0)

    clocks = alternate({name: epoch(name) for name in steps} | {PADDED: padded}, options.rounds, options.progress)
    tokens = [sum(batch.tokens for batch in each[padding.OURS]) for each in rounds[1:]]
    race = compared(clocks, tokens, "tokens", OURS)
    mean = float(data.lengths.mean())
    say(f"{options.texts}: texts of {mean:.0f} tokens on average, padded to {s.length} there")
    say(table_of(race, "tokens"))
    bars = [Bar(f"fine-tuning, {name}", PADDED, 6.0, ratios(clocks.cpu, name)[PADDED]["each"]) for name in steps]
    return {"mean_length": mean, "logits_apart": apart, **race}, bars


def as_they_take_it(batch: Batch) -> dict[str, Tensor]:
    """A batch in the names and types of `transformers`."""
    assert batch.token_type_ids is not None and batch.attention_mask is not None and batch.labels is not None
    mask = batch.attention_mask.long()
    return dict(
        input_ids=batch.input_ids, token_type_ids=batch.token_type_ids, attention_mask=mask, labels=batch.labels
    )


@torch.no_grad()
def logits_apart(model: nn.Module, theirs: nn.Module, batch: Batch, longer: Batch) -> float:
    """The largest difference of the logits of one padded batch, and of what our model says of another batch of its own, padded."""
    more = padding.padded(batch, longer.input_ids.size(1))
    ours = [model(each.input_ids, each.token_type_ids, each.attention_mask) for each in (batch, longer)]
    other = [theirs(**as_they_take_it(each)).logits for each in (more, longer)]
    return max(float((a - b).abs().max()) for a, b in zip(ours, other, strict=True))


# ---- the LSTM


def lstm(options: BenchOptions, say: Say) -> tuple[dict, list[Bar]]:
    """`minilm bench lstm`, with the products of either library."""
    found, bars = {}, []
    for name, by in {"ours": "torch", "ours, products by oneDNN": "onednn"}.items():
        if by == "torch" or has_onednn():
            say(f"\n{name}:")
            with products(by):
                found[by] = recurrence.measure(for_what(options, "lstm"), say)
            times = found[by]["forward_and_backward"]["cpu_ratios"][recurrence.REFEREE]["each"]
            bars.append(Bar(f"LSTM, {name}", "nn.LSTM", 1.1, [1 / each for each in times], at_most=True))
    return found, bars


# ---- a corpus


@contextmanager
def one_process_of_tokenizers() -> Iterator[None]:
    """Let the library `tokenizers` encode on one thread."""
    name, before = "TOKENIZERS_PARALLELISM", os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ[name] = "false"
    try:
        yield
    finally:
        os.environ.pop(name)
        if before is not None:
            os.environ[name] = before


def corpus_to_store(options: BenchOptions, say: Say) -> tuple[dict, list[Bar]]:
    """A text file becomes two stores of ids, with the tokenizer given; and `tokenizers` encodes the same lines and forgets them.

    Raises RuntimeError if the two do not find equally many tokens.
    """
    prepared = prepare(options.corpus, options.cache, options.size.vocab_size, say=say)
    tokenizer, found = prepared.tokenizer, {STORE: 0, ENCODING: 0}
    with tempfile.TemporaryDirectory() as place, one_process_of_tokenizers():
        text = Path(place) / "text.txt"
        parts = ((prepared.folder / f"{part}.txt").read_bytes() for part in ("train", "held_out"))
        text.write_bytes(b"\n".join(part.rstrip(b"\n") + b"\n" for part in parts))

        def to_store(number: int) -> None:
            made = prepare(str(text), Path(place) / str(number), tokenizer=tokenizer, say=unheard, pairs=False)
            found[STORE] = made.train.tokens + made.held_out.tokens

        def encode(number: int) -> None:
            lines = [line for document in read_documents(text) for line in document]
            tokens = 0
            for start in range(0, len(lines), BATCH):
                rows = tokenizer.backend.encode_batch_fast(lines[start : start + BATCH], add_special_tokens=False)
                tokens += sum(map(len, rows))
            found[ENCODING] = tokens

        clocks = alternate({STORE: to_store, ENCODING: encode}, options.rounds, options.progress)
        megabytes = text.stat().st_size / 1e6
    if found[STORE] != found[ENCODING]:
        raise RuntimeError(f"the store has other tokens than the library finds: {found}")
    race = compared(clocks, [megabytes] * options.rounds, "megabytes", STORE)
    say(f"{megabytes:.1f} MB, {found[STORE]:,} tokens")
    say(table_of(race, "megabytes"))
    times = ratios(clocks.cpu, ENCODING)[STORE]["each"]
    return {"megabytes": megabytes, "tokens": found[STORE], **race}, [Bar(STORE, ENCODING, 1.3, times, at_most=True)]


# ---- imports

IMPORTS, FIRST = ("torch", "minilm", "minilm.models.bert"), "torch"
CLOCK = "import time; began = time.process_time(); import {}; print(time.process_time() - began)"


def imports(options: BenchOptions, say: Say) -> tuple[dict, list[Bar]]:
    """The processor's seconds of an import, each time in a new process."""
    seconds: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for number in range(options.rounds + 1):
        for name in IMPORTS:
            command = [sys.executable, "-c", CLOCK.format(name)]
            taken = float(subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout)
            seconds[name] += [taken] * (number > 0)  # the first round warms up the disk
    for name, each in seconds.items():
        say(f"import {name:22} {np.median(each):.3f} s")
    more = {
        name: [a - b for a, b in zip(seconds[name], seconds[FIRST], strict=True)]
        for name in IMPORTS[1:]
    }  # fmt: skip
    bars = [
        Bar(f"import {name}", f"import {FIRST}", 0.15, each, at_most=True, unit="s more") for name, each in more.items()
    ]
    return {"seconds": seconds}, bars


# ---- sentence vectors


def vectors(options: BenchOptions, say: Say) -> tuple[dict, list[Bar]]:
    """The part of `minilm bench bridge` that turns sentences into vectors."""
    referee_library()
    opened = open_encoder(options.model)
    texts = [text.text for text in corpus.labelled(options.texts)][: options.sentences]
    race = inference(opened, texts, for_what(options, "bridge"), say)
    seconds = {row["name"]: row["cpu_seconds"] for row in race["rows"]}
    bars = [
        Bar(f"sentence vectors, {name}", rival, goal, ratios(seconds, name)[rival]["each"])
        for rival, goal in {THEIRS: 2.0, SENTENCES: 1.4}.items()
        for name in (VECTORS_OURS, VECTORS_ONEDNN)
        if {name, rival} <= seconds.keys()
    ]
    return race, bars
