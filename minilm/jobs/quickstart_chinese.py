"""The Chinese quickstart: a newspaper, and the persons, places and organisations in it.  F31's task, D4 §5's example."""

import time
from pathlib import Path

import numpy as np
import torch

from minilm.examples.labelled import encode_tagged
from minilm.jobs.duplicates import duplicates
from minilm.jobs.folders import Opened
from minilm.jobs.ladder import Outcome, Rung, Study, drawn, mean_of, neural_rungs
from minilm.jobs.measuring import entity_scores
from minilm.jobs.predict import entities
from minilm.jobs.prepare import Prepared, held_out_documents
from minilm.jobs.pretrain import PretrainOptions
from minilm.text import corpus
from minilm.text.tagged import TaggedLine
from minilm.training.supervised import Recipe, predicted_tags

TEST = 1_000
TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-ORG", "I-ORG")


class Chinese:
    text = "People's Daily of January 1998, 17,000 lines; every character is a token"
    task = "persons, places and organisations in lines of the newspaper: which characters are names, and of what?"
    title = "Names found in 1,000 unseen lines of People's Daily"
    metric = "f1"
    labels = (1_000,)
    steps = 3_000
    pretraining = PretrainOptions(
        corpus="peoples-daily",
        units="characters",
        held_out=430,
        window=3,
        rate=3e-3,
        warmup=0.05,
        embedding_rate=1.0,
        mask_rate=0.3,
        next_sentence_weight=1.0,
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
        "lstm": Recipe(epochs=6, rate=3e-3, embedding_rate=0.3),
        "scratch": Recipe(epochs=6, rate=1e-3, embedding_rate=1.0),
        "vectors": Recipe(epochs=6, rate=1e-3, embedding_rate=1.0),
        "start": Recipe(epochs=6, rate=1e-3, embedding_rate=1.0),
        "head": Recipe(epochs=6, rate=1e-2, head_only=True),
        "pretrained": Recipe(epochs=6, rate=2e-3, embedding_rate=1.0),
    }

    def study(
        self, prepared: Prepared, settings: PretrainOptions, vectors, device: torch.device, keep: Path, say
    ) -> Study:
        """Lines of the articles that were held out are the test set; those of the others are there to learn from."""
        lines, articles = corpus.tagged("peoples-daily"), corpus.articles()
        held = set(held_out_documents(len(articles), settings.held_out, 0).tolist())
        inside = [line for i, article in enumerate(articles) if i not in held for line in article]
        outside = [line for i, article in enumerate(articles) if i in held for line in article]
        spaced = [" ".join(lines[i].tokens) for i in outside]
        found = duplicates(spaced, (" ".join(lines[i].tokens) for i in inside), run=12)
        kept = [line for i, line in enumerate(outside) if i not in found]
        test = np.random.default_rng(0).permutation(kept)[:TEST]
        say(
            f"{len(found)} of {len(outside):,} held-out lines stand, whole or nearly so, in what is trained on: left out. "
            f"{len(test):,} of the others are the test set, {len(inside):,} lines are there to learn from."
        )
        self.lines = [lines[i] for i in inside], [lines[i] for i in test]
        encoded = [encode_tagged(part, TAGS, prepared.tokenizer, settings.length) for part in self.lines]
        config = settings.model_config(prepared.tokenizer.size)
        return Study(*encoded, TAGS, "token", config, vectors, settings.out, self.recipes, device, keep)

    def rungs(self, study: Study) -> list[Rung]:
        return [
            Rung("dictionary", "the names seen in training, the longest first", self.dictionary),
            *neural_rungs(study),
        ]

    def dictionary(self, labels: int, seed: int) -> Outcome:
        """Tag every name that stands in the labelled lines wherever it turns up, the longest that fits first."""
        started = time.perf_counter()
        pool, test = self.lines
        chosen = drawn(len(pool), labels, seed)
        names = {name: kind for i in chosen for kind, name in entities(*pool[i])}
        longest = max(map(len, names), default=0)
        guessed = [look_up(line.tokens, names, longest) for line in test]
        score = entity_scores([line.tags for line in test], guessed)["f1"]
        return Outcome(score, time.perf_counter() - started, len(names))

    def predictions(self, opened: Opened) -> list[str]:
        lines = [TaggedLine(list(text), ["O"] * len(text)) for text in self.sentences]
        tags = predicted_tags(opened.model, encode_tagged(lines, TAGS, opened.tokenizer, opened.max_length), TAGS)
        return [
            f"{text} → " + (", ".join(f"{kind} {name}" for kind, name in entities(line.tokens, guessed)) or "–")
            for text, line, guessed in zip(self.sentences, lines, tags, strict=True)
        ]

    def remarks(self, rows: list[dict], labels: tuple[int, ...], measured: dict) -> str:
        """What the table says, in words that follow the figures."""
        few = labels[0]
        mean = {model: mean_of(rows, self.metric, model, few) for model in dict.fromkeys(r["model"] for r in rows)}
        best, scratch = mean["MiniLM pretrained, fine-tuned"], mean["MiniLM"]
        vectors, head = mean["MiniLM + word vectors"], mean["MiniLM pretrained, head only"]
        start = mean["MiniLM + word vectors + neighbour heads"]
        lines = [
            f"With {few:,} labelled lines, pretraining lifts the entity F1 from {scratch:.3f} to {best:.3f}; the vectors of the "
            f"characters alone give {vectors:.3f}, and heads that start out looking next door {start:.3f}: a character says little "
            "about names, what stands around it does.",
            f"Training the head only (F08 as printed) gives {head:.3f}, moving all of θ (F02) {best:.3f}.",
            f"The dictionary of the names seen in training gives {mean['dictionary']:.3f}: it never finds a new name.",
        ]
        if best < mean["LSTM"]:
            lines.append("Here the LSTM from scratch is ahead of the pretrained Transformer.")
        return "\n".join(f"* {line}" for line in lines)


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
