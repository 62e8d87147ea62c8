"""Use a model: label texts, fill in masked words, look at attention."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import tyro

from minilm import plots
from minilm.errors import InputError
from minilm.examples.labelled import encode_tagged, encode_texts
from minilm.jobs.finetune import Columns, InOwnFile, is_tagged, is_tagger
from minilm.jobs.folders import Opened, open_classifier, open_encoder, open_pretraining
from minilm.published import locate
from minilm.tensorfile import read_config
from minilm.text import corpus
from minilm.text.files import Example
from minilm.text.tagged import TaggedLine
from minilm.text.tokenizer import Tokenizer
from minilm.training.loop import choose_device
from minilm.training.supervised import predicted_tags, probabilities


@dataclass(frozen=True)
class PredictOptions:
    """Label texts with a fine-tuned model: those on the command line, or a file's."""

    model: Path
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    file: Path | None = None
    """A text file (one text a line), a CSV, TSV or JSON-lines file with a --text-column, or a CoNLL file of words."""
    pair: str | None = None
    """The second text, for a model of pairs."""
    columns: InOwnFile = field(default_factory=Columns)
    truncate: bool = False
    device: str = "auto"


class Prediction(NamedTuple):
    text: str
    label: str  # of a text; for tagged lines the entities, as "PER 江泽民, LOC 北京"
    probability: float | None


def predict(options: PredictOptions, say: Callable[[str], None] = print) -> list[Prediction]:
    """The label of each text and how sure the model is, or the entities of each line."""
    opened = open_classifier(options.model)
    opened.model.to(choose_device(options.device))
    examples = [Example(text, None, options.pair) for text in options.texts] + from_file(options)
    if not examples or not all(example.text.strip() for example in examples):
        raise InputError("there is nothing to label: give texts with words in them, or a file with --file.")
    label = label_lines if is_tagger(opened.model) else label_texts
    found = label(opened, examples, options.truncate, str(options.file or "the command line"))
    for prediction in found:
        sure = "" if prediction.probability is None else f"{prediction.probability:.3f}\t"
        say(f"{prediction.label}\t{sure}{prediction.text}")
    return found


def from_file(options: PredictOptions) -> list[Example]:
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


def label_texts(opened: Opened, examples: list[Example], truncate: bool, where: str) -> list[Prediction]:
    labels = opened.model.labels
    encoded = encode_texts(examples, labels, opened.tokenizer, opened.max_length, truncate, where)
    device = next(opened.model.parameters()).device
    rows = probabilities(opened.model, encoded, device)
    return [
        Prediction(example.text, labels[int(row.argmax())], float(row.max()))
        for example, row in zip(examples, rows, strict=True)
    ]


def label_lines(opened: Opened, examples: list[Example], truncate: bool, where: str) -> list[Prediction]:
    """For taggers: Chinese by characters, other scripts by words between spaces."""
    labels = opened.model.labels
    words = [units(example.text) for example in examples]
    lines = [TaggedLine(line, [labels[0]] * len(line)) for line in words]
    encoded = encode_tagged(lines, labels, opened.tokenizer, opened.max_length, where)
    tags = predicted_tags(opened.model, encoded, labels, next(opened.model.parameters()).device)
    return [
        Prediction(example.text, ", ".join(f"{kind} {name}" for kind, name in entities(line, guessed)) or "–", None)
        for example, line, guessed in zip(examples, words, tags, strict=True)
    ]


def units(text: str) -> list[str]:
    """What a tagger tags: Chinese by characters, other scripts by the words between the spaces."""
    return [c for c in text if not c.isspace()] if CHINESE.search(text) else text.split()


CHINESE = re.compile("[\u3400-\u9fff\uf900-\ufaff]")


def entities(words: list[str], tags: list[str]) -> list[tuple[str, str]]:
    """(kind, name) of each run of B-kind, I-kind, I-kind …"""
    found: list[tuple[str, list[str]]] = []
    before = "O"
    for word, tag in zip(words, tags, strict=True):
        if tag.startswith("B-") or (tag.startswith("I-") and before[2:] != tag[2:]):
            found.append((tag[2:], [word]))
        elif tag.startswith("I-"):
            found[-1][1].append(word)
        before = tag
    space = " " if any(len(word) > 1 for word in words) else ""
    return [(kind, space.join(name)) for kind, name in found]


@dataclass(frozen=True)
class FillMaskOptions:
    """Let a pretrained model fill in the words that are written [MASK]."""

    model: Path
    texts: tyro.conf.Positional[tuple[str, ...]]
    top: int = 5


def fill_mask(options: FillMaskOptions, say: Callable[[str], None] = print) -> list[list[list[tuple[str, float]]]]:
    """For each text, for each [MASK]: the likeliest words with their probabilities."""
    if not options.texts:
        raise InputError("there is nothing to fill in: give a text with [MASK] where a word is to be guessed.")
    if options.top < 1:
        raise InputError(f"top {options.top} must be at least 1.")
    opened = open_pretraining(options.model)
    out = []
    for text in options.texts:
        filled = fill(opened, text, options.top)
        out.append(filled)
        say(text)
        for choices in filled:
            say("    " + "  ".join(f"{word} {p:.1%}" for word, p in choices))
    return out


@torch.no_grad()
def fill(opened: Opened, text: str, top: int = 5) -> list[list[tuple[str, float]]]:
    """P(wᵢ | the words on both sides) at each [MASK], the `top` likeliest.  F25."""
    tokenizer = opened.tokenizer
    ids, types = tokenizer.pair(tokenizer.ids([text])[0])
    row = fit_row(ids, types, opened.max_length)
    masked = (row[0][0] == tokenizer.mask).nonzero().flatten()
    if not len(masked):
        raise InputError(f"'{text}' has no [MASK]: write one where a word is to be guessed.")
    scores = opened.model(row[0], row[1], masked=masked).words  # [M, V]
    scores[:, tokenizer.special_ids] = -torch.inf
    probabilities, ids = scores.softmax(dim=-1).topk(min(top, tokenizer.size - len(tokenizer.special_ids)))
    return [
        list(zip(tokenizer.tokens(words.tolist()), row.tolist(), strict=True))
        for words, row in zip(ids, probabilities, strict=True)
    ]


def fit_row(ids: list[int], types: list[int], max_length: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    if max_length is not None and len(ids) > max_length:
        raise InputError(f"the text has {len(ids)} tokens and the model takes {max_length}: shorten it.")
    return torch.tensor([ids]), torch.tensor([types])


@dataclass(frozen=True)
class AttentionOptions:
    """Draw who looks at whom: a heat map for every head of every layer."""

    model: Path
    text: tyro.conf.Positional[str]
    pair: tyro.conf.Positional[str | None] = None
    """A second text, to see what crosses from one to the other."""
    out: Path = Path("attention.png")


def attention(options: AttentionOptions, say: Callable[[str], None] = print) -> list[np.ndarray]:
    """The attention weights of every layer [H, T, T], written as a picture."""
    if options.out.is_dir():
        raise InputError(f"{options.out} is a folder: give --out the name of a picture, such as attention.png.")
    opened = open_any(options.model)
    tokens, weights = attention_of(opened, options.text, options.pair)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    plots.attention_maps(tokens, weights, options.out)
    say(f"{len(weights)} layers × {len(weights[0])} heads written to {options.out}")
    return weights


def open_any(folder: Path) -> Opened:
    """A BERT, whatever stands on it."""
    if read_config(locate(folder)).get("model_type") == "minilm-lstm":
        raise InputError(f"{folder} holds an LSTM, which has no attention to look at.")
    return open_encoder(folder)


@torch.no_grad()
def attention_of(opened: Opened, text: str, pair: str | None = None) -> tuple[list[str], list[np.ndarray]]:
    """The tokens, with [CLS] and [SEP], and each layer's weights [H, T, T].  F18."""
    tokenizer: Tokenizer = opened.tokenizer
    second = None if pair is None else tokenizer.ids([pair])[0]
    ids, types = tokenizer.pair(tokenizer.ids([text])[0], second)
    row = fit_row(ids, types, opened.max_length)
    weights = opened.model.bert(*row, need_weights=True).attentions
    return tokenizer.tokens(ids), [layer[0].numpy() for layer in weights]
