"""Use a model: label texts, fill in masked words, draw attention."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tyro

from minilm.errors import InputError, check_least
from minilm.jobs.labelled_data import Columns, InOwnFile, is_tagged
from minilm.pretrained.protocol import open_classifier, open_encoder, open_pretraining
from minilm.text import corpus
from minilm.text.files import Example
from minilm.training.inference import attention_of, fill
from minilm.training.loop import choose_device
from minilm.training.tasks import Prediction, task_of
from minilm.viz import plots


@dataclass(frozen=True)
class PredictOptions:
    """Label texts with a fine-tuned model: those that you give on the command line, or those of a file."""

    model: Path
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    file: Path | None = None
    """A text file (one text per line), a CSV, TSV or JSON-lines file with a --text-column, or a CoNLL file of words."""
    pair: str | None = None
    """The second text, for a model of pairs."""
    columns: InOwnFile = field(default_factory=Columns)
    truncate: bool = False
    device: str = "auto"


def predict(options: PredictOptions, say: Callable[[str], None] = print) -> list[Prediction]:
    """The label of each text with its probability, or the entities of each line."""
    loaded = open_classifier(options.model)
    model = loaded.model.to(choose_device(options.device))
    examples = [Example(text, None, options.pair) for text in options.texts] + from_file(options)
    if not examples or not all(example.text.strip() for example in examples):
        raise InputError("there is nothing to label: give texts with words in them, or a file with --file.")
    where = str(options.file or "the command line")
    task = task_of(model.head_config)
    found = task.predict(model, examples, loaded.tokenizer, loaded.max_length, options.truncate, where)
    for prediction in found:
        sure = "" if prediction.probability is None else f"{prediction.probability:.3f}\t"
        say(f"{prediction.label}\t{sure}{prediction.text}")
    return found


def from_file(options: PredictOptions) -> list[Example]:
    """The texts of `--file`, if it is given."""
    if options.file is None:
        return []
    if not options.file.exists():
        raise InputError(f"no such file: {options.file}.")
    if is_tagged(str(options.file)):
        return [Example(" ".join(line.tokens)) for line in corpus.tagged(options.file)]
    if options.file.suffix.lower() == ".txt" or not options.file.suffix:
        return [Example(line, None, options.pair) for document in corpus.documents(options.file) for line in document]
    columns = options.columns
    return corpus.labelled(str(options.file), columns.text_column, None, columns.pair_column)


@dataclass(frozen=True)
class FillMaskOptions:
    """Let a pretrained model guess the words that are written as [MASK]."""

    model: Path
    texts: tyro.conf.Positional[tuple[str, ...]]
    top: int = 5


def fill_mask(options: FillMaskOptions, say: Callable[[str], None] = print) -> list[list[list[tuple[str, float]]]]:
    """For each text and each [MASK] in it: the most probable tokens with their probabilities."""
    if not options.texts:
        raise InputError("there is nothing to fill in: give a text with [MASK] where a word is to be guessed.")
    check_least(options, 1, "top")
    loaded = open_pretraining(options.model)
    out = []
    for text in options.texts:
        filled = fill(loaded.model, loaded.tokenizer, text, options.top)
        out.append(filled)
        say(text)
        for choices in filled:
            say("    " + "  ".join(f"{word} {p:.1%}" for word, p in choices))
    return out


@dataclass(frozen=True)
class AttentionOptions:
    """Draw which token attends to which: a heat map for every head of every layer."""

    model: Path
    text: tyro.conf.Positional[str]
    pair: tyro.conf.Positional[str | None] = None
    """A second text, to see the attention between the two."""
    out: Path = Path("attention.png")


def attention(options: AttentionOptions, say: Callable[[str], None] = print) -> list[np.ndarray]:
    """The attention weights of every layer [H, T, T], drawn as a picture."""
    if options.out.is_dir():
        raise InputError(f"{options.out} is a folder: give --out the name of a picture, such as attention.png.")
    loaded = open_encoder(options.model)
    tokens, weights = attention_of(loaded.model, loaded.tokenizer, options.text, options.pair)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plots.attention_maps(tokens, weights, options.out)
    say(f"{len(weights)} layers × {len(weights[0])} heads written to {options.out}")
    return weights
