"""What a sentence about a film is about, and what it thinks of it: topics by a list of words, and models of both.

Nobody has labelled the topics of the film reviews. A list of words does it here, and a model learns from what the list says with these
words taken out of half the sentences, so that it has to find topics in what is around them. It is measured both ways.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from minilm.experiments.english import English, tfidf_classifier
from minilm.experiments.rungs import PUBLISHED_RECIPE, published
from minilm.pretrained.protocol import encoder_config
from minilm.pretrained.registry import PUBLISHED_MODELS
from minilm.pretrained.run_folder import tokenizer_for
from minilm.text.files import Example
from minilm.training.inference import probabilities
from minilm.training.supervised import fit
from minilm.training.tasks import TextTask

WORDS = {
    "acting": "acting actor actors actress actresses cast performance performances performer performers role roles star stars",
    "story": "story stories plot plots script scripts screenplay narrative storytelling ending tale tales premise dialogue writing",
    "picture": "visual visuals visually image images imagery cinematography photography camera effects animation animated scenery",
    "humour": "funny comedy comedies comedic comic humor humorous joke jokes laugh laughs laughter hilarious gags gag",
}
OTHER = "other"
TOPICS = (*WORDS, OTHER)
TOPIC_OF_WORD = {word: topic for topic, words in WORDS.items() for word in words.split()}
MOODS = ("negative", "positive")
WORD = re.compile(r"\w+")


def topic_of(text: str) -> str:
    """The topic whose words occur most often; the first of those in TOPICS, if several do; "other", if none does."""
    found = [TOPIC_OF_WORD[word] for word in WORD.findall(text.lower()) if word in TOPIC_OF_WORD]
    return max(WORDS, key=found.count) if found else OTHER


def hidden(text: str) -> str:
    """The text without the words that name a topic."""
    return " ".join(WORD.sub(lambda m: "" if m.group().lower() in TOPIC_OF_WORD else m.group(), text).split())


def topic_examples(texts: Sequence[str], every: int = 2) -> list[Example]:
    """Each text with its topic; in every second one (by default) the words that name a topic are taken out."""
    return [Example(hidden(text) if i % every == 0 else text, topic_of(text)) for i, text in enumerate(texts)]


@runtime_checkable
class Reader(Protocol):
    """Something that has learned one label per text."""

    labels: tuple[str, ...]

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """The probabilities of the labels [N, K], in the order of `labels`."""


class CountingReader:
    """Logistic regression on weighted counts of words."""

    def __init__(self, examples: Sequence[Example], labels: tuple[str, ...], seed: int):
        x, y = [each.text for each in examples], [str(each.label) for each in examples]
        self.labels = labels
        self.model = tfidf_classifier(x, y, min(5, *map(y.count, labels)))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        out = np.zeros((len(texts), len(self.labels)))  # a label without examples keeps 0
        out[:, [self.labels.index(label) for label in self.model.classes_]] = self.model.predict_proba(texts)
        return out


class FineTunedReader:
    """A pretrained model, fine-tuned."""

    def __init__(
        self, examples: Sequence[Example], labels: tuple[str, ...], seed: int, model: Path | str, bar: bool = True
    ):
        self.labels, self.task = labels, TextTask(labels)
        config = encoder_config(model)[1]
        self.tokenizer, self.max_length = tokenizer_for(config, model), config.max_length
        self.model = published(self.task, seed, model)
        recipe = PUBLISHED_RECIPE if str(model) in PUBLISHED_MODELS else English.recipes["pretrained"]
        fit(self.model, self.encoded(list(examples)), recipe, seed, bar=bar)

    def encoded(self, examples: list[Example]):
        return self.task.encode(examples, self.tokenizer, self.max_length, truncate=True)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack(probabilities(self.model, self.encoded([Example(text, self.labels[0]) for text in texts])))


def three_way(p: np.ndarray, least: float) -> np.ndarray:
    """0 negative, 1 positive, 2 neutral: which mood is more probable, or neutral where the probability is below `least`."""
    return np.where(p.max(axis=1) < least, 2, p.argmax(axis=1))
