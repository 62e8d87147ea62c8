"""`minilm chat RUN`: talk to a model that `minilm dialogue` trained, in the terminal.  F29."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from minilm.errors import InputError, check_least, check_most
from minilm.examples.dialogue import prompt_for
from minilm.files.notes import Notes, aside
from minilm.files.tensors import read_json
from minilm.models.config import parameter_count
from minilm.models.generation import generate
from minilm.models.sampling import check_choice
from minilm.pretrained.protocol import open_model
from minilm.text.dialogues import Roles
from minilm.training.loop import choose_device
from minilm.training.writing import Pieces, never_written

FACTS = "chat.json"  # what `minilm dialogue` writes beside a model
QUIT, NEW = "/quit", "/new"


@dataclass(frozen=True)
class ChatOptions:
    """Talk to a model that `minilm dialogue` trained: type a message, and it answers. /new begins anew, /quit ends.

    Messages can also come from a file: minilm chat RUN < messages.txt. The same seed and messages give the same answers."""

    model: tyro.conf.Positional[Path] = Path("runs/dialogue/chat")
    """The folder of the model."""
    temperature: float = 0.8
    """0 always takes the most likely token, 1 draws from the model's own probabilities, and less than 1 sharpens them."""
    top_k: int | None = None
    """Draw from the k most likely tokens alone."""
    top_p: float = 1.0
    """Draw from the most likely tokens alone, as many as are needed to sum to this probability."""
    tokens: int = 40
    """The most tokens of an answer."""
    history: int | None = None
    """The most turns that the model reads before it answers; as many as it has learned to read if you do not say it."""
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_least(self, 1, "tokens")
        check_most(self, {"tokens": 10_000, "seed": 2**32 - 1_000_000})
        check_least(self, 0, "seed")
        if self.history is not None:
            check_least(self, 1, "history")
        check_choice(self.temperature, self.top_k, self.top_p)


@dataclass
class Partner:
    """A model in a conversation. `turns` are those so far, as tokens, the user's and the model's."""

    model: Any
    roles: Roles
    options: ChatOptions
    history: int
    turns: list[list[int]]
    answers: int = 0

    @property
    def room(self) -> int:
        """The most tokens of a prompt: the model's context without what the answer may take, at least half of it."""
        context = self.model.context or 1024
        return max(context - self.options.tokens, context // 2)

    def answer(self, message: str, show: Callable[[str], None] = lambda piece: None) -> tuple[str, int]:
        """The answer to a message, and how many earlier turns it was written without. `show` gets it piece by piece.

        Raises InputError for a message without any token.
        """
        o, tokenizer = self.options, self.roles.tokenizer
        ids = tokenizer.ids([message])[0]
        if not ids:
            raise InputError("the model has no token for anything in this message: write it in other characters.")
        self.turns.append(self.roles.turn(ids, model=False))
        prompt, read = prompt_for(self.roles, self.turns[-self.history :], self.room)
        pieces = Pieces(tokenizer, prompt)

        def on_token(_: int, token: int) -> None:
            if token != tokenizer.end and (piece := pieces.add(token)):
                show(piece)

        choice = (o.temperature, o.top_k, o.top_p, o.seed + self.answers)
        settings: dict[str, Any] = dict(stop={tokenizer.end}, banned=never_written(self.model, tokenizer))
        written = generate(self.model, [prompt], o.tokens, *choice, on_token=on_token, **settings)[0].ids
        if rest := pieces.rest():
            show(rest)
        words = [token for token in written if token != tokenizer.end]
        self.turns.append(self.roles.turn(words, model=True))
        self.answers += 1
        return tokenizer.text(words), len(self.turns) - 1 - read


def chat(options: ChatOptions, say: Callable[[str], None] = print) -> list[tuple[str, str]]:
    """Read messages until the input ends or says /quit, and return them with their answers.

    Raises InputError for a folder without a model of `minilm dialogue`.
    """
    notes = Notes(aside if say is print else say)
    partner, facts = open_partner(options, notes)
    for line in introduction(partner, facts):
        say(line)
    talk: list[tuple[str, str]] = []
    forgotten = 0
    for message in messages():
        if message == NEW:
            partner.turns, forgotten = [], 0
            say("(a new conversation: everything before it is forgotten)")
            continue
        waiting = ["minilm: "]

        def show(piece: str, waiting: list[str] = waiting) -> None:
            print(*waiting, piece.lstrip() if waiting else piece, sep="", end="", flush=True)
            waiting.clear()

        answer, left_out = partner.answer(message, show if say is print else lambda piece: None)
        if say is print:
            print("minilm: (says nothing)" if waiting else "", flush=True)
        else:
            say(f"minilm: {answer}")
        if left_out > forgotten:
            say(
                f"({left_out} of the turns before are out of its sight; it reads the last {len(partner.turns) - 1 - left_out})"
            )
        forgotten = left_out
        talk.append((message, answer))
    return talk


def open_partner(options: ChatOptions, notes: Notes) -> tuple[Partner, dict]:
    """The model of a folder, ready to talk, and what is known of its training. Raises InputError."""
    loaded = open_model(options.model, notes)
    model = loaded.model
    how = "train one with: minilm dialogue"
    if not hasattr(model, "next_logits"):
        raise InputError(f"{options.model} holds a {type(model).__name__}, which writes no texts; {how}.")
    try:
        roles = Roles(loaded.tokenizer)
    except InputError:
        raise InputError(f"{options.model} holds a language model that has not learned conversations; {how}.") from None
    facts = read_json(options.model / FACTS) if (options.model / FACTS).exists() else {}
    history = options.history or max(1, int(facts.get("history", 8)))
    return Partner(model.to(choose_device(options.device)), roles, options, history, []), facts


def introduction(partner: Partner, facts: dict) -> Iterator[str]:
    """What the user should know before: how small the model is, and what it can therefore not do."""
    size = f"This model has {parameter_count(partner.model):,} parameters"
    if facts:
        size += (
            f" and learned for {facts['minutes']:g} minutes from {facts['conversations']:,} conversations "
            f"({facts['corpus']}); its perplexity on new answers is {facts['perplexity']:g}"
        )
    yield f"{size}."
    yield "It has learned how people chat, not what is true: expect fluent small talk that is often beside the point."
    yield f"It reads the last {partner.history} turns at most. {NEW} begins anew, {QUIT} ends."


def messages() -> Iterator[str]:
    """The lines that the user types, without empty ones, up to /quit or the end of the input (Ctrl-D)."""
    asks = sys.stdin.isatty()
    while True:
        try:
            line = input("you:    " if asks else "").strip()
        except EOFError:
            if asks:
                print()
            return
        if line == QUIT:
            return
        if line:
            yield line
