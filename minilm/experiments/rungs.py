"""The rows of both ladders that are trained: LSTM and Transformer, from nothing, from word vectors, and pretrained."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from minilm.experiments.ladder import Material, Rung
from minilm.models.config import TransformerConfig
from minilm.models.heads import Classifier
from minilm.models.initialisation import initialise, warm_start
from minilm.models.lstm import LSTMConfig, LSTMEncoder
from minilm.pretrained.protocol import architecture_named, encoder_config, load_encoder
from minilm.pretrained.registry import PUBLISHED_MODELS
from minilm.pretrained.run_folder import tokenizer_for
from minilm.training.supervised import PUBLISHED_LEARNING_RATE, Recipe
from minilm.training.tasks import Task

DROPOUT = 0.1
Epochs = Mapping[str, Mapping[int, int]]  # rung → number of labels → epochs


@dataclass(frozen=True)
class Start:
    """What the models of a ladder may start from: the shape and the folder of a pretrained Transformer, and word vectors [V, n]
    with n ≤ C features."""

    config: TransformerConfig
    vectors: np.ndarray
    pretrained: Path


def lstm(task: Task, seed: int, start: Start, vectors: bool = False, crf: bool = False) -> Classifier:
    """D1's two layers of 128 (F17), on embeddings as wide as the Transformer's; both ways for tagging."""
    generator = torch.Generator().manual_seed(seed)
    both_ways = task.per_token
    config = LSTMConfig(start.config.vocab_size, start.config.width, bidirectional=both_ways, dropout=DROPOUT)
    model = Classifier(LSTMEncoder(config, generator), task.head(DROPOUT, crf=crf), generator)
    if vectors:
        warm_start(model.encoder.token_table, start.vectors)
    return model


def transformer(
    task: Task, seed: int, start: Start, scheme: str, vectors: bool = False, pretrained: bool = False, crf: bool = False
) -> Classifier:
    """The Transformer of the quickstart, drawn by `scheme`, with word vectors or with everything that pretraining learned."""
    encoder = architecture_named("bert").build_encoder(replace(start.config, dropout=DROPOUT))
    model = Classifier(encoder, task.head(DROPOUT, crf=crf))
    initialise(model, scheme, torch.Generator().manual_seed(seed))
    if vectors:
        warm_start(model.encoder.token_table, start.vectors)
    if pretrained:
        load_encoder(model, start.pretrained)
    return model


def neural_rungs(
    start: Start, recipes: dict[str, Recipe], keep: Path | None = None, epochs: Epochs | None = None, crf: bool = False
) -> list[Rung]:
    """The rungs that all ladders have, and with `crf` those of a tagger's CRF (F31) too.

    All Transformers have the same positions, so that pretraining is not credited with what these do. The fine-tuned model
    of the first seed is kept in the folder `keep`: the one with a CRF, if there is one. `epochs` names, for each rung, its
    epochs by the number of labels, where they are not those of the recipe.
    """
    bare, scratch = partial(lstm, start=start), partial(transformer, start=start, scheme="fan-in")
    neighbours = partial(transformer, start=start, scheme="neighbours", vectors=True)
    pretrained = partial(transformer, start=start, scheme="neighbours", pretrained=True)
    vectors = "its embeddings start from F34"
    rows = [
        ("LSTM", bare, "lstm", "two layers of 128 (F17)"),
        ("LSTM + word vectors", partial(bare, vectors=True), "lstm", vectors),
        ("Transformer", scratch, "scratch", "from scratch"),
        ("Transformer + word vectors", partial(scratch, vectors=True), "vectors", vectors),
        ("Transformer + word vectors + neighbour heads", neighbours, "start", "where pretraining starts"),
        ("Transformer pretrained, head only", pretrained, "head", "F08 as printed: W⁰ and b⁰ alone"),
        ("Transformer pretrained, fine-tuned", pretrained, "pretrained", "F02: all of θ moves"),
    ]
    rungs = []
    for name, build, recipe, what in rows:
        rungs.append((name, build, recipe, what))
        if crf and recipe != "head" and name not in ("LSTM", "Transformer + word vectors"):
            rungs.append((f"{name}, CRF", partial(build, crf=True), recipe, "tags are scored together (F31)"))
    best = rungs[-1][0]
    return [
        Rung(
            *(name, build, "head" if recipe == "head" else "everything", recipes[recipe], what),
            keep=keep if name == best else None,
            epochs=(epochs or {}).get(name, {}),
        )
        for name, build, recipe, what in rungs
    ]


PUBLISHED_RECIPE = Recipe(epochs=4, learning_rate=PUBLISHED_LEARNING_RATE, embedding_learning_rate_scale=0.1)


def published(task: Task, seed: int, model: str | Path) -> Classifier:
    """A model that others trained, with a fresh head."""
    architecture, config = encoder_config(model)
    out = Classifier(architecture.build_encoder(replace(config, dropout=DROPOUT)), task.head(DROPOUT))
    initialise(out, "neighbours", torch.Generator().manual_seed(seed))
    load_encoder(out, model)
    return out


def unpretrained(task: Task, seed: int, model: str | Path) -> Classifier:
    """A new model of the same shape as a pretrained one, as `transformer` draws it from scratch."""
    architecture, config = encoder_config(model)
    out = Classifier(architecture.build_encoder(replace(config, dropout=DROPOUT)), task.head(DROPOUT))
    initialise(out, "fan-in", torch.Generator().manual_seed(seed))
    return out


def published_rung(model: str | Path, material: Material, recipe: Recipe = PUBLISHED_RECIPE) -> Rung:
    """A model that others trained, on the same texts, cut into its own tokens."""
    config = encoder_config(model)[1]
    parts = material.examples, material.test_examples
    own = Material.encoded(material.task, parts, tokenizer_for(config, model), config.max_length, material.device)
    title = PUBLISHED_MODELS[str(model)].title if str(model) in PUBLISHED_MODELS else Path(model).name
    build = partial(published, model=model)
    return Rung(f"{title}, fine-tuned", build, "everything", recipe, "what scale brings", material=own)
