"""Three abilities of pretrained models, ready to be taken apart: next sentence, sentiment, and names.  F25, F26, F28, F36."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from minilm.errors import InputError
from minilm.examples.batching import Dataset
from minilm.examples.labels import IGNORED
from minilm.examples.next_sentence import IS_NEXT, IS_NOT_NEXT, draw_pairs
from minilm.experiments.ladder import Material, Rung
from minilm.experiments.rungs import Start
from minilm.experiments.tracks import Track, track_for
from minilm.files.packages import sha256
from minilm.files.tensors import weights_file
from minilm.jobs.pretrain import PretrainOptions, prepare_for
from minilm.jobs.pretraining_data import vectors_for
from minilm.models.heads import Classifier, TextHeadConfig
from minilm.pretrained.protocol import open_pretraining
from minilm.text.prepare import Prepared
from minilm.text.tokenizer import Tokenizer
from minilm.training.inference import logits_of, predicted_labels
from minilm.training.patching import Swap, Texts
from minilm.training.supervised import fit

PAIRS, SENTENCES, LINES = 128, 200, 80  # how many texts an ability is measured on
REFERENCE = 64  # texts, other ones, over which the mean of a head is taken
SWAPS, SHORTEST, LONGEST = 16, 10, 24  # pairs of texts that are patched, and the tokens of a sentence among them
LABELS = {"en": 500, "zh": 200}
TUNED, NEW = "Transformer pretrained, fine-tuned", "Transformer + word vectors + neighbour heads"
Groups = Mapping[str, list[Bool[Tensor, "B T"]]]  # name → masks that are patched one at a time


class Runs(NamedTuple):
    """The folders of the pretrained models, English and Chinese, and of the prepared text."""

    en: Path
    zh: Path
    cache: Path

    def check(self) -> None:
        """Raises InputError if one of the models is not there."""
        for folder, option, command in (
            (self.en, "--run", "minilm quickstart"),
            (self.zh, "--run-zh", "minilm quickstart --language zh"),
        ):
            if not (folder / "config.json").exists():
                raise InputError(
                    f"{folder} holds no pretrained model to take apart: make one with `{command}`, or name the folder of "
                    f"one with {option}."
                )

    def weights(self) -> list[str]:
        """The SHA-256 of the weights of both, so that figures of other models are not taken for theirs."""
        return [sha256(weights_file(folder)) for folder in (self.en, self.zh)]


class Ability(NamedTuple):
    """A model, labelled texts to measure it on, others to take means over, and texts to exchange activations between."""

    model: Classifier
    texts: Dataset
    reference: Dataset
    swaps: list[tuple[Swap, Groups]]
    tags: tuple[str, ...] = ()  # of a tagger


class Read(NamedTuple):
    """What was prepared for one language."""

    track: Track
    settings: PretrainOptions
    prepared: Prepared


@cache
def read(runs: Runs, language: str) -> Read:
    """The text that a model was pretrained on, and its tokenizer."""
    track = track_for(language)
    settings = replace(track.pretraining, steps=track.steps, out=getattr(runs, language), cache=runs.cache)
    return Read(track, settings, prepare_for(settings, quiet))


@cache
def material(runs: Runs, language: str) -> Material:
    """The labelled examples of the quickstart; the test set occurs in no text that was learned from."""
    track, settings, prepared = read(runs, language)
    return track.material(prepared, settings, torch.device("cpu"), quiet)


def quiet(line: str) -> None:
    """A worker prints nothing."""


def next_sentence(runs: Runs, language: str, seed: int) -> Ability:
    """A pretrained model that says whether B follows A, as it left pretraining; a seed draws other held-out pairs."""
    _, settings, prepared = read(runs, language)
    loaded = open_pretraining(getattr(runs, language))
    pairs = pairs_of(prepared, settings.length, seed)
    texts, reference = pairs.subset(range(PAIRS)), pairs.subset(range(PAIRS, PAIRS + REFERENCE))
    swaps = swapped_seconds(pairs, loaded.tokenizer)
    return Ability(with_next_sentence(loaded.model), texts, reference, swaps)


def with_next_sentence(base) -> Classifier:
    """The encoder and the next-sentence head of a pretraining model as a classifier, which reads [CLS] alone."""
    model = Classifier(base.encoder, TextHeadConfig(("next", "not next"), dropout=0.0, pooling="cls", pairs=True))
    model.pooler, model.head = base.pooler, base.nsp_head
    return model


def pairs_of(prepared: Prepared, length: int, seed: int) -> Dataset:
    """Held-out sentence pairs in random order, with nothing masked."""
    rng = np.random.default_rng((seed, 11))
    found, ids, tokenizer = draw_pairs(prepared.held_out, length - 3, rng), prepared.held_out.ids, prepared.tokenizer
    order = rng.permutation(len(found))
    if len(order) < PAIRS + REFERENCE:
        raise InputError(f"the held-out text gives {len(order):,} pairs, and {PAIRS + REFERENCE:,} are needed.")
    rows = [
        tokenizer.pair(ids[found.a_start[i] : found.a_end[i]].tolist(), ids[found.b_start[i] : found.b_end[i]].tolist())
        for i in order
    ]
    columns = {"input_ids": [row for row, _ in rows], "token_type_ids": [types for _, types in rows]}
    columns["labels"] = found.label[order].tolist()
    return Dataset(columns, {"input_ids": tokenizer.pad, "token_type_ids": 0}, list(range(len(rows))))


def swapped_seconds(pairs: Dataset, tokenizer: Tokenizer) -> list[tuple[Swap, Groups]]:
    """True pairs (A, B) as x′, and as x the same A with the B, of the same length, of another pair."""
    rows, types = pairs.rows, pairs.columns["token_type_ids"]
    T = max(map(len, rows))
    by_size: dict[int, list[int]] = {}  # the tokens of B with its [SEP] → the true pairs of length T
    for i, row in enumerate(rows):
        if len(row) == T and pairs.labels[i] == IS_NEXT:
            by_size.setdefault(sum(types[i]), []).append(i)
    chosen = [(one, two) for some in by_size.values() for one, two in zip(some, some[1:])][:SWAPS]
    x = [rows[one][: T - sum(types[one])] + rows[two][T - sum(types[two]) :] for one, two in chosen]
    segments = torch.tensor([types[one] for one, _ in chosen])
    ids, other = torch.tensor(x), torch.tensor([rows[one] for one, _ in chosen])
    borders = ids == tokenizer.sep
    first = torch.zeros_like(borders)
    first[:, 0] = True
    groups = {
        "[CLS]": [first],
        "A": [(segments == 0) & ~borders & ~first],
        "[SEP]": [borders],
        "B": [(segments == 1) & ~borders],
    }
    classes = torch.tensor([[IS_NEXT, IS_NOT_NEXT]] * len(chosen))
    return [(Swap(Texts(ids, segments), Texts(other, segments), classes), groups)]


def tuned(runs: Runs, language: str, seed: int, share: float, row: str = TUNED) -> Classifier:
    """The model of a row of the quickstart's table and of a seed, fitted to its own labels for this share of the epochs."""
    track, settings, prepared = read(runs, language)
    found, labels = material(runs, language), LABELS[language]
    vectors = vectors_for(prepared, settings) if row == NEW else np.empty((0, 0))
    start = Start(settings.model_config(prepared.tokenizer.size), vectors, getattr(runs, language))
    rung = next(rung for rung in track.rungs(start) if rung.name == row)
    assert isinstance(rung, Rung)  # both rows are trained
    recipe = rung.recipe_for(labels)
    recipe = replace(recipe, epochs=max(1, round(recipe.epochs * share)))
    model = rung.build(found.task, seed)
    fit(model, found.sample(labels, seed), recipe, seed, bar=False)
    return model


def sentiment(runs: Runs, seed: int, share: float, row: str = TUNED) -> Ability:
    """A model fine-tuned on 500 sentences of film reviews as in the quickstart."""
    model, found = tuned(runs, "en", seed, share, row), material(runs, "en")
    texts, rest = found.test.subset(range(SENTENCES)), found.test.subset(range(SENTENCES, len(found.test)))
    return Ability(model, texts, rest.subset(range(REFERENCE)), list(opposite_sentences(model, rest)))


def opposite_sentences(model: Classifier, texts: Dataset) -> Iterator[tuple[Swap, Groups]]:
    """Sentences of the same length, of which the model thinks the opposite: one position after the other is patched."""
    said, lengths, left = predicted_labels(model, texts), texts.lengths, SWAPS
    for T in range(SHORTEST, LONGEST + 1):
        sides = [np.flatnonzero((lengths == T) & (said == k)).tolist() for k in (0, 1)]
        chosen = list(zip(*sides))[: min(left, 4)]
        if not chosen:
            continue
        left -= len(chosen)
        ids = [torch.tensor([texts.rows[pair[k]] for pair in chosen]) for k in (0, 1)]
        at = [one_place(len(chosen), T, t) for t in range(T)]
        groups = {"[CLS], [SEP]": [at[0], at[-1]], "words, one at a time": at[1:-1]}
        segments = torch.zeros_like(ids[0])
        yield Swap(Texts(ids[0], segments), Texts(ids[1], segments), torch.tensor([[1, 0]] * len(chosen))), groups


def one_place(B: int, T: int, t: int) -> Bool[Tensor, "B T"]:
    """A mask that is True at position t of each text."""
    return (torch.arange(T) == t).repeat(B, 1)


def names(runs: Runs, seed: int, share: float) -> Ability:
    """A model fine-tuned to find names in 200 lines of a newspaper, without a CRF: each character has its own answer."""
    model, found = tuned(runs, "zh", seed, share), material(runs, "zh")
    texts, rest = found.test.subset(range(LINES)), found.test.subset(range(LINES, len(found.test)))
    return Ability(model, texts, rest.subset(range(REFERENCE)), list(other_tags(model, rest)), found.task.labels)


def other_tags(model: Classifier, texts: Dataset) -> Iterator[tuple[Swap, Groups]]:
    """Lines of the same length, read at the first place that both have and the model tags differently."""
    said = [row.argmax(axis=-1) for row in logits_of(model, texts)]
    by_length: dict[int, list[int]] = {}
    for i, row in enumerate(texts.rows):
        by_length.setdefault(len(row), []).append(i)
    left = SWAPS
    for T, some in sorted(by_length.items()):
        pairs = [(one, two, t) for one, two in zip(some, some[1:]) if (t := differ(texts, said, one, two)) is not None]
        pairs = pairs[: min(left, 4)] if T >= SHORTEST else []
        if not pairs:
            continue
        left -= len(pairs)
        ids = [torch.tensor([texts.rows[pair[k]] for pair in pairs]) for k in (0, 1)]
        place = torch.tensor([t for *_, t in pairs])
        classes = torch.tensor([[int(said[two][t]), int(said[one][t])] for one, two, t in pairs])
        away = torch.arange(T) - place[:, None]  # [B, T]
        groups = {
            "itself": [away == 0],
            "two on either side": [away == d for d in (-2, -1, 1, 2)],
            "all others": [away.abs() > 2],
        }
        segments = torch.zeros_like(ids[0])
        yield Swap(Texts(ids[0], segments), Texts(ids[1], segments), classes, place), groups


def differ(texts: Dataset, said: Sequence[np.ndarray], one: int, two: int) -> int | None:
    """The first place at which the model tags two lines differently and both have a character."""
    both = (np.array(texts.labels[one]) != IGNORED) & (np.array(texts.labels[two]) != IGNORED)
    places = np.flatnonzero(both & (said[one] != said[two]))
    return int(places[0]) if len(places) else None
