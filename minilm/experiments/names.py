"""What the ladders of taggers share: the dictionary that they should beat, and the remarks under their tables.  F30, F31."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from minilm.experiments.ladder import Baseline, Climber, Material, Outcome
from minilm.experiments.rungs import Epochs, Start, neural_rungs
from minilm.experiments.table import HIGH, LOW, details_table, mean_of
from minilm.pretrained.run_folder import LoadedModel
from minilm.text.files import Example
from minilm.training.entity_report import KNOWN, NEW, Name, name_of
from minilm.training.metrics import entities
from minilm.training.supervised import Recipe
from minilm.training.tasks import TokenTask

BEST = "Transformer pretrained, fine-tuned, CRF"
START = "Transformer + word vectors + neighbour heads, CRF"
LSTM = "LSTM + word vectors, CRF"
SCRATCH, HEAD, TUNED = "Transformer, CRF", "Transformer pretrained, head only", "Transformer pretrained, fine-tuned"
SHORT = ("dictionary", LSTM, START, TUNED, BEST)  # the rows that matter most
FACTS = {"model", "labels", "seed", "f1", "seconds", "parameters", LOW, HIGH}


def dictionary(material: Material, labels: int, seed: int) -> Outcome:
    """Tag every name that occurs in the labelled lines wherever it turns up, the longest that fits first.

    If a name has several kinds there, the last one counts.
    """
    started = time.perf_counter()
    learnt = [material.examples[i] for i in material.drawn(labels, seed)]
    names = {name_of(line.tokens[a:b]): kind for line in learnt for kind, a, b in entities(line.tags)}
    longest = max(map(len, names), default=0)
    guessed = [look_up(line.tokens, names, longest) for line in material.test_examples]
    seconds = time.perf_counter() - started
    score, details = material.found(guessed, labels, seed)
    return Outcome(score, seconds, len(names), details)


DICTIONARY = Baseline("dictionary", dictionary, "the names seen in training, the longest first")


def look_up(tokens: list[str], names: dict[Name, str], longest: int) -> list[str]:
    """BIO tags for every name of the dictionary in a line, from left to right, the longest first."""
    tags, start = ["O"] * len(tokens), 0
    while start < len(tokens):
        for length in range(min(longest, len(tokens) - start), 0, -1):
            kind = names.get(name_of(tokens[start : start + length]))
            if kind:
                tags[start : start + length] = [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
                break
        else:
            length = 1
        start += length
    return tags


def remarks_on_names(rows: list[dict], few: int, lines: str) -> str:
    """What the table says with so `few` labelled lines, in sentences that follow the figures; and the table of details.

    A sentence about a row that is not in the table is left out, and so is a row without details in the table of details.
    """
    mine = [row for row in rows if row["labels"] == few]
    mean = {model: mean_of(mine, "f1", model, few) for model in dict.fromkeys(row["model"] for row in mine)}
    told = [row for row in mine if KNOWN in row and NEW in row]
    new = {
        model: float(np.mean([row[NEW] for row in told if row["model"] == model]))
        for model in dict.fromkeys(row["model"] for row in told)
    }
    said = [*sentences(mean, few, lines), *of_new_names(new, lines)]
    out = "\n".join(f"* {line}" for line in said)
    if not told:
        return out
    kinds = sorted({name for row in told for name in row} - FACTS - {KNOWN, NEW})
    table = details_table(told, few, [*kinds, KNOWN, NEW])
    return f"{out}\n\nF1 of each kind of entity, and of known and new names:\n\n{table}"


def sentences(mean: Mapping[str, float], few: int, lines: str) -> Iterator[str]:
    """The sentences about the means over the seeds, as far as their rows are there."""
    if {BEST, LSTM, DICTIONARY.name} <= mean.keys():
        yield (
            f"With {few:,} labelled {lines}, the pretrained Transformer with a CRF reaches an entity F1 of {mean[BEST]:.3f}. "
            f"The LSTM with word vectors and a CRF reaches {mean[LSTM]:.3f}, and the dictionary of the names in these {lines} "
            f"{mean[DICTIONARY.name]:.3f}."
        )
    if {BEST, START, SCRATCH} <= mean.keys():
        yield (
            f"Not all of that is pretraining. The same Transformer with the same CRF reaches {mean[SCRATCH]:.3f} from scratch "
            f"and {mean[START]:.3f} with word vectors and heads that start by looking next door; pretraining adds "
            f"{100 * (mean[BEST] - mean[START]):.1f} points to that."
        )
    if {BEST, TUNED} <= mean.keys():
        yield f"The CRF is worth {100 * (mean[BEST] - mean[TUNED]):.1f} points."
    if {HEAD, TUNED} <= mean.keys():
        yield (
            f"Training the head alone (F08 as printed) gives {mean[HEAD]:.3f}; training all of θ (F02) gives "
            f"{mean[TUNED]:.3f}."
        )


def of_new_names(new: Mapping[str, float], lines: str) -> Iterator[str]:
    """The sentence about names that the labelled lines do not contain, if its rows are there."""
    if {LSTM, START, BEST} <= new.keys():
        yield (
            f"A dictionary never finds a name that its {lines} do not contain. Of the new names, the LSTM with word vectors "
            f"and a CRF reaches an F1 of {new[LSTM]:.3f}, our start {new[START]:.3f}, and the pretrained model {new[BEST]:.3f}."
        )


class NamesTrack:
    """What the tracks have in common that look for names: their rows, what they predict, and their remarks."""

    tagger: TokenTask
    unit: str  # what a labelled example is called
    recipes: dict[str, Recipe]
    epochs: ClassVar[Epochs]
    sentences: tuple[str, ...]
    short: tuple[str, ...] = SHORT

    def rungs(self, start: Start, keep: Path | None = None) -> list[Climber]:
        return [DICTIONARY, *neural_rungs(start, self.recipes, keep, self.epochs, crf=True)]

    def predictions(self, loaded: LoadedModel) -> list[str]:
        examples = [Example(text) for text in self.sentences]
        found = self.tagger.predict(loaded.model, examples, loaded.tokenizer, loaded.max_length)
        return [f"{each.text} → {each.label}" for each in found]

    def remarks(self, rows: list[dict], labels: tuple[int, ...], measured: dict) -> str:
        """What the table says, in sentences that follow the figures."""
        return remarks_on_names(rows, labels[0], self.unit)
