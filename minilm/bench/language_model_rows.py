"""The rows of `minilm bench language-models`: how each model is counted or trained, and how it is measured.  F17, F23."""

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from minilm.bench.options import BenchOptions
from minilm.errors import InputError
from minilm.examples.batching import Batch
from minilm.examples.causal_lm import TextWindows
from minilm.formulas.kneser_ney import KneserNey, framed
from minilm.formulas.language_models import counted_probability
from minilm.jobs.pretrain import PretrainOptions, batches_for, build
from minilm.models.config import parameter_count
from minilm.models.lstm import LSTMConfig, LSTMLanguageModel
from minilm.text.causal_tokenizer import CausalTokenizer
from minilm.text.prepare import Prepared, document_sizes
from minilm.training.loop import LearningRate
from minilm.training.losses import Loss, cross_entropy
from minilm.training.objectives import CausalLM
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget

WINDOW = 50  # D1's max_sequence_length
ASKED = 8_192  # tokens on which a model that reads a whole window for each of them is measured
AT_ONCE = 4_096  # tokens per batch while measuring
STRENGTHS = (0.5, 2.0, 8.0, 32.0, 128.0)  # of the bigram's back-off: the best on the development documents is taken


class Task(NamedTuple):
    """What the models read: a corpus, what a token of it is, and the vocabulary of all rows but D1's."""

    corpus: str
    units: str
    vocab_size: int


TASKS = {"reviews": Task("imdb", "wordpiece", 8192), "newspaper": Task("peoples-daily", "characters", 8192)}


@dataclass(frozen=True)
class Material:
    """A prepared corpus and, by their numbers, the held-out documents that models are measured on and those for choices."""

    prepared: Prepared
    test: np.ndarray
    development: np.ndarray
    sizes: np.ndarray  # [documents, 2]: the characters and bytes of every held-out document

    @classmethod
    def of(cls, prepared: Prepared, development: bool, documents: int) -> "Material":
        """Two parts of the held-out documents, of at most so many each. With `development`, the models are measured on the
        part for choices. Raises InputError if there are fewer than two documents."""
        part = prepared.held_out
        order = np.random.default_rng(2**31).permutation(len(part.documents) - 1)
        if len(order) < 2:
            raise InputError("the corpus holds out a single document, and two are needed: give a longer corpus.")
        n = min(documents, len(order) // 2)
        one, other = order[:n], order[n : 2 * n]
        sizes = document_sizes(prepared.folder / "held_out.txt", CausalTokenizer.of(prepared.tokenizer), part)
        return cls(prepared, *((other, other) if development else (one, other)), sizes)

    @property
    def tokenizer(self) -> CausalTokenizer:
        return CausalTokenizer.of(self.prepared.tokenizer)

    @property
    def characters(self) -> int:
        """Of the documents to measure on."""
        return int(self.sizes[self.test, 0].sum())

    def framed(self, N: int, part: np.ndarray | None = None) -> np.ndarray:
        """The documents with these numbers (None: those to learn from) as one text, see `formulas.kneser_ney.framed`."""
        store = self.prepared.train if part is None else self.prepared.held_out
        borders = store.document_borders
        numbers = range(len(borders) - 1) if part is None else part.tolist()
        documents = [store.ids[borders[i] : borders[i + 1]] for i in numbers]
        return framed(documents, self.tokenizer.begin, self.tokenizer.end, N)

    def whole(self, documents: np.ndarray | None = None) -> list[Batch]:
        """These documents (None: those to measure on), uncut, in batches of about `AT_ONCE` tokens."""
        part, documents = self.prepared.held_out, self.test if documents is None else documents
        lengths = np.diff(part.document_borders)[documents] + 2
        order = documents[np.argsort(-lengths, kind="stable")].tolist()
        windows = TextWindows(part, self.tokenizer, int(lengths.max()) + 1, 1, seed=0)
        batches: list[Batch] = []
        while order:
            longest = int(np.diff(part.document_borders)[order[0]]) + 2
            taken, order = order[: max(1, AT_ONCE // longest)], order[max(1, AT_ONCE // longest) :]
            windows.size = len(taken)
            batches += windows.whole(taken, self.sizes)
        return batches

    def result(self, loss: float, tokens: int, **facts: Any) -> "Result":
        """The result of a mean loss over the `tokens` tokens of the documents."""
        return Result(loss, loss * tokens / math.log(2) / self.characters, **facts)


class Result(NamedTuple):
    """What a model reached, and what it took."""

    loss: float  # nats per token
    bits: float  # per character
    seconds: float  # of the processor, to count or to train
    parameters: int  # of a model that counts: how many n-grams it stores
    read: int  # tokens, while it counted or trained


@dataclass(frozen=True)
class Row:
    """A row of the table: `run(material, options, seed)` counts or trains the model, and measures it."""

    name: str
    run: Callable[[Material, BenchOptions, int], Result]
    vocab_size: int
    trained: bool = True


LSTM: dict[str, Any] = dict(architecture="lstm", learning_rate=4e-3, embedding_learning_rate_scale=1.0, candidates=512)
GPT: dict[str, Any] = dict(architecture="gpt", learning_rate=4e-3, candidates=512)


def settings_of(options: BenchOptions, vocab_size: int, seed: int = 0, **changes: Any) -> PretrainOptions:
    """The settings of `minilm pretrain` for a row."""
    task = TASKS[options.task]
    sizes = {
        name: value
        for name in ("width", "layers", "batch", "length", "learning_rate", "candidates")
        if (value := getattr(options, name)) is not None
    }
    if changes.get("architecture") == "gpt" and options.muon_learning_rate is not None:
        sizes["muon_learning_rate"] = options.muon_learning_rate
    more: dict[str, Any] = dict(corpus=task.corpus, units=task.units, vocab_size=vocab_size, seed=seed)
    more |= dict(cache=options.cache, minutes=options.minutes, device="cpu", objective_name="causal")
    return PretrainOptions(**({"architecture": "gpt"} | more | changes | sizes))


# ------------------------------------------------------------------------------------------------------ models that count


def bigram(material: Material, options: BenchOptions, seed: int) -> Result:
    """The model that remembers one token, with the strength of its back-off chosen on the development documents."""
    started, w, V = time.process_time(), material.framed(2), material.prepared.tokenizer.size

    def loss(part: np.ndarray, strength: float) -> float:
        text = material.framed(2, part)
        places = np.flatnonzero(text != material.tokenizer.begin)
        return float(-np.log(counted_probability(w, text, places, (-1,), V, strength)).mean())

    best = min(STRENGTHS, key=lambda strength: loss(material.development, strength))
    seconds = time.process_time() - started
    pairs = len(np.unique(w[:-1] * V + w[1:]))
    facts: dict[str, Any] = dict(seconds=seconds, parameters=pairs, read=len(w))
    return material.result(loss(material.test, best), asked(material), **facts)


def kneser_ney(material: Material, options: BenchOptions, seed: int, N: int) -> Result:
    """The N-gram model with modified Kneser–Ney smoothing, counted in all of the text."""
    started, w = time.process_time(), material.framed(N)
    model = KneserNey(w, material.prepared.tokenizer.size, N, material.tokenizer.begin)
    seconds = time.process_time() - started
    p = model.probabilities(material.framed(N, material.test))
    stored = sum(int((a > 0).sum()) for a in model.counts)
    return material.result(float(-np.log(p).mean()), len(p), seconds=seconds, parameters=stored, read=len(w))


def asked(material: Material) -> int:
    """How many tokens the documents have, with the one that ends a text and without the one that begins it."""
    return int((material.framed(1, material.test) != material.tokenizer.begin).sum())


# ------------------------------------------------------------------------------------------------------ models that are trained


def pretrained(material: Material, options: BenchOptions, seed: int, changes: dict[str, Any]) -> Result:
    """What `minilm pretrain` trains, for as many minutes of the processor; counting its word vectors is part of them."""
    model, read = pretrained_model(material, options, seed, changes, time.process_time())
    return measured(material, options, model, CausalLM(), read)


def pretrained_model(
    material: Material, options: BenchOptions, seed: int, changes: dict[str, Any], started: float
) -> tuple[nn.Module, int]:
    """The model, and how many tokens it has read."""
    settings = settings_of(options, material.prepared.tokenizer.size, seed, **changes)
    with tempfile.TemporaryDirectory() as empty:
        model = build(settings, replace(material.prepared, folder=Path(empty)))
    batches = batches_for(settings, material.prepared)
    return model, train(options, seed, model, CausalLM(), batches.__getitem__, settings.optimisation, started)


def d1_as_printed(material: Material, options: BenchOptions, seed: int) -> Result:
    """D1 §5.2: 64 windows of 50 tokens, each of which predicts the one token that follows; Adam as Keras has it."""
    model = d1_model(material, seed)
    text = torch.from_numpy(material.framed(WINDOW + 1))
    places = torch.from_numpy(np.flatnonzero(text.numpy() != material.tokenizer.begin))

    def batch_at(step: int) -> Batch:
        chosen = np.random.default_rng([seed, step]).integers(len(places), size=64)
        return Batch(last_of(text, places[torch.from_numpy(chosen)]))

    read = train(options, seed, model, LastToken(), batch_at, ADAM, time.process_time())
    return measured(material, options, model, LastToken(), read)


def d1_at_every_token(material: Material, options: BenchOptions, seed: int) -> Result:
    """The same model, batch and optimizer, but every token of a window has a label: as many as 50 instead of one."""
    windows = TextWindows(material.prepared.train, material.tokenizer, WINDOW + 1, 64, seed)
    model = d1_model(material, seed)
    read = train(options, seed, model, CausalLM(), windows.__getitem__, ADAM, time.process_time())
    return measured(material, options, model, CausalLM(), read)


# D1: compile(optimizer='adam'), with the defaults of Keras: a constant rate, no decay, no clipping
ADAM = Optimisation(LearningRate(1e-3, 0.0, "constant"), weight_decay=0.0, clip=math.inf, betas=(0.9, 0.999), eps=1e-7)


def d1_model(material: Material, seed: int) -> LSTMLanguageModel:
    """Embedding(1000, 64) → LSTM(128) → LSTM(128) → Dense(1000, softmax)."""
    config = LSTMConfig(vocab_size=material.prepared.tokenizer.size, pad_id=material.tokenizer.pad)
    return LSTMLanguageModel(config, torch.Generator().manual_seed(seed))


def last_of(text: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """For each place of the text, the window that ends there: [B, 51], the last token being the one to predict."""
    return text[places[:, None] + torch.arange(-WINDOW, 1)]


class LastToken(CausalLM):
    """−log P(w₅₁ ∣ w₁ … w₅₀): D1's second LSTM returns its last state alone, so that a window has one label.  F17."""

    def loss(self, model: nn.Module, batch: Batch, label_smoothing: float = 0.0) -> Loss:
        """The mean over the rows of a batch, and how many they are."""
        writer: Any = model
        return cross_entropy(writer.next_logits(batch.input_ids[:, :-1]), batch.input_ids[:, -1], label_smoothing)


def train(
    options: BenchOptions,
    seed: int,
    model: nn.Module,
    objective: CausalLM,
    batch_at: Callable[[int], Batch],
    optimisation: Optimisation,
    started: float,
) -> int:
    """Train for what is left of the minutes since the processor's clock showed `started`; returns how many tokens were read."""
    left = options.minutes - (time.process_time() - started) / 60
    if left <= 0:
        raise InputError(f"{options.minutes:g} minutes are over before the training begins: give more --minutes.")
    budget = Budget(minutes=left)
    run = TrainingRun(model, objective, batch_at, budget, optimisation, seed, clock=time.process_time)
    run.train(bar=False)
    return run.progress.tokens


def measured(material: Material, options: BenchOptions, model: nn.Module, objective: CausalLM, read: int) -> Result:
    """The figures of a trained model."""
    facts: dict[str, Any] = dict(seconds=60 * options.minutes, parameters=parameter_count(model), read=read)
    return material.result(objective.measure(model, measured_on(material, objective))["loss"], asked(material), **facts)


def measured_on(material: Material, objective: CausalLM) -> list[Batch]:
    """Whole documents; or, for a model that reads 50 tokens for each token that it predicts, tokens of them at random."""
    if not isinstance(objective, LastToken):
        return material.whole()
    text = torch.from_numpy(material.framed(WINDOW + 1, material.test))
    places = np.random.default_rng(0).permutation(np.flatnonzero(text.numpy() != material.tokenizer.begin))[:ASKED]
    return [Batch(last_of(text, part)) for part in torch.from_numpy(places).split(512)]
