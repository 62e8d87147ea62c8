"""Pretrain a model on plain text without labels: on masked words and next sentences, or token by token.  F23, F25–F27."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from minilm.errors import InputError, check_least, check_most
from minilm.examples.bert_pretraining import PretrainingBatches
from minilm.files.notes import Notes, unheard
from minilm.jobs.pretraining_data import (
    batches_for as batches_for,
    check_words,
    held_out_batches as held_out_batches,
    prepare_for as prepare_for,
    vectors_for as vectors_for,
)
from minilm.jobs.pretraining_model import build as build
from minilm.jobs.showing import draw, reports
from minilm.jobs.tensorboard import tensorboard_writer
from minilm.models.config import parameter_count
from minilm.models.initialisation import SCHEMES
from minilm.pretrained.architecture import Architecture
from minilm.pretrained.protocol import architecture_named, save_model
from minilm.training.last_digits import check_products, check_team_products, check_threads
from minilm.training.loop import LearningRate, choose_device
from minilm.training.objective import Objective
from minilm.training.objectives import BertPretraining, CausalLM
from minilm.training.precision import check_precision, refuse_unknown
from minilm.training.run import Optimisation, TrainingRun
from minilm.training.schedule import Budget
from minilm.training.state import check_corpus, check_folder, load_state, plain, unchanged_since_now
from minilm.training.team import Team, joined
from minilm.training.watching import Watcher

# a larger number is a typing error, and one that would use up all the memory
MOST = {"vocab_size": 1_000_000, "width": 100_000, "evaluations": 10_000}


@dataclass(frozen=True)
class PretrainOptions:
    """Pretrain on a corpus. The budget is exactly one of steps, tokens and minutes. Minutes follow the clock, so only steps
    and tokens give the same model twice, and only on the same number of threads (OMP_NUM_THREADS)."""

    corpus: str = "imdb"
    """A corpus by name (see `minilm data`), a text file (one sentence per line, a blank line between documents) or a folder
    of text files."""
    out: Path = Path("runs/pretrain")
    """The run folder, where the model and everything about its training is written."""
    steps: int | None = None
    tokens: int | None = None
    minutes: float | None = None
    resume: bool = False
    """Continue the run in `out`, bit for bit as if it had never stopped (on the same number of threads)."""
    resume_at: int | None = None
    """Continue from the state of this step instead of the last one, which may be damaged. The last two are kept."""

    objective_name: Annotated[str | None, tyro.conf.arg(name="objective")] = None
    """What is learned: bert (masked words and next sentence) or causal (the next token, from those before it). Every
    architecture has its own; without --architecture, causal trains a gpt."""
    architecture: str | None = None
    """bert (masked words and next sentence; the choice if nothing else is said), gpt (a Transformer that reads from left to
    right and writes) or lstm (the same with a recurrence: no heads and positions). Options that an architecture has no use for
    are refused."""
    vocab_size: int = 8192
    units: str = "wordpiece"
    """What a token is: wordpiece, characters (for Chinese), or bytes (byte-level BPE, which keeps every text exactly)."""
    lowercase: bool | None = None
    """Whether capitals are lost. If you do not say it, they are, except for bytes."""
    strip_accents: bool | None = None
    """Whether accents are removed, so that schön and schon become the same word, and かぎ and かき too. If you do not say it,
    they go exactly when the text is lowercased, as in BERT. Where they tell words apart, use --strip-accents False."""
    tokenizer: Path | None = None
    """A tokenizer.json to use instead of learning one."""
    held_out: int = 4000
    """How many documents are kept apart to measure on (at most a fifth of the corpus)."""

    width: int = 128
    layers: int | None = None
    """3, or 2 for a model that reads from left to right, if not given."""
    heads: int = 4
    feed_forward: int | None = None
    """The width inside the feed-forward network; 4 × width if not given."""
    length: int = 128
    """The longest input of the model in tokens, for BERT with the three special tokens of a sentence pair. A GPT looks back
    this far."""
    norm: str = "post"
    positions: str = "relative"
    """relative (every head learns a bias for each distance, as in MPNet), learned (a vector per position, as in BERT: choose
    it to exchange models with BERT), sinusoidal (fixed waves), or rotary (queries and keys are turned)."""
    dropout: float = 0.0
    """In a few minutes, no text is seen often enough to overfit; BERT's 0.1 is meant for forty epochs."""
    init: str = "neighbours"
    """How the weights are drawn: neighbours (heads start by attending to neighbouring tokens), fan-in,
    or published (N(0, 0.02²), BERT's own, which is meant for a width of 768)."""
    word_vectors: bool = True
    """Start the embeddings from word vectors that are counted in the same text (PPMI and SVD, F34)."""
    window: int = 5
    """For the word vectors: how far apart two words may be to count as neighbours."""
    batch: int = 16
    accumulate: int | None = None
    """How many batches make one step. If not given, 1, or the number of processes that `torchrun` has started; a run that is
    resumed keeps its own."""
    learning_rate: float = 2e-3
    """The peak. With a higher one, next sentence is not learned in film reviews."""
    muon_learning_rate: float = 0.0
    """Above 0, the matrices of the blocks are updated by Muon, with this peak, and the rest by AdamW. Try 0.01 to 0.02."""
    embedding_learning_rate_scale: float | None = None
    """The embeddings learn at this share of the learning rate, because the meaning that they start with is worth keeping: 0.1 if
    you do not say it, and 0.3 for a gpt, whose output weights they are."""
    warmup: float = 0.1
    schedule: str = "linear"
    weight_decay: float = 0.01
    clip: float = 1.0
    candidates: int = 0
    """For a model that reads from left to right: above 0, the next token is compared with the tokens of the batch and this many
    others, drawn anew at every step, instead of the whole vocabulary. Steps take about half the time, and learn a little less."""
    mask_rate: float = 0.15
    next_sentence_weight: float = 1.0
    """The weight of the next-sentence loss (F26) relative to that of the masked words (F25). With 0 there are no sentence
    pairs, and any text will do, such as documents of a single sentence."""
    next_sentence_rest: float = 0.3
    """After the first tenth of the run, this share of the weight is left: next sentence is learned first, and then kept."""
    pooler_learning_rate_scale: float = 0.3
    """The pooler and the next-sentence head learn at this share of the learning rate: one bit per pair is mostly noise."""
    evaluations: int = 12
    """How many times over the run the model is measured on held-out text and saved."""
    seed: int = 0
    watch: tuple[str, ...] = ()
    """Sentences with [MASK], whose best guesses are kept at every measurement: watched.jsonl, and watched.png at the end."""
    device: str = "auto"
    precision: str = "float32"
    """float32, or bf16: products of matrices are rounded to 8 binary digits, which is faster where the processor or the graphics
    card has a unit for it. Weights, losses and measurements stay in float32."""
    cache: Path = Path("runs/cache")
    tensorboard: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        for name, value in self.resolved.items():
            object.__setattr__(self, name, value)
        check_most(self, MOST)
        check_least(
            self, 1, "batch", "evaluations", "held_out", "window", *["accumulate"] * (self.accumulate is not None)
        )
        check_least(self, 0, "next_sentence_weight", "next_sentence_rest", "candidates")
        if not 0 < self.mask_rate < 1:
            raise InputError(f"mask_rate must be between 0 and 1, not {self.mask_rate}.")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed must be from 0 to {2**32 - 1}, not {self.seed}.")
        if self.init not in SCHEMES:
            raise InputError(f"init '{self.init}' is not known: choose one of {', '.join(SCHEMES)}.")
        refuse_unknown(self.precision)
        if self.length < 8:
            raise InputError(f"length must be at least 8, not {self.length}: two sentences need that much room.")
        self.refuse_what_is_ignored()
        # these check the rest before any work is done
        _ = self.budget, self.optimisation, self.model_config(self.vocab_size)

    @property
    def resolved(self) -> dict[str, Any]:
        """What the options that were left out become."""
        causal = self.objective_name == "causal"
        architecture = self.architecture or ("gpt" if causal else "bert")
        lowercase = self.units != "bytes" if self.lowercase is None else self.lowercase
        scale = 0.3 if architecture == "gpt" else 0.1
        if self.embedding_learning_rate_scale is not None:
            scale = self.embedding_learning_rate_scale
        names = {
            "architecture": architecture,
            "lowercase": lowercase,
            "resume": self.resume or self.resume_at is not None,
        }
        return names | {"embedding_learning_rate_scale": scale}

    def refuse_what_is_ignored(self) -> None:
        """Raises InputError for an option that was set, but that the architecture has no use for."""
        if self.objective_name not in (None, "bert", "causal"):
            raise InputError(f"objective '{self.objective_name}' is not known: choose bert or causal.")
        if self.objective_name not in (None, own := self.adapter.objective):
            raise InputError(
                f"--objective {self.objective_name} and --architecture {self.architecture} contradict each other: it learns {own}; "
                "leave one of the two out."
            )
        known = {field.name for field in fields(self.adapter.config_class)}
        unused = {"heads", "feed_forward", "norm", "positions"} - known
        if self.architecture == "lstm":
            unused |= {"muon_learning_rate"}
        if self.adapter.objective != "bert":
            unused |= {"mask_rate", "next_sentence_weight", "next_sentence_rest", "pooler_learning_rate_scale", "watch"}
        else:
            unused |= {"candidates"}
        default = {field.name: field.default for field in fields(self)}
        for name in sorted(unused):
            if getattr(self, name) != default[name]:
                raise InputError(f"--{name.replace('_', '-')} means nothing to {self.architecture}: leave it out.")

    @property
    def budget(self) -> Budget:
        """How long to train."""
        return Budget(self.steps, self.tokens, self.minutes)

    @property
    def depth(self) -> int:
        """The number of layers."""
        return (3 if self.architecture == "bert" else 2) if self.layers is None else self.layers

    def model_config(self, vocab_size: int):
        """The config of the model, for a vocabulary of this size."""
        feed_forward = self.feed_forward or 4 * self.width
        sizes = dict(vocab_size=vocab_size, layers=self.depth, max_length=self.length, feed_forward=feed_forward)
        widths = dict.fromkeys(("width", "embedding", "hidden"), self.width)
        choices = dict(heads=self.heads, norm=self.norm, positions=self.positions, dropout=self.dropout)
        return self.adapter.config_from(**sizes, **widths, **choices)

    @property
    def adapter(self) -> Architecture:
        """The adapter of the architecture. Raises InputError if its name is not known."""
        return architecture_named(self.architecture or "bert")

    @property
    def objective(self) -> Objective:
        """What the model is trained for."""
        weights = self.next_sentence_weight, self.next_sentence_rest
        return BertPretraining(*weights) if self.adapter.objective == "bert" else CausalLM()

    @property
    def pairs(self) -> bool:
        """Whether the model learns from sentence pairs."""
        return self.adapter.objective == "bert" and self.next_sentence_weight > 0

    @property
    def optimisation(self) -> Optimisation:
        """How the weights are updated."""
        learning_rate = LearningRate(self.learning_rate, self.warmup, self.schedule)
        scale, pooler = self.embedding_learning_rate_scale or 0.0, self.pooler_learning_rate_scale
        scales = {"pooler.": pooler, "nsp_head.": pooler} if self.pairs else {}
        scales |= self.adapter.learning_rate_scales(self.model_config(self.vocab_size), self.init)
        muon = self.muon_learning_rate
        fixed: dict[str, Any] = dict(clip=self.clip, betas=(0.9, 0.98), eps=1e-6, muon_learning_rate=muon)
        return Optimisation(learning_rate, self.weight_decay, scale, scales=scales, **fixed)


def pretrain(options: PretrainOptions, say: Callable[[str], None] = print) -> dict[str, float]:
    """Pretrain, write the run folder, and return the last measurement (see `measure` of the objective).

    A run that exists is never overwritten. Raises InputError for a folder that holds one already (unless it is to be resumed)
    or holds another one; raises KeyboardInterrupt after Ctrl-C, when everything is saved.
    """
    with joined() as team:
        return pretrain_in(team, options, say if team.leads else unheard)


def pretrain_in(team: Team, o: PretrainOptions, say: Callable[[str], None]) -> dict[str, float]:
    """`pretrain` in one of the processes that train together."""
    device = team.device or choose_device(o.device)
    check_precision(o.precision, device)
    writer = tensorboard_writer(o.out, o.tensorboard and team.leads)
    with team.leader_first():
        check_again = unchanged_since_now(o.out)
        state = load_state(o.out, o.resume_at) if o.resume else None
        if team.leads:
            check_folder(o.out, o, state, o.resume)
        by = check_products(o.out, state)
        notes = Notes(say)
        prepared = prepare_for(o, say, notes)
        check_corpus(o.out, prepared.folder, state)
        check_words(prepared)
        facts: dict[str, Any] = {**by, **check_threads(o.out, state, notes)}
        accumulate = o.accumulate or (state[1].get("accumulate", 1) if state else team.size)
        model = build(o, prepared)
    check_team_products(team)
    batches = batches_for(o, prepared, accumulate)
    many: dict[str, Any] = dict(accumulate=accumulate, team=team, precision=o.precision)
    run = TrainingRun(model, o.objective, batches.__getitem__, o.budget, o.optimisation, o.seed, device, **many)
    held_out = held_out_batches(prepared, o.length, o.adapter.objective, o.pairs) if team.leads else ()
    if isinstance(batches, PretrainingBatches):
        batches.say_lone(notes)
    say(
        f"{parameter_count(model):,} parameters, {prepared.train}, budget {o.budget}, on {device}{team.in_words(accumulate)}"
    )
    on_report = reports(writer, Watcher(o.out, o.watch, model, prepared.tokenizer))
    shown: dict[str, Any] = dict(title="pretraining", bar=o.progress, say=say, on_report=on_report)
    measured = run.train_in(
        o.out,
        [batch.to(device) for batch in held_out],
        save_model=lambda: save_model(o.out, model, prepared.tokenizer),
        facts={"options": plain(o), "corpus": prepared.folder.name, "accumulate": accumulate} | facts,
        state=state[0] if state else None,
        evaluations=o.evaluations,
        **shown,
        first=(check_again, partial(notes.write, o.out, add=o.resume)),
    )
    if team.leads:
        draw(o.out, o.objective.curves, say)
    return measured
