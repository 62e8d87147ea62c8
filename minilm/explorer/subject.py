"""What a run folder holds, said in words; and a text as the tokens that the model reads."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from minilm.errors import InputError
from minilm.files.notes import Note, unheard
from minilm.models.config import parameter_count
from minilm.models.heads import NUMBER, SEVERAL, Classifier, HeadConfig, SpanHeadConfig, TextHeadConfig, TokenHeadConfig
from minilm.models.sentence_encoder import SentenceEncoder
from minilm.models.verbaliser import Verbaliser
from minilm.pretrained.adapter import is_adapter
from minilm.pretrained.protocol import open_model
from minilm.pretrained.registry import PUBLISHED_MODELS
from minilm.pretrained.run_folder import LoadedModel
from minilm.text.characters import visible
from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import one_row

LONGEST = 256  # tokens of a text: a map of 256 × 256 weights is the most that a screen shows
MASK = "[MASK]"
KINDS = {"PER": "persons", "LOC": "places", "ORG": "organisations"}
GENERIC = ("pretrained", "finetuned", "model", "chat", "run")


@dataclass(frozen=True)
class Subject:
    """What a page is about: a folder, and the model in it, if it is the folder of a model and not of an experiment."""

    folder: Path
    loaded: LoadedModel | None
    name: str
    headline: str

    @property
    def model(self) -> Any:
        assert self.loaded is not None
        return self.loaded.model

    @property
    def tokenizer(self) -> Tokenizer:
        assert self.loaded is not None
        return self.loaded.tokenizer

    @property
    def head(self) -> HeadConfig | None:
        """The head of a classifier; None for other models."""
        return getattr(self.model, "head_config", None)

    @property
    def guesses(self) -> bool:
        """Whether the model guesses hidden words."""
        return hasattr(self.model, "mlm_head")

    @property
    def writes(self) -> bool:
        """Whether the model continues texts."""
        return hasattr(self.model, "next_logits")

    @property
    def reads_pairs(self) -> bool:
        """Whether the model may be given a second text."""
        return self.loaded is not None and not self.writes and not isinstance(self.head, TokenHeadConfig)

    @property
    def stack(self) -> Any:
        """The Transformer's blocks; None for a model without."""
        return getattr(self.model.encoder, "stack", None)


def open_subject(folder: Path, note: Note = unheard) -> Subject:
    """Whatever the folder holds: a model (also in `pretrained/`, where the quickstart puts it), or an experiment of the lab.

    Raises InputError, in one sentence, for a folder that holds neither, and for a model that the explorer does not show.
    """
    published = str(folder) in PUBLISHED_MODELS
    if not published and not folder.exists():
        raise InputError(f"there is no folder {folder}: name one that `minilm pretrain` or `minilm finetune` wrote.")
    if folder.is_dir() and not (folder / "config.json").exists() and not is_adapter(folder):
        if (folder / "results.json").exists():
            return Subject(folder, None, folder.name, "An experiment of the emergence lab.")
        if (folder / "pretrained" / "config.json").exists():
            folder = folder / "pretrained"
    loaded = open_model(folder, note)
    if hasattr(loaded.model, "decoder"):
        raise InputError(
            f"{folder} holds an encoder–decoder, which the explorer does not show: use minilm translate {folder} TEXT."
        )
    if folder.is_file():  # the weights alone were named
        folder = folder.parent
    return Subject(folder, loaded, name_of(folder, published), headline_of(loaded.model, loaded.tokenizer))


def name_of(folder: Path, published: bool = False) -> str:
    """The folder's name; for one that says little, such as `pretrained`, with the name of the folder around it."""
    path = folder if published else folder.resolve()
    return f"{path.parent.name}/{path.name}" if path.name in GENERIC and path.parent.name else path.name


def headline_of(model: Any, tokenizer: Tokenizer) -> str:
    """One or two sentences that say what the model is, such as "A BERT that guesses hidden words. It has 3 layers …"."""
    config, size = model.config, f"{counted(parameter_count(model))} weights"
    stack = getattr(model.encoder, "stack", None)
    if stack is not None:
        shape = f"{plural(len(stack.layers), 'layer')} with {plural(config.heads, 'attention head')} each, "
    else:
        shape = f"{plural(config.layers, 'layer')} without attention, "
    return f"{purpose(model)} It has {shape}{size} and a vocabulary of {len(tokenizer.backend.get_vocab()):,} tokens."


def purpose(model: nn.Module) -> str:
    """What the model was trained for, in one sentence."""
    recurrent = not hasattr(model.encoder, "stack")
    if hasattr(model, "mlm_head"):
        return "A BERT that guesses hidden words from both sides."
    if hasattr(model, "next_logits"):
        return f"{'An LSTM' if recurrent else 'A GPT'} that reads from left to right and guesses what comes next."
    kind = "LSTM" if recurrent else "Transformer"
    if isinstance(model, Classifier | Verbaliser):
        head: Any = model.head_config
        named = listed(head.labels)
        if isinstance(head, TokenHeadConfig):
            what = {"entities": "finds names", "tags": "gives every word a tag", "words": "finds the words"}[head.marks]
            if head.marks == "entities":  # B-PER and I-PER are one kind of name, and O is none
                kinds = dict.fromkeys(label.split("-", 1)[1] for label in head.labels if "-" in label)
                named = listed(tuple(KINDS.get(kind, kind) for kind in kinds))
            return f"A {kind} that {what} in a text ({named})."
        if isinstance(head, SpanHeadConfig):
            return f"A {kind} that finds the answer to a question in a text."
        if isinstance(head, TextHeadConfig) and head.problem_type == NUMBER:
            return f"A {kind} that predicts a number: {named}."
        several = isinstance(head, TextHeadConfig) and head.problem_type == SEVERAL
        return f"A {kind} that sorts texts: {named}{' (several at once)' if several else ''}."
    assert isinstance(model, SentenceEncoder)
    return f"A {kind} that turns a text into a vector."


def counted(n: int) -> str:
    """As "1.6 million" or "57,634"."""
    return f"{n / 1e6:.1f} million" if n >= 1_000_000 else f"{n:,}"


def plural(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"


def listed(names: tuple[str, ...], most: int = 8) -> str:
    """The names with commas between them; of many, the first and how many there are."""
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


class Framed(NamedTuple):
    """A text (or a pair) as the model reads it, with its special tokens."""

    text: str
    pair: str | None
    ids: list[int]
    token_type_ids: list[int]


def framed(subject: Subject, text: str, pair: str | None = None) -> Framed:
    """The tokens of a text. A model that guesses hidden words reads [MASK] as its mask.

    Raises InputError for a text without words, one that is too long, and a pair for a model that reads one text.
    """
    for given, what in ((text, "the text"), (pair, "the second text")):
        if given is not None and not visible(given):
            raise InputError(f"{what} has nothing that can be seen: give a sentence.")
    if pair is not None and not subject.reads_pairs:
        raise InputError(
            f"this model reads one text at a time ({purpose(subject.model)[:-1].lower()}): leave out the second one."
        )
    tokenizer = subject.tokenizer
    rows = [
        tokenizer.ids([part], special=subject.guesses and MASK in part)[0] for part in (text, pair) if part is not None
    ]
    if not all(rows):
        raise InputError("the tokenizer finds no token in the text: give a sentence with words in it.")
    if subject.writes:
        ids = tokenizer.prompt(text)
        token_type_ids = [0] * len(ids)
    else:
        ids, token_type_ids = tokenizer.pair(*rows)
    if len(ids) > LONGEST:
        most = min(LONGEST, getattr(subject.model.config, "max_length", None) or LONGEST)
        raise InputError(
            f"the text has {len(ids):,} tokens and the explorer shows at most {most} of this model: shorten it."
        )
    one_row(subject.model, ids, token_type_ids)  # complains about a text that is longer than the model takes
    return Framed(text, pair, ids, token_type_ids)
