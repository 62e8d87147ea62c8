"""A model that answers: `minilm dialogue` trains it and its rivals on conversations, and prints one table.  F29.

All rivals have the same tokens, the same conversations, the same minutes, and are asked for the same answers of conversations
that nobody has seen. What differs is what they read: a bigram model one token, a GPT or an LSTM several turns, and the GPT
"without history" nothing but the answer itself.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minilm.errors import InputError, check_least, check_most
from minilm.examples.dialogue import Conversations, DialogueWindows, answers, as_text, drawn, every_answer, prompt_for
from minilm.experiments.dialogue_tables import examples, fewer_table, table, written_table
from minilm.files.atomic import write_json, write_text
from minilm.files.notes import Notes
from minilm.formulas.kneser_ney import KneserNey
from minilm.jobs.chat import FACTS
from minilm.jobs.pretrain import PretrainOptions, build, prepare_for
from minilm.models.config import parameter_count
from minilm.models.generation import generate
from minilm.pretrained.protocol import save_model
from minilm.text.dialogues import Roles
from minilm.training.diversity import distinct_n
from minilm.training.loop import choose_device
from minilm.training.memory import cost, cost_in_words
from minilm.training.objectives import Answers, CausalLM
from minilm.training.run import TrainingRun
from minilm.training.writing import never_written

ROWS = ("bigram", "gpt-alone", "lstm", "gpt")
LSTM_LEARNING_RATE = (
    8e-3  # of 1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2 and 3e-2 the best after 300 steps, on the development half
)
FEWER = (0, 1, 2, 4)  # turns of history that the trained GPT is also measured with


@dataclass(frozen=True)
class DialogueOptions:
    """Train a model that answers in a conversation, and measure it against others on the answers of unseen conversations.

    The rows of the table: bigram (counts), gpt-alone (a GPT that reads no history), lstm and gpt (which read several turns).
    The gpt of the first seed is saved for `minilm chat`. By the clock (--minutes), another run gives other figures; with
    --steps, it gives the same."""

    corpus: str = "chitchat"
    """A corpus of conversations, or a text file: one turn per line, two people taking turns, a blank line between conversations."""
    out: Path = Path("runs/dialogue")
    rows: tuple[str, ...] = ROWS
    """Which rows, for instance --rows gpt to train only the model that answers."""
    minutes: float | None = None
    """For every model that is trained; 2.5 if neither minutes nor steps are given."""
    steps: int | None = None
    history: int = 8
    """The most turns that a model reads before its answer. With 0 it reads none."""
    seeds: int = 1
    vocab_size: int = 4096
    width: int = 128
    layers: int = 2
    heads: int = 4
    length: int = 128
    """The longest row in tokens, history and answer together. A turn of more than half of it is cut."""
    batch: int = 16
    learning_rate: float = 4e-3
    lstm_learning_rate: float | None = None
    """Of the LSTM; its own if not given."""
    everything_first: float = 0.7
    """For this share of the training every token of a row counts, and then the answers alone: see `Answers`. With 0, nothing but
    the answers ever counts."""
    answers: int = 3000
    """How many answers are measured."""
    written: int = 200
    """How many answers each model writes, for the second table."""
    held_out: int = 800
    """Conversations that no model sees. With one half of them choices are made, and the other half is the test."""
    development: bool = False
    """Measure on the half that choices are made with, instead of the test."""
    cache: Path = Path("runs/cache")
    device: str = "auto"
    progress: bool = True

    def __post_init__(self) -> None:
        check_least(self, 1, "seeds", "answers", "written")
        check_least(self, 2, "held_out")
        check_least(self, 0, "history")
        check_most(self, {"history": 1000, "seeds": 100})
        if not 0 <= self.everything_first < 1:
            raise InputError(f"everything_first must be at least 0 and below 1, not {self.everything_first}.")
        if self.length < 16:
            raise InputError(
                f"length must be at least 16, not {self.length}: a message and an answer need that much room."
            )
        if unknown := [row for row in self.rows if row not in ROWS]:
            raise InputError(f"there is no row '{unknown[0]}': choose among {', '.join(ROWS)}.")
        if not self.rows:
            raise InputError(f"no row is left: choose among {', '.join(ROWS)}.")
        if self.minutes is not None and self.steps is not None:
            raise InputError("give --minutes or --steps, not both.")
        _ = self.settings("gpt").budget

    def settings(self, architecture: str, seed: int = 0) -> PretrainOptions:
        """The options of a model's training, in the words of `minilm pretrain`."""
        minutes = 2.5 if self.minutes is None and self.steps is None else self.minutes
        budget: dict[str, Any] = dict(minutes=minutes, steps=self.steps)
        sizes: dict[str, Any] = dict(
            vocab_size=self.vocab_size, width=self.width, layers=self.layers, length=self.length
        )
        heads: dict[str, Any] = dict(heads=self.heads) if architecture == "gpt" else {}
        rate = self.learning_rate if architecture == "gpt" else self.lstm_learning_rate or LSTM_LEARNING_RATE
        others: dict[str, Any] = dict(batch=self.batch, learning_rate=rate, held_out=self.held_out)
        others |= dict(cache=self.cache, device=self.device, progress=self.progress, seed=seed)
        return PretrainOptions(corpus=self.corpus, architecture=architecture, **budget, **sizes, **heads, **others)


class Asked(NamedTuple):
    """Answers (conversation, turn) of a part of the held-out conversations."""

    development: list[tuple[int, int]]
    measured: list[tuple[int, int]]


class Material:
    """What all rows share: the conversations, their tokens and roles, and the answers that are asked for."""

    def __init__(self, options: DialogueOptions, say: Callable[[str], None], notes: Notes):
        self.options = o = options
        self.prepared = prepare_for(o.settings("gpt"), say, notes)
        self.roles = Roles(self.prepared.tokenizer, add=True)
        self.held_out = Conversations(self.prepared.held_out, self.roles, o.length)
        half = len(self.held_out) // 2
        parts = range(half), range(half, len(self.held_out))
        development, test = (drawn(self.held_out, part, o.answers, seed=2**31) for part in parts)
        self.asked = Asked(development, development if o.development else test)
        if not development or not test:
            raise InputError(
                f"{o.corpus} has too few conversations: both halves of what is held out need one with two turns."
            )

    def windows(self, history: int, batch: int, seed: int) -> DialogueWindows:
        """The rows that a model learns from."""
        return DialogueWindows(self.prepared.train, self.roles, self.options.length, batch, seed, history)

    @cached_property
    def everyone(self) -> Conversations:
        """The conversations to learn from."""
        return Conversations(self.prepared.train, self.roles, self.options.length)


def dialogue(options: DialogueOptions, say: Callable[[str], None] = print) -> dict:
    """Train, measure, print both tables, and write them to `out`: dialogue.json, report.md and, with the row gpt, chat/.

    Raises KeyboardInterrupt after Ctrl-C.
    """
    o, notes = options, Notes(say)
    started = time.perf_counter()
    material = Material(o, say, notes)
    say(f"to learn from: {material.prepared.train}\nheld out:      {material.prepared.held_out}")
    say(
        f"measured on {len(material.asked.measured):,} answers of the {'development half' if o.development else 'test half'}"
    )
    rows: list[dict] = []
    for name in o.rows:
        for seed in range(o.seeds if name != "bigram" else 1):
            rows.append(counted(material) if name == "bigram" else trained(name, seed, material))
            say(f"{name:10} seed {seed}  perplexity {rows[-1]['perplexity']:.1f}  {rows[-1]['seconds']:.0f} s")
    written = [people(material), *(text for row in rows for text in row.pop("writes", []))]
    result: dict[str, Any] = {"rows": rows, "written": written, "cost": cost(started)}
    result["asked"] = len(material.asked.measured)
    parts = table(rows), fewer_table(rows), written_table(written), examples(written, messages(material))
    report = "\n\n".join(filter(None, parts))
    o.out.mkdir(parents=True, exist_ok=True)
    write_json(o.out / "dialogue.json", result)
    write_text(o.out / "report.md", report + "\n")
    notes.write(o.out)
    say(f"\n{report}\n\n{cost_in_words(result['cost'])}. The results are in {o.out}: report.md, dialogue.json.")
    if "gpt" in o.rows:
        say(f"Try next:  minilm chat {o.out / 'chat'}")
    return result


def counted(material: Material) -> dict:
    """The row of the bigram model, which is counted on every answer of the conversations to learn from."""
    started, everyone = time.perf_counter(), material.everyone
    text = as_text(everyone, every_answer(everyone, range(len(everyone))))
    model = KneserNey(text, material.roles.tokenizer.size, 2, material.roles.model)
    loss = -float(np.log(model.probabilities(as_text(material.held_out, material.asked.measured))).mean())
    facts = {"model": "bigram", "reads": "one token", "seed": 0, "loss": loss, "perplexity": math.exp(loss)}
    return facts | {"seconds": time.perf_counter() - started, "parameters": sum(map(len, model.keys))}


def trained(name: str, seed: int, material: Material) -> dict:
    """The row of a model that is trained, with what it wrote. The gpt of the first seed is saved."""
    o = material.options
    alone = name == "gpt-alone" or o.history == 0
    settings = o.settings("lstm" if name == "lstm" else "gpt", seed)
    # an answer without its history is a short row, so that several more make a batch with as many answers
    windows = material.windows(0 if alone else o.history, o.batch * (2 if alone else 1), seed)
    model = build(settings, material.prepared, further=2)
    device = choose_device(o.device)
    objective = Answers(o.everything_first)
    run = TrainingRun(model, objective, windows.__getitem__, settings.budget, settings.optimisation, seed, device)
    run.train(title=name, bar=o.progress)
    if not run.done:
        raise KeyboardInterrupt
    losses = {}
    for history in sorted({0 if alone else o.history, *(FEWER if name == "gpt" else ())}):
        if history <= o.history:
            batches = [batch.to(device) for batch in answers(material.held_out, material.asked.measured, history)]
            losses[history] = CausalLM().measure(model, batches)["loss"]
    loss = losses[0 if alone else o.history]
    row = {"model": name, "reads": "its own words" if alone else f"{o.history} turns", "seed": seed, "loss": loss}
    row |= {"perplexity": math.exp(loss), "seconds": run.progress.seconds, "steps": run.progress.step}
    row |= {"tokens": run.progress.tokens, "parameters": parameter_count(model)}
    row |= {"by_history": {str(h): math.exp(v) for h, v in losses.items()}}
    if seed == 0:
        temperatures = (0.0, 0.8) if name == "gpt" else (0.8,)
        row["writes"] = [wrote(name, model, material, 0 if alone else o.history, t) for t in temperatures]
        if name == "gpt":
            keep(model, row, material)
    return row


def keep(model: Any, row: dict, material: Material) -> None:
    """Save a model for `minilm chat`, with the facts that it tells about it."""
    folder = material.options.out / "chat"
    save_model(folder, model.cpu(), material.roles.tokenizer)
    facts = {
        "history": material.options.history,
        "conversations": len(material.everyone),
        "corpus": material.options.corpus,
    }
    facts |= {
        "minutes": round(row["seconds"] / 60, 2),
        "tokens": row["tokens"],
        "perplexity": round(row["perplexity"], 1),
    }
    write_json(folder / FACTS, facts | {"parameters": row["parameters"]})


def people(material: Material) -> dict:
    """What people answered, in the form of `wrote`."""
    return summary("people", None, [material.held_out.turn(i, t, True)[1:] for i, t in to_write(material)], material)


def to_write(material: Material) -> list[tuple[int, int]]:
    """The answers that every model writes: the first ones of a random order."""
    asked = material.asked.measured
    order = np.random.default_rng(0).permutation(len(asked))[: material.options.written]
    return [asked[i] for i in order.tolist()]


def messages(material: Material, most: int = 5) -> list[str]:
    """The messages that the first of these answers reply to."""
    text, turn = material.roles.tokenizer.text, material.held_out.turn
    return [text(turn(i, t - 1, False)) for i, t in to_write(material)[:most]]


def wrote(name: str, model: Any, material: Material, history: int, temperature: float, most: int = 40) -> dict:
    """What a model answers, in at most `most` tokens."""
    held_out, tokenizer = material.held_out, material.roles.tokenizer
    room = max(4, material.options.length - most)
    asked = to_write(material)
    prompts = [prompt_for(material.roles, held_out.before(i, t, history), room)[0] for i, t in asked]
    settings: dict[str, Any] = dict(stop={tokenizer.end}, banned=never_written(model, tokenizer))
    texts = generate(model, prompts, most, temperature, seed=0, **settings)
    return summary(name, temperature, [text.ids for text in texts], material)


def summary(name: str, temperature: float | None, texts: Sequence[Sequence[int]], material: Material) -> dict:
    """How varied these answers are, and the answers themselves."""
    end = material.roles.tokenizer.end
    words = [[i for i in text if i != end] for text in texts]
    said = [material.roles.tokenizer.text(text) for text in words]
    most = max(said, key=said.count)
    facts = {"model": name, "temperature": temperature, "tokens": float(np.mean([len(text) for text in words]))}
    facts |= {f"distinct-{n}": distinct_n(words, n) for n in (1, 2)}
    return facts | {"different": len(set(said)) / len(said), "most_frequent": most, "texts": said}
