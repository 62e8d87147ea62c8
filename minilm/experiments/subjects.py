"""The models that are examined: our own and published weights, fine-tuned on sentences or on whole film reviews.

Each is fitted once and kept in a folder, so that a command that was stopped continues, and another one finds it there.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from minilm.errors import InputError
from minilm.experiments.english import English
from minilm.experiments.ladder import Material, Rung
from minilm.experiments.rungs import PUBLISHED_RECIPE, Start, published_rung, transformer
from minilm.jobs.pretrain import prepare_for
from minilm.pretrained.protocol import open_classifier, save_model
from minilm.pretrained.run_folder import LoadedModel
from minilm.text import corpus
from minilm.text.files import Example
from minilm.text.prepare import read_documents
from minilm.text.sentences import split_sentences
from minilm.training.supervised import Recipe, fit

OWN, PUBLISHED = "own", "published"
Weights = Literal["own", "published"]
ALL, HEAD, REVIEWS = (
    "all",
    "head",
    "reviews",
)  # all weights on sentences, the head alone on sentences, all weights on reviews
HEAD_RECIPE = Recipe(epochs=8, learning_rate=1e-2, head_only=True)
REVIEW_POOL, REVIEW_TEST = 4_000, 1_000  # whole reviews to learn from, and to measure on
LONGEST = 128  # tokens of a text, for both


@dataclass(frozen=True)
class Subject:
    """One kind of weights, with the sentences and the reviews in its own tokens."""

    name: str
    rung: Rung
    sentences: Material
    text: Path  # the folder of the text that our own weights were pretrained on
    folder: Path
    pretrained: Path | None = None  # the base with its head for masked words, if there is one

    @cached_property
    def reviews(self) -> Material:
        """The same task on whole reviews. They are read when they are needed, which takes half a minute."""
        return self.sentences.with_examples(*review_parts(self.text))

    def recipe(self, kind: str) -> Recipe:
        """The recipe of the ladder, for all weights; another one for the head alone."""
        return HEAD_RECIPE if kind == HEAD else self.rung.recipe

    def fitted(self, kind: str, labels: int, seed: int) -> LoadedModel:
        """The model of a seed, from its folder, or trained now and put there."""
        folder = self.folder / f"{self.name}-{kind}-{labels}-{seed}"
        material = self.reviews if kind == REVIEWS else self.sentences
        if not (folder / "config.json").exists():
            model = self.rung.build(material.task, seed)
            fit(model, material.sample(labels, seed), self.recipe(kind), seed, material.device, bar=False)
            save_model(folder, model, material.tokenizer)
        return open_classifier(folder)


def subjects(
    weights: tuple[str, ...], pretrained: Path, published: str, cache: Path, folder: Path, say: Callable[[str], None]
) -> dict[str, Subject]:
    """The subjects by name. Raises InputError if our own weights are asked for and there are none."""
    if OWN in weights and not (pretrained / "config.json").exists():
        raise InputError(
            f"{pretrained} holds no pretrained model: run the quickstart first, or name one (--pretrained)."
        )
    track = English()
    settings = replace(track.pretraining, steps=track.steps, out=pretrained, cache=cache)
    prepared = prepare_for(settings, say)
    sentences = track.material(prepared, settings, torch.device("cpu"), say)
    out = {}
    for name in weights:
        if name == OWN:
            start = Start(settings.model_config(prepared.tokenizer.size), np.empty((0, 0)), pretrained)
            build = partial(transformer, start=start, scheme="neighbours", pretrained=True)
            rung = Rung("our own", build, "everything", track.recipes["pretrained"])
            out[name] = Subject(name, rung, sentences, prepared.folder, folder, pretrained)
        else:
            rung = published_rung(published, sentences, PUBLISHED_RECIPE)
            out[name] = Subject(name, rung, cut(rung.material or sentences), prepared.folder, folder)
    return out


def cut(material: Material) -> Material:
    """The same with texts of at most LONGEST tokens."""
    return replace(material, max_length=min(LONGEST, material.max_length or LONGEST))


def review_parts(text: Path) -> tuple[list[Example], list[Example]]:
    """Labelled film reviews: REVIEW_POOL of the text to pretrain on, and REVIEW_TEST of those that were held out from it."""
    held_out = {" ".join(document) for document in read_documents(text / "held_out.txt")}
    examples = corpus.labelled("imdb")
    parts: tuple[list[Example], list[Example]] = [], []
    for i in np.random.default_rng(0).permutation(len(examples)).tolist():
        is_held_out = " ".join(split_sentences(examples[i].text)) in held_out
        if len(parts[is_held_out]) < (REVIEW_TEST if is_held_out else REVIEW_POOL):
            parts[is_held_out].append(examples[i])
        elif all(len(part) >= most for part, most in zip(parts, (REVIEW_POOL, REVIEW_TEST), strict=True)):
            break
    return parts
