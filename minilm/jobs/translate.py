"""`minilm translate RUN "text" …`: turn texts into others with a model that `minilm translation` trained.  F23."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from minilm.errors import InputError, check_least, check_most
from minilm.files.notes import Notes, aside
from minilm.models.seq2seq import Seq2Seq
from minilm.pretrained.protocol import open_model
from minilm.text.memory import hints_of
from minilm.text.parallel import placeholders
from minilm.text.remarks import remark
from minilm.training.loop import choose_device
from minilm.training.translation import translate as translated


@dataclass(frozen=True)
class TranslateOptions:
    """Translate texts with a model that `minilm translation` trained: one line for each text."""

    model: tyro.conf.Positional[Path]
    """The run folder."""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """The texts."""
    beams: int = 4
    """1: always the most likely token; more: search for the most probable text, with this number of beams."""
    length_penalty: float = 1.0
    """Beams are compared by log P / length^penalty: 0 favours short texts, 1 is the mean per token."""
    tokens: int = 200
    """The most tokens to write for a text."""
    device: str = "auto"

    def __post_init__(self) -> None:
        check_least(self, 1, "beams", "tokens")
        check_most(self, {"beams": 1_000, "tokens": 1_000_000})
        if not self.texts:
            raise InputError('there is nothing to translate: give a text, as in minilm translate RUN "two hundred".')
        for number, text in enumerate(self.texts, 1):
            if not text.strip():
                raise InputError(f"text {number} is empty: give a text, or leave it out.")


def translate(options: TranslateOptions, say: Callable[[str], None] = print) -> list[str]:
    """Say the translation of every text, and return them.

    Raises InputError for a folder that holds another kind of model, and for a text that the model cannot take.
    """
    o, notes = options, Notes(aside if say is print else say)
    loaded = open_model(o.model, notes)
    if not isinstance(loaded.model, Seq2Seq):
        raise InputError(
            f"{o.model} holds a {type(loaded.model).__name__}, which translates nothing: name a folder that "
            "minilm translation wrote."
        )
    remark(loaded.tokenizer, o.texts, "the texts", notes)
    model = loaded.model.to(choose_device(o.device))
    out = translated(model, loaded.tokenizer, hints_of(loaded.folder, o.texts), o.beams, o.length_penalty, o.tokens)
    for source, target in zip(o.texts, out, strict=True):
        say(target)
        if lost := placeholders(source) - placeholders(target):
            notes(f"the translation of {source[:40]!r} has lost {', '.join(lost)}.")
    return out
