"""Texts as vectors, in the two ways that the applications compare: by counting words, and by a model that was trained on text."""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from minilm.files.notes import Note, unheard
from minilm.pretrained.protocol import open_encoder
from minilm.pretrained.registry import PUBLISHED_MODELS
from minilm.training.inference import sentence_vectors

TFIDF = "tf-idf"


def title_of(model: str) -> str:
    """What a row with this model is called."""
    return PUBLISHED_MODELS[model].title if model in PUBLISHED_MODELS else "our pretrained model"


@runtime_checkable
class TextVectors(Protocol):
    """Something that turns texts into vectors of length 1, so that their products are cosines."""

    name: str

    def fit(self, texts: Sequence[str]) -> None:
        """Learn from these texts, without any labels, what is common in them."""

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """One vector per text, [N, E]. A text of which nothing is known has the vector 0."""


class WordCounts:
    """TF-IDF of words and pairs of words: how often each occurs, and the less the more texts it occurs in."""

    name = "TF-IDF"

    def __init__(self) -> None:
        self.vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+")

    def fit(self, texts: Sequence[str]) -> None:
        """Count in how many texts each word occurs."""
        self.vectorizer.fit(texts)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return np.asarray(self.vectorizer.transform(texts).todense(), dtype=np.float32)


class Encoder:
    """The vectors of a model, less their mean over the texts that `fit` has seen.

    The vectors of a model that was trained on masked words alone all point in nearly the same direction, so that every
    cosine is close to 1. What tells texts apart is what is left without this direction (Mu and Viswanath, 2018,
    All-but-the-Top). With `centred` False, the mean stays in.
    """

    def __init__(self, model: Path | str, centred: bool = True, note: Note = unheard):
        loaded = open_encoder(model, note)
        self.model, self.tokenizer, self.centred = loaded.model, loaded.tokenizer, centred
        self.name = title_of(str(model))
        self.mean = np.zeros(self.model.output_size, dtype=np.float32)

    def fit(self, texts: Sequence[str]) -> None:
        """Take the mean of the vectors of these texts as what all have in common."""
        self.mean = np.zeros_like(self.mean)
        if self.centred:
            self.mean = self.vectors(texts).mean(axis=0)

    def vectors(self, texts: Sequence[str]) -> np.ndarray:
        """The model's own vectors."""
        return sentence_vectors(self.model, self.tokenizer, list(texts), truncate=True)

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        u = self.vectors(texts) - self.mean
        return u / np.linalg.norm(u, axis=1, keepdims=True).clip(1e-12)


class Together:
    """Two kinds of vectors side by side, so that the cosine is the mean of their two cosines."""

    def __init__(self, one: TextVectors, other: TextVectors):
        self.both = one, other
        self.name = f"{one.name} + {other.name}"

    def fit(self, texts: Sequence[str]) -> None:
        """Fit both."""
        for each in self.both:
            each.fit(texts)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        return np.concatenate([each(texts) for each in self.both], axis=1) / np.sqrt(np.float32(2))


def median_milliseconds(calls: Sequence[Callable[[], object]]) -> float:
    """The median time of a call on one core, by the processor's clock, which stops while other programs compute."""
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        for call in calls:
            started = time.process_time()
            call()
            times.append(1000 * (time.process_time() - started))
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times)


def vectors_named(name: str) -> TextVectors:
    """The vectors of this name: "tf-idf", a published model by name, the folder of a model, or two of them with a plus sign."""
    one, plus, other = name.partition("+")
    if plus:
        return Together(vectors_named(one), vectors_named(other))
    return WordCounts() if name == TFIDF else Encoder(name)
