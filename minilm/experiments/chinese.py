"""The Chinese quickstart: a newspaper, and the persons, places and organisations in it.  F31's task, D4 §5's example."""

import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch

from minilm.experiments.ladder import Baseline, Climber, Material, Outcome
from minilm.experiments.rungs import Start, neural_rungs
from minilm.experiments.table import mean_of
from minilm.experiments.tracks import Track
from minilm.jobs.pretrain import PretrainOptions
from minilm.pretrained.run_folder import LoadedModel
from minilm.text import corpus
from minilm.text.duplicates import duplicates
from minilm.text.files import Example
from minilm.text.prepare import Prepared, held_out_documents
from minilm.training.metrics import entities
from minilm.training.supervised import Recipe
from minilm.training.tasks import TokenTask

TEST = 1_000
TASK = TokenTask(("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG"), units="characters")


class Chinese(Track):
    text = "People's Daily of January 1998, 17,000 lines; every character is a token"
    task = "persons, places and organisations in lines of the newspaper: which characters are names, and of what?"
    title = "Names found in 1,000 unseen lines of People's Daily"
    metric = "f1"
    labels = (200,)
    run = 12
    steps = 3_000
    pretraining = PretrainOptions(
        corpus="peoples-daily",
        units="characters",
        held_out=430,
        window=3,
        learning_rate=3e-3,
        warmup=0.05,
        embedding_learning_rate_scale=1.0,
        mask_rate=0.3,
        next_sentence_weight=0.4,
        layers=3,
        positions="relative",
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

    # found by `minilm bench epochs` on 1,000 lines that are neither in the test set nor learned from
    epochs: ClassVar[dict[str, dict[int, int]]] = {}

    def material(self, prepared: Prepared, settings: PretrainOptions, device: torch.device, say) -> Material:
        """Lines of the articles that were held out are the test set; the lines of the others are there to learn from."""
        lines, articles = corpus.tagged("peoples-daily"), corpus.articles()
        held = set(held_out_documents(len(articles), settings.held_out, 0).tolist())
        inside = [line for i, article in enumerate(articles) if i not in held for line in article]
        outside = [line for i, article in enumerate(articles) if i in held for line in article]
        spaced = [" ".join(lines[i].tokens) for i in outside]
        found = duplicates(spaced, (" ".join(lines[i].tokens) for i in inside), run=self.run)
        kept = [line for i, line in enumerate(outside) if i not in found]
        test = np.random.default_rng(0).permutation(kept)[:TEST]
        say(
            f"{len(found)} of {len(outside):,} held-out lines occur, whole or almost whole, in what is trained on, and are left "
            f"out. {len(test):,} of the others are the test set, and {len(inside):,} lines are there to learn from."
        )
        parts = [lines[i] for i in inside], [lines[i] for i in test]
        return Material.encoded(TASK, parts, prepared.tokenizer, settings.length, device)

    def rungs(self, start: Start, keep: Path | None = None) -> list[Climber]:
        names = Baseline("dictionary", dictionary, "the names seen in training, the longest first")
        return [names, *neural_rungs(start, self.recipes, keep, self.epochs, crf=True)]

    def predictions(self, loaded: LoadedModel) -> list[str]:
        examples = [Example(text) for text in self.sentences]
        found = TASK.predict(loaded.model, examples, loaded.tokenizer, loaded.max_length)
        return [f"{each.text} → {each.label}" for each in found]

    def remarks(self, rows: list[dict], labels: tuple[int, ...], measured: dict) -> str:
        """What the table says, in sentences that follow the figures."""
        few = labels[0]
        mean = {model: mean_of(rows, self.metric, model, few) for model in dict.fromkeys(r["model"] for r in rows)}
        best, scratch = mean["Transformer pretrained, fine-tuned"], mean["Transformer"]
        vectors, head = mean["Transformer + word vectors"], mean["Transformer pretrained, head only"]
        start = mean["Transformer + word vectors + neighbour heads"]
        lines = [
            f"With {few:,} labelled lines, pretraining lifts the entity F1 from {scratch:.3f} to {best:.3f}; the vectors of the "
            f"characters alone give {vectors:.3f}, and heads that start out looking next door {start:.3f}: a character says little "
            "about names, what stands around it does.",
            f"Training the head alone (F08 as printed) gives {head:.3f}; moving all of θ (F02) gives {best:.3f}.",
            f"The dictionary of the names seen in training gives {mean['dictionary']:.3f}: it never finds a new name.",
        ]
        if best < mean["LSTM"]:
            lines.append("Here the LSTM from scratch is ahead of the pretrained Transformer.")
        return "\n".join(f"* {line}" for line in lines)


def dictionary(material: Material, labels: int, seed: int) -> Outcome:
    """Tag every name that occurs in the labelled lines wherever it turns up, the longest that fits first."""
    started = time.perf_counter()
    learnt = [material.examples[i] for i in material.drawn(labels, seed)]
    names = {"".join(line.tokens[a:b]): kind for line in learnt for kind, a, b in entities(line.tags)}
    longest = max(map(len, names), default=0)
    test = material.test_examples
    guessed = [look_up(line.tokens, names, longest) for line in test]
    seconds = time.perf_counter() - started
    score, details = material.found(guessed, labels, seed)
    return Outcome(score, seconds, len(names), details)


def look_up(characters: list[str], names: dict[str, str], longest: int) -> list[str]:
    """BIO tags for every name of the dictionary in a line, from left to right, the longest first."""
    tags, start = ["O"] * len(characters), 0
    while start < len(characters):
        for length in range(min(longest, len(characters) - start), 0, -1):
            kind = names.get("".join(characters[start : start + length]))
            if kind:
                tags[start : start + length] = [f"B-{kind}"] + [f"I-{kind}"] * (length - 1)
                break
        else:
            length = 1
        start += length
    return tags
