"""Writing texts with a language model: prompts in, texts out, piece by piece if wanted.  F23, generation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from minilm.errors import InputError
from minilm.models.generation import Written, beam_search, generate
from minilm.text.tokenizer import Tokenizer

HALF = "\ufffd"  # what stands for the first bytes of a character whose other bytes have not been written yet


class WrittenText(NamedTuple):
    """A prompt, what a model wrote after it, the tokens of both, and why the text ends (see `Written`)."""

    prompt: str
    text: str
    prompt_ids: list[int]
    written: Written


class Pieces:
    """The text of tokens that come one at a time, in pieces that are final: whole characters, each exactly once."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int]):
        self.tokenizer, self.ids = tokenizer, list(prompt_ids)
        self.shown = len(tokenizer.text(self.ids))  # characters

    def add(self, token: int) -> str:
        """What the token adds. It may be nothing: a token can be a part of a character."""
        self.ids.append(token)
        text = self.tokenizer.text(self.ids)
        return "" if text.endswith(HALF) else self.cut(text)

    def rest(self) -> str:
        """What is left at the end: a character that was never completed."""
        return self.cut(self.tokenizer.text(self.ids))

    def cut(self, text: str) -> str:
        piece, self.shown = text[self.shown :], len(text)
        return piece


def write(
    model: nn.Module,
    tokenizer: Tokenizer,
    prompts: Sequence[str] = ("",),
    max_new_tokens: int = 100,
    temperature: float = 0.8,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    beams: int = 1,
    length_penalty: float = 1.0,
    stop: Sequence[str] = (),
    on_piece: Callable[[int, str], None] | None = None,
) -> list[WrittenText]:
    """Continue every prompt as `generate` does, or with the best of `beams` beams. An empty prompt begins a new text.

    A text ends after the token that ends texts, or after a token of `stop`; special tokens are never written otherwise.
    `on_piece(i, piece)` gets the continuation of prompt i while it is written. Raises InputError as `generate` does, and for
    a text in `stop` that is not exactly one token.
    """
    ids = [tokenizer.prompt(prompt) for prompt in prompts]
    settings: dict[str, Any] = dict(max_new_tokens=max_new_tokens, stop={tokenizer.end, *stop_ids(tokenizer, stop)})
    settings["banned"] = never_written(model, tokenizer)
    pieces = [Pieces(tokenizer, row) for row in ids]

    def on_token(i: int, token: int) -> None:
        if on_piece is not None and (piece := pieces[i].add(token)):
            on_piece(i, piece)

    if beams > 1:
        found = [beam_search(model, row, beams, length_penalty=length_penalty, **settings)[0] for row in ids]
        for i, best in enumerate(found):
            for token in best.ids:
                on_token(i, token)
    else:
        found = generate(
            *(model, ids), temperature=temperature, top_k=top_k, top_p=top_p, seed=seed, on_token=on_token, **settings
        )
    for i, last in enumerate(pieces):
        if on_piece is not None and (piece := last.rest()):
            on_piece(i, piece)
    text = partial(text_after, tokenizer)
    return [WrittenText(p, text(row, w.ids), row, w) for p, row, w in zip(prompts, ids, found, strict=True)]


def text_after(tokenizer: Tokenizer, prompt_ids: Sequence[int], ids: Sequence[int]) -> str:
    """The text that `ids` add to that of a prompt: with the space between two words, and without one within a word."""
    return tokenizer.text([*prompt_ids, *ids])[len(tokenizer.text(prompt_ids)) :]


def stop_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """The token of each text. Raises InputError for a text of more or fewer tokens than one."""
    for text, row in zip(texts, rows := tokenizer.ids(list(texts)), strict=True):
        if len(row) != 1:
            parts = ", ".join(map(repr, tokenizer.tokens(row)))
            raise InputError(f"{text!r} cannot end a text: it is {len(row)} tokens ({parts}), and must be exactly one.")
    return [i for row in rows for i in row]


def never_written(model: nn.Module, tokenizer: Tokenizer) -> set[int]:
    """The special tokens, without the one that ends a text, and the rows of the model that have no token."""
    config: Any = model.config
    special = {i for i, token in tokenizer.backend.get_added_tokens_decoder().items() if token.special}
    without_token = set(range(config.vocab_size)) - set(tokenizer.backend.get_vocab().values())
    return (special | set(tokenizer.special_ids) | without_token) - {tokenizer.end}
