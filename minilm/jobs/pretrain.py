"""Pretrain a BERT on plain text: masked words and next sentence, no labels.  F25, F26, F27."""

import os
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from minilm import plots
from minilm.errors import InputError
from minilm.examples.batching import PretrainingBatch, PretrainingBatches
from minilm.jobs.folders import save_bert, tensorboard_writer
from minilm.jobs.prepare import Prepared, prepare
from minilm.jobs.resuming import check_corpus, check_folder, plain, restore, snapshot
from minilm.layers.dropout import use_generator
from minilm.models.bert import BertConfig, BertForPretraining, parameter_count
from minilm.models.initialisation import SCHEMES, initialise, reserved, warm_start
from minilm.text.tokenizer import Tokenizer
from minilm.text.word_vectors import in_two_kinds_of_company
from minilm.training.checkpoint import add_metrics, load_state, read_metrics, save_state, start_metrics
from minilm.training.loop import Progress, Rate, Step, choose_device, train
from minilm.training.losses import cross_entropy
from minilm.training.optimizer import AdamW, parameter_groups
from minilm.training.schedule import Budget

# beyond, it is a slip, and one that takes all the memory
MOST = {"vocab_size": 1_000_000, "width": 100_000, "evaluations": 10_000}


@dataclass(frozen=True)
class PretrainOptions:
    """Pretrain on a corpus. Exactly one of steps, tokens and minutes is the budget; minutes follow the clock, so that only
    steps and tokens give the same model twice."""

    corpus: str = "imdb"
    """A corpus by name (see `minilm data`), a text file (one sentence a line, a blank line between documents) or a folder of such."""
    out: Path = Path("runs/pretrain")
    """The run folder."""
    steps: int | None = None
    tokens: int | None = None
    minutes: float | None = None
    resume: bool = False
    """Go on with the run in `out`, bit for bit as if it had never stopped."""

    vocab_size: int = 8192
    units: str = "wordpiece"
    """wordpiece, or characters (for Chinese)."""
    lowercase: bool = True
    tokenizer: Path | None = None
    """A tokenizer.json to use instead of learning one."""
    held_out: int = 4000
    """Documents that are kept apart to measure on (at most a fifth of the corpus)."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    feed_forward: int | None = None
    """Width inside the feed-forward network; 4 × width if not given."""
    length: int = 128
    """Tokens of a pair, with its three special ones: the longest input of the model."""
    norm: str = "post"
    positions: str = "learned"
    dropout: float = 0.0
    """In minutes no text is seen often enough to overfit; BERT's 0.1 is for forty epochs."""

    init: str = "neighbours"
    """How the weights are drawn: neighbours (the first heads start out looking next door), fan-in, or published: N(0, 0.02²),
    BERT's own, which is meant for widths of 768."""
    word_vectors: bool = True
    """Start the embeddings from vectors counted in the same text (PPMI and SVD, F34)."""
    window: int = 5
    """How far apart two words may stand to count as company, for the word vectors."""

    batch: int = 16
    rate: float = 2e-3
    """The peak. Next sentence is lost above it: a batch of pairs is mostly noise, and Adam steps as far for noise."""
    embedding_rate: float = 0.1
    """The embeddings learn at this share of the rate: they start out with a meaning to keep."""
    warmup: float = 0.1
    schedule: str = "linear"
    weight_decay: float = 0.01
    clip: float = 1.0
    mask_rate: float = 0.15
    next_sentence_weight: float = 2.0
    """How much F26 counts beside F25; 0 leaves it out."""

    evaluations: int = 12
    """How many times to measure on held-out text, and to save, over the run."""
    seed: int = 0
    device: str = "auto"
    cache: Path = Path("runs/cache")
    tensorboard: bool = False
    progress: bool = True

    def __post_init__(self):
        for name, most in MOST.items():
            if getattr(self, name) > most:
                raise InputError(f"{name} {getattr(self, name):,} must be at most {most:,}.")
        _ = self.budget, self.model_config(vocab_size=self.vocab_size)  # both complain before any work is done
        Rate(self.rate, self.warmup, self.schedule).at(0)
        for name in ("batch", "evaluations", "held_out", "window"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} {getattr(self, name)} must be at least 1.")
        for name in ("embedding_rate", "weight_decay", "next_sentence_weight"):
            if not getattr(self, name) >= 0:
                raise InputError(f"{name} {getattr(self, name)} must not be negative.")
        if not 0 < self.mask_rate < 1:
            raise InputError(f"mask_rate {self.mask_rate} is not between 0 and 1.")
        if not self.clip > 0:
            raise InputError(f"clip {self.clip} is not above 0.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed {self.seed} is not from 0 to {2**32 - 1}.")
        if self.init not in SCHEMES:
            raise InputError(f"init '{self.init}' is not known: choose one of {', '.join(SCHEMES)}.")
        if self.length < 8:
            raise InputError(f"length {self.length} leaves no room for two sentences: give at least 8.")

    @property
    def budget(self) -> Budget:
        return Budget(self.steps, self.tokens, self.minutes)

    @property
    def vector_size(self) -> int:
        """As wide as the embeddings, less what "neighbours" keeps for positions and segments."""
        return self.width - (sum(reserved(self.width, self.heads)) if self.init == "neighbours" else 0)

    def model_config(self, vocab_size: int) -> BertConfig:
        return BertConfig(
            vocab_size=vocab_size,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            feed_forward=self.feed_forward or 4 * self.width,
            max_length=self.length,
            norm=self.norm,
            positions=self.positions,
            dropout=self.dropout,
        )


def losses_of(model: BertForPretraining, batch: PretrainingBatch, next_sentence_weight: float) -> tuple[Tensor, dict]:
    r"""L = L_MLM + w · L_NSP, each a mean over what counts for it alone.  F27.

    One loss with one label for "does not count" over both would lose every pair labelled 0.
    """
    masked = (batch.words.flatten() != -100).nonzero().flatten()  # [M]
    scores = model(batch.ids, batch.types, batch.real, masked)
    words = cross_entropy(scores.words, batch.words.flatten()[masked])
    pairs = cross_entropy(scores.is_next, batch.is_next)
    right = (scores.is_next.argmax(dim=-1) == batch.is_next).sum()
    loss = words.value + next_sentence_weight * pairs.value
    return loss, {"words": words, "pairs": pairs, "right": right}


@torch.no_grad()
def measure(model: BertForPretraining, batches: list[PretrainingBatch]) -> dict[str, float]:
    """Masked-word loss (nats), next-sentence loss and accuracy over held-out batches, each over all that counts."""
    model.eval()
    words = pairs = right = word_count = pair_count = 0
    for batch in batches:
        _, got = losses_of(model, batch, 1.0)
        words += float(got["words"].value) * got["words"].count
        pairs += float(got["pairs"].value) * got["pairs"].count
        word_count, pair_count = word_count + got["words"].count, pair_count + got["pairs"].count
        right += int(got["right"])
    return {
        "mlm_loss": words / max(word_count, 1),
        "nsp_loss": pairs / pair_count,
        "nsp_accuracy": right / pair_count,
        "pairs": pair_count,
    }


def vectors_for(prepared: Prepared, options: PretrainOptions) -> np.ndarray:
    """The word vectors of a prepared corpus, counted once and kept beside it."""
    size, window, seed = options.vector_size, options.window, options.seed
    path = prepared.folder / f"vectors-{size}-{window}-{seed}.npy"
    with suppress(OSError, ValueError, EOFError):  # not there yet, or damaged
        return np.load(path, allow_pickle=False)
    ids, borders = prepared.train.ids, prepared.train.document_borders
    vectors = in_two_kinds_of_company(ids, borders, prepared.tokenizer.size, size, seed, window)
    growing = path.with_name(path.name + ".growing.npy")
    np.save(growing, vectors)
    os.replace(growing, path)
    return vectors


def build(options: PretrainOptions, prepared: Prepared) -> BertForPretraining:
    """The model as it stands before the first step."""
    model = BertForPretraining(options.model_config(prepared.tokenizer.size))
    initialise(model, options.init, torch.Generator().manual_seed(options.seed))
    if options.word_vectors:
        warm_start(model.bert.embeddings.words, vectors_for(prepared, options))
    return model


def pretrain(options: PretrainOptions, say: Callable[[str], None] = print) -> dict[str, float]:
    """Pretrain, write the run folder, and return the last measurement (see `measure`).

    A run that exists is not overwritten: it is resumed or refused. Ctrl-C saves, then raises KeyboardInterrupt.
    """
    device = choose_device(options.device)
    state = load_state(options.out) if options.resume else None
    check_folder(options.out, options, state, options.resume)
    writer = tensorboard_writer(options.out, options.tensorboard)
    prepared = prepare_for(options, say)
    check_corpus(options.out, prepared.folder, state)
    tokenizer = prepared.tokenizer
    model = build(options, prepared).to(device)
    generator = torch.Generator(device=device).manual_seed(options.seed)
    use_generator(model, generator)
    groups = parameter_groups(model, options.weight_decay, options.embedding_rate)
    optimizer = AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
    progress = Progress()
    if state:
        take_up(options.out, model, optimizer, generator, progress, state[0])
    batches = PretrainingBatches(
        prepared.train, tokenizer, options.length, options.batch, options.seed, options.mask_rate
    )
    held_out = [batch.to(device) for batch in held_out_batches(prepared, options.length)]
    start_metrics(options.out, progress.step if state else None)
    say(f"{parameter_count(model):,} parameters, {prepared.train}, budget {options.budget}, on {device}")

    def losses_at(step: int) -> Step:
        batch = batches[step].to(device)
        loss, got = losses_of(model, batch, options.next_sentence_weight)
        shown = {"masked words": got["words"].value.detach(), "next sentence": got["pairs"].value.detach()}
        return Step(loss, shown, batch.tokens)

    def report() -> dict[str, float]:
        where = {"step": progress.step, "tokens": progress.tokens, "seconds": round(progress.seconds, 1)}
        measured = where | measure(model, held_out)
        add_metrics(options.out, **measured)
        facts = {"options": plain(options), "corpus": prepared.folder.name}
        save_state(options.out, progress.step, snapshot(model, optimizer, generator, progress), facts)
        save_bert(options.out, model, tokenizer)
        writer(measured)
        say(
            f"{progress.seconds / 60:5.1f} min  step {progress.step:6,}  masked words {measured['mlm_loss']:.3f} nats  "
            f"next sentence {measured['nsp_accuracy']:.1%}"
        )
        return measured

    if state:  # the run may have been killed between its state and its model
        save_bert(options.out, model, tokenizer)
    before = read_metrics(options.out)
    measured = before[-1] if before else report()
    pauses = [i / options.evaluations for i in range(1, options.evaluations)]
    rate = Rate(options.rate, options.warmup, options.schedule)
    training = train(
        model,
        optimizer,
        losses_at,
        options.budget,
        rate,
        options.clip,
        progress,
        pauses,
        "pretraining",
        options.progress,
    )
    with closing(training):
        for _ in training:
            measured = report()
    plots.pretraining_curves({"this run": read_metrics(options.out)}, options.out / "pretraining.png")
    if not options.budget.done(progress.step, progress.tokens, progress.seconds):
        say(f"stopped at step {progress.step:,}; all is saved. Go on with the same command and --resume.")
        raise KeyboardInterrupt  # what was to follow must not take this model for a finished one
    return measured


def take_up(out: Path, model, optimizer: AdamW, generator: torch.Generator, progress: Progress, state: dict) -> None:
    """`restore`, for a state that may be damaged."""
    try:
        restore(model, optimizer, generator, progress, state)
        if not 0 <= progress.seconds < float("inf"):
            raise ValueError(f"{progress.seconds} seconds")
    except InputError:
        raise
    except (RuntimeError, ValueError, TypeError, OverflowError) as error:
        what = f"the state in {out / 'training_state'} is broken ({str(error).splitlines()[0]})"
        raise InputError(f"{what}: begin again in another --out.") from None


def prepare_for(options: PretrainOptions, say: Callable[[str], None]) -> Prepared:
    """The corpus of these options, made ready or found."""
    given = Tokenizer.load(options.tokenizer) if options.tokenizer else None
    o = options
    return prepare(o.corpus, o.cache, o.vocab_size, o.units, o.lowercase, o.held_out, tokenizer=given, say=say)


def held_out_batches(prepared: Prepared, length: int, pairs: int = 2048) -> list[PretrainingBatch]:
    """The same held-out pairs at every measurement and in every run, whatever its seed."""
    batches = PretrainingBatches(prepared.held_out, prepared.tokenizer, length, 64, seed=2**31)
    first = batches[0]  # and with it the whole first round is drawn
    return [first, *(batches[i] for i in range(1, min(pairs // 64, len(batches.batches))))]
