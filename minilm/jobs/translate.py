"""`minilm translate RUN "text" …`: turn texts into others with a model that `minilm translation` trained.  F23."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from minilm.errors import InputError, check_least, check_most
from minilm.files.notes import Notes, aside
from minilm.models.seq2seq import Seq2Seq
from minilm.pretrained.protocol import open_model
from minilm.text.memory import open_memory, samples_of, with_hints
from minilm.text.parallel import placeholders
from minilm.text.remarks import remark
from minilm.training.loop import choose_device
from minilm.training.translation import translate as best_beams, translate_by_agreement


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
    samples: int | None = None
    """How many translations are drawn for each text: the one that agrees most with all of them is taken. With 0 it is the best
    beam. As in training if not given."""
    tokens: int = 200
    """The most tokens to write for a text."""
    device: str = "auto"

    def __post_init__(self) -> None:
        check_least(self, 1, "beams", "tokens")
        check_most(self, {"beams": 1_000, "tokens": 1_000_000} | ({} if self.samples is None else {"samples": 10_000}))
        if self.samples is not None:
            check_least(self, 0, "samples")
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
    memory, neighbours = open_memory(loaded.folder) or (None, 0)
    sources = list(o.texts) if memory is None else [memory.read(text) for text in o.texts]
    hints = [[] for _ in o.texts] if memory is None else memory.hints(o.texts, neighbours)
    samples, how = samples_of(loaded.folder) if o.samples is None else o.samples, (o.beams, o.length_penalty, o.tokens)
    if samples:
        out = translate_by_agreement(model, loaded.tokenizer, sources, samples, hints, *how)
    else:
        out = best_beams(model, loaded.tokenizer, list(map(with_hints, sources, hints)), *how)
    for source, target in zip(o.texts, out, strict=True):
        say(target)
        if lost := placeholders(source) - placeholders(target):
            notes(f"the translation of {source[:40]!r} has lost {', '.join(lost)}.")
    return out
