"""The Chinese quickstart: a newspaper, and the persons, places and organisations in it.  F31's task, D4 §5's example."""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch

from minilm.experiments.ladder import Material
from minilm.experiments.names import NamesTrack
from minilm.experiments.rungs import Epochs
from minilm.experiments.tracks import Track
from minilm.jobs.pretrain import PretrainOptions
from minilm.text import corpus
from minilm.text.duplicates import duplicates
from minilm.text.prepare import Prepared, held_out_documents
from minilm.text.tagged import TaggedLine
from minilm.training.supervised import Recipe
from minilm.training.tasks import TokenTask

TEST, DEVELOPMENT = 1_000, 1_000
TASK = TokenTask(("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"), units="characters")


def line_numbers(lines: list[TaggedLine], held_out: int, say: Callable[[str], None]) -> tuple[list[int], list[int]]:
    """The numbers of the lines to learn from, and of those to measure on: lines of `held_out` articles that no model has read.

    `lines` are those of `peoples-daily`, one token per character. Near copies of what is learned from are left out.
    """
    articles = corpus.articles()
    held = set(held_out_documents(len(articles), held_out, 0).tolist())
    inside = [line for i, article in enumerate(articles) if i not in held for line in article]
    outside = [line for i, article in enumerate(articles) if i in held for line in article]
    spaced = [" ".join(lines[i].tokens) for i in outside]
    found = duplicates(spaced, (" ".join(lines[i].tokens) for i in inside), run=12)
    kept = [line for i, line in enumerate(outside) if i not in found]
    test = np.random.default_rng(0).permutation(kept)[:TEST].tolist()
    say(
        f"{len(found)} of {len(outside):,} held-out lines occur, whole or almost whole, in what is trained on, and are left "
        f"out. {len(test):,} of the others are the test set, and {len(inside):,} lines are there to learn from."
    )
    return inside, test


class Chinese(NamesTrack, Track):
    tagger, unit = TASK, "lines"
    text = "People's Daily of January 1998, 17,000 lines; every character is a token"
    task = "persons, places and organisations in lines of the newspaper: which characters are names, and of what?"
    title = "Names found in 1,000 unseen lines of People's Daily"
    metric = "f1"
    labels = (200,)
    steps = 3_000
    pretraining = PretrainOptions(
        corpus="peoples-daily",
        units="characters",
        layers=3,
        evaluations=8,
        held_out=430,
        window=3,
        learning_rate=3e-3,
        warmup=0.05,
        embedding_learning_rate_scale=1.0,
        mask_rate=0.3,
        next_sentence_weight=0.3,
        steps=steps,
    )
    probes = ("京", "江", "三", "钱", "说")
    masked = (
        "新华社北[MASK]１月６日电",
        "国家主[MASK]江泽民今天会见了美国客人。",
        "在[MASK]海举行的会议今天结束。",
        "记者从有关部门获[MASK]，今年春节期间市场供应充足。",
        "我们要高举邓小平理论[MASK]大旗帜。",
    )
    look_at = "国家主席江泽民今天在北京会见了客人。"
    example = "李鹏总理今天在北京会见了法国客人。"
    sentences = (
        "李鹏总理今天在北京会见了法国客人。",
        "新华社上海１月８日电（记者王小明）",
        "中共中央昨天在人民大会堂举行茶话会。",
        "来自河北省的青年工人张建国获得了第一名。",
        "日本和韩国的代表团将于下周访问广州。",
    )
    recipes = {
        "lstm": Recipe(epochs=6, learning_rate=3e-3, embedding_learning_rate_scale=0.3),
        "scratch": Recipe(epochs=6, learning_rate=1e-3, embedding_learning_rate_scale=1.0),
        "vectors": Recipe(epochs=6, learning_rate=1e-3, embedding_learning_rate_scale=1.0),
        "start": Recipe(epochs=6, learning_rate=1e-3, embedding_learning_rate_scale=1.0),
        "head": Recipe(epochs=6, learning_rate=1e-2, head_only=True),
        "pretrained": Recipe(epochs=6, learning_rate=2e-3, embedding_learning_rate_scale=1.0),
    }

    # With 200 lines, `minilm bench epochs` chose between 20 and 40 for the four rows with a CRF, and with 1,000 lines between 12
    # and 20 for the LSTM (one seed, on a development part). The other entries are those of the nearest of these rows.
    epochs: ClassVar[Epochs] = {
        "LSTM": {200: 40, 1_000: 12},
        "LSTM + word vectors": {200: 40, 1_000: 12},
        "LSTM + word vectors, CRF": {200: 40, 1_000: 12},
        "Transformer": {200: 20, 1_000: 12},
        "Transformer, CRF": {200: 20, 1_000: 12},
        "Transformer + word vectors": {200: 20, 1_000: 12},
        "Transformer + word vectors + neighbour heads": {200: 40, 1_000: 12},
        "Transformer + word vectors + neighbour heads, CRF": {200: 40, 1_000: 12},
        "Transformer pretrained, head only": {200: 40, 1_000: 12},
        "Transformer pretrained, fine-tuned": {200: 20, 1_000: 12},
        "Transformer pretrained, fine-tuned, CRF": {200: 20, 1_000: 12},
    }

    def material(self, prepared: Prepared, settings: PretrainOptions, device: torch.device, say) -> Material:
        """Lines of the articles that were held out are the test set; the lines of the others are there to learn from."""
        lines = corpus.tagged("peoples-daily")
        inside, test = line_numbers(lines, settings.held_out, say)
        parts = [lines[i] for i in inside], [lines[i] for i in test]
        return Material.encoded(TASK, parts, prepared.tokenizer, settings.length, device)

    def development(self, material: Material, settings: PretrainOptions) -> Material:
        """Other lines of the held-out articles, which occur nowhere in what is learned from."""
        lines, articles = corpus.tagged("peoples-daily"), corpus.articles()
        held = held_out_documents(len(articles), settings.held_out, 0).tolist()
        outside = [lines[i] for article in sorted(held) for i in articles[article]]
        known = [" ".join(line.tokens) for line in material.examples + material.test_examples]
        found = duplicates([" ".join(line.tokens) for line in outside], known, run=12)
        free = [line for i, line in enumerate(outside) if i not in found]
        return material.with_examples(material.examples, free[:DEVELOPMENT])
