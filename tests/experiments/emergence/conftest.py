"""Pretrained models of both languages that are as small as can be, in place of those of the quickstart."""

from dataclasses import replace

import pytest
import torch
from tiny import DATA, silent

from minilm.experiments import chinese, english
from minilm.experiments.emergence import abilities
from minilm.experiments.emergence.abilities import Read, Runs
from minilm.experiments.ladder import Material
from minilm.jobs.pretrain import prepare_for
from minilm.models.bert import BertForPretraining
from minilm.models.initialisation import initialise
from minilm.pretrained.protocol import save_model
from minilm.text import corpus
from minilm.text.tagged import TaggedLine
from minilm.training.supervised import Recipe

SMALL = dict(width=12, heads=3, layers=2, length=32, vocab_size=300)
KINDS = {"PER", "LOC", "ORG"}


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> tuple[Runs, dict[str, Read], dict[str, Material]]:
    """The folders, the prepared text, and the labelled examples of each language."""
    folder = tmp_path_factory.mktemp("pretrained")
    runs, read, material = Runs(folder / "en", folder / "zh", folder / "cache"), {}, {}
    parts = {"en": sentences(), "zh": lines()}
    for language, track, task in (("zh", chinese.Chinese(), chinese.TASK), ("en", english.English(), english.TASK)):
        text = DATA / ("english.txt" if language == "en" else "chinese.txt")
        settings = replace(track.pretraining, **SMALL, corpus=str(text), held_out=4, cache=runs.cache, steps=1)
        prepared = prepare_for(settings, silent)
        base = BertForPretraining(settings.model_config(prepared.tokenizer.size))
        initialise(base, "neighbours", torch.Generator().manual_seed(3))
        save_model(getattr(runs, language), base, prepared.tokenizer)
        track.recipes = {name: Recipe(epochs=1, learning_rate=1e-2) for name in track.recipes}
        read[language] = Read(track, settings, prepared)
        material[language] = Material.encoded(task, parts[language], prepared.tokenizer, 32, torch.device("cpu"))
    return runs, read, material


def sentences() -> tuple[list, list]:
    examples = corpus.labelled(DATA / "reviews.csv")
    return examples, [
        e._replace(text=f"{start} {e.text}") for start in ("it is", "a film :", "we saw") for e in examples
    ]


def lines() -> tuple[list, list]:
    found = [
        TaggedLine(line.tokens, [tag if tag[2:] in KINDS else "O" for tag in line.tags])
        for line in corpus.tagged(DATA / "entities-zh.conll")
    ]
    return found, [
        TaggedLine(line.tokens[k:] + line.tokens[:k], line.tags[k:] + line.tags[:k]) for line in found for k in (0, 2)
    ]


@pytest.fixture
def runs(made, monkeypatch) -> Runs:
    """These models, and few texts to measure them on."""
    folders, read, material = made
    monkeypatch.setattr(abilities, "read", lambda runs, language: read[language])
    monkeypatch.setattr(abilities, "material", lambda runs, language: material[language])
    monkeypatch.setattr(abilities, "LABELS", {"en": 8, "zh": 4})
    for name, value in {"PAIRS": 6, "SENTENCES": 12, "LINES": 6, "REFERENCE": 2, "SWAPS": 4, "SHORTEST": 5}.items():
        monkeypatch.setattr(abilities, name, value)
    return folders
