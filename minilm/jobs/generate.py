"""`minilm generate RUN "prompt" …`: let a language model write.  F23."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import tyro

from minilm.errors import InputError, check_least, check_most
from minilm.files.notes import Notes, aside
from minilm.models.generation import CONTEXT
from minilm.models.sampling import check_choice
from minilm.pretrained.protocol import open_model
from minilm.text.remarks import remark
from minilm.training.loop import choose_device
from minilm.training.writing import WrittenText, write

TEMPERATURE = 0.8


@dataclass(frozen=True)
class GenerateOptions:
    """Continue texts with a language model: a gpt or lstm that `minilm pretrain` trained, or the folder of a GPT-2.

    A single text appears word by word while it is written. The same seed gives the same text."""

    model: tyro.conf.Positional[Path]
    """The run folder."""
    prompts: tyro.conf.Positional[tuple[str, ...]] = ()
    """How the texts begin. Without one, the model writes a text from its beginning."""
    tokens: int = 100
    """The most tokens to write. A text ends earlier if the model writes the token that ends texts."""
    temperature: float | None = None
    """0 always takes the most likely token, 1 draws from the model's own probabilities, and less than 1 sharpens them; 0.8 if
    you do not say it."""
    top_k: int | None = None
    """Draw from the k most likely tokens alone."""
    top_p: float | None = None
    """Draw from the most likely tokens alone, as many as are needed to sum to this probability."""
    beams: int = 1
    """More than 1: search for the most probable text, with this number of beams, instead of drawing one."""
    length_penalty: float = 1.0
    """Beams are compared by log P / length^penalty: 0 favours short texts, 1 is the mean per token."""
    stop: tuple[str, ...] = ()
    """Further tokens that end a text, such as "."."""
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        check_least(self, 1, "tokens", "beams")
        check_most(self, {"tokens": 1_000_000, "beams": 1_000, "seed": 2**32 - 1})
        check_least(self, 0, "seed")
        check_choice(self.drawn_at, self.top_k, 1.0 if self.top_p is None else self.top_p)
        chosen = {"temperature": self.temperature or None, "top-k": self.top_k, "top-p": self.top_p}
        for name, value in chosen.items():
            if value is not None and (self.beams > 1 or self.temperature == 0):
                what = f"{self.beams} beams draw" if self.beams > 1 else "temperature 0 draws"
                raise InputError(f"{what} nothing at random, so --{name} means nothing: leave it out.")

    @property
    def drawn_at(self) -> float:
        """The temperature."""
        return TEMPERATURE if self.temperature is None else self.temperature


def generate(options: GenerateOptions, say: Callable[[str], None] = print) -> list[WrittenText]:
    """Write a continuation of every prompt, say each text, and return them.

    Raises InputError for a folder without a language model, and for what `write` does not take.
    """
    o, notes = options, Notes(aside if say is print else say)
    loaded = open_model(o.model, notes)
    model = loaded.model
    if not hasattr(model, "next_logits"):
        raise InputError(
            f"{o.model} holds a {type(model).__name__}, which writes no texts: name the folder of a gpt or an lstm "
            "(minilm pretrain --architecture gpt)."
        )
    prompts = o.prompts or ("",)
    remark(loaded.tokenizer, prompts, "the prompts", notes)
    stream = say is print and len(prompts) == 1
    waiting = [prompts[0]]  # printed with the first piece: if something is wrong, nothing has been printed yet

    def show(_: int, piece: str) -> None:
        print(*waiting, piece, sep="", end="", flush=True)
        waiting.clear()

    texts = write(
        *(model.to(choose_device(o.device)), loaded.tokenizer, prompts, o.tokens, o.drawn_at, o.top_k),
        *(1.0 if o.top_p is None else o.top_p, o.seed, o.beams, o.length_penalty, o.stop),
        on_piece=show if stream else None,
    )
    if stream:
        print(*waiting, flush=True)
    for i, text in enumerate(texts if not stream else ()):
        say("\n" * (i > 0) + text.prompt + text.text)
    for i, text in enumerate(texts, 1):
        which = f"text {i}" if len(texts) > 1 else "the text"
        if text.written.reason == CONTEXT:
            notes(f"{which} ends where it does because it fills all {model.context} positions of the model.")
        elif model.context is not None and len(text.prompt_ids) + len(text.written.ids) > model.context:
            notes(
                f"{which} is longer than the {model.context} tokens that the model looks back; its beginning was forgotten."
            )
    return texts
